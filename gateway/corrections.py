"""Trades that were not, or were otherwise: busts and corrections by a venue, and fills that were made elsewhere.

The record of a correction carries what is taken back beside what is put in its place, so that applying it is exact
whatever has been forgotten since. Lots that were busted do not come back to the book: CumQty(14) falls, LeavesQty(151)
does not rise, and the order's state at the venue is what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway import records
from gateway.hook.holds import move_external
from protocols.fix.codec import format_decimal
from protocols.venues import events
from protocols.venues.fill_ids import id_of
from risk.exposure import WorkingOrder
from risk.instrument import Side, fee_units_from_decimal
from risk.lifecycle import OrdStatus
from risk.order import Terms

if TYPE_CHECKING:
    from gateway.executions import Executions
    from gateway.ledger import Ledger
    from gateway.messages.trade_capture import Trade
    from gateway.pipeline import Pipeline
    from gateway.reports import Reports

EXTERNAL: Final = "external"


def bust_of(trade: Trade, reason: str) -> records.TradeBusted:
    """Return the record that annuls a trade as it stands."""
    stands = (trade.order_id, trade.source, trade.trade_id, trade.lots, trade.ticks, trade.fee_units)
    return records.TradeBusted(*stands, trade.exec_id, reason)


def correction_of(trade: Trade, lots: int, ticks: int, fee_units: int, reason: str) -> records.TradeCorrected:
    """Return the record that puts new values in the place of a trade's."""
    stands = (trade.order_id, trade.source, trade.trade_id, trade.lots, trade.ticks, trade.fee_units)
    return records.TradeCorrected(*stands, lots, ticks, fee_units, trade.exec_id, reason)


# -- what a venue says -------------------------------------------------------------------------------------------------


def _busted(executions: Executions, event: events.TradeBusted, now_ns: int) -> None:
    pipeline, venue = executions.pipeline, executions.venue
    trade = pipeline.reports.trades.find(venue, event.trade_id)
    if trade is None or pipeline.ledger.order_of(trade.order_id) is None:
        executions.raise_break("", f"trade {event.trade_id} was busted, and is not known here", now_ns)
        return
    if trade.is_busted or _is_a_persons(executions, trade, "busted", now_ns):
        return
    pipeline.commit(bust_of(trade, event.reason), now_ns)
    pipeline.monitor.alert(f"{venue}: trade {event.trade_id} of order {trade.order_id} was busted: {event.reason}")


def _corrected(executions: Executions, event: events.TradeCorrected, now_ns: int) -> None:
    pipeline, venue = executions.pipeline, executions.venue
    trade = pipeline.reports.trades.find(venue, event.trade_id)
    order = None if trade is None else pipeline.ledger.order_of(trade.order_id)
    if trade is None or order is None or trade.is_busted:
        executions.raise_break("", f"trade {event.trade_id} was corrected, and does not stand here", now_ns)
        return
    if _is_a_persons(executions, trade, f"corrected to {event.quantity} at {event.price}", now_ns):
        return
    lots = order.instrument.lots_from_decimal(event.quantity)
    ticks = order.instrument.ticks_from_decimal(event.price)
    if not lots or not ticks:
        text = f"trade {event.trade_id} was corrected to {event.quantity} at {event.price}, which is not whole"
        executions.raise_break(order.instrument.symbol, text, now_ns)
        return
    fee_units = fee_units_from_decimal(event.fee)
    if (lots, ticks, fee_units) == (trade.lots, trade.ticks, trade.fee_units):
        return
    pipeline.commit(correction_of(trade, lots, ticks, fee_units, event.reason), now_ns)
    pipeline.monitor.alert(f"{venue}: trade {event.trade_id} of order {trade.order_id} was corrected: {event.reason}")


def _is_a_persons(executions: Executions, trade: Trade, what: str, now_ns: int) -> bool:
    """Whether a trade is of no whole lots or ticks: its records say how it was booked, not how to take it back."""
    if trade.exact is None:
        return False
    text = f"trade {trade.trade_id} of {trade.quantity} at {trade.price} was {what}: it stands until a person books it"
    executions.raise_break(trade.instrument.symbol, text, now_ns)
    return True


HEARS: Final[dict[type, Callable[[Executions, Any, int], None]]] = {
    events.TradeBusted: _busted,
    events.TradeCorrected: _corrected,
}


def take_back_copy(pipeline: Pipeline, order: WorkingOrder, trade_id: str, now_ns: int) -> None:
    """A venue tells a fill of our own order that a drop copy has told before: it is one fill, and the venue's counts.

    First what the copy booked is taken back: a crash between the two leaves a fill that the venue tells again.
    """
    fills, instrument = pipeline.ledger.external_fills, order.instrument
    if not len(fills):
        return
    told_id = id_of(pipeline.router.venue_symbol(instrument), trade_id)
    place = fills.place_of(instrument.symbol, trade_id, pipeline.ledger)
    place = place or fills.place_of(instrument.symbol, told_id, pipeline.ledger)
    fill = None if place is None else fills.find(*place)
    if place is not None and fill is not None and (fill.account, fill.side) == (order.account, order.side):
        session, exec_ref = place
        pipeline.commit(records.ExternalFillReversed(session, 0, f"venue:{trade_id}", exec_ref), now_ns)


# -- the ledger --------------------------------------------------------------------------------------------------------


def _apply_bust(ledger: Ledger, record: records.TradeBusted) -> None:
    order = _order_of(ledger, record)
    account = ledger.accounts[order.account]
    account.reverse_fill(order.instrument, order.side, record.lots, record.ticks, record.fee_units)
    _adjust(ledger, order, -record.lots, -record.lots * record.ticks)


def _apply_correction(ledger: Ledger, record: records.TradeCorrected) -> None:
    order = _order_of(ledger, record)
    account = ledger.accounts[order.account]
    account.reverse_fill(order.instrument, order.side, record.lots, record.ticks, record.fee_units)
    account.book_fill(order.instrument, order.side, record.new_lots, record.new_ticks, record.new_fee_units)
    lots = record.new_lots - record.lots
    _adjust(ledger, order, lots, record.new_lots * record.new_ticks - record.lots * record.ticks)


def _order_of(ledger: Ledger, record: records.TradeBusted | records.TradeCorrected) -> WorkingOrder:
    order = ledger.order_of(record.order_id)
    assert order is not None, "only trades of orders that are known are corrected"
    return order


def _adjust(ledger: Ledger, order: WorkingOrder, lots: int, lot_ticks: int) -> None:
    hold = ledger.holds.by_id.get(order.order_id)
    if hold is not None:
        move_external(ledger, hold, lots)
    if order.terms is None:
        order.terms = Terms()  # so that its reports take the way of those with more to tell
    order.adjusted_lots += lots
    order.adjusted_lot_ticks += lot_ticks


def _apply_external(ledger: Ledger, record: records.ExternalFill) -> None:
    source = f"{EXTERNAL}:{record.session}"
    ledger.remember_trade(source, f"exec:{record.exec_id}")
    if record.trade_id:
        ledger.remember_trade(source, f"trade:{record.trade_id}")
    if record.corrects:
        _take_back(ledger, ledger.external_fills.take(record.session, record.corrects))
    account, instrument = ledger.accounts[record.account], ledger.instruments[record.instrument]
    account.book_fill(instrument, Side(record.side), record.lots, record.ticks, record.fee_units)
    _move_external(ledger, record, 1)
    ledger.external_fills.add(record)


def _reverse_external(ledger: Ledger, record: records.ExternalFillReversed) -> None:
    source = f"{EXTERNAL}:{record.session}"
    ledger.remember_trade(source, f"exec:{record.exec_id}")
    _take_back(ledger, ledger.external_fills.take(record.session, record.exec_ref))


def _take_back(ledger: Ledger, fill: records.ExternalFill) -> None:
    account, instrument = ledger.accounts[fill.account], ledger.instruments[fill.instrument]
    account.reverse_fill(instrument, Side(fill.side), fill.lots, fill.ticks, fill.fee_units)
    _move_external(ledger, fill, -1)


def _move_external(ledger: Ledger, fill: records.ExternalFill, sign: int) -> None:
    key = (fill.account, fill.instrument)
    lots = sign * (fill.lots if fill.side == Side.BUY else -fill.lots)
    ledger.external_lots[key] = ledger.external_lots.get(key, 0) + lots


class ExternalFills:
    """The last external fills by (session, ExecID), for their reporter to take back; the oldest go first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._fills: dict[tuple[str, str], records.ExternalFill] = {}
        # Where the trade of a venue is: by instrument and the id that the venue gave it.
        self._places: dict[tuple[int, str], tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._fills)

    def add(self, fill: records.ExternalFill) -> None:
        """Keep a fill."""
        if len(self._fills) >= self._capacity:
            self.take(*next(iter(self._fills)))
        self._fills[fill.session, fill.exec_id] = fill
        if fill.trade_id:
            self._places[fill.instrument, fill.trade_id] = fill.session, fill.exec_id

    def has(self, session: str, exec_id: str) -> bool:
        """Whether a fill is kept, and was not taken back."""
        return (session, exec_id) in self._fills

    def take(self, session: str, exec_id: str) -> records.ExternalFill:
        """Return a fill and keep it no more."""
        fill = self._fills.pop((session, exec_id))
        if self._places.get((fill.instrument, fill.trade_id)) == (session, exec_id):
            del self._places[fill.instrument, fill.trade_id]
        return fill

    def find(self, session: str, exec_id: str) -> records.ExternalFill | None:
        """Return a fill; None where it is not kept."""
        return self._fills.get((session, exec_id))

    def place_of(self, symbol: str, trade_id: str, ledger: Ledger) -> tuple[str, str] | None:
        """Return (session, ExecID) of a fill by the id that its venue gave it; None where none is kept."""
        instrument = ledger.by_symbol.get(symbol)
        return None if instrument is None or not trade_id else self._places.get((instrument.index, trade_id))


APPLIES: Final[dict[type[records.Record], Callable[[Ledger, Any], None]]] = {
    records.TradeBusted: _apply_bust,
    records.TradeCorrected: _apply_correction,
    records.ExternalFill: _apply_external,
    records.ExternalFillReversed: _reverse_external,
}


# -- reports -----------------------------------------------------------------------------------------------------------


def status_after(order: WorkingOrder) -> OrdStatus:
    """OrdStatus(39) of an order with corrected fills: one that had been filled and is no longer will not be filled."""
    if order.status is OrdStatus.FILLED and order.cum_lots + order.adjusted_lots < order.lots:
        return OrdStatus.CANCELED
    if order.status is OrdStatus.PARTIALLY_FILLED and order.cum_lots + order.adjusted_lots <= 0:
        return OrdStatus.NEW
    return order.status


def _report_bust(reports: Reports, record: records.TradeBusted, sequence: int, time_ns: int) -> None:
    reports.trades.bust(record.venue, record.trade_id)
    order = _order_of(reports.ledger, record)
    _report(reports, order, record.lots, record.ticks, b"H", record.exec_ref, record.reason, sequence, time_ns)
    reports.trades.tell(reports, record.venue, record.trade_id, sequence, time_ns)


def _report_correction(reports: Reports, record: records.TradeCorrected, sequence: int, time_ns: int) -> None:
    trade = (record.new_lots, record.new_ticks, record.new_fee_units)
    reports.trades.correct(record.venue, record.trade_id, *trade)
    order = _order_of(reports.ledger, record)
    _report(reports, order, record.new_lots, record.new_ticks, b"G", record.exec_ref, record.reason, sequence, time_ns)
    reports.trades.tell(reports, record.venue, record.trade_id, sequence, time_ns)


def _report(
    reports: Reports,
    order: WorkingOrder,
    lots: int,
    ticks: int,
    exec_type: bytes,
    exec_ref: int,
    reason: str,
    sequence: int,
    time_ns: int,
) -> None:
    if order.order_id in reports.ledger.holds.by_id:
        return  # its owner is no session: it has the venue's word
    text = reason.encode("ascii", "replace") or None
    further = {19: b"%d" % exec_ref}
    reports.send_order(order, sequence, time_ns, exec_type=exec_type, last=(lots, ticks), text=text, further=further)


def _report_external(reports: Reports, record: records.ExternalFill, sequence: int, time_ns: int) -> None:
    reports.received(record)
    source = f"{EXTERNAL}:{record.session}"
    if record.corrects and reports.trades.bust(source, record.corrects):
        reports.trades.tell(reports, source, record.corrects, sequence, time_ns)
    reports.trades.add_external(reports, record, sequence, time_ns)


def _report_reversed(reports: Reports, record: records.ExternalFillReversed, sequence: int, time_ns: int) -> None:
    reports.received(record)
    source = f"{EXTERNAL}:{record.session}"
    if reports.trades.bust(source, record.exec_ref):
        reports.trades.tell(reports, source, record.exec_ref, sequence, time_ns)


REPORTS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {
    records.TradeBusted: _report_bust,
    records.TradeCorrected: _report_correction,
    records.ExternalFill: _report_external,
    records.ExternalFillReversed: _report_reversed,
}


def average_price(order: WorkingOrder) -> bytes:
    """AvgPx(6) of an order whose fills stand in part, to a millionth of a tick where it is no whole tick."""
    instrument = order.instrument
    lots, lot_ticks = order.cum_lots + order.adjusted_lots, order.cum_lot_ticks + order.adjusted_lot_ticks
    if lots <= 0:
        return b"0"
    ticks, rest = divmod(lot_ticks, lots)
    if rest == 0:
        return format_decimal(ticks * instrument.tick_mantissa, instrument.tick_exponent)
    return format_decimal(lot_ticks * 1_000_000 // lots * instrument.tick_mantissa, instrument.tick_exponent - 6)
