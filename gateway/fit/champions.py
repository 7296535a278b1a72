"""Whose forecast a fit's scenarios are scaled to: the contest of each coin, and what of it the floors leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from gateway.backtest.study import Data
from risk.fhs.factors import Factor, FactorKind
from risk.fhs.filtered import Filtered, ScenarioSet
from risk.fhs.points import TailPoints, tail_points
from risk.learning.champion import FILTER, ChampionRules, Choice, choose, choose_each, walk
from risk.learning.panel import panel
from risk.parameter_set import Floors, UsedForecast
from risk.volatility.refusals import EstimateError

# Evenings that the card shows, the last of them the fit's own.
EVENINGS: Final = 10
AT_FLOOR: Final = "held at a floor"


def chosen(
    data: Data,
    measured: Filtered,
    tempered: Filtered,
    as_of_day: int,
    horizon_days: float,
    rules: ChampionRules,
    refused: dict[str, str],
    told: Callable[[str], None],
) -> dict[str, list[Choice]]:
    """Return by coin who was believed on the last evenings up to a day, each by what was known on it.

    A coin whose contest can not be held is not in it, and `refused` says why.
    """
    found: dict[str, list[Choice]] = {}
    for file in data.files:
        name = file.underlying.name
        column = data.history.column[Factor(name, FactorKind.SPOT)]
        seen = panel(file.underlying, file.rules, [other.underlying for other in data.files if other is not file])
        horizon = max(1, round(horizon_days * file.rules.bars_per_day))
        try:
            fast, slow = measured.sigma[:, column], tempered.sigma[:, column]
            walked = walk(seen, data.history.day, fast, slow, horizon, rules)
            first = max(as_of_day - EVENINGS + 1, int(walked.day[0]))
            days = [day for day in walked.day.tolist() if first <= day < as_of_day]
            found[name] = [*choose_each(walked, days), choose(walked, as_of_day)]
        except EstimateError as error:
            refused[f"{name} champion"] = str(error)
        told(f"{name}: champion")
    return found


def with_ratio(scenarios: ScenarioSet, ratio: Mapping[str, float]) -> ScenarioSet:
    """Return the same days with the volatility of each underlying's price moved by its ratio."""
    moved = np.array(
        [ratio.get(each.underlying, 1.0) if each.kind is FactorKind.SPOT else 1.0 for each in scenarios.factors]
    )
    return dataclasses.replace(scenarios, move=scenarios.move * moved, sigma=scenarios.sigma * moved)


def scaled(
    scenarios: Sequence[ScenarioSet],
    volatilities: Mapping[str, Mapping[str, float]],
    choices: Mapping[str, Choice],
    confidence: float,
    floors: Floors,
) -> tuple[TailPoints, dict[str, UsedForecast]]:
    """Return the points at the volatilities that are used, and whose those are; of a set for each margin period.

    A forecast below the filter's takes neither a coin's scale below `floors.volatility` nor its largest fall or rise
    below `floors.move`: there the filter's own is used. Raises EstimateError as `tail_points` does.
    """
    used = {name: _used(choice, volatilities[name], floors) for name, choice in choices.items()}
    while True:
        ratio = {name: _scale_ratio(one.ratio, volatilities[name]) for name, one in used.items()}
        base, *others = (with_ratio(one, ratio) for one in scenarios)
        points = tail_points(base, confidence, 1, *others)
        low = [name for name, one in used.items() if one.ratio < 1.0 and _is_low(points, name, floors.move)]
        if not low:
            return points, used
        # At least one coin fewer in each round: it ends.
        used |= {name: _by_filter(used[name]) for name in low}


def _used(choice: Choice, volatility: Mapping[str, float], floors: Floors) -> UsedForecast:
    found = UsedForecast(
        choice.forecaster, choice.why, choice.ratio, volatility["sigma"], choice.base, choice.forecast, choice.regime
    )
    rival = choice.rival
    if rival is not None:
        found = replace(
            found,
            rival=rival.model,
            rows=rival.rows,
            p_value=rival.p_value,
            loss=rival.loss,
            base_loss=rival.base_loss,
        )
    weight = volatility["long_run_weight"]
    scale = (1.0 - weight) * choice.ratio * volatility["sigma"] + weight * volatility["long_run"]
    return _by_filter(found) if choice.ratio < 1.0 and scale < floors.volatility else found


def _by_filter(one: UsedForecast) -> UsedForecast:
    return replace(one, forecaster=FILTER, ratio=1.0, why=f"{one.forecaster} {one.why}, and was {AT_FLOOR}")


def _scale_ratio(ratio: float, volatility: Mapping[str, float]) -> float:
    """Return what scenarios are multiplied by where the filter's part of their scale is multiplied by `ratio`."""
    weight = volatility["long_run_weight"]
    through_cycle = weight * volatility["long_run"]
    mine = (1.0 - weight) * volatility["sigma"]
    return (ratio * mine + through_cycle) / (mine + through_cycle)


def _is_low(points: TailPoints, name: str, floor: float) -> bool:
    moves = [point.moves[name] for point in points.points]
    return -min(moves) < floor or max(moves) < floor
