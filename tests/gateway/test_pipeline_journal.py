"""A journal that can not be written: no new risk, cancels pass, nothing is told as done, numbers are made good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.fix_conversation import text
from gateway.journal import JournalFailed, JournalFull
from risk.lifecycle import OrdStatus
from tests.gateway.rig import BTC, MS, Desk, Rig, SmallDisk, accepted, cancelled, filled, opened, shown

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
        for _ in range(10):  # numbers are shorter than orders: a few fit into what is left before the reserve
            desk.order()
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
        with pytest.raises(JournalFailed, match="sync failed"):
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
        with pytest.raises(JournalFailed, match="sync failed"):
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
