"""Orders beside market data: the order path's p99 with so many messages a second arriving, and without, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from typing import Any, Final

from tests.bench.wire import ROOT, STOP_TIMEOUT_S, Gateway, pinned

RATE: Final = 20_000
BINANCE: Final = """
[[venue]]
name = "flood"
kind = "binance-usdm"
url = "ws://{address}"
rest_url = "http://{address}"
credentials_env = "MARGINGATE_FLOOD"
currencies = ["USDT"]
instruments = ["ETHUSDT"]

[hook]
"""
KEYS: Final = {"MARGINGATE_FLOOD_CLIENT_ID": "demo-key", "MARGINGATE_FLOOD_CLIENT_SECRET": "demo-secret"}
# What the flood is told in each way of running; nothing: it rests.
WAYS: Final = {"quiet": "", "aside": "aside", "flooded": "at", "bursts": "bursts"}


class FloodProcess:
    """The flood, on its core."""

    def __init__(self, core: int) -> None:
        with pinned(core):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.flood"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
            )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().decode().strip()

    def __enter__(self) -> FloodProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=STOP_TIMEOUT_S)

    def say(self, line: str) -> None:
        """Begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def stop(self) -> tuple[float, int]:
        """End; return messages a second that were sent, and the bytes that were not taken."""
        self.say("off")
        assert self._process.stdout is not None
        sent, elapsed_ns, left = map(int, self._process.stdout.readline().split())
        return sent * 1e9 / elapsed_ns, left


def measure_feeds(
    peer: list[str], gateway_core: int, peer_core: int, *, rounds: int, orders: int, rate: int = RATE
) -> dict[str, Any]:
    """Take rounds of each way in turns; the order changes from round to round."""
    ways = list(WAYS)
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    os.environ.update(KEYS)
    with FloodProcess(peer_core) as flood:
        # Marks are told once a round: no round may be so long that they are missed.
        changes = [("heartbeat_s = 600", "heartbeat_s = 600\nfeed_timeout_s = 600")]
        changes.append(("\n[hook]\n", BINANCE.format(address=flood.address)))
        with Gateway(gateway_core, is_plain=False, changes=changes) as gateway:
            gateway.run(peer, peer_core, "accept", orders, 8)
            for number in range(rounds):
                for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                    runs[way].append(_round(gateway, flood, peer, peer_core, orders, way, rate))
            gateway.stop()
    figures: dict[str, Any] = {way: _summary(several) for way, several in runs.items()}
    for way in ways[1:]:
        for key in ("p50", "p99"):
            pairs = zip(runs[way], runs["quiet" if way == "aside" else "aside"], strict=True)
            figures[way][f"{key}_ratio"] = median(run[f"{key}_ns"] / other[f"{key}_ns"] for run, other in pairs)
    figures["sent_per_s"] = median(run["sent_per_s"] for run in runs["flooded"])
    figures["bytes_left"] = max(run["bytes_left"] for run in runs["flooded"])
    return figures


def _round(
    gateway: Gateway, flood: FloodProcess, peer: list[str], core: int, orders: int, way: str, rate: int
) -> dict[str, Any]:
    if WAYS[way]:
        flood.say(f"{WAYS[way]} {rate}")
    run = gateway.run(peer, core, "accept", orders, 1)
    if WAYS[way]:
        run["sent_per_s"], run["bytes_left"] = flood.stop()
    return run


def _summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {f"{name}_us": median(run[f"{name}_ns"] for run in runs) / 1000 for name in ("p50", "p99", "p999")} | {
        "best_p99_us": min(run["p99_ns"] for run in runs) / 1000
    }
