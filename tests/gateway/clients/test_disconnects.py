"""Fault 19: a client vanishes with live orders. Cancelled after its grace, confirmed, or an alert; restarts too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import records
from gateway.clients.disconnects import CONFIRM_WITHIN_NS, IDS_SHOWN
from protocols.venues.events import CancelRejected
from tests.gateway.rig import (
    CONFIG,
    MS,
    SECOND,
    Desk,
    Rig,
    SmallDisk,
    accepted,
    cancelled,
    filled,
    full_journal,
    opened,
    shown,
)

GRACE_MS = 2_000
WITH_GRACE = CONFIG.replace(
    'accounts = ["alpha"]', f'accounts = ["alpha"]\ncancel_on_disconnect_grace_ms = {GRACE_MS}', 1
)


@contextmanager
def working(
    directory: Path, orders: int = 2, *, config: str = WITH_GRACE, files: SmallDisk | None = None
) -> Iterator[tuple[Rig, Desk]]:
    with opened(directory, config=config, files=files) as rig:
        desk = rig.desk().log_on()
        for number in range(orders):
            desk.order(cl_ord_id=f"o{number}")
        rig.hear(*(accepted(order) for order in list(rig.ledger.orders.values())))
        desk.pump()
        yield rig, desk


def tick(rig: Rig, ns: int = 0) -> None:
    rig.now_ns += ns
    rig.core.controls.tick(rig.now_ns)
    rig.flush()


def ids(rig: Rig) -> list[str]:
    return list(rig.ledger.orders)


def back(rig: Rig, desk: Desk) -> Desk:
    """The client on a new connection, with its numbers."""
    desk.fix.is_logged_on = False
    again = rig.desk("ALPHA", conversation=desk.fix)
    return again.log_on(resets=False)


def test_without_grace_orders_are_cancelled_at_once(tmp_path: Path) -> None:
    with working(tmp_path, config=CONFIG) as (rig, desk):
        desk.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == ids(rig)
        assert rig.of_type(records.SessionEnded, records.GraceEnded) == []


def test_a_client_that_is_back_in_time_keeps_its_orders(tmp_path: Path) -> None:
    with working(tmp_path) as (rig, desk):
        desk.link.disconnected(rig.now_ns)
        ended_ns = rig.now_ns
        assert rig.of_type(records.SessionEnded) == [records.SessionEnded("ALPHA", ended_ns + GRACE_MS * MS)]
        assert rig.core.controls.deadline_ns == ended_ns + GRACE_MS * MS
        tick(rig, GRACE_MS * MS - 1)
        back(rig, desk)
        tick(rig, 10 * SECOND)
        assert rig.link.cancelled == [] and rig.core.controls.deadline_ns is None
        assert rig.of_type(records.GraceEnded) == [records.GraceEnded("ALPHA", True, 0)]
        rig.check_replay()


def test_a_client_that_is_not_back_is_cancelled_for_and_the_cancels_confirmed(tmp_path: Path) -> None:
    with working(tmp_path, 3) as (rig, desk):
        desk.link.disconnected(rig.now_ns)
        tick(rig, GRACE_MS * MS)
        assert rig.link.cancelled == ids(rig) and rig.core.controls.watch.unconfirmed == 3
        first, second, third = rig.ledger.orders.values()
        rig.hear(cancelled(first), cancelled(second), filled(third, 100))
        tick(rig, MS)
        watch = rig.core.controls.watch
        assert (watch.asked, watch.confirmed, watch.unconfirmed) == (3, 3, 0)
        tick(rig, CONFIRM_WITHIN_NS)
        assert rig.monitor.alerts == []
        assert rig.of_type(records.GraceEnded) == [records.GraceEnded("ALPHA", False, 3)]
        again = back(rig, desk)
        assert shown(again.pump(), 39) == []  # told at its Logon already
        rig.check_replay()


def test_too_late_is_too_late_whoever_looked_first(tmp_path: Path) -> None:
    with working(tmp_path) as (rig, desk):
        desk.link.disconnected(rig.now_ns)
        rig.now_ns += GRACE_MS * MS  # no tick has come
        back(rig, desk)
        assert rig.link.cancelled == ids(rig)
        assert rig.of_type(records.GraceEnded) == [records.GraceEnded("ALPHA", False, 2)]


def test_an_order_that_is_not_confirmed_is_told_of_once_within_five_seconds(tmp_path: Path) -> None:
    with working(tmp_path, IDS_SHOWN + 2) as (rig, desk):
        desk.link.disconnected(rig.now_ns)
        tick(rig, GRACE_MS * MS)
        orders = list(rig.ledger.orders.values())
        rig.hear(cancelled(orders[0]))
        tick(rig, CONFIRM_WITHIN_NS - 1)
        assert rig.monitor.alerts == []
        tick(rig, 1)
        (alert,) = rig.monitor.alerts
        assert alert.startswith(f"fix: ALPHA is gone: {IDS_SHOWN + 1} orders not confirmed as cancelled in 4 s: ")
        assert orders[1].order_id in alert and orders[-1].order_id not in alert
        tick(rig, 100 * SECOND)
        assert len(rig.monitor.alerts) == 1
        rig.hear(*(cancelled(order) for order in orders[1:]))
        tick(rig)
        assert rig.core.controls.watch.confirmed == len(orders) and rig.core.controls.watch.unconfirmed == 0


def test_an_order_whose_clients_own_cancel_the_venue_refused_is_cancelled_again(tmp_path: Path) -> None:
    with working(tmp_path, 1) as (rig, desk):
        desk.cancel("o0")
        order = rig.only_order()
        desk.link.disconnected(rig.now_ns)
        tick(rig, GRACE_MS * MS)
        assert rig.link.cancelled == [order.order_id]  # the client's own
        rig.hear(CancelRejected(order.order_id, 1, "not now", True))
        assert not order.is_cancel_pending
        tick(rig, CONFIRM_WITHIN_NS)
        assert rig.link.cancelled == [order.order_id] * 2


@pytest.mark.parametrize("away_ms", [0, GRACE_MS - 1, GRACE_MS, 10 * GRACE_MS])
def test_the_time_survives_a_restart(tmp_path: Path, away_ms: int) -> None:
    """From when the client was lost, where the journal says when; a restart prolongs nothing."""
    with working(tmp_path) as (rig, desk):
        desk.link.disconnected(rig.now_ns)
        ended_ns = rig.now_ns
        again = rig.restart(now_ns=ended_ns + away_ms * MS)
        again.core.controls.start(again.now_ns)
        is_over = away_ms >= GRACE_MS
        assert again.link.cancelled == (ids(again) if is_over else [])
        if not is_over:
            assert again.core.controls.deadline_ns == ended_ns + GRACE_MS * MS
            again.now_ns = ended_ns
            tick(again, GRACE_MS * MS)
            assert again.link.cancelled == ids(again)
        assert len(again.of_type(records.SessionEnded)) == 1
        again.check_replay()
        again.journal.close()


@pytest.mark.parametrize("config", [CONFIG, WITH_GRACE])
def test_a_restart_takes_everybody_for_disconnected(tmp_path: Path, config: str) -> None:
    with working(tmp_path, config=config) as (rig, _):
        again = rig.restart()
        again.core.controls.start(again.now_ns)
        if config == WITH_GRACE:
            assert again.link.cancelled == []
            tick(again, GRACE_MS * MS)
        assert again.link.cancelled == ids(again)
        again.check_replay()
        again.journal.close()


def test_a_session_without_cancel_on_disconnect_keeps_its_orders_for_good(tmp_path: Path) -> None:
    with opened(tmp_path, config=WITH_GRACE) as rig:
        rig.desk("BETA").log_on().order(account="beta")
        again = rig.restart()
        again.core.controls.start(again.now_ns)
        tick(again, 100 * SECOND)
        assert again.link.cancelled == [] and again.core.controls.deadline_ns is None
        again.journal.close()


def test_a_second_loss_within_the_grace_of_the_first_prolongs_nothing(tmp_path: Path) -> None:
    with working(tmp_path) as (rig, desk):
        desk.link.disconnected(rig.now_ns)
        tick(rig, 1_500 * MS)
        rig.core.controls.session_ended("ALPHA", True, rig.now_ns)
        tick(rig, 500 * MS)
        assert rig.link.cancelled == ids(rig)


def test_without_orders_there_is_nothing_to_write(tmp_path: Path) -> None:
    with opened(tmp_path, config=WITH_GRACE) as rig:
        rig.desk().log_on().link.disconnected(rig.now_ns)
        assert rig.of_type(records.SessionEnded) == []


def test_a_grace_that_can_not_be_written_is_none(tmp_path: Path) -> None:
    """It would not survive us: then the orders go at once, and the cancels need no journal."""
    disk = SmallDisk()
    with working(tmp_path, files=disk) as (rig, desk), full_journal(rig):
        desk.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == ids(rig)
        assert any("journal" in alert for alert in rig.monitor.alerts)
