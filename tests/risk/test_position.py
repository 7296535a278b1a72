"""Profit is the sum of what fills moved: exact, in any split, and never in the client's favour where it divides."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from risk.instrument import UNITS_PER_WHOLE, Instrument, Side
from risk.position import Position
from tests.strategies import INSTRUMENTS, INVERSE, LINEAR, instruments, inverse_instruments, linear_instruments, sides

fills = st.lists(st.tuples(sides, st.integers(1, 10_000), st.integers(1, 500_000)), max_size=8)
splits = st.lists(st.integers(1, 10_000), min_size=1, max_size=6)
prices = st.integers(1, 500_000)


def other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def profit_of(instrument: Instrument, trades: list[tuple[Side, int, int]], mark_ticks: int) -> Fraction:
    """Return profit in units from each fill's own difference of price, in rational numbers: the textbook way."""
    amount = Fraction(instrument.lot_size) * Fraction(instrument.contract_size) * UNITS_PER_WHOLE
    tick = Fraction(instrument.tick_size)

    def value(ticks: int) -> Fraction:
        return -1 / (ticks * tick) if instrument.is_inverse else ticks * tick

    return sum((side.sign * lots * amount * (value(mark_ticks) - value(t)) for side, lots, t in trades), Fraction(0))


@given(linear_instruments, fills, prices)
def test_linear_profit_is_exact(instrument: Instrument, trades: list[tuple[Side, int, int]], mark: int) -> None:
    position = Position(instrument)
    for trade in trades:
        position.apply_fill(*trade, 0)
    assert position.profit_units(mark) == profit_of(instrument, trades, mark)


@given(inverse_instruments, fills, prices)
def test_inverse_profit_is_within_a_unit_a_fill_and_never_above(
    instrument: Instrument, trades: list[tuple[Side, int, int]], mark: int
) -> None:
    position = Position(instrument)
    for trade in trades:
        position.apply_fill(*trade, 0)
    # One unit may go at each fill, and one more at the close.
    assert 0 <= profit_of(instrument, trades, mark) - position.profit_units(mark) < len(trades) + 1


@given(instruments, sides, splits, prices, prices)
def test_any_split_of_a_fill(instrument: Instrument, side: Side, split: list[int], ticks: int, mark: int) -> None:
    whole, parts = Position(instrument), Position(instrument)
    whole.apply_fill(side, sum(split), ticks, 0)
    moved = sum(parts.apply_fill(side, lots, ticks, 0) for lots in split)
    assert moved == parts.cash_units
    assert parts.lots == whole.lots
    lost = whole.profit_units(mark) - parts.profit_units(mark)
    assert 0 <= lost <= (len(split) - 1 if instrument.is_inverse else 0)


@given(instruments, fills, prices)
def test_a_mirrored_book_earns_what_this_one_loses(
    instrument: Instrument, trades: list[tuple[Side, int, int]], mark: int
) -> None:
    ours, theirs = Position(instrument), Position(instrument)
    for side, lots, ticks in trades:
        ours.apply_fill(side, lots, ticks, 0)
        theirs.apply_fill(other(side), lots, ticks, 0)
    assert ours.lots == -theirs.lots
    given_away = -(ours.profit_units(mark) + theirs.profit_units(mark))
    assert 0 <= given_away <= (len(trades) + 1 if instrument.is_inverse else 0)


@given(instruments, fills, st.integers(-1_000, 1_000))
def test_fees_come_off_the_cash_and_not_off_the_profit(
    instrument: Instrument, trades: list[tuple[Side, int, int]], fee: int
) -> None:
    position = Position(instrument)
    moved = sum(position.apply_fill(*trade, fee) for trade in trades)
    assert moved == position.cash_units - position.fee_units
    assert position.fee_units == fee * len(trades)
    assert position.bought_lots == sum(lots for side, lots, _ in trades if side is Side.BUY)
    assert position.sold_lots == sum(lots for side, lots, _ in trades if side is Side.SELL)
    assert position.lots == position.bought_lots - position.sold_lots


def test_a_flat_position_keeps_its_profit_whatever_the_mark() -> None:
    position = Position(INSTRUMENTS[LINEAR])
    position.apply_fill(Side.BUY, 2, 200_000, 5)
    position.apply_fill(Side.SELL, 2, 200_010, 5)
    # Two lots of 0.001 coin, ten ticks of half a dollar: one cent.
    assert {position.profit_units(mark) for mark in (1, 200_000, 10**9)} == {10**6}


def test_an_inverse_long_in_numbers() -> None:
    position = Position(INSTRUMENTS[INVERSE])
    position.apply_fill(Side.BUY, 5_000, 100_000, 0)  # 50 000 dollars at 50 000
    # Half a coin's 16 % rise gains less than a 16 % fall costs: 50 000/50 000 - 50 000/58 000, and to 42 000.
    assert position.profit_units(116_000) == 13_793_103
    assert position.profit_units(84_000) == -19_047_620


@given(instruments, fills.filter(bool), st.data())
def test_a_fill_that_is_reversed_has_not_been(
    instrument: Instrument, trades: list[tuple[Side, int, int]], data: st.DataObject
) -> None:
    """To the unit, fees too, in whatever order fills are reversed: division's fraction goes back where it came from."""
    fees = data.draw(st.lists(st.integers(-100, 1_000), min_size=len(trades), max_size=len(trades)))
    position, cash = Position(instrument), 0
    for trade, fee in zip(trades, fees, strict=True):
        cash += position.apply_fill(*trade, fee)
    for index in data.draw(st.permutations(range(len(trades)))):
        cash += position.reverse_fill(*trades[index], fees[index])
    assert position == Position(instrument)
    assert cash == 0
