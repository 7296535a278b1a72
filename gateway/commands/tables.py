"""Answers of a gateway as tables that fit a terminal, and lose nothing in a pipe."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

# A pipe has no width: lines are as long as they are.
PIPED_WIDTH: Final = 400
# What is larger is a moment and no duration: 2001 in ns.
_MOMENTS_NS: Final = 10**18


def output() -> Console:
    """Return where tables go: as wide as the terminal, or wide enough."""
    console = Console(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(highlight=False, width=PIPED_WIDTH)


def show(rows: list[dict[str, Any]], first: str) -> None:
    """Print a table; where there are no rows, that there is no `first`."""
    if not rows:
        typer.echo(f"{first}: none")
        return
    table = table_of(*(_heading(key) for key in rows[0]))
    for row in rows:
        table.add_row(*(_cell(key, value) for key, value in row.items()))
    output().print(table, markup=False)


def table_of(*headings: str) -> Table:
    """Return a table without lines, of which a narrow terminal folds what it has no room for."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _heading(key: str) -> str:
    return key.removeprefix("is_").removesuffix("_ns").replace("_", " ")


def _cell(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if key.endswith("_ns") and isinstance(value, int):
        return moment(value) if value > _MOMENTS_NS else f"{value / 1e9:g} s"
    return str(value)


def moment(time_ns: int) -> str:
    """Return a time as people write it."""
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}Z"
