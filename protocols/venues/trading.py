"""Orders, queries and backfills over a VenueSession: what is asked when, and what answers are worth."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocols.errors import LocalProtocolError
from protocols.venues.codec import SETTLE_NS
from protocols.venues.events import OrderNotFound, OrderQueryFailed, OrderStateReported, TradesReported
from protocols.venues.fields import NS_PER_MS, NS_PER_S, number, plain_text
from protocols.venues.jsonrpc import Request
from protocols.venues.lane_feeds import LaneFeeds
from protocols.venues.order_tracker import OrderSeen, TradeSeen
from protocols.venues.rate_limit import RateLimitError
from protocols.venues.requests import HTTP, Kind
from protocols.venues.session import VenueSession
from protocols.venues.settings import Settings
from protocols.venues.tables import VenueTables

MAX_REMEMBERED: Final = 65_536
MAX_PAGES: Final = 500
# Trades are asked for from a little before the last one seen; what is seen twice is told once.
OVERLAP_NS: Final = 5 * NS_PER_S
# On the first connection our clock, not the venue's, says from when on.
CLOCK_MARGIN_NS: Final = 60 * NS_PER_S
ORDER_TYPES: Final = frozenset({"limit", "market"})


class NewOrder(msgspec.Struct, gc=False):
    """An order as it goes out: checked, in the venue's unit of amount and alphabet of ids, words still ours."""

    client_id: str
    symbol: str
    is_buy: bool
    amount: str
    price: str | None
    time_in_force: str
    is_post_only: bool
    is_reduce_only: bool


class OrderChange(msgspec.Struct, gc=False):
    """An amendment as it goes out; `amount` is the whole amount wanted, what is filled already included."""

    order_id: str
    symbol: str
    is_buy: bool
    amount: str
    price: str


class TradingSession(VenueSession):
    """Adds the order interface; a venue adds the words."""

    def __init__(self, tables: VenueTables, settings: Settings) -> None:
        super().__init__(tables, settings)
        self._since_ns = settings.trades_since_ns
        self._must_backfill = self._since_ns is not None
        self._placed_ns: dict[str, int] = {}  # label -> when it was sent
        self._queried: dict[str, OrderSeen] = {}
        self.feeds = LaneFeeds(self.book, self._follow, settings.books_on_demand)

    @property
    def order_lane(self) -> str:
        return self.tables.order_lane

    @property
    def clock_offset_ns(self) -> int | None:
        return self._clock.offset_ns if self._clock.is_known else None

    @property
    def settle_ns(self) -> int:
        return self._settings.recv_window_ms * NS_PER_MS + SETTLE_NS

    # -- what a venue defines

    def _feed_channel(self, symbol: str, is_book: bool) -> tuple[str, str]:
        """Return lane and channel of an instrument's book, or of its trades; an empty channel for none."""
        raise NotImplementedError

    def _is_tradable(self, symbol: str) -> bool:
        """Whether the listing of an instrument gave all that an order needs."""
        return True

    def _bucket(self, symbol: str) -> str:
        """Return what the venue's limits for each symbol count together."""
        return symbol

    def _place_frame(self, request_id: int, order: NewOrder, now_ns: int) -> bytes:
        raise NotImplementedError

    def _replace_frame(self, request_id: int, change: OrderChange, now_ns: int) -> bytes:
        raise NotImplementedError

    def _cancel_frame(self, request_id: int, order_id: str, symbol: str, now_ns: int) -> bytes:
        raise NotImplementedError

    def _ask_cancel_all(self, now_ns: int) -> bool:
        raise NotImplementedError

    def _ask_order(self, label: str, client_id: str, symbol: str, now_ns: int) -> None:
        raise NotImplementedError

    def _ask_order_trades(self, label: str, order_id: str, symbol: str, now_ns: int) -> None:
        raise NotImplementedError

    def _ask_listings(self, run: int, now_ns: int) -> None:
        raise NotImplementedError

    # -- orders

    def can_send_order(self, now_ns: int, symbol: str = "") -> bool:
        """Whether `place` and `replace` would be taken: the session is live and the rate limit has room."""
        lane = self.tables.order_lane
        is_open = self.is_live and not self._lanes[lane].close_reason
        return is_open and self._desk.has_room(Kind.PLACE, now_ns, lane, self._bucket(symbol))

    def place(
        self,
        label: str,
        symbol: str,
        is_buy: bool,
        quantity: str | bytes,
        price: str | bytes | None,
        order_type: str,
        time_in_force: str,
        post_only: bool,
        reduce_only: bool,
        now_ns: int,
        trigger: tuple[str, str | bytes] | None = None,
    ) -> None:
        """Queue one order frame; `quantity` and `price` are decimal texts, `price` None for a market order.

        Raises LocalProtocolError when the session is not live or an argument is malformed, RateLimitError when
        the venue's limit has no room; nothing was sent then.
        """
        self._require_live()
        if trigger is not None or order_type not in ORDER_TYPES:
            raise LocalProtocolError(f"{self.tables.name} takes no {order_type[:40]} orders from us")
        if time_in_force not in self.tables.times_in_force:
            raise LocalProtocolError(f"{self.tables.name} has no orders that are {time_in_force[:40]}")
        if (price is None) is (order_type == "limit"):
            raise LocalProtocolError(f"a {order_type} order with price {price!r}")
        if post_only and (price is None or time_in_force not in ("good_til_cancelled", "good_til_day")):
            raise LocalProtocolError("a post-only order is a limit order that may rest")
        order = NewOrder(
            self.tables.client_ids.encode(label),
            symbol,
            is_buy,
            self._amount(symbol, quantity),
            None if price is None else number(price),
            time_in_force,
            post_only,
            reduce_only,
        )
        lane = self._lanes[self.tables.order_lane]
        request = Request(Kind.PLACE, label=label, symbol=symbol, bucket=self._bucket(symbol), lane=lane.spec.name)
        request_id = self._desk.enter(request, now_ns)
        self._orders.sent_place(label)
        if len(self._placed_ns) >= MAX_REMEMBERED:
            del self._placed_ns[next(iter(self._placed_ns))]
        self._placed_ns[label] = now_ns
        lane.frames.append(self._place_frame(request_id, order, now_ns))

    def replace(
        self,
        label: str,
        venue_order_id: str,
        quantity: str | bytes,
        price: str | bytes,
        now_ns: int,
        post_only: bool = False,
        reduce_only: bool = False,
        trigger_price: str | bytes | None = None,
    ) -> None:
        """Queue one amendment; `quantity` is the whole quantity wanted, and the flags stay. Raises as `place`."""
        self._require_live()
        if trigger_price is not None:
            raise LocalProtocolError(f"{self.tables.name} takes no stop orders from us")
        tracked = self._orders.order(venue_order_id)
        if tracked is None:
            raise LocalProtocolError(f"no such order is known: {venue_order_id[:80]!r}")
        symbol = tracked.symbol
        is_buy = tracked.side == "buy"
        change = OrderChange(venue_order_id, symbol, is_buy, self._amount(symbol, quantity), number(price))
        lane = self._lanes[self.tables.order_lane]
        request = Request(Kind.REPLACE, label=label, symbol=symbol, order_id=venue_order_id, lane=lane.spec.name)
        request.bucket = self._bucket(symbol)
        request_id = self._desk.enter(request, now_ns)
        self._orders.sent_replace(label, venue_order_id, Decimal(number(quantity)), Decimal(change.price))
        lane.frames.append(self._replace_frame(request_id, change, now_ns))

    def cancel(self, label: str, venue_order_id: str, now_ns: int) -> None:
        """Queue one cancel, sent when the rate limit has room. Cancels pass while reconciling too."""
        self._require_authenticated()
        self._now_ns = now_ns
        tracked = self._orders.order(venue_order_id)
        if tracked is None:
            raise LocalProtocolError(f"no such order is known: {venue_order_id[:80]!r}")
        symbol, lane = tracked.symbol, self._lanes[self.tables.order_lane]

        def send(request_id: int, sent_ns: int) -> None:
            lane.frames.append(self._cancel_frame(request_id, venue_order_id, symbol, sent_ns))

        request = Request(Kind.CANCEL, label=label, symbol=symbol, order_id=venue_order_id, lane=lane.spec.name)
        request.bucket = self._bucket(symbol)
        self._ask(request, send, now_ns)

    def cancel_all(self, now_ns: int) -> bool:
        """Queue a cancel of all open orders; False where there was nothing to send it for."""
        self._require_authenticated()
        self._now_ns = now_ns
        return self._ask_cancel_all(now_ns)

    def query_order(self, label: str, symbol: str, now_ns: int) -> None:
        """Ask for an order by label: OrderStateReported after its fills, OrderNotFound, or OrderQueryFailed."""
        self._require_authenticated()
        self._now_ns = now_ns
        if symbol not in self._market.instruments:
            self._events.append(OrderQueryFailed(label, f"unknown symbol {symbol[:64]}"))
            return
        self._ask_order(label, self.tables.client_ids.encode(label), symbol, now_ns)

    def reconcile(self, now_ns: int) -> None:
        """Ask again for missed trades, open orders, positions, balances: ReconcileFinished or -Failed."""
        self._require_authenticated()
        self._now_ns = now_ns
        self._ask_again(now_ns)

    def list_instruments(self, now_ns: int) -> None:
        """Ask for new and changed instruments, and subscribe the new ones."""
        self._require_authenticated()
        self._now_ns = now_ns
        self._ask_listings(0, now_ns)

    def _require_live(self) -> None:
        if not self.is_live:
            raise LocalProtocolError(f"orders are taken when live, not when {self._state.value}")
        lane = self._lanes[self.tables.order_lane]
        if lane.close_reason:
            raise RateLimitError(f"{lane.spec.name} is being closed: {lane.close_reason}")

    def _require_authenticated(self) -> None:
        if self._state.value not in ("reconciling", "live"):
            raise LocalProtocolError(f"no private request is sent when {self._state.value}")

    def _amount(self, symbol: str, quantity: str | bytes) -> str:
        """Return a quantity of ours as the venue's amount, exactly."""
        text = number(quantity)
        unit = self._market.units.get(symbol)
        if unit is None or symbol not in self._market.instruments or not self._is_tradable(symbol):
            raise LocalProtocolError(f"symbol {symbol[:64]!r} can not be traded")
        if unit == 1:
            return text
        # Where contracts are counted, what is no whole lot of them may not even have a text of its own.
        if Decimal(text) % self._market.instruments[symbol].min_trade_amount:
            raise LocalProtocolError(f"quantity {text} of {symbol} is no number of contracts of {unit}")
        return plain_text((Decimal(text) / unit).normalize())

    # -- feeds

    def _follow(self, symbol: str, is_book: bool, is_joining: bool, now_ns: int) -> None:
        """Join or leave the channel of a book, or of trades; of an instrument that is not listed yet, when it is."""
        if symbol not in self._market.instruments:
            return
        name, channel = self._feed_channel(symbol, is_book)
        lane = self._lanes[name]
        if is_book:
            self._market.books.follow(symbol, is_joining)
        if not channel or (channel in lane.wanted) is is_joining:
            return
        if is_joining:
            self._join_channels(lane, (channel,), 0, now_ns)
            return
        if any(
            self.feeds.follows(other, is_book) and self._feed_channel(other, is_book)[1] == channel
            for other in self._market.instruments
        ):
            return  # one that is still read shares it
        del lane.wanted[channel]
        if lane.is_ready:
            self._ask_channels(lane, (channel,), False, now_ns)

    # -- queries

    def _on_order_found(self, request: Request, seen: OrderSeen, now_ns: int) -> None:
        """An order was described as it was asked about: it is told after its fills."""
        seen.check()
        if seen.label != request.label:
            raise ValueError(f"label: asked for {request.label}, answered {seen.label}")
        if self._orders.is_outdated(seen):
            self._events.append(OrderQueryFailed(request.label, "the answer is older than the order's end"))
            return
        self._orders.on_queried(seen)
        if seen.filled:
            self._queried[seen.order_id] = seen
            self._ask_order_trades(request.label, seen.order_id, seen.symbol, now_ns)
        else:
            self._events.append(OrderStateReported(seen.as_state()))

    def _on_order_missing(self, request: Request, now_ns: int) -> None:
        """The venue does not know the order: final once a request that is on its way would be refused as too late."""
        sent_ns = self._placed_ns.get(request.label, self._born_ns or 0)
        if request.sent_ns >= sent_ns + self.settle_ns:
            self._events.append(OrderNotFound(request.label))
        else:
            self._events.append(OrderQueryFailed(request.label, "not found, and it may still be on its way"))

    def _on_order_trades(self, request: Request, trades: list[TradeSeen]) -> None:
        for trade in trades:
            if trade.order_id != request.order_id:
                raise ValueError(f"order id: asked for {request.order_id}, answered {trade.order_id}")
        for trade in trades:
            self._orders.on_trade(trade, is_backfill=True)
        seen = self._queried.pop(request.order_id, None)
        if seen is not None:
            self._events.append(OrderStateReported(seen.as_state()))
        if self._orders.is_short(request.order_id):
            self._report("trades: fewer than the order's filled quantity", request.order_id)

    def _takes_refusal(self, request: Request, code: int, now_ns: int) -> bool:
        if request.kind == Kind.QUERY_ORDER and code in self.tables.gone_codes:
            self._on_order_missing(request, now_ns)
            return True
        return False

    def _on_lost_query(self, request: Request, reason: str) -> None:
        if request.kind in (Kind.QUERY_ORDER, Kind.ORDER_TRADES):
            self._queried.pop(request.order_id, None)
            if request.label:
                self._events.append(OrderQueryFailed(request.label, reason))

    def _on_tick(self, now_ns: int) -> None:
        for order_id in self._orders.due_shortfalls(now_ns):
            tracked = self._orders.order(order_id)
            if tracked is not None:
                self._ask_order_trades("", order_id, tracked.symbol, now_ns)

    # -- backfill

    def _on_interrupted(self, was_live: bool, now_ns: int) -> None:
        self._must_backfill = True
        # Only a session that was live had seen all trades up to its last one; and none is of the future.
        if was_live and self._since_ns is not None:
            last_ns = min(self._orders.last_trade_ns, now_ns)
            self._since_ns = max(self._since_ns, last_ns - OVERLAP_NS)
        self._queried.clear()

    def _ask_trades(self, run: int, now_ns: int) -> None:
        """Ask for trades that may have been missed; on a first connection with no time to start from, none."""
        if self._since_ns is None:
            self._since_ns = (self._born_ns or now_ns) - CLOCK_MARGIN_NS
        if not self._must_backfill:
            self._must_backfill = True
            return
        for scope in self._trade_scopes():
            self._ask_trade_page(
                Request(Kind.TRADES, currency=scope, since_ms=self._since_ns // NS_PER_MS, step=run, lane=HTTP), now_ns
            )

    def _trade_scopes(self) -> list[str]:
        """Return what trades have to be asked for separately: symbols, categories, or just "" for all."""
        raise NotImplementedError

    def _ask_trade_page(self, request: Request, now_ns: int) -> None:
        raise NotImplementedError

    def _on_trade_page(
        self, request: Request, trades: list[TradeSeen], cursor: str, since_ms: int, now_ns: int
    ) -> None:
        """Take one page; with a cursor or a later start, ask for the next."""
        for trade in trades:
            self._orders.on_trade(trade, is_backfill=True)
        count = request.count + len(trades)
        if not cursor and since_ms == request.since_ms:
            assert self._since_ns is not None
            self._events.append(TradesReported(request.currency, self._since_ns, count))
            return
        if request.page >= MAX_PAGES:
            raise ValueError(f"more than {MAX_PAGES} pages of trades")
        following = msgspec.structs.replace(
            request, cursor=cursor, since_ms=since_ms, count=count, page=request.page + 1
        )
        self._ask_trade_page(following, now_ns)

    def _ask_next_page(self, request: Request, cursor: str) -> Request:
        """Return the request for the page that the cursor names."""
        if request.page >= MAX_PAGES:
            raise ValueError(f"more than {MAX_PAGES} pages")
        return msgspec.structs.replace(request, cursor=cursor, page=request.page + 1)
