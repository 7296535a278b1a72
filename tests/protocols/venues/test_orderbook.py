"""The book against a slow one: two dicts, sorted whenever asked."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.venues.orderbook import STALE_ALLOWANCE, BookSide, OrderBook

D = Decimal
prices = st.integers(1, 12).map(lambda n: D(n) / 2)
amounts = st.integers(0, 3).map(D)
edits = st.lists(st.tuples(prices, amounts), max_size=60)


@settings(max_examples=200, deadline=None)
@given(st.booleans(), edits, edits)
def test_a_side_equals_a_sorted_dict(is_bid: bool, first: list[tuple[D, D]], then: list[tuple[D, D]]) -> None:
    side = BookSide(is_bid)
    side.reset(first)
    slow = {price: amount for price, amount in first if amount}
    for price, amount in then:
        side.set(price, amount)
        slow.pop(price, None)
        if amount:
            slow[price] = amount
        expected = sorted(slow, reverse=is_bid)
        assert side.best() == (expected[0] if expected else None)
        assert side.levels == slow
    assert side.depth(3) == [(price, slow[price]) for price in sorted(slow, reverse=is_bid)[:3]]


def test_prices_that_have_gone_do_not_pile_up() -> None:
    side = BookSide(is_bid=True)
    side.set(D(1000), D(1))
    for i in range(10_000):
        side.set(D(i % 500), D(1))
        side.set(D(i % 500), D(0))
    assert side.best() == D(1000)
    assert len(side._heap) <= 2 + STALE_ALLOWANCE + 1


def fresh() -> OrderBook:
    book = OrderBook("X", max_levels=3)
    assert book.apply_snapshot(10, 1, [(D(99), D(1))], [(D(101), D(2))])
    return book


def test_a_book_is_not_usable_before_its_snapshot() -> None:
    book = OrderBook("X")
    assert not book.is_usable
    assert book.best_bid is None
    assert not book.apply_change(-1, 5, 1, [(D(99), D(1))], [])
    assert book.bids.levels == {}
    assert repr(book) == "OrderBook(X, 0 x 0, no snapshot yet)"


def test_a_chain_of_changes() -> None:
    book = fresh()
    assert book.apply_change(10, 13, 2, [(D(100), D(5))], [(D(101), D(0)), (D(102), D(1))])
    assert (book.best_bid, book.best_ask, book.sequence, book.time_ns) == (D(100), D(102), 13, 2)
    assert repr(book) == "OrderBook(X, 2 x 1, usable)"


@pytest.mark.parametrize("previous", [9, 11, 13, -1])
def test_a_gap_leaves_the_levels_and_waits_for_a_snapshot(previous: int) -> None:
    book = fresh()
    assert not book.apply_change(previous, 12, 2, [(D(100), D(5))], [])
    assert book.reason == f"gap: follows {previous}, last was 10"
    assert book.best_bid == D(99)
    assert not book.apply_change(10, 12, 2, [(D(100), D(5))], [])
    assert book.apply_snapshot(20, 3, [], [])
    assert book.is_usable
    assert (book.best_bid, book.best_ask) == (None, None)


@pytest.mark.parametrize(("bid", "ask"), [(101, 101), (102, 101)])
def test_a_crossed_book_is_not_usable(bid: int, ask: int) -> None:
    book = fresh()
    assert not book.apply_change(10, 11, 2, [(D(bid), D(1))], [])
    assert book.reason == f"crossed: bid {bid}, ask {ask}"


def test_too_many_levels() -> None:
    book = fresh()
    assert not book.apply_change(10, 11, 2, [(D(n), D(1)) for n in range(90, 94)], [])
    assert book.reason == "more than 3 levels"


def test_a_book_can_be_set_aside() -> None:
    book = fresh()
    book.mark_unusable("disconnected")
    assert not book.is_usable


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), edits, edits), max_size=8))
def test_what_was_touched_covers_every_difference(
    messages: list[tuple[bool, list[tuple[D, D]], list[tuple[D, D]]]],
) -> None:
    """Between two looks no level differs whose price was not named, or all were."""
    book = OrderBook("X", max_levels=10)
    book.apply_snapshot(0, 1, [], [])
    assert book.take_touched().is_all
    for number, (is_looked_at, bids, asks) in enumerate(messages):
        before = (dict(book.bids.levels), dict(book.asks.levels))
        book.reason = ""
        if number % 5 == 4:
            book.apply_snapshot(number + 1, 1, bids, [])
        else:
            book.apply_change(number, number + 1, 1, bids, asks)
        if is_looked_at:
            touched = book.take_touched()
            for prices_touched, old, side in (
                (touched.bids, before[0], book.bids.levels), (touched.asks, before[1], book.asks.levels)
            ):  # fmt: skip
                differs = {price for price in old.keys() | side.keys() if old.get(price) != side.get(price)}
                assert touched.is_all or differs <= prices_touched
    assert book.touched is not None
    assert len(book.touched.bids) + len(book.touched.asks) <= book.max_levels
    book.clear()
    assert (book.touched, book.bids.levels, book.is_usable) == (None, {}, False)
