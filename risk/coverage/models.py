"""Models that are asked for margin each evening: the filtered days, and the baselines that they are measured against.

Every model answers with scenarios of a shape's factors, so that options are priced the same way by all of them; only a
venue's tiers are a rate of notional, which says nothing about options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from risk.fhs.factors import Factor, FactorHistory, FactorKind
from risk.fhs.filtered import Filtered, FilterRules
from risk.volatility.refusals import Floats, Reason, require

NORMAL_DRAWS: Final = 1_024


class Model(Protocol):
    """A margin model, as the backtest sees it."""

    @property
    def name(self) -> str:
        """As the report says it."""

    def moves(self, as_of_day: int, factors: Sequence[Factor]) -> tuple[Floats, Floats]:
        """Scenarios [N, F] as known at the end of a day, and their weights [N]. Raises EstimateError."""


@dataclass(frozen=True)
class FilteredModel:
    """Filtered historical simulation."""

    name: str
    filtered: Filtered

    def moves(self, as_of_day: int, factors: Sequence[Factor]) -> tuple[Floats, Floats]:
        """See Model."""
        found = self.filtered.scenarios(as_of_day, factors=factors)
        return found.move, found.weight


@dataclass(frozen=True)
class ChampionModel:
    """Filtered days, each underlying's prices moved by what a champion's forecast makes of their scale that evening.

    `ratio` by underlying and evening; an evening that is not there is the filter's own.
    """

    name: str
    filtered: Filtered
    ratio: Mapping[str, Mapping[int, float]]

    def moves(self, as_of_day: int, factors: Sequence[Factor]) -> tuple[Floats, Floats]:
        """See Model."""
        found = self.filtered.scenarios(as_of_day, factors=factors)
        by = [
            self.ratio.get(one.underlying, {}).get(as_of_day, 1.0) if one.kind is FactorKind.SPOT else 1.0
            for one in factors
        ]
        return found.move * np.array(by), found.weight


@dataclass(frozen=True)
class PlainHistory:
    """Plain historical simulation: the moves of the window as they were, whatever the volatility is today."""

    history: FactorHistory
    window_days: int = 500
    min_days: int = 60
    name: str = "plain historical simulation"

    def moves(self, as_of_day: int, factors: Sequence[Factor]) -> tuple[Floats, Floats]:
        """See Model."""
        end = int(np.searchsorted(self.history.day, as_of_day, side="right"))
        rows = self.history.move[max(0, end - self.window_days) : end, [self.history.column[f] for f in factors]]
        rows = rows[np.isfinite(rows).all(axis=1)]
        require(len(rows) >= self.min_days, Reason.SHORT_HISTORY, f"{len(rows)} days, {self.min_days} are needed")
        return rows, np.full(len(rows), 1.0 / len(rows))


class NormalEwma:
    """RiskMetrics: covariances by exponential weights, normal tails, by quasi-random draws that are always the same."""

    name = "EWMA with normal tails"

    def __init__(self, history: FactorHistory, decay: float = 0.94, window_days: int = 250) -> None:
        self._history, self._decay, self._window = history, decay, window_days
        self._draws: dict[int, Floats] = {}

    def moves(self, as_of_day: int, factors: Sequence[Factor]) -> tuple[Floats, Floats]:
        """See Model."""
        end = int(np.searchsorted(self._history.day, as_of_day, side="right"))
        columns = [self._history.column[f] for f in factors]
        rows = self._history.move[max(0, end - self._window) : end, columns]
        rows = rows[np.isfinite(rows).all(axis=1)]
        require(len(rows) >= 20, Reason.SHORT_HISTORY, f"{len(rows)} days, 20 are needed")
        weight = self._decay ** np.arange(len(rows) - 1, -1, -1.0)
        covariance = (rows * (weight / weight.sum())[:, None]).T @ rows
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        draws = self._normal(len(columns)) @ root.T
        return draws, np.full(len(draws), 1.0 / len(draws))

    def _normal(self, width: int) -> Floats:
        if width not in self._draws:
            points = qmc.Sobol(width, scramble=True, seed=1).random(NORMAL_DRAWS)
            self._draws[width] = np.asarray(ndtri(np.clip(points, 1e-9, 1 - 1e-9)))
        return self._draws[width]


# Of a grid the worst is asked for, not a quantile: so few scenarios, of equal weight, that any tail is one of them.
GRID_SPOT: Final = (-0.16, -0.08, 0.0, 0.08, 0.16)
GRID_VOL: Final = (-0.28, 0.0, 0.33)
GRID_CARRY: Final = (-0.5, 0.0, 0.5)
GRID_BASIS: Final = (-0.005, 0.0, 0.005)


@dataclass(frozen=True)
class FixedGrid:
    """Moves that never change: the price by +-16 % with volatility -25 % and +40 %, carry and basis by set amounts.

    Each underlying by itself, the others unmoved and moved the same way: the worst of all.
    """

    name: str = "fixed grid of +-16 %"

    def moves(self, as_of_day: int, factors: Sequence[Factor]) -> tuple[Floats, Floats]:
        """See Model."""
        ladder = {
            FactorKind.SPOT: tuple(float(np.log1p(move)) for move in GRID_SPOT),
            FactorKind.VOL: GRID_VOL,
            FactorKind.CARRY: GRID_CARRY,
            FactorKind.BASIS: GRID_BASIS,
        }
        axes = np.meshgrid(*[np.array(ladder[factor.kind]) for factor in factors], indexing="ij")
        rows = np.stack([axis.ravel() for axis in axes], axis=1)
        return rows, np.full(len(rows), 1.0 / len(rows))


@dataclass(frozen=True)
class TierRate:
    """A venue's tier: a rate of the notional of every leg, whatever hedges what. Options have none."""

    rate: float
    name: str

    def charge(self, factors: Sequence[Factor]) -> float | None:
        """Margin per dollar of a shape's notional: of both legs where it has two; None for options."""
        kinds = [factor.kind for factor in factors]
        if FactorKind.VOL in kinds:
            return None
        return self.rate * (2.0 if len(kinds) > 1 else 1.0)


def champion(history: FactorHistory) -> FilteredModel:
    """The measure: what one day may lose, nothing added."""
    return FilteredModel("filtered days", Filtered(history, FilterRules()))


# What tempers the measure: a slower volatility, two fifths of it that of the whole history, for prices (what was tried,
# and on which data it was chosen: docs/margin-models.md, docs/adr/0074). Not for spreads:
# theirs fell for good as the market grew, and a memory of 2020 would ask for several times what they need.
TEMPERED: Final = FilterRules(
    decay_of={FactorKind.SPOT: 0.985, FactorKind.VOL: 0.97}, long_run_weight={FactorKind.SPOT: 0.4}
)


def tempered(history: FactorHistory) -> FilteredModel:
    """The margin that clients are asked for: the measure with a volatility through the cycle."""
    return FilteredModel("filtered days, tempered", Filtered(history, TEMPERED))
