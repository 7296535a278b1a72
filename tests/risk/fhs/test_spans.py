"""Moves over several margin periods: the same evenings, their first day shared, none lost, and none asked for less."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.fhs.factors import FactorHistory, FactorKind
from risk.fhs.filtered import Filtered, FilterRules
from risk.fhs.points import MAX_POINTS, tail_points
from risk.fhs.spans import over_periods
from risk.volatility.refusals import EstimateError
from tests.risk.fhs.histories import history

LAST = 18_599
HISTORY = history(600, ("AAA", "BBB"))
SPOTS = [factor for factor in HISTORY.factors if factor.kind is FactorKind.SPOT]
RULES = FilterRules(window_days=500)
FILTERED = Filtered(HISTORY, RULES)


def test_a_days_moves_are_those_of_a_set_of_one_day_whatever_others_there_are() -> None:
    alone = FILTERED.scenarios(LAST, 1.0, SPOTS)
    for periods in ([1.0], [1.0, 2.0, 5.0], [5.0, 1.0]):
        sets, _ = over_periods(FILTERED, LAST, periods, SPOTS, 0.975)
        one = sets[periods.index(1.0)]
        np.testing.assert_array_equal(one.move, alone.move)
        assert all(np.array_equal(other.day, alone.day) for other in sets)


def test_a_longer_period_is_the_sum_of_its_days_by_the_forecast_of_its_evening() -> None:
    (one, three), spans = over_periods(FILTERED, LAST, [1.0, 3.0], SPOTS, 0.975)
    rows = np.searchsorted(HISTORY.day, one.day)
    columns = [HISTORY.column[factor] for factor in SPOTS]
    for at in (0, 100, 300):
        moves = HISTORY.move[rows[at] : rows[at] + 3][:, columns].sum(axis=0)
        expected = moves / FILTERED.sigma[rows[at] - 1, columns] * one.sigma * list(spans[1].widened.values())
        np.testing.assert_allclose(three.move[at], expected, rtol=1e-12)
    # The last evenings' days are not over: what there is, by the root of time.
    factor = list(spans[1].widened.values())
    np.testing.assert_allclose(three.move[-1], one.move[-1] * 3**0.5 * factor, rtol=1e-12)


@pytest.mark.parametrize("days", [0.25, 0.5])
def test_a_part_of_a_day_is_its_root(days) -> None:
    (one, part), _ = over_periods(FILTERED, LAST, [1.0, days], SPOTS, 0.975)
    np.testing.assert_allclose(part.move, FILTERED.scenarios(LAST, 1.0, SPOTS).move * days**0.5, rtol=1e-12)
    assert np.abs(one.move).max() >= np.abs(part.move).max()


@given(st.integers(0, 50), st.lists(st.sampled_from((0.5, 1.0, 1.5, 2.0, 4.0, 7.0)), min_size=2, unique=True))
@settings(max_examples=25, deadline=None)
def test_a_longer_period_never_asks_for_less_of_a_coin(seed, periods) -> None:
    """Also where markets come back: every second day undoes the one before it."""
    made = history(160, ("AAA", "BBB"), seed)
    move = made.move.copy()
    move[1::2] = -0.9 * move[:-1:2]
    filtered = Filtered(FactorHistory(made.factors, made.day, move, made.size), RULES)
    factors = [factor for factor in made.factors if factor.kind is FactorKind.SPOT]
    _, spans = over_periods(filtered, int(made.day[-1]), periods, factors, 0.95)
    for shorter, longer in pairwise(spans):
        for coin in ("AAA", "BBB"):
            assert longer.long[coin] >= shorter.long[coin] * (1 - 1e-9)
            assert longer.short[coin] >= shorter.short[coin] * (1 - 1e-9)


def test_missing_days_lose_no_evening() -> None:
    move = HISTORY.move.copy()
    move[300:303] = np.nan
    filtered = Filtered(replace(HISTORY, move=move), RULES)
    (one, two), spans = over_periods(filtered, LAST, [1.0, 2.0], SPOTS, 0.975)
    before = int(np.flatnonzero(one.day == HISTORY.day[299])[0])
    assert len(one.day) == len(two.day) and np.isfinite(two.move).all()
    widened = list(spans[1].widened.values())
    np.testing.assert_allclose(two.move[before], one.move[before] * 2**0.5 * widened, rtol=1e-12)


def test_nothing_is_known_of_days_to_come() -> None:
    told, _ = over_periods(FILTERED, LAST - 100, [1.0, 5.0], SPOTS, 0.975)
    move = HISTORY.move.copy()
    move[-100:] *= 50.0
    changed = Filtered(replace(HISTORY, move=move), RULES)
    again, _ = over_periods(changed, LAST - 100, [1.0, 5.0], SPOTS, 0.975)
    for one, other in zip(told, again, strict=True):
        np.testing.assert_array_equal(one.move, other.move)


def test_points_of_several_periods_cover_what_is_held_over_either() -> None:
    sets, _ = over_periods(FILTERED, LAST, [1.0, 2.0], SPOTS, 0.975)
    found = tail_points(sets[0], 0.975, 1, *sets[1:])
    rows = np.array([[*p.moves.values(), *p.over["2"].values()] for p in found.points])
    moves = np.expm1(np.concatenate([one.move for one in sets], axis=1))
    assert len(found.points) <= MAX_POINTS and rows.shape[1] == 4
    rng = np.random.default_rng(3)
    for holding in rng.normal(size=(200, 4)) / moves.std(axis=0):
        losses = np.sort(-(moves @ holding))[::-1]
        shortfall = losses[: int(0.025 * len(losses))].mean()
        assert (-(rows @ holding)).max() >= 0.9 * shortfall
    assert tail_points(sets[0], 0.975).points[0].over == {}


@pytest.mark.parametrize(("coins", "periods"), [(6, 1), (8, 1), (3, 3), (20, 2), (40, 3)])
def test_there_are_never_too_many_points(coins, periods) -> None:
    names = tuple(f"C{at:02d}" for at in range(coins))
    made = history(150, names)
    spots = [factor for factor in made.factors if factor.kind is FactorKind.SPOT]
    sets, _ = over_periods(Filtered(made, RULES), int(made.day[-1]), [1.0, 2.0, 3.0][:periods], spots, 0.95)
    assert len(tail_points(sets[0], 0.95, 1, *sets[1:]).points) <= MAX_POINTS


@pytest.mark.parametrize("periods", [[], [0.0], [-1.0]])
def test_what_is_no_period_is_refused(periods) -> None:
    with pytest.raises(EstimateError):
        over_periods(FILTERED, LAST, periods, SPOTS, 0.975)
