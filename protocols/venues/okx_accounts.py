"""What OKX says of our account, and what is asked of it by REST: terms, margins, orders, fills, positions, balances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import orjson

from protocols.venues.bookings import BookingSession
from protocols.venues.events import (
    BalancesReported,
    MarginCallReported,
    OpenOrdersReported,
    PositionsReported,
)
from protocols.venues.fields import DECODE_ERRORS, NS_PER_MS, NS_PER_S, FieldError, time_of
from protocols.venues.jsonrpc import Request
from protocols.venues.okx_bookings import BILL_TYPES, BILLS, BOOKED_EVENTS, JOINT, BillWire, booking_of
from protocols.venues.okx_decode import (
    ACCOUNTS,
    CLOCKS,
    CONFIGS,
    FILLS,
    INSTRUMENT,
    INSTRUMENT_HEAD,
    ORDERS,
    POSITIONS,
    RAW_LIST,
    REPLY,
    TIERS,
    WARNINGS,
    OrderWire,
    balance_states,
    code_of,
    instrument_listed,
    margin_tiers,
    order_seen,
    portfolios,
    position_state,
    trade_of,
    trade_seen,
)
from protocols.venues.okx_encode import rest_request
from protocols.venues.okx_tables import PRIVATE
from protocols.venues.order_tracker import OrderSeen
from protocols.venues.requests import HTTP, Kind, RefusedError
from protocols.venues.session import Step
from protocols.venues.settings import Settings
from protocols.venues.tables import VenueTables

PAGE: Final = 100
# Further back than three days, fills are in the archive.
RECENT_NS: Final = 3 * 86_400 * NS_PER_S - 3_600 * NS_PER_S
# Further back than a week, bills are in the archive.
RECENT_BILLS_NS: Final = 7 * 86_400 * NS_PER_S - 3_600 * NS_PER_S
CLOCK_RETRY_NS: Final = 60 * NS_PER_S
PRIVATE_CHANNELS: Final = ("orders:ANY", "positions:ANY", "account", "liquidation-warning:ANY", "balance_and_position")
MAX_OPEN_ORDERS: Final = 20_000
MAX_TIERS_AWAITED: Final = 20


class OkxAccounts(BookingSession):
    """Questions to the account and their answers; the lanes and public channels are the subclass's."""

    def __init__(
        self, tables: VenueTables, settings: Settings, inst_types: tuple[str, ...], families: tuple[str, ...]
    ) -> None:
        super().__init__(tables, settings)
        # (instType, instFamily) of each listing that is asked for
        self._listings = [(inst_type, "") for inst_type in inst_types]
        self._listings += [("OPTION", family) for family in families]
        self._codes: dict[str, int] = {}  # symbol -> instIdCode
        self._families: dict[str, str] = {}  # symbol -> instFamily
        self._tiers_asked: set[str] = set()
        self._login_id = 0
        self._open_orders: list[OrderSeen] = []
        self._private: dict[str, Callable[[msgspec.Raw, int], None]] = {
            "orders": self._on_orders,
            "positions": self._on_positions,
            "account": self._on_account,
            "liquidation-warning": self._on_warning,
            "balance_and_position": self._on_joint,
        }

    # -- questions

    def _rest(self, request: Request, method: str, target: str, now_ns: int, body: bytes = b"") -> None:
        request.lane = HTTP

        def send(request_id: int, sent_ns: int) -> None:
            times = sent_ns, sent_ns + self._settings.request_timeout_ns
            self._http.append(rest_request(self._keyring, self._clock, request_id, method, target, body, times))

        self._ask(request, send, now_ns)

    def _setup_steps(self) -> tuple[Step, ...]:
        return (
            self._ask_settings, self._ask_private, self._ask_listings, self._ask_trades, self._ask_bookings,
            self._ask_accounts,
        )  # fmt: skip

    def _reconcile_steps(self) -> tuple[Step, ...]:
        return (self._ask_trades, self._ask_bookings, self._ask_accounts)

    def _ask_clock(self, run: int, now_ns: int) -> None:
        self._rest(Request(Kind.TIME, step=run), "GET", "/api/v5/public/time", now_ns)

    def _ask_settings(self, run: int, now_ns: int) -> None:
        self._rest(Request(Kind.SETTINGS, step=run), "GET", "/api/v5/account/config", now_ns)

    def _ask_private(self, run: int, now_ns: int) -> None:
        lane = self._lanes[PRIVATE]
        self._ask_channels(lane, PRIVATE_CHANNELS, True, now_ns, run=run)

    def _ask_listings(self, run: int, now_ns: int) -> None:
        for inst_type, family in self._listings:
            suffix = f"&instFamily={family}" if family else ""
            request = Request(Kind.INSTRUMENTS, currency=f"{inst_type}:{family}", step=run)
            self._rest(request, "GET", f"/api/v5/public/instruments?instType={inst_type}{suffix}", now_ns)

    def _ask_tiers(self, inst_type: str, family: str, symbol: str, run: int, now_ns: int) -> None:
        name = f"{inst_type}:{family}"  # a family's swaps, futures and options have tiers of their own
        if name in self._tiers_asked:
            return
        self._tiers_asked.add(name)
        target = f"/api/v5/public/position-tiers?instType={inst_type}&tdMode=cross&instFamily={family}"
        self._rest(Request(Kind.TIERS, currency=name, symbol=symbol, step=run), "GET", target, now_ns)

    def _ask_accounts(self, run: int, now_ns: int) -> None:
        self._open_orders = []
        self._ask_open_orders(Request(Kind.OPEN_ORDERS, step=run), now_ns)
        self._rest(Request(Kind.POSITIONS, step=run), "GET", "/api/v5/account/positions", now_ns)
        self._rest(Request(Kind.BALANCES, step=run), "GET", "/api/v5/account/balance", now_ns)

    def _ask_open_orders(self, request: Request, now_ns: int) -> None:
        after = f"&after={request.cursor}" if request.cursor else ""
        self._rest(request, "GET", f"/api/v5/trade/orders-pending?limit={PAGE}{after}", now_ns)

    def _ask_order(self, label: str, client_id: str, symbol: str, now_ns: int) -> None:
        request = Request(Kind.QUERY_ORDER, label=label, symbol=symbol)
        self._rest(request, "GET", f"/api/v5/trade/order?instId={symbol}&clOrdId={client_id}", now_ns)

    def _ask_order_trades(self, label: str, order_id: str, symbol: str, now_ns: int) -> None:
        request = Request(Kind.ORDER_TRADES, label=label, symbol=symbol, order_id=order_id)
        self._rest(request, "GET", f"/api/v5/trade/fills?instId={symbol}&ordId={order_id}&limit={PAGE}", now_ns)

    def _trade_scopes(self) -> list[str]:
        return [""]

    def _ask_trade_page(self, request: Request, now_ns: int) -> None:
        """Ask for fills, which the venue lists newest first."""
        after = f"&after={request.cursor}" if request.cursor else ""
        is_recent = now_ns - request.since_ms * NS_PER_MS < RECENT_NS
        types = [""] if is_recent else sorted({inst_type for inst_type, _ in self._listings})
        for inst_type in types if not request.currency else [request.currency]:
            page = msgspec.structs.replace(request, currency=inst_type)
            path = "fills" if is_recent else "fills-history"
            of = f"instType={inst_type}&" if inst_type else ""
            self._rest(page, "GET", f"/api/v5/trade/{path}?{of}begin={request.since_ms}&limit={PAGE}{after}", now_ns)

    def _booking_scopes(self) -> list[str]:
        return list(BILL_TYPES)

    def _ask_booking_page(self, request: Request, now_ns: int) -> None:
        """Ask for bills, which the venue lists newest first."""
        is_recent = now_ns - request.since_ms * NS_PER_MS < RECENT_BILLS_NS
        path, after = "bills" if is_recent else "bills-archive", f"&after={request.cursor}" if request.cursor else ""
        query = f"type={request.currency}&begin={request.since_ms}&limit={PAGE}{after}"
        self._rest(request, "GET", f"/api/v5/account/{path}?{query}", now_ns)

    # -- timers

    def _on_timer(self, name: str, now_ns: int) -> None:
        if name == "clock":
            self._ask_clock(0, now_ns)
        elif name == "dead_man":
            self._hold_dead_man(now_ns)
        else:
            super()._on_timer(name, now_ns)

    def _hold_dead_man(self, now_ns: int) -> None:
        """Put off the cancel of all our orders."""
        body = orjson.dumps({"timeOut": str(self._settings.dead_man_s)})
        self._rest(Request(Kind.DEAD_MAN), "POST", "/api/v5/trade/cancel-all-after", now_ns, body)
        self._set_timer("dead_man", now_ns + self._settings.dead_man_s * NS_PER_S // 3)

    def _on_lost_query(self, request: Request, reason: str) -> None:
        if request.kind == Kind.TIME:
            self._set_timer("clock", self._now_ns + CLOCK_RETRY_NS)
        elif request.kind == Kind.TIERS:
            self._tiers_asked.discard(request.currency)
        super()._on_lost_query(request, reason)

    # -- answers

    def _on_answer(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        reply = REPLY.decode(body)
        if reply.code != "0":
            raise RefusedError(code_of(reply.code), reply.msg)
        kind, data = request.kind, reply.data
        if kind == Kind.TIME:
            (clock,) = CLOCKS.decode(data)
            self._on_clock(request, time_of(clock.ts, "ts"), now_ns)
        elif kind == Kind.SETTINGS:
            (config,) = CONFIGS.decode(data)
            if config.pos_mode != "net_mode":
                raise RefusedError(0, f"posMode: {config.pos_mode[:40]!r}, and net_mode is traded here")
            if self._settings.dead_man_s:
                self._hold_dead_man(now_ns)
        elif kind == Kind.INSTRUMENTS:
            self._on_instruments(request, data, now_ns)
        elif kind == Kind.TIERS:
            tiers = TIERS.decode(data)
            self._events.append(margin_tiers(request.currency, tiers, self._market.unit(request.symbol)))
        elif kind == Kind.TRADES:
            fills = FILLS.decode(data)
            found = [trade_seen(one, self.tables.client_ids, self._market.unit(one.inst_id)) for one in fills]
            cursor = fills[-1].bill_id if len(fills) >= PAGE else ""
            since_ms = request.since_ms
            if not cursor and now_ns - since_ms * NS_PER_MS >= RECENT_NS:
                since_ms = (now_ns - RECENT_NS) // NS_PER_MS + 1  # the newest may not be in the archive yet
            self._on_trade_page(request, found, cursor, since_ms, now_ns)
        else:
            self._on_account_answer(request, data, now_ns)

    def _on_account_answer(self, request: Request, data: msgspec.Raw, now_ns: int) -> None:
        kind = request.kind
        if kind == Kind.BOOKINGS:
            bills = BILLS.decode(data)
            for bill in bills:
                self._on_bill(bill)
            cursor = bills[-1].bill_id if len(bills) >= PAGE else ""
            self._on_booking_page(request, cursor, request.since_ms, now_ns)
        elif kind == Kind.OPEN_ORDERS:
            self._on_open_orders(request, ORDERS.decode(data), now_ns)
        elif kind == Kind.POSITIONS:
            wires = POSITIONS.decode(data)
            positions = tuple(position_state(one, self._market.unit(one.inst_id)) for one in wires)
            self._events.append(PositionsReported("all", positions, True))
        elif kind == Kind.BALANCES:
            for account in ACCOUNTS.decode(data):
                self._events.extend(portfolios(account))
                self._events.append(BalancesReported(balance_states(account), True))
        elif kind == Kind.QUERY_ORDER:
            (order,) = ORDERS.decode(data)
            self._on_order_found(request, self._seen(order), now_ns)
        elif kind == Kind.ORDER_TRADES:
            ids, fills = self.tables.client_ids, FILLS.decode(data)
            self._on_order_trades(request, [trade_seen(one, ids, self._market.unit(one.inst_id)) for one in fills])

    def _on_bill(self, bill: BillWire) -> None:
        """Tell of a bill; one that can not be read says nothing of the others, and is seen in the balance."""
        try:
            self._events.append(booking_of(bill))
        except DECODE_ERRORS as error:
            self._report(str(error), "bills")

    def _seen(self, wire: OrderWire) -> OrderSeen:
        return order_seen(wire, self.tables.client_ids, self._market.unit(wire.inst_id))

    def _on_open_orders(self, request: Request, page: list[OrderWire], now_ns: int) -> None:
        self._open_orders += [self._seen(one) for one in page]
        if len(self._open_orders) > MAX_OPEN_ORDERS:
            raise FieldError(f"more than {MAX_OPEN_ORDERS} open orders")
        if len(page) >= PAGE:
            self._ask_open_orders(self._ask_next_page(request, page[-1].ord_id), now_ns)
            return
        orders, self._open_orders = self._open_orders, []
        orders = self._orders.on_open_orders(orders)
        self._events.append(OpenOrdersReported(tuple(one.as_state() for one in orders)))

    def _on_instruments(self, request: Request, data: msgspec.Raw, now_ns: int) -> None:
        entries, tiers = [], []
        for raw in RAW_LIST.decode(data):
            symbol = ""
            try:
                symbol = INSTRUMENT_HEAD.decode(raw).inst_id
                wire = INSTRUMENT.decode(raw)
                entries.append(instrument_listed(wire))
            except DECODE_ERRORS as error:
                self._report(str(error), f"instruments {symbol}")
                continue
            if wire.inst_id_code is not None:
                self._codes[symbol] = wire.inst_id_code
            family = self._families[symbol] = wire.inst_family or wire.uly or symbol
            if wire.inst_type != "SPOT" and self._market.is_wanted(symbol):
                tiers.append((wire.inst_type, family, symbol))
        fresh = self._market.on_listing(request.currency, entries)
        for inst_type, family, symbol in tiers:
            # Of many families the last would come in minutes: they need not be waited for.
            run = request.step if len(self._tiers_asked) < MAX_TIERS_AWAITED else 0
            self._ask_tiers(inst_type, family, symbol, run, now_ns)
        self._subscribe_market([symbol for symbol in fresh if self._market.instruments[symbol].is_open], 0, now_ns)

    def _subscribe_market(self, symbols: list[str], run: int, now_ns: int) -> None:
        raise NotImplementedError

    # -- the private channels

    def _on_orders(self, data: msgspec.Raw, now_ns: int) -> None:
        for wire in ORDERS.decode(data):
            unit = self._market.unit(wire.inst_id)
            seen = order_seen(wire, self.tables.client_ids, unit)
            trade = trade_of(wire, self.tables.client_ids, unit)
            self._orders.on_order(seen)
            if wire.amend_result == "-1":
                self._orders.replace_failed(seen.order_id, code_of(wire.code), self._keyring.redact(wire.msg))
            if trade is not None:
                self._orders.on_trade(trade)
            self._orders.close_done(seen, now_ns)

    def _on_positions(self, data: msgspec.Raw, now_ns: int) -> None:
        positions = tuple(position_state(one, self._market.unit(one.inst_id)) for one in POSITIONS.decode(data))
        if positions:
            self._events.append(PositionsReported("", positions, False))

    def _on_account(self, data: msgspec.Raw, now_ns: int) -> None:
        for account in ACCOUNTS.decode(data):
            self._events.extend(portfolios(account))
            self._events.append(BalancesReported(balance_states(account), False))

    def _on_joint(self, data: msgspec.Raw, now_ns: int) -> None:
        if any(one.event_type in BOOKED_EVENTS for one in JOINT.decode(data)):
            self._something_was_booked(now_ns)

    def _on_warning(self, data: msgspec.Raw, now_ns: int) -> None:
        for warning in WARNINGS.decode(data):
            self._events.append(MarginCallReported((warning.inst_id,), time_of(warning.u_time, "uTime")))
