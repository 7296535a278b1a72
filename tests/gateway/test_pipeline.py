"""An order's life through the pipeline: what is decided, in which order it is written and sent, and who is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.fix_conversation import text
from gateway import records
from risk.lifecycle import OrdStatus
from risk.order import Approved
from risk.pre_trade import CHECKS
from tests.gateway.rig import (
    BTC,
    CONFIG,
    SECOND,
    Desk,
    accepted,
    cancelled,
    filled,
    opened,
    shown,
)  # fmt: skip

# -- what passes -----------------------------------------------------------------------------------------------------


def test_an_order_is_checked_journalled_held_and_only_then_sent(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        rig.log.clear()
        assert desk.order() == []  # its first report is the venue's answer
        order = rig.only_order()
        assert rig.log == [("append", "OrderApproved"), ("place", order.order_id), ("flush", None)]
        ((order_id, approved),) = rig.link.placed
        assert order_id == order.order_id and type(approved) is Approved and approved.checks_run == len(CHECKS)
        assert order.held == (10, 118_000) and order.status is OrdStatus.PENDING_NEW
        rig.check_holds()
        rig.check_replay()


def test_everything_that_reached_the_router_was_approved_by_every_check(tmp_path: Path) -> None:
    """A mixed bag: what was placed is exactly what was approved, and the numbers add up."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for number in range(60):
            desk.order(
                price=(59_000, 59_000.3, 70_000, 58_000)[number % 4],
                quantity=(100, 105, 100_000, 20_000)[number // 4 % 4],
                symbol=(BTC, "ETH-PERPETUAL", "NO-SUCH")[number % 3],
                exec_inst=(None, "E")[number % 2],
            )
        approved = rig.of_type(records.OrderApproved)
        assert [order_id for order_id, _ in rig.link.placed] == [record.order_id for record in approved]
        assert approved and all(record.checks_run == rig.core.checks_configured for record in approved)
        assert rig.monitor.checks_run == len(approved) * rig.core.checks_configured
        assert rig.monitor.orders_in == 60 == rig.monitor.accepted + rig.monitor.rejected
        assert len(rig.of_type(records.OrderRefused)) == rig.monitor.rejected
        rig.check_holds()
        rig.check_replay()


def test_one_batch_is_flushed_once(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        rig.log.clear()
        for _ in range(3):
            desk.fix.send("D", [(t, str(v)) for t, v in _fields(desk)], rig.now_ns)
        desk.pump()
        assert [what for what, _ in rig.log] == ["append", "place"] * 3 + ["flush"]


def _fields(desk: Desk) -> list[tuple[int, Any]]:
    from tests.gateway.rig import order_fields

    return order_fields(desk.next_id())


# -- a venue that does not take it -----------------------------------------------------------------------------------


def test_what_never_left_is_released_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        rig.link.refusal = "the venue's order rate leaves no room"
        (report,) = desk.order()
        assert shown([report], 39, 103, 20001) == [("8", "8", "99", "951")]
        assert "order rate" in text(report, 58)
        assert rig.only_order().held is None and rig.monitor.venue_rejects == 1
        rig.monitor.batch_written(rig.now_ns)
        assert rig.monitor.accept_latency.count == 1  # answered: nothing is left waiting for its time
        rig.check_holds()
        rig.check_replay()


def test_a_replace_that_never_left_leaves_the_order_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.pump()
        rig.link.refusal = "not now"
        (reject,) = desk.replace("o", quantity=50_000)
        assert shown([reject], 41, 39, 434, 58) == [("9", "o", "0", "2", "not now")]
        assert order.replace is None and order.held == (10, 118_000)
        rig.check_holds()
        rig.check_replay()


# -- cancels and replaces --------------------------------------------------------------------------------------------


def test_a_cancel_before_the_acknowledgement_waits_and_goes_with_the_id(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        assert desk.cancel("o", cl_ord_id="c") == []
        assert not order.venue_order_id and order.is_cancel_pending
        rig.link.cancelled.clear()
        rig.hear(accepted(order, "V9"))
        assert rig.link.cancelled == [order.order_id] and order.venue_order_id == "V9"
        rig.hear(cancelled(order))
        told = desk.pump()
        assert shown(told, 39, 11, 41) == [("8", "0", "o", ""), ("8", "4", "c", "o")]
        rig.check_holds()
        rig.check_replay()


@pytest.mark.parametrize(
    ("orig", "cl_ord_id", "reason"),
    [("unknown", "c", "1"), ("ended", "c", "0"), ("pending", "c", "3"), ("works", "works", "6"),
     ("works", "x" * 65, "2")],
)  # fmt: skip
def test_cancels_that_are_refused(tmp_path: Path, orig: str, cl_ord_id: str, reason: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for name in ("ended", "pending", "works"):
            desk.order(cl_ord_id=name)
            rig.hear(accepted(list(rig.ledger.orders.values())[-1]))
        ended = next(iter(rig.ledger.orders.values()))
        rig.hear(cancelled(ended))
        desk.cancel("pending", cl_ord_id="p")
        desk.pump()
        (reject,) = desk.cancel(orig, cl_ord_id=cl_ord_id)
        assert shown([reject], 11, 41, 102, 434) == [("9", cl_ord_id, orig, reason, "1")]
        assert rig.monitor.cancels_refused == 1 and rig.monitor.replaces_refused == 0
        rig.check_replay()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"symbol": "ETH-PERPETUAL"}, "2"), ({"side": 2}, "2"), ({"quantity": 105}, "2"), ({"price": 70_000}, "2"),
     ({"quantity": 10}, "2"), ({"tif": 6}, "2"), ({"quantity": 100_020}, "2")],
)  # fmt: skip
def test_replaces_that_are_refused_leave_the_order(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 10))
        desk.pump()
        before = (order.held, order.replace, order.status)
        (reject,) = desk.replace("o", **changes)
        assert shown([reject], 41, 39, 102, 434) == [("9", "o", "1", reason, "2")]
        assert (order.held, order.replace, order.status) == before and not rig.link.replaced
        assert rig.monitor.replaces_refused == 1 and rig.monitor.cancels_refused == 0
        rig.check_holds()
        rig.check_replay()


def test_a_replace_before_the_acknowledgement_or_beside_another_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        (reject,) = desk.replace("o")
        assert text(reject, 102) == "3"
        rig.hear(accepted(rig.only_order()))
        desk.pump()
        assert desk.replace("o", price=58_500) == []
        (reject,) = desk.replace("o", price=58_000)
        assert text(reject, 102) == "3"


def test_a_cancel_passes_although_a_replace_is_on_its_way(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.pump()
        desk.replace("o", cl_ord_id="r", quantity=200)
        assert desk.cancel("o", cl_ord_id="c") == [] and rig.link.cancelled == [order.order_id]
        rig.hear(cancelled(order))
        assert shown(desk.pump(), 11, 41, 39) == [("9", "r", "o", "0"), ("8", "c", "o", "4")]
        rig.check_holds()
        rig.check_replay()


def test_both_shapes_are_held_while_a_replace_is_on_its_way(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.replace("o", quantity=1_000, price=58_000)
        assert (order.held, order.held_alternative) == ((10, 118_000), (100, 116_000))
        assert rig.log[-3:] == [("append", "ReplaceRequested"), ("replace", order.order_id), ("flush", None)]
        rig.check_holds()
        rig.check_replay()


def test_clients_can_neither_see_nor_touch_each_others_orders(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        alpha, beta = rig.desk().log_on(), rig.desk("BETA").log_on()
        alpha.order(cl_ord_id="o")
        rig.hear(accepted(rig.only_order()))
        (reject,) = beta.cancel("o")
        assert text(reject, 102) == "1"
        (status,) = beta.send("H", (11, "o"), (54, 1), (55, BTC))
        assert shown([status], 37, 39, 150) == [("8", "NONE", "8", "I")]
        (status,) = alpha.send("H", (11, "o"), (54, 1), (55, BTC))[-1:]
        assert shown([status], 17, 39, 150, 11) == [("8", "0", "0", "I", "o")]


def test_a_session_that_cancels_anothers_order_in_a_shared_account_is_answered(tmp_path: Path) -> None:
    with opened(tmp_path, config=CONFIG.replace('["beta", "gamma"]', '["beta", "alpha"]')) as rig:
        alpha, beta = rig.desk().log_on(), rig.desk("BETA").log_on()
        alpha.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        told = beta.cancel("o", cl_ord_id="c")
        rig.hear(cancelled(order))
        told += beta.pump()
        assert [text(m, 11) for m in told] == ["c"]
        assert "c" not in [text(m, 11) for m in alpha.pump()]


def test_two_accounts_need_a_name_and_share_their_cl_ord_ids(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        beta = rig.desk("BETA").log_on()
        (report,) = beta.order()
        assert text(report, 20001) == "101"
        assert beta.order(account="beta", cl_ord_id="one") == []
        (report,) = beta.order(account="gamma", cl_ord_id="one")
        assert text(report, 20001) == "401"


def test_other_application_messages_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        from protocols.fix.codec import decode

        raw = desk.received  # any message will do: the session never lets an unknown type through to here
        assert raw
        rig.pipeline.receive("ALPHA", _with_type(decode(raw[: raw.index(b"\x0110=") + 8]), "B"), rig.now_ns)
        (reject,) = desk.pump()
        assert shown([reject], 372, 380) == [("j", "B", "3")]


def _with_type(message: Any, msg_type: str) -> Any:
    class Other:
        msg_seq_num = message.msg_seq_num

        def __init__(self) -> None:
            self.msg_type = msg_type

        def get(self, tag: int) -> bytes | None:
            return None

    return Other()


# -- a client that is gone -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["lost", "silent", "logged out", "too low"])
def test_however_a_session_ends_its_orders_are_cancelled_once(tmp_path: Path, end: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.pump()
        if end == "silent":
            for _ in range(200):
                rig.now_ns += SECOND
                desk.link.tick(rig.now_ns)
        elif end == "logged out":
            desk.send("5")
        elif end == "too low":
            desk.fix.next_out = 1
            desk.send("0")
        assert (rig.link.cancelled == []) is (end == "lost")
        desk.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == [order.order_id] and order.is_cancel_pending
        (record,) = rig.of_type(records.CancelRequested)
        assert (record.session, record.seq_in, record.cl_ord_id) == ("ALPHA", 0, "")
        rig.check_replay()


def test_a_transport_that_notices_late_does_not_cancel_the_next_sessions_orders(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        old = rig.desk().log_on()
        old.send("5")
        new = rig.desk(conversation=old.fix)
        new.fix.is_logged_out = False
        new.log_on(resets=False)
        new.order(cl_ord_id="new")
        rig.hear(accepted(rig.only_order()))
        old.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == []


def test_a_client_that_wants_its_orders_to_stay_keeps_them(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        beta = rig.desk("BETA").log_on()
        beta.order(account="beta")
        rig.hear(accepted(rig.only_order()))
        beta.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == []


def test_what_the_venue_tells_while_a_client_is_away_is_resent(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        beta = rig.desk("BETA").log_on()
        beta.order(account="beta", cl_ord_id="o")
        beta.link.disconnected(rig.now_ns)
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 100))
        again = rig.desk("BETA", conversation=beta.fix)
        again.fix.send("A", [(98, "0"), (108, "30")], rig.now_ns)
        told = again.pump()
        assert shown(told, 39, 43) == [("8", "0", "Y"), ("8", "2", "Y")]
