"""The hook in process: what is asked before an order, and what its fills and its release do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.hook.messages import (
    BasketOrder,
    CheckBasket,
    Fill,
    Held,
    Listed,
    Passed,
    Query,
    Refused,
    Release,
    Told,
)
from gateway.records import holds as hold_records
from risk.account import AccountState
from tests.gateway.hook_rig import WITH_HOOK, fill, held, hook_of, lots, order, question, state
from tests.gateway.rig import (
    BTC,
    ETH,
    MS,
    SECOND,
    START_NS,
    Rig,
    accepted,
    opened,
    shown,
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with opened(tmp_path, config=WITH_HOOK) as rig:
        yield rig


# -- before an order -----------------------------------------------------------------------------------------------


def test_a_check_says_what_a_hold_would_and_writes_nothing(rig: Rig) -> None:
    for changes, code in (({}, 0), ({"quantity": "105"}, 301), ({"price": "1"}, 501), ({"symbol": "DOGE"}, 201)):
        asked = hook_of(rig).check(question(**changes), rig.now_ns)
        assert (asked.code if isinstance(asked, Refused) else 0) == code
    assert rig.log == [] and not list(rig.ledger.holds.live())
    passed = hook_of(rig).check(question(id=7), rig.now_ns)
    assert isinstance(passed, Passed) and passed.id == 7 and 0 < passed.initial_margin < passed.equity
    for changes in ({}, {"quantity": "105"}, {"price": "1"}, {"symbol": "DOGE"}):
        asked, answer = (
            hook_of(rig).check(question(key="x", **changes), rig.now_ns),
            hook_of(rig).hold(order("x" + str(changes)[:20], **changes), rig.now_ns),
        )
        if isinstance(asked, Refused):
            assert isinstance(answer, Refused)
            assert (asked.code, asked.check, asked.text) == (answer.code, answer.check, answer.text)


def test_a_hold_is_journalled_before_it_is_applied_and_takes_margin(rig: Rig) -> None:
    before = rig.core.market.kernel.worst(0)
    hold_id = held(rig)
    assert rig.log == [("append", "HoldApproved")]
    assert rig.core.market.kernel.worst(0) < before
    assert list(rig.ledger.accounts["alpha"].exposure.orders) == [hold_id]
    rig.check_holds()
    rig.check_replay()


def test_holds_and_orders_by_fix_are_counted_together(rig: Rig) -> None:
    desk = rig.desk().log_on()
    for number in range(12):
        held(rig, f"k{number}", quantity="10")
    (report,) = desk.order()
    assert report.get(20001) == b"404"  # max_working_orders
    refused = hook_of(rig).hold(order("k99"), rig.now_ns)
    assert isinstance(refused, Refused) and refused.code == 404


def test_a_market_order_is_held_at_the_collar_and_told_so(rig: Rig) -> None:
    answer = hook_of(rig).hold(order(type="market", price=""), rig.now_ns)
    assert isinstance(answer, Held) and answer.price == "63000.0"
    assert hook_of(rig).hold(order(type="market", price=""), rig.now_ns) == answer


def test_a_key_that_comes_again_is_answered_as_before_and_holds_once(rig: Rig) -> None:
    first = hook_of(rig).hold(order(), rig.now_ns)
    assert isinstance(first, Held)
    fill(rig, first.hold, "e1", 40)
    rig.now_ns += SECOND
    assert hook_of(rig).hold(order(), rig.now_ns) == first
    assert hook_of(rig).hold(order(price="59000.0", quantity="100.0"), rig.now_ns) == first
    assert len(rig.of_type(hold_records.HoldApproved)) == 1
    fill(rig, first.hold, "e2", 60)
    assert hook_of(rig).hold(order(), rig.now_ns) == first  # ended meanwhile
    assert not list(rig.ledger.holds.live())


@pytest.mark.parametrize(
    "changes", [{"quantity": "110"}, {"price": "58999"}, {"side": "sell", "price": "61000"}, {"symbol": ETH},
                {"reduce_only": True}, {"type": "market"}],
)  # fmt: skip
def test_a_key_of_another_order_is_refused(rig: Rig, changes: dict[str, Any]) -> None:
    held(rig)
    if changes.get("symbol") == ETH:
        changes = changes | {"price": "1990", "quantity": "10"}
    refused = hook_of(rig).hold(order(**changes), rig.now_ns)
    assert isinstance(refused, Refused) and refused.code == 401
    assert len(list(rig.ledger.holds.live())) == 1
    assert isinstance(hook_of(rig).hold(order(), rig.now_ns), Held)  # the first is answered all the same


def test_a_refusal_is_journalled_and_given_again(rig: Rig) -> None:
    refused = hook_of(rig).hold(order(quantity="200000"), rig.now_ns)
    assert isinstance(refused, Refused) and refused.code == 303
    rig.ledger.accounts["alpha"].limits.by_instrument.clear()  # whatever changes meanwhile
    assert hook_of(rig).hold(order(quantity="200000"), rig.now_ns) == refused
    (record,) = rig.of_type(hold_records.HoldRefused)
    assert (record.key, record.quantity, record.reason, record.limit) == ("k1", "200000", 303, 100_000.0)
    rig.check_replay()
    again = rig.restart()
    assert hook_of(again).hold(order(quantity="200000"), again.now_ns) == refused
    again.journal.close()


def test_keys_are_shared_with_orders_by_fix(rig: Rig) -> None:
    desk = rig.desk().log_on()
    desk.order(cl_ord_id="one")
    refused = hook_of(rig).hold(order("one"), rig.now_ns)
    assert isinstance(refused, Refused) and refused.code == 401
    held(rig, "two", side="buy")
    (report,) = desk.order(cl_ord_id="two")
    assert report.get(20001) == b"401"
    # Nor is it the session's to cancel or to ask about.
    assert shown(desk.cancel("two"), 102) == [("9", "1")]
    assert shown(desk.send("H", (11, "two"), (54, 1), (55, BTC)), 39, 58) == [("8", "8", "unknown order")]
    desk.send("q", (11, "all"), (530, "7"), (60, "20251009-08:53:20.000"))
    assert len(list(rig.ledger.holds.live())) == 1
    assert [rig.ledger.orders[order_id].cl_ord_id for order_id in rig.link.cancelled] == ["one"]


def test_another_clients_accounts_and_holds_are_unknown(rig: Rig) -> None:
    hold_id = held(rig)
    arb = hook_of(rig, "arb")
    refused = arb.hold(order(account="alpha"), rig.now_ns)
    assert isinstance(refused, Refused) and refused.code == 101
    for request in (Fill(hold=hold_id, execution="e", quantity="10", price="59000"), Release(hold=hold_id)):
        answer = arb.act(request, rig.now_ns)
        assert isinstance(answer, Refused) and answer.code == 931
    assert isinstance(answer := arb.query(Query(hold=hold_id), rig.now_ns), Refused) and answer.code == 931
    ambiguous = arb.hold(order("k2"), rig.now_ns)  # of two accounts one must be named
    assert isinstance(ambiguous, Refused) and ambiguous.code == 101
    listed = arb.query(Query(), rig.now_ns + SECOND)
    assert isinstance(listed, Listed) and listed.holds == []


def test_own_orders_are_not_met_whichever_way_they_come(tmp_path: Path) -> None:
    text = WITH_HOOK.replace('name = "alpha"\n', 'name = "alpha"\nself_trade_prevention = "cancel_resting"\n')
    with opened(tmp_path, config=text) as rig:
        desk = rig.desk().log_on()
        desk.order(side=2, price=60_000)
        rig.hear(accepted(rig.only_order()))
        asked = hook_of(rig).check(question(price="60000"), rig.now_ns)
        refused = hook_of(rig).hold(order(price="60000"), rig.now_ns)
        for answer in (asked, refused):
            assert isinstance(answer, Refused) and (answer.code, answer.check) == (603, "own_orders_are_not_met")
        assert rig.link.cancelled == []
        held(rig, "k2", price="59500")
        desk.pump()
        (report,) = desk.order(side=2, price=59_500)
        assert report.get(20001) == b"603"


@pytest.mark.parametrize("key", ["", "a\nb", "ключ", "\x7f"])
def test_a_key_must_be_printable(rig: Rig, key: str) -> None:
    refused = hook_of(rig).hold(order(key), rig.now_ns)
    assert isinstance(refused, Refused) and refused.code == 935
    assert rig.log == []


def test_a_deadline_beyond_what_is_allowed_is_refused(rig: Rig) -> None:
    arb = hook_of(rig, "arb")
    refused = arb.hold(order(account="beta", timeout_ms=2001), rig.now_ns)
    assert isinstance(refused, Refused) and (refused.code, refused.limit) == (937, 2000.0)
    answer = arb.hold(order(account="beta", timeout_ms=2000), rig.now_ns)  # it was no decision on the key
    assert isinstance(answer, Held) and answer.deadline_ns == START_NS + 2000 * MS


def test_the_throttle_lets_what_tells_of_an_end_pass(rig: Rig) -> None:
    arb = hook_of(rig, "arb")
    first = arb.act(order(account="beta"), rig.now_ns)
    assert isinstance(first, Held)
    arb.act(question(account="beta"), rig.now_ns)
    arb.act(Query(), rig.now_ns)
    for request in (question(account="beta"), order("k2", account="beta"), Query()):
        refused = arb.act(request, rig.now_ns)
        assert isinstance(refused, Refused) and refused.code == 405
    told = arb.act(Fill(hold=first.hold, execution="e", quantity="10", price="59000"), rig.now_ns)
    assert isinstance(told, Told) and told.is_new
    assert isinstance(arb.act(Release(hold=first.hold), rig.now_ns), Told)
    assert isinstance(arb.act(order("k2", account="beta"), rig.now_ns + 100 * MS), Held)  # refused unseen: no decision


# -- after it ------------------------------------------------------------------------------------------------------


def test_fills_book_positions_once_and_end_the_hold(rig: Rig) -> None:
    hold_id = held(rig)
    first = fill(rig, hold_id, "e1", 40, "58999.5", fee="0.0000001")
    assert isinstance(first, Told) and first.is_new
    assert (first.hold.state, first.hold.filled, first.hold.leaves) == ("partly_filled", "40", "60")
    again = fill(rig, hold_id, "e1", 40, "58999.5")
    assert isinstance(again, Told) and not again.is_new and again.hold == first.hold
    assert lots(rig) == 4
    last = fill(rig, hold_id, "e2", 60)
    assert isinstance(last, Told) and (last.hold.state, last.hold.leaves) == ("filled", "0")
    assert lots(rig) == 10 and not rig.ledger.accounts["alpha"].exposure.orders
    position = rig.ledger.accounts["alpha"].positions[rig.ledger.by_symbol[BTC].index]
    assert position.fee_units == 10
    assert len(rig.of_type(hold_records.HoldFilled)) == 2
    rig.check_holds()
    rig.check_replay()


def test_what_is_known_by_another_fill_differs(rig: Rig) -> None:
    one, two = held(rig), held(rig, "k2")
    fill(rig, one, "e1", 40)
    for hold_id, quantity, price in ((one, 50, "59000"), (one, 40, "58999"), (two, 40, "59000")):
        refused = fill(rig, hold_id, "e1", quantity, price)
        assert isinstance(refused, Refused) and refused.code == 934
    assert lots(rig) == 4
    assert any("fill e1" in alert for alert in rig.monitor.alerts)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"quantity": "15"}, 933), ({"quantity": "0"}, 933), ({"quantity": "-10"}, 933), ({"price": "59000.1"}, 933),
     ({"price": "x"}, 933), ({"fee": "much"}, 933), ({"execution": ""}, 935), ({"hold": "none"}, 931),
     ({"hold": ""}, 931), ({"key": "other"}, 931)],
)  # fmt: skip
def test_a_fill_that_can_not_be_booked_is_refused_and_told(rig: Rig, changes: dict[str, str], code: int) -> None:
    request = {"hold": held(rig), "execution": "e1", "quantity": "40", "price": "59000"} | changes
    refused = hook_of(rig).fill(Fill(**request), rig.now_ns)
    assert isinstance(refused, Refused) and refused.code == code
    assert lots(rig) == 0 and len(rig.monitor.alerts) == 1


def test_an_overfill_is_booked_and_restricts_the_account(rig: Rig) -> None:
    hold_id = held(rig)
    assert isinstance(fill(rig, hold_id, "e1", 120), Told)
    account = rig.ledger.accounts["alpha"]
    assert lots(rig) == 12 and account.state is AccountState.REDUCING
    assert "beyond its quantity" in rig.ledger.breaks[0].text
    rig.check_replay()


@pytest.mark.parametrize("is_released", [False, True])
def test_a_fill_after_the_end_is_booked_and_restricts_the_account(rig: Rig, is_released: bool) -> None:
    hold_id = held(rig)
    if is_released:
        hook_of(rig).release(Release(hold=hold_id), rig.now_ns)
    else:
        fill(rig, hold_id, "e1", 100)
    before = lots(rig)
    late = fill(rig, hold_id, "late", 20)
    assert isinstance(late, Told) and late.hold.state == ("released" if is_released else "filled")
    assert lots(rig) == before + 2
    assert rig.ledger.accounts["alpha"].state is AccountState.REDUCING
    assert "after it had ended" in rig.ledger.breaks[0].text
    rig.check_holds()
    rig.check_replay()


def test_a_release_frees_the_rest_and_may_be_said_again(rig: Rig) -> None:
    before = rig.core.market.kernel.worst(0)
    hold_id = held(rig)
    for is_new in (True, False):
        told = hook_of(rig).release(Release(key="k1"), rig.now_ns)
        assert isinstance(told, Told) and (told.is_new, told.hold.state) == (is_new, "released")
    assert rig.core.market.kernel.worst(0) == before
    assert len(rig.of_type(hold_records.HoldReleased)) == 1
    other = held(rig, "k2")
    fill(rig, other, "e1", 100)
    refused = hook_of(rig).release(Release(hold=other), rig.now_ns)
    assert isinstance(refused, Refused) and refused.code == 932
    assert state(rig, hold_id) == "released"


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_sides_mirror_each_other(rig: Rig, side: str) -> None:
    price = "59000" if side == "buy" else "61000"
    hold_id = held(rig, side=side, price=price)
    fill(rig, hold_id, "e1", 40, price)
    hook_of(rig).release(Release(hold=hold_id), rig.now_ns)
    assert lots(rig) == (4 if side == "buy" else -4)
    assert rig.ledger.venue_lots("deribit").get(BTC, 0) == 0
    rig.check_replay()


def test_a_basket_is_checked_as_a_whole_and_nothing_is_kept(rig: Rig) -> None:
    one = BasketOrder(symbol=BTC, side="buy", quantity="100", price="59000")
    hook, log = hook_of(rig), list(rig.log)
    passed = hook.act(CheckBasket(orders=(one, one), account="alpha", id=1), rig.now_ns)
    assert isinstance(passed, Passed) and passed.op == "check_basket" and passed.initial_margin > 0
    large = BasketOrder(symbol=BTC, side="buy", quantity="100000", price="59000")
    refused = hook.act(CheckBasket(orders=(large, large), account="alpha", id=2), rig.now_ns)
    assert isinstance(refused, Refused) and refused.text.startswith("order 2 of 2") and refused.id == 2
    assert rig.log == log and not list(rig.ledger.holds.live()) and not rig.ledger.accounts["alpha"].exposure.orders
