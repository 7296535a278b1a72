"""Recordings as they are found: JSON lines with or without a time before them, or one document; gzipped, zipped, plain.

A line is a frame with, if anything, the time before it at which it came (seconds, milliseconds, microseconds or
nanoseconds, or ISO 8601), or an object that has both under names of its own. What a client sent (``<-``) and what is no
JSON is left out and counted.
"""

from __future__ import annotations

import gzip
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import orjson

MAX_LINE_BYTES: Final = 64 << 20
MAX_DOCUMENT_BYTES: Final = 256 << 20
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_WRAPPED: Final = ("message", "msg", "frame", "raw", "payload")
_TIMES: Final = (
    "local_ns",
    "recv_ns",
    "t_ns",
    "local_timestamp",
    "local_ts",
    "received",
    "recv_ts",
    "ts",
    "time",
    "timestamp",
)
_NUMBER: Final = re.compile(rb"[0-9]{9,20}(?:\.[0-9]+)?")
_ISO: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:\.[0-9]+)?(?:Z|\+00:00)?")
NS_PER_S: Final = 1_000_000_000


class RecordingError(ValueError):
    """A file that is no recording; the text says why."""


class Recording:
    """The frames of a file, which may be read more than once. `left_out` counts what the last reading did not give."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left_out: Counter[str] = Counter()

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield (time in ns, 0 where none is known, frame) in the file's order.

        Raises
        ------
        RecordingError
            For a file that can not be read.
        """
        self.left_out.clear()
        try:
            for stream in self._streams():
                yield from self._of(stream)
        except (OSError, EOFError, zipfile.BadZipFile, gzip.BadGzipFile) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise RecordingError(f"{self.path}: {reason}") from None

    def _streams(self) -> Iterator[IO[bytes]]:
        with self.path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            if head == _ZIP:
                with zipfile.ZipFile(file) as archive:
                    for name in sorted(archive.namelist()):
                        if not name.endswith("/"):
                            with archive.open(name) as member:
                                yield member
            elif head[:2] == _GZIP:
                with gzip.open(file) as unzipped:
                    yield unzipped  # type: ignore[misc]
            else:
                yield file

    def _of(self, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        first = stream.readline(MAX_LINE_BYTES)
        while first and not first.strip(b" \t\r\n\xef\xbb\xbf"):
            first = stream.readline(MAX_LINE_BYTES)
        if first.lstrip()[:1] in (b"{", b"[") and not _is_json(first):
            # Not a line by itself: the whole file is one document.
            yield from self._document(first + stream.read(MAX_DOCUMENT_BYTES))
            return
        line = first
        while line:
            yield from self._line(line.strip())
            line = stream.readline(MAX_LINE_BYTES)

    def _document(self, text: bytes) -> Iterator[tuple[int, bytes]]:
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise RecordingError(f"{self.path}: neither lines of JSON nor one document: {error}") from None
        for item in found if isinstance(found, list) else [found]:
            yield _unwrapped(0, item, orjson.dumps(item))

    def _line(self, line: bytes) -> Iterator[tuple[int, bytes]]:
        starts = [at for at in (line.find(b"{"), line.find(b"[")) if at >= 0]
        if not line:
            return
        if not starts:
            self.left_out["pongs" if line.rsplit(b" ", 1)[-1] in (b"ping", b"pong") else "lines without JSON"] += 1
            return
        head, frame = line[: min(starts)], line[min(starts) :]
        if b"<-" in head:
            self.left_out["frames that the client sent"] += 1
            return
        try:
            message = orjson.loads(frame)
        except orjson.JSONDecodeError:
            # A frame that was cut is the codec's to refuse.
            yield _time_of(head), frame
            return
        if isinstance(message, list) and line[:1] == b"[" and message and not isinstance(message[0], dict):
            self.left_out["lines without JSON"] += 1
            return
        yield _unwrapped(_time_of(head), message, frame)


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _unwrapped(time_ns: int, message: Any, frame: bytes) -> tuple[int, bytes]:
    """Return the frame itself where the recorder has put it into an object of its own."""
    if not isinstance(message, dict):
        return time_ns, frame
    for name in _WRAPPED:
        inner = message.get(name)
        if isinstance(inner, str) and inner[:1] in ("{", "["):
            inner = inner.encode()
        elif isinstance(inner, dict):
            inner = orjson.dumps(inner)
        else:
            continue
        stated = next((message[key] for key in _TIMES if key in message), None)
        return time_ns or _time_of(str(stated).encode()), inner
    return time_ns, frame


def _time_of(head: bytes) -> int:
    """Return the time in a text in ns, by its size; 0 where there is none."""
    iso = _ISO.search(head)
    if iso is not None:
        with suppress(ValueError):
            at = datetime.fromisoformat(iso.group().decode().replace("Z", "+00:00")[:32])
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return round(at.timestamp() * 1e6) * 1_000
    found = _NUMBER.search(head)
    if found is None:
        return 0
    text = found.group()
    if b"." in text:
        return int(float(text) * 1e9) if len(text.partition(b".")[0]) < 12 else int(float(text) * 1e6)
    value = int(text)
    while value < 10**17:  # 1973 in ns; later than any year in a coarser unit
        value *= 1_000
    return value
