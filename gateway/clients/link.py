"""Between one client's sans-I/O FIX session and the pipeline. Still no I/O.

It keeps the one rule that a crash depends on: the session's numbers are journalled before the bytes that they number
leave, and a message is counted as received by the record of what was decided on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gateway.clients.authentication import Verdict
from gateway.clients.renewals import begin_again
from gateway.hot_path import take_regular
from gateway.pipeline import Pipeline
from protocols.fix.session import (
    Disconnected,
    Limits,
    LoggedOn,
    LogonRequested,
    MessageReceived,
    Session,
    SessionKey,
    SessionState,
)
from protocols.fix.steps import next_event

# The orders of a full read go out in parts: the venue, and the client that waits for its first answer, begin with those
# while we are at the rest. Fewer a part cost more writes than that gains.
MESSAGES_AT_ONCE: Final = 32
MESSAGES_IN_ALL: Final = 1 << 62


class ClientLink:
    """One connection of a client. After any call write `session.data_to_send()` and flush the batch."""

    def __init__(
        self,
        states: Mapping[SessionKey, SessionState],
        pipeline: Pipeline,
        now_ns: int,
        limits: Limits,
        on_logged_on: Callable[[str], None],
        cancels_on_disconnect: Callable[[str], bool] = lambda name: True,
        on_logon_requested: Callable[[LogonRequested], None] | None = None,
    ) -> None:
        """`on_logon_requested` sees to it that `answer_logon` is called; without it a CompID is enough."""
        self.session = Session(
            states.get,
            now_ns,
            limits=limits,
            authenticates=on_logon_requested is not None,
            may_begin_again=partial(begin_again, pipeline),
        )
        self._on_logon_requested = on_logon_requested
        self._pipeline = pipeline
        self._on_logged_on = on_logged_on
        self._cancels_on_disconnect = cancels_on_disconnect
        self._is_logged_on = False

    @property
    def name(self) -> str:
        """What the configuration calls the session; empty before its Logon."""
        state = self.session.state
        return "" if state is None else state.name

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take bytes of the client and act on every whole message in them."""
        self.session.receive_data(data, now_ns)
        self._handle_events(now_ns)

    def receive_some(self, data: bytes, now_ns: int) -> bool:
        """As `receive`, but stop after MESSAGES_AT_ONCE; True: flush what they caused, and come again without bytes."""
        if data:
            self.session.receive_data(data, now_ns)
        return self._handle_events(now_ns, MESSAGES_AT_ONCE)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        self.session.tick(now_ns)
        self._handle_events(now_ns)

    def log_out(self, text: str, now_ns: int) -> None:
        """Say goodbye; the transport closes after the flush."""
        self.session.logout(text, now_ns)
        self._handle_events(now_ns)

    def answer_logon(self, verdict: Verdict, now_ns: int) -> None:
        """Let the client in or send it away, as was found out about its Logon."""
        if verdict.is_accepted:
            self.session.accept_logon(now_ns)
        else:
            self.session.refuse_logon(now_ns, verdict.text, verdict.reason)
        self._handle_events(now_ns)

    def hang_up(self, text: str, now_ns: int) -> None:
        """Say goodbye to who does not read, and wait for no answer."""
        self.session.hang_up(text, now_ns)
        self._handle_events(now_ns)

    def disconnected(self, now_ns: int) -> None:
        """The transport is gone."""
        self.session.connection_lost(now_ns)
        self._handle_events(now_ns)

    def _session_ended(self, now_ns: int) -> None:
        """Cancel the client's working orders, where it wants that, as soon as it is gone or its grace is over.

        Not when the transport closes: a transport whose peer has vanished may take minutes to notice, and by then the
        client may have logged on again, with new orders.
        """
        was_logged_on, self._is_logged_on = self._is_logged_on, False
        if was_logged_on:
            self._pipeline.controls.session_ended(self.name, self._cancels_on_disconnect(self.name), now_ns)

    def _handle_events(self, now_ns: int, most: int = MESSAGES_IN_ALL) -> bool:
        """Act on up to so many messages; tell whether there may be more."""
        session, pipeline, name = self.session, self._pipeline, self.name
        while most:
            taken = take_regular(session, pipeline, name, now_ns, most)
            if taken:
                most -= taken
                continue
            event = next_event(session)
            if session.admin_moved:
                session.admin_moved = False
                state = session.state
                assert state is not None
                # The message in hand is not acted on yet: the record of its decision will count it.
                next_in = event.message.msg_seq_num if isinstance(event, MessageReceived) else state.next_in
                name = state.name
                pipeline.session_moved(name, next_in, state.next_out, now_ns)
            if type(event) is MessageReceived:
                pipeline.receive(name, event.message, now_ns)
                most -= 1
            elif event is None:
                return False
            elif isinstance(event, LoggedOn):
                name = self.name
                self._is_logged_on = True
                pipeline.controls.logged_on(name, now_ns)
                self._on_logged_on(name)
            elif isinstance(event, LogonRequested):
                assert self._on_logon_requested is not None
                self._on_logon_requested(event)
            elif isinstance(event, Disconnected):
                pipeline.monitor.session_closed(name, event.reason)
                self._session_ended(now_ns)
        return True
