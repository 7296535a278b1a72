"""Bybit's public topics: books, trades, and tickers of which only what has changed is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocols.venues.books import Change
from protocols.venues.bybit_decode import BOOK, LEVEL_TEXTS, SIDES, TICKER, TRADES, Frame, TickerWire
from protocols.venues.events import Event, FundingUpdated, OptionVolsUpdated, TopOfBookUpdated, TradePrinted
from protocols.venues.fields import (
    DECODE_ERRORS,
    ZERO,
    FieldError,
    decimal_of,
    optional_real,
    positive,
    positive_real,
    since_epoch_ns,
    time_of,
)
from protocols.venues.levels import read_levels
from protocols.venues.market_data import MarketData

NO_TOP: Final = ("", "", "", "")


class BybitMarket:
    """Reads what the topics say into the session's market data and events."""

    def __init__(self, market: MarketData, events: list[Event]) -> None:
        self._market = market
        self._events = events
        # symbol -> (bid, its size, ask, its size) as last told
        self._tops: dict[str, tuple[str, str, str, str]] = {}
        self.readers: dict[str, Callable[[Frame, str, int], None]] = {
            "orderbook": self.on_book,
            "publicTrade": self.on_trades,
            "tickers": self.on_ticker,
        }

    def forget(self, symbols: list[str]) -> None:
        for symbol in symbols:
            self._tops.pop(symbol, None)

    def _known(self, symbol: str) -> str:
        if symbol not in self._market.instruments:
            raise FieldError(f"s, symbol: {symbol[:40]!r} is not listed")
        return symbol

    def on_book(self, frame: Frame, symbol: str, now_ns: int) -> None:
        books = self._market.books
        self._known(symbol)
        try:
            wire = BOOK.decode(frame.data)
            if wire.s != symbol:
                raise FieldError(f"s: {wire.s[:40]!r} on the topic of {symbol}")
            time_ns = self._market.check_time(since_epoch_ns(frame.cts or frame.ts, "ts"), now_ns)
            bids, asks = read_levels(wire.b, LEVEL_TEXTS, "b"), read_levels(wire.a, LEVEL_TEXTS, "a")
            if wire.u < 0 or frame.type not in ("snapshot", "delta"):
                raise FieldError(f"u, type: {wire.u} {frame.type[:40]!r}")
        except DECODE_ERRORS as error:
            # What this message would have changed is lost, so the book is.
            books.break_book(symbol, str(error), now_ns)
            raise
        # Number 1 is the service's that has started again: a whole book, whatever it is called.
        if frame.type == "snapshot" or (wire.u == 1 and books.book(symbol).sequence > 0):
            books.on_snapshot(symbol, wire.u, time_ns, bids, asks)
        else:
            books.on_change(symbol, Change(wire.u, wire.u, -1, time_ns, bids, asks), now_ns)

    def on_trades(self, frame: Frame, _: str, now_ns: int) -> None:
        """Take trades; an option's topic has all of its coin, those that are not wanted too."""
        for trade in TRADES.decode(frame.data):
            if trade.s not in self._market.instruments:
                continue
            time_ns = self._market.check_time(since_epoch_ns(trade.T, "T"), now_ns)
            quantity, price = positive(trade.v, "v"), positive(trade.p, "p")
            self._events.append(TradePrinted(trade.s, trade.i, SIDES[trade.S], quantity, price, time_ns))

    def on_ticker(self, frame: Frame, symbol: str, now_ns: int) -> None:
        wire = TICKER.decode(frame.data)
        if wire.symbol != symbol:
            raise FieldError(f"symbol: {wire.symbol[:40]!r} on the topic of {symbol}")
        market = self._market
        name = market.instruments[self._known(symbol)].underlying
        time_ns = market.check_time(since_epoch_ns(frame.ts, "ts"), now_ns)
        if frame.type == "snapshot":
            self._tops.pop(symbol, None)
        self._on_top(wire, symbol, time_ns)
        if wire.mark_price_iv:
            self._on_vols(wire, symbol, time_ns)
        if wire.funding_rate:
            rate = decimal_of(wire.funding_rate, "fundingRate")
            next_ns = time_of(wire.next_funding_time, "nextFundingTime") if wire.next_funding_time else None
            self._events.append(FundingUpdated(symbol, rate, next_ns, time_ns))
        if wire.index_price:
            market.on_index(name, positive_real(wire.index_price, "indexPrice"), time_ns)
        elif frame.type == "delta":
            market.confirm_index(name, time_ns)
        if wire.mark_price:
            market.on_mark(symbol, positive_real(wire.mark_price, "markPrice"), time_ns)
        elif frame.type == "delta":
            market.confirm_mark(symbol, time_ns)

    def _on_top(self, wire: TickerWire, symbol: str, time_ns: int) -> None:
        """Put what has changed of the best prices together with the rest."""
        told = (
            wire.bid1_price if wire.bid1_price is not None else wire.bid_price,
            wire.bid1_size if wire.bid1_size is not None else wire.bid_size,
            wire.ask1_price if wire.ask1_price is not None else wire.ask_price,
            wire.ask1_size if wire.ask1_size is not None else wire.ask_size,
        )
        if told == (None, None, None, None):
            return
        last = self._tops.get(symbol, NO_TOP)
        texts = tuple(old if new is None else new for new, old in zip(told, last, strict=True))
        bid, bid_size, ask, ask_size = (decimal_of(text, "bid1Price, ask1Price") if text else ZERO for text in texts)
        if bid and ask and bid >= ask:
            raise FieldError(f"bid1Price, ask1Price: crossed, bid {bid} and ask {ask}")
        self._tops[symbol] = texts  # type: ignore[assignment]
        top = TopOfBookUpdated(symbol, bid or None, bid_size, ask or None, ask_size, 0, time_ns)
        self._market.tops[symbol] = top
        self._events.append(top)

    def _on_vols(self, wire: TickerWire, symbol: str, time_ns: int) -> None:
        mark_iv = positive_real(wire.mark_price_iv, "markPriceIv")
        forward = positive_real(wire.underlying_price, "underlyingPrice")
        bid_iv, ask_iv = optional_real(wire.bid_iv, "bidIv"), optional_real(wire.ask_iv, "askIv")
        parts = self._market.parts(symbol)
        parts.mark_iv, parts.forward_price = mark_iv, forward
        self._events.append(OptionVolsUpdated(symbol, mark_iv, bid_iv, ask_iv, forward, time_ns))
