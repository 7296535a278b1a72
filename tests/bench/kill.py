"""The kill switch under load: from the operator's command to the last new order sent, and to the last cancel.

    python -m tests.bench.kill [--rounds N] [--per-second N]

The gateway's core, its control socket and a venue's session in one process and loop, as they run; orders come at a
steady rate in the batches of a millisecond; another thread sends the command over the socket. What leaves is timed as
it is handed to the venue's transport. Each round kills another scope, with as many orders working as have come by then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import threading
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import uvloop

from gateway.clock import now_ns
from gateway.operators.channel import ControlServer, Kill, ask
from gateway.operators.kills import KillError
from tests.bench.rig import Rig
from tests.bench.setting import RICH
from tests.bench.venue import SYMBOL

BUDGET_NS: Final = 10_000_000
PER_SECOND: Final = 20_000
ROUNDS: Final = 12
BATCH_NS: Final = 1_000_000
WARM_UP_S: Final = 0.15
AFTER_S: Final = 0.05
SCOPES: Final = (
    ("firm", "bench"),
    ("account", RICH),
    ("venue", "deribit-bench"),
    ("instrument", SYMBOL),
    ("session", "BENCH"),
)
# One order in so many passes the checks and rests at the venue; the others are refused for margin.
ACCEPTED_ONE_IN: Final = 4
MOST_AT_ONCE: Final = 64


class Round(NamedTuple):
    """Of one kill, from the command on: when the last new order and the last cancel left; what worked; the rate."""

    last_send_ns: int
    last_cancel_ns: int
    answered_ns: int
    working: int
    per_second: float


class Wire:
    """What the venue's session hands over, with its time."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.last_buy_ns = self.last_cancel_ns = 0

    def take(self) -> None:
        """Note what is new, and answer the new orders, so that the venue has named them when they are cancelled."""
        now = now_ns()
        for frame in self._rig.requests:
            if b'"private/buy"' in frame:
                self.last_buy_ns = now
            elif b'"private/cancel"' in frame:
                self.last_cancel_ns = now
        orders = [frame for frame in self._rig.requests if b'"private/buy"' in frame]
        self._rig.requests[:] = orders
        while self._rig.requests:
            self._rig.answer_next()


async def _round(rig: Rig, scope: str, name: str, per_second: int) -> Round:
    loop, wire = asyncio.get_running_loop(), Wire(rig)
    orders = _orders(rig, int(per_second * (WARM_UP_S + 4 * AFTER_S)))
    began, sent, is_over = now_ns(), 0, asyncio.Event()
    told: dict[str, int] = {}

    def answer(command: Any, user: str) -> dict[str, Any]:
        try:
            cancels, _ = rig.core.controls.kill(command.scope, command.name, user, command.reason, now_ns())
        except KillError as error:
            raise RuntimeError(str(error)) from None
        rig.pipeline.router.flush()
        wire.take()
        return {"cancels": cancels}

    async def flood() -> None:
        nonlocal sent
        while not is_over.is_set():
            due = min(MOST_AT_ONCE, (now_ns() - began) * per_second // 1_000_000_000 - sent, len(orders) - sent)
            if due > 0:
                rig.client.receive(b"".join(orders[sent : sent + due]), now_ns())
                sent += due
            rig.pipeline.router.flush()
            wire.take()
            rig.client.session.data_to_send()
            await asyncio.sleep(BATCH_NS / 1e9 if due < MOST_AT_ONCE else 0)

    with tempfile.TemporaryDirectory(prefix="margingate-kill-") as place:
        control = ControlServer(Path(place), answer)
        await control.start()

        def command() -> None:
            told["asked"] = now_ns()
            told["cancels"] = int(ask(Path(place), Kill(scope, name, "bench"))["cancels"])
            told["answered"] = now_ns()

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(WARM_UP_S)
        thread = threading.Thread(target=command)
        before = sent
        thread.start()
        await asyncio.sleep(AFTER_S)
        await loop.run_in_executor(None, thread.join)
        is_over.set()
        await flooding
        control.stop()
    rate = before / WARM_UP_S
    return Round(
        max(0, wire.last_buy_ns - told["asked"]),
        wire.last_cancel_ns - told["asked"],
        told["answered"] - told["asked"],
        told["cancels"],
        rate,
    )


def _orders(rig: Rig, count: int) -> list[bytes]:
    """Return numbered orders, one in so many of an account that can pay for it; made before anything is timed."""
    found: list[bytes] = []
    while len(found) < count:
        found += rig.orders(1, is_covered=True) + rig.orders(ACCEPTED_ONE_IN - 1, is_covered=False)
    return found


async def _all(rounds: int, per_second: int) -> list[Round]:
    found = []
    with Rig() as rig:
        for number in range(rounds):
            scope, name = SCOPES[number % len(SCOPES)]
            found.append(await _round(rig, scope, name, per_second))
            rig.core.controls.reinstate(scope, name, "bench", "next round", now_ns())
            rig.clear()
            _skip(rig)
            with contextlib.suppress(IndexError):
                rig.catch_up()
    return found


def _skip(rig: Rig) -> None:
    """Go on with the number that the session expects: what was made and not sent is forgotten."""
    state = rig.core.reports.sessions["BENCH"]
    rig.next_seq = state.next_in


def measure(rounds: int = ROUNDS, per_second: int = PER_SECOND) -> dict[str, float]:
    """Return the figures, in microseconds: medians, and the worst round, which is what the budget is for."""
    found = uvloop.run(_all(rounds, per_second))
    return {
        "last_send_us": median(one.last_send_ns for one in found) / 1e3,
        "last_send_worst_us": max(one.last_send_ns for one in found) / 1e3,
        "last_cancel_us": median(one.last_cancel_ns for one in found) / 1e3,
        "last_cancel_worst_us": max(one.last_cancel_ns for one in found) / 1e3,
        "answered_us": median(one.answered_ns for one in found) / 1e3,
        "working": median(one.working for one in found),
        "per_second": median(one.per_second for one in found),
        "budget_us": BUDGET_NS / 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--per-second", type=int, default=PER_SECOND)
    arguments = parser.parse_args()
    figures = measure(arguments.rounds, arguments.per_second)
    is_met = figures["last_send_worst_us"] <= figures["budget_us"]
    print(
        f"kill switch under {figures['per_second']:,.0f} orders/s, {figures['working']:,.0f} working: "
        f"last send {figures['last_send_us']:,.0f} us (worst {figures['last_send_worst_us']:,.0f}), "
        f"last cancel {figures['last_cancel_us']:,.0f} us (worst {figures['last_cancel_worst_us']:,.0f}); "
        f"<= {figures['budget_us']:,.0f} us {'met' if is_met else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
