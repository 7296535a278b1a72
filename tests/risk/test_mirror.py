"""A generation's kernel is filled in slices while orders go on; then it holds what one that is filled at once holds."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import mirror
from risk.account import Account
from risk.exposure import Exposure, WorkingOrder
from risk.instrument import Side
from risk.lifecycle import Happening
from risk.limits import Limits
from risk.order import OrdType, TimeInForce
from risk.rate import RateLimit
from tests.risk.contracts import CURRENCIES, INSTRUMENTS, KERNELS, Kernel, both, loaded

CURRENCY_INDEX = {currency: column for column, currency in enumerate(CURRENCIES)}


def account() -> Account:
    made = Account(index=0, name="A", currency="USD", limits=Limits(1e9, 100, ()), rate=RateLimit(100, 100))
    made.move_cash("USDC", 10**14)
    return made


def order(number: int, index: int, side: Side, lots: int) -> WorkingOrder:
    return WorkingOrder(
        f"o{number}", f"c{number}", "S", "A", INSTRUMENTS[index], side, lots, 1_000, OrdType.LIMIT, TimeInForce.GTC,
        False, False, 0,
    )  # fmt: skip


# What happens between two slices: an order is new, is filled in part or whole, or ends; a fill is
# taken back; numbers choose which.
happenings = st.lists(
    st.tuples(st.sampled_from(["new", "fill", "bust", "end", "slice"]), st.integers(0, 5), st.integers(1, 9)),
    max_size=30,
)


class Trader:
    """One account and the orders that it ever had."""

    def __init__(self, mirror_some: Callable[[Exposure, int], bool] = mirror.orders_some) -> None:
        self.account, self.mirror_some = account(), mirror_some
        self.orders: list[WorkingOrder] = []
        self.fills: list[tuple[WorkingOrder, int]] = []

    def new(self, choice: int, lots: int) -> None:
        made = order(len(self.orders), choice % len(INSTRUMENTS), Side.BUY if lots % 2 else Side.SELL, lots)
        self.orders.append(made)
        self.account.exposure.hold(made)

    def fill(self, choice: int, lots: int) -> None:
        working = [o for o in self.orders if o.is_working]
        if working:
            chosen = working[choice % len(working)]
            lots = min(lots, chosen.leaves_lots)
            self.account.apply_fill(chosen, lots, chosen.ticks, 0)
            self.fills.append((chosen, lots))

    def bust(self, choice: int, _: int) -> None:
        if self.fills:
            of, lots = self.fills.pop(choice % len(self.fills))
            self.account.reverse_fill(of.instrument, of.side, lots, of.ticks, 0)

    def end(self, choice: int, _: int) -> None:
        working = [o for o in self.orders if o.is_working]
        if working:
            chosen = working[choice % len(working)]
            chosen.happen(Happening.CANCELLED)
            self.account.exposure.release(chosen)

    def slice(self, _: int, lots: int) -> None:
        self.mirror_some(self.account.exposure, lots % 3 + 1)


@both
@settings(max_examples=60)
@given(before=st.integers(0, 8), happened=happenings)
def test_filling_a_kernel_in_slices_loses_nothing(
    kind: type[Kernel], before: int, happened: list[tuple[str, int, int]]
) -> None:
    trader = Trader()
    for number in range(before):
        trader.new(number, number + 1)
    served, following, anew = loaded(kind), loaded(kind), loaded(kind)
    trader.account.mirror_into(served, CURRENCY_INDEX)
    trader.account.begin_mirror(following, CURRENCY_INDEX)
    for what, choice, lots in happened:
        getattr(trader, what)(choice, lots)
    assert mirror.orders_some(trader.account.exposure, len(trader.orders) + 1)
    trader.account.end_mirror()
    held = following.worst(0)
    assert held == pytest.approx(served.worst(0), rel=1e-9), "the one that was asked knew all along"
    trader.end(0, 0)
    trader.new(1, 3)
    held = following.worst(0)
    trader.account.mirror_into(anew, CURRENCY_INDEX)
    assert held == pytest.approx(anew.worst(0), rel=1e-9)


@both
def test_a_mirror_that_is_given_up_leaves_no_trace(kind: type[Kernel]) -> None:
    trader = Trader()
    trader.new(0, 1)
    served, given_up = loaded(kind), loaded(kind)
    trader.account.mirror_into(served, CURRENCY_INDEX)
    trader.account.begin_mirror(given_up, CURRENCY_INDEX)
    trader.account.drop_mirror()
    before = given_up.worst(0)
    trader.new(1, 1)
    trader.end(0, 0)
    assert given_up.worst(0) == before


def test_a_kernel_is_not_asked_before_it_holds_all() -> None:
    trader = Trader()
    for number in range(3):
        trader.new(number, 1)
    trader.account.begin_mirror(loaded(KERNELS[-1]), CURRENCY_INDEX)
    assert not mirror.orders_some(trader.account.exposure, 2)
    with pytest.raises(AssertionError, match="every working order"):
        trader.account.end_mirror()


drawn_accounts = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, len(INSTRUMENTS) - 1), st.integers(-5, 5).filter(bool)), max_size=3),
        st.lists(st.tuples(st.sampled_from(sorted(CURRENCIES)), st.integers(-(10**16), 10**16)), max_size=3),
        st.integers(0, 2),  # working orders
        st.booleans(),  # whether a mirror was begun before, and never ended
    ),
    min_size=1,
    max_size=6,
)


def holders(drawn: list[Any], kind: type[Kernel]) -> list[Account]:
    """Accounts that have been asked by a kernel before, as those of a gateway that runs are."""
    made = []
    for number, (positions, cash, orders, is_begun) in enumerate(drawn):
        one = Account(
            index=number, name=f"A{number}", currency="USD", limits=Limits(1e9, 100, ()), rate=RateLimit(100, 100)
        )
        for index, lots in positions:
            one.book_fill(INSTRUMENTS[index], Side.BUY if lots > 0 else Side.SELL, abs(lots), 1_000, 0)
        for currency, units in cash:
            one.move_cash(currency, units)
        for order_number in range(orders):
            one.exposure.hold(order(10 * number + order_number, 0, Side.BUY, 1))
        before = loaded(kind, len(drawn))
        one.mirror_into(before, CURRENCY_INDEX)
        if is_begun:
            one.begin_mirror(loaded(kind, len(drawn)), CURRENCY_INDEX)
        made.append(one)
    return made


@pytest.mark.skipif(not mirror.COMPILED, reason="no compiled mirrors were built")
@settings(max_examples=80)
@given(drawn=drawn_accounts, most=st.integers(1, 8))
def test_many_accounts_are_written_as_each_would_be(drawn: list[Any], most: int) -> None:
    found = []
    for begin, end, hold_some in (
        (mirror.begin_some, mirror.end_some, mirror.orders_some),
        (mirror.plain_begin_some, mirror.plain_end_some, Exposure.mirror_some),
    ):
        accounts, kernel = holders(drawn, KERNELS[-1]), loaded(KERNELS[-1], len(drawn))
        at, steps = 0, []
        while at < len(accounts):
            at, written = begin(accounts, at, most, kernel, CURRENCY_INDEX, {}, None)
            steps.append((at, written))
            hold_some(accounts[at - 1].exposure, 100)
        accounts[0].book_fill(INSTRUMENTS[0], Side.BUY, 1, 1_000, 0)  # meanwhile it goes into both
        ends = [end(accounts, start, 2) for start in range(0, len(accounts), 2)]
        accounts[-1].book_fill(INSTRUMENTS[1], Side.SELL, 1, 1_000, 0)
        for one in accounts:
            assert [books.kernel for books in one._books] == [kernel] and not one._is_mirroring
            assert one.exposure._kernel is kernel and one.exposure._next is None
        figures = [(kernel.worst(one.index), kernel.equity(one.index, 0)) for one in accounts]
        found.append((steps, ends, [one.exposure.is_mirrored for one in accounts], figures))
    assert found[0] == found[1]


@pytest.mark.skipif(not mirror.COMPILED, reason="no compiled mirrors were built")
@settings(max_examples=60)
@given(before=st.integers(0, 8), happened=happenings)
def test_slices_of_orders_are_held_as_by_the_method(before: int, happened: list[tuple[str, int, int]]) -> None:
    found = []
    for mirror_some in (mirror.orders_some, Exposure.mirror_some):
        trader, following = Trader(mirror_some), loaded(KERNELS[-1])
        for number in range(before):
            trader.new(number, number + 1)
        trader.account.mirror_into(loaded(KERNELS[-1]), CURRENCY_INDEX)
        trader.account.begin_mirror(following, CURRENCY_INDEX)
        exposure, told = trader.account.exposure, []
        for what, choice, lots in happened:
            getattr(trader, what)(choice, lots)
            told.append((list(exposure._to_mirror), set(exposure._held_next), following.worst(0)))
        told.append((mirror_some(exposure, 0), mirror_some(exposure, 9), following.worst(0)))
        found.append((told, exposure.is_mirrored, mirror.held_bytes(exposure.held)))
        assert mirror.held_bytes(exposure.held) == mirror.plain_held_bytes(exposure.held)
    assert found[0] == found[1]


@pytest.mark.skipif(not mirror.COMPILED, reason="no compiled mirrors were built")
def test_orders_that_no_venue_holds_are_not_left_to_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    trader, served, following = Trader(), loaded(KERNELS[-1]), loaded(KERNELS[-1])
    for number in range(5):
        trader.new(number, number + 1)
    trader.account.mirror_into(served, CURRENCY_INDEX)
    trader.account.begin_mirror(following, CURRENCY_INDEX)
    monkeypatch.delattr(Exposure, "mirror_some")
    assert not mirror.orders_some(trader.account.exposure, 2)
    assert mirror.orders_some(trader.account.exposure, 3)
    assert following.worst(0) == pytest.approx(served.worst(0), rel=1e-9)


@pytest.mark.parametrize("row", [(1, 2, 3.0), (1, 2, 3, 4, 5, "6"), (1, 2, 3, 4, 5, 10**400)])
def test_what_is_no_row_of_six_numbers_is_not_told(row: Any) -> None:
    for told in (mirror.held_bytes, mirror.plain_held_bytes):
        with pytest.raises((ValueError, TypeError, OverflowError, struct.error)):
            told([row])
