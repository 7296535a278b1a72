"""A dry run says what the checks say, and leaves no trace."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from risk.instrument import Side
from risk.order import Approved, Order, Reject, RejectReason
from risk.pre_trade import evaluate
from risk.rate import RateLimit
from risk.rehearsal import Passed, rehearse
from tests.strategies import INSTRUMENTS, LINEAR, World, fresh_kernel_row, order_of, orders, world, worlds


@given(w=worlds(), order=orders())
def test_it_answers_as_the_checks_do(w: World, order: Order) -> None:
    tried = rehearse(order, w.account, w.market)
    decision = evaluate(order, w.account, w.market)
    if isinstance(decision, Approved):
        assert isinstance(tried, Passed) and not isinstance(tried, Approved)
    else:
        assert tried == decision


@given(w=worlds(), order=orders())
def test_it_changes_nothing(w: World, order: Order) -> None:
    account = w.account
    before = (
        account.rate.arrival_ns,
        len(account.cl_ord_ids),
        dict(account.exposure.orders),
        fresh_kernel_row(account),
    )
    worst = w.market.kernel.worst(account.index)
    for _ in range(3):
        first = rehearse(order, account, w.market)
        assert first == rehearse(order, account, w.market) or first != first
    after = (account.rate.arrival_ns, len(account.cl_ord_ids), dict(account.exposure.orders), fresh_kernel_row(account))
    assert before == after
    assert w.market.kernel.worst(account.index) == worst or worst != worst


def test_any_number_of_questions_leaves_the_rate_to_orders() -> None:
    w = world()
    w.account.rate = RateLimit(1, 1)
    for _ in range(10):
        assert isinstance(rehearse(order_of(), w.account, w.market), Passed)
    assert isinstance(evaluate(order_of(), w.account, w.market), Approved)
    refused = rehearse(msgspec.structs.replace(order_of(), cl_ord_id="other"), w.account, w.market)
    assert isinstance(refused, Reject) and refused.reason is RejectReason.RATE_ABOVE_LIMIT


def test_the_account_of_nobody() -> None:
    refused = rehearse(order_of(), None, world().market)
    assert isinstance(refused, Reject) and refused.reason is RejectReason.UNKNOWN_ACCOUNT


@pytest.mark.parametrize("index", range(len(INSTRUMENTS)))
def test_the_worst_case_is_that_of_the_order_once_it_is_held(index: int) -> None:
    for side in Side:
        w = world()
        order = order_of(index, side)
        tried, decision = rehearse(order, w.account, w.market), evaluate(order, w.account, w.market)
        assert isinstance(tried, Passed) and isinstance(decision, Approved), (index, side)
        w.working(order)
        assert tried.excess == pytest.approx(w.market.kernel.worst(w.account.index), rel=1e-12)


def test_buys_and_sells_mirror_each_other() -> None:
    """A flat account, a linear contract, a price on the mark: the two sides differ by the moves of the grid alone."""
    buy, sell = (rehearse(order_of(LINEAR, side), world().account, world().market) for side in Side)
    assert isinstance(buy, Passed) and isinstance(sell, Passed)
    assert buy.equity == sell.equity and buy.excess < buy.equity and sell.excess < sell.equity
