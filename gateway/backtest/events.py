"""How margin rose around market events: the measure's own path beside the tempered one that clients are asked for."""

from __future__ import annotations

from datetime import date
from typing import Final

import msgspec
import numpy as np

from gateway.backtest.study import Data, Finding, day_number, day_of
from risk.coverage.walk import Walk
from risk.fhs.factors import Factor, FactorKind
from risk.fhs.procyclicality import largest_rise

# Days that every desk remembers; others are found in the data.
KNOWN: Final = {
    "March 2020": date(2020, 3, 12),
    "May 2021": date(2021, 5, 19),
    "November 2022": date(2022, 11, 9),
    "August 2024": date(2024, 8, 5),
    "October 2025": date(2025, 10, 10),
}
BEFORE_DAYS: Final = 10
AFTER_DAYS: Final = 20
RISE_OVER_DAYS: Final = 5
# The goal: so much less of a rise, for so much more margin on average at the most.
WANTED_CUT: Final = 0.30
WANTED_COST: Final = 0.15
OWN_EVENTS: Final = 3


class Rise(msgspec.Struct, frozen=True):
    """The largest rise over RISE_OVER_DAYS around an event, of the measure and of the tempered margin."""

    event: str
    shape: str
    measure: float
    tempered: float
    champions: float | None = None

    @property
    def champions_cut(self) -> float | None:
        """The same of the tempered margin with champions; None where it had none."""
        if self.champions is None:
            return None
        return 1.0 - max(self.champions, 0.0) / self.measure if self.measure > 0 else 0.0

    @property
    def cut(self) -> float:
        """How much lower the tempered rise is, as a share of the measure's."""
        return 1.0 - max(self.tempered, 0.0) / self.measure if self.measure > 0 else 0.0

    @property
    def is_named(self) -> bool:
        """Whether the event is one that every desk remembers; else the data's own."""
        return self.event in KNOWN


class Cost(msgspec.Struct, frozen=True):
    """Average margin of a shape in the scored days: of the measure, and tempered."""

    shape: str
    measure: float
    tempered: float
    champions: float | None = None

    @property
    def champions_more(self) -> float | None:
        """The margin with champions over the measure's, less one; None where it had none."""
        return None if self.champions is None or self.measure <= 0 else self.champions / self.measure - 1.0

    @property
    def more(self) -> float:
        """The tempered margin over the measure's, less one."""
        return self.tempered / self.measure - 1.0 if self.measure > 0 else 0.0


def events_of(data: Data) -> dict[str, int]:
    """Known events within the data, and each underlying's own worst days that lie apart from them, as day numbers."""
    history = data.history
    found = {name: day_number(day) for name, day in KNOWN.items()}
    found = {name: day for name, day in found.items() if history.day[0] <= day <= history.day[-1]}
    for days in data.days:
        move = history.move[:, history.column[Factor(days.name, FactorKind.SPOT)]]
        order = np.argsort(np.where(np.isfinite(move), move, np.inf))
        own = 0
        for at in order.tolist():
            day = int(history.day[at])
            if own == OWN_EVENTS or not np.isfinite(move[at]):
                break
            if all(abs(day - other) > AFTER_DAYS for other in found.values()):
                found[f"{days.name} {day_of(day):%B %Y}"] = day
                own += 1
    return dict(sorted(found.items(), key=lambda item: item[1]))


def rises(data: Data, findings: list[Finding], measure: str, tempered: str, champions: str = "") -> list[Rise]:
    """The rises of long and short positions around every event that both models had a margin for.

    With that of the margin with champions, where it has one of all those evenings.
    """
    walks = {(f.shape, f.model): f.walk for f in findings if f.walk is not None}
    found = []
    for name, day in events_of(data).items():
        for shape in data.shapes:
            pair = walks.get((shape.name, measure)), walks.get((shape.name, tempered))
            if len(shape.factors) > 1 or pair[0] is None or pair[1] is None:
                continue
            around = [_around(walk, day) for walk in pair if walk is not None and len(walk.day) and walk.day[0] < day]
            if len(around) == 2 and min(len(path) for path in around) > RISE_OVER_DAYS:
                third = walks.get((shape.name, champions))
                path = [] if third is None else _around(third, day)
                by = largest_rise(path, RISE_OVER_DAYS) if len(path) == len(around[1]) else None
                one, other = (largest_rise(path, RISE_OVER_DAYS) for path in around)
                found.append(Rise(name, shape.name, one, other, by))
    return found


def costs(findings: list[Finding], measure: str, tempered: str, first_day: int, champions: str = "") -> list[Cost]:
    """Average margins of every shape that both models answered for, from the first scored day."""
    means: dict[str, dict[str, float]] = {}
    for finding in findings:
        if finding.walk is not None and finding.model in (measure, tempered, champions):
            counted = finding.walk.margin[finding.walk.day >= first_day]
            if len(counted):
                means.setdefault(finding.shape, {})[finding.model] = float(counted.mean())
    both = {shape: by for shape, by in means.items() if measure in by and tempered in by}
    return [Cost(shape, by[measure], by[tempered], by.get(champions)) for shape, by in both.items()]


def _around(walk: Walk, day: int) -> list[float]:
    inside = (walk.day >= day - BEFORE_DAYS) & (walk.day <= day + AFTER_DAYS)
    return [margin for margin in walk.margin[inside].tolist() if margin > 0]
