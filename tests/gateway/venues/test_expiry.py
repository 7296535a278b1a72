"""Orders with an end (GTD): when it is, what it does, and what a restart and a lost cancel make of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.fix_conversation import text
from gateway.order_terms import Expiries, day_end_ns
from protocols.fix.codec import format_timestamp
from protocols.venues import events
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from tests.gateway.rig import SECOND, START_NS, accepted, cancelled, filled, opened, order_fields, shown, state_of

DAY = 86_400 * SECOND


def moment(after_ns: int) -> str:
    return format_timestamp(START_NS + after_ns).decode()


def replaced(order: WorkingOrder, quantity: int, price: int) -> events.OrderReplaced:
    return events.OrderReplaced(order.order_id, order.venue_order_id, Decimal(quantity), Decimal(price))


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


@given(now_ns=st.integers(0, 1 << 61), end_s=st.integers(0, 86_399))
def test_a_day_ends_at_its_time_within_a_day(now_ns: int, end_s: int) -> None:
    end_ns = day_end_ns(end_s, now_ns)
    assert now_ns < end_ns <= now_ns + DAY and end_ns % DAY == end_s * SECOND
    assert day_end_ns(None, now_ns) == 0


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
        rig.hear(replaced(order, 100, 59_000))
        assert order.terms is not None and order.terms.expire_ns == START_NS + 60 * SECOND
        rig.core.tick(START_NS + 10 * SECOND)
        assert rig.link.cancelled == [] and rig.core.deadline_ns == START_NS + 60 * SECOND
        # One that does not speak of it keeps it.
        desk.replace("r", price=58_000, tif=None, cl_ord_id="r2")
        rig.hear(replaced(order, 100, 58_000))
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
