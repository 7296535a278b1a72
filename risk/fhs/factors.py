"""What moves: named risk factors, one move a day, on the same days for all, so that joint moves stay joint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np

from risk.volatility.refusals import Floats, Ints, Reason, require

MAX_FACTORS: Final = 2_000
MAX_DAYS: Final = 40_000


class FactorKind(StrEnum):
    """What a factor's move is: all are differences, so that k units of volatility add up over days."""

    SPOT = "spot"  # log return of the price
    VOL = "vol"  # change of the log of implied volatility
    CARRY = "carry"  # change of the annual carry of dated futures, in fractions
    BASIS = "basis"  # change of the log of one venue's price over the index


@dataclass(frozen=True, slots=True)
class Factor:
    """One risk factor: of which underlying, and what kind of move."""

    underlying: str
    kind: FactorKind

    @property
    def name(self) -> str:
        """As tables and reports say it."""
        return f"{self.underlying} {self.kind.value}"


@dataclass(frozen=True)
class FactorHistory:
    """Moves of F factors over D days.

    `day` [D] days since the epoch, ascending, none twice; `move` [D, F] the move from the day before's end to this
    one's, NaN where there is none; `size` [D, F] the day's own estimate of how much there was to move, the root of its
    realised variance; where that is not known (NaN) the move itself stands for it.

    Raises
    ------
    EstimateError
        BAD_SHAPE, UNORDERED, TOO_LARGE.
    """

    factors: tuple[Factor, ...]
    day: Ints
    move: Floats
    size: Floats

    def __post_init__(self) -> None:
        days, count = len(self.day), len(self.factors)
        require(count <= MAX_FACTORS and days <= MAX_DAYS, Reason.TOO_LARGE, f"{count} factors over {days} days")
        same = self.move.shape == (days, count) and self.size.shape == (days, count)
        require(same, Reason.BAD_SHAPE, f"moves {self.move.shape} and sizes {self.size.shape}, not ({days}, {count})")
        require(bool(np.all(np.diff(self.day) > 0)), Reason.UNORDERED, "days do not ascend")
        require(len(set(self.factors)) == count, Reason.BAD_SHAPE, "a factor is there twice")

    @cached_property
    def column(self) -> dict[Factor, int]:
        """Where each factor stands."""
        return {factor: at for at, factor in enumerate(self.factors)}

    def up_to(self, day: int) -> FactorHistory:
        """Only what was known at the end of `day`."""
        end = int(np.searchsorted(self.day, day, side="right"))
        return FactorHistory(self.factors, self.day[:end], self.move[:end], self.size[:end])


def joined(histories: Sequence[FactorHistory]) -> FactorHistory:
    """Histories of different factors side by side, on the days that any of them has; NaN where one has none.

    Raises EstimateError: SHORT_HISTORY without any, and as FactorHistory does.
    """
    require(bool(histories), Reason.SHORT_HISTORY, "no history to join")
    days = np.unique(np.concatenate([history.day for history in histories]))
    factors = tuple(factor for history in histories for factor in history.factors)
    move, size = np.full((len(days), len(factors)), np.nan), np.full((len(days), len(factors)), np.nan)
    column = 0
    for history in histories:
        rows, width = np.searchsorted(days, history.day), len(history.factors)
        move[rows, column : column + width] = history.move
        size[rows, column : column + width] = history.size
        column += width
    return FactorHistory(factors, days, move, size)
