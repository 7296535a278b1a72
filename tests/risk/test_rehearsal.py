"""Asking what the checks would say: the answer that the order gets, and nothing of the account has changed."""

from __future__ import annotations

import pytest
from hypothesis import given

from risk.instrument import Side
from risk.lifecycle import Happening
from risk.order import Approved, Order, Reject, RejectReason
from risk.pre_trade import CHECKS, evaluate
from risk.rehearsal import Passed, rehearse
from tests.strategies import World, order_of, orders, working_order, world, worlds


@given(w=worlds(), order=orders())
def test_it_is_the_answer_that_the_order_gets_and_leaves_no_trace(w: World, order: Order) -> None:
    account, kernel, before = w.account, w.market.kernel, traces(w)
    asked = rehearse(order, account, w.market)
    assert rehearse(order, account, w.market) == asked
    assert traces(w) == before
    decision = evaluate(order, account, w.market)
    if isinstance(decision, Approved):
        assert isinstance(asked, Passed) and asked.checks_run == decision.checks_run == len(CHECKS)
        assert asked.equity == pytest.approx(kernel.equity(account.index, w.market.base_scenario))
        assert asked.initial_margin == asked.equity - asked.excess
    else:
        assert asked == decision


def traces(w: World) -> object:
    account = w.account
    rows = [w.kernel.row(account.index, group).tolist() for group in range(w.kernel.groups)]
    return rows, account.rate.arrival_ns, dict(account.exposure.orders), len(account.cl_ord_ids)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("lots", [1, 50, 10**9])
def test_a_replacement_counts_its_own_hold_once(side: Side, lots: int) -> None:
    w = world()
    resting = working_order(order_of(side=side, lots=50))
    resting.happen(Happening.ACCEPTED)
    w.account.exposure.hold(resting)
    before = traces(w)
    asked = rehearse(order_of(side=side, lots=lots, replaces=resting), w.account, w.market)
    assert traces(w) == before
    w.account.exposure.release(resting)
    decision = evaluate(order_of(side=side, lots=lots, replaces=resting), w.account, w.market)
    assert isinstance(asked, Passed) is isinstance(decision, Approved)
    if isinstance(decision, Reject):
        assert asked == decision
    else:
        assert isinstance(asked, Passed)
        # At the same price the larger of both shapes is what may fill.
        alone = rehearse(order_of(side=side, lots=max(lots, 50)), w.account, w.market)
        assert isinstance(alone, Passed) and asked.excess == pytest.approx(alone.excess)


def test_it_takes_no_token_though_the_rate_refuses_all_the_same() -> None:
    w = world()
    order = order_of()
    for _ in range(3):
        assert isinstance(rehearse(order, w.account, w.market), Passed)
    count = 0
    while w.account.rate.admit(order.received_ns):
        count += 1
    assert count == w.account.rate.burst
    refusal = rehearse(order, w.account, w.market)
    assert isinstance(refusal, Reject) and refusal.reason is RejectReason.RATE_ABOVE_LIMIT


def test_no_account_is_an_unknown_account() -> None:
    refusal = rehearse(order_of(), None, world().market)
    assert isinstance(refusal, Reject) and refusal.reason is RejectReason.UNKNOWN_ACCOUNT


def test_a_bug_inside_leaves_the_hold_and_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Approved:
        raise RuntimeError("broken")

    w = world()
    resting = working_order(order_of(lots=50))
    w.account.exposure.hold(resting)
    before = traces(w)
    monkeypatch.setattr("risk.rehearsal.evaluate", broken)
    with pytest.raises(RuntimeError):
        rehearse(order_of(replaces=resting), w.account, w.market)
    assert traces(w) == before
