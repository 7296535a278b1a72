"""What a venue does to an order of itself: a stop triggers, an order is changed there and not by us."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import records
from protocols.venues import events
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus

if TYPE_CHECKING:
    from gateway.executions import Executions
    from gateway.reports import Reports

# ExecRestatementReason(378): the venue changed the order; other, of a stop that was triggered.
MARKET_OPTION, TRIGGERED = 8, 99


def has_become_another(order: WorkingOrder, state: events.OrderState) -> bool:
    """Whether a state that the venue tells of a stop is of what it became when it was triggered."""
    return order.is_at_rest and state.state == "open" and state.venue_order_id != order.venue_order_id


def trigger(executions: Executions, event: events.OrderTriggered, now_ns: int) -> None:
    """A stop works under another id from now on, and a cancel that is on its way goes there."""
    pipeline = executions.pipeline
    order = pipeline.ledger.orders.get(event.label)
    if order is None or not order.is_at_rest:
        return
    if not order.venue_order_id:
        executions.accept(order, event.trigger_order_id or event.venue_order_id, now_ns)
    if not order.is_working:
        if order.status is not OrdStatus.FILLED:  # it must not work there with nothing held for it
            stray = msgspec.structs.replace(order, venue_order_id=event.venue_order_id)
            pipeline.router.cancel(stray, now_ns)
        return
    pipeline.commit(records.OrderTriggered(order.order_id, event.venue_order_id), now_ns)
    if order.is_cancel_pending:
        pipeline.router.cancel(order, now_ns)


def restate(executions: Executions, order: WorkingOrder, event: events.OrderReplaced, now_ns: int) -> None:
    """Take over what the venue has made of an order: margin holds what works there, and a person must look."""
    instrument = order.instrument
    lots = instrument.lots_from_decimal(event.quantity)
    ticks = order.ticks if event.price is None else instrument.ticks_from_decimal(event.price)
    stop = event.trigger_price
    stop_ticks = 0 if stop is None else instrument.ticks_from_decimal(stop)
    if not order.is_working or not lots or not ticks or stop_ticks is None:
        return
    if order.is_at_rest and stop is None:
        return  # it is about to be told as triggered
    stands = order.terms.stop_ticks if order.terms is not None and stop is not None else stop_ticks
    if (lots, ticks, stop_ticks) == (order.lots, order.ticks, stands):
        return
    before = f"{instrument.quantity(order.lots)} at {instrument.price(order.ticks)}"
    executions.commit_end(
        order, records.OrderRestated(order.order_id, lots, ticks, stop_ticks), "the order was filled before", now_ns
    )
    text = f"order {order.order_id} of {before} was changed at the venue to {event.quantity} at {event.price}"
    executions.raise_break(instrument.symbol, text, now_ns)


HEARS: Final[dict[type, Callable[[Executions, Any, int], None]]] = {events.OrderTriggered: trigger}


# -- reports -----------------------------------------------------------------------------------------------------------


def _triggered(reports: Reports, record: records.OrderTriggered, sequence: int, time_ns: int) -> None:
    order = reports.ledger.orders[record.order_id]
    text = b"the stop has triggered"
    reports.send_order(order, sequence, time_ns, exec_type=b"D", text=text, further={378: TRIGGERED})


def _restated(reports: Reports, record: records.OrderRestated, sequence: int, time_ns: int) -> None:
    order = reports.ledger.orders[record.order_id]
    text = b"changed at the venue, by nobody here"
    reports.send_order(order, sequence, time_ns, exec_type=b"D", text=text, further={378: MARKET_OPTION})


REPORTS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {
    records.OrderTriggered: _triggered,
    records.OrderRestated: _restated,
}
