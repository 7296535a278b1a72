"""Which rounds the machine was quiet in: what a fixed piece of work took on the gateway's core before and after each.

A core of a shared machine is at times half of one that somebody else has the other half of: the same work then takes up
to twice as long, for seconds or minutes. A round is quiet if its work took at most QUIET times what it took at best.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter_ns
from typing import Any, Final

import orjson

QUIET: Final = 1.1
# Fewer of them than this say nothing.
LEAST_ROUNDS: Final = 3

_PARTS: Final = 5
_READINGS: Final = 40
_DOCUMENT: Final = orjson.dumps([{"id": at, "label": str(at) * 5, "levels": [1.5, 2.5, at]} for at in range(60)])


def yardstick_ns() -> int:
    """Return what the work takes now on the core of the caller; some 2 ms, a part that was interrupted apart."""
    parts = []
    for _ in range(_PARTS):
        begin = perf_counter_ns()
        for _ in range(_READINGS):
            orjson.loads(_DOCUMENT)
        parts.append(perf_counter_ns() - begin)
    return int(median(parts))


def rates_when_quiet(runs: list[dict[str, Any]], best_ns: int) -> dict[str, float]:
    """Return of runs (`count`, `elapsed_ns`, `yardstick_ns`) how many were quiet, and the median rate of those."""
    rates = [run["count"] / run["elapsed_ns"] * 1e9 for run in runs if run["yardstick_ns"] <= QUIET * best_ns]
    return {"quiet_rounds": len(rates), "quiet_per_s": median(rates) if len(rates) >= LEAST_ROUNDS else 0.0}
