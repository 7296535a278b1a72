"""Pools and the margin of many accounts where spans are long, books are hedged, and accounts are split."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import pool_books
from risk.instrument import Kind, Side
from risk.pool_books import PoolBookBuilder
from risk.pricing import InstrumentMark
from risk.remargin import make_portfolios
from risk.venue_book import BookTerms, VenueBook
from tests.risk.contracts import YEAR_NS, contract
from tests.risk.models import slow
from tests.risk.test_pool_margin import KERNELS
from tests.risk.test_remargin import GROUPS, ROWS, TWINS, arrays, both_ways

SPOT, TICKS = 60_000.0, 600_000
# In years: next to each other, and so far that no pair of hedges counts for all of the distance.
ENDS = (0.5 / 365, 1 / 365, 2 / 365, 401 / 365, 402 / 365, 801 / 365, 802 / 365)
FUTURES = tuple(
    msgspec.structs.replace(
        contract(f"F{row}", Kind.FUTURE, lot="1", tick="0.1", quote="USDT", settlement="USDT"),
        index=row,
        expiry_ns=int(at * YEAR_NS),
    )
    for row, at in enumerate(ENDS)
)
MARKS = {row: InstrumentMark(SPOT, SPOT, SPOT, 0.0, at) for row, at in enumerate(ENDS)}
CASH = 3e6


def bybit(kind: type) -> VenueBook:
    builder = PoolBookBuilder(
        BookTerms(name="b", venue="test", model="bybit_portfolio"), FUTURES, MARKS, ("USD", "USDT"), 1
    )
    assert builder.price_some(100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_books, "PoolKernel", kind)
        return builder.book()


def paid(row: int, lots: int) -> float:
    return FUTURES[row].cash_units(Side.BUY if lots > 0 else Side.SELL, abs(lots), TICKS) / 1e8


@pytest.mark.parametrize("kind", KERNELS, ids=lambda kind: kind.__module__)
@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from((-10, -3, 0, 10)), min_size=7, max_size=7), st.integers(0, 6), st.sampled_from((-10, 4))
)
def test_bybits_pool_is_the_slow_margin_and_a_fill_never_costs_more_than_was_reserved(
    kind: type, lots: list[int], row: int, ordered: int
) -> None:
    book = bybit(kind)
    kernel, usdt = book.kernel, book.currency_index["USDT"]
    kernel.add_cash(0, usdt, CASH)
    for index, count in enumerate(lots):
        kernel.add_position(0, index, count)
        kernel.add_cash(0, usdt, paid(index, count) if count else 0.0)
    market = {"spot": SPOT, "forward": {}}
    held = [
        {"kind": "future", "qty": float(q), "mark": SPOT, "expiry_s": at * slow.YEAR_S, "settlement": "USDT"}
        for q, at in zip(lots, ENDS)
        if q
    ]
    assert kernel.worst_of_group(0, 0) == pytest.approx(CASH - 1.2 * slow.bybit(market, held), rel=1e-9)
    reserved = kernel.what_if_of_group(0, row, ordered, paid(row, ordered))
    assert reserved <= kernel.if_filled_of_group(0, row, ordered, paid(row, ordered)) + 1e-6


def test_bybits_pool_reserves_for_an_order_that_pairs_all_others_anew() -> None:
    for kind in KERNELS:
        kernel = (book := bybit(kind)).kernel
        for index in range(1, 7):
            count = 10 * (-1) ** index
            kernel.add_position(0, index, count)
            kernel.add_cash(0, book.currency_index["USDT"], paid(index, count))
        for ordered in (10, -10):
            reserved = kernel.what_if_of_group(0, 0, ordered, paid(0, ordered))
            assert reserved <= kernel.if_filled_of_group(0, 0, ordered, paid(0, ordered))


whole = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.floats(-1e6, 1e6)), min_size=1, max_size=8, unique_by=lambda row: row[0]
)


@pytest.mark.parametrize("twin", TWINS)
@settings(max_examples=20, deadline=None)
@given(whole, arrays, st.integers(0, 2**16), st.integers(0, 99))
def test_splitting_an_account_never_lowers_the_total(
    twin: Any, held: list[tuple[int, float]], rows: list[list[float]], halves: int, seed: int
) -> None:
    """Account 0 holds what 1 and 2 hold together; and the order in which holdings come changes no bit."""
    told = [(0, row, amount) for row, amount in held]
    told += [(1 + (halves >> place & 1), row, amount) for place, (row, amount) in enumerate(held)]
    values, known = np.array(rows), np.ones(ROWS, dtype=np.uint8)
    found = []
    for _ in range(2):
        accounts, of, amounts = (np.array(column) for column in zip(*told))
        portfolios = make_portfolios(3, accounts.astype(np.int32), of.astype(np.int32), amounts, GROUPS)
        found.append(both_ways(portfolios, values, known, 2, twin))
        random.Random(seed).shuffle(told)
    one, other = found
    scale = 1e-9 * max(1.0, float(np.abs(values).max())) * max(1.0, *(abs(amount) for _, amount in held))
    assert one.requirement[0] <= one.requirement[1] + one.requirement[2] + scale
    assert one.equity[0] == pytest.approx(one.equity[1] + one.equity[2], rel=1e-9, abs=scale)
    for name in ("equity", "worst", "cost", "scenario"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
