"""From bars to log returns, with the rules for what venues' histories lack.

- A bar that is absent, without volume, or without a finite positive close is no observation: its return is NaN. Its
  close is an old price, and a zero return would say that the market had been calm.
- The first bar after a gap of up to `max_gap` bars carries the return over all of it and says over how many bars
  (`span`). After a longer gap the history starts anew.
- Between two segments (another venue, a relisting, a redenominated contract) no return is taken: the step between their
  prices is a basis or a factor, not a move.
- A factor of a power of ten from one bar to the next is a redenomination that nobody declared: a batch is refused, for
  a person to declare it; online it counts as a move, which raises margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from risk.volatility.refusals import Bools, Floats, Ints, Reason, per_underlying, require

DAY_NS: Final = 86_400 * 1_000_000_000
HOUR_NS: Final = 3_600 * 1_000_000_000
MINUTE_NS: Final = 60 * 1_000_000_000
MAX_BARS: Final = 10_000_000
# How near to a power of ten a factor has to be to look like a redenomination, in logs.
SPLIT_TOLERANCE: Final = 0.02


@dataclass(frozen=True, slots=True)
class BarRules:
    """Length of a bar and what is bridged. `max_gap`: missing bars over which a return is still taken."""

    step_ns: int = HOUR_NS
    max_gap: int = 6
    zero_volume_observed: bool = False

    def __post_init__(self) -> None:
        whole = self.step_ns > 0 and DAY_NS % self.step_ns == 0
        require(whole, Reason.BAD_PARAMETER, f"a day is no multiple of step_ns {self.step_ns}")
        require(self.max_gap >= 0, Reason.BAD_PARAMETER, f"max_gap {self.max_gap} is negative")

    @property
    def bars_per_day(self) -> int:
        """Bars in a day of UTC."""
        return DAY_NS // self.step_ns


@dataclass(frozen=True, slots=True)
class Bars:
    """A history: opening times in ns since the epoch (ascending), closes, volumes, and the segment of each, all [T]."""

    open_time_ns: Ints
    close: Floats
    volume: Floats
    segment: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        size = len(self.open_time_ns)
        if not len(self.segment):
            object.__setattr__(self, "segment", np.zeros(size, np.int64))
        same = all(a.shape == (size,) for a in (self.open_time_ns, self.close, self.volume, self.segment))
        require(same, Reason.BAD_SHAPE, "times, closes, volumes and segments differ in length")


@dataclass(frozen=True, slots=True)
class Returns:
    """Log returns on a regular grid, all [T]. `span`: bars that the return covers, 0 where there is none (NaN)."""

    open_time_ns: Ints
    log_return: Floats
    span: Ints

    @property
    def per_bar(self) -> Floats:
        """Returns of one bar's size: that over k bars is divided by the root of k, for a bar's variance."""
        return self.log_return / np.sqrt(np.maximum(self.span, 1))


def spliced(histories: Sequence[Bars]) -> Bars:
    """Histories after each other, each a segment of its own. Where two overlap the later one counts from its start.

    Raises EstimateError (SHORT_HISTORY) without a history, (UNORDERED) if they do not start in order.
    """
    require(bool(histories), Reason.SHORT_HISTORY, "no history to splice")
    histories = [bars for bars in histories if len(bars.open_time_ns)] or [histories[0]]
    ends = [int(bars.open_time_ns[0]) for bars in histories[1:]]
    require(ends == sorted(set(ends)), Reason.UNORDERED, "histories do not start after each other")
    kept = [bars.open_time_ns < end for bars, end in zip(histories, ends)]
    kept.append(np.ones(len(histories[-1].open_time_ns), np.bool_))
    numbers = [np.full(int(keep.sum()), number, np.int64) for number, keep in enumerate(kept)]
    return Bars(
        np.concatenate([bars.open_time_ns[keep] for bars, keep in zip(histories, kept)]),
        np.concatenate([bars.close[keep] for bars, keep in zip(histories, kept)]),
        np.concatenate([bars.volume[keep] for bars, keep in zip(histories, kept)]),
        np.concatenate(numbers),
    )


def returns_of(bars: Bars, rules: BarRules) -> Returns:
    """Log returns of a history by the rules above, on the grid from its first bar to its last.

    Raises EstimateError: SHORT_HISTORY (no bar), UNORDERED, OFF_GRID, TOO_LARGE, UNDECLARED_SPLIT.
    """
    times = bars.open_time_ns
    require(len(times) > 0, Reason.SHORT_HISTORY, "no bar")
    require(bool(np.all(np.diff(times) > 0)), Reason.UNORDERED, "opening times do not ascend")
    require(
        bool(np.all(times % rules.step_ns == 0)),
        Reason.OFF_GRID,
        f"an opening time is no multiple of {rules.step_ns} ns",
    )
    size = int((times[-1] - times[0]) // rules.step_ns) + 1
    require(size <= MAX_BARS, Reason.TOO_LARGE, f"{size} bars from first to last, {MAX_BARS} at most")
    log_return, span = np.full(size, np.nan), np.zeros(size, np.int64)
    usable = usable_bars(bars.close, bars.volume, rules)
    slot = ((times - times[0]) // rules.step_ns)[usable]
    moved, gap = np.diff(np.log(bars.close[usable])), np.diff(slot)
    taken = (gap <= rules.max_gap + 1) & (np.diff(bars.segment[usable]) == 0)
    suspect = taken & looks_split(moved)
    if suspect.any():
        where = int(slot[1:][suspect][0]) * rules.step_ns + int(times[0])
        require(False, Reason.UNDECLARED_SPLIT, f"the price changes by a power of ten at {where} ns")
    log_return[slot[1:][taken]] = moved[taken]
    span[slot[1:][taken]] = gap[taken]
    return Returns(times[0] + np.arange(size, dtype=np.int64) * rules.step_ns, log_return, span)


def usable_bars(close: Floats, volume: Floats, rules: BarRules) -> Bools:
    """Which bars are observations: a finite positive close and, unless the rules waive it, volume."""
    usable: Bools = np.isfinite(close) & (close > 0)
    if not rules.zero_volume_observed:
        usable &= volume > 0
    return usable


def looks_split(log_return: Floats) -> Bools:
    """Which returns are a factor of a power of ten."""
    decades = np.round(log_return / np.log(10.0))
    found: Bools = (decades != 0) & (np.abs(log_return - decades * np.log(10.0)) < SPLIT_TOLERANCE)
    return found


class BarBank:
    """The same online, for `size` underlyings on one clock: a bar's closes in, the returns that it brings out."""

    def __init__(self, size: int, rules: BarRules) -> None:
        self.rules, self.size = rules, size
        self._log_close = np.full(size, np.nan)
        self._seen_ns = np.zeros(size, np.int64)
        self._segment = np.zeros(size, np.int64)
        self._last_ns = -1

    def update(
        self, open_time_ns: int, close: Floats, volume: Floats, segment: Ints | None = None
    ) -> tuple[Floats, Ints]:
        """Log returns and spans [size] at this bar; NaN and 0 where there is none. `segment`: as in Bars.

        Raises EstimateError: BAD_SHAPE, OFF_GRID, UNORDERED.
        """
        close, volume = per_underlying(close, self.size, "close"), per_underlying(volume, self.size, "volume")
        on_grid = open_time_ns % self.rules.step_ns == 0
        require(on_grid, Reason.OFF_GRID, f"{open_time_ns} is no multiple of {self.rules.step_ns} ns")
        require(open_time_ns > self._last_ns, Reason.UNORDERED, f"{open_time_ns} ns is not after {self._last_ns} ns")
        self._last_ns = open_time_ns
        segment = self._segment if segment is None else segment
        usable = usable_bars(close, volume, self.rules)
        log_close = np.log(np.where(usable, close, 1.0))
        gap = (open_time_ns - self._seen_ns) // self.rules.step_ns
        taken = usable & np.isfinite(self._log_close) & (gap <= self.rules.max_gap + 1) & (segment == self._segment)
        log_return = np.where(taken, log_close - self._log_close, np.nan)
        span = np.where(taken, gap, 0)
        np.copyto(self._log_close, log_close, where=usable)
        np.copyto(self._seen_ns, open_time_ns, where=usable)
        self._segment = np.where(usable, segment, self._segment)
        return log_return, span
