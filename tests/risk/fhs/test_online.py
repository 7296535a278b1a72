"""The filter between fits: equal to its recursion written out, near the daily one, and unmoved by what is no price."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.fhs.filtered import SigmaBank
from risk.fhs.online import HOUR_NS, MAX_GAP_HOURS, OnlineVariance
from risk.volatility.refusals import EstimateError

NAMES = ("A", "B")


def test_hours_equal_the_recursion_written_out() -> None:
    random = np.random.default_rng(1)
    prices = 100 * np.exp(np.cumsum(random.normal(0, 0.01, (500, 2)), axis=0))
    bank = OnlineVariance(NAMES, np.array([1e-4, 4e-4]), np.array([0.94, 0.985]))
    expected = [1e-4, 4e-4]
    for hour, row in enumerate(prices):
        assert bank.observe(dict(zip(NAMES, row.tolist())), hour * HOUR_NS)
        if hour:
            for at, decay in enumerate((0.94, 0.985)):
                kept = decay ** (1 / 24)
                expected[at] = kept * expected[at] + (1 - kept) * 24 * np.log(row[at] / prices[hour - 1, at]) ** 2
    np.testing.assert_allclose(bank.variance, expected, rtol=1e-10)


def test_it_agrees_with_the_daily_filter_over_days_of_hours() -> None:
    """The same days by their realised variance, once a day, and hour by hour."""
    random = np.random.default_rng(2)
    daily = SigmaBank(1, 0.985)
    for _ in range(200):
        daily.update(np.array([0.03]), np.array([0.03]))
    online = OnlineVariance(("A",), daily.sigmas[0] ** 2, 0.985)
    for day in range(120):
        returns = random.normal(0, (0.02 + 0.02 * (day > 60)) / np.sqrt(24), 24)
        for each in returns:
            online.update(np.array([each]))
        size = np.sqrt((returns**2).sum())
        daily.update(np.array([size]), np.array([size]))
    assert np.sqrt(online.variance[0]) == pytest.approx(daily.sigmas[0][0], rel=0.01)


def test_within_an_hour_and_without_prices_nothing_moves() -> None:
    bank = OnlineVariance(NAMES, 1e-4, 0.94)
    assert bank.is_due(0) and bank.observe({"A": 100.0, "B": 1.0}, 0) and not bank.is_due(HOUR_NS - 1)
    assert not bank.observe({"A": 150.0, "B": 2.0}, HOUR_NS - 1)
    before = bank.variance.copy()
    for hour, bad in enumerate((np.nan, 0.0, -1.0, np.inf), 1):
        assert bank.observe({"A": bad}, hour * HOUR_NS)
    np.testing.assert_array_equal(bank.variance, before)
    bank.observe({"A": 110.0}, 5 * HOUR_NS)  # over five hours: a fifth of it an hour
    kept = 0.94 ** (5 / 24)
    assert bank.variance[0] == pytest.approx(kept * 1e-4 + (1 - kept) * 24 / 5 * np.log(1.1) ** 2)
    assert bank.variance[1] == before[1]


def test_after_a_long_gap_it_begins_anew() -> None:
    bank = OnlineVariance(("A",), 1e-4, 0.94)
    bank.observe({"A": 100.0}, 0)
    bank.observe({"A": 200.0}, (MAX_GAP_HOURS + 1) * HOUR_NS)
    assert bank.variance[0] == 1e-4
    bank.observe({"A": 200.0}, (MAX_GAP_HOURS + 2) * HOUR_NS)
    assert bank.variance[0] < 1e-4


@given(st.lists(st.one_of(st.floats(allow_nan=True), st.sampled_from([1e-300, 1e300])), max_size=30))
def test_whatever_comes_the_variance_stays_a_number(prices) -> None:
    bank = OnlineVariance(("A",), 1e-4, 0.94)
    for hour, price in enumerate(prices):
        bank.observe({"A": price}, hour * HOUR_NS)
        assert np.isfinite(bank.variance).all() and (bank.variance >= 0).all()


@pytest.mark.parametrize(("variance", "decay"), [(-1.0, 0.9), (1e-4, 1.0), (1e-4, -0.1), (np.zeros(3), 0.9)])
def test_parameters_that_are_none_are_refused(variance, decay) -> None:
    with pytest.raises(EstimateError):
        OnlineVariance(NAMES, variance, decay)
