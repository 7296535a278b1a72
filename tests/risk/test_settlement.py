"""Shares of what venues book: their sums are conserved, whatever the positions, and the sides mirror each other."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from risk.instrument import UNITS_PER_WHOLE, Side
from risk.position import NOTHING_ODD, Position
from risk.settlement import closing_price, delivery_units, split
from tests.strategies import COIN_OPTION, INSTRUMENTS, INVERSE, LINEAR, USD_OPTION, instrument_of, sides

lots = st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=6)
amounts = st.integers(-(10**15), 10**15)
prices = st.decimals(Decimal("0.01"), Decimal(10**6), places=8)


@given(amounts, lots)
def test_shares_sum_up_to_what_was_booked_and_none_is_a_unit_off(total: int, held: list[int]) -> None:
    assume(sum(held))
    parts = split(total, held)
    assert sum(parts) == total
    for part, one in zip(parts, held, strict=True):
        assert abs(part - Fraction(total * one, sum(held))) < 1


@given(amounts, lots)
def test_a_charge_is_shared_as_a_payment_and_shorts_as_longs(total: int, held: list[int]) -> None:
    assume(sum(held))
    parts = split(total, held)
    assert split(-total, held) == [-part for part in parts]
    assert split(total, [-one for one in held]) == parts


@pytest.mark.parametrize(
    ("total", "held", "parts"),
    [
        (-100, [2], [-100]),
        (-100, [5, -3], [-250, 150]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (100, [1, 1, 1], [34, 33, 33]),
        (2, [1, 1, 1, 0], [1, 1, 0, 0]),
        (0, [4, -1], [0, 0]),
        (7, [Fraction(1, 2), Fraction(3, 2)], [2, 5]),
    ],
)
def test_who_gets_the_units_that_are_left(total: int, held: list[int], parts: list[int]) -> None:
    assert split(total, held) == parts


def test_nothing_can_be_charged_on_nothing() -> None:
    with pytest.raises(ValueError, match="sum up to nothing"):
        split(5, [3, -3])


@given(st.sampled_from([LINEAR, INVERSE]), lots, prices)
def test_deliveries_sum_up_to_the_value_of_the_net_position(index: int, held: list[int], price: Decimal) -> None:
    instrument = INSTRUMENTS[index]
    size = Fraction(instrument.lot_size) * Fraction(instrument.contract_size) * UNITS_PER_WHOLE * sum(held)
    worth = -size / Fraction(price) if instrument.is_inverse else size * Fraction(price)
    parts = delivery_units(instrument, held, price)
    assert sum(parts) == worth.numerator // worth.denominator
    mirrored = delivery_units(instrument, [-one for one in held], price)
    assert sum(parts) + sum(mirrored) in (0, -1)  # the fraction goes against the client on either side
    assert all(abs(one + other) <= 1 for one, other in zip(parts, mirrored, strict=True))


@pytest.mark.parametrize("index", [LINEAR, INVERSE])
def test_a_delivery_at_a_whole_price_is_what_a_closing_fill_moves(index: int) -> None:
    instrument = INSTRUMENTS[index]
    for count, side in ((7, Side.SELL), (-7, Side.BUY)):
        closed = instrument.cash_units(side, 7, 60_000)
        assert delivery_units(instrument, [count], instrument.price(60_000)) == [closed]


@pytest.mark.parametrize(
    ("index", "is_call", "price", "pays"),
    [
        (USD_OPTION, True, "60100", Fraction(100)),
        (USD_OPTION, True, "59900", Fraction(0)),
        (USD_OPTION, False, "59900", Fraction(100)),
        (COIN_OPTION, True, "60100", Fraction(100, 60100)),
        (COIN_OPTION, False, "60000", Fraction(0)),
    ],
)
def test_what_an_option_pays(index: int, is_call: bool, price: str, pays: Fraction) -> None:
    option = instrument_of(index, strike=Decimal(60_000), is_call=is_call)
    assert closing_price(option, Decimal(price)) == pays
    worth = 3 * Fraction(option.lot_size) * Fraction(option.contract_size) * UNITS_PER_WHOLE * pays
    assert delivery_units(option, [3], Decimal(price)) == [worth.numerator // worth.denominator]


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_a_delivery_price_that_can_not_be_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match="can not be"):
        closing_price(INSTRUMENTS[LINEAR], Decimal(price))


@given(st.lists(st.tuples(sides, st.integers(1, 500)), min_size=1, max_size=8))
def test_fills_of_less_than_a_lot_add_up_to_the_last_digit(fills: list[tuple[Side, int]]) -> None:
    instrument = INSTRUMENTS[LINEAR]
    position, total = Position(instrument), Decimal(0)
    for side, thousandths in fills:
        quantity = instrument.lot_size * thousandths / 100
        total += side.sign * quantity
        position.apply_exact(side, quantity, -side.sign * thousandths, 1)
        assert position.quantity == total and abs(position.odd_quantity) < instrument.lot_size
        assert position.exact_lots == Fraction(total) / Fraction(instrument.lot_size)
        assert position.bought_lots - position.sold_lots == position.lots
        if not total % instrument.lot_size:
            assert position.odd_quantity is NOTHING_ODD and position.held == position.lots
    assert position.cash_units == -sum(side.sign * count for side, count in fills)
    position.close(5, 1)
    assert (position.lots, position.odd_quantity, position.bought_lots) == (0, NOTHING_ODD, position.sold_lots)


@given(st.sampled_from([LINEAR, INVERSE]), sides, st.integers(1, 10**6), st.integers(1, 10**7))
def test_exact_cash_of_whole_fills_is_that_of_fills(index: int, side: Side, count: int, ticks: int) -> None:
    instrument = INSTRUMENTS[index]
    exact = instrument.exact_cash_units(side, instrument.quantity(count), instrument.price(ticks))
    assert exact == instrument.cash_units(side, count, ticks)
