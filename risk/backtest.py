"""Backtests of a margin model's exceptions: Kupiec, Christoffersen, Basel's traffic lights. Closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import erfc, exp, lgamma, log, log1p, sqrt
from typing import Final

import msgspec

# The cumulative probabilities from which Basel's 1996 rule counts yellow and red.
YELLOW: Final = 0.95
RED: Final = 0.9999
# The sum below walks up to as many steps.
MAX_DAYS: Final = 1_000_000


class LikelihoodRatio(msgspec.Struct, frozen=True):
    """A likelihood ratio and the probability of a larger one under a correct model."""

    statistic: float
    p_value: float


def _chi2_tail(statistic: float, degrees: int) -> float:
    """Return P(chi2 > statistic) for one or two degrees of freedom."""
    x = max(0.0, statistic)
    return erfc(sqrt(0.5 * x)) if degrees == 1 else exp(-0.5 * x)


def _log_likelihood(misses: int, hits: int, p: float) -> float:
    """Return log((1 - p)^misses p^hits), where 0 log 0 is 0."""
    return (misses * log1p(-p) if misses else 0.0) + (hits * log(p) if hits else 0.0)


def kupiec(days: int, exceptions: int, p: float) -> LikelihoodRatio:
    """Return Kupiec's proportion-of-failures test: is the share of exceptions p?

    Raises
    ------
    ValueError
        If there are no days, more exceptions than days, or p is no probability between zero and one.
    """
    if days <= 0 or not 0 <= exceptions <= days:
        raise ValueError(f"{exceptions} exceptions in {days} days")
    if not 0 < p < 1:
        raise ValueError(f"probability {p}")
    share, misses = exceptions / days, days - exceptions
    ratio = -2.0 * (_log_likelihood(misses, exceptions, p) - _log_likelihood(misses, exceptions, share))
    ratio = max(0.0, ratio)
    return LikelihoodRatio(ratio, _chi2_tail(ratio, 1))


def transitions(hits: Sequence[int | bool]) -> tuple[int, int, int, int]:
    """Return the counts n00, n01, n10, n11 of a daily series of exceptions."""
    counts = [0, 0, 0, 0]
    for before, after in pairwise(hits):
        counts[2 * bool(before) + bool(after)] += 1
    return counts[0], counts[1], counts[2], counts[3]


def independence(n00: int, n01: int, n10: int, n11: int) -> LikelihoodRatio:
    """Return Christoffersen's independence test: do exceptions follow exceptions?"""
    if min(n00, n01, n10, n11) < 0:
        raise ValueError("a count is negative")
    days = n00 + n01 + n10 + n11
    if days == 0:
        raise ValueError("no transitions")
    after_calm = n01 / (n00 + n01) if n00 + n01 else 0.0
    after_hit = n11 / (n10 + n11) if n10 + n11 else 0.0
    pooled = (n01 + n11) / days
    restricted = _log_likelihood(n00 + n10, n01 + n11, pooled)
    free = _log_likelihood(n00, n01, after_calm) + _log_likelihood(n10, n11, after_hit)
    ratio = max(0.0, -2.0 * (restricted - free))
    return LikelihoodRatio(ratio, _chi2_tail(ratio, 1))


def joint(coverage: LikelihoodRatio, independent: LikelihoodRatio) -> LikelihoodRatio:
    """Return Christoffersen's conditional coverage: both tests at once, two degrees of freedom."""
    ratio = coverage.statistic + independent.statistic
    return LikelihoodRatio(ratio, _chi2_tail(ratio, 2))


def basel_zones(days: int, p: float) -> tuple[int, int]:
    """Return the exceptions from which the yellow and the red zone start."""
    if not 0 < days <= MAX_DAYS or not 0 < p < 1:
        raise ValueError(f"{days} days, probability {p}")
    cumulative, yellow = 0.0, None
    for hits in range(days + 1):
        logs = lgamma(days + 1) - lgamma(hits + 1) - lgamma(days - hits + 1)
        cumulative += exp(logs + _log_likelihood(days - hits, hits, p))
        if yellow is None and cumulative >= YELLOW:
            yellow = hits
        if cumulative >= RED:
            return yellow if yellow is not None else hits, hits
    return yellow if yellow is not None else days, days
