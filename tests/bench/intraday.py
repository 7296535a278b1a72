"""`python -m tests.bench.intraday`: from a market that has moved to the first margin call of ten thousand accounts.

The gateway's core in process, over a real journal: accounts with cash and positions in two perpetuals, a market that
falls, risk arrays made anew, the watch's pass. "From the mark" begins before the arrays are priced, "from the swap"
when the generation is in its place. First action: the first decision is in the journal and applied, its call queued
for the client. Slices: how long the loop is held at once. Medians of so many rounds, and the worst.
"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any, Final

import orjson

from gateway import records
from gateway.journal import Journal
from risk.instrument import Side
from tests.gateway.margin_floor import WATCH
from tests.gateway.rig import BTC, CONFIG, ETH, SECOND, START_NS, Rig

ACCOUNTS: Final = 10_000
ROUNDS: Final = 5
BUDGET_MS: Final = 50.0
# Of a thousand dollars of cash; from 4 000 on the account is called when the market falls by a tenth.
LOTS_SAFE: Final = 50
LOTS_CLOSE: Final = 400


def main() -> None:
    """Measure and print: nothing in danger, one account, every account."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    rows = {
        name: measure(arguments.accounts, breached, arguments.rounds)
        for name, breached in (("one account", 1), ("every account", arguments.accounts))
    }
    print(orjson.dumps({"accounts": arguments.accounts, "budget_ms": BUDGET_MS, **rows}, option=2).decode())


def measure(accounts: int, breached: int, rounds: int) -> dict[str, Any]:
    """Return the figures of rounds in which so many of the accounts breach, in ms."""
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        with TemporaryDirectory() as directory:
            for name, value in _round(Path(directory), accounts, breached).items():
                figures.setdefault(name, []).append(value)
    return {
        name: {"median": round(median(values), 2), "worst": round(max(values), 2)} for name, values in figures.items()
    }


def _round(directory: Path, accounts: int, breached: int) -> dict[str, float]:
    rig = _rig(directory, accounts, breached)
    try:
        core, now = rig.core, rig.now_ns + SECOND
        acted: list[int] = []
        core.intraday.listeners.append(lambda record, now_ns: acted.append(perf_counter_ns()))
        for symbol, price in ((BTC, 54_000.0), (ETH, 2_000.0)):
            rig.now_ns = now
            rig.mark(symbol, price)
        slices: list[int] = []
        marked = perf_counter_ns()
        core.valuation.run(now)
        swapped = perf_counter_ns()
        core.intraday.begin(now)
        is_over = False
        while not is_over:
            began = perf_counter_ns()
            is_over = core.intraday.step()
            slices.append(perf_counter_ns() - began)
        ended = perf_counter_ns()
        assert len(core.ledger.margin.watches) >= breached and acted, "nothing was decided"
        return {
            "first_action_from_mark_ms": (acted[0] - marked) / 1e6,
            "first_action_from_swap_ms": (acted[0] - swapped) / 1e6,
            "all_actions_from_swap_ms": (acted[-1] - swapped) / 1e6,
            "pass_ms": (ended - swapped) / 1e6,
            "p99_slice_ms": sorted(slices)[len(slices) * 99 // 100] / 1e6,
            "longest_slice_ms": max(slices) / 1e6,
            "decisions": float(core.intraday.decisions),
        }
    finally:
        rig.journal.close()
        gc.unfreeze()


def open_accounts(directory: Path, count: int) -> list[str]:
    """Write a journal that knows so many accounts, each with a deposit; return their names."""
    journal = Journal.open(directory, segment_bytes=64 << 20)
    names = [f"a{number}" for number in range(count)]
    for name in names:
        for record in (records.AccountOpened(name, "USD"), records.CashMoved(name, "USDC", 10**11, "initial deposit")):
            journal.append(records.TAGS[type(record)], records.encode(record), START_NS, True)
    journal.close()
    return names


def _rig(directory: Path, accounts: int, breached: int) -> Rig:
    """A gateway whose journal knows so many accounts, the last of which are close to their margin."""
    names = open_accounts(directory, accounts)
    rig = Rig(directory, config=CONFIG + WATCH, segment_bytes=64 << 20)
    btc, eth = rig.ledger.by_symbol[BTC], rig.ledger.by_symbol[ETH]
    for number, name in enumerate(names):
        account, is_close = rig.ledger.accounts[name], number >= accounts - breached
        account.book_fill(btc, Side.BUY, LOTS_CLOSE if is_close else LOTS_SAFE, 120_000, 0)
        account.book_fill(eth, Side.SELL, 10, 40_000, 0)
    rig.core.valuation.run(rig.now_ns)
    rig.core.intraday.run(rig.now_ns)
    gc.collect()
    gc.freeze()  # as the gateway does before it begins
    return rig


if __name__ == "__main__":
    main()
