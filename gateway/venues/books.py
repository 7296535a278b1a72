"""Positions and wallets as venues tell them: whole after each connection, then each change. Nothing is decided here."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from decimal import Decimal
from typing import Final

import msgspec

from protocols.venues import events

# Of one position: what it was before them is forgotten.
MOVES_KEPT: Final = 256
_NOTHING: Final = Decimal(0)


class _Path(msgspec.Struct):
    """How one position was told: `moves` are (our time, signed quantity), the last of `count`."""

    moves: deque[tuple[int, Decimal]]
    count: int = 0


class _Book(msgspec.Struct):
    """One venue's. `positions`: symbol -> (currency of its report, signed quantity)."""

    paths: dict[str, _Path] = msgspec.field(default_factory=dict)
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

    def positions_told(self, venue: str, event: events.PositionsReported, now_ns: int) -> None:
        """Take over what a venue says of positions; bounded by the venue's own list of instruments."""
        book, currency = self._book(venue), event.currency
        positions = book.positions
        changed = dict.fromkeys(state.symbol for state in event.positions)
        if event.is_complete:
            for symbol in [symbol for symbol, (told, _) in positions.items() if told == currency]:
                del positions[symbol]
                changed[symbol] = None
        for state in event.positions:
            told = currency if event.is_complete else positions.get(state.symbol, ("", None))[0]
            positions[state.symbol] = told, state.quantity
        for symbol in changed:
            _note(book.paths, symbol, positions.get(symbol, ("", _NOTHING))[1], now_ns)

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

    def moves_of(self, venue: str, symbol: str) -> int:
        """Return how often a position was told to be another."""
        book = self._books.get(venue)
        path = None if book is None else book.paths.get(symbol)
        return 0 if path is None else path.count

    def position_at(self, venue: str, symbol: str, at_ns: int) -> Decimal | None:
        """Return what a venue had told of a position by a time of ours; None where that is forgotten."""
        book = self._books.get(venue)
        path = None if book is None else book.paths.get(symbol)
        if path is None:
            return _NOTHING
        told = next((quantity for time_ns, quantity in reversed(path.moves) if time_ns <= at_ns), None)
        return _NOTHING if told is None and path.count <= MOVES_KEPT else told

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


def _note(paths: dict[str, _Path], symbol: str, quantity: Decimal, now_ns: int) -> None:
    path = paths.get(symbol)
    if path is None:
        path = paths[symbol] = _Path(deque(maxlen=MOVES_KEPT))
    if quantity != (path.moves[-1][1] if path.moves else _NOTHING):
        path.moves.append((now_ns, quantity))
        path.count += 1
