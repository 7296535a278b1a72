"""`margingate backtest`: walk margin models through price history and write what a regulator and a client can read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from gateway.price_files import PriceFileError
from risk.volatility.refusals import EstimateError

if TYPE_CHECKING:
    from gateway.backtest.report import Study

# As configured for the project's own figures; a day before which a history of 2019 has too little to learn from.
FIRST_DAY = datetime(2020, 7, 1)


def backtest(
    data: Annotated[Path, typer.Option(help="Directory of price files (docs/margin-models.md).")],
    out: Annotated[Path, typer.Option(help="Directory for report.html and report.json; it is made.")],
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First evening.")] = FIRST_DAY,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last evening.")] = None,
    confidence: Annotated[float, typer.Option(min=0.9, max=0.999, help="Of one day.")] = 0.99,
    forecasts: Annotated[bool, typer.Option(help="Race the forecasts of volatility and tails as well.")] = True,
    pictures: Annotated[bool, typer.Option(help="Draw them into the page: half of a short walk's time.")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; as many as processors if not set.")] = None,
) -> None:
    """Walk portfolio shapes through price files: margin each evening, the loss of the next day, every test of it."""
    from gateway.backtest import jobs, study  # late: the gateway itself needs no picture, and no learning library
    from gateway.backtest.report import study_of, write

    console = Console(stderr=True)
    try:
        with console.status("reading price files"):
            read = study.Data.read(data)
    except (PriceFileError, EstimateError) as error:
        typer.echo(f"margingate: {error}", err=True)
        raise typer.Exit(1) from error
    end = int(read.history.day[-1]) if last is None else study.day_number(last.date())
    plan = study.Plan(str(data.resolve()), study.day_number(first.date()), end, confidence, forecasts=forecasts)
    if plan.first_day >= plan.last_day:
        typer.echo(f"margingate: no evening between --from {first.date()} and the data's end", err=True)
        raise typer.Exit(1)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("portfolios and forecasts", total=jobs.job_count(plan, read))
        results = jobs.run(plan, read, workers, on_done=lambda: progress.advance(task))
    found = study_of(plan, read, results)
    try:
        html, json = write(out, found, results.findings, has_pictures=pictures)
    except OSError as error:
        typer.echo(f"margingate: {out}: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    _print(Console(), found)
    typer.echo(f"{html}\n{json}")
    if not any(verdict.model == found.measure for verdict in found.verdicts):
        why = next((one["why"] for one in found.unanswered if one["model"] == found.measure), "no portfolio")
        typer.echo(f"margingate: no portfolio could be judged: {why}", err=True)
        raise typer.Exit(1)


def _print(console: Console, found: Study) -> None:
    from gateway.backtest.champions import NAME
    from gateway.backtest.events import WANTED_COST, WANTED_CUT

    table = Table(title=f"Exceptions at {found.plan.confidence:.1%} of one day")
    for heading in ("portfolio", "model", "exceptions", "days", "Kupiec p", "independence p", "red", "average"):
        table.add_column(heading, justify="left" if heading in ("portfolio", "model") else "right")
    for verdict in found.verdicts:
        if verdict.model in (found.measure, found.tempered, NAME):
            table.add_row(
                verdict.shape,
                verdict.model,
                str(verdict.exceptions),
                str(verdict.days),
                f"{verdict.kupiec_p:.3f}",
                f"{verdict.independence_p:.3f}",
                str(verdict.red_windows),
                f"{verdict.mean_margin:.2%}",
                style=None if verdict.is_covered else ("yellow" if verdict.is_safe else "red"),
            )
    console.print(table)
    low = sum(rise.cut >= WANTED_CUT for rise in found.rises)
    cheap = sum(cost.more <= WANTED_COST for cost in found.costs)
    console.print(f"rises around events {WANTED_CUT:.0%} lower: {low} of {len(found.rises)}")
    for one in found.reigns:
        by = ", ".join(f"{name} {evenings}" for name, evenings in sorted(one.by.items()))
        console.print(f"{one.underlying} evenings by forecast: {by}; scale times {one.mean_ratio:.3f} by the mean")
    for race in found.contests:
        won = "won" if race.challenger_won else "lost"
        console.print(
            f"{race.underlying} {race.horizon_hours:g} h {race.loss}: learned {won}, in use {race.in_use_share:.0%}"
        )
    console.print(f"average margin at most {WANTED_COST:.0%} above the measure's: {cheap} of {len(found.costs)}")
