"""One instrument's price levels, kept from a snapshot and a chain of changes.

The chain rule is the same for every venue that numbers its messages: a change names the message before it, and
what it names must be the last one applied. Anything else leaves the book unusable until the next snapshot.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TypeAlias

from protocols.venues.levels import set_levels

Level: TypeAlias = tuple[Decimal, Decimal]  # price, amount

_ONE = Decimal(1)
# A venue's raw book of a busy perpetual holds a few thousand levels a side.
MAX_LEVELS = 20_000
# A heap keeps prices that have gone until they surface; past this many it is built again.
STALE_ALLOWANCE = 64
# Why a book is not usable before its first snapshot.
NO_SNAPSHOT = "no snapshot yet"


class BookSide:
    """Levels of one side by price, with the best at the root of a heap.

    A deleted price stays in the heap until it surfaces, so a change costs O(log n) at most, a deletion O(1), and
    the best O(1) between deletions of the best. Bids are kept in the heap as negated prices.
    """

    __slots__ = ("_heap", "_is_bid", "levels")

    def __init__(self, is_bid: bool) -> None:
        self._is_bid = is_bid
        self.levels: dict[Decimal, Decimal] = {}
        self._heap: list[Decimal] = []

    def reset(self, levels: Iterable[Level]) -> None:
        self.levels = {price: amount for price, amount in levels if amount}
        self._rebuild()

    def set(self, price: Decimal, amount: Decimal) -> None:
        """Put `amount` at `price`; 0 removes the level, and removing a level that is not there is nothing."""
        self.update(((price, amount),))

    def update(self, changes: Iterable[Level]) -> None:
        """Put each amount at its price, as `set` does."""
        levels, heap = self.levels, self._heap
        set_levels(levels, heap, self._is_bid, changes)
        if len(heap) > 2 * len(levels) + STALE_ALLOWANCE:
            self._rebuild()

    def best(self) -> Decimal | None:
        heap, levels = self._heap, self.levels
        while heap:
            price = heap[0].copy_negate() if self._is_bid else heap[0]
            if price in levels:
                return price
            heapq.heappop(heap)
        return None

    def depth(self, count: int) -> list[Level]:
        """Return the `count` best levels, best first."""
        pick = heapq.nlargest if self._is_bid else heapq.nsmallest
        return [(price, self.levels[price]) for price in pick(count, self.levels)]

    def _rebuild(self) -> None:
        self._heap = [price.copy_negate() for price in self.levels] if self._is_bid else list(self.levels)
        heapq.heapify(self._heap)


class Touched:
    """Prices whose levels may have changed since somebody looked. `is_all`: they were all replaced, or too many."""

    __slots__ = ("asks", "bids", "is_all")

    def __init__(self) -> None:
        self.bids: set[Decimal] = set()
        self.asks: set[Decimal] = set()
        self.is_all = True

    def note(self, bids: Iterable[Level], asks: Iterable[Level], max_prices: int) -> None:
        if self.is_all:
            return
        self.bids.update(price for price, _ in bids)
        self.asks.update(price for price, _ in asks)
        if len(self.bids) + len(self.asks) > max_prices:
            self.replace()

    def replace(self) -> None:
        self.is_all = True
        self.bids.clear()
        self.asks.clear()


class OrderBook:
    """Both sides of one instrument, and whether they may be used.

    `sequence` is the number of the last message applied, `time_ns` the venue's timestamp of it. `reason` says why
    the book is not usable; what it holds then is old and for display at most. `touched` is None until a reader asks.
    Amounts are as the venue writes them, since its checksum may need them so; `unit` makes them quantities: the value
    of one contract where it counts those.
    """

    __slots__ = ("asks", "bids", "max_levels", "reason", "sequence", "symbol", "time_ns", "touched", "unit")

    def __init__(self, symbol: str, max_levels: int = MAX_LEVELS, unit: Decimal = _ONE) -> None:
        self.symbol = symbol
        self.unit = unit
        self.bids = BookSide(is_bid=True)
        self.asks = BookSide(is_bid=False)
        self.max_levels = max_levels
        self.sequence = -1
        self.time_ns = 0
        self.reason = NO_SNAPSHOT
        self.touched: Touched | None = None

    def __repr__(self) -> str:
        return f"OrderBook({self.symbol}, {len(self.bids.levels)} x {len(self.asks.levels)}, {self.reason or 'usable'})"

    @property
    def is_usable(self) -> bool:
        return not self.reason

    @property
    def best_bid(self) -> Decimal | None:
        return self.bids.best()

    @property
    def best_ask(self) -> Decimal | None:
        return self.asks.best()

    def mark_unusable(self, reason: str) -> None:
        assert reason
        self.reason = reason

    def clear(self) -> None:
        """Forget everything: nobody follows the book any more."""
        self.bids.reset(())
        self.asks.reset(())
        self.reason = NO_SNAPSHOT
        self.touched = None

    def take_touched(self) -> Touched:
        """Return what may have changed since the last call; everything, the first time."""
        touched, self.touched = self.touched or Touched(), Touched()
        self.touched.is_all = False
        return touched

    def apply_snapshot(self, sequence: int, time_ns: int, bids: Iterable[Level], asks: Iterable[Level]) -> bool:
        """Replace all levels; return whether the book is usable."""
        self.bids.reset(bids)
        self.asks.reset(asks)
        self.sequence = sequence
        self.time_ns = time_ns
        self.reason = ""
        if self.touched is not None:
            self.touched.replace()
        return self._check()

    def apply_change(
        self, previous: int, sequence: int, time_ns: int, bids: Sequence[Level], asks: Sequence[Level]
    ) -> bool:
        """Apply one message that follows message `previous`; return whether the book is usable."""
        if self.reason:
            return False
        if previous != self.sequence:
            self.reason = f"gap: follows {previous}, last was {self.sequence}"
            return False
        self.bids.update(bids)
        self.asks.update(asks)
        if self.touched is not None:
            self.touched.note(bids, asks, self.max_levels)
        self.sequence = sequence
        self.time_ns = time_ns
        return self._check()

    def _check(self) -> bool:
        bid, ask = self.bids.best(), self.asks.best()
        if bid is not None and ask is not None and bid >= ask:
            self.reason = f"crossed: bid {bid}, ask {ask}"
        elif len(self.bids.levels) > self.max_levels or len(self.asks.levels) > self.max_levels:
            self.reason = f"more than {self.max_levels} levels"
        return not self.reason
