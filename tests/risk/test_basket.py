"""What-ifs of baskets: what placing the orders one after the other would come to, and nothing of them is kept."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.order import Order, Reject, RejectReason
from risk.pre_trade import evaluate
from risk.rehearsal import Passed, rehearse, rehearse_basket
from tests.strategies import World, order_of, orders, working_order, world, worlds


@given(w=worlds(), basket=st.lists(orders(), min_size=1, max_size=4))
def test_it_is_what_placing_them_one_after_the_other_comes_to(w: World, basket: list[Order]) -> None:
    basket = [msgspec.structs.replace(order, cl_ord_id=f"b{place}") for place, order in enumerate(basket)]
    account, market, before = w.account, w.market, traces(w)
    asked = rehearse_basket(basket, account, market)
    assert traces(w) == pytest.approx(before, abs=1e-6)
    for place, order in enumerate(basket):
        decision = evaluate(order, account, market)
        if isinstance(decision, Reject):
            assert asked == (place, decision)
            return
        account.exposure.hold(working_order(order, f"placed {place}"))
    kernel = market.kernel
    assert isinstance(asked, Passed)
    assert asked.equity == kernel.equity(account.index, market.base_scenario)
    assert asked.excess == pytest.approx(kernel.worst(account.index), abs=1e-6)


def traces(w: World) -> list[float]:
    account = w.account
    rows = [each for group in range(w.kernel.groups) for each in w.kernel.row(account.index, group).tolist()]
    return [*rows, float(account.rate.arrival_ns), float(len(account.exposure.orders)), float(len(account.cl_ord_ids))]


def test_one_order_is_what_it_is_alone_and_a_basket_needs_an_account() -> None:
    w = world()
    assert rehearse_basket([order_of()], w.account, w.market) == rehearse(order_of(), w.account, w.market)
    refused = rehearse_basket([order_of()], None, w.market)
    assert isinstance(refused, tuple) and refused[1].reason is RejectReason.UNKNOWN_ACCOUNT
    refused = rehearse_basket([], w.account, w.market)
    assert isinstance(refused, tuple) and refused[1].reason is RejectReason.UNSUPPORTED_CHARACTERISTIC


def test_replacements_and_ids_that_come_twice_are_refused() -> None:
    w = world()
    resting = working_order(order_of())
    replacing = rehearse_basket([order_of(replaces=resting)], w.account, w.market)
    assert isinstance(replacing, tuple) and replacing[1].reason is RejectReason.UNSUPPORTED_CHARACTERISTIC
    twice = rehearse_basket([order_of(), order_of()], w.account, w.market)
    assert isinstance(twice, tuple) and twice[0] == 1
    assert twice[1].reason is RejectReason.DUPLICATE_CL_ORD_ID


def test_what_is_asked_beside_the_checks_refuses_too() -> None:
    w, no = world(), Reject(RejectReason.SELF_TRADE, "own", "no")
    assert rehearse_basket([order_of()], w.account, w.market, lambda order, account: no) == (0, no)
