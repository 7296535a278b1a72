"""Orders that are more than a price: stops, and orders that end at a time. From the client's fields to the book.

A stop is sent to its venue as a limit that waits for a price, StopPx(99); a stop without a limit of its own gets the
far end of the collar around its stop price, so that its worst fill is known, as a market order's is. Which of the
venue's prices triggers is configuration. GTD is the gateway's: the venue has the order as good till cancelled, and the
gateway cancels it when its time has come. So is DAY, FIX's default, at venues that have no such orders.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import records
from gateway.journal import JournalError
from protocols.fix.codec import count_steps, parse_timestamp
from protocols.fix.values import NS_PER_SECOND
from risk.exposure import WorkingOrder
from risk.instrument import Instrument, Side
from risk.marks import Market
from risk.order import Order, OrdType, Reject, RejectReason, Terms, TimeInForce

if TYPE_CHECKING:
    from gateway.ledger import Ledger
    from gateway.pipeline import Pipeline
    from gateway.translate import OrderFields

NS_PER_DAY: Final = 86_400 * NS_PER_SECOND
# An order whose cancel is on its way already, or could not be journalled, is looked at again after this.
RETRY_NS: Final = NS_PER_SECOND
# Entries of ended orders are dropped when there are so many; from then on when their number has doubled.
MIN_ENTRIES: Final = 1_024

_ORD_TYPES: Final = {b"1": OrdType.MARKET, b"2": OrdType.LIMIT, b"3": OrdType.STOP, b"4": OrdType.STOP_LIMIT}
_TIMES_IN_FORCE: Final = {
    None: TimeInForce.DAY,
    b"0": TimeInForce.DAY,
    b"1": TimeInForce.GTC,
    b"3": TimeInForce.IOC,
    b"4": TimeInForce.FOK,
    b"6": TimeInForce.GTD,
}
_STOPS: Final = frozenset({OrdType.STOP, OrdType.STOP_LIMIT})
_LIMITS: Final = frozenset({OrdType.LIMIT, OrdType.STOP_LIMIT})
_AT_ONCE: Final = frozenset({TimeInForce.IOC, TimeInForce.FOK})
# StopPx, ExpireTime, ExpireDate
_TAGS: Final = (99, 126, 432)


# -- from a message to an order ----------------------------------------------------------------------------------------


def order_with_terms(
    fields: OrderFields,
    side: Side | None,
    flags: tuple[bool, bool] | None,
    instrument: Instrument | None,
    market: Market,
    now_ns: int,
    replaces: WorkingOrder | None,
) -> Order | Reject:
    """Return the order that a message asks for which is no plain limit or market order, or why there is none."""
    _, _, exec_inst, quantity, ord_type_text, price, _, _, tif_text, _, _ = fields.values
    ord_type, time_in_force = _ORD_TYPES.get(ord_type_text or b""), _TIMES_IN_FORCE.get(tif_text)
    if side is None or flags is None or ord_type is None or time_in_force is None:
        return _unsupported(_what(side, ord_type, time_in_force, fields))
    if replaces is not None:
        own = (replaces.is_post_only, replaces.is_reduce_only)
        keeps = tif_text is None or time_in_force is replaces.time_in_force
        if ord_type is not replaces.ord_type or not keeps or (exec_inst is not None and flags != own):
            return _unsupported("OrdType(40), TimeInForce(59) and ExecInst(18) of an order can not be replaced")
        time_in_force, flags = replaces.time_in_force, own
    if ord_type is OrdType.MARKET:
        time_in_force = TimeInForce.IOC  # it never rests, so it has no end either
    if ord_type in _STOPS and (time_in_force in _AT_ONCE or (flags[0] and ord_type is OrdType.STOP)):
        return _unsupported("a stop can be day, GTC or GTD, and only a stop limit can be post-only")
    terms = _terms(fields, ord_type, time_in_force, side, instrument, market, now_ns, replaces)
    if isinstance(terms, Reject):
        return terms
    lots = ticks = 0
    if instrument is not None:
        if quantity is not None:
            lots = count_steps(quantity, instrument.lot_mantissa, instrument.lot_exponent)
        if replaces is not None and lots:
            lots -= replaces.cum_lots
        ticks = _price_ticks(ord_type, price, side, instrument, terms, market, replaces)
    return Order(
        fields.cl_ord_id,
        fields.account,
        fields.symbol,
        instrument,
        side,
        lots,
        ticks,
        ord_type,
        time_in_force,
        flags[0],
        flags[1],
        now_ns,
        replaces,
        terms,
    )


def protection_ticks(instrument: Instrument, side: Side, market: Market) -> int:
    """Return the limit that a market order is sent with: the collar's far end, within what the venue takes."""
    mark = market.marks[instrument.index]
    if mark is None:
        return 1  # any price will do: mark_is_fresh refuses the order
    return mark.buy_at_ticks if side is Side.BUY else mark.sell_at_ticks


def _price_ticks(
    ord_type: OrdType,
    price: bytes | None,
    side: Side,
    instrument: Instrument,
    terms: Terms,
    market: Market,
    replaces: WorkingOrder | None,
) -> int:
    if ord_type in _LIMITS:
        return 0 if price is None else count_steps(price, instrument.tick_mantissa, instrument.tick_exponent)
    if ord_type is OrdType.MARKET:
        return protection_ticks(instrument, side, market)
    if replaces is not None and replaces.is_triggered:
        return replaces.ticks  # it works at its protection already
    low, high = market.collar.band_ticks(instrument, terms.stop_ticks * instrument.tick)
    return high if side is Side.BUY else low


def _terms(
    fields: OrderFields,
    ord_type: OrdType,
    time_in_force: TimeInForce,
    side: Side,
    instrument: Instrument | None,
    market: Market,
    now_ns: int,
    replaces: WorkingOrder | None,
) -> Terms | Reject:
    stop_px, expire_time, expire_date = fields.message.values(_TAGS)
    before = Terms() if replaces is None or replaces.terms is None else replaces.terms
    stop_ticks, trigger, expire_ns = before.stop_ticks, before.trigger, before.expire_ns
    if time_in_force is TimeInForce.GTD and (replaces is None or expire_time or expire_date):
        end = _expire_ns(expire_time, expire_date, now_ns)
        if isinstance(end, Reject):
            return end
        expire_ns = end
    elif time_in_force is TimeInForce.DAY and replaces is None and instrument is not None:
        expire_ns = day_end_ns(market.day_ends_s.get(instrument.venue), now_ns)
    if ord_type in _STOPS and instrument is not None and (replaces is None or stop_px is not None):
        trigger = market.stop_triggers.get(instrument.venue, "")
        if not trigger:
            return _unsupported(f"venue {instrument.venue} has no stop orders: OrdType(40) 1 market, 2 limit")
        ticks = 0 if stop_px is None else count_steps(stop_px, instrument.tick_mantissa, instrument.tick_exponent)
        fault = _stop_fault(ticks, trigger, side, instrument, market, replaces)
        if fault is not None:
            return fault
        stop_ticks = ticks
    return Terms(stop_ticks, trigger, expire_ns, before.list_id)


def _stop_fault(
    ticks: int, trigger: str, side: Side, instrument: Instrument, market: Market, replaces: WorkingOrder | None
) -> Reject | None:
    """Return why a stop price can not be; the venue judges one that triggers by the last price, which we do not see."""
    if ticks <= 0 or (instrument.tick_steps and not instrument.ticks_are_on_step(ticks)):
        text = f"StopPx(99) is not on the tick scheme of {instrument.symbol}, {instrument.tick_size}"
        return Reject(RejectReason.PRICE_NOT_IN_TICKS, "translate", text)
    if replaces is not None and replaces.terms is not None and replaces.terms.stop_ticks == ticks:
        return None
    if replaces is not None and replaces.is_triggered:
        return _unsupported("StopPx(99) can not be replaced: the stop has triggered")
    mark = market.marks[instrument.index]
    if mark is None or trigger == "last_price":
        return None
    now_at = mark.index_price if trigger == "index_price" else mark.price
    stop = ticks * instrument.tick
    if (stop <= now_at) if side is Side.BUY else (stop >= now_at):
        text = (
            f"StopPx(99) is {'not above' if side is Side.BUY else 'not below'} the {trigger.replace('_', ' ')} already"
        )
        return Reject(RejectReason.STOP_PRICE_PASSED, "translate", text, limit=now_at, observed=stop)
    return None


def _expire_ns(expire_time: bytes | None, expire_date: bytes | None, now_ns: int) -> int | Reject:
    """Return when a GTD order ends: at ExpireTime(126), or with the UTC day of ExpireDate(432)."""
    if (expire_time is None) is (expire_date is None):
        return _unsupported("TimeInForce(59) 6 needs either ExpireTime(126) or ExpireDate(432)")
    if expire_time is not None:
        end_ns = parse_timestamp(expire_time)
    else:
        midnight_ns = parse_timestamp((expire_date or b"") + b"-00:00:00")
        end_ns = None if midnight_ns is None else midnight_ns + NS_PER_DAY
    if end_ns is None:
        return _unsupported("ExpireDate(432) is no day of the calendar")
    if end_ns <= now_ns:
        name = "ExpireTime(126)" if expire_time is not None else "ExpireDate(432)"
        return Reject(RejectReason.EXPIRY_PASSED, "translate", f"{name} is past")
    return end_ns


def day_end_ns(end_s: int | None, now_ns: int) -> int:
    """Return when a day ends that does so at this second of the UTC day; 0 where the venue has its own."""
    if end_s is None:
        return 0
    into_ns = (now_ns - end_s * NS_PER_SECOND) % NS_PER_DAY
    return now_ns - into_ns + NS_PER_DAY


def _what(side: Side | None, ord_type: OrdType | None, time_in_force: TimeInForce | None, fields: OrderFields) -> str:
    if side is None:
        return f"Side(54) {fields.side} is not traded here: 1 buy, 2 sell"
    if ord_type is None:
        text = (fields.values[4] or b"").decode("latin-1")
        return f"OrdType(40) {text} is not traded here: 1 market, 2 limit, 3 stop, 4 stop limit"
    if time_in_force is None:
        return "TimeInForce(59) is not traded here: 0 day, 1 GTC, 3 IOC, 4 FOK, 6 GTD"
    return "ExecInst(18) is not traded here: 6 post-only, E reduce-only"


def _unsupported(text: str) -> Reject:
    return Reject(RejectReason.UNSUPPORTED_CHARACTERISTIC, "translate", text)


def with_terms(record: records.OrderApproved, terms: Terms) -> records.OrderApprovedWithTerms:
    """Return the record of an approved order with its terms."""
    further = (terms.stop_ticks, terms.trigger, terms.expire_ns, terms.list_id)
    values: tuple[Any, ...] = (*msgspec.structs.astuple(record), *further)
    return records.OrderApprovedWithTerms(*values)


# -- the ledger --------------------------------------------------------------------------------------------------------


class Expiries:
    """When working orders end that we end, soonest first; ended ones are dropped as they come up, or in bulk."""

    def __init__(self, orders: dict[str, WorkingOrder]) -> None:
        self._orders = orders
        self._heap: list[tuple[int, str]] = []
        self._most = MIN_ENTRIES

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def deadline_ns(self) -> int | None:
        """When the next order ends."""
        return self._heap[0][0] if self._heap else None

    def add(self, due_ns: int, order_id: str) -> None:
        """Remember when an order ends."""
        if len(self._heap) >= self._most:
            working = [(at, name) for at, name in self._heap if name in self._orders and self._orders[name].is_working]
            heapq.heapify(working)
            self._heap, self._most = working, max(MIN_ENTRIES, 2 * len(working))
        heapq.heappush(self._heap, (due_ns, order_id))

    def take_due(self, now_ns: int) -> list[WorkingOrder]:
        """Return working orders whose entry is due, and forget the entries."""
        due = []
        while self._heap and self._heap[0][0] <= now_ns:
            order = self._orders.get(heapq.heappop(self._heap)[1])
            if order is not None and order.is_working:
                due.append(order)
        return due


def _approved(ledger: Ledger, record: records.OrderApprovedWithTerms) -> None:
    ledger.approve(record, Terms(record.stop_ticks, record.trigger, record.expire_ns, record.list_id))
    if record.expire_ns:
        ledger.expiries.add(record.expire_ns, record.order_id)
    listed = ledger.lists.get((record.session, record.list_id)) if record.list_id else None
    if listed is not None:
        listed.order_ids[record.cl_ord_id] = record.order_id


def replaced_terms(order: WorkingOrder, record: records.ReplaceRequested) -> Terms | None:
    """Return the terms that an order has once its replace is taken."""
    if order.terms is None:
        return None
    return msgspec.structs.replace(order.terms, stop_ticks=record.stop_ticks, expire_ns=record.expire_ns)


def _triggered(ledger: Ledger, record: records.OrderTriggered) -> None:
    order = ledger.orders[record.order_id]
    exposure = ledger.accounts[order.account].exposure
    is_held = order.held is not None
    exposure.release(order)  # only now it counts among what orders of its client could meet
    order.venue_order_id, order.is_triggered = record.venue_order_id, True
    if is_held:
        exposure.hold(order)


def _expiring(ledger: Ledger, record: records.OrderExpiring) -> None:
    order = ledger.orders[record.order_id]
    order.is_cancel_pending = order.is_expiring = True
    order.cancel_cl_ord_id = order.cancel_session = ""


def _restated(ledger: Ledger, record: records.OrderRestated) -> None:
    order = ledger.orders[record.order_id]
    ledger.accounts[order.account].exposure.release(order)
    order.lots, order.ticks = record.lots, record.ticks
    if order.terms is not None and record.stop_ticks:
        order.terms = msgspec.structs.replace(order.terms, stop_ticks=record.stop_ticks)
    ledger.settle(order)


APPLIES: Final[dict[type[records.Record], Callable[[Ledger, Any], None]]] = {
    records.OrderApprovedWithTerms: _approved,
    records.OrderTriggered: _triggered,
    records.OrderExpiring: _expiring,
    records.OrderRestated: _restated,
}


# -- time --------------------------------------------------------------------------------------------------------------


def expire(pipeline: Pipeline, now_ns: int) -> int:
    """Cancel the orders whose time has come; return how many."""
    expiries, count = pipeline.ledger.expiries, 0
    for order in expiries.take_due(now_ns):
        end_ns = 0 if order.terms is None else order.terms.expire_ns
        if end_ns > now_ns:
            continue  # it was replaced by one that lives longer, which has an entry of its own
        expiries.add(now_ns + RETRY_NS, order.order_id)
        if order.is_cancel_pending:
            continue  # by the client, or by us before; should that be refused, it is looked at again
        try:
            pipeline.commit(records.OrderExpiring(order.order_id), now_ns)
        except JournalError as error:
            pipeline.monitor.journal_failed(str(error))
        pipeline.router.cancel(order, now_ns)  # it only takes risk away: it goes even where the journal does not
        count += 1
    return count
