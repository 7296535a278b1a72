"""Our end of a connection to an independent engine: a session on uvloop with the real clock, and what it saw."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from protocols.fix.codec import Layout, Message, format_timestamp
from protocols.fix.session import (
    ACCEPTOR,
    INITIATOR,
    Disconnected,
    Event,
    LoggedOn,
    LoggedOut,
    MessageReceived,
    RejectReceived,
    Session,
    SessionKey,
    SessionState,
    send_or_store,
)

REPORT = Layout("8", (6, 11, 14, 17, 37, 38, 39, 54, 55, 150, 151))
ORDER = Layout("D", (11, 21, 38, 40, 44, 54, 55, 59, 60))
_TICK_S = 0.02


class Desk:
    """All connections of one session, and what came over them. `on_message` is called for each application message."""

    def __init__(self, state: SessionState, on_message: Callable[["Connection", Message], None] | None = None) -> None:
        self.state = state
        self.on_message = on_message
        self.messages: list[Message] = []
        self.rejects: list[Message] = []
        self.texts: list[str] = []
        self.logons = 0
        self.connection: Connection | None = None
        # Bytes that each connection which logs on, from the first, lives to write.
        self.cuts: list[int] = []

    def lookup(self, key: SessionKey) -> SessionState | None:
        """The one session that there is."""
        return self.state if key == self.state.key else None

    def acceptor(self) -> "Connection":
        """Make the protocol of an accepted connection."""
        return Connection(self, is_initiator=False)

    def initiator(self) -> "Connection":
        """Make the protocol of a connection of ours, which logs on."""
        return Connection(self, is_initiator=True)

    def report(self, cl_ord_id: bytes, quantity: bytes = b"10") -> None:
        """Send, or store for a peer that is away, that an order is new."""
        number = b"%d" % self.state.next_out
        values = (b"0", cl_ord_id, b"0", number, number, quantity, b"0", b"1", b"BTC-PERPETUAL", b"0", quantity)
        send_or_store(self.state, REPORT, values, time.time_ns())
        self.flush()

    def order(self, cl_ord_id: bytes) -> None:
        """Send an order."""
        now_ns = time.time_ns()
        values = (cl_ord_id, b"1", b"10", b"2", b"50000.5", b"1", b"BTC-PERPETUAL", b"0", format_timestamp(now_ns))
        send_or_store(self.state, ORDER, values, now_ns)
        self.flush()

    def flush(self) -> None:
        """Write what waits, where there is a connection."""
        if self.connection is not None:
            self.connection.flush()


class Connection(asyncio.Protocol):
    """One connection; `cut` ends it as a broken wire would."""

    def __init__(self, desk: Desk, is_initiator: bool) -> None:
        self.desk = desk
        self.is_initiator = is_initiator
        self.session = Session(desk.lookup, time.time_ns(), role=INITIATOR if is_initiator else ACCEPTOR)
        self.transport: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.written_bytes = 0
        self.cut_after_bytes: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The wire is up."""
        self.transport = cast(asyncio.Transport, transport)
        self.desk.connection = self
        if self.is_initiator:
            self.session.logon(self.desk.state, time.time_ns())
        self.tick()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self.session.receive_data(data, time.time_ns())
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The wire is down."""
        if self.timer is not None:
            self.timer.cancel()
        self.session.connection_lost(time.time_ns())
        self.flush()
        if self.desk.connection is self:
            self.desk.connection = None

    def tick(self) -> None:
        """Do what is due, a little later than a timer of its own would."""
        self.session.tick(time.time_ns())
        self.flush()
        if not self.session.is_closed:
            self.timer = asyncio.get_running_loop().call_later(_TICK_S, self.tick)

    def cut(self) -> None:
        """Break the wire: what was not read is lost, and so is what was not written."""
        if self.transport is not None:
            self.transport.abort()

    def flush(self) -> None:
        """Tell events and write what is queued, up to where the wire is to break."""
        transport = self.transport
        if transport is None:
            return
        while (event := self.session.next_event()) is not None:
            self._note(event)
        while (data := self.session.data_to_send()) and not transport.is_closing():
            if self.cut_after_bytes is not None and self.written_bytes + len(data) > self.cut_after_bytes:
                transport.write(data[: self.cut_after_bytes - self.written_bytes])
                self.cut_after_bytes = None
                self.cut()
                return
            self.written_bytes += len(data)
            transport.write(data)
        if self.session.is_closed:
            transport.close()

    def _note(self, event: Event) -> None:
        desk = self.desk
        if isinstance(event, MessageReceived):
            desk.messages.append(event.message)
            if desk.on_message is not None:
                desk.on_message(self, event.message)
        elif isinstance(event, RejectReceived):
            desk.rejects.append(event.message)
        elif isinstance(event, LoggedOn):
            desk.logons += 1
            self.cut_after_bytes = desk.cuts.pop(0) if desk.cuts else None
        elif isinstance(event, LoggedOut | Disconnected):
            desk.texts.append(event.text if isinstance(event, LoggedOut) else event.reason)


def texts(messages: list[Message], tag: int) -> list[str]:
    """The values of one tag."""
    return [(message.get(tag) or b"").decode() for message in messages]
