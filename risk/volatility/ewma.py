"""Exponentially weighted variance: s2 <- s2 + w (r^2 - s2) with w = 1 - decay.

Until 1/(1 - decay) returns are seen w is 1/k, so that the first ones weigh the same and no seed has to be invented.
A missing return leaves the variance as it is.
"""

from __future__ import annotations

import numpy as np

from risk.volatility.refusals import MIN_VARIANCE, Floats, Reason, clipped, per_underlying, require, series

MIN_OBSERVATIONS = 20


class EwmaBank:
    """EWMA variances per bar of `size` underlyings."""

    def __init__(self, size: int, decay: float | Floats = 0.94, min_observations: int = MIN_OBSERVATIONS) -> None:
        self.size, self.min_observations = size, min_observations
        self.decay = per_underlying(decay, size, "decay")
        inside = bool(np.all((self.decay >= 0) & (self.decay < 1)))
        require(inside, Reason.BAD_PARAMETER, "decay is not within 0 <= decay < 1")
        self._gain = 1.0 - self.decay
        self.seen = np.zeros(size)
        self._variance = np.zeros(size)

    def update(self, log_return: Floats) -> Floats:
        """Takes one bar's returns [size] (NaN: none); what `variance` then says of the next bar."""
        r = clipped(per_underlying(log_return, self.size, "log_return"))
        observed = np.isfinite(r)
        self.seen += observed
        gain = np.where(observed, np.maximum(self._gain, 1.0 / np.maximum(self.seen, 1.0)), 0.0)
        self._variance += gain * (np.where(observed, r * r, 0.0) - self._variance)
        return self.variance

    @property
    def variance(self) -> Floats:
        """Variance per bar [size], at least MIN_VARIANCE; NaN with less than `min_observations` returns."""
        return np.where(self.seen >= self.min_observations, np.maximum(self._variance, MIN_VARIANCE), np.nan)

    def variance_of(self, underlying: int) -> float:
        """One underlying's variance per bar.

        Raises EstimateError (SHORT_HISTORY).
        """
        seen = int(self.seen[underlying])
        text = f"{seen} returns, {self.min_observations} are needed"
        require(seen >= self.min_observations, Reason.SHORT_HISTORY, text)
        return float(self.variance[underlying])


def ewma_filter(log_return: Floats, decay: float = 0.94, min_observations: int = MIN_OBSERVATIONS) -> Floats:
    """What EwmaBank says after each return of a history [T]: element t knows returns up to t and none after it.

    Raises EstimateError: BAD_PARAMETER, BAD_SHAPE.
    """
    require(0 <= decay < 1, Reason.BAD_PARAMETER, f"decay {decay} is not within 0 <= decay < 1")
    r = clipped(series(log_return, "log_return"))
    observed = np.isfinite(r)
    squares = r[observed] ** 2
    ramp = min(int(np.floor(1.0 / (1.0 - decay))), len(squares))
    variance = np.cumsum(squares[:ramp]) / np.arange(1, ramp + 1)
    if ramp < len(squares):
        from scipy.signal import lfilter  # late: no start of a gateway needs what it loads

        late, _ = lfilter([1.0 - decay], [1.0, -decay], squares[ramp:], zi=[decay * variance[-1]])
        variance = np.concatenate([variance, late])
    variance = np.maximum(variance, MIN_VARIANCE)
    variance[: max(min_observations - 1, 0)] = np.nan
    known = np.concatenate([[np.nan], variance])
    return np.asarray(known[np.cumsum(observed)], dtype=np.float64)
