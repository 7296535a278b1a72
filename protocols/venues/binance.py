"""A session with Binance's futures: streams, the WebSocket API for orders, and REST for the rest, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocols.venues.binance_accounts import BinanceAccounts
from protocols.venues.binance_decode import header_count
from protocols.venues.binance_encode import control_frame, modify_params, place_params
from protocols.venues.binance_market import BinanceMarket
from protocols.venues.binance_streams import (
    API_REPLY,
    ERROR,
    EVENT,
    ID_ONLY,
    SPOT_TICKER,
    STREAM,
    AccountUpdate,
    AggTrade,
    AlgoUpdate,
    BookTicker,
    ConfigUpdate,
    Depth,
    ForceOrder,
    GridUpdate,
    IndexUpdate,
    KeyExpired,
    MarginCall,
    Mark,
    OrderUpdate,
    Shutdown,
    StrategyUpdate,
    StreamEvents,
    StreamFrame,
    Trade,
    TradeLite,
    TriggerReject,
)
from protocols.venues.binance_tables import (
    COIN_M,
    COIN_M_TABLES,
    DEPTH_RULE,
    LIMIT_HEADERS,
    LIMIT_NAMES,
    MARKET,
    PRIVATE,
    PUBLIC,
    TABLES,
    TRADE,
    USD_M,
)
from protocols.venues.books import BookRule
from protocols.venues.codec import HttpResponse
from protocols.venues.events import MarginCallReported
from protocols.venues.fields import DECODE_ERRORS, NS_PER_S, FieldError, since_epoch_ns
from protocols.venues.jsonrpc import Request
from protocols.venues.lanes import Lane, LaneState
from protocols.venues.requests import Kind, RefusedError
from protocols.venues.settings import Settings
from protocols.venues.trading import NewOrder, OrderChange

PRODUCTS: Final = {"usd_m": (USD_M, TABLES), "coin_m": (COIN_M, COIN_M_TABLES)}
# HTTP statuses of a limit that is reached, and of an address that did not heed it.
TOO_MANY: Final = frozenset({418, 429})
DEFAULT_BAN_S: Final = 120
MAX_BAN_S: Final = 3 * 86_400


class BinanceSettings(Settings, frozen=True, gc=False, kw_only=True):
    """What a session with Binance is configured with; see Settings.

    product : "usd_m" or "coin_m"
    depth : speed of the book's stream ("100ms", "250ms", "500ms", "0ms"), empty for no books
    trades : "aggTrade" or "trade", empty for none
    has_tickers : whether to subscribe the best prices
    mark : the mark price's stream
    """

    product: str = "usd_m"
    depth: str = "100ms"
    trades: str = "aggTrade"
    has_tickers: bool = True
    mark: str = "markPrice@1s"


class Binance(BinanceAccounts):
    """Sans-I/O session with Binance USD-M or COIN-M futures; see VenueCodec for how it is driven."""

    def __init__(self, settings: BinanceSettings) -> None:
        if settings.product not in PRODUCTS:
            raise ValueError(f"product is {settings.product!r}, known are {sorted(PRODUCTS)}")
        product, tables = PRODUCTS[settings.product]
        super().__init__(tables, settings, product)
        self._config = settings
        self._streams = BinanceMarket(self._market, self._events)
        streams = self._streams
        self._public: dict[type, Callable[[Any, str, int], None]] = {
            Depth: streams.on_depth,
            BookTicker: streams.on_book_ticker,
            AggTrade: streams.on_agg_trade,
            Trade: streams.on_trade,
            Mark: streams.on_mark,
            IndexUpdate: streams.on_index,
            ForceOrder: streams.on_force_order,
        }
        self._private: dict[type, Callable[[Any, int], None]] = {
            OrderUpdate: self._on_order_update,
            AccountUpdate: self._on_account_update,
            MarginCall: self._on_margin_call,
            KeyExpired: self._on_key_expired,
        }

    # -- lanes

    def url(self, lane: str) -> str:
        """Return what to dial; the private lane's has the listenKey, and is empty until there is one."""
        if lane == PRIVATE:
            key = self._key
            return f"{self._product.private_path}{key}" if key else ""
        return super().url(lane)

    def _login(self, lane: Lane, now_ns: int) -> None:
        if not self._keyring.signer.is_asymmetric:
            self._lane_ready(lane, now_ns)  # each request is signed instead
            return

        def send(request_id: int, sent_ns: int) -> None:
            lane.frames.append(self._writer.logon(request_id, sent_ns))

        self._ask(Request(Kind.LOGIN, lane=TRADE), send, now_ns)

    def _lane_ready(self, lane: Lane, now_ns: int) -> None:
        super()._lane_ready(lane, now_ns)
        if lane.spec.name == TRADE and self._lanes[PRIVATE].state is LaneState.DOWN:
            self._ask_key(now_ns)

    def _on_lane_lost(self, lane: Lane) -> None:
        name = lane.spec.name
        if name == PRIVATE:
            self._forget_key()
            if self._lanes[TRADE].is_ready:
                self._ask_key(self._now_ns)
        elif name == TRADE:
            self._writer.is_logged_on = False
        elif name == PUBLIC:
            self._market.books.on_disconnected(list(self._market.instruments))
            self._market.tops.clear()

    def _ping(self, lane: Lane, now_ns: int) -> None:
        def send(request_id: int, sent_ns: int) -> None:
            if lane.spec.name == TRADE:
                frame = self._writer.frame(request_id, lane.spec.ping, {}, sent_ns, is_signed=False)
            else:
                frame = control_frame(request_id, lane.spec.ping)
            lane.frames.append(frame)

        if lane.is_ready:
            self._ask(Request(Kind.PING, lane=lane.spec.name), send, now_ns)

    def _channel_frame(self, request_id: int, lane: Lane, channels: tuple[str, ...], is_joining: bool) -> bytes:
        return control_frame(request_id, "SUBSCRIBE" if is_joining else "UNSUBSCRIBE", channels)

    def _subscribe_market(self, symbols: list[str], run: int, now_ns: int) -> None:
        config = self._config
        fast: list[str] = []
        slow: list[str] = []
        for symbol in symbols:
            stream = symbol.lower()
            for is_book in (True, False):
                lane, channel = self._feed_channel(symbol, is_book)
                if channel and self.feeds.follows(symbol, is_book):
                    (fast if lane == PUBLIC else slow).append(channel)
                if is_book and config.has_tickers:
                    fast.append(f"{stream}@bookTicker")
            if config.mark:
                slow.append(f"{stream}@{config.mark}")
            if config.mark and self._product.is_inverse:
                slow.append(f"{self._market.instruments[symbol].underlying.lower()}@indexPrice@1s")
        self._join_channels(self._lanes[PUBLIC], tuple(fast), run, now_ns)
        self._join_channels(self._lanes[MARKET], tuple(dict.fromkeys(slow)), run, now_ns)

    def _feed_channel(self, symbol: str, is_book: bool) -> tuple[str, str]:
        stream, config = symbol.lower(), self._config
        if is_book:
            return PUBLIC, f"{stream}@depth@{config.depth}" if config.depth else ""
        return MARKET if config.trades == "aggTrade" else PUBLIC, f"{stream}@{config.trades}" if config.trades else ""

    def _book_rule_of(self, symbol: str) -> BookRule:
        return DEPTH_RULE

    # -- receiving

    def _on_frame(self, lane: Lane, frame: bytes, now_ns: int) -> None:
        name = lane.spec.name
        if name == TRADE:
            self._on_api_reply(frame, now_ns)
            return
        try:
            message = STREAM.decode(frame)
        except msgspec.ValidationError:
            if frame[:1] == b"[":
                self._on_event(name, EVENT.decode(frame), "", now_ns)
                return
            # The one event that does not say what it is.
            if name != PUBLIC or b"@bookTicker" not in frame:
                raise
            self._streams.on_spot_ticker(SPOT_TICKER.decode(frame).data, now_ns)
            return
        event = message.data
        if name != PRIVATE:
            reader = self._public.get(type(event))
            if reader is not None:
                reader(event, message.stream, now_ns)
                return
        if event is msgspec.UNSET:
            if message.id is not None:
                self._on_control_reply(message, now_ns)
                return
            event = EVENT.decode(frame)
        self._on_event(name, event, message.stream, now_ns)

    def _on_event(self, lane: str, event: StreamEvents, stream: str, now_ns: int) -> None:
        """Read an event of the account, one of the market that came without its stream's name, or many at once."""
        if isinstance(event, list):
            if lane == PRIVATE or not event:
                raise FieldError(f"data: a list of {len(event)} on the {lane} lane")
            for one in event:
                self._on_event(lane, one, stream, now_ns)
            return
        if lane == PRIVATE:
            private = self._private.get(type(event))
            if private is not None:
                private(event, now_ns)
            elif type(event) not in UNUSED:
                raise FieldError(f"e: {type(event).__name__} on the private lane")
            return
        public = self._public.get(type(event))
        if public is None:
            raise FieldError(f"e: {type(event).__name__} on the {lane} lane")
        public(event, stream, now_ns)

    def _on_control_reply(self, message: StreamFrame, now_ns: int) -> None:
        assert message.id is not None
        error = message.error
        refusal = None if error is None else RefusedError(error.code, error.msg)
        self._settle_id(message.id, message.result, refusal, now_ns)

    def _on_api_reply(self, frame: bytes, now_ns: int) -> None:
        reply = API_REPLY.decode(frame)
        for limit in reply.rateLimits:
            name = LIMIT_NAMES.get((limit.rateLimitType, limit.interval, limit.intervalNum))
            if name is not None:
                self._budgets.window(name).observe(limit.count, now_ns)
        if reply.id is None:
            self.malformed_frames += 1
            error = reply.error
            self._report("id: null" if error is None else error.msg, TRADE, 0 if error is None else error.code)
            return
        refusal = None
        if reply.error is not None:
            refusal = RefusedError(reply.error.code, reply.error.msg)
        elif reply.status != 200 or not reply.result:
            raise FieldError(f"status, result: {reply.status} without a result")
        self._settle_id(reply.id, reply.result, refusal, now_ns)

    def _request_id_in(self, frame: bytes) -> int | None:
        try:
            return ID_ONLY.decode(frame).id
        except DECODE_ERRORS:
            return None

    def _refusal_of(self, response: HttpResponse) -> RefusedError:
        try:
            error = ERROR.decode(response.body)
        except DECODE_ERRORS:
            return RefusedError(0, f"HTTP {response.status} without a code")
        return RefusedError(error.code, error.msg)

    def _observe(self, request: Request, response: HttpResponse, now_ns: int) -> None:
        headers = response.headers
        try:
            for header, name in LIMIT_HEADERS.items():
                if header in headers:
                    self._budgets.window(name).observe(header_count(headers[header]), now_ns)
            if response.status in TOO_MANY:
                pause_s = header_count(headers["retry-after"]) if "retry-after" in headers else DEFAULT_BAN_S
                self._budgets.window("weight").block(now_ns + min(pause_s, MAX_BAN_S) * NS_PER_S)
        except FieldError as error:
            self._report(str(error), "headers")

    # -- the user data stream

    def _on_margin_call(self, event: MarginCall, now_ns: int) -> None:
        symbols = tuple(position.s for position in event.p)
        self._events.append(MarginCallReported(symbols, since_epoch_ns(event.E, "E")))

    def _on_key_expired(self, event: KeyExpired, now_ns: int) -> None:
        self._forget_key()
        self._close_lane(self._lanes[PRIVATE], "the listenKey has expired")

    # -- orders

    def _place_frame(self, request_id: int, order: NewOrder, now_ns: int) -> bytes:
        params = place_params(order, self.tables.times_in_force, self._settings.self_trade)
        return self._writer.frame(request_id, "order.place", params, now_ns)

    def _replace_frame(self, request_id: int, change: OrderChange, now_ns: int) -> bytes:
        return self._writer.frame(request_id, "order.modify", modify_params(change), now_ns)

    def _cancel_frame(self, request_id: int, order_id: str, symbol: str, now_ns: int) -> bytes:
        return self._writer.frame(request_id, "order.cancel", {"symbol": symbol, "orderId": int(order_id)}, now_ns)


# Events that are known and say nothing that is not said by others.
UNUSED: Final = frozenset({TradeLite, ConfigUpdate, AlgoUpdate, StrategyUpdate, GridUpdate, TriggerReject, Shutdown})
