"""Market data end to end: the simulated Deribit, a whole gateway, clients over TCP that rebuild the venue's book."""

from __future__ import annotations

import os
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import simplefix

from fixtures.fix_conversation import text
from fixtures.matching import BUY, SELL
from tests.gateway.live import Live, TcpClient, live, run, until
from tests.gateway.rig import BTC

D = Decimal
GROUP = (279, 269, 55, 270, 271)


def groups(message: simplefix.FixMessage) -> list[dict[int, str]]:
    """Entries of a W or X, in order: each begins with its first tag."""
    first = 279 if text(message, 35) == "X" else 269
    entries: list[dict[int, str]] = []
    is_within = False
    for raw_tag, raw in message.pairs:
        tag = int(raw_tag)
        is_within = is_within or tag == 268
        if not is_within:
            continue
        if tag == first:
            entries.append({})
        if entries and tag in (*GROUP, 276, 58):
            entries[-1][tag] = raw.decode()
    return entries


class Screen:
    """What a client knows of one instrument."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"0": {}, "1": {}}
        self.trades = 0
        self.marks: list[str] = []
        self.emptied: list[str] = []
        self.snapshots = self.increments = 0

    def read(self, client: TcpClient) -> None:
        told, client.told[:] = list(client.told), []
        for message in told:
            if text(message, 35) == "W":
                self.sides = {"0": {}, "1": {}}
                self.snapshots += 1
            elif text(message, 35) == "X":
                self.increments += 1
            else:
                continue
            for entry in groups(message):
                self._apply(entry)

    def _apply(self, entry: dict[int, str]) -> None:
        kind, action = entry[269], entry.get(279, "0")
        if entry.get(276) == "B":
            self.emptied.append(entry[58])
        elif kind == "2":
            self.trades += 1
        elif kind in ("3", "6"):
            self.marks.append(entry.get(270, ""))
        else:
            levels, price = self.sides[kind], D(entry[270])
            assert (price in levels) is (action != "0")
            if action == "2":
                del levels[price]
            else:
                levels[price] = D(entry[271])


def book_of(running: Live, symbol: str) -> dict[str, dict[Decimal, Decimal]]:
    """The venue's own book, as its matching engine has it."""
    listing = running.venue._exchange.listings[symbol]
    instrument = listing.instrument
    return {
        kind: {
            D(repr(instrument.price_float(ticks))): D(repr(instrument.amount_float(lots)))
            for ticks, lots in listing.book.depth(side)
        }
        for kind, side in (("0", BUY), ("1", SELL))
    }


def narrow(running: Live) -> None:
    """Leave the system hardly a buffer between us and the client."""
    transport = running.app.server.logged_on["ALPHA"]._transport
    assert transport is not None
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def request(md_req_id: str, symbol: str, kinds: str, *, action: int = 1) -> list[tuple[int, Any]]:
    return [(262, md_req_id), (263, action), (264, 0), (265, 1), (267, len(kinds)), *((269, kind) for kind in kinds),
            (146, 1), (55, symbol)]  # fmt: skip


def test_a_client_rebuilds_the_venues_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        settings = "market_data_interval_ms = 10"
        async with live(tmp_path, monkeypatch, extra_fix=settings) as running:
            inquiries, venue = running.app.core.inquiries, running.app.venues[0]
            assert inquiries.feeds.followed == 0
            assert not venue.link.book(BTC).is_usable, "nobody reads it: it is not followed"
            client = await TcpClient().connect(running.port)
            await client.log_on()
            screen = Screen()

            def has_read(condition: Any) -> Any:
                def read() -> bool:
                    screen.read(client)
                    return bool(condition())

                return read

            client.send("V", *request("one", BTC, "01236"))
            # The market moves on: every so often the client has the very book that the venue has.
            for _ in range(5):
                seen = screen.increments
                await until(has_read(lambda seen=seen: screen.increments > seen + 5), "no increments")
                await until(has_read(lambda: screen.sides == book_of(running, BTC)), "the books stay different")
            assert screen.snapshots == 1
            assert screen.marks
            # Its own order is in the venue's book and trades there: the client sees the trade.
            client.order(quantity=10, price=running.price(1.02), tif=3)
            await until(has_read(lambda: screen.trades > 0), "no trade")
            # The venue goes: the book is empty, and why; it comes back, and so does the book.
            connection = venue.connection("main")
            assert connection is not None and connection._transport is not None
            connection._transport.abort()
            await until(has_read(lambda: screen.emptied), "the book stays although the venue has gone")
            assert "not live" in screen.emptied[0] or "disconnected" in screen.emptied[0]
            await until(has_read(lambda: screen.snapshots > 2 and screen.sides == book_of(running, BTC)), "no new book")
            client.send("V", *request("one", BTC, "01236", action=2))
            await until(lambda: inquiries.market_data.subscriptions == 0)
            assert not running.app.core.monitor.breaks
            await client.close()

    run(scenario())


def test_a_slow_client_stays_connected_and_catches_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full refreshes of deep books to a client that does not read: told less, never cut off."""

    async def scenario() -> None:
        settings = "market_data_interval_ms = 10\nmarket_data_backlog_bytes = 4096\nmax_write_buffer_bytes = 139264"
        async with live(tmp_path, monkeypatch, extra_fix=settings) as running:
            desk = running.app.core.inquiries.market_data
            client = await TcpClient().connect(running.port, is_slow=True)
            await client.log_on(reads=False)
            await until(lambda: "ALPHA" in running.app.server.logged_on)
            narrow(running)
            for number in range(8):
                client.send("V", (262, f"r{number}"), (263, 1), (264, 0), (265, 0), (267, 2), (269, 0), (269, 1),
                            (146, 1), (55, BTC))  # fmt: skip
            await until(lambda: desk.subscriptions == 8)
            await until(lambda: desk.conflated > 200, "it was never behind")
            assert "ALPHA" in running.app.server.logged_on
            client.read()
            screen = Screen()
            await until(lambda: len(client.told) > 50)
            client.told[:] = [message for message in client.told if text(message, 262) == "r0"]
            screen.read(client)

            def has_caught_up() -> bool:
                client.told[:] = [message for message in client.told if text(message, 262) == "r0"]
                screen.read(client)
                return screen.sides == book_of(running, BTC)

            await until(has_caught_up, "it never caught up")
            await client.close()

    run(scenario())
