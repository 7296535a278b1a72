"""Pictures of walks, as PNG within the page: nothing is fetched, and the report is one file."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from risk.coverage.walk import Walk
from risk.volatility.refusals import Floats

_COLOURS = ("#1f4e8c", "#d9822b", "#5b8c5a", "#8a5a83", "#7f7f7f", "#b03a2e")


def margin_against_loss(walks: list[Walk]) -> str:
    """Losses as dots, margins as lines, the days that the first model did not cover marked; a data URI."""
    figure, axes = _figure(3.0)
    first = walks[0]
    axes.vlines(_dates(first), 0, 100 * (-first.profit).clip(min=0), color="#c9ced6", linewidth=0.6)
    for walk, colour in zip(walks, _COLOURS):
        axes.plot(_dates(walk), 100 * walk.margin, color=colour, linewidth=0.9, label=walk.model)
    hit = first.exceptions
    axes.plot(_dates(first)[hit], -100 * first.profit[hit], "o", color="#b03a2e", markersize=3, label="not covered")
    axes.set_ylabel("% of notional")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right", fontsize=7, ncol=3, frameon=False)
    return _uri(figure)


def cost_against_rise(points: dict[str, tuple[float, float]]) -> str:
    """Average margin against the largest five-day rise, a dot a model: left and low is better; a data URI."""
    figure, axes = _figure(3.0, right=0.75)  # beside it are names
    for (name, (cost, rise)), colour in zip(points.items(), _COLOURS):
        axes.plot(100 * cost, 100 * rise, "o", color=colour, label=name)
    axes.set_xlabel("average margin, % of notional")
    axes.set_ylabel("largest rise in 5 days, %")
    axes.margins(0.1)
    # Beside the dots: names at them would lie on each other where models agree.
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False)
    return _uri(figure)


def _figure(height: float, right: float = 0.985) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, height))
    FigureCanvasAgg(figure)
    # Room that is given takes half as long as room that is worked out, and a page has hundreds of these.
    figure.subplots_adjust(left=0.065, right=right, top=0.97, bottom=0.15)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
    return figure, axes


def _dates(walk: Walk) -> Floats:
    return walk.day.astype(np.float64)  # days since the epoch are what the library counts in as well


def _uri(figure: Figure) -> str:
    axes = figure.axes[0]
    if not axes.get_xlabel():
        axes.xaxis_date("UTC")
    out = BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return "data:image/png;base64," + b64encode(out.getvalue()).decode()
