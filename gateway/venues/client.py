"""The transport of one venue: a connection for each lane, REST beside them, and reconnection. It decides nothing."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from gateway.clock import now_ns
from gateway.venues import connection as venue_connection
from gateway.venues.connection import VenueConnection
from gateway.venues.http import HttpExecutor
from gateway.venues.link import SessionLink
from protocols.venues.rate_limit import Window

# A venue that hangs up sooner than this, each time, is dialled ever more slowly: setting up costs it, and our limits.
SETTLED_S: Final = 10.0
# How late a deadline of the session may be met at the most; none of them is finer than a heartbeat or a request's pace.
MAX_SLEEP_S: Final = 0.02


class VenueClient:
    """Keeps one venue connected: dial each lane, hand bytes over, and dial again after a jittered, growing pause.

    Parameters
    ----------
    link_of : makes the link that this transport serves
    url_of : the whole address of a lane, of the path that its session wants
    dials : the venue's own limit on attempts to connect, over all lanes; None where it has none
    http_of : makes what executes REST requests, where the venue has any; called within the loop
    flush_all : writes what clients are to be told
    """

    def __init__(
        self,
        link_of: Callable[[VenueClient], SessionLink],
        *,
        url_of: Callable[[str, str], str],
        reconnect_min_s: float,
        reconnect_max_s: float,
        flush_all: Callable[[], None],
        ssl_context: ssl.SSLContext | None = None,
        jitter: Callable[[], float] = random.random,
        dials: Window | None = None,
        http_of: Callable[[], HttpExecutor] | None = None,
    ) -> None:
        self.link = link_of(self)
        self.flush_all = flush_all
        self.lanes = {name: LaneKeeper(self, name) for name in self.link.session.lanes}
        self._url_of = url_of
        self._reconnect_min_s = reconnect_min_s
        self._reconnect_max_s = reconnect_max_s
        self._ssl_context = ssl_context
        self._jitter = jitter
        self._dials = dials
        self._http_of = http_of
        self._http: HttpExecutor | None = None
        self._has_lanes = len(self.lanes) > 1
        self._connections: list[VenueConnection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._unsettled = False
        self.is_stopping = False

    async def run(self) -> None:
        """Stay connected until `stop`."""
        if self._http_of is not None:
            self._http = self._http_of()
        self._set_timer(now_ns())
        try:
            await asyncio.gather(*(lane.run() for lane in self.lanes.values()))
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._http is not None:
                await self._http.close()

    def stop(self) -> None:
        """Close the connections and do not dial again."""
        self.is_stopping = True
        for connection in list(self._connections):
            connection.close()
        for lane in self.lanes.values():
            lane.wake()

    def pause_s(self, attempts: int) -> float:
        """Return how long to wait before the next attempt: full jitter over an exponentially growing ceiling."""
        ceiling = min(self._reconnect_max_s, self._reconnect_min_s * 2.0 ** min(attempts, 16))
        return self._reconnect_min_s + self._jitter() * (ceiling - self._reconnect_min_s)

    # -- what the session wants sent

    def flush(self) -> None:
        """Write what the session queued; nothing happens while there is no connection."""
        for connection in self._connections:
            connection.flush()
        if self._http is not None:
            session = self.link.session
            for request in session.http_requests():
                self._http.submit(request, session, self._http_answered)

    def after(self, now: int) -> None:
        """What every batch ends with: write, close where the session says so, dial what can be dialled now."""
        self.flush()
        link = self.link
        if link.must_close or self._has_lanes:
            closing = link.lanes_to_close()
            for connection in list(self._connections) if closing else ():
                if connection.lane in closing:
                    connection.close()
            for lane in self.lanes.values():
                if lane.is_waiting and link.url(lane.name):
                    lane.wake()
        if self._unsettled:
            self._note_since(link)

    def _note_since(self, link: SessionLink) -> None:
        """Note since when each connection is of use: one that lives for a while earns a fresh start."""
        for connection in self._connections:
            is_of_use = link.session.is_live or connection.lane not in link.session.vital_lanes
            if not connection.live_since_s and connection.is_up and is_of_use:
                connection.live_since_s = asyncio.get_running_loop().time()
        self._unsettled = any(not connection.live_since_s for connection in self._connections)

    def _http_answered(self, answer: Callable[[int], None], asked: object) -> None:
        """Give the session that asked the answer to a request, unless another has taken its place."""
        if self.link.session is not asked or self.is_stopping:
            return
        now = now_ns()
        answer(now)
        self.link.handle_events(now)
        self.flush_all()
        self.after(now)

    # -- connections

    def opened(self, connection: VenueConnection) -> None:
        """A connection is being made: what the session queues for its lane goes there."""
        self._connections.append(connection)
        self._unsettled = True

    def lost(self, connection: VenueConnection) -> None:
        """A connection is gone."""
        if connection in self._connections:
            self._connections.remove(connection)

    def connection(self, lane: str) -> VenueConnection | None:
        """Return a lane's connection, while there is one."""
        return next((one for one in self._connections if one.lane == lane), None)

    async def dial(self, lane: str) -> float | None:
        """Keep a connection until it ends; return for how long the session was live on it, None without one."""
        url = self._url_of(lane, self.link.url(lane))
        parts = urlsplit(url)
        is_tls = parts.scheme == "wss"
        port = parts.port or (443 if is_tls else 80)
        loop = asyncio.get_running_loop()
        context = (self._ssl_context or ssl.create_default_context()) if is_tls else None
        connection = VenueConnection(self, lane, url)
        try:
            # Not wait_for: up to Python 3.11 it loses a cancellation that comes together with a refused connection.
            async with asyncio.timeout(venue_connection.HANDSHAKE_TIMEOUT_S):
                await loop.create_connection(lambda: connection, parts.hostname or "", port, ssl=context)
            return await connection.closed
        except (OSError, TimeoutError) as error:
            self.link.report_transport(f"{lane}: can not connect: {error}")
            return None
        finally:
            self.lost(connection)

    async def may_dial(self) -> None:
        """Wait until the venue's limit on connections has room for one more, and take it."""
        dials = self._dials
        while dials is not None and not dials.take(1, now := now_ns()):
            await asyncio.sleep(max(MAX_SLEEP_S, (dials.available_at_ns(1, now) - now) / 1e9))

    # -- time

    def _on_timer(self) -> None:
        self._timer = None
        now = now_ns()
        deadline = self.link.deadline_ns
        if deadline is not None and deadline <= now:
            self.link.tick(now)
            self.after(now)
            self.flush_all()
        if not self.is_stopping:
            self._set_timer(now)

    def _set_timer(self, now: int) -> None:
        """Sleep until the session's deadline, or look at it again soon: a request that is sent may bring it nearer.

        Working the deadline out anew after each batch instead would cost every order more than this costs in all.
        """
        deadline = self.link.deadline_ns
        delay_s = MAX_SLEEP_S if deadline is None else min(MAX_SLEEP_S, max(0.0, (deadline - now) / 1e9))
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)


class LaneKeeper:
    """Dials one lane, again and again, for as long as the client runs and the session has an address for it."""

    def __init__(self, client: VenueClient, name: str) -> None:
        self.name = name
        self.attempts = 0
        self.is_waiting = False
        self._client = client
        self._wakes = asyncio.Event()

    async def run(self) -> None:
        """Stay connected until the client stops."""
        client = self._client
        while not client.is_stopping:
            if not client.link.url(self.name):
                await self._address()
                continue
            await client.may_dial()
            if not client.link.url(self.name) or client.is_stopping:
                continue
            lived_s = await client.dial(self.name)
            # A session that was live for a while earns a fresh start; anything else waits longer each time.
            self.attempts = 0 if lived_s is not None and lived_s >= SETTLED_S else self.attempts + 1
            if not client.is_stopping:
                await asyncio.sleep(client.pause_s(self.attempts))

    def wake(self) -> None:
        """There may be an address now."""
        self._wakes.set()

    async def _address(self) -> None:
        """Wait until the session may know where to dial."""
        self.is_waiting = True
        self._wakes.clear()
        try:
            await self._wakes.wait()
        finally:
            self.is_waiting = False
