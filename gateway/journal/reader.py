"""Reading a journal: every record verified, a torn tail told from damage.

A process that dies in the middle of an append leaves one incomplete record, and after it nothing that was ever
written: that tail is torn, and dropping it loses nothing that was reported as appended. If a complete record
follows the bad place, or a later segment has begun, then something that had been complete was changed: that is
damage, and nobody but an operator may decide to go on.
"""

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crc32c import crc32c
from msgspec import Struct

from gateway.journal.segment import (
    FIXED,
    HEADER_BYTES,
    MIN_RECORD_BYTES,
    PREFIX,
    SUFFIX,
    Header,
    JournalDamaged,
    JournalError,
    decode_header,
)

_PEEK_BYTES = PREFIX.size + 8
_BLOCK_BYTES = 1 << 20
_ZEROS = bytes(_BLOCK_BYTES)
_SEGMENT_NAME = re.compile(r"[0-9]{8}" + re.escape(SUFFIX))


class Record(Struct, frozen=True, gc=False):
    """One event as it was appended."""

    sequence: int
    record_type: int
    time_ns: int
    payload: bytes
    payload_version: int


class TornTail(Struct, frozen=True, gc=False):
    """What a crash left of an append that had not been reported as done; `sequence` is the number it would have had."""

    path: Path
    offset: int
    sequence: int
    bytes_dropped: int


Buffer = mmap.mmap | bytes


def read(directory: Path) -> Iterator[Record]:
    """Yield every record of the journal in `directory`, oldest first, without taking its lock.

    A torn tail ends it silently (`Journal.open` reports and removes it). Raises JournalDamaged,
    JournalVersionUnknown, or JournalError when there is no such directory.
    """
    return iter(Walk(directory))


class Walk:
    """One pass over all segments. When it is exhausted, the attributes say where the journal ends.

    `header` and `path` are of the last segment that was begun (None if none was), `offset` is the end of its last
    record, `next_sequence` the number after it; `torn` is the incomplete record there, `unused` a segment that was
    prepared (perhaps only in part) and never begun.
    """

    def __init__(self, directory: Path) -> None:
        self.header: Header | None = None
        self.path: Path | None = None
        self.offset = HEADER_BYTES
        self.next_sequence = 1
        self.torn: TornTail | None = None
        self.unused: Path | None = None
        self._paths = segments(directory)
        if self._paths and _is_unused(self._paths[-1]):
            self.unused = self._paths.pop()

    def __iter__(self) -> Iterator[Record]:
        for path in self._paths:
            with _mapped(path) as buffer:
                self._enter(path, buffer)
                yield from self._records(path, buffer, is_last=path == self._paths[-1])

    def _enter(self, path: Path, buffer: Buffer) -> None:
        header = decode_header(buffer[:HEADER_BYTES], path)
        if header is None:
            raise JournalDamaged(path, 0, self.next_sequence, "the segment header is not valid")
        if header.index != int(path.stem):
            raise JournalDamaged(path, 0, self.next_sequence, f"the header belongs to segment {header.index}")
        previous = self.header.index if self.header else 0
        if header.first_sequence != self.next_sequence or header.index != previous + 1:
            # What is missing is missing from the end of the segment before, if there is one.
            raise JournalDamaged(
                self.path or path,
                self.offset if self.path else 0,
                self.next_sequence,
                f"segment {path.name} begins with record {header.first_sequence}",
            )
        self.header, self.path, self.offset = header, path, HEADER_BYTES

    def _records(self, path: Path, buffer: Buffer, *, is_last: bool) -> Iterator[Record]:
        assert self.header is not None
        salt = self.header.salt
        while True:
            offset = self.offset
            body = complete_record(buffer, offset, salt)
            if body is None:
                if self._is_end(path, buffer, is_last=is_last):
                    return
                continue
            sequence, time_ns, record_type, payload_version = FIXED.unpack_from(body)
            if sequence != self.next_sequence:
                reason = f"the record there has sequence number {sequence}"
                raise JournalDamaged(path, offset, self.next_sequence, reason)
            end_of_body = offset + PREFIX.size + len(body)
            self.offset = (end_of_body + 7) & -8
            if any(buffer[end_of_body : self.offset]):
                raise JournalDamaged(path, end_of_body, sequence, "its padding is not zero")
            self.next_sequence = sequence + 1
            yield Record(sequence, record_type, time_ns, body[FIXED.size :], payload_version)

    def _is_end(self, path: Path, buffer: Buffer, *, is_last: bool) -> bool:
        """Say whether the records end at `offset`; raises JournalDamaged if one was lost there.

        False means: look again, a live writer has completed the record in the meantime.
        """
        if not is_last:
            # The next segment's first sequence number says whether anything is missing here; see _enter.
            return True
        assert self.header is not None
        offset, sequence, salt = self.offset, self.next_sequence, self.header.salt
        stop = _end_of_data(buffer, offset)
        if stop == offset:
            return True
        later = _later_record(buffer, offset, stop, salt, sequence)
        if later is not None:
            if complete_record(buffer, offset, salt) is not None:
                return False
            raise JournalDamaged(path, offset, sequence, f"a complete record follows it at byte {later}")
        self.torn = TornTail(path, offset, sequence, stop - offset)
        return True


def complete_record(buffer: Buffer, offset: int, salt: int) -> bytes | None:
    """Return the record's bytes after its CRC, or None if there is no complete record at `offset`."""
    if offset + MIN_RECORD_BYTES > len(buffer):
        return None
    length, crc = PREFIX.unpack_from(buffer, offset)
    start = offset + PREFIX.size
    if not FIXED.size <= length <= len(buffer) - start:
        return None
    body = buffer[start : start + length]
    return body if crc32c(body, salt ^ length) == crc else None


def _later_record(buffer: Buffer, offset: int, stop: int, salt: int, sequence: int) -> int | None:
    """Return where, after `offset`, a complete record lies that is not older than `sequence`."""
    highest = sequence + len(buffer) // MIN_RECORD_BYTES
    for later in range(offset + 8, min(stop, len(buffer) - MIN_RECORD_BYTES + 1), 8):
        # Nearly every place fails one of these two comparisons, so that the CRC is hardly ever computed.
        length = int.from_bytes(buffer[later : later + 4], "little")
        if not FIXED.size <= length <= len(buffer) - later:
            continue
        found = int.from_bytes(buffer[later + PREFIX.size : later + _PEEK_BYTES], "little")
        if sequence <= found <= highest and complete_record(buffer, later, salt) is not None:
            return later
    return None


def _end_of_data(buffer: Buffer, offset: int) -> int:
    """Return the offset after the last byte that is not zero, or `offset` if there is none from there on."""
    stop = len(buffer)
    while stop > offset:
        start = max(offset, stop - _BLOCK_BYTES)
        data = buffer[start:stop]
        if data != _ZEROS[: len(data)]:  # compared at once: nearly all of a segment may be empty, and to strip is slow
            return start + len(data.rstrip(b"\0"))
        stop = start
    return offset


def segments(directory: Path) -> list[Path]:
    """Return the segments in order."""
    try:
        paths = sorted(entry for entry in directory.iterdir() if entry.suffix == SUFFIX)
    except OSError as error:
        raise JournalError(f"{directory}: the journal cannot be read: {error.strerror}") from error
    for path in paths:
        if not _SEGMENT_NAME.fullmatch(path.name):
            raise JournalError(f"{path}: not the name of a journal segment; move it elsewhere")
    return paths


def _is_unused(path: Path) -> bool:
    """Say whether the segment was prepared, and at most its header begun, but holds nothing."""
    with _mapped(path) as buffer:
        if decode_header(buffer[:HEADER_BYTES], path) is not None:
            return False
        return _end_of_data(buffer, HEADER_BYTES) == HEADER_BYTES


@contextmanager
def _mapped(path: Path) -> Iterator[Buffer]:
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            yield memory
