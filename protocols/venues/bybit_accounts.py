"""What Bybit says of our account, and what is asked of it by REST: terms, margins, orders, executions, positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocols.venues.bookings import BookingSession
from protocols.venues.bybit_bookings import DELIVERY, DELIVERY_RECORD, ENDS, FUNDING, delivery_of, funding_of
from protocols.venues.bybit_decode import (
    ACCOUNT,
    CLOCK,
    EXECUTION,
    EXECUTIONS,
    INSTRUMENT,
    INSTRUMENT_HEAD,
    ORDER,
    ORDERS,
    PAGE,
    POSITION,
    POSITIONS,
    REPLY,
    RISK,
    WALLET,
    WALLETS,
    ExecutionWire,
    Page,
    PositionWire,
    balance_states,
    instrument_listed,
    margin_tiers,
    order_seen,
    portfolio_reported,
    position_state,
    price_band,
    trade_seen,
)
from protocols.venues.bybit_encode import Requests
from protocols.venues.bybit_tables import DISCONNECT_PRODUCTS, PRIVATE, TRADE_TYPES
from protocols.venues.events import (
    BalancesReported,
    InstrumentListed,
    OpenOrdersReported,
    PositionsReported,
    PositionState,
)
from protocols.venues.fields import DECODE_ERRORS, NS_PER_MS, NS_PER_S, ONE, FieldError, whole
from protocols.venues.jsonrpc import Request
from protocols.venues.order_tracker import OrderSeen, TradeSeen
from protocols.venues.requests import HTTP, Kind, RefusedError
from protocols.venues.session import Step
from protocols.venues.settings import Settings
from protocols.venues.tables import VenueTables

# Executions are listed for a week from the start, where no end is given.
WEEK_MS: Final = 7 * 86_400_000
MONTH_MS: Final = 30 * 86_400_000
CLOCK_RETRY_NS: Final = 60 * NS_PER_S
PRIVATE_TOPICS: Final = ("order", "execution", "position", "wallet")
MAX_COLLECTED: Final = 100_000
# Below this an account is not a unified one, and what is asked here has other answers.
UNIFIED_STATUS: Final = 3


class BybitAccounts(BookingSession):
    """Questions to the account and their answers; the lanes and public topics are the subclass's."""

    def __init__(self, tables: VenueTables, settings: Settings, scopes: tuple[tuple[str, str], ...]) -> None:
        super().__init__(tables, settings)
        self._scopes = scopes  # (category, settle coin or base coin)
        self._categories: dict[str, str] = {}  # symbol -> category
        self._writer = Requests(self._keyring, self._clock, settings.recv_window_ms)
        self._logins: dict[str, int] = {}
        self._margin_mode = ""
        # Lists that come in pages: (kind, scope) -> what came so far.
        self._collected: dict[tuple[int, str], list[Any]] = {}
        self._open_orders: dict[str, list[OrderSeen]] = {}  # by scope
        self._private: dict[str, Callable[[msgspec.Raw, int], None]] = {
            "order": self._on_orders,
            "execution": self._on_executions,
            "position": self._on_positions,
            "wallet": self._on_wallet,
        }

    # -- questions

    def _rest(self, request: Request, method: str, path: str, params: dict[str, str], now_ns: int) -> None:
        request.lane = HTTP

        def send(request_id: int, sent_ns: int) -> None:
            deadline_ns = sent_ns + self._settings.request_timeout_ns
            self._http.append(self._writer.rest(request_id, method, path, params, sent_ns, deadline_ns))

        self._ask(request, send, now_ns)

    def _setup_steps(self) -> tuple[Step, ...]:
        return (
            self._ask_settings, self._ask_private, self._ask_listings, self._ask_trades, self._ask_bookings,
            self._ask_accounts,
        )  # fmt: skip

    def _reconcile_steps(self) -> tuple[Step, ...]:
        return (self._ask_trades, self._ask_bookings, self._ask_accounts)

    def _ask_clock(self, run: int, now_ns: int) -> None:
        self._rest(Request(Kind.TIME, step=run), "GET", "/v5/market/time", {}, now_ns)

    def _ask_settings(self, run: int, now_ns: int) -> None:
        self._rest(Request(Kind.SETTINGS, step=run), "GET", "/v5/account/info", {}, now_ns)
        if self._settings.dead_man_s:
            for product in sorted({DISCONNECT_PRODUCTS[category][0] for category, _ in self._scopes}):
                body = {"product": product, "timeWindow": str(self._settings.dead_man_s)}
                path = "/v5/order/disconnected-cancel-all"
                self._rest(Request(Kind.DEAD_MAN, step=run), "POST", path, body, now_ns)

    def _ask_private(self, run: int, now_ns: int) -> None:
        """Subscribe the account's topics; the dcp topics bind the disconnect protection to this connection."""
        topics = list(PRIVATE_TOPICS)
        if self._settings.dead_man_s:
            topics += sorted({DISCONNECT_PRODUCTS[category][1] for category, _ in self._scopes})
        self._ask_channels(self._lanes[PRIVATE], tuple(topics), True, now_ns, run=run)

    def _scope_params(self, category: str, coin: str) -> dict[str, str]:
        params = {"category": category}
        if coin:
            params["baseCoin" if category == "option" else "settleCoin"] = coin
        return params

    def _ask_listings(self, run: int, now_ns: int) -> None:
        """Ask for terms: an option's by its coin, the others' by category."""
        for category, coin in dict.fromkeys((c, coin if c == "option" else "") for c, coin in self._scopes):
            self._collected.pop((Kind.INSTRUMENTS, f"{category}:{coin}"), None)
            self._ask_page(Request(Kind.INSTRUMENTS, currency=f"{category}:{coin}", step=run), now_ns)

    def _ask_accounts(self, run: int, now_ns: int) -> None:
        self._open_orders = {}
        for kind in (Kind.OPEN_ORDERS, Kind.POSITIONS):
            for category, coin in self._scopes:
                if kind == Kind.POSITIONS and category == "spot":
                    continue
                self._collected.pop((kind, f"{category}:{coin}"), None)
                self._ask_page(Request(kind, currency=f"{category}:{coin}", step=run), now_ns)
        params = {"accountType": "UNIFIED"}
        self._rest(Request(Kind.BALANCES, step=run), "GET", "/v5/account/wallet-balance", params, now_ns)

    def _ask_page(self, request: Request, now_ns: int) -> None:
        """Ask for one page of a list of a scope."""
        category, _, coin = request.currency.partition(":")
        path, limit = PAGED[request.kind]
        params = self._scope_params(category, coin)
        if request.kind == Kind.OPEN_ORDERS:
            params["openOnly"] = "0"
        params["limit"] = limit
        if request.cursor:
            params["cursor"] = request.cursor
        self._rest(request, "GET", path, params, now_ns)

    def _trade_scopes(self) -> list[str]:
        return list(dict.fromkeys(category for category, _ in self._scopes))

    def _ask_trade_page(self, request: Request, now_ns: int) -> None:
        params = {"category": request.currency, "startTime": str(request.since_ms), "limit": "100"}
        if request.cursor:
            params["cursor"] = request.cursor
        self._rest(request, "GET", "/v5/execution/list", params, now_ns)

    def _booking_scopes(self) -> list[str]:
        """Return what is asked for, and of which category: funding is in the executions, deliveries are not."""
        categories = [category for category in self._trade_scopes() if category != "spot"]
        funded = [f"{FUNDING}:{category}" for category in categories if category != "option"]
        return funded + [f"{DELIVERY}:{category}" for category in categories]

    def _ask_booking_page(self, request: Request, now_ns: int) -> None:
        what, _, category = request.currency.partition(":")
        params = {"category": category, "startTime": str(request.since_ms)}
        if what == FUNDING:
            path, params["execType"], params["limit"] = "/v5/execution/list", FUNDING, "100"
        else:
            path, params["limit"] = "/v5/asset/delivery-record", "50"
        if request.cursor:
            params["cursor"] = request.cursor
        self._rest(request, "GET", path, params, now_ns)

    def _ask_order(self, label: str, client_id: str, symbol: str, now_ns: int) -> None:
        request = Request(Kind.QUERY_ORDER, label=label, symbol=symbol)
        params = {"category": self._categories[symbol], "symbol": symbol, "orderLinkId": client_id}
        self._rest(request, "GET", "/v5/order/realtime", params, now_ns)

    def _ask_order_trades(self, label: str, order_id: str, symbol: str, now_ns: int) -> None:
        request = Request(Kind.ORDER_TRADES, label=label, symbol=symbol, order_id=order_id)
        params = {"category": self._categories[symbol], "symbol": symbol, "orderId": order_id, "limit": "100"}
        self._rest(request, "GET", "/v5/execution/list", params, now_ns)

    def _ask_cancel_all(self, now_ns: int) -> bool:
        for category, coin in self._scopes:
            params = self._scope_params(category, coin)
            self._rest(Request(Kind.CANCEL_ALL), "POST", "/v5/order/cancel-all", params, now_ns)
        return True

    def _on_timer(self, name: str, now_ns: int) -> None:
        if name == "clock":
            self._ask_clock(0, now_ns)
        else:
            super()._on_timer(name, now_ns)

    def _on_lost_query(self, request: Request, reason: str) -> None:
        if request.kind == Kind.TIME:
            self._set_timer("clock", self._now_ns + CLOCK_RETRY_NS)
        super()._on_lost_query(request, reason)

    # -- answers

    def _on_answer(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        reply = REPLY.decode(body)
        if reply.retCode:
            raise RefusedError(reply.retCode, reply.retMsg)
        kind, result = request.kind, reply.result
        if kind == Kind.TIME:
            self._on_clock(request, whole(CLOCK.decode(result).time_nano, "timeNano"), now_ns)
        elif kind == Kind.SETTINGS and request.symbol:
            for raw in PAGE.decode(result).entries:
                _refuse_two_ways(POSITION.decode(raw))
        elif kind == Kind.SETTINGS:
            account = ACCOUNT.decode(result)
            if account.unified_margin_status < UNIFIED_STATUS:
                raise RefusedError(0, f"unifiedMarginStatus: {account.unified_margin_status} is no unified account")
            self._margin_mode = account.margin_mode
        elif kind == Kind.BALANCES:
            for raw in PAGE.decode(result).entries:
                wallet = WALLET.decode(raw)
                self._events.append(portfolio_reported(wallet, self._margin_mode))
                self._events.append(BalancesReported(balance_states(wallet), True))
        elif kind in PAGED:
            self._on_page(request, PAGE.decode(result), now_ns)
        elif kind == Kind.TIERS:
            wires = [RISK.decode(raw) for raw in PAGE.decode(result).entries]
            self._events.append(margin_tiers(request.symbol, wires))
        elif kind == Kind.TRADES:
            self._on_trades(request, PAGE.decode(result), now_ns)
        elif kind == Kind.BOOKINGS:
            self._on_bookings(request, PAGE.decode(result), now_ns)
        elif kind == Kind.QUERY_ORDER:
            self._on_query(request, PAGE.decode(result), now_ns)
        elif kind == Kind.ORDER_TRADES:
            trades = [self._trade(EXECUTION.decode(raw)) for raw in PAGE.decode(result).entries]
            self._on_order_trades(request, [trade for trade in trades if trade is not None])

    def _on_page(self, request: Request, page: Page, now_ns: int) -> None:
        """Collect a list over its pages, and take it when it is whole."""
        key = (request.kind, request.currency)
        collected = self._collected.setdefault(key, [])
        collected += page.entries
        if len(collected) > MAX_COLLECTED:
            raise FieldError(f"nextPageCursor: more than {MAX_COLLECTED} entries")
        if page.next_page_cursor and page.entries:
            self._ask_page(self._ask_next_page(request, page.next_page_cursor), now_ns)
            return
        del self._collected[key]
        category = request.currency.partition(":")[0]
        if request.kind == Kind.INSTRUMENTS:
            self._on_instruments(request, category, collected, now_ns)
        elif request.kind == Kind.POSITIONS:
            positions: tuple[PositionState, ...] = tuple(position_state(POSITION.decode(raw)) for raw in collected)
            self._events.append(PositionsReported(request.currency, positions, True))
        else:
            self._on_open_orders(request.currency, [self._seen(raw) for raw in collected])

    def _on_open_orders(self, scope: str, orders: list[OrderSeen]) -> None:
        """Tell the open orders of all scopes at once, when the last has come."""
        self._open_orders[scope] = orders
        if len(self._open_orders) == len(self._scopes):
            every = [order for one in self._open_orders.values() for order in one]
            self._open_orders = {}
            every = self._orders.on_open_orders(every)
            self._events.append(OpenOrdersReported(tuple(order.as_state() for order in every)))

    def _seen(self, raw: msgspec.Raw) -> OrderSeen:
        return order_seen(ORDER.decode(raw), self.tables.client_ids)

    def _trade(self, wire: ExecutionWire) -> TradeSeen | None:
        instrument = self._market.instruments.get(wire.symbol)
        if instrument is None and not wire.fee_currency and wire.exec_type in TRADE_TYPES:
            raise FieldError(f"feeCurrency: empty for {wire.symbol[:40]!r}, which is not listed")
        settlement = "" if instrument is None else instrument.settlement_currency
        return trade_seen(wire, self.tables.client_ids, settlement)

    def _on_instruments(self, request: Request, category: str, entries: list[Any], now_ns: int) -> None:
        listed: list[tuple[InstrumentListed, Any]] = []
        for raw in entries:
            symbol = ""
            try:
                symbol = INSTRUMENT_HEAD.decode(raw).symbol
                if self._market.is_wanted(symbol):
                    wire = INSTRUMENT.decode(raw)
                    listed.append((instrument_listed(wire, category), ONE))
                    band = price_band(wire)
                    if band is not None:
                        self._market.bands[symbol] = band
                    self._categories.setdefault(symbol, category)
            except DECODE_ERRORS as error:
                self._report(str(error), f"instruments-info {symbol}")
        known = self._market.instruments
        fresh = [one for one in self._market.on_listing(request.currency, listed) if known[one].is_open]
        for symbol in fresh if category in ("linear", "inverse") else ():
            params = {"category": category, "symbol": symbol}
            # Asked by its symbol, the venue tells of a position that is empty too, and so how positions are kept.
            mode = Request(Kind.SETTINGS, symbol=symbol, step=request.step)
            self._rest(mode, "GET", "/v5/position/list", params, now_ns)
            tiers = Request(Kind.TIERS, symbol=symbol, step=request.step)
            self._rest(tiers, "GET", "/v5/market/risk-limit", params, now_ns)
        self._subscribe_market(fresh, 0, now_ns)

    def _subscribe_market(self, symbols: list[str], run: int, now_ns: int) -> None:
        raise NotImplementedError

    def _on_trades(self, request: Request, page: Page, now_ns: int) -> None:
        trades = [self._trade(EXECUTION.decode(raw)) for raw in page.entries]
        cursor, since_ms = (page.next_page_cursor or "") if page.entries else "", request.since_ms
        if not cursor and now_ns // NS_PER_MS - since_ms > WEEK_MS:
            since_ms += WEEK_MS
        self._on_trade_page(request, [trade for trade in trades if trade is not None], cursor, since_ms, now_ns)

    def _on_bookings(self, request: Request, page: Page, now_ns: int) -> None:
        is_funding, window_ms = request.currency.startswith(FUNDING), WEEK_MS
        if is_funding:
            for raw in page.entries:
                self._on_execution(EXECUTION.decode(raw), now_ns)
        else:
            self._events.extend(delivery_of(DELIVERY_RECORD.decode(raw)) for raw in page.entries)
            window_ms = MONTH_MS
        cursor, since_ms = (page.next_page_cursor or "") if page.entries else "", request.since_ms
        if not cursor and now_ns // NS_PER_MS - since_ms > window_ms:
            since_ms += window_ms
        self._on_booking_page(request, cursor, since_ms, now_ns)

    def _on_query(self, request: Request, page: Page, now_ns: int) -> None:
        """An order that is not among the open and latest ones may be in the archive."""
        if page.entries:
            self._on_order_found(request, self._seen(page.entries[0]), now_ns)
        elif request.page:
            self._on_order_missing(request, now_ns)
        else:
            symbol, client_id = request.symbol, self.tables.client_ids.encode(request.label)
            params = {"category": self._categories[symbol], "symbol": symbol, "orderLinkId": client_id}
            archive = Request(Kind.QUERY_ORDER, label=request.label, symbol=symbol, page=1)
            self._rest(archive, "GET", "/v5/order/history", params, now_ns)

    # -- the private topics

    def _on_orders(self, data: msgspec.Raw, now_ns: int) -> None:
        for wire in ORDERS.decode(data):
            seen = order_seen(wire, self.tables.client_ids)
            self._orders.on_order(seen)
            self._orders.close_done(seen, now_ns)

    def _on_executions(self, data: msgspec.Raw, now_ns: int) -> None:
        for wire in EXECUTIONS.decode(data):
            self._on_execution(wire, now_ns)

    def _on_execution(self, wire: ExecutionWire, now_ns: int) -> None:
        """Tell of a trade or a funding; of a delivery, that there is something to ask for."""
        trade = self._trade(wire)
        if trade is not None:
            self._orders.on_trade(trade)
        elif wire.exec_type == FUNDING:
            instrument = self._market.instruments.get(wire.symbol)
            settlement = "" if instrument is None else instrument.settlement_currency
            self._events.append(funding_of(wire, settlement))
        elif wire.exec_type in ENDS:
            self._something_was_booked(now_ns)

    def _on_positions(self, data: msgspec.Raw, now_ns: int) -> None:
        positions = tuple(position_state(wire) for wire in POSITIONS.decode(data))
        if positions:
            self._events.append(PositionsReported("", positions, False))

    def _on_wallet(self, data: msgspec.Raw, now_ns: int) -> None:
        for wallet in WALLETS.decode(data):
            self._events.append(portfolio_reported(wallet, self._margin_mode))
            self._events.append(BalancesReported(balance_states(wallet), False))


# kind -> path and size of a page
PAGED: Final[dict[int, tuple[str, str]]] = {
    Kind.INSTRUMENTS: ("/v5/market/instruments-info", "1000"),
    Kind.OPEN_ORDERS: ("/v5/order/realtime", "50"),
    Kind.POSITIONS: ("/v5/position/list", "200"),
}


def _refuse_two_ways(wire: PositionWire) -> None:
    """Raise RefusedError where longs and shorts of an instrument are kept apart."""
    if wire.position_idx:
        text = f"positionIdx: {wire.position_idx} of {wire.symbol[:40]}: longs and shorts are kept apart (hedge mode)"
        raise RefusedError(0, f"{text}, and one-way positions are traded here")
