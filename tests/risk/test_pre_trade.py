"""Every check alone, every pair of failing checks, and what must hold of any order that is approved."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from itertools import product
from math import nan
from typing import Final

import msgspec
import pytest
from hypothesis import given

from risk import pre_trade
from risk.account import AccountState, RecentIds
from risk.exposure import PendingReplace
from risk.instrument import Side
from risk.limits import InstrumentLimits
from risk.order import Approved, Order, Reject, RejectReason
from risk.pre_trade import CHECKS, evaluate
from risk.rate import RateLimit
from tests.strategies import (
    COIN_OPTION,
    CURRENCY_INDEX,
    ETH_LINEAR,
    EXPIRY_NS,
    GRID,
    INSTRUMENTS,
    NOW_NS,
    NS,
    TERMS,
    World,
    generation,
    kernel_of,
    mark_ticks,
    order_of,
    orders,
    sides,
    world,
    worlds,
)

Fault = Callable[[World, Order], Order]
POSITIONS: Final = {check.__name__: position for position, check in enumerate(CHECKS)}
# The order that the faults spoil: an option, since it has tick steps and a notional that does not hang on its price.
INDEX: Final = COIN_OPTION


def base_order() -> Order:
    return order_of(INDEX, Side.BUY, 10)


def set_state(state: AccountState) -> Fault:
    def fault(w: World, order: Order) -> Order:
        w.account.state, w.account.state_reason = state, "a test said so"
        return order

    return fault


def change(**changes: object) -> Fault:
    return lambda w, order: msgspec.structs.replace(order, **changes)


def closed(w: World, order: Order) -> Order:
    assert order.instrument is not None
    return msgspec.structs.replace(order, instrument=msgspec.structs.replace(order.instrument, is_open=False))


def expired(w: World, order: Order) -> Order:
    assert order.instrument is not None
    instrument = msgspec.structs.replace(order.instrument, expiry_ns=order.received_ns)
    return msgspec.structs.replace(order, instrument=instrument)


def not_permitted(w: World, order: Order) -> Order:
    del w.account.limits.by_instrument[INDEX]
    return order


def venue_down(w: World, order: Order) -> Order:
    w.market.live_venues.clear()
    return order


def limit_lots(*, order_lots: int | None = None, position_lots: int | None = None) -> Fault:
    def fault(w: World, order: Order) -> Order:
        now = w.account.limits.by_instrument.get(INDEX, InstrumentLimits(10**9, 10**9))
        w.account.limits.by_instrument[INDEX] = InstrumentLimits(
            now.max_order_lots if order_lots is None else order_lots,
            now.max_position_lots if position_lots is None else position_lots,
        )
        return order

    return fault


def limit_notional(notional: float) -> Fault:
    def fault(w: World, order: Order) -> Order:
        w.account.limits.max_order_notional = notional
        return order

    return fault


def id_used(w: World, order: Order) -> Order:
    w.account.cl_ord_ids.remember(order.cl_ord_id, "o1", order.received_ns)
    return order


def ids_exhausted(w: World, order: Order) -> Order:
    w.account.cl_ord_ids = RecentIds(capacity=1)
    w.account.cl_ord_ids.remember("another", "o1", order.received_ns)
    return order


def too_fast(w: World, order: Order) -> Order:
    w.account.rate = RateLimit(1, 1)
    assert w.account.rate.admit(order.received_ns)
    return order


def too_many_working(w: World, order: Order) -> Order:
    w.account.limits.max_working_orders = 0
    return order


def mark_aged(age_ns: int) -> Fault:
    def fault(w: World, order: Order) -> Order:
        mark = w.market.marks[INDEX]
        if mark is not None:
            mark.time_ns = order.received_ns - age_ns
        return order

    return fault


def mark_unknown(w: World, order: Order) -> Order:
    w.market.marks[INDEX] = None
    return order


def generation_aged(w: World, order: Order) -> Order:
    w.market.generation_time_ns = order.received_ns - w.market.generation_max_age_ns - 1
    return order


def penniless(w: World, order: Order) -> Order:
    w.set_cash("USDC", 0)
    return order


def position_without_mark(w: World, order: Order) -> Order:
    w.give_position(ETH_LINEAR, 5)
    w.kernel = w.market.kernel = kernel_of(generation(unknown=frozenset({ETH_LINEAR})))
    w.account.mirror_into(w.kernel, CURRENCY_INDEX)
    return order


# (reason, check, what is wrong). Each alone fails exactly its check.
R = RejectReason
FAULTS: Final[tuple[tuple[RejectReason, str, Fault], ...]] = (
    (R.ACCOUNT_HALTED, "account_is_trading", set_state(AccountState.HALTED)),
    (R.UNKNOWN_INSTRUMENT, "instrument_is_known", change(instrument=None)),
    (R.INSTRUMENT_CLOSED, "instrument_is_known", closed),
    (R.INSTRUMENT_CLOSED, "instrument_is_known", expired),
    (R.INSTRUMENT_NOT_PERMITTED, "instrument_is_known", not_permitted),
    (R.VENUE_NOT_READY, "instrument_is_known", venue_down),
    (R.QUANTITY_NOT_IN_LOTS, "price_and_quantity_are_whole", change(lots=0)),
    (R.QUANTITY_NOT_IN_LOTS, "price_and_quantity_are_whole", change(lots=-10)),
    (R.PRICE_NOT_IN_TICKS, "price_and_quantity_are_whole", change(ticks=0)),
    (R.PRICE_NOT_IN_TICKS, "price_and_quantity_are_whole", change(ticks=-570)),
    (R.PRICE_NOT_IN_TICKS, "price_and_quantity_are_whole",
     lambda w, order: msgspec.structs.replace(order, ticks=order.ticks + 1)),
    (R.QUANTITY_ABOVE_LIMIT, "quantity_is_within_limit", limit_lots(order_lots=9)),
    (R.NOTIONAL_ABOVE_LIMIT, "notional_is_within_limit", limit_notional(99_999.0)),
    (R.NOTIONAL_ABOVE_LIMIT, "notional_is_within_limit", limit_notional(nan)),
    (R.DUPLICATE_CL_ORD_ID, "cl_ord_id_is_new", id_used),
    (R.CL_ORD_IDS_EXHAUSTED, "cl_ord_id_is_new", ids_exhausted),
    (R.RATE_ABOVE_LIMIT, "rate_is_within_limit", too_fast),
    (R.WORKING_ORDERS_ABOVE_LIMIT, "rate_is_within_limit", too_many_working),
    (R.PRICE_OUTSIDE_COLLAR, "price_is_within_collar",
     lambda w, order: msgspec.structs.replace(order, ticks=order.ticks + 500)),
    (R.PRICE_OUTSIDE_COLLAR, "price_is_within_collar", change(ticks=100)),
    (R.MARK_UNKNOWN, "mark_is_fresh", mark_unknown),
    (R.MARK_STALE, "mark_is_fresh", mark_aged(2 * NS + 1)),
    (R.MARK_STALE, "mark_is_fresh", mark_aged(-2 * NS - 1)),
    (R.MARK_STALE, "mark_is_fresh", generation_aged),
    (R.POSITION_ABOVE_LIMIT, "position_is_within_limit", limit_lots(position_lots=9)),
    (R.ORDER_NOT_REDUCING, "position_is_within_limit", change(is_reduce_only=True)),
    (R.MARGIN_SHORTFALL, "margin_is_covered", penniless),
    (R.MARGIN_UNKNOWN, "margin_is_covered", position_without_mark),
    (R.ACCOUNT_REDUCING, "margin_is_covered", set_state(AccountState.REDUCING)),
)  # fmt: skip


def fails(check: pre_trade.Check, order: Order, w: World) -> bool:
    """Whether a check on its own refuses; one that can not run without the checks before it does not pass either."""
    try:
        return check(order, w.account, w.market) is not None
    except Exception:
        return True


class TestPrecedence:
    @pytest.mark.parametrize(("reason", "check", "fault"), FAULTS)
    def test_a_fault_fails_its_check_and_no_other(self, reason: RejectReason, check: str, fault: Fault) -> None:
        w = world()
        order = fault(w, base_order())
        if order.instrument is not None:
            assert [c.__name__ for c in CHECKS[: POSITIONS[check]] if fails(c, order, w)] == []
        reject = evaluate(order, w.account, w.market)
        assert isinstance(reject, Reject)
        assert (reject.reason, reject.check) == (reason, check)
        assert reject.text

    def test_of_two_failing_checks_the_earlier_is_told(self) -> None:
        proven = set()
        for (reason, check, fault), (_, later, other) in product(FAULTS, FAULTS):
            if POSITIONS[check] >= POSITIONS[later]:
                continue
            w = world()
            order = fault(w, other(w, base_order()))
            if not fails(CHECKS[POSITIONS[check]], order, w):
                assert w.market.marks[INDEX] is None  # then there is no collar, and no notional of an option
                continue
            reject = evaluate(order, w.account, w.market)
            assert isinstance(reject, Reject)
            assert (reject.reason, reject.check) == (reason, check), later
            if fails(CHECKS[POSITIONS[later]], order, w):
                proven.add((check, later))
        names = [check.__name__ for check in CHECKS]
        assert proven == {(a, b) for i, a in enumerate(names) for b in names[i + 1 :]}

    def test_every_reason_that_the_checks_name_is_reached(self) -> None:
        named = {R[name] for name in re.findall(r"RejectReason\.([A-Z_]+)", inspect.getsource(pre_trade))}
        reached = {reason for reason, _, _ in FAULTS} | {R.UNKNOWN_ACCOUNT, R.CHECK_ERROR}
        elsewhere = {
            R.ACCOUNT_NOT_PERMITTED, R.UNSUPPORTED_CHARACTERISTIC, R.JOURNAL_UNAVAILABLE, R.VENUE_REJECTED,
        }  # fmt: skip
        assert named == reached == set(RejectReason) - elsewhere

    def test_no_account_is_an_unknown_account(self) -> None:
        reject = evaluate(order_of(account="nobody"), None, world().market)
        assert isinstance(reject, Reject)
        assert (reject.reason, reject.check) == (R.UNKNOWN_ACCOUNT, "account_is_trading")
        assert "nobody" in reject.text

    @pytest.mark.parametrize("position", range(len(CHECKS)), ids=[check.__name__ for check in CHECKS])
    def test_an_exception_inside_a_check_refuses(self, position: int, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(order: Order, account: object, market: object) -> None:
            raise ZeroDivisionError("secret detail")

        monkeypatch.setattr(pre_trade, "CHECKS", (*CHECKS[:position], broken, *CHECKS[position + 1 :]))
        w = world()
        reject = evaluate(base_order(), w.account, w.market)
        assert isinstance(reject, Reject)
        assert (reject.reason, reject.check) == (R.CHECK_ERROR, "broken")
        assert reject.text == "ZeroDivisionError inside a check"

    def test_an_instrument_that_nothing_knows_is_an_error_and_not_a_pass(self) -> None:
        w = world()
        stranger = msgspec.structs.replace(INSTRUMENTS[0], index=99)
        w.account.limits.by_instrument[99] = InstrumentLimits(100, 100)
        reject = evaluate(order_of(instrument=stranger), w.account, w.market)
        assert isinstance(reject, Reject)
        assert (reject.reason, reject.check) == (R.CHECK_ERROR, "notional_is_within_limit")

    def test_a_check_that_needs_an_instrument_says_so(self) -> None:
        w = world()
        with pytest.raises(AssertionError, match="comes first"):
            pre_trade.quantity_is_within_limit(order_of(instrument=None), w.account, w.market)


class TestApproval:
    @pytest.mark.parametrize(("index", "side"), list(product(range(len(TERMS)), Side)))
    def test_every_check_has_run(self, index: int, side: Side) -> None:
        w, order = world(), order_of(index, side)
        approved = evaluate(order, w.account, w.market)
        assert isinstance(approved, Approved)
        assert approved.checks_run == len(CHECKS)
        assert (approved.order, approved.instrument, approved.account) == (order, INSTRUMENTS[index], w.account)

    @given(worlds(), orders())
    def test_an_answer_changes_nothing(self, w: World, order: Order) -> None:
        rows = [w.kernel.row(1, group).tolist() for group in range(w.kernel.groups)]
        held = dict(w.account.exposure.orders)
        first = evaluate(order, w.account, w.market)
        assert [w.kernel.row(1, group).tolist() for group in range(w.kernel.groups)] == rows
        assert w.account.exposure.orders == held
        assert len(w.account.cl_ord_ids) == 0
        assert evaluate(order, w.account, w.market) == first


class TestNumbers:
    """The figures that a client is told."""

    def test_quantity_and_notional(self) -> None:
        w = world()
        limit_lots(order_lots=9)(w, base_order())
        reject = evaluate(base_order(), w.account, w.market)
        assert isinstance(reject, Reject)
        assert (reject.limit, reject.observed) == (pytest.approx(0.9), pytest.approx(1.0))
        w = world(max_order_notional=99_999.0)
        reject = evaluate(base_order(), w.account, w.market)
        assert isinstance(reject, Reject)
        assert (reject.limit, reject.observed) == (99_999.0, pytest.approx(100_000.0))
        assert isinstance(evaluate(base_order(), w.account, world(max_order_notional=1.0).market), Reject)

    def test_at_a_limit_is_within_it(self) -> None:
        w = world(max_order_notional=100_000.0)
        limit_lots(order_lots=10, position_lots=10)(w, base_order())
        assert isinstance(evaluate(base_order(), w.account, w.market), Approved)

    @pytest.mark.parametrize(("ticks", "limit"), [(179_999, 90_000.0), (220_001, 110_000.0), (1, 90_000.0)])
    @pytest.mark.parametrize("side", Side)
    def test_collar_on_both_sides_for_both_sides(self, side: Side, ticks: int, limit: float) -> None:
        w = world()
        reject = evaluate(order_of(0, side, ticks=ticks, received_ns=NOW_NS + 7), w.account, w.market)
        assert isinstance(reject, Reject)
        assert (reject.reason, reject.limit, reject.observed, reject.mark_age_ns) == (
            R.PRICE_OUTSIDE_COLLAR, limit, ticks / 2, 7,
        )  # fmt: skip

    @pytest.mark.parametrize("side", Side)
    def test_both_ends_of_the_collar_are_within_it(self, side: Side) -> None:
        for index in range(len(TERMS)):
            w = world()
            mark = w.market.marks[index]
            assert mark is not None
            for ticks in (mark.collar_low_ticks, mark.collar_high_ticks):
                assert isinstance(evaluate(order_of(index, side, ticks=ticks), w.account, w.market), Approved)

    @pytest.mark.parametrize(("age_ns", "is_fresh"), [(2 * NS, True), (2 * NS + 1, False), (0, True), (-2 * NS, True)])
    def test_age_of_a_mark(self, age_ns: int, is_fresh: bool) -> None:
        w = world()
        mark_aged(age_ns)(w, base_order())
        reject = evaluate(base_order(), w.account, w.market)
        assert isinstance(reject, Approved) is is_fresh
        if isinstance(reject, Reject):
            assert (reject.limit, reject.observed, reject.mark_age_ns) == (2_000.0, age_ns / 1e6, age_ns)
            assert "too old" in reject.text

    def test_a_mark_of_the_future_is_not_believed(self) -> None:
        w = world()
        mark_aged(-3600 * NS)(w, base_order())
        reject = evaluate(base_order(), w.account, w.market)
        assert isinstance(reject, Reject)
        assert reject.reason is R.MARK_STALE
        assert "of the future" in reject.text

    def test_age_of_the_risk_arrays(self) -> None:
        w = world()
        w.market.generation_time_ns = NOW_NS - 5 * NS
        assert isinstance(evaluate(base_order(), w.account, w.market), Approved)
        w.market.generation_time_ns -= 1
        reject = evaluate(base_order(), w.account, w.market)
        assert isinstance(reject, Reject)
        assert (reject.reason, reject.limit, reject.mark_age_ns) == (R.MARK_STALE, 5_000.0, 0)
        assert "risk arrays" in reject.text

    def test_an_option_may_be_traded_until_the_nanosecond_it_expires(self) -> None:
        w = world()
        for received_ns, reason in ((EXPIRY_NS - 1, R.MARK_STALE), (EXPIRY_NS, R.INSTRUMENT_CLOSED)):
            reject = evaluate(order_of(INDEX, received_ns=received_ns), w.account, w.market)
            assert isinstance(reject, Reject)
            assert reject.reason is reason

    def test_an_id_of_yesterday_may_be_used_again(self) -> None:
        # A client that numbers from 1 each day must not be locked out by its own first order.
        w = world()
        for cl_ord_id in ("1", "2"):
            w.account.cl_ord_ids.remember(cl_ord_id, "o", NOW_NS - 24 * 3600 * NS - 1)
        for cl_ord_id in ("1", "2"):
            assert isinstance(evaluate(order_of(cl_ord_id=cl_ord_id), w.account, w.market), Approved)


class TestPosition:
    # (held, working lots of the order's side, lots, position limit, reduce-only) for a buy; a sell mirrors it.
    CASES: Final = [
        ((0, 0, 10, 10, False), None),
        ((0, 0, 11, 10, False), R.POSITION_ABOVE_LIMIT),
        ((4, 3, 3, 10, False), None),
        ((4, 3, 4, 10, False), R.POSITION_ABOVE_LIMIT),
        ((-20, 0, 5, 10, False), None),  # beyond its limit already, and this leads back
        ((-20, 0, 30, 10, False), None),
        ((-20, 0, 31, 10, False), R.POSITION_ABOVE_LIMIT),
        ((-10, 0, 10, 50, True), None),
        ((-10, 0, 11, 50, True), R.ORDER_NOT_REDUCING),
        ((-10, 4, 6, 50, True), None),
        ((-10, 4, 7, 50, True), R.ORDER_NOT_REDUCING),
        ((0, 0, 1, 50, True), R.ORDER_NOT_REDUCING),
        ((5, 0, 1, 50, True), R.ORDER_NOT_REDUCING),
    ]

    @pytest.mark.parametrize(("case", "reason"), CASES)
    @pytest.mark.parametrize("side", Side)
    def test_with_working_orders_of_its_side_filled(
        self, side: Side, case: tuple[int, int, int, int, bool], reason: RejectReason | None
    ) -> None:
        held, working, lots, limit, is_reduce_only = case
        w = world()
        w.account.limits.by_instrument[0] = InstrumentLimits(10**6, limit)
        if held:
            w.give_position(0, side.sign * held)
        if working:
            w.working(order_of(0, side, working), "w1")
        w.working(order_of(0, Side.SELL if side is Side.BUY else Side.BUY, 40), "w2")  # the other side does not count
        answer = evaluate(order_of(0, side, lots, is_reduce_only=is_reduce_only), w.account, w.market)
        assert (answer.reason if isinstance(answer, Reject) else None) is reason
        if reason is R.POSITION_ABOVE_LIMIT:
            assert isinstance(answer, Reject)
            assert answer.limit == pytest.approx(limit * 0.001)
            assert answer.observed == pytest.approx((held + working + lots) * 0.001)


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
            assert answer.reason is R.MARGIN_SHORTFALL

    @pytest.mark.parametrize("held", Side)
    def test_in_a_shortfall_what_adds_is_refused_with_its_numbers(self, held: Side) -> None:
        w = short_of_margin(held)
        reject = evaluate(order_of(0, held, 100), w.account, w.market)
        assert isinstance(reject, Reject)
        assert reject.reason is R.MARGIN_SHORTFALL
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
        assert reject.reason is R.MARGIN_SHORTFALL

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
        position_without_mark(w, base_order())
        w.account.state = state
        reject = evaluate(order_of(0, Side.SELL, 10), w.account, w.market)
        assert isinstance(reject, Reject)
        expected = R.MARGIN_UNKNOWN if state is AccountState.TRADING else R.ACCOUNT_REDUCING
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
            assert reject.reason is R.ACCOUNT_REDUCING
            assert "a call is open" in reject.text

    def test_a_flat_reducing_account_may_do_nothing(self) -> None:
        for index, side in product(range(len(TERMS)), Side):
            w = world()
            w.account.state = AccountState.REDUCING
            reject = evaluate(order_of(index, side), w.account, w.market)
            assert isinstance(reject, Reject)
            assert reject.reason is R.ACCOUNT_REDUCING

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
        assert (reject.reason, reject.check) == (R.CHECK_ERROR, "margin_is_covered")

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

    @pytest.mark.parametrize(("old", "new", "reason"), [
        (10, 5, None), (5, 10, None), (11, 5, R.POSITION_ABOVE_LIMIT), (5, 11, R.POSITION_ABOVE_LIMIT),
    ])  # fmt: skip
    @pytest.mark.parametrize("side", Side)
    def test_the_larger_version_counts_for_the_position(
        self, side: Side, old: int, new: int, reason: RejectReason | None
    ) -> None:
        w = world()
        w.account.limits.by_instrument[0] = InstrumentLimits(100, 10)
        answer, _, _ = check_replace(w, order_of(0, side, old), order_of(0, side, new))
        assert (answer.reason if isinstance(answer, Reject) else None) is reason

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
