"""Transfers over real sockets and with the optimiser's own process: a call is met at a simulated OKX on loopback."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import pytest

from fixtures.market import Market
from fixtures.venues.core.server import serve
from fixtures.venues.okx import OkxVenue
from fixtures.venues.okx_signing import Key
from gateway.config import CredentialsError
from gateway.slowside.transfer_plans import Planner
from gateway.transfers.needs import Problem
from gateway.transfers.runner import TransferRunner
from risk.calls import CallState
from risk.transfers import TransferPlanError
from tests.gateway.transfer_rig import COLLATERAL, WHOLE, transfer_floor

KEYS = {"TRANSFERS_CLIENT_ID": "main", "TRANSFERS_CLIENT_SECRET": "s", "TRANSFERS_PASSPHRASE": "p"}


async def _met(tmp_path: Path) -> None:
    now = time.time_ns()
    venue = OkxVenue(Market(1, now), seed=1, start_ns=now, keys=[Key("main", "s", "p")])
    venue.wallets.put("main/funding", "USDC", Decimal(10_000))
    async with serve(venue) as server:
        rest = f"http://{server.address}"
        text = COLLATERAL.replace('kind = "okx"', f'kind = "okx"\nrest_url = "{rest}"')
        with transfer_floor(tmp_path, collateral=text, now_ns=now) as desk:
            core = desk.rig.core
            runner = TransferRunner(core.config, core.transfers, core.monitor, desk.rig.flush, KEYS)
            task = asyncio.create_task(runner.run())
            try:
                desk.buy()
                async with asyncio.timeout(90):
                    while not desk.watch.calls or desk.call().state is not CallState.MET:
                        desk.rig.now_ns = time.time_ns()
                        desk.move(54_500)
                        core.tick(desk.rig.now_ns)
                        await asyncio.sleep(0.05)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert desk.states() == ["settled"] and venue.wallets.submissions.popitem()[1] == 1
            moved = desk.moved()[0].terms.units
            assert venue.wallets.units("main/funding", "USDC") == 10_000 * 10**12 - moved * 10**4 and moved >= WHOLE
            desk.rig.check_replay()


def test_a_call_is_met_over_sockets_by_a_plan_of_another_process(tmp_path: Path) -> None:
    asyncio.run(_met(tmp_path))


def test_a_key_that_is_missing_stops_the_start_without_a_secret(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        core = desk.rig.core
        with pytest.raises(CredentialsError, match="TRANSFERS_CLIENT_ID"):
            TransferRunner(core.config, core.transfers, core.monitor, desk.rig.flush, {})


async def _died() -> None:
    planner, problem = Planner(), Problem((), (), (), ())
    try:
        assert (await planner.solve(problem)).moves == ()
        assert planner._pool is not None
        for process in planner._pool._processes.values():
            process.kill()
        with pytest.raises(TransferPlanError, match="has died"):
            await planner.solve(problem)
        assert (await planner.solve(problem)).moves == (), "and another one takes its place"
    finally:
        planner.close()


def test_a_solver_that_dies_is_replaced() -> None:
    asyncio.run(_died())
