"""What a backtest walks: every shape under every model, shared out over processes, each with a history of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, date, datetime
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from gateway.price_files import PriceFile, read_directory
from risk.coverage.models import (
    FixedGrid,
    Model,
    NormalEwma,
    PlainHistory,
    TierRate,
    champion,
    tempered,
)
from risk.coverage.shapes import Shape, shapes_of
from risk.coverage.walk import Walk, needs, walk
from risk.fhs.factors import FactorHistory, joined
from risk.fhs.underlying import Days, days_of, factor_history
from risk.learning import contest as contests
from risk.learning.contest import Contest, ContestRules
from risk.learning.panel import panel
from risk.volatility.refusals import EstimateError, Floats

# Initial margin of a perpetual's first tiers at 20 times leverage, the most common ceiling among the venues' tables
# (docs/margin.md): what a client would be asked for there, whatever the market does.
TIER_RATE: Final = 0.05
EPOCH: Final = date(1970, 1, 1)


class Plan(msgspec.Struct, frozen=True):
    """A backtest: where the data is, of which evenings exceptions count, at what confidence; whether forecasts race."""

    directory: str
    first_day: int
    last_day: int
    confidence: float = 0.99
    seed: int = 1
    forecasts: bool = True


class Data:
    """Everything that is walked through, read once a process."""

    def __init__(self, files: list[PriceFile]) -> None:
        self.files = files
        self.days: list[Days] = [days_of(file.underlying, file.rules) for file in files]
        self.history: FactorHistory = joined([factor_history(days) for days in self.days])
        self.implied: dict[str, Floats] = {}
        for days in self.days:
            column = np.full(len(self.history.day), np.nan)
            column[np.searchsorted(self.history.day, days.day)] = days.implied_vol
            self.implied[days.name] = column
        self.models: tuple[Model | TierRate, ...] = models_of(self.history)
        self.shapes: tuple[Shape, ...] = shapes_of(tuple(days.name for days in self.days))

    @classmethod
    def read(cls, directory: Path) -> Data:
        """Raises PriceFileError, EstimateError."""
        return cls(read_directory(directory))


def models_of(history: FactorHistory) -> tuple[Model | TierRate, ...]:
    """The measure, the margin made of it, and what they are compared with."""
    return (
        champion(history),
        tempered(history),
        FixedGrid(),
        NormalEwma(history),
        PlainHistory(history),
        TierRate(TIER_RATE, f"a venue's tier at {TIER_RATE:.0%}"),
    )


class Refused(msgspec.Struct, frozen=True):
    """A contest that could not be held."""

    underlying: str
    horizon_hours: float
    why: str


class Finding(msgspec.Struct, frozen=True):
    """One shape under one model: its walk, or why there is none."""

    shape: str
    model: str
    walk: Walk | None
    why: str = ""


# Hours ahead that volatility and tails are forecast over: an hour, a day, a margin period of two days.
HORIZON_HOURS: Final = (1, 24, 48)

_data: Data | None = None


def _start(directory: str) -> None:
    global _data
    _data = Data.read(Path(directory))


def _walk_one(plan: Plan, shape_at: int, model_at: int) -> Finding:
    assert _data is not None, "a worker reads its data first"
    return find(_data, plan, shape_at, model_at)


def find(data: Data, plan: Plan, shape_at: int, model_at: int) -> Finding:
    """Walk one shape under one model, from the first day of the data on: what lies before the plan's first is for
    procyclicality only."""
    shape, model = data.shapes[shape_at], data.models[model_at]
    lacking = needs(shape, data.history)
    if lacking:
        return Finding(shape.name, model.name, None, lacking)
    found = walk(
        shape,
        model,
        data.history,
        data.implied,
        first_day=int(data.history.day[0]),
        last_day=plan.last_day,
        score_from=plan.first_day,
        confidence=plan.confidence,
        seed=plan.seed,
    )
    why = "" if found is not None else f"{model.name} says nothing about options"
    return Finding(shape.name, model.name, found, why)


def contest(data: Data, plan: Plan, underlying_at: int, hours: int) -> list[Contest]:
    """The forecasts of one underlying over a horizon against each other. Raises EstimateError."""
    file = data.files[underlying_at]
    others = [other.underlying for other in data.files if other is not file]
    bars = max(1, round(hours * file.rules.bars_per_day / 24))
    return contests.run(panel(file.underlying, file.rules, others), bars, ContestRules(plan.first_day))


def _contest_one(plan: Plan, underlying_at: int, hours: int) -> list[Contest] | Refused:
    assert _data is not None, "a worker reads its data first"
    return contest_or_why(_data, plan, underlying_at, hours)


def contest_or_why(data: Data, plan: Plan, underlying_at: int, hours: int) -> list[Contest] | Refused:
    """The contests, or why there are none."""
    try:
        return contest(data, plan, underlying_at, hours)
    except EstimateError as error:
        return Refused(data.days[underlying_at].name, hours, str(error))


class Results(msgspec.Struct, frozen=True):
    """Everything that a backtest found: walks by shape and model, contests of forecasts, and those that were not."""

    findings: list[Finding]
    contests: list[Contest]
    refused: list[Refused]


def run(plan: Plan, data: Data, workers: int | None = None, on_done: Callable[[], None] | None = None) -> Results:
    """Walk all, in as many processes as there are processors; in the order of shapes, then models."""
    walks = [(shape, model) for shape in range(len(data.shapes)) for model in range(len(data.models))]
    races = [(at, hours) for at in range(len(data.files) if plan.forecasts else 0) for hours in HORIZON_HOURS]
    # The longest first, so that no processor waits for another's last one.
    jobs: list[tuple[Callable[..., Any], Callable[..., Any], tuple[int, int]]] = [
        *((_contest_one, contest_or_why, race) for race in races),
        *((_walk_one, find, pair) for pair in walks),
    ]
    found: list[Any] = [None] * len(jobs)
    count = min(workers or cpu_count() or 1, len(jobs))
    if count <= 1:
        for at, (_, here, pair) in enumerate(jobs):
            found[at] = here(data, plan, *pair)
            if on_done is not None:
                on_done()
    else:
        # Spawned: a process that was forked has this one's locks, of numerical libraries among them.
        context = get_context("spawn")
        with ProcessPoolExecutor(count, context, initializer=_start, initargs=(plan.directory,)) as pool:
            futures = {pool.submit(there, plan, *pair): at for at, (there, _, pair) in enumerate(jobs)}
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                if on_done is not None:
                    on_done()
    told = found[: len(races)]
    return Results(
        found[len(races) :],
        [one for many in told if isinstance(many, list) for one in many],
        [one for one in told if isinstance(one, Refused)],
    )


def job_count(plan: Plan, data: Data) -> int:
    """How many times `run` will call `on_done`."""
    return len(data.shapes) * len(data.models) + (len(data.files) * len(HORIZON_HOURS) if plan.forecasts else 0)


def day_number(day: date) -> int:
    """Days since the epoch."""
    return (day - EPOCH).days


def day_of(number: int) -> date:
    """The date of a number of days since the epoch."""
    return datetime.fromtimestamp(number * 86_400, UTC).date()
