"""Deribit's public data: instruments, tickers, price indices and books."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from protocols.venues.deribit_decode import (
    BOOK,
    DECODE_ERRORS,
    INDEX,
    INSTRUMENT,
    INSTRUMENT_KIND,
    NS_PER_MS,
    PUBLIC_TRADES,
    RAW_LIST,
    TICKER,
    FieldError,
    TickerWire,
    instrument_listed,
    levels,
    public_trade,
    since_epoch_ns,
)
from protocols.venues.events import (
    BookGapped,
    BookUpdated,
    Event,
    IndexPriceUpdated,
    InstrumentListed,
    MarkPriceUpdated,
)
from protocols.venues.orderbook import OrderBook
from protocols.venues.trade_tape import TradeTape

# Combinations of instruments are listed too, and have no terms of their own.
TRADED_KINDS: Final = frozenset({"future", "option", "spot"})
MAX_INSTRUMENTS: Final = 20_000
# A book that keeps breaking is asked for again once in this time, so that it can not use up the rate limit.
RESYNC_PAUSE_NS: Final = 1_000_000_000
# A snapshot that has not come this long after it was asked for will not come.
SNAPSHOT_TIMEOUT_NS: Final = 10_000_000_000


class MarketData:
    """What the public channels say. `events` is the session's list; `report(message, context)` tells of errors."""

    def __init__(
        self,
        events: list[Event],
        report: Callable[[str, str], None],
        *,
        is_wanted: Callable[[str], bool],
        max_ahead_ns: int,
    ) -> None:
        self._events = events
        self._report = report
        self._is_wanted = is_wanted
        self._max_ahead_ns = max_ahead_ns
        self.instruments: dict[str, InstrumentListed] = {}
        self.currencies: dict[str, str] = {}  # symbol -> the currency that it was listed under
        self.books: dict[str, OrderBook] = {}
        self.tapes: dict[str, TradeTape] = {}
        self.book_gaps = 0
        # symbol -> when its channel is to be subscribed again, and when that was last done
        self.resync_due_ns: dict[str, int] = {}
        self._resynced_ns: dict[str, int] = {}

    # -- instruments

    def on_instruments(self, currency: str, result: msgspec.Raw) -> list[str]:
        """List a currency's instruments; return the wanted symbols that were not known."""
        fresh = []
        listed = set()
        for raw in RAW_LIST.decode(result):
            symbol = ""
            try:
                head = INSTRUMENT_KIND.decode(raw)
                symbol = head.instrument_name
                if head.kind not in TRADED_KINDS or not self._is_wanted(symbol):
                    continue
                instrument = instrument_listed(INSTRUMENT.decode(raw))
            except DECODE_ERRORS as error:
                self._report(str(error), f"get_instruments {currency} {symbol}")
                continue
            listed.add(symbol)
            known = self.instruments.get(symbol)
            if known == instrument:
                continue
            if known is None:
                if len(self.instruments) >= MAX_INSTRUMENTS:
                    self._report(f"more than {MAX_INSTRUMENTS} instruments: not listed", symbol)
                    continue
                fresh.append(symbol)
            self.instruments[symbol] = instrument
            self.currencies[symbol] = currency
            self._events.append(instrument)
        self._close_unlisted(currency, listed)
        return fresh

    def _close_unlisted(self, currency: str, listed: set[str]) -> None:
        for symbol, instrument in self.instruments.items():
            if instrument.is_open and self.currencies[symbol] == currency and symbol not in listed:
                closed = self.instruments[symbol] = msgspec.structs.replace(instrument, is_open=False)
                self._events.append(closed)

    def open_symbols(self) -> list[str]:
        return [symbol for symbol, instrument in self.instruments.items() if instrument.is_open]

    # -- tickers and indices

    def on_ticker(self, data: msgspec.Raw, symbol: str, now_ns: int) -> None:
        ticker = TICKER.decode(data)
        if ticker.instrument_name != symbol:
            raise FieldError(f"instrument_name: {ticker.instrument_name} on the channel of {symbol}")
        time_ns = since_epoch_ns(ticker.timestamp)
        self._check_time(time_ns, now_ns)
        self._check_ticker(ticker)
        mark_iv = ticker.mark_iv
        self._events.append(
            MarkPriceUpdated(
                symbol,
                ticker.mark_price,
                ticker.index_price,
                time_ns,
                None if mark_iv is None else mark_iv / 100.0,
                ticker.underlying_price,
                ticker.interest_rate,
                # An empty side is written as price 0 for options.
                ticker.best_bid_price or None,
                ticker.best_ask_price or None,
                ticker.min_price,
                ticker.max_price,
                ticker.state == "open",
            )
        )

    def _check_ticker(self, ticker: TickerWire) -> None:
        if ticker.index_price <= 0.0:
            raise FieldError(f"index_price: {ticker.index_price}")
        instrument = self.instruments.get(ticker.instrument_name)
        if instrument is not None and instrument.kind == "option":
            if ticker.mark_price < 0.0:
                raise FieldError(f"mark_price: {ticker.mark_price}")
            if ticker.mark_iv is None or ticker.mark_iv < 0.0:
                raise FieldError(f"mark_iv: {ticker.mark_iv} for an option")
            if ticker.underlying_price is None or ticker.underlying_price <= 0.0:
                raise FieldError(f"underlying_price: {ticker.underlying_price} for an option")
        elif ticker.mark_price < 0.0 or (ticker.mark_price == 0.0 and ticker.mark_iv is None):
            raise FieldError(f"mark_price: {ticker.mark_price}")

    def on_index(self, data: msgspec.Raw, name: str, now_ns: int) -> None:
        index = INDEX.decode(data)
        if index.index_name != name:
            raise FieldError(f"index_name: {index.index_name} on the channel of {name}")
        if index.price <= 0.0:
            raise FieldError(f"price: {index.price}")
        time_ns = since_epoch_ns(index.timestamp)
        self._check_time(time_ns, now_ns)
        self._events.append(IndexPriceUpdated(name, index.price, time_ns))

    def _check_time(self, time_ns: int, now_ns: int) -> None:
        if time_ns > now_ns + self._max_ahead_ns:
            raise FieldError(f"timestamp: {(time_ns - now_ns) // NS_PER_MS} ms in the future")

    # -- public trades

    def tape(self, symbol: str) -> TradeTape:
        """Return the last public trades of a symbol."""
        tape = self.tapes.get(symbol)
        if tape is None:
            tape = self.tapes[symbol] = TradeTape()
        return tape

    def on_trades(self, data: msgspec.Raw, symbol: str, now_ns: int) -> None:
        tape = self.tape(symbol)
        for wire in PUBLIC_TRADES.decode(data):
            if wire.instrument_name != symbol:
                raise FieldError(f"instrument_name: {wire.instrument_name} on the channel of {symbol}")
            trade = public_trade(wire)
            self._check_time(trade.time_ns, now_ns)
            tape.add(trade)

    # -- books

    def join(self, symbol: str, now_ns: int) -> None:
        """The channels of a symbol are about to be subscribed: changes of an older subscription pass until then."""
        self._resynced_ns[symbol] = now_ns

    def leave(self, symbol: str, is_book: bool) -> None:
        """The book of a symbol, or its trades, are not followed any more."""
        if not is_book:
            self.tapes.pop(symbol, None)
        elif symbol in self.books:
            self.books[symbol].clear()
            self.resync_due_ns.pop(symbol, None)

    def book(self, symbol: str) -> OrderBook:
        """Return the book of a symbol, an empty and unusable one before its first snapshot."""
        book = self.books.get(symbol)
        if book is None:
            book = self.books[symbol] = OrderBook(symbol)
        return book

    def on_book(self, data: msgspec.Raw, symbol: str, now_ns: int) -> None:
        book = self.book(symbol)
        try:
            wire = BOOK.decode(data)
            if wire.instrument_name != symbol:
                raise FieldError(f"instrument_name: {wire.instrument_name} on the channel of {symbol}")
            time_ns = since_epoch_ns(wire.timestamp)
            self._check_time(time_ns, now_ns)
            bids, asks = levels(wire.bids), levels(wire.asks)
            if wire.type == "change" and wire.prev_change_id is None:
                raise FieldError("prev_change_id: missing in a change")
        except DECODE_ERRORS as error:
            # What this message would have changed is lost, so the book is.
            self._break(book, str(error), now_ns)
            raise
        if wire.type == "snapshot" or wire.prev_change_id is None:
            is_usable = book.apply_snapshot(wire.change_id, time_ns, bids, asks)
        elif book.is_usable:
            is_usable = book.apply_change(wire.prev_change_id, wire.change_id, time_ns, bids, asks)
        else:
            # Changes pass while a snapshot is awaited; one that is overdue is asked for again.
            asked_ns = self._resynced_ns.get(symbol)
            if symbol not in self.resync_due_ns and (asked_ns is None or now_ns - asked_ns > SNAPSHOT_TIMEOUT_NS):
                self._break(book, book.reason, now_ns)
            return
        if is_usable:
            self.resync_due_ns.pop(symbol, None)
            self._events.append(BookUpdated(symbol))
        else:
            self._break(book, book.reason, now_ns)

    def _break(self, book: OrderBook, reason: str, now_ns: int) -> None:
        book.mark_unusable(reason)
        self.book_gaps += 1
        self._events.append(BookGapped(book.symbol, reason))
        last_ns = self._resynced_ns.get(book.symbol)
        due_ns = now_ns if last_ns is None else max(now_ns, last_ns + RESYNC_PAUSE_NS)
        self.resync_due_ns.setdefault(book.symbol, due_ns)

    def on_resync_failed(self, symbol: str, reason: str, now_ns: int) -> None:
        self._break(self.book(symbol), reason, now_ns)

    def on_disconnected(self) -> None:
        for book in self.books.values():
            if book.is_usable:
                book.mark_unusable("disconnected")
                self._events.append(BookGapped(book.symbol, "disconnected"))
        self.resync_due_ns.clear()
        self._resynced_ns.clear()

    @property
    def deadline_ns(self) -> int | None:
        return min(self.resync_due_ns.values()) if self.resync_due_ns else None

    def due_resyncs(self, now_ns: int) -> list[str]:
        """Return the symbols whose book channels are to be subscribed again now."""
        due = [symbol for symbol, due_ns in self.resync_due_ns.items() if due_ns <= now_ns]
        for symbol in due:
            del self.resync_due_ns[symbol]
            self._resynced_ns[symbol] = now_ns
        return due
