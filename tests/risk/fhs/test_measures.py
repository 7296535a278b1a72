"""Value at risk and expected shortfall: golden values, properties, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from risk.fhs.measures import expected_shortfall, tail_days, value_at_risk
from risk.volatility.refusals import EstimateError

PROFITS = arrays(np.float64, st.integers(2, 60), elements=st.floats(-1e6, 1e6))


def even(profit):
    return np.full(len(profit), 1.0 / len(profit))


@given(PROFITS, st.floats(0.5, 0.999))
def test_equal_weights_are_numpys_quantile(profit, confidence) -> None:
    expected = max(0.0, -float(np.quantile(profit, 1 - confidence)))
    assert value_at_risk(profit, even(profit), confidence) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(PROFITS, st.floats(0.5, 0.999))
def test_shortfall_is_the_mean_of_the_tail(profit, confidence) -> None:
    tail, left, total = 1 - confidence, 1 - confidence, 0.0
    for value in sorted(profit.tolist()):
        part = min(left, 1 / len(profit))
        total += part * value
        left -= part
    assert expected_shortfall(profit, even(profit), confidence) == pytest.approx(
        max(0.0, -total / tail), rel=1e-9, abs=1e-3
    )


@given(st.integers(2, 40).flatmap(lambda n: st.tuples(*[arrays(np.float64, n, elements=st.floats(-1e3, 1e3))] * 2)))
def test_shortfall_is_sub_additive(pair) -> None:
    one, other = pair
    whole = expected_shortfall(one + other, even(one), 0.9)
    assert whole <= expected_shortfall(one, even(one), 0.9) + expected_shortfall(other, even(one), 0.9) + 1e-9


@given(PROFITS, st.floats(0.5, 0.99), st.floats(0.0, 100.0))
def test_measures_scale_and_a_weight_twice_is_a_day_twice(profit, confidence, factor) -> None:
    for measure in (value_at_risk, expected_shortfall):
        found = measure(profit * factor, even(profit), confidence)
        assert found == pytest.approx(factor * measure(profit, even(profit), confidence), rel=1e-9, abs=1e-3)
    doubled = np.concatenate([profit, profit[:1]])
    weights = np.ones(len(profit))
    weights[0] = 2.0
    assert expected_shortfall(profit, weights, confidence) == pytest.approx(
        expected_shortfall(doubled, even(doubled), confidence), rel=1e-9, abs=1e-3
    )


def test_tail_days_are_the_worst_first() -> None:
    profit = np.array([3.0, -9.0, 1.0, -2.0, 5.0, 0.0, 2.0, 4.0, 6.0, 7.0])
    assert tail_days(profit, even(profit), 0.8).tolist() == [1, 3]
    assert value_at_risk(profit[:1], np.ones(1), 0.99) == 0.0


@pytest.mark.parametrize(
    ("profit", "weight", "confidence"),
    [
        ([], [], 0.99),
        ([1.0], [1.0, 2.0], 0.99),
        ([1.0], [1.0], 1.0),
        ([np.nan], [1.0], 0.99),
        ([1.0], [-1.0], 0.99),
        ([1.0], [0.0], 0.99),
        ([1.0], [np.nan], 0.99),
    ],
)
def test_what_makes_no_sense_is_refused(profit, weight, confidence) -> None:
    for measure in (value_at_risk, expected_shortfall):
        with pytest.raises(EstimateError):
            measure(np.array(profit), np.array(weight), confidence)
