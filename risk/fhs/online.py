"""The filter's variance between two fits, from marks: hours of all underlyings at once, constant work an hour.

A day's step of the filter is w = 1 - decay of the day's realised variance. Here each hour is a 24th of a day: its
squared return, times 24, moves the variance by 1 - decay^(1/24). After a day of equal hours both are at the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from risk.volatility.refusals import Floats, Reason, clipped, per_underlying, require

HOUR_NS: Final = 3_600_000_000_000
HOURS_A_DAY: Final = 24
# After a longer gap nothing is known of how a price went: the next return begins anew.
MAX_GAP_HOURS: Final = 6


class OnlineVariance:
    """Variances of a day of F underlyings, moved on by what their marks do from one full hour to the next."""

    def __init__(self, names: tuple[str, ...], variance: Floats, decay: float | Floats) -> None:
        """Raises EstimateError: BAD_SHAPE, BAD_PARAMETER."""
        size = len(names)
        self.names = names
        self.variance = per_underlying(variance, size, "variance").copy()
        require(bool((self.variance >= 0).all()), Reason.BAD_PARAMETER, "a variance is below zero")
        decays = per_underlying(decay, size, "decay")
        require(bool(((decays >= 0) & (decays < 1)).all()), Reason.BAD_PARAMETER, "a decay is not within 0 and 1")
        self._decay_an_hour = decays ** (1.0 / HOURS_A_DAY)
        self._last = np.full(size, np.nan)  # log of the last price, and in which hour it was
        self._last_hour = np.zeros(size, dtype=np.int64)
        self._hour: int | None = None

    def is_due(self, now_ns: int) -> bool:
        """Whether an hour has begun since prices were taken last."""
        return self._hour is None or now_ns // HOUR_NS > self._hour

    def observe(self, prices: Mapping[str, float], now_ns: int) -> bool:
        """Take prices at a moment; True where an hour has begun since and the variances have moved on.

        A price that is missing, or not above zero, is no observation: nothing is put in its place.
        """
        hour = now_ns // HOUR_NS
        if not self.is_due(now_ns):
            return False
        self._hour = hour
        given = np.array([prices.get(name, np.nan) for name in self.names], dtype=np.float64)
        there = np.isfinite(given) & (given > 0)
        logs = np.log(np.where(there, given, 1.0))
        hours = np.maximum(hour - self._last_hour, 1)
        moved = there & np.isfinite(self._last) & (hours <= MAX_GAP_HOURS)
        returned = clipped(np.where(moved, logs - np.where(moved, self._last, 0.0), 0.0))
        self.update(np.where(moved, returned, np.nan), hours)
        self._last = np.where(there, logs, self._last)
        self._last_hour = np.where(there, hour, self._last_hour)
        return True

    def update(self, returned: Floats, hours: Floats | int = 1) -> None:
        """Take log returns [F] over so many hours each; NaN: none."""
        there = np.isfinite(returned)
        span = np.broadcast_to(np.asarray(hours, dtype=np.float64), returned.shape)
        gain = np.where(there, 1.0 - self._decay_an_hour**span, 0.0)
        squared = np.where(there, returned, 0.0) ** 2 * HOURS_A_DAY / np.maximum(span, 1.0)
        self.variance += gain * (squared - self.variance)
