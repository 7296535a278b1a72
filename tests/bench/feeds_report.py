"""The figures of market data and of the simulated venues as tables."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table

DECODED_PER_S: Final = 200_000
P99_RATIO: Final = 1.5
_WAYS: Final = {
    "quiet": "nothing",
    "aside": "the same data sent, but not to the gateway (floor)",
    "flooded": "market data to the gateway",
    "bursts": "the same, ten times as much at a time",
}


def print_feeds(figures: dict[str, Any], console: Console) -> None:
    """Print how fast a recorded stream is read, what the venues answer in, and what market data costs orders."""
    _print_decoded(figures["decoded"], console)
    _print_simulated(figures["simulated"], console)
    _print_flooded(figures["flooded"], console)


def _print_decoded(decoded: dict[str, float], console: Console) -> None:
    if not decoded:
        console.print("Recorded Binance stream: not there, set MARGINGATE_RECORDED")
        return
    table = Table(title="Recorded Binance stream, messages a second of one core's time (best)", title_justify="left")
    for heading in ("", "messages/s", "budget"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, figure in decoded.items():
        is_met = "met" if figure >= DECODED_PER_S else "MISSED"
        table.add_row(name, f"{figure:,.0f}", f">= {DECODED_PER_S:,} {is_met}" if name == "decode and apply" else "")
    console.print(table)


def _print_simulated(simulated: dict[str, dict[str, float]], console: Console) -> None:
    table = Table(title="Accept through a simulated venue, one at a time (medians of rounds)", title_justify="left")
    for heading in ("", "p50 us", "p99 us", "p50 / echo p50", "p99 / echo p99"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, one in simulated.items():
        cells = (f"{one['p50_us']:,.0f}", f"{one['p99_us']:,.0f}", f"{one['p50_ratio']:.1f}", f"{one['p99_ratio']:.1f}")
        table.add_row(name, *cells)
    console.print(table)


def _print_flooded(flooded: dict[str, Any], console: Console) -> None:
    table = Table(title="Accepts on the wire, one at a time, beside (medians, microseconds)", title_justify="left")
    for heading in ("", "p50", "p99", "p50 / floor", "p99 / floor", "budget"):
        table.add_column(heading, justify="left" if not heading else "right")
    for way, text in _WAYS.items():
        one = flooded[way]
        ratios = ("", "", "")
        if way in ("flooded", "bursts"):
            held = "met" if one["p99_ratio"] <= P99_RATIO else "MISSED"
            budget = f"<= {P99_RATIO:g} {held}" if way == "flooded" else ""
            ratios = (f"{one['p50_ratio']:.2f}", f"{one['p99_ratio']:.2f}", budget)
        table.add_row(text, f"{one['p50_us']:,.1f}", f"{one['p99_us']:,.1f}", *ratios)
    console.print(table)
    console.print(
        f"{flooded['sent_per_s']:,.0f} messages a second were sent; at a round's end at the most "
        f"{flooded['bytes_left']:,} bytes were not taken.\n"
    )
