"""Marks and indices of instruments as entries' values: what the checks use, and no older than they would take it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from gateway.ledger import Ledger
from gateway.messages.book_stream import text_of
from risk.marks import Market


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Mark and index of one instrument; prices are empty where there is none now, and `trouble` says why."""

    mark: bytes
    index: bytes
    time_ns: int
    trouble: bytes


class Quotes:
    """What is told of an instrument besides its book and its trades."""

    def __init__(self, ledger: Ledger, market: Market) -> None:
        self._ledger = ledger
        self._market = market

    def of(self, symbol: str, now_ns: int) -> Quote:
        """Return mark and index of an instrument, unless they are unknown or stale."""
        market = self._market
        index = self._ledger.by_symbol[symbol].index
        mark = market.marks[index] if index < len(market.marks) else None
        if mark is None:
            return Quote(b"", b"", 0, b"no mark yet")
        if now_ns - mark.time_ns > market.mark_age_limit_ns(index):
            return Quote(b"", b"", mark.time_ns, b"the mark is stale")
        return Quote(_text(mark.price), _text(mark.index_price), mark.time_ns, b"")


def _text(price: float) -> bytes:
    return text_of(Decimal(repr(price)))
