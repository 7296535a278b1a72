"""One FIX session over one connection: bytes and time in, bytes and events out.

Both sides of a session, acceptor and initiator, are rows of one table (`phases.HANDLERS`).
"""

from collections.abc import Iterable

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.fix import tags
from protocols.fix.codec import Header, Layout, encode, encode_fields
from protocols.fix.core import Authenticate, Lookup, Values
from protocols.fix.events import (
    Disconnected,
    Event,
    LoggedOn,
    LoggedOut,
    MessageReceived,
    RejectReceived,
    SequenceNumbersReset,
    SessionKey,
)
from protocols.fix.handlers import MessageHandlers
from protocols.fix.logon import LogonHandlers
from protocols.fix.messages import HEARTBEAT, LOGOUT, TEST_REQUEST
from protocols.fix.phases import ACCEPTOR, HANDLERS, INITIATOR, Phase, Role
from protocols.fix.state import Limits, SessionConfig, SessionState
from protocols.fix.versions import Field, written_fields

__all__ = [
    "ACCEPTOR",
    "HANDLERS",
    "INITIATOR",
    "Authenticate",
    "Disconnected",
    "Event",
    "Limits",
    "LoggedOn",
    "LoggedOut",
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
    "send_fields_or_store",
    "send_or_store",
]


# Enum members are dear to look up on their class.
_CLOSED = Phase.CLOSED
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
                if self.phase is _CLOSED:
                    return None
                if self._take_held():
                    continue
            try:
                message = self._next_message()
            except RemoteProtocolError as error:
                self._close(str(error))
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

    def logon(self, state: SessionState, now_ns: int, fields: tuple[tuple[int, bytes], ...] = ()) -> None:
        """Begin as initiator: send Logon(A), with `fields` (credentials and the like) added to its body."""
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
        body += fields
        if config.sends_next_expected:
            body.append((tags.NEXT_EXPECTED_MSG_SEQ_NUM, state.next_in))
        self.phase = Phase.LOGON_SENT
        self._phase_ends_ns = now_ns + config.logon_timeout_ns
        self._send_logon(body)

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

    def connection_lost(self, now_ns: int) -> None:
        """Take note that the transport is gone."""
        self._now_ns = now_ns
        self._close("connection lost")
        self._out.clear()


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
    state.renew(now_ns)
    raw = encode(layout, header or state.header, state.next_out, now_ns, values)
    state.sent.put(state.next_out, raw)
    state.next_out += 1
    return raw


def send_fields_or_store(state: SessionState, msg_type: str, fields: Iterable[Field], now_ns: int) -> bytes:
    """As `send_or_store`, for body fields in the order given, groups among them; those that are None are left out."""
    if state.connection is None:
        state.renew(now_ns)
    written = written_fields(state.dictionary, msg_type, fields)
    raw = encode_fields(msg_type, state.header, state.next_out, now_ns, written)
    if state.connection is not None:
        state.connection.send_encoded(raw, now_ns)
    else:
        state.sent.put(state.next_out, raw)
        state.next_out += 1
    return raw
