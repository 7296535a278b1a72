"""The optimiser of transfers in a process of its own: a second of HiGHS must not be a second of the order path."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from gateway.transfers.needs import Problem
from risk.transfers import TIME_LIMIT_S, Plan, TransferPlanError, plan

# Two runs of the solver, each within its limit, and a process that has to start first.
TIMEOUT_S: Final = 2 * TIME_LIMIT_S + 10.0


def solve(problem: Problem) -> Plan:
    """Return the cheapest transfers that leave the least short; raises TransferPlanError."""
    return plan(problem.supplies, problem.needs, problem.routes)


def _begun() -> None:
    """Leave signals to the gateway, and end when it has ended, however that was."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Planner:
    """Solves one problem at a time; a process that has died or hangs is replaced."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def solve(self, problem: Problem) -> Plan:
        """Return a plan.

        Raises
        ------
        TransferPlanError
            Where there is none, or none in time.
        """
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begun)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await loop.run_in_executor(self._pool, solve, problem)
        except TimeoutError:
            self.close()
            raise TransferPlanError(f"the solver gave no answer in {TIMEOUT_S:.0f} s") from None
        except BrokenProcessPool:
            self.close()
            raise TransferPlanError("the solver's process has died") from None

    def close(self) -> None:
        """End the process, whatever it does."""
        pool, self._pool = self._pool, None
        if pool is not None:
            processes = list(pool._processes.values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
