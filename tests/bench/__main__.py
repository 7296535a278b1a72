"""`make bench`, or `python -m tests.bench [--json] [--quick]`: every figure beside its budget and its floor.

Parts in process first, compiled and plain; then the gateway as a process of its own on the wire, rounds of it and of
an echo taken in turns, so that a busy machine slows both. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from statistics import median
from typing import Any, Final, NamedTuple

import orjson
from rich.console import Console

from protocols.fix import codec
from risk import kernel
from tests.bench.beside import measure_beside
from tests.bench.beside import told as told_beside
from tests.bench.conditions import conditions
from tests.bench.feeds import measure_feeds
from tests.bench.quiet import rates_when_quiet, yardstick_ns
from tests.bench.report import print_all
from tests.bench.scenario_sets import measure_sets, recorded
from tests.bench.session import measure_engine
from tests.bench.simulated import measure_simulated
from tests.bench.slowside import ACCOUNTS, ORDERS, measure_slow
from tests.bench.venues_decode import measure_recorded
from tests.bench.wire import ROOT, Echo, Gateway, cores, peer_command, pinned, run_echo

_PARTS_TIMEOUT_S: Final = 300
_NOTES: Final = (
    "Loopback. Accepts: orders rest at the venue, whose answer is reply (650 bytes) and notification in one write; or "
    "the notification comes after the report, then a pause of 0.1 ms, in which the gateway sleeps: to wake up is "
    "in the floor of that row too, an echo after the same pause. After each run, "
    "untimed, the venue cancels all orders. Risk arrays are made anew every 250 ms, 27 scenarios."
)


class Plan(NamedTuple):
    """How much is measured: rounds, orders a round one at a time, orders a round in flight; the same for parts."""

    rounds: int
    single: int
    flight: int
    batches: int
    slow_rounds: int
    slow_orders: int
    accounts: tuple[int, ...]
    feed_rounds: int
    feed_orders: int
    venue_orders: int
    bars: int
    is_whole: bool  # the backtest too, where there are recorded prices


FULL: Final = Plan(
    11,
    2_000,
    8_000,
    80,
    slow_rounds=7,
    slow_orders=ORDERS,
    accounts=ACCOUNTS,
    feed_rounds=9,
    feed_orders=2_000,
    venue_orders=50,
    bars=24 * 60,
    is_whole=True,
)
QUICK: Final = Plan(
    3,
    1_000,
    4_000,
    10,
    slow_rounds=3,
    slow_orders=ORDERS // 2,
    accounts=ACCOUNTS[:2],
    feed_rounds=3,
    feed_orders=500,
    venue_orders=25,
    bars=24 * 10,
    is_whole=False,
)
WINDOWS: Final = (64, 256)
# What an echo has of each hop, in bytes: half of what goes in and out there for one order. A client's order and its
# report; a request to the venue, its reply and its notification.
HOPS: Final = {"client": 250, "venue": 760}
PASSES: Final = 4
# Where there is no terminal whose width counts.
PLAIN_WIDTH: Final = 130


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object of all figures")
    parser.add_argument("--quick", action="store_true", help="a twentieth of a minute a table")
    arguments = parser.parse_args()
    figures = measure(QUICK if arguments.quick else FULL)
    if arguments.json:
        print(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    else:
        console = Console()
        print_all(figures, console if console.is_terminal else Console(width=PLAIN_WIDTH))
        print(told_beside(figures["beside"]))


def measure(plan: Plan) -> dict[str, Any]:
    """Take all figures."""
    gateway_core, peer_core = cores()
    peer, peer_name = peer_command()
    kinds = {"compiled": False, "plain": True} if codec.COMPILED or kernel.COMPILED else {"plain": True}
    about = conditions() | {
        "gateway_core": gateway_core,
        "peer_core": peer_core,
        "peer": peer_name,
        "compiled": {"codec": codec.COMPILED, "kernel": kernel.COMPILED},
        "notes": _NOTES,
    }
    parts = {kind: _parts(is_plain, plan.batches) for kind, is_plain in kinds.items()}
    engine = {
        kind: measure_engine(peer, (gateway_core, peer_core), is_plain, plan.rounds, plan.single, 4 * plan.flight)
        for kind, is_plain in kinds.items()
    }
    wire = {kind: _wire(is_plain, plan, peer) for kind, is_plain in kinds.items()}
    beside = measure_beside(plan.rounds, 3 * plan.single)
    slow = measure_slow(
        peer, gateway_core, peer_core, rounds=plan.slow_rounds, orders=plan.slow_orders, accounts=plan.accounts
    )
    sets = measure_sets(
        peer, gateway_core, peer_core, rounds=plan.slow_rounds, orders=plan.slow_orders, bars=plan.bars,
        data=recorded() if plan.is_whole else None,
    )  # fmt: skip
    feeds = {
        "decoded": measure_recorded(2 if plan is QUICK else 5),
        "simulated": measure_simulated(gateway_core, peer_core, rounds=3, orders=plan.venue_orders),
        "flooded": measure_feeds(peer, gateway_core, peer_core, rounds=plan.feed_rounds, orders=plan.feed_orders),
    }
    about["load_average_after"] = conditions()["load_average"]
    figures = {"conditions": about, "parts": parts, "engine": engine, "wire": wire}
    return figures | {"slow": slow, "beside": beside, "feeds": feeds, "sets": sets}


def _parts(is_plain: bool, batches: int) -> dict[str, float]:
    """Measure in a process of its own: which twin is used is decided at import."""
    environment = os.environ | {"MARGINGATE_PURE": "1" if is_plain else "0"}
    command = [sys.executable, "-m", "tests.bench.parts", "50", str(batches), str(PASSES)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, cwd=ROOT, env=environment, timeout=_PARTS_TIMEOUT_S
    )
    parts: dict[str, float] = orjson.loads(done.stdout)["parts"]
    return parts


def _wire(is_plain: bool, plan: Plan, peer: list[str]) -> dict[str, Any]:
    gateway_core, peer_core = cores()
    runs: dict[str, list[dict[str, Any]]] = {}

    def note(name: str, figures: dict[str, Any]) -> None:
        runs.setdefault(name, []).append(figures)

    def rate(mode: str, window: int) -> None:
        with pinned(gateway_core):
            before_ns = yardstick_ns()
        figures = gateway.run(peer, peer_core, mode, plan.flight, window)
        with pinned(gateway_core):
            note(f"{mode}_{window}", figures | {"yardstick_ns": max(before_ns, yardstick_ns())})

    with Echo(gateway_core) as echo, Gateway(gateway_core, is_plain) as gateway:
        for mode in ("reject", "accept"):  # everything once before anything is timed
            gateway.run(peer, peer_core, mode, plan.single, 8)
        for _ in range(plan.rounds):
            note("echo", run_echo(peer, peer_core, echo, plan.single, 1))
            note("rested", run_echo(peer, peer_core, echo, plan.single, 1, is_rested=True))
            for mode in ("reject", "accept", "apart"):
                note(mode, gateway.run(peer, peer_core, mode, plan.single, 1))
            for window in WINDOWS:
                for hop, size in HOPS.items():
                    note(f"echo_{hop}_{window}", run_echo(peer, peer_core, echo, plan.flight, window, size=size))
            for mode in ("reject", "accept"):
                for window in WINDOWS:
                    rate(mode, window)
            for op in ("check", "hold"):
                note(f"hook_{op}_64", gateway.run_hook(peer_core, op, 4 * plan.flight, 64))
            note("what_if_64", gateway.what_ifs(peer_core, plan.flight, 64))
        snapshot = gateway.stop()
    result: dict[str, Any] = {name: _summary(several) for name, several in runs.items()}
    for mode, floor_name in (("reject", "echo"), ("accept", "echo"), ("apart", "rested")):
        pairs = zip(runs[mode], runs[floor_name], strict=True)
        result[mode]["ratio"] = median(run["p50_ns"] / floor["p50_ns"] for run, floor in pairs)
    rated = [f"{mode}_{window}" for mode in ("reject", "accept") for window in WINDOWS]
    best_ns = min(run["yardstick_ns"] for name in rated for run in runs[name])
    for name in rated:
        result[name] |= rates_when_quiet(runs[name], best_ns)
    for window in WINDOWS:
        hops = (runs[f"echo_client_{window}"], runs[f"echo_venue_{window}"])
        result[f"reject_{window}"] |= _beside(runs[f"reject_{window}"], runs["echo"], hops[:1])
        result[f"accept_{window}"] |= _beside(runs[f"accept_{window}"], runs["echo"], hops)
    result["gateway"] = {name: snapshot[name] for name in ("rejects_by_code", "accepted", "cancelled", "alerts")}
    return result


def _beside(
    runs: list[dict[str, Any]], single: list[dict[str, Any]], hops: tuple[list[dict[str, Any]], ...]
) -> dict[str, float]:
    """Return orders a second beside echoes of the same rounds: one for each hop, on one core, one after the other.

    `of_echo` is how many orders went through to each such echo; `of_round_trip` an order's time to the echo's p50.
    """
    order_ns = [run["elapsed_ns"] / run["count"] for run in runs]
    echo_ns = [sum(hop["elapsed_ns"] / hop["count"] for hop in together) for together in zip(*hops, strict=True)]
    return {
        "echo_per_s": 1e9 / median(echo_ns),
        "of_echo": median(echo / order for order, echo in zip(order_ns, echo_ns, strict=True)),
        "of_round_trip": median(order / one["p50_ns"] for order, one in zip(order_ns, single, strict=True)),
    }


def _summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    rates = [run["count"] / run["elapsed_ns"] * 1e9 for run in runs]
    latencies = {f"{name}_us": median(run[f"{name}_ns"] for run in runs) / 1000 for name in ("p50", "p99", "p999")}
    # On a machine that others use too, what an order costs tells more than how many there were.
    cpu_us = median(run.get("cpu_ns", 0) / run["count"] for run in runs) / 1000
    return latencies | {"per_s": median(rates), "best": max(rates), "cpu_us": cpu_us}


if __name__ == "__main__":
    main()
