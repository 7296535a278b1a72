"""GARCH(1,1) and GJR-GARCH: s2 <- omega + (alpha + gamma 1[r < 0]) r^2 + beta s2, without a mean.

GARCH is GJR with gamma = 0. A missing return is replaced by its expectation, E[r^2] = s2 and, innovations being
symmetric, half of it below zero: s2 <- omega + persistence s2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np

from risk.volatility.refusals import MIN_VARIANCE, Floats, Reason, clipped, per_underlying, require, series


@dataclass(frozen=True, slots=True)
class GarchParameters:
    """omega: variance per bar; alpha, gamma, beta: pure numbers; nu: degrees of freedom of the innovations."""

    omega: float
    alpha: float
    gamma: float
    beta: float
    nu: float = 8.0

    def __post_init__(self) -> None:
        finite = bool(np.all(np.isfinite([self.omega, self.alpha, self.gamma, self.beta, self.nu])))
        positive = self.omega > 0 and self.beta >= 0 and self.alpha >= 0 and self.alpha + self.gamma >= 0
        good = finite and positive and self.nu > 2 and self.persistence <= 1 + 1e-9
        require(good, Reason.BAD_PARAMETER, f"not parameters of a variance that stays positive and finite: {self}")

    @property
    def persistence(self) -> float:
        """The share of a shock to the variance that is left a bar later."""
        return self.alpha + self.gamma / 2 + self.beta

    @property
    def unconditional(self) -> float:
        """The variance per bar that forecasts return to.

        Raises EstimateError (NOT_STATIONARY) with a persistence of 1.
        """
        text = f"persistence {self.persistence} leaves no long-run variance"
        require(self.persistence < 1 - 1e-9, Reason.NOT_STATIONARY, text)
        return self.omega / (1 - self.persistence)


class Coefficients(Protocol):
    """What the recursion reads: parameters, or what a search tries on its way to them."""

    @property
    def omega(self) -> float: ...
    @property
    def alpha(self) -> float: ...
    @property
    def gamma(self) -> float: ...
    @property
    def beta(self) -> float: ...


class GarchBank:
    """Conditional variances per bar of underlyings, each with parameters of its own.

    `variance` [n] is what it starts from: the variance forecast for the first bar to come, as `fit_garch` leaves it.
    """

    def __init__(self, parameters: Sequence[GarchParameters], variance: Floats) -> None:
        self.size, self.parameters = len(parameters), tuple(parameters)
        columns = [[p.omega, p.alpha, p.gamma, p.beta, p.persistence] for p in parameters]
        table = np.array(columns, dtype=np.float64).reshape(-1, 5).T.copy()
        self._omega, self._alpha, self._gamma, self._beta, self._persistence = table
        self._variance = per_underlying(variance, self.size, "variance")
        good = bool(np.all(np.isfinite(self._variance) & (self._variance >= 0)))
        require(good, Reason.BAD_PARAMETER, "a variance to start from is negative or no number")

    def update(self, log_return: Floats) -> Floats:
        """Takes one bar's returns [n] (NaN: none); the variances of the next bar."""
        r = clipped(per_underlying(log_return, self.size, "log_return"))
        shocked = (self._alpha + self._gamma * (r < 0)) * (r * r) + self._beta * self._variance
        expected = self._persistence * self._variance
        self._variance = self._omega + np.where(np.isnan(r), expected, shocked)
        return self.variance

    @property
    def variance(self) -> Floats:
        """Variance of the next bar [n], at least MIN_VARIANCE."""
        return np.maximum(self._variance, MIN_VARIANCE)

    def variance_of(self, underlying: int) -> float:
        """One underlying's variance of the next bar."""
        return float(self.variance[underlying])

    def forecast(self, bars: int) -> Floats:
        """Variance of the sum of the next `bars` returns [n].

        Source: E[s2_k] = omega + persistence E[s2_{k-1}], summed; with a persistence of 1 it grows along a line.

        Raises EstimateError (BAD_PARAMETER) for no bar.
        """
        require(bars >= 1, Reason.BAD_PARAMETER, f"a horizon of {bars} bars")
        p = self._persistence
        integrated = np.abs(1 - p) <= 1e-9
        left = np.where(integrated, 1.0, 1 - p)
        geometric = np.where(integrated, bars, (1 - p**bars) / left)
        drift = np.where(integrated, bars * (bars - 1) / 2, (bars - geometric) / left)
        return np.asarray(self.variance * geometric + self._omega * drift)


def garch_filter(parameters: GarchParameters, log_return: Floats, variance: float) -> Floats:
    """What GarchBank says after each return of a history [T], from `variance` for its first bar.

    Element t knows returns up to t and none after it. Raises EstimateError (BAD_SHAPE).
    """
    return np.maximum(recursion(parameters, clipped(series(log_return, "log_return")), variance), MIN_VARIANCE)


def recursion(p: Coefficients, r: Floats, variance: float) -> Floats:
    """The variances [T] after each return, before their floor; linear filtering where no return is missing."""
    missing = np.isnan(r)
    pushed = p.omega + (p.alpha + p.gamma * (r < 0)) * r * r
    if not missing.any():
        from scipy.signal import lfilter  # late: no start of a gateway needs what it loads

        filtered, _ = lfilter([1.0], [1.0, -p.beta], pushed, zi=[p.beta * variance])
        return np.asarray(filtered, dtype=np.float64)
    pushes = np.where(missing, p.omega, pushed).tolist()
    kept = np.where(missing, p.alpha + p.gamma / 2 + p.beta, p.beta).tolist()
    steps = accumulate(zip(pushes, kept), lambda s, step: step[0] + step[1] * s, initial=variance)
    return np.array(list(steps)[1:], dtype=np.float64)
