"""`margingate storm`: a recorded day, a book of accounts, and what the gateway does with it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gateway.storm.prices import StormError, load


def storm(
    data: Annotated[Path, typer.Option(help="A folder with recorded bars: *_BTCUSDT_1h_*.csv.gz, or 1m, and of ETH.")],
    day: Annotated[list[str], typer.Option(help="A day in UTC, as 2020-03-12; may be given several times.")],
    accounts: Annotated[int, typer.Option(min=1, max=10_000, help="How many accounts.")] = 1_000,
    seed: Annotated[int, typer.Option(help="What the accounts hold and their clients do depends on it.")] = 1,
    speed: Annotated[
        int, typer.Option(min=1, max=1_000, help="Delays are counted at so many times the day's pace.")
    ] = 20,
    jumps: Annotated[
        bool, typer.Option(help="Let prices jump from point to point of a bar, with nothing between.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell recorded days again to simulated accounts, in process. Exit status 1 where something does not hold."""
    try:
        results = {one: run_day(data, one, accounts, seed, speed, jumps=jumps, is_quiet=as_json) for one in day}
    except StormError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(orjson.dumps(results, option=orjson.OPT_INDENT_2).decode())
    else:
        show(results)
    if not all(held for result in results.values() for held in result["claims"].values()):
        raise typer.Exit(1)


def run_day(
    data: Path, day: str, accounts: int, seed: int, speed: int, *, jumps: bool = False, is_quiet: bool = True
) -> dict[str, Any]:
    """Return the summary of one day (gateway.storm.run.Storm). Raises StormError."""
    from gateway.storm.run import Storm  # late: no other command needs the whole gateway

    recorded = load(data, day, jumps=jumps)
    with TemporaryDirectory(prefix="margingate-storm-") as directory:
        one = Storm(recorded, Path(directory), accounts, seed, speed)
        try:
            with Progress(transient=True, disable=is_quiet) as progress:
                task = progress.add_task(day, total=1.0)
                one.run(lambda share: progress.update(task, completed=share))
            return one.summary()
        finally:
            one.close()


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print one column a day."""
    table = Table("", *results)
    for name in next(iter(results.values())):
        if name != "claims":
            table.add_row(name.replace("_", " "), *(_text(result[name]) for result in results.values()))
    console = Console()
    console.print(table)
    for day, result in results.items():
        for claim, held in result["claims"].items():
            console.print(f"{day}: {claim}: {'holds' if held else 'DOES NOT HOLD'}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name} {count:,}" for name, count in value.items())
    return f"{value:,}"
