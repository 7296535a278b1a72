"""Margin calls: every pair of the table, and how much is called for."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.calls import OPEN, TABLE, Call, CallHappening, CallState, CallTerms, call_amount, next_state
from risk.lifecycle import IllegalTransitionError

# A row a state, a column a happening; a dash is illegal.
HAPPENINGS = (
    "RECEIVED", "AGREED", "DISPUTED", "PAID_PART", "PAID_ALL", "REVERSED", "ESCALATED", "UPHELD", "LAPSED", "RECOVERED",
)  # fmt: skip
EXPECTED = {
    "issued": ("received", "agreed", "disputed", "partly_met", "met", "-", "-", "-", "expired", "superseded"),
    "received": ("received", "agreed", "disputed", "partly_met", "met", "-", "-", "-", "expired", "superseded"),
    "agreed": ("agreed", "agreed", "-", "partly_met", "met", "agreed", "-", "-", "expired", "superseded"),
    "disputed": (
        "disputed", "agreed", "disputed", "disputed", "met", "disputed", "escalated", "agreed", "expired", "superseded",
    ),
    "partly_met": (
        "partly_met", "partly_met", "disputed", "partly_met", "met", "partly_met", "-", "-", "expired", "superseded",
    ),
    "escalated": (
        "escalated", "agreed", "-", "escalated", "met", "escalated", "-", "agreed", "expired", "superseded",
    ),
    "met": ("met", "met", "-", "-", "-", "partly_met", "-", "-", "-", "-"),
    "expired": ("expired", "expired", "-", "expired", "expired", "expired", "-", "-", "-", "-"),
    "superseded": ("superseded", "superseded", "-", "-", "-", "superseded", "-", "-", "-", "-"),
}  # fmt: skip


@pytest.mark.parametrize(("state", "happening"), list(product(CallState, CallHappening)))
def test_every_pair(state: CallState, happening: CallHappening) -> None:
    expected = EXPECTED[state.value][HAPPENINGS.index(happening.name)]
    if expected == "-":
        with pytest.raises(IllegalTransitionError, match=f"{state.value} can not be {happening.value}"):
            next_state(state, happening)
    else:
        assert next_state(state, happening) is CallState(expected)


def test_the_table_has_no_rows_beside_these() -> None:
    legal = {(s, h) for s, row in EXPECTED.items() for h, to in zip(HAPPENINGS, row, strict=True) if to != "-"}
    assert {(state.value, happening.name) for state, happening in TABLE} == legal


def test_every_open_call_ends_with_its_time_or_its_reason() -> None:
    for state in OPEN:
        assert TABLE[state, CallHappening.LAPSED] is CallState.EXPIRED
        assert TABLE[state, CallHappening.RECOVERED] is CallState.SUPERSEDED
        assert TABLE[state, CallHappening.PAID_ALL] is CallState.MET


def terms(**changes: int) -> CallTerms:
    values: dict[str, Any] = {
        "target_bps": 13_500, "threshold_units": 0, "minimum_units": 0, "step_units": 1, "cure_ns": 10, "dispute_ns": 5,
        "grace_ns": 7,
    }  # fmt: skip
    return CallTerms(**(values | changes))


@pytest.mark.parametrize(
    ("requirement", "held", "changes", "amount"),
    [
        (100, 100, {}, 0),
        (100, 130, {}, 0),
        (100, 99, {}, 1),
        (100, -50, {}, 150),
        (100, 60, {"threshold_units": 30}, 10),
        (100, 60, {"threshold_units": 40}, 0),
        (100, 60, {"minimum_units": 41}, 0),
        (100, 60, {"minimum_units": 40}, 40),
        # The minimum is asked of what is short, not of what it is rounded to.
        (100, 61, {"minimum_units": 40, "step_units": 25}, 0),
        (100, 60, {"step_units": 25}, 50),
        (100, 50, {"step_units": 25}, 50),
        (100, 60, {"threshold_units": 10, "minimum_units": 30, "step_units": 1_000}, 1_000),
    ],
)
def test_amounts(requirement: int, held: int, changes: dict[str, int], amount: int) -> None:
    assert call_amount(requirement, held, terms(**changes)) == amount


@given(
    requirement=st.integers(0, 10**15), held=st.integers(-(10**15), 10**15), threshold=st.integers(0, 10**12),
    minimum=st.integers(0, 10**12), step=st.integers(1, 10**11), more=st.integers(0, 10**12),
)  # fmt: skip
def test_a_call_cures_and_asks_no_step_too_much(
    requirement: int, held: int, threshold: int, minimum: int, step: int, more: int
) -> None:
    agreed = terms(threshold_units=threshold, minimum_units=minimum, step_units=step)
    amount, short = call_amount(requirement, held, agreed), requirement - held - threshold
    assert amount % step == 0
    if amount:
        assert short <= amount < short + step and short >= minimum
    else:
        assert short <= 0 or short < minimum
    assert call_amount(requirement, held + more, agreed) <= amount, "who has more is not called for more"


@pytest.mark.parametrize(
    "changes", [{"threshold_units": -1}, {"minimum_units": -1}, {"step_units": 0}, {"target_bps": 0}, {"cure_ns": -1},
                {"grace_ns": -1}, {"dispute_ns": -1}],
)  # fmt: skip
def test_terms_that_are_none(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        terms(**changes)


def test_what_is_due_of_a_disputed_call() -> None:
    call = Call("c", 100, 10, 100)
    call.happen(CallHappening.DISPUTED)
    call.undisputed_units, call.paid_units = 40, 15
    assert (call.outstanding_units, call.due_units, call.is_open) == (85, 25, True)
    call.happen(CallHappening.LAPSED)
    assert (call.outstanding_units, call.due_units, call.is_open) == (0, 0, False)
    with pytest.raises(IllegalTransitionError):
        call.happen(CallHappening.DISPUTED)
    assert call.state is CallState.EXPIRED
