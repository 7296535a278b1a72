"""Executions of held orders: booked once, told by the order's owner or, at a shared venue account, by the venue too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway import records
from gateway.hook.holds import Hold
from gateway.journal import JournalError
from gateway.records import holds as hold_records
from protocols.venues import events
from protocols.venues.fill_ids import id_of, names_of
from risk.instrument import Side, fee_units_from_decimal

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline


def trade_of(hold: Hold, execution: str) -> tuple[str, str]:
    """Return what the ledger knows an execution by: at a shared account it is the venue's own trade."""
    instrument = hold.order.instrument
    if hold.record.is_shared:
        return instrument.venue, execution
    return f"hook:{hold.record.hook}", f"{instrument.symbol}:{execution}"


def _is_told(pipeline: Pipeline, hold: Hold, execution: str) -> bool:
    """Whether an execution was told before; at a shared account perhaps under the venue's id, or our name for it."""
    if execution in hold.executions or not hold.record.is_shared:
        return execution in hold.executions
    symbol, is_buy = pipeline.router.venue_symbol(hold.order.instrument), hold.order.side is Side.BUY
    return any(name in hold.executions for name in (id_of(symbol, execution), *names_of(symbol, execution, is_buy)))


def book_fill(
    pipeline: Pipeline, hold: Hold, execution: str, lots: int, ticks: int, fee_units: int, now_ns: int
) -> bool:
    """Book an execution; False where that was done before. Raises JournalError: nothing was booked then."""
    if _is_told(pipeline, hold, execution):
        return False
    was_holding, order = hold.is_holding, hold.order
    source, trade_id = trade_of(hold, execution)
    pipeline.commit(hold_records.HoldFilled(hold.hold_id, source, trade_id, execution, lots, ticks, fee_units), now_ns)
    pipeline.touched_accounts[order.account] = None
    if was_holding and order.cum_lots <= order.lots:
        return True
    what = "beyond its quantity" if was_holding else "after it had ended"
    text = f"hold {hold.hold_id} of {hold.record.hook} was filled {what}"
    try:
        pipeline.commit(records.BreakRaised(order.instrument.venue, order.instrument.symbol, text), now_ns)
    except JournalError as error:  # the fill is booked and the account restricted all the same
        pipeline.monitor.journal_failed(str(error))
    pipeline.monitor.breaks += 1
    pipeline.monitor.alert(f"{order.instrument.venue} {order.instrument.symbol}: {text}")
    return True


def hear_fill(pipeline: Pipeline, hold: Hold, event: events.OrderFilled, now_ns: int) -> bool:
    """Take a fill that a venue tells with a hold's label; False where it is none of a hold at our venue account."""
    order, instrument = hold.order, hold.order.instrument
    lots, ticks = instrument.lots_from_decimal(event.quantity), instrument.ticks_from_decimal(event.price)
    is_buy = order.side is Side.BUY
    if not hold.record.is_shared or event.symbol != instrument.symbol or (event.side == "buy") is not is_buy:
        return False
    if not lots or not ticks:
        return False
    book_fill(pipeline, hold, event.trade_id, lots, ticks, fee_units_from_decimal(event.fee), now_ns)
    return True
