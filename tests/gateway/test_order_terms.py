"""Stops: what is taken and refused, what is held and sent, how they trigger, how they are changed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import simplefix

from fixtures.fix_conversation import text
from gateway import records
from protocols.venues import events
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from tests.gateway.rig import (
    BTC,
    CONFIG,
    Desk,
    Rig,
    accepted,
    cancelled,
    filled,
    opened,
    order_fields,
    shown,
    state_of,
)


def stop(desk: Desk, *further: tuple[int, Any], **changes: Any) -> list[simplefix.FixMessage]:
    """A buy stop limit at 61 000, limit 61 500, with the mark at 60 000, but for the changes."""
    values = {"ord_type": 4, "price": 61_500, "stop_px": 61_000, **changes}
    stop_px = values.pop("stop_px")
    fields = order_fields(**({"cl_ord_id": desk.next_id()} | values))
    return desk.send("D", *fields, *([] if stop_px is None else [(99, stop_px)]), *further)


def replace_stop(desk: Desk, orig: str, *further: tuple[int, Any], **changes: Any) -> list[simplefix.FixMessage]:
    values = {"ord_type": 4, "price": 61_500, "tif": None, **changes}
    return desk.send("G", (41, orig), *order_fields(**({"cl_ord_id": desk.next_id()} | values)), *further)


def resting(rig: Rig, desk: Desk, *further: tuple[int, Any], **changes: Any) -> WorkingOrder:
    """A stop that the venue has at rest."""
    assert stop(desk, *further, **{"cl_ord_id": "s", **changes}) == []
    order = rig.only_order()
    rig.hear(accepted(order, "SLMB-1"))
    desk.pump()
    return order


def triggered(order: WorkingOrder) -> events.OrderTriggered:
    return events.OrderTriggered(order.order_id, "V-2", "SLMB-1")


# -- stops: in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "stop_px", "limit"), [(1, 61_000, 61_500), (2, 59_000, 58_500)])
def test_a_stop_limit_is_held_at_its_limit(tmp_path: Path, side: int, stop_px: int, limit: int) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        assert stop(desk, side=side, stop_px=stop_px, price=limit, quantity=10) == []
        ((_, approved),) = rig.link.placed
        assert approved.order.ticks == limit * 2 and approved.order.terms is not None
        assert (approved.order.terms.stop_ticks, approved.order.terms.trigger) == (stop_px * 2, "mark_price")
        order = rig.only_order()
        assert order.held == (1, limit * 2)
        rig.hear(accepted(order, "SLMB-1"))
        (report,) = desk.pump()
        assert shown([report], 150, 39, 40, 44, 99) == [("8", "0", "0", "4", f"{limit}.0", f"{stop_px}.0")]
        assert isinstance(rig.of_type(records.OrderApproved)[0], records.OrderApprovedWithTerms)
        rig.check_holds()
        rig.check_replay()


@pytest.mark.parametrize(("side", "stop_px", "protection"), [(1, 61_000, 64_050), (2, 59_000, 56_050)])
def test_a_stop_without_limit_is_held_at_the_collar_around_its_price(
    tmp_path: Path, side: int, stop_px: int, protection: int
) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        assert stop(desk, side=side, ord_type=3, stop_px=stop_px, price=None, quantity=10) == []
        ((_, approved),) = rig.link.placed
        assert approved.order.ticks == protection * 2
        assert rig.only_order().held == (1, protection * 2)
        rig.check_replay()


def test_a_stop_far_away_may_have_a_limit_near_itself_and_no_other(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        assert stop(desk, stop_px=80_000, price=81_000, quantity=10) == []
        (refusal,) = stop(desk, stop_px=80_000, price=90_000, quantity=10)
        assert text(refusal, 20001) == "501"


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"stop_px": None}, 302, "StopPx(99)"),
    ({"stop_px": "61000.3"}, 302, "StopPx(99)"),
    ({"stop_px": 0}, 302, "StopPx(99)"),
    ({"stop_px": 60_000}, 804, "not above the mark price"),
    ({"stop_px": 59_000}, 804, "not above the mark price"),
    ({"side": 2, "stop_px": 60_000}, 804, "not below the mark price"),
    ({"price": None}, 302, "Price(44)"),
    ({"tif": 3}, 801, "day, GTC or GTD"),
    ({"tif": 4}, 801, "day, GTC or GTD"),
    ({"ord_type": 3, "exec_inst": "6"}, 801, "post-only"),
    ({"symbol": "DOGE"}, 201, "DOGE"),
    ({"account": "beta"}, 101, "beta"),
]


@pytest.mark.parametrize(("changes", "code", "words"), REFUSED)
def test_stops_that_are_refused(tmp_path: Path, changes: dict[str, Any], code: int, words: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        (refusal,) = stop(desk, **changes)
        assert shown([refusal], 150, 39, 20001) == [("8", "8", "8", str(code))]
        assert words in text(refusal, 58)
        assert rig.link.placed == []
        rig.check_replay()


def test_a_venue_without_stops_is_named(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        rig.core.market.stop_triggers.clear()
        (refusal,) = stop(rig.desk().log_on())
        assert text(refusal, 20001) == "801" and "venue deribit has no stop orders" in text(refusal, 58)


def test_the_trigger_is_configuration(tmp_path: Path) -> None:
    config = CONFIG.replace('kind = "deribit"', 'kind = "deribit"\nstop_trigger = "last_price"')
    with opened(tmp_path, config=config) as rig:
        # Whether the last price is there already is the venue's to say: we do not see it.
        assert stop(rig.desk().log_on(), stop_px=59_000, price=60_000) == []
        terms = rig.link.placed[0][1].order.terms
        assert terms is not None and terms.trigger == "last_price"


# -- stops: triggered --------------------------------------------------------------------------------------------------


def test_a_trigger_is_told_and_the_new_id_is_used(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        rig.hear(triggered(order))
        (report,) = desk.pump()
        assert shown([report], 150, 39, 378, 99) == [("8", "D", "0", "99", "61000.0")]
        assert (order.venue_order_id, order.is_triggered) == ("V-2", True)
        rig.hear(triggered(order), triggered(order))  # told again
        assert desk.pump() == []
        rig.hear(filled(order, 100))
        assert shown(desk.pump(), 150, 39) == [("8", "F", "2")]
        rig.check_holds()
        rig.check_replay()


def test_a_trigger_before_the_acknowledgement_is_one(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        stop(desk)
        order = rig.only_order()
        rig.hear(triggered(order), accepted(order, "SLMB-1"))
        assert shown(desk.pump(), 150) == [("8", "0"), ("8", "D")]
        assert order.venue_order_id == "V-2"
        rig.check_replay()


def test_a_trigger_found_by_asking(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        rig.hear(events.OrderStateReported(state_of(order, "triggered", venue_order_id="SLMB-1")))
        assert rig.queries == [order.order_id]  # what it became is not told yet
        rig.hear(events.OpenOrdersReported((state_of(order, "open", venue_order_id="V-2"),)))
        assert order.venue_order_id == "V-2" and order.is_triggered
        rig.hear(events.OrderStateReported(state_of(order, "untriggered", venue_order_id="SLMB-1")))  # older
        assert order.venue_order_id == "V-2" and rig.queries == [order.order_id] * 2
        assert shown(desk.pump(), 150) == [("8", "D")]
        rig.check_replay()


def test_a_cancel_that_meets_the_trigger_goes_on_to_what_it_became(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        desk.cancel("s", cl_ord_id="c")
        gone = events.CancelRejected(order.order_id, 11044, "not_open_order", True, "SLMB-1")
        rig.hear(gone)
        assert desk.pump() == [] and rig.queries == [order.order_id]
        rig.hear(triggered(order), gone)
        assert rig.link.cancelled == [order.order_id] * 2
        assert shown(desk.pump(), 150) == [("8", "D")]
        rig.hear(cancelled(order))
        assert shown(desk.pump(), 11, 41, 150) == [("8", "c", "s", "4")]
        rig.check_holds()
        rig.check_replay()


def test_what_triggers_after_its_end_is_cancelled_there(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        rig.hear(cancelled(order))
        rig.hear(triggered(order))
        assert rig.link.cancelled == [order.order_id] and order.venue_order_id == "SLMB-1"
        assert not rig.of_type(records.OrderTriggered)
        still_open = events.OpenOrdersReported((state_of(order, "open", venue_order_id="V-2", quantity=Decimal(100)),))
        rig.hear(still_open)
        assert rig.monitor.breaks == 0 and rig.queries[-1] == order.order_id  # it may have been written before the end
        rig.hear(still_open)
        assert rig.monitor.breaks == 1 and rig.link.cancelled == [order.order_id] * 2


def test_a_stop_that_the_venue_rejects_when_it_triggers_is_cancelled(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        rig.hear(cancelled(order, reason="not_enough_funds"))
        assert shown(desk.pump(), 150, 39, 58) == [("8", "4", "4", "not_enough_funds")]
        assert order.status is OrdStatus.CANCELED and order.held is None


# -- stops: replaced ---------------------------------------------------------------------------------------------------


def replaced(order: WorkingOrder, quantity: int, price: int, stop_px: int | None) -> events.OrderReplaced:
    told = None if stop_px is None else Decimal(stop_px)
    return events.OrderReplaced(order.order_id, order.venue_order_id, Decimal(quantity), Decimal(price), told)


def test_a_replace_of_the_stop_price_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        assert replace_stop(desk, "s", (99, 62_000), cl_ord_id="r", price=62_500) == []
        assert order.replace is not None and order.replace.terms is not None
        assert order.replace.terms.stop_ticks == 124_000
        # An answer that tells the old stop price is the old order.
        rig.hear(events.OrderStateReported(state_of(order, "untriggered", trigger_price=Decimal(61_000))))
        assert order.replace is None
        assert shown(desk.pump(), 11, 434) == [("9", "r", "2")]
        assert replace_stop(desk, "s", (99, 61_200), cl_ord_id="r2") == []
        rig.hear(replaced(order, 100, 61_500, 61_200))
        (report,) = desk.pump()
        assert shown([report], 11, 150, 99) == [("8", "r2", "5", "61200.0")]
        rig.check_holds()
        rig.check_replay()


@pytest.mark.parametrize(
    ("further", "changes", "words"),
    [
        ([(99, 59_000)], {}, "not above the mark price"),
        ([(99, "61000.3")], {}, "StopPx(99)"),
        ([], {"ord_type": 2}, "limit order"),
        ([], {"ord_type": 3, "price": None}, "can not be replaced"),
        ([], {"tif": 0}, "can not be replaced"),
        ([], {"exec_inst": "6"}, "can not be replaced"),
    ],
)
def test_replaces_of_a_stop_that_are_refused(
    tmp_path: Path, further: list[tuple[int, Any]], changes: dict[str, Any], words: str
) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        (refusal,) = replace_stop(desk, "s", *further, **changes)
        assert text(refusal, 35) == "9" and words in text(refusal, 58)
        assert order.replace is None and rig.link.replaced == []


def test_a_triggered_stop_keeps_its_stop_price(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        rig.hear(triggered(order))
        desk.pump()
        (refusal,) = replace_stop(desk, "s", (99, 62_000))
        assert "has triggered" in text(refusal, 58)
        assert replace_stop(desk, "s", (99, 61_000), quantity=200, cl_ord_id="r") == []
        rig.hear(replaced(order, 200, 61_500, None))
        assert shown(desk.pump(), 150, 38) == [("8", "5", "200")]


def test_a_triggered_stop_without_limit_keeps_its_protection(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk, ord_type=3, price=None)
        rig.hear(triggered(order))
        rig.mark(BTC, 61_000.0)
        desk.pump()
        assert replace_stop(desk, "s", ord_type=3, price=None, quantity=200, cl_ord_id="r") == []
        assert order.replace is not None and order.replace.ticks == order.ticks == 64_050 * 2


# -- changed at the venue ----------------------------------------------------------------------------------------------


def test_an_order_changed_at_the_venue_is_held_as_it_is_there_and_is_a_break(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.pump()
        rig.hear(replaced(order, 50, 59_500, None))
        (report,) = desk.pump()
        assert shown([report], 150, 378, 38, 44, 151) == [("8", "D", "8", "50", "59500.0", "50")]
        assert order.held == (5, 119_000) and rig.monitor.breaks == 1
        rig.hear(replaced(order, 50, 59_500, None))
        assert desk.pump() == [] and rig.monitor.breaks == 1
        rig.hear(filled(order, 30))
        rig.hear(replaced(order, 30, 59_500, None))  # nothing is left of it
        assert shown(desk.pump(), 150, 39) == [("8", "F", "1"), ("8", "D", "2")]
        rig.check_holds()
        rig.check_replay()


def test_a_stop_changed_at_the_venue(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        order = resting(rig, desk)
        rig.hear(replaced(order, 100, 61_500, 61_000))
        assert desk.pump() == []
        rig.hear(replaced(order, 100, 62_000, 61_800))
        assert shown(desk.pump(), 150, 44, 99) == [("8", "D", "62000.0", "61800.0")]
        rig.check_replay()
