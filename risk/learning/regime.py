"""Regimes and flash crashes: a factor on margin that is one in ordinary times and more in others, never less.

Two things raise it: volatility of the last minutes far above that of the last days, and a single move far beyond what
was expected of it. It falls back slowly, so that a market that pauses does not loosen what it will need again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from risk.volatility.refusals import MIN_VARIANCE, Floats, Reason, clipped, per_underlying, require


class Regime(StrEnum):
    """What the detector calls the market."""

    CALM = "calm"
    STRESSED = "stressed"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class RegimeRules:
    """`fast_decay`, `slow_decay` of variances, a bar; the ratio of volatilities that is stress; the jump, in slow
    volatilities of a bar, that is a crash; the most that margin is raised to; and what of a raise is left a bar later.
    """

    fast_decay: float = 0.9
    slow_decay: float = 0.9993
    stress_ratio: float = 2.0
    crash_deviations: float = 10.0
    cap: float = 3.0
    release: float = 0.995
    warm_up: int = 60

    def __post_init__(self) -> None:
        decays = 0 <= self.fast_decay < self.slow_decay < 1 and 0 <= self.release < 1
        good = decays and self.stress_ratio >= 1 and self.crash_deviations > 0 and self.cap >= 1 and self.warm_up >= 1
        require(good, Reason.BAD_PARAMETER, f"no rules of a detector: {self}")


class RegimeBank:
    """The detector of `size` underlyings on one clock: returns of a bar in, factors out, each at least one."""

    def __init__(self, size: int, rules: RegimeRules) -> None:
        self.size, self.rules = size, rules
        self.factor = np.ones(size)
        self._seen = np.zeros(size)
        self._fast, self._slow = np.zeros(size), np.zeros(size)
        self._jumped = np.zeros(size, np.bool_)

    def update(self, log_return: Floats) -> Floats:
        """Takes one bar's returns [size], NaN where there is none; the factors [size]."""
        rules = self.rules
        r = clipped(per_underlying(log_return, self.size, "log_return"))
        there = np.isfinite(r)
        square = np.where(there, r, 0.0) ** 2
        expected = np.maximum(self._slow, MIN_VARIANCE)
        warm = self._seen >= rules.warm_up
        self._jumped = there & warm & (square > rules.crash_deviations**2 * expected)
        self._seen += there
        share = 1.0 / np.maximum(self._seen, 1.0)
        for name, decay in (("_fast", rules.fast_decay), ("_slow", rules.slow_decay)):
            variance = getattr(self, name)
            variance += np.where(there, np.maximum(1.0 - decay, share), 0.0) * (square - variance)
        ratio = np.sqrt(np.maximum(self._fast, MIN_VARIANCE) / np.maximum(self._slow, MIN_VARIANCE))
        asked = np.where(warm & (ratio > rules.stress_ratio), ratio / rules.stress_ratio, 1.0)
        asked = np.where(self._jumped, rules.cap, asked)
        left = 1.0 + (self.factor - 1.0) * rules.release
        self.factor = np.clip(np.maximum(asked, left), 1.0, rules.cap)
        return self.factor.copy()

    def regime_of(self, underlying: int) -> Regime:
        """What one underlying's market is called now."""
        if self._jumped[underlying]:
            return Regime.CRASH
        return Regime.STRESSED if self.factor[underlying] > 1.05 else Regime.CALM


def tightened(margin: Floats, factor: Floats, floor: Floats) -> Floats:
    """Margins [n] raised by factors [n], at least the floors [n]. A factor below one is an error of the caller.

    Raises EstimateError (BAD_PARAMETER).
    """
    good = bool(np.isfinite(factor).all() and (factor >= 1.0).all())
    require(good, Reason.BAD_PARAMETER, "a factor would loosen")
    return np.maximum(margin * factor, floor)


def used_sigma(champion: float, challenger: float | None, floor: float) -> float:
    """The volatility that margin is computed from: the challenger's where it is in use, never below the floor.

    Raises EstimateError (BAD_PARAMETER) where that is no positive number.
    """
    sigma = max(champion if challenger is None else challenger, floor)
    require(0 < sigma < float("inf"), Reason.BAD_PARAMETER, f"a volatility of {sigma}")
    return sigma
