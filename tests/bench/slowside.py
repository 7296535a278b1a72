"""Figures of the slow side: re-pricing, the margin of all accounts, and what both cost an order that comes meanwhile.

python -m tests.bench.slowside load ACCOUNTS     goes over so many accounts without end: a load, until it is killed
python -m tests.bench.slowside [--quick] [--json]   the figures of this file alone
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from statistics import median
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
import orjson
from rich.console import Console

from gateway.slowside.book import BLOCK_ACCOUNTS, BookChange, BookCopy
from gateway.slowside.full_margin import FullMargin
from gateway.slowside.one_by_one import Given, MarginTerms
from gateway.slowside.process import step_back
from risk import collateral
from risk.haircuts import HaircutTerms
from risk.house_terms import HouseTerms
from risk.instrument import Instrument, Kind, make_instrument
from risk.pricing import black76_value
from risk.repricing import NS_PER_YEAR, MarketSnapshot, Repricing
from risk.scenarios import PRICED_AT_ONCE, Generation, Grid
from tests.bench.slow_report import print_slow
from tests.bench.venue import MARK, VOL, option_names
from tests.bench.wire import ROOT, Gateway, cores, peer_command, pinned

OPTIONS: Final = 1_000
SPOT_MOVES: Final = tuple(round(-0.36 + 0.03 * step, 2) for step in range(25))
VOL_MOVES: Final = (-0.5, -0.35, -0.2, -0.1, 0.0, 0.15, 0.3, 0.5)
POSITIONS: Final = 20
ACCOUNTS: Final = (10_000, 100_000, 1_000_000)
# Orders of one round take a second: some generations and a pass are in each.
ORDERS: Final = 25_000
# The gateway asks for a generation so often where nothing moves; here, the mark moves so often.
EVERY_S: Final = 0.25
_NOW_NS: Final = 1_760_000_000_000_000_000
_CHANGES: Final = (
    ("mark_max_age_ms = 60000", "mark_max_age_ms = 60000\ngeneration_interval_ms = 60000"),
    ('["BTC-PERPETUAL", "ETH-PERPETUAL"]', '["*"]'),
    ("[[venue]]", f"[margin]\nspot_moves = {list(SPOT_MOVES)}\nvol_moves = {list(VOL_MOVES)}\n\n[[venue]]"),
)


def options(count: int) -> list[Instrument]:
    """Return BTC options settled in coin: 50 an expiry."""
    return [
        make_instrument(
            index=index, symbol=f"{index}", venue="bench", kind=Kind.OPTION, is_inverse=False, underlying="BTC",
            base_currency="BTC", quote_currency="BTC", settlement_currency="BTC", tick_size=Decimal("0.0001"),
            lot_size=Decimal("0.1"), strike=Decimal(36_000 + 2_000 * (index % 50 // 2)), is_call=index % 2 == 0,
            expiry_ns=_NOW_NS + (1 + index // 50) * NS_PER_YEAR // 12,
        )
        for index in range(count)
    ]  # fmt: skip


def snapshot(instruments: list[Instrument]) -> MarketSnapshot:
    """Return their marks, all at VOL."""
    numbers = []
    for instrument in instruments:
        assert instrument.expiry_ns is not None and instrument.is_call is not None
        years = (instrument.expiry_ns - _NOW_NS) / NS_PER_YEAR
        price = black76_value(MARK, float(instrument.strike or 0), years, VOL, instrument.is_call) / MARK
        numbers.append((price, MARK, MARK, VOL))
    count = len(instruments)
    times = np.full(count, _NOW_NS, dtype=np.int64)
    rows = np.arange(count, dtype=np.int32)
    return MarketSnapshot(1, _NOW_NS, instruments, ["USD", "BTC"], rows, times, np.array(numbers))


def generation_of(given: MarketSnapshot, grid: Grid) -> Generation:
    """Price a snapshot as the pricing process does."""
    repricing = Repricing(given, 1, {"grid": grid})
    while not repricing.price_some(PRICED_AT_ONCE):
        pass
    return repricing.generation()


def repricing_ms(count: int = OPTIONS, rounds: int = 15) -> dict[str, float]:
    """Re-pricing from marks to risk arrays, and the same where every tenth volatility is the surface's."""
    grid, given = Grid(SPOT_MOVES, VOL_MOVES), snapshot(options(count))
    holes = np.array(given.numbers)
    holes[::10, 3] = 0.0
    lacking = MarketSnapshot(1, _NOW_NS, given.instruments, given.currencies, given.rows, given.time_ns, holes)
    figures: dict[str, float] = {"options": count, "scenarios": grid.size}
    for name, each in (("all", given), ("surface", lacking)):
        took = []
        for _ in range(rounds):
            began = perf_counter_ns()
            made = generation_of(each, grid)
            took.append((perf_counter_ns() - began) / 1e6)
            assert made.known.all()
        figures |= {f"{name}_ms": median(took), f"{name}_best_ms": min(took)}
    return figures


def book_of(accounts: int, rows: int) -> BookCopy:
    """Return a book: POSITIONS of each account, drawn from all rows, and a deposit."""
    random, book = np.random.default_rng(1), BookCopy()
    for first in range(0, accounts, BLOCK_ACCOUNTS):
        count = min(BLOCK_ACCOUNTS, accounts - first)
        held = random.integers(0, rows, (count, POSITIONS + 1)).astype(np.int32)
        held[:, POSITIONS] = -1
        amounts = random.normal(0, 10, (count, POSITIONS + 1))
        amounts[:, POSITIONS] = 10.0
        change = BookChange(
            accounts=np.arange(first, first + count, dtype=np.int32),
            counts=np.full(count, POSITIONS + 1, dtype=np.int32), rows=held.reshape(-1), amounts=amounts.reshape(-1),
            orders=np.zeros((0, 6)), currencies=("BTC",), account_count=accounts,
        )  # fmt: skip
        for _ in book.take_in_steps(change):
            pass
    return book


def remargin_s(accounts: int, rounds: int) -> dict[str, float]:
    """One pass over all accounts, portfolios sorted anew in the first; its slowest slice. One more with haircuts."""
    given = snapshot(options(OPTIONS))
    generation, book = generation_of(given, Grid(SPOT_MOVES, VOL_MOVES)), book_of(accounts, OPTIONS)
    rules, _ = collateral.rules()
    haircuts = HaircutTerms(rules=rules, netting=0.1, location=0.02)
    bearing = _passes(
        book, MarginTerms(house=HouseTerms(haircuts=haircuts)), Given(generation, given.instruments, {}), rounds
    )
    return _passes(book, MarginTerms(), Given(generation, given.instruments, {}), rounds) | {
        "haircuts_best_s": bearing["best_s"]
    }


def _passes(book: BookCopy, terms: MarginTerms, given: Given, rounds: int) -> dict[str, float]:
    accounts, margin, took, slowest = book.account_count, FullMargin(book, terms), [], []
    for _ in range(rounds + 1):
        began = perf_counter_ns()
        for _ in margin.pass_in_slices(given.generation, given):
            pass
        took.append((perf_counter_ns() - began) / 1e9)
        assert margin.summary is not None and margin.summary.accounts == accounts and not margin.summary.unknown
        slowest.append(margin.summary.slowest_slice_us)
    return {
        "accounts": accounts,
        "first_s": took[0],
        "pass_s": median(took[1:]),
        "best_s": min(took[1:]),
        "slices": margin.summary.slices,
        "slowest_slice_us": median(slowest[1:]),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_slow(
    peer: list[str],
    gateway_core: int,
    peer_core: int,
    *,
    rounds: int,
    orders: int,
    accounts: tuple[int, ...],
    load_accounts: int = ACCOUNTS[1],
) -> dict[str, Any]:
    """Take all figures of the slow side; each size of a book in a process of its own, whose memory is told."""
    passes = []
    for count in accounts:
        command = [
            sys.executable,
            "-m",
            "tests.bench.slowside",
            "pass",
            str(count),
            str(1 if count > 200_000 else rounds),
        ]
        with pinned(gateway_core):
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT, timeout=300)
        passes.append(orjson.loads(done.stdout))
    with pinned(gateway_core):
        repricing = repricing_ms(rounds=3 * rounds)
    return {
        "repricing": repricing,
        "remargin": passes,
        "orders": _orders_beside(peer, gateway_core, peer_core, rounds, orders, load_accounts),
    }


# -- orders that come meanwhile ---------------------------------------------------------------------------------------


def _orders_beside(
    peer: list[str], gateway_core: int, peer_core: int, rounds: int, orders: int, load_accounts: int
) -> dict[str, Any]:
    """Rejects one at a time in turns: beside nothing, beside re-pricing, beside the margin of all accounts, both."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ("idle", "repricing", "remargin", "both")}
    made = Gateway(gateway_core, is_plain=False, options=option_names(OPTIONS), changes=_CHANGES)
    with made as gateway, _remargin_load(gateway_core, load_accounts) as load:
        gateway.run(peer, peer_core, "reject", orders // 10, 1)
        time.sleep(2 * EVERY_S)
        for _ in range(rounds):
            for name, several in runs.items():
                gateway.refresh()
                time.sleep(2 * EVERY_S)  # the tickers of a thousand options are behind us
                with load(name in ("remargin", "both")), _moves(gateway, name in ("repricing", "both")):
                    several.append(gateway.run(peer, peer_core, "reject", orders, 1, refreshes=False))
        last = gateway.stop()
    result: dict[str, Any] = {
        name: {f"{key}_us": median(run[f"{key}_ns"] for run in several) / 1000 for key in ("p50", "p99", "p999")}
        for name, several in runs.items()
    }
    for name, several in runs.items():
        result[name]["best_p99_us"] = min(run["p99_ns"] for run in several) / 1000
        result[name]["best_ratio"] = result[name]["best_p99_us"] / result["idle"]["best_p99_us"]
    for name in ("repricing", "remargin", "both"):
        pairs = zip(runs[name], runs["idle"], strict=True)
        result[name]["ratio"] = median(run["p99_ns"] / idle["p99_ns"] for run, idle in pairs)
    result["generations"] = last["pricing"]["generation"]
    result["process"] = last["pricing"]["process"]
    result["instruments"] = last["pricing"]["instruments"]
    return result


@contextmanager
def _moves(gateway: Gateway, is_on: bool) -> Iterator[None]:
    """Move the mark of the perpetual to and fro beside the run: each time all is priced anew."""
    ended = threading.Event()

    def move() -> None:
        factor = 1.002
        while not ended.wait(EVERY_S):
            gateway.move_mark(MARK * factor)
            factor = 2.0 - factor

    thread = threading.Thread(target=move)
    if is_on:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if is_on:
            thread.join()


@contextmanager
def _remargin_load(core: int, accounts: int) -> Iterator[Any]:
    """A process that goes over so many accounts without end, on the gateway's core, as nice as the pricing process."""
    with beside(core, [sys.executable, "-m", "tests.bench.slowside", "load", str(accounts)]) as load:
        yield load


@contextmanager
def beside(core: int, command: list[str]) -> Iterator[Any]:
    """A process on a core that works while it is told to be "on", and answers each word; told so by what is given."""
    with pinned(core):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None and process.stdin is not None
    stdin, stdout = process.stdin, process.stdout

    def say(word: bytes) -> None:
        stdin.write(word)
        stdin.flush()
        stdout.readline()

    @contextmanager
    def load(is_on: bool) -> Iterator[None]:
        if is_on:
            say(b"on\n")
        try:
            yield
        finally:
            if is_on:
                say(b"off\n")

    try:
        stdout.readline()
        yield load
    finally:
        process.kill()
        process.wait()
        stdin.close()
        stdout.close()


def _load(accounts: int) -> None:
    """Go over the accounts between "on" and "off", for ever."""
    step_back()
    generation = generation_of(snapshot(options(OPTIONS)), Grid(SPOT_MOVES, VOL_MOVES))
    margin = FullMargin(book_of(accounts, OPTIONS))
    is_on, heard = threading.Event(), sys.stdin.buffer

    def listen() -> None:
        for word in heard:
            (is_on.set if word == b"on\n" else is_on.clear)()
            print(word.decode().strip(), flush=True)

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    while True:
        is_on.wait()
        for _ in margin.pass_in_slices(generation):
            if not is_on.is_set():
                break


def main(arguments: list[str]) -> None:
    """See the top of the file."""
    if arguments[:1] == ["load"]:
        _load(int(arguments[1]))
    if arguments[:1] == ["pass"]:
        sys.stdout.buffer.write(orjson.dumps(remargin_s(int(arguments[1]), int(arguments[2]))))
        return
    is_quick = "--quick" in arguments
    gateway_core, peer_core = cores()
    figures = measure_slow(
        peer_command()[0], gateway_core, peer_core, rounds=3 if is_quick else 7,
        orders=ORDERS // 2 if is_quick else ORDERS, accounts=ACCOUNTS[:2] if is_quick else ACCOUNTS,
    )  # fmt: skip
    if "--json" in arguments:
        print(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    else:
        print_slow(figures, Console(width=130))


if __name__ == "__main__":
    main(sys.argv[1:])
