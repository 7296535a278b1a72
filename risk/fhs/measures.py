"""Value at risk and expected shortfall of profits over weighted scenarios. Losses come back positive, at least zero."""

from __future__ import annotations

import numpy as np

from risk.volatility.refusals import Floats, Ints, Reason, require


def value_at_risk(profit: Floats, weight: Floats, confidence: float) -> float:
    """The loss that is not exceeded with probability `confidence`.

    Between scenarios it is linear in the probability, where the least profit has probability zero and the largest one:
    for equal weights numpy's own definition (type 7 of Hyndman and Fan 1996). `profit`, `weight` [N].
    Raises EstimateError: BAD_SHAPE, BAD_PARAMETER, SHORT_HISTORY.
    """
    order, sorted_weight = _sorted(profit, weight, confidence)
    profit = np.asarray(profit, dtype=np.float64)[order]
    before = np.concatenate([[0.0], np.cumsum(sorted_weight[:-1])])
    if before[-1] <= 0:
        return max(0.0, -float(profit[0]))
    return max(0.0, -float(np.interp(1.0 - confidence, before / before[-1], profit)))


def expected_shortfall(profit: Floats, weight: Floats, confidence: float) -> float:
    """The mean loss over the worst 1 - confidence of the probability; the scenario at its end counts in part.

    Sub-additive, unlike value at risk (Acerbi and Tasche 2002). `profit`, `weight` [N]. Raises EstimateError:
    BAD_SHAPE, BAD_PARAMETER, SHORT_HISTORY.
    """
    order, sorted_weight = _sorted(profit, weight, confidence)
    profit = np.asarray(profit, dtype=np.float64)[order]
    share = sorted_weight / sorted_weight.sum()
    tail = 1.0 - confidence
    left = np.maximum(0.0, tail - np.concatenate([[0.0], np.cumsum(share[:-1])]))
    return max(0.0, -float((profit * np.minimum(share, left)).sum()) / tail)


def tail_days(profit: Floats, weight: Floats, confidence: float) -> Ints:
    """Indices of the scenarios that make up the tail, the worst first: what a person asks after a requirement."""
    order, sorted_weight = _sorted(profit, weight, confidence)
    before = np.concatenate([[0.0], np.cumsum(sorted_weight[:-1])]) / sorted_weight.sum()
    return np.asarray(order[before < 1.0 - confidence], dtype=np.int64)


def _sorted(profit: Floats, weight: Floats, confidence: float) -> tuple[Ints, Floats]:
    profit, weight = np.asarray(profit, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    good = profit.ndim == 1 and profit.shape == weight.shape
    require(good, Reason.BAD_SHAPE, f"profits {profit.shape}, weights {weight.shape}")
    require(len(profit) > 0, Reason.SHORT_HISTORY, "no scenario")
    require(0 < confidence < 1, Reason.BAD_PARAMETER, f"confidence {confidence} is not within 0 and 1")
    require(bool(np.isfinite(profit).all()), Reason.MOSTLY_MISSING, "a scenario has no profit")
    fair = bool(np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0)
    require(fair, Reason.BAD_PARAMETER, "a weight is negative or no number")
    order = np.argsort(profit, kind="stable")
    return order, weight[order]
