"""Client libraries that others wrote, against the simulated venues: only their base addresses are changed.

They pin versions of what the gateway uses too, so they have an environment of their own: `make clients`.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
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


@pytest.fixture(scope="module")
def peer() -> Callable[..., dict[str, Any]]:
    return lambda *given: asyncio.run(seen_by(*given))


def test_ccxt_trades_on_the_simulated_binance(peer: Callable[..., dict[str, Any]]) -> None:
    seen = peer("ccxt_peer.py", "binance", DEMO_KEY, DEMO_SECRET)
    assert "BTC/USDT:USDT" in seen["markets"] and len(seen["markets"]) == 6
    assert seen["limits"]["amount"] == 0.001 and seen["limits"]["price"] == 0.1
    bid, ask = seen["top"]
    assert 0 < bid < ask and abs(seen["mark"] / bid - 1) < 0.01 and abs(seen["ticker"] / bid - 1) < 0.01
    assert seen["balance"] == 1_000_000
    assert seen["placed"][0] == "open" and seen["told"] == ["open"]
    assert seen["edited"] == [True, 0.02] and seen["open"] == 1
    assert seen["cancelled"] == seen["cancelled_by_socket"] == "canceled"
    assert seen["by_socket"] == seen["trade"] == seen["funding"] == "BTC/USDT:USDT"
    assert seen["my_trades"] >= 1 and seen["position"] == [0.05, "long"]
    assert (seen["refused"], seen["too_large"]) == (-4164, -2019)
    assert seen["candles"] >= 1 and seen["leverage"] == 10


def test_python_binance_trades_on_the_simulated_binance(peer: Callable[..., dict[str, Any]]) -> None:
    seen = peer("python_binance_peer.py", "binance", DEMO_KEY, DEMO_SECRET)
    assert len(seen["symbols"]) == 6 and seen["balance"] == "1000000.00000000"
    assert seen["depth"] == 10
    assert seen["placed"] == ["NEW", True] and seen["told"] == ["NEW", True]
    assert seen["modified"] == ["0.020", True] and seen["open"] == 1
    assert seen["cancelled"] == "CANCELED" and seen["refused"] == -2011
    assert seen["by_socket"] == seen["trade"] == "BTCUSDT"
    assert seen["account"] == ["ORDER", "BTCUSDT"] and seen["position"] == "0.050"
