"""Why a portfolio is not covered as it should be: which tests fail, on which days, and what moved on them.

All of it is worked out from the walks; nothing is said of a cell that its figures do not say.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
import numpy as np

from gateway.backtest.study import Data, Finding, day_of
from risk.coverage.models import FilteredModel
from risk.coverage.verdict import SIGNIFICANCE, ZONE_DAYS, Verdict
from risk.coverage.walk import Walk
from risk.volatility.refusals import Ints

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
    model: str = ""


class Failure(msgspec.Struct, frozen=True):
    """A portfolio under a model of which a test fails.

    `tests` those that fail, by name with their figure; `needed` what the margin would have had to be multiplied by for
    as many exceptions as are right; `by` exceptions by the factor that moved most on them, and the median of its move
    in sigmas; `most_from`, `most_to` the first and last exception of the worst 250 days; `runs` of exceptions that
    follow each other.
    """

    shape: str
    model: str
    tests: dict[str, float]
    exceptions: int
    expected: float
    needed: float
    by: dict[str, int]
    median_sigmas: float | None
    most_from: str
    most_to: str
    runs: int


def failures(data: Data, findings: list[Finding], verdicts: list[Verdict], first_day: int) -> list[Failure]:
    """Return what is known of every cell that fails a test, in the order of the verdicts."""
    walks = {(one.shape, one.model): one.walk for one in findings if one.walk is not None}
    found = []
    for verdict in verdicts:
        tests = _failed(verdict)
        if tests:
            found.append(_failure(data, walks[verdict.shape, verdict.model], verdict, tests, first_day))
    return found


def _failed(verdict: Verdict) -> dict[str, float]:
    tests = {"Kupiec": verdict.kupiec_p} if verdict.kupiec_p < SIGNIFICANCE else {}
    tests |= {} if verdict.is_independent else {"Christoffersen": verdict.independence_p}
    tests |= {"red zone": float(verdict.red_windows)} if verdict.red_windows else {}
    shortfall = verdict.shortfall_p
    return tests | ({"expected shortfall": shortfall} if shortfall is not None and shortfall < SIGNIFICANCE else {})


def _failure(data: Data, walk: Walk, verdict: Verdict, tests: dict[str, float], first_day: int) -> Failure:
    counted = np.flatnonzero(walk.day >= first_day)
    ratio = -walk.profit[counted] / np.maximum(walk.margin[counted], 1e-12)
    hits = _hits(data, walk, first_day)
    rows = np.flatnonzero(walk.exceptions[counted])
    start, end = _worst_window(rows, len(counted))
    window = [str(day_of(int(walk.day[counted[at]]) + 1)) for at in rows if start <= at < end] or [""]
    sigmas = [abs(hit.sigmas) for _, hit in hits]
    return Failure(
        verdict.shape, verdict.model, tests, verdict.exceptions, verdict.expected,
        float(np.quantile(ratio, 1.0 - verdict.expected / verdict.days)),
        dict(Counter(hit.factor for _, hit in hits).most_common()),
        float(np.median(sigmas)) if sigmas else None,
        window[0], window[-1], len(_runs(hits)),
    )  # fmt: skip


def _worst_window(rows: Ints, days: int) -> tuple[int, int]:
    """The first and last-but-one of the ZONE_DAYS with the most exceptions, the latest of several."""
    width = min(ZONE_DAYS, days)
    starts = np.arange(days - width + 1)
    counts = np.searchsorted(rows, starts + width) - np.searchsorted(rows, starts)
    start = int(starts[len(counts) - 1 - int(np.argmax(counts[::-1]))])
    return start, start + width


def clusters(data: Data, findings: list[Finding], dependent: set[tuple[str, str]], first_day: int) -> list[Cluster]:
    """Return the runs of exceptions of these portfolios and models, of the scored days, oldest first."""
    found: list[Cluster] = []
    for finding in findings:
        if (finding.shape, finding.model) in dependent and finding.walk is not None:
            runs = _runs(_hits(data, finding.walk, first_day))[:LISTED]
            found += [Cluster(finding.shape, run, finding.model) for run in runs]
    return found


def _hits(data: Data, walk: Walk, first_day: int) -> list[tuple[int, Hit]]:
    """The exceptions of a walk, with their day numbers; moves in the measure's own units."""
    model = data.models[0]
    assert isinstance(model, FilteredModel)
    shape = next(one for one in data.shapes if one.name == walk.shape)
    columns = [data.history.column[factor] for factor in shape.factors]
    hits: list[tuple[int, Hit]] = []
    for at in np.flatnonzero(walk.exceptions & (walk.day >= first_day)).tolist():
        row = int(np.searchsorted(data.history.day, walk.day[at])) + 1  # what the next day brought
        if row >= len(data.history.day):
            continue
        z = model.filtered.standardised[row, columns]
        known = np.isfinite(z)
        most = int(np.argmax(np.where(known, np.abs(z), -1.0)))
        day = int(data.history.day[row])
        figures = float(z[most]) if known.any() else 0.0, float(-walk.profit[at]), float(walk.margin[at])
        hits.append((day, Hit(str(day_of(day)), shape.factors[most].name, *figures)))
    return hits


def _runs(hits: list[tuple[int, Hit]]) -> list[list[Hit]]:
    runs: list[list[Hit]] = []
    last: int | None = None
    for day, hit in hits:
        if last is not None and day - last <= APART_DAYS:
            runs[-1].append(hit)
        else:
            runs.append([hit])
        last = day
    return [run for run in runs if len(run) > 1]
