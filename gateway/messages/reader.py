"""One subscription: one instrument of one MarketDataRequest(V), and what its reader has been told."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

from gateway.clients.volatile import Outgoing
from gateway.messages.book_stream import INCREMENT_ENTRIES, BookStream, Entries, Told, text_of
from gateway.messages.quotes import Quote
from protocols.fix import market_data_messages as md
from protocols.fix.session import SessionState
from protocols.venues.trade_tape import TradeTape

_NO_ENTRIES: Final = Entries()


class State(Enum):
    """What a reader has been told so far."""

    NOTHING = auto()
    EMPTY = auto()  # that there is nothing to tell, and why
    CURRENT = auto()


class Reader:
    """A subscription's state. `messages` says what is due."""

    def __init__(
        self,
        *,
        session: str,
        state: SessionState,
        md_req_id: bytes,
        symbol: str,
        kinds: frozenset[bytes],
        stream: BookStream | None,
        is_incremental: bool,
        is_once: bool,
        asked_ns: int,
    ) -> None:
        self.session = session
        self.symbol = symbol
        self.md_req_id = md_req_id
        self.kinds = kinds
        self.stream = stream
        self.is_incremental = is_incremental
        self.is_once = is_once
        self.asked_ns = asked_ns
        self.told = State.NOTHING
        # The levels that he was told last, where he is behind the stream; shared, and never changed.
        self.known: Told | None = None
        self._state = state
        self._connection = state.connection
        self._name = symbol.encode()
        self._version = 0
        self._trades_seen = 0
        self._prices: dict[bytes, bytes] = {}
        # What his version can be told: entry type J, and LastUpdateTime(779).
        self._knows_empty_book = md.EMPTY_BOOK in state.dictionary.fields[269].values
        self._wants_time = 779 in state.dictionary.messages["W"].body

    @property
    def is_there(self) -> bool:
        """Whether the connection that asked is still the session's."""
        return self._connection is not None and self._state.connection is self._connection

    @property
    def is_level_with_stream(self) -> bool:
        """Whether he knows what the stream's readers know, and no copy is kept for him."""
        return self.told is State.CURRENT and self.is_incremental and self.known is None

    def forget(self) -> None:
        """Begin again: what was meant for him did not leave."""
        self.told = State.NOTHING
        self.known = None

    def messages(
        self, changes: Entries | None, tape: TradeTape | None, quote: Quote, trouble: str, now_ns: int
    ) -> Iterator[Outgoing]:
        """Yield what is due now, and take it as told. `changes`: what the stream's readers are told now."""
        if trouble:
            if self.told is not State.EMPTY:
                self.told, self.known = State.EMPTY, None
                yield self._empty(trouble.encode("ascii", "replace"), now_ns)
            return
        if self.told is not State.CURRENT:
            yield from self._snapshot(tape, quote, now_ns)
            return
        is_too_much = self.known is None and changes is not None and changes.is_much
        levels = [] if is_too_much else self._levels(changes)
        entries = [*levels, *self._trades(tape), *self._quotes(quote)]
        if self.is_incremental:
            for first in range(0, len(entries), INCREMENT_ENTRIES):
                yield "X", md.increment(self.md_req_id, entries[first : first + INCREMENT_ENTRIES])
            if is_too_much:
                yield from self._snapshot(tape, quote, now_ns)
        elif entries or (self.stream is not None and self._version != self.stream.version):
            yield from self._snapshot(tape, quote, now_ns)

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def _empty(self, why: bytes, now_ns: int) -> Outgoing:
        kinds = [kind for kind in (md.BID, md.OFFER) if kind in self.kinds] or sorted(self.kinds)[:1]
        entries = md.nothing(kinds, why, self._knows_empty_book)
        return "W", md.snapshot(self._name, self.md_req_id, entries, now_ns if self._wants_time else None)

    def _snapshot(self, tape: TradeTape | None, quote: Quote, now_ns: int) -> Iterator[Outgoing]:
        entries: list[bytes] = []
        self.known = None
        if self.stream is not None:
            for kind in (md.BID, md.OFFER):
                if kind in self.kinds:
                    entries += self.stream.snapshot(kind)
            self._version = self.stream.version
            self.known = self.stream.in_snapshot() if self.is_incremental else None
        if md.TRADE in self.kinds and tape is not None:
            self._trades_seen = tape.count
            if (last := tape.last) is not None:
                entries.append(md.traded(b"", text_of(last.price), text_of(last.amount), last.time_ns))
        self._prices = self._prices_of(quote)
        entries += [md.quoted(kind, price, quote.time_ns) for kind, price in self._prices.items() if price]
        self.told = State.CURRENT
        if entries:
            yield "W", md.snapshot(self._name, self.md_req_id, entries, now_ns if self._wants_time else None)
        else:
            yield self._empty(b"nothing yet", now_ns)

    # -- increments --------------------------------------------------------------------------------------------------

    def _levels(self, changes: Entries | None) -> list[bytes]:
        if self.stream is None or not self.is_incremental:
            return []
        if self.known is not None:
            changes, self.known = self.stream.since(self.known)
        self._version = self.stream.version
        assert changes is not None
        return (changes.bids if md.BID in self.kinds else []) + (changes.offers if md.OFFER in self.kinds else [])

    def _trades(self, tape: TradeTape | None) -> list[bytes]:
        if md.TRADE not in self.kinds or tape is None or tape.count == self._trades_seen:
            return []
        # A tape that was begun anew has counted less: all of it is new.
        seen = self._trades_seen if self._trades_seen <= tape.count else 0
        self._trades_seen = tape.count
        return [
            md.traded(trade.trade_id.encode(), text_of(trade.price), text_of(trade.amount), trade.time_ns, self._name)
            for trade in tape.since(seen)
        ]

    def _quotes(self, quote: Quote) -> list[bytes]:
        entries = []
        prices = self._prices_of(quote)
        for kind, price in prices.items():
            before = self._prices.get(kind, b"")
            if price == before:
                continue
            if price:
                entries.append(md.quoted(kind, price, quote.time_ns, self._name, md.CHANGE if before else md.NEW))
            else:
                entries.append(md.withdrawn(kind, self._name, quote.trouble))
        self._prices = prices
        return entries

    def _prices_of(self, quote: Quote) -> dict[bytes, bytes]:
        told = {md.MARK: quote.mark, md.INDEX: quote.index}
        return {kind: price for kind, price in told.items() if kind in self.kinds}
