"""Between one client's sans-I/O FIX session and the pipeline. Still no I/O.

It keeps the one rule that a crash depends on: the session's numbers are journalled before the bytes that they number
leave, and a message is counted as received by the record of what was decided on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.pipeline import Pipeline
from protocols.fix.session import Disconnected, Limits, LoggedOn, MessageReceived, Session, SessionKey, SessionState


class ClientLink:
    """One connection of a client. After any call write `session.data_to_send()` and flush the batch."""

    def __init__(
        self,
        states: Mapping[SessionKey, SessionState],
        pipeline: Pipeline,
        now_ns: int,
        limits: Limits,
        on_logged_on: Callable[[str], None],
    ) -> None:
        self.session = Session(states.get, now_ns, limits=limits)
        self._pipeline = pipeline
        self._on_logged_on = on_logged_on

    @property
    def name(self) -> str:
        """The client's CompID; empty before its Logon."""
        state = self.session.state
        return "" if state is None else state.key.target_comp_id

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take bytes of the client and act on every whole message in them."""
        self.session.receive_data(data, now_ns)
        self._handle_events(now_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        self.session.tick(now_ns)
        self._handle_events(now_ns)

    def log_out(self, text: str, now_ns: int) -> None:
        """Say goodbye; the transport closes after the flush."""
        self.session.logout(text, now_ns)
        self._handle_events(now_ns)

    def disconnected(self, now_ns: int, cancels: Callable[[str], bool]) -> None:
        """The transport is gone; where the client wants that, its working orders are cancelled."""
        was_on = self.session.state is not None and self.session.state.connection is self.session
        name = self.name
        self.session.connection_lost(now_ns)
        self._handle_events(now_ns)
        if was_on and cancels(name):
            self._pipeline.cancel_all(name, now_ns)

    def _handle_events(self, now_ns: int) -> None:
        session, pipeline = self.session, self._pipeline
        while True:
            event = session.next_event()
            is_message = type(event) is MessageReceived
            if session.admin_moved:
                session.admin_moved = False
                state = session.state
                assert state is not None
                # The message in hand is not acted on yet: the record of its decision will count it.
                next_in = event.message.msg_seq_num if isinstance(event, MessageReceived) else state.next_in
                pipeline.session_moved(self.name, next_in, state.next_out, now_ns)
            if event is None:
                return
            if is_message:
                pipeline.receive(self.name, event.message, now_ns)  # type: ignore[union-attr]
            elif isinstance(event, LoggedOn):
                self._on_logged_on(self.name)
            elif isinstance(event, Disconnected):
                pipeline.monitor.session_closed(self.name, event.reason)
