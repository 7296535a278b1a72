"""`python -m tests.bench.adjusting`: a thousand of ten thousand accounts must be adjusted at once.

The gateway's core in process, over a real journal: accounts with positions in two perpetuals, as many other instruments
listed as a venue has, a market that falls through the last threshold of a thousand of them. From the swap of the risk
arrays: until each of them has its first action in the journal and its order at the link, in the order of severity; and
how long the loop is held at once meanwhile, which is what an order may have to wait.
"""

from __future__ import annotations

import argparse
import gc
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any, Final

import orjson

from gateway.margin.adjustments import INTERNAL
from gateway.records import guards as guard_records
from risk.instrument import Side
from tests.bench.intraday import open_accounts
from tests.gateway.margin_floor import WATCH
from tests.gateway.readers import BookFeed
from tests.gateway.rig import BTC, CONFIG, ETH, SECOND, Rig, listed

ACCOUNTS: Final = 10_000
BREACHING: Final = 1_000
LISTED: Final = 500
BUDGET_S: Final = 1.0
LOTS_SAFE, LOTS_CLOSE = 50, 400
ADJUST: Final = "\n[adjust]\nmax_notional_per_s_usd = 100000000\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--breaching", type=int, default=BREACHING)
    parser.add_argument("--listed", type=int, default=LISTED)
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        found = measure(Path(directory), arguments.accounts, arguments.breaching, arguments.listed)
    print(orjson.dumps(vars(arguments) | {"budget_s": BUDGET_S} | found, option=2).decode())


def measure(directory: Path, accounts: int, breaching: int, others: int) -> dict[str, Any]:
    """Return the figures of one event."""
    rig = _rig(directory, accounts, breaching, others)
    try:
        core = rig.core
        now = rig.now_ns = rig.now_ns + SECOND
        price = 52_000.0
        rig.mark(BTC, price)
        rig.mark(ETH, 2_000.0)
        _book(rig, price)
        core.valuation.run(now)
        first: dict[str, int] = {}
        commit = core.pipeline.commit

        def noted(record: Any, at_ns: int) -> Any:
            if isinstance(record, guard_records.AdjustmentStepped):
                first.setdefault(record.account, perf_counter_ns())
            return commit(record, at_ns)

        core.pipeline.commit = noted  # type: ignore[method-assign]
        swapped = perf_counter_ns()
        core.intraday.run(now)
        decided = perf_counter_ns()
        slices: list[int] = []
        turns = 0
        while len(first) < breaching and turns < 100_000:
            turns += 1
            began = perf_counter_ns()
            core.tick_markets(now + (began - swapped))
            slices.append(perf_counter_ns() - began)
        ended = perf_counter_ns()
        slices.sort()
        assert len(first) == breaching, (len(first), core.monitor.alerts[-3:])
        delays = sorted(at - swapped for at in first.values())
        return {
            "decided_ms": (decided - swapped) / 1e6,
            "first_action_ms": delays[0] / 1e6,
            "all_first_actions_busy_ms": (ended - swapped) / 1e6,
            "turns": turns,
            "slice_p50_ms": slices[len(slices) // 2] / 1e6,
            "slice_p99_ms": slices[len(slices) * 99 // 100] / 1e6,
            "slice_longest_ms": slices[-1] / 1e6,
            "orders": sum(1 for order in rig.ledger.orders.values() if order.session == INTERNAL),
        }
    finally:
        rig.journal.close()
        gc.unfreeze()


def _book(rig: Rig, price: float) -> None:
    size = Decimal(100_000_000)
    feed = BookFeed(rig)
    bids = [(Decimal(str(price - 0.5 * (1 + n))), size) for n in range(5)]
    asks = [(Decimal(str(price + 0.5 * (1 + n))), size) for n in range(5)]
    feed.set(BTC, bids, asks)


def _rig(directory: Path, accounts: int, breaching: int, others: int) -> Rig:
    names = open_accounts(directory, accounts)
    rig = Rig(directory, config=CONFIG + WATCH + ADJUST, segment_bytes=64 << 20)
    for number in range(others):
        symbol = f"BTC-{number}-PERPETUAL"
        rig.hear(listed(symbol))
        rig.mark(symbol, 60_000.0)
    btc, eth = rig.ledger.by_symbol[BTC], rig.ledger.by_symbol[ETH]
    for number, name in enumerate(names):
        account, is_close = rig.ledger.accounts[name], number >= accounts - breaching
        account.limits = rig.ledger.accounts["alpha"].limits
        account.book_fill(btc, Side.BUY, LOTS_CLOSE + number % 21 - 10 if is_close else LOTS_SAFE, 120_000, 0)
        account.book_fill(eth, Side.SELL, 10, 40_000, 0)
    rig.core.valuation.run(rig.now_ns)
    rig.core.intraday.run(rig.now_ns)
    gc.collect()
    gc.freeze()
    return rig


if __name__ == "__main__":
    main()
