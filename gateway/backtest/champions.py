"""The margin with champions: whose forecast a fit of each evening would have used, and what the floors left of it.

What `margingate fit` does for one evening (gateway/fit/champions.py), walked forward: models of each quarter are fitted
to the past before it, and a contest of an evening is of results that were known on it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from risk.coverage.models import TEMPERED, ChampionModel, FilteredModel
from risk.fhs.factors import Factor, FactorKind
from risk.fhs.filtered import Filtered
from risk.fhs.measures import expected_shortfall
from risk.learning.champion import FILTER, ChampionRules, Choice, choose_each, walk
from risk.learning.panel import panel
from risk.parameter_set import Floors
from risk.volatility.refusals import EstimateError

if TYPE_CHECKING:
    from gateway.backtest.study import Data, Plan

NAME: Final = "tempered, with champions"
RULES: Final = ChampionRules()
FLOORS: Final = Floors()
# As gateway/fit/study.py asks for tails: what the floor of moves is compared with.
POINT_CONFIDENCE: Final = 0.975


class Reign(msgspec.Struct, frozen=True):
    """One underlying's evenings: how many each forecast was used on, and what the scale of its scenarios was times.

    `held` counts the evenings on which a floor held the filter's own; `ratio` is by evening, of the scale.
    """

    underlying: str
    evenings: int
    by: dict[str, int]
    held: int
    mean_ratio: float
    least_ratio: float
    largest_ratio: float
    ratio: dict[int, float]


def reign(data: Data, plan: Plan, at: int) -> Reign:
    """Race the forecasts of one underlying over all evenings of a plan.

    Raises EstimateError where no contest can be held.
    """
    file, spot = data.files[at], Factor(data.days[at].name, FactorKind.SPOT)
    fast, slow = (_filtered(data, number) for number in (0, 1))
    column, day = data.history.column[spot], data.history.day
    others = [other.underlying for other in data.files if other is not file]
    seen = panel(file.underlying, file.rules, others)
    whole = dataclasses.replace(RULES, contest_days=int(day[-1]) - int(day[0]) + 1)
    walked = walk(seen, day, fast.sigma[:, column], slow.sigma[:, column], file.rules.bars_per_day, whole)
    walked = dataclasses.replace(walked, rules=RULES)
    evenings = [one for one in walked.day.tolist() if one < plan.last_day]
    ratio: dict[int, float] = {}
    by: dict[str, int] = {}
    held = 0
    for choice in choose_each(walked, evenings):
        ratio[choice.as_of_day], is_held = _scale_ratio(choice, slow, spot)
        if choice.as_of_day >= plan.first_day:
            held += is_held
            name = FILTER if is_held else choice.forecaster
            by[name] = by.get(name, 0) + 1
    # Before the first contest, and where one says nothing, the filter's own acts.
    walked_days = {day for day in ratio if day >= plan.first_day}
    unheld = sum(plan.first_day <= one < plan.last_day and one not in walked_days for one in day.tolist())
    by[FILTER] = by.get(FILTER, 0) + unheld
    scored = np.array([one for evening, one in ratio.items() if evening >= plan.first_day] or [1.0])
    extremes = float(scored.min()), float(scored.max())
    return Reign(spot.underlying, sum(by.values()), by, held, float(scored.mean()), *extremes, ratio)


def model_of(data: Data, ratios: dict[str, dict[int, float]]) -> ChampionModel:
    """The tempered margin with champions, of the ratios of each underlying's evenings."""
    return ChampionModel(NAME, _filtered(data, 1), ratios)


def _filtered(data: Data, model: int) -> Filtered:
    found = data.models[model]
    assert isinstance(found, FilteredModel), "the measure and the tempered margin are the first two"
    return found.filtered


def _scale_ratio(choice: Choice, slow: Filtered, spot: Factor) -> tuple[float, bool]:
    """What the scale of an evening's scenarios is times, and whether a floor held the filter's own."""
    at = int(np.searchsorted(slow.history.day, choice.as_of_day))
    column = slow.history.column[spot]
    weight = TEMPERED.long_run_weight.get(FactorKind.SPOT, 0.0)
    now, scale = float(slow.sigma[at, column]), float(slow.scale[at, column])
    if not (np.isfinite(now) and np.isfinite(scale)):
        return 1.0, False
    ratio = 1.0 + (choice.ratio - 1.0) * (1.0 - weight) * now / scale
    if ratio >= 1.0:
        return ratio, False
    if ratio * scale < FLOORS.volatility:
        return 1.0, True
    try:
        scenarios = slow.scenarios(choice.as_of_day, factors=[spot])
    except EstimateError:
        return 1.0, False  # no margin that evening, whoever forecasts
    moves = np.expm1(scenarios.move[:, 0] * ratio)
    least = min(expected_shortfall(side * moves, scenarios.weight, POINT_CONFIDENCE) for side in (1.0, -1.0))
    return (1.0, True) if least < FLOORS.move else (ratio, False)
