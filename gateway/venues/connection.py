"""One WebSocket connection to a venue: bytes in and out, and no word of what they mean."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from gateway.clock import now_ns
from protocols.websocket import WebSocketClient

if TYPE_CHECKING:
    from gateway.venues.client import VenueClient

# The venue's word that the handshake is done must come within this, or the attempt is given up.
HANDSHAKE_TIMEOUT_S: Final = 10.0
# A connection that is over is cut if the venue has not closed its side in this time.
CLOSE_TIMEOUT_S: Final = 2.0
# Up to so many messages in one read are answered one by one; more are a burst, and written in one go.
FEW_MESSAGES: Final = 3
# A burst is taken in turns: after so long the loop looks at everybody else first, clients' orders above all. What a
# connection says of orders may take longer than what it says of the market; while a rest waits, nothing more is read.
ORDERS_TURN_NS: Final = 1_000_000
# So many messages of orders share an instant, as the orders of one read do: to look at the clock takes a tenth of each.
ORDERS_AN_INSTANT: Final = 4
# Some six messages: shorter turns than 0.1 ms take a third off the p99 of orders beside 20,000 messages a second.
MARKET_TURN_NS: Final = 25_000


class VenueConnection(asyncio.Protocol):
    """One lane's connection, from dialling to its end. `closed` says whether the session was live and for how long."""

    def __init__(self, client: VenueClient, lane: str, url: str) -> None:
        self.lane = lane
        self._client = client
        self._link = client.link
        self._socket = WebSocketClient(url, entropy=os.urandom)
        self._transport: asyncio.Transport | None = None
        self.is_up = False
        self.live_since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._carries_orders = lane in self._link.session.vital_lanes
        self._turn_ns = ORDERS_TURN_NS if self._carries_orders else MARKET_TURN_NS
        self._an_instant = ORDERS_AN_INSTANT if self._carries_orders else 1
        self._waiting: deque[bytes] = deque()
        self._is_paused = False
        self.closed: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._client.opened(self)
        self._socket.connect()
        self._write()
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT_S, self._handshake_timed_out)

    def data_received(self, data: bytes) -> None:
        now = now_ns()
        socket, link, lane = self._socket, self._link, self.lane
        socket.receive_data(data)
        if not self.is_up and socket.is_open:
            self._opened(now)
        messages = socket.messages()
        if self._waiting:
            self._waiting.extend(messages)  # their turn comes
        elif self._carries_orders and len(messages) <= FEW_MESSAGES:
            for message in messages:
                link.receive(message, now, lane)
                self._client.flush_all()  # a quiet moment: who waits for this reply need not wait for what follows it
            self._client.after(now)
        else:
            self._waiting.extend(messages)
            self._take_turn()
        if socket.must_close_transport or socket.is_closed:
            self.close()

    def _take_turn(self) -> None:
        """Take what waits, for as long as a turn is; the rest in the loop's next round."""
        now = now_ns()
        ends_ns, waiting, link, lane = now + self._turn_ns, self._waiting, self._link, self.lane
        left = self._an_instant
        while waiting:
            link.receive(waiting.popleft(), now, lane)
            left -= 1
            if not left:
                now, left = now_ns(), self._an_instant
                if now >= ends_ns:
                    break
        self._client.flush_all()  # clients before the venue: they wait, and what it is told now answers nobody
        self._client.after(now)
        transport = self._transport
        if transport is None or transport.is_closing():
            self._take_rest()
        elif waiting:
            if not self._is_paused:
                self._is_paused = True
                transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._take_turn)
        elif self._is_paused:
            self._is_paused = False
            transport.resume_reading()

    def _take_rest(self) -> None:
        """Take all that waits: the connection is over, and what it has told still counts."""
        while self._waiting:
            self._link.receive(self._waiting.popleft(), now_ns(), self.lane)

    def _opened(self, now: int) -> None:
        self.is_up = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._link.connected(now, self.lane)

    def flush(self) -> None:
        """Frame and write what the session queued, in one write."""
        socket = self._socket
        if socket.is_open:
            socket.send_texts(self._link.session.frames_to_send(self.lane))
        self._write()

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
        if self.is_up:
            self._take_rest()
            self.is_up = False
            now = now_ns()
            self._link.disconnected(now, self.lane)
            self._client.lost(self)
            self._client.after(now)
            self._client.flush_all()
        if not self.closed.done():
            lived_s = asyncio.get_running_loop().time() - self.live_since_s if self.live_since_s else 0.0
            self.closed.set_result(lived_s)

    def eof_received(self) -> bool:
        self._socket.receive_eof()
        return False

    def _write(self) -> None:
        data = self._socket.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _handshake_timed_out(self) -> None:
        self._timer = None
        self._link.report_transport(f"{self.lane}: no WebSocket handshake in time")
        self.close()
