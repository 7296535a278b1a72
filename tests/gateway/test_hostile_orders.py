"""Scenarios of an adversary: what could pass unchecked, lose a fill or invent one. Real parts throughout."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from protocols.venues import events
from risk.lifecycle import OrdStatus
from risk.order import RejectReason
from tests.gateway.rig import MARKS, SECOND, Rig, accepted, cancelled, filled, opened, shown, state_of

DAY = 24 * 3600 * SECOND


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_order_that_works_for_days_keeps_its_names(tmp_path: Path, is_restarted: bool) -> None:
    """GTC over two days: its ClOrdIDs name it, for a cancel and against another order that would use them."""
    rig = Rig(tmp_path)
    desk = rig.desk().log_on()
    desk.order(cl_ord_id="first")
    order = rig.only_order()
    rig.hear(accepted(order))
    desk.replace("first", cl_ord_id="second", quantity=200)
    rig.hear(events.OrderReplaced(order.order_id, order.venue_order_id, Decimal(200), Decimal(59_000)))
    desk.order(cl_ord_id="over")
    over = list(rig.ledger.orders.values())[1]
    rig.hear(accepted(over), cancelled(over))
    desk.pump()
    for _ in range(2):
        rig.now_ns += DAY + SECOND
        if is_restarted:
            rig = rig.restart()
            desk = rig.desk().log_on()
        for symbol, mark in MARKS.items():
            rig.mark(symbol, mark)
        rig.core.valuation.run(rig.now_ns)
        for name in ("first", "second"):
            told = desk.order(cl_ord_id=name)
            assert shown(told, 39, 20001) == [("8", "8", str(int(RejectReason.DUPLICATE_CL_ORD_ID)))], name
    assert desk.order(cl_ord_id="over") == []  # its order has ended, and a day has passed
    assert desk.cancel("second", cl_ord_id="stop") == []
    assert rig.link.cancelled == [order.order_id]
    rig.check_replay()
    rig.journal.close()


def test_less_than_a_lot_filled_and_then_cancelled_as_the_venue_tells_it(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order()
        order = rig.only_order()
        rig.hear(accepted(order))
        part = msgspec.structs.replace(filled(order, 0, "t1", fee=Decimal(0)), quantity=Decimal("14.5"))
        end = msgspec.structs.replace(cancelled(order), filled_quantity=Decimal("14.5"))
        rig.hear(part, end)
        assert order.status is OrdStatus.CANCELED and order.held is None, rig.queries


def test_a_list_of_open_orders_from_before_a_replace_says_nothing_of_it(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="one")
        order = rig.only_order()
        rig.hear(accepted(order))
        before = state_of(order, "open")
        desk.replace("one", cl_ord_id="two", quantity=500)
        rig.hear(events.OpenOrdersReported((before,)))
        assert order.replace is not None and order.held_alternative is not None
        assert rig.queries == [order.order_id] and desk.pump() == []
