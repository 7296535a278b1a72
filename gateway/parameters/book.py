"""The life of margin parameters in the book: proposals, the one in force, and how far the marks have moved it.

Part of the ledger: changed by records only. Decisions are made before they are journalled (parameters/running.py);
what is recorded is their outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.parameters.file import ParameterFile, decoded
from gateway.records.parameters import (
    ParametersActivated,
    ParametersProposed,
    ParametersRescaled,
    ParametersShown,
    ParametersStepped,
)
from risk.parameter_life import BY_RULE, Effect, Proposal, Stage, Step
from risk.parameter_set import ParameterSet

if TYPE_CHECKING:
    from gateway.ledger import Ledger

# A year of nightly proposals. What ended is forgotten first, then what was replaced longest ago; the journal has all.
PROPOSALS_KEPT: Final = 400
# What the configuration says, without any parameters.
OF_CONFIGURATION: Final = 0
_ENDED: Final = (Stage.REJECTED, Stage.EXPIRED, Stage.ROLLED_BACK)


class ParameterBook:
    """Proposals by number, oldest first, and what is in force."""

    def __init__(self) -> None:
        self.proposals: dict[int, Proposal] = {}
        self.files: dict[int, ParameterFile] = {}
        self.reasons: dict[int, str] = {}
        self.worst: dict[int, tuple[tuple[str, float, float, float], ...]] = {}
        self.count = 0
        self.active = OF_CONFIGURATION
        self.active_since_ns = 0
        # Of the set in force, by coin; and since when.
        self.ratio_bps: dict[str, int] = {}
        self.rescaled_ns = 0

    @property
    def in_force(self) -> ParameterSet | None:
        """The set that acts; None where it is the configuration's own."""
        return None if self.active == OF_CONFIGURATION else self.files[self.active].parameters

    def waiting(self, *stages: Stage) -> list[Proposal]:
        """Proposals at these stages, oldest first."""
        return [one for one in self.proposals.values() if one.stage in stages]

    def parts(self) -> list[Any]:
        """Return all that a restart must bring back, in a fixed order, for the state's hash."""
        proposals = [msgspec.to_builtins(one) for _, one in sorted(self.proposals.items())]
        return [proposals, self.count, self.active, sorted(self.ratio_bps.items()), self.rescaled_ns]

    def proposed(self, record: ParametersProposed, time_ns: int) -> None:
        """Know a proposal. Raises ParameterFileError: the journal's bytes are not what was hashed."""
        self.files[record.number] = decoded(record.content, record.parameters_hash)
        history = ((time_ns, "propose", record.proposed_by),)
        self.proposals[record.number] = Proposal(
            record.number, record.parameters_hash, record.proposed_by, time_ns, history=history
        )
        self.reasons[record.number] = record.reason
        self.count = record.number
        if len(self.proposals) > PROPOSALS_KEPT:
            self._forget_one()

    def stepped(self, record: ParametersStepped, time_ns: int) -> None:
        """Take the outcome of a step over."""
        one = self.proposals[record.number]
        approved = (*one.approved_by, record.by) if record.step == Step.APPROVE.value else one.approved_by
        self._move(one, record.stage, time_ns, record.step, record.by, approved_by=approved)

    def shown(self, record: ParametersShown, time_ns: int) -> None:
        """Know what a proposal does to all accounts; of the configuration's own the journal alone keeps it."""
        if record.number == OF_CONFIGURATION:
            return
        one = self.proposals[record.number]
        effect = Effect(
            record.accounts,
            record.total_before,
            record.total_after,
            record.largest_rise,
            record.largest_fall,
            record.made_short,
            record.unknown,
        )
        approved = (BY_RULE,) if record.stage == Stage.APPROVED.value else one.approved_by
        self.worst[record.number] = record.worst
        self._move(one, record.stage, time_ns, Step.SHOW.value, record.by, approved_by=approved, effect=effect)

    def activated(self, record: ParametersActivated, time_ns: int) -> None:
        """Put a set in force, in place of another."""
        if record.replaces != OF_CONFIGURATION:
            step = Step.ROLL_BACK if record.is_rollback else Step.REPLACE
            stage = Stage.ROLLED_BACK if record.is_rollback else Stage.REPLACED
            self._move(self.proposals[record.replaces], stage.value, time_ns, step.value, record.by)
        if record.number != OF_CONFIGURATION:
            one = self.proposals[record.number]
            self._move(one, Stage.ACTIVE.value, time_ns, Step.ACTIVATE.value, record.by)
        self.active, self.active_since_ns = record.number, time_ns
        self.ratio_bps, self.rescaled_ns = {}, time_ns

    def rescaled(self, record: ParametersRescaled, time_ns: int) -> None:
        """Move the scenarios of the set in force."""
        self.ratio_bps, self.rescaled_ns = dict(record.ratios_bps), time_ns

    def _move(self, one: Proposal, stage: str, time_ns: int, step: str, by: str, **changes: Any) -> None:
        history = (*one.history, (time_ns, step, by))
        self.proposals[one.number] = msgspec.structs.replace(one, stage=Stage(stage), history=history, **changes)

    def _forget_one(self) -> None:
        others = [one for one in self.proposals.values() if one.number not in (self.active, self.count)]
        gone = min(others, key=lambda one: (one.stage not in _ENDED, one.number))
        for kept in (self.proposals, self.files, self.reasons, self.worst):
            kept.pop(gone.number, None)


def _applied(name: str) -> Callable[[Ledger, Any], None]:
    def apply(ledger: Ledger, record: Any) -> None:
        getattr(ledger.parameters, name)(record, ledger.time_ns)

    return apply


APPLIES: Final[Mapping[type, Callable[[Ledger, Any], None]]] = {
    ParametersProposed: _applied("proposed"),
    ParametersStepped: _applied("stepped"),
    ParametersShown: _applied("shown"),
    ParametersActivated: _applied("activated"),
    ParametersRescaled: _applied("rescaled"),
}
