"""A session with OKX v5: a public and a private connection, and REST for the rest, without I/O."""

from __future__ import annotations

from typing import Final

import msgspec

from protocols.venues.books import BookRule
from protocols.venues.codec import HttpResponse
from protocols.venues.events import NoticeReported
from protocols.venues.fields import DECODE_ERRORS, FieldError
from protocols.venues.jsonrpc import Request
from protocols.venues.lanes import Lane
from protocols.venues.okx_accounts import OkxAccounts
from protocols.venues.okx_decode import ACKS, FRAME, ID_ONLY, REPLY, Ack, Arg, Frame, code_of
from protocols.venues.okx_encode import (
    amend_frame,
    batch_cancel_frame,
    cancel_frame,
    channel_frame,
    login_frame,
    mass_cancel_frame,
    place_frame,
)
from protocols.venues.okx_market import OkxMarket
from protocols.venues.okx_tables import BOOK_RULES, PRIVATE, PUBLIC, TABLES
from protocols.venues.requests import ORDER_KINDS, Kind, RefusedError
from protocols.venues.settings import Settings
from protocols.venues.trading import NewOrder, OrderChange

BATCH: Final = 20
TRADE_MODES: Final = frozenset({"cross", "isolated", "cash"})


class OkxSettings(Settings, frozen=True, gc=False, kw_only=True):
    """What a session with OKX is configured with; see Settings. The keyring needs the key's passphrase.

    inst_types : what to list ("SPOT", "SWAP", "FUTURES")
    option_families : families of options to list ("BTC-USD")
    books : the channel for books, empty for none
    has_tickers, has_trades : whether to subscribe the best prices, and trades
    trade_mode : tdMode of orders in derivatives; spot is traded for cash
    has_market_maker_protection : whether `cancel_all` also sends mass-cancel for each family of options
    """

    inst_types: tuple[str, ...] = ("SWAP", "FUTURES")
    option_families: tuple[str, ...] = ()
    books: str = "books"
    has_tickers: bool = True
    has_trades: bool = True
    trade_mode: str = "cross"
    has_market_maker_protection: bool = False


class Okx(OkxAccounts):
    """Sans-I/O session with OKX; see VenueCodec for how it is driven."""

    def __init__(self, settings: OkxSettings) -> None:
        if settings.books and settings.books not in BOOK_RULES:
            raise ValueError(f"books is {settings.books!r}, known are {sorted(BOOK_RULES)}")
        if settings.trade_mode not in TRADE_MODES:
            raise ValueError(f"trade_mode is {settings.trade_mode!r}, known are {sorted(TRADE_MODES)}")
        if not settings.keyring.passphrase:
            raise ValueError("the keyring needs a passphrase")
        super().__init__(TABLES, settings, settings.inst_types, settings.option_families)
        self._config = settings
        self._channels = OkxMarket(self._market, self._events, BOOK_RULES)
        # (lane, event, channel) -> the request that waits for it, and for how many channels a request waits.
        self._joining: dict[tuple[str, str, str], int] = {}
        self._missing: dict[int, int] = {}

    # -- lanes

    def _login(self, lane: Lane, now_ns: int) -> None:
        def send(request_id: int, sent_ns: int) -> None:
            self._login_id = request_id
            lane.frames.append(login_frame(self._keyring, self._clock, sent_ns))

        self._ask(Request(Kind.LOGIN, lane=lane.spec.name), send, now_ns)

    def _on_lane_lost(self, lane: Lane) -> None:
        name = lane.spec.name
        for key in [key for key in self._joining if key[0] == name]:
            self._missing.pop(self._joining.pop(key), None)
        if name == PUBLIC:
            self._market.on_disconnected(list(self._market.instruments))

    def _channel_frame(self, request_id: int, lane: Lane, channels: tuple[str, ...], is_joining: bool) -> bytes:
        event = "subscribe" if is_joining else "unsubscribe"
        for channel in channels:
            self._joining[lane.spec.name, event, channel] = request_id
        self._missing[request_id] = len(channels)
        return channel_frame(request_id, channels, is_joining)

    def _subscribe_market(self, symbols: list[str], run: int, now_ns: int) -> None:
        channels: dict[str, None] = {}
        for symbol in symbols:
            instrument = self._market.instruments[symbol]
            for is_book in (True, False):
                _, channel = self._feed_channel(symbol, is_book)
                if channel and self.feeds.follows(symbol, is_book):
                    channels[channel] = None
                if is_book and self._config.has_tickers:
                    channels[f"tickers:{symbol}"] = None
            channels[f"index-tickers:{instrument.underlying}"] = None
            if instrument.kind == "option":
                channels[f"opt-summary:{self._families[symbol]}"] = None
            if instrument.kind != "spot":
                channels[f"mark-price:{symbol}"] = None
                channels[f"price-limit:{symbol}"] = None
            if instrument.kind == "perpetual":
                channels[f"funding-rate:{symbol}"] = None
        lane = self._lanes[PUBLIC]
        self._join_channels(lane, tuple(key for key in channels if key not in lane.wanted), run, now_ns)

    def _feed_channel(self, symbol: str, is_book: bool) -> tuple[str, str]:
        if is_book:
            return PUBLIC, f"{self._config.books}:{symbol}" if self._config.books else ""
        return PUBLIC, f"trades:{symbol}" if self._config.has_trades else ""

    def _book_rule_of(self, symbol: str) -> BookRule:
        return BOOK_RULES[self._config.books or "books"]

    def _ask_snapshot(self, symbol: str, now_ns: int) -> None:
        """Leave and join the channel of a broken book: a new subscription begins with a snapshot."""
        lane, channels = self._lanes[PUBLIC], (f"{self._config.books}:{symbol}",)
        if lane.is_ready:
            self._ask_channels(lane, channels, False, now_ns)
            self._ask_channels(lane, channels, True, now_ns, symbol=symbol)

    # -- receiving

    def _on_frame(self, lane: Lane, frame: bytes, now_ns: int) -> None:
        if frame == b"pong":
            return
        message = FRAME.decode(frame)
        try:
            self._on_message(lane, message, now_ns)
        except msgspec.ValidationError as error:
            raise FieldError(f"data: {error}") from None  # all else is in the frame's own struct

    def _on_message(self, lane: Lane, message: Frame, now_ns: int) -> None:
        if message.event:
            self._on_event(lane, message, now_ns)
        elif message.op:
            self._on_op(message, now_ns)
        elif message.arg is not None and message.data:
            self._on_data(lane, message, message.arg, now_ns)
        else:
            raise FieldError("arg, event, op: none of them, so neither data nor a reply")

    def _on_data(self, lane: Lane, message: Frame, arg: Arg, now_ns: int) -> None:
        if lane.spec.name == PRIVATE:
            private = self._private.get(arg.channel)
            if private is None:
                raise FieldError(f"channel: {arg.channel[:40]!r} on the private lane")
            private(message.data, now_ns)
            return
        public = self._channels.readers.get(arg.channel)
        if public is None:
            raise FieldError(f"channel: {arg.channel[:40]!r} on the public lane")
        public(message, arg, now_ns)

    def _on_event(self, lane: Lane, message: Frame, now_ns: int) -> None:
        event, code = message.event, code_of(message.code)
        if event in ("subscribe", "unsubscribe") and message.arg is not None:
            self._on_joined((lane.spec.name, event, message.arg.key), now_ns)
        elif event == "login" and message.code == "0":
            login_id, self._login_id = self._login_id, 0
            if self._requests.settle(login_id) is not None:
                self._lane_ready(lane, now_ns)
        elif event in ("error", "login"):
            self._on_error(lane, message, RefusedError(code, message.msg), now_ns)
        elif event == "notice":
            self._events.append(NoticeReported(code, self._keyring.redact(message.msg)))
        elif event != "channel-conn-count":
            raise FieldError(f"event: {event[:40]!r} is none that is known")

    def _on_joined(self, key: tuple[str, str, str], now_ns: int) -> None:
        request_id = self._joining.pop(key, None)
        if request_id is None or request_id not in self._missing:
            return  # of a request that was given up
        self._missing[request_id] -= 1
        if not self._missing[request_id]:
            del self._missing[request_id]
            self._settle_id(request_id, msgspec.Raw(), None, now_ns)

    def _on_error(self, lane: Lane, message: Frame, refusal: RefusedError, now_ns: int) -> None:
        """An error names its request only where that bore an id; a login bears none."""
        request_id = code_of(message.id)
        if not request_id and self._login_id and not lane.is_ready:
            request_id, self._login_id = self._login_id, 0
        if not request_id:
            self._report(message.msg, lane.spec.name, refusal.code)
            return
        for key in [key for key, joining in self._joining.items() if joining == request_id]:
            del self._joining[key]
        self._missing.pop(request_id, None)
        self._settle_id(request_id, msgspec.Raw(), refusal, now_ns)

    def _on_op(self, message: Frame, now_ns: int) -> None:
        request_id, code = code_of(message.id), code_of(message.code)
        acks: list[Ack] = ACKS.decode(message.data) if message.data else []
        failed = next((ack for ack in acks if ack.s_code != "0"), None)
        refusal = None
        if failed is not None:
            refusal = RefusedError(code_of(failed.s_code), failed.s_msg)
        elif message.code != "0":
            refusal = RefusedError(code, message.msg)
        self._settle_id(request_id, message.data, refusal, now_ns)

    def _request_id_in(self, frame: bytes) -> int | None:
        try:
            return code_of(ID_ONLY.decode(frame).id) or None
        except DECODE_ERRORS:
            return None

    def _refusal_of(self, response: HttpResponse) -> RefusedError:
        try:
            reply = REPLY.decode(response.body)
        except DECODE_ERRORS:
            return RefusedError(0, f"HTTP {response.status} without a code")
        return RefusedError(code_of(reply.code), reply.msg)

    # -- orders

    def _expires_ms(self, now_ns: int) -> int:
        return self._clock.venue_ms(now_ns) + self._settings.recv_window_ms

    def _is_tradable(self, symbol: str) -> bool:
        return symbol in self._codes

    def _bucket(self, symbol: str) -> str:
        instrument = self._market.instruments.get(symbol)
        return self._families[symbol] if instrument is not None and instrument.kind == "option" else symbol

    def _place_frame(self, request_id: int, order: NewOrder, now_ns: int) -> bytes:
        is_spot = self._market.instruments[order.symbol].kind == "spot"
        mode = "cash" if is_spot else self._config.trade_mode
        words, self_trade = self.tables.times_in_force, self._settings.self_trade
        code = self._codes[order.symbol]
        return place_frame(request_id, order, code, mode, words, self_trade, self._expires_ms(now_ns))

    def _replace_frame(self, request_id: int, change: OrderChange, now_ns: int) -> bytes:
        return amend_frame(request_id, change, self._codes[change.symbol], self._expires_ms(now_ns))

    def _cancel_frame(self, request_id: int, order_id: str, symbol: str, now_ns: int) -> bytes:
        return cancel_frame(request_id, order_id, self._codes[symbol])

    def _ask_cancel_all(self, now_ns: int) -> bool:
        lane = self._lanes[PRIVATE]
        orders = []
        for order_id in self._orders.open_order_ids():
            tracked = self._orders.order(order_id)
            if tracked is not None and tracked.symbol in self._codes:
                orders.append((self._codes[tracked.symbol], order_id))
        for first in range(0, len(orders), BATCH):
            batch = orders[first : first + BATCH]

            def send(request_id: int, _: int, batch: list[tuple[int, str]] = batch) -> None:
                lane.frames.append(batch_cancel_frame(request_id, batch))

            self._ask(Request(Kind.CANCEL_ALL, lane=PRIVATE), send, now_ns)
        families = self._config.option_families if self._config.has_market_maker_protection else ()
        for family in families:

            def send_mass(request_id: int, _: int, family: str = family) -> None:
                lane.frames.append(mass_cancel_frame(request_id, family))

            self._ask(Request(Kind.CANCEL_ALL, lane=PRIVATE), send_mass, now_ns)
        return bool(orders or families)

    def _on_result(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        if request.kind in ORDER_KINDS:
            (ack,) = ACKS.decode(body)
            if request.kind == Kind.PLACE:
                if self.tables.client_ids.decode(ack.cl_ord_id) != request.label or not ack.ord_id:
                    raise FieldError(f"clOrdId, ordId: the reply is about {ack.cl_ord_id} {ack.ord_id}")
            elif ack.ord_id != request.order_id:
                raise FieldError(f"ordId: the reply is about {ack.ord_id}")
            self._orders.acknowledged(request, ack.ord_id, now_ns)
        elif request.kind not in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE, Kind.CANCEL_ALL):
            self._on_answer(request, body, now_ns)
