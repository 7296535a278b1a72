"""The factors of one underlying, from its perpetual's bars, mark prices, funding and, where there is one, implied vol.

What a history does not have is derived by a stated rule: without implied volatility one month's is taken to be
VOL_PREMIUM times a fast mean of realised volatility; the carry of a dated future is what the last funding payment,
returning to its mean with FUNDING_REVERSION_DAYS, comes to until its expiry (`carry_loading`). A report that uses such
a factor says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp
from typing import Final

import numpy as np

from risk.fhs.factors import Factor, FactorHistory, FactorKind
from risk.volatility.bars import DAY_NS, BarRules, Bars, returns_of, usable_bars
from risk.volatility.ewma import ewma_filter
from risk.volatility.realised import realised_variance
from risk.volatility.refusals import Floats, Ints, Reason, require

DAYS_PER_YEAR: Final = 365
VOL_DECAY: Final = 0.9
VOL_PREMIUM: Final = 1.05
FUNDING_REVERSION_DAYS: Final = 7.0


@dataclass(frozen=True)
class UnderlyingBars:
    """One underlying's history: `bars` of its perpetual, and on the same times, NaN where there is none, all [T]:

    `mark_close` the mark (index) price at a bar's end, `funding_rate` what was paid in a bar, as a fraction,
    `implied_vol` one month's, annual. An empty array is one of NaN.

    Raises EstimateError (BAD_SHAPE).
    """

    name: str
    bars: Bars
    mark_close: Floats = field(default_factory=lambda: np.zeros(0))
    funding_rate: Floats = field(default_factory=lambda: np.zeros(0))
    implied_vol: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        size = len(self.bars.open_time_ns)
        for column in ("mark_close", "funding_rate", "implied_vol"):
            given = getattr(self, column)
            if not len(given):
                object.__setattr__(self, column, np.full(size, np.nan))
            require(getattr(self, column).shape == (size,), Reason.BAD_SHAPE, f"{column} of {given.shape}, not {size}")


@dataclass(frozen=True)
class Days:
    """An underlying by the day, all [D]: what was known at the end of each; NaN where it was not.

    `funding_rate` is a fraction a day, at the pace of the day's last payment.
    """

    name: str
    day: Ints
    close: Floats
    segment: Floats
    realised_variance: Floats
    funding_rate: Floats
    basis: Floats
    implied_vol: Floats
    implied_is_quoted: bool


def days_of(underlying: UnderlyingBars, rules: BarRules) -> Days:
    """An underlying by the day of UTC; a day's close is its last observation, unless that is too long before its end.

    Raises EstimateError as `returns_of` and `realised_variance` do.
    """
    bars = underlying.bars
    day, variance = realised_variance(returns_of(bars, rules), rules)
    bar_day = bars.open_time_ns // DAY_NS - day[0]
    late = bars.open_time_ns % DAY_NS // rules.step_ns >= rules.bars_per_day - 1 - rules.max_gap
    counts = usable_bars(bars.close, bars.volume, rules) & late
    close = _last(np.where(counts, bars.close, np.nan), bar_day, len(day))
    basis = _last(np.where(counts, _basis(underlying), np.nan), bar_day, len(day))
    segment = _last(np.where(counts, bars.segment, np.nan), bar_day, len(day))
    funding = _funding(underlying.funding_rate, bars.open_time_ns, bar_day, len(day))
    quoted = _last(np.where(underlying.implied_vol > 0, underlying.implied_vol, np.nan), bar_day, len(day))
    is_quoted = bool(np.isfinite(quoted).any())
    implied = quoted if is_quoted else _implied_proxy(variance)
    return Days(underlying.name, day, close, segment, variance, funding, basis, implied, is_quoted)


def _basis(underlying: UnderlyingBars) -> Floats:
    good = (underlying.mark_close > 0) & (underlying.bars.close > 0)
    ratio = np.where(good, underlying.bars.close, 1.0) / np.where(good, underlying.mark_close, 1.0)
    return np.where(good, np.log(ratio), np.nan)


def _funding(rate: Floats, time_ns: Ints, bar_day: Ints, days: int) -> Floats:
    """The last payment of each day at the pace of its payments, as a fraction a day.

    Not the day's sum: a future is priced in the evening, from what is paid then. Changes of averages follow each other
    where those of what is averaged do not (Working 1960), and so did the days that a margin made of sums did not cover.
    """
    there = np.isfinite(rate)
    # A column may say zero in bars without a payment: payments are at times of day that have ever had one.
    hour = time_ns % DAY_NS
    there &= np.isin(hour, np.unique(hour[there & (rate != 0)])) if (rate[there] != 0).any() else there
    at = np.flatnonzero(there)
    pace = np.full(len(rate), np.nan)
    if len(at) > 1:
        gap = np.diff(time_ns[at])
        # The least of the last three: one that is missing in the file does not halve what is paid a day.
        least = np.minimum.reduce([gap, np.roll(gap, 1), np.roll(gap, 2)]) if len(gap) > 2 else gap
        least[:2] = gap[:2]
        pace[at[1:]] = DAY_NS / np.minimum(least, DAY_NS)
    return _last(rate * pace, bar_day, days)


def _last(values: Floats, bar_day: Ints, days: int) -> Floats:
    found = np.full(days, np.nan)
    there = np.isfinite(values) & (bar_day < days)
    found[bar_day[there]] = values[there]  # ascending in time: the last one stays
    return found


def _implied_proxy(variance: Floats) -> Floats:
    fast = ewma_filter(np.sqrt(variance), VOL_DECAY)
    return np.asarray(VOL_PREMIUM * np.sqrt(DAYS_PER_YEAR * fast))


def factor_history(days: Days) -> FactorHistory:
    """The four factors of an underlying; those of which nothing is known at all are left out."""
    # A close of another segment of a spliced history is nothing to compare with.
    spot = np.where(_change(days.segment) == 0, _change(np.log(days.close)), np.nan)
    moves = {
        FactorKind.SPOT: (spot, np.sqrt(days.realised_variance)),
        FactorKind.VOL: (_change(np.log(days.implied_vol)), None),
        FactorKind.CARRY: (_change(days.funding_rate * DAYS_PER_YEAR), None),
        FactorKind.BASIS: (_change(days.basis), None),
    }
    kept = {kind: pair for kind, pair in moves.items() if np.isfinite(pair[0]).any()}
    lacking = "no two days in a row with a close: a bar that counts, with volume, near the end of the day (UTC)"
    require(FactorKind.SPOT in kept, Reason.SHORT_HISTORY, f"{days.name}: {lacking}")
    # What never moved has no risk to measure: a peg, a halt or a slip, and people say which.
    is_moving = bool((spot[np.isfinite(spot)] != 0).any())
    require(is_moving, Reason.CONSTANT, f"{days.name}: the price never moved from one day to the next")
    unknown = np.full(len(days.day), np.nan)
    move = np.column_stack([pair[0] for pair in kept.values()])
    size = np.column_stack([unknown if pair[1] is None else pair[1] for pair in kept.values()])
    return FactorHistory(tuple(Factor(days.name, kind) for kind in kept), days.day, move, size)


def _change(values: Floats) -> Floats:
    return np.concatenate([[np.nan], np.diff(values)])


def carry_loading(years: float) -> float:
    """What one unit of annual funding is worth in the log of a future's price, `years` before its expiry."""
    reversion_years = FUNDING_REVERSION_DAYS / DAYS_PER_YEAR
    return reversion_years * (1.0 - exp(-years / reversion_years))
