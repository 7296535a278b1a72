"""The life of an order as a table: (status, what happened) -> status. An absent row is an error.

The statuses are FIX OrdStatus(39), and one of our own: UNKNOWN, sent to the venue with no answer, which keeps its
margin until the venue has answered by client id.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

State = TypeVar("State", bound=StrEnum)
What = TypeVar("What", bound=StrEnum)


class OrdStatus(StrEnum):
    """FIX OrdStatus(39) values; UNKNOWN is ours and shows as PENDING_NEW outside."""

    NEW = "0"
    PARTIALLY_FILLED = "1"
    FILLED = "2"
    CANCELED = "4"
    REJECTED = "8"
    EXPIRED = "C"
    PENDING_NEW = "A"
    UNKNOWN = "U"


class Happening(StrEnum):
    """What a venue said, or failed to say."""

    ACCEPTED = "accepted"
    PARTLY_FILLED = "partly filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    LOST = "lost"


class IllegalTransitionError(Exception):
    """What happened can not happen to an order in this status: the account must halt."""


def follow(table: Mapping[tuple[State, What], State], state: State, what: What, whose: str, can: str = "be") -> State:
    """Return the state that a table says comes after `what`.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such row; `whose` and `can` are of its text.
    """
    try:
        return table[state, what]
    except KeyError:
        raise IllegalTransitionError(f"{whose} that is {state} can not {can} {what}") from None


_S, _H = OrdStatus, Happening

TABLE: Final[dict[tuple[OrdStatus, Happening], OrdStatus]] = {
    (_S.PENDING_NEW, _H.ACCEPTED): _S.NEW,
    (_S.PENDING_NEW, _H.PARTLY_FILLED): _S.PARTIALLY_FILLED,  # the fill may come before the acknowledgement
    (_S.PENDING_NEW, _H.FILLED): _S.FILLED,
    (_S.PENDING_NEW, _H.CANCELLED): _S.CANCELED,  # IOC without a match
    (_S.PENDING_NEW, _H.REJECTED): _S.REJECTED,
    (_S.PENDING_NEW, _H.LOST): _S.UNKNOWN,
    (_S.UNKNOWN, _H.ACCEPTED): _S.NEW,
    (_S.UNKNOWN, _H.PARTLY_FILLED): _S.PARTIALLY_FILLED,
    (_S.UNKNOWN, _H.FILLED): _S.FILLED,
    (_S.UNKNOWN, _H.CANCELLED): _S.CANCELED,
    (_S.UNKNOWN, _H.REJECTED): _S.REJECTED,
    (_S.UNKNOWN, _H.LOST): _S.UNKNOWN,
    (_S.NEW, _H.ACCEPTED): _S.NEW,
    (_S.NEW, _H.PARTLY_FILLED): _S.PARTIALLY_FILLED,
    (_S.NEW, _H.FILLED): _S.FILLED,
    (_S.NEW, _H.CANCELLED): _S.CANCELED,
    (_S.PARTIALLY_FILLED, _H.ACCEPTED): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _H.PARTLY_FILLED): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _H.FILLED): _S.FILLED,
    (_S.PARTIALLY_FILLED, _H.CANCELLED): _S.CANCELED,
    # Cancelled at the venue because its time had come (GTD).
    (_S.PENDING_NEW, _H.EXPIRED): _S.EXPIRED,
    (_S.UNKNOWN, _H.EXPIRED): _S.EXPIRED,
    (_S.NEW, _H.EXPIRED): _S.EXPIRED,
    (_S.PARTIALLY_FILLED, _H.EXPIRED): _S.EXPIRED,
    # A fill that the venue made before it cancelled may be told after: the position is right, the status stays.
    (_S.CANCELED, _H.PARTLY_FILLED): _S.CANCELED,
    (_S.CANCELED, _H.FILLED): _S.FILLED,
    (_S.EXPIRED, _H.PARTLY_FILLED): _S.EXPIRED,
    (_S.EXPIRED, _H.FILLED): _S.FILLED,
    # An acknowledgement may trail the end of its order.
    (_S.FILLED, _H.ACCEPTED): _S.FILLED,
    (_S.CANCELED, _H.ACCEPTED): _S.CANCELED,
    (_S.CANCELED, _H.CANCELLED): _S.CANCELED,
    (_S.EXPIRED, _H.ACCEPTED): _S.EXPIRED,
    (_S.EXPIRED, _H.EXPIRED): _S.EXPIRED,
}

WORKING: Final = frozenset({_S.PENDING_NEW, _S.UNKNOWN, _S.NEW, _S.PARTIALLY_FILLED})


def next_status(status: OrdStatus, happening: Happening) -> OrdStatus:
    """Return the status after `happening`.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such row.
    """
    try:
        return TABLE[status, happening]
    except KeyError:
        raise IllegalTransitionError(f"an order that is {status.name} can not be {happening.value}") from None
