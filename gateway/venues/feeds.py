"""Books and public trades of the venues, followed for as long as somebody reads them.

The first reader of an instrument makes its venue's session subscribe, the last one that goes lets it leave, after a
pause: clients that ask for a snapshot now and then shall not make it come and go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from gateway.ledger import Ledger
from protocols.venues.orderbook import OrderBook
from protocols.venues.trade_tape import TradeTape
from risk.marks import Market

LINGER_NS: Final = 5_000_000_000


class Feed(Protocol):
    """One venue's market data, as this module sees it."""

    @property
    def state_name(self) -> str:
        """Where the venue's session stands: connecting, authenticating, reconciling, live, halted."""

    def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None:
        """Follow these and no others, from now on."""

    def book(self, symbol: str) -> OrderBook:
        """Return an instrument's book, usable or not."""

    def tape(self, symbol: str) -> TradeTape:
        """Return an instrument's last trades."""


class Feeds:
    """Venue name -> feed, and what is wanted of each."""

    def __init__(self, ledger: Ledger, market: Market) -> None:
        self._ledger = ledger
        self._market = market
        self.venues: dict[str, Feed] = {}
        # What is followed -> until when it is kept without a reader: (symbol, whether its book).
        self._kept: dict[tuple[str, bool], int] = {}
        self._told: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def connect(self, venue: str, feed: Feed) -> None:
        """Take a venue's feed into service."""
        self.venues[venue] = feed

    def follow(self, books: Iterable[str], trades: Iterable[str], now_ns: int) -> None:
        """Follow what is read now, and what was read a moment ago."""
        until_ns = now_ns + LINGER_NS
        wanted = [(symbol, True) for symbol in books] + [(symbol, False) for symbol in trades]
        self._kept.update(dict.fromkeys(wanted, until_ns))
        for key in [key for key, at_ns in self._kept.items() if at_ns <= now_ns]:
            del self._kept[key]
        by_venue: dict[str, tuple[list[str], list[str]]] = {venue: ([], []) for venue in self.venues}
        for symbol, is_book in self._kept:
            instrument = self._ledger.by_symbol[symbol]
            if instrument.venue in by_venue:
                by_venue[instrument.venue][0 if is_book else 1].append(symbol)
        for venue, (its_books, its_trades) in by_venue.items():
            told = (frozenset(its_books), frozenset(its_trades))
            if self._told.get(venue, (frozenset(), frozenset())) != told:
                self._told[venue] = told
                self.venues[venue].want(*told, now_ns)

    @property
    def followed(self) -> int:
        """How many books and tapes are followed."""
        return len(self._kept)

    def book(self, symbol: str) -> OrderBook | None:
        """Return an instrument's book; None where its venue is not configured any more."""
        feed = self.venues.get(self._ledger.by_symbol[symbol].venue)
        return None if feed is None else feed.book(symbol)

    def tape(self, symbol: str) -> TradeTape | None:
        """Return an instrument's last trades; None where its venue is not configured any more."""
        feed = self.venues.get(self._ledger.by_symbol[symbol].venue)
        return None if feed is None else feed.tape(symbol)

    def is_live(self, venue: str) -> bool:
        """Whether a venue takes orders."""
        return venue in self._market.live_venues

    def trouble(self, symbol: str) -> str:
        """Say why nothing of this instrument's market is current; empty where it is."""
        venue = self._ledger.by_symbol[symbol].venue
        if venue not in self.venues:
            return f"venue {venue} is not configured"
        if not self.is_live(venue):
            return f"venue {venue} is {self.venues[venue].state_name}, not live"
        return ""
