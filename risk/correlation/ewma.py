"""EWMA covariance: S <- S + w (E[r r'] - S), with the weights of risk.volatility.ewma."""

from __future__ import annotations

import numpy as np

from risk.correlation.matrices import correlation_of, expected_outer, panel, semi_definite
from risk.volatility.refusals import Floats, Reason, clipped, per_underlying, require

MIN_OBSERVATIONS = 20


class CovarianceBank:
    """The covariance per bar of `size` underlyings."""

    def __init__(self, size: int, decay: float = 0.97, min_observations: int = MIN_OBSERVATIONS) -> None:
        require(0 <= decay < 1, Reason.BAD_PARAMETER, f"decay {decay} is not within 0 <= decay < 1")
        self.size, self.decay, self.min_observations = size, decay, min_observations
        self.seen = 0
        self._covariance = np.zeros((size, size))

    def update(self, log_return: Floats) -> None:
        """Takes one bar's returns [size] (NaN: none; a bar without any changes nothing)."""
        r = clipped(per_underlying(log_return, self.size, "log_return"))
        if np.isnan(r).all():
            return
        self.seen += 1
        gain = max(1.0 - self.decay, 1.0 / self.seen)
        self._covariance += gain * (expected_outer(r, self._covariance) - self._covariance)

    @property
    def covariance(self) -> Floats:
        """Covariance per bar [size, size].

        Raises EstimateError (SHORT_HISTORY).
        """
        text = f"{self.seen} bars with a return, {self.min_observations} are needed"
        require(self.seen >= self.min_observations, Reason.SHORT_HISTORY, text)
        return semi_definite(self._covariance)

    @property
    def correlation(self) -> Floats:
        """Correlations [size, size].

        Raises EstimateError (SHORT_HISTORY).
        """
        return correlation_of(self.covariance)


def ewma_covariance(returns: Floats, decay: float = 0.97, min_observations: int = MIN_OBSERVATIONS) -> Floats:
    """What CovarianceBank says after a history of returns [T, n]: one weighted product where none is missing.

    Raises EstimateError: BAD_PARAMETER, BAD_SHAPE, TOO_LARGE, SHORT_HISTORY.
    """
    require(0 <= decay < 1, Reason.BAD_PARAMETER, f"decay {decay} is not within 0 <= decay < 1")
    r = panel(returns, max(min_observations, 1))
    if np.isnan(r).any():
        bank = CovarianceBank(r.shape[1], decay, min_observations)
        for row in r:
            bank.update(row)
        return bank.covariance
    gain = np.maximum(1.0 - decay, 1.0 / np.arange(1, len(r) + 1))
    left = np.concatenate([np.cumprod((1.0 - gain)[:0:-1])[::-1], [1.0]])
    return semi_definite((r * (gain * left)[:, None]).T @ r)
