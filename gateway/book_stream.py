"""What readers of one book to one depth have been told, and the net change since: the conflation.

All readers who keep up share one stream, so a change is worked out once however many they are. One who falls behind
keeps the levels that he was told last (one copy for all who fall behind at the same time), is told nothing more, and
gets, when he has caught up, the difference between those and what the others know by then.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from protocols.fix.market_data_messages import BID, CHANGE, DELETE, NEW, OFFER, level, level_changed
from protocols.venues.orderbook import BookSide, OrderBook, Touched

FULL: Final = 0  # MarketDepth(264)
# A snapshot has no more levels a side than this: MarketDataSnapshotFullRefresh(W) can not be fragmented. Who reads
# increments gets the others right behind it, as new ones.
SNAPSHOT_LEVELS: Final = 500
# Entries of one MarketDataIncrementalRefresh(X): longer than those of a snapshot, and far below what we may send.
INCREMENT_ENTRIES: Final = 400

Levels = dict[Decimal, Decimal]


class Told(msgspec.Struct, gc=False):
    """Levels by side as a reader has them."""

    bids: Levels = {}
    offers: Levels = {}

    def copy(self) -> Told:
        """Return what stays as it is while the stream goes on."""
        return Told(self.bids.copy(), self.offers.copy())


class Entries(msgspec.Struct, gc=False):
    """Entries of an increment by side, ready to be sent."""

    bids: list[bytes] = []
    offers: list[bytes] = []


class BookStream:
    """One book to one depth. `told` is what readers know who keep up, `version` how often that has changed.

    `trouble` says why the book can not be used; `told` is empty then.
    """

    def __init__(self, symbol: str, depth: int) -> None:
        self.symbol = symbol.encode()
        self.depth = depth
        self.told = Told()
        self.trouble = "not looked at yet"
        self.version = 0
        # Worked out once for all who want them, until the book changes.
        self._snapshots: dict[tuple[bytes, bool], list[bytes]] = {}  # by side, and whether beyond
        self._differences: list[tuple[Told, Entries]] = []

    def look(self, book: OrderBook | None, trouble: str, touched: Touched) -> Entries:
        """Take over what the book is now, and return what is new. Nothing, where it has just become usable, or has just
        ceased to be: that takes a snapshot.

        `touched`: what may have changed since the last look.
        """
        trouble = trouble or (book.reason if book is not None else "no book")
        if trouble or book is None:
            if not self.trouble:
                self.told = Told()
                self._has_changed()
            self.trouble = trouble
            return Entries()
        if self.trouble:
            self.trouble = ""
            self.told = Told(_best(book.bids, self.depth), _best(book.asks, self.depth))
            self._has_changed()
            return Entries()
        changes = Entries(
            self._follow(self.told.bids, book.bids, BID, None if touched.is_all else touched.bids),
            self._follow(self.told.offers, book.asks, OFFER, None if touched.is_all else touched.asks),
        )
        if changes.bids or changes.offers:
            self._has_changed()
        return changes

    def _has_changed(self) -> None:
        self.version += 1
        self._snapshots.clear()
        self._differences.clear()

    def _follow(self, told: Levels, side: BookSide, kind: bytes, touched: set[Decimal] | None) -> list[bytes]:
        """Bring one side up to date; return its changes."""
        if touched is not None and not touched:
            return []
        if self.depth == FULL:
            now = side.levels
            prices = told.keys() | now.keys() if touched is None else touched
        else:
            now = _best(side, self.depth)
            prices = told.keys() | now.keys()
        changes = _changes(told, now, prices, self.symbol, kind)
        for price in prices:
            if price in now:
                told[price] = now[price]
            else:
                told.pop(price, None)
        return changes

    def since(self, known: Told) -> Entries:
        """Return the net change from what one reader knows to what all others do."""
        for other, entries in self._differences:
            if other is known:
                return entries
        bids, offers = self.told.bids, self.told.offers
        entries = Entries(
            _changes(known.bids, bids, known.bids.keys() | bids.keys(), self.symbol, BID),
            _changes(known.offers, offers, known.offers.keys() | offers.keys(), self.symbol, OFFER),
        )
        self._differences.append((known, entries))
        return entries

    def snapshot(self, kind: bytes) -> list[bytes]:
        """Return the entries of a snapshot of one side, best first, at most SNAPSHOT_LEVELS."""
        entries = self._snapshots.get((kind, False))
        if entries is None:
            levels, prices = self._sorted(kind)
            entries = [level(kind, text_of(price), text_of(levels[price])) for price in prices[:SNAPSHOT_LEVELS]]
            self._snapshots[kind, False] = entries
        return entries

    def beyond_snapshot(self, kind: bytes) -> list[bytes]:
        """Return the levels that a snapshot of one side has no room for, as new ones of an increment."""
        entries = self._snapshots.get((kind, True))
        if entries is None:
            levels, prices = self._sorted(kind)
            further, symbol = prices[SNAPSHOT_LEVELS:], self.symbol
            entries = [level_changed(NEW, kind, symbol, text_of(price), text_of(levels[price])) for price in further]
            self._snapshots[kind, True] = entries
        return entries

    def _sorted(self, kind: bytes) -> tuple[Levels, list[Decimal]]:
        is_bid = kind == BID
        levels = self.told.bids if is_bid else self.told.offers
        return levels, sorted(levels, reverse=is_bid)


def _best(side: BookSide, depth: int) -> Levels:
    return side.levels.copy() if depth == FULL else dict(side.depth(depth))


def _changes(old: Levels, new: Levels, prices: set[Decimal], symbol: bytes, kind: bytes) -> list[bytes]:
    """Return what leads from `old` to `new` at these prices, deletions first."""
    gone: list[bytes] = []
    there: list[bytes] = []
    for price in prices:
        before, now = old.get(price), new.get(price)
        if before == now:
            continue
        if now is None:
            gone.append(level_changed(DELETE, kind, symbol, text_of(price), b""))
        else:
            action = NEW if before is None else CHANGE
            there.append(level_changed(action, kind, symbol, text_of(price), text_of(now)))
    return sorted(gone) + sorted(there) if len(gone) + len(there) > 1 else gone + there


@lru_cache(maxsize=65_536)
def text_of(number: Decimal) -> bytes:
    """Return a venue's number as FIX writes it: no exponent, no needless zeros."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.encode()
