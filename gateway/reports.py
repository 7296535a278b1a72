"""Journal record -> the FIX report that it owes, and the session numbers that it moves.

Run after ledger.apply, live and in a replay alike. A replay thereby rebuilds not only the numbers but the very
messages, byte for byte, so that a client that logs on after our crash is resent what it did not get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway import records
from gateway.ledger import Ledger
from protocols.fix.codec import Layout, format_decimal, format_hundredths, format_timestamp
from protocols.fix.grouped import Values, send_grouped
from protocols.fix.messages import BUSINESS_MESSAGE_REJECT, EXECUTION_REPORT, ORDER_CANCEL_REJECT, REFUSAL_TAGS
from protocols.fix.session import SessionKey, SessionState, send_or_store
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from risk.order import RejectReason

_NO_REFUSAL: Final = (None,) * len(REFUSAL_TAGS)
# Above it a float times 100 may round to another hundredth than the float itself.
MAX_IN_CENTS: Final = 1e9
_SIDES: Final = {1: b"1", 2: b"2"}
_ORD_TYPES: Final = {1: b"1", 2: b"2"}
_TIMES_IN_FORCE: Final = {0: b"0", 1: b"1", 3: b"3", 4: b"4"}
# Our UNKNOWN is for the client an order whose acknowledgement is still pending.
_STATUSES: Final = {status: status.value.encode() for status in OrdStatus} | {OrdStatus.UNKNOWN: b"A"}

# RejectReason -> OrdRejReason(103): 0 broker option, 1 unknown symbol, 3 exceeds limit, 6 duplicate, 11 unsupported
# characteristic, 13 incorrect quantity, 15 unknown account, 99 other.
ORD_REJ_REASON: Final[dict[int, bytes]] = {
    RejectReason.UNKNOWN_ACCOUNT: b"15",
    RejectReason.ACCOUNT_HALTED: b"0",
    RejectReason.ACCOUNT_REDUCING: b"0",
    RejectReason.UNKNOWN_INSTRUMENT: b"1",
    RejectReason.INSTRUMENT_CLOSED: b"2",
    RejectReason.VENUE_NOT_READY: b"0",
    RejectReason.INSTRUMENT_NOT_PERMITTED: b"0",
    RejectReason.QUANTITY_NOT_IN_LOTS: b"13",
    RejectReason.PRICE_NOT_IN_TICKS: b"99",
    RejectReason.QUANTITY_ABOVE_LIMIT: b"3",
    RejectReason.NOTIONAL_ABOVE_LIMIT: b"3",
    RejectReason.DUPLICATE_CL_ORD_ID: b"6",
    RejectReason.CL_ORD_IDS_EXHAUSTED: b"0",
    RejectReason.RATE_ABOVE_LIMIT: b"3",
    RejectReason.WORKING_ORDERS_ABOVE_LIMIT: b"3",
    RejectReason.PRICE_OUTSIDE_COLLAR: b"99",
    RejectReason.MARK_UNKNOWN: b"0",
    RejectReason.MARK_STALE: b"0",
    RejectReason.POSITION_ABOVE_LIMIT: b"3",
    RejectReason.ORDER_NOT_REDUCING: b"99",
    RejectReason.MARGIN_SHORTFALL: b"3",
    RejectReason.MARGIN_UNKNOWN: b"0",
    RejectReason.UNSUPPORTED_CHARACTERISTIC: b"11",
    RejectReason.CHECK_ERROR: b"0",
    RejectReason.VENUE_REJECTED: b"99",
}
# RejectReason -> RejectCode(20001), its name, OrdRejReason(103)
_REASONS: Final[dict[int, tuple[int, str, bytes]]] = {
    reason: (int(reason), reason.name, ORD_REJ_REASON[reason]) for reason in RejectReason
}
_NEW: Final = OrdStatus.NEW


class Reports:
    """Sends what records owe to clients' sessions. `touched` collects the sessions with bytes to write."""

    def __init__(self, ledger: Ledger, sessions: dict[str, SessionState]) -> None:
        self._ledger = ledger
        self.sessions = sessions
        self.is_replaying = False
        self.touched: set[str] = set()

    def report(self, record: records.Record, sequence: int, time_ns: int) -> None:
        """Send the report that `record`, journalled as number `sequence`, owes; most owe at most one."""
        handler = _HANDLERS.get(type(record))
        if handler is not None:
            handler(self, record, sequence, time_ns)

    # -- records that come from a client's message: its number was used ----------------------------------------------

    def _session_moved(self, record: records.SessionMoved | records.VolatileSent, sequence: int, time_ns: int) -> None:
        """In a replay, take the numbers over; live the session has moved them itself already."""
        if not self.is_replaying:
            return
        state = self.sessions[record.session]
        if record.next_out < state.next_out:
            state.reset()
        for msg_seq_num in range(state.next_out, record.next_out):
            state.sent.put(msg_seq_num, None)  # administrative or volatile: filled as a gap, should it be asked for
        state.next_in, state.next_out = record.next_in, record.next_out

    def _session_opened(self, record: records.SessionOpened, sequence: int, time_ns: int) -> None:
        if record.session not in self.sessions:
            key = SessionKey(record.begin_string, record.sender_comp_id, record.target_comp_id)
            self.sessions[record.session] = SessionState(key)

    def _received(self, record: Any, sequence: int = 0, time_ns: int = 0) -> None:
        """Count the message as received: live this is so already, in a replay it is how the number comes back."""
        if record.seq_in:
            state = self.sessions[record.session]
            if state.next_in <= record.seq_in:
                state.next_in = record.seq_in + 1

    def _order_refused(self, record: records.OrderRefused, sequence: int, time_ns: int) -> None:
        self._received(record)
        code, name, ord_rej_reason = _REASONS[record.reason]
        text = f"{name} {record.check}: {record.text}".encode()
        limit = observed = required = None
        if record.limit is not None:
            limit = _number(record.limit)
            text += b", limit " + limit
        if record.observed is not None:
            observed = _number(record.observed)
            text += b", observed " + observed
        if record.required is not None:
            required = _number(record.required)
            text += b", required " + required
        values = (
            record.account, b"0", record.cl_ord_id, b"0", sequence, None, None,
            b"NONE", record.quantity, b"8", record.ord_type, None,
            record.price, record.side, record.symbol,
            text, None, format_timestamp(time_ns), ord_rej_reason, b"8", b"0", code, record.check.encode(),
            limit, observed, required,
            None if record.mark_age_ns is None else record.mark_age_ns // 1_000_000,
        )  # fmt: skip
        self._send(record.session, EXECUTION_REPORT, values, time_ns)

    def _message_refused(self, record: records.MessageRefused, sequence: int, time_ns: int) -> None:
        self._received(record)
        ref_id = _text(record.ref_id)
        values = (record.seq_in, record.text.encode(), record.ref_msg_type.encode(), ref_id, record.reason)
        self._send(record.session, BUSINESS_MESSAGE_REJECT, values, time_ns)

    def _cancel_refused(self, record: records.CancelRefused, sequence: int, time_ns: int) -> None:
        self._received(record)
        if not record.cl_ord_id:
            return  # the gateway itself had asked
        order = self._ledger.orders.get(record.order_id)
        values = (
            _text(record.cl_ord_id),
            record.order_id.encode() or b"NONE",
            b"8" if order is None else _STATUSES[order.status],
            _text(record.orig_cl_ord_id),
            _text(record.text),
            format_timestamp(time_ns),
            record.cxl_rej_reason,
            b"2" if record.is_replace else b"1",
        )
        self._send(record.session, ORDER_CANCEL_REJECT, values, time_ns)

    def _status_asked(self, record: records.StatusAsked, sequence: int, time_ns: int) -> None:
        self._received(record)
        order = self._ledger.orders.get(record.order_id)
        if order is not None:
            # FIX appendix D: a status report carries ExecID 0.
            self._send_order(order, 0, time_ns, exec_type=b"I", session=record.session)
            return
        values = (
            None, b"0", _text(record.cl_ord_id), b"0", b"0", None, None, b"NONE", None, b"8", None, None, None,
            _text(record.side), _text(record.symbol), b"unknown order", None, format_timestamp(time_ns), b"5",
            b"I", b"0", *_NO_REFUSAL,
        )  # fmt: skip
        self._send(record.session, EXECUTION_REPORT, values, time_ns)

    def _news_published(self, record: records.NewsPublished, sequence: int, time_ns: int) -> None:
        lines: list[Values] = [{58: line.encode()} for line in record.lines]
        values: Values = {42: format_timestamp(time_ns), 61: record.urgency, 148: record.headline.encode(), 33: lines}
        for name in record.sessions:
            if name in self.sessions:
                send_grouped(self.sessions[name], "B", values, time_ns)
                self.touched.add(name)

    # -- records that come from a venue ------------------------------------------------------------------------------

    def _venue_accepted(self, record: records.VenueAccepted, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        if order.status is _NEW:  # where a fill came first, its report has told already
            self._send_order(order, sequence, time_ns, exec_type=b"0")

    def _venue_rejected(self, record: records.VenueRejected, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        text = f"VENUE_REJECTED {record.code} {record.text}".encode()
        refusal = (int(RejectReason.VENUE_REJECTED), b"venue", None, None, None, None)
        self._send_order(order, sequence, time_ns, exec_type=b"8", text=text, ord_rej_reason=b"99", refusal=refusal)

    def _filled(self, record: records.Filled, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        self._send_order(order, sequence, time_ns, exec_type=b"F", last=(record.lots, record.ticks))

    def _cancelled(self, record: records.Cancelled, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        text = record.reason.encode() or None
        cancel_id, asker = order.cancel_cl_ord_id, order.cancel_session
        if not cancel_id or asker != order.session:
            self._send_order(order, sequence, time_ns, exec_type=b"4", text=text)
        if cancel_id:
            self._send_order(
                order,
                sequence,
                time_ns,
                exec_type=b"4",
                session=asker,
                text=text,
                cl_ord_id=cancel_id,
                orig_cl_ord_id=order.cl_ord_id,
            )

    def _replaced(self, record: records.Replaced, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        for session in dict.fromkeys((order.session, record.session or order.session)):
            self._send_order(
                order, sequence, time_ns, exec_type=b"5", session=session, orig_cl_ord_id=record.orig_cl_ord_id
            )

    # -- writing -----------------------------------------------------------------------------------------------------

    def _send_order(
        self,
        order: WorkingOrder,
        exec_id: int,
        time_ns: int,
        *,
        exec_type: bytes,
        session: str | None = None,
        text: bytes | None = None,
        cl_ord_id: str | None = None,
        orig_cl_ord_id: str | None = None,
        last: tuple[int, int] | None = None,
        ord_rej_reason: bytes | None = None,
        refusal: tuple[bytes | int | None, ...] = _NO_REFUSAL,
    ) -> None:
        instrument = order.instrument
        tick, tick_exponent = instrument.tick_mantissa, instrument.tick_exponent
        lot, lot_exponent = instrument.lot_mantissa, instrument.lot_exponent
        last_price = last_quantity = None
        if last is not None:
            last_quantity = format_decimal(last[0] * lot, lot_exponent)
            last_price = format_decimal(last[1] * tick, tick_exponent)
        lots, cum_lots, leaves_lots = order.lots, order.cum_lots, order.leaves_lots
        quantity = format_decimal(lots * lot, lot_exponent)
        values = (
            order.account.encode(),
            _average_price(order) if cum_lots else b"0",
            (cl_ord_id or order.cl_ord_id).encode(),
            format_decimal(cum_lots * lot, lot_exponent),
            exec_id,
            last_price,
            last_quantity,
            order.order_id.encode(),
            quantity,
            _STATUSES[order.status],
            _ORD_TYPES[order.ord_type],
            None if orig_cl_ord_id is None else orig_cl_ord_id.encode(),
            format_decimal(order.ticks * tick, tick_exponent),
            _SIDES[order.side],
            instrument.symbol.encode(),
            text,
            _TIMES_IN_FORCE[order.time_in_force],
            format_timestamp(time_ns),
            ord_rej_reason,
            exec_type,
            quantity if leaves_lots == lots else format_decimal(leaves_lots * lot, lot_exponent),
            *refusal,
        )
        self._send(session or order.session, EXECUTION_REPORT, values, time_ns)

    def _send(self, session: str, layout: Layout, values: tuple[bytes | int | None, ...], time_ns: int) -> None:
        send_or_store(self.sessions[session], layout, values, time_ns)
        self.touched.add(session)


def _average_price(order: WorkingOrder) -> bytes:
    """AvgPx(6) of an order with fills, to a millionth of a tick where it is no whole tick."""
    instrument = order.instrument
    ticks, rest = divmod(order.cum_lot_ticks, order.cum_lots)
    if rest == 0:
        return format_decimal(ticks * instrument.tick_mantissa, instrument.tick_exponent)
    millionths = order.cum_lot_ticks * 1_000_000 // order.cum_lots
    return format_decimal(millionths * instrument.tick_mantissa, instrument.tick_exponent - 6)


def _text(value: str) -> bytes | None:
    return value.encode() or None


def _number(value: float) -> bytes:
    if 1.0 <= value < MAX_IN_CENTS or -MAX_IN_CENTS < value <= -1.0:
        return format_hundredths(value)  # a third of the time that the formatting of a float takes
    return b"%.8g" % value if abs(value) < 1.0 else b"%.2f" % value


# record type -> the method that reports it; a type that is not here owes nothing to anybody.
_HANDLERS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {
    records.SessionOpened: Reports._session_opened,
    records.SessionMoved: Reports._session_moved,
    records.OrderApproved: Reports._received,
    records.OrderRefused: Reports._order_refused,
    records.CancelRequested: Reports._received,
    records.ReplaceRequested: Reports._received,
    records.CancelRefused: Reports._cancel_refused,
    records.StatusAsked: Reports._status_asked,
    records.MessageRefused: Reports._message_refused,
    records.VenueAccepted: Reports._venue_accepted,
    records.VenueRejected: Reports._venue_rejected,
    records.Filled: Reports._filled,
    records.Cancelled: Reports._cancelled,
    records.Replaced: Reports._replaced,
    records.VolatileSent: Reports._session_moved,
    records.NewsPublished: Reports._news_published,
}
