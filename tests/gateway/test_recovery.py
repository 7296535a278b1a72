"""State from a journal, and what a start makes of it: orders, numbers and reports go on where they stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import records
from gateway.journal import Journal, Record
from gateway.ledger import Ledger
from gateway.recovery import UnreadableRecordError, replay
from protocols.venues import events
from risk.account import AccountState
from risk.lifecycle import OrdStatus
from risk.order import RejectReason
from tests.gateway.rig import CONFIG, SECOND, START_NS, Rig, accepted, cancelled, filled, opened, shown
from tests.gateway.test_executions import lots, ordered


def test_a_restart_goes_on_with_orders_numbers_and_ids(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(filled(order, 40))
        desk.order(cl_ord_id="sent")
        state_hash = rig.core.state_hash()
        records_before = rig.journal.next_sequence - 1
        again = rig.restart(now_ns=rig.now_ns + SECOND)
    try:
        assert again.core.recovered_records == records_before
        old, sent = again.ledger.orders.values()
        assert (old.cum_lots, old.held, old.status) == (4, (6, 118_000), OrdStatus.PARTIALLY_FILLED)
        assert sent.status is OrdStatus.PENDING_NEW and sent.held is not None
        assert lots(again) == 4
        again.executions.lost_orders(again.now_ns)
        assert sent.status is OrdStatus.UNKNOWN and old.status is OrdStatus.PARTIALLY_FILLED
        back = again.desk(conversation=desk.fix)
        back.fix.send("A", [(98, "0"), (108, "30")], again.now_ns)
        told = back.pump()
        assert shown(told, 43, 39) == []  # it had everything before
        (report,) = back.order(cl_ord_id="sent")
        assert report.get(20001) == b"401"
        again.hear(accepted(sent))
        assert shown(back.pump(), 11, 39) == [("8", "sent", "0")]
        again.check_holds()
        again.check_replay()
        assert again.core.state_hash() != state_hash
    finally:
        again.journal.close()


@pytest.mark.parametrize("works", [True, False])
def test_a_cl_ord_id_is_free_again_after_a_day_where_its_order_has_ended(tmp_path: Path, works: bool) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        if not works:
            rig.hear(cancelled(order))
            desk.pump()
        again = rig.restart(now_ns=rig.now_ns + 24 * 3600 * SECOND + 1)
    try:
        again.core.valuation.run(again.now_ns)
        back = again.desk(conversation=desk.fix)
        back.fix.send("A", [(98, "0"), (108, "30")], again.now_ns)
        refusals = [report.get(20001) for report in back.order(cl_ord_id="o")[-1:]]
        assert refusals == ([b"401"] if works else [])
    finally:
        again.journal.close()


def test_deposits_are_made_once(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        again = rig.restart()
    try:
        assert again.ledger.accounts["alpha"].cash_units == {"BTC": 2 * 10**8, "USDC": 100_000 * 10**8}
        assert len(again.of_type(records.CashMoved)) == 4 and len(again.of_type(records.GatewayStarted)) == 2
    finally:
        again.journal.close()


def test_a_first_start_that_died_half_way_makes_each_deposit_once(tmp_path: Path) -> None:
    with opened(tmp_path / "whole", marks={}) as rig:
        first_start = rig.entries()
        wanted = {name: dict(account.cash_units) for name, account in rig.ledger.accounts.items()}
    for length in range(len(first_start)):
        directory = tmp_path / str(length)
        journal = Journal.open(directory, segment_bytes=1 << 16)
        for record in first_start[:length]:
            journal.append(record.record_type, record.payload, record.time_ns)
        journal.close()
        with opened(directory, marks={}) as rig:
            assert {name: account.cash_units for name, account in rig.ledger.accounts.items()} == wanted, length
            rig.check_replay()


@pytest.mark.parametrize(
    ("known", "configured", "wanted"),
    [("trading", "trading", "trading"), ("trading", "reducing", "reducing"), ("trading", "halted", "halted"),
     ("reducing", "trading", "reducing"), ("reducing", "halted", "halted"), ("halted", "reducing", "halted"),
     ("halted", "trading", "halted")],
)  # fmt: skip
def test_a_restart_may_tighten_an_account_and_never_loosens_it(
    tmp_path: Path, known: str, configured: str, wanted: str
) -> None:
    with opened(tmp_path) as rig:
        rig.pipeline.commit(records.AccountStateMoved("alpha", known, "a person"), rig.now_ns)
        config = CONFIG.replace('name = "alpha"\n', f'name = "alpha"\nstate = "{configured}"\n')
        again = rig.restart(config=config)
    try:
        assert again.ledger.accounts["alpha"].state is AccountState(wanted)
    finally:
        again.journal.close()


def test_what_the_configuration_drops_stays_in_the_book_and_trades_no_more(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 40))
        head, _, rest = CONFIG.partition('[[fix.session]]\ntarget_comp_id = "ALPHA"\naccounts = ["alpha"]\n')
        alpha, _, tail = rest.partition('[[account]]\nname = "alpha"')
        config = head + alpha + tail[tail.index("[[account]]") :]
        assert "alpha" not in config
        again = rig.restart(config=config)
    try:
        assert lots(again) == 4 and "ALPHA" in again.core.reports.sessions
        assert not again.ledger.accounts["alpha"].limits.by_instrument
        from gateway.fix_server import FixServer
        from protocols.fix.session import Limits

        server = FixServer(
            again.pipeline, max_connections=1, max_write_buffer_bytes=1, limits=Limits(),
            cancels_on_disconnect=lambda name: True,
        )  # fmt: skip
        assert {key.target_comp_id for key in server.states} == {"BETA"}
        again.check_replay()
    finally:
        again.journal.close()


def test_an_order_at_a_venue_that_the_configuration_dropped_can_be_asked_to_cancel(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.core.router._links.clear()
        assert desk.cancel("o") == [] and order.is_cancel_pending
        assert desk.replace("o")[0].get(102) == b"3"
        rig.core.market.live_venues.clear()
        (report,) = desk.order()
        assert report.get(20001) == str(int(RejectReason.VENUE_NOT_READY)).encode()


def test_a_replace_to_a_venue_that_the_configuration_dropped_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.core.router._links.clear()
        (reject,) = desk.replace("o")
        assert reject.get(434) == b"2" and order.replace is None and b"not configured" in reject.get(58)


def entry(sequence: int, record: Any, payload: bytes | None = None) -> Record:
    return Record(sequence, records.TAGS[type(record)], START_NS, payload or records.encode(record), 1)


@pytest.mark.parametrize(
    "bad",
    [entry(2, records.OrderLost("nobody")), entry(2, records.OrderLost("x"), b"\x92\x63\x01"),
     entry(2, records.SessionMoved("nobody", 1, 1)), entry(2, records.Replaced("nobody", "x"))],
)  # fmt: skip
def test_a_record_that_can_not_be_applied_says_where(bad: Record) -> None:
    journal = [entry(1, records.GatewayStarted("v", "r")), bad]
    with pytest.raises(UnreadableRecordError, match=f"record 2 of type {bad.record_type} can not be applied"):
        replay(journal)


def test_an_empty_journal_is_an_empty_book() -> None:
    recovered = replay([])
    assert recovered.records == 0 and recovered.time_ns == 0
    assert recovered.state_hash() == Ledger().state_hash()


def test_a_fill_that_came_while_we_were_dead_is_found_and_counted_once(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 40, "t1"))
        again: Rig = rig.restart()
    try:
        order = again.only_order()
        backfill = [filled(order, 40, "t1", is_backfill=True), filled(order, 60, "t2", is_backfill=True)]
        again.hear(*backfill, *backfill, events.OpenOrdersReported(()), events.ReconcileFinished())
        assert lots(again) == 10 and order.held is None
        assert len(again.of_type(records.Filled)) == 2
    finally:
        again.journal.close()
