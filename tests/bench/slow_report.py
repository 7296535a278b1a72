"""The figures of the slow side as tables."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table

REPRICING_MS: Final = 25.0
REMARGIN_S: Final = 1.0
REMARGIN_ACCOUNTS: Final = 100_000
P99_RATIO: Final = 1.3
# Time an account may take at the largest number, as a multiple of what it takes at REMARGIN_ACCOUNTS.
LINEAR: Final = 1.5

_BESIDE: Final = {
    "idle": "nothing",
    "repricing": "re-pricing of 1 000 options at each move, 4 moves a second",
    "remargin": "margin of 100 000 accounts without end",
    "both": "both",
}


def print_slow(figures: dict[str, Any], console: Console) -> None:
    """Print what the slow side takes, and what it costs orders."""
    priced = figures["repricing"]
    console.print(
        f"Re-pricing {priced['options']:,} options x {priced['scenarios']} scenarios: {priced['all_ms']:.1f} ms, best "
        f"{priced['all_best_ms']:.1f} {held(priced['all_best_ms'], REPRICING_MS)}; a tenth by the surface: "
        f"{priced['surface_ms']:.1f} ms, best {priced['surface_best_ms']:.1f}"
    )
    _print_passes(figures["remargin"], priced["scenarios"], console)
    _print_orders(figures["orders"], console)


def _print_passes(passes: list[dict[str, float]], scenarios: int, console: Console) -> None:
    table = Table(
        title=f"Margin of all accounts, 20 positions and cash, {scenarios} scenarios, one core", title_justify="left"
    )
    for heading in (
        "accounts",
        "first pass s",
        "pass s",
        "best",
        "best with haircuts",
        "us an account",
        "slowest slice us",
        "peak MiB",
        "budget",
    ):
        table.add_column(heading, justify="right")
    each = {int(one["accounts"]): one["best_s"] / one["accounts"] * 1e6 for one in passes}
    for one in passes:
        accounts = int(one["accounts"])
        budget = ""
        if accounts == REMARGIN_ACCOUNTS:
            budget = held(one["haircuts_best_s"], REMARGIN_S)
        elif accounts > REMARGIN_ACCOUNTS and REMARGIN_ACCOUNTS in each:
            budget = f"linear: {held(each[accounts] / each[REMARGIN_ACCOUNTS], LINEAR)} x"
        cells = (f"{accounts:,}", f"{one['first_s']:.3f}", f"{one['pass_s']:.3f}", f"{one['best_s']:.3f}")
        cells = (*cells, f"{one['haircuts_best_s']:.3f}")
        table.add_row(
            *cells, f"{each[accounts]:.2f}", f"{one['slowest_slice_us']:,.0f}", f"{one['peak_mib']:,.0f}", budget
        )
    console.print(table)


def _print_orders(orders: dict[str, Any], console: Console) -> None:
    table = Table(title="Rejects on the wire, one at a time, beside (medians, microseconds)", title_justify="left")
    for heading in ("", "p50", "p99", "p99.9", "p99 / idle p99", "best round p99", "its ratio", "budget"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, text in _BESIDE.items():
        one = orders[name]
        ratio = one.get("ratio", 1.0)
        budget = "" if name == "idle" else held(ratio, P99_RATIO)
        cells = (f"{one[key]:,.1f}" for key in ("p50_us", "p99_us", "p999_us"))
        best = (f"{one['best_p99_us']:,.1f}", f"{one['best_ratio']:.2f}")
        table.add_row(text, *cells, f"{ratio:.2f}", *best, budget)
    console.print(table)
    process = orders["process"]
    console.print(
        f"Pricing process and load, both niced, share the gateway's core. {orders['generations']} generations of "
        f"{orders['instruments']:,} instruments; the loop gave the last {process['loop_us']:,.0f} us in slices.\n"
    )


def held(value: float, most: float) -> str:
    return f"<= {most:g} {'met' if value <= most else 'MISSED'}"
