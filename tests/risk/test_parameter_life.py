"""The life of parameters: every pair of stage and step, who may approve, and what needs how many eyes."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from risk.parameter_life import (
    BY_RULE,
    LIFE,
    AccountEffect,
    ApprovalRules,
    Effect,
    ParameterError,
    Proposal,
    Stage,
    Step,
    effect_of,
    step,
)

RULES = ApprovalRules(automatic_within=0.02, two_people_above=0.1, lasts_ns=1_000)
AMOUNTS = st.one_of(st.floats(0, 1e9), st.sampled_from([float("nan"), float("inf")]))


def effect(size: float, short: tuple[str, ...] = (), unknown: tuple[str, ...] = ()) -> Effect:
    return Effect(3, 100.0, 100.0 * (1 + size), size, 0.0, short, unknown)


def proposal(stage: Stage = Stage.PROPOSED, size: float | None = None, **fields) -> Proposal:
    known = None if size is None else effect(size)
    return Proposal(7, "abc", "anna", 0, stage, known, **fields)


@pytest.mark.parametrize(("stage", "taken"), list(product(Stage, Step)))
def test_every_pair_is_a_row_or_refused(stage: Stage, taken: Step) -> None:
    now = 5_000 if taken is Step.EXPIRE else 10
    given = proposal(stage, 0.2, approved_by=("boris",) if stage is Stage.SECONDED else ())
    if (stage, taken) in LIFE:
        after = step(given, taken, "clara", now, RULES, effect(0.2))
        assert after.stage in LIFE[stage, taken] and after.history[-1] == (now, taken.value, "clara")
    else:
        with pytest.raises(ParameterError, match=stage.value):
            step(given, taken, "clara", now, RULES, effect(0.2))


@pytest.mark.parametrize(
    ("size", "short", "unknown", "people"),
    [
        (0.0, (), (), 0),
        (0.02, (), (), 0),
        (0.02, ("X",), (), 1),
        (0.021, (), (), 1),
        (0.1, (), (), 1),
        (0.11, (), (), 2),
        (0.0, (), ("X",), 2),
    ],
)
def test_how_many_people_it_takes(size, short, unknown, people) -> None:
    assert RULES.people(effect(size, short, unknown)) == people
    assert ApprovalRules(lasts_ns=1).people(effect(0.0)) == 1  # by rule only where bounds were set


def test_small_changes_are_approved_by_rule_and_shown_all_the_same() -> None:
    after = step(proposal(), Step.SHOW, "system", 1, RULES, effect(0.01))
    assert after.stage is Stage.APPROVED and after.approved_by == (BY_RULE,) and after.effect == effect(0.01)


def test_large_changes_take_two_others() -> None:
    shown = step(proposal(), Step.SHOW, "system", 1, RULES, effect(0.5))
    with pytest.raises(ParameterError, match="proposed"):
        step(shown, Step.APPROVE, "anna", 2, RULES)
    once = step(shown, Step.APPROVE, "boris", 2, RULES)
    assert once.stage is Stage.SECONDED
    with pytest.raises(ParameterError, match="already"):
        step(once, Step.APPROVE, "boris", 3, RULES)
    twice = step(once, Step.APPROVE, "clara", 3, RULES)
    assert twice.stage is Stage.APPROVED and twice.approved_by == ("boris", "clara")
    assert step(twice, Step.ACTIVATE, "boris", 4, RULES).stage is Stage.ACTIVE


def test_what_is_old_is_proposed_again_and_what_was_active_comes_back() -> None:
    for old, taken in ((proposal(), Step.SHOW), (proposal(Stage.SHOWN, 0.05), Step.APPROVE)):
        with pytest.raises(ParameterError, match="too long ago"):
            step(old, taken, "boris", 2_000, RULES, effect(0.05))
    with pytest.raises(ParameterError, match="too long ago"):
        step(proposal(Stage.APPROVED, 0.05), Step.ACTIVATE, "boris", 2_000, RULES)
    with pytest.raises(ParameterError, match="not expired"):
        step(proposal(), Step.EXPIRE, "system", 10, RULES)
    assert step(proposal(Stage.REPLACED, 0.05), Step.ACTIVATE, "boris", 2_000_000, RULES).stage is Stage.ACTIVE


@pytest.mark.parametrize("by", ["", "x" * 65])
def test_a_name_is_a_name(by) -> None:
    with pytest.raises(ParameterError, match="characters"):
        step(proposal(Stage.SHOWN, 0.05), Step.APPROVE, by, 1, RULES)
    with pytest.raises(ParameterError, match="shown"):
        step(proposal(), Step.SHOW, "system", 1, RULES)
    with pytest.raises(ParameterError, match="not known"):
        step(proposal(Stage.SHOWN), Step.APPROVE, "boris", 1, RULES)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS, AMOUNTS), max_size=8))
def test_an_effect_never_hides_an_account(rows) -> None:
    accounts = [AccountEffect(f"A{at}", *row) for at, row in enumerate(rows)]
    found = effect_of(accounts)
    assert found.accounts == len(accounts) and found.largest_rise >= 0 and found.largest_fall >= 0
    for one in accounts:
        if all(abs(x) < 1e300 and x == x for x in (one.equity, one.margin_before, one.margin_after)):
            assert one.account not in found.unknown
            assert (one.account in found.made_short) == (one.margin_before <= one.equity < one.margin_after)
            if one.margin_before > 0:
                change = one.margin_after / one.margin_before - 1
                assert -found.largest_fall - 1e-9 <= change <= found.largest_rise * (1 + 1e-9) + 1e-9
        else:
            assert one.account in found.unknown and found.size == float("inf")


class Life(RuleBasedStateMachine):
    """Whatever is done, nothing becomes active that was not shown and approved by enough others."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.current = 0, proposal()
        self.approved: Effect | None = None  # what was known when it was; what comes back is shown anew

    @rule(
        taken=st.sampled_from(Step),
        by=st.sampled_from(["anna", "boris", "clara"]),
        size=st.sampled_from([0.0, 0.05, 0.5]),
        later=st.integers(0, 600),
    )
    def take(self, taken: Step, by: str, size: float, later: int) -> None:
        self.now += later
        try:
            self.current = step(self.current, taken, by, self.now, RULES, effect(size))
        except ParameterError:
            return
        if self.current.stage is Stage.APPROVED:
            self.approved = self.current.effect

    @invariant()
    def active_means_approved(self) -> None:
        if self.current.stage in (Stage.APPROVED, Stage.ACTIVE, Stage.REPLACED, Stage.ROLLED_BACK):
            assert self.approved is not None
            people = [name for name in self.current.approved_by if name != BY_RULE]
            assert len(set(people)) >= RULES.people(self.approved) and "anna" not in people


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
