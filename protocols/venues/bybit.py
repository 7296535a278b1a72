"""A session with Bybit v5: private, trade and public connections, and REST for the rest, without I/O."""

from __future__ import annotations

from collections import deque

import msgspec

from protocols.venues.books import BookRule
from protocols.venues.bybit_accounts import BybitAccounts
from protocols.venues.bybit_decode import ACK, COMMAND, FRAME, ID_ONLY, REPLY, Frame
from protocols.venues.bybit_encode import amend_arg, cancel_arg, place_arg, topics_frame
from protocols.venues.bybit_market import BybitMarket
from protocols.venues.bybit_tables import (
    CATEGORIES,
    COUNT_RULE,
    LIMIT_OPS,
    PRIVATE,
    PRIVATE_LANES,
    PUBLIC_LANES,
    TABLES,
    TRADE,
)
from protocols.venues.codec import HttpResponse
from protocols.venues.fields import DECODE_ERRORS, NS_PER_MS, FieldError, whole
from protocols.venues.jsonrpc import Request
from protocols.venues.lanes import Lane
from protocols.venues.requests import ORDER_KINDS, Kind, RefusedError
from protocols.venues.settings import Settings
from protocols.venues.trading import NewOrder, OrderChange

MAX_PAUSE_MS = 60_000


class BybitSettings(Settings, frozen=True, gc=False, kw_only=True):
    """What a session with Bybit is configured with; see Settings.

    categories : of "linear", "inverse", "option", "spot"; each has a public connection of its own
    settle_coins : of linear contracts
    option_coins : base coins whose options are listed
    depth : levels of the books, 0 for none
    option_depth : the same for options, whose choices differ
    has_tickers, has_trades : whether to subscribe tickers (and with them marks), and trades
    """

    categories: tuple[str, ...] = ("linear",)
    settle_coins: tuple[str, ...] = ("USDT", "USDC")
    option_coins: tuple[str, ...] = ("BTC", "ETH")
    depth: int = 50
    option_depth: int = 25
    has_tickers: bool = True
    has_trades: bool = True


class Bybit(BybitAccounts):
    """Sans-I/O session with Bybit; see VenueCodec for how it is driven."""

    def __init__(self, settings: BybitSettings) -> None:
        unknown = sorted(set(settings.categories).difference(CATEGORIES))
        if unknown or not settings.categories:
            raise ValueError(f"categories: {unknown or 'none'}, known are {CATEGORIES}")
        lanes = (*PRIVATE_LANES, *(PUBLIC_LANES[category] for category in settings.categories))
        scopes = []
        for category in settings.categories:
            coins = {"linear": settings.settle_coins, "option": settings.option_coins}.get(category, ("",))
            scopes += [(category, coin) for coin in coins]
        super().__init__(msgspec.structs.replace(TABLES, lanes=lanes), settings, tuple(scopes))
        self._config = settings
        self._topics = BybitMarket(self._market, self._events)
        # Requests whose answers bear no id, in order, by lane.
        self._commands: dict[str, deque[int]] = {lane.name: deque() for lane in lanes}

    # -- lanes

    def _login(self, lane: Lane, now_ns: int) -> None:
        def send(request_id: int, sent_ns: int) -> None:
            self._logins[lane.spec.name] = request_id
            lane.frames.append(self._writer.auth(request_id, sent_ns))

        self._ask(Request(Kind.LOGIN, lane=lane.spec.name), send, now_ns)

    def _on_lane_lost(self, lane: Lane) -> None:
        name = lane.spec.name
        self._commands[name].clear()
        if name in CATEGORIES:
            symbols = [symbol for symbol, category in self._categories.items() if category == name]
            self._market.on_disconnected(symbols)
            self._topics.forget(symbols)

    def _channel_frame(self, request_id: int, lane: Lane, channels: tuple[str, ...], is_joining: bool) -> bytes:
        if lane.spec.name == "option":
            self._commands["option"].append(request_id)
        return topics_frame(request_id, channels, is_joining)

    def _book_topic(self, symbol: str) -> str:
        depth = self._config.option_depth if self._categories[symbol] == "option" else self._config.depth
        return f"orderbook.{depth}.{symbol}"

    def _subscribe_market(self, symbols: list[str], run: int, now_ns: int) -> None:
        topics: dict[str, dict[str, None]] = {category: {} for category in self._config.categories}
        for symbol in symbols:
            category = self._categories[symbol]
            of = topics[category]
            for is_book in (True, False):
                _, topic = self._feed_channel(symbol, is_book)
                if topic and self.feeds.follows(symbol, is_book):
                    of[topic] = None
                if is_book and self._config.has_tickers:
                    of[f"tickers.{symbol}"] = None
        for category, of in topics.items():
            lane = self._lanes[category]
            self._join_channels(lane, tuple(topic for topic in of if topic not in lane.wanted), run, now_ns)

    def _feed_channel(self, symbol: str, is_book: bool) -> tuple[str, str]:
        category = self._categories[symbol]
        if is_book:
            return category, self._book_topic(symbol) if self._config.depth else ""
        subject = self._market.instruments[symbol].base_currency if category == "option" else symbol
        return category, f"publicTrade.{subject}" if self._config.has_trades else ""

    def _book_rule_of(self, symbol: str) -> BookRule:
        return COUNT_RULE

    def _ask_snapshot(self, symbol: str, now_ns: int) -> None:
        """Leave and join the topic of a broken book: a new subscription begins with a snapshot."""
        lane, topics = self._lanes[self._categories[symbol]], (self._book_topic(symbol),)
        if lane.is_ready:
            self._ask_channels(lane, topics, False, now_ns)
            self._ask_channels(lane, topics, True, now_ns, symbol=symbol)

    # -- receiving

    def _on_frame(self, lane: Lane, frame: bytes, now_ns: int) -> None:
        message = FRAME.decode(frame)
        try:
            self._on_message(lane, message, now_ns)
        except msgspec.ValidationError as error:
            raise FieldError(f"data: {error}") from None  # all else is in the frame's own struct

    def _on_message(self, lane: Lane, message: Frame, now_ns: int) -> None:
        if message.topic:
            self._on_topic(lane, message, now_ns)
        elif message.op in ("ping", "pong"):
            return
        elif message.op == "auth":
            self._on_auth(lane, message, now_ns)
        elif message.type == "COMMAND_RESP":
            self._on_command(lane, message, now_ns)
        elif message.op:
            self._on_reply(message, now_ns)
        else:
            raise FieldError("topic, op: neither of them, so neither data nor a reply")

    def _on_topic(self, lane: Lane, message: Frame, now_ns: int) -> None:
        name, _, subject = message.topic.partition(".")
        if lane.spec.name == PRIVATE:
            private = self._private.get(name)
            if private is not None:
                private(message.data, now_ns)
            elif name != "dcp":
                raise FieldError(f"topic: {message.topic[:40]!r} on the private lane")
            return
        public = self._topics.readers.get(name)
        if public is None or lane.spec.name == TRADE:
            raise FieldError(f"topic: {message.topic[:40]!r} on the {lane.spec.name} lane")
        public(message, subject.rpartition(".")[2] if name == "orderbook" else subject, now_ns)

    def _on_auth(self, lane: Lane, message: Frame, now_ns: int) -> None:
        request_id = self._logins.pop(lane.spec.name, 0)
        request = self._requests.settle(request_id)
        if request is None:
            return
        if message.success is False or message.retCode:
            code = message.retCode or 10004
            self._on_refused(request, RefusedError(code, message.ret_msg or message.retMsg), now_ns)
        elif message.success or message.retCode == 0:
            self._lane_ready(lane, now_ns)
        else:
            raise FieldError("success, retCode: neither of them")

    def _on_command(self, lane: Lane, message: Frame, now_ns: int) -> None:
        """The option lane answers without an id: in the order of the requests."""
        commands = self._commands[lane.spec.name]
        failed = COMMAND.decode(message.data).fail_topics if message.data else []
        if not commands:
            raise FieldError("COMMAND_RESP: nothing was asked")
        refusal = None
        if failed or message.success is False:
            refusal = RefusedError(0, f"failTopics: {', '.join(failed[:5])}")
        self._settle_id(commands.popleft(), msgspec.Raw(), refusal, now_ns)

    def _on_reply(self, message: Frame, now_ns: int) -> None:
        request_id = _id_of(message.reqId or message.req_id)
        budget = LIMIT_OPS.get(message.op)
        header = message.header
        if budget is not None and header is not None and header.limit and header.left:
            used = whole(header.limit, "X-Bapi-Limit") - whole(header.left, "X-Bapi-Limit-Status")
            window = self._budgets.window(budget)
            window.observe(used, now_ns)
            if header.reset and header.left == "0":
                # By the venue's clock, and no longer than its windows last.
                pause_ms = whole(header.reset, "X-Bapi-Limit-Reset-Timestamp") - self._clock.venue_ms(now_ns)
                window.block(now_ns + min(max(pause_ms, 0), MAX_PAUSE_MS) * NS_PER_MS)
        refusal = None
        if message.success is False or message.retCode:
            refusal = RefusedError(message.retCode or 0, message.ret_msg or message.retMsg)
        if request_id is None:
            self.malformed_frames += 1
            text = refusal.message if refusal is not None else "reqId, req_id: neither of them"
            self._report(text, message.op[:40], refusal.code if refusal is not None else 0)
            return
        self._settle_id(request_id, message.data, refusal, now_ns)

    def _request_id_in(self, frame: bytes) -> int | None:
        try:
            ids = ID_ONLY.decode(frame)
        except DECODE_ERRORS:
            return None
        return _id_of(ids.reqId or ids.req_id)

    def _refusal_of(self, response: HttpResponse) -> RefusedError:
        try:
            reply = REPLY.decode(response.body)
        except DECODE_ERRORS:
            return RefusedError(0, f"HTTP {response.status} without a code")
        return RefusedError(reply.retCode, reply.retMsg)

    # -- orders

    def _place_frame(self, request_id: int, order: NewOrder, now_ns: int) -> bytes:
        category = self._categories[order.symbol]
        arg = place_arg(order, category, self.tables.times_in_force, self._settings.self_trade)
        return self._writer.order(request_id, "order.create", arg, now_ns)

    def _replace_frame(self, request_id: int, change: OrderChange, now_ns: int) -> bytes:
        arg = amend_arg(change, self._categories[change.symbol])
        return self._writer.order(request_id, "order.amend", arg, now_ns)

    def _cancel_frame(self, request_id: int, order_id: str, symbol: str, now_ns: int) -> bytes:
        arg = cancel_arg(order_id, symbol, self._categories[symbol])
        return self._writer.order(request_id, "order.cancel", arg, now_ns)

    def _on_result(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        if request.kind in ORDER_KINDS:
            ack = ACK.decode(body)
            if request.kind == Kind.PLACE:
                if self.tables.client_ids.decode(ack.order_link_id) != request.label or not ack.order_id:
                    raise FieldError(f"orderLinkId, orderId: the reply is about {ack.order_link_id} {ack.order_id}")
            elif ack.order_id != request.order_id:
                raise FieldError(f"orderId: the reply is about {ack.order_id}")
            self._orders.acknowledged(request, ack.order_id, now_ns)
        elif request.kind not in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE):
            self._on_answer(request, body, now_ns)


def _id_of(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
