"""`python -m tests.simulator [--venues all] [--expiry] [--seeds A-B]`: many worlds in two processes, with a bar."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.simulated_wires import KINDS_SIMULATED

PROCESSES = 2
TOLD_EVERY = 50  # seeds, where there is no bar


class Verdict(NamedTuple):
    """What one seed came to; `trouble` is empty where all invariants held."""

    seed: int
    trouble: str
    fills: int
    orders: int
    crashes: int
    faults: int


def judged(job: tuple[int, tuple[str, ...], bool]) -> Verdict:
    """Run one seed."""
    from tests.simulator import run_seed

    seed, others, expires = job
    try:
        world = run_seed(seed, others=others, expires=expires)
    except Exception as error:  # whatever it is, it is a finding, and the other seeds are run all the same
        return Verdict(seed, f"{type(error).__name__}: {error}"[:600], 0, 0, 0, 0)
    committed = sum(sum(one.faults.committed.values()) for one in (world, *world.wires))
    trades = len(world.venue.trades("margingate")) + sum(len(wire.account.trades) for wire in world.wires)
    return Verdict(seed, "", trades, len(world.approved), world.crashes, committed)


def main(argv: list[str] | None = None) -> int:
    """Run the seeds; tell each that failed; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.simulator", description=__doc__)
    parser.add_argument("--venues", choices=("deribit", "all"), default="deribit")
    parser.add_argument("--seeds", default="0-199", help="FIRST-LAST, or one")
    parser.add_argument("--expiry", action="store_true", help="funding is paid and futures end")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    arguments = parser.parse_args(argv)
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    others = KINDS_SIMULATED if arguments.venues == "all" else ()
    console, began_s, verdicts = Console(), time.monotonic(), []
    columns = [TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    jobs = [(seed, others, arguments.expiry) for seed in seeds]
    with (
        Progress(*columns, TextColumn("{task.fields[failed]} failed"), console=console) as progress,
        multiprocessing.get_context("spawn").Pool(min(arguments.processes, len(jobs))) as pool,
    ):
        task = progress.add_task("", total=len(jobs), failed=0)
        for verdict in pool.imap_unordered(judged, jobs):
            verdicts.append(verdict)
            if verdict.trouble:
                console.print(f"seed {verdict.seed}: {verdict.trouble}", markup=False, highlight=False, soft_wrap=True)
            progress.update(task, advance=1, failed=sum(1 for one in verdicts if one.trouble))
            if not console.is_terminal and len(verdicts) % TOLD_EVERY == 0:
                console.print(f"{len(verdicts)} of {len(jobs)} seeds after {time.monotonic() - began_s:.0f} s")
    failed = sorted(verdict.seed for verdict in verdicts if verdict.trouble)
    sums = {name: sum(getattr(one, name) for one in verdicts) for name in ("orders", "fills", "crashes", "faults")}
    told = ", ".join(f"{count:,} {name}" for name, count in sums.items())
    console.print(f"{len(seeds)} seeds in {time.monotonic() - began_s:.0f} s: {told}; failed: {failed or 'none'}")
    return 1 if failed else 0
