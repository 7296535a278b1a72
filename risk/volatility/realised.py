"""Realised variance of days of UTC, from returns of hours or minutes.

A day's variance is the sum of its squared returns, scaled up to a whole day by the bars that they cover. A return over
k bars counts for those of them that lie in its own day, in proportion: days that are closed are never reopened. A day
of which less than `min_share` is covered has none (NaN).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from risk.volatility.bars import DAY_NS, BarRules, Returns
from risk.volatility.refusals import Floats, Ints, Reason, clipped, per_underlying, require

MIN_SHARE: Final = 0.75


def realised_variance(returns: Returns, rules: BarRules, min_share: float = MIN_SHARE) -> tuple[Ints, Floats]:
    """Days since the epoch and their variances [D], from the first day of a history to the last that is over.

    Raises EstimateError (SHORT_HISTORY) if no day is over.
    """
    times = returns.open_time_ns
    require(len(times) > 0, Reason.SHORT_HISTORY, "no bar")
    first, over = int(times[0] // DAY_NS), int((times[-1] + rules.step_ns) // DAY_NS)
    require(over > first, Reason.SHORT_HISTORY, "no day is over")
    day, place = times // DAY_NS - first, times % DAY_NS // rules.step_ns
    r = clipped(returns.log_return)
    there = np.isfinite(r)
    own = np.where(there, np.minimum(returns.span, place + 1), 0)
    part = np.where(there, r * r, 0.0) * own / np.maximum(returns.span, 1)
    total = np.bincount(day, weights=part, minlength=over - first)[: over - first].astype(np.float64)
    covered = np.bincount(day, weights=own, minlength=over - first)[: over - first].astype(np.float64)
    return np.arange(first, over, dtype=np.int64), _scaled(total, covered, rules, min_share)


def _scaled(total: Floats, covered: Floats, rules: BarRules, min_share: float) -> Floats:
    enough = covered >= max(min_share * rules.bars_per_day, 1)
    return np.where(enough, total * rules.bars_per_day / np.maximum(covered, 1), np.nan)


class DayBank:
    """The same online, for `size` underlyings on one clock."""

    def __init__(self, size: int, rules: BarRules, min_share: float = MIN_SHARE) -> None:
        self.size, self.rules, self.min_share = size, rules, min_share
        self._total, self._covered = np.zeros(size), np.zeros(size)
        self._day, self._open = -1, False
        self._last_ns = -1

    def update(self, open_time_ns: int, log_return: Floats, span: Ints) -> list[Floats]:
        """Takes one bar; the variances [size] of the days that it ends: none, one, or more after an absence.

        Of an absence the first MAX_ABSENT days are told, which is more than any window here remembers.
        Raises EstimateError: UNORDERED, OFF_GRID, BAD_SHAPE.
        """
        on_grid = open_time_ns % self.rules.step_ns == 0
        require(on_grid, Reason.OFF_GRID, f"{open_time_ns} is no multiple of {self.rules.step_ns} ns")
        require(open_time_ns > self._last_ns, Reason.UNORDERED, f"{open_time_ns} ns is not after {self._last_ns} ns")
        r = clipped(per_underlying(log_return, self.size, "log_return"))
        self._last_ns = open_time_ns
        day, place = open_time_ns // DAY_NS, open_time_ns % DAY_NS // self.rules.step_ns
        ended = self._turn_to(day) if day != self._day else []
        there = np.isfinite(r)
        own = np.where(there, np.minimum(span, place + 1), 0)
        self._total += np.where(there, r * r, 0.0) * own / np.maximum(span, 1)
        self._covered += own
        if place == self.rules.bars_per_day - 1:
            ended.append(self._end())
        return ended

    def _turn_to(self, day: int) -> list[Floats]:
        """Ends the day before, and the days of which no bar came."""
        ended = [self._end()] if self._open else []
        absent = min(day - self._day - 1, MAX_ABSENT) if self._day >= 0 else 0
        ended.extend(np.full(self.size, np.nan) for _ in range(absent))
        self._day, self._open = day, True
        self._total, self._covered = np.zeros(self.size), np.zeros(self.size)
        return ended

    def _end(self) -> Floats:
        self._open = False
        return _scaled(self._total, self._covered, self.rules, self.min_share)


MAX_ABSENT: Final = 60
