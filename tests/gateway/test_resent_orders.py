"""Faults 11 and 14, and PossResend(97): what was seen is not done again, what was not seen is done once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.fix_conversation import text, timestamp
from gateway import records
from tests.gateway.rig import CONFIG, SECOND, Desk, Rig, accepted, cancelled, filled, opened, order_fields, shown


def resend(desk: Desk, msg_type: str, number: int, body: list[tuple[int, Any]]) -> list[Any]:
    """Send a message again under a number of its own, marked as a possible duplicate."""
    now = desk.rig.now_ns
    desk.fix._now_ns = now
    fields = [(43, "Y"), (122, timestamp(now - SECOND)), *((tag, str(value)) for tag, value in body)]
    desk.fix._queue(msg_type, number, fields)
    return desk.pump()


def test_a_possible_duplicate_of_an_order_that_was_seen_is_ignored(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        before = len(rig.history())
        assert resend(desk, "D", 2, order_fields("o")) == []
        assert rig.ledger.order_count == 1 and len(rig.link.placed) == 1 and len(rig.history()) == before
        assert desk.fix.is_logged_on
        rig.check_replay()


def test_a_possible_duplicate_of_an_order_that_was_not_seen_is_applied_once(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        assert resend(desk, "D", 2, order_fields("o")) == []
        desk.fix.next_out = 3
        assert rig.ledger.order_count == 1 and len(rig.link.placed) == 1
        assert resend(desk, "D", 2, order_fields("o")) == []
        assert rig.ledger.order_count == 1 and desk.fix.is_logged_on
        rig.check_replay()


def test_orders_that_were_lost_on_the_way_are_asked_for_and_applied_once(tmp_path: Path) -> None:
    """Order 2 never came; order 3 did, and waits for it."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        asked: list[int] = []
        desk.fix._fill_gap = asked.append  # type: ignore[method-assign]
        desk.fix.next_out = 3
        desk.order(cl_ord_id="second")
        assert asked == [2] and rig.ledger.order_count == 0
        resend(desk, "D", 2, order_fields("first"))
        resend(desk, "D", 3, order_fields("second"))
        assert [order.cl_ord_id for order in rig.ledger.orders.values()] == ["first", "second"]
        assert len(rig.link.placed) == 2 and asked == [2]
        rig.check_replay()


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_possible_resend_is_judged_by_its_cl_ord_id(tmp_path: Path, is_restarted: bool) -> None:
    with opened(
        tmp_path,
        config=CONFIG.replace('accounts = ["alpha"]\n', 'accounts = ["alpha"]\ncancel_on_disconnect = false\n', 1),
    ) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="seen")
        rig.hear(accepted(rig.only_order()))
        desk.pump()
        if is_restarted:
            rig = rig.restart()
            desk = rig.desk().log_on()
        order = rig.only_order()
        (answer,) = desk.send("D", (97, "Y"), *order_fields("seen"))
        # Not a reject under the ClOrdID of an order that works: how it stands.
        assert shown([answer], 150, 39, 11, 37) == [("8", "I", "0", "seen", order.order_id)]
        assert desk.send("D", (97, "Y"), *order_fields("unseen")) == []
        assert rig.ledger.order_count == 2
        (answer,) = desk.send("D", *order_fields("seen"))
        assert shown([answer], 150, 39, 20001) == [("8", "8", "8", "401")]  # without 97 it is a duplicate
        rig.check_replay()
        rig.journal.close()


def test_a_possible_resend_of_an_order_that_has_ended_says_how(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 100))
        desk.pump()
        rig.core.market.live_venues.clear()  # whatever else would refuse it now
        assert shown(desk.send("D", (97, "Y"), *order_fields("o")), 150, 39, 14) == [("8", "I", "2", "100")]


def test_a_possible_resend_of_a_cancel_and_a_replace(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.pump()
        replace = [(41, "o"), *order_fields("r", price=59_100)]
        assert desk.send("G", *replace) == []
        (answer,) = desk.send("G", (97, "Y"), *replace)
        assert shown([answer], 150, 39) == [("8", "I", "0")] and len(rig.link.replaced) == 1
        cancel = [(11, "c"), (41, "o"), (38, 100), (54, 1), (55, "BTC-PERPETUAL"), (60, "20251009-08:53:20.000")]
        assert desk.send("F", *cancel) == []
        (answer,) = desk.send("F", (97, "Y"), *cancel)
        assert shown([answer], 150) == [("8", "I")] and len(rig.link.cancelled) == 1
        rig.hear(cancelled(order))
        desk.pump()
        assert shown(desk.send("F", (97, "Y"), *cancel), 150, 39) == [("8", "I", "4")]
        (answer,) = desk.send("F", (97, "Y"), (11, "d"), *cancel[1:])
        assert text(answer, 35) == "9"  # that one was never seen
        rig.check_replay()


def test_a_possible_resend_is_no_way_around_a_throttle_or_a_kill(tmp_path: Path) -> None:
    extra = 'accounts = ["alpha"]\nthrottle_messages = 2'
    with opened(tmp_path, config=CONFIG.replace('accounts = ["alpha"]', extra, 1)) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        desk.order(cl_ord_id="p")
        (answer,) = desk.send("D", (97, "Y"), *order_fields("unseen"))
        assert text(answer, 20001) == "405"
        (answer,) = desk.send("D", (97, "Y"), *order_fields("o"))
        assert shown([answer], 150, 39) == [("8", "I", "A")]
        rig.core.controls.kill("session", "ALPHA", "ann", "x", rig.now_ns)
        (answer,) = desk.send("D", (97, "Y"), *order_fields("unseen"))
        assert text(answer, 20001) == "104"
        assert len(rig.of_type(records.OrderApproved)) == 2
        rig.check_replay()


def test_a_second_logon_is_refused_and_the_first_trades_on(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        first = rig.desk().log_on()
        first.order(cl_ord_id="o")
        second = Desk(rig, "ALPHA")
        second.fix.send("A", [(98, "0"), (108, "30"), (141, "Y")], rig.now_ns)
        second.pump()
        assert second.link.session.is_closed and not second.fix.is_logged_on and second.received == b""
        second.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == [] and first.order(cl_ord_id="p") == []
        assert rig.ledger.order_count == 2
        numbers(rig)


def numbers(rig: Rig) -> None:
    rig.check_replay()
