"""Why a portfolio is not covered as it should be: which days followed each other, and what moved on them."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from gateway.backtest.study import Data, Finding, day_of
from risk.coverage.models import FilteredModel

# Days that follow each other, as Christoffersen's test sees them; what is listed of one portfolio at the most.
APART_DAYS: Final = 1
LISTED: Final = 10


class Hit(msgspec.Struct, frozen=True):
    """A day that was not covered: which factor moved most, in units of what was forecast for it the evening before."""

    day: str
    factor: str
    sigmas: float
    loss: float
    margin: float


class Cluster(msgspec.Struct, frozen=True):
    """Exceptions of one portfolio on days that follow each other."""

    shape: str
    hits: list[Hit]


def clusters(data: Data, findings: list[Finding], shapes: set[str], first_day: int) -> list[Cluster]:
    """Return the runs of exceptions of these portfolios under the measure, of the scored days, oldest first."""
    model = data.models[0]
    assert isinstance(model, FilteredModel)
    of_name = {shape.name: shape for shape in data.shapes}
    found: list[Cluster] = []
    for finding in findings:
        walk = finding.walk
        if finding.shape not in shapes or finding.model != model.name or walk is None:
            continue
        columns = [data.history.column[factor] for factor in of_name[finding.shape].factors]
        hits: list[tuple[int, Hit]] = []
        for at in np.flatnonzero(walk.exceptions & (walk.day >= first_day)).tolist():
            row = int(np.searchsorted(data.history.day, walk.day[at])) + 1  # what the next day brought
            if row >= len(data.history.day):
                continue
            z = model.filtered.standardised[row, columns]
            most = int(np.nanargmax(np.abs(z))) if np.isfinite(z).any() else 0
            name = of_name[finding.shape].factors[most].name
            day = int(data.history.day[row])
            figures = float(z[most]), float(-walk.profit[at]), float(walk.margin[at])
            hits.append((day, Hit(str(day_of(day)), name, *figures)))
        found += [Cluster(finding.shape, run) for run in _runs(hits)]
    return found


def _runs(hits: list[tuple[int, Hit]]) -> list[list[Hit]]:
    runs: list[list[Hit]] = []
    last: int | None = None
    for day, hit in hits:
        if last is not None and day - last <= APART_DAYS:
            runs[-1].append(hit)
        else:
            runs.append([hit])
        last = day
    return [run for run in runs if len(run) > 1][:LISTED]
