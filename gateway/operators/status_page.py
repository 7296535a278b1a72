"""The status page: the newest snapshot in memory that other processes map, so that who looks never asks the gateway.

A file of fixed size in the journal's directory, little-endian: a header, then two slots that are written in turn.

    header, 64 bytes:  0 magic "MGSTATUS"    8 format version u32    12 slot bytes u32    16 number of the newest u64
    slot:              0 number u64          8 time i64, ns          16 length u32        20 CRC-32C u32 of the data
                      24 data: one JSON object

A reader that is overtaken in the middle sees another number or a wrong CRC, and reads again.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from crc32c import crc32c

NAME: Final = "status.page"
MAGIC: Final = b"MGSTATUS"
VERSION: Final = 1
HEADER_BYTES: Final = 64
# Some 200 bytes an account: 10 000 accounts take 2 MiB. The file has holes, so what is not used costs nothing.
SLOT_BYTES: Final = 16 << 20
# Rows made in one step: some 2 us each.
ROWS_A_STEP: Final = 200
# A writer needs milliseconds for a slot, and has the other to write first.
READ_ATTEMPTS: Final = 100

_HEADER = struct.Struct("<8sIIQ")
_SLOT = struct.Struct("<QqII")
_NUMBER_AT: Final = 16


class StatusPageError(Exception):
    """There is no snapshot to be read; the text says why."""


class Status(msgspec.Struct, frozen=True):
    """A snapshot as it was published: `number` counts up from 1 within a process."""

    number: int
    time_ns: int
    snapshot: dict[str, Any]


class StatusPage:
    """The writing end. One process writes: it holds the journal's lock."""

    def __init__(self, directory: Path, slot_bytes: int = SLOT_BYTES) -> None:
        self.path = directory / NAME
        self._slot_bytes = slot_bytes
        self._number = 0
        # A new file each time: who has the old one mapped sees that it stands still, and opens it again.
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, HEADER_BYTES + 2 * slot_bytes)
            self._memory = mmap.mmap(descriptor, HEADER_BYTES + 2 * slot_bytes)
        finally:
            os.close(descriptor)
        self._memory[: _HEADER.size] = _HEADER.pack(MAGIC, VERSION, slot_bytes, 0)
        new.rename(self.path)

    def publish_in_steps(
        self,
        snapshot: dict[str, Any],
        rows: Callable[[list[str]], list[dict[str, Any]]],
        accounts: Iterable[str],
        time_ns: int,
    ) -> Iterator[None]:
        """Write a snapshot whose `accounts` are made a few at a step. Raises StatusPageError where it is too long."""
        pieces = [orjson.dumps(snapshot)[:-1], b',"accounts":[' if snapshot else b'"accounts":[']
        names, is_first = list(accounts), True
        for start in range(0, len(names), ROWS_A_STEP):
            written = orjson.dumps(rows(names[start : start + ROWS_A_STEP]))[1:-1]
            if written:
                pieces += [written] if is_first else [b",", written]
                is_first = False
            yield
        pieces.append(b"]}")
        self.publish(b"".join(pieces), time_ns)

    def publish(self, data: bytes, time_ns: int) -> None:
        """Write one JSON object, already encoded."""
        if len(data) > self._slot_bytes - _SLOT.size:
            raise StatusPageError(f"a snapshot of {len(data)} bytes is longer than the status page takes")
        number = self._number = self._number + 1
        at, memory = HEADER_BYTES + (number % 2) * self._slot_bytes, self._memory
        start = at + _SLOT.size
        memory[start : start + len(data)] = data
        memory[at:start] = _SLOT.pack(number, time_ns, len(data), crc32c(data))
        memory[_NUMBER_AT : _NUMBER_AT + 8] = number.to_bytes(8, "little")

    def close(self) -> None:
        """Unmap and delete it: a gateway that is not there has no status."""
        self._memory.close()
        self.path.unlink(missing_ok=True)


def read_status(directory: Path) -> Status:
    """Return the newest snapshot of the gateway whose journal lies in a directory.

    Raises
    ------
    StatusPageError
        Where there is none, or it is of another version.
    """
    path = directory / NAME
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            return _read(memory, path)
    except FileNotFoundError:
        raise StatusPageError(f"{path}: no gateway runs there") from None
    except (OSError, ValueError) as error:
        raise StatusPageError(f"{path}: {error}") from None


def _read(memory: mmap.mmap, path: Path) -> Status:
    if len(memory) < HEADER_BYTES:
        raise StatusPageError(f"{path}: not a status page")
    for _ in range(READ_ATTEMPTS):
        magic, version, slot_bytes, newest = _HEADER.unpack_from(memory)
        if magic != MAGIC or version != VERSION or len(memory) != HEADER_BYTES + 2 * slot_bytes:
            raise StatusPageError(f"{path}: not a status page of version {VERSION}")
        if not newest:
            raise StatusPageError(f"{path}: nothing has been published yet")
        at = HEADER_BYTES + (newest % 2) * slot_bytes
        number, time_ns, length, crc = _SLOT.unpack_from(memory, at)
        data = memory[at + _SLOT.size : at + _SLOT.size + min(length, slot_bytes - _SLOT.size)]
        if number == newest and len(data) == length and crc32c(data) == crc:
            return Status(number, time_ns, orjson.loads(data))
    raise StatusPageError(f"{path}: damaged, or written faster than it can be read")
