"""The life of a hold as a table: (state, what happened) -> state. An absent row is refused, and nothing changes.

A hold is an order that its owner sends to a venue by itself: here it is checked, and its margin held, until the owner
has told of its fills and has released what is left. The venue is not asked, so nothing here ends a hold by itself: one
whose deadline has passed is UNKNOWN, and holds on until its owner or a person says how it ended.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from risk.lifecycle import follow


class HoldState(StrEnum):
    """How a hold stands."""

    HELD = "held"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    RELEASED = "released"
    UNKNOWN = "unknown"


class HoldHappening(StrEnum):
    """What can happen to a hold."""

    PARTLY_FILLED = "partly filled"
    FILLED = "filled"
    RELEASED = "released"
    OVERDUE = "overdue"


_S, _H = HoldState, HoldHappening

TABLE: Final[dict[tuple[HoldState, HoldHappening], HoldState]] = {
    (_S.HELD, _H.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.HELD, _H.FILLED): _S.FILLED,
    (_S.HELD, _H.RELEASED): _S.RELEASED,
    (_S.HELD, _H.OVERDUE): _S.UNKNOWN,
    (_S.PARTLY_FILLED, _H.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.PARTLY_FILLED, _H.FILLED): _S.FILLED,
    (_S.PARTLY_FILLED, _H.RELEASED): _S.RELEASED,
    (_S.PARTLY_FILLED, _H.OVERDUE): _S.UNKNOWN,
    # A fill tells of one execution, and nothing of the rest, whose deadline has passed.
    (_S.UNKNOWN, _H.PARTLY_FILLED): _S.UNKNOWN,
    (_S.UNKNOWN, _H.FILLED): _S.FILLED,
    (_S.UNKNOWN, _H.RELEASED): _S.RELEASED,
    # What traded, traded: a fill after the end is booked, the state stays, and the account may only reduce from there.
    (_S.FILLED, _H.PARTLY_FILLED): _S.FILLED,
    (_S.FILLED, _H.FILLED): _S.FILLED,
    (_S.RELEASED, _H.PARTLY_FILLED): _S.RELEASED,
    (_S.RELEASED, _H.FILLED): _S.RELEASED,
    # The answer to a release may have been lost: the same again is the same.
    (_S.RELEASED, _H.RELEASED): _S.RELEASED,
}

# States in which margin is held.
HOLDING: Final = frozenset({_S.HELD, _S.PARTLY_FILLED, _S.UNKNOWN})


def next_state(state: HoldState, happening: HoldHappening) -> HoldState:
    """Return the state after `happening`.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such row.
    """
    return follow(TABLE, state, happening, "a hold")
