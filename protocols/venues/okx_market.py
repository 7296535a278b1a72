"""OKX's public channels: books with their checksum, best prices, trades, and the parts of a mark."""

from __future__ import annotations

from collections.abc import Callable

from protocols.venues.books import BookRule, Books, Change, Link
from protocols.venues.events import Event, FundingUpdated, OptionVolsUpdated, TopOfBookUpdated, TradePrinted
from protocols.venues.fields import (
    DECODE_ERRORS,
    ZERO,
    FieldError,
    decimal_of,
    optional,
    optional_real,
    positive,
    positive_real,
    time_of,
)
from protocols.venues.levels import read_levels
from protocols.venues.market_data import MarketData
from protocols.venues.okx_decode import (
    BOOKS,
    FUNDINGS,
    INDICES,
    LEVEL_TEXTS,
    MARKS,
    OPTIONS,
    PRICE_LIMITS,
    TICKERS,
    TRADES,
    Arg,
    BookWire,
    Frame,
    book_checksum,
)
from protocols.venues.orderbook import Level


class OkxMarket:
    """Reads what the channels say into the session's market data and events."""

    def __init__(self, market: MarketData, events: list[Event], rules: dict[str, BookRule]) -> None:
        self._market = market
        self._events = events
        self._rules = rules
        self.readers: dict[str, Callable[[Frame, Arg, int], None]] = {
            "trades": self.on_trades,
            "tickers": self.on_tickers,
            "mark-price": self.on_marks,
            "index-tickers": self.on_indices,
            "funding-rate": self.on_fundings,
            "opt-summary": self.on_options,
            "price-limit": self.on_price_limits,
            **dict.fromkeys(rules, self.on_books),
        }

    def _known(self, symbol: str) -> str:
        if symbol not in self._market.instruments:
            raise FieldError(f"instId: {symbol[:40]!r} is not listed")
        return symbol

    def _time(self, text: str, now_ns: int) -> int:
        return self._market.check_time(time_of(text, "ts"), now_ns)

    # -- books

    def on_books(self, frame: Frame, arg: Arg, now_ns: int) -> None:
        symbol = self._known(arg.inst_id)
        books, rule = self._market.books, self._rules[arg.channel]
        try:
            for wire in BOOKS.decode(frame.data):
                time_ns = self._time(wire.ts, now_ns)
                bids, asks = read_levels(wire.bids, LEVEL_TEXTS, "bids"), read_levels(wire.asks, LEVEL_TEXTS, "asks")
                if rule.link is Link.NONE:
                    books.on_snapshot(symbol, wire.seq_id or 0, time_ns, bids, asks)
                else:
                    self._on_book(books, symbol, frame.action, wire, time_ns, (bids, asks), now_ns)
        except DECODE_ERRORS as error:
            # What this message would have changed is lost, so the book is.
            books.break_book(symbol, str(error), now_ns)
            raise

    def _on_book(
        self,
        books: Books,
        symbol: str,
        action: str,
        wire: BookWire,
        time_ns: int,
        sides: tuple[list[Level], list[Level]],
        now_ns: int,
    ) -> None:
        bids, asks = sides
        if action == "snapshot":
            is_applied = books.on_snapshot(symbol, -1 if wire.seq_id is None else wire.seq_id, time_ns, bids, asks)
        elif action != "update":
            raise FieldError(f"action: {action[:40]!r}")
        else:
            previous, sequence = wire.prev_seq_id, wire.seq_id
            if previous is None or sequence is None:
                # Frames of before 2023 are not numbered: the checksum alone proves that none is missing.
                if not wire.checksum:
                    raise FieldError("seqId, prevSeqId: missing, and checksum is 0")
                previous = sequence = books.book(symbol).sequence
            is_applied = books.on_change(symbol, Change(sequence, sequence, previous, time_ns, bids, asks), now_ns)
        # Since June 2026 the venue writes 0, which says nothing.
        if is_applied and wire.checksum:
            checksum = book_checksum(books.book(symbol))
            if checksum != wire.checksum:
                books.break_book(symbol, f"checksum: {wire.checksum}, the book has {checksum}", now_ns)

    # -- the others

    def on_trades(self, frame: Frame, arg: Arg, now_ns: int) -> None:
        for trade in TRADES.decode(frame.data):
            symbol = self._known(trade.inst_id)
            quantity = self._market.quantity(symbol, positive(trade.sz, "sz"))
            price, time_ns = positive(trade.px, "px"), self._time(trade.ts, now_ns)
            self._events.append(TradePrinted(symbol, trade.trade_id, trade.side, quantity, price, time_ns))

    def on_tickers(self, frame: Frame, arg: Arg, now_ns: int) -> None:
        market = self._market
        for ticker in TICKERS.decode(frame.data):
            symbol, time_ns = self._known(ticker.inst_id), self._time(ticker.ts, now_ns)
            bid, ask = optional(ticker.bid_px, "bidPx") or None, optional(ticker.ask_px, "askPx") or None
            if bid is not None and ask is not None and bid >= ask:
                raise FieldError(f"bidPx, askPx: crossed, bid {bid} and ask {ask}")
            sizes = [optional(text, "bidSz, askSz") or ZERO for text in (ticker.bid_sz, ticker.ask_sz)]
            bid_quantity, ask_quantity = (market.quantity(symbol, size) for size in sizes)
            top = market.tops[symbol] = TopOfBookUpdated(symbol, bid, bid_quantity, ask, ask_quantity, 0, time_ns)
            self._events.append(top)

    def on_marks(self, frame: Frame, arg: Arg, now_ns: int) -> None:
        for mark in MARKS.decode(frame.data):
            symbol = self._known(mark.inst_id)
            self._market.on_mark(symbol, positive_real(mark.mark_px, "markPx"), self._time(mark.ts, now_ns))

    def on_indices(self, frame: Frame, arg: Arg, now_ns: int) -> None:
        for index in INDICES.decode(frame.data):
            price = positive_real(index.idx_px, "idxPx")
            self._market.on_index(index.inst_id, price, self._time(index.ts, now_ns))

    def on_fundings(self, frame: Frame, arg: Arg, now_ns: int) -> None:
        for funding in FUNDINGS.decode(frame.data):
            symbol, rate = self._known(funding.inst_id), decimal_of(funding.funding_rate, "fundingRate")
            time_ns = self._time(funding.ts, now_ns) if funding.ts else now_ns
            next_ns = time_of(funding.funding_time, "fundingTime")
            self._events.append(FundingUpdated(symbol, rate, next_ns, time_ns))

    def on_options(self, frame: Frame, arg: Arg, now_ns: int) -> None:
        """Take a family's volatilities; instruments that are not wanted are in it too."""
        for option in OPTIONS.decode(frame.data):
            symbol = option.inst_id
            if symbol not in self._market.instruments:
                continue
            time_ns = self._time(option.ts, now_ns)
            mark_iv, forward = positive_real(option.mark_vol, "markVol"), positive_real(option.fwd_px, "fwdPx")
            bid_iv, ask_iv = optional_real(option.bid_vol, "bidVol"), optional_real(option.ask_vol, "askVol")
            self._events.append(OptionVolsUpdated(symbol, mark_iv, bid_iv, ask_iv, forward, time_ns))
            parts = self._market.parts(symbol)
            parts.mark_iv, parts.forward_price = mark_iv, forward

    def on_price_limits(self, frame: Frame, arg: Arg, now_ns: int) -> None:
        for limit in PRICE_LIMITS.decode(frame.data):
            parts = self._market.parts(self._known(limit.inst_id))
            self._time(limit.ts, now_ns)
            parts.max_price = optional_real(limit.buy_lmt, "buyLmt")
            parts.min_price = optional_real(limit.sell_lmt, "sellLmt")
