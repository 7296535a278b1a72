"""`margingate breaks` and `margingate close-break`: what differs between our book and others', and since when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from gateway.clearing.reconciler import row_of
from gateway.clock import now_ns
from gateway.commands.control import Reason, Who, answered, asked
from gateway.commands.places import Place, journal_directory, recovered
from gateway.commands.tables import output, table_of
from gateway.operators.channel import CloseBreak, ListBreaks

COLUMNS = ("break", "severity", "source", "kind", "account", "subject", "ours", "theirs", "age", "evidence")


def breaks(
    place: Place,
    ended: Annotated[bool, typer.Option("--ended", help="The last that are over, with how they ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what differs between our book and those of venues, clearing houses and order management systems."""
    directory = journal_directory(place)
    answer = asked(directory, ListBreaks(ended))
    if answer is None:
        answer = _of_journal(directory, ended)
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    rows: list[dict[str, Any]] = answer["breaks"]
    if not rows:
        typer.echo("no break has ended" if ended else "no break is open")
        return
    columns = (*COLUMNS, "ending") if ended else COLUMNS
    table = table_of(*columns)
    for row in rows:
        shown = {**row, "age": _age(row["age_s"])}
        table.add_row(*(str(shown[column]) for column in columns))
    output().print(table, markup=False)
    if not answer["is_complete"]:
        typer.echo("and more")


def close_break(
    place: Place, number: Annotated[int, typer.Argument(help="The break's number.")], reason: Reason, who: Who = ""
) -> None:
    """End a break that somebody has looked into: the same difference does not open it again, another one does."""
    answer = answered(place, CloseBreak(number, reason, who))
    closed = answer["closed"]
    typer.echo(f"break {number}: closed; {closed['account'] or 'what it restricted'} stays as it is (set-state)")


def _of_journal(directory: Path, ended: bool) -> dict[str, Any]:
    """Return the same of a gateway that is stopped."""
    book = recovered(directory).ledger.open_breaks
    now = now_ns()
    found = list(reversed(book.ended)) if ended else list(book.by_gravity())
    return {"breaks": [row_of(one, now) for one in found], "is_complete": True}


def _age(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
