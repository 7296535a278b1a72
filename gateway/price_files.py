"""Price histories in files: CSV, plain or gzipped, one underlying's bars a file, columns by name.

`open_time_ms` (or `open_time`, in ms, or as some venues since 2025 in us), `close` and `volume` are needed;
`mark_close`, `funding_rate` and `implied_vol` are used where they are, and a file of its own may give the latter
(gateway/implied_files.py). The underlying is what a file's name has in capitals before a quote currency. Of several
files of one underlying that with the most days counts: windows of minutes stand beside years of hours.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, TextIO, cast

import msgspec
import numpy as np

from gateway.implied_files import ImpliedSeries, why_no_volatility
from risk.fhs.underlying import UnderlyingBars
from risk.volatility.bars import DAY_NS, MAX_BARS, BarRules, Bars
from risk.volatility.refusals import Floats, Ints

MAX_FILES: Final = 1_000
# What a stored file may grow to when it is unpacked: some hundred years of minutes.
MAX_BYTES: Final = 4 * 1024**3
NEEDED: Final = ("close", "volume")
OPTIONAL: Final = ("mark_close", "funding_rate", "implied_vol")
TIMES: Final = ("open_time_ms", "open_time")
# The year 2100 in milliseconds; what is above it is in microseconds, and in seconds bars would be of no whole minutes.
MOST_MS: Final = 4_102_444_800_000
MINUTE_NS: Final = 60_000_000_000
_PAIR: Final = re.compile(r"(?<![A-Z0-9])([A-Z0-9]{2,12}?)[-_]?(USDT|USDC|USD|EUR)(?![A-Z0-9])")


class PriceFileError(ValueError):
    """A file or directory that can not be used; the text says which and why."""


class PriceFile(msgspec.Struct, frozen=True):
    """One underlying as read: its bars, the length of a bar, the file and the hash of its content."""

    path: Path
    underlying: UnderlyingBars
    rules: BarRules
    sha256: str
    implied: ImpliedSeries | None = None  # of a file of its own


def read_directory(directory: Path) -> list[PriceFile]:
    """Read the underlyings of a directory, in order of their names.

    Raises
    ------
    PriceFileError
        If there is none, or a file is no price history.
    """
    if not directory.is_dir():
        raise PriceFileError(f"{directory}: there is no such directory; --data names the one that has the price files")
    inside = directory.glob("*")
    paths = sorted(p for p in inside if p.name.endswith((".csv", ".csv.gz")) and p.is_file())
    if not paths:
        raise PriceFileError(f"{directory}: no .csv or .csv.gz file; --data names the directory that has them")
    if len(paths) > MAX_FILES:
        raise PriceFileError(f"{directory}: {len(paths)} files, {MAX_FILES} at most")
    longest: dict[str, PriceFile] = {}
    implied: dict[str, ImpliedSeries] = {}
    for path in paths:
        if _is_implied(path):
            series = read_implied(path)
            if series.underlying in implied:
                both = implied[series.underlying].path.name
                raise PriceFileError(f"{path}: {both} has the implied volatility of {series.underlying} already")
            implied[series.underlying] = series
            continue
        found = read_file(path)
        name = found.underlying.name
        if name not in longest or _days(found) > _days(longest[name]):
            longest[name] = found
    if strange := sorted(implied.keys() - longest.keys()):
        raise PriceFileError(f"{implied[strange[0]].path}: there are no prices of {strange[0]}")
    return [_with_implied(longest[name], implied.get(name)) for name in sorted(longest)]


def _with_implied(file: PriceFile, series: ImpliedSeries | None) -> PriceFile:
    """Return a price file with the quotes of a series, where there is one, in place of its own."""
    if series is None:
        return file
    bars = file.underlying.bars
    quoted = series.on(bars.open_time_ns, file.rules.step_ns)
    return msgspec.structs.replace(file, underlying=replace(file.underlying, implied_vol=quoted), implied=series)


def _is_implied(path: Path) -> bool:
    """Whether a file has a column of implied volatility and no prices."""
    try:
        with opened(path) as text:
            header = [name.strip().lower() for name in next(csv.reader(_bounded(path, text)), [])]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise PriceFileError(f"{path}: {_reason(error)}") from error
    return "implied_vol" in header and "close" not in header


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def read_implied(path: Path) -> ImpliedSeries:
    """Read a series of implied volatility. Raises PriceFileError, naming the line where there is one."""
    sha256, columns = _read(path, ("implied_vol",), ())
    times = times_of(path, columns.pop("time"), columns.pop("line"))
    quoted = columns["implied_vol"]
    if reason := why_no_volatility(quoted):
        raise PriceFileError(f"{path}: {reason}")
    return ImpliedSeries(path, underlying_name(path), times, np.where(quoted > 0, quoted, np.nan), sha256)


def _read(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> tuple[str, dict[str, Floats]]:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as raw:
            while chunk := raw.read(1 << 20):
                digest.update(chunk)
        with opened(path) as text:
            return digest.hexdigest(), read_columns(path, text, needed, optional)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise PriceFileError(f"{path}: {_reason(error)}") from error


def read_file(path: Path) -> PriceFile:
    """Read one file. Raises PriceFileError, naming the line where there is one."""
    sha256, columns = _read(path, NEEDED, OPTIONAL)
    times = times_of(path, columns.pop("time"), columns.pop("line"))
    bars = Bars(times, columns["close"], columns["volume"])
    extra = {name: columns[name] for name in OPTIONAL if name in columns}
    quoted = extra.get("implied_vol", np.zeros(0))
    if np.isfinite(quoted).any() and (reason := why_no_volatility(quoted)):
        raise PriceFileError(f"{path}: {reason}")
    return PriceFile(path, UnderlyingBars(underlying_name(path), bars, **extra), _rules(path, times), sha256)


def underlying_name(path: Path) -> str:
    """BTC of binance_um_BTCUSDT_1h.csv.gz; the file's name up to its first dot where no pair is in it."""
    found = _PAIR.search(path.name)
    return found[1] if found else path.name.split(".")[0]


def opened(path: Path) -> TextIO:
    """Open a file of text, unpacked where it is gzipped. Raises OSError."""
    if path.suffix == ".gz":
        # Its type is that of every mode. A byte order mark is no part of the first column's name.
        return cast(TextIO, gzip.open(path, "rt", newline="", encoding="utf-8-sig"))
    return path.open(newline="", encoding="utf-8-sig")


def read_columns(path: Path, text: TextIO, needed: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Floats]:
    """Return the columns of a file by name, its opening times as `time` and the lines they are of as `line`.

    Raises PriceFileError, naming the line where there is one.
    """
    reader = csv.reader(_bounded(path, text))
    header = [name.strip().lower() for name in next(reader, [])]
    if len(header) == 1 and any(sign in header[0] for sign in ";\t|"):
        raise PriceFileError(f"{path}: columns are not separated by commas")
    places = _places(path, header, needed, optional)
    rows: list[list[float]] = []
    for row in reader:
        if len(rows) >= MAX_BARS:
            raise PriceFileError(f"{path}: more than {MAX_BARS} bars")
        if not any(row):
            continue
        if len(row) != len(header):
            raise PriceFileError(f"{path}, line {reader.line_num}: {len(row)} cells, and the header has {len(header)}")
        try:
            found = [float(row[at]) if row[at] else float("nan") for at in places.values()]
        except ValueError as error:
            raise PriceFileError(f"{path}, line {reader.line_num}: {error}") from error
        rows.append([*found, reader.line_num])
    table = np.array(rows, dtype=np.float64).reshape(-1, len(places) + 1)
    if not np.isfinite(table[:, 0]).all():
        raise PriceFileError(f"{path}: a bar has no opening time")
    return {name: np.ascontiguousarray(table[:, at]) for at, name in enumerate([*places, "line"])}


def _places(path: Path, header: list[str], needed: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, int]:
    """Return where each column stands, the time first."""
    time = next((name for name in TIMES if name in header), None)
    missing = [name for name in needed if name not in header] + ([] if time else ["open_time_ms"])
    if missing or time is None:
        raise PriceFileError(f"{path}: no column {', '.join(missing)}")
    wanted = {"time": time} | {name: name for name in (*needed, *optional) if name in header}
    twice = [column for column in wanted.values() if header.count(column) > 1]
    if twice:
        raise PriceFileError(f"{path}: column {twice[0]} is there twice")
    return {name: header.index(column) for name, column in wanted.items()}


def times_of(path: Path, time: Floats, line: Floats) -> Ints:
    """Return opening times in ns. Raises PriceFileError where they do not ascend, or are in no unit that is known."""
    if len(time) and time.max() > MOST_MS:
        if not (time.min() > MOST_MS and time.max() <= MOST_MS * 1_000):
            raise PriceFileError(f"{path}: opening times are not in milliseconds since 1970")
        time = time / 1_000.0
    if len(time) and time.min() < 0:
        raise PriceFileError(f"{path}: opening times are before 1970")
    times: Ints = np.round(time * 1_000).astype(np.int64) * 1_000
    if len(times) < 2:
        raise PriceFileError(f"{path}: less than two bars")
    if len(back := np.flatnonzero(np.diff(times) <= 0)):
        at = int(line[back[0] + 1])
        raise PriceFileError(f"{path}, line {at}: opening times do not ascend, this one is not after the one before")
    return times


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
    if DAY_NS % step or step % MINUTE_NS:
        hint = "" if step % MINUTE_NS == 0 else " or are no whole minutes; times are in milliseconds since 1970"
        raise PriceFileError(f"{path}: bars of {step / 1e9:g} s do not divide a day{hint}")
    return BarRules(step_ns=step)


def _days(file: PriceFile) -> int:
    times = file.underlying.bars.open_time_ns
    return int(times[-1] - times[0])
