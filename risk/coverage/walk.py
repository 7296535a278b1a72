"""Walk forward: each evening a margin from what is known, each next evening the profit or loss that it had to cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from risk.coverage.models import FixedGrid, Model, TierRate
from risk.coverage.shapes import Shape
from risk.fhs.factors import Factor, FactorHistory
from risk.fhs.measures import expected_shortfall, value_at_risk
from risk.volatility.refusals import Bools, EstimateError, Floats, Ints

# Histories that the test of expected shortfall compares the real one with.
SIMULATIONS: Final = 1_000


@dataclass(frozen=True)
class Walk:
    """One shape under one model, all [D]: evenings, margin, expected shortfall, and what the next day brought.

    `refused` counts the evenings on which the model had no answer, with `why` the last one; they are no part of the
    arrays. `simulated` [SIMULATIONS]: Acerbi and Szekely's statistic, had each day been drawn from the model.
    """

    shape: str
    model: str
    day: Ints
    margin: Floats
    shortfall: Floats
    profit: Floats
    simulated: Floats
    refused: int
    why: str

    @property
    def exceptions(self) -> Bools:
        """The days [D] on which the loss was above the margin."""
        return np.asarray(self.profit < -self.margin)


def walk(
    shape: Shape,
    model: Model | TierRate,
    history: FactorHistory,
    implied: dict[str, Floats],
    *,
    first_day: int,
    last_day: int,
    score_from: int | None = None,
    confidence: float = 0.99,
    seed: int = 1,
    on_day: Callable[[], None] | None = None,
) -> Walk | None:
    """A shape's margins and results of the evenings from `first_day` to the one before `last_day`.

    `implied`: each underlying's implied volatility by the day of the history [D], NaN where unknown. None where the
    model says nothing about such a shape. Evenings without the next day's moves are passed over. `score_from`: the
    evening from which `simulated` and `refused` count; `scored` takes the rest of a walk from there.
    """
    rng = np.random.default_rng(seed)
    columns = [history.column[factor] for factor in shape.factors]
    evenings, margins, shortfalls, profits = [], [], [], []
    simulated, refused, why = np.zeros(SIMULATIONS), 0, ""
    score_from = first_day if score_from is None else score_from
    start, end = np.searchsorted(history.day, [first_day, last_day])
    for at in range(int(start), int(end)):
        if on_day is not None:
            on_day()
        if at + 1 >= len(history.day) or history.day[at + 1] != history.day[at] + 1:
            continue
        move = history.move[at + 1, columns]
        iv = {name: float(implied[name][at]) for name in shape.needs_implied}
        if not np.isfinite(move).all() or not all(np.isfinite(vol) and vol > 0 for vol in iv.values()):
            continue
        try:
            asked = _ask(shape, model, int(history.day[at]), iv, confidence)
        except EstimateError as error:
            if history.day[at] >= score_from:
                refused, why = refused + 1, str(error)
            continue
        if asked is None:
            return None
        margin, shortfall, scenarios = asked
        evenings.append(int(history.day[at]))
        margins.append(margin)
        shortfalls.append(shortfall)
        profits.append(float(shape.profit(_named(shape.factors, move[None, :]), iv, 1.0)[0]))
        if len(scenarios) and shortfall > 0 and history.day[at] >= score_from:
            drawn = scenarios[rng.integers(len(scenarios), size=SIMULATIONS)]
            simulated += np.where(drawn < -margin, drawn, 0.0) / shortfall
    days = max(sum(day >= score_from for day in evenings), 1)
    return Walk(
        shape.name,
        model.name,
        np.array(evenings, dtype=np.int64),
        np.array(margins),
        np.array(shortfalls),
        np.array(profits),
        simulated / (days * (1.0 - confidence)) + 1.0,
        refused,
        why,
    )


def _ask(
    shape: Shape, model: Model | TierRate, day: int, implied: dict[str, float], confidence: float
) -> tuple[float, float, Floats] | None:
    """Margin, expected shortfall and the scenarios' profits; None where the model has nothing to say."""
    if isinstance(model, TierRate):
        charge = model.charge(shape.factors)
        return None if charge is None else (charge, 0.0, np.zeros(0))
    moves, weight = model.moves(day, shape.factors)
    profit = shape.profit(_named(shape.factors, moves), implied, 1.0)
    if isinstance(model, FixedGrid):
        return max(0.0, -float(profit.min())), 0.0, np.zeros(0)
    margin = value_at_risk(profit, weight, confidence)
    return margin, expected_shortfall(profit, weight, confidence), profit


def _named(factors: Sequence[Factor], moves: Floats) -> dict[Factor, Floats]:
    return {factor: moves[:, at] for at, factor in enumerate(factors)}


def scored(found: Walk, first_day: int) -> Walk:
    """A walk from an evening on."""
    counted = found.day >= first_day
    return replace(
        found,
        day=found.day[counted],
        margin=found.margin[counted],
        shortfall=found.shortfall[counted],
        profit=found.profit[counted],
    )


def needs(shape: Shape, history: FactorHistory) -> str | None:
    """What the history lacks for a shape, in words; None where it has all."""
    lacking = [factor.name for factor in shape.factors if factor not in history.column]
    return f"no history of {', '.join(lacking)}" if lacking else None
