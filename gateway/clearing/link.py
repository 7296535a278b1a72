"""One FIX session that we open, without I/O: its numbers and messages in a store, its application behind it.

What leaves was stored before (gateway.clients.session_store), so that no number is given out twice, whatever dies when;
what comes is acted on before the store counts it, so that it comes again after a crash in between, and everything that
is done with it may be done twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.clearing.statements import ACKNOWLEDGEMENTS, REPORTS, Statements
from gateway.clearing.trade_reporting import TradeReporting
from gateway.clients.session_store import SessionStore
from gateway.journal import JournalError
from gateway.redaction import HIDDEN, redacted
from protocols.errors import LocalProtocolError
from protocols.fix.authentication import Fields
from protocols.fix.codec import Header, Message, assemble, format_timestamp
from protocols.fix.grouped import Values, grouped_body
from protocols.fix.session import (
    INITIATOR,
    Disconnected,
    Limits,
    LoggedOn,
    LogonHeader,
    MessageReceived,
    RejectReceived,
    Session,
    SessionState,
)
from risk.reconciliation import Topic

if TYPE_CHECKING:
    from gateway.clearing.reconciler import Reconciler
    from gateway.config import Counterparty
    from gateway.pipeline import Pipeline

# What a counterparty may send us.
APPLICATION_MESSAGES: Final = frozenset({*ACKNOWLEDGEMENTS, *REPORTS, "8", "AR", "AY", "AX", "AZ", "B"})
# AX, AY, AZ: whoever keeps collateral takes them (`collateral`); without, they are told of and no more.
COLLATERAL: Final = frozenset({"AX", "AY", "AZ"})
MAX_TEXT: Final = 200

Credentials = Fields | Callable[[LogonHeader], Fields]


class CounterpartyLink:
    """After any call write `data_to_send` until it is empty; call `tick` no later than `deadline_ns`."""

    def __init__(
        self,
        terms: Counterparty,
        state: SessionState,
        store: SessionStore,
        pipeline: Pipeline,
        reconciler: Reconciler,
        credentials: Callable[[int], Credentials],
        secrets: tuple[str, ...],
        limits: Limits,
        now_ns: int,
    ) -> None:
        """`credentials` makes those of one Logon; `secrets` are taken out of whatever is told of this session."""
        self.terms = terms
        self.state = state
        self.session: Session | None = None
        self._store = store
        self._pipeline = pipeline
        self._credentials = credentials
        self._secrets = tuple(secret for secret in secrets if secret)
        self._limits = limits
        accounts = [pipeline.ledger.accounts[name] for name in terms.accounts]
        self.statements = Statements(terms, accounts, state.dictionary, reconciler, self.send, pipeline.ledger.run)
        grace_ns = terms.trade_grace_s * 1_000_000_000
        self.trades = TradeReporting(terms.name, pipeline, reconciler, state, grace_ns, self.send, now_ns)
        self.statements.has_reported = self.trades.has_sent_all
        # Set by whoever keeps collateral: gets (counterparty, message, now_ns), and may answer by `send`.
        self.collateral: Callable[[str, Message, int], None] | None = None
        self.is_up = False
        self.must_close = False
        self.logons = 0
        self.refused = 0
        self.trouble = ""
        self.up_since_ns: int | None = None

    # -- the session ---------------------------------------------------------------------------------------------------

    def may_connect(self, now_ns: int) -> bool:
        """Whether it is session time."""
        schedule = self.state.config.schedule
        self.statements.is_due = schedule is None or schedule.window(now_ns) is not None
        return self.statements.is_due

    def connected(self, now_ns: int) -> None:
        """The transport is up: log on."""
        self.must_close = False
        session = self.session = Session(lambda key: None, now_ns, role=INITIATOR, limits=self._limits)
        try:
            session.logon(self.state, now_ns, self._credentials(now_ns))
        except LocalProtocolError as error:
            self._hang_up(str(error))

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take bytes."""
        if self.session is not None:
            self.session.receive_data(data, now_ns)
            self._handle_events(now_ns)

    def disconnected(self, now_ns: int) -> None:
        """The transport is gone."""
        session = self.session
        if session is None:
            return
        session.connection_lost(now_ns)
        self._handle_events(now_ns)
        self._save(now_ns)
        self.session = None

    def log_out(self, text: str, now_ns: int) -> None:
        """Say goodbye."""
        if self.session is not None:
            self.session.logout(text, now_ns)
            self._handle_events(now_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        if self.session is not None:
            self.session.tick(now_ns)
            self._handle_events(now_ns)
        self.may_connect(now_ns)
        if self.is_up:  # first: what is asked for next has it
            self.trades.tick(now_ns)
            self.trades.send_due(now_ns)
        self.statements.tick(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do; trades that are owed are looked for more often than that."""
        times = [self.statements.deadline_ns, None if self.session is None else self.session.deadline_ns]
        return min((at for at in times if at is not None), default=None)

    def data_to_send(self, now_ns: int) -> bytes:
        """Return what may leave: it was stored. Nothing, and `must_close`, where it could not be."""
        session = self.session
        if session is None or self.must_close:
            return b""
        data = session.data_to_send()
        if not self._save(now_ns):
            return b""
        self.trades.stored(now_ns)
        if session.is_closed and not session.has_data_to_send:
            self.must_close = True
        return data

    def send(
        self, msg_type: str, values: Values, now_ns: int, header_fields: tuple[tuple[int, bytes], ...] = ()
    ) -> None:
        """Number and queue a message. Raises LocalProtocolError for one that the version lacks, or without a logon."""
        session, state = self.session, self.state
        if session is None or not self.is_up:
            raise LocalProtocolError(f"{self.terms.name} is not logged on")
        header, digits = state.header, state.config.timestamp_digits
        if header_fields:
            key, routing = state.key, {**dict(state.routing), **dict(header_fields)}
            header = Header(key.begin_string, key.sender_comp_id, key.target_comp_id, routing.items(), digits)
        body = grouped_body(state.dictionary, msg_type, values)
        time = format_timestamp(now_ns, digits)
        start = b"35=%b\x0134=" % msg_type.encode("ascii")
        session.send_encoded(assemble(start, header, state.next_out, time, body), now_ns)

    def _save(self, now_ns: int) -> bool:
        try:
            self._store.save(self.state, now_ns)
        except JournalError as error:
            self._pipeline.monitor.journal_failed(f"{self.terms.name}: {error}")
            self._hang_up("its numbers can not be stored")
            return False
        return True

    def _hang_up(self, why: str) -> None:
        self.trouble = self.safe(why)
        self.must_close = True

    # -- what comes --------------------------------------------------------------------------------------------------

    def _handle_events(self, now_ns: int) -> None:
        session = self.session
        assert session is not None
        while not self.must_close and (event := session.next_event()) is not None:
            if isinstance(event, MessageReceived):
                self._received(event.message, now_ns)
            elif isinstance(event, LoggedOn):
                self.is_up, self.up_since_ns, self.trouble = True, now_ns, ""
                self.logons += 1
                self.trades.send_due(now_ns)
                self.statements.logged_on(now_ns)
            elif isinstance(event, RejectReceived):
                self._rejected(event.message, now_ns)
            elif isinstance(event, Disconnected):
                self._ended(event.reason, now_ns)

    def _ended(self, reason: str, now_ns: int) -> None:
        was_up, self.is_up, self.up_since_ns = self.is_up, False, None
        self.trouble = self.safe(reason)
        if was_up:
            self._pipeline.monitor.alert(f"{self.terms.name}: session over: {self.trouble}")
        else:
            self.refused += 1
            text = f"{self.terms.name}: no session: {self.trouble}"
            self._pipeline.monitor.alert_now_and_then((self.terms.name, "no session"), text, now_ns)
        self.statements.lost(now_ns)

    def _received(self, message: Message, now_ns: int) -> None:
        """Act on one message. A fault of ours in it ends neither the session nor the gateway."""
        try:
            self._take(message, now_ns)
        except JournalError as error:
            # It is not counted as received: it comes again.
            self._pipeline.monitor.journal_failed(str(error))
            self.state.next_in = min(self.state.next_in, message.msg_seq_num)
            self._hang_up("the journal can not be written")
        except LocalProtocolError as error:
            self._pipeline.monitor.alert(self.safe(f"{self.terms.name}: {message.msg_type} not answered: {error}"))

    def _take(self, message: Message, now_ns: int) -> None:
        msg_type = message.msg_type
        if msg_type == "AR":
            self.trades.answered(message, now_ns)
        elif msg_type == "8":
            self._execution(message, now_ns)
        elif msg_type in COLLATERAL:
            if self.collateral is not None:
                self.collateral(self.terms.name, message, now_ns)
            else:
                self._tell(f"{msg_type} came, and nobody here takes it", now_ns)
        elif not self.statements.receive(message, now_ns):
            self._unasked(message, now_ns)

    def _execution(self, message: Message, now_ns: int) -> None:
        fault = self.trades.execution_received(message, now_ns)
        if fault:
            self._tell(f"an execution that can not be compared: {fault}", now_ns)

    def _unasked(self, message: Message, now_ns: int) -> None:
        """A report that answers nothing: a trade is compared at once, anything else is asked for whole."""
        msg_type = message.msg_type
        if msg_type == "AE" and message.get(568) is None:
            self.trades.trade_received(message, now_ns)
            return
        topic = {"AP": Topic.POSITIONS, "BA": Topic.BALANCES, "CJ": Topic.MARGIN}.get(msg_type)
        if topic is not None:
            for account in self.terms.accounts:
                self.statements.hurry(topic, account, now_ns)
        elif msg_type == "B":
            self._tell(f"news: {(message.get(148) or b'').decode('latin-1')}", now_ns)

    def _rejected(self, message: Message, now_ns: int) -> None:
        """Reject(3) or BusinessMessageReject(j) of a message of ours."""
        text = (message.get(58) or b"").decode("latin-1")
        ref = (message.get(379) or b"").decode("latin-1")
        ref_type = (message.get(372) or b"").decode("latin-1")
        if ref:
            self.statements.refused(ref, self.safe(f"refused: {text}"), now_ns)
        self._tell(f"our {ref_type or 'message'} was refused: {text}", now_ns)

    def _tell(self, text: str, now_ns: int) -> None:
        cause = (self.terms.name, text[:24])
        self._pipeline.monitor.alert_now_and_then(cause, self.safe(f"{self.terms.name}: {text}"), now_ns)

    def tell_transport(self, text: str, now_ns: int) -> None:
        """The transport could not be brought up."""
        self._tell(text, now_ns)

    def safe(self, text: str) -> str:
        """Return a text of a peer, or of a library, without our secrets, cut to a length."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        shown = "".join(mark if " " <= mark <= "~" else "?" for mark in text)
        return redacted(shown)[:MAX_TEXT]

    def row(self, now_ns: int) -> dict[str, Any]:
        """Return how the session stands, as a status line or a page shows it."""
        duty = self._pipeline.reports.trades.duties.of.get(self.terms.name)
        window = self.statements.is_due
        return {
            "counterparty": self.terms.name,
            "kind": self.terms.kind,
            "state": "up" if self.is_up else "logging on" if self.session is not None else "down" if window else "off",
            "trouble": self.trouble,
            "up_s": None if self.up_since_ns is None else (now_ns - self.up_since_ns) / 1e9,
            "logons": self.logons,
            "logons_refused": self.refused,
            "next_in": self.state.next_in,
            "next_out": self.state.next_out,
            "statements": self.statements.taken,
            "statements_failed": self.statements.failed,
            "trades_told": self.trades.told,
            "reports_waiting": 0 if duty is None else len(duty.pending),
            "reports_unanswered": 0 if duty is None else len(duty.unanswered),
            "reports_refused": 0 if duty is None else duty.refused,
            "reports_lost": 0 if duty is None else duty.lost,
        }
