"""The life of a set of margin parameters: proposed, its effect shown, approved, active, and back again.

Nothing acts before its effect on every account is known. A change within set bounds that leaves nobody short is passed
by rule; a larger one takes a person, a large one two different ones, and never only the one who proposed it. What was
active stays ready to be rolled back to.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import isfinite
from typing import Final

import msgspec

MAX_NAME: Final = 64
# Who approves what stayed within the bounds.
BY_RULE: Final = "by rule"


class Stage(StrEnum):
    """Where a set of parameters is in its life."""

    PROPOSED = "proposed"
    SHOWN = "shown"
    SECONDED = "seconded"  # approved by one person, and it takes two
    APPROVED = "approved"
    ACTIVE = "active"
    REPLACED = "replaced"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ROLLED_BACK = "rolled back"


class Step(StrEnum):
    """What can happen to it."""

    SHOW = "show"
    APPROVE = "approve"
    REJECT = "reject"
    EXPIRE = "expire"
    ACTIVATE = "activate"
    REPLACE = "replace"
    ROLL_BACK = "roll back"


# (stage, step) -> the stages that can follow; an absent row is refused.
LIFE: Final[Mapping[tuple[Stage, Step], tuple[Stage, ...]]] = {
    (Stage.PROPOSED, Step.SHOW): (Stage.SHOWN, Stage.APPROVED),
    (Stage.PROPOSED, Step.REJECT): (Stage.REJECTED,),
    (Stage.PROPOSED, Step.EXPIRE): (Stage.EXPIRED,),
    (Stage.SHOWN, Step.SHOW): (Stage.SHOWN,),
    (Stage.SHOWN, Step.APPROVE): (Stage.SECONDED, Stage.APPROVED),
    (Stage.SHOWN, Step.REJECT): (Stage.REJECTED,),
    (Stage.SHOWN, Step.EXPIRE): (Stage.EXPIRED,),
    (Stage.SECONDED, Step.APPROVE): (Stage.APPROVED,),
    (Stage.SECONDED, Step.REJECT): (Stage.REJECTED,),
    (Stage.SECONDED, Step.EXPIRE): (Stage.EXPIRED,),
    (Stage.APPROVED, Step.REJECT): (Stage.REJECTED,),
    (Stage.APPROVED, Step.EXPIRE): (Stage.EXPIRED,),
    (Stage.APPROVED, Step.ACTIVATE): (Stage.ACTIVE,),
    (Stage.ACTIVE, Step.REPLACE): (Stage.REPLACED,),
    (Stage.ACTIVE, Step.ROLL_BACK): (Stage.ROLLED_BACK,),
    # What comes back is shown before it does.
    (Stage.REPLACED, Step.SHOW): (Stage.REPLACED,),
    (Stage.REPLACED, Step.ACTIVATE): (Stage.ACTIVE,),
}


class ParameterError(ValueError):
    """A step that is not to be taken; the text says why."""


class AccountEffect(msgspec.Struct, frozen=True):
    """One account under the parameters of now and under the proposed ones, all in USD."""

    account: str
    equity: float
    margin_before: float
    margin_after: float

    @property
    def is_made_short(self) -> bool:
        """Whether the change alone takes the account's margin above its equity; unknown counts as that."""
        return not self.margin_after <= self.equity and self.margin_before <= self.equity


class Effect(msgspec.Struct, frozen=True):
    """What a change does to all accounts; relative changes are of an account's margin, of those that have any."""

    accounts: int
    total_before: float
    total_after: float
    largest_rise: float
    largest_fall: float
    made_short: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def size(self) -> float:
        """The larger of the two relative changes; infinite where any account's margin is unknown."""
        return float("inf") if self.unknown else max(self.largest_rise, self.largest_fall)


def effect_of(accounts: list[AccountEffect]) -> Effect:
    """Sum up what a change does. A margin from nothing is a rise of one for each dollar of equity, if there is any."""
    rises, falls, unknown = [0.0], [0.0], []
    for one in accounts:
        before, after = one.margin_before, one.margin_after
        if not (isfinite(before) and isfinite(after) and isfinite(one.equity)):
            unknown.append(one.account)
            continue
        base = before if before > 0 else max(one.equity, after, 1.0)
        rises.append((after - before) / base)
        falls.append((before - after) / base)
    known = [one for one in accounts if one.account not in set(unknown)]
    return Effect(
        len(accounts),
        sum((one.margin_before for one in known), 0.0),
        sum((one.margin_after for one in known), 0.0),
        max(rises),
        max(falls),
        tuple(one.account for one in known if one.is_made_short),
        tuple(unknown),
    )


class ApprovalRules(msgspec.Struct, frozen=True):
    """Sizes are relative changes of any account's margin. Zero for `automatic_within`: never by rule."""

    automatic_within: float = 0.0
    two_people_above: float = 0.1
    lasts_ns: int = 24 * 3600 * 1_000_000_000

    def people(self, effect: Effect) -> int:
        """How many people it takes: none, one or two. A fall needs as many eyes as a rise."""
        if effect.size > self.two_people_above:
            return 2
        is_small = effect.size <= self.automatic_within and not effect.made_short and self.automatic_within > 0
        return 0 if is_small else 1


class Proposal(msgspec.Struct, frozen=True):
    """One set of parameters in its life. `identity` is of what is proposed; `history`: what happened, and when."""

    number: int
    identity: str
    proposed_by: str
    proposed_ns: int
    stage: Stage = Stage.PROPOSED
    effect: Effect | None = None
    approved_by: tuple[str, ...] = ()
    history: tuple[tuple[int, str, str], ...] = ()


def step(
    proposal: Proposal, taken: Step, by: str, now_ns: int, rules: ApprovalRules, effect: Effect | None = None
) -> Proposal:
    """Take a step, and return the proposal as it is after it.

    Raises
    ------
    ParameterError
        If the step is not one of its stage; no effect is known; the approver proposed it, or has approved it already;
        it is too old; the name is empty or too long; or it would expire before its time.
    """
    after = LIFE.get((proposal.stage, taken))
    if after is None:
        raise ParameterError(f"parameters {proposal.number} are {proposal.stage.value}: no {taken.value}")
    if not 0 < len(by) <= MAX_NAME:
        raise ParameterError(f"a name has 1 to {MAX_NAME} characters")
    is_old = now_ns - proposal.proposed_ns > rules.lasts_ns
    if taken is Step.EXPIRE and not is_old:
        raise ParameterError(f"parameters {proposal.number} have not expired yet")
    if taken in (Step.APPROVE, Step.SHOW) and is_old and proposal.stage is not Stage.REPLACED:
        raise ParameterError(f"parameters {proposal.number} were proposed too long ago: propose them again")
    # What was replaced may come back at any age; what was never active may not.
    if taken is Step.ACTIVATE and is_old and proposal.stage is Stage.APPROVED:
        raise ParameterError(f"parameters {proposal.number} were approved too long ago: propose them again")
    stage, approved = after[0], proposal.approved_by
    known = effect if taken is Step.SHOW else proposal.effect
    if taken is Step.SHOW:
        if effect is None:
            raise ParameterError("an effect is what is shown")
        if proposal.stage is Stage.PROPOSED and rules.people(effect) == 0:
            stage, approved = Stage.APPROVED, (BY_RULE,)
    elif taken is Step.APPROVE:
        stage, approved = _approved(proposal, by, rules)
    return msgspec.structs.replace(
        proposal,
        stage=stage,
        effect=known,
        approved_by=approved,
        history=(*proposal.history, (now_ns, taken.value, by)),
    )


def _approved(proposal: Proposal, by: str, rules: ApprovalRules) -> tuple[Stage, tuple[str, ...]]:
    if proposal.effect is None:
        raise ParameterError(f"the effect of parameters {proposal.number} is not known")
    if by in proposal.approved_by:
        raise ParameterError(f"{by} has approved parameters {proposal.number} already: another person has to")
    if by in (proposal.proposed_by, BY_RULE):
        raise ParameterError(f"{by} proposed parameters {proposal.number}: another person has to approve them")
    approved = (*proposal.approved_by, by)
    return (Stage.APPROVED if len(approved) >= rules.people(proposal.effect) else Stage.SECONDED), approved
