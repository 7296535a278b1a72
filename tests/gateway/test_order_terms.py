"""Stops and orders with an end: what is taken and refused, what is held and sent, how they trigger and expire."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import simplefix
from hypothesis import given
from hypothesis import strategies as st

from fixtures.fix_conversation import text
from gateway import records
from gateway.order_terms import Expiries
from protocols.fix.codec import format_timestamp
from protocols.venues import events
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from tests.gateway.rig import (
    BTC,
    CONFIG,
    SECOND,
    START_NS,
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

DAY = 86_400 * SECOND


def moment(after_ns: int) -> str:
    return format_timestamp(START_NS + after_ns).decode()


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
        rig.hear(events.OpenOrdersReported((state_of(order, "open", venue_order_id="V-2", quantity=Decimal(100)),)))
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


# -- an end: GTD -------------------------------------------------------------------------------------------------------


def test_a_gtd_order_expires(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        assert desk.send("D", *_gtd("o", (126, moment(10 * SECOND)))) == []
        order = rig.only_order()
        rig.hear(accepted(order))
        (report,) = desk.pump()
        assert shown([report], 59, 126) == [("8", "6", moment(10 * SECOND))]
        assert rig.core.deadline_ns == START_NS + 10 * SECOND
        rig.core.tick(START_NS + 10 * SECOND - 1)
        assert rig.link.cancelled == []
        rig.core.tick(START_NS + 10 * SECOND)
        assert rig.link.cancelled == [order.order_id] and order.is_cancel_pending
        (refusal,) = desk.cancel("o")
        assert text(refusal, 102) == "3"
        rig.hear(cancelled(order))
        (report,) = desk.pump()
        assert shown([report], 150, 39, 11, 151) == [("8", "C", "C", "o", "0")]
        rig.core.tick(START_NS + 20 * SECOND)
        assert rig.core.deadline_ns is None and len(rig.link.cancelled) == 1
        rig.check_holds()
        rig.check_replay()


def _gtd(cl_ord_id: str, *ends: tuple[int, Any], **changes: Any) -> list[tuple[int, Any]]:
    return [*order_fields(cl_ord_id, **{"tif": 6, **changes}), *ends]


@pytest.mark.parametrize("late", [0, 100])
def test_a_fill_may_come_before_the_end_or_after(tmp_path: Path, late: int) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.send("D", *_gtd("o", (126, moment(SECOND))))
        order = rig.only_order()
        rig.hear(accepted(order))
        rig.core.tick(START_NS + SECOND)
        desk.pump()
        if late:
            rig.hear(cancelled(order), filled(order, 100))
            assert shown(desk.pump(), 150, 39) == [("8", "C", "C"), ("8", "F", "2")]
        else:
            rig.hear(filled(order, 100))
            assert shown(desk.pump(), 150, 39) == [("8", "F", "2")]
        rig.check_replay()


def test_expiry_date_is_the_end_of_its_utc_day(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        day = moment(0)[:8]
        assert desk.send("D", *_gtd("o", (432, day))) == []
        midnight = START_NS // DAY * DAY + DAY
        assert rig.core.deadline_ns == midnight


@pytest.mark.parametrize(
    ("ends", "code", "words"),
    [
        ([], 801, "ExpireTime(126) or ExpireDate(432)"),
        ([(126, moment(SECOND)), (432, moment(DAY)[:8])], 801, "either"),
        ([(126, moment(0))], 803, "ExpireTime(126) is past"),
        ([(126, moment(-SECOND))], 803, "ExpireTime(126) is past"),
        ([(432, moment(-DAY)[:8])], 803, "ExpireDate(432) is past"),
        ([(432, "20250231")], 801, "no day of the calendar"),
    ],
)
def test_ends_that_are_refused(tmp_path: Path, ends: list[tuple[int, Any]], code: int, words: str) -> None:
    with opened(tmp_path) as rig:
        (refusal,) = rig.desk().log_on().send("D", *_gtd("o", *ends))
        assert text(refusal, 20001) == str(code) and words in text(refusal, 58)


def test_an_end_survives_a_restart_and_a_lost_cancel(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.send("D", *_gtd("o", (126, moment(10 * SECOND))))
        rig.hear(accepted(rig.only_order()))
        again = rig.restart(now_ns=START_NS + 5 * SECOND)
        assert again.core.deadline_ns == START_NS + 10 * SECOND
        again.core.tick(START_NS + 12 * SECOND)
        order = again.only_order()
        assert again.link.cancelled == [order.order_id]
        third = again.restart(now_ns=START_NS + 13 * SECOND)
        order = third.only_order()
        assert order.is_cancel_pending and order.is_expiring
        third.core.tick(START_NS + 13 * SECOND)
        assert third.link.cancelled == []  # it is on its way: reconciliation sends it again
        third.hear(events.OpenOrdersReported((state_of(order, "open"),)))
        assert third.link.cancelled == [order.order_id]
        third.hear(cancelled(order))
        assert order.status is OrdStatus.EXPIRED
        third.check_replay()
        third.journal.close()


def test_a_refused_cancel_of_the_client_does_not_save_it(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.send("D", *_gtd("o", (126, moment(10 * SECOND))))
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.cancel("o", cl_ord_id="c")
        rig.core.tick(START_NS + 10 * SECOND)
        assert rig.link.cancelled == [order.order_id] and not order.is_expiring
        rig.hear(events.CancelRejected(order.order_id, 10019, "locked_by_admin", True, order.venue_order_id))
        rig.core.tick(START_NS + 11 * SECOND)
        assert rig.link.cancelled == [order.order_id] * 2 and order.is_expiring


def test_a_replace_may_move_the_end(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.send("D", *_gtd("o", (126, moment(10 * SECOND))))
        order = rig.only_order()
        rig.hear(accepted(order))
        assert desk.send("G", (41, "o"), *_gtd("r", (126, moment(60 * SECOND)))) == [] or desk.pump() == []
        rig.hear(replaced(order, 100, 59_000, None))
        assert order.terms is not None and order.terms.expire_ns == START_NS + 60 * SECOND
        rig.core.tick(START_NS + 10 * SECOND)
        assert rig.link.cancelled == [] and rig.core.deadline_ns == START_NS + 60 * SECOND
        # One that does not speak of it keeps it.
        desk.replace("r", price=58_000, tif=None, cl_ord_id="r2")
        rig.hear(replaced(order, 100, 58_000, None))
        assert order.terms.expire_ns == START_NS + 60 * SECOND
        rig.check_replay()


def test_a_market_order_has_no_end(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        assert desk.send("D", *_gtd("o", (126, moment(SECOND)), ord_type=1, price=None)) == []
        assert rig.only_order().time_in_force == 3


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60), st.lists(st.integers(0, 60), max_size=10))
def test_every_end_is_taken_once_and_in_time(entries: list[tuple[int, bool]], times: list[int]) -> None:
    orders: dict[str, Any] = {}
    expiries = Expiries(orders)

    class Ended:
        def __init__(self, name: str, is_working: bool) -> None:
            self.name, self.is_working = name, is_working

    for number, (due, is_working) in enumerate(entries):
        orders[str(number)] = Ended(str(number), is_working)
        expiries.add(due, str(number))
    taken: list[str] = []
    for now in sorted(times):
        due = [order.name for order in expiries.take_due(now)]  # type: ignore[attr-defined]
        assert all(entries[int(name)][0] <= now for name in due)
        taken += due
        assert expiries.deadline_ns is None or expiries.deadline_ns > now
    latest = max(times, default=-1)
    assert sorted(map(int, taken)) == [n for n, (due, works) in enumerate(entries) if works and due <= latest]


def test_ends_of_ended_orders_do_not_pile_up() -> None:
    orders: dict[str, Any] = {}
    expiries = Expiries(orders)
    for number in range(10_000):
        expiries.add(number, str(number))  # an order that is forgotten
    assert len(expiries) <= 1_025
