"""The accept path through each simulated venue: FIX in, to the venue's simulator and acknowledged, report out.

The gateway has a core, the simulator and the client share the other: the client sleeps while it waits. The simulator's
own time is in the figures; the floor is an echo to the same client. What is accepted is cancelled again, untimed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from gateway.venues.kinds import KINDS
from tests.bench.client import Client
from tests.bench.setting import MOST, RICH, config_text
from tests.bench.wire import ROOT, STOP_TIMEOUT_S, Echo, pinned

ECHO_BYTES: Final = 180
PATIENCE_S: Final = 60.0
KEYS: Final = {"MARGINGATE_BENCH_PASSPHRASE": "demo-passphrase"}


class Route(NamedTuple):
    """A venue: its kind in the configuration and what is ordered there. `tick`: what prices are whole multiples of."""

    kind: str
    simulator: str
    symbol: str
    quantity: str
    tick: float


ROUTES: Final = (
    Route("deribit", "deribit", "BTC-PERPETUAL", "10", 0.5),
    Route("binance-usdm", "binance", "BTCUSDT", "0.01", 0.1),
    Route("okx", "okx", "BTC-USDT-SWAP", "0.01", 0.1),
    Route("bybit", "bybit", "BTCUSDT", "0.01", 0.1),
)

_VENUE: Final = """[[venue]]
name = "bench"
kind = "{kind}"
url = "{url}"
credentials_env = "MARGINGATE_BENCH"
{rest}instruments = ["{symbol}"]
feed_timeout_s = 600

"""


class Simulator:
    """One venue's simulator, a process of its own."""

    def __init__(self, name: str, core: int) -> None:
        command = [sys.executable, "-m", "fixtures.venues.run", "--venue", name, "--json", "--generous-limits"]
        with pinned(core):
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        self.served: dict[str, Any] = json.loads(self._process.stdout.readline())

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(STOP_TIMEOUT_S)

    def venue_text(self, route: Route) -> str:
        """Return the venue's part of the gateway's configuration."""
        addresses = self.served["addresses"]
        url = addresses["WebSocket"] if route.kind == "deribit" else addresses["REST"].replace("http:", "ws:")
        rest = f'currencies = ["BTC", "ETH"]\nrequests_per_second = {MOST}\nrequest_burst = {MOST}\n'
        if route.kind != "deribit":
            rest = f'currencies = ["BTC", "ETH", "USDT"]\nrest_url = "{addresses["REST"]}"\n'
        if route.kind in ("okx", "bybit"):
            # Their limits are far below what is measured; Binance's are above it.
            budgets = ", ".join(f'"{budget.name}" = {MOST}' for budget in KINDS[route.kind].tables.budgets)
            rest += f"budgets = {{ {budgets} }}\n"
        return _VENUE.format(kind=route.kind, url=url, rest=rest, symbol=route.symbol)


class Orders:
    """A gateway on one simulated venue, and a client of it."""

    def __init__(self, route: Route, simulator: Simulator, core: int, directory: Path) -> None:
        self._route = route
        text = config_text(fix_port := _free_port(), 1)
        head, tail = text[: text.index("[[venue]]")], text[text.index("[hook]") :]
        config = directory / "bench.toml"
        config.write_text(head + simulator.venue_text(route) + tail)
        credentials = simulator.served["credentials"]
        names = ("client id", "client secret") if route.kind == "deribit" else ("api key", "secret")
        names = ("api key (HMAC)", "secret") if route.simulator == "binance" else names
        environment = os.environ | KEYS | {"MARGINGATE_BENCH_CLIENT_ID": credentials[names[0]]}
        environment |= {"MARGINGATE_BENCH_CLIENT_SECRET": credentials[names[1]]}
        with (directory / "status").open("wb") as status, pinned(core):
            command = [sys.executable, "-m", "gateway.cli", "run", str(config), "--status-json"]
            self.process = subprocess.Popen(command, stdout=status, stderr=status, cwd=ROOT, env=environment)
        self.client = self._dialled(fix_port, directory / "status")
        self._count = 0
        self._price = ""

    def _dialled(self, port: int, status: Path) -> Client:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return Client(port)
            except OSError as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.process.kill()
                    raise RuntimeError(f"{error}; the gateway said: {status.read_text()[-2000:]}") from error

    def wait(self) -> None:
        """Order until one is accepted: the mark is known then, and the margin."""
        deadline, answer = time.monotonic() + PATIENCE_S, b""
        self._price = "100"  # far below the mark: refused for that as soon as there is one
        while b"\x0120001=501\x01" not in answer:
            answer = self._patiently(answer, deadline)
        asked = [(262, "MARK"), (263, "0"), (264, "1"), (267, "1"), (269, "6"), (146, "1"), (55, self._route.symbol)]
        mark = float(self.client._ask("V", asked, b"W").partition(b"\x01270=")[2].partition(b"\x01")[0])
        self._price = f"{int(mark * 0.99 / self._route.tick / 10) * 10 * self._route.tick:.1f}"
        while b"\x01150=0\x01" not in answer:
            answer = self._patiently(answer, deadline)
        self._cancel()

    def _patiently(self, last: bytes, deadline: float) -> bytes:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{self._route.simulator}: no order was accepted: {last!r}")
        time.sleep(0.05)
        return self._order()[1]

    def _order(self) -> tuple[int, bytes]:
        self._count += 1
        began = time.perf_counter_ns()
        fields = [(1, RICH), (11, f"S{self._count}"), (38, self._route.quantity), (40, "2"), (44, self._price)]
        fields += [(54, "1"), (55, self._route.symbol), (59, "1"), (60, "20260101-00:00:00.000")]
        answer = self.client._ask("D", fields, b"8")
        return time.perf_counter_ns() - began, answer

    def _cancel(self) -> None:
        fields = [(11, f"C{self._count}"), (41, f"S{self._count}"), (54, "1"), (55, self._route.symbol)]
        answer = self.client._ask("F", [*fields, (60, "20260101-00:00:00.000")], b"8")
        if b"\x01150=4\x01" not in answer:
            raise RuntimeError(f"{self._route.simulator}: not cancelled: {answer!r}")

    def run(self, count: int) -> list[int]:
        """Order so often, and return how long each took in ns."""
        took = []
        for _ in range(count):
            elapsed, answer = self._order()
            if b"\x01150=0\x01" not in answer:
                raise RuntimeError(f"{self._route.simulator}: not accepted: {answer!r}")
            took.append(elapsed)
            self._cancel()
        return took

    def close(self) -> None:
        """End the gateway."""
        self.client.connection.close()
        self.process.terminate()
        self.process.wait(STOP_TIMEOUT_S)


def measure_simulated(gateway_core: int, peer_core: int, *, rounds: int, orders: int) -> dict[str, Any]:
    """Take rounds of orders and of the echo in turns, venue by venue."""
    figures: dict[str, Any] = {}
    with Echo(gateway_core) as echo:
        for route in ROUTES:
            with (
                Simulator(route.simulator, peer_core) as simulator,
                tempfile.TemporaryDirectory(prefix="margingate-bench-") as directory,
            ):
                running = Orders(route, simulator, gateway_core, Path(directory))
                try:
                    with pinned(peer_core):
                        running.wait()
                        pairs = [(_echo(echo, orders), sorted(running.run(orders))) for _ in range(rounds)]
                finally:
                    running.close()
            figures[route.simulator] = _figures(pairs)
    return figures


def _figures(pairs: list[tuple[list[int], list[int]]]) -> dict[str, float]:
    figures = {}
    for name, part in (("p50", 50), ("p99", 99)):
        mine = [took[len(took) * part // 100] for _, took in pairs]
        floor = [took[len(took) * part // 100] for took, _ in pairs]
        figures[f"{name}_us"] = median(mine) / 1000
        figures[f"echo_{name}_us"] = median(floor) / 1000
        figures[f"{name}_ratio"] = median(one / other for one, other in zip(mine, floor, strict=True))
    return figures


def _echo(echo: Echo, count: int) -> list[int]:
    payload, took = b"x" * ECHO_BYTES, []
    for _ in range(count):
        began = time.perf_counter_ns()
        echo.connection.sendall(payload)
        got = 0
        while got < ECHO_BYTES:
            got += len(echo.connection.recv(ECHO_BYTES))
        took.append(time.perf_counter_ns() - began)
    return sorted(took)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
