"""What keeps requirements from jumping when a market falls: the three options of EMIR RTS 153/2013, Art. 28(1).

(a) a buffer of a share of the margin, which is used up as margin rises above what it was in calm; (b) a weight for
stressed observations; (c) a floor at the margin by volatility over a long lookback. Each only ever asks for more than
the current measure does. A through-the-cycle volatility, which tempers the measure itself, is `FilterRules`' part.
"""

from __future__ import annotations

from dataclasses import dataclass

from risk.volatility.refusals import Reason, require


@dataclass(frozen=True, slots=True)
class ProcyclicalityRules:
    """Shares of the three options; zero is off. `calm_decay`: of the slow mean, a day, that says what calm is."""

    buffer: float = 0.0
    stress_weight: float = 0.0
    floor_share: float = 0.0
    calm_decay: float = 0.99

    def __post_init__(self) -> None:
        shares = (self.buffer, self.stress_weight, self.floor_share)
        inside = all(0 <= share <= 1 for share in shares) and 0 <= self.calm_decay < 1
        require(inside, Reason.BAD_PARAMETER, f"a share is not within 0 and 1: {self}")

    @property
    def is_emir(self) -> bool:
        """Whether at least one option is as strong as Art. 28(1) asks."""
        return self.buffer >= 0.25 or self.stress_weight >= 0.25 or self.floor_share >= 1.0


@dataclass(frozen=True, slots=True)
class Tempered:
    """A day's requirement, and what each option would ask for; `binding` names the one that decides."""

    margin: float
    current: float
    buffered: float
    stressed: float
    floor: float

    @property
    def binding(self) -> str:
        """The option that decides: current, buffer, stress or floor."""
        parts = {"current": self.current, "buffer": self.buffered, "stress": self.stressed, "floor": self.floor}
        return next(name for name, value in parts.items() if value == self.margin)


class Temper:
    """One requirement's path through time. Takes a day's measures in order; same days, same path."""

    def __init__(self, rules: ProcyclicalityRules) -> None:
        self.rules = rules
        self._calm: float | None = None

    def update(self, current: float, *, stressed: float = 0.0, long_run: float = 0.0) -> Tempered:
        """Takes a day's measure, the same in the stress period and by long-run volatility; what is asked for.

        Raises EstimateError (BAD_PARAMETER) for a measure that is negative or no number.
        """
        good = all(0 <= value < float("inf") for value in (current, stressed, long_run))
        require(good, Reason.BAD_PARAMETER, f"measures {current}, {stressed}, {long_run}")
        rules = self.rules
        calm = current if self._calm is None else self._calm
        self._calm = calm = rules.calm_decay * calm + (1.0 - rules.calm_decay) * current
        # Whole while the measure is at its calm level, gone once it is a buffer above it.
        buffered = min((1.0 + rules.buffer) * current, (1.0 + rules.buffer) * calm)
        mixed = (1.0 - rules.stress_weight) * current + rules.stress_weight * stressed
        floor = rules.floor_share * long_run
        return Tempered(max(current, buffered, mixed, floor), current, buffered, mixed, floor)


def largest_rise(margin: list[float], days: int) -> float:
    """The largest relative rise over so many days; zero if it never rises.

    Raises EstimateError: BAD_PARAMETER (days, a margin that is not positive).
    """
    require(days >= 1, Reason.BAD_PARAMETER, f"a rise over {days} days")
    require(all(value > 0 for value in margin), Reason.BAD_PARAMETER, "a margin is not positive")
    return max((after / before - 1.0 for before, after in zip(margin, margin[days:])), default=0.0)


def peak_to_trough(margin: list[float]) -> float:
    """The highest margin over the lowest of a cycle.

    Raises EstimateError: SHORT_HISTORY, BAD_PARAMETER.
    """
    require(bool(margin), Reason.SHORT_HISTORY, "no margin")
    require(all(value > 0 for value in margin), Reason.BAD_PARAMETER, "a margin is not positive")
    return max(margin) / min(margin)
