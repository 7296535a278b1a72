"""What Deribit says of our account: changes as they happen, and answers to what is asked after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocols.venues.deribit_decode import (
    CHANGES,
    NS_PER_MS,
    ORDER_TRADES,
    ORDERS,
    PORTFOLIO,
    POSITIONS,
    SUMMARIES,
    TRADE_PAGE,
    Changes,
    FieldError,
    TradePage,
    order_state,
    portfolio_reported,
    position_state,
)
from protocols.venues.deribit_market import MarketData
from protocols.venues.deribit_orders import RESTING_STATES, TRIGGERED, OrderFlow
from protocols.venues.deribit_tables import Kind
from protocols.venues.events import (
    Event,
    OpenOrdersReported,
    OrderNotFound,
    OrderQueryFailed,
    OrderState,
    OrderStateReported,
    PositionsReported,
    TradesReported,
)
from protocols.venues.jsonrpc import Request

PAGE_TRADES: Final = 1_000
MAX_PAGES: Final = 500
# Trades are asked for from a little before the last one seen; what is seen twice is told once.
OVERLAP_MS: Final = 5_000
# On the first connection our clock, not the venue's, says from when on.
CLOCK_MARGIN_MS: Final = 60_000
# Without "historical" the venue looks back one day.
RECENT_MS: Final = 23 * 3_600_000

Ask = Callable[[Request, str, dict[str, Any], int], None]


class Accounts:
    """Orders, trades, positions and portfolios. `ask` sends a request, `report(message, context)` an error."""

    def __init__(
        self,
        events: list[Event],
        orders: OrderFlow,
        market: MarketData,
        ask: Ask,
        report: Callable[[str, str], None],
        trades_since_ns: int | None,
    ) -> None:
        self._events = events
        self._orders = orders
        self._market = market
        self._ask = ask
        self._report = report
        self._since_ms = None if trades_since_ns is None else trades_since_ns // NS_PER_MS
        self._must_backfill = self._since_ms is not None
        self._queried: dict[str, OrderState] = {}

    def on_connected(self, now_ns: int) -> None:
        if self._since_ms is None:
            self._since_ms = now_ns // NS_PER_MS - CLOCK_MARGIN_MS

    def on_disconnected(self, was_live: bool, now_ns: int) -> None:
        self._must_backfill = True
        # Only a session that was live had seen all trades up to its last one; and none is of the future.
        if was_live and self._since_ms is not None:
            last_ms = min(self._orders.last_trade_ms, now_ns // NS_PER_MS)
            self._since_ms = max(self._since_ms, last_ms - OVERLAP_MS)
        self._queried.clear()

    # -- notifications

    def on_changes(self, data: msgspec.Raw, _: str, now_ns: int) -> None:
        self.take_changes(CHANGES.decode(data), now_ns)

    def take_changes(self, changes: Changes, now_ns: int) -> None:
        """Take what user.changes tells; raises ValueError where it can not be right."""
        for order in changes.orders:
            self._orders.on_order(order)
        for trade in changes.trades:
            self._orders.on_trade(trade)
        for order in changes.orders:
            self._orders.close_done(order, now_ns)
        if changes.positions:
            positions = tuple(position_state(position) for position in changes.positions)
            self._events.append(PositionsReported("", positions, False))

    def on_portfolio(self, data: msgspec.Raw, _: str, now_ns: int) -> None:
        self._events.append(portfolio_reported(PORTFOLIO.decode(data)))

    # -- questions

    def ask_trades(self, currencies: tuple[str, ...], step: int, now_ns: int) -> None:
        """Ask for trades that may have been missed; on a first connection with no time to start from, none."""
        if not self._must_backfill:
            self._must_backfill = True
            return
        assert self._since_ms is not None
        is_historical = now_ns // NS_PER_MS - self._since_ms > RECENT_MS
        for currency in currencies:
            first = Request(
                Kind.TRADES, currency=currency, since_ms=self._since_ms, is_historical=is_historical, step=step
            )
            self._ask_trade_page(first, now_ns)

    def _ask_trade_page(self, request: Request, now_ns: int) -> None:
        params = {
            "currency": request.currency,
            "start_timestamp": request.since_ms,
            "count": PAGE_TRADES,
            "sorting": "asc",
            "historical": request.is_historical,
        }
        self._ask(request, "private/get_user_trades_by_currency", params, now_ns)

    def ask_accounts(self, currencies: tuple[str, ...], step: int, now_ns: int) -> None:
        self._ask(Request(Kind.OPEN_ORDERS, step=step), "private/get_open_orders", {}, now_ns)
        for currency in currencies:
            request = Request(Kind.POSITIONS, currency=currency, step=step)
            self._ask(request, "private/get_positions", {"currency": currency}, now_ns)
        self._ask(Request(Kind.PORTFOLIOS, step=step), "private/get_account_summaries", {}, now_ns)

    def query_order(self, label: str, symbol: str, now_ns: int) -> None:
        currency = self._market.currencies.get(symbol)
        if currency is None:
            self._events.append(OrderQueryFailed(label, f"unknown symbol {symbol[:64]}"))
            return
        request = Request(Kind.QUERY_ORDER, label=label, symbol=symbol)
        params = {"currency": currency, "label": label}
        self._ask(request, "private/get_order_state_by_label", params, now_ns)

    def ask_order_trades(self, label: str, order_id: str, now_ns: int) -> None:
        request = Request(Kind.QUERY_ORDER_TRADES, label=label, order_id=order_id)
        params = {"order_id": order_id, "sorting": "asc"}
        self._ask(request, "private/get_user_trades_by_order", params, now_ns)

    # -- answers

    def on_result(self, request: Request, result: msgspec.Raw, now_ns: int) -> None:
        kind = request.kind
        if kind == Kind.TRADES:
            self._on_trade_page(request, TRADE_PAGE.decode(result), now_ns)
        elif kind == Kind.OPEN_ORDERS:
            # Of one that has ended since, the list is older than its end.
            orders = [order for order in ORDERS.decode(result) if not self._orders.has_ended(order.order_id)]
            states = tuple(order_state(order) for order in orders)
            self._orders.on_open_orders(orders)
            self._events.append(OpenOrdersReported(states))
        elif kind == Kind.POSITIONS:
            positions = tuple(position_state(position) for position in POSITIONS.decode(result))
            self._events.append(PositionsReported(request.currency, positions, True))
        elif kind == Kind.PORTFOLIOS:
            self._events.extend([portfolio_reported(one) for one in SUMMARIES.decode(result).summaries])
        elif kind == Kind.QUERY_ORDER:
            self._on_order_state(request, result, now_ns)
        elif kind == Kind.QUERY_ORDER_TRADES:
            self._on_order_trades(request, result)

    def _on_trade_page(self, request: Request, page: TradePage, now_ns: int) -> None:
        for trade in page.trades:
            self._orders.on_trade(trade, is_backfill=True)
        count = request.count + len(page.trades)
        since_ms, is_historical = request.since_ms, request.is_historical
        if page.has_more and page.trades:
            if request.page >= MAX_PAGES:
                raise FieldError(f"has_more: still set after {MAX_PAGES} pages")
            since_ms = page.trades[-1].timestamp
            if since_ms <= request.since_ms:
                # A whole page within one millisecond: asking from there again would never end.
                raise FieldError(f"timestamp: {len(page.trades)} trades, and more, at {since_ms}")
        elif is_historical:
            # The newest trades are not in the history yet.
            since_ms, is_historical = now_ns // NS_PER_MS - RECENT_MS, False
        else:
            assert self._since_ms is not None
            self._events.append(TradesReported(request.currency, self._since_ms * NS_PER_MS, count))
            return
        following = msgspec.structs.replace(
            request, since_ms=since_ms, is_historical=is_historical, count=count, page=request.page + 1
        )
        self._ask_trade_page(following, now_ns)

    def _on_order_state(self, request: Request, result: msgspec.Raw, now_ns: int) -> None:
        orders = ORDERS.decode(result)
        for order in orders:
            if order.label != request.label:
                raise FieldError(f"label: asked for {request.label}, answered {order.label}")
        if not orders:
            self._events.append(OrderNotFound(request.label))
        # A trigger order that has triggered says nothing beside what it has become, which has the same label.
        for order in [order for order in orders if order.order_state != TRIGGERED] or orders:
            if order.order_state in RESTING_STATES and self._orders.has_ended(order.order_id):
                continue  # the venue has told of its end since: this answer was overtaken
            state = order_state(order)
            self._orders.on_queried(order)
            if state.filled_quantity:
                self._queried[order.order_id] = state
                self.ask_order_trades(request.label, order.order_id, now_ns)
            else:
                self._events.append(OrderStateReported(state))

    def _on_order_trades(self, request: Request, result: msgspec.Raw) -> None:
        reply = ORDER_TRADES.decode(result)
        trades = reply.trades if isinstance(reply, TradePage) else reply
        for trade in trades:
            if trade.order_id != request.order_id:
                raise FieldError(f"order_id: asked for {request.order_id}, answered {trade.order_id}")
        for trade in trades:
            self._orders.on_trade(trade, is_backfill=True)
        state = self._queried.pop(request.order_id, None)
        if state is not None:
            self._events.append(OrderStateReported(state))
        if self._orders.is_short(request.order_id):
            self._report("trades: fewer than the order's filled_amount", request.order_id)

    def on_lost(self, request: Request, reason: str) -> None:
        """A question has no usable answer: what was asked stays unknown."""
        if request.kind in (Kind.QUERY_ORDER, Kind.QUERY_ORDER_TRADES):
            self._queried.pop(request.order_id, None)
            if request.label:
                self._events.append(OrderQueryFailed(request.label, reason))
