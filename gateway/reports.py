"""Journal record -> the FIX report that it owes, and the session numbers that it moves.

Run after ledger.apply, live and in a replay alike. A replay thereby rebuilds not only the numbers but the very
messages, byte for byte, so that a client that logs on after our crash is resent what it did not get.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway import corrections, exact_fills, order_changes, records
from gateway.clearing import book as clearing_book
from gateway.clearing.drop_copy import ORDERS, Copies
from gateway.compiled import order_values, refusal_values
from gateway.corrections import average_price, status_after
from gateway.hook import holds
from gateway.hot_path import report_handlers
from gateway.ledger import Ledger
from gateway.messages import margin_calls as margin_messages
from gateway.messages import mass_requests, order_lists, party_actions, trade_capture
from gateway.messages.trade_capture import Trades
from gateway.order_changes import TRIGGERED
from gateway.report_values import NO_REFUSAL, STATUSES
from protocols.fix.codec import Header, Layout, format_decimal, format_timestamp
from protocols.fix.grouped import Values, send_grouped
from protocols.fix.messages import (
    BUSINESS_MESSAGE_REJECT,
    EXECUTION_REPORT,
    FULL_EXECUTION_REPORT,
    ORDER_CANCEL_REJECT,
    full_values,
)
from protocols.fix.session import SessionConfig, SessionKey, SessionState, send_or_store
from protocols.fix.state import FIXT
from protocols.fix.steps import send
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from risk.order import RejectReason

_NEW, _EXPIRED = OrdStatus.NEW, OrdStatus.EXPIRED


class Reports:
    """Sends what records owe to clients' sessions. `touched` collects the sessions with bytes to write."""

    __slots__ = (
        "_ledger",
        "_of_journal",
        "_opened",
        "copies",
        "delayed",
        "is_replaying",
        "ledger",
        "sessions",
        "touched",
        "trades",
    )

    def __init__(self, ledger: Ledger, sessions: dict[str, SessionState]) -> None:
        self.ledger = self._ledger = ledger
        self.sessions = sessions
        self.trades = Trades()
        self.copies = Copies()
        self._opened: dict[str, records.SessionOpened] = {}
        self.is_replaying = False
        self.touched: set[str] = set()
        # Messages that wait for their turn, by session and MsgSeqNum(34), in the order in which they came.
        self.delayed: dict[str, dict[int, bytes]] = {}
        # Sessions that no configuration told of: they are as their records say.
        self._of_journal: set[str] = set()

    def report(self, record: records.Record, sequence: int, time_ns: int) -> None:
        """Send the report that `record`, journalled as number `sequence`, owes; most owe at most one."""
        handler = HANDLERS.get(type(record))
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

    def accounts_of(self, session: str) -> tuple[str, ...]:
        """Return the accounts that a session may see."""
        opened = self._opened.get(session)
        return () if opened is None else opened.accounts

    def sessions_of(self, account: str) -> list[str]:
        """Return the sessions of clients that trade for an account."""
        return [name for name, one in self._opened.items() if account in one.accounts and one.kind == ORDERS]

    def _started(self, record: records.GatewayStarted, sequence: int, time_ns: int) -> None:
        """What sessions there are is said anew at each start."""
        self._opened.clear()
        self.copies.clear()
        self.trades.duties.clear()

    def _session_opened(self, record: records.SessionOpened, sequence: int, time_ns: int) -> None:
        self._opened[record.session] = record
        self.copies.open(record)
        known = self.sessions.get(record.session)
        if known is not None and record.session not in self._of_journal:
            return  # the configuration says what it is
        key = SessionKey(record.begin_string, record.sender_comp_id, record.target_comp_id, *record.routing)
        rules = SessionConfig(timestamp_digits=record.timestamp_digits, renews_when_away=False)
        if known is None:
            self.sessions[record.session] = SessionState(key, rules, name=record.session)
            self._of_journal.add(record.session)
        elif (known.key, known.config.timestamp_digits) != (key, record.timestamp_digits):
            numbers = (known.next_in, known.next_out, known.sent, known.as_of_ns)
            self.sessions[record.session] = SessionState(key, rules, *numbers, name=record.session)

    def _session_renewed(self, record: records.SessionRenewed, sequence: int, time_ns: int) -> None:
        """In a replay, begin at 1 again; live the session has done so itself."""
        if record.is_reset:
            self.delayed.pop(record.session, None)  # they have numbers of the session before
        if self.is_replaying:
            state = self.sessions[record.session]
            state.as_of_ns = record.as_of_ns or None
            if record.is_reset:
                state.reset()

    def _message_delayed(self, record: records.MessageDelayed, sequence: int, time_ns: int) -> None:
        self.received(record)
        self.delayed.setdefault(record.session, {})[record.seq_in] = record.raw

    def received(self, record: Any, sequence: int = 0, time_ns: int = 0) -> None:
        """Count the message as received: live this is so already, in a replay it is how the number comes back."""
        seq_in = record.seq_in
        if seq_in:
            state = self.sessions[record.session]
            if state.next_in <= seq_in:
                state.next_in = seq_in + 1
            if self.delayed:
                self._acted_on(record.session, seq_in)

    def _acted_on(self, session: str, seq_in: int) -> None:
        waiting = self.delayed.get(session)
        if waiting is not None:
            waiting.pop(seq_in, None)
            if not waiting:
                del self.delayed[session]

    def _order_refused(
        self,
        record: records.OrderRefused,
        sequence: int,
        time_ns: int,
        further: Mapping[int, bytes | int | None] | None = None,
    ) -> None:
        self.received(record)
        values = refusal_values(record, sequence, time_ns)
        if further is None and not self.copies.of_account:
            self._send(record.session, EXECUTION_REPORT, values, time_ns)
            return
        self.send_full(record.session, values, further or {}, time_ns)
        own = self.accounts_of(record.session)
        account = own[0] if record.account is None and len(own) == 1 else (record.account or b"").decode("latin-1")
        if account in own:
            self.copies.send(self, account, record.session, values, further or {}, time_ns)

    def _list_order_refused(self, record: records.ListOrderRefused, sequence: int, time_ns: int) -> None:
        self._order_refused(record, sequence, time_ns, {66: record.list_id.encode()})

    def _cancel_requested(self, record: records.CancelRequested, sequence: int, time_ns: int) -> None:
        self.received(record)
        if record.cl_ord_id:
            self._report_pending(record, b"6", sequence, time_ns)

    def _replace_requested(self, record: records.ReplaceRequested, sequence: int, time_ns: int) -> None:
        self.received(record)
        self._report_pending(record, b"E", sequence, time_ns)

    def _report_pending(
        self, record: records.CancelRequested | records.ReplaceRequested, status: bytes, sequence: int, time_ns: int
    ) -> None:
        """PendingCancel or PendingReplace, to a session that wants them."""
        opened = self._opened.get(record.session)
        if opened is not None and opened.reports_pending:
            order = self._ledger.orders[record.order_id]
            self.send_order(
                order,
                sequence,
                time_ns,
                exec_type=status,
                session=record.session,
                cl_ord_id=record.cl_ord_id,
                orig_cl_ord_id=order.cl_ord_id,
                further={39: status},
            )

    def _message_refused(self, record: records.MessageRefused, sequence: int, time_ns: int) -> None:
        self.received(record)
        ref_id = _text(record.ref_id)
        values = (record.seq_in, record.text.encode(), record.ref_msg_type.encode(), ref_id, record.reason)
        self._send(record.session, BUSINESS_MESSAGE_REJECT, values, time_ns)

    def _cancel_refused(self, record: records.CancelRefused, sequence: int, time_ns: int) -> None:
        self.received(record)
        if not record.cl_ord_id:
            return  # the gateway itself had asked
        order = self._ledger.orders.get(record.order_id)
        values = (
            _text(record.cl_ord_id),
            record.order_id.encode() or b"NONE",
            b"8" if order is None else STATUSES[order.status],
            _text(record.orig_cl_ord_id),
            _text(record.text),
            format_timestamp(time_ns),
            record.cxl_rej_reason,
            b"2" if record.is_replace else b"1",
        )
        self._send(record.session, ORDER_CANCEL_REJECT, values, time_ns)

    def _status_asked(self, record: records.StatusAsked, sequence: int, time_ns: int) -> None:
        self.received(record)
        order = self._ledger.orders.get(record.order_id)
        if order is not None:
            # FIX appendix D: a status report carries ExecID 0.
            self.send_order(order, 0, time_ns, exec_type=b"I", session=record.session)
            return
        values = (
            None, b"0", _text(record.cl_ord_id), b"0", b"0", None, None, b"NONE", None, b"8", None, None, None,
            _text(record.side), _text(record.symbol), b"unknown order", None, format_timestamp(time_ns), b"5",
            b"I", b"0", *NO_REFUSAL,
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
            self.send_order(order, sequence, time_ns, exec_type=b"0")

    def _venue_rejected(self, record: records.VenueRejected, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        text = f"VENUE_REJECTED {record.code} {record.text}".encode()
        refusal = (int(RejectReason.VENUE_REJECTED), b"venue", None, None, None, None)
        self.send_order(order, sequence, time_ns, exec_type=b"8", text=text, ord_rej_reason=b"99", refusal=refusal)

    def _filled(self, record: records.Filled, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        self.send_order(order, sequence, time_ns, exec_type=b"F", last=(record.lots, record.ticks))
        self.trades.add_fill(self, record, sequence, time_ns)

    def _cancelled(self, record: records.Cancelled, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        text = record.reason.encode() or None
        cancel_id, asker = order.cancel_cl_ord_id, order.cancel_session
        exec_type = b"C" if order.status is _EXPIRED else b"4"
        if not cancel_id or asker != order.session:
            self.send_order(order, sequence, time_ns, exec_type=exec_type, text=text)
        if cancel_id:
            self.send_order(
                order,
                sequence,
                time_ns,
                exec_type=exec_type,
                session=asker,
                text=text,
                cl_ord_id=cancel_id,
                orig_cl_ord_id=order.cl_ord_id,
            )

    def _replaced(self, record: records.Replaced, sequence: int, time_ns: int) -> None:
        order = self._ledger.orders[record.order_id]
        for session in dict.fromkeys((order.session, record.session or order.session)):
            self.send_order(
                order, sequence, time_ns, exec_type=b"5", session=session, orig_cl_ord_id=record.orig_cl_ord_id
            )

    # -- writing -----------------------------------------------------------------------------------------------------

    def send_order(
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
        refusal: tuple[bytes | int | None, ...] = NO_REFUSAL,
        further: Mapping[int, bytes | int | None] | None = None,
    ) -> None:
        """Send an ExecutionReport(8) on an order, to its session or another; `further` fields are by tag."""
        values = order_values(
            order, exec_id, time_ns, exec_type, text, cl_ord_id, orig_cl_ord_id, last, ord_rej_reason, refusal
        )
        if not order.session and not session:  # the gateway's own: nobody asked for it, and copies tell of it
            if exec_type != b"I":
                self.copies.send(self, order.account, "", values, {**_further_of(order), **(further or {})}, time_ns)
            return
        if order.terms is None and further is None and not self.copies.of_account:
            self._send(session or order.session, EXECUTION_REPORT, values, time_ns)
        else:
            self._send_more(order, session or order.session, exec_type, values, further, time_ns)

    def _send_more(
        self,
        order: WorkingOrder,
        session: str,
        exec_type: bytes,
        values: tuple[bytes | int | None, ...],
        further: Mapping[int, bytes | int | None] | None,
        time_ns: int,
    ) -> None:
        """Send a report with what few orders have, and copies of it to those that get them."""
        more = {**_further_of(order), **(further or {})}
        if more:
            self.send_full(session, values, more, time_ns)
        else:
            self._send(session, EXECUTION_REPORT, values, time_ns)
        if session == order.session and exec_type != b"I":
            self.copies.send(self, order.account, session, values, more, time_ns)

    def send_full(
        self,
        session: str,
        values: tuple[bytes | int | None, ...],
        further: Mapping[int, bytes | int | None],
        time_ns: int,
        header: Header | None = None,
    ) -> None:
        """Send an ExecutionReport(8) of EXECUTION_REPORT's values and further fields by tag, which go before them."""
        state = self.sessions[session]
        if further.get(378) == TRIGGERED and state.key.begin_string == FIXT:
            further = {**further, 150: b"L", 378: None}  # 5.0 has an ExecType for it
        send_or_store(state, FULL_EXECUTION_REPORT, full_values(values, further), time_ns, header)
        self.touched.add(session)

    def _send(self, session: str, layout: Layout, values: tuple[bytes | int | None, ...], time_ns: int) -> None:
        state = self.sessions[session]
        connection = state.connection
        if connection is not None and state.writes_as_given:
            send(connection, layout, values, time_ns)
        else:
            send_or_store(state, layout, values, time_ns)
        self.touched.add(session)


def _further_of(order: WorkingOrder) -> dict[int, bytes | int | None]:
    """Return the fields by tag that an order with terms, or with corrected fills, has in each of its reports."""
    terms, instrument = order.terms, order.instrument
    further: dict[int, bytes | int | None] = {}
    if terms is None:
        return further
    if terms.stop_ticks:
        further[99] = format_decimal(terms.stop_ticks * instrument.tick_mantissa, instrument.tick_exponent)
    if terms.expire_ns:
        further[126] = format_timestamp(terms.expire_ns)
    if terms.list_id:
        further[66] = terms.list_id.encode()
    if order.adjusted_lots or order.adjusted_lot_ticks:
        cum_lots = order.cum_lots + order.adjusted_lots
        further[6] = average_price(order)
        further[14] = format_decimal(cum_lots * instrument.lot_mantissa, instrument.lot_exponent)
        further[39] = STATUSES[status_after(order)]
    return further | exact_fills.further_of(order)


def _text(value: str) -> bytes | None:
    return value.encode() or None


# record type -> the method that reports it; a type that is not here owes nothing to anybody.
HANDLERS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {
    records.GatewayStarted: Reports._started,
    records.SessionOpened: Reports._session_opened,
    records.SessionMoved: Reports._session_moved,
    records.SessionRenewed: Reports._session_renewed,
    records.MessageDelayed: Reports._message_delayed,
    records.MessageReleased: Reports.received,
    records.OrderApproved: Reports.received,
    records.OrderApprovedWithTerms: Reports.received,
    records.OrderRefused: Reports._order_refused,
    records.ListOrderRefused: Reports._list_order_refused,
    records.CancelRequested: Reports._cancel_requested,
    records.ReplaceRequested: Reports._replace_requested,
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
    **order_changes.REPORTS,
    **mass_requests.REPORTS,
    **order_lists.REPORTS,
    **corrections.REPORTS,
    **exact_fills.REPORTS,
    **trade_capture.REPORTS,
    **report_handlers(Reports, Copies),
    **holds.REPORTS,
    **party_actions.REPORTS,
    **margin_messages.REPORTS,
    **clearing_book.REPORTS,
}
