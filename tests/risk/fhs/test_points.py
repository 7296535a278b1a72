"""Tail points: exact where they were looked for, never below the days' shortfall elsewhere, and few."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.fhs.factors import FactorKind
from risk.fhs.filtered import Filtered, FilterRules
from risk.fhs.measures import expected_shortfall
from risk.fhs.points import tail_points
from risk.volatility.refusals import EstimateError
from tests.risk.fhs.histories import history

SET = Filtered(history(800, ("AAA", "BBB", "CCC")), FilterRules()).scenarios(18_799)
SPOTS = [at for at, factor in enumerate(SET.factors) if factor.kind is FactorKind.SPOT]
MOVES = np.expm1(SET.move[:, SPOTS])
POINTS = tail_points(SET, 0.98)
ROWS = np.array([[point.moves[name] for name in ("AAA", "BBB", "CCC")] for point in POINTS.points])


def shortfall(holding) -> float:
    return expected_shortfall(MOVES @ np.array(holding), SET.weight, 0.98)


def asked(holding) -> float:
    return float((-(ROWS @ np.array(holding))).max())


def test_one_coin_is_asked_for_its_shortfall() -> None:
    for at in range(3):
        for side in (1.0, -1.0):
            holding = [side * (other == at) for other in range(3)]
            assert asked(holding) == pytest.approx(POINTS.widened * shortfall(holding), rel=1e-9)
    assert 1.0 <= POINTS.widened <= 1.05 and len(POINTS.points) < 100


@given(st.tuples(*[st.floats(-5, 5)] * 3))
@settings(max_examples=300)
def test_no_portfolio_is_asked_for_much_less_and_few_for_much_more(holding) -> None:
    if max(abs(part) for part in holding) < 1e-3:
        return
    assert asked(holding) >= 0.98 * shortfall(holding)  # the probes are a sample, and this is between them
    assert asked(holding) <= 1.06 * shortfall(holding) + 1e-12


@given(st.tuples(*[st.floats(-5, 5)] * 3), st.tuples(*[st.floats(-5, 5)] * 3))
def test_what_is_asked_is_sub_additive(one, other) -> None:
    both = [a + b for a, b in zip(one, other)]
    assert asked(both) <= asked(one) + asked(other) + 1e-9


def test_many_coins_leave_few_points() -> None:
    names = tuple(f"C{at:02d}" for at in range(20))
    found = tail_points(Filtered(history(500, names), FilterRules()).scenarios(18_499), 0.98)
    assert 42 <= len(found.points) <= 160 and found.widened >= 1.0
    assert all(move > -1 for point in found.points for move in point.moves.values())


def test_same_set_same_points_and_refusals() -> None:
    assert tail_points(SET, 0.98) == POINTS
    for confidence in (0.0, 1.0, 0.9999):
        with pytest.raises(EstimateError):
            tail_points(SET, confidence)
