"""Held exactly once, released exactly once: by example, and over any sequence of events as a state machine."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from risk.exposure import Exposure, PendingReplace, WorkingOrder
from risk.instrument import Side
from risk.lifecycle import WORKING, Happening, OrdStatus
from tests.strategies import (
    COIN_OPTION,
    CURRENCY_INDEX,
    ETH_LINEAR,
    GENERATION,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    World,
    fresh_kernel_row,
    generation,
    kernel_of,
    mark_ticks,
    order_of,
    orders,
    prices_near_mark,
    sides,
    working_order,
    world,
)


def replace_order(w: World, order: WorkingOrder, lots: int, ticks: int) -> None:
    """Send a replace: from here the worse of both shapes is held."""
    w.account.exposure.release(order)
    order.replace = PendingReplace("c2", lots, ticks)
    w.account.exposure.hold(order)


class TestHold:
    def test_hold_and_release_leave_the_kernel_to_the_bit(self) -> None:
        w = world()
        before = w.kernel.row(1, 1).tolist()
        order = w.working(order_of(LINEAR, Side.SELL, 10))
        assert (order.held, order.held_alternative) == ((10, 200_000), None)
        assert w.kernel.row(1, 1).tolist() != before
        assert w.account.exposure.sell_lots == {LINEAR: 10}
        assert w.account.exposure.buy_lots == {}
        w.account.exposure.release(order)
        assert w.kernel.row(1, 1).tolist() == before
        assert w.account.exposure.sell_lots == {LINEAR: 0}
        assert w.account.exposure.orders == {}

    def test_a_second_hold_is_a_bug_of_ours(self) -> None:
        w = world()
        order = w.working(order_of())
        with pytest.raises(AssertionError, match="held already"):
            w.account.exposure.hold(order)
        assert w.account.exposure.buy_lots == {LINEAR: 10}

    def test_a_second_release_releases_nothing(self) -> None:
        w = world()
        first, second = w.working(order_of(), "w1"), w.working(order_of(), "w2")
        w.account.exposure.release(first)
        row = w.kernel.row(1, 1).tolist()
        w.account.exposure.release(first)
        assert w.kernel.row(1, 1).tolist() == row
        assert w.account.exposure.orders == {"w2": second}

    @pytest.mark.parametrize("status", sorted(set(OrdStatus) - WORKING))
    def test_an_ended_order_holds_nothing(self, status: OrdStatus) -> None:
        w = world()
        order = working_order(order_of())
        order.status = status
        order.replace = PendingReplace("c2", 99, 1)
        w.account.exposure.orders[order.order_id] = order
        w.account.exposure.hold(order)
        assert (order.held, order.held_lots(), w.account.exposure.orders) == (None, 0, {})
        assert (order.leaves_lots, order.alternative_lots) == (0, 0)

    def test_without_a_kernel_the_book_is_kept_and_mirrored_later(self) -> None:
        exposure, order = Exposure(1), working_order(order_of())
        other = working_order(order_of(COIN_OPTION, Side.SELL, 3), "w2")
        for each in (order, other):
            exposure.hold(each)
        exposure.release(other)
        assert (exposure.buy_lots, exposure.sell_lots) == ({LINEAR: 10}, {COIN_OPTION: 0})
        kernel, expected = kernel_of(), kernel_of()
        exposure.begin_mirror(kernel)
        assert exposure.mirror_some(1)
        exposure.end_mirror()
        expected.hold(1, LINEAR, 10, INSTRUMENTS[LINEAR].fill_cash(Side.BUY, 10, 200_000))
        assert kernel.row(1, 1).tolist() == expected.row(1, 1).tolist()

    def test_an_order_of_an_unknown_instrument_is_held_as_unknown(self) -> None:
        w = world(loaded=generation(unknown=frozenset({LINEAR})))
        order = w.working(order_of())
        assert not w.kernel.is_known(1)
        w.account.exposure.release(order)
        assert w.kernel.is_known(1)


class TestReplace:
    @given(sides, st.integers(1, 40), st.integers(-15_000, 15_000))
    def test_the_worst_way_to_fill_both_shapes_is_held_in_every_scenario(
        self, side: Side, lots: int, step: int
    ) -> None:
        ticks, instrument = mark_ticks(LINEAR) + step, INSTRUMENTS[LINEAR]
        w = world()
        base = w.kernel.row(1, 1)
        replace_order(w, w.working(order_of(LINEAR, side, 20)), lots, ticks)
        value = GENERATION.values[LINEAR]
        old = side.sign * 20 * value + instrument.fill_cash(side, 20, 200_000)
        new = side.sign * lots * value + instrument.fill_cash(side, lots, ticks)
        # All of the old version first, and then what the new one leaves open.
        both = old + max(0.0, 1 - 20 / lots) * new
        expected = [min(0.0, *each) for each in zip(old, new, both, strict=True)]
        assert (w.kernel.row(1, 1) - base).tolist() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("cum", "lots", "held", "alternative", "counted"),
        [
            (0, 15, (10, 200_000), (15, 199_000), 15),
            (0, 5, (10, 200_000), (5, 199_000), 10),
            (4, 15, (6, 200_000), (11, 199_000), 11),
            (4, 4, (6, 200_000), None, 6),  # to what is filled already: only the old shape is open
            (4, 3, (6, 200_000), None, 6),
        ],
    )
    def test_both_shapes_count_what_is_open(
        self, cum: int, lots: int, held: tuple[int, int], alternative: tuple[int, int] | None, counted: int
    ) -> None:
        w = world()
        order = w.working(order_of(LINEAR, Side.BUY, 10))
        if cum:
            w.account.apply_fill(order, cum, 200_000, 0)
        replace_order(w, order, lots, 199_000)
        assert (order.held, order.held_alternative, order.held_lots()) == (held, alternative, counted)
        assert w.account.exposure.buy_lots == {LINEAR: counted}

    def test_a_refused_replace_leaves_the_old_shape(self) -> None:
        w = world()
        order = w.working(order_of(LINEAR, Side.BUY, 10))
        row = w.kernel.row(1, 1).tolist()
        replace_order(w, order, 30, 210_000)
        w.account.exposure.release(order)
        order.replace = None
        w.account.exposure.hold(order)
        assert w.kernel.row(1, 1).tolist() == row
        assert w.account.exposure.buy_lots == {LINEAR: 10}


KINDS = (LINEAR, INVERSE, COIN_OPTION, ETH_LINEAR)


class WorkingOrders(RuleBasedStateMachine):
    """Whatever a client and a venue do, what is held is what is open, and the kernel says so."""

    @initialize()
    def start(self) -> None:
        self.world = world()
        self.known: list[WorkingOrder] = []
        self.fills: list[tuple[int, int]] = []

    def pick(self, data: st.DataObject, *, is_working: bool = True) -> WorkingOrder | None:
        among = [order for order in self.known if order.is_working or not is_working]
        return data.draw(st.sampled_from(among)) if among else None

    def end(self, order: WorkingOrder) -> None:
        self.world.account.exposure.release(order)
        order.replace = None

    @rule(order=orders(max_lots=50, among=KINDS))
    def place(self, order) -> None:  # type: ignore[no-untyped-def]
        self.known.append(self.world.working(order, f"w{len(self.known)}"))

    @rule(data=st.data(), happening=st.sampled_from([Happening.ACCEPTED, Happening.LOST]))
    def answer(self, data: st.DataObject, happening: Happening) -> None:
        order = self.pick(data)
        if order is not None and (happening is Happening.ACCEPTED or not order.status.isdigit()):
            order.happen(happening)

    @rule(data=st.data(), lots=st.integers(1, 70), fee=st.integers(-5, 5))
    def fill(self, data: st.DataObject, lots: int, fee: int) -> None:
        order = self.pick(data, is_working=False)
        if order is None or order.status in (OrdStatus.FILLED, OrdStatus.REJECTED):
            return
        self.world.account.apply_fill(order, lots, order.ticks, fee)
        self.fills.append((order.instrument.index, order.side.sign * lots))
        if not order.is_working:
            self.end(order)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = self.pick(data)
        if order is not None:
            order.happen(Happening.CANCELLED)
            self.end(order)

    @rule(data=st.data())
    def reject(self, data: st.DataObject) -> None:
        order = self.pick(data)
        if order is not None and order.status in (OrdStatus.PENDING_NEW, OrdStatus.UNKNOWN):
            order.happen(Happening.REJECTED)
            self.end(order)

    @rule(data=st.data(), lots=st.integers(1, 80))
    def replace(self, data: st.DataObject, lots: int) -> None:
        order = self.pick(data)
        if order is not None and order.replace is None:
            replace_order(self.world, order, lots, data.draw(prices_near_mark(order.instrument)))

    @rule(data=st.data(), is_taken=st.booleans())
    def answer_replace(self, data: st.DataObject, is_taken: bool) -> None:
        order = self.pick(data)
        if order is None or order.replace is None:
            return
        self.world.account.exposure.release(order)
        if is_taken:
            order.lots, order.ticks = order.replace.lots, order.replace.ticks
        order.replace = None
        if order.cum_lots >= order.lots:
            order.happen(Happening.FILLED)
            self.end(order)
        else:
            self.world.account.exposure.hold(order)

    @precondition(lambda self: len(self.known) > 2)
    @rule()
    def reload(self) -> None:
        self.world.kernel = kernel_of()
        self.world.account.mirror_into(self.world.kernel, CURRENCY_INDEX)

    @invariant()
    def exactly_what_is_open_is_held(self) -> None:
        exposure = self.world.account.exposure
        for order in self.known:
            shapes = [(order.leaves_lots, order.ticks)]
            if order.replace is not None and order.alternative_lots:
                shapes.append((order.alternative_lots, order.replace.ticks))
            held = [shape for shape in (order.held, order.held_alternative) if shape is not None]
            assert held == (shapes if any(lots for lots, _ in shapes) else [])
            assert (order.order_id in exposure.orders) is (order.held is not None) is order.is_working

    @invariant()
    def lots_by_side_are_the_sum_over_working_orders(self) -> None:
        exposure = self.world.account.exposure
        for side, by_instrument in ((Side.BUY, exposure.buy_lots), (Side.SELL, exposure.sell_lots)):
            for index in KINDS:
                worst = sum(
                    max(order.leaves_lots, order.alternative_lots)
                    for order in self.known
                    if order.side is side and order.instrument.index == index
                )
                assert by_instrument.get(index, 0) == worst >= 0

    @invariant()
    def the_position_is_the_sum_of_fills(self) -> None:
        for index in KINDS:
            filled = sum(lots for at, lots in self.fills if at == index)
            assert self.world.account.position_lots(index) == filled

    @invariant()
    def the_kernel_is_what_a_fresh_one_would_be(self) -> None:
        account = self.world.account
        for group, row in fresh_kernel_row(account).items():
            assert self.world.kernel.row(account.index, group).tolist() == pytest.approx(row, rel=1e-9, abs=1e-2)


TestWorkingOrders = WorkingOrders.TestCase
TestWorkingOrders.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
