"""The figures as tables, each beside its budget and the floor of the same run."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from tests.bench.feeds_report import print_feeds
from tests.bench.quiet import LEAST_ROUNDS, QUIET
from tests.bench.scenario_sets import print_sets
from tests.bench.slow_report import print_slow

# part -> (what it is, its floor, budget compiled, budget plain), in ns; None: no budget of its own.
PARTS: Final[dict[str, tuple[str, str | None, float | None, float | None]]] = {
    "decode": ("FIX decode, NewOrderSingle", "floor_checksum", 400, 6_000),
    "session_step": ("FIX session step, by dictionary", "floor_checksum", None, None),
    "encode": ("FIX encode, ExecutionReport", "floor_join", 350, 2_500),
    "engine_1": ("session engine, bytes to bytes, saved: order to report", None, None, None),
    "engine_256": ("the same, 256 orders a read", None, 6_600, 20_000),
    "what_if_16": ("what-if, 16 scenarios", None, None, None),
    "what_if_49": ("what-if, 49 scenarios", "floor_numpy_49", 150, 3_000),
    "what_if_256": ("what-if, 256 scenarios", None, None, None),
    "hook_check": ("what-if by the hook's API, in process", None, 5_000, None),
    "hook_line": ("the same as a line of JSON, answered by one", None, None, None),
    "inline_check": ("all checks: venue model, 200 scenarios, 3 levels", None, 2_000, None),
    "inline_deribit_portfolio": ("the same, Deribit portfolio margin", None, None, None),
    "inline_okx_portfolio": ("the same, OKX portfolio margin", None, None, None),
    "inline_bybit_portfolio": ("the same, Bybit portfolio margin", None, None, None),
    "inline_what_if": ("what-if of 3 levels alone, 200 scenarios and 17 joint", None, None, None),
    "inline_hold_release": ("hold and release at 3 levels and the venue", None, None, None),
    "what_if_by_api": ("what-if with hierarchy and charges, one account", None, 5_000, None),
    "hold_release": ("hold and release of an order", None, None, None),
    "journal_append": ("journal append, 150 bytes", "floor_store", 1_000, 4_000),
    "evaluate_reject": ("all checks, margin shortfall", None, None, None),
    "evaluate_accept": ("all checks, approved", None, None, None),
    "pipeline_reject": ("pipeline, message to report: reject", None, None, None),
    "pipeline_accept": ("pipeline, message to venue's link: accept", None, None, None),
    "path_reject": ("bytes to bytes: reject", None, None, None),
    "path_accept": ("bytes to bytes, with the venue's answer: accept", None, None, None),
    "venue_reply": ("Deribit reply to an order", "floor_json", None, None),
    "websocket_in": ("WebSocket frame in", None, None, None),
    "websocket_out": ("WebSocket frame out", None, None, None),
}


class Budget(NamedTuple):
    """A bound on a figure on the wire: a ratio to the echo (at most), or orders a second (at least)."""

    name: str
    key: str
    compiled: float | None
    plain: float | None


RATIOS: Final = (
    Budget("reject", "reject", 1.9, 3.7),
    Budget("accept, reply and notification at once", "accept", 4.1, 6.8),
    Budget("accept, notification after the report", "apart", 4.1, 6.8),
)
# An order's time at the rate that is wanted to the echo's p50, 11.1 us, of the machine that it is wanted on.
ROUND_TRIPS: Final = {"reject_64": 0.60, "accept_64": 1.50}
RATES: Final = (
    Budget("rejects/s, 64 in flight", "reject_64", 150_000, 50_000),
    Budget("rejects/s, 256 in flight", "reject_256", None, None),
    Budget("accepts/s, 64 in flight", "accept_64", 60_000, None),
    Budget("accepts/s, 256 in flight", "accept_256", None, None),
    Budget("hook what-ifs/s, Unix socket, 64 in flight", "hook_check_64", 50_000, None),
    Budget("hook holds and releases/s, the same", "hook_hold_64", None, None),
    Budget("what-ifs/s (DF to DG, FIX 5.0 SP2), 64 in flight", "what_if_64", 20_000, None),
)


def print_all(figures: dict[str, Any], console: Console) -> None:
    """Print the conditions and every table."""
    conditions = figures["conditions"]
    packages = ", ".join(f"{name} {version}" for name, version in conditions["packages"].items())
    load = ", ".join(map(str, conditions["load_average"]))
    console.print(f"{conditions['cpu']}, {conditions['cores']} cores, Linux {conditions['kernel']}, load {load}")
    console.print(f"Python {conditions['python']}, {packages}")
    console.print(
        f"gateway on core {conditions['gateway_core']}, peer ({conditions['peer']}) on {conditions['peer_core']}"
    )
    console.print(f"{conditions['notes']}\n")
    _print_parts(figures["parts"], console)
    for kind, engine in figures["engine"].items():
        _print_engine(kind, engine, console)
    for kind, wire in figures["wire"].items():
        _print_wire(kind, wire, console)
    print_slow(figures["slow"], console)
    print_sets(figures["sets"], console)
    print_feeds(figures["feeds"], console)


def _print_parts(parts: dict[str, dict[str, float]], console: Console) -> None:
    table = Table(title="Parts in process, ns a call (hot; the best of many short batches)", title_justify="left")
    for heading in ("part", *(text for kind in parts for text in (kind, "budget")), "floor"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    first = next(iter(parts.values()))
    for key, (name, floor, compiled, plain) in PARTS.items():
        cells = [name]
        for kind, figures in parts.items():
            budget = compiled if kind == "compiled" else plain
            cells += [f"{figures[key]:,.0f}", _bound(figures[key], budget, is_least=False)]
        table.add_row(*cells, "" if floor is None else f"{first[floor]:,.0f}")
    console.print(table)


def _print_wire(kind: str, wire: dict[str, Any], console: Console) -> None:
    table = Table(title=f"On the wire, {kind}: one order at a time, microseconds (medians)", title_justify="left")
    for heading in ("", "p50", "p99", "p99.9", "p50 / its floor", "budget"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("echo (floor)", *_latency(wire["echo"]), "1.00", "")
    table.add_row("echo after a pause (floor of the last row)", *_latency(wire["rested"]), "1.00", "")
    for budget in RATIOS:
        ratio = wire[budget.key]["ratio"]
        bound = budget.compiled if kind == "compiled" else budget.plain
        table.add_row(budget.name, *_latency(wire[budget.key]), f"{ratio:.2f}", _bound(ratio, bound, is_least=False))
    console.print(table)
    table = Table(title=f"On the wire, {kind}: orders a second (medians)", title_justify="left")
    for heading in ("", "orders/s", "when quiet", "rounds", "best round", "us on the core", "budget"):
        table.add_column(heading, justify="left" if not heading else "right")
    for budget in RATES:
        rate = wire[budget.key]
        bound = budget.compiled if kind == "compiled" else budget.plain
        quiet = rate.get("quiet_per_s", 0.0)
        when_quiet = (f"{quiet:,.0f}" if quiet else "", f"{rate.get('quiet_rounds', '')}")
        cpu = f"{rate['cpu_us']:,.2f}" if rate["cpu_us"] else ""
        cells = (f"{rate['per_s']:,.0f}", *when_quiet, f"{rate['best']:,.0f}", cpu)
        table.add_row(budget.name, *cells, _bound(quiet or rate["per_s"], bound, is_least=True))
    console.print(table)
    console.print(
        f"when quiet: of the rounds in which a fixed piece of work took at most {QUIET:g} times its best, before and "
        f"after them on the gateway's core, where there are {LEAST_ROUNDS} such. Budgets are of a quiet machine, or "
        "of all rounds where it never was. us on the core: what the gateway's thread used for one, with the kernel\n"
    )
    _print_beside(kind, wire, console)


def _print_beside(kind: str, wire: dict[str, Any], console: Console) -> None:
    """The same rates as ratios: what others do on the machine is in the echoes too."""
    table = Table(title=f"The same rates beside echoes of the same rounds, {kind}", title_justify="left")
    for heading in ("", "orders/s", "echoes/s", "orders / echoes", "order's time / echo p50", "budget"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, key, *_ in (budget for budget in RATES if "of_echo" in wire[budget.key]):
        rate = wire[key]
        bound = _bound(rate["of_round_trip"], ROUND_TRIPS.get(key) if kind == "compiled" else None, is_least=False)
        rates = (f"{rate['per_s']:,.0f}", f"{rate['echo_per_s']:,.0f}")
        table.add_row(name, *rates, f"{rate['of_echo']:.2f}", f"{rate['of_round_trip']:.2f}", bound)
    console.print(table)
    console.print(
        "echoes/s: a uvloop echo of as many bytes at the same window, one for a reject, two (client's and venue's) for "
        "an accept; order's time / echo p50: at this rate, in round trips of one echo at a time\n"
    )


def _print_engine(kind: str, engine: dict[str, Any], console: Console) -> None:
    """The session engine: an ExecutionReport for each order, dictionary and durable store on, no checks."""
    is_compiled = kind == "compiled"
    table = Table(title=f"Session engine on the wire, {kind}", title_justify="left")
    for heading in ("", "p50 us", "p99 us", "p50 / echo p50", "orders/s", "best round", "budget"):
        table.add_column(heading, justify="left" if not heading else "right")
    for key, floor in ((name, name == "echo") for name in engine if name != "resend"):
        figures = engine[key]
        name = "echo (floor)" if floor else f"{key.removeprefix('engine_')} in flight"
        ratio, budget = "", ""
        if "ratio" in figures:
            ratio = f"{figures['ratio']:.2f}"
            budget = _bound(figures["ratio"], 1.7 if is_compiled else None, is_least=False)
        elif key == "engine_256":
            budget = _bound(figures["per_s"], 150_000 if is_compiled else 50_000, is_least=True)
        rates = (f"{figures['per_s']:,.0f}", f"{figures['best']:,.0f}")
        table.add_row(name, *_latency(figures)[:2], ratio, *rates, budget)
    console.print(table)
    resend = engine["resend"]
    console.print(
        f"p99 of an order: {resend['p99_alone_us']:,.0f} us alone, {resend['p99_beside_us']:,.0f} us beside a resend "
        f"of 100,000 reports ({resend['resent_per_s']:,.0f} a second, {resend['orders_beside']:,} orders meanwhile): "
        f"{resend['ratio']:.2f} x {_bound(resend['ratio'], 2.0, is_least=False)}\n"
    )


def _latency(figures: dict[str, float]) -> tuple[str, str, str]:
    return tuple(f"{figures[key]:,.1f}" for key in ("p50_us", "p99_us", "p999_us"))  # type: ignore[return-value]


def _bound(value: float, budget: float | None, *, is_least: bool) -> str:
    if budget is None:
        return ""
    is_met = value >= budget if is_least else value <= budget
    return f"{'>=' if is_least else '<='} {budget:,g} {'met' if is_met else 'MISSED'}"
