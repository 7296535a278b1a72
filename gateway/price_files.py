"""Price histories in files: CSV, plain or gzipped, one underlying's bars a file, columns by name.

`open_time_ms` (or `open_time`, in ms), `close` and `volume` are needed; `mark_close`, `funding_rate` and `implied_vol`
are used where they are. The underlying is what a file's name has in capitals before a quote currency. Of several files
of one underlying that with the most days counts: windows of minutes stand beside years of hours.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO, cast

import msgspec
import numpy as np

from risk.fhs.underlying import UnderlyingBars
from risk.volatility.bars import DAY_NS, MAX_BARS, BarRules, Bars
from risk.volatility.refusals import Floats

MAX_FILES: Final = 1_000
# What a stored file may grow to when it is unpacked: some hundred years of minutes.
MAX_BYTES: Final = 4 * 1024**3
NEEDED: Final = ("close", "volume")
OPTIONAL: Final = ("mark_close", "funding_rate", "implied_vol")
TIMES: Final = ("open_time_ms", "open_time")
_PAIR: Final = re.compile(r"(?<![A-Z0-9])([A-Z0-9]{2,12}?)[-_]?(USDT|USDC|USD|EUR)(?![A-Z0-9])")


class PriceFileError(ValueError):
    """A file or directory that can not be used; the text says which and why."""


class PriceFile(msgspec.Struct, frozen=True):
    """One underlying as read: its bars, the length of a bar, the file and the hash of its content."""

    path: Path
    underlying: UnderlyingBars
    rules: BarRules
    sha256: str


def read_directory(directory: Path) -> list[PriceFile]:
    """Read the underlyings of a directory, in order of their names.

    Raises
    ------
    PriceFileError
        If there is none, or a file is no price history.
    """
    paths = sorted(p for p in directory.glob("*") if p.name.endswith((".csv", ".csv.gz"))) if directory.is_dir() else []
    if not paths:
        raise PriceFileError(f"{directory}: no .csv or .csv.gz file; --data names the directory that has them")
    if len(paths) > MAX_FILES:
        raise PriceFileError(f"{directory}: {len(paths)} files, {MAX_FILES} at most")
    longest: dict[str, PriceFile] = {}
    for path in paths:
        found = read_file(path)
        name = found.underlying.name
        if name not in longest or _days(found) > _days(longest[name]):
            longest[name] = found
    return [longest[name] for name in sorted(longest)]


def read_file(path: Path) -> PriceFile:
    """Read one file. Raises PriceFileError, naming the line where there is one."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as raw:
            while chunk := raw.read(1 << 20):
                digest.update(chunk)
        with _opened(path) as text:
            columns = _columns(path, text)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise PriceFileError(f"{path}: {error}") from error
    time = columns.pop("time")
    times = (time * 1_000_000).astype(np.int64)
    if len(times) < 2 or not (np.diff(times) > 0).all():
        raise PriceFileError(f"{path}: opening times do not ascend, or there are less than two")
    bars = Bars(times, columns["close"], columns["volume"])
    extra = {name: columns[name] for name in OPTIONAL if name in columns}
    return PriceFile(
        path, UnderlyingBars(underlying_name(path), bars, **extra), _rules(path, times), digest.hexdigest()
    )


def underlying_name(path: Path) -> str:
    """BTC of binance_um_BTCUSDT_1h.csv.gz; the file's name up to its first dot where no pair is in it."""
    found = _PAIR.search(path.name)
    return found[1] if found else path.name.split(".")[0]


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", newline=""))  # whose type is that of every mode
    return path.open(newline="")


def _columns(path: Path, text: TextIO) -> dict[str, Floats]:
    reader = csv.reader(_bounded(path, text))
    header = next(reader, [])
    time = next((name for name in TIMES if name in header), None)
    missing = [name for name in NEEDED if name not in header] + ([] if time else ["open_time_ms"])
    if missing or time is None:
        raise PriceFileError(f"{path}: no column {', '.join(missing)}")
    wanted = {"time": time} | {name: name for name in (*NEEDED, *OPTIONAL) if name in header}
    places = {name: header.index(column) for name, column in wanted.items()}
    rows: list[list[float]] = []
    for line, row in enumerate(reader, start=2):
        if len(rows) >= MAX_BARS:
            raise PriceFileError(f"{path}: more than {MAX_BARS} bars")
        try:
            rows.append([float(row[at]) if row[at] else float("nan") for at in places.values()])
        except (ValueError, IndexError) as error:
            raise PriceFileError(f"{path}, line {line}: {error}") from error
    table = np.array(rows, dtype=np.float64).reshape(-1, len(places))
    if not np.isfinite(table[:, 0]).all():
        raise PriceFileError(f"{path}: a bar has no opening time")
    return {name: np.ascontiguousarray(table[:, at]) for at, name in enumerate(places)}


def _bounded(path: Path, text: TextIO) -> Iterator[str]:
    size = 0
    for line in text:
        size += len(line)
        if size > MAX_BYTES:
            raise PriceFileError(f"{path}: more than {MAX_BYTES} bytes unpacked")
        yield line


def _rules(path: Path, times: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> BarRules:
    steps, counts = np.unique(np.diff(times), return_counts=True)
    step = int(steps[counts.argmax()])
    if DAY_NS % step:
        raise PriceFileError(f"{path}: bars of {step / 1e9:g} s do not divide a day")
    return BarRules(step_ns=step)


def _days(file: PriceFile) -> int:
    times = file.underlying.bars.open_time_ns
    return int(times[-1] - times[0])
