"""Lists, mass cancels and stops under what bounds sessions: throttles, kills, self-trade prevention, names, kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import simplefix

from fixtures.fix_conversation import text
from gateway import records
from gateway.clients.sessions import clients_of
from protocols.venues import events
from tests.gateway.clearing.test_drop_copy import COPIES
from tests.gateway.clients.test_throttle import TEXT, pass_time, throttled
from tests.gateway.messages.test_order_lists import entry, send_list
from tests.gateway.operators.test_kills import kill, reinstate
from tests.gateway.rig import BTC, CONFIG, NOW_TEXT, SECOND, Desk, Rig, accepted, cancelled, opened, shown
from tests.gateway.test_self_trades import prevention

ONE = TEXT.replace("3", "1", 1)
KILLED = "KILLED session ALPHA is killed: fat finger"


def mass_cancel(desk: Desk, *fields: tuple[int, Any], kind: int = 7) -> list[simplefix.FixMessage]:
    return desk.send("q", (11, desk.next_id()), (530, kind), *fields, (60, NOW_TEXT))


def cancel_list(desk: Desk, list_id: str = "L") -> list[simplefix.FixMessage]:
    return desk.send("K", (66, list_id), (60, NOW_TEXT))


def multileg(desk: Desk) -> list[simplefix.FixMessage]:
    legs = [(555, 2), (600, BTC), (600, BTC)]
    return desk.send("AB", (11, desk.next_id()), (54, 1), (55, BTC), *legs, (60, NOW_TEXT), (40, 2))


def working_list(rig: Rig, desk: Desk, count: int = 2) -> None:
    """A list of buys at 59 000, acknowledged by the venue."""
    send_list(desk, [entry(number) for number in range(count)])
    rig.hear(*(accepted(order) for order in list(rig.ledger.orders.values())))
    desk.pump()


# -- throttles ---------------------------------------------------------------------------------------------------------


def test_what_is_of_many_orders_is_refused_in_its_own_words(tmp_path: Path) -> None:
    with throttled(tmp_path) as (rig, desk):
        working_list(rig, desk)  # the first message
        assert shown(mass_cancel(desk), 530, 531, 533) == [("r", "7", "7", "2")]  # the second
        assert shown(cancel_list(desk), 429, 431, 444) == [("N", "2", "4", "")]  # nothing new to cancel: the third
        assert shown(mass_cancel(desk), 530, 531, 532, 58) == [("r", "7", "0", "99", TEXT)]
        assert shown(cancel_list(desk), 66, 429, 431, 444) == [("N", "L", "2", "3", TEXT)]  # it stands as it stands
        assert shown(cancel_list(desk, "M"), 372, 379, 380, 58) == [("j", "K", "M", "0", TEXT)]
        assert shown(send_list(desk, [entry(5)], "M"), 66, 429, 431, 444, 73) == [("N", "M", "2", "7", TEXT, "0")]
        assert shown(multileg(desk), 39, 150, 20001) == [("8", "8", "8", "405")]
        assert shown(desk.send("AF", (584, "s"), (585, 7)), 372, 380, 58) == [("j", "AF", "0", TEXT)]
        assert rig.core.controls.snapshot()["throttled"] == {"ALPHA": 6}
        rig.check_replay()
        pass_time(rig, SECOND)
        (status,) = send_list(desk, [entry(6)], "M")  # its name was not used
        assert text(status, 431) == "3"


def test_a_cancel_of_many_has_a_token_in_reserve_where_it_cancels(tmp_path: Path) -> None:
    with throttled(tmp_path, messages=1) as (rig, desk):
        working_list(rig, desk)
        assert shown(mass_cancel(desk, (54, 2)), 531) == [("r", "0")]  # no sells
        assert shown(mass_cancel(desk, (55, "?"), kind=1), 531, 58) == [("r", "0", ONE)]
        assert shown(desk.send("q", (11, "x" * 65), (530, 7), (60, NOW_TEXT)), 531, 58) == [("r", "0", ONE)]
        assert rig.link.cancelled == []
        assert shown(mass_cancel(desk, (54, 1)), 531, 533) == [("r", "7", "2")]
        assert shown(mass_cancel(desk, (54, 1)), 531) == [("r", "0")]  # they are being cancelled
        assert len(rig.link.cancelled) == 2
        rig.check_replay()


def test_a_cancel_of_a_list_has_a_token_in_reserve_where_it_cancels(tmp_path: Path) -> None:
    with throttled(tmp_path, messages=1) as (rig, desk):
        working_list(rig, desk)
        assert shown(cancel_list(desk), 431, 444) == [("N", "4", "")] and len(rig.link.cancelled) == 2
        assert shown(cancel_list(desk), 431, 444) == [("N", "3", ONE)]


def test_delayed_lists_and_mass_cancels_are_acted_on_in_their_turn(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay", messages=1) as (rig, desk):
        assert desk.order() == []
        assert send_list(desk, [entry(1), entry(2)]) == []
        assert mass_cancel(desk, (54, 2)) == [] and len(rig.link.placed) == 1
        assert [record.seq_in for record in rig.of_type(records.MessageDelayed)] == [3, 4]
        rig.check_replay()
        pass_time(rig, SECOND)
        assert shown(desk.pump(), 66, 431) == [("N", "L", "3")] and len(rig.link.placed) == 3
        pass_time(rig, SECOND)
        assert shown(desk.pump(), 531, 533) == [("r", "7", "0")]
        assert rig.core.reports.delayed == {} and rig.of_type(records.MessageReleased) == []
        rig.check_replay()


# -- kills -------------------------------------------------------------------------------------------------------------


def test_a_killed_session_gets_no_list_and_may_cancel_and_ask(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        working_list(rig, desk)
        kill(rig)
        assert len(rig.link.cancelled) == 2
        assert shown(send_list(desk, [entry(5)], "M"), 66, 431, 444) == [("N", "M", "7", KILLED)]
        assert shown(multileg(desk), 39, 20001) == [("8", "8", "104")]
        assert shown(mass_cancel(desk), 531, 533) == [("r", "7", "0")]
        assert shown(cancel_list(desk), 431, 444) == [("N", "4", "")]
        assert shown(desk.send("M", (66, "L")), 431) == [("N", "3")]
        assert shown(desk.send("AF", (584, "s"), (585, 7)), 150, 911) == [("8", "I", "2")] * 2
        rig.check_replay()
        reinstate(rig)
        assert shown(send_list(desk, [entry(5)], "M"), 66, 431) == [("N", "M", "3")]


def test_a_killed_account_takes_nothing_out_of_a_list(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        kill(rig, "account", "alpha")
        report, status = send_list(desk, [entry(1)])
        assert shown([report], 39, 66, 20001) == [("8", "8", "L", "102")] and text(status, 431) == "7"


# -- a list that is sent again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_list_that_is_known_is_answered_with_how_it_stands(tmp_path: Path, is_killed: bool) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        working_list(rig, desk)
        if is_killed:
            kill(rig)
        again = [(66, "L"), (394, 3), (68, 2), (73, 2), *entry(0), *entry(1)]
        assert shown(desk.send("E", (97, "Y"), *again), 66, 429, 431, 444) == [("N", "L", "2", "3", "")]
        assert len(rig.link.placed) == 2
        rig.check_replay()


# -- self-trade prevention ---------------------------------------------------------------------------------------------


def test_orders_of_a_list_do_not_meet_each_other(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        refused, status = send_list(desk, [entry(1, _44=60_500), entry(2, _54=2, _44=60_500)])
        assert shown([refused], 11, 39, 20001) == [("8", "l2", "8", "603")]
        assert text(status, 431) == "3" and len(rig.link.placed) == 1


def test_what_a_lists_order_would_meet_is_cancelled_ahead_of_it(tmp_path: Path) -> None:
    with opened(tmp_path, config=prevention("cancel_resting")) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="resting", side=2, price=60_500)
        resting = rig.only_order()
        rig.hear(accepted(resting))
        desk.pump()
        (status,) = send_list(desk, [entry(1, _44=60_500)])
        *_, order = rig.ledger.orders.values()
        sent = [step for step in rig.log if step[0] in ("place", "cancel")]
        assert sent[-2:] == [("cancel", resting.order_id), ("place", order.order_id)] and text(status, 431) == "3"
        rig.hear(cancelled(resting), accepted(order))
        rig.core.tick(rig.now_ns)
        assert rig.core.controls.watch.confirmed == 1
        rig.check_replay()
        rig.check_holds()


def test_a_stop_counts_for_self_trades_once_it_has_triggered(tmp_path: Path) -> None:
    """Before that it is in no book: who has a protective stop may go on buying, and may place another over its buys."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        stop = [(11, "s"), (1, "alpha"), (55, BTC), (54, 2), (60, NOW_TEXT), (38, 100), (40, 4), (44, 58_500)]
        assert desk.send("D", *stop, (99, 59_500), (59, 1)) == []
        rig.hear(accepted(rig.only_order()))
        desk.pump()
        order = rig.only_order()
        told = desk.order(price=59_000, cl_ord_id="b")
        assert [text(m, 58) for m in told] == []
        assert desk.send("D", *((11, "s2") if tag == 11 else (tag, value) for tag, value in stop), (99, 59_500),
                         (59, 1)) == []  # fmt: skip
        rig.hear(events.OrderTriggered(order.order_id, "as-a-limit", order.venue_order_id))
        desk.pump()
        assert order.is_triggered
        assert shown(desk.order(price=59_000), 20001) == [("8", "603")]  # it would rest above the limit that works now
        assert desk.order(price=58_400) == []
        rig.check_holds()
        rig.check_replay()


# -- names and kinds ---------------------------------------------------------------------------------------------------


def test_a_session_with_a_name_of_its_own(tmp_path: Path) -> None:
    named = CONFIG.replace('target_comp_id = "ALPHA"', 'target_comp_id = "ALPHA"\nname = "desk-1"', 1)
    with opened(tmp_path, config=named) as rig:
        desk = rig.desk().log_on()
        working_list(rig, desk)
        assert list(rig.ledger.lists) == [("desk-1", "L")]
        assert shown(mass_cancel(desk), 531, 533) == [("r", "7", "2")]
        (request,) = rig.of_type(records.MassCancelRequested)
        assert request.session == "desk-1"
        rig.check_replay()


def test_a_session_that_looks_on_makes_no_client_of_its_accounts(tmp_path: Path) -> None:
    with opened(tmp_path, config=COPIES) as rig:
        clients = clients_of(rig.core.config)
        assert clients["alpha"] != clients["gamma"] == clients["beta"]
        rig.desk().log_on().order(cl_ord_id="o", side=2, price=60_500)
        assert rig.desk("BETA").log_on().order(cl_ord_id="o", account="gamma", price=60_500, quantity=10) == []


def test_each_kind_of_session_may_send_what_it_is_for(tmp_path: Path) -> None:
    question = [(320, "r"), (559, 4)]
    with opened(tmp_path, config=COPIES) as rig:
        desk, risk, oms = rig.desk().log_on(), rig.desk("RISK").log_on(), rig.desk("OMS").log_on()
        for asking in (desk, risk):
            assert "j" not in [text(m, 35) for m in asking.send("x", *question)]
        assert shown(oms.send("x", *question), 372, 380) == [("j", "x", "3")]
        assert shown(mass_cancel(risk), 372, 380) == [("j", "q", "3")]
        assert shown(send_list(risk, [entry(1)]), 372, 380) == [("j", "E", "3")]
