"""Devolatilised days, and scenario sets made of them.

A day's move in units of what was forecast for it the day before, z = move / sigma, is comparable with any other day's;
z times today's sigma is that day as it would be now. All factors of one day stay together, so that correlation, and
what it does in a crash, comes with the days (Barone-Adesi, Giannopoulos and Vosper 1999; Hull and White 1998).

sigma is the root of an exponentially weighted mean of realised variances. `long_run_weight` mixes it with the root of
the mean over all that is known: a through-the-cycle volatility, which moves less (EMIR RTS 153/2013, Art. 28(1)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from risk.fhs.factors import Factor, FactorHistory, FactorKind
from risk.volatility.refusals import MIN_VARIANCE, Floats, Ints, Reason, clipped, per_underlying, require

MIN_DAYS: Final = 60
# Before a sigma counts as known: fewer squared moves say nothing of a size.
MIN_SEEN: Final = 20
# A day that came as a hundred sigmas of its forecast: the forecast was wrong, and scaling it further would say nothing.
MAX_STANDARDISED: Final = 100.0


@dataclass(frozen=True, slots=True)
class FilterRules:
    """How days are filtered.

    `decay` of the variance, a day, and where a kind of factor has its own, by `decay_of`; `window_days` that scenarios
    are taken from; `long_run_weight` by kind of factor, of the long-run volatility in today's; `min_days` below which
    there is no scenario set.
    """

    decay: float = 0.94
    decay_of: Mapping[FactorKind, float] = field(default_factory=dict)
    window_days: int = 1_000
    min_days: int = MIN_DAYS
    long_run_weight: Mapping[FactorKind, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        decays = (self.decay, *self.decay_of.values())
        inside = all(0 <= decay < 1 for decay in decays)
        require(inside, Reason.BAD_PARAMETER, f"a decay is not within 0 <= decay < 1: {decays}")
        good = 1 <= self.min_days <= self.window_days
        require(good, Reason.BAD_PARAMETER, f"min_days {self.min_days}, window_days {self.window_days}")
        shares = all(0 <= weight <= 1 for weight in self.long_run_weight.values())
        require(shares, Reason.BAD_PARAMETER, "a long_run_weight is not within 0 and 1")

    def decays(self, factors: tuple[Factor, ...]) -> Floats:
        """Decay by factor [F]."""
        return np.array([self.decay_of.get(factor.kind, self.decay) for factor in factors], dtype=np.float64)

    def weights(self, factors: tuple[Factor, ...]) -> Floats:
        """Weight of the long-run volatility by factor [F]."""
        return np.array([self.long_run_weight.get(factor.kind, 0.0) for factor in factors], dtype=np.float64)


@dataclass(frozen=True)
class ScenarioSet:
    """Joint moves that could be: `move` [N, F], from the days `day` [N], with `weight` [N], which sums to one.

    Moves are of `factors`, over a horizon of `horizon_days`, as known at the end of `as_of_day`.
    """

    factors: tuple[Factor, ...]
    as_of_day: int
    horizon_days: float
    day: Ints
    move: Floats
    weight: Floats
    sigma: Floats

    def of(self, factor: Factor) -> Floats:
        """One factor's moves [N]. Raises EstimateError (NO_QUOTES) for a factor that is not there."""
        require(factor in self.factors, Reason.NO_QUOTES, f"no scenarios of {factor.name}")
        return np.asarray(self.move[:, self.factors.index(factor)])


class SigmaBank:
    """Sigmas of F factors, online: a day's moves and sizes in, what is forecast for the next day out. O(F) a day."""

    def __init__(self, size: int, decay: float | Floats, long_run_weight: float | Floats = 0.0) -> None:
        self.size = size
        self._gain = 1.0 - per_underlying(decay, size, "decay")
        self._mix = per_underlying(long_run_weight, size, "long_run_weight")
        self.seen = np.zeros(size)
        self._variance, self._mean = np.zeros(size), np.zeros(size)

    def update(self, move: Floats, size: Floats) -> tuple[Floats, Floats]:
        """Takes one day [F]; today's sigmas [F] and those that scenarios are scaled to [F]. NaN: not known yet."""
        squares = squared_sizes(move, size)
        there = np.isfinite(squares)
        self.seen += there
        share = 1.0 / np.maximum(self.seen, 1.0)
        change = np.where(there, squares, 0.0)
        self._variance += np.where(there, np.maximum(self._gain, share), 0.0) * (change - self._variance)
        self._mean += np.where(there, share, 0.0) * (change - self._mean)
        return self.sigmas

    @property
    def sigmas(self) -> tuple[Floats, Floats]:
        """Today's sigmas [F], and those that scenarios are scaled to."""
        known = self.seen >= MIN_SEEN
        now = np.where(known, np.sqrt(np.maximum(self._variance, MIN_VARIANCE)), np.nan)
        long_run = np.sqrt(np.maximum(self._mean, MIN_VARIANCE))
        return now, np.where(known, (1.0 - self._mix) * now + self._mix * long_run, np.nan)


def squared_sizes(move: Floats, size: Floats) -> Floats:
    """What there was to move, squared: of the size where it is known, of the move where it is not."""
    moved, sized = clipped(move), clipped(size)
    return np.where(np.isfinite(sized), sized, moved) ** 2


class Filtered:
    """A history filtered once, from which the scenario set of any of its days can be taken.

    Memory: a few arrays of the history's shape. What is taken for a day knows days up to it and none after.
    """

    def __init__(self, history: FactorHistory, rules: FilterRules) -> None:
        self.history, self.rules = history, rules
        days, count = history.move.shape
        self.sigma, self.scale = np.full((days, count), np.nan), np.full((days, count), np.nan)
        bank = SigmaBank(count, rules.decays(history.factors), rules.weights(history.factors))
        for at in range(days):
            self.sigma[at], self.scale[at] = bank.update(history.move[at], history.size[at])
        self.standardised = np.full((days, count), np.nan)
        if days > 1:
            z = clipped(history.move[1:]) / self.sigma[:-1]
            self.standardised[1:] = np.clip(z, -MAX_STANDARDISED, MAX_STANDARDISED)

    def scenarios(
        self, as_of_day: int, horizon_days: float | Floats = 1.0, factors: Sequence[Factor] | None = None
    ) -> ScenarioSet:
        """The set as known at the end of a day, of all factors or some, over a horizon: a number, or one a factor.

        Days on which one of the factors has no move are left out. Raises EstimateError: SHORT_HISTORY, MOSTLY_MISSING
        (a factor without a forecast today), NO_QUOTES (one that is not there), BAD_PARAMETER.
        """
        history, rules = self.history, self.rules
        chosen = history.factors if factors is None else tuple(factors)
        unknown = [factor.name for factor in chosen if factor not in history.column]
        require(not unknown, Reason.NO_QUOTES, f"no history of {', '.join(unknown[:5])}")
        columns = [history.column[factor] for factor in chosen]
        end = int(np.searchsorted(history.day, as_of_day, side="right"))
        require(end > 0, Reason.SHORT_HISTORY, f"no day up to {as_of_day}")
        horizon = per_underlying(horizon_days, len(chosen), "horizon_days")
        require(bool(np.all(horizon > 0)), Reason.BAD_PARAMETER, "a horizon is not positive")
        scale = self.scale[end - 1, columns]
        missing = [factor.name for factor, known in zip(chosen, np.isfinite(scale)) if not known]
        require(not missing, Reason.MOSTLY_MISSING, f"no volatility of {', '.join(missing[:5])} on day {as_of_day}")
        start = max(0, end - rules.window_days)
        z = self.standardised[start:end, columns]
        whole = np.isfinite(z).all(axis=1)
        kept = int(whole.sum())
        text = f"{kept} days that all factors have, {rules.min_days} are needed"
        require(kept >= rules.min_days, Reason.SHORT_HISTORY, text)
        move = z[whole] * (scale * np.sqrt(horizon))
        weight = np.full(kept, 1.0 / kept)
        day = history.day[start:end][whole]
        return ScenarioSet(chosen, as_of_day, float(horizon.max()), day, move, weight, scale)
