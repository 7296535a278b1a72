"""Client libraries that others wrote, against the simulated venues: only their base addresses are changed.

They pin versions of what the gateway uses too, so they have an environment of their own: `make clients`.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.venues.registry import DEMO_KEY, DEMO_SECRET

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PYTHON = Path(os.environ.get("MARGINGATE_CLIENTS", ROOT / ".venv-clients")) / "bin" / "python"
PATIENCE_S = 50.0

if not PYTHON.exists():
    pytest.skip("client libraries are not installed: make clients", allow_module_level=True)


async def seen_by(program: str, venue: str, *credentials: str) -> dict[str, Any]:
    """Serve a venue, run a peer's program against it, return what it saw."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fixtures.venues.run", "--venue", venue, "--json", f"--seconds={PATIENCE_S}",
        stdout=asyncio.subprocess.PIPE, env=environment, cwd=ROOT,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        line = json.loads(await asyncio.wait_for(server.stdout.readline(), PATIENCE_S))
        address = line["addresses"]["REST"].removeprefix("http://")
        peer = await asyncio.create_subprocess_exec(
            str(PYTHON), str(HERE / program), address, *credentials,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, errors = await asyncio.wait_for(peer.communicate(), PATIENCE_S)
    finally:
        server.terminate()
        await server.wait()
    assert peer.returncode == 0, errors.decode()[-3_000:]
    seen: dict[str, Any] = json.loads(out)
    return seen


# who -> its program, its venue, and whom it logs in as
PROGRAMS = {
    "ccxt": ("ccxt_peer.py", "binance", DEMO_KEY, DEMO_SECRET),
    "python-binance": ("python_binance_peer.py", "binance", DEMO_KEY, DEMO_SECRET),
    "ccxt on deribit": ("ccxt_deribit_peer.py", "deribit", "demo", "demo"),
}


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, Any]]:
    """What each of them saw; they run at the same time, each on a venue of its own."""

    async def run() -> list[dict[str, Any]]:
        return await asyncio.gather(*(seen_by(*program) for program in PROGRAMS.values()))

    return dict(zip(PROGRAMS, asyncio.run(run())))


def test_ccxt_trades_on_the_simulated_binance(seen: dict[str, dict[str, Any]]) -> None:
    of = seen["ccxt"]
    assert "BTC/USDT:USDT" in of["markets"] and len(of["markets"]) == 6
    assert of["limits"]["amount"] == 0.001 and of["limits"]["price"] == 0.1
    bid, ask = of["top"]
    assert 0 < bid < ask and abs(of["mark"] / bid - 1) < 0.01 and abs(of["ticker"] / bid - 1) < 0.01
    assert of["balance"] == 1_000_000
    assert of["placed"][0] == "open" and of["told"] == ["open"]
    assert of["edited"] == [True, 0.02] and of["open"] == 1
    assert of["cancelled"] == of["cancelled_by_socket"] == "canceled"
    assert of["by_socket"] == of["trade"] == of["funding"] == "BTC/USDT:USDT"
    assert of["my_trades"] >= 1 and of["position"] == [0.05, "long"]
    assert (of["refused"], of["too_large"]) == (-4164, -2019)
    assert of["candles"] >= 1 and of["leverage"] == 10


def test_ccxt_trades_on_the_simulated_deribit(seen: dict[str, dict[str, Any]]) -> None:
    """Over HTTP where it orders and asks, over the WebSocket where it follows."""
    of = seen["ccxt on deribit"]
    assert {"future", "option", "swap"} <= set(of["markets"]) and of["tick"] == 0.5
    bid, ask = of["top"]
    assert 0 < bid < ask and abs(of["asked"] / bid - 1) < 0.01
    assert of["ticker"][0] == "BTC/USD:BTC" and abs(of["ticker"][1] / bid - 1) < 0.01
    assert of["balance"] > 0 and of["placed"] == ["open", 100.0] and of["told"] == "open"
    assert of["edited"] == [True, 200.0] and (of["open"], of["cancelled"], of["left"]) == (1, "canceled", 0)
    assert of["trade"] == "BTC/USD:BTC" and of["filled"] == [50.0, True] and of["position"] == [["BTC/USD:BTC", "long"]]
    assert of["refused"] == ["InsufficientFunds", "OrderNotFound", "AuthenticationError"]


def test_python_binance_trades_on_the_simulated_binance(seen: dict[str, dict[str, Any]]) -> None:
    of = seen["python-binance"]
    assert len(of["symbols"]) == 6 and of["balance"] == "1000000.00000000"
    assert of["depth"] == 10
    assert of["placed"] == ["NEW", True] and of["told"] == ["NEW", True]
    assert of["modified"] == ["0.020", True] and of["open"] == 1
    assert of["cancelled"] == "CANCELED" and of["refused"] == -2011
    assert of["by_socket"] == of["trade"] == "BTCUSDT"
    assert of["account"] == ["ORDER", "BTCUSDT"] and of["position"] == "0.050"
