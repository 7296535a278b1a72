"""What becomes of orders at a venue that acknowledges a request first and tells its outcome by a stream.

Replies, streams and queries tell the same story in any order, and any of them more than once. So an order's
snapshots are ordered by what can only grow, a trade counts once by its id, and what was acknowledged but not told
of within a while is unknown, never assumed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocols.venues.events import (
    CancelRejected,
    Event,
    OrderAccepted,
    OrderAcknowledged,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderRequest,
    OrderState,
    ReplaceRejected,
    Side,
    VenueErrorReported,
    VenueOrderState,
)
from protocols.venues.fields import NS_PER_S, ZERO, FieldError
from protocols.venues.jsonrpc import Request
from protocols.venues.requests import Kind

MAX_LIVE_ORDERS: Final = 20_000
MAX_DONE_ORDERS: Final = 16_384
MAX_TRADE_IDS: Final = 131_072
MAX_PENDING: Final = 20_000
# How long the stream may lag an acknowledgement, or a fill the order snapshot that counts it.
OUTCOME_GRACE_NS: Final = 2 * NS_PER_S
SHORTFALL_GRACE_NS: Final = 1 * NS_PER_S

RESTING_STATES: Final = frozenset({"open", "untriggered"})
REQUEST_NAMES: Final[dict[int, OrderRequest]] = {Kind.PLACE: "place", Kind.REPLACE: "replace", Kind.CANCEL: "cancel"}


class OrderSeen(msgspec.Struct, gc=False):
    """An order as the venue describes it, in the words of all venues. `label` is "" for one that is not ours."""

    order_id: str
    label: str
    symbol: str
    side: Side
    state: VenueOrderState
    quantity: Decimal
    filled: Decimal
    price: Decimal | None
    updated_ns: int
    is_reduce_only: bool = False
    reason: str = ""
    code: int = 0

    def check(self) -> None:
        if self.quantity <= 0 or self.filled < 0:
            raise FieldError(f"quantity: {self.filled} of {self.quantity} filled")

    def as_state(self) -> OrderState:
        return OrderState(
            self.label,
            self.order_id,
            self.symbol,
            self.side,
            self.state,
            self.quantity,
            self.filled,
            self.price,
            self.is_reduce_only,
            self.updated_ns,
        )


class TradeSeen(msgspec.Struct, gc=False):
    """A trade of ours; `trade_id` is unique at the venue, for either side of it."""

    trade_id: str
    order_id: str
    label: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    is_maker: bool
    time_ns: int


class Tracked(msgspec.Struct, gc=False):
    """What is known of one order: its terms as last reported, and the fills that were seen.

    (`updated_ns`, `reported`) grow with each change, so an older snapshot is known by them; of one that is as old,
    by the terms from before the last change. `is_counted` is false for an order that was found part filled: its
    earlier fills were not seen here. `is_confirmed`: the venue has mentioned the order since the last disconnection.
    `has_ended`: the venue has told its end; `is_done` alone is of one that is not followed any more.
    """

    label: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    updated_ns: int
    reported: Decimal
    filled: Decimal = ZERO
    is_counted: bool = True
    is_done: bool = False
    is_confirmed: bool = True
    replaced_terms: tuple[Decimal, Decimal | None] | None = None
    has_ended: bool = False


class Pending(msgspec.Struct, gc=False):
    """A request whose outcome is awaited; `due_ns` is set once it was acknowledged."""

    label: str
    kind: int
    order_id: str = ""
    quantity: Decimal = ZERO
    price: Decimal | None = None
    due_ns: int = 0


class OrderTracker:
    """Outcomes of order requests. `events` is the session's own list."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._orders: dict[str, Tracked] = {}
        self._done: dict[str, Tracked] = {}
        self._trade_ids: dict[str, None] = {}
        self._places: dict[str, Pending] = {}  # by label
        self._changes: dict[str, Pending] = {}  # replaces, by order id
        self._cancels: dict[str, Pending] = {}  # by order id
        self._early: dict[str, Decimal] = {}  # fills of orders that no snapshot has told of yet
        self._shortfalls: dict[str, int] = {}
        self.last_trade_ns = 0
        self.duplicate_fills = 0

    # -- requests and their acknowledgements

    def order(self, order_id: str) -> Tracked | None:
        """Return what is known of an order, live or lately done."""
        return self._orders.get(order_id) or self._done.get(order_id)

    def open_order_ids(self) -> list[str]:
        return list(self._orders)

    def open_symbols(self) -> set[str]:
        return {tracked.symbol for tracked in self._orders.values()}

    def sent_place(self, label: str) -> None:
        if len(self._places) >= MAX_PENDING:
            del self._places[next(iter(self._places))]
        self._places[label] = Pending(label, Kind.PLACE)

    def sent_replace(self, label: str, order_id: str, quantity: Decimal, price: Decimal) -> None:
        if len(self._changes) >= MAX_PENDING:
            del self._changes[next(iter(self._changes))]
        self._changes[order_id] = Pending(label, Kind.REPLACE, order_id, quantity, price)

    def acknowledged(self, request: Request, order_id: str, now_ns: int) -> None:
        """The venue has a place, replace or cancel; its outcome is to follow, or may have come before."""
        kind = request.kind
        self._events.append(OrderAcknowledged(request.label, order_id, REQUEST_NAMES[kind]))
        due_ns = now_ns + OUTCOME_GRACE_NS
        if kind == Kind.PLACE:
            pending = self._places.get(request.label)
            if pending is not None:
                pending.order_id, pending.due_ns = order_id, due_ns
        elif kind == Kind.REPLACE:
            pending = self._changes.get(request.order_id)
            if pending is not None:
                pending.due_ns = due_ns
        elif request.order_id not in self._done:
            if len(self._cancels) >= MAX_PENDING:
                del self._cancels[next(iter(self._cancels))]
            self._cancels[request.order_id] = Pending(request.label, kind, request.order_id, due_ns=due_ns)

    def refused(self, request: Request, code: int, message: str, is_definite: bool) -> None:
        """The venue answered a place, replace or cancel with an error."""
        label = request.label
        if request.kind == Kind.PLACE:
            self._places.pop(label, None)
            self._events.append(OrderRejected(label, code, message, is_definite))
        elif request.kind == Kind.REPLACE:
            self._changes.pop(request.order_id, None)
            self._events.append(ReplaceRejected(label, code, message, is_definite))
        else:
            self._cancels.pop(request.order_id, None)
            self._events.append(CancelRejected(label, code, message, is_definite))

    def replace_failed(self, order_id: str, code: int, message: str) -> None:
        """The stream says that an acknowledged replace was not done."""
        pending = self._changes.pop(order_id, None)
        if pending is not None:
            self._events.append(ReplaceRejected(pending.label, code, message, True))

    def lost(self, request: Request, reason: str) -> None:
        """No readable answer to a place, replace or cancel; where the stream has told the outcome, none is missed."""
        if request.kind == Kind.PLACE and self._places.pop(request.label, None) is None:
            return
        if request.kind == Kind.REPLACE and self._changes.pop(request.order_id, None) is None:
            return
        self._events.append(OrderOutcomeUnknown(request.label, REQUEST_NAMES[request.kind], reason))

    def on_disconnected(self) -> None:
        """What was acknowledged and not yet told of may have been told to nobody.

        What was not acknowledged may still be, on another connection; where it was on this one it is `lost`.
        """
        for waiting in (self._places, self._changes, self._cancels):
            for key, pending in list(waiting.items()):
                if pending.due_ns:
                    del waiting[key]
                    self._give_up(pending, "connection lost before the outcome came")
        self._shortfalls.clear()
        for tracked in self._orders.values():
            tracked.is_confirmed = False

    def expire(self, now_ns: int) -> None:
        """Tell of acknowledged requests whose outcome has not come in time."""
        for waiting in (self._places, self._changes, self._cancels):
            for key, pending in list(waiting.items()):
                if 0 < pending.due_ns <= now_ns:
                    del waiting[key]
                    self._give_up(pending, "acknowledged, and no outcome in time")

    def _give_up(self, pending: Pending, reason: str) -> None:
        self._events.append(OrderOutcomeUnknown(pending.label, REQUEST_NAMES[pending.kind], reason))

    # -- snapshots

    def on_order(self, seen: OrderSeen) -> None:
        """Take a snapshot of an order from a stream, or from a reply that describes it."""
        seen.check()
        order_id = seen.order_id
        pending = self._places.pop(seen.label, None) if seen.label else None
        self._follow_again(order_id)
        tracked = self.order(order_id)
        if tracked is not None:
            self._update(tracked, seen)
            return
        tracked = self._track(seen)
        # Our own order's fills are all seen; those of one that we only now hear of may be older.
        tracked.is_counted = pending is not None or not seen.filled
        if seen.state == "rejected" and not seen.filled:
            self._finish(order_id, tracked)
            tracked.has_ended = True
            self._events.append(OrderRejected(seen.label, seen.code, seen.reason or "rejected", True))
            return
        self._events.append(
            OrderAccepted(seen.label, order_id, seen.symbol, seen.side, seen.quantity, seen.price, seen.updated_ns)
        )

    def _update(self, tracked: Tracked, seen: OrderSeen) -> None:
        """Take over a snapshot, unless it is older than what is known."""
        tracked.is_confirmed = True
        known = (tracked.updated_ns, tracked.reported)
        terms = (seen.quantity, seen.price)
        if tracked.is_done or (seen.updated_ns, seen.filled) < known:
            return
        if (seen.updated_ns, seen.filled) == known and terms == tracked.replaced_terms:
            return
        pending = self._changes.get(seen.order_id)
        is_ours = pending is not None and terms == (pending.quantity, pending.price)
        if is_ours or terms != (tracked.quantity, tracked.price):
            if is_ours:
                del self._changes[seen.order_id]
            if terms != (tracked.quantity, tracked.price):
                tracked.replaced_terms = (tracked.quantity, tracked.price)
                tracked.quantity, tracked.price = terms
            self._events.append(OrderReplaced(tracked.label, seen.order_id, seen.quantity, seen.price))
        tracked.updated_ns, tracked.reported = seen.updated_ns, seen.filled

    def close_done(self, seen: OrderSeen, now_ns: int) -> None:
        """After an order's trades: end it if it is over, and note fills that are still missing."""
        order_id = seen.order_id
        tracked = self._orders.get(order_id)
        if tracked is None:
            return
        if tracked.is_counted and tracked.filled < tracked.reported:
            self._shortfalls.setdefault(order_id, now_ns + SHORTFALL_GRACE_NS)
        if seen.state in RESTING_STATES:
            return
        self._finish(order_id, tracked)
        tracked.has_ended = True
        if seen.state != "filled":
            self._events.append(OrderCancelled(tracked.label, order_id, seen.reason or seen.state, tracked.reported))

    def is_outdated(self, seen: OrderSeen) -> bool:
        """Whether an answer describes an order as open whose end was told meanwhile, on another connection."""
        tracked = self._done.get(seen.order_id)
        return tracked is not None and tracked.has_ended and seen.state in RESTING_STATES

    def on_open_orders(self, listed: list[OrderSeen]) -> list[OrderSeen]:
        """Take the list of all open orders: it is reported as such, not as orders accepted. Return those that are.

        An order known from before a disconnection that the venue no longer shows is not followed any more; what
        became of it is the gateway's to ask, by label.
        """
        orders = [seen for seen in listed if not self.is_outdated(seen)]
        for seen in orders:
            self._places.pop(seen.label, None)
            self._follow_again(seen.order_id)
            tracked = self._orders.get(seen.order_id)
            if tracked is not None:
                tracked.is_confirmed = True
            elif seen.order_id not in self._done:
                self._track(seen).is_counted = not seen.filled
        for order_id, tracked in list(self._orders.items()):
            if not tracked.is_confirmed:
                self._finish(order_id, tracked)
        return orders

    def on_queried(self, seen: OrderSeen) -> None:
        """Take the answer to a query: it is reported as such, so its end is not told a second time."""
        order_id = seen.order_id
        self._places.pop(seen.label, None)
        self._follow_again(order_id)
        tracked = self._orders.get(order_id)
        if tracked is None and order_id not in self._done:
            tracked = self._track(seen)
            tracked.is_counted = not seen.filled
        if tracked is not None and seen.state not in RESTING_STATES:
            self._finish(order_id, tracked)
            tracked.has_ended = True

    # -- trades

    def on_trade(self, trade: TradeSeen, is_backfill: bool = False) -> None:
        """Tell of a trade, once by its id."""
        if trade.quantity <= 0 or trade.price <= 0:
            raise FieldError(f"quantity, price: {trade.quantity} traded at {trade.price}")
        if trade.trade_id in self._trade_ids:
            self.duplicate_fills += 1
            return
        if len(self._trade_ids) >= MAX_TRADE_IDS:
            del self._trade_ids[next(iter(self._trade_ids))]
        self._trade_ids[trade.trade_id] = None
        self.last_trade_ns = max(self.last_trade_ns, trade.time_ns)
        tracked = self.order(trade.order_id)
        label = trade.label if tracked is None else tracked.label or trade.label
        self._events.append(
            OrderFilled(
                label,
                trade.order_id,
                trade.symbol,
                trade.trade_id,
                trade.side,
                trade.quantity,
                trade.price,
                trade.fee,
                trade.fee_currency,
                trade.is_maker,
                trade.time_ns,
                is_backfill,
            )
        )
        if tracked is None:
            if len(self._early) >= MAX_PENDING:
                del self._early[next(iter(self._early))]
            self._early[trade.order_id] = self._early.get(trade.order_id, ZERO) + trade.quantity
        else:
            tracked.filled += trade.quantity
            if tracked.symbol != trade.symbol or (tracked.is_counted and tracked.filled > tracked.quantity):
                text = f"trade {trade.trade_id} does not fit its order: {tracked.filled} of {tracked.quantity} filled"
                self._events.append(VenueErrorReported(0, text, trade.order_id))

    def due_shortfalls(self, now_ns: int) -> list[str]:
        """Return the orders whose fills have to be asked for now."""
        due = [order_id for order_id, due_ns in self._shortfalls.items() if due_ns <= now_ns]
        for order_id in due:
            del self._shortfalls[order_id]
        return [order_id for order_id in due if self.is_short(order_id)]

    def is_short(self, order_id: str) -> bool:
        tracked = self.order(order_id)
        return tracked is not None and tracked.is_counted and tracked.filled < tracked.reported

    @property
    def deadline_ns(self) -> int | None:
        """When missing fills are to be asked for, or an outcome is overdue."""
        times = list(self._shortfalls.values())
        for waiting in (self._places, self._changes, self._cancels):
            times += [pending.due_ns for pending in waiting.values() if pending.due_ns]
        return min(times, default=None)

    def _follow_again(self, order_id: str) -> None:
        """Follow an order that was given up, as a list had left it out: the list was older than the order."""
        tracked = self._done.get(order_id)
        if tracked is not None and not tracked.has_ended:
            del self._done[order_id]
            tracked.is_done = False
            self._make_room()
            self._orders[order_id] = tracked

    def _make_room(self) -> None:
        if len(self._orders) >= MAX_LIVE_ORDERS:
            self._finish(next(iter(self._orders)), next(iter(self._orders.values())))

    def _track(self, seen: OrderSeen) -> Tracked:
        self._make_room()
        tracked = self._orders[seen.order_id] = Tracked(
            seen.label, seen.symbol, seen.side, seen.quantity, seen.price, seen.updated_ns, seen.filled
        )
        tracked.filled = self._early.pop(seen.order_id, ZERO)
        return tracked

    def _finish(self, order_id: str, tracked: Tracked) -> None:
        del self._orders[order_id]
        tracked.is_done = True
        self._cancels.pop(order_id, None)
        self._changes.pop(order_id, None)
        if len(self._done) >= MAX_DONE_ORDERS:
            del self._done[next(iter(self._done))]
        self._done[order_id] = tracked
