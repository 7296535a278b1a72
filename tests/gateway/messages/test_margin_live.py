"""Positions and margin over TCP, of a whole gateway with a simulated venue."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import simplefix

from fixtures.fix_conversation import text, timestamp
from tests.gateway.live import TcpClient, live, run, until
from tests.gateway.rig import BTC


def test_a_client_hears_of_its_position_and_its_margin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra_fix="market_data_interval_ms = 10") as running:
            client = await TcpClient().connect(running.port)
            await client.log_on()

            now = timestamp(time.time_ns())

            def told(msg_type: str) -> list[simplefix.FixMessage]:
                return [message for message in client.told if text(message, 35) == msg_type]

            client.send(
                "AN", (710, "p"), (724, 0), (263, 1), (1, "alpha"), (453, 1), (448, "alpha"), (447, "D"), (452, 24),
                (581, 1), (715, now[:8]), (60, now),
            )  # fmt: skip
            client.send("BB", (909, "c"), (1, "alpha"))
            await until(lambda: told("AO") and len(told("BA")) >= 2, "no answers")
            client.order(quantity=10, price=running.price(1.01), tif=3)
            await until(lambda: told("AP"), "no position is told")
            report = told("AP")[-1]
            assert (text(report, 55), text(report, 704), text(report, 325)) == (BTC, "10", "Y")

    run(scenario())
