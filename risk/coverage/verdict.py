"""What a walk says: exceptions and their tests, expected shortfall, zones, procyclicality, cost."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from risk.backtest import basel_zones, independence, joint, kupiec, transitions
from risk.coverage.walk import Walk
from risk.fhs.procyclicality import largest_rise, peak_to_trough
from risk.volatility.refusals import Reason, require

ZONE_DAYS: Final = 250
SIGNIFICANCE: Final = 0.05
RISE_DAYS: Final = (1, 5, 20)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A walk in numbers. Probabilities are of a worse result under a correct model; margins per dollar of notional."""

    shape: str
    model: str
    days: int
    exceptions: int
    expected: float
    kupiec_p: float
    independence_p: float
    conditional_p: float
    most_in_250: int
    yellow_windows: int
    red_windows: int
    shortfall_z: float | None
    shortfall_p: float | None
    mean_margin: float
    peak_to_trough: float | None
    largest_rise: dict[str, float]
    worst_excess: float
    refused: int
    refusal: str

    @property
    def is_covered(self) -> bool:
        """Kupiec's bounds, no clusters, no red zone. Too few exceptions fail too: that is margin for nothing."""
        return self.kupiec_p >= SIGNIFICANCE and self.is_independent and self.red_windows == 0

    @property
    def is_independent(self) -> bool:
        """Whether exceptions follow exceptions no more often than they would by chance."""
        return self.independence_p > SIGNIFICANCE

    @property
    def is_safe(self) -> bool:
        """Not too many exceptions and no red zone: what is asked of a margin that errs on the safe side."""
        return (self.kupiec_p >= SIGNIFICANCE or self.exceptions < self.expected) and self.red_windows == 0


def judged(found: Walk, confidence: float = 0.99) -> Verdict:
    """Judge a walk. Raises EstimateError (SHORT_HISTORY) for one of less than two days."""
    days = len(found.day)
    require(days >= 2, Reason.SHORT_HISTORY, f"{found.shape}: {days} days; {found.why or 'no day with all its moves'}")
    hits = found.exceptions
    count, tail = int(hits.sum()), 1.0 - confidence
    coverage, apart = kupiec(days, count, tail), independence(*transitions(hits.tolist()))
    width = min(ZONE_DAYS, days)
    rolling = np.convolve(hits.astype(np.int64), np.ones(width, np.int64), "valid")
    yellow, red = basel_zones(width, tail)
    statistic, p_value = _shortfall(found, tail)
    positive = bool((found.margin > 0).all())
    margin = found.margin.tolist()
    return Verdict(
        shape=found.shape,
        model=found.model,
        days=days,
        exceptions=count,
        expected=days * tail,
        kupiec_p=coverage.p_value,
        independence_p=apart.p_value,
        conditional_p=joint(coverage, apart).p_value,
        most_in_250=int(rolling.max()),
        yellow_windows=int(((rolling >= yellow) & (rolling < red)).sum()),
        red_windows=int((rolling >= red).sum()),
        shortfall_z=statistic,
        shortfall_p=p_value,
        mean_margin=float(found.margin.mean()),
        peak_to_trough=peak_to_trough(margin) if positive else None,
        largest_rise={str(n): largest_rise(margin, n) for n in RISE_DAYS} if positive else {},
        worst_excess=max(0.0, float((-found.profit - found.margin).max())),
        refused=found.refused,
        refusal=found.why,
    )


def _shortfall(found: Walk, tail: float) -> tuple[float | None, float | None]:
    """Acerbi and Szekely's (2014) second test: zero is right, below zero losses beyond the margin were too large."""
    if not (found.shortfall > 0).all():
        return None, None
    losses = np.where(found.exceptions, found.profit, 0.0) / found.shortfall
    statistic = float(losses.sum()) / (len(found.day) * tail) + 1.0
    return statistic, float((found.simulated <= statistic).mean())
