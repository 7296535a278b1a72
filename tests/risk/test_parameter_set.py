"""Sets of parameters: what may not act, how they follow the marks, and that a scaled tail point is still one."""

import dataclasses
import re
from math import inf, isfinite, nan, sqrt

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.fhs.factors import Factor, FactorKind
from risk.fhs.filtered import Filtered, FilterRules
from risk.fhs.points import TailPoint, tail_points
from risk.parameter_set import (
    BPS,
    Floors,
    ParameterSet,
    RescaleRules,
    UnderlyingParameters,
    UsedForecast,
    rescaled,
    why_not,
)
from tests.risk.fhs.histories import history

TODAY = 20_000
FLOORS = Floors()
RULES = RescaleRules(least=0.8, most=2.0, fall_a_day=0.1, step=0.01)


def coin(**changes) -> UnderlyingParameters:
    given = {"sigma": 0.03, "long_run": 0.04, "long_run_weight": 0.4, "decay": 0.985, "haircut": 0.1}
    return UnderlyingParameters(**(given | {"collar": (0.04, 0.05)} | changes))


def by_champion(ratio: float = 0.9, **changes) -> UnderlyingParameters:
    given = {"forecaster": "learned", "why": "won", "ratio": ratio, "filter_sigma": 0.03, "base": 0.02}
    given |= {"forecast": 0.018, "regime": 1.0, "rival": "learned", "rows": 400, "p_value": 0.001, "loss": 0.3}
    return coin(sigma=ratio * 0.03, used=UsedForecast(**(given | {"base_loss": 0.4} | changes)))


def parameters(**changes) -> ParameterSet:
    points = [TailPoint("long", {"A": -0.2, "B": -0.3}), TailPoint("short", {"A": 0.2, "B": 0.4})]
    given = {"as_of_day": TODAY - 1, "horizon_days": 1.0, "confidence": 0.975, "points": points}
    return ParameterSet(**(given | {"underlyings": {"A": coin(), "B": coin()}} | changes))


def test_a_sound_set_may_act_and_one_that_is_known_may_be_in_it() -> None:
    assert why_not(parameters(), FLOORS, TODAY, {"A", "B"}) == ""
    assert why_not(parameters(), FLOORS, TODAY, {"A"}, {"B"}) == ""


POINT = TailPoint("p", {"A": -0.2, "B": -0.3})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"underlyings": {}}, "0 underlyings"),
        ({"underlyings": {"": coin()}}, "names of 1 to"),
        ({"points": []}, "0 tail points"),
        ({"points": [POINT, POINT]}, "same name"),
        ({"points": [TailPoint("p", {"A": -0.2})]}, "does not move every underlying"),
        ({"points": [TailPoint("p", {"A": -0.2, "B": -1.0})]}, "B moves by -1"),
        ({"points": [TailPoint("p", {"A": nan, "B": -0.2})]}, "A moves by nan"),
        ({"points": [TailPoint("p", {"A": -0.2, "B": 11.0})]}, "B moves by 11"),
        ({"confidence": 0.5}, "confidence"),
        ({"horizon_days": nan}, "confidence"),
        ({"underlyings": {"A": coin(sigma=nan), "B": coin()}}, "A: a volatility"),
        ({"underlyings": {"A": coin(haircut=inf), "B": coin()}}, "A: a volatility, haircut"),
        ({"underlyings": {"A": coin(haircut=1.5), "B": coin()}}, "within its range"),
        ({"underlyings": {"A": coin(decay=1.0), "B": coin()}}, "within its range"),
        ({"as_of_day": TODAY + 1}, "after today"),
        ({"as_of_day": TODAY - 8}, "8 days ago"),
        ({"horizon_days": 0.5}, "margin period of risk"),
        ({"points": [TailPoint("l", {"A": -0.01, "B": -0.2}), TailPoint("s", {"A": 0.2, "B": 0.2})]}, "largest fall"),
        ({"points": [TailPoint("l", {"A": -0.2, "B": -0.2}), TailPoint("s", {"A": 0.2, "B": 0.01})]}, "largest rise"),
        ({"underlyings": {"A": coin(sigma=1e-4, long_run=1e-4), "B": coin()}}, "A: a volatility of 0.010%"),
        ({"underlyings": {"A": coin(haircut=0.01), "B": coin()}}, "haircut of 1.000%"),
        ({"underlyings": {"A": coin(collar=(0.001, 0.05)), "B": coin()}}, "collar of -0.100%"),
        ({"underlyings": {"A": coin(collar=(0.01, 0.3)), "B": coin()}}, "to \\+30.000% is not"),
    ],
)
def test_what_may_not_act_says_why(changes, says) -> None:
    assert re.search(says, why_not(parameters(**changes), FLOORS, TODAY, {"A", "B"}))


@pytest.mark.parametrize(
    ("traded", "also", "says"),
    [({"A", "B", "C"}, (), "nothing is said of C"), ({"A"}, (), "unknown underlying B"), ((), (), "A, B")],
)
def test_the_coins_are_those_of_here(traded, also, says) -> None:
    assert says in why_not(parameters(), FLOORS, TODAY, traded, also)


@given(st.floats(-0.99, 9.0), st.integers(1, 100_000), st.integers(1, 100_000))
def test_a_larger_ratio_asks_for_no_less_and_no_price_ends_below_zero(move, ratio, more) -> None:
    given = parameters(points=[TailPoint("p", {"A": move, "B": move})])
    one, other = (given.days({"A": each})["p"]["A"] for each in sorted((ratio, ratio + more)))
    assert -1 < one <= 10 and -1 < other <= 10
    assert abs(other) >= abs(one) - 1e-12 and one * move >= 0
    assert given.days({"A": BPS}) == given.days({}) == {"p": {"A": move, "B": move}}


@pytest.mark.parametrize("ratio", [0.8, 1.2, 1.5])
def test_scaled_points_ask_for_what_points_of_scaled_days_do(ratio) -> None:
    """Volatility of one coin moves: for any portfolio the scaled points are within 5 % of points fitted anew."""
    filtered = Filtered(history(900, ("A", "B"), seed=3), FilterRules(window_days=800))
    spots = [Factor("A", FactorKind.SPOT), Factor("B", FactorKind.SPOT)]
    scenarios = filtered.scenarios(int(filtered.history.day[-1]), 1.0, spots)
    before = tail_points(scenarios, 0.975)
    moved = dataclasses.replace(scenarios, move=scenarios.move * np.array([ratio, 1.0]))
    anew = tail_points(moved, 0.975)
    given = parameters(points=before.points)
    scaled = np.array([list(day.values()) for day in given.days({"A": round(ratio * BPS)}).values()])
    fitted = np.array([list(point.moves.values()) for point in anew.points])
    for angle in np.linspace(0, 2 * np.pi, 60):
        held = np.array([np.cos(angle), np.sin(angle)])
        asked, wanted = -(scaled @ held).min(), -(fitted @ held).min()
        assert 0.95 < asked / wanted < 1.10, (angle, asked, wanted)


def test_a_ratio_follows_the_variance_within_its_bounds() -> None:
    one = coin(long_run_weight=0.5, long_run=0.03)
    assert rescaled(one, 0.03**2, BPS, 1.0, RULES) == (BPS, False)
    assert rescaled(one, (2 * 0.03) ** 2, BPS, 1.0, RULES) == (15_000, False)
    assert rescaled(one, (9 * 0.03) ** 2, BPS, 1.0, RULES) == (20_000, True)
    assert rescaled(one, (1.01 * 0.03) ** 2, BPS, 1.0, RULES) == (BPS, False)  # less than a step
    # It falls by a tenth a day at most, and not below its bound.
    assert rescaled(one, 0.0, 15_000, 1.0, RULES) == (13_500, False)
    assert rescaled(one, 0.0, 15_000, 100.0, RULES) == (8_000, False)
    for bad in (nan, inf, -1.0):
        assert rescaled(one, bad, 12_345, 1.0, RULES) == (12_345, False)


@given(st.floats(0, 10), st.integers(8_000, 20_000), st.floats(0, 30))
def test_a_ratio_never_leaves_its_bounds(variance, ratio, days) -> None:
    found, is_beyond = rescaled(coin(), variance, ratio, days, RULES)
    assert 8_000 <= found <= 20_000 and isfinite(found)
    assert found >= ratio * (1 - min(1, 0.1 * days)) - 1
    assert is_beyond == (coin().scale_at(sqrt(variance)) / coin().scale > 2.0)


@pytest.mark.parametrize("changes", [{"least": 0.0}, {"least": 1.1}, {"most": 0.9}, {"fall_a_day": 2.0}, {"step": 1.0}])
def test_rules_out_of_order_are_refused(changes) -> None:
    with pytest.raises(ValueError, match="order"):
        RescaleRules(**changes)


def test_sets_survive_being_written_and_read() -> None:
    assert msgspec.json.decode(msgspec.json.encode(parameters()), type=ParameterSet) == parameters()


def test_a_forecaster_is_told_of_and_older_sets_are_the_same_bytes() -> None:
    given = parameters(underlyings={"A": by_champion(), "B": coin()})
    assert why_not(given, FLOORS, TODAY, {"A", "B"}) == ""
    assert msgspec.json.decode(msgspec.json.encode(given), type=ParameterSet) == given
    assert b"used" not in msgspec.json.encode(parameters())


@pytest.mark.parametrize(
    "changes",
    [{"filter_sigma": 0.02}, {"base": nan}, {"forecast": inf}, {"regime": 0.9}, {"p_value": 1.5}, {"loss": -1.0},
     {"why": "x" * 201}, {"base_loss": nan}],
)  # fmt: skip
def test_a_forecaster_whose_figures_are_none_is_refused(changes) -> None:
    given = parameters(underlyings={"A": by_champion(**changes), "B": coin()})
    assert "A: what is said of its forecaster" in why_not(given, FLOORS, TODAY, {"A", "B"})


def test_the_marks_move_on_from_the_figure_that_was_used() -> None:
    one = by_champion(0.8, filter_sigma=0.03)
    assert rescaled(one, (0.8 * 0.03) ** 2, BPS, 1.0, RULES) == (BPS, False)
    assert rescaled(one, 0.03**2, BPS, 1.0, RULES)[0] > BPS
