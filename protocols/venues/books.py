"""Books of all venues: which message may follow which is data, a BookRule, and what breaks it is resynchronised."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Final, Literal

import msgspec

from protocols.venues.events import BookGapped, BookUpdated, Event
from protocols.venues.fields import NS_PER_S, ONE
from protocols.venues.orderbook import Level, OrderBook

# A book that keeps breaking is asked for again once in this time, so that it can not use up the rate limit.
RESYNC_PAUSE_NS: Final = 1 * NS_PER_S
# A snapshot that has not come this long after it was asked for will not come.
SNAPSHOT_TIMEOUT_NS: Final = 10 * NS_PER_S
# Changes kept while a snapshot is awaited: half a minute of the busiest stream.
MAX_HELD: Final = 4_096
MAX_BOOKS: Final = 20_000


class Link(Enum):
    """How a change names the message that it follows."""

    PREVIOUS = "names the number of the message before it"
    COUNT = "is numbered one above the message before it"
    NONE = "is a whole book, and follows nothing"


class BookRule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A channel's integrity rule.

    `snapshot`: the channel begins with one, or it is asked for by request and the changes around it are kept.
    `overlap`: a requested snapshot numbered n is followed by the change that spans n + `overlap`. `has_checksum`:
    messages bear a CRC32 of the best levels, where it is not zero.
    """

    link: Link
    snapshot: Literal["channel", "request"] = "channel"
    overlap: int = 0
    has_checksum: bool = False


class Change(msgspec.Struct, gc=False):
    """Levels to set, numbered `first` to `last`; `previous` is the number it follows, -1 where it names none."""

    first: int
    last: int
    previous: int
    time_ns: int
    bids: list[Level]
    asks: list[Level]

    def follows(self, rule: BookRule, sequence: int) -> bool:
        if rule.link is Link.PREVIOUS:
            return self.previous == sequence
        return rule.link is Link.NONE or self.first == sequence + 1


class Feed:
    """One book and its way to the next snapshot. `is_joining`: a requested snapshot waits for its first change."""

    __slots__ = ("asked_ns", "book", "due_ns", "held", "is_joining", "rule")

    def __init__(self, symbol: str, rule: BookRule, unit: Decimal) -> None:
        self.book = OrderBook(symbol, unit=unit)
        self.rule = rule
        self.held: deque[Change] = deque(maxlen=MAX_HELD)
        self.is_joining = False
        self.asked_ns: int | None = None
        self.due_ns: int | None = None


class Books:
    """All books of a session. `due_resyncs` names those for which a snapshot has to be asked for now."""

    def __init__(self, events: list[Event], rule_of: Callable[[str], BookRule]) -> None:
        self._events = events
        self._rule_of = rule_of
        self._feeds: dict[str, Feed] = {}
        self._units: dict[str, Decimal] = {}
        # When anything is due at the earliest; a bound, so that a message need not look at every book.
        self.deadline_ns: int | None = None
        self.gaps = 0
        # Books that nobody follows any more: what of them is still on its way says nothing.
        self._left: set[str] = set()

    def set_unit(self, symbol: str, unit: Decimal) -> None:
        """Say what one of the venue's units of amount is as a quantity."""
        self._units[symbol] = unit
        if symbol in self._feeds:
            self._feeds[symbol].book.unit = unit

    def feed(self, symbol: str) -> Feed:
        feed = self._feeds.get(symbol)
        if feed is None:
            if len(self._feeds) >= MAX_BOOKS:
                raise ValueError(f"more than {MAX_BOOKS} books")
            feed = self._feeds[symbol] = Feed(symbol, self._rule_of(symbol), self._units.get(symbol, ONE))
        return feed

    def follow(self, symbol: str, is_followed: bool) -> None:
        """Begin anew with a book that is joined again, or forget one that is left."""
        if is_followed:
            self._left.discard(symbol)
            return
        feed = self.feed(symbol)
        self._left.add(symbol)
        feed.book.clear()
        feed.held.clear()
        feed.is_joining = False
        feed.asked_ns = feed.due_ns = None

    def book(self, symbol: str) -> OrderBook:
        """Return the book of a symbol, an empty and unusable one before its first snapshot."""
        return self.feed(symbol).book

    # -- what the channel says

    def on_snapshot(self, symbol: str, sequence: int, time_ns: int, bids: list[Level], asks: list[Level]) -> bool:
        """Take a snapshot that came over the channel: it resets whatever there was."""
        if symbol in self._left:
            return False
        feed = self.feed(symbol)
        is_usable = feed.book.apply_snapshot(sequence, time_ns, bids, asks)
        feed.is_joining = False
        feed.held.clear()
        self._told(feed, is_usable, time_ns)
        return is_usable

    def on_change(self, symbol: str, change: Change, now_ns: int) -> bool:
        """Apply a change; return whether the book holds it and is usable."""
        if symbol in self._left:
            return False
        feed = self.feed(symbol)
        book = feed.book
        if book.reason or feed.is_joining:
            return self._on_early_change(feed, change, now_ns)
        if not change.follows(feed.rule, book.sequence):
            self.break_book(symbol, self._gap(feed.rule, change, book.sequence), now_ns)
            if feed.rule.snapshot == "request":
                feed.held.append(change)  # it may follow the next snapshot
            return False
        is_usable = book.apply_change(book.sequence, change.last, change.time_ns, change.bids, change.asks)
        self._told(feed, is_usable, now_ns)
        return is_usable

    def _on_early_change(self, feed: Feed, change: Change, now_ns: int) -> bool:
        """Changes pass while a snapshot is awaited; one that is overdue is asked for again."""
        if feed.rule.snapshot == "channel":
            if feed.due_ns is None and (feed.asked_ns is None or now_ns - feed.asked_ns > SNAPSHOT_TIMEOUT_NS):
                self.break_book(feed.book.symbol, feed.book.reason, now_ns)
            return False
        feed.held.append(change)
        if feed.is_joining:
            return self._join(feed, now_ns)
        if feed.due_ns is None and (feed.asked_ns is None or now_ns - feed.asked_ns > SNAPSHOT_TIMEOUT_NS):
            self._schedule(feed, now_ns)
        return False

    # -- a snapshot by request

    def on_requested(
        self, symbol: str, sequence: int, time_ns: int, bids: list[Level], asks: list[Level], now_ns: int
    ) -> bool:
        """Take a snapshot that was asked for, and what of the changes kept follows it."""
        if symbol in self._left:
            return False
        feed = self.feed(symbol)
        if not feed.book.apply_snapshot(sequence, time_ns, bids, asks):
            self.break_book(symbol, feed.book.reason, now_ns)
            return False
        feed.is_joining = True
        return self._join(feed, now_ns)

    def _join(self, feed: Feed, now_ns: int) -> bool:
        """Apply what is held, from the change that spans the snapshot on."""
        book, rule, held = feed.book, feed.rule, feed.held
        while held:
            change = held.popleft()
            if feed.is_joining:
                joint = book.sequence + rule.overlap
                if change.last < joint:
                    continue  # older than the snapshot
                is_next = change.first <= joint <= change.last or change.follows(rule, book.sequence)
            else:
                is_next = change.follows(rule, book.sequence)
            if not is_next:
                # What came between is lost; this change may follow the next snapshot.
                held.appendleft(change)
                self.break_book(book.symbol, self._gap(rule, change, book.sequence), now_ns)
                return False
            feed.is_joining = False
            if not book.apply_change(book.sequence, change.last, change.time_ns, change.bids, change.asks):
                self.break_book(book.symbol, book.reason, now_ns)
                return False
        if not feed.is_joining:
            self._told(feed, True, now_ns)
        return not feed.is_joining

    # -- resynchronisation

    @staticmethod
    def _gap(rule: BookRule, change: Change, sequence: int) -> str:
        if rule.link is Link.PREVIOUS and change.previous >= 0:
            return f"gap: follows {change.previous}, last was {sequence}"
        return f"gap: begins at {change.first}, last was {sequence}"

    def _told(self, feed: Feed, is_usable: bool, now_ns: int) -> None:
        if is_usable:
            feed.due_ns = None
            self._events.append(BookUpdated(feed.book.symbol))
        else:
            self.break_book(feed.book.symbol, feed.book.reason, now_ns)

    def break_book(self, symbol: str, reason: str, now_ns: int) -> None:
        """The book can not be used until a snapshot has come: tell so, and have one asked for."""
        if symbol in self._left:
            return
        feed = self.feed(symbol)
        feed.book.mark_unusable(reason)
        feed.is_joining = False
        self.gaps += 1
        self._events.append(BookGapped(symbol, reason))
        self._schedule(feed, now_ns)

    def _schedule(self, feed: Feed, now_ns: int) -> None:
        if feed.due_ns is None:
            feed.due_ns = now_ns if feed.asked_ns is None else max(now_ns, feed.asked_ns + RESYNC_PAUSE_NS)
        if self.deadline_ns is None or feed.due_ns < self.deadline_ns:
            self.deadline_ns = feed.due_ns

    def due_resyncs(self, now_ns: int) -> list[str]:
        """Return the symbols for which a snapshot is to be asked for now."""
        if self.deadline_ns is None or self.deadline_ns > now_ns:
            return []
        due, later = [], []
        for symbol, feed in self._feeds.items():
            if feed.due_ns is None:
                continue
            if feed.due_ns <= now_ns:
                feed.due_ns, feed.asked_ns = None, now_ns
                due.append(symbol)
            else:
                later.append(feed.due_ns)
        self.deadline_ns = min(later, default=None)
        return due

    def on_disconnected(self, symbols: list[str]) -> None:
        """The lane that carried these books is gone."""
        for symbol in symbols:
            feed = self._feeds.get(symbol)
            if feed is None:
                continue
            feed.held.clear()
            feed.is_joining = False
            feed.asked_ns = feed.due_ns = None
            if feed.book.is_usable:
                feed.book.mark_unusable("disconnected")
                self._events.append(BookGapped(symbol, "disconnected"))
