"""Orders on Deribit: requests out, and the two ways in which their fate comes back.

The reply to a request and the user.changes channel tell the same story in either order, and either may be
repeated. So an order's snapshots are ordered by what can only grow, and a trade counts once by its id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from protocols.errors import LocalProtocolError
from protocols.venues.deribit_decode import (
    ORDER,
    ORDER_AND_TRADES,
    FieldError,
    OrderWire,
    TradeWire,
    decimal,
    fill_id,
    order_filled,
    order_price,
    since_epoch_ns,
    trigger_price,
)
from protocols.venues.deribit_encode import Trigger, cancel_body, checked_order_id, edit_body, place_body
from protocols.venues.deribit_tables import Kind, RateLimits, verdict
from protocols.venues.events import (
    CancelRejected,
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderRequest,
    OrderTriggered,
    ReplaceRejected,
    VenueErrorReported,
)
from protocols.venues.frames import limit_frame
from protocols.venues.jsonrpc import Request, RequestTable
from protocols.venues.rate_limit import Credits, RateLimitError

MAX_LIVE_ORDERS: Final = 20_000
MAX_DONE_ORDERS: Final = 16_384
MAX_TRADE_IDS: Final = 131_072
MAX_WAITING_CANCELS: Final = 4_096
# How long a fill may lag the order snapshot that counts it before the venue is asked for it.
SHORTFALL_GRACE_NS: Final = 1_000_000_000

RESTING_STATES: Final = frozenset({"open", "untriggered"})
# Of a trigger order that lives on under another id, with the same label.
TRIGGERED: Final = "triggered"

# Looking a member up in its Enum costs more than the comparison.
_PLACE, _REPLACE, _CANCEL = Kind.PLACE, Kind.REPLACE, Kind.CANCEL
_REQUEST_NAMES: Final[dict[int, OrderRequest]] = {
    _PLACE: "place",
    _REPLACE: "replace",
    _CANCEL: "cancel",
}


class Tracked(msgspec.Struct, gc=False):
    """What is known of one order: its terms as last reported, and the fills that were seen.

    (`updated_ms`, `is_replaced`, `reported`) grow with each change, so an older snapshot is known by them.
    `is_counted` is false for an order that was found part filled: its earlier fills were not seen here.
    `is_confirmed` is false from a disconnection until the venue has mentioned the order again.
    """

    label: str
    symbol: str
    quantity: Decimal
    price: Decimal | None
    updated_ms: int
    is_replaced: bool
    reported: Decimal
    filled: Decimal = Decimal(0)
    is_counted: bool = True
    is_done: bool = False
    has_ended: bool = False  # the venue has told so; one that is merely followed no more is done too
    is_confirmed: bool = True
    replaces_in_flight: int = 0
    trigger_price: Decimal | None = None


class OrderFlow:
    """Order requests and their outcomes. `frames` and `events` are the session's own lists."""

    __slots__ = (
        "_cancel_reserve",
        "_credits",
        "_done",
        "_events",
        "_frames",
        "_orders",
        "_redact",
        "_requests",
        "_shortfalls",
        "_timeout_ns",
        "_trade_ids",
        "_waiting_cancels",
        "duplicate_fills",
        "last_trade_ms",
        "symbols",
    )

    def __init__(
        self,
        requests: RequestTable,
        frames: list[bytes],
        events: list[Event],
        limits: RateLimits,
        request_timeout_ns: int,
        redact: Callable[[str], str],
    ) -> None:
        self._requests = requests
        self._frames = frames
        self._events = events
        self._timeout_ns = request_timeout_ns
        self._redact = redact
        if not 0 <= limits.cancel_reserve < limits.matching_capacity:
            raise ValueError("cancel_reserve must leave room for orders in matching_capacity")
        self._credits = Credits(limits.matching_capacity, limits.matching_per_s)
        self._cancel_reserve = limits.cancel_reserve
        self._orders: dict[str, Tracked] = {}
        self._done: dict[str, Tracked] = {}
        self._trade_ids: dict[str, None] = {}
        self._waiting_cancels: deque[tuple[str, str]] = deque()
        self._shortfalls: dict[str, int] = {}
        self.symbols: set[str] = set()
        self.last_trade_ms = 0
        self.duplicate_fills = 0

    # -- requests

    def can_send_order(self, now_ns: int) -> bool:
        return self._credits.has(1, now_ns, self._cancel_reserve) and not self._requests.is_full

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
        trigger: Trigger | None = None,
    ) -> None:
        if symbol not in self.symbols:
            raise LocalProtocolError(f"symbol {symbol[:64]!r} is not listed")
        request = Request(_PLACE, now_ns + self._timeout_ns, label, symbol)
        frame = None
        if order_type == "limit" and not reduce_only and trigger is None:
            next_id = self._requests.next_id
            frame = limit_frame(next_id, label, symbol, is_buy, quantity, price, time_in_force, post_only)
        if frame is not None:
            self._take_order_credit(now_ns)
            self._requests.add(request)
            self._frames.append(frame)
            return
        body = place_body(
            label, symbol, is_buy, quantity, price, order_type, time_in_force, post_only, reduce_only, trigger
        )
        self._take_order_credit(now_ns)
        self._send(request, body)

    def replace(
        self,
        label: str,
        order_id: str,
        quantity: str | bytes,
        price: str | bytes,
        now_ns: int,
        post_only: bool,
        reduce_only: bool,
        trigger_price: str | bytes | None = None,
    ) -> None:
        """`quantity` is the whole quantity wanted, what is filled already included."""
        body = edit_body(order_id, quantity, price, post_only, reduce_only, trigger_price)
        self._take_order_credit(now_ns)
        self._send(Request(_REPLACE, now_ns + self._timeout_ns, label, order_id=order_id), body)
        tracked = self._orders.get(order_id)
        if tracked is not None:
            tracked.replaces_in_flight += 1

    def cancel(self, label: str, order_id: str, now_ns: int) -> None:
        """Send a cancel, or keep it until the rate limit has room: a cancel is never refused for that."""
        checked_order_id(order_id)
        if not self._waiting_cancels and self._send_cancel(label, order_id, now_ns):
            return
        if len(self._waiting_cancels) >= MAX_WAITING_CANCELS:
            raise RateLimitError(f"{MAX_WAITING_CANCELS} cancels are waiting already")
        self._waiting_cancels.append((label, order_id))

    def cancel_all(self, now_ns: int) -> bool:
        """Cancel every order of the account, other sessions' too; False when the limit has no room at all."""
        if self._requests.is_full or not self._credits.take(1, now_ns):
            return False
        request = Request(Kind.CANCEL_ALL, now_ns + self._timeout_ns)
        self._send(request, '"method":"private/cancel_all","params":{}}')
        return True

    def _send(self, request: Request, body: str) -> None:
        self._frames.append(f'{{"jsonrpc":"2.0","id":{self._requests.add(request)},{body}'.encode())

    def _take_order_credit(self, now_ns: int) -> None:
        if self._requests.is_full:
            raise RateLimitError("too many requests in flight")
        if not self._credits.take(1, now_ns, self._cancel_reserve):
            raise RateLimitError("the venue's order rate leaves no room")

    def _send_cancel(self, label: str, order_id: str, now_ns: int) -> bool:
        if self._requests.is_full or not self._credits.take(1, now_ns):
            return False
        request = Request(_CANCEL, now_ns + self._timeout_ns, label, order_id=order_id)
        self._send(request, cancel_body(order_id))
        return True

    def send_waiting(self, now_ns: int) -> None:
        while self._waiting_cancels and self._send_cancel(*self._waiting_cancels[0], now_ns):
            self._waiting_cancels.popleft()

    # -- outcomes

    def on_reply(self, request: Request, result: msgspec.Raw, now_ns: int) -> None:
        """Read the reply to a place, replace or cancel; raises ValueError where it can not be read."""
        if request.kind is _CANCEL:
            # A cancel's reply is the order alone.
            order = ORDER.decode(result)
            trades: list[TradeWire] = []
        else:
            reply = ORDER_AND_TRADES.decode(result)
            order, trades = reply.order, reply.trades
        self.take_reply(request, order, trades, now_ns)

    def take_reply(self, request: Request, order: OrderWire, trades: list[TradeWire], now_ns: int) -> None:
        """Take the reply to a place, replace or cancel; raises ValueError where it can not be right."""
        if order.order_state == TRIGGERED:
            raise FieldError("order_state: triggered, and what the order has become is not in the reply")
        if request.kind is _PLACE:
            if order.label != request.label or order.instrument_name != request.symbol:
                raise FieldError(f"label, instrument_name: the reply is about {order.label} {order.instrument_name}")
            if order.order_state == "rejected" and not order.filled_amount and not trades:
                text = self._redact(order.cancel_reason or "rejected")
                self._events.append(OrderRejected(request.label, 0, text, True))
                return
        elif order.order_id != request.order_id:
            raise FieldError(f"order_id: the reply is about {order.order_id}")
        for trade in trades:
            if trade.order_id != order.order_id:
                raise FieldError(f"trades: of order {trade.order_id} in the reply for {order.order_id}")
        self.on_order(order, request)
        for trade in trades:
            self.on_trade(trade)
        self.close_done(order, now_ns)

    def on_error(self, request: Request, code: int, message: str) -> None:
        is_definite = verdict(code).is_definite
        if request.kind is _PLACE:
            self._events.append(OrderRejected(request.label, code, message, is_definite))
        elif request.kind is _REPLACE:
            self._end_replace(request.order_id)
            self._events.append(ReplaceRejected(request.label, code, message, is_definite))
        else:
            self._events.append(CancelRejected(request.label, code, message, is_definite, request.order_id))

    def on_lost(self, request: Request, reason: str) -> None:
        """No readable answer to a place, replace or cancel."""
        if request.kind is _REPLACE:
            self._end_replace(request.order_id)
        self._events.append(OrderOutcomeUnknown(request.label, _REQUEST_NAMES[request.kind], reason))

    def on_disconnected(self) -> None:
        for label, order_id in self._waiting_cancels:
            text = "connection lost before the cancel was sent"
            self._events.append(CancelRejected(label, 0, text, True, order_id))
        self._waiting_cancels.clear()
        self._shortfalls.clear()
        for tracked in self._orders.values():
            tracked.is_confirmed = False
            tracked.replaces_in_flight = 0

    def on_order(self, order: OrderWire, request: Request | None = None) -> None:
        """Take a snapshot of an order; `request` is our own that it answers, if it does."""
        order_id = order.order_id
        tracked = self._orders.get(order_id)
        if order.order_state == TRIGGERED:
            self._leave(order_id)
            return
        quantity, reported = decimal(order.amount), decimal(order.filled_amount)
        price = order_price(order.price)
        if quantity <= 0 or reported < 0:
            raise FieldError(f"amount, filled_amount: {reported} of {quantity} filled")
        tracked = tracked or self._done.get(order_id)
        is_first = tracked is None
        if tracked is None:
            tracked = self._track(order, quantity, price, reported)
        if request is not None and request.kind is _REPLACE:
            self._end_replace(order_id)
            self._events.append(OrderReplaced(request.label, order_id, quantity, price, trigger_price(order)))
        elif is_first and order.trigger_order_id:
            self._events.append(OrderTriggered(order.label, order_id, order.trigger_order_id))
        elif is_first and (request is None or request.kind is _PLACE):
            self._events.append(
                OrderAccepted(
                    order.label,
                    order_id,
                    order.instrument_name,
                    order.direction,
                    quantity,
                    price,
                    since_epoch_ns(order.last_update_timestamp),
                )
            )
        if is_first:
            # Our own order's fills are all seen; those of one that we only now hear of may be older.
            tracked.is_counted = request is None or request.kind is _PLACE or not reported
        else:
            self._update(tracked, order, quantity, price, reported, request)

    def _update(
        self,
        tracked: Tracked,
        order: OrderWire,
        quantity: Decimal,
        price: Decimal | None,
        reported: Decimal,
        request: Request | None,
    ) -> None:
        """Take over a snapshot, unless it is older than what is known."""
        tracked.is_confirmed = True
        seen = (tracked.updated_ms, tracked.is_replaced, tracked.reported)
        if tracked.is_done or (order.last_update_timestamp, order.replaced, reported) < seen:
            return
        stop = trigger_price(order) or tracked.trigger_price  # that of a stop that ends is told no more
        if tracked.quantity != quantity or tracked.price != price or tracked.trigger_price != stop:
            # A change that we did not ask for is told at once; our own by its reply, so that it is told once.
            is_own = request is not None and request.kind is _REPLACE
            if not is_own and not tracked.replaces_in_flight:
                self._events.append(OrderReplaced(tracked.label, order.order_id, quantity, price, stop))
            tracked.quantity, tracked.price, tracked.trigger_price = quantity, price, stop
        tracked.updated_ms, tracked.is_replaced = order.last_update_timestamp, order.replaced
        tracked.reported = reported

    def on_open_orders(self, orders: list[OrderWire]) -> None:
        """Take the list of all open orders: it is reported as such, not as orders accepted.

        An order known from before a disconnection that the venue no longer shows is not followed any more; what
        became of it is the gateway's to ask, by label.
        """
        for order in orders:
            tracked = self._orders.get(order.order_id)
            if tracked is not None:
                tracked.is_confirmed = True
            elif order.order_id not in self._done:
                reported = decimal(order.filled_amount)
                tracked = self._track(order, decimal(order.amount), order_price(order.price), reported)
                tracked.is_counted = not reported
        for order_id, tracked in list(self._orders.items()):
            if not tracked.is_confirmed:
                self._finish(order_id, tracked)

    def on_queried(self, order: OrderWire) -> None:
        """Take the answer to a query: it is reported as such, so its end is not told a second time."""
        order_id = order.order_id
        tracked = self._orders.get(order_id)
        if tracked is None and order_id not in self._done:
            reported = decimal(order.filled_amount)
            tracked = self._track(order, decimal(order.amount), order_price(order.price), reported)
            tracked.is_counted = not reported
        if tracked is not None and order.order_state not in RESTING_STATES:
            self._finish(order_id, tracked, has_ended=True)

    def on_trade(self, trade: TradeWire, is_backfill: bool = False) -> None:
        """Tell of a trade, once by its id."""
        trade_id = fill_id(trade)
        if trade_id in self._trade_ids:
            self.duplicate_fills += 1
            return
        order_id = trade.order_id
        tracked = self._orders.get(order_id) or self._done.get(order_id)
        label = trade.label if tracked is None else tracked.label or trade.label
        fill = order_filled(trade, label, is_backfill)
        if len(self._trade_ids) >= MAX_TRADE_IDS:
            del self._trade_ids[next(iter(self._trade_ids))]
        self._trade_ids[trade_id] = None
        if trade.timestamp > self.last_trade_ms:
            self.last_trade_ms = trade.timestamp
        self._events.append(fill)
        if tracked is not None:
            self._count(tracked, fill)

    def close_done(self, order: OrderWire, now_ns: int) -> None:
        """After an order's trades: end it if it is over, and note fills that are still missing."""
        order_id = order.order_id
        state = order.order_state
        if state == "open" and not order.filled_amount:
            return
        tracked = self._orders.get(order_id)
        if tracked is None:
            return
        if tracked.is_counted and tracked.filled < tracked.reported:
            self._shortfalls.setdefault(order_id, now_ns + SHORTFALL_GRACE_NS)
        if state in RESTING_STATES:
            return
        self._finish(order_id, tracked, has_ended=True)
        if state != "filled":
            reason = self._redact(order.cancel_reason or state)
            self._events.append(OrderCancelled(tracked.label, order_id, reason, tracked.reported))

    # -- fills that were counted but not seen

    def deadline_ns(self, now_ns: int) -> int | None:
        """When a waiting cancel can go, or missing fills are to be asked for."""
        due_ns = min(self._shortfalls.values()) if self._shortfalls else None
        if not self._waiting_cancels:
            return due_ns
        cancel_at_ns = self._credits.available_at_ns(1, now_ns)
        return cancel_at_ns if due_ns is None else min(due_ns, cancel_at_ns)

    def due_shortfalls(self, now_ns: int) -> list[str]:
        """Return the orders whose fills have to be asked for now."""
        due = [order_id for order_id, due_ns in self._shortfalls.items() if due_ns <= now_ns]
        for order_id in due:
            del self._shortfalls[order_id]
        return [order_id for order_id in due if self.is_short(order_id)]

    def has_ended(self, order_id: str) -> bool:
        """Whether the venue has told of the order's end; no order comes back from that."""
        tracked = self._done.get(order_id)
        return tracked is not None and tracked.has_ended

    def is_short(self, order_id: str) -> bool:
        tracked = self._orders.get(order_id) or self._done.get(order_id)
        return tracked is not None and tracked.is_counted and tracked.filled < tracked.reported

    def _count(self, tracked: Tracked, fill: OrderFilled) -> None:
        tracked.filled += fill.quantity
        if tracked.symbol != fill.symbol or (tracked.is_counted and tracked.filled > tracked.quantity):
            text = f"trades: {fill.trade_id} does not fit its order, {tracked.filled} of {tracked.quantity} filled"
            self._events.append(VenueErrorReported(0, text, fill.venue_order_id))

    def _track(self, order: OrderWire, quantity: Decimal, price: Decimal | None, reported: Decimal) -> Tracked:
        if len(self._orders) >= MAX_LIVE_ORDERS:
            self._finish(next(iter(self._orders)), next(iter(self._orders.values())))
        tracked = self._orders[order.order_id] = Tracked(
            order.label,
            order.instrument_name,
            quantity,
            price,
            order.last_update_timestamp,
            order.replaced,
            reported,
            trigger_price=trigger_price(order),
        )
        if order.trigger_order_id:
            self._leave(order.trigger_order_id, tracked)
        return tracked

    def _leave(self, order_id: str, becomes: Tracked | None = None) -> None:
        """Follow a trigger order no more: it has become another, which may be told before its own acknowledgement."""
        tracked = self._orders.get(order_id)
        if tracked is not None:
            self._finish(order_id, tracked, has_ended=True)
        elif becomes is not None and order_id not in self._done:
            self._keep_done(order_id, msgspec.structs.replace(becomes, is_done=True, has_ended=True))

    def _finish(self, order_id: str, tracked: Tracked, has_ended: bool = False) -> None:
        del self._orders[order_id]
        tracked.is_done, tracked.has_ended = True, has_ended
        self._keep_done(order_id, tracked)

    def _keep_done(self, order_id: str, tracked: Tracked) -> None:
        if len(self._done) >= MAX_DONE_ORDERS:
            del self._done[next(iter(self._done))]
        self._done[order_id] = tracked

    def _end_replace(self, order_id: str) -> None:
        tracked = self._orders.get(order_id)
        if tracked is not None and tracked.replaces_in_flight:
            tracked.replaces_in_flight -= 1
