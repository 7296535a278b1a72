"""What commands print, and how they end where something is wrong."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import orjson
import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def print_json(value: Any) -> None:
    """Print an answer as one line of JSON."""
    typer.echo(orjson.dumps(value).decode())


def print_rows(rows: list[dict[str, Any]], first: str) -> None:
    """Print a table; `first` is its only heading where there are no rows."""
    table = Table()
    for key in rows[0] if rows else (first,):
        table.add_column(key.removeprefix("is_").replace("_", " "))
    for row in rows:
        table.add_row(*("" if value is None or value is False else str(value) for value in row.values()))
    Console().print(table)


def fail(text: str) -> NoReturn:
    """Print why, and end with code 1."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)
    raise typer.Exit(1)
