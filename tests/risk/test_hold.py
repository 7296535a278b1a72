"""The life of a hold: every pair of the table, the legal and the illegal ones."""

from __future__ import annotations

from itertools import product

import pytest

from risk.hold import HOLDING, TABLE, HoldHappening, HoldState, next_state
from risk.lifecycle import IllegalTransitionError

# A row a state, a column a happening; a dash is illegal.
HAPPENINGS = ("partly filled", "filled", "released", "overdue")
EXPECTED = {
    "held": ("partly_filled", "filled", "released", "unknown"),
    "partly_filled": ("partly_filled", "filled", "released", "unknown"),
    "unknown": ("unknown", "filled", "released", "-"),
    "filled": ("filled", "filled", "-", "-"),
    "released": ("released", "released", "released", "-"),
}


@pytest.mark.parametrize(("state", "happening"), list(product(HoldState, HoldHappening)))
def test_every_pair(state: HoldState, happening: HoldHappening) -> None:
    expected = EXPECTED[state.value][HAPPENINGS.index(happening.value)]
    if expected == "-":
        with pytest.raises(IllegalTransitionError, match=f"{state.value} can not be {happening.value}"):
            next_state(state, happening)
    else:
        assert next_state(state, happening) is HoldState(expected)


def test_the_table_has_no_rows_beside_these() -> None:
    legal = {(s, h) for s, row in EXPECTED.items() for h, to in zip(HAPPENINGS, row, strict=True) if to != "-"}
    assert {(state.value, happening.value) for state, happening in TABLE} == legal


def test_time_alone_never_frees_margin() -> None:
    """Whatever is overdue holds on, and no row leads back from an end."""
    for (state, happening), to in TABLE.items():
        if happening is HoldHappening.OVERDUE:
            assert state in HOLDING and to is HoldState.UNKNOWN and to in HOLDING
        if state not in HOLDING:
            assert to is state
