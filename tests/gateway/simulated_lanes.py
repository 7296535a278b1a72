"""A whole gateway on simulated venues of several lanes, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from fixtures.market import Market
from fixtures.venues.core.faults import Faults
from fixtures.venues.core.server import VenueServer, serve
from fixtures.venues.core.venue import SimulatedVenue
from fixtures.venues.registry import VENUES, Setting
from gateway import config as configuration
from gateway.app import App
from tests.gateway.live import PATIENT, TcpClient, until
from tests.gateway.rig import CONFIG
from tests.ports import free_port

KEYS: Final = {"TEST_CLIENT_ID": "demo-key", "TEST_CLIENT_SECRET": "demo-secret", "TEST_PASSPHRASE": "demo-passphrase"}
SYMBOLS: Final = {
    "binance-usdm": ("BTCUSDT", "ETHUSDT"),
    "binance-coinm": ("BTCUSD_PERP", "ETHUSD_PERP"),
    "okx": ("BTC-USDT-SWAP", "BTC-USD-SWAP", "ETH-USDT-SWAP"),
    "bybit": ("BTCUSDT", "ETHUSDT"),
}
# What our symbols have more than the venue's: Binance and Bybit call theirs the same.
SUFFIXES: Final = {"bybit": ".BYBIT"}
BEAT_NS: Final = 50_000_000


def build(kind: str, seed: int, faults: Faults | None) -> SimulatedVenue:
    """The simulated venue that speaks this kind's protocol, with its own limits."""
    start_ns = time.time_ns()
    market = Market(1, start_ns, interval_ns=BEAT_NS)
    name = {"binance-usdm": "binance", "binance-coinm": "binance-coin"}.get(kind, kind)
    return VENUES[name].build(Setting(market, seed, start_ns, faults))


class Simulated:
    """The gateway, its venues, and one client that trades on all of them."""

    def __init__(self, app: App, port: int, servers: dict[str, VenueServer]) -> None:
        self.app, self.port, self.servers = app, port, servers
        self.core = app.core

    async def ready(self) -> None:
        """Wait until orders are taken everywhere."""
        market, ledger = self.core.market, self.core.ledger
        count = sum(len(SYMBOLS[kind]) for kind in self.servers)

        def is_ready() -> bool:
            generation = self.core.valuation.generation
            return (
                len(market.live_venues) == len(self.servers)
                and len(ledger.instruments) == count
                and all(mark is not None for mark in market.marks)
                and generation is not None
                and len(generation.values) == count
            )

        await until(is_ready, "the venues never took orders")

    def symbols(self) -> list[str]:
        """All instruments, by our names."""
        return [symbol + SUFFIXES.get(kind, "") for kind in self.servers for symbol in SYMBOLS[kind]]

    def price(self, symbol: str, factor: float) -> str:
        instrument = self.core.ledger.by_symbol[symbol]
        mark = self.core.market.marks[instrument.index]
        assert mark is not None
        return str(instrument.price(instrument.step_down(int(mark.price * factor / instrument.tick))))

    def quantity(self, symbol: str, lots: int) -> str:
        return str(self.core.ledger.by_symbol[symbol].quantity(lots))

    def positions(self, kind: str) -> dict[str, Decimal]:
        """The house's positions at a venue, in the venue's own view of what is held there."""
        ours = self.core.ledger.venue_lots(kind)
        quantities = {s: self.core.ledger.by_symbol[s].quantity(lots) for s, lots in ours.items() if lots}
        return {symbol: quantity.normalize() for symbol, quantity in quantities.items()}

    def theirs(self, kind: str) -> dict[str, Decimal]:
        """The venue's positions of our account, as quantities."""
        units = next(one.link for one in self.app.venues if one.link.venue == kind).session._market.units
        return {
            symbol + SUFFIXES.get(kind, ""): (
                position.listing.contract.quantity(position.lots) * units[symbol]
            ).normalize()
            for account in self.servers[kind].venue.exchange.accounts.values()
            for symbol, position in account.positions.items()
            if position.lots
        }

    async def at_rest(self) -> None:
        """Wait until nothing is on its way: every order has ended or works, and every venue is live."""
        ledger = self.core.ledger

        def is_at_rest() -> bool:
            waiting = [
                order
                for order in ledger.working_orders()
                if not order.venue_order_id or order.is_cancel_pending or order.replace
            ]
            return not waiting and len(self.core.market.live_venues) == len(self.servers)

        await until(is_at_rest, "it never came to rest")


@contextlib.asynccontextmanager
async def simulated(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *kinds: str, seed: int = 1, faults: Any = None, extra: str = ""
) -> AsyncIterator[Simulated]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    async with contextlib.AsyncExitStack() as stack:
        servers = {
            kind: await stack.enter_async_context(serve(build(kind, seed, faults() if faults else None)))
            for kind in kinds
        }
        port = free_port()
        text = CONFIG[: CONFIG.index("[[venue]]")].replace("listen_port = 9880", f"listen_port = {port}")
        text = text.replace('name = "test"', 'name = "test"\njournal_segment_mib = 4')
        text = text.replace("max_working_orders = 12", "max_working_orders = 200")
        for kind, server in servers.items():
            instruments = ", ".join(f'"{symbol}"' for symbol in SYMBOLS[kind])
            text += f"""[[venue]]
name = "{kind}"
kind = "{kind}"
url = "ws://{server.address}"
rest_url = "http://{server.address}"
credentials_env = "TEST"
currencies = ["BTC", "ETH", "USDT"]
instruments = [{instruments}]
symbol_suffix = "{SUFFIXES.get(kind, "")}"
reconnect_min_ms = 50
reconnect_max_ms = 400
{extra}
"""
        path = directory / "gateway.toml"
        path.write_text(text + PATIENT)
        app = App(configuration.load(path))
        try:
            await app.start()
            yield Simulated(app, port, servers)
        finally:
            await app.stop()
            asyncio.get_running_loop().set_exception_handler(None)


async def desk(running: Simulated) -> TcpClient:
    """A client that is logged on."""
    return await (await TcpClient().connect(running.port)).log_on()
