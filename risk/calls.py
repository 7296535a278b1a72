"""A margin call: how much, and its life as a table: (state, what happened) -> state. An absent row is an error.

    amount = max(0, requirement - held - threshold), nothing below the minimum transfer amount, rounded up

A dispute does not stop the clock: what is not disputed is due by the deadline, and what is disputed goes to a person.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from risk.lifecycle import follow


class CallState(StrEnum):
    """How a margin call stands."""

    ISSUED = "issued"
    RECEIVED = "received"
    AGREED = "agreed"
    DISPUTED = "disputed"
    PARTLY_MET = "partly_met"
    ESCALATED = "escalated"
    MET = "met"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class CallHappening(StrEnum):
    """What can happen to a margin call."""

    RECEIVED = "received"
    AGREED = "agreed"
    DISPUTED = "disputed"
    PAID_PART = "paid in part"
    PAID_ALL = "paid"
    REVERSED = "unpaid again"
    ESCALATED = "escalated"
    UPHELD = "upheld"
    LAPSED = "lapsed"
    RECOVERED = "superseded"


_C, _H = CallState, CallHappening

TABLE: Final[dict[tuple[CallState, CallHappening], CallState]] = {
    (_C.ISSUED, _H.RECEIVED): _C.RECEIVED,
    (_C.ISSUED, _H.AGREED): _C.AGREED,
    (_C.ISSUED, _H.DISPUTED): _C.DISPUTED,
    (_C.ISSUED, _H.PAID_PART): _C.PARTLY_MET,
    (_C.ISSUED, _H.PAID_ALL): _C.MET,
    (_C.ISSUED, _H.LAPSED): _C.EXPIRED,
    (_C.ISSUED, _H.RECOVERED): _C.SUPERSEDED,
    (_C.RECEIVED, _H.RECEIVED): _C.RECEIVED,
    (_C.RECEIVED, _H.AGREED): _C.AGREED,
    (_C.RECEIVED, _H.DISPUTED): _C.DISPUTED,
    (_C.RECEIVED, _H.PAID_PART): _C.PARTLY_MET,
    (_C.RECEIVED, _H.PAID_ALL): _C.MET,
    (_C.RECEIVED, _H.LAPSED): _C.EXPIRED,
    (_C.RECEIVED, _H.RECOVERED): _C.SUPERSEDED,
    # What was agreed is not disputed any more; the acknowledgement may trail.
    (_C.AGREED, _H.RECEIVED): _C.AGREED,
    (_C.AGREED, _H.AGREED): _C.AGREED,
    (_C.AGREED, _H.PAID_PART): _C.PARTLY_MET,
    (_C.AGREED, _H.PAID_ALL): _C.MET,
    # Agreed after a dispute, or upheld, with a part paid already.
    (_C.AGREED, _H.REVERSED): _C.AGREED,
    (_C.AGREED, _H.LAPSED): _C.EXPIRED,
    (_C.AGREED, _H.RECOVERED): _C.SUPERSEDED,
    (_C.DISPUTED, _H.RECEIVED): _C.DISPUTED,
    (_C.DISPUTED, _H.AGREED): _C.AGREED,
    (_C.DISPUTED, _H.DISPUTED): _C.DISPUTED,
    (_C.DISPUTED, _H.PAID_PART): _C.DISPUTED,
    (_C.DISPUTED, _H.PAID_ALL): _C.MET,
    (_C.DISPUTED, _H.REVERSED): _C.DISPUTED,
    # At the deadline: the undisputed part is there, so a person decides; or it is not.
    (_C.DISPUTED, _H.ESCALATED): _C.ESCALATED,
    (_C.DISPUTED, _H.LAPSED): _C.EXPIRED,
    (_C.DISPUTED, _H.UPHELD): _C.AGREED,
    (_C.DISPUTED, _H.RECOVERED): _C.SUPERSEDED,
    (_C.PARTLY_MET, _H.RECEIVED): _C.PARTLY_MET,
    (_C.PARTLY_MET, _H.AGREED): _C.PARTLY_MET,
    (_C.PARTLY_MET, _H.DISPUTED): _C.DISPUTED,
    (_C.PARTLY_MET, _H.PAID_PART): _C.PARTLY_MET,
    (_C.PARTLY_MET, _H.PAID_ALL): _C.MET,
    (_C.PARTLY_MET, _H.REVERSED): _C.PARTLY_MET,
    (_C.PARTLY_MET, _H.LAPSED): _C.EXPIRED,
    (_C.PARTLY_MET, _H.RECOVERED): _C.SUPERSEDED,
    (_C.ESCALATED, _H.RECEIVED): _C.ESCALATED,
    (_C.ESCALATED, _H.AGREED): _C.AGREED,
    (_C.ESCALATED, _H.PAID_PART): _C.ESCALATED,
    (_C.ESCALATED, _H.PAID_ALL): _C.MET,
    (_C.ESCALATED, _H.REVERSED): _C.ESCALATED,
    (_C.ESCALATED, _H.UPHELD): _C.AGREED,
    (_C.ESCALATED, _H.LAPSED): _C.EXPIRED,
    (_C.ESCALATED, _H.RECOVERED): _C.SUPERSEDED,
    (_C.MET, _H.RECEIVED): _C.MET,
    (_C.MET, _H.AGREED): _C.MET,
    # A transfer that was taken back has not paid: the call stands again, under the deadline that it had.
    (_C.MET, _H.REVERSED): _C.PARTLY_MET,
    # The client's words and a payment may cross the end of a call. They change nothing: a late payment is collateral
    # like any other, and the account's ratio tells.
    (_C.EXPIRED, _H.RECEIVED): _C.EXPIRED,
    (_C.EXPIRED, _H.AGREED): _C.EXPIRED,
    (_C.EXPIRED, _H.PAID_PART): _C.EXPIRED,
    (_C.EXPIRED, _H.PAID_ALL): _C.EXPIRED,
    (_C.EXPIRED, _H.REVERSED): _C.EXPIRED,
    (_C.SUPERSEDED, _H.RECEIVED): _C.SUPERSEDED,
    (_C.SUPERSEDED, _H.AGREED): _C.SUPERSEDED,
    (_C.SUPERSEDED, _H.REVERSED): _C.SUPERSEDED,
}

# States in which something is still asked for.
OPEN: Final = frozenset({_C.ISSUED, _C.RECEIVED, _C.AGREED, _C.DISPUTED, _C.PARTLY_MET, _C.ESCALATED})


def next_state(state: CallState, happening: CallHappening) -> CallState:
    """Return the state after `happening`.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such row.
    """
    return follow(TABLE, state, happening, "a call")


class CallTerms(msgspec.Struct, frozen=True):
    """How a client is called. Money in units of 1e-8 USD, times in ns.

    `target_bps`: a call asks for what brings the ratio there. `dispute_ns`: how long a person has for a dispute, from
    the deadline on; `grace_ns`: how long an account whose call expired may reduce by itself.
    """

    target_bps: int
    threshold_units: int
    minimum_units: int
    step_units: int
    cure_ns: int
    dispute_ns: int
    grace_ns: int

    def __post_init__(self) -> None:
        amounts = (self.threshold_units, self.minimum_units, self.cure_ns, self.dispute_ns, self.grace_ns)
        if min(amounts) < 0 or self.step_units < 1 or self.target_bps < 1:
            raise ValueError("amounts and times are not negative, the step and the target are positive")


class Call(msgspec.Struct):
    """One margin call. `undisputed_units` is all of it until the client disputes."""

    call_id: str
    amount_units: int
    deadline_ns: int
    undisputed_units: int
    paid_units: int = 0
    state: CallState = CallState.ISSUED

    @property
    def is_open(self) -> bool:
        """Whether something is still asked for."""
        return self.state in OPEN

    @property
    def outstanding_units(self) -> int:
        """What is still asked for."""
        return self.amount_units - self.paid_units if self.is_open else 0

    @property
    def due_units(self) -> int:
        """What is due at the deadline: of a disputed call the undisputed part, less what was paid."""
        return max(0, self.undisputed_units - self.paid_units) if self.is_open else 0

    def happen(self, happening: CallHappening) -> None:
        """Move to the next state; raises IllegalTransitionError where there is none, and nothing has changed then."""
        self.state = next_state(self.state, happening)


def call_amount(requirement_units: int, held_units: int, terms: CallTerms) -> int:
    """Return what is called for, in units of 1e-8 USD; 0 where nothing is.

    The threshold is what a client may owe unsecured; what remains is not worth a transfer below the minimum, and is
    rounded up to whole steps: rounding is against the client.
    """
    short = requirement_units - held_units - terms.threshold_units
    if short <= 0 or short < terms.minimum_units:
        return 0
    return -(-short // terms.step_units) * terms.step_units
