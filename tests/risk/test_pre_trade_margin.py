"""The margin check: what is covered, what only reduces, and a replace with the worse of both versions."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from hypothesis import given

from risk.account import AccountState
from risk.exposure import PendingReplace
from risk.instrument import Side
from risk.limits import InstrumentLimits
from risk.order import Approved, Order, Reject, RejectReason
from risk.pre_trade import evaluate
from tests.strategies import ETH_LINEAR, GRID, TERMS, World, mark_ticks, order_of, orders, sides, world, worlds


def worst_held(w: World, lots: int) -> float:
    """Worst equity with so many lots of LINEAR held, bought at the mark with its fee: the slow reference."""
    fee = abs(lots) * 0.001 * 100_000 * 0.0005
    return min(w.kernel.row(1, 1) + 100.0 * lots * GRID.spot) + sum(w.kernel.row(1, 0)[:1]) - fee


def short_of_margin(side: Side) -> World:
    """Return an account that holds 1 coin (1000 lots) of LINEAR, long for a buy, with 5 000 USDC of equity."""
    w = world(usdc=5_000)
    w.give_position(0, side.sign * 1_000)
    assert w.kernel.equity(1, GRID.base) == pytest.approx(5_000)
    assert w.kernel.worst(1) == pytest.approx(5_000 - 16_000)
    return w


class TestMargin:
    @pytest.mark.parametrize("held", Side)
    def test_in_a_shortfall_what_reduces_passes_and_the_excess_over_flat_does_not(self, held: Side) -> None:
        w = short_of_margin(held)
        closing, before = (Side.SELL if held is Side.BUY else Side.BUY), w.kernel.worst(1)
        for lots in (1, 10, 500, 999, 1_000):
            assert isinstance(evaluate(order_of(0, closing, lots), w.account, w.market), Approved), lots
        for lots in (1_990, 2_000, 2_001, 3_000):
            answer = evaluate(order_of(0, closing, lots), w.account, w.market)
            reduces = worst_held(w, closing.sign * lots) > before
            assert isinstance(answer, Approved) == reduces, lots
        for lots in (2_000, 2_001, 3_000):
            answer = evaluate(order_of(0, closing, lots), w.account, w.market)
            assert isinstance(answer, Reject)
            assert answer.reason is RejectReason.MARGIN_SHORTFALL

    @pytest.mark.parametrize("held", Side)
    def test_in_a_shortfall_what_adds_is_refused_with_its_numbers(self, held: Side) -> None:
        w = short_of_margin(held)
        reject = evaluate(order_of(0, held, 100), w.account, w.market)
        assert isinstance(reject, Reject)
        assert reject.reason is RejectReason.MARGIN_SHORTFALL
        worst = 5_000 - 1_100 * 16 - 5  # 0.1 coin more, and its fee
        assert reject.limit == pytest.approx(5_000)
        assert reject.observed == pytest.approx(worst)
        assert reject.required == pytest.approx(5_000 - worst)

    def test_reduction_is_judged_by_margin_and_not_by_side(self) -> None:
        w = short_of_margin(Side.BUY)
        hedge = order_of(1, Side.SELL, 5_000)  # the inverse perpetual, half a coin short
        assert isinstance(evaluate(hedge, w.account, w.market), Approved)
        reject = evaluate(order_of(ETH_LINEAR, Side.SELL, 100), w.account, w.market)
        assert isinstance(reject, Reject)  # another risk group: it offsets nothing
        assert reject.reason is RejectReason.MARGIN_SHORTFALL

    def test_two_orders_that_close_the_same_position_are_not_both_reductions_beyond_its_mirror(self) -> None:
        w = short_of_margin(Side.BUY)
        passed = 0
        for number in range(5):
            order = order_of(0, Side.SELL, 1_000)
            if isinstance(evaluate(order, w.account, w.market), Approved):
                w.working(order, f"w{number}")
                passed += 1
        assert passed == 1
        assert w.kernel.worst(1) == pytest.approx(5_000 - 16_000)

    @pytest.mark.parametrize("state", [AccountState.TRADING, AccountState.REDUCING])
    def test_an_unknown_margin_is_refused_even_for_a_reduction(self, state: AccountState) -> None:
        w = short_of_margin(Side.BUY)
        w.lose_mark(ETH_LINEAR)
        w.account.state = state
        reject = evaluate(order_of(0, Side.SELL, 10), w.account, w.market)
        assert isinstance(reject, Reject)
        expected = RejectReason.MARGIN_UNKNOWN if state is AccountState.TRADING else RejectReason.ACCOUNT_REDUCING
        assert reject.reason is expected

    @pytest.mark.parametrize("held", Side)
    def test_a_reducing_account_may_only_reduce_however_rich(self, held: Side) -> None:
        w = world(usdc=10_000_000)
        w.give_position(0, held.sign * 1_000)
        w.account.state, w.account.state_reason = AccountState.REDUCING, "a call is open"
        closing = Side.SELL if held is Side.BUY else Side.BUY
        assert isinstance(evaluate(order_of(0, closing, 1_000), w.account, w.market), Approved)
        for order in (order_of(0, held, 1), order_of(0, closing, 2_000), order_of(ETH_LINEAR, closing, 1)):
            reject = evaluate(order, w.account, w.market)
            assert isinstance(reject, Reject)
            assert reject.reason is RejectReason.ACCOUNT_REDUCING
            assert "a call is open" in reject.text

    def test_a_flat_reducing_account_may_do_nothing(self) -> None:
        for index, side in product(range(len(TERMS)), Side):
            w = world()
            w.account.state = AccountState.REDUCING
            reject = evaluate(order_of(index, side), w.account, w.market)
            assert isinstance(reject, Reject)
            assert reject.reason is RejectReason.ACCOUNT_REDUCING

    @given(worlds(), orders())
    def test_an_approved_order_leaves_the_account_covered_or_no_worse(self, w: World, order: Order) -> None:
        before = w.kernel.worst(1)
        answer = evaluate(order, w.account, w.market)
        if not isinstance(answer, Approved):
            return
        w.working(order, "new")
        assert w.kernel.worst(1) >= min(0.0, before) - 1e-6

    @given(worlds(max_lots=20_000), orders(max_lots=20_000))
    def test_no_partial_fill_of_an_approved_order_is_worse(self, w: World, order: Order) -> None:
        w.account.state = AccountState.REDUCING
        before = w.kernel.worst(1)
        order = msgspec.structs.replace(order, is_reduce_only=False)
        if not isinstance(evaluate(order, w.account, w.market), Approved):
            return
        working, part = w.working(order, "new"), max(1, order.lots // 3)
        assert order.instrument is not None
        rate = float(order.instrument.taker_fee)
        for lots in (part, order.lots - part):
            if lots:
                premium = abs(order.instrument.cash_units(order.side, lots, order.ticks))
                fee = premium * (0.125 if order.instrument.is_option else rate)
                if order.instrument.option_fee_per_lot:
                    fee = min(fee, lots * order.instrument.option_fee_per_lot * 1e8)
                w.account.apply_fill(working, lots, order.ticks, round(fee))
            assert w.kernel.worst(1) >= before - 1e-2  # a unit or two of rounding, at the price of a coin

    @given(orders(among=(0,)), sides)
    def test_linear_margin_mirrors(self, order: Order, held: Side) -> None:
        w, mirror = short_of_margin(held), short_of_margin(Side.SELL if held is Side.BUY else Side.BUY)
        at_mark = msgspec.structs.replace(order, ticks=mark_ticks(0), is_reduce_only=False)
        other = msgspec.structs.replace(at_mark, side=Side.SELL if order.side is Side.BUY else Side.BUY)
        ours = evaluate(at_mark, w.account, w.market)
        theirs = evaluate(other, mirror.account, mirror.market)
        assert type(ours) is type(theirs)
        if isinstance(ours, Reject) and isinstance(theirs, Reject):
            assert (ours.reason, ours.observed) == (theirs.reason, pytest.approx(theirs.observed))


def check_replace(w: World, old: Order, new: Order) -> tuple[Approved | Reject, float, float]:
    """Replace a working order as the pipeline does; return the answer, and the worst equity before and after."""
    working = w.working(old, "old")
    before = w.kernel.worst(1)
    w.account.exposure.release(working)
    request = msgspec.structs.replace(new, cl_ord_id="c2", replaces=working)
    answer = evaluate(request, w.account, w.market)
    if isinstance(answer, Approved):
        working.replace = PendingReplace("c2", new.lots, new.ticks)
    w.account.exposure.hold(working)
    return answer, before, w.kernel.worst(1)


class TestReplace:
    def test_an_order_that_is_held_still_is_a_bug_of_ours(self) -> None:
        w = world()
        request = order_of(0, Side.BUY, 5, replaces=w.working(order_of()))
        reject = evaluate(request, w.account, w.market)
        assert isinstance(reject, Reject)
        assert (reject.reason, reject.check) == (RejectReason.CHECK_ERROR, "margin_is_covered")

    @pytest.mark.parametrize("side", Side)
    def test_in_a_shortfall_less_passes_and_more_does_not(self, side: Side) -> None:
        for lots, is_approved in ((1, True), (499, True), (501, False), (5_000, False)):
            w = world(usdc=100)
            answer, before, after = check_replace(w, order_of(0, side, 500), order_of(0, side, lots))
            assert before < 0
            assert isinstance(answer, Approved) is is_approved
            assert after == before  # the old version is held until the venue has answered

    @pytest.mark.parametrize(("cash", "is_approved"), [(16_100, True), (15_900, False)])
    @pytest.mark.parametrize("side", Side)
    def test_the_larger_version_must_be_covered(self, side: Side, cash: int, is_approved: bool) -> None:
        w = world(usdc=cash)
        answer, before, _ = check_replace(w, order_of(0, side, 500), order_of(0, side, 1_000))
        assert before > 0
        assert isinstance(answer, Approved) is is_approved

    def test_the_old_version_filled_and_then_the_rest_of_the_new_must_be_covered(self) -> None:
        # Bought 10 % above the mark, 500 lots cost 5 000 at once; the new 1000 at the mark lose 16 000 at the worst.
        high = order_of(0, Side.BUY, 500, ticks=220_000)
        for cash, is_approved in ((21_200, True), (18_000, False)):
            answer, before, _ = check_replace(world(usdc=cash), high, order_of(0, Side.BUY, 1_000))
            assert before > 0
            assert isinstance(answer, Approved) is is_approved

    def test_a_partly_filled_order_counts_what_is_open(self) -> None:
        w = world(usdc=9_000)
        working = w.working(order_of(0, Side.BUY, 500))
        w.account.apply_fill(working, 400, mark_ticks(0), 0)
        w.account.exposure.release(working)
        request = order_of(0, Side.BUY, 120, replaces=working)
        assert isinstance(evaluate(request, w.account, w.market), Approved)
        reject = evaluate(order_of(0, Side.BUY, 600, replaces=working), w.account, w.market)
        assert isinstance(reject, Reject)

    @pytest.mark.parametrize(
        ("old", "new", "is_approved"), [(10, 5, True), (5, 10, True), (11, 5, False), (5, 11, False)]
    )
    @pytest.mark.parametrize("side", Side)
    def test_the_larger_version_counts_for_the_position(
        self, side: Side, old: int, new: int, is_approved: bool
    ) -> None:
        w = world()
        w.account.limits.by_instrument[0] = InstrumentLimits(100, 10)
        answer, _, _ = check_replace(w, order_of(0, side, old), order_of(0, side, new))
        reason = None if isinstance(answer, Approved) else answer.reason
        assert reason is (None if is_approved else RejectReason.POSITION_ABOVE_LIMIT)

    def test_a_replace_is_no_further_working_order(self) -> None:
        w = world(max_working_orders=1)
        w.working(order_of(), "another")
        answer, _, _ = check_replace(w, order_of(), order_of(lots=5))
        assert isinstance(answer, Approved)

    @given(worlds(), orders(among=(0, 3)), orders(among=(0, 3)))
    def test_an_approved_replace_leaves_the_account_covered_or_no_worse(self, w: World, old: Order, new: Order) -> None:
        old = msgspec.structs.replace(old, is_reduce_only=False)
        new = msgspec.structs.replace(
            old, lots=new.lots, ticks=new.ticks if new.instrument is old.instrument else old.ticks
        )
        answer, before, after = check_replace(w, old, new)
        if isinstance(answer, Approved):
            assert after >= min(0.0, before) - 1e-6
        else:
            assert after == pytest.approx(before)
