"""`margingate top`: the gateway in a terminal, from its status page. Only its user may read that: no token is asked."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.clock import now_ns
from gateway.commands.tables import output
from gateway.config import ConfigError, load
from gateway.operators.showing import margin_use
from gateway.operators.status_page import Status, StatusPageError, read_status
from risk.pricing import USD_LIKE

WATCHED: Final = 0.66
IN_DANGER: Final = 0.9
ALERT_LINES: Final = 4
REASON_LINES: Final = 5
# Lines that are not accounts.
FIXED_LINES: Final = 15 + ALERT_LINES + REASON_LINES
# Digits of a coin that are shown behind the point.
COINS_SHOWN: Final = 4
OLD_NS: Final = 5_000_000_000
_STATES: Final = {"live": "green", "trading": "green", "reducing": "yellow", "halted": "red"}


def top(
    config: Annotated[Path, typer.Argument(help="The gateway's configuration, or its journal's directory.")],
    interval: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds between two pictures.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one picture, and end.")] = False,
) -> None:
    """Show a running gateway in the terminal: accounts by margin use, venues, latency, refusals, alerts."""
    console = Console(highlight=False)
    try:
        directory = config if config.is_dir() else load(config).gateway.journal_directory
        if once:
            picture = output()
            picture.print(screen(read_status(directory), now_ns(), picture.width, len_all=True))
            return
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_shown(console, directory, interval))
    except (ConfigError, StatusPageError) as error:
        Console(stderr=True, highlight=False).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


async def _shown(console: Console, directory: Path, interval_s: float) -> None:
    before: Status | None = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                status = read_status(directory)
                live.update(screen(status, now_ns(), *console.size, before=before), refresh=True)
                before = status
            except StatusPageError as error:
                live.update(Text(str(error), "red"), refresh=True)
            await asyncio.sleep(interval_s)


def screen(
    status: Status,
    time_ns: int,
    width: int,
    height: int = 50,
    *,
    before: Status | None = None,
    len_all: bool = False,
) -> RenderableType:
    """Return the picture; what does not fit is left out from the list of accounts, the least used first."""
    snapshot = status.snapshot
    rows = sorted(snapshot.get("accounts", []), key=lambda row: -margin_use(row))
    room = len(rows) if len_all else max(3, height - FIXED_LINES)
    return Group(
        _head(status, time_ns),
        _venues(snapshot),
        _counts(snapshot, before.snapshot if before is not None else None),
        _money(snapshot),
        _accounts(rows[:room], len(rows)),
        _reasons(snapshot.get("rejects_by_code", {}), width),
        *(
            Text(text, "yellow", no_wrap=True, overflow="ellipsis")
            for text in snapshot.get("alerts", [])[-ALERT_LINES:]
        ),
    )


def _head(status: Status, time_ns: int) -> Text:
    age_ns = max(0, time_ns - status.time_ns)
    text = Text.assemble(("Margingate ", "bold"), f"up {status.snapshot.get('duration_s', 0):,.0f} s, ", no_wrap=True)
    text.append(f"told {age_ns / 1e9:.1f} s ago", "red bold" if age_ns > OLD_NS else "")
    killed = status.snapshot.get("controls", {}).get("killed", [])
    return text.append(f"  killed: {', '.join(killed)}", "red bold") if killed else text


def _venues(snapshot: dict[str, Any]) -> Table:
    feeds = snapshot.get("feeds", {})
    table = _table("venue", "state", "newest mark ms", "oldest mark ms", "fresh", "instruments")
    for venue, state in snapshot.get("venues", {}).items():
        feed = feeds.get(venue, {})
        ages = (_number(feed.get("feed_age_ms")), _number(feed.get("oldest_mark_ms")))
        style = _STATES.get(state, "yellow")
        table.add_row(
            venue, Text(state, style), *ages, _number(feed.get("marks_fresh")), _number(feed.get("instruments"))
        )
    return table


def _counts(snapshot: dict[str, Any], before: dict[str, Any] | None) -> Text:
    rate = ""
    if before is not None and (passed_s := snapshot["duration_s"] - before["duration_s"]) > 0:
        rate = f" ({(snapshot['orders_in'] - before['orders_in']) / passed_s:,.0f} a second)"
    names = ("accepted", "rejected", "fills", "cancelled", "unknown", "breaks")
    counts = "  ".join(f"{name} {snapshot.get(name, 0):,}" for name in names)
    latency = "  ".join(
        f"{path} p50 {figures['p50']:,.0f} p99 {figures['p99']:,.0f} us"
        for path, figures in snapshot.get("latency_us", {}).items()
        if figures["count"]
    )
    return Text(f"orders {snapshot.get('orders_in', 0):,}{rate}  {counts}\n{latency}", no_wrap=True)


def _money(snapshot: dict[str, Any]) -> Text:
    calls, live, unknown = (snapshot.get(key, 0) for key in ("calls_open", "transfers_live", "transfers_unknown"))
    text = Text(f"{calls} calls open, {snapshot.get('called_usd', 0):,.0f} USD  {live} transfers", no_wrap=True)
    if unknown:
        text.append(f", {unknown} of them unknown", "red")
    breaks = ", ".join(f"{count} {severity}" for severity, count in snapshot.get("breaks_open", {}).items())
    return text.append(f"  breaks {breaks}", "red") if breaks else text


def _accounts(rows: list[dict[str, Any]], in_all: int) -> Table:
    title = f"{in_all} accounts" if len(rows) == in_all else f"{len(rows)} of {in_all} accounts"
    table = _table(title, "state", "equity", "initial", "maintenance", "use", "orders", "positions")
    for row in rows:
        use = margin_use(row)
        is_known = row["equity"] is not None
        style = "red" if use >= IN_DANGER else "yellow" if use >= WATCHED else "green"
        table.add_row(
            row["account"],
            _state(row),
            _told(row, "equity", "unknown"),
            _told(row, "initial_margin", "unknown"),
            _told(row, "maintenance_margin"),
            Text("unknown" if not is_known else f"{use:.0%}" if use < 10 else "> 999%", style),
            f"{row['working_orders']:,}",
            f"{row['positions']:,}",
        )
    return table


def _state(row: dict[str, Any]) -> Text:
    margin = row.get("margin_state") or "healthy"
    text = Text(row["state"], _STATES.get(row["state"], ""))
    return text if margin == "healthy" else text.append(f", {margin.replace('_', ' ')}", "yellow")


def _reasons(rejects: dict[str, int], width: int) -> Text:
    ranked = sorted(rejects.items(), key=lambda item: (-item[1], item[0]))
    text = "  ".join(f"{name.replace('_', ' ').lower()} {count:,}" for name, count in ranked[:REASON_LINES])
    return Text(f"rejected: {text}" if text else "nothing rejected", overflow="ellipsis", no_wrap=True)


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < 2 else "right", no_wrap=True, header_style="dim")
    return table


def _told(row: dict[str, Any], name: str, unknown: str = "-") -> str:
    """Return an amount in what the account is told in, and names it: dollars without cents, coins with four digits."""
    told = row.get("told") or {"currency": "USD", name: row.get(name)}
    amount = told.get(name)
    if amount is None:
        return unknown
    digits = 0 if told["currency"] in USD_LIKE else COINS_SHOWN
    return f"{float(amount):,.{digits}f} {told['currency']}"


def _number(value: float | None, unknown: str = "-") -> str:
    return unknown if value is None else f"{value:,.0f}"
