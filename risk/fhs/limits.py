"""Haircuts of collateral and price collars, by the same filtered days that margin comes from."""

from __future__ import annotations

import numpy as np

from risk.fhs.factors import Factor, FactorKind
from risk.fhs.filtered import ScenarioSet
from risk.fhs.measures import value_at_risk
from risk.volatility.refusals import Reason, require


def haircut(scenarios: ScenarioSet, asset: str, confidence: float, floor: float = 0.0) -> float:
    """What an asset held as collateral may lose over the horizon of the set: a share of its value, at least `floor`.

    Raises EstimateError: NO_QUOTES (no scenarios of it), BAD_PARAMETER.
    """
    require(0 <= floor <= 1, Reason.BAD_PARAMETER, f"a floor of {floor}")
    moves = np.expm1(scenarios.of(Factor(asset, FactorKind.SPOT)))
    return max(floor, value_at_risk(moves, scenarios.weight, confidence))


def collar(scenarios: ScenarioSet, underlying: str, confidence: float, floor: float, cap: float) -> tuple[float, float]:
    """How far below and above the mark an order's price may be, as shares of it: what the horizon's moves explain.

    Never tighter than `floor`, so that a calm hour does not refuse ordinary orders; never wider than `cap`, so that a
    wild one does not let a slip of the finger through. Raises EstimateError: NO_QUOTES, BAD_PARAMETER.
    """
    require(0 < floor <= cap, Reason.BAD_PARAMETER, f"a collar from {floor} to {cap}")
    moves = np.expm1(scenarios.of(Factor(underlying, FactorKind.SPOT)))
    below = value_at_risk(moves, scenarios.weight, confidence)
    above = value_at_risk(-moves, scenarios.weight, confidence)
    return min(max(below, floor), cap, 0.99), min(max(above, floor), cap)
