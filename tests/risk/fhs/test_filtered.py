"""Filtered days: against a slow reading of the definition, online against batch, and nothing of the future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.fhs.factors import Factor, FactorHistory, FactorKind, joined
from risk.fhs.filtered import MIN_SEEN, Filtered, FilterRules, SigmaBank
from risk.volatility.refusals import EstimateError, Reason
from tests.risk.fhs.histories import history

RULES = FilterRules(decay=0.9, window_days=200, long_run_weight={FactorKind.SPOT: 0.5})


def slow_sigmas(squares, decay, mix):
    """The definition, a day at a time: the first days weigh the same."""
    found, variance, total, seen = [], 0.0, 0.0, 0
    for square in squares:
        if np.isfinite(square):
            seen += 1
            gain = max(1 - decay, 1 / seen)
            variance = (1 - gain) * variance + gain * square
            total += square
        known = seen >= MIN_SEEN
        now = variance**0.5 if known else np.nan
        found.append((now, (1 - mix) * now + mix * (total / seen) ** 0.5 if known else np.nan))
    return np.array(found)


def test_sigmas_and_standardised_moves_are_as_defined() -> None:
    given = history(300)
    given.move[[40, 41, 90], 0] = np.nan
    given.size[[40, 60, 90], 0] = np.nan
    filtered = Filtered(given, RULES)
    for column, factor in enumerate(given.factors):
        size, move = given.size[:, column], given.move[:, column]
        squares = np.where(np.isfinite(size), size, move) ** 2
        mix = 0.5 if factor.kind is FactorKind.SPOT else 0.0
        expected = slow_sigmas(squares, 0.9, mix)
        np.testing.assert_allclose(filtered.sigma[:, column], expected[:, 0], rtol=1e-10)
        np.testing.assert_allclose(filtered.scale[:, column], expected[:, 1], rtol=1e-10)
        z = move[1:] / expected[:-1, 0]
        np.testing.assert_allclose(filtered.standardised[1:, column], z, rtol=1e-10)


def test_a_scenario_is_its_day_at_todays_volatility() -> None:
    given = history(300)
    filtered = Filtered(given, RULES)
    day = int(given.day[250])
    found = filtered.scenarios(day, horizon_days=4.0)
    assert found.as_of_day == day and found.day[-1] == day and len(found.day) == 200
    at = 137
    row = int(np.searchsorted(found.day, given.day[at]))
    expected = given.move[at] / filtered.sigma[at - 1] * filtered.scale[250] * 2.0
    np.testing.assert_allclose(found.move[row], expected)
    assert found.weight.sum() == pytest.approx(1.0)
    np.testing.assert_array_equal(found.of(given.factors[3]), found.move[:, 3])


@given(st.integers(0, 10_000), st.integers(150, 299))
@settings(max_examples=25, deadline=None)
def test_what_comes_later_changes_nothing(seed: int, at: int) -> None:
    whole = history(300, seed=seed)
    day = int(whole.day[at])
    ruined = FactorHistory(whole.factors, whole.day, whole.move.copy(), whole.size.copy())
    ruined.move[at + 1 :] = 9.0
    ruined.size[at + 1 :] = 9.0
    expected = Filtered(whole, RULES).scenarios(day)
    for other in (ruined, whole.up_to(day)):
        found = Filtered(other, RULES).scenarios(day)
        np.testing.assert_array_equal(found.move, expected.move)
        np.testing.assert_array_equal(found.day, expected.day)


def test_a_look_ahead_of_one_day_is_detected() -> None:
    """Were today's scale to know tomorrow's move, this test would see it: standardised tomorrows would be smaller."""
    given = history(600)
    filtered = Filtered(given, FilterRules(decay=0.8))
    honest = np.nanstd(given.move[1:, 1] / filtered.sigma[:-1, 1])
    peeking = np.nanstd(given.move[1:, 1] / filtered.sigma[1:, 1])
    assert peeking < 0.9 * honest
    assert np.nanstd(filtered.standardised[1:, 1]) == pytest.approx(honest)


def test_moves_of_one_day_stay_together() -> None:
    """Swapping the days of one factor alone must break the correlation that scenarios carry."""
    found = Filtered(history(600), FilterRules()).scenarios(18_599)
    spots = found.move[:, [0, 4]]
    assert np.corrcoef(spots.T)[0, 1] > 0.4
    assert abs(np.corrcoef(spots[1:, 0], spots[:-1, 1])[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h: h.up_to(int(h.day[40])), Reason.SHORT_HISTORY),
        (lambda h: h.up_to(int(h.day[0]) - 1), Reason.SHORT_HISTORY),
        (lambda h: _without(h, 2), Reason.MOSTLY_MISSING),
    ],
)
def test_too_little_is_refused_by_name(change, reason) -> None:
    with pytest.raises(EstimateError) as refused:
        Filtered(change(history(300)), RULES).scenarios(18_299)
    assert refused.value.reason is reason


def _without(given: FactorHistory, column: int) -> FactorHistory:
    given.move[:, column] = np.nan
    given.size[:, column] = np.nan
    return given


def test_a_factor_that_is_not_there_is_refused() -> None:
    filtered = Filtered(history(300), RULES)
    with pytest.raises(EstimateError) as refused:
        filtered.scenarios(18_299, factors=[Factor("ZZZ", FactorKind.SPOT)])
    assert refused.value.reason is Reason.NO_QUOTES
    with pytest.raises(EstimateError):
        filtered.scenarios(18_299).of(Factor("ZZZ", FactorKind.SPOT))
    with pytest.raises(EstimateError):
        filtered.scenarios(18_299, horizon_days=0.0)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf, 1e9])
def test_any_move_leaves_scenarios_finite_or_refuses(bad: float) -> None:
    given = history(300)
    given.move[200:260, 0] = bad
    given.size[200:260, 0] = bad
    found = Filtered(given, RULES).scenarios(18_299)
    assert np.isfinite(found.move).all()


def test_constant_prices_have_a_least_volatility() -> None:
    given = history(300)
    given.move[:, 0] = 0.0
    given.size[:, 0] = 0.0
    found = Filtered(given, RULES).scenarios(18_299)
    assert (found.move[:, 0] == 0).all() and found.sigma[0] > 0


@pytest.mark.parametrize(
    "rules", [{"decay": 1.0}, {"decay": -0.1}, {"min_days": 0}, {"window_days": 10}, {"long_run_weight": {"spot": 2.0}}]
)
def test_impossible_rules_are_refused(rules) -> None:
    with pytest.raises(EstimateError):
        FilterRules(**rules)


def test_histories_are_joined_on_all_days() -> None:
    one, other = history(50, ("AAA",), first=100), history(50, ("BBB",), first=120)
    both = joined([one, other])
    assert both.day[0] == 100 and both.day[-1] == 169 and len(both.day) == 70
    assert np.isnan(both.move[:20, 4:]).all() and np.isnan(both.move[50:, :4]).all()
    np.testing.assert_array_equal(both.move[:50, :4], one.move)
    with pytest.raises(EstimateError):
        joined([])
    with pytest.raises(EstimateError):
        joined([one, one])


def test_shapes_and_order_of_a_history_are_checked() -> None:
    good = history(10, ("AAA",))
    with pytest.raises(EstimateError):
        FactorHistory(good.factors, good.day[::-1], good.move, good.size)
    with pytest.raises(EstimateError):
        FactorHistory(good.factors[:2], good.day, good.move, good.size)


def test_a_bank_takes_a_day_of_all_factors_at_once() -> None:
    given = history(100)
    bank = SigmaBank(len(given.factors), 0.94)
    for move, size in zip(given.move, given.size):
        now, scale = bank.update(move, size)
    np.testing.assert_allclose(now, Filtered(given, FilterRules()).sigma[-1], rtol=1e-12)
    np.testing.assert_array_equal(now, scale)
