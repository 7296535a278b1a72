"""Binance's public streams: books, best prices, trades, marks and liquidations."""

from __future__ import annotations

from typing import Final

from protocols.venues.binance_decode import SnapshotWire
from protocols.venues.binance_streams import (
    LEVEL_TEXTS,
    AggTrade,
    BookTicker,
    Depth,
    ForceOrder,
    IndexUpdate,
    Mark,
    SpotTicker,
    Trade,
)
from protocols.venues.binance_tables import DEPTH_RULE, SPOT_RULE
from protocols.venues.books import Change
from protocols.venues.events import Event, FundingUpdated, TopOfBookUpdated, TradePrinted
from protocols.venues.fields import (
    DECODE_ERRORS,
    NUMBERS,
    ONE,
    FieldError,
    decimal_of,
    positive,
    positive_real,
    since_epoch_ns,
)
from protocols.venues.levels import read_levels
from protocols.venues.market_data import MarketData

# Trades outside of the book: against the insurance fund, or none at all with price 0.
OUTSIDE_TRADES: Final = frozenset({"NA"})


class BinanceMarket:
    """Reads what the streams say into the session's market data and events."""

    def __init__(self, market: MarketData, events: list[Event]) -> None:
        self._market = market
        self._events = events

    def _known(self, symbol: str) -> None:
        if symbol not in self._market.units:
            raise FieldError(f"s: {symbol[:40]!r} is not listed")

    def on_depth(self, depth: Depth, stream: str, now_ns: int) -> None:
        symbol = depth.s
        self._known(symbol)
        books = self._market.books
        try:
            time_ns = self._market.check_time(since_epoch_ns(depth.T or depth.E, "T"), now_ns)
            bids, asks = read_levels(depth.b, LEVEL_TEXTS, "b"), read_levels(depth.a, LEVEL_TEXTS, "a")
            if not 0 <= depth.U <= depth.u:
                raise FieldError(f"U, u: {depth.U} to {depth.u}")
        except DECODE_ERRORS as error:
            # What this message would have changed is lost, so the book is.
            books.break_book(symbol, str(error), now_ns)
            raise
        if stream and stream.rpartition("@depth")[2][:1].isdigit():
            # A stream of the best levels only: each message is a whole book.
            books.on_snapshot(symbol, depth.u, time_ns, bids, asks)
            return
        feed = books.feed(symbol)
        if depth.pu < 0 and feed.rule is DEPTH_RULE:
            feed.rule = SPOT_RULE
        books.on_change(symbol, Change(depth.U, depth.u, depth.pu, time_ns, bids, asks), now_ns)

    def on_snapshot(self, symbol: str, wire: SnapshotWire, now_ns: int) -> None:
        bids, asks = (
            read_levels(wire.bids, LEVEL_TEXTS, "bids"),
            read_levels(wire.asks, LEVEL_TEXTS, "asks"),
        )
        time_ns = since_epoch_ns(wire.T, "T") if wire.T else now_ns
        self._market.books.on_requested(symbol, wire.lastUpdateId, time_ns, bids, asks, now_ns)

    def on_book_ticker(self, ticker: BookTicker, _: str, now_ns: int) -> None:
        self._tell_top(ticker, self._market.check_time(since_epoch_ns(ticker.T or ticker.E, "T"), now_ns))

    def on_spot_ticker(self, ticker: SpotTicker, now_ns: int) -> None:
        self._tell_top(ticker, now_ns)

    def _tell_top(self, ticker: BookTicker | SpotTicker, time_ns: int) -> None:
        symbol = ticker.s
        unit = self._market.units.get(symbol)
        if unit is None:
            raise FieldError(f"s: {symbol[:40]!r} is not listed")
        known = NUMBERS.get
        bid, bid_amount, ask, ask_amount = known(ticker.b), known(ticker.B), known(ticker.a), known(ticker.A)
        if bid is None or bid_amount is None or ask is None or ask_amount is None:
            bid, bid_amount = decimal_of(ticker.b, "b"), decimal_of(ticker.B, "B")
            ask, ask_amount = decimal_of(ticker.a, "a"), decimal_of(ticker.A, "A")
        if bid >= ask and bid_amount and ask_amount:
            raise FieldError(f"b, a: crossed, bid {bid} and ask {ask}")
        if unit is not ONE:
            bid_amount, ask_amount = bid_amount * unit, ask_amount * unit
        top = self._market.tops[symbol] = TopOfBookUpdated(
            symbol, bid if bid_amount else None, bid_amount, ask if ask_amount else None, ask_amount, ticker.u, time_ns
        )
        self._events.append(top)

    def on_agg_trade(self, trade: AggTrade, _: str, now_ns: int) -> None:
        self._tell_trade(trade.s, trade.a, trade.p, trade.q, trade.T, trade.m, now_ns)

    def on_trade(self, trade: Trade, _: str, now_ns: int) -> None:
        if trade.X not in OUTSIDE_TRADES:
            self._tell_trade(trade.s, trade.t, trade.p, trade.q, trade.T, trade.m, now_ns)

    def _tell_trade(self, symbol: str, trade_id: int, price: str, amount: str, time: int, m: bool, now_ns: int) -> None:
        time_ns = self._market.check_time(since_epoch_ns(time, "T"), now_ns)
        quantity = self._market.quantity(symbol, positive(amount, "q"))
        # m: the buyer is the maker, so the taker sold.
        side: Final = "sell" if m else "buy"
        self._events.append(TradePrinted(symbol, str(trade_id), side, quantity, positive(price, "p"), time_ns))

    def on_force_order(self, order: ForceOrder, _: str, now_ns: int) -> None:
        body = order.o
        time_ns = self._market.check_time(since_epoch_ns(body.T, "T"), now_ns)
        quantity = self._market.quantity(body.s, positive(body.l, "l"))
        self._events.append(
            TradePrinted(
                body.s, "", "buy" if body.S == "BUY" else "sell", quantity, positive(body.ap, "ap"), time_ns, True
            )
        )  # fmt: skip

    def on_mark(self, mark: Mark, _: str, now_ns: int) -> None:
        market = self._market
        self._known(mark.s)
        time_ns = market.check_time(since_epoch_ns(mark.E, "E"), now_ns)
        price = positive_real(mark.p, "p")
        if mark.i:
            market.on_index(market.instruments[mark.s].underlying, positive_real(mark.i, "i"), time_ns)
        if mark.r and mark.T:
            rate = decimal_of(mark.r, "r")
            self._events.append(FundingUpdated(mark.s, rate, since_epoch_ns(mark.T, "T"), time_ns))
        market.on_mark(mark.s, price, time_ns)

    def on_index(self, index: IndexUpdate, _: str, now_ns: int) -> None:
        time_ns = self._market.check_time(since_epoch_ns(index.E, "E"), now_ns)
        self._market.on_index(index.i, positive_real(index.p, "p"), time_ns)
