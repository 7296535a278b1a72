"""An order's life through the pipeline: what is decided, in which order it is written and sent, and who is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.fix_conversation import text
from gateway import records
from risk.lifecycle import OrdStatus
from risk.order import Approved, RejectReason
from risk.pre_trade import CHECKS
from tests.gateway.rig import (
    BTC, MS, SECOND, Desk, Rig, SmallDisk, accepted, cancelled, filled, listed, opened, shown,
)  # fmt: skip
from tests.gateway.test_reports import REFUSAL_TAGS

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


# -- what is refused -------------------------------------------------------------------------------------------------

REFUSALS: list[tuple[RejectReason, dict[str, Any]]] = [
    (RejectReason.UNKNOWN_ACCOUNT, {"account": "beta"}),
    (RejectReason.UNKNOWN_INSTRUMENT, {"symbol": "DOGE"}),
    (RejectReason.QUANTITY_NOT_IN_LOTS, {"quantity": 105}),
    (RejectReason.QUANTITY_NOT_IN_LOTS, {"quantity": "-10"}),
    (RejectReason.QUANTITY_NOT_IN_LOTS, {"quantity": 0}),
    (RejectReason.PRICE_NOT_IN_TICKS, {"price": "59000.3"}),
    (RejectReason.PRICE_NOT_IN_TICKS, {"price": "-0"}),
    (RejectReason.QUANTITY_ABOVE_LIMIT, {"quantity": 100_010}),
    (RejectReason.NOTIONAL_ABOVE_LIMIT, {"symbol": "ETH-PERPETUAL", "price": 2_000, "quantity": 99_999}),
    (RejectReason.PRICE_OUTSIDE_COLLAR, {"price": 70_000}),
    (RejectReason.PRICE_OUTSIDE_COLLAR, {"price": 50_000}),
    (RejectReason.ORDER_NOT_REDUCING, {"exec_inst": "E"}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"ord_type": 3, "price": None}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"tif": 6}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"exec_inst": "G"}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"side": 5}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"cl_ord_id": "x" * 65}),
]


@pytest.mark.parametrize(("reason", "changes"), REFUSALS)
def test_a_refusal_names_its_reason_and_nothing_is_sent(
    tmp_path: Path, reason: RejectReason, changes: dict[str, Any]
) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        if reason is RejectReason.NOTIONAL_ABOVE_LIMIT:
            rig.ledger.accounts["alpha"].limits.max_order_notional = 50_000.0
        rig.log.clear()
        (report,) = desk.order(**changes)
        assert shown([report], 39, 150, 20001) == [("8", "8", "8", str(int(reason)))]
        assert text(report, 58).startswith(reason.name) and text(report, 103) and text(report, 20002)
        assert rig.log == [("append", "OrderRefused")]
        assert rig.monitor.rejects_by_code == {reason.name: 1}
        rig.check_holds()
        rig.check_replay()


def _halted(rig: Rig, desk: Desk) -> None:
    rig.pipeline.commit(records.AccountStateMoved("alpha", "halted", "a person"), rig.now_ns)


def _reducing(rig: Rig, desk: Desk) -> None:
    rig.pipeline.commit(records.AccountStateMoved("alpha", "reducing", "a person"), rig.now_ns)


def _closed(rig: Rig, desk: Desk) -> None:
    rig.hear(listed(BTC, is_open=False))


def _venue_gone(rig: Rig, desk: Desk) -> None:
    rig.core.market.live_venues.clear()


def _stale(rig: Rig, desk: Desk) -> None:
    rig.now_ns += 3 * SECOND


def _arrays_stale(rig: Rig, desk: Desk) -> None:
    rig.now_ns += 3 * SECOND
    rig.mark(BTC, 60_000.0)


def _no_mark(rig: Rig, desk: Desk) -> None:
    rig.core.market.marks[rig.ledger.by_symbol[BTC].index] = None


def _no_room(rig: Rig, desk: Desk) -> None:
    rig.ledger.accounts["alpha"].cl_ord_ids.capacity = 0


def _burst(rig: Rig, desk: Desk) -> None:
    account = rig.ledger.accounts["alpha"]
    while account.rate.admit(rig.now_ns):
        pass


def _many_working(rig: Rig, desk: Desk) -> None:
    for _ in range(12):
        desk.order()


def _large_position(rig: Rig, desk: Desk) -> None:
    for _ in range(2):
        desk.order(quantity=75_000)


def _not_permitted(rig: Rig, desk: Desk) -> None:
    rig.ledger.accounts["alpha"].limits.by_instrument.clear()


def _used(rig: Rig, desk: Desk) -> None:
    desk.order(cl_ord_id="again")


def _broken(rig: Rig, desk: Desk) -> None:
    rig.core.market.marks.clear()


def _poor(rig: Rig, desk: Desk) -> None:
    for currency, units in (("BTC", 2 * 10**8), ("USDC", 100_000 * 10**8)):
        rig.pipeline.commit(records.CashMoved("alpha", currency, -units, "withdrawn"), rig.now_ns)


@pytest.mark.parametrize(
    ("reason", "prepare", "changes"),
    [
        (RejectReason.ACCOUNT_HALTED, _halted, {}),
        (RejectReason.ACCOUNT_REDUCING, _reducing, {}),
        (RejectReason.INSTRUMENT_CLOSED, _closed, {}),
        (RejectReason.VENUE_NOT_READY, _venue_gone, {}),
        (RejectReason.INSTRUMENT_NOT_PERMITTED, _not_permitted, {}),
        (RejectReason.MARK_STALE, _stale, {}),
        (RejectReason.MARK_STALE, _arrays_stale, {}),
        (RejectReason.MARK_UNKNOWN, _no_mark, {}),
        (RejectReason.CL_ORD_IDS_EXHAUSTED, _no_room, {}),
        (RejectReason.DUPLICATE_CL_ORD_ID, _used, {"cl_ord_id": "again"}),
        (RejectReason.RATE_ABOVE_LIMIT, _burst, {}),
        (RejectReason.WORKING_ORDERS_ABOVE_LIMIT, _many_working, {}),
        (RejectReason.POSITION_ABOVE_LIMIT, _large_position, {}),
        (RejectReason.CHECK_ERROR, _broken, {}),
        (RejectReason.MARGIN_SHORTFALL, _poor, {}),
    ],
)
def test_states_that_refuse(tmp_path: Path, reason: RejectReason, prepare: Any, changes: dict[str, Any]) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        prepare(rig, desk)
        placed = len(rig.link.placed)
        (report,) = desk.order(**changes)
        assert text(report, 20001) == str(int(reason)), text(report, 58)
        assert len(rig.link.placed) == placed
        assert desk.fix.is_logged_on  # whatever went wrong inside a check, the session lives
        if reason is RejectReason.CHECK_ERROR:
            assert rig.monitor.alerts


def test_the_first_reason_in_order_of_precedence_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        _stale(rig, desk)
        (report,) = desk.order(symbol="DOGE", quantity="7", price="1")
        assert text(report, 20001) == str(int(RejectReason.UNKNOWN_INSTRUMENT))


def test_a_rejection_carries_its_numbers(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        _poor(rig, desk)
        (report,) = desk.order(quantity=60_000)
        code, check, limit, observed, required, age = (text(report, tag) for tag in REFUSAL_TAGS)
        assert (code, check) == ("701", "margin_is_covered") and age == ""
        assert float(required) == pytest.approx(float(limit) - float(observed), abs=0.02)
        (report,) = desk.order(price=70_000)
        assert text(report, 20007) == "0"  # the mark's age in ms
        assert float(text(report, 20004)) == 70_000.0


def test_cancels_and_reductions_pass_a_shortfall_and_a_halt(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="long", quantity=60_000)
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 60_000))
        desk.order(cl_ord_id="rest")
        rest = list(rig.ledger.orders.values())[1]
        rig.hear(accepted(rest))
        _poor(rig, desk)
        desk.pump()
        assert desk.order(side=2, quantity=10_000, price=60_000) == []  # it only reduces
        _halted(rig, desk)
        assert desk.cancel("rest") == [] and rig.link.cancelled == [rest.order_id]


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


# -- a journal that can not be written -------------------------------------------------------------------------------


def fill_up(rig: Rig, disk: SmallDisk, desk: Desk) -> None:
    """Write until the journal refuses new risk."""
    disk.is_full = True
    for _ in range(2_000):
        if any(text(m, 35) == "j" for m in desk.order(symbol="DOGE")):
            return
    raise AssertionError("the journal did not fill up")


def test_a_full_disk_refuses_new_risk_lets_cancels_pass_and_resumes(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, files=disk) as rig:
        desk = rig.desk().log_on()
        for name in ("one", "two"):
            desk.order(cl_ord_id=name)
            rig.hear(accepted(list(rig.ledger.orders.values())[-1]))
        first, second = rig.ledger.orders.values()
        desk.pump()
        fill_up(rig, disk, desk)
        (refusal,) = desk.order(cl_ord_id="new")
        assert shown([refusal], 372, 379, 380) == [("j", "D", "new", "4")]
        assert "journal unavailable" in text(refusal, 58)
        assert len(rig.link.placed) == 2 and "new" not in rig.ledger.accounts["alpha"].cl_ord_ids
        (refusal,) = desk.replace("one", price=58_000)
        assert text(refusal, 380) == "4" and first.replace is None
        (refusal,) = desk.send("H", (11, "one"), (54, 1), (55, BTC))
        assert text(refusal, 380) == "4"
        # What takes risk away, and what the venue says, is written in the reserve.
        assert desk.cancel("one", cl_ord_id="c1") == [] and rig.link.cancelled == [first.order_id]
        rig.hear(cancelled(first), filled(second, 100))
        assert shown(desk.pump(), 39) == [("8", "4"), ("8", "2")]
        assert any("journal" in alert for alert in rig.monitor.alerts)
        disk.is_full = False
        assert rig.journal.make_room()
        assert desk.order(cl_ord_id="new") == []
        rig.check_holds()
        rig.check_replay()
        assert desk.fix.next_out == rig.core.reports.sessions["ALPHA"].next_in


def test_a_flood_of_refused_orders_leaves_the_reserve_to_the_cancels(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, files=disk) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        fill_up(rig, disk, desk)
        written = rig.journal.next_sequence
        for _ in range(500):
            (refusal,) = desk.order()[-1:]
            assert text(refusal, 35) == "j"
        assert rig.journal.next_sequence == written
        desk.cancel("o", cl_ord_id="c")
        assert order.is_cancel_pending and rig.link.cancelled == [order.order_id]
        rig.check_replay()


def test_a_failed_sync_reports_nothing_as_done_and_cancels_still_go_out(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened_failing(tmp_path, disk) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.pump()
        disk.sync_fails = True
        with pytest.raises(Exception, match="sync failed"):
            rig.journal.wait_durable(rig.journal.commit(), 20.0)
        numbers = rig.journal.next_sequence
        (refusal,) = desk.order(cl_ord_id="new")
        assert shown([refusal], 372, 380) == [("j", "D", "4")]
        (refusal,) = desk.cancel("o", cl_ord_id="c")
        assert shown([refusal], 372, 380) == [("j", "F", "4")]  # not told as done: it is not written
        assert rig.link.cancelled == [order.order_id] and not order.is_cancel_pending
        desk.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == [order.order_id] * 2  # nor does the gateway's own cancel need the journal
        assert rig.journal.next_sequence == numbers and len(rig.link.placed) == 1


class opened_failing:  # noqa: N801
    """A rig on an fdatasync journal whose close may report the failure that the test made."""

    def __init__(self, directory: Path, disk: SmallDisk) -> None:
        self.rig = Rig(directory, files=disk, durability="fdatasync")

    def __enter__(self) -> Rig:
        return self.rig

    def __exit__(self, *_: object) -> None:
        with pytest.raises(Exception, match="sync failed"):
            self.rig.journal.close()


def test_the_end_of_an_unsent_order_that_can_not_be_written_is_not_told(tmp_path: Path) -> None:
    """The journal has it as approved, so it stays held; the client was not told a thing that is not written."""
    disk = SmallDisk()
    with opened(tmp_path, files=disk) as rig:
        desk = rig.desk().log_on()
        rig.link.refusal = "not live"
        journal = rig.pipeline.journal

        class Failing:
            left = 1

            def append(self, *arguments: Any) -> int:
                if not self.left:
                    from gateway.journal import JournalFull

                    raise JournalFull("the disk is full")
                self.left -= 1
                return journal.append(*arguments)

        rig.pipeline.journal = Failing()  # type: ignore[assignment]
        assert desk.order() == []
        assert rig.only_order().held is not None and rig.only_order().status is OrdStatus.PENDING_NEW
        rig.pipeline.journal = journal
        rig.executions.lost_orders(rig.now_ns)
        rig.check_replay()


def test_session_numbers_are_made_good_before_the_next_record(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, files=disk) as rig:
        desk = rig.desk().log_on()
        fill_up(rig, disk, desk)
        desk.order()
        disk.is_full = False
        assert rig.journal.make_room()
        rig.log.clear()
        desk.order(cl_ord_id="after")
        assert [name for what, name in rig.log if what == "append"] == ["SessionMoved", "OrderApproved"]
        rig.now_ns += MS
        again = rig.restart(files=disk)
        try:
            state = again.core.reports.sessions["ALPHA"]
            assert (state.next_in, state.next_out) == (desk.fix.next_out, desk.fix.next_in)
        finally:
            again.journal.close()
