"""The venue of a storm: two perpetuals, books made from the recorded volume and range, and orders filled against them.

A book has ten levels a side. The touch is a basis point from the mark and a part of the bar's range further; each level
holds a part of what a minute of the bar traded, and what an order takes is gone until the next turn.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Final

from gateway.executions import Executions
from gateway.storm.prices import Bar
from gateway.venues.symbols import VenueSymbols
from protocols.venues import events
from protocols.venues.orderbook import OrderBook
from protocols.venues.trade_tape import TradeTape
from risk.exposure import WorkingOrder
from risk.instrument import Side
from risk.order import Approved

VENUE: Final = "deribit"
SYMBOLS: Final = {"BTC": "BTC_USDC-PERPETUAL", "ETH": "ETH_USDC-PERPETUAL"}
TICKS: Final = {"BTC": Decimal("0.5"), "ETH": Decimal("0.05")}
LOTS: Final = {"BTC": Decimal("0.001"), "ETH": Decimal("0.01")}
TAKER_FEE: Final = Decimal("0.0005")
LEVELS: Final = 10
# Half the spread: of the price, and of the range of a minute of the bar. A level's size: of a minute's volume.
TOUCH: Final = 0.0001
TOUCH_OF_RANGE: Final = 0.02
LEVEL_OF_MINUTE: Final = 0.02


class StormVenue:
    """A feed and an order entry in one; `tell` moves its market, `answer` says what became of orders."""

    state_name = "live"

    def __init__(self) -> None:
        self.symbols = VenueSymbols("")
        self.executions: Executions | None = None
        self.fills = 0
        self.traded_usd = 0.0
        self._books = {symbol: OrderBook(symbol) for symbol in SYMBOLS.values()}
        self._tapes = {symbol: TradeTape() for symbol in SYMBOLS.values()}
        self._waiting: list[tuple[str, Approved]] = []
        self._cancels: list[WorkingOrder] = []
        self._sequence = 0

    # -- its market --------------------------------------------------------------------------------------------------

    def listings(self) -> list[events.InstrumentListed]:
        """Return its two instruments: linear, in USDC."""
        return [
            events.InstrumentListed(
                symbol=symbol, kind="perpetual", is_inverse=False, underlying=f"{coin.lower()}_usdc",
                base_currency=coin, quote_currency="USDC", settlement_currency="USDC", tick_size=TICKS[coin],
                tick_steps=(), min_trade_amount=LOTS[coin], contract_size=LOTS[coin], strike=None, option_type=None,
                expiration_ns=None, maker_fee=Decimal(0), taker_fee=TAKER_FEE, is_open=True,
            )
            for coin, symbol in SYMBOLS.items()
        ]  # fmt: skip

    def tell(self, coin: str, price: float, bar: Bar, now_ns: int) -> None:
        """Tell a mark, and make the book around it anew."""
        assert self.executions is not None
        symbol, tick = SYMBOLS[coin], float(TICKS[coin])
        self.executions.handle(events.MarkPriceUpdated(symbol, price, price, now_ns), now_ns)
        minutes = bar.seconds / 60
        reach = (bar.high - bar.low) / bar.open / minutes**0.5
        half = max(tick, price * (TOUCH + TOUCH_OF_RANGE * reach))
        lots = max(1, int(bar.volume / minutes * LEVEL_OF_MINUTE / float(LOTS[coin])))
        size = lots * LOTS[coin]
        self._sequence += 1
        sides = [
            [(_whole(price + sign * half * (1 + number / 2), TICKS[coin]), size) for number in range(LEVELS)]
            for sign in (-1, 1)
        ]
        self._books[symbol].apply_snapshot(self._sequence, now_ns, dict(sides[0]).items(), dict(sides[1]).items())

    # -- what the gateway reads --------------------------------------------------------------------------------------

    def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None:
        """Everything is told anyhow."""

    def book(self, symbol: str) -> OrderBook:
        """Return an instrument's book."""
        return self._books[symbol]

    def tape(self, symbol: str) -> TradeTape:
        """Return an instrument's trades: none."""
        return self._tapes[symbol]

    # -- its order entry ---------------------------------------------------------------------------------------------

    def place(self, approved: Approved, order_id: str, now_ns: int) -> str | None:
        """Take an order; it is answered with `answer`."""
        self._waiting.append((order_id, approved))
        return None

    def cancel(self, order: WorkingOrder, now_ns: int) -> None:
        """Take a cancel."""
        self._cancels.append(order)

    def replace(self, order: WorkingOrder, now_ns: int) -> str | None:
        """No client is here that could replace one."""
        return "orders are not replaced in a storm"

    def flush(self) -> None:
        """Nothing is written."""

    def answer(self, now_ns: int) -> int:
        """Fill what came against the books, end the rest: all is immediate or cancelled. Return how many orders."""
        waiting, self._waiting = self._waiting, []
        for order_id, approved in waiting:
            self._trade(order_id, approved, now_ns)
        self._cancels.clear()  # nothing rests
        return len(waiting)

    def _trade(self, order_id: str, approved: Approved, now_ns: int) -> None:
        assert self.executions is not None
        order, instrument = approved.order, approved.instrument
        side: events.Side = "buy" if order.side is Side.BUY else "sell"
        name, limit = f"V-{order_id}", instrument.price(order.ticks)
        self.executions.handle(
            events.OrderAccepted(
                order_id, name, instrument.symbol, side, instrument.quantity(order.lots), limit, now_ns
            ),
            now_ns,
        )
        filled, left = Decimal(0), instrument.quantity(order.lots)
        book = self._books[instrument.symbol]
        theirs = book.asks if order.side is Side.BUY else book.bids
        for price, amount in list(theirs.depth(LEVELS)):
            is_beyond = price > limit if order.side is Side.BUY else price < limit
            if is_beyond or left <= 0:
                break
            part = min(left, amount)
            left -= part
            filled += part
            self._take(book, order.side, price, amount - part, now_ns)
            self._fill(order_id, name, instrument.symbol, side, part, price, now_ns)
        if left > 0:
            self.executions.handle(events.OrderCancelled(order_id, name, "immediate_or_cancel", filled), now_ns)

    def _take(self, book: OrderBook, side: Side, price: Decimal, left: Decimal, now_ns: int) -> None:
        self._sequence += 1
        change = [(price, left)]
        bids, asks = ([], change) if side is Side.BUY else (change, [])
        book.apply_change(book.sequence, self._sequence, now_ns, bids, asks)

    def _fill(
        self, order_id: str, name: str, symbol: str, side: events.Side, quantity: Decimal, price: Decimal, now_ns: int
    ) -> None:
        assert self.executions is not None
        self.fills += 1
        self.traded_usd += float(quantity * price)
        fee = (quantity * price * TAKER_FEE).quantize(Decimal("0.00000001"))
        self.executions.handle(
            events.OrderFilled(
                label=order_id, venue_order_id=name, symbol=symbol, trade_id=f"s{self.fills}",
                side=side, quantity=quantity, price=price, fee=fee, fee_currency="USDC",
                is_maker=False, time_ns=now_ns,
            ),
            now_ns,
        )  # fmt: skip


def _whole(price: float, tick: Decimal) -> Decimal:
    return max(tick, (Decimal(price) / tick).to_integral_value(ROUND_DOWN) * tick)
