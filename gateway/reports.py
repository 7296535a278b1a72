"""Journal record -> the FIX report that it owes, and the session numbers that it moves.

Run after ledger.apply, live and in a replay alike. A replay thereby rebuilds not only the numbers but the very
messages, byte for byte, so that a client that logs on after our crash is resent what it did not get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway import records
from gateway.compiled import order_values, refusal_values
from gateway.ledger import Ledger
from gateway.report_values import NO_REFUSAL, STATUSES
from protocols.fix.codec import Layout, format_timestamp
from protocols.fix.grouped import Values, send_grouped
from protocols.fix.messages import BUSINESS_MESSAGE_REJECT, EXECUTION_REPORT, ORDER_CANCEL_REJECT
from protocols.fix.session import SessionConfig, SessionKey, SessionState, send_or_store
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from risk.order import RejectReason

_NEW: Final = OrdStatus.NEW


class Reports:
    """Sends what records owe to clients' sessions. `touched` collects the sessions with bytes to write."""

    def __init__(self, ledger: Ledger, sessions: dict[str, SessionState]) -> None:
        self._ledger = ledger
        self.sessions = sessions
        self.is_replaying = False
        self.touched: set[str] = set()
        # Messages that wait for their turn, by session and MsgSeqNum(34), in the order in which they came.
        self.delayed: dict[str, dict[int, bytes]] = {}
        # Sessions that no configuration told of: they are as their records say.
        self._of_journal: set[str] = set()

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
        self._received(record)
        self.delayed.setdefault(record.session, {})[record.seq_in] = record.raw

    def _received(self, record: Any, sequence: int = 0, time_ns: int = 0) -> None:
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

    def _order_refused(self, record: records.OrderRefused, sequence: int, time_ns: int) -> None:
        self._received(record)
        self._send(record.session, EXECUTION_REPORT, refusal_values(record, sequence, time_ns), time_ns)

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
            b"8" if order is None else STATUSES[order.status],
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
            self._send(order.session, EXECUTION_REPORT, order_values(order, sequence, time_ns, b"0"), time_ns)

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
        refusal: tuple[bytes | int | None, ...] = NO_REFUSAL,
    ) -> None:
        values = order_values(
            order, exec_id, time_ns, exec_type, text, cl_ord_id, orig_cl_ord_id, last, ord_rej_reason, refusal
        )
        self._send(session or order.session, EXECUTION_REPORT, values, time_ns)

    def _send(self, session: str, layout: Layout, values: tuple[bytes | int | None, ...], time_ns: int) -> None:
        state = self.sessions[session]
        connection = state.connection
        if connection is not None and state.writes_as_given:
            connection.send(layout, values, time_ns)
        else:
            send_or_store(state, layout, values, time_ns)
        self.touched.add(session)


def _text(value: str) -> bytes | None:
    return value.encode() or None


# record type -> the method that reports it; a type that is not here owes nothing to anybody.
_HANDLERS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {
    records.SessionOpened: Reports._session_opened,
    records.SessionMoved: Reports._session_moved,
    records.SessionRenewed: Reports._session_renewed,
    records.MessageDelayed: Reports._message_delayed,
    records.MessageReleased: Reports._received,
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
