"""One FIX session over one connection: bytes and time in, bytes and events out.

Both sides of a session, acceptor and initiator, are rows of one table (`phases.HANDLERS`).
"""

from collections.abc import Callable

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.fix import tags
from protocols.fix.codec import Header, Layout, Message, encode, format_timestamp
from protocols.fix.core import Lookup, Values
from protocols.fix.events import (
    Disconnected,
    Event,
    LoggedOn,
    LoggedOut,
    LogonHeader,
    LogonRequested,
    MessageReceived,
    RejectReceived,
    SequenceNumbersReset,
    SessionKey,
)
from protocols.fix.handlers import MessageHandlers
from protocols.fix.logon import LogonHandlers
from protocols.fix.messages import HEARTBEAT, LOGOUT, SEQUENCE_RESET, TEST_REQUEST
from protocols.fix.phases import ACCEPTOR, HANDLERS, INITIATOR, Phase, Role
from protocols.fix.state import Limits, SessionConfig, SessionState

__all__ = [
    "ACCEPTOR",
    "HANDLERS",
    "INITIATOR",
    "Disconnected",
    "Event",
    "Limits",
    "LoggedOn",
    "LoggedOut",
    "LogonHeader",
    "LogonRequested",
    "Lookup",
    "MessageReceived",
    "Phase",
    "RejectReceived",
    "Role",
    "SequenceNumbersReset",
    "Session",
    "SessionConfig",
    "SessionKey",
    "SessionState",
    "send_or_store",
]


Fields = tuple[tuple[int, bytes], ...]

# Enum members are dear to look up on their class.
_CLOSED, _AWAITING_LOGON, _AUTHENTICATING = Phase.CLOSED, Phase.AWAITING_LOGON, Phase.AUTHENTICATING
# Between the pieces of a resend, for a transport that writes only when something happens: 64 KiB each millisecond.
_RESEND_PAUSE_NS = 1_000_000


class Session(LogonHandlers, MessageHandlers):
    """One FIX connection.

    After any call, take `next_event()` until it gives None, then write `data_to_send()` until it is empty, and call
    `tick` no later than `deadline_ns`. Once `is_closed`, flush and close the transport.

    `admin_moved` becomes True whenever `state.next_in` or `state.next_out` changed through anything but a returned
    MessageReceived or an application's `send`; its reader clears it.
    """

    __slots__ = ()

    @property
    def is_logged_on(self) -> bool:
        """Logons were exchanged and no Logout was."""
        return self.phase is Phase.ACTIVE or self.phase is Phase.RESET_SENT

    @property
    def is_closed(self) -> bool:
        """Nothing more will be read; what is left to send should be, then the transport closes."""
        return self.phase is Phase.CLOSED

    @property
    def garbled_count(self) -> int:
        """Messages that were skipped as garbled."""
        return self._framer.garbled_count

    # --- bytes and events -------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, now_ns: int) -> None:
        """Take bytes from the peer; nothing is looked at until `next_event`."""
        self._now_ns = now_ns
        if self.phase is _CLOSED:
            return
        heartbeats = self._heartbeats
        heartbeats.last_received_ns = now_ns
        heartbeats.is_tested = False
        try:
            self._framer.feed(data)
        except RemoteProtocolError as error:
            self._close(str(error))

    def next_event(self) -> Event | None:
        """Process messages up to the next event and return it; None when more bytes are needed."""
        events = self._events
        while not events:
            if not self._is_regular:
                if self.phase is _CLOSED or self.phase is _AUTHENTICATING:
                    return None
                if self._take_held():
                    continue
            try:
                message = self._next_message()
            except RemoteProtocolError as error:
                self._close(str(error))
                continue
            if not self._is_regular and self.phase is _AWAITING_LOGON and self._framer.garbled_count:
                # A stranger whose first message is garbled will not send a better one.
                self._close("garbled before Logon")
                continue
            if message is None:
                return None
            if self._is_regular:
                state = self.state
                assert state is not None
                if state.screen.passes(message, state.next_in, self._now_ns):
                    state.next_in += 1
                    return MessageReceived(message)
            self._process(message)
        return events.popleft()

    def data_to_send(self) -> bytes:
        """Return what is queued, joined, and clear it; a large resend comes in several calls."""
        if self._resend is not None:
            return self._resend_data()
        out = self._out
        if not out:
            return b""
        data = b"".join(out) if len(out) > 1 else out[0]
        out.clear()
        return data

    @property
    def has_data_to_send(self) -> bool:
        """Bytes wait, those of a resend on its way included."""
        return bool(self._out) or self._resend is not None

    @property
    def is_resending(self) -> bool:
        """A resend is on its way: `data_to_send` gives it in chunks, and what is sent now waits behind it, bounded."""
        return self._resend is not None

    # --- time -------------------------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` must be called at the latest; None when closed. Soon, while a resend is on its way."""
        if self.phase is Phase.CLOSED:
            return None
        if self._resend is not None:
            return self._now_ns + _RESEND_PAUSE_NS
        times = [self._heartbeats.deadline_ns]
        if self.phase is not Phase.ACTIVE:
            times.append(self._phase_ends_ns)
        if self.is_logged_on:
            times.append(self._session_ends_ns)
        if self._recovery.is_open:
            times.append(self._recovery.moved_ns + self._known_state.config.resend_timeout_ns)
        return min((at for at in times if at is not None), default=None)

    def tick(self, now_ns: int) -> None:
        """Do what is due at `now_ns`."""
        self._now_ns = now_ns
        if self.phase is Phase.CLOSED:
            return
        if self.phase is not Phase.ACTIVE and now_ns >= self._phase_ends_ns:
            self._close("no Logout in time" if self.phase is Phase.LOGOUT_SENT else "no Logon in time")
            return
        if self._session_ends_ns is not None and now_ns >= self._session_ends_ns and self.is_logged_on:
            self.logout("session time is over", now_ns)
            return
        heartbeats = self._heartbeats
        give_up_at, test_at = heartbeats.give_up_at_ns, heartbeats.test_at_ns
        if give_up_at is not None and now_ns >= give_up_at:
            self._close("no Heartbeat in time")
            return
        if test_at is not None and now_ns >= test_at:
            heartbeats.is_tested = True
            self._send_admin(TEST_REQUEST, (b"TEST",))
        heartbeat_at = heartbeats.heartbeat_at_ns
        if heartbeat_at is not None and now_ns >= heartbeat_at:
            self._send_admin(HEARTBEAT, (None,))
        if self._recovery.is_open:
            self._tick_recovery(now_ns)

    def _tick_recovery(self, now_ns: int) -> None:
        """Ask again for a gap that does not shrink; in the end give up, rather than ask for ever."""
        state = self._known_state
        config, recovery = state.config, self._recovery
        if now_ns < recovery.moved_ns + config.resend_timeout_ns:
            return
        if recovery.attempts >= config.max_resend_requests:
            self._refuse(f"messages from {state.next_in} on were asked for in vain")
            return
        recovery.ask_again(state.next_in, now_ns)
        self._request_resend()

    # --- beginning and end ------------------------------------------------------------------------------------

    def logon(self, state: SessionState, now_ns: int, fields: Fields | Callable[[LogonHeader], Fields] = ()) -> None:
        """Begin as initiator: send Logon(A), with `fields` (credentials and the like) added to its body.

        Where they depend on the header, as signatures do, `fields` is a function that makes them of it
        (`protocols.fix.authentication` has those of some venues).
        """
        if self.role is not INITIATOR or self.phase is not Phase.AWAITING_LOGON:
            raise LocalProtocolError("only an initiator that has not begun may log on")
        if state.connection is not None:
            raise LocalProtocolError("the session is connected already")
        config = state.config
        if config.schedule is not None and config.schedule.window(now_ns) is None:
            raise LocalProtocolError("outside of session time")
        self._now_ns = now_ns
        self.state = state
        state.connection = self
        if state.renew(now_ns):
            self.admin_moved = True
        body: list[tuple[int, bytes | int]] = [(tags.ENCRYPT_METHOD, 0), (tags.HEART_BT_INT, config.heart_bt_int)]
        if config.reset_on_logon or state.resets_next:
            state.reset()
            body.append((tags.RESET_SEQ_NUM_FLAG, b"Y"))
        body += fields(_logon_header(state, now_ns)) if callable(fields) else fields
        if config.sends_next_expected:
            body.append((tags.NEXT_EXPECTED_MSG_SEQ_NUM, state.next_in))
        self.phase = Phase.LOGON_SENT
        self._phase_ends_ns = now_ns + config.logon_timeout_ns
        self._send_logon(body)

    def accept_logon(self, now_ns: int) -> None:
        """Answer LogonRequested: the peer is who it says. What came behind its Logon is read from now on.

        Nothing happens where the connection is over by now. Raises LocalProtocolError where nothing was asked.
        """
        asked = self._take_asked(now_ns)
        if asked is not None:
            self._begin(*asked)
            self._settle()

    def refuse_logon(self, now_ns: int, text: str | None = "Logon refused", reason: str = "") -> None:
        """Answer LogonRequested: the peer hears `text` in a Logout(5), or, with None, nothing at all.

        A Logout takes a number of the session, so it goes only where the session is known and nobody else is in it.
        `reason` is for Disconnected, and never told to the peer.
        """
        asked = self._take_asked(now_ns)
        if asked is None:
            return
        state, _ = asked
        if state is None or state.connection is not None or text is None:
            self._close(reason or "Logon refused")
        else:
            self.state = state
            self._refuse(text, reason)

    def _take_asked(self, now_ns: int) -> tuple[SessionState | None, Message] | None:
        self._now_ns = now_ns
        asked, self._asked_logon = self._asked_logon, None
        if asked is None and self.phase is not Phase.CLOSED:
            raise LocalProtocolError("there is no Logon that waits for an answer")
        return asked

    def reset(self, now_ns: int) -> None:
        """Begin both sides' numbers again at 1 within the session: send Logon with 141=Y, and await the peer's.

        SequenceNumbersReset tells when it is done. Raises LocalProtocolError while messages of the peer are missing, or
        a resend is on its way: they would be lost.
        """
        if self.phase is not Phase.ACTIVE or not self._recovery.is_idle or self._resend is not None:
            raise LocalProtocolError("only a session that is logged on, and lacks nothing, may reset its numbers")
        self._now_ns = now_ns
        state = self._known_state
        state.next_out = 1
        state.sent.reset()
        interval = self._heartbeats.heart_bt_int
        body: list[tuple[int, bytes | int]] = [(tags.ENCRYPT_METHOD, 0), (tags.HEART_BT_INT, interval)]
        body.append((tags.RESET_SEQ_NUM_FLAG, b"Y"))
        if state.config.sends_next_expected:
            body.append((tags.NEXT_EXPECTED_MSG_SEQ_NUM, 1))
        self.phase = Phase.RESET_SENT
        self._phase_ends_ns = now_ns + state.config.logon_timeout_ns
        self._send_logon(body)
        self._settle()

    def sequence_reset(self, new_seq_no: int, now_ns: int) -> None:
        """Tell the peer by SequenceReset(4) with 123=N that our next number is `new_seq_no`: the last resort (case 9).

        What it had not received is lost to it. Raises LocalProtocolError without a logon, or for a number that is past.
        """
        state = self._known_state
        if not self.is_logged_on or self._resend is not None or new_seq_no <= state.next_out:
            raise LocalProtocolError("a session that is logged on, and resends nothing, may go forward")
        self._now_ns = now_ns
        self._send_admin(SEQUENCE_RESET, (new_seq_no, b"N"))
        state.next_out = new_seq_no
        state.sent.reset(new_seq_no)

    def logout(self, text: str, now_ns: int) -> None:
        """Say goodbye and wait for the peer's Logout; before a logon, just close."""
        self._now_ns = now_ns
        if self.is_logged_on:
            self._send_admin(LOGOUT, (text.encode("ascii", "replace") or None,))
            self.phase = Phase.LOGOUT_SENT
            self._phase_ends_ns = now_ns + self._known_state.config.logout_timeout_ns
            self._settle()
        elif self.phase is not Phase.LOGOUT_SENT and self.phase is not Phase.CLOSED:
            self._close(text)

    def hang_up(self, text: str, now_ns: int) -> None:
        """Say goodbye and close without waiting for the answer, as to a peer that does not read."""
        self._now_ns = now_ns
        if self.is_logged_on:
            self._refuse(text)
        else:
            self._close(text)

    def connection_lost(self, now_ns: int) -> None:
        """Take note that the transport is gone."""
        self._now_ns = now_ns
        self._close("connection lost")
        self._out.clear()


def _logon_header(state: SessionState, now_ns: int) -> LogonHeader:
    sending_time = format_timestamp(now_ns, state.config.timestamp_digits)
    key = state.key
    number = b"%d" % state.next_out
    return LogonHeader(key.sender_comp_id.encode(), key.target_comp_id.encode(), number, sending_time)


def send_or_store(
    state: SessionState, layout: Layout, values: Values, now_ns: int, header: Header | None = None
) -> bytes:
    """Send through the live connection; without one number and store only, to be delivered by a later resend.

    Layout and values are those of FIX 4.4, whatever the session's version: they are written as that has them
    (`SessionState.view`). `header` is one with further fields than the session's own. Raises LocalProtocolError for a
    message that the version has not.
    """
    if not state.writes_as_given:
        view = state.view(layout)
        if view is not None:
            layout, values = view.layout, view.values(values)
    if state.connection is not None:
        return state.connection.send(layout, values, now_ns, header)
    if state.config.renews_when_away:
        state.renew(now_ns)
    raw = encode(layout, header or state.header, state.next_out, now_ns, values)
    state.sent.put(state.next_out, raw)
    state.next_out += 1
    return raw
