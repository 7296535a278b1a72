"""The venues' own recordings, which lie outside of the repository: see MARGINGATE_RECORDED."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).parents[3]
RECORDED = Path(os.environ.get("MARGINGATE_RECORDED", ROOT.parent / "shared" / "data"))
PAYLOADS = RECORDED / "payloads"
STREAMS = RECORDED / "streams"

needs_recordings = pytest.mark.skipif(not STREAMS.is_dir(), reason=f"no recorded data in {RECORDED}")


def payload(venue: str, name: str) -> Any:
    return orjson.loads((PAYLOADS / venue / name).read_bytes())


def payload_names(venue: str) -> list[str]:
    folder = PAYLOADS / venue
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))


def binance_lines() -> Iterator[tuple[int, bytes]]:
    """Yield (local time in ns, frame) of the USD-M recording; the one without "stream" is the REST snapshot."""
    with gzip.open(STREAMS / "binance_um_btcusdt_20240808.gz", "rb") as lines:
        for line in lines:
            time, _, frame = line.partition(b" ")
            yield int(time), frame.strip()


def cryptofeed_lines(name: str) -> Iterator[tuple[int, bytes]]:
    """Yield (local time in ns, frame) of what a venue sent, of a recording by cryptofeed."""
    with gzip.open(STREAMS / name, "rt") as lines:
        for line in lines:
            time, _, text = line.partition(": ")
            if text.startswith("{") and "<-" not in time:
                yield int(float(time) * 1e9), text.strip().encode()


def zipped_lines(name: str) -> Iterator[bytes]:
    with zipfile.ZipFile(STREAMS / name) as archive:
        (inner,) = archive.namelist()
        yield from archive.read(inner).splitlines()
