"""Durable FIX sessions whose messages no record rebuilds: numbers and sent messages, a journal record a batch.

The gateway's own reports are made from its records, so its sessions need no store. One that speaks FIX for itself (an
engine, a session that we open) does: what `SessionStore.save` has returned from survives the process, so call it
before the bytes leave. A store is bounded: past `max_bytes` it goes on in a new generation that begins with what is
kept, and the old one is removed. A generation that was not finished is not used.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

import msgspec

from gateway.journal import Journal, JournalError, read
from protocols.fix.session import SessionConfig, SessionKey, SessionState

DEFAULT_MAX_BYTES: Final = 512 << 20
DEFAULT_SEGMENT_BYTES: Final = 64 << 20
# A record must fit into a segment: what is larger is written in pieces.
_PIECE_FRACTION: Final = 8
_OPENED, _MOVED, _FINISHED = 1, 2, 3
_GENERATION: Final = re.compile(r"[0-9]{8}")


class _Moved(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Numbers after a batch, and what was sent from `first_out` on; None: an administrative message."""

    session: int
    next_in: int
    next_out: int
    first_out: int
    sent: list[bytes | None]


class _Kept(msgspec.Struct):
    """What is written of one session. `state` is None until somebody asks for it: then `sent` has its messages."""

    key: SessionKey
    number: int
    next_in: int = 1
    next_out: int = 1
    first_out: int = 1
    sent: list[bytes | None] = msgspec.field(default_factory=list)
    as_of_ns: int | None = None
    state: SessionState | None = None
    epoch: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode_key = msgspec.msgpack.Decoder(tuple[int, SessionKey]).decode
_decode_moved = msgspec.msgpack.Decoder(_Moved).decode


class SessionStore:
    """The sessions of one directory. One process at a time, one thread."""

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        now_ns: int = 0,
    ) -> None:
        """Recover what is there. Raises JournalError where it is in use or damaged."""
        assert max_bytes >= segment_bytes
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._kept: dict[SessionKey, _Kept] = {}
        self._written_bytes = 0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        generations = sorted(path for path in directory.iterdir() if _GENERATION.fullmatch(path.name))
        self._path = next((path for path in reversed(generations) if self._read(path)), directory / f"{1:08}")
        self._journal = Journal.open(self._path, segment_bytes=segment_bytes)
        if not self._journal.recovery.records:
            self._journal.append(_FINISHED, b"", now_ns)
        for path in generations:
            if path != self._path:
                shutil.rmtree(path)

    def _read(self, path: Path) -> bool:
        """Take what a generation holds; False for one that was not finished."""
        found: dict[int, _Kept] = {}
        is_finished = False
        written_bytes = 0
        for record in read(path):
            written_bytes += len(record.payload)
            if record.record_type == _FINISHED:
                is_finished = True
            elif record.record_type == _OPENED:
                number, key = _decode_key(record.payload)
                found[number] = _Kept(key, number)
            elif record.record_type == _MOVED:
                moved = _decode_moved(record.payload)
                kept = found[moved.session]
                if moved.first_out != kept.next_out:
                    kept.sent, kept.first_out = [], moved.first_out
                kept.sent += moved.sent
                kept.next_in, kept.next_out, kept.as_of_ns = moved.next_in, moved.next_out, record.time_ns
            else:
                raise JournalError(f"{path}: unknown record type {record.record_type}")
        if is_finished:
            self._kept = {kept.key: kept for kept in found.values()}
            self._written_bytes = written_bytes
        return is_finished

    def state(self, key: SessionKey, config: SessionConfig, now_ns: int) -> SessionState:
        """Return a session as it was left, or a new one; the same object each time."""
        kept = self._kept.get(key)
        if kept is None:
            kept = _Kept(key, len(self._kept) + 1)
            self._journal.append(_OPENED, _encode((kept.number, key)), now_ns)
            self._kept[key] = kept
        if kept.state is None:
            state = SessionState(key, config, kept.next_in, kept.first_out, as_of_ns=kept.as_of_ns)
            for number, raw in enumerate(kept.sent, kept.first_out):
                state.sent.put(number, raw)
            state.next_out = kept.next_out
            kept.state, kept.sent, kept.epoch = state, [], state.sent.epoch
        return kept.state

    def save(self, state: SessionState, now_ns: int) -> None:
        """Write what was sent and how far the numbers came since the last time; nothing where nothing moved.

        Raises JournalError when it can not be written: then the bytes may not leave.
        """
        kept = self._kept[state.key]
        sent, next_out = state.sent, state.next_out
        if sent.epoch != kept.epoch:
            kept.epoch = sent.epoch
            kept.next_out, kept.next_in = sent.first_seq_num, -1
        count = next_out - kept.next_out
        if not count and state.next_in == kept.next_in:
            return
        messages = sent.last(count)
        self._write(kept, state.next_in, next_out - len(messages), messages, now_ns)
        if self._written_bytes > self._max_bytes - self._segment_bytes:
            self._begin_generation(now_ns)

    def _write(self, kept: _Kept, next_in: int, first_out: int, sent: list[bytes | None], now_ns: int) -> None:
        next_out = first_out + len(sent)
        payload = _encode(_Moved(kept.number, next_in, next_out, first_out, sent))
        if len(payload) > self._segment_bytes // _PIECE_FRACTION and len(sent) > 1:
            half = len(sent) // 2
            self._write(kept, next_in, first_out, sent[:half], now_ns)
            self._write(kept, next_in, first_out + half, sent[half:], now_ns)
            return
        self._journal.append(_MOVED, payload, now_ns)
        kept.next_in, kept.next_out = next_in, next_out
        self._written_bytes += len(payload)

    def _begin_generation(self, now_ns: int) -> None:
        """Go on in a new journal that holds what is kept, and no more."""
        old, old_path = self._journal, self._path
        self._path = self._directory / f"{int(old_path.name) + 1:08}"
        self._journal = Journal.open(self._path, segment_bytes=self._segment_bytes)
        self._written_bytes = 0
        try:
            for kept in self._kept.values():
                self._journal.append(_OPENED, _encode((kept.number, kept.key)), now_ns)
                store = None if kept.state is None else kept.state.sent
                messages = kept.sent if store is None else store.last(kept.next_out)
                self._write(kept, kept.next_in, kept.next_out - len(messages), messages, kept.as_of_ns or now_ns)
            self._journal.append(_FINISHED, b"", now_ns)
        except JournalError:
            self._journal.close()
            shutil.rmtree(self._path)
            self._journal, self._path = old, old_path
            raise
        old.close()
        shutil.rmtree(old_path)

    def close(self) -> None:
        """Release the directory."""
        self._journal.close()
