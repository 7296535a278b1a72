"""Fills of which quantity or price is no whole number of lots or ticks: booked to the last digit, and never lost.

Venues average prices over levels, change ticks under working orders, and settle by amounts of their own. What traded,
traded: position and cash are the venue's, margin counts what is less than a lot, and reports tell the venue's numbers.
Of an order the whole lots count as ever; less than a lot that is filled stays held until the order ends.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from gateway import records
from gateway.records.settlements import FilledExactly
from protocols.venues import events
from protocols.venues.fields import plain_text
from risk.exposure import ExactFills, WorkingOrder
from risk.instrument import fee_units_from_decimal
from risk.lifecycle import Happening, IllegalTransitionError
from risk.order import Terms

if TYPE_CHECKING:
    from gateway.executions import Executions
    from gateway.ledger import Ledger
    from gateway.reports import Reports

MILLIONTH: Final = Decimal("0.000001")


# -- what a venue says -------------------------------------------------------------------------------------------------


def hear(executions: Executions, order: WorkingOrder, event: events.OrderFilled, now_ns: int) -> None:
    """Book a fill of one of our orders that lots and ticks can not say."""
    pipeline, instrument = executions.pipeline, order.instrument
    was_working, most = order.is_working, instrument.quantity(order.largest_lots)
    moved_units = instrument.exact_cash_units(order.side, event.quantity, event.price)
    record = FilledExactly(
        order.order_id, executions.venue, event.trade_id, str(event.quantity), str(event.price), moved_units,
        fee_units_from_decimal(event.fee), event.is_maker, event.time_ns,
    )  # fmt: skip
    executions.commit_end(order, record, "the order was filled before", now_ns)
    pipeline.monitor.fills += 1
    pipeline.touched_accounts[order.account] = None
    what = f"order {order.order_id}: {event.quantity} at {event.price} is of no whole lots or ticks"
    if instrument.lots_from_decimal(event.quantity) is None:
        # A client can not trade less than a lot away again: a person must know of it.
        executions.raise_break(event.symbol, what, now_ns)
    else:
        text = f"{executions.venue} {what}"
        pipeline.monitor.alert_now_and_then(("exact fill", instrument.symbol), text, now_ns)
    if not was_working:
        executions.raise_break(event.symbol, f"order {order.order_id} was filled after it had ended", now_ns)
    elif cum_quantity(order) > most:
        executions.raise_break(event.symbol, f"order {order.order_id} was filled beyond its quantity", now_ns)


# -- the ledger --------------------------------------------------------------------------------------------------------


def _apply(ledger: Ledger, record: FilledExactly) -> None:
    order = ledger.order_of(record.order_id)
    assert order is not None, "only fills of orders that are known are booked"
    account, instrument = ledger.accounts[order.account], order.instrument
    quantity, price = Decimal(record.quantity), Decimal(record.price)
    ledger.remember_trade(record.venue, record.trade_id)
    booked = (instrument, order.side, quantity, record.moved_units, record.fee_units)
    if record.order_id in ledger.holds.by_id:
        account.book_exact(*booked)
        ledger.standing.restrict(account, f"hold {order.order_id} was filled by no whole lots or ticks")
        return
    is_last = cum_quantity(order) + quantity >= instrument.quantity(order.largest_lots)
    try:
        order.happen(Happening.FILLED if is_last else Happening.PARTLY_FILLED)
    except IllegalTransitionError:
        account.book_exact(*booked)
        ledger.standing.restrict(account, f"order {order.order_id} was filled after it had ended")
        return
    account.exposure.release(order)
    _count(order, quantity, price)
    account.book_exact(*booked)
    if order.is_working:
        account.exposure.hold(order)
    else:
        ledger.end(order)
    if cum_quantity(order) > instrument.quantity(order.largest_lots):
        ledger.standing.restrict(account, f"order {order.order_id} was filled beyond its quantity")


def _count(order: WorkingOrder, quantity: Decimal, price: Decimal) -> None:
    """Add a fill to what its order has had: whole lots and their value as ever, and the exact sums beside them."""
    exact = order.exact or ExactFills()
    instrument = order.instrument
    total, value = exact.quantity + quantity, exact.value + quantity * price
    lots = int(total / instrument.lot_size)
    lot_ticks = int(value / (instrument.lot_size * instrument.tick_size))
    order.cum_lots += lots - exact.lots
    order.cum_lot_ticks += lot_ticks - exact.lot_ticks
    order.exact = ExactFills(total, value, lots, lot_ticks)
    if order.terms is None:
        order.terms = Terms()  # so that its reports take the way of those with more to tell


APPLIES: Final[dict[type[records.Record], Callable[[Ledger, Any], None]]] = {FilledExactly: _apply}


# -- reports -----------------------------------------------------------------------------------------------------------


def executed_quantity(order: WorkingOrder) -> Decimal:
    """Return what the venue has executed of an order as far as was told here, exactly: to compare with its own count.

    Busts and corrections are not in it: they change what counts, not what was executed.
    """
    exact = order.exact
    if exact is None:
        return order.instrument.quantity(order.cum_lots)
    return order.instrument.quantity(order.cum_lots - exact.lots) + exact.quantity


def cum_quantity(order: WorkingOrder) -> Decimal:
    """Return CumQty(14), exactly, busts and corrections included."""
    return executed_quantity(order) + order.instrument.quantity(order.adjusted_lots)


def further_of(order: WorkingOrder) -> dict[int, bytes | int | None]:
    """Return AvgPx(6), CumQty(14) and LeavesQty(151) of an order with such fills; nothing of any other."""
    exact, instrument = order.exact, order.instrument
    if exact is None:
        return {}
    filled = cum_quantity(order)
    lot_ticks = order.cum_lot_ticks - exact.lot_ticks + order.adjusted_lot_ticks
    value = lot_ticks * instrument.lot_size * instrument.tick_size + exact.value
    left = max(Decimal(0), instrument.quantity(order.lots) - filled) if order.is_working else Decimal(0)
    return {6: _average(value, filled, instrument.tick_size), 14: _text(filled), 151: _text(left)}


def _average(value: Decimal, quantity: Decimal, tick: Decimal) -> bytes:
    """An average price, to a millionth of a tick where it is no shorter number."""
    if quantity <= 0:
        return b"0"
    step = tick * MILLIONTH
    steps = Fraction(value) / Fraction(quantity) / Fraction(step)
    return _text(step * (steps.numerator // steps.denominator))


def _text(value: Decimal) -> bytes:
    return plain_text(value.normalize() if value else Decimal(0)).encode()


def _report(reports: Reports, record: FilledExactly, sequence: int, time_ns: int) -> None:
    order = reports.ledger.order_of(record.order_id)
    assert order is not None
    if record.order_id not in reports.ledger.holds.by_id:
        last = {31: _text(Decimal(record.price)), 32: _text(Decimal(record.quantity))}
        reports.send_order(order, sequence, time_ns, exec_type=b"F", further=last)
    reports.trades.add_exact(reports, record, order, sequence, time_ns)


REPORTS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {FilledExactly: _report}
