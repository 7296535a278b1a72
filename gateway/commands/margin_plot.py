"""A picture of a margin result: the ladder as a heat map, or equity and requirement against the price."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from risk.models import MarginError, MarginResult, Portfolio, Scenario, evaluate
from risk.models.portfolio import moved

# Volatility moves from calm to wild; what a venue names otherwise comes after.
_ORDER: Final = ("down", "same", "none", "up")
# A row's name must be readable: the house model has dozens.
ROW_INCHES: Final = 0.16
_MOVES: Final = np.linspace(-0.5, 0.5, 101)


def draw(portfolio: Portfolio, result: MarginResult, path: Path, model: str | None = None) -> None:
    """Write a PNG: spot x volatility of the ladder; where a model has none, equity and maintenance by price.

    Raises
    ------
    MarginError
        If there is nothing to draw, or the file can not be written.
    """
    rows = len({rung.vol for rung in result.ladder})
    figure = Figure(figsize=(9, max(4.5, 1.5 + ROW_INCHES * rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if result.ladder:
        _heat_map(axes, result)
    else:
        _lines(axes, portfolio, result, model)
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise MarginError("unwritable", f"{path}: {error.strerror}") from error


def table(ladder: tuple[Scenario, ...]) -> tuple[list[float], list[str], np.ndarray]:
    """Return spot moves, volatility moves and the summed profit of each pair, NaN where no scenario has it."""
    spots = sorted({rung.spot for rung in ladder})
    vols = sorted({rung.vol for rung in ladder}, key=lambda vol: (_ORDER.index(vol) if vol in _ORDER else 9, vol))
    profits = np.full((len(vols), len(spots)), np.nan)
    for rung in ladder:
        row, column = vols.index(rung.vol), spots.index(rung.spot)
        profits[row, column] = np.nansum([profits[row, column], rung.pnl])
    return spots, vols, profits


def _heat_map(axes: Axes, result: MarginResult) -> None:
    spots, vols, profits = table(result.ladder)
    largest = float(np.nanmax(np.abs(profits))) or 1.0
    image = axes.imshow(profits, aspect="auto", cmap="RdYlGn", vmin=-largest, vmax=largest)
    axes.set_xticks(range(len(spots)), [f"{100 * spot:+.3g}%" for spot in spots], rotation=60, fontsize=7)
    axes.set_yticks(range(len(vols)), vols, fontsize=7)
    if profits.size <= 99:
        for (row, column), profit in np.ndenumerate(profits):
            if not np.isnan(profit):
                axes.text(column, row, f"{profit:.3g}", ha="center", va="center", fontsize=6)
    axes.set_xlabel("spot move")
    axes.set_ylabel("volatility move")
    axes.set_title(f"{result.model}: profit by scenario, {result.currency}; binding: {result.binding or 'none'}")
    colours = axes.figure.colorbar(image, ax=axes)
    colours.set_label(result.currency)


def _lines(axes: Axes, portfolio: Portfolio, result: MarginResult, model: str | None) -> None:
    underlyings = sorted({held.underlying for held in portfolio.positions})
    if not underlyings:
        raise MarginError("nothing_to_draw", "the portfolio has no positions")
    for name in underlyings:
        shifted = [moved(portfolio, name, 1.0 + move) for move in _MOVES.tolist()]
        results = [evaluate(each, model, with_liquidation=False) for each in shifted]
        axes.plot(100 * _MOVES, [r.equity for r in results], label=f"equity, {name} moving")
        axes.plot(100 * _MOVES, [r.maintenance for r in results], "--", label=f"maintenance, {name} moving")
    axes.set_xlabel("spot move, %")
    axes.set_ylabel(result.currency)
    axes.set_title(f"{result.model}: equity and maintenance margin")
    axes.legend(fontsize=7)
