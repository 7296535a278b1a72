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
# increments gets the others in the turns that follow, as new ones.
SNAPSHOT_LEVELS: Final = 500
# Entries of one MarketDataIncrementalRefresh(X): longer than those of a snapshot, and far below what we may send.
INCREMENT_ENTRIES: Final = 400
# Entries for one reader in one turn, so that what one turn adds to what he has to read is bounded too.
TURN_ENTRIES: Final = 2 * INCREMENT_ENTRIES

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

    @property
    def is_much(self) -> bool:
        """Whether a snapshot says it in less."""
        return len(self.bids) + len(self.offers) > TURN_ENTRIES


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
        self._snapshots: dict[bytes, list[bytes]] = {}
        self._in_snapshot: Told | None = None
        self._differences: list[tuple[Told, Entries, Told | None]] = []

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
        self._in_snapshot = None
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
        _take(told, now, prices)
        return changes

    def since(self, known: Told) -> tuple[Entries, Told | None]:
        """Return the net change from what one reader knows to what all others do, and what he knows then.

        No more than a turn's entries, those of the best prices first: None when that is all.
        """
        for other, entries, rest in self._differences:
            if other is known:
                return entries, rest
        bids, offers = self.told.bids, self.told.offers
        bid_prices, offer_prices = _differing(known.bids, bids), _differing(known.offers, offers)
        rest = None
        if len(bid_prices) + len(offer_prices) > TURN_ENTRIES:
            rest = known.copy()
            bid_prices = set(sorted(bid_prices, reverse=True)[: TURN_ENTRIES // 2])
            offer_prices = set(sorted(offer_prices)[: TURN_ENTRIES // 2])
            _take(rest.bids, bids, bid_prices)
            _take(rest.offers, offers, offer_prices)
        entries = Entries(
            _changes(known.bids, bids, bid_prices, self.symbol, BID),
            _changes(known.offers, offers, offer_prices, self.symbol, OFFER),
        )
        self._differences.append((known, entries, rest))
        return entries, rest

    def snapshot(self, kind: bytes) -> list[bytes]:
        """Return the entries of a snapshot of one side, best first, at most SNAPSHOT_LEVELS."""
        entries = self._snapshots.get(kind)
        if entries is None:
            levels = self.told.bids if kind == BID else self.told.offers
            entries = [level(kind, text_of(price), text_of(amount)) for price, amount in _top(levels, kind).items()]
            self._snapshots[kind] = entries
        return entries

    def in_snapshot(self) -> Told | None:
        """Return what a snapshot tells of the book; None where that is all of it."""
        bids, offers = self.told.bids, self.told.offers
        if max(len(bids), len(offers)) <= SNAPSHOT_LEVELS:
            return None
        if self._in_snapshot is None:
            self._in_snapshot = Told(_top(bids, BID), _top(offers, OFFER))
        return self._in_snapshot


def _top(levels: Levels, kind: bytes) -> Levels:
    """Return the best levels of a side, as many as a snapshot has, best first."""
    prices = sorted(levels, reverse=kind == BID)[:SNAPSHOT_LEVELS]
    return {price: levels[price] for price in prices}


def _differing(old: Levels, new: Levels) -> set[Decimal]:
    return {price for price in old.keys() | new.keys() if old.get(price) != new.get(price)}


def _take(old: Levels, new: Levels, prices: set[Decimal]) -> None:
    """Make `old` what `new` is at these prices."""
    for price in prices:
        if price in new:
            old[price] = new[price]
        else:
            old.pop(price, None)


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
