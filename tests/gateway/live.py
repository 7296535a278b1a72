"""Real sockets on loopback: a FIX client over TCP written with simplefix, the simulated venue, and a whole gateway.

Every wait is for a condition, with a deadline that is only ever used up when something is broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import simplefix
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fixtures.fix_conversation import FixConversation, timestamp
from fixtures.market import Market
from fixtures.venues.deribit import DeribitVenue
from fixtures.venues.deribit_limits import GENEROUS
from fixtures.venues.server import serve
from gateway import config as configuration
from gateway.app import App
from protocols.fix.authentication import Fields, ed25519_fields
from protocols.fix.session import LogonHeader
from tests.gateway.rig import CONFIG, order_fields
from tests.ports import free_port

PATIENCE_S: Final = 60.0
# How soon it is seen that a condition holds says nothing: with 0 it is at once, with 0.1 long after, and all must pass.
POLL_S: Final = float(os.environ.get("MARGINGATE_POLL_S", "0.001"))
SECRET: Final = "canary-7d1f-5ecret"
# A process that gets no core for some seconds is a busy machine: no order is refused for that, or a test would be.
PATIENT: Final = "[market]\nmark_max_age_ms = 60000\ngeneration_max_age_ms = 60000\n"
ENVIRONMENT: Final = {"LIVE_CLIENT_ID": "margingate", "LIVE_CLIENT_SECRET": SECRET}


def run(scenario: Awaitable[None]) -> None:
    """Run a scenario on uvloop, as the gateway does, with a limit on all of it."""

    async def limited() -> None:
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                await scenario
        finally:
            while _clients:
                await _clients.pop().close()

    uvloop.run(limited())


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until a condition of this process holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what or "it never came true"
        await asyncio.sleep(POLL_S)


Credentials = Fields | Callable[[LogonHeader], Fields]


def signed(fix: FixConversation, credentials: Credentials, now_ns: int) -> list[tuple[int, str]]:
    """Fields of a Logon that goes next, at `now_ns`."""
    if callable(credentials):
        comp_ids = (fix.sender_comp_id.encode(), fix.target_comp_id.encode())
        header = LogonHeader(*comp_ids, b"%d" % fix.next_out, timestamp(now_ns).encode())
        credentials = credentials(header)
    return [(tag, value.decode("latin-1")) for tag, value in credentials]


_clients: list[TcpClient] = []  # those that are connected; each test leaves none behind


class TcpClient:
    """A FIX client over TCP. `told` are the application messages that came, but for News(B).

    Whether clients hear that a venue is live or had come before that depends on which was first, and matters to none.
    """

    def __init__(self, comp_id: str = "ALPHA", conversation: FixConversation | None = None) -> None:
        self.fix = conversation or FixConversation(comp_id, "MARGINGATE", 30, time.time_ns())
        self.told: list[simplefix.FixMessage] = []
        self.is_closed = False
        self.count = 0
        self._came = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def connect(self, port: int, *, tls: ssl.SSLContext | None = None, is_slow: bool = False) -> TcpClient:
        """Connect; one that `is_slow` has hardly a buffer of its own: what it does not read piles up with us."""
        end = socket.socket()
        if is_slow:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        end.connect(("127.0.0.1", port))
        end.setblocking(False)
        name = "localhost" if tls else None
        limit = 1024 if is_slow else 1 << 16
        self.reader, self.writer = await asyncio.open_connection(sock=end, ssl=tls, server_hostname=name, limit=limit)
        _clients.append(self)
        return self

    async def log_on(
        self, *, resets: bool = True, heart_bt_int: int = 30, reads: bool = True, credentials: Credentials = ()
    ) -> TcpClient:
        body = [(98, "0"), (108, str(heart_bt_int)), *([(141, "Y")] if resets else [])]
        self.fix.is_logged_out = False
        now_ns = time.time_ns()
        self.fix.send("A", [*body, *signed(self.fix, credentials, now_ns)], now_ns)
        self.write()
        if reads:
            self.read()
            await self.until(lambda: self.fix.is_logged_on)
        return self

    def read(self) -> None:
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(1 << 16):
                self.fix.receive(data, time.time_ns())
                self.told += [message for message in self.fix.inbox if message.get(35) != b"B"]
                self.fix.inbox.clear()
                self.write()
                self._came.set()
        self.is_closed = True
        self._came.set()

    def write(self) -> None:
        data = self.fix.data_to_send()
        if data and not self.writer.is_closing():
            self.writer.write(data)

    def send(self, msg_type: str, *fields: tuple[int, Any]) -> None:
        self.fix.send(msg_type, [(tag, str(value)) for tag, value in fields], time.time_ns())
        self.write()

    def order(self, **changes: Any) -> str:
        """Send a NewOrderSingle(D); return its ClOrdID."""
        self.count += 1
        cl_ord_id = changes.pop("cl_ord_id", f"{self.fix.sender_comp_id}-{self.count}")
        self.send("D", *order_fields(cl_ord_id, **changes))
        return str(cl_ord_id)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until what came makes the condition true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def close(self) -> None:
        self.writer.transport.abort()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
        if self._reading is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    def abort(self) -> None:
        self.writer.transport.abort()


def make_venue(**options: Any) -> DeribitVenue:
    start_ns = time.time_ns()
    settings: dict[str, Any] = {"limits": GENEROUS, "credentials": {"margingate": SECRET}}
    market = Market(1, start_ns, interval_ns=20_000_000)
    return DeribitVenue(market, seed=1, start_ns=start_ns, **(settings | options))


def key_pair() -> tuple[str, Callable[[LogonHeader], Fields]]:
    """What `public_key` takes, and what signs Logons for it."""
    key = Ed25519PrivateKey.generate()
    return b64encode(key.public_key().public_bytes_raw()).decode(), ed25519_fields(key)


def config_text(url: str, port: int, extra_fix: str = "", extra_session: str = "", pricing: str = "inline") -> str:
    """`extra_session`: for each session; in it {name} is its CompID."""
    text = CONFIG.replace("listen_port = 9880", f"listen_port = {port}\n{extra_fix}")
    for name in ("ALPHA", "BETA"):
        head = f'target_comp_id = "{name}"'
        text = text.replace(head, f"{head}\n{extra_session.replace('{name}', name)}")
    text = text.replace('name = "test"', 'name = "test"\njournal_segment_mib = 1')
    text = text.replace('"ws://127.0.0.1:1/ws/api/v2"', f'"{url}"').replace('"TEST"', '"LIVE"')
    text += "reconnect_min_ms = 50\nrequests_per_second = 10000\nrequest_burst = 10000\n"
    return f'{text}{PATIENT}[margin]\npricing = "{pricing}"\n'


class Live:
    """A gateway that runs, its venue, and the port that it listens on."""

    def __init__(self, app: App, venue: DeribitVenue, port: int) -> None:
        self.app, self.venue, self.port = app, venue, port

    @property
    def mark(self) -> float:
        ledger, market = self.app.core.ledger, self.app.core.market
        found = market.marks[ledger.by_symbol["BTC-PERPETUAL"].index]
        assert found is not None
        return found.price

    def price(self, factor: float) -> int:
        """A price away from the mark, on the tick."""
        return int(self.mark * factor)

    async def ready(self) -> None:
        """Wait until orders are taken: the venue is live, marks are here and arrays made of them."""
        core = self.app.core
        await until(
            lambda: (
                core.market.live_venues
                and "BTC-PERPETUAL" in core.ledger.by_symbol
                and core.market.marks[core.ledger.by_symbol["BTC-PERPETUAL"].index] is not None
                and core.valuation.generation is not None
                and len(core.valuation.generation.values) > core.ledger.by_symbol["BTC-PERPETUAL"].index
            )
        )


@contextlib.asynccontextmanager
async def live(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    extra_fix: str = "",
    extra_session: str = "",
    extra: str = "",
    waits: bool = True,
    pricing: str = "inline",
    **options: Any,
) -> AsyncIterator[Live]:
    """A whole gateway in this loop, on a journal in `directory`."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    venue = make_venue(**options)
    async with serve(venue, compression=None) as url:
        port = free_port()
        path = directory / "gateway.toml"
        path.write_text(config_text(url, port, extra_fix, extra_session, pricing) + extra)
        app = App(configuration.load(path))
        try:
            assert await app.start() == port
            running = Live(app, venue, port)
            if waits:
                await running.ready()
            yield running
        finally:
            await app.stop()
            asyncio.get_running_loop().set_exception_handler(None)


def environment() -> dict[str, str]:
    """What a gateway in a process of its own needs."""
    return {**os.environ, **ENVIRONMENT}
