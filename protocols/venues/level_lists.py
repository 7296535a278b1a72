"""A book message's levels from their JSON, and onto one side of a book. The compiled twin is _levels.pyx."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from protocols.venues.fields import DECODE_ERRORS, FieldError, pairs

# By how many texts a level has; those after price and amount say how many orders there are, and are not kept.
_OF_TWO: Final = msgspec.json.Decoder(list[tuple[str, str]])
_OF_FOUR: Final = msgspec.json.Decoder(list[tuple[str, str, str, str]])


def read_levels(raw: msgspec.Raw, width: int, field: str) -> list[tuple[Decimal, Decimal]]:
    """Return (price, amount) of levels that the venue writes as arrays of `width` (2 or 4) texts.

    Raises FieldError, which names the field, where that is not what they are.
    """
    try:
        wire = _OF_TWO.decode(raw) if width == 2 else [(level[0], level[1]) for level in _OF_FOUR.decode(raw)]
    except DECODE_ERRORS as error:
        raise FieldError(f"{field}: {error}") from None
    return pairs(wire, field)


def set_levels(
    levels: dict[Decimal, Decimal], heap: list[Decimal], is_bid: bool, changes: Iterable[tuple[Decimal, Decimal]]
) -> None:
    """Put each amount at its price, 0 removes; what is a new price goes onto the heap, a bid's negated."""
    for price, amount in changes:
        if amount:
            count = len(levels)
            levels[price] = amount
            if len(levels) != count:  # a new price; asked so, it is hashed once
                heapq.heappush(heap, price.copy_negate() if is_bid else price)
        else:
            levels.pop(price, None)
