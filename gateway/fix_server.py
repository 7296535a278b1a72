"""TCP connections of FIX clients: bytes in, bytes out, timers. No decisions are made here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from gateway.clients.authentication import Enquiry, Peer, Verdict
from gateway.clients.front_door import FrontDoor, peer_of
from gateway.clients.link import ClientLink
from gateway.clients.tls import TlsTransport
from gateway.clock import now_ns
from gateway.pipeline import Pipeline
from protocols.fix.session import Limits, LogonRequested

# A connection that is over is cut if its last bytes have not left in this time.
CLOSE_TIMEOUT_S: Final = 2.0
MAX_SLEEP_S: Final = 1.0


class FixServer:
    """All client connections of one listening port; also the place where a batch is flushed."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        max_connections: int,
        max_write_buffer_bytes: int,
        limits: Limits,
        cancels_on_disconnect: Callable[[str], bool],
        door: FrontDoor | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.door = door or FrontDoor()
        self.max_connections = max_connections
        self.max_write_buffer_bytes = max_write_buffer_bytes
        self.limits = limits
        self.cancels_on_disconnect = cancels_on_disconnect
        # The journal also knows sessions that the configuration has dropped: they log on no more.
        sessions = pipeline.reports.sessions
        self.states = {sessions[name].key: sessions[name] for name in pipeline.accounts_of}
        self.connections: set[FixConnection] = set()
        self.logged_on: dict[str, FixConnection] = {}

    def protocol(self) -> FixConnection:
        """Make the protocol of one accepted connection (for loop.create_server)."""
        return FixConnection(self)

    def flush(self) -> None:
        """Write everything that the batch queued: to venues first, since orders are waiting, then to clients."""
        pipeline = self.pipeline
        pipeline.router.flush()
        if pipeline.volatile.is_waiting:
            pipeline.volatile.flush(now_ns())
        touched = pipeline.reports.touched
        while touched:
            connection = self.logged_on.get(touched.pop())
            if connection is not None:
                connection.write()
        pipeline.monitor.batch_written(now_ns())

    def backlog_bytes(self, session: str) -> int:
        """Return how much a client has not taken yet: more than any limit while it is being resent something."""
        connection = self.logged_on.get(session)
        return 1 << 62 if connection is None else connection.backlog_bytes

    def close(self) -> None:
        """Log every client out, and cancel for those that want it: who is gone can not."""
        now = now_ns()
        for connection in list(self.connections):
            connection.log_out("gateway is stopping", now)
        for name in self.pipeline.reports.sessions:
            if self.cancels_on_disconnect(name):
                self.pipeline.cancel_all(name, now)
        self.flush()

    def abort(self) -> None:
        """Cut whoever has not answered the Logout(5)."""
        for connection in list(self.connections):
            connection.abort()


class FixConnection(asyncio.Protocol):
    """One TCP connection. Whose it is, is known from its Logon on."""

    def __init__(self, server: FixServer) -> None:
        self._server = server
        self._link = ClientLink(
            server.states,
            server.pipeline,
            now_ns(),
            server.limits,
            self._logged_on,
            server.cancels_on_disconnect,
            None if server.door.authenticator is None else self._logon_requested,
        )
        self._session = self._link.session
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._resends_next = False
        self._is_ending = False
        self._peer: Peer | None = None
        self._tls: TlsTransport | None = None
        self._enquiry: Enquiry | None = None

    @property
    def is_asked_about(self) -> bool:
        """Its Logon is here, and being looked at."""
        return self._enquiry is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        server, door = self._server, self._server.door
        self._peer = peer = peer_of(transport)
        room = server.max_connections - (len(server.connections) - len(door.lobby))
        objection = door.objection(peer) or ("" if room > 0 else "max_connections reached")
        if peer is None or objection:
            self.refuse(objection)
            return
        leaving = door.lobby.enter(self, peer.origin, room)
        if leaving is not None:
            leaving.refuse("too many wait to log on")
        server.connections.add(self)
        self._set_timer(now_ns())
        if door.tls is not None:
            self._transport = self._tls = TlsTransport(self._transport, door.tls)

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        if self._tls is not None:
            data = self._decrypted(self._tls, data)
            if not data:
                return
        now = now_ns()
        link, server = self._link, self._server
        while link.receive_some(data, now):
            server.flush()
            data = b""
        server.flush()
        if self._session.has_data_to_send or self._session.is_closed:  # administrative: no report touched the session
            self.write()

    def write(self) -> None:
        """Hand everything queued to the socket in one write; a client that does not read is cut off."""
        transport, session = self._transport, self._session
        if transport is None or transport.is_closing() or self._is_ending:
            return
        # A resend comes in small pieces, one a turn of the loop so that no other session waits for it, as fast as the
        # client reads; the session bounds what waits behind it. All else goes to the transport at once, and the size of
        # its buffer tells who does not read.
        while not ((is_resending := session.is_resending) and (self._is_paused or self._resends_next)):
            data = session.data_to_send()
            if not data:
                break
            transport.write(data)
            if is_resending:
                self._resends_next = session.has_data_to_send
                if self._resends_next:
                    asyncio.get_running_loop().call_soon(self._write_next)
            elif transport.get_write_buffer_size() > self._server.max_write_buffer_bytes:
                self._give_up(transport)
                return
        if session.is_closed:
            self._end(transport)

    def _write_next(self) -> None:
        self._resends_next = False
        self.write()

    def _give_up(self, transport: asyncio.Transport) -> None:
        """Log out a client that does not read, without waiting for its answer; what it missed is kept for a resend."""
        server, name = self._server, self._link.name
        server.pipeline.monitor.alert(f"fix: {name} does not read; its reports wait")
        if server.logged_on.get(name) is self:
            del server.logged_on[name]
        self._link.hang_up("too much is unread", now_ns())
        server.pipeline.router.flush()  # cancels of who is gone
        transport.write(self._session.data_to_send())
        self._end(transport)

    def _end(self, transport: asyncio.Transport) -> None:
        """Close when what is left has gone; cut, where nobody takes it."""
        self._is_ending = True
        if self._session.state is not None and transport.can_write_eof():
            # What it sends is read on and dropped: to close on unread bytes is a reset, which takes the Logout with it.
            transport.write_eof()
        else:
            transport.close()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, transport.abort)

    @property
    def backlog_bytes(self) -> int:
        """What waits for the client to read; a resend on its way waits too, however much it is."""
        if self._transport is None or self._session.is_resending:
            return 1 << 62
        return self._transport.get_write_buffer_size()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self.write()

    def connection_lost(self, exc: Exception | None) -> None:
        if self not in self._server.connections:
            return  # refused, or aborted before
        server, name = self._server, self._link.name
        if self._timer is not None:
            self._timer.cancel()
        if self._enquiry is not None:
            self._enquiry.cancel()
        if self._tls is not None and not self._tls.is_open:
            self._count_refusal("no TLS handshake")
        server.connections.discard(self)
        server.door.lobby.leave(self)
        if server.logged_on.get(name) is self:
            del server.logged_on[name]
        self._link.disconnected(now_ns())
        server.flush()

    def log_out(self, text: str, now: int) -> None:
        """Say goodbye; the connection closes when the client has answered, or in its logout time."""
        self._link.log_out(text, now)
        self.write()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def refuse(self, reason: str) -> None:
        """Drop a connection that may not log on, or not now, and count why."""
        self._tls = None
        self._count_refusal(reason)
        self.abort()

    def _decrypted(self, tls: TlsTransport, data: bytes) -> bytes:
        was_open = tls.is_open
        try:
            data = tls.receive(data)
            if tls.is_open and not was_open and self._peer is not None:
                self._peer = Peer(self._peer.address, tls.client_certificate())
        except (OSError, ValueError):
            self.refuse("TLS broken" if was_open else "no TLS handshake")
            return b""
        return data

    def _count_refusal(self, reason: str) -> None:
        address = "an unknown address" if self._peer is None else str(self._peer.address)
        self._server.pipeline.monitor.connection_refused(reason, address, now_ns())

    def _logon_requested(self, event: LogonRequested) -> None:
        authenticator, peer = self._server.door.authenticator, self._peer
        assert authenticator is not None and peer is not None
        enquiry = authenticator.ask(peer, event.key, event.message, self._answered)
        self._enquiry = enquiry if enquiry.answer is not None else None

    def _answered(self, verdict: Verdict) -> None:
        self._enquiry = None
        self._link.answer_logon(verdict, now_ns())
        self._server.flush()
        self.write()

    def _logged_on(self, name: str) -> None:
        self._server.door.lobby.leave(self)
        self._server.logged_on[name] = self
        self._set_timer(now_ns())  # HeartBtInt(108) may be shorter than what is left of the time to Logon

    def _on_timer(self) -> None:
        self._timer = None
        now = now_ns()
        deadline = self._session.deadline_ns
        if deadline is not None and deadline <= now:
            self._link.tick(now)
            self._server.flush()
            self.write()
        self._set_timer(now)

    def _set_timer(self, now: int) -> None:
        """Sleep until the session's deadline; traffic moves it later, so a timer that fires early sleeps again."""
        deadline = self._session.deadline_ns
        if self._timer is not None:
            self._timer.cancel()
        if deadline is None or self._transport is None or self._transport.is_closing():
            return
        # A resend is due at once as long as it lasts, but its pieces have their own turns: look again in a moment. And
        # look now and then in any case: a logout, or a gap that opens, brings the deadline nearer.
        delay_s = min(MAX_SLEEP_S, max(0.001, (deadline - now) / 1e9))
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)
