"""An account's margin states: every pair of the table, thresholds, hysteresis."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.account import AccountState
from risk.lifecycle import IllegalTransitionError
from risk.margin_states import (
    BAND_OF,
    MAX_RATIO_BPS,
    MAY_DO,
    SIGNAL_OF,
    TABLE,
    Band,
    MarginState,
    Signal,
    Thresholds,
    next_state,
    ratio_bps,
)

LADDER = Thresholds((15_000, 12_500, 12_000, 10_500, 6_667), (16_000, 13_500, 13_000, 12_000, 10_000))

# A row a state, a column a signal; a dash is illegal.
SIGNALS = (
    "NORMAL", "WARNING", "CALLING", "RESTRICTING", "ADJUSTING", "TAKING_OVER", "UNKNOWN", "CALL_EXPIRED",
    "GRACE_ENDED", "EXHAUSTED", "HANDED_OVER", "REINSTATED",
)  # fmt: skip
H, W, C, R, A, T, X = (state.value for state in MarginState)
EXPECTED = {
    H: (H, W, C, R, A, T, H, "-", "-", "-", "-", "-"),
    W: (H, W, C, R, A, T, W, "-", "-", "-", "-", "-"),
    C: (H, W, C, R, A, T, C, R, "-", "-", "-", "-"),
    R: (H, W, R, R, A, T, R, R, A, "-", "-", "-"),
    A: (H, W, R, R, A, T, A, A, "-", T, "-", "-"),
    T: (T, T, T, T, T, T, T, T, "-", "-", X, R),
    X: (X, X, X, X, X, X, X, X, "-", "-", "-", R),
}


@pytest.mark.parametrize(("state", "signal"), list(product(MarginState, Signal)))
def test_every_pair(state: MarginState, signal: Signal) -> None:
    expected = EXPECTED[state.value][SIGNALS.index(signal.name)]
    if expected == "-":
        with pytest.raises(IllegalTransitionError, match=f"{state.value} can not have {signal.value}"):
            next_state(state, signal)
    else:
        assert next_state(state, signal) is MarginState(expected)


def test_the_table_has_no_rows_beside_these() -> None:
    legal = {(s, g) for s, row in EXPECTED.items() for g, to in zip(SIGNALS, row, strict=True) if to != "-"}
    assert {(state.value, signal.name) for state, signal in TABLE} == legal


def test_an_unknown_ratio_changes_nothing() -> None:
    assert all(TABLE[state, Signal.UNKNOWN] is state for state in MarginState)


def test_no_market_gives_back_what_was_taken_over() -> None:
    for state, band in product((MarginState.TAKEN_OVER, MarginState.CLOSED), Band):
        assert TABLE[state, SIGNAL_OF[band]] is state


def test_what_an_account_may_do_only_tightens_down_the_ladder() -> None:
    order = [AccountState.TRADING, AccountState.REDUCING, AccountState.HALTED]
    severity = [order.index(MAY_DO[state]) for state in MarginState]
    assert severity == sorted(severity)
    assert MAY_DO[MarginState.RESTRICTED] is AccountState.REDUCING


@pytest.mark.parametrize(
    ("now_in", "ratio", "band"),
    [
        (Band.NORMAL, 15_001, Band.NORMAL),
        (Band.NORMAL, 15_000, Band.WARNING),
        (Band.NORMAL, 12_500, Band.CALLING),
        (Band.NORMAL, 6_667, Band.TAKING_OVER),
        (Band.WARNING, 15_999, Band.WARNING),
        (Band.WARNING, 16_000, Band.NORMAL),
        (Band.CALLING, 13_499, Band.CALLING),
        (Band.CALLING, 13_500, Band.WARNING),
        (Band.CALLING, 16_000, Band.NORMAL),
        (Band.RESTRICTING, 13_000, Band.CALLING),
        (Band.ADJUSTING, 11_999, Band.ADJUSTING),
        (Band.ADJUSTING, 12_000, Band.RESTRICTING),
        (Band.ADJUSTING, 20_000, Band.NORMAL),
    ],
)
def test_thresholds_and_hysteresis(now_in: Band, ratio: int, band: Band) -> None:
    assert LADDER.band(ratio, now_in) is band


@given(now_in=st.sampled_from(Band), low=st.integers(0, 20_000), more=st.integers(0, 5_000))
def test_more_is_never_worse(now_in: Band, low: int, more: int) -> None:
    assert LADDER.band(low + more, now_in) <= LADDER.band(low, now_in)


@given(now_in=st.sampled_from(Band), ratio=st.integers(0, 20_000))
def test_a_ratio_that_stays_gives_a_band_that_stays(now_in: Band, ratio: int) -> None:
    once = LADDER.band(ratio, now_in)
    assert LADDER.band(ratio, once) is once


@pytest.mark.parametrize(
    ("enter", "leave"),
    [
        ((15_000, 15_000, 12_000, 10_500, 6_667), (16_000, 15_500, 13_000, 12_000, 10_000)),
        ((15_000, 12_500, 12_000, 10_500, 6_667), (15_000, 13_500, 13_000, 12_000, 10_000)),
        ((15_000, 12_500, 12_000, 10_500, 6_667), (16_000, 13_500, 13_600, 12_000, 10_000)),
        ((15_000, 12_500, 12_000, 10_500, -1), (16_000, 13_500, 13_000, 12_000, 10_000)),
        ((15_000, 12_500, 12_000, 10_500, 0), (MAX_RATIO_BPS + 1, 13_500, 13_000, 12_000, 10_000)),
    ],
)
def test_ladders_that_are_none(enter: tuple[int, int, int, int, int], leave: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="fall from warning to takeover"):
        Thresholds(enter, leave)


@pytest.mark.parametrize(
    ("equity", "maintenance", "ratio"),
    [(150, 100, 15_000), (99_999, 80_000, 12_499), (-5, 100, 0), (0, 0, MAX_RATIO_BPS), (-1, 0, 0),
     (5, -1, MAX_RATIO_BPS), (10**18, 1, MAX_RATIO_BPS)],
)  # fmt: skip
def test_ratios(equity: int, maintenance: int, ratio: int) -> None:
    assert ratio_bps(equity, maintenance) == ratio


def test_every_band_but_the_last_is_of_one_state() -> None:
    assert sorted(BAND_OF.values()) == [*Band, Band.TAKING_OVER]
