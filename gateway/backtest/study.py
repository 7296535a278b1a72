"""What a backtest walks: every shape under every model, and the contests of forecasts; `jobs` shares it out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

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
        read = [_by_day(file) for file in files]
        self.days: list[Days] = [days for days, _ in read]
        self.history: FactorHistory = joined([history for _, history in read])
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


def _by_day(file: PriceFile) -> tuple[Days, FactorHistory]:
    """An underlying by the day, and its factors; a refusal names its file."""
    try:
        days = days_of(file.underlying, file.rules)
        return days, factor_history(days)
    except EstimateError as error:
        raise EstimateError(error.reason, f"{file.path.name}: {error.text}") from error


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


def find(data: Data, plan: Plan, shape_at: int, model_at: int) -> Finding:
    """Walk one shape under one model, from the first day of the data on: what lies before the plan's first is for
    procyclicality only."""
    return find_under(data, plan, data.shapes[shape_at], data.models[model_at])


def find_under(data: Data, plan: Plan, shape: Shape, model: Model | TierRate) -> Finding:
    """Walk a shape under a model, whichever they are."""
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


def contest_or_why(data: Data, plan: Plan, underlying_at: int, hours: int) -> list[Contest] | Refused:
    """The contests, or why there are none."""
    try:
        return contest(data, plan, underlying_at, hours)
    except EstimateError as error:
        return Refused(data.days[underlying_at].name, hours, str(error))


def day_number(day: date) -> int:
    """Days since the epoch."""
    return (day - EPOCH).days


def day_of(number: int) -> date:
    """The date of a number of days since the epoch."""
    return datetime.fromtimestamp(number * 86_400, UTC).date()
