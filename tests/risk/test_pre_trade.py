"""Every check alone, every pair of failing checks, and the figures that a client is told."""

from __future__ import annotations

import inspect
import re
from itertools import product
from typing import Final

import msgspec
import pytest
from hypothesis import given

from risk import level_checks, margin_checks, pre_trade
from risk.gate import nothing_is_sure
from risk.instrument import Side
from risk.limits import InstrumentLimits
from risk.order import Approved, Order, OrdType, Reject, RejectReason, Terms
from risk.pre_trade import CHECKS, evaluate, price_is_within_collar
from tests.risk.faults import (
    FAULTS,
    INDEX,
    POSITIONS,
    Fault,
    R,
    base_order,
    fails,
    limit_lots,
    mark_aged,
)
from tests.strategies import (
    EXPIRY_NS,
    INSTRUMENTS,
    NOW_NS,
    NS,
    TERMS,
    World,
    order_of,
    orders,
    world,
    worlds,
)


class TestPrecedence:
    def test_the_order_of_checks_is_the_one_documented(self) -> None:
        assert [check.__name__ for check in CHECKS] == [
            "account_is_trading",
            "instrument_is_known",
            "product_is_permitted",
            "price_and_quantity_are_whole",
            "quantity_is_within_limit",
            "notional_is_within_limit",
            "cl_ord_id_is_new",
            "rate_is_within_limit",
            "price_is_within_collar",
            "mark_is_fresh",
            "own_orders_are_not_met",
            "position_is_within_limit",
            "levels_are_within_limits",
            "profile_is_kept",
            "venue_margin_is_covered",
            "margin_is_covered",
        ]

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
                # Then there is no collar, and no notional of an option; and a halted market may be got out of.
                assert w.market.marks[INDEX] is None or (reason is R.MARKET_HALTED and order.is_reduce_only)
                continue
            reject = evaluate(order, w.account, w.market)
            assert isinstance(reject, Reject)
            assert reject.check == check, later
            # A check that can not tell says that first, whatever else it would say.
            assert reject.reason in (reason, R.PROFILE_UNKNOWN, R.LEVEL_UNKNOWN), later
            if fails(CHECKS[POSITIONS[later]], order, w):
                proven.add((check, later))
        names = [check.__name__ for check in CHECKS]
        assert proven == {(a, b) for i, a in enumerate(names) for b in names[i + 1 :]}

    def test_every_reason_that_the_checks_name_is_reached(self) -> None:
        source = "".join(inspect.getsource(module) for module in (pre_trade, level_checks, margin_checks))
        named = {R[name] for name in re.findall(r"RejectReason\.([A-Z_]+)", source)}
        reached = {reason for reason, _, _ in FAULTS} | {R.UNKNOWN_ACCOUNT, R.CHECK_ERROR}
        elsewhere = {
            R.UNSUPPORTED_CHARACTERISTIC, R.UNKNOWN_CURRENCY, R.VENUE_REJECTED, R.KILLED, R.THROTTLED, R.EXPIRY_PASSED,
            R.STOP_PRICE_PASSED, R.MULTILEG_NOT_SUPPORTED, R.LIST_INTERRUPTED,
            *(reason for reason in R if 930 < reason < 940),  # the hook's
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

        checks = (*CHECKS[:position], broken, *CHECKS[position + 1 :])
        monkeypatch.setattr(pre_trade, "surely_passed", nothing_is_sure)
        monkeypatch.setattr(pre_trade, "_REMAINING", ((checks, len(pre_trade.CHECKS) - len(checks)),))
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

    @pytest.mark.parametrize("side", Side)
    def test_a_stops_limit_may_be_near_its_stop_price_instead(self, side: Side) -> None:
        """The mark is at 200 000 ticks, the collar a tenth: a stop at half or twice that has a collar of its own."""
        far = 400_000 if side is Side.BUY else 100_000
        for ticks, passes in (
            (far, True), (far * 11 // 10, True), (far * 11 // 10 + 1, False), (far * 9 // 10, True),
            (far * 9 // 10 - 1, False), (200_000, True),
        ):  # fmt: skip
            w = world(max_order_notional=1e9)
            order = order_of(0, side, ticks=ticks, ord_type=OrdType.STOP_LIMIT, terms=Terms(stop_ticks=far))
            assert (price_is_within_collar(order, w.account, w.market) is None) is passes, ticks
        plain = order_of(0, side, ticks=far, terms=Terms(list_id="L"))
        assert price_is_within_collar(plain, world().account, world().market) is not None

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
