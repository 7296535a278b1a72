"""The hook in process: checks, holds, fills, releases, their deadlines, and what the journal gives back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway import hold_records, records
from gateway.hook import Hook
from gateway.hook_messages import (
    Check,
    Event,
    Fill,
    Held,
    HoldOrder,
    Listed,
    Passed,
    Query,
    Refused,
    Release,
    Stop,
    Told,
    Unknown,
)
from gateway.hooks import HoldError
from gateway.journal import JournalFull
from protocols.venues.events import OpenOrdersReported, ReconcileFinished
from risk.account import AccountState
from tests.gateway.rig import (
    BTC,
    CONFIG,
    ETH,
    MS,
    SECOND,
    START_NS,
    Rig,
    accepted,
    filled,
    opened,
    positions,
    shown,
    state_of,
)

HOOK: Final = """
[hook]
socket_path = "hook.sock"
[[hook.client]]
name = "algo"
accounts = ["alpha"]
authentication = "peer"
[[hook.client]]
name = "arb"
accounts = ["beta", "gamma"]
authentication = "peer"
hold_timeout_ms = 500
max_hold_timeout_ms = 2000
throttle_requests = 3
throttle_interval_ms = 100
"""
WITH_HOOK: Final = CONFIG + HOOK
SHARED: Final = WITH_HOOK.replace('accounts = ["alpha"]\nauth', 'accounts = ["alpha"]\nvenue_account = "shared"\nauth')


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with opened(tmp_path, config=WITH_HOOK) as rig:
        yield rig


def hook_of(rig: Rig, name: str = "algo") -> Hook:
    return rig.core.hooks.by_name[name]


def order(key: str = "k1", **changes: Any) -> HoldOrder:
    """A buy of 100 at 59000 that every check passes, but for the changes."""
    terms: dict[str, Any] = {"key": key, "symbol": BTC, "side": "buy", "quantity": "100", "price": "59000"}
    return HoldOrder(**(terms | changes))


def question(**changes: Any) -> Check:
    terms: dict[str, Any] = {"symbol": BTC, "side": "buy", "quantity": "100", "price": "59000"}
    return Check(**(terms | changes))


def held(rig: Rig, key: str = "k1", **changes: Any) -> str:
    answer = hook_of(rig).hold(order(key, **changes), rig.now_ns)
    assert isinstance(answer, Held), answer
    return answer.hold


def fill(rig: Rig, hold: str, execution: str, quantity: int, price: str = "59000", **changes: Any) -> Told | Refused:
    request = Fill(hold=hold, execution=execution, quantity=str(quantity), price=price, **changes)
    return hook_of(rig).fill(request, rig.now_ns)


def lots(rig: Rig, account: str = "alpha", symbol: str = BTC) -> int:
    return rig.ledger.accounts[account].position_lots(rig.ledger.by_symbol[symbol].index)


def state(rig: Rig, hold: str) -> str:
    return rig.ledger.holds.by_id[hold].state.value


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
        refused = hook_of(rig).hold(order(price="60000"), rig.now_ns)
        assert isinstance(refused, Refused) and (refused.code, refused.check) == (603, "own_orders_are_not_met")
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


# -- deadlines -----------------------------------------------------------------------------------------------------


def test_an_overdue_hold_is_unknown_and_holds_on(rig: Rig) -> None:
    told: list[Event] = []
    hook_of(rig).listeners.add(told.append)
    hold_id = held(rig, timeout_ms=1000)
    worst = rig.core.market.kernel.worst(0)
    assert rig.core.deadline_ns == START_NS + 1000 * MS
    rig.core.tick(START_NS + 999 * MS)
    assert state(rig, hold_id) == "held" and told == []
    rig.core.tick(START_NS + 1000 * MS)
    assert state(rig, hold_id) == "unknown" and rig.core.deadline_ns is None
    assert rig.core.market.kernel.worst(0) == worst
    assert isinstance(told[0], Unknown) and told[0].hold.hold == hold_id
    assert "1 holds UNKNOWN" in rig.monitor.alerts[-1] and hold_id in rig.monitor.alerts[-1]
    (row,) = [row for row in rig.core.hooks.rows() if row["hook"] == "algo"]
    assert (row["holds"], row["unknown"]) == (1, 1)
    rig.core.tick(START_NS + 10**6 * SECOND)
    assert len(rig.of_type(hold_records.HoldOverdue)) == 1
    partly = fill(rig, hold_id, "e1", 40)
    assert isinstance(partly, Told) and partly.hold.state == "unknown"
    rig.check_replay()
    released = hook_of(rig).release(Release(hold=hold_id), rig.now_ns)
    assert isinstance(released, Told) and released.hold.state == "released"
    assert not rig.ledger.holds.unknown


def test_a_deadline_that_passed_while_nobody_ran_is_marked_at_the_start(rig: Rig) -> None:
    hold_id = held(rig)
    again = rig.restart(now_ns=START_NS + 3600 * SECOND)
    assert state(again, hold_id) == "held"
    again.core.tick(again.now_ns)
    assert state(again, hold_id) == "unknown"
    again.check_holds()
    again.check_replay()
    again.journal.close()


def test_a_person_releases_what_is_unknown_and_nothing_else(rig: Rig) -> None:
    hold_id = held(rig, timeout_ms=1)
    with pytest.raises(HoldError, match="is held"):
        rig.core.hooks.release(hold_id, "ann", "looked", rig.now_ns)
    with pytest.raises(HoldError, match="no hold"):
        rig.core.hooks.release("x", "ann", "looked", rig.now_ns)
    rig.core.tick(rig.now_ns + MS)
    assert rig.core.hooks.release(hold_id, "ann", "looked", rig.now_ns).state == "released"
    assert rig.of_type(hold_records.HoldReleased) == [hold_records.HoldReleased(hold_id, "ann", "looked")]
    assert not rig.ledger.accounts["alpha"].exposure.orders


def test_holds_of_a_client_that_is_gone_from_the_configuration_stay(rig: Rig) -> None:
    hold_id = held(rig)
    again = rig.restart(config=CONFIG)
    assert list(again.ledger.accounts["alpha"].exposure.orders) == [hold_id]
    again.core.tick(START_NS + 61 * SECOND)
    assert state(again, hold_id) == "unknown"
    again.core.hooks.release(hold_id, "ann", "looked", again.now_ns)
    again.check_holds()
    again.journal.close()


# -- kills, journal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "name", "code"), [("hook", "algo", 104), ("account", "alpha", 102)])
def test_a_kill_takes_no_new_holds_and_tells_the_client(rig: Rig, scope: str, name: str, code: int) -> None:
    told: list[Event] = []
    hook_of(rig).listeners.add(told.append)
    hold_id = held(rig)
    assert rig.core.controls.kill(scope, name, "ann", "stop", rig.now_ns) == (0, True)
    assert rig.core.hooks.stopped(scope, name, "stop") == 1
    assert told == [Stop(scope, name, "stop", [hold_id])]
    for answer in (hook_of(rig).hold(order("k2"), rig.now_ns), hook_of(rig).check(question(), rig.now_ns)):
        assert isinstance(answer, Refused) and answer.code == code
    assert isinstance(hook_of(rig).hold(order(), rig.now_ns), Held)  # said before
    assert isinstance(fill(rig, hold_id, "e1", 40), Told)
    assert isinstance(hook_of(rig).release(Release(hold=hold_id), rig.now_ns), Told)
    again = rig.restart()
    refused = hook_of(again).hold(order("k3"), again.now_ns)
    assert isinstance(refused, Refused) and refused.code == code
    again.core.controls.reinstate(scope, name, "bob", "fine", again.now_ns)
    assert isinstance(hook_of(again).hold(order("k4"), again.now_ns), Held)
    again.journal.close()


def test_a_kill_of_a_session_does_not_touch_holds_of_an_account_named_alike(rig: Rig) -> None:
    held(rig)
    rig.core.controls.kill("session", "ALPHA", "ann", "stop", rig.now_ns)
    assert rig.core.hooks.stopped("session", "ALPHA", "stop") == 0
    assert isinstance(hook_of(rig).hold(order("k2"), rig.now_ns), Held)


class FullJournal:
    def append(self, *_: Any) -> int:
        raise JournalFull("the disk is full")


def test_without_a_journal_nothing_is_done_and_that_is_said(rig: Rig) -> None:
    hold_id, journal = held(rig, timeout_ms=1000), rig.pipeline.journal
    rig.pipeline.journal = FullJournal()  # type: ignore[assignment]
    for answer in (
        hook_of(rig).hold(order("k2"), rig.now_ns),
        hook_of(rig).hold(order("k3", quantity="200000"), rig.now_ns),
        fill(rig, hold_id, "e1", 40),
        hook_of(rig).release(Release(hold=hold_id), rig.now_ns),
    ):
        assert isinstance(answer, Refused) and answer.code == 936
    rig.core.tick(START_NS + 1000 * MS)
    assert rig.core.deadline_ns == START_NS + 2000 * MS  # tried again in a second
    assert state(rig, hold_id) == "held" and lots(rig) == 0
    rig.pipeline.journal = journal
    assert isinstance(hook_of(rig).hold(order("k2"), rig.now_ns), Held)
    assert isinstance(fill(rig, hold_id, "e1", 40), Told)
    rig.core.tick(START_NS + 2000 * MS)
    assert state(rig, hold_id) == "unknown"
    rig.check_replay()


# -- the venue -----------------------------------------------------------------------------------------------------


def test_fills_elsewhere_are_no_break_at_the_venue_that_we_see(rig: Rig) -> None:
    fill(rig, held(rig), "e1", 40)
    assert rig.ledger.venue_lots("deribit") == {BTC: 0}
    for _ in range(2):
        rig.hear(positions("BTC", {}), ReconcileFinished())
    assert not rig.ledger.breaks and rig.ledger.accounts["alpha"].state is AccountState.TRADING


def test_at_a_shared_venue_account_both_tell_of_a_fill_and_it_is_booked_once(tmp_path: Path) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        hold_id = held(rig)
        label = rig.ledger.holds.by_id[hold_id].order
        rig.hear(filled(label, 40, "t1"))
        assert lots(rig) == 4
        told = fill(rig, hold_id, "t1", 40)
        assert isinstance(told, Told) and not told.is_new
        assert isinstance(told := fill(rig, hold_id, "t2", 10), Told) and told.is_new
        rig.hear(filled(label, 10, "t2"), filled(label, 40, "t1"))
        assert lots(rig) == 5 and rig.ledger.venue_lots("deribit") == {BTC: 5}
        assert not rig.ledger.breaks
        rig.hear(OpenOrdersReported((state_of(label, "open"),)))
        assert not rig.ledger.breaks
        hook_of(rig).release(Release(hold=hold_id), rig.now_ns)
        rig.hear(OpenOrdersReported((state_of(label, "open"),)))  # it works, and nothing is held for it
        assert "is not ours" in rig.ledger.breaks[-1].text
        rig.check_replay()


def test_a_label_at_our_venue_account_of_an_order_that_goes_elsewhere_is_a_break(rig: Rig) -> None:
    hold = rig.ledger.holds.by_id[held(rig)].order
    rig.hear(filled(hold, 40, "t1"))
    assert lots(rig) == 0 and "is not ours" in rig.ledger.breaks[0].text


def test_clients_that_ask_for_trades_by_fix_hear_of_fills_of_holds(rig: Rig) -> None:
    desk = rig.desk().log_on()
    desk.send("AD", (568, "all"), (569, "0"), (263, "1"))
    fill(rig, held(rig), "e1", 40)
    rig.flush()
    told = [m for m in desk.pump() if m.get(35) == b"AE"]
    assert [(m.get(880), m.get(32), m.get(31)) for m in told] == [(b"BTC-PERPETUAL:e1", b"40", b"59000.0")]
    rig.check_replay()


def test_operators_see_what_is_not_ours_to_cancel_apart(rig: Rig) -> None:
    held(rig)
    assert not list(rig.ledger.working_orders())
    assert isinstance(records.TAGS[hold_records.HoldApproved], int)
