"""`margingate fit`: estimators, learned models, haircuts, collars and tail points from price files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.commands.endings import fail
from gateway.config import ConfigError, load
from gateway.levels import periods_of, profile_days
from gateway.price_files import PriceFileError
from risk.parameter_set import Floors, why_below
from risk.periods import LEAST_DAYS, MOST_DAYS, Periods, row_of
from risk.volatility.refusals import EstimateError

if TYPE_CHECKING:
    from gateway.fit.study import Fitted

# What a gateway's configuration says where it says nothing else.
NO_FORECAST_BELOW: Final = Floors()
DEFAULT_DAYS: Final = 1.0


def asked_periods(
    mpor_days: float | None, given: Sequence[str], config: Path | None
) -> tuple[Periods, Sequence[float]]:
    """Return the margin periods of a fit, and others that its points have to be of, for profiles.

    What is given is raised to what a configuration says. Raises ValueError, ConfigError.
    """
    rows = [row_of(text) for text in given]
    if config is None:
        return Periods(mpor_days or DEFAULT_DAYS, rows), ()
    known = load(config)
    house = periods_of(known)
    return Periods(mpor_days or house.days, rows).raised_to(house), profile_days(known)


def fit(
    data: Annotated[Path, typer.Option(help="Directory of price files (docs/margin-models.md).")],
    out: Annotated[Path, typer.Option(help="Directory of the artifacts; it is made.")],
    mpor_days: Annotated[
        float | None, typer.Option(min=LEAST_DAYS, max=MOST_DAYS, help="Margin period of risk, in days; 1 if not said.")
    ] = None,
    period: Annotated[
        list[str] | None, typer.Option(help="The same by product and venue: option=2, @deribit=1.5, future@okx=3.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration whose margin periods, those of its profiles too, are the least.")
    ] = None,
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

    try:
        periods, also_days = asked_periods(mpor_days, period or (), config)
    except (ValueError, ConfigError) as error:
        typer.echo(f"margingate: {error}", err=True)
        raise typer.Exit(1) from error
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
                periods=periods,
                also_days=also_days,
                champions=ChampionRules() if contest else None,
                floors=floors,
                on_done=lambda what: progress.update(task, advance=1, description=what),
            )
        manifest = artifacts.write(out, found, read)
    except (PriceFileError, EstimateError) as error:
        fail(f"margingate: {error}")
    _tell(found)
    typer.echo(f"{out / artifacts.CARD}\nfit {manifest.identity[:16]} as of {manifest.as_of}")


def _tell(found: Fitted) -> None:
    """Say the figures that act, and whose they are."""
    from gateway.fit import artifacts

    given = artifacts.parameter_file(found, "", "", "").parameters
    if reason := why_below(given, NO_FORECAST_BELOW):
        typer.echo(f"a gateway with its own default floors refuses these parameters: {reason}")
    for name, share in found.haircuts.items():
        low, high = found.collars[name]
        typer.echo(f"{name}: haircut {share:.1%}, collar -{low:.1%} to +{high:.1%}")
    for span in found.spans if len(found.spans) > 1 else ():
        long = ", ".join(f"{coin} {span.long[coin]:.2f} and {span.short[coin]:.2f}" for coin in span.long)
        typer.echo(
            f"over {span.days:g} days, times a day's (by the root of time {span.by_root:.2f}), long and short: {long}"
        )
    for row in found.by_product:
        typer.echo(f"margin period {row} days")
    for name, one in found.used.items():
        typer.echo(f"{name}: volatility by {one.forecaster}, {one.ratio:.2f} times the filter's ({one.why})")
    for model in found.learned:
        typer.echo(f"{model.underlying} {model.horizon_hours:g} h: learned {'in use' if model.may_use else 'not used'}")
