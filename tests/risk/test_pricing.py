from itertools import product
from math import erf, inf, isfinite, nan, sqrt

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import reference
from risk.instrument import Instrument, Kind, Side
from risk.pricing import InstrumentMark, black76, black76_value, lot_values
from risk.scenarios import Grid
from tests.risk.contracts import (
    BTC_INDEX,
    COIN_CALL,
    FUTURE,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    MARKS,
    SPOT,
    USDC_PUT,
    contract,
)

GRID = Grid((-0.5, -0.16, 0.0, 0.16, 1.0), (-0.9, 0.0, 0.5))

forwards = st.floats(0.01, 1e6)
vols = st.floats(0.0, 5.0)
times = st.floats(0.0, 3.0)


@pytest.mark.parametrize(
    ("forward", "strike", "time_years", "vol", "is_call", "expected"),
    [
        # At the money the formula is F (2 N(sd/2) - 1).
        (100.0, 100.0, 1.0, 0.2, True, 100 * erf(0.1 / sqrt(2))),
        (100.0, 100.0, 1.0, 0.2, False, 100 * erf(0.1 / sqrt(2))),
        # Hull, Options, Futures and Other Derivatives, Black's model: a put of 1.12 discounted at 9 % for four months.
        (20.0, 20.0, 4 / 12, 0.25, False, 1.12 * 1.0305),
        (120.0, 100.0, 0.0, 0.2, True, 20.0),
        (120.0, 100.0, -1.0, 0.2, True, 20.0),
        (120.0, 100.0, 1.0, 0.0, True, 20.0),
        (120.0, 100.0, 1.0, -0.5, True, 20.0),
        (120.0, 100.0, 1.0, 0.0, False, 0.0),
        (100.0, 100.0, 1.0, 0.0, True, 0.0),
        (0.0, 100.0, 1.0, 0.2, True, 0.0),
        (0.0, 100.0, 1.0, 0.2, False, 100.0),
        # Deep in and out of the money, and volatility without end.
        (1e6, 1.0, 1.0, 0.5, True, 1e6 - 1),
        (1.0, 1e6, 1.0, 0.5, True, 0.0),
        (1.0, 1e6, 1.0, 0.5, False, 1e6 - 1),
        (100.0, 80.0, 1.0, 1e4, True, 100.0),
        (100.0, 80.0, 1.0, 1e4, False, 80.0),
    ],
)
def test_black76_gives_known_values(
    forward: float, strike: float, time_years: float, vol: float, is_call: bool, expected: float
) -> None:
    tolerance = 5e-3 if forward == 20.0 else 1e-12
    assert black76_value(forward, strike, time_years, vol, is_call) == pytest.approx(expected, rel=tolerance, abs=1e-12)
    assert float(black76(forward, strike, time_years, vol, is_call)) == pytest.approx(
        expected, rel=tolerance, abs=1e-12
    )


@given(forwards, forwards, times, vols)
def test_black76_keeps_parity_bounds_and_its_scalar_and_slow_twins(
    forward: float, strike: float, time_years: float, vol: float
) -> None:
    scale = forward + strike
    call, put = (black76_value(forward, strike, time_years, vol, is_call) for is_call in (True, False))
    assert call - put == pytest.approx(forward - strike, abs=1e-12 * scale)
    assert max(forward - strike, 0.0) <= call <= forward
    assert max(strike - forward, 0.0) <= put <= strike
    for is_call, value in ((True, call), (False, put)):
        array = black76(np.array([forward, 2 * forward]), strike, time_years, vol, is_call)
        assert array[0] == pytest.approx(value, abs=1e-13 * scale)
        slow = reference.black76(forward, strike, time_years, vol, is_call)
        assert value == pytest.approx(slow, abs=1e-11 * scale)


@given(forwards, st.floats(0.01, 3.0), st.floats(0.01, 3.0))
def test_black76_grows_with_volatility_and_calls_mirror_puts(forward: float, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert black76_value(forward, 100.0, 1.0, low, True) <= black76_value(forward, 100.0, 1.0, high, True) + 1e-9
    # A call on F struck at K is a put on K struck at F.
    assert black76_value(forward, 100.0, 1.0, low, True) == pytest.approx(
        black76_value(100.0, forward, 1.0, low, False), abs=1e-12 * (forward + 100)
    )


def test_black76_gives_a_number_or_a_named_refusal_at_every_corner() -> None:
    corners = (nan, inf, -inf, 0.0, -0.0, -1.0, 5e-324, 1e-300, 1.0, 1e300, 1.7e308)
    names = ("forward", "strike", "time_years", "vol")
    for arguments in product(corners, repeat=4):
        forward, strike, *_ = arguments
        bad = [name for name, given_value in zip(names, arguments) if not isfinite(given_value)]
        bad = bad or ["forward"] * (forward < 0) or ["strike"] * (strike <= 0)
        for is_call in (True, False):
            if bad:
                with pytest.raises(ValueError, match=bad[0]):
                    black76_value(*arguments, is_call)
            else:
                value = black76_value(*arguments, is_call)
                assert 0.0 <= value <= max(forward, strike)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("forward is not finite", (np.array([1.0, nan]), 1.0, 1.0, 1.0)),
        ("forward is negative", (np.array([1.0, -1.0]), 1.0, 1.0, 1.0)),
        ("strike is not finite", (1.0, inf, 1.0, 1.0)),
        ("strike is not positive", (1.0, np.array([1.0, 0.0]), 1.0, 1.0)),
        ("time_years is not finite", (1.0, 1.0, nan, 1.0)),
        ("vol is not finite", (1.0, 1.0, 1.0, np.array([1.0, -inf]))),
    ],
)
def test_black76_arrays_are_refused_by_name(name: str, arguments: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=name):
        black76(*arguments, True)


def test_black76_arrays_agree_with_the_scalar_at_every_finite_corner() -> None:
    finite = (0.0, 5e-324, 1e-300, 1.0, 1e300, 1.7e308)
    table = [row for row in product(finite, repeat=4) if row[1] > 0]
    columns = [np.array(column) for column in zip(*table, strict=True)]
    for is_call in (True, False):
        values = black76(*columns, is_call)
        assert np.isfinite(values).all()
        for row, value in zip(table, values.tolist(), strict=True):
            assert value == pytest.approx(black76_value(*row, is_call), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.symbol)
def test_lot_values_are_those_of_the_slow_reference(instrument: Instrument) -> None:
    mark = MARKS[instrument.index]
    values = lot_values(instrument, mark, GRID)
    expected = [reference.lot_value(instrument, mark, spot, vol) for spot, vol in zip(GRID.spot, GRID.vol)]
    assert values == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("instrument", "expected"),
    [
        (LINEAR, 0.001 * 60_012),
        (INVERSE, -10 / 59_990 * BTC_INDEX),
        (FUTURE, -10 / 61_200 * BTC_INDEX),
        (COIN_CALL, 0.1 * 0.0721 * BTC_INDEX),
        (USDC_PUT, 0.01 * 4_045),
        (SPOT, 0.001 * 3_000.4),
    ],
    ids=lambda value: getattr(value, "symbol", ""),
)
def test_the_base_scenario_is_the_mark(instrument: Instrument, expected: float) -> None:
    assert lot_values(instrument, MARKS[instrument.index], GRID)[GRID.base] == pytest.approx(expected, rel=1e-14)


def test_an_inverse_long_loses_more_coin_than_it_gains() -> None:
    # margin.md section 7: -16 % of the price costs 19.05 % in coin, +16 % gains 13.79 %.
    grid = Grid((-0.16, 0.0, 0.16), (0.0,))
    mark = InstrumentMark(BTC_INDEX, BTC_INDEX, BTC_INDEX)
    lots, coin = 6_000, BTC_INDEX * (1 + grid.spot)
    cash = INVERSE.cash_units(Side.BUY, lots, 120_000) / 1e8
    profit = lots * lot_values(INVERSE, mark, grid) / coin + cash
    assert profit == pytest.approx([-0.190476, 0.0, 0.137931], abs=1e-6)


def test_a_short_inverse_turns_coin_collateral_into_dollars() -> None:
    # One coin as collateral, and a short of the face value that it is worth: no price risk is left.
    mark = InstrumentMark(BTC_INDEX, BTC_INDEX, BTC_INDEX)
    lots = round(BTC_INDEX / 10)
    cash = 1.0 + INVERSE.cash_units(Side.SELL, lots, 120_000) / 1e8
    usd = -lots * lot_values(INVERSE, mark, GRID) + cash * BTC_INDEX * (1 + GRID.spot)
    assert usd == pytest.approx([BTC_INDEX] * GRID.size)


def test_collateral_and_contract_use_the_same_row_of_the_currency() -> None:
    row = np.linspace(50_000.0, 70_000.0, GRID.size)
    mark = MARKS[1]
    assert lot_values(INVERSE, mark, GRID, row) == pytest.approx(-10 / (mark.mark_price * (1 + GRID.spot)) * row)


def test_a_coin_call_is_worth_at_most_one_coin_and_never_less_than_nothing() -> None:
    grid = Grid((-0.9, 0.0, 10.0), (-0.9, 0.0, 10.0))
    # The venue rounds its mark below the model: without a floor the crash would be worth less than nothing.
    mark = msgspec.structs.replace(MARKS[3], mark_price=0.06)
    values = lot_values(COIN_CALL, mark, grid) / (0.1 * BTC_INDEX * (1 + grid.spot))
    assert (values >= 0).all()
    assert (values <= 1).all()
    assert values[0] == 0.0


def test_an_option_keeps_the_distance_between_mark_and_model() -> None:
    near = lot_values(USDC_PUT, MARKS[4], GRID)
    dearer = lot_values(USDC_PUT, msgspec.structs.replace(MARKS[4], mark_price=4_145.0), GRID)
    assert dearer - near == pytest.approx([0.01 * 100] * GRID.size)


def test_an_expired_option_is_worth_its_intrinsic_value() -> None:
    mark = InstrumentMark(0.0, 60_000.0, 60_000.0, 0.0, 0.0)
    assert lot_values(USDC_PUT, mark, GRID) == pytest.approx(0.01 * np.maximum(55_000 - 60_000 * (1 + GRID.spot), 0))
    late = msgspec.structs.replace(mark, years_to_expiry=-0.001, mark_iv=0.5)
    assert lot_values(USDC_PUT, late, GRID) == pytest.approx(lot_values(USDC_PUT, mark, GRID))


@pytest.mark.parametrize("bad", [nan, inf, -inf, -1.0, 2e12])
@pytest.mark.parametrize("field", ["mark_price", "forward_price", "index_price"])
@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.symbol)
def test_a_price_that_is_none_is_refused_by_name(instrument: Instrument, field: str, bad: float) -> None:
    mark = msgspec.structs.replace(MARKS[instrument.index], **{field: bad})
    with pytest.raises(ValueError, match=field):
        lot_values(instrument, mark, GRID)


@pytest.mark.parametrize(
    ("instrument", "changes", "text"),
    [
        (LINEAR, {"mark_price": 0.0}, "mark_price"),
        (LINEAR, {"index_price": 0.0}, "index_price"),
        (USDC_PUT, {"forward_price": 0.0}, "forward_price"),
        (USDC_PUT, {"mark_iv": 0.0}, "no mark_iv"),
        (USDC_PUT, {"mark_iv": nan}, "mark_iv"),
        (USDC_PUT, {"mark_iv": -0.1}, "mark_iv"),
        (USDC_PUT, {"mark_iv": inf}, "mark_iv"),
        (USDC_PUT, {"years_to_expiry": nan}, "years_to_expiry"),
        (USDC_PUT, {"years_to_expiry": inf}, "years_to_expiry"),
        # A volatility in percent, a coin option's mark in dollars, a dollar option's mark in coin of a deep put.
        (COIN_CALL, {"mark_iv": 62.0}, "its own model"),
        (COIN_CALL, {"mark_price": 4_320.0}, "its own model"),
        (USDC_PUT, {"mark_iv": 58.0}, "its own model"),
    ],
)
def test_a_mark_that_can_not_be_is_refused(instrument: Instrument, changes: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        lot_values(instrument, msgspec.structs.replace(MARKS[instrument.index], **changes), GRID)


@pytest.mark.parametrize(
    "mixed",
    [
        contract("ETH_BTC", Kind.SPOT, underlying="ETH", quote="BTC", settlement="BTC", tick="0.001"),
        contract("quanto", Kind.PERPETUAL, underlying="ETH", settlement="BTC"),
        contract("linear in coin", Kind.PERPETUAL, settlement="BTC"),
        contract("inverse in dollars", Kind.PERPETUAL, settlement="USDC", is_inverse=True),
        contract("inverse in another coin", Kind.PERPETUAL, settlement="ETH", is_inverse=True),
        contract("option in another coin", Kind.OPTION, quote="ETH", settlement="ETH", strike="1", is_call=True),
    ],
    ids=lambda instrument: instrument.symbol,
)
def test_a_contract_that_moves_with_two_groups_is_refused(mixed: Instrument) -> None:
    with pytest.raises(ValueError, match="not one risk group"):
        lot_values(mixed, InstrumentMark(0.05, 3_000.0, 3_000.0, 0.5, 0.1), GRID)


def test_an_instrument_without_its_scales_is_refused() -> None:
    with pytest.raises(ValueError, match="make_instrument"):
        lot_values(msgspec.structs.replace(LINEAR, lot_amount=0.0), MARKS[0], GRID)
