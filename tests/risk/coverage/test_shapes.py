"""Shapes: what they gain, by hand and by properties; buyers and sellers mirror each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.coverage.shapes import OPTION_DAYS, black_76, hedge_shapes, shapes_of, single_shapes
from risk.fhs.factors import Factor, FactorKind
from risk.fhs.underlying import carry_loading

IV = {"AAA": 0.6, "BBB": 0.8}
MOVES = st.floats(-0.5, 0.5)


def profit(shape, **moves):
    given = {factor: np.array([moves.get(factor.kind.value, 0.0)]) for factor in shape.factors}
    return float(shape.profit(given, IV, 1.0)[0])


def named(part: str):
    return next(shape for shape in single_shapes("AAA") if part in shape.name)


@given(MOVES, MOVES, MOVES)
def test_both_sides_mirror(spot, carry, basis) -> None:
    for one, other in (
        ("long", "AAA short"),
        ("long the future", "short the future"),
        ("long the perpetual", "short the perpetual"),
    ):
        found = profit(named(one), spot=spot, carry=carry, basis=basis)
        assert profit(named(other), spot=spot, carry=carry, basis=basis) == pytest.approx(-found, abs=1e-12)


def test_linear_shapes_by_hand() -> None:
    assert profit(named("AAA long"), spot=np.log(1.1)) == pytest.approx(0.1)
    assert profit(named("long the future"), carry=0.2) == pytest.approx(np.expm1(0.2 * carry_loading(90 / 365)))
    assert profit(named("long the perpetual"), basis=np.log(1.01)) == pytest.approx(1 - 1 / 1.01)
    assert profit(named("long the future"), spot=0.3) == 0.0
    hedge, back = hedge_shapes("AAA", "BBB")
    moves = {Factor("AAA", FactorKind.SPOT): np.array([0.1]), Factor("BBB", FactorKind.SPOT): np.array([-0.2])}
    found = hedge.profit(moves, IV, 1.0)[0]
    assert found == pytest.approx(np.expm1(0.1) - np.expm1(-0.2)) == -back.profit(moves, IV, 1.0)[0]


@given(st.floats(-0.4, 0.4), st.floats(-0.5, 0.8))
def test_short_gamma_loses_what_moves_and_gains_what_stays(spot, vol) -> None:
    for part in ("strangle", "gamma"):
        still = profit(named(part))
        assert still > 0  # a day of time value
        if abs(spot) > 0.1:
            assert profit(named(part), spot=spot) < still
        assert (profit(named(part), vol=vol) <= still) == (vol >= 0) or abs(vol) < 1e-9


def test_the_hedge_takes_the_direction_out() -> None:
    gamma = named("gamma")
    up, down = profit(gamma, spot=0.01), profit(gamma, spot=-0.01)
    assert abs(up - down) < 0.05 * abs(profit(gamma, spot=0.1) - profit(gamma))


@given(st.floats(0.2, 3.0), st.floats(0.3, 2.0), st.floats(0.05, 2.0), st.floats(0.001, 1.0))
def test_puts_and_calls_are_in_parity(price, strike, vol, years) -> None:
    call, put = black_76(np.array([price]), strike, np.array([vol]), years)
    assert call[0] - put[0] == pytest.approx(price - strike, abs=1e-12)
    assert call[0] >= max(0.0, price - strike) - 1e-12 and put[0] >= -1e-12


def test_every_shape_of_a_list_is_there() -> None:
    found = shapes_of(("AAA", "BBB", "CCC"))
    assert len(found) == 3 * 8 + 2 * 2 and len({shape.name for shape in found}) == len(found)
    assert named("strangle").needs_implied == ("AAA",) and named("AAA long").needs_implied == ()
    assert OPTION_DAYS > 1
