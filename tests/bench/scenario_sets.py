"""Figures of margin parameters: scenario sets into risk arrays beside orders, estimators online, the whole backtest.

python -m tests.bench.scenario_sets load                      makes sets without end: a load, until it is killed
python -m tests.bench.scenario_sets [--quick] [--json] [--data DIR]   the figures of this file alone
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
import orjson
from rich.console import Console

from gateway.slowside.process import NICENESS
from risk.fhs.factors import Factor, FactorHistory, FactorKind
from risk.fhs.filtered import Filtered, FilterRules, ScenarioSet
from risk.instrument import Instrument, Kind, make_instrument
from risk.joint import JointScenarios
from risk.pricing import black76_value
from risk.repricing import NS_PER_YEAR, MarketSnapshot, Repricing
from risk.scenarios import PRICED_AT_ONCE, Generation, Grid
from tests.bench.estimators import BUDGET_MS, UNDERLYINGS, update_times_ms
from tests.bench.slow_report import P99_RATIO, held
from tests.bench.slowside import EVERY_S, beside
from tests.bench.wire import ROOT, Gateway, cores, peer_command, pinned

DAYS: Final = 1_000
COINS: Final = 50
INSTRUMENTS: Final = 500
SET_S: Final = 1.0
BACKTEST_S: Final = 300.0
BACKTEST_LIMIT_S: Final = 900
ORDERS: Final = 25_000
_NOW_NS: Final = 1_760_000_000_000_000_000
_PRICE: Final = 1_000.0
_VOL: Final = 0.7
_GRID: Final = Grid((-0.16, -0.08, 0.0, 0.08, 0.16), (-0.25, 0.0, 0.4))


def history() -> FactorHistory:
    """Days of all coins: heavy tails, a common part, and one more than a set takes, so that each has its forecast."""
    random = np.random.default_rng(1)
    days = DAYS + 100
    common = random.standard_t(5, (days, 1))
    move = 0.03 * (0.7 * common + 0.7 * random.standard_t(5, (days, COINS)))
    factors = tuple(Factor(f"C{number}", FactorKind.SPOT) for number in range(COINS))
    return FactorHistory(factors, 18_000 + np.arange(days), move, np.full(move.shape, np.nan))


def instruments() -> list[Instrument]:
    """Of each coin a perpetual, a future and eight options, settled in dollars or in the coin."""
    found: list[Instrument] = []
    for number in range(COINS):
        coin = f"C{number}"
        for each in range(INSTRUMENTS // COINS):
            kind = (Kind.PERPETUAL, Kind.FUTURE)[each] if each < 2 else Kind.OPTION
            is_option = kind is Kind.OPTION
            quote = coin if is_option else "USDC"
            found.append(make_instrument(
                index=len(found), symbol=f"{coin}-{each}", venue="bench", kind=kind, is_inverse=False, underlying=coin,
                base_currency=coin, quote_currency=quote, settlement_currency=quote, tick_size=Decimal("0.0001"),
                lot_size=Decimal("0.1"), strike=Decimal(700 + 100 * (each // 2)) if is_option else None,
                is_call=each % 2 == 0 if is_option else None,
                expiry_ns=None if kind is Kind.PERPETUAL else _NOW_NS + NS_PER_YEAR // 12,
            ))  # fmt: skip
    return found


def snapshot() -> MarketSnapshot:
    """Their marks."""
    listed = instruments()
    numbers = []
    for each in listed:
        price, vol = _PRICE, 0.0
        if each.kind is Kind.OPTION:
            vol = _VOL
            price = black76_value(_PRICE, float(each.strike or 0), 1 / 12, vol, bool(each.is_call)) / _PRICE
        numbers.append((price, _PRICE, _PRICE, vol))
    coins = [f"C{number}" for number in range(COINS)]
    count = len(listed)
    times = np.full(count, _NOW_NS, dtype=np.int64)
    rows = np.arange(count, dtype=np.int32)
    return MarketSnapshot(1, _NOW_NS, listed, ["USD", "USDC", *coins], rows, times, np.array(numbers))


def arrays_of(found: ScenarioSet, given: MarketSnapshot) -> Generation:
    """From a scenario set to risk arrays, as the pricing process makes them."""
    moves = np.expm1(found.move)
    names = [factor.underlying for factor in found.factors]
    days = {str(day): dict(zip(names, row)) for day, row in zip(found.day.tolist(), moves.tolist())}
    setting = {"grid": _GRID, "joint": JointScenarios(days=days)}
    repricing = Repricing(given, 1, setting)
    while not repricing.price_some(PRICED_AT_ONCE):
        pass
    return repricing.generation()


def set_s(rounds: int) -> dict[str, float]:
    """Seconds of a scenario set, from its rescaling to risk arrays; and of the filter over all days before it."""
    given, took = snapshot(), []
    began = perf_counter_ns()
    filtered = Filtered(history(), FilterRules(window_days=DAYS))
    filter_s = (perf_counter_ns() - began) / 1e9
    last = int(filtered.history.day[-1])
    joint = 0
    for _ in range(rounds):
        began = perf_counter_ns()
        made = arrays_of(filtered.scenarios(last), given)
        took.append((perf_counter_ns() - began) / 1e9)
        assert made.known.all() and made.joint == DAYS + 1
        joint = made.joint
    return {
        "days": DAYS, "underlyings": COINS, "instruments": INSTRUMENTS, "joint": joint, "filter_s": filter_s,
        "median_s": median(took), "best_s": min(took),
    }  # fmt: skip


def beside_orders(peer: list[str], gateway_core: int, peer_core: int, rounds: int, orders: int) -> dict[str, Any]:
    """Rejects one at a time, in turns beside nothing and beside sets made without end on the gateway's processor."""
    runs: dict[str, list[dict[str, Any]]] = {"idle": [], "sets": []}
    command = [sys.executable, "-m", "tests.bench.scenario_sets", "load"]
    with Gateway(gateway_core, is_plain=False) as gateway, beside(gateway_core, command) as load:
        gateway.run(peer, peer_core, "reject", orders // 10, 1)
        for _ in range(rounds):
            for name, several in runs.items():
                gateway.refresh()
                time.sleep(2 * EVERY_S)
                with load(name == "sets"):
                    several.append(gateway.run(peer, peer_core, "reject", orders, 1, refreshes=False))
        gateway.stop()
    found: dict[str, Any] = {
        name: {f"{key}_us": median(run[f"{key}_ns"] for run in several) / 1000 for key in ("p50", "p99", "p999")}
        for name, several in runs.items()
    }
    found["ratio"] = median(
        run["p99_ns"] / idle["p99_ns"] for run, idle in zip(runs["sets"], runs["idle"], strict=True)
    )
    best = {name: min(run["p99_ns"] for run in several) for name, several in runs.items()}
    return found | {"best_ratio": best["sets"] / best["idle"]}


def backtest_s(data: Path) -> dict[str, float]:
    """The whole walk-forward backtest, forecasts raced too, by the clock and by what it kept processors busy."""
    with tempfile.TemporaryDirectory() as out:
        before, began = os.times(), time.monotonic()
        command = [sys.executable, "-m", "gateway.cli", "backtest", "--data", str(data), "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
                       timeout=BACKTEST_LIMIT_S)  # fmt: skip
        clock_s, after = time.monotonic() - began, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return {"clock_s": clock_s, "cpu_s": cpu_s}


def measure_sets(
    peer: list[str], gateway_core: int, peer_core: int, *, rounds: int, orders: int, bars: int, data: Path | None
) -> dict[str, Any]:
    """Take all figures; the backtest where there are recorded prices."""
    with pinned(gateway_core):
        sets = set_s(rounds)
        models, _ = update_times_ms(bars=bars)
    return {
        "sets": sets,
        "online": {"median_ms": float(np.median(models)), "p99_ms": float(np.quantile(models, 0.99))},
        "orders": beside_orders(peer, gateway_core, peer_core, rounds, orders),
        "backtest": None if data is None else backtest_s(data),
    }


def recorded() -> Path | None:
    """Where recorded prices are, if anywhere (MARGINGATE_RECORDED)."""
    given = os.environ.get("MARGINGATE_RECORDED")
    found = None if given is None else Path(given) / "prices"
    return found if found is not None and found.is_dir() else None


def print_sets(figures: dict[str, Any], console: Console) -> None:
    """Print them beside their budgets."""
    sets, online, orders, walked = (figures[name] for name in ("sets", "online", "orders", "backtest"))
    console.print(
        f"Scenario set, {sets['days']:,} days x {sets['underlyings']} underlyings x {sets['instruments']} instruments, "
        f"into risk arrays: {sets['median_s']:.2f} s, best {sets['best_s']:.2f} {held(sets['best_s'], SET_S)}; "
        f"the filter before it {sets['filter_s']:.2f} s"
    )
    idle, busy = orders["idle"], orders["sets"]
    console.print(
        f"  orders beside it, rejects, p99: {busy['p99_us']:.0f} us, alone {idle['p99_us']:.0f}; ratio in paired turns "
        f"{orders['ratio']:.2f} {held(orders['ratio'], P99_RATIO)} (best rounds {orders['best_ratio']:.2f})"
    )
    console.print(
        f"Online update of {UNDERLYINGS} underlyings x 3 models: median {online['median_ms']:.2f} ms, "
        f"p99 {online['p99_ms']:.2f} {held(online['p99_ms'], BUDGET_MS)}"
    )
    if walked is None:
        console.print("Walk-forward backtest: not measured, MARGINGATE_RECORDED names no recorded prices")
    else:
        console.print(
            f"Walk-forward backtest of recorded prices, forecasts too: {walked['clock_s']:.0f} s by the clock "
            f"{held(walked['clock_s'], BACKTEST_S)}, {walked['cpu_s']:.0f} s of processors"
        )


def _load() -> None:
    """Make sets while standard input says so; each "on" and "off" is answered once it holds."""
    os.nice(NICENESS)
    given, filtered = snapshot(), Filtered(history(), FilterRules(window_days=DAYS))
    last = int(filtered.history.day[-1])
    is_on = threading.Event()

    def listen() -> None:
        for word in sys.stdin.buffer:
            (is_on.set if word == b"on\n" else is_on.clear)()
            print(word.decode().strip(), flush=True)

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    while True:
        is_on.wait()
        arrays_of(filtered.scenarios(last), given)


def main(arguments: list[str]) -> None:
    """See the top of the file."""
    if arguments[:1] == ["load"]:
        _load()
    is_quick = "--quick" in arguments
    data = Path(arguments[arguments.index("--data") + 1]) if "--data" in arguments else None
    gateway_core, peer_core = cores()
    figures = measure_sets(
        peer_command()[0], gateway_core, peer_core, rounds=3 if is_quick else 7,
        orders=ORDERS // 2 if is_quick else ORDERS, bars=24 * (10 if is_quick else 60), data=data,
    )  # fmt: skip
    if "--json" in arguments:
        print(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    else:
        print_sets(figures, Console(width=130))


if __name__ == "__main__":
    main(sys.argv[1:])
