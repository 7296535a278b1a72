"""Calls that a clearing house makes on us, as a table: (state, what happened) -> state. An absent row is an error."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from risk.lifecycle import follow

MAX_OPEN: Final = 1_000
ENDED_KEPT: Final = 1_000


class HouseCallState(StrEnum):
    """How a clearing house's call stands."""

    OPEN = "open"
    MET = "met"
    EXPIRED = "expired"


class HouseCallHappening(StrEnum):
    """What can happen to it."""

    MET = "met"
    LAPSED = "lapsed"
    REVERSED = "unpaid again"


_S, _H = HouseCallState, HouseCallHappening

TABLE: Final[dict[tuple[HouseCallState, HouseCallHappening], HouseCallState]] = {
    (_S.OPEN, _H.MET): _S.MET,
    (_S.OPEN, _H.LAPSED): _S.EXPIRED,
    # Late money meets it all the same: what a house does about the delay is between people.
    (_S.EXPIRED, _H.MET): _S.MET,
    (_S.MET, _H.REVERSED): _S.OPEN,
}


def next_state(state: HouseCallState, happening: HouseCallHappening) -> HouseCallState:
    """Return the state after `happening`; raises IllegalTransitionError where the table has no such row."""
    return follow(TABLE, state, happening, "a clearing house's call")


class HouseCall(msgspec.Struct):
    """One call: so much collateral, in units of 1e-8 USD, is to be at the house by the deadline."""

    counterparty: str
    request_id: str
    account: str
    amount_units: int
    deadline_ns: int
    state: HouseCallState = HouseCallState.OPEN

    @property
    def is_wanted(self) -> bool:
        """Whether it is still to be met: after its deadline, too."""
        return self.state is not HouseCallState.MET


class HouseCalls:
    """All calls of all houses, by (counterparty, CollReqID); changed by what was decided only."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], HouseCall] = {}

    def wanted(self) -> list[HouseCall]:
        """Return the calls that are not met, oldest first."""
        return [call for call in self.calls.values() if call.is_wanted]

    def parts(self) -> list[Any]:
        """Return all of it in a fixed order, for the state's hash."""
        return [msgspec.to_builtins(call) for call in self.calls.values()]

    def open(self, call: HouseCall) -> None:
        """Keep a new call; one that is known stays as it is."""
        self.calls.setdefault((call.counterparty, call.request_id), call)
        met = [key for key, one in self.calls.items() if not one.is_wanted]
        for key in met[: max(0, len(met) - ENDED_KEPT)]:
            del self.calls[key]

    def move(self, counterparty: str, request_id: str, happening: HouseCallHappening) -> None:
        """Something happened to a call; raises IllegalTransitionError where that can not be."""
        call = self.calls[counterparty, request_id]
        call.state = next_state(call.state, happening)
