"""Client libraries that others wrote, against the simulated OKX and Bybit: only their base addresses are changed."""

import asyncio
import subprocess
import time
from typing import Any

import pytest

from fixtures.venues.registry import DEMO_KEY, DEMO_PASSPHRASE, DEMO_SECRET
from tests.peers.test_clients import PYTHON, seen_by

CREDENTIALS = {"okx": (DEMO_KEY, DEMO_SECRET, DEMO_PASSPHRASE), "bybit": (DEMO_KEY, DEMO_SECRET)}
# peer -> its program and its venue
PEERS = {
    "ccxt on okx": ("ccxt_unified_peer.py", "okx", "okx"),
    "ccxt on bybit": ("ccxt_unified_peer.py", "bybit", "bybit"),
    "python-okx": ("python_okx_peer.py", "okx"),
    "pybit": ("pybit_peer.py", "bybit"),
}
LIBRARIES = {"python-okx": "okx", "pybit": "pybit"}


def has(module: str) -> bool:
    """Whether the clients' environment has a library."""
    text = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([str(PYTHON), "-c", text], check=False).returncode == 0


async def all_seen() -> dict[str, Any]:
    """What each peer saw on a venue of its own; they wait for the market, so they run together."""
    names = [name for name in PEERS if has(LIBRARIES.get(name, "ccxt"))]
    programs = [
        seen_by(program, venue, *more, *CREDENTIALS[venue]) for program, venue, *more in (PEERS[name] for name in names)
    ]
    return dict(zip(names, await asyncio.gather(*programs)))


@pytest.fixture(scope="module")
def peers() -> dict[str, Any]:
    return asyncio.run(all_seen())


def seen_of(peers: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in peers:
        pytest.skip(f"{name} is not installed: make clients")
    seen: dict[str, Any] = peers[name]
    return seen


def is_within(value: float, other: float) -> bool:
    return abs(value / other - 1) < 0.01


@pytest.mark.parametrize(("name", "size"), [("ccxt on okx", 1.0), ("ccxt on bybit", 0.01)])
def test_ccxt_follows_and_trades(peers: dict[str, Any], name: str, size: float) -> None:
    seen = seen_of(peers, name)
    assert seen["markets"] == ["future", "option", "spot", "swap"] and seen["has"]
    bid, ask = seen["top"]
    assert 0 < bid < ask and is_within(ask, bid) and is_within(seen["ticker"], bid)
    assert seen["trade"] == seen["funding"] == "BTC/USDT:USDT"
    assert seen["candle"] == 6 and seen["candles"] >= 1 and 0 < seen["delta"] <= 1
    assert seen["balance"] == 1_000_000
    assert seen["told"] == ["open"] and seen["edited"] == [True, [True]] and seen["open"] == 0
    assert seen["by_socket"] and seen["cancelled"]
    assert seen["filled"] == [size, True] and seen["position"] == [["BTC/USDT:USDT", size, "long"]]
    assert seen["refused"] == ["InsufficientFunds", "OrderNotFound", "AuthenticationError"]


def test_python_okx_trades_by_rest(peers: dict[str, Any]) -> None:
    seen = seen_of(peers, "python-okx")
    assert abs(seen["time"] / 1_000 - time.time()) < 60
    assert seen["instruments"] == 4 and seen["levels"] == [5, 5] and seen["mode"] == "net_mode"
    assert seen["equity"] > 2_000_000
    assert seen["placed"] == seen["amended"] == seen["cancelled"] == "0"
    assert seen["again"] == ["1", "51016"] and seen["working"] == ["2"] and seen["state"] == "canceled"
    assert seen["fills"] == 3.0 and seen["position"] == ["-3"]


def test_pybit_trades_by_rest_and_over_its_lanes(peers: dict[str, Any]) -> None:
    seen = seen_of(peers, "pybit")
    assert abs(seen["time"] - time.time()) < 60
    assert seen["instruments"] == 8 and seen["levels"] == [10, 10] and seen["equity"] > 2_000_000
    assert seen["again"] == 110072 and seen["working"] == ["0.020"] and seen["state"] == "Cancelled"
    assert seen["book"] == "BTCUSDT"
    assert seen["ack"] == [0, ["X-Bapi-Limit", "X-Bapi-Limit-Reset-Timestamp", "X-Bapi-Limit-Status"]]
    assert seen["told"] == ["New", True] and (seen["cancelled"], seen["ended"]) == (0, "Cancelled")
