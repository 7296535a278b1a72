"""The compiled gate vouches for a check only where the plain check passes, and for all of an ordinary order's."""

from __future__ import annotations

from itertools import product
from math import inf, nan

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import gate, margin_checks
from risk.account import AccountState
from risk.exposure import Exposure
from risk.instrument import Side
from risk.order import Approved, Order, RejectReason
from risk.pre_trade import CHECKS, evaluate
from risk.self_trade import ClientOrders, SelfTradePrevention
from tests.risk.faults import FAULTS, POSITIONS, base_order, fails, set_state
from tests.strategies import INSTRUMENTS, NOW_NS, World, order_of, orders, working_order, world, worlds

pytestmark = pytest.mark.skipif(not gate.COMPILED, reason="no compiled gate was built")

RATE = gate.KNOWN_CHECKS.index("rate_is_within_limit") if gate.COMPILED else 0
OWN_ORDERS = gate.KNOWN_CHECKS.index("own_orders_are_not_met") if gate.COMPILED else 0
POSITION = gate.KNOWN_CHECKS.index("position_is_within_limit") if gate.COMPILED else 0
BY_NAME = {check.__name__: check for check in CHECKS}
KNOWN = [BY_NAME[name] for name in gate.KNOWN_CHECKS]


def plainly_passed(order: Order, w: World) -> int:
    """How many of the checks that the gate knows pass by the plain ones; the rate stays as it was."""
    arrival_ns = w.account.rate._arrival_ns
    passed = 0
    for check in KNOWN:
        if fails(check, order, w):
            break
        passed += 1
    w.account.rate._arrival_ns = arrival_ns
    return passed


def agree(order: Order, w: World) -> int:
    """The gate vouches for no more than what passes, and counts the order exactly where it vouches for the rate."""
    plainly = plainly_passed(order, w)
    before_ns = w.account.rate._arrival_ns
    sure = gate.surely_passed(order, w.account, w.market)
    assert 0 <= sure <= plainly
    counted_ns = w.account.rate._arrival_ns
    w.account.rate._arrival_ns = before_ns
    if sure > RATE:
        assert w.account.rate.admit(order.received_ns) and counted_ns == w.account.rate._arrival_ns
        w.account.rate._arrival_ns = before_ns
    else:
        assert counted_ns == before_ns
    return sure


def test_it_knows_checks_that_there_are_in_their_order() -> None:
    names = [check.__name__ for check in CHECKS]
    assert [name for name in names if name in gate.KNOWN_CHECKS] == list(gate.KNOWN_CHECKS)


@pytest.mark.parametrize(("index", "side"), list(product(range(len(INSTRUMENTS)), Side)))
def test_an_ordinary_order_passes_whole(index: int, side: Side) -> None:
    assert agree(order_of(index, side), world()) == len(KNOWN)


@pytest.mark.parametrize(("reason", "check", "fault"), FAULTS, ids=lambda value: getattr(value, "name", ""))
def test_one_fault_stops_at_its_check(reason: object, check: str, fault: object) -> None:
    w = world()
    order = fault(w, base_order())  # type: ignore[operator]
    sure = agree(order, w)
    if check in gate.KNOWN_CHECKS:  # of any other the gate says nothing, and it is run
        assert sure <= gate.KNOWN_CHECKS.index(check)


def test_two_faults_never_let_more_through() -> None:
    for (_, check, fault), (_, later, other) in product(FAULTS, FAULTS):
        if POSITIONS[check] < POSITIONS[later]:
            w = world()
            agree(fault(w, other(w, base_order())), w)


@settings(max_examples=150)
@given(drawn=worlds(), order=orders(), aged_ns=st.integers(-3 * 10**9, 3 * 10**9), state=st.sampled_from(AccountState))
def test_it_agrees_with_the_plain_checks(drawn: World, order: Order, aged_ns: int, state: AccountState) -> None:
    drawn.account.state = state
    order = msgspec.structs.replace(order, received_ns=NOW_NS + aged_ns)
    sure = agree(order, drawn)
    # It is sure of all that needs no comparison with how things are without the order.
    assert sure == plainly_passed(order, drawn) or sure >= len(KNOWN) - 1


@settings(max_examples=60)
@given(drawn=worlds(), order=orders())
def test_a_decision_is_the_same_without_it(drawn: World, order: Order) -> None:
    arrival_ns = drawn.account.rate._arrival_ns
    decision = evaluate(order, drawn.account, drawn.market)
    drawn.account.rate._arrival_ns = arrival_ns
    refusal = next((r for check in CHECKS if (r := check(order, drawn.account, drawn.market)) is not None), None)
    if type(decision) is Approved:
        assert refusal is None and decision.checks_run == len(CHECKS)
    else:
        assert decision == refusal


@given(lots=st.integers(1, 500), index=st.integers(0, len(INSTRUMENTS) - 1), side=st.sampled_from(Side))
def test_a_sell_against_a_long_is_a_buy_against_a_short(lots: int, index: int, side: Side) -> None:
    """The position's limit is the same either way."""
    results = []
    for this, sign in ((side, -side.sign), (Side.SELL if side is Side.BUY else Side.BUY, side.sign)):
        w = world()
        w.give_position(index, 100 * sign)
        w.account.limits.by_instrument[index] = msgspec.structs.replace(
            w.account.limits.by_instrument[index], max_position_lots=150
        )
        results.append(agree(order_of(index, this, lots, is_reduce_only=lots % 2 == 0), w) > POSITION)
    assert results[0] == results[1] == (lots <= 100 if lots % 2 == 0 else lots <= 250)


@pytest.mark.parametrize("limit", [nan, inf, -inf, 1, None])
def test_a_limit_that_is_no_number_is_not_passed(limit: object) -> None:
    w = world()
    w.account.limits.max_order_notional = limit  # type: ignore[assignment]
    sure = agree(base_order(), w)
    assert sure == (len(KNOWN) if limit == inf else gate.KNOWN_CHECKS.index("notional_is_within_limit"))


@given(aged_ms=st.integers(-4_000, 4_000), own_ms=st.one_of(st.none(), st.integers(100, 3_900)))
def test_a_marks_own_limit_of_age_counts(aged_ms: int, own_ms: int | None) -> None:
    w = world()
    order = base_order()
    assert order.instrument is not None
    w.market.own_mark_ages_ns = {} if own_ms is None else {order.instrument.index: own_ms * 10**6}
    order = msgspec.structs.replace(order, received_ns=NOW_NS + aged_ms * 10**6)
    is_fresh = abs(aged_ms) <= (2_000 if own_ms is None else own_ms)
    assert (agree(order, w) == len(KNOWN)) is is_fresh


def test_what_is_out_of_the_ordinary_is_left_to_the_plain_checks() -> None:
    w = world()
    order = base_order()
    assert agree(msgspec.structs.replace(order, replaces=working_order(order)), w) == 0
    assert agree(msgspec.structs.replace(order, instrument=None), w) == 0
    assert agree(msgspec.structs.replace(order, lots=1 << 70), w) == 0
    assert agree(msgspec.structs.replace(order, received_ns=1 << 62), w) == 0
    assert gate.surely_passed(order, object(), w.market) == 0  # type: ignore[arg-type]
    reducing = world()
    agree(set_state(AccountState.REDUCING)(reducing, order), reducing)
    w.account.cl_ord_ids._oldest_ns = -(1 << 60)  # some ids are to be forgotten first
    assert agree(order, w) == len(KNOWN)


@given(
    resting=st.lists(st.tuples(st.sampled_from(Side), st.integers(-3, 3), st.booleans()), max_size=5),
    side=st.sampled_from(Side),
    prevention=st.sampled_from(SelfTradePrevention),
)
def test_it_vouches_for_meeting_no_order_of_ones_own_exactly_where_none_is_there(
    resting: list[tuple[Side, int, bool]], side: Side, prevention: SelfTradePrevention
) -> None:
    w, book, other = world(), ClientOrders(), Exposure(2)
    w.account.exposure.join(book)
    other.join(book)
    w.account.self_trade_prevention = prevention
    order = order_of(0, side)
    best: dict[Side, list[int]] = {each: [] for each in Side}
    for number, (at, apart, has_ended) in enumerate(resting):
        working = working_order(order_of(0, at, 5, ticks=order.ticks + apart), f"w{number}")
        other.hold(working)
        if has_ended:
            other.release(working)
        else:
            best[at].append(order.ticks + apart)
    there = best[Side(3 - side)]
    # Prices that ended orders have left behind are gone by now: the plain check, which `agree` runs first, drops them.
    may_meet = any(ticks <= order.ticks if side is Side.BUY else ticks >= order.ticks for ticks in there)
    sure = agree(order, w)
    assert (sure > OWN_ORDERS) == (prevention is SelfTradePrevention.OFF or not may_meet)


def test_an_order_that_is_surely_short_is_refused_by_the_plain_check_with_the_same_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: set[bool] = set()

    @settings(max_examples=400)
    @given(worlds(), orders())
    def check(w: World, order: Order) -> None:
        short = gate.surely_short(order, w.account, w.market)
        plain = margin_checks.margin_is_covered(order, w.account, w.market)
        told.add(short is not None)
        if short is not None:
            assert plain is not None and plain.reason is RejectReason.MARGIN_SHORTFALL
            equity, left = short
            assert (plain.limit, plain.observed, plain.required) == (equity, left, equity - left)

    monkeypatch.setattr(margin_checks, "surely_short", gate.nothing_is_short)
    check()
    assert told == {True, False}


def test_a_first_look_refuses_what_the_checks_refuse_and_otherwise_counts_as_the_gate_does() -> None:
    told: set[bool] = set()

    @settings(max_examples=200)
    @given(worlds(), orders())
    def check(w: World, order: Order) -> None:
        before_ns = w.account.rate._arrival_ns
        looked = gate.first_look(order, w.account, w.market)
        counted_ns, w.account.rate._arrival_ns = w.account.rate._arrival_ns, before_ns
        told.add(type(looked) is int)
        if type(looked) is int:
            assert looked == gate.surely_passed(order, w.account, w.market)
        else:
            assert looked == evaluate(order, w.account, w.market)
        assert counted_ns == w.account.rate._arrival_ns

    check()
    assert told == {True, False}
