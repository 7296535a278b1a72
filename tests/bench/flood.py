"""A simulated Binance that sends market data at a rate, as a process of its own: `python -m tests.bench.flood`.

It prints its address, then obeys lines of its standard input: `at RATE` sends so many messages a second to whoever
listens to the public streams; `bursts RATE` the same number in larger bursts; `aside RATE` sends the same into a
socket of its own, so that what the sending costs the machine is in the quiet figures too; `off` stops, and is answered
by what was sent, in how long, and what the listener had not taken. The end of the input ends it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from random import Random
from typing import Final

import orjson
import uvloop

from fixtures.market import Market
from fixtures.venues.core.server import VenueServer, serve
from fixtures.venues.registry import VENUES, Setting
from tests.bench.rig import server_frame

SYMBOL: Final = "ETHUSDT"  # the marks of BTC are those of the venue that the orders go to
BEAT_NS: Final = 100_000_000
PACE_S: Final = 0.001
BURST_PACE_S: Final = 0.01
FRAMES: Final = 4_000
LEVELS: Final = 20
# Of a hundred messages of the recorded stream; books are told as their best levels here, which need no chain.
TICKERS, TRADES = 70, 23


def frames(seed: int = 1) -> list[bytes]:
    """Return frames in the proportions and of the sizes of the recorded stream."""
    random, made = Random(seed), []
    now_ms = time.time_ns() // 1_000_000
    for number in range(FRAMES):
        at = 600_000 + random.randrange(-200, 200)
        kind = random.randrange(100)
        data: dict[str, object] = {"E": now_ms, "T": now_ms, "s": SYMBOL}
        if kind < TICKERS:
            data |= {"e": "bookTicker", "u": number + 1, "b": _price(at), "B": _amount(random)}
            data |= {"a": _price(at + 1), "A": _amount(random)}
            stream = "bookTicker"
        elif kind < TICKERS + TRADES:
            data |= {"e": "trade", "t": number + 1, "p": _price(at), "q": _amount(random), "X": "MARKET", "m": True}
            stream = "trade"
        else:
            data |= {"e": "depthUpdate", "U": number + 1, "u": number + 1, "pu": number}
            data["b"] = [[_price(at - step), _amount(random)] for step in range(LEVELS)]
            data["a"] = [[_price(at + 1 + step), _amount(random)] for step in range(LEVELS)]
            stream = f"depth{LEVELS}@100ms"
        made.append(server_frame(orjson.dumps({"stream": f"{SYMBOL.lower()}@{stream}", "data": data})))
    return made


def _price(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}0"


def _amount(random: Random) -> str:
    return f"0.{random.randrange(1, 1_000):03}"


class Sink(asyncio.Protocol):
    """Reads, and that is all."""

    def data_received(self, data: bytes) -> None:
        pass


class Flood:
    """Writes frames at a rate, a millisecond's worth at a time, or ten."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server
        self._frames: Iterator[bytes] = cycle(frames())
        self._aside: asyncio.Transport | None = None
        self._into: asyncio.Transport | None = None
        self._rate = 0
        self._pace_s = PACE_S
        self._began_ns = self.sent = 0

    async def open(self) -> None:
        """Make the socket that leads nowhere."""
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        self._aside, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        await loop.create_connection(Sink, sock=far)

    def _listener(self) -> asyncio.Transport:
        for peer in self._server._peers.values():
            if peer.request.rel_url.path.startswith("/public"):
                transport = peer.request.transport
                assert isinstance(transport, asyncio.Transport) or transport is not None
                return transport  # type: ignore[return-value]
        raise RuntimeError("nobody listens to the public streams")

    def obey(self, line: str) -> None:
        """Do what a line of the input says; answer `off`."""
        word, _, rate = line.strip().partition(" ")
        if word == "off":
            elapsed_ns = time.monotonic_ns() - self._began_ns
            left = 0 if self._into is None else self._into.get_write_buffer_size()
            self._rate = 0
            print(f"{self.sent} {elapsed_ns} {left}", flush=True)
            return
        is_idle = not self._rate
        self._into = self._aside if word == "aside" else self._listener()
        self._pace_s = BURST_PACE_S if word == "bursts" else PACE_S
        self._rate, self.sent, self._began_ns = int(rate), 0, time.monotonic_ns()
        if is_idle:
            self._pace()

    def _pace(self) -> None:
        if not self._rate or self._into is None:
            return
        asyncio.get_running_loop().call_later(self._pace_s, self._pace)
        due = (time.monotonic_ns() - self._began_ns) * self._rate // 1_000_000_000 - self.sent
        if due > 0:
            self._into.write(b"".join([next(self._frames) for _ in range(due)]))
            self.sent += due


async def main() -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()
    now_ns = time.time_ns()
    setting = Setting(Market(1, now_ns, interval_ns=BEAT_NS), 1, now_ns, is_generous=True)
    stopped = asyncio.Event()
    async with serve(VENUES["binance"].build(setting)) as server:
        flood = Flood(server)
        await flood.open()

        def read() -> None:
            line = sys.stdin.readline()
            flood.obey(line) if line else stopped.set()

        loop.add_reader(sys.stdin, read)
        print(server.address, flush=True)
        await stopped.wait()
        loop.remove_reader(sys.stdin)


if __name__ == "__main__":
    uvloop.run(main())
