"""Messages that are worth nothing a moment later: sent once, neither journalled nor kept nor made again in a replay.

Market data, reference data and statuses are such; ExecutionReports are not. Their numbers are as durable as any other:
the session's next numbers are journalled (VolatileSent, once for a batch of one session) before the bytes that carry
them leave, so no number is ever given out twice. Asked for again, they are filled by a SequenceReset-GapFill, as FIX
allows for what is not worth resending. The numbers of the requests that were answered so are in the same record.

If the record can not be written nothing volatile is sent, and each request is refused by BusinessMessageReject(j). The
record may not use the journal's reserve: that is for cancels and fills.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.journal import JournalError
from protocols.fix.codec import Message, assemble, format_timestamp
from protocols.fix.grouped import Values, flat_body, grouped_body
from protocols.fix.session import SessionState

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# Requests that are answered so: market data, reference data, statuses, users, counterparties; positions, collateral,
# margin, and orders that are only asked about.
INQUIRY_TYPES: Final = ("V", "c", "e", "g", "x", "BC", "BE", "AN", "BB", "CH", "DF")

# MsgType and body.
Outgoing = tuple[str, bytes]


class Volatile:
    """Numbers and sends volatile messages: `answer` and `received` gather for `flush`, `publish` sends at once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._answers: dict[str, list[Outgoing]] = {}
        self._requests: dict[str, list[Message]] = {}
        self._is_failing = False
        self.sent = 0
        self.dropped = 0

    @property
    def is_waiting(self) -> bool:
        """Whether `flush` has something to do."""
        return bool(self._answers)

    def received(self, session: str, message: Message) -> None:
        """Take note of a request: its number is counted by the record of its batch, answered or not."""
        self._answers.setdefault(session, [])
        self._requests.setdefault(session, []).append(message)

    def answer(self, session: str, msg_type: str, values: Values) -> None:
        """Queue a message for the end of the batch; tags and values that the session's version lacks are left out."""
        body = grouped_body(self._pipeline.reports.sessions[session].dictionary, msg_type, values)
        self._answers.setdefault(session, []).append((msg_type, body))

    def answer_flat(self, session: str, msg_type: str, values: Mapping[int, bytes | int | None]) -> None:
        """The same, faster, for a message without groups whose values are known to fit the session's version."""
        body = flat_body(self._pipeline.reports.sessions[session].dictionary, msg_type, values)
        self._answers.setdefault(session, []).append((msg_type, body))

    def flush(self, now_ns: int) -> None:
        """Send what the batch has queued."""
        while self._answers:
            session, messages = self._answers.popitem()
            requests = self._requests.pop(session, [])
            problem = self._send(session, messages, now_ns)
            if problem is not None:
                for request in requests:
                    self._pipeline.refuse_unwritten(session, request, problem, now_ns)

    def publish(self, session: str, messages: list[Outgoing], now_ns: int) -> bool:
        """Send at once; False where nothing was sent: nobody is logged on, or the journal can not be written."""
        if not self._is_there(session):
            return False
        if session in self._answers:
            self.flush(now_ns)  # what was asked before comes before
        problem = self._send(session, messages, now_ns)
        if problem is not None and not self._is_failing:
            self._pipeline.monitor.journal_failed(problem)  # once, however often it is tried
        self._is_failing = problem is not None
        return not self._is_failing

    def _is_there(self, session: str) -> bool:
        connection = self._pipeline.reports.sessions[session].connection
        return connection is not None and connection.is_logged_on

    def _send(self, session: str, messages: list[Outgoing], now_ns: int) -> str | None:
        """Write the numbers, then send; return why not. Where nobody is there, those of requests are written still."""
        pipeline = self._pipeline
        state = pipeline.reports.sessions[session]
        raws = _encoded(state, messages, now_ns) if self._is_there(session) else []
        self.dropped += len(messages) - len(raws)
        try:
            pipeline.commit(records.VolatileSent(session, state.next_in, state.next_out + len(raws)), now_ns)
        except JournalError as error:
            self.dropped += len(raws)
            return str(error)
        connection = state.connection
        assert connection is not None or not raws
        for raw in raws:
            connection.send_volatile(raw, now_ns)  # type: ignore[union-attr]
        self.sent += len(raws)
        pipeline.reports.touched.add(session)
        return None


def _encoded(state: SessionState, messages: list[Outgoing], now_ns: int) -> list[bytes]:
    """Whole messages under the next numbers; before anything is written, so that what can not be sent fails here."""
    header, time = state.header, format_timestamp(now_ns, state.header.timestamp_digits)
    return [
        assemble(b"35=%b\x0134=" % msg_type.encode(), header, number, time, body)
        for number, (msg_type, body) in enumerate(messages, state.next_out)
    ]
