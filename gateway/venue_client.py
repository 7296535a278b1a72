"""The transport of one venue: TLS, WebSocket, reconnection. Bytes go to the session, and nothing is decided here."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import urlsplit

from gateway.clock import now_ns
from gateway.venue_link import SessionLink
from protocols.websocket import WebSocketClient

# The venue's word that the handshake is done must come within this, or the attempt is given up.
HANDSHAKE_TIMEOUT_S: Final = 10.0
# A venue that hangs up sooner than this, each time, is dialled ever more slowly: setting up costs it, and our limits.
SETTLED_S: Final = 10.0
# A connection that is over is cut if the venue has not closed its side in this time.
CLOSE_TIMEOUT_S: Final = 2.0
# Up to so many messages in one read are answered one by one; more are a burst, and written in one go.
FEW_MESSAGES: Final = 3
# How late a deadline of the session may be met at the most; none of them is finer than a heartbeat or a request's pace.
MAX_SLEEP_S: Final = 0.02


class VenueClient:
    """Keeps one venue connected: dial, hand bytes over, and on loss dial again after a jittered, growing pause."""

    def __init__(
        self,
        link_of: Callable[[VenueClient], SessionLink],
        *,
        url: str,
        reconnect_min_s: float,
        reconnect_max_s: float,
        flush_all: Callable[[], None],
        ssl_context: ssl.SSLContext | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self.link = link_of(self)
        self.flush_all = flush_all
        self._reconnect_min_s = reconnect_min_s
        self._reconnect_max_s = reconnect_max_s
        self._ssl_context = ssl_context
        self._jitter = jitter
        self._connection: VenueConnection | None = None
        self._is_stopping = False
        self.attempts = 0

    async def run(self) -> None:
        """Stay connected until `stop`."""
        while not self._is_stopping:
            lived = await self._connect_once()
            # A session that was live for a while earns a fresh start; anything else waits longer each time.
            self.attempts = 0 if lived else self.attempts + 1
            if not self._is_stopping:
                await asyncio.sleep(self.pause_s())

    def pause_s(self) -> float:
        """Return how long to wait before the next attempt: full jitter over an exponentially growing ceiling."""
        ceiling = min(self._reconnect_max_s, self._reconnect_min_s * 2.0 ** min(self.attempts, 16))
        return self._reconnect_min_s + self._jitter() * (ceiling - self._reconnect_min_s)

    def stop(self) -> None:
        """Close the connection and do not dial again."""
        self._is_stopping = True
        if self._connection is not None:
            self._connection.close()

    def flush(self) -> None:
        """Write what the session queued; nothing happens while there is no connection."""
        if self._connection is not None:
            self._connection.flush()

    async def _connect_once(self) -> bool:
        parts = urlsplit(self.url)
        is_tls = parts.scheme == "wss"
        port = parts.port or (443 if is_tls else 80)
        loop = asyncio.get_running_loop()
        context = (self._ssl_context or ssl.create_default_context()) if is_tls else None
        connection = VenueConnection(self)
        try:
            # Not wait_for: up to Python 3.11 it loses a cancellation that comes together with a refused connection.
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await loop.create_connection(lambda: connection, parts.hostname or "", port, ssl=context)
            self._connection = connection
            return await connection.closed
        except (OSError, TimeoutError) as error:
            self.link.report_transport(f"can not connect: {error}")
            return False
        finally:
            self._connection = None


class VenueConnection(asyncio.Protocol):
    """One TCP connection to a venue."""

    def __init__(self, client: VenueClient) -> None:
        self._client = client
        self._link = client.link
        self._socket = WebSocketClient(client.url, entropy=os.urandom)
        self._transport: asyncio.Transport | None = None
        self._is_up = False
        self._live_since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._socket.connect()
        self._write()
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT_S, self._handshake_timed_out)

    def data_received(self, data: bytes) -> None:
        now = now_ns()
        socket, link = self._socket, self._link
        socket.receive_data(data)
        if not self._is_up and socket.is_open:
            self._is_up = True
            link.connected(now)
            self._set_timer(now)
        messages = socket.messages()
        is_few = len(messages) <= FEW_MESSAGES
        for message in messages:
            link.receive(message, now)
            if is_few:
                self._client.flush_all()  # a quiet moment: who waits for this reply need not wait for what follows it
        if not is_few:
            self._client.flush_all()  # clients before the venue: they wait, and what it is told now answers nobody
        self._after(now)

    def flush(self) -> None:
        """Frame and write what the session queued, in one write."""
        socket = self._socket
        if socket.is_open:
            for frame in self._link.session.frames_to_send():
                socket.send_text(frame)
        self._write()

    def _after(self, now: int) -> None:
        """What every batch ends with: write, close where the session or the socket says so, set the timer."""
        if not self._live_since_s and self._link.session.is_live:
            self._live_since_s = asyncio.get_running_loop().time()
        self.flush()
        if self._link.must_close or self._socket.must_close_transport or self._socket.is_closed:
            self.close()

    def close(self) -> None:
        """Close the WebSocket and the transport."""
        if self._socket.is_open:
            self._socket.close()
            self._write()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._is_up:
            self._link.disconnected(now_ns())
            self._client.flush_all()
        if not self.closed.done():
            lived_s = asyncio.get_running_loop().time() - self._live_since_s if self._live_since_s else 0.0
            self.closed.set_result(lived_s >= SETTLED_S)

    def eof_received(self) -> bool:
        self._socket.receive_eof()
        return False

    def _write(self) -> None:
        data = self._socket.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _handshake_timed_out(self) -> None:
        self._timer = None
        if not self._is_up:
            self._link.report_transport("no WebSocket handshake in time")
            self.close()
        else:
            self._set_timer(now_ns())

    def _on_timer(self) -> None:
        self._timer = None
        now = now_ns()
        deadline = self._link.deadline_ns
        if deadline is not None and deadline <= now:
            self._link.tick(now)
            self._after(now)
            self._client.flush_all()
        if self._transport is not None and not self._transport.is_closing():
            self._set_timer(now)

    def _set_timer(self, now: int) -> None:
        """Sleep until the session's deadline, or look at it again soon: a request that is sent may bring it nearer.

        Working the deadline out anew after each batch instead would cost every order more than this costs in all.
        """
        deadline = self._link.deadline_ns
        delay_s = MAX_SLEEP_S if deadline is None else min(MAX_SLEEP_S, max(0.0, (deadline - now) / 1e9))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)
