"""One account: cash, positions, working orders, limits; what an execution does to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

from risk.constraints import Constraints
from risk.exposure import Exposure, WorkingOrder
from risk.haircuts import Haircuts, Held, Placed
from risk.instrument import UNITS_PER_WHOLE, Instrument, Side
from risk.kernel import MarginKernel
from risk.lifecycle import Happening
from risk.limits import Limits
from risk.position import Position
from risk.pricing import Floats
from risk.profile_books import Fan
from risk.rate import RateLimit
from risk.self_trade import SelfTradePrevention
from risk.venue_book import SubAccount, VenueBook

# Clients must not use a ClOrdID(11) twice within a day (faults sheet, 18); a day's ids are kept, up to the cap.
CL_ORD_ID_MEMORY_NS: Final = 24 * 3600 * 1_000_000_000
CL_ORD_ID_MEMORY_COUNT: Final = 2_000_000
# Ids forgotten at most in one call, so that the first order after a quiet day does not pay for all of yesterday.
FORGOTTEN_AT_ONCE: Final = 64
# What working out an account's haircuts costs, each contract again, in what writing a position does.
HAIRCUTS_WRITTEN: Final = 50
_BUY: Final = Side.BUY


class AccountState(StrEnum):
    """What an account may do: everything, only what reduces its risk, or nothing (cancels always pass)."""

    TRADING = "trading"
    REDUCING = "reducing"
    HALTED = "halted"


class RecentIds:
    """ClOrdIDs of a day with the OrderID(37) each became; bounded, oldest forgotten only once they are a day old.

    Those of an order that works for longer name it for as long as it does: it can be cancelled by them, and no other
    order can have them. `orders` says which work.
    """

    __slots__ = ("_ids", "_oldest_ns", "_queue", "capacity", "orders")

    def __init__(self, capacity: int = CL_ORD_ID_MEMORY_COUNT) -> None:
        # ClOrdID -> (when it was used, OrderID, ClOrdID), and the same tuples in order of use. An id that was used on
        # two days has two; the one that the dictionary does not hold any more only waits to be dropped.
        self._ids: dict[str, tuple[int, str, str]] = {}
        self._queue: deque[tuple[int, str, str]] = deque()
        self._oldest_ns = 0  # when the oldest was used, at the earliest
        self.capacity = capacity
        self.orders: Mapping[str, WorkingOrder] = {}  # by OrderID(37)

    def __contains__(self, cl_ord_id: str) -> bool:
        return cl_ord_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def order_id(self, cl_ord_id: str) -> str | None:
        """Return the OrderID of the order that had this ClOrdID, or None."""
        found = self._ids.get(cl_ord_id)
        return None if found is None else found[1]

    def was_used(self, cl_ord_id: str, now_ns: int) -> bool:
        """Whether the id was used in the last day, or its order works."""
        found = self._ids.get(cl_ord_id)
        return found is not None and (now_ns - found[0] <= CL_ORD_ID_MEMORY_NS or self._works(found[1]))

    def _works(self, order_id: str) -> bool:
        order = self.orders.get(order_id)
        return order is not None and order.is_working

    def has_room(self, now_ns: int) -> bool:
        """Whether one more id can be remembered; drops some of what is older than a day."""
        if now_ns - self._oldest_ns > CL_ORD_ID_MEMORY_NS:
            ids, queue = self._ids, self._queue
            for _ in range(FORGOTTEN_AT_ONCE):
                if not queue:
                    self._oldest_ns = now_ns
                    break
                oldest = queue[0]
                self._oldest_ns = oldest[0]
                if now_ns - oldest[0] <= CL_ORD_ID_MEMORY_NS:
                    break
                queue.popleft()
                if ids[oldest[2]] is oldest:
                    if self._works(oldest[1]):
                        self.remember(oldest[2], oldest[1], now_ns)  # for another day
                    else:
                        del ids[oldest[2]]
        return len(self._ids) < self.capacity

    def remember(self, cl_ord_id: str, order_id: str, now_ns: int) -> None:
        """Remember an id that was used at `now_ns`."""
        used = self._ids[cl_ord_id] = (now_ns, order_id, cl_ord_id)
        self._queue.append(used)

    def absorb(self, other: RecentIds) -> None:
        """Take over what another memory holds, oldest first."""
        both = sorted([*self._ids.values(), *other._ids.values()])
        self._ids.clear()
        self._queue.clear()
        self._oldest_ns = 0
        for used_ns, order_id, cl_ord_id in both:
            self.remember(cl_ord_id, order_id, used_ns)


class _Books(NamedTuple):
    """The house's kernel with its columns of currencies, and the venues' own books, by venue."""

    kernel: MarginKernel | Fan
    currency_index: dict[str, int]
    venues: Mapping[str, VenueBook]
    haircuts: Haircuts | None = None


_NO_BOOKS: Final[Mapping[str, VenueBook]] = MappingProxyType({})


class Account:
    """State of one account. Money in units of 1e-8; `index` is its row in the margin kernel."""

    __slots__ = (
        "_books",
        "_is_mirroring",
        "cash_units",
        "changes",
        "cl_ord_ids",
        "constraints",
        "currency",
        "exposure",
        "index",
        "limits",
        "name",
        "positions",
        "rate",
        "self_trade_prevention",
        "state",
        "state_reason",
        "sub_accounts",
        "venue_cash",
    )

    def __init__(self, *, index: int, name: str, currency: str, limits: Limits, rate: RateLimit) -> None:
        self.index = index
        self.changes = 0  # of cash and positions: whoever keeps a copy sees that it is old
        self.name = name
        self.currency = currency
        self.limits = limits
        self.rate = rate
        self.self_trade_prevention = SelfTradePrevention.OFF
        self.constraints: Constraints | None = None  # of its profiles
        # Its accounts at venues, by venue, and what fills have moved there, by venue and currency.
        self.sub_accounts: dict[str, SubAccount] = {}
        self.venue_cash: dict[tuple[str, str], int] = {}
        self.state = AccountState.TRADING
        self.state_reason = ""
        self.cash_units: dict[str, int] = {}
        self.positions: dict[int, Position] = {}  # by instrument index
        self.exposure = Exposure(index)
        # The books that are asked, and those of the generation to come while they are filled.
        self._books: tuple[_Books, ...] = ()
        self._is_mirroring = False
        self.cl_ord_ids = RecentIds()

    def position_lots(self, instrument_index: int) -> int:
        """Return the signed position in lots; 0 where there is none."""
        position = self.positions.get(instrument_index)
        return 0 if position is None else position.lots

    def move_cash(self, currency: str, units: int, venue: str = "") -> None:
        """Add units of a currency: deposits, withdrawals, and what fills at a venue move."""
        self.changes += 1
        self.cash_units[currency] = self.cash_units.get(currency, 0) + units
        if venue:
            self.venue_cash[venue, currency] = self.venue_cash.get((venue, currency), 0) + units
        if units:
            for books in self._books:
                books.kernel.add_cash(self.index, books.currency_index[currency], units / UNITS_PER_WHOLE)
                if books.haircuts is not None and not venue:
                    books.haircuts.deposited(books.kernel, self.index, currency, units / UNITS_PER_WHOLE)
                for at, book in books.venues.items():
                    if at == venue or self.sub_accounts[at].collateral_units is None:
                        book.kernel.add_cash(self.index, book.currency_index[currency], units / UNITS_PER_WHOLE)

    def held_for(self, haircuts: Haircuts) -> tuple[list[Held], dict[str, float], list[Placed]]:
        """Return what haircuts take: positions with what they cost, cash, and what of it lies at venues."""
        held: list[Held] = [(i, p.held, p.cash_units / UNITS_PER_WHOLE) for i, p in self.positions.items() if p.held]
        cash = {currency: units / UNITS_PER_WHOLE for currency, units in self.cash_units.items()}
        placed = self.placed_cash() if haircuts.asks_where else ()
        return held, cash, [(venue, currency, units / UNITS_PER_WHOLE) for venue, currency, units in placed]

    def placed_cash(self) -> Iterator[tuple[str, str, int]]:
        """Yield venue, currency and units of the cash that lies at venues.

        There is what fills there have moved, and what the configuration says of a sub-account; all that is nowhere
        else is at the one sub-account of which it says nothing. Where there are several of those, with the house.
        """
        found = dict(self.venue_cash)
        for venue, currency, units in self._pledged():
            found[venue, currency] = found.get((venue, currency), 0) + units
        whole = [venue for venue, sub in self.sub_accounts.items() if sub.collateral_units is None]
        if len(whole) == 1:
            for currency, units in self.cash_units.items():
                away = sum(there for (venue, named), there in found.items() if named == currency and venue != whole[0])
                found[whole[0], currency] = units - away
        for (venue, currency), units in found.items():
            yield venue, currency, units

    def _pledged(self) -> Iterator[tuple[str, str, int]]:
        for venue, sub in self.sub_accounts.items():
            for currency, units in (sub.collateral_units or {}).items():
                yield venue, currency, units

    def counted_share(self, currency: str) -> float:
        """Return the share of the first dollar of a currency that counts, by the last generation; 1 before it."""
        haircuts = self._books[0].haircuts if self._books else None
        if haircuts is None:
            return 1.0
        return haircuts.counts(self.index, currency)

    def not_taken(self) -> tuple[Floats, Floats] | None:
        """Return what would count beside if its profiles took all that the house does; None where they say nothing."""
        haircuts = self._books[0].haircuts if self._books else None
        if haircuts is None or self.constraints is None or self.constraints.eligible is None:
            return None
        return haircuts.not_taken(self.index, *self.held_for(haircuts))

    def pinned_cash(self) -> Iterator[tuple[str, str, int]]:
        """Yield venue, currency and units of what lies there, where not all cash of the account counts."""
        yield from self._pledged()
        for (venue, currency), units in self.venue_cash.items():
            pinned = self.sub_accounts.get(venue)
            if pinned is not None and pinned.collateral_units is not None:
                yield venue, currency, units

    def _move_lots(self, instrument: Instrument, lots: float, moved_units: int) -> None:
        for books in self._books:
            books.kernel.add_position(self.index, instrument.index, lots)
            if books.haircuts is not None:
                books.kernel.take_off_fill(self.index, instrument.index, lots, moved_units / UNITS_PER_WHOLE)
            book = books.venues.get(instrument.venue)
            if book is not None:
                book.kernel.add_position(self.index, instrument.index, lots)

    def apply_fill(self, order: WorkingOrder, lots: int, ticks: int, fee_units: int) -> None:
        """Book a fill of one of the account's orders: status, hold, position and cash, in that order.

        Raises
        ------
        IllegalTransitionError
            Where the order's status allows no fill; nothing was changed.
        ValueError
            If lots or ticks are not positive; nothing was changed.
        """
        if lots <= 0 or ticks <= 0:
            raise ValueError(f"a fill of {lots} lots at {ticks} ticks of order {order.order_id} can not be")
        # The venue may have taken a pending replace to more without telling yet: then the order lives on.
        is_last = order.cum_lots + lots >= order.largest_lots
        order.happen(Happening.FILLED if is_last else Happening.PARTLY_FILLED)
        self.exposure.release(order)
        order.cum_lots += lots
        order.cum_lot_ticks += lots * ticks
        self.book_fill(order.instrument, order.side, lots, ticks, fee_units)
        if order.is_working:
            self.exposure.hold(order)

    def book_fill(self, instrument: Instrument, side: Side, lots: int, ticks: int, fee_units: int) -> None:
        """Book a fill into position and cash alone: what traded, traded, whatever we think of its order."""
        position = self.positions.get(instrument.index)
        if position is None:
            position = self.positions[instrument.index] = Position(instrument)
        moved = position.apply_fill(side, lots, ticks, fee_units)
        self.move_cash(instrument.settlement_currency, moved, instrument.venue)
        self._move_lots(instrument, lots if side is _BUY else -lots, moved)

    def reverse_fill(self, instrument: Instrument, side: Side, lots: int, ticks: int, fee_units: int) -> None:
        """Take back a fill that was booked here: a trade that was busted has not happened."""
        position = self.positions[instrument.index]
        moved = position.reverse_fill(side, lots, ticks, fee_units)
        self.move_cash(instrument.settlement_currency, moved, instrument.venue)
        self._move_lots(instrument, -lots if side is _BUY else lots, moved)

    def book_exact(
        self, instrument: Instrument, side: Side, quantity: Decimal, moved_units: int, fee_units: int
    ) -> None:
        """Book a fill that is of no whole lots or ticks: the position to the last digit, and the cash it moved."""
        position = self.positions.get(instrument.index)
        if position is None:
            position = self.positions[instrument.index] = Position(instrument)
        position.apply_exact(side, quantity, moved_units, fee_units)
        self.move_cash(instrument.settlement_currency, moved_units - fee_units, instrument.venue)
        lots = float(side.sign * Fraction(quantity) / Fraction(instrument.lot_size))
        self._move_lots(instrument, lots, moved_units - fee_units)

    def deliver(self, instrument: Instrument, moved_units: int, fee_units: int) -> None:
        """Book the end of a contract that is held: its cash comes, and the position is gone."""
        position = self.positions[instrument.index]
        lots = position.held
        position.close(moved_units, fee_units)
        self.move_cash(instrument.settlement_currency, moved_units - fee_units, instrument.venue)
        self._move_lots(instrument, -lots, moved_units - fee_units)

    def mirror_into(
        self,
        kernel: MarginKernel | Fan,
        currency_index: dict[str, int],
        venue_books: Mapping[str, VenueBook] = MappingProxyType({}),
        haircuts: Haircuts | None = None,
    ) -> None:
        """Write positions, cash and holds into a kernel that was just loaded, and keep it up to date from now on.

        `currency_index` must name every currency that the account may come to hold.
        """
        self.begin_mirror(kernel, currency_index, venue_books, haircuts)
        self.exposure.mirror_some(len(self.exposure.orders))
        self.end_mirror()

    def begin_mirror(
        self,
        kernel: MarginKernel | Fan,
        currency_index: dict[str, int],
        venue_books: Mapping[str, VenueBook] = MappingProxyType({}),
        haircuts: Haircuts | None = None,
    ) -> int:
        """Begin with `mirror_into`: all but what working orders hold (Exposure.mirror_some does); return how much.

        Until `end_mirror` every change goes into both kernels, and the one before is asked.
        """
        if self._is_mirroring:
            self.drop_mirror()
        index = self.index
        for instrument_index, position in self.positions.items():
            if position.held:
                kernel.add_position(index, instrument_index, position.held)
        for currency, units in self.cash_units.items():
            kernel.add_cash(index, currency_index[currency], units / UNITS_PER_WHOLE)
        if haircuts is not None:
            haircuts.apply(kernel, index, *self.held_for(haircuts))
        self._is_mirroring = True
        written = 0 if haircuts is None else HAIRCUTS_WRITTEN * (1 + len(self.positions))
        if not self.sub_accounts:  # most have none, and each generation writes all of them
            self._books = (*self._books, _Books(kernel, currency_index, _NO_BOOKS, haircuts))
            self.exposure.begin_mirror(kernel)
            return written + len(self.positions) + len(self.cash_units)
        venues = {at: venue_books[sub.book] for at, sub in self.sub_accounts.items() if sub.book in venue_books}
        for at, book in venues.items():
            self._fill_venue_book(at, book)
        self._books = (*self._books, _Books(kernel, currency_index, venues, haircuts))
        self.exposure.begin_mirror(kernel, {at: book.kernel for at, book in venues.items()})
        return written + (len(self.positions) + len(self.cash_units)) * (1 + len(venues))

    def _fill_venue_book(self, venue: str, book: VenueBook) -> None:
        """Write what the sub-account at a venue holds."""
        for instrument_index, position in self.positions.items():
            if position.held and position.instrument.venue == venue:
                book.kernel.add_position(self.index, instrument_index, position.held)
        collateral = self.sub_accounts[venue].collateral_units
        cash = dict(self.cash_units if collateral is None else collateral)
        if collateral is not None:
            for (at, currency), units in self.venue_cash.items():
                if at == venue:
                    cash[currency] = cash.get(currency, 0) + units
        for currency, units in cash.items():
            book.kernel.add_cash(self.index, book.currency_index[currency], units / UNITS_PER_WHOLE)

    def end_mirror(self) -> None:
        """Go over to the kernel that `begin_mirror` named."""
        self.exposure.end_mirror()
        self._books = self._books[-1:]
        self._is_mirroring = False

    def drop_mirror(self) -> None:
        """Give up a mirror that was begun, if one was."""
        if self._is_mirroring:
            self.exposure.begin_mirror(None)
            self._books = self._books[:-1]
            self._is_mirroring = False
