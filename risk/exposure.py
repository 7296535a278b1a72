"""Working orders of one account: hold before the send, release exactly once.

What is held is what an adversary could still fill: the order's open lots at its own limit price. While a replace is on
its way the order holds both shapes: the venue may fill the old one, then the rest of the new one, so the kernel counts
the worst of the old, the new, and the old with the rest of the new, in each scenario.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from risk.cash import fill_cash
from risk.instrument import Instrument, Side
from risk.kernel import MarginKernel
from risk.lifecycle import WORKING, Happening, OrdStatus, next_status
from risk.order import OrdType, Terms, TimeInForce
from risk.profile_books import Fan
from risk.self_trade import ClientOrders
from risk.venue_book import VenueKernel

_BUY: Final = Side.BUY
NO_VENUES: Final[Mapping[str, VenueKernel]] = MappingProxyType({})
# account, instrument, lots, cash, and the same of a pending replace
Held = tuple[int, int, float, float, float, float]


class PendingReplace(msgspec.Struct, frozen=True, gc=False):
    """A replace that the venue has not answered: the new client id, total quantity and limit."""

    cl_ord_id: str
    lots: int
    ticks: int
    session: str = ""  # which asked; the order may be another session's of the same account
    terms: Terms | None = None  # those of the order once it is taken; None: as they were


class WorkingOrder(msgspec.Struct, gc=False):
    """One order from its approval to its end, in integers. `lots` is OrderQty(38), `cum_lots` CumQty(14)."""

    order_id: str
    cl_ord_id: str
    session: str
    account: str
    instrument: Instrument
    side: Side
    lots: int
    ticks: int
    ord_type: OrdType
    time_in_force: TimeInForce
    is_post_only: bool
    is_reduce_only: bool
    received_ns: int
    status: OrdStatus = OrdStatus.PENDING_NEW
    venue_order_id: str = ""
    cum_lots: int = 0
    # Sum of lots * ticks over fills: AvgPx(6) is this over cum_lots, exact until it is printed.
    cum_lot_ticks: int = 0
    # A cancel on its way; its ClOrdID is empty where the gateway itself asked.
    is_cancel_pending: bool = False
    cancel_cl_ord_id: str = ""
    cancel_session: str = ""
    replace: PendingReplace | None = None
    # What the kernel holds for it now; None once released.
    held: tuple[int, int] | None = None
    held_alternative: tuple[int, int] | None = None
    terms: Terms | None = None
    # Of a stop: its price has come, and it works under `venue_order_id` as what it becomes.
    is_triggered: bool = False
    # Of a GTD order: its time has come, and its cancel ends it as expired.
    is_expiring: bool = False
    # What busts and corrections changed of its fills. `cum_lots` stays what the venue executed: lots that were busted
    # do not come back to the book.
    adjusted_lots: int = 0
    adjusted_lot_ticks: int = 0

    @property
    def is_at_rest(self) -> bool:
        """Whether this is a stop that has not triggered, as far as we know: it is in no book and trades with nobody."""
        return self.terms is not None and self.terms.stop_ticks > 0 and not self.is_triggered

    @property
    def leaves_lots(self) -> int:
        """LeavesQty(151): what can still be filled; 0 once the order has ended."""
        lots = self.lots - self.cum_lots
        return lots if lots > 0 and self.status in WORKING else 0

    @property
    def alternative_lots(self) -> int:
        """What could still be filled if the venue takes the pending replace; 0 without one."""
        return max(0, self.replace.lots - self.cum_lots) if self.replace is not None and self.is_working else 0

    @property
    def largest_lots(self) -> int:
        """OrderQty(38) at the most: a pending replace may have been taken, and its lots filled, before we are told."""
        return self.lots if self.replace is None else max(self.lots, self.replace.lots)

    @property
    def is_working(self) -> bool:
        """Whether the order may still be filled, as far as we know."""
        return self.status in WORKING

    def happen(self, happening: Happening) -> None:
        """Move to the next status, or raise IllegalTransitionError."""
        self.status = next_status(self.status, happening)

    def held_lots(self) -> int:
        """Return the largest number of lots that is held for it."""
        lots = self.held[0] if self.held else 0
        return lots if self.held_alternative is None else max(lots, self.held_alternative[0])


class Exposure:
    """The working orders of one account, mirrored into its rows of the margin kernel."""

    __slots__ = (
        "_account_index",
        "_held",
        "_held_next",
        "_kernel",
        "_next",
        "_to_mirror",
        "_venues",
        "_venues_next",
        "buy_lots",
        "client_orders",
        "orders",
        "sell_lots",
    )

    def __init__(self, account_index: int) -> None:
        self._account_index = account_index
        self._kernel: MarginKernel | Fan | None = None  # none while a journal is replayed, before the first generation
        self._venues: Mapping[str, VenueKernel] = {}  # of venues' own models, by venue
        self._venues_next: Mapping[str, VenueKernel] = {}
        # What the kernel holds for each order, by OrderID(37): released as it was held, whatever changed since, and
        # held again as it is in each new generation, which may be thousands of orders four times a second.
        self._held: dict[str, Held] = {}
        # The kernel of the generation to come, while it is filled in slices; what it holds, and what it lacks at most.
        self._next: MarginKernel | Fan | None = None
        self._held_next: set[str] = set()
        self._to_mirror: list[str] = []
        self.orders: dict[str, WorkingOrder] = {}  # by OrderID(37)
        self.buy_lots: dict[int, int] = {}  # by instrument index: lots that working buys could still add
        self.sell_lots: dict[int, int] = {}
        self.client_orders: ClientOrders | None = None  # none until it is known whose account it is

    def join(self, client_orders: ClientOrders) -> None:
        """Count the working orders, from now on too, among those of a client."""
        if self.client_orders is not None:
            raise AssertionError("an account is one client's")
        self.client_orders = client_orders
        client_orders.exposures.append(self)
        for order in self.orders.values():
            for held in (order.held, order.held_alternative):
                if held is not None and not order.is_at_rest:
                    client_orders.add(order.side, order.instrument.index, held[1])

    def hold(self, order: WorkingOrder) -> None:
        """Hold what the order could still do; an order holds at most once."""
        if order.held is not None:
            raise AssertionError(f"order {order.order_id} is held already")
        replace = order.replace
        alternative = 0 if replace is None else order.alternative_lots
        leaves = most = order.leaves_lots
        if leaves == 0 and alternative == 0:
            self.orders.pop(order.order_id, None)
            return
        order_id, instrument, side = order.order_id, order.instrument, order.side
        order.held = (leaves, order.ticks)
        if replace is not None and alternative:
            order.held_alternative = (alternative, replace.ticks)
            most = max(leaves, alternative)
        self.orders[order_id] = order
        by_instrument = self.buy_lots if side is _BUY else self.sell_lots
        index = instrument.index
        by_instrument[index] = by_instrument.get(index, 0) + most
        arguments = self._held[order_id] = self._kernel_arguments(order)
        if self._kernel is not None:
            self._kernel.hold(*arguments)
            if self._venues and (venue := self._venues.get(instrument.venue)) is not None:
                venue.hold(*arguments)
        if self._next is not None:
            self._hold_next(order_id, instrument.venue, arguments)
        client_orders = self.client_orders
        if client_orders is not None and not order.is_at_rest:
            client_orders.add(order.side, index, order.ticks)
            if order.held_alternative is not None:
                client_orders.add(order.side, index, order.held_alternative[1])

    def release(self, order: WorkingOrder) -> None:
        """Release what was held for the order, exactly once: nothing where nothing is held."""
        if order.held is None:
            return
        arguments = self._held.pop(order.order_id)
        if self._kernel is not None:
            self._kernel.release(*arguments)
            if self._venues and (venue := self._venues.get(order.instrument.venue)) is not None:
                venue.release(*arguments)
        if self._next is not None and order.order_id in self._held_next:
            self._held_next.discard(order.order_id)
            self._next.release(*arguments)
            if (venue := self._venues_next.get(order.instrument.venue)) is not None:
                venue.release(*arguments)
        by_instrument = self.buy_lots if order.side is _BUY else self.sell_lots
        by_instrument[order.instrument.index] -= order.held_lots()
        client_orders = self.client_orders
        if client_orders is not None and not order.is_at_rest:
            client_orders.remove(order.side, order.instrument.index, order.held[1])
            if order.held_alternative is not None:
                client_orders.remove(order.side, order.instrument.index, order.held_alternative[1])
        order.held = None
        order.held_alternative = None
        self.orders.pop(order.order_id, None)

    @property
    def held(self) -> Collection[tuple[int, int, float, float, float, float]]:
        """What is held for each working order, as the arguments of MarginKernel.hold."""
        return self._held.values()

    def _hold_next(self, order_id: str, venue: str, arguments: Held) -> None:
        assert self._next is not None, "begin_mirror comes first"
        self._next.hold(*arguments)
        if (kernel := self._venues_next.get(venue)) is not None:
            kernel.hold(*arguments)
        self._held_next.add(order_id)

    def begin_mirror(self, kernel: MarginKernel | Fan | None, venues: Mapping[str, VenueKernel] = NO_VENUES) -> None:
        """Hold from now on in this kernel too, which was just loaded, and what is held already by `mirror_some`.

        `venues` are the kernels of venues' own models, by venue. None: give up what was begun.
        """
        self._next, self._venues_next = kernel, venues
        if self._held_next:
            self._held_next = set()
        self._to_mirror = [] if kernel is None else list(self._held)

    @property
    def is_mirrored(self) -> bool:
        """Whether the next kernel holds all that `begin_mirror` found."""
        return not self._to_mirror

    def mirror_some(self, count: int) -> bool:
        """Hold up to so many more of the working orders in the next kernel; True once it holds all of them."""
        held, held_next, waiting, kernel = self._held, self._held_next, self._to_mirror, self._next
        if not waiting:
            return True
        assert kernel is not None, "begin_mirror comes first"
        for order_id in waiting[-count:]:
            arguments = held.get(order_id)
            if arguments is None or order_id in held_next:  # it may have ended, or changed, meanwhile
                continue
            if self._venues_next:
                self._hold_next(order_id, self.orders[order_id].instrument.venue, arguments)
            else:
                kernel.hold(*arguments)
                held_next.add(order_id)
        del waiting[-count:]
        return not waiting

    def end_mirror(self) -> None:
        """Go over to the next kernel, which holds all."""
        assert self._next is not None and not self._to_mirror, "every working order is held in the next kernel first"
        self._kernel, self._venues = self._next, self._venues_next
        self.begin_mirror(None)

    def _kernel_arguments(self, order: WorkingOrder) -> Held:
        assert order.held is not None
        instrument, side = order.instrument, order.side
        sign = 1 if side is _BUY else -1
        lots, ticks = order.held
        cash = fill_cash(instrument, side, lots, ticks)
        if order.held_alternative is None:
            return self._account_index, instrument.index, sign * lots, cash, 0.0, 0.0
        alt_lots, alt_ticks = order.held_alternative
        alt_cash = fill_cash(instrument, side, alt_lots, alt_ticks)
        return self._account_index, instrument.index, sign * lots, cash, sign * alt_lots, alt_cash
