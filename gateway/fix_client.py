"""TCP connections to counterparties whose FIX sessions we open: dialling, TLS, back-off, timers. No decisions."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Final, cast

from gateway.clearing.link import CounterpartyLink
from gateway.clock import now_ns
from gateway.config import Counterparty
from gateway.config.counterparties import takes_tls

DIAL_TIMEOUT_S: Final = 10.0
# A connection that is over is cut if its last bytes have not left in this time.
CLOSE_TIMEOUT_S: Final = 2.0
# Trades that are owed, and schedules that begin, are looked for so often.
MAX_SLEEP_S: Final = 0.2
# A session that lived so long earns a fresh start; anything shorter waits longer each time.
SETTLED_S: Final = 60.0


def client_context(counterparty: Counterparty) -> ssl.SSLContext | None:
    """Return the TLS that a counterparty is dialled with, None for none; raises OSError for files that are no such."""
    if not takes_tls(counterparty):
        return None
    context = ssl.create_default_context(cafile=None if counterparty.ca_file is None else str(counterparty.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if counterparty.tls_certificate_file is not None:
        context.load_cert_chain(counterparty.tls_certificate_file, counterparty.tls_key_file)
    return context


class CounterpartyClient:
    """Keeps one session up in its session time: `run`, until `stop`. `flush_all` writes what a batch has caused."""

    def __init__(
        self,
        link: CounterpartyLink,
        context: ssl.SSLContext | None,
        flush_all: Callable[[], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.link = link
        self.flush_all = flush_all
        self.attempts = 0
        self.is_stopping = False
        self._context = context
        self._jitter = jitter
        self._connection: CounterpartyConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wakes = asyncio.Event()

    async def run(self) -> None:
        """Stay logged on as long as the schedule wants it."""
        self._set_timer()
        try:
            while not self.is_stopping:
                if not self.link.may_connect(now_ns()):
                    await self._pause(MAX_SLEEP_S)
                    continue
                lived_s = await self._dial()
                self.attempts = 0 if lived_s >= SETTLED_S else self.attempts + 1
                if not self.is_stopping:
                    await self._pause(self.pause_s(self.attempts))
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def pause_s(self, attempts: int) -> float:
        """Return how long to wait before the next attempt: full jitter over an exponentially growing ceiling."""
        shortest, longest = self.link.terms.reconnect_min_ms / 1e3, self.link.terms.reconnect_max_ms / 1e3
        ceiling = min(longest, shortest * 2.0 ** min(attempts, 16))
        return shortest + self._jitter() * (ceiling - shortest)

    def stop(self) -> None:
        """Say goodbye and dial no more."""
        self.is_stopping = True
        self.link.log_out("gateway is stopping", now_ns())
        self.flush()
        self._wakes.set()

    def abort(self) -> None:
        """Cut what has not closed by itself."""
        if self._connection is not None:
            self._connection.abort()

    def flush(self) -> None:
        """Write what is queued; close where the session is over."""
        if self._connection is not None:
            self._connection.write()

    async def _dial(self) -> float:
        """Keep a connection until it ends; return for how long it was logged on."""
        terms, loop = self.link.terms, asyncio.get_running_loop()
        connection = self._connection = CounterpartyConnection(self)
        name = terms.host if self._context is not None else None
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await loop.create_connection(
                    lambda: connection, terms.host, terms.port, ssl=self._context, server_hostname=name
                )
            return await connection.closed
        except (OSError, TimeoutError) as error:
            text = self.link.safe(f"can not connect: {error or type(error).__name__}")
            self.link.trouble = text
            self.link.tell_transport(text, now_ns())
            return 0.0
        finally:
            self._connection = None

    async def _pause(self, seconds: float) -> None:
        self._wakes.clear()
        if self.is_stopping:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wakes.wait()
        except TimeoutError:
            pass

    def _on_timer(self) -> None:
        self._timer = None
        self.link.tick(now_ns())
        self.flush()
        self.flush_all()
        if not self.is_stopping or self._connection is not None:
            self._set_timer()

    def _set_timer(self) -> None:
        deadline = self.link.deadline_ns
        delay_s = MAX_SLEEP_S if deadline is None else min(MAX_SLEEP_S, max(0.001, (deadline - now_ns()) / 1e9))
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)


class CounterpartyConnection(asyncio.Protocol):
    """One connection, from dialling to its end. `closed` says for how long it was logged on."""

    def __init__(self, client: CounterpartyClient) -> None:
        self._client = client
        self._link = client.link
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._is_ending = False
        self._up_since_s = 0.0
        self.closed: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._link.connected(now_ns())
        self.write()

    def data_received(self, data: bytes) -> None:
        self._link.receive(data, now_ns())
        if self._link.is_up and not self._up_since_s:
            self._up_since_s = asyncio.get_running_loop().time()
        self.write()
        self._client.flush_all()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self.write()

    def write(self) -> None:
        """Hand what was stored to the socket; a peer that does not read is waited for, and its session times out."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        while not self._is_paused and (data := self._link.data_to_send(now_ns())):
            transport.write(data)
        if self._link.must_close and not self._is_ending:
            self._is_ending = True
            transport.close()
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, transport.abort)

    def abort(self) -> None:
        """Cut it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.disconnected(now_ns())
        self._client.flush_all()
        if not self.closed.done():
            lived_s = asyncio.get_running_loop().time() - self._up_since_s if self._up_since_s else 0.0
            self.closed.set_result(lived_s)
