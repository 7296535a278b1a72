"""`margingate fit`: estimators, learned models, haircuts, collars and tail points from price files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.price_files import PriceFileError
from risk.parameter_set import Floors
from risk.volatility.refusals import EstimateError

# What a gateway's configuration says where it says nothing else.
NO_FORECAST_BELOW: Final = Floors()


def fit(
    data: Annotated[Path, typer.Option(help="Directory of price files (docs/margin-models.md).")],
    out: Annotated[Path, typer.Option(help="Directory of the artifacts; it is made.")],
    mpor_days: Annotated[
        float, typer.Option(min=0.04, max=30, help="Margin period of risk that tail points are of, in days.")
    ] = 1.0,
    contest: Annotated[
        bool, typer.Option(help="Let forecasts prove themselves; without it the filter's volatilities are used.")
    ] = True,
    volatility_floor: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="No forecast takes a coin's volatility of a day below it.")
    ] = NO_FORECAST_BELOW.volatility,
    move_floor: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="No forecast takes a coin's largest fall or rise below it.")
    ] = NO_FORECAST_BELOW.move,
    haircut_floor: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="No forecast takes a haircut below it.")
    ] = NO_FORECAST_BELOW.haircut,
    collar_floor: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="No forecast takes a collar below it.")
    ] = NO_FORECAST_BELOW.collar,
) -> None:
    """Fit all models to price files and write them with hashes and a model card."""
    from gateway.backtest.study import HORIZON_HOURS, Data  # late: the gateway itself needs no learning library
    from gateway.fit import artifacts, study
    from risk.learning.champion import ChampionRules

    floors = Floors(volatility=volatility_floor, move=move_floor, haircut=haircut_floor, collar=collar_floor)
    console = Console(stderr=True)
    try:
        with console.status("reading price files"):
            read = Data.read(data)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("fitting", total=len(read.files) * (1 + contest + len(HORIZON_HOURS)) + 1)
            found = study.fit(
                read,
                contests=contest,
                horizon_days=mpor_days,
                champions=ChampionRules() if contest else None,
                floors=floors,
                on_done=lambda what: progress.update(task, advance=1, description=what),
            )
        manifest = artifacts.write(out, found, read)
    except (PriceFileError, EstimateError, OSError) as error:
        typer.echo(f"margingate: {error}", err=True)
        raise typer.Exit(1) from error
    for name, share in found.haircuts.items():
        low, high = found.collars[name]
        typer.echo(f"{name}: haircut {share:.1%}, collar -{low:.1%} to +{high:.1%}")
    for name, one in found.used.items():
        typer.echo(f"{name}: volatility by {one.forecaster}, {one.ratio:.2f} times the filter's ({one.why})")
    for model in found.learned:
        typer.echo(f"{model.underlying} {model.horizon_hours:g} h: learned {'in use' if model.may_use else 'not used'}")
    typer.echo(f"{out / artifacts.CARD}\nfit {manifest.identity[:16]} as of {manifest.as_of}")
