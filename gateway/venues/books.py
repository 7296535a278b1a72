"""Positions and wallets as venues tell them: whole after each connection, then each change. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

import msgspec

from protocols.venues import events


class _Book(msgspec.Struct):
    """One venue's. `positions`: symbol -> (currency of its report, signed quantity)."""

    positions: dict[str, tuple[str, Decimal]] = msgspec.field(default_factory=dict)
    wallets: dict[str, Decimal] = msgspec.field(default_factory=dict)
    is_whole: bool = False
    has_wallets: bool = False


class VenueBooks:
    """By venue. A book that was never whole is unknown, not flat."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}

    def _book(self, venue: str) -> _Book:
        return self._books.setdefault(venue, _Book())

    def positions_told(self, venue: str, event: events.PositionsReported) -> None:
        """Take over what a venue says of positions; bounded by the venue's own list of instruments."""
        positions = self._book(venue).positions
        currency = event.currency
        if event.is_complete:
            for symbol in [symbol for symbol, (told, _) in positions.items() if told == currency]:
                del positions[symbol]
        for state in event.positions:
            told = currency if event.is_complete else positions.get(state.symbol, ("", None))[0]
            positions[state.symbol] = told, state.quantity

    def balances_told(self, venue: str, event: events.BalancesReported) -> None:
        """Take over what a venue says of its wallets."""
        book = self._book(venue)
        if event.is_complete:
            book.wallets.clear()
            book.has_wallets = True
        for state in event.balances:
            book.wallets[state.currency] = state.wallet_balance

    def is_whole(self, venue: str) -> None:
        """Everything that is asked after a connection was answered."""
        self._book(venue).is_whole = True

    def positions(self, venue: str) -> dict[str, Decimal] | None:
        """Return open positions by symbol; None while they are unknown."""
        book = self._books.get(venue)
        if book is None or not book.is_whole:
            return None
        return {symbol: quantity for symbol, (_, quantity) in book.positions.items() if quantity}

    def wallets(self, venues: Collection[str]) -> dict[str, Decimal] | None:
        """Return what the wallets of several venues hold together; None while those of any are unknown."""
        total: dict[str, Decimal] = {}
        for venue in venues:
            book = self._books.get(venue)
            if book is None or not book.has_wallets:
                return None
            for currency, balance in book.wallets.items():
                total[currency] = total.get(currency, Decimal(0)) + balance
        return total
