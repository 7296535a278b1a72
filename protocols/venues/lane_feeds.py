"""Books and public trades that somebody reads, of a session with several lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocols.venues.events import TradePrinted
from protocols.venues.orderbook import OrderBook
from protocols.venues.trade_tape import PublicTrade, TradeTape

MAX_TAPES: Final = 20_000

# Joins or leaves the channel of a symbol's book (True) or of its trades: (symbol, is_book, is_joining, now_ns).
Follow = Callable[[str, bool, bool, int], None]


class LaneFeeds:
    """What is followed; without `is_on_demand` it is all books and trades, whoever reads them."""

    def __init__(self, book: Callable[[str], OrderBook], follow: Follow, is_on_demand: bool) -> None:
        self.book = book
        self._follow = follow
        self._is_on_demand = is_on_demand
        self._wanted: dict[bool, frozenset[str]] = {True: frozenset(), False: frozenset()}
        self._tapes: dict[str, TradeTape] = {}

    def follows(self, symbol: str, is_book: bool) -> bool:
        """Whether the channel of this book, or of these trades, is to be joined."""
        return not self._is_on_demand or symbol in self._wanted[is_book]

    def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None:
        """Follow these and, on demand, no others; it outlives the connection."""
        for is_book, wanted in ((True, books), (False, trades)):
            before, self._wanted[is_book] = self._wanted[is_book], wanted
            if self._is_on_demand:
                for symbol in sorted(before - wanted):
                    self._follow(symbol, is_book, False, now_ns)
                for symbol in sorted(wanted - before):
                    self._follow(symbol, is_book, True, now_ns)

    def tape(self, symbol: str) -> TradeTape:
        """Return the last public trades of a symbol, as long as they are followed."""
        tape = self._tapes.get(symbol)
        if tape is None:
            if len(self._tapes) >= MAX_TAPES:
                raise ValueError(f"more than {MAX_TAPES} tapes")
            tape = self._tapes[symbol] = TradeTape()
        return tape

    def on_trade(self, trade: TradePrinted) -> None:
        """Take a trade of the market; a liquidation that is told apart has no id, and is told as a trade too."""
        if trade.trade_id:
            printed = PublicTrade(trade.trade_id, trade.price, trade.quantity, trade.side == "buy", trade.time_ns)
            self.tape(trade.symbol).add(printed)
