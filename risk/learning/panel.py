"""What was known at the end of each bar, and what came after: features [T, K] and targets of several horizons.

Row t of the features uses bars up to t and none after it; the target of horizon h at t is of bars t+1 to t+h. A test
shifts the features by one bar into the future and sees that the contest notices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from risk.fhs.underlying import UnderlyingBars
from risk.volatility.bars import DAY_NS, BarRules, returns_of
from risk.volatility.refusals import Floats, Ints, Reason, clipped, require

# Windows that realised variance is taken over, in days: an hour, four, a day, a week, a month.
WINDOWS_DAYS: Final = (1 / 24, 4 / 24, 1.0, 7.0, 30.0)
# Of other underlyings only the nearest of the list are looked at, so that features do not grow with the list.
MAX_OTHERS: Final = 3
LEAST_VARIANCE: Final = 1e-12


@dataclass(frozen=True)
class Panel:
    """`open_time_ns` [T] of a regular grid, `log_return` [T] (NaN: none), `feature` [T, K] (NaN: not known)."""

    underlying: str
    open_time_ns: Ints
    log_return: Floats
    feature: Floats
    names: tuple[str, ...]
    bars_per_day: int

    def variance_ahead(self, horizon: int) -> Floats:
        """Sum of squared returns of the next `horizon` bars [T]; NaN where more than a quarter of them is missing."""
        return _ahead(clipped(self.log_return) ** 2, horizon, scaled=True)

    def return_ahead(self, horizon: int) -> Floats:
        """Log return over the next `horizon` bars [T]; NaN where any is missing."""
        return _ahead(clipped(self.log_return), horizon, scaled=False)


def _ahead(values: Floats, horizon: int, *, scaled: bool) -> Floats:
    require(horizon >= 1, Reason.BAD_PARAMETER, f"a horizon of {horizon} bars")
    there = np.isfinite(values)
    total, count = _rolling(np.where(there, values, 0.0), horizon), _rolling(there.astype(np.float64), horizon)
    found = np.full(len(values), np.nan)
    if len(values) <= horizon:
        return found
    enough = count[horizon:] >= (0.75 * horizon if scaled else horizon)
    factor = horizon / np.maximum(count[horizon:], 1.0) if scaled else 1.0
    found[:-horizon] = np.where(enough, total[horizon:] * factor, np.nan)
    return found


def _rolling(values: Floats, width: int) -> Floats:
    """Sums over the last `width` values up to each one [T]; the first ones over what there is."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    start = np.maximum(np.arange(1, len(values) + 1) - width, 0)
    return np.asarray(total[1:] - total[start])


def panel(underlying: UnderlyingBars, rules: BarRules, others: Sequence[UnderlyingBars] = ()) -> Panel:
    """The panel of one underlying, with what the others did as features.

    Raises EstimateError as `returns_of` does.
    """
    returns = returns_of(underlying.bars, rules)
    times, r = returns.open_time_ns, clipped(returns.log_return)
    columns: dict[str, Floats] = {}
    _own(columns, r, rules)
    _paid(columns, underlying, times)
    _clock(columns, times, rules)
    for other in list(others)[:MAX_OTHERS]:
        theirs = returns_of(other.bars, rules)
        row = np.full(len(times), np.nan)
        at = (theirs.open_time_ns - times[0]) // rules.step_ns
        inside = (at >= 0) & (at < len(times))
        row[at[inside]] = clipped(theirs.log_return)[inside]
        for days in (WINDOWS_DAYS[0], 1.0):
            columns[f"{other.name} log variance {_said(days)}"] = _log_variance(row, days, rules)
        columns[f"{other.name} return 1 d"] = _sum(row, 1.0, rules)
    return Panel(underlying.name, times, r, np.column_stack(list(columns.values())), tuple(columns), rules.bars_per_day)


def _own(columns: dict[str, Floats], r: Floats, rules: BarRules) -> None:
    for days in WINDOWS_DAYS:
        columns[f"log variance {_said(days)}"] = _log_variance(r, days, rules)
    fallen = np.where(r < 0, r, 0.0)
    for days in (1.0, 7.0):
        whole = np.maximum(_rolling(np.nan_to_num(r) ** 2, _bars(days, rules)), LEAST_VARIANCE)
        columns[f"share of falls {_said(days)}"] = _rolling(np.nan_to_num(fallen) ** 2, _bars(days, rules)) / whole
        columns[f"return {_said(days)}"] = _sum(r, days, rules)
    # A jump: the signed return of one bar over what the day's other bars were like.
    deviation = np.sqrt(np.maximum(_rolling(np.nan_to_num(r) ** 2, _bars(1.0, rules)), LEAST_VARIANCE))
    columns["signed jump"] = np.nan_to_num(r) / deviation * np.sqrt(rules.bars_per_day)


def _paid(columns: dict[str, Floats], underlying: UnderlyingBars, times: Ints) -> None:
    at = np.searchsorted(underlying.bars.open_time_ns, times, side="right") - 1
    funding = _carried(underlying.funding_rate)[at]
    mark = underlying.mark_close
    good = (mark > 0) & (underlying.bars.close > 0)
    basis = np.where(good, np.log(np.where(good, underlying.bars.close, 1.0) / np.where(good, mark, 1.0)), np.nan)
    columns["funding"] = funding
    columns["basis"] = basis[at]
    columns["implied"] = np.log(np.maximum(_carried(underlying.implied_vol)[at], 1e-3))


def _carried(values: Floats) -> Floats:
    """The last value known at each place; NaN before the first."""
    place = np.where(np.isfinite(values), np.arange(len(values)), -1)
    place = np.maximum.accumulate(place)
    return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)


def _clock(columns: dict[str, Floats], times: Ints, rules: BarRules) -> None:
    # Of the bar that begins, which is known when this one ends.
    begins = times + rules.step_ns
    hour = (begins % DAY_NS) / DAY_NS * 2 * np.pi
    columns["hour, sine"], columns["hour, cosine"] = np.sin(hour), np.cos(hour)
    columns["weekday"] = ((begins // DAY_NS + 4) % 7).astype(np.float64)  # the epoch was a Thursday


def _log_variance(r: Floats, days: float, rules: BarRules) -> Floats:
    """Log of the mean squared return a bar over a window; NaN where less than half of it is there."""
    width = _bars(days, rules)
    there = np.isfinite(r)
    count = _rolling(there.astype(np.float64), width)
    mean = _rolling(np.where(there, r, 0.0) ** 2, width) / np.maximum(count, 1.0)
    return np.where(count >= 0.5 * width, np.log(np.maximum(mean, LEAST_VARIANCE)), np.nan)


def _sum(r: Floats, days: float, rules: BarRules) -> Floats:
    return _rolling(np.nan_to_num(r), _bars(days, rules))


def _bars(days: float, rules: BarRules) -> int:
    return max(1, round(days * rules.bars_per_day))


def _said(days: float) -> str:
    return f"{days:g} d" if days >= 1 else f"{days * 24:g} h"
