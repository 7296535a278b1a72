"""The audit log: one JSON object a line, each with the hash of the one before, so that no line can be changed, taken
out, added or moved without the chain telling.

The end of a chain can be cut off and still be a chain. So beside the file lies its head (FILE.head: how many entries,
and the last hash), written after each entry; and the number of entries is a metric, which lies with whoever scrapes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from gateway.redaction import redacted

FIRST: Final = hashlib.sha256(b"margingate audit log 1").hexdigest()
MAX_LINE_BYTES: Final = 1 << 16
HEAD_SUFFIX: Final = ".head"
_KEYS: Final = {"n", "time_ns", "who", "role", "act", "outcome", "about", "prev", "hash"}


class AuditError(Exception):
    """The log is not what was written, or can not be written; the text says where and why."""


class Entry(msgspec.Struct, frozen=True):
    """Who did what; `outcome` is asked, done, refused or pending, `about` the act's own fields."""

    n: int
    time_ns: int
    who: str
    role: str
    act: str
    outcome: str
    about: dict[str, Any]


class Head(msgspec.Struct, frozen=True):
    """Where a log ends: the number of entries, and the last one's hash."""

    entries: int
    hash: str


class AuditLog:
    """The writing end; one process has it."""

    def __init__(self, path: Path) -> None:
        """Open, or begin, a log. Raises AuditError where what is there does not verify, or another process writes."""
        self.path = path
        self.entries: list[Entry] = []
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            reason = "another process writes it" if isinstance(error, BlockingIOError) else error.strerror
            raise AuditError(f"{path}: {reason}") from None
        try:
            self._drop_torn_line()
            self.head = verify(path, keep=self.entries.append)
            self._write_head()
        except AuditError:
            os.close(self._file)
            raise

    def append(self, time_ns: int, who: str, role: str, act: str, outcome: str, about: dict[str, Any]) -> Entry:
        """Write one entry, to the disk. Raises AuditError: then nothing was written."""
        entry = Entry(self.head.entries + 1, time_ns, who, role, act, outcome, _cleaned(about))
        fields = msgspec.structs.asdict(entry) | {"prev": self.head.hash}
        digest = _hash(fields)
        line = orjson.dumps(fields | {"hash": digest}) + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise AuditError(f"{self.path}: an entry of {len(line)} bytes is too long")
        end = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(None, "the disk is full")
            os.fdatasync(self._file)
        except OSError as error:
            os.ftruncate(self._file, end)
            raise AuditError(f"{self.path}: {error.strerror}") from None
        self.head = Head(entry.n, digest)
        self._write_head()
        return entry

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)

    def _write_head(self) -> None:
        new = self.path.with_name(self.path.name + HEAD_SUFFIX + ".new")
        try:
            new.write_bytes(msgspec.json.encode(self.head))
            new.chmod(0o600)
            new.rename(head_path(self.path))
        except OSError as error:
            raise AuditError(f"{new}: {error.strerror}") from None

    def _drop_torn_line(self) -> None:
        """A crash in the middle of a write leaves a line without its end, which nobody was told of."""
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.ftruncate(self._file, data.rfind(b"\n") + 1)


def head_path(path: Path) -> Path:
    """Return where a log's head lies."""
    return path.with_name(path.name + HEAD_SUFFIX)


def verify(path: Path, expected: Head | None = None, keep: Any = None) -> Head:
    """Check a log from its first line to its last, and against its head; return where it ends.

    `expected` is a head that somebody has kept elsewhere; `keep` is handed each entry.

    Raises
    ------
    AuditError
        At the first line that is not what was written, or where the end is missing.
    """
    heads = [expected] if expected is not None else []
    if (own := _own_head(path)) is not None:
        heads.append(own)
    previous, count, missing = FIRST, 0, list(heads)
    if any(head.entries == 0 and head.hash != FIRST for head in heads):
        raise AuditError(f"{path}: its head is of another log")
    missing = [head for head in missing if head.entries]
    for count, fields in enumerate(_lines(path), 1):
        where = f"{path}:{count}"
        digest = fields.pop("hash")
        if fields["n"] != count:
            raise AuditError(f"{where}: the entry there is number {fields['n']}: entries are missing, added or moved")
        if fields["prev"] != previous:
            raise AuditError(f"{where}: it does not follow the entry before it")
        if _hash(fields) != digest:
            raise AuditError(f"{where}: it was changed")
        previous = digest
        for head in [head for head in missing if head.entries == count]:
            if head.hash != digest:
                raise AuditError(f"{where}: it is not the entry that the log's head knows")
            missing.remove(head)
        if keep is not None:
            fields.pop("prev")
            keep(msgspec.convert(fields, Entry))
    if missing:
        raise AuditError(f"{path}: it ends after {count} entries, and had {max(head.entries for head in missing)}")
    return Head(count, previous)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                yield _fields(line, f"{path}:{number}")
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}") from None


def _fields(line: bytes, where: str) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise AuditError(f"{where}: the line is not complete")
    try:
        fields: dict[str, Any] = orjson.loads(line)
        msgspec.convert({key: fields[key] for key in _KEYS - {"prev", "hash"}}, Entry)
        is_whole = set(fields) == _KEYS and orjson.dumps(fields) + b"\n" == line
    except (ValueError, LookupError, TypeError):
        is_whole = False
    if not is_whole:
        raise AuditError(f"{where}: not an entry as it is written")
    return fields


def _own_head(path: Path) -> Head | None:
    try:
        return msgspec.json.decode(head_path(path).read_bytes(), type=Head)
    except FileNotFoundError:
        if path.exists() and path.stat().st_size:
            raise AuditError(f"{head_path(path)}: is missing: nobody can say whether the log's end is") from None
        return None
    except OSError as error:
        raise AuditError(f"{head_path(path)}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise AuditError(f"{head_path(path)}: {error}") from None


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(inner) for key, inner in value.items()}
    return redacted(value) if isinstance(value, str) else value


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
