"""The guard of a market as a table: (state, signal) -> state, and how readings of the market become signals.

A flash crash shows as a price that leaves the other venues' (divergence), as volatility far above the usual, as one
move that nobody had a position for, or as a book with nothing in it. A guard is raised by any one of them at once, and
comes down only after all have been quiet for a while: that, and two thresholds for each reading, is its hysteresis.

    calm      marks are used as they come, where they are sound
    guarded   margin is reckoned on robust marks, collars are narrow; positions are adjusted on sound marks alone
    halted    no mark is sound: new risk is refused, nobody's position is touched

Every number is in parts per million, so that a decision can be made again from its record to the last digit.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from risk.lifecycle import follow

PPM: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000


class GuardState(StrEnum):
    """How a market is guarded."""

    CALM = "calm"
    GUARDED = "guarded"
    HALTED = "halted"


class Alarm(IntEnum):
    """What a reading says, the worse the higher. UNEASY is between the threshold that raises and the one that rests."""

    QUIET = 0
    UNEASY = 1
    RAISED = 2
    BROKEN = 3


class GuardSignal(StrEnum):
    """What can happen to a guard."""

    QUIET = "quiet"
    UNEASY = "uneasy"
    RAISED = "raised"
    BROKEN = "broken"
    SETTLED = "settled"


_G, _S = GuardState, GuardSignal

TABLE: Final[dict[tuple[GuardState, GuardSignal], GuardState]] = {
    (_G.CALM, _S.QUIET): _G.CALM,
    (_G.CALM, _S.UNEASY): _G.CALM,
    (_G.CALM, _S.RAISED): _G.GUARDED,
    (_G.CALM, _S.BROKEN): _G.HALTED,
    (_G.CALM, _S.SETTLED): _G.CALM,
    (_G.GUARDED, _S.QUIET): _G.GUARDED,
    (_G.GUARDED, _S.UNEASY): _G.GUARDED,
    (_G.GUARDED, _S.RAISED): _G.GUARDED,
    (_G.GUARDED, _S.BROKEN): _G.HALTED,
    (_G.GUARDED, _S.SETTLED): _G.CALM,
    (_G.HALTED, _S.QUIET): _G.HALTED,
    (_G.HALTED, _S.UNEASY): _G.HALTED,
    (_G.HALTED, _S.RAISED): _G.HALTED,
    (_G.HALTED, _S.BROKEN): _G.HALTED,
    # Never straight to calm: what was broken a moment ago is watched for a while.
    (_G.HALTED, _S.SETTLED): _G.GUARDED,
}


class Bound(msgspec.Struct, frozen=True):
    """Where one reading raises the guard, where it lets it rest again, and where it breaks the market (0: never).

    Raises
    ------
    ValueError
        Unless 0 < rests_ppm <= raises_ppm, and breaks_ppm, where there is one, is not below that.
    """

    rests_ppm: int
    raises_ppm: int
    breaks_ppm: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.rests_ppm <= self.raises_ppm or 0 < self.breaks_ppm < self.raises_ppm:
            raise ValueError(f"a guard rests below where it is raised, and breaks above: {self}")

    def alarm(self, reading_ppm: int) -> Alarm:
        """Return what a reading says."""
        if self.breaks_ppm and reading_ppm >= self.breaks_ppm:
            return Alarm.BROKEN
        if reading_ppm >= self.raises_ppm:
            return Alarm.RAISED
        return Alarm.UNEASY if reading_ppm >= self.rests_ppm else Alarm.QUIET


class GuardRules(msgspec.Struct, frozen=True, kw_only=True):
    """What guards go by; figures are house rules, not any venue's.

    `divergence`: of a perpetual's or spot's mark from what the index says it should be. `volatility`: the factor of
    risk.learning.regime, one in ordinary times. `move`: of the index within a bar. `spread`: between best bid and ask.
    `thinness`: the part of the usual depth that is missing. `quiet_ns`: how long all must rest before a raised guard
    comes down; `halt_ns`: how long nothing may be broken before a halt becomes a guard.

    A collar is `collar_deviations` times what volatility explains over `collar_bars`, from `collar_floor_ppm` to the
    configured width. The robust index follows the venues' by at most `step_ppm` a bar.
    """

    divergence: Bound = Bound(10_000, 20_000, 100_000)
    volatility: Bound = Bound(1_100_000, 1_500_000)
    move: Bound = Bound(30_000, 50_000, 150_000)
    spread: Bound = Bound(5_000, 20_000)
    thinness: Bound = Bound(500_000, 900_000)
    quiet_ns: int = 60 * NS_PER_S
    halt_ns: int = 10 * NS_PER_S
    max_age_ns: int = 10 * NS_PER_S
    outlier_ppm: int = 20_000
    basis_ppm: int = 250_000
    step_ppm: int = 50_000
    collar_deviations: float = 10.0
    collar_bars: int = 60
    collar_floor_ppm: int = 20_000


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What a guard decides on. `price_e8` is the venues' common index times 1e8; 0 where they contradict each other.

    `spread_ppm` and `thinness_ppm` are -1 where no book is followed.
    """

    price_e8: int
    sources: int
    outliers: tuple[str, ...]
    divergence_ppm: int
    volatility_ppm: int
    move_ppm: int
    spread_ppm: int
    thinness_ppm: int


class GuardDecision(msgspec.Struct, frozen=True, gc=False):
    """A guard moves, or an outlier comes or goes: `state` is what it is from here on, `signal` why."""

    pair: str
    state: str
    signal: str
    alarms: tuple[str, ...]
    reading: Reading


def alarms_of(reading: Reading, rules: GuardRules) -> dict[str, Alarm]:
    """Return what each reading says, by its name."""
    found = {
        "index": Alarm.QUIET if reading.price_e8 > 0 else Alarm.BROKEN,
        "divergence": rules.divergence.alarm(reading.divergence_ppm),
        "volatility": rules.volatility.alarm(reading.volatility_ppm),
        "move": rules.move.alarm(reading.move_ppm),
    }
    if reading.spread_ppm >= 0:
        found["spread"] = rules.spread.alarm(reading.spread_ppm)
        found["thinness"] = rules.thinness.alarm(reading.thinness_ppm)
    return found


def next_state(state: GuardState, signal: GuardSignal) -> GuardState:
    """Return the state after `signal`.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such row.
    """
    return follow(TABLE, state, signal, "a guard", "have")


class Guard:
    """One market's guard. `decide` changes nothing but the times of its calm; `state` is set by who has written it."""

    __slots__ = ("_broken_ns", "_restless_ns", "outliers", "pair", "rules", "state")

    def __init__(self, pair: str, rules: GuardRules, now_ns: int) -> None:
        self.pair, self.rules = pair, rules
        self.state = GuardState.CALM
        self.outliers: tuple[str, ...] = ()
        # When it was last not quiet, and last broken: after a start nobody knows, so both begin again.
        self._restless_ns = self._broken_ns = now_ns

    def decide(self, reading: Reading, now_ns: int) -> GuardDecision | None:
        """Return what is to be done on a reading, None where all stays as it is."""
        alarms = alarms_of(reading, self.rules)
        worst = max(alarms.values())
        if worst is not Alarm.QUIET:
            self._restless_ns = now_ns
        if worst is Alarm.BROKEN:
            self._broken_ns = now_ns
        signal = GuardSignal[worst.name]
        rests = now_ns - self._restless_ns >= self.rules.quiet_ns
        if self.state is GuardState.HALTED:
            rests = now_ns - self._broken_ns >= self.rules.halt_ns
        if rests and worst is not Alarm.BROKEN:
            signal = GuardSignal.SETTLED
        after = next_state(self.state, signal)
        if after is self.state and reading.outliers == self.outliers:
            return None
        told = tuple(name for name, alarm in alarms.items() if alarm >= Alarm.RAISED)
        return GuardDecision(self.pair, after.value, signal.value, told, reading)

    def take(self, state: GuardState, outliers: tuple[str, ...]) -> None:
        """Be as a decision says that was written."""
        self.state, self.outliers = state, outliers
