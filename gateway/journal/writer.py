"""Append-only event log, written before anything leaves the gateway.

`Journal.open` recovers what is there and takes the directory's lock; then `read` replays it; then `append` goes
on. An append is a few stores into memory that is mapped from a file whose blocks were reserved beforehand:

- durability "mmap": a record survives the death of the process the moment `append` returns, because the pages
  belong to the kernel. A power failure may lose the last seconds, and pages out of order: recovery then refuses.
- durability "fdatasync": the same, and a thread syncs every few milliseconds, or when asked; `durable_sequence`
  says which records a power failure cannot take.

The format is described in segment.py.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from gateway.journal.keeper import Keeper
from gateway.journal.page import Page
from gateway.journal.reader import TornTail, Walk
from gateway.journal.segment import (
    FIXED,
    HEADER_BYTES,
    PREFIX,
    Files,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalLocked,
    RecordTooLong,
    Segment,
)

Durability = Literal["mmap", "fdatasync"]

# 64 MiB hold about 360 000 records of 150 bytes: minutes of heavy trading, and well under 0.1 s to prepare.
DEFAULT_SEGMENT_BYTES = 64 << 20
# A segment is mapped page by page; below this a header and a few records would not fit.
SEGMENT_GRANULE_BYTES = 4096
# Kept at each segment's end for essential records (cancels, fills) when there is no next segment: 1 MiB holds
# about 5 600 of them. A small segment gives a sixteenth.
RESERVE_BYTES = 1 << 20
RESERVE_FRACTION = 16
# The next segment is asked for when this part is used. Preparing takes 0.05 to 0.15 s, and at 300 000 records a
# second (an empty loop, no gateway) the last quarter would be gone by then.
PREPARE_AT_FRACTION = 2
# Group commit: at most this much is lost in a power failure; shorter would keep the disk busy for nothing.
DEFAULT_SYNC_INTERVAL_S = 0.005
# Full segments that are not synced keep their mapping: when the disk is this far behind, records are refused.
DEFAULT_MAX_UNSYNCED_BYTES = 128 << 20
# How often a full disk is tried again; well inside the 5 s in which an operator's remedy should show.
DEFAULT_RETRY_INTERVAL_S = 1.0

_LOCK_NAME = "lock"
_ALWAYS_ATTEND = -1

# What a record adds to its payload, with what rounds it up to a multiple of 8.
_OVERHEAD_ROUNDED = PREFIX.size + FIXED.size + 7


class Recovery(Struct, frozen=True, gc=False):
    """What `Journal.open` found: the number of records, and the torn tail that it removed, if there was one."""

    records: int
    torn: TornTail | None


class Journal:
    """The one writer of a journal directory. Appends come from one thread; see the module for what survives."""

    __slots__ = (
        "_attend_at",
        "_closed",
        "_durability",
        "_is_refusing",
        "_keeper",
        "_lock_descriptor",
        "_offset",
        "_page",
        "_payload_version",
        "_reserve_bytes",
        "_room_end",
        "_salt",
        "_segment",
        "_segment_bytes",
        "inline_preparations",
        "next_sequence",
        "recovery",
    )

    _attend_at: int
    _keeper: Keeper
    _offset: int
    _page: Page
    _room_end: int
    _salt: int
    _segment: Segment
    next_sequence: int  # the number that the next append returns; the first record ever is 1
    recovery: Recovery
    inline_preparations: int  # appends that had to wait for a segment: not one in a healthy run

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        durability: Durability = "mmap",
        payload_version: int = 1,
        reserve_bytes: int | None = None,
        sync_interval_s: float = DEFAULT_SYNC_INTERVAL_S,
        retry_interval_s: float = DEFAULT_RETRY_INTERVAL_S,
        max_unsynced_bytes: int = DEFAULT_MAX_UNSYNCED_BYTES,
        on_durable: Callable[[int], None] | None = None,
        files: Files | None = None,
    ) -> Journal:
        """Recover the journal in `directory` (made if absent), and take it over.

        `on_durable(sequence)` is called in the sync thread after each sync. Raises JournalLocked, JournalDamaged,
        JournalVersionUnknown, or JournalError if the directory or the first segment cannot be made.
        """
        assert durability in ("mmap", "fdatasync")
        assert segment_bytes > 0 and segment_bytes % SEGMENT_GRANULE_BYTES == 0
        if reserve_bytes is None:
            reserve_bytes = min(RESERVE_BYTES, segment_bytes // RESERVE_FRACTION)
        assert 0 <= reserve_bytes < segment_bytes // 2
        files = files or Files()
        lock_descriptor = _lock(directory)
        try:
            segment, walk = _recover(directory, segment_bytes, durability, files)
        except BaseException as error:
            os.close(lock_descriptor)
            if isinstance(error, OSError):
                raise JournalError(f"{directory}: the journal cannot be opened: {error.strerror}") from error
            raise
        journal = cls(lock_descriptor, walk, durability, payload_version, segment_bytes, reserve_bytes)
        journal._keeper = Keeper(
            directory,
            segment_bytes,
            files,
            sync_interval_s=sync_interval_s if durability == "fdatasync" else None,
            retry_interval_s=retry_interval_s,
            max_retired=max(1, max_unsynced_bytes // segment_bytes),
            last_sequence=lambda: journal.next_sequence - 1,
            on_durable=on_durable,
            on_failure=journal._latch,
        )
        journal._enter(segment, walk.offset)
        journal._keeper.start(segment, durable=walk.next_sequence - 1)
        return journal

    def __init__(
        self,
        lock_descriptor: int,
        walk: Walk,
        durability: Durability,
        payload_version: int,
        segment_bytes: int,
        reserve_bytes: int,
    ) -> None:
        """Use `Journal.open`."""
        self._lock_descriptor = lock_descriptor
        self._durability = durability
        self._payload_version = payload_version
        self._segment_bytes = segment_bytes
        self._reserve_bytes = reserve_bytes
        self._closed = False
        self._is_refusing = False
        self.next_sequence = walk.next_sequence
        self.recovery = Recovery(walk.next_sequence - 1, walk.torn)
        self.inline_preparations = 0

    def append(self, record_type: int, payload: bytes, time_ns: int, essential: bool = False) -> int:
        """Write one record and return its sequence number; when this returns, the record survives the process.

        `essential` records (cancels, fills) may use the reserve when the disk is full. Raises JournalFull,
        JournalFailed or RecordTooLong, and then nothing was written; JournalFull passes when there is room again.
        """
        offset = self._offset
        end = offset + (len(payload) + _OVERHEAD_ROUNDED & -8)
        if end > self._attend_at:
            size = end - offset
            offset = self._attend(size, essential)
            end = offset + size
        sequence = self.next_sequence
        self._page.put(offset, sequence, time_ns, record_type, self._payload_version, payload, self._salt)
        self._offset = end
        self.next_sequence = sequence + 1
        return sequence

    def commit(self) -> int:
        """Ask for a sync now, without waiting; return the sequence number that it will make durable."""
        if self._durability == "fdatasync":
            self._keeper.ask_for_commit()
        return self.next_sequence - 1

    def wait_durable(self, sequence: int, timeout_s: float | None = None) -> bool:
        """Block until `sequence` is durable; False after `timeout_s`; raises JournalFailed if a sync failed."""
        return self._durability == "mmap" or self._keeper.wait_durable(sequence, timeout_s)

    def make_room(self) -> bool:
        """Prepare the next segment if the records will soon need it; blocks for tens of milliseconds.

        Returns whether ordinary appends have room, now and in the next segment. The journal tries by itself
        too; this is for an operator who does not want to wait.
        """
        if self._offset > self._prepare_at():
            try:
                self._keeper.prepare()
            except JournalFull:
                return False
        return self.has_room

    def close(self) -> None:
        """Sync (if that is the durability), release everything; raises JournalFailed if a sync failed."""
        if self._closed:
            return
        self._closed = True
        self._attend_at = _ALWAYS_ATTEND
        self._page.close()
        self._keeper.stop()
        os.close(self._lock_descriptor)
        if self._keeper.failure is not None:
            raise JournalFailed(self._keeper.failure)

    @property
    def records_written(self) -> int:
        """How many records were appended since `open`."""
        return self.next_sequence - 1 - self.recovery.records

    @property
    def durable_sequence(self) -> int:
        """The last record that survives what `durability` promises to survive; never more than that."""
        return self.next_sequence - 1 if self._durability == "mmap" else self._keeper.durable

    @property
    def failed(self) -> str | None:
        """Why the journal has stopped for good: the sync that failed."""
        return self._keeper.failure

    @property
    def has_room(self) -> bool:
        """False from the first append that was refused for want of room until there is a next segment."""
        return not self._is_refusing or (self._keeper.prepared is not None and self._keeper.keeps_up)

    @property
    def shortage(self) -> str | None:
        """Why the next segment could not be prepared: an early warning, while half of this one is left."""
        return self._keeper.shortage

    def _prepare_at(self) -> int:
        return self._segment.size // PREPARE_AT_FRACTION

    def _enter(self, segment: Segment, offset: int) -> None:
        self._segment = segment
        self._page = Page(segment.memory)
        self._salt = segment.salt
        self._offset = offset
        self._room_end = segment.size - self._reserve_bytes
        self._attend_from(min(self._prepare_at(), self._room_end))

    def _attend_from(self, offset: int) -> None:
        self._attend_at = offset
        # In this order: the sync thread sets `failure` first, then calls _latch.
        if self._keeper.failure is not None:
            self._latch()

    def _latch(self) -> None:
        self._attend_at = _ALWAYS_ATTEND

    def _attend(self, size: int, essential: bool) -> int:
        """Find room for a record of `size` bytes, off the ordinary path; return its offset."""
        if self._closed:
            raise JournalError("the journal is closed")
        if self._keeper.failure is not None:
            raise JournalFailed(self._keeper.failure)
        capacity = self._segment_bytes - self._reserve_bytes - HEADER_BYTES
        if size > capacity:
            raise RecordTooLong(f"a record of {size} bytes does not fit; the largest has {capacity}")
        if self._offset + size <= self._room_end:
            if self._keeper.prepared is None:
                self._keeper.request()
            self._attend_from(self._room_end)
            return self._offset
        shortage = self._roll()
        if shortage is not None and not (essential and self._offset + size <= self._segment.size):
            self._is_refusing = True
            raise JournalFull(shortage)
        return self._offset

    def _roll(self) -> str | None:
        """Go on in the next segment; return why not, if that is not possible."""
        keeper = self._keeper
        if not keeper.keeps_up:
            return "the disk is behind: full segments are not synced yet"
        following = keeper.prepared
        if following is None:
            if keeper.shortage is not None:
                # The thread tries again and again; an append must not pay for that.
                return keeper.shortage
            self.inline_preparations += 1
            try:
                following = keeper.prepare()
            except JournalFull as error:
                keeper.request()
                return str(error)
        following.begin(self.next_sequence)
        full = self._segment
        self._page.close()
        self._enter(following, HEADER_BYTES)
        keeper.activate(full, following)
        self._is_refusing = False
        return None


def _lock(directory: Path) -> int:
    """Take the directory for this Journal alone; the kernel lets go of it when the process dies."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{directory}: the journal cannot be opened: {error.strerror}") from error
    try:
        # flock, not lockf: it also keeps a second Journal of the same process out.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise JournalLocked(f"{directory}: the journal is in use by process {owner or 'unknown'}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor


def _recover(directory: Path, segment_bytes: int, durability: Durability, files: Files) -> tuple[Segment, Walk]:
    """Verify every record, remove a torn tail and an unused segment; return the segment to go on in."""
    walk = Walk(directory)
    for _ in walk:
        pass
    if walk.unused is not None:
        walk.unused.unlink()
    synced = durability == "fdatasync"
    if synced:
        # The directory may have been made just now.
        files.sync_directory(directory.parent)
    if walk.header is None or walk.path is None:
        segment = Segment.prepare(directory, 1, segment_bytes, files, synced=synced)
        segment.begin(walk.next_sequence)
    else:
        segment = Segment.reopen(walk.path, walk.header, files)
        segment.clear_from(walk.offset)
    if synced:
        try:
            # What the last process wrote may be in memory only; it is called durable from here on.
            files.fdatasync(segment.descriptor)
        except OSError:
            segment.close()
            raise
    return segment, walk
