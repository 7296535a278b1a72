"""What Binance says of our account, and what is asked of it: keys, terms, margins, orders, trades, positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocols.venues.binance_bookings import (
    DELIVERED,
    DELIVERIES,
    FUNDING,
    INCOME,
    INCOME_TYPES,
    SETTLES,
    IncomeWire,
    booking_id,
    delivery_by_trade,
    delivery_of,
    funding_of,
    pair_of,
)
from protocols.venues.binance_decode import (
    ACCOUNT,
    BRACKETS,
    EXCHANGE_INFO,
    LISTEN_KEY,
    ORDER,
    ORDERS,
    POSITION_MODE,
    POSITIONS,
    SERVER_TIME,
    SNAPSHOT,
    SYMBOL,
    SYMBOL_HEAD,
    TRADES,
    OrderWire,
    TradeWire,
    balance_states,
    instrument_listed,
    margin_tiers,
    order_of,
    order_seen,
    portfolios,
    position_state,
    price_band,
    trade_of,
    trade_seen,
)
from protocols.venues.binance_encode import Params, Requests
from protocols.venues.binance_market import BinanceMarket
from protocols.venues.binance_streams import AccountUpdate, OrderBody, OrderUpdate
from protocols.venues.binance_tables import KEY_RENEWAL_S, LIMIT_NAMES, PRIVATE, TRADE, Product
from protocols.venues.bookings import BookingSession
from protocols.venues.events import (
    BalancesReported,
    BalanceState,
    ContractDelivered,
    OpenOrdersReported,
    PositionsReported,
)
from protocols.venues.fields import (
    DECODE_ERRORS,
    NS_PER_MS,
    NS_PER_S,
    ONE,
    ZERO,
    FieldError,
    decimal_of,
    optional,
    positive,
    since_epoch_ns,
)  # fmt: skip
from protocols.venues.jsonrpc import Request
from protocols.venues.lanes import LaneState
from protocols.venues.order_tracker import OrderSeen
from protocols.venues.requests import HTTP, Kind, RefusedError
from protocols.venues.session import Step
from protocols.venues.settings import Settings
from protocols.venues.tables import VenueTables

PAGE: Final = 1_000
SNAPSHOT_LEVELS: Final = 1_000
# With no end given, trades are listed for a week from the start.
WEEK_MS: Final = 7 * 86_400_000
KEY_RETRY_NS: Final = 60 * NS_PER_S
KEY_GONE: Final = -1125
DELIVERY_PRICES: Final = "/futures/data/delivery-price"
# Trades whose orders have to be asked for before they can be told, held at one time.
MAX_HELD_TRADES: Final = 100_000


class BinanceAccounts(BookingSession):
    """Questions to the account and their answers; the lanes and streams are the subclass's."""

    _streams: BinanceMarket

    def __init__(self, tables: VenueTables, settings: Settings, product: Product) -> None:
        super().__init__(tables, settings)
        self._product = product
        self._writer = Requests(self._keyring, self._clock, settings.recv_window_ms, product.rest)
        self._delivered: set[str] = set()  # contracts whose end was told
        self._held: dict[str, list[TradeWire]] = {}  # order id -> trades whose label is not known yet

    # -- the listenKey

    @property
    def _key(self) -> str:
        return self._keyring.token("listenKey")

    def _forget_key(self) -> None:
        self._keyring.set_token("listenKey", "")
        self._timers.pop("listenKey", None)

    def _ask_key(self, now_ns: int, kind: Kind = Kind.SESSION_KEY) -> None:
        method = "userDataStream.ping" if kind == Kind.RENEW_KEY else "userDataStream.start"
        lane = self._lanes[TRADE]

        def send(request_id: int, _: int) -> None:
            lane.frames.append(self._writer.key_frame(request_id, method))

        self._ask(Request(kind, lane=TRADE), send, now_ns)

    def _on_key(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        if request.kind == Kind.SESSION_KEY:
            key = LISTEN_KEY.decode(body).listenKey
            if not key.isascii() or not key.isalnum():
                raise FieldError("listenKey: not a key")
            self._keyring.set_token("listenKey", key)
        self._set_timer("listenKey", now_ns + KEY_RENEWAL_S * NS_PER_S)

    def _on_timer(self, name: str, now_ns: int) -> None:
        if name == "listenKey":
            self._ask_key(now_ns, Kind.RENEW_KEY)
        elif name == "clock":
            self._ask_clock(0, now_ns)
        elif name == "dead_man":
            self._hold_dead_man(now_ns)
        else:
            super()._on_timer(name, now_ns)

    def _takes_refusal(self, request: Request, code: int, now_ns: int) -> bool:
        if request.kind == Kind.RENEW_KEY and code == KEY_GONE:
            self._forget_key()
            self._close_lane(self._lanes[PRIVATE], "the listenKey has expired")
            return True
        return super()._takes_refusal(request, code, now_ns)

    def _on_lost_query(self, request: Request, reason: str) -> None:
        kind = request.kind
        if kind == Kind.SESSION_KEY and self._lanes[PRIVATE].state is LaneState.DOWN:
            self._close_lane(self._lanes[TRADE], f"listenKey: {reason}")
        elif kind == Kind.RENEW_KEY:
            self._set_timer("listenKey", self._now_ns + KEY_RETRY_NS)
        elif kind == Kind.TIME:
            self._set_timer("clock", self._now_ns + KEY_RETRY_NS)
        elif kind == Kind.ORDER_LABEL:
            self._held.pop(request.order_id, None)
            self._report(f"trades of order {request.order_id} are not told: {reason}", "trades")
        super()._on_lost_query(request, reason)

    # -- the dead-man timer

    def _hold_dead_man(self, now_ns: int) -> None:
        """Put off the cancel of each symbol's orders; a symbol without any needs none."""
        for symbol in sorted(self._orders.open_symbols()):
            params: Params = {"symbol": symbol, "countdownTime": self._settings.dead_man_s * 1_000}
            self._rest(Request(Kind.DEAD_MAN, symbol=symbol), "POST", "/countdownCancelAll", params, now_ns)
        self._set_timer("dead_man", now_ns + self._settings.dead_man_s * NS_PER_S // 3)

    # -- questions

    def _rest(
        self, request: Request, method: str, path: str, params: Params, now_ns: int, is_signed: bool = True
    ) -> None:
        request.lane = HTTP

        def send(request_id: int, sent_ns: int) -> None:
            deadline_ns = sent_ns + self._settings.request_timeout_ns
            asked = self._writer.rest(request_id, method, path, params, sent_ns, deadline_ns, is_signed)
            self._http.append(asked)

        self._ask(request, send, now_ns)

    def _api(self, request: Request, method: str, params: Params, now_ns: int) -> None:
        request.lane = TRADE
        lane = self._lanes[TRADE]

        def send(request_id: int, sent_ns: int) -> None:
            lane.frames.append(self._writer.frame(request_id, method, params, sent_ns))

        self._ask(request, send, now_ns)

    def _setup_steps(self) -> tuple[Step, ...]:
        return (self._ask_settings, self._ask_listings, self._ask_trades, self._ask_bookings, self._ask_accounts)

    def _reconcile_steps(self) -> tuple[Step, ...]:
        return (self._ask_trades, self._ask_bookings, self._ask_accounts)

    def _ask_clock(self, run: int, now_ns: int) -> None:
        self._rest(Request(Kind.TIME, step=run), "GET", "/time", {}, now_ns, is_signed=False)

    def _ask_settings(self, run: int, now_ns: int) -> None:
        self._rest(Request(Kind.SETTINGS, step=run), "GET", "/positionSide/dual", {}, now_ns)

    def _ask_listings(self, run: int, now_ns: int) -> None:
        self._rest(Request(Kind.INSTRUMENTS, step=run), "GET", "/exchangeInfo", {}, now_ns, is_signed=False)
        path = "/leverageBracket"
        self._rest(Request(Kind.TIERS, step=run), "GET", path, {}, now_ns)

    def _ask_accounts(self, run: int, now_ns: int) -> None:
        self._rest(Request(Kind.OPEN_ORDERS, step=run), "GET", "/openOrders", {}, now_ns)
        prefix = "" if self._product.is_inverse else "v2/"
        self._api(Request(Kind.POSITIONS, step=run), f"{prefix}account.position", {}, now_ns)
        self._api(Request(Kind.BALANCES, step=run), f"{prefix}account.status", {}, now_ns)

    def _ask_snapshot(self, symbol: str, now_ns: int) -> None:
        params: Params = {"symbol": symbol, "limit": SNAPSHOT_LEVELS}
        self._rest(Request(Kind.SNAPSHOT, symbol=symbol), "GET", "/depth", params, now_ns, is_signed=False)

    def _ask_order(self, label: str, client_id: str, symbol: str, now_ns: int) -> None:
        request = Request(Kind.QUERY_ORDER, label=label, symbol=symbol)
        self._api(request, "order.status", {"symbol": symbol, "origClientOrderId": client_id}, now_ns)

    def _ask_order_trades(self, label: str, order_id: str, symbol: str, now_ns: int) -> None:
        request = Request(Kind.ORDER_TRADES, label=label, symbol=symbol, order_id=order_id)
        self._rest(request, "GET", "/userTrades", {"symbol": symbol, "orderId": int(order_id)}, now_ns)

    def _ask_cancel_all(self, now_ns: int) -> bool:
        symbols = sorted(self._orders.open_symbols())
        for symbol in symbols:
            params: Params = {"symbol": symbol}
            self._rest(Request(Kind.CANCEL_ALL, symbol=symbol), "DELETE", "/allOpenOrders", params, now_ns)
        return bool(symbols)

    def _trade_scopes(self) -> list[str]:
        return self._market.open_symbols()

    def _ask_trade_page(self, request: Request, now_ns: int) -> None:
        params: Params = {"symbol": request.currency, "limit": PAGE}
        if request.cursor:
            params["fromId"] = int(request.cursor)
        else:
            params["startTime"] = request.since_ms
        self._rest(request, "GET", "/userTrades", params, now_ns)

    def _booking_scopes(self) -> list[str]:
        return list(INCOME_TYPES)

    def _ask_booking_page(self, request: Request, now_ns: int) -> None:
        params: Params = {"incomeType": request.currency, "startTime": request.since_ms, "limit": PAGE}
        self._rest(request, "GET", "/income", params, now_ns)

    # -- answers

    def _on_result(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        kind = request.kind
        if kind in (Kind.PLACE, Kind.REPLACE, Kind.CANCEL):
            self._on_order_reply(request, body, now_ns)
        elif kind == Kind.LOGIN:
            self._writer.is_logged_on = True
            self._lane_ready(self._lanes[TRADE], now_ns)
        elif kind in (Kind.SESSION_KEY, Kind.RENEW_KEY):
            self._on_key(request, body, now_ns)
        elif kind == Kind.TIME:
            venue_ns = since_epoch_ns(SERVER_TIME.decode(body).serverTime, "serverTime")
            self._on_clock(request, venue_ns, now_ns)
        elif kind == Kind.SETTINGS:
            if POSITION_MODE.decode(body).dualSidePosition:
                raise RefusedError(
                    0, "dualSidePosition: the account keeps longs and shorts apart, which is not traded here"
                )
            if self._settings.dead_man_s:
                self._set_timer("dead_man", now_ns)
        elif kind == Kind.SNAPSHOT:
            self._streams.on_snapshot(request.symbol, SNAPSHOT.decode(body), now_ns)
        elif kind == Kind.INSTRUMENTS:
            self._on_instruments(body, now_ns)
        elif kind == Kind.TIERS:
            self._on_tiers(body)
        else:
            self._on_account_answer(request, body, now_ns)

    def _on_account_answer(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        kind = request.kind
        if kind == Kind.TRADES:
            self._on_trades(request, TRADES.decode(body), now_ns)
        elif kind == Kind.BOOKINGS:
            self._on_income(request, INCOME.decode(body), now_ns)
        elif kind == Kind.DELIVERY_PRICE:
            told = delivery_of(request.symbol, request.order_id, request.since_ms, DELIVERIES.decode(body))
            if told is not None:  # else it is not published yet, and asked for with the next look
                self._tell_delivery(told)
        elif kind == Kind.ORDER_LABEL:
            self._on_label(request, ORDER.decode(body))
        elif kind == Kind.OPEN_ORDERS:
            orders = [self._seen(one) for one in ORDERS.decode(body)]
            orders = self._orders.on_open_orders(orders)
            self._events.append(OpenOrdersReported(tuple(one.as_state() for one in orders)))
        elif kind == Kind.POSITIONS:
            positions = tuple(
                position_state(one.symbol, one.position_amt, one.entry_price, one.position_side, self._unit(one.symbol))
                for one in POSITIONS.decode(body)
                # COIN-M has a row for every symbol there is: one that is neither listed here nor held says nothing.
                if one.symbol in self._market.units or decimal_of(one.position_amt, "positionAmt")
            )
            self._events.append(PositionsReported(self._product.name, positions, True))
        elif kind == Kind.BALANCES:
            account = ACCOUNT.decode(body)
            self._events.extend(portfolios(account))
            self._events.append(BalancesReported(balance_states(account), True))
        elif kind == Kind.QUERY_ORDER:
            self._on_order_found(request, self._seen(ORDER.decode(body)), now_ns)
        elif kind == Kind.ORDER_TRADES:
            unit = self._unit(request.symbol)
            found = TRADES.decode(body)
            self._on_order_trades(request, [trade_seen(one, request.label, unit) for one in found])

    def _unit(self, symbol: str) -> Decimal:
        """Return a symbol's unit; of one that is not listed here, only where all are the same."""
        return self._market.unit(symbol) if self._product.is_inverse else ONE

    def _seen(self, wire: OrderWire) -> OrderSeen:
        return order_seen(wire, self.tables.client_ids, self._unit(wire.symbol))

    def _on_order_reply(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        seen = self._seen(ORDER.decode(body))
        if request.kind == Kind.PLACE:
            if seen.label != request.label or seen.symbol != request.symbol:
                raise FieldError(f"clientOrderId, symbol: the reply is about {seen.label} {seen.symbol}")
        elif seen.order_id != request.order_id:
            raise FieldError(f"orderId: the reply is about {seen.order_id}")
        self._orders.acknowledged(request, seen.order_id, now_ns)
        self._orders.on_order(seen)
        self._orders.close_done(seen, now_ns)

    def _on_instruments(self, body: bytes | msgspec.Raw, now_ns: int) -> None:
        info = EXCHANGE_INFO.decode(body)
        for limit in info.rate_limits:
            name = LIMIT_NAMES.get((limit.rateLimitType, limit.interval, limit.intervalNum))
            if name is not None:
                self._budgets.lower(name, limit.limit)
        entries = []
        for raw in info.symbols:
            symbol, is_wanted = "", True
            try:
                symbol = SYMBOL_HEAD.decode(raw).symbol
                is_wanted = self._market.is_wanted(symbol)
                # Where contracts are counted, a position in one that is not wanted has to be understood too.
                if is_wanted or self._product.is_inverse:
                    wire = SYMBOL.decode(raw)
                    entries.append(instrument_listed(wire, self._product))
                    band = price_band(wire)
                    if band is not None:
                        self._market.bands[symbol] = band
            except DECODE_ERRORS as error:
                if is_wanted:
                    self._report(str(error), f"exchangeInfo {symbol}")
        fresh = self._market.on_listing(self._product.name, entries)
        self._subscribe_market([symbol for symbol in fresh if self._market.instruments[symbol].is_open], 0, now_ns)

    def _subscribe_market(self, symbols: list[str], run: int, now_ns: int) -> None:
        raise NotImplementedError

    def _on_tiers(self, body: bytes | msgspec.Raw) -> None:
        for wire in BRACKETS.decode(body):
            if self._market.is_wanted(wire.symbol):
                self._events.append(margin_tiers(wire, self._product))

    # -- funding and deliveries

    def _on_income(self, request: Request, page: list[IncomeWire], now_ns: int) -> None:
        for wire in page:
            if wire.income_type == FUNDING:
                self._events.append(funding_of(wire))
            elif wire.income_type == DELIVERED and wire.symbol not in self._delivered:
                price = Request(Kind.DELIVERY_PRICE, symbol=wire.symbol, order_id=booking_id(wire), step=request.step)
                price.since_ms = wire.time
                self._rest(price, "GET", DELIVERY_PRICES, {"pair": pair_of(wire.symbol)}, now_ns, is_signed=False)
        since_ms = page[-1].time if len(page) >= PAGE else request.since_ms
        self._on_booking_page(request, "", since_ms, now_ns)

    def _on_settling_order(self, body: OrderBody, time_ns: int) -> None:
        """An order of the venue's own closes what we hold of a contract that ends: by its trade the price is known."""
        if body.x == "TRADE":
            price, fee = positive(body.L, "L"), optional(body.n, "n") or ZERO
            self._tell_delivery(ContractDelivered(body.s, f"settled-{body.s}", price, fee, body.N or "", time_ns))

    def _tell_delivery(self, told: ContractDelivered) -> None:
        self._delivered.add(told.symbol)
        self._events.append(told)

    # -- trades that do not say whose they are

    def _on_trades(self, request: Request, page: list[TradeWire], now_ns: int) -> None:
        """Take one page of trades; those of orders that are not known wait until their order was asked for."""
        unit = self._unit(request.currency)
        known = []
        for wire in page:
            order_id = str(wire.order_id)
            tracked = self._orders.order(order_id)
            if tracked is not None:
                known.append(trade_seen(wire, tracked.label, unit))
                continue
            if sum(map(len, self._held.values())) >= MAX_HELD_TRADES:
                raise FieldError(f"orderId: more than {MAX_HELD_TRADES} trades of unknown orders")
            if order_id in self._held:
                self._held[order_id].append(wire)
            else:
                self._held[order_id] = [wire]
                # This may fail at once, where the lane is down: then nothing is held any more.
                label = Request(Kind.ORDER_LABEL, order_id=order_id, symbol=wire.symbol, step=request.step)
                self._api(label, "order.status", {"symbol": wire.symbol, "orderId": wire.order_id}, now_ns)
        cursor, since_ms = "", request.since_ms
        if len(page) >= PAGE:
            cursor = str(page[-1].id + 1)
        elif not request.cursor and now_ns // NS_PER_MS - since_ms > WEEK_MS:
            since_ms += WEEK_MS
        self._on_trade_page(request, known, cursor, since_ms, now_ns)

    def _on_label(self, request: Request, wire: OrderWire) -> None:
        seen = self._seen(wire)
        if wire.client_order_id.startswith(SETTLES):
            for trade in self._held.pop(request.order_id, ())[:1]:
                self._tell_delivery(delivery_by_trade(trade))
            return
        unit = self._unit(request.symbol)
        for trade in self._held.pop(request.order_id, ()):
            self._orders.on_trade(trade_seen(trade, seen.label, unit), is_backfill=True)

    def _on_interrupted(self, was_live: bool, now_ns: int) -> None:
        super()._on_interrupted(was_live, now_ns)
        self._held.clear()

    # -- the user data stream

    def _on_order_update(self, event: OrderUpdate, now_ns: int) -> None:
        body, ids = event.o, self.tables.client_ids
        if body.c.startswith(SETTLES):
            self._on_settling_order(body, since_epoch_ns(event.T, "T"))
            return
        unit = self._unit(body.s)
        seen = order_of(body, ids, unit, since_epoch_ns(event.T, "T"))
        trade = trade_of(body, ids, unit)
        self._orders.on_order(seen)
        if trade is not None:
            self._orders.on_trade(trade)
        self._orders.close_done(seen, now_ns)

    def _on_account_update(self, event: AccountUpdate, now_ns: int) -> None:
        body = event.a
        if body.m == FUNDING:
            self._something_was_booked(now_ns)
        balances = tuple(BalanceState(one.a, decimal_of(one.wb, "wb"), None) for one in body.B)
        positions = tuple(position_state(one.s, one.pa, one.ep, one.ps, self._unit(one.s)) for one in body.P)
        if balances:
            self._events.append(BalancesReported(balances, False))
        if positions:
            self._events.append(PositionsReported("", positions, False))
