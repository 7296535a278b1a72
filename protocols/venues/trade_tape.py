"""The last public trades of one instrument, counted, so that a reader knows what it has not seen."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from itertools import islice

import msgspec

# A reader that is further behind is told the last ones only.
TRADES_KEPT = 100


class PublicTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade that the venue told everybody. `is_buy`: the taker bought."""

    trade_id: str
    price: Decimal
    amount: Decimal
    is_buy: bool
    time_ns: int


class TradeTape:
    """`count` is how many trades there have been; the last TRADES_KEPT of them are at hand."""

    __slots__ = ("_kept", "count")

    def __init__(self) -> None:
        self.count = 0
        self._kept: deque[PublicTrade] = deque(maxlen=TRADES_KEPT)

    def add(self, trade: PublicTrade) -> None:
        self._kept.append(trade)
        self.count += 1

    @property
    def last(self) -> PublicTrade | None:
        return self._kept[-1] if self._kept else None

    def since(self, count: int) -> list[PublicTrade]:
        """Return the trades after the first `count`, oldest first, as far as they are kept."""
        missed = min(self.count - count, len(self._kept))
        return list(islice(self._kept, len(self._kept) - missed, None)) if missed > 0 else []
