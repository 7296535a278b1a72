"""What the parts of a session share: its fields, what it queues, how it closes."""

from collections import deque
from collections.abc import Callable

from protocols.fix import reject, tags
from protocols.fix.codec import Header, Layout, Message, encode
from protocols.fix.events import Disconnected, Event, LoggedOut, SessionKey
from protocols.fix.framing import Framer
from protocols.fix.heartbeats import Heartbeats
from protocols.fix.messages import BUSINESS_MESSAGE_REJECT, LOGOUT, REJECT, RESEND_REQUEST
from protocols.fix.phases import ACCEPTOR, INITIATOR, Phase, Role
from protocols.fix.recovery import Recovery
from protocols.fix.reject import SessionReject
from protocols.fix.resend import Resend
from protocols.fix.state import Limits, SessionState

Values = tuple[bytes | int | None, ...]
Lookup = Callable[[SessionKey], SessionState | None]
# The session, when its new numbers are as of (ns; None: no schedule dates them), and now -> why they may not begin.
BeginAgain = Callable[[SessionState, int | None, int], str]

# A reject goes back the way its message came: OnBehalfOf and DeliverTo change places.
_REVERSED = {
    tags.ON_BEHALF_OF_COMP_ID: tags.DELIVER_TO_COMP_ID,
    tags.ON_BEHALF_OF_SUB_ID: tags.DELIVER_TO_SUB_ID,
    tags.ON_BEHALF_OF_LOCATION_ID: tags.DELIVER_TO_LOCATION_ID,
    tags.DELIVER_TO_COMP_ID: tags.ON_BEHALF_OF_COMP_ID,
    tags.DELIVER_TO_SUB_ID: tags.ON_BEHALF_OF_SUB_ID,
    tags.DELIVER_TO_LOCATION_ID: tags.ON_BEHALF_OF_LOCATION_ID,
}
_REVERSED_TAGS = tuple(_REVERSED)
# The standard's types have one or two characters, users' own a few.
MAX_ECHOED_MSG_TYPE = 16
FIRST_MSG_SEQ_NUM = 1
_NOTHING_TO_REVERSE = (None,) * len(_REVERSED)


def always(state: SessionState, as_of_ns: int | None, now_ns: int) -> str:
    """Let every session begin again: who keeps its state in memory has nothing to write."""
    return ""


class SessionCore:
    """Fields and outbound side of a session."""

    __slots__ = (
        "_asked_logon",
        "_authenticates",
        "_before_resend",
        "_events",
        "_framer",
        "_heartbeats",
        "_is_regular",
        "_lookup",
        "_may_begin_again",
        "_next_message",
        "_now_ns",
        "_out",
        "_phase_ends_ns",
        "_recovery",
        "_resend",
        "_session_ends_ns",
        "_transmits",
        "_waiting_bytes",
        "admin_moved",
        "limits",
        "phase",
        "role",
        "state",
    )

    def __init__(
        self,
        lookup: Lookup,
        now_ns: int,
        role: Role = ACCEPTOR,
        limits: Limits | None = None,
        authenticates: bool = False,
        may_begin_again: BeginAgain = always,
    ) -> None:
        """`lookup` finds the state of a Logon's session.

        An acceptor that `authenticates` tells of each first Logon by LogonRequested, and goes on when it is answered.
        `may_begin_again` is asked before a peer's Logon or a schedule begins an acceptor's numbers again at 1: it
        writes that down and returns nothing, or says why it can not. Then nothing is reset, and the peer is told so by
        Logout(5).
        """
        if authenticates and role is INITIATOR:
            raise ValueError("an acceptor authenticates; an initiator looks at LoggedOn")
        self.role = role
        self.limits = limits = limits or Limits()
        self.state: SessionState | None = None
        self.admin_moved = False
        self.phase = Phase.AWAITING_LOGON
        self._lookup = lookup
        self._may_begin_again = may_begin_again
        self._authenticates = authenticates
        # In AUTHENTICATING: the Logon in question, and the session that it is for.
        self._asked_logon: tuple[SessionState | None, Message] | None = None
        self._framer = Framer(limits.max_message_bytes, limits.max_fields, limits.max_buffered_bytes)
        self._next_message = self._framer.next_message
        self._events: deque[Event] = deque()
        self._out: list[bytes] = []
        self._recovery = Recovery(limits.max_held_messages, limits.max_held_bytes)
        self._resend: Resend | None = None
        self._before_resend: list[bytes] = []
        self._waiting_bytes = 0  # behind a resend
        self._heartbeats = Heartbeats(now_ns)
        self._now_ns = now_ns
        # In AWAITING_LOGON, AUTHENTICATING, LOGON_SENT and LOGOUT_SENT: when patience ends.
        self._phase_ends_ns = now_ns + limits.logon_timeout_ns
        # When the schedule ends the session; None: never.
        self._session_ends_ns: int | None = None
        # Active, with no gap: a regular application message needs no more than the screen.
        self._is_regular = False
        # Between the Logons and the end: what the application sends goes out now.
        self._transmits = False

    @property
    def _known_state(self) -> SessionState:
        assert self.state is not None, "no Logon yet: the session is nobody's"
        return self.state

    # --- queueing ---------------------------------------------------------------------------------------------

    def _queue(self, raw: bytes, now_ns: int) -> None:
        self._out.append(raw)
        self._heartbeats.last_sent_ns = now_ns
        if self._resend is not None:
            self._watch_backlog(len(raw))

    def _watch_backlog(self, size: int) -> None:
        """Give up a peer that does not take its resend while `size` more bytes pile up behind it."""
        self._waiting_bytes += size
        if self._waiting_bytes > self.limits.max_queued_bytes:
            self._out.clear()  # they are stored, and will be asked for
            self._close("peer is too slow")

    def _send_admin(self, layout: Layout, values: Values, header: Header | None = None) -> None:
        state = self._known_state
        raw = encode(layout, header or state.header, state.next_out, self._now_ns, values)
        self._queue_admin(raw)

    def _queue_admin(self, raw: bytes) -> None:
        """Count and queue an administrative message: not stored, for a GapFill stands in for it."""
        if self.phase is Phase.CLOSED:
            return
        state = self._known_state
        state.sent.put(state.next_out, None)
        state.next_out += 1
        self.admin_moved = True
        self._queue(raw, self._now_ns)

    def send(self, layout: Layout, values: Values, now_ns: int, header: Header | None = None) -> bytes:
        """Number, store and (logged on) queue an application message; return its bytes.

        Without a logon it is stored only, and delivered when the peer asks for what it missed.
        """
        state = self.state
        assert state is not None, "no Logon yet: the session is nobody's"
        msg_seq_num = state.next_out
        raw = encode(layout, header or state.header, msg_seq_num, now_ns, values)
        state.next_out = msg_seq_num + 1
        state.sent.put(msg_seq_num, raw)
        if self._transmits:
            self._out.append(raw)
            self._heartbeats.last_sent_ns = now_ns
            if self._resend is not None:
                self._watch_backlog(len(raw))
        return raw

    def send_encoded(self, raw: bytes, now_ns: int) -> None:
        """As `send`, for a message that `encode_fields` made with the number `state.next_out`."""
        state = self._known_state
        state.sent.put(state.next_out, raw)
        state.next_out += 1
        if self._transmits:
            self._queue(raw, now_ns)

    def send_volatile(self, raw: bytes, now_ns: int) -> None:
        """As `send_encoded`, for a message that nobody wants again later: a GapFill stands in for it on a resend."""
        state = self._known_state
        state.sent.put(state.next_out, None)
        state.next_out += 1
        if self._transmits:
            self._queue(raw, now_ns)

    # --- rejects ----------------------------------------------------------------------------------------------

    def reject_message(self, message: Message, fault: SessionReject, now_ns: int) -> None:
        """Refuse a message with Reject(3)."""
        self._now_ns = now_ns
        # A reason that the version does not know is told by its text.
        is_known = b"%d" % fault.reason in self._known_state.dictionary.session_reject_reasons
        values = (
            message.msg_seq_num,
            fault.text.encode(),
            fault.ref_tag,
            _echo(message.msg_type),
            fault.reason if is_known else None,
        )
        self._send_admin(REJECT, values, self._reply_header(message))

    def business_reject(
        self, message: Message, reason: int, text: str, now_ns: int, ref_id: bytes | None = None
    ) -> bytes:
        """Refuse a message with BusinessMessageReject(j): 380 = `reason`, 379 = `ref_id`."""
        values = (message.msg_seq_num, text.encode(), _echo(message.msg_type), ref_id, reason)
        return self.send(BUSINESS_MESSAGE_REJECT, values, now_ns, self._reply_header(message))

    def _reply_header(self, message: Message) -> Header:
        state = self._known_state
        values = message.values(_REVERSED_TAGS)
        if values == _NOTHING_TO_REVERSE:
            return state.header
        routing = dict(state.routing)
        for tag, value in zip(_REVERSED_TAGS, values, strict=True):
            if value:
                routing[_REVERSED[tag]] = value
        key, digits = state.key, state.config.timestamp_digits
        return Header(key.begin_string, key.sender_comp_id, key.target_comp_id, routing.items(), digits)

    # --- resends ----------------------------------------------------------------------------------------------

    def _request_resend(self) -> None:
        """Ask for everything from the expected number on (16=0: to the end)."""
        self._send_admin(RESEND_REQUEST, (self._known_state.next_in, 0))

    def _begin_resend(self, begin: int, end: int) -> None:
        """Send `begin` to `end` again; what is queued goes first, what is sent from now on waits behind."""
        resend = self._resend
        if resend is None:
            self._before_resend += self._out
            self._out.clear()
            self._waiting_bytes = 0
            live_from = self._known_state.next_out
        else:
            live_from = resend.live_from
        # A number that still waits for its first sending must not go out as a duplicate before.
        self._resend = Resend(begin, min(end, live_from - 1), live_from)

    def _resend_data(self) -> bytes:
        resend = self._resend
        assert resend is not None
        state = self._known_state
        parts = self._before_resend
        self._before_resend = []
        parts.append(resend.chunk(state.sent, state.header, self._now_ns, self.limits.resend_chunk_bytes))
        self._heartbeats.last_sent_ns = self._now_ns
        if resend.is_done:
            self._resend = None
            parts += self._out
            self._out.clear()
        return b"".join(parts)

    # --- closing ----------------------------------------------------------------------------------------------

    def _refuse(self, text: str, reason: str = "") -> None:
        """Send Logout(5) and close: the peer broke a rule that ends the session. `reason`: what is not told to it."""
        self._send_admin(LOGOUT, (text.encode("ascii", "replace"),))
        self._end_with_logout(text, reason or text)

    def _refuse_to_begin(self, text: str) -> None:
        """Send Logout(5) to a peer whose numbers begin at 1 and ours can not: it has the number that it waits for.

        It is not counted: the session is as it was.
        """
        state = self._known_state
        text_field = text.encode("ascii", "replace")
        self._queue(encode(LOGOUT, state.header, FIRST_MSG_SEQ_NUM, self._now_ns, (text_field,)), self._now_ns)
        self._end_with_logout(text, text)

    def _end_with_logout(self, text: str, reason: str) -> None:
        if self.phase is not Phase.CLOSED:
            self._events.append(LoggedOut(text))
            self._close(reason)

    def _close(self, reason: str) -> None:
        if self.phase is Phase.CLOSED:
            return
        if self.phase is Phase.RESET_SENT and self.role is INITIATOR:
            # Whether the peer has reset too is not known: the next Logon says it again.
            self._known_state.resets_next = True
        self.phase = Phase.CLOSED
        self._asked_logon = None
        self._is_regular = False
        self._transmits = False
        if self._resend is not None:
            # The resend dies with its connection; what was to follow it, a Logout mostly, still goes.
            self._out = self._before_resend + self._out
            self._before_resend = []
            self._resend = None
        if self.state is not None and self.state.connection is self:
            self.state.connection = None
        self._recovery.reset()
        self._events.append(Disconnected(reason))

    def _settle(self) -> None:
        """Set whether the next application message may take the fast path."""
        self._is_regular = self.phase is Phase.ACTIVE and self._recovery.is_idle

    def _reject_and_log_out(self, message: Message, reason: int) -> None:
        """Refuse a message whose fault ends the session."""
        state = self._known_state
        if message.msg_seq_num == state.next_in:
            self._count()
        self.reject_message(message, SessionReject(None, reason), self._now_ns)
        # The Reject has said why.
        self._send_admin(LOGOUT, (None,))
        self._end_with_logout("", reject.TEXTS[reason])

    def _count(self) -> None:
        """Advance past an inbound message that is not handed to the application."""
        state = self._known_state
        state.next_in += 1
        self.admin_moved = True
        if self._recovery.is_open:
            self._recovery.moved_to(state.next_in, self._now_ns)


def _echo(msg_type: str) -> bytes | None:
    """Return RefMsgType(372) as it came, unless that is nothing that we may send, or so long that it is no type."""
    is_sendable = 0 < len(msg_type) <= MAX_ECHOED_MSG_TYPE and msg_type.isascii() and msg_type.isprintable()
    return msg_type.encode() if is_sendable else None
