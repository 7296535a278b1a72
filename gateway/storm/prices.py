"""Recorded days: bars of a minute or an hour from files that stay where they are, and the price in between.

A bar says where it opened, its highest, its lowest and where it closed. The path through these is ours: down first
where it closed above its open and up first otherwise, straight in the logarithm between them, or in jumps from the one
to the other: what a market does at its worst.
"""

from __future__ import annotations

import csv
import gzip
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import Final

import msgspec

NS_PER_S: Final = 1_000_000_000
HOUR_S: Final = 3600
# File names as they were recorded; the finer ones first.
PATTERNS: Final = (("*_{coin}USDT_1m_*.csv.gz", 60), ("*_{coin}USDT_1h_*.csv.gz", HOUR_S))
# What a day has of each.
MAX_LINES: Final = 4_000_000


class StormError(Exception):
    """There is no such day, or a file is not what it should be; the text says why."""


class Bar(msgspec.Struct, frozen=True, gc=False):
    """Prices in USD, volume in coin; it lasts `seconds` from `time_s` (since the epoch) on."""

    time_s: int
    seconds: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class PricePath(msgspec.Struct, frozen=True):
    """One coin's day: points in time and their prices, ascending, and its bars. `jumps`: nothing lies in between."""

    times_s: tuple[float, ...]
    prices: tuple[float, ...]
    bars: tuple[Bar, ...]
    jumps: bool = False

    def price(self, time_s: float) -> float:
        """Return the price at a time within the day."""
        times = self.times_s
        at = min(max(1, bisect_right(times, time_s)), len(times) - 1)
        if self.jumps:
            return self.prices[at if time_s >= times[at] else at - 1]
        begin, end = times[at - 1], times[at]
        share = min(1.0, max(0.0, (time_s - begin) / (end - begin)))
        low, high = log(self.prices[at - 1]), log(self.prices[at])
        return exp(low + share * (high - low))

    def bar(self, time_s: float) -> Bar:
        """Return the bar of a time within the day."""
        first = self.bars[0]
        return self.bars[min(len(self.bars) - 1, max(0, int((time_s - first.time_s) // first.seconds)))]


class RecordedDay(msgspec.Struct, frozen=True):
    """What is told again: each coin's path over the same hours, in bars of so many seconds."""

    paths: dict[str, PricePath]
    begin_s: int
    end_s: int
    bar_s: int


def load(directory: Path, day: str, *, jumps: bool = False, coins: tuple[str, ...] = ("BTC", "ETH")) -> RecordedDay:
    """Return a day in UTC from the finest files that have all of it for every coin. Raises StormError."""
    try:
        begin = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    except ValueError:
        raise StormError(f"a day is written as 2020-03-12, not {day[:32]!r}") from None
    begin_s, end_s = int(begin.timestamp()), int((begin + timedelta(days=1)).timestamp())
    for pattern, bar_s in PATTERNS:
        found = {coin: _bars(directory, pattern.format(coin=coin), begin_s, end_s, bar_s) for coin in coins}
        if all(found.values()):
            first = max(bars[0].time_s for bars in found.values())
            last = min(bars[-1].time_s for bars in found.values()) + bar_s
            if last - first >= HOUR_S and all(_is_whole(bars, bar_s) for bars in found.values()):
                return RecordedDay({coin: path_of(bars, jumps) for coin, bars in found.items()}, first, last, bar_s)
    if not directory.is_dir():
        raise StormError(f"{directory}: there is no such directory; --data names the one that has the price files")
    raise StormError(f"{directory}: no bars of {day} for {' and '.join(coins)} (files like *_BTCUSDT_1h_*.csv.gz)")


def path_of(bars: list[Bar], jumps: bool) -> PricePath:
    """Return the path through bars that follow each other."""
    times, prices = [], []
    for bar in bars:
        inner = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
        for number, price in enumerate((bar.open, *inner)):
            times.append(bar.time_s + bar.seconds * number / 3)
            prices.append(price)
    times.append(float(bars[-1].time_s + bars[-1].seconds))
    prices.append(bars[-1].close)
    return PricePath(tuple(times), tuple(prices), tuple(bars), jumps)


def _is_whole(bars: list[Bar], bar_s: int) -> bool:
    return all(later.time_s - earlier.time_s == bar_s for earlier, later in pairwise(bars))


def _bars(directory: Path, pattern: str, begin_s: int, end_s: int, bar_s: int) -> list[Bar]:
    found: dict[int, Bar] = {}
    for file in sorted(directory.glob(pattern)):
        for bar in _read(file, begin_s, end_s, bar_s):
            found[bar.time_s] = bar
    return [bar for _, bar in sorted(found.items())]


def _read(file: Path, begin_s: int, end_s: int, bar_s: int) -> Iterator[Bar]:
    """A file may have years: no more than the time is read of bars that are not of these seconds."""
    try:
        with gzip.open(file, "rt", newline="") as lines:
            rows = csv.reader(lines)
            names = next(rows, [])
            if len(names) < 6 or not names[0].startswith("open_time"):
                raise StormError(f"{file.name}: the first line does not name open_time, open, high, low, close, volume")
            for number, row in enumerate(rows, 2):
                if number > MAX_LINES:
                    raise StormError(f"{file.name} has more than {MAX_LINES} lines")
                if begin_s <= int(row[0]) // 1000 < end_s:
                    yield _bar(row, bar_s)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise StormError(f"{file.name} can not be read: {error}") from None


def _bar(row: list[str], bar_s: int) -> Bar:
    opened, high, low, close, volume = (float(value) for value in row[1:6])
    if not 0 < low <= min(opened, close) <= max(opened, close) <= high < 1e12:
        raise ValueError(f"a bar of {row[1:5]} can not be")
    return Bar(int(row[0]) // 1000, bar_s, opened, high, low, close, max(0.0, volume))
