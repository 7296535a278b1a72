"""Trades both ways: ours to a clearing house by TradeCaptureReport(AE), its own to us, and the answers (AR) to both.

A report is in the session's store before the journal counts it as sent (TradesReported), and has the same
TradeReportID(571) whenever it is sent: after a crash between the two, the store says how far it had come. One that is
not answered is sent again with PossResend(97) Y. A trade that is told to us is compared, and never booked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.clearing.book import Due
from gateway.clearing.statement_rows import StatementError, execution_of, trade_of
from gateway.journal import JournalError
from gateway.messages.trade_capture import trade_values
from gateway.records.clearing import TradeReportAnswered, TradesReported
from protocols.fix.codec import Message, decode
from protocols.fix.grouped import Values
from protocols.fix.session import SessionState
from risk.reconciliation import Kind, TradeTerms

if TYPE_CHECKING:
    from gateway.clearing.reconciler import Reconciler
    from gateway.pipeline import Pipeline

NS_PER_S: Final = 1_000_000_000
# Reports in one turn, and those that may be out without an answer.
REPORTS_A_TURN: Final = 50
MAX_UNANSWERED: Final = 500
# An answer is waited for so long; then the report is sent again, so often at the most.
ANSWER_TIMEOUT_NS: Final = 30 * NS_PER_S
SENT_AT_MOST: Final = 3
# Trades that were told to us and have no answer yet: their fill may be on its way.
MAX_DEFERRED: Final = 1_000
ACCEPTED, REJECTED = 0, 1  # TrdRptStatus(939)
OTHER: Final = 99  # TradeReportRejectReason(751)
POSSIBLY_SENT_BEFORE: Final = ((97, b"Y"),)
_FILLS: Final = frozenset({b"F", b"1", b"2"})

Send = Callable[..., None]


class _Deferred:
    """A trade that waits for our own fill of it before it is answered."""

    __slots__ = ("due_ns", "report", "told")

    def __init__(self, told: TradeTerms, report: Values, due_ns: int) -> None:
        self.told, self.report, self.due_ns = told, report, due_ns


class TradeReporting:
    """One counterparty's. `send(msg_type, values, now_ns, header_fields)` numbers and queues a message of ours."""

    def __init__(
        self,
        name: str,
        pipeline: Pipeline,
        reconciler: Reconciler,
        state: SessionState,
        grace_ns: int,
        send: Send,
        now_ns: int,
    ) -> None:
        self._name = name
        self._pipeline = pipeline
        self._reconciler = reconciler
        self._dictionary = state.dictionary
        self._grace_ns = grace_ns
        self._send = send
        self._through = 0
        self._new_through = 0
        self._sent: dict[int, tuple[int, int]] = {}  # unanswered: when it was sent last, and how often
        self._deferred: dict[str, _Deferred] = {}
        self.told = 0
        self._recover(state, now_ns)

    def _recover(self, state: SessionState, now_ns: int) -> None:
        """After a restart: what the store has, has been sent, whether or not the journal came to say so."""
        duty = self._pipeline.reports.trades.duties.of.get(self._name)
        if duty is None:
            return
        kept = (raw for raw in state.sent.last(state.next_out - 1) if raw is not None)
        stored = [decode(raw) for raw in kept if b"\x0135=AE\x01" in raw]
        numbers = [int(number) for message in stored if (number := message.get(571)) and number.isdigit()]
        self._through, self._new_through = duty.through, max([duty.through, *numbers])
        self._sent = dict.fromkeys(duty.unanswered, (now_ns, 1))

    # -- ours, out ---------------------------------------------------------------------------------------------------

    def send_due(self, now_ns: int) -> None:
        """Send what is owed, and again what was never answered. The caller stores it, then calls `stored`."""
        duty = self._pipeline.reports.trades.duties.of.get(self._name)
        if duty is None:
            return
        room = min(REPORTS_A_TURN, MAX_UNANSWERED - len(self._sent))
        sent_before = max(self._new_through, self._through)
        for due in duty.pending:
            if room <= 0:
                break
            if due.number > sent_before:
                room -= 1
                self._report(due, now_ns, ())
                self._new_through = due.number
        for number, (sent_ns, times) in list(self._sent.items()):
            if now_ns - sent_ns >= ANSWER_TIMEOUT_NS and room > 0:
                room -= 1
                self._send_again(duty.unanswered.get(number), number, times, now_ns)

    def stored(self, now_ns: int) -> None:
        """What was sent is in the store: the journal may count it."""
        if self._new_through <= self._through:
            return
        try:
            self._pipeline.commit(TradesReported(self._name, self._new_through), now_ns)
            self._through = self._new_through
            for number in self._pipeline.reports.trades.duties.of[self._name].unanswered:
                self._sent.setdefault(number, (now_ns, 1))
        except JournalError as error:  # the store knows; the next time, or the next start, makes it good
            self._pipeline.monitor.journal_failed(str(error))

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to send, or to send again in a while."""
        duty = self._pipeline.reports.trades.duties.of.get(self._name)
        return bool(self._deferred or self._sent or (duty is not None and duty.pending))

    def has_sent_all(self) -> bool:
        """Whether every trade that is owed has been queued behind what was sent before."""
        duty = self._pipeline.reports.trades.duties.of.get(self._name)
        sent_through = max(self._new_through, self._through)
        return duty is None or not duty.pending or duty.pending[-1].number <= sent_through

    def _report(self, due: Due, now_ns: int, header_fields: tuple[tuple[int, bytes], ...]) -> None:
        trade = self._pipeline.reports.trades.find(due.source, due.trade_id)
        self._sent[due.number] = now_ns, self._sent.get(due.number, (0, 0))[1] + 1
        if trade is None:
            del self._sent[due.number]
            text = "forgotten before it could be reported"
            self._reconciler.report_answered(
                self._name, "", f"{due.source}:{due.trade_id}", text, Kind.TRADE_UNANSWERED, now_ns
            )
            return
        values = trade_values(trade, due.number)
        if due.number == trade.exec_id:
            values |= {150: b"F", 487: 0}  # whatever became of it since has a report of its own
        self._send("AE", values, now_ns, header_fields)

    def _send_again(self, due: Due | None, number: int, times: int, now_ns: int) -> None:
        if due is None:
            del self._sent[number]
            return
        if times < SENT_AT_MOST:
            self._report(due, now_ns, POSSIBLY_SENT_BEFORE)
            return
        del self._sent[number]
        text = f"TradeReportID(571) {number} sent {times} times, never answered"
        subject = f"{due.source}:{due.trade_id}"
        trade = self._pipeline.reports.trades.find(due.source, due.trade_id)
        account = "" if trade is None else trade.account
        self._reconciler.report_answered(self._name, account, subject, text, Kind.TRADE_UNANSWERED, now_ns)

    def answered(self, message: Message, now_ns: int) -> None:
        """Act on TradeCaptureReportAck(AR): once, however often it comes."""
        duty = self._pipeline.reports.trades.duties.of.get(self._name)
        told = message.get(571) or b""
        number = int(told) if told.isdigit() and len(told) <= 18 else 0
        due = None if duty is None else duty.unanswered.get(number)
        if due is None:
            return
        self._sent.pop(number, None)
        is_accepted = message.get(939) in (None, b"0") and message.get(751) is None
        text = (message.get(58) or b"").decode("latin-1")[:200]
        self._pipeline.commit(TradeReportAnswered(self._name, number, is_accepted, text), now_ns)
        if not is_accepted:
            trade = self._pipeline.reports.trades.find(due.source, due.trade_id)
            account = "" if trade is None else trade.account
            why = f"refused: {text or (message.get(751) or b'').decode('latin-1')}"
            self._reconciler.report_answered(
                self._name, account, f"{due.source}:{due.trade_id}", why, Kind.TRADE_REFUSED, now_ns
            )

    # -- theirs, in --------------------------------------------------------------------------------------------------

    def trade_received(self, message: Message, now_ns: int) -> None:
        """Compare a TradeCaptureReport(AE) that answers no question, and answer it: accepted where we have the same."""
        report: Values = {
            571: message.get(571), 150: message.get(150) or b"F", 55: message.get(55), 60: message.get(60),
            880: message.get(880), 487: message.get(487), 572: message.get(572),
        }  # fmt: skip
        self.told += 1
        try:
            told = self._reconciler.at_venue(trade_of(self._dictionary, message))
        except StatementError as error:
            self._answer(report, f"unreadable: {error}", now_ns)
            return
        if message.get(487) == b"1":
            is_gone = self._reconciler.trade_annulled(self._name, told, now_ns)
            self._answer(report, "" if is_gone else "it stands here", now_ns)
            return
        agrees = self._reconciler.trade_told(self._name, told, now_ns)
        key = (message.get(571) or b"").decode("latin-1")
        if agrees is None and len(self._deferred) < MAX_DEFERRED and self._grace_ns:
            self._deferred[key] = _Deferred(told, report, now_ns + self._grace_ns)
        else:
            self._answer(report, "" if agrees else "not known here, or of other terms", now_ns)

    def execution_received(self, message: Message, now_ns: int) -> str:
        """Compare an ExecutionReport(8) of a fill; return what is wrong with it, empty where nothing is."""
        if message.get(150) not in _FILLS or message.get(20) not in (None, b"0"):
            return ""
        self.told += 1
        try:
            told = self._reconciler.at_venue(execution_of(message))
        except StatementError as error:
            return str(error)
        self._reconciler.trade_told(self._name, told, now_ns)
        return ""

    def tick(self, now_ns: int) -> None:
        """Answer trades whose fill has come meanwhile, and those whose grace is over."""
        for key, one in list(self._deferred.items()):
            agrees = self._reconciler.has_same(one.told)
            if agrees is not None or now_ns >= one.due_ns:
                del self._deferred[key]
                self._answer(one.report, "" if agrees else "not known here, or of other terms", now_ns)

    def _answer(self, report: Values, why_not: str, now_ns: int) -> None:
        refusal: Values = {939: REJECTED, 751: OTHER, 58: why_not.encode("ascii", "replace")}
        self._send("AR", {**report, **(refusal if why_not else {939: ACCEPTED})}, now_ns, ())
