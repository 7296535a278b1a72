"""The guard's table, its thresholds and its hysteresis."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.guards import (
    NS_PER_S,
    TABLE,
    Alarm,
    Bound,
    Guard,
    GuardRules,
    GuardSignal,
    GuardState,
    Reading,
    alarms_of,
    next_state,
)
from risk.lifecycle import IllegalTransitionError

RULES = GuardRules()
QUIET = Reading(6_000_000_000_000, 3, (), 0, 1_000_000, 0, -1, -1)


def reading(**changes: object) -> Reading:
    values = {name: getattr(QUIET, name) for name in QUIET.__struct_fields__} | changes
    return Reading(**values)  # type: ignore[arg-type]


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(product(GuardState, GuardSignal))


def test_a_row_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IllegalTransitionError):
        next_state(GuardState.CALM, "weird")  # type: ignore[arg-type]


def test_nothing_but_rest_loosens_and_never_by_two_steps() -> None:
    severity = {GuardState.CALM: 0, GuardState.GUARDED: 1, GuardState.HALTED: 2}
    for (state, signal), after in TABLE.items():
        loosened = severity[state] - severity[after]
        assert loosened <= (signal is GuardSignal.SETTLED)


@pytest.mark.parametrize(
    ("name", "ppm", "alarm"),
    [
        ("divergence", 9_999, Alarm.QUIET),
        ("divergence", 10_000, Alarm.UNEASY),
        ("divergence", 20_000, Alarm.RAISED),
        ("divergence", 100_000, Alarm.BROKEN),
        ("volatility", 1_500_000, Alarm.RAISED),
        ("volatility", 999_000_000, Alarm.RAISED),
        ("move", 50_000, Alarm.RAISED),
        ("move", 150_000, Alarm.BROKEN),
        ("spread", 20_000, Alarm.RAISED),
        ("thinness", 900_000, Alarm.RAISED),
    ],
)
def test_thresholds(name: str, ppm: int, alarm: Alarm) -> None:
    changes = {"spread_ppm": 0, "thinness_ppm": 0} | {f"{name}_ppm": ppm}
    found = alarms_of(reading(**changes), RULES)
    assert found[name] is alarm
    assert all(other is Alarm.QUIET for key, other in found.items() if key != name)


def test_no_common_index_is_broken_and_no_book_says_nothing() -> None:
    assert alarms_of(reading(price_e8=0), RULES)["index"] is Alarm.BROKEN
    assert set(alarms_of(QUIET, RULES)) == {"index", "divergence", "volatility", "move"}


@pytest.mark.parametrize("bound", [(0, 1, 0), (2, 1, 0), (1, 5, 4), (-1, 1, 0)])
def test_thresholds_that_make_no_sense_are_refused(bound: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="a guard rests"):
        Bound(*bound)


def run(guard: Guard, script: list[tuple[int, Reading]]) -> list[tuple[int, str]]:
    """Feed readings at seconds; return what was decided when."""
    told = []
    for second, what in script:
        decision = guard.decide(what, second * NS_PER_S)
        if decision is not None:
            guard.take(GuardState(decision.state), decision.reading.outliers)
            told.append((second, decision.state))
    return told


def test_up_at_once_and_down_only_after_rest() -> None:
    guard = Guard("BTC/USD", RULES, 0)
    raised, uneasy = reading(divergence_ppm=30_000), reading(divergence_ppm=15_000)
    script = [(100, QUIET), (101, raised), (102, QUIET), (130, uneasy), (189, QUIET), (190, QUIET), (191, raised)]
    assert run(guard, script) == [(101, "guarded"), (190, "calm"), (191, "guarded")]


def test_a_halt_becomes_a_guard_first() -> None:
    guard = Guard("BTC/USD", RULES, 0)
    broken, wild = reading(move_ppm=200_000), reading(volatility_ppm=3_000_000)
    script = [(1, broken), (5, wild), (10, wild), (11, wild), (12, wild), (71, QUIET), (72, QUIET), (73, QUIET)]
    assert run(guard, script) == [(1, "halted"), (11, "guarded"), (72, "calm")]


def test_an_outlier_that_comes_or_goes_is_a_decision() -> None:
    guard = Guard("BTC/USD", RULES, 0)
    off = reading(outliers=("okx",))
    assert run(guard, [(1, off), (2, off), (3, QUIET)]) == [(1, "calm"), (3, "calm")]


READINGS = st.builds(
    reading,
    price_e8=st.sampled_from([0, 1]),
    divergence_ppm=st.sampled_from([0, 15_000, 30_000, 200_000]),
    move_ppm=st.sampled_from([0, 60_000, 200_000]),
    outliers=st.sampled_from([(), ("okx",)]),
)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 9, 10, 30, 59, 60, 61]), READINGS), max_size=40))
def test_it_is_never_looser_than_the_last_reading_asks_for_and_never_loosens_early(
    steps: list[tuple[int, Reading]],
) -> None:
    guard, now, last_bad, last_broken = Guard("X", RULES, 0), 0, 0, 0
    for pause, what in steps:
        now += pause * NS_PER_S
        worst = max(alarms_of(what, RULES).values())
        last_bad = now if worst is not Alarm.QUIET else last_bad
        last_broken = now if worst is Alarm.BROKEN else last_broken
        before = guard.state
        decision = guard.decide(what, now)
        if decision is not None:
            guard.take(GuardState(decision.state), what.outliers)
        if worst is Alarm.BROKEN:
            assert guard.state is GuardState.HALTED
        if worst is Alarm.RAISED:
            assert guard.state is not GuardState.CALM
        if before is GuardState.GUARDED and guard.state is GuardState.CALM:
            assert now - last_bad >= RULES.quiet_ns
        if before is GuardState.HALTED and guard.state is GuardState.GUARDED:
            assert now - last_broken >= RULES.halt_ns
