from math import inf, nan

import msgspec
import numpy as np
import pytest

from risk.instrument import Kind
from risk.kernel import MarginKernel
from risk.pricing import InstrumentMark
from risk.scenarios import (
    MAX_SCENARIOS,
    Generation,
    GenerationBuilder,
    Grid,
    build_generation,
    constant_array,
    currency_array,
    currency_group,
    risk_array,
)
from tests.risk.contracts import (
    COIN_CALL,
    CURRENCIES,
    ETH_INVERSE,
    INDEX_PRICES,
    INSTRUMENTS,
    LINEAR,
    MARKS,
    SPOT,
    contract,
)

GRID = Grid((-0.16, 0.0, 0.16), (-0.3, 0.0, 0.5))


def generation(**changes: object) -> Generation:
    arguments: dict[str, object] = {
        "number": 7,
        "as_of_ns": 1_000,
        "grid": GRID,
        "instruments": INSTRUMENTS,
        "marks": MARKS,
        "currencies": CURRENCIES,
        "index_prices": INDEX_PRICES,
    }
    return build_generation(**(arguments | changes))


def test_a_grid_is_every_spot_move_with_every_vol_move_spot_major() -> None:
    assert GRID.size == 9
    assert GRID.spot.tolist() == [-0.16] * 3 + [0.0] * 3 + [0.16] * 3
    assert GRID.vol.tolist() == [-0.3, 0.0, 0.5] * 3
    assert GRID.base == 4
    assert repr(GRID) == "Grid((-0.16, 0.0, 0.16), (-0.3, 0.0, 0.5))"
    with pytest.raises(ValueError, match="read-only"):
        GRID.spot[0] = 0.0


@pytest.mark.parametrize(
    ("spot_moves", "vol_moves", "text"),
    [
        ((), (0.0,), "spot_moves: 0"),
        ((0.0,), (), "vol_moves: 0"),
        ((-0.1, 0.1), (0.0,), "spot_moves: 0"),
        ((-1.0, 0.0), (0.0,), "spot_moves: a move"),
        ((0.0, nan), (0.0,), "spot_moves: a move"),
        ((0.0,), (0.0, inf), "vol_moves: a move"),
        ((0.0, 16.0), (0.0,), "spot_moves: a move"),
        ((0.0, 0.0), (0.0,), "spot_moves: moves must ascend"),
        ((0.0,), (0.0, -0.5), "vol_moves: moves must ascend"),
        (tuple(k / 1000 for k in range(33)), tuple(k / 1000 for k in range(32)), f"more than {MAX_SCENARIOS}"),
    ],
)
def test_a_grid_that_can_not_be_is_refused(
    spot_moves: tuple[float, ...], vol_moves: tuple[float, ...], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        Grid(spot_moves, vol_moves)


def test_the_largest_grid_is_allowed() -> None:
    assert Grid(tuple(k / 1000 for k in range(32)), tuple(k / 1000 for k in range(32))).size == MAX_SCENARIOS


def test_a_coin_moves_with_spot_and_a_dollar_does_not() -> None:
    assert currency_array(100.0, GRID) == pytest.approx([84.0] * 3 + [100.0] * 3 + [116.0] * 3)
    assert constant_array(GRID).tolist() == [1.0] * 9
    assert [currency_group(c) for c in ("USD", "USDC", "USDT", "BTC")] == ["USD", "USD", "USD", "BTC"]


@pytest.mark.parametrize("index_price", [nan, inf, -inf, -1.0, 0.0, 1e13])
def test_an_index_price_that_is_none_is_refused(index_price: float) -> None:
    with pytest.raises(ValueError, match="index price"):
        currency_array(index_price, GRID)


def test_a_lot_beyond_all_bounds_is_refused() -> None:
    huge = contract("HUGE", Kind.PERPETUAL, lot="100000000")
    with pytest.raises(ValueError, match="worth more than"):
        risk_array(huge, InstrumentMark(9e11, 9e11, 9e11), GRID)


def test_a_generation_holds_every_row_and_its_group() -> None:
    made = generation()
    assert (made.number, made.as_of_ns) == (7, 1_000)
    assert made.groups == ("USD", "BTC", "ETH")
    assert made.known.tolist() == [1] * 7
    assert not made.refusals
    assert made.group_of_instrument.tolist() == [1, 1, 1, 1, 1, 2, 2]
    assert made.group_of_currency.tolist() == [0, 1, 2]
    assert made.currency_of_instrument.tolist() == [0, 1, 1, 1, 0, 0, 2]
    for instrument in INSTRUMENTS:
        assert made.values[instrument.index] == pytest.approx(risk_array(instrument, MARKS[instrument.index], GRID))
    assert made.currency_values[1] == pytest.approx(60_000 * (1 + GRID.spot))
    kernel = MarginKernel(1, 3, 7, 3, 9)
    kernel.load(*made.arrays())
    kernel.add_position(0, 0, 2)
    assert kernel.equity(0, GRID.base) == pytest.approx(2 * 0.001 * 60_012)


def test_what_has_no_usable_mark_is_unknown_and_not_zero() -> None:
    marks = MARKS | {2: InstrumentMark(nan, 1.0, 1.0)}
    del marks[0]
    prices = {"BTC": 60_000.0}
    made = generation(marks=marks, index_prices=prices)
    assert made.known.tolist() == [0, 1, 0, 1, 1, 1, 0]
    assert np.isnan(made.values[[0, 2, 6]]).all()
    assert np.isnan(made.currency_values[2]).all()
    assert "no mark" in made.refusals[LINEAR.index]
    assert "mark_price nan" in made.refusals[2]
    assert "ETH: no index price" in made.refusals[ETH_INVERSE.index]
    assert made.currency_refusals == {"ETH": "ETH: no index price"}
    kernel = MarginKernel(1, 3, 7, 3, 9)
    kernel.load(*made.arrays())
    assert np.isnan(kernel.what_if(0, 0, 1, -60.0))
    assert not np.isnan(kernel.what_if(0, 1, 1, 0.0))


def test_an_instrument_settled_in_a_currency_nobody_holds_is_unknown() -> None:
    made = generation(currencies=("BTC",))
    assert made.known.tolist() == [0, 1, 1, 1, 0, 0, 0]
    assert made.currency_of_instrument.tolist() == [-1, 0, 0, 0, -1, -1, -1]
    assert "is not listed" in made.refusals[SPOT.index]
    kernel = MarginKernel(1, 3, 7, 3, 9)
    kernel.load(*made.arrays())
    assert np.isnan(kernel.what_if(0, SPOT.index, 1, -3.0))


def test_an_index_price_that_is_no_price_makes_its_coin_unknown() -> None:
    made = generation(index_prices=INDEX_PRICES | {"ETH": -3.0})
    assert "index price -3.0" in made.currency_refusals["ETH"]
    assert made.known.tolist() == [1, 1, 1, 1, 1, 1, 0]


def test_a_generation_is_priced_in_slices() -> None:
    builder = GenerationBuilder(
        number=1,
        as_of_ns=2,
        grid=GRID,
        instruments=INSTRUMENTS,
        marks=MARKS,
        currencies=CURRENCIES,
        index_prices=INDEX_PRICES,
    )
    assert not builder.price_some(3)
    with pytest.raises(ValueError, match="4 instruments are not priced"):
        builder.generation()
    assert not builder.price_some(3)
    assert builder.price_some(3)
    assert (builder.generation().values == generation().values).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"instruments": INSTRUMENTS[1:]}, "order of their index"),
        ({"currencies": ("BTC", "BTC")}, "listed twice"),
    ],
)
def test_lists_that_are_no_index_are_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        generation(**changes)


def test_a_generation_of_nothing_is_allowed() -> None:
    made = generation(instruments=(), currencies=("USDC",), marks={})
    kernel = MarginKernel(1, 1, 1, 1, 9)
    kernel.load(*made.arrays())
    assert np.isnan(kernel.what_if(0, 0, 1.0, 0.0))


def test_options_priced_together_are_each_themselves() -> None:
    """One that contradicts its own volatility, one out of bounds and one expired do not touch their neighbours."""
    option, mark = COIN_CALL, MARKS[COIN_CALL.index]
    contradicts = msgspec.structs.replace(mark, mark_price=0.9)
    expired = msgspec.structs.replace(mark, mark_price=0.0, years_to_expiry=0.0)
    options = [msgspec.structs.replace(option, index=index) for index in range(4)]
    options[2] = msgspec.structs.replace(options[2], lot_amount=1e18)
    made = generation(instruments=options, marks={0: mark, 1: contradicts, 2: mark, 3: expired})
    assert made.known.tolist() == [1, 0, 0, 1]
    assert made.values[0].tolist() == risk_array(option, mark, GRID).tolist()
    assert made.values[3].tolist() == risk_array(option, expired, GRID).tolist()
    assert "from its own model" in made.refusals[1]
    assert "worth more than" in made.refusals[2]
