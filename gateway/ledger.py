"""The book of record: accounts, instruments, orders and executions, changed by nothing but `apply(record)`.

Live, a record is applied right after it was journalled; in a replay, as it is read. The same code runs, so the state
hash of a replay equals that of the process that wrote the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from gateway import corrections, exact_fills, order_terms, records, settlements
from gateway.clearing import book as clearing_book
from gateway.clearing.drop_copy import EXTERNAL_FILLS_KEPT, ORDERS
from gateway.clients.standing import Standing, covered
from gateway.hook import holds
from gateway.hot_path import ledger_handlers
from gateway.margin import adjustment_book
from gateway.margin import book as margin_book
from gateway.messages import mass_requests, order_lists
from gateway.parameters import book as parameter_book
from gateway.records.guards import LegsMoved
from gateway.state_hash import hash_of
from gateway.transfers import book as transfer_book
from risk.account import Account, AccountState
from risk.breaks import BreakBook
from risk.exposure import PendingReplace, WorkingOrder
from risk.guards import GuardState
from risk.instrument import Instrument, Kind, Side, make_instrument
from risk.lifecycle import Happening, IllegalTransitionError
from risk.limits import Limits
from risk.marks import GUARD
from risk.order import OrdType, Terms, TimeInForce
from risk.rate import RateLimit

# Ended orders stay known for status requests and late fills; a late fill of an older one raises a break instead.
ENDED_ORDERS_KEPT: Final = 200_000
# Trade ids are unique a venue and arrive again within minutes (reply, stream, backfill); a day's worth is kept.
TRADE_IDS_KEPT: Final = 1_000_000
BREAKS_KEPT: Final = 1_000

# A table costs a tenth of an enum's call.
_SIDES: Final = {int(side): side for side in Side}
_ORD_TYPES: Final = {int(ord_type): ord_type for ord_type in OrdType}
_TIMES_IN_FORCE: Final = {int(time_in_force): time_in_force for time_in_force in TimeInForce}
_ACCEPTED: Final = Happening.ACCEPTED


class Ledger:
    """All state that survives a restart, except FIX session numbers (see gateway.reports)."""

    __slots__ = (
        "_ended",
        "accounts",
        "adjustments",
        "breaks",
        "by_symbol",
        "counterparties",
        "expiries",
        "external_fills",
        "external_lots",
        "guards",
        "holds",
        "instruments",
        "listings",
        "lists",
        "lost_venues",
        "margin",
        "marked",
        "open_breaks",
        "open_lists",
        "order_count",
        "orders",
        "parameters",
        "run",
        "settlements",
        "standing",
        "time_ns",
        "trade_ids",
        "was_opened",
    )

    def __init__(self) -> None:
        self.run = ""
        self.order_count = 0
        self.was_opened = False  # a start came as far as its sessions: the accounts and their deposits are there
        self.accounts: dict[str, Account] = {}
        self.standing = Standing(self.accounts)
        self.instruments: list[Instrument] = []
        self.by_symbol: dict[str, Instrument] = {}
        self.listings: list[records.InstrumentListed] = []
        self.orders: dict[str, WorkingOrder] = {}
        self.breaks: deque[records.BreakRaised] = deque(maxlen=BREAKS_KEPT)
        self.open_breaks = BreakBook()
        # Since when each counterparty is compared with: what was before is nobody's here.
        self.counterparties: dict[str, int] = {}
        self._ended: deque[str] = deque()
        self.trade_ids: dict[tuple[str, str], None] = {}
        self.expiries = order_terms.Expiries(self.orders)
        self.lists: dict[tuple[str, str], order_lists.OrderList] = {}  # by session and ListID(66)
        self.open_lists: set[tuple[str, str]] = set()  # taken up and not ended
        # Which orders the mass or list cancel that was applied last has marked.
        self.marked: list[WorkingOrder] = []
        # Lots of a position that are held elsewhere, by account and instrument: venues know nothing of them.
        self.external_lots: dict[tuple[str, int], int] = {}
        self.external_fills = corrections.ExternalFills(EXTERNAL_FILLS_KEPT)
        self.holds = holds.Holds()
        self.adjustments: dict[str, adjustment_book.Adjustment] = {}  # by account
        self.lost_venues: dict[str, str] = {}  # whose legs offset nothing elsewhere, and why
        self.guards: dict[str, records.GuardMoved] = {}  # by pair: the last decision on it
        self.margin = margin_book.MarginBook()
        self.parameters = parameter_book.ParameterBook()
        self.settlements = settlements.Settlements()
        self.time_ns = 0

    # -- questions ---------------------------------------------------------------------------------------------------

    def next_order_id(self) -> str:
        """Return the OrderID(37) that the next approved order gets; it is also the label at the venue."""
        return f"{self.run}-{self.order_count + 1}"

    def knows_trade(self, venue: str, trade_id: str) -> bool:
        """Whether an execution has been applied already."""
        return (venue, trade_id) in self.trade_ids

    def working_orders(self) -> Iterator[WorkingOrder]:
        """All orders that may still be filled, by account and age; without holds, which their owners send."""
        for name in self.accounts:
            yield from self.orders_of(name)

    def orders_of(self, account: str) -> Iterator[WorkingOrder]:
        """Yield the working orders of one account, as `working_orders`."""
        orders = self.orders
        return (order for order in self.accounts[account].exposure.orders.values() if order.order_id in orders)

    def order_of(self, order_id: str) -> WorkingOrder | None:
        """Return an order that was filled, whoever sent it: ours, or that of a hold."""
        hold = self.holds.by_id.get(order_id)
        return self.orders.get(order_id) if hold is None else hold.order

    def venue_quantities(self, venue: str) -> dict[str, Decimal]:
        """Return the same as quantities, with what is less than a lot."""
        held = {symbol: self.by_symbol[symbol].quantity(lots) for symbol, lots in self.venue_lots(venue).items()}
        for account in self.accounts.values():
            for position in account.positions.values():
                if position.odd_quantity and position.instrument.venue == venue:
                    held[position.instrument.symbol] += position.odd_quantity
        return held

    def venue_lots(self, venue: str) -> dict[str, int]:
        """Return the house's position in lots by symbol at one venue, summed over accounts, without external fills."""
        lots: dict[str, int] = {}
        for account in self.accounts.values():
            for position in account.positions.values():
                if position.instrument.venue == venue:
                    symbol = position.instrument.symbol
                    lots[symbol] = lots.get(symbol, 0) + position.lots
        for (_, index), external in self.external_lots.items():
            if self.instruments[index].venue == venue:
                lots[self.instruments[index].symbol] -= external
        return lots

    def state_hash(self, numbers: str = "") -> str:
        """Return a SHA-256 over everything that survives a restart, in a fixed order; `numbers` are the sessions'."""
        return hash_of(self, numbers)

    # -- changes -----------------------------------------------------------------------------------------------------

    def apply(self, record: records.Record, time_ns: int) -> None:
        """Apply one record. Records without an effect on the book (refusals, session numbers) change nothing."""
        self.time_ns = time_ns
        handler = HANDLERS.get(type(record))
        if handler is not None:
            handler(self, record)

    def _started(self, record: records.GatewayStarted) -> None:
        # A prefix of its own for each start: a journal that lost its tail must not use an OrderID again.
        self.run = record.run
        self.settlements.opened_ns = self.settlements.opened_ns or self.time_ns

    def _account_opened(self, record: records.AccountOpened) -> None:
        # Limits and rate come from the configuration, after the replay; until then the account may trade nothing.
        self.accounts[record.account] = Account(
            index=len(self.accounts),
            name=record.account,
            currency=record.currency,
            limits=Limits(max_order_notional=0.0, max_working_orders=0, rules=()),
            rate=RateLimit(1, 1),
        )
        self.accounts[record.account].cl_ord_ids.orders = self.orders

    def _cash_moved(self, record: records.CashMoved) -> None:
        self.accounts[record.account].move_cash(record.currency, record.units)
        self.margin.deposited(record)

    def _session_opened(self, record: records.SessionOpened) -> None:
        """Let all accounts of one client share one memory of ClOrdIDs: an id names one order, whatever its account."""
        self.was_opened = True
        if record.kind != ORDERS:
            return  # it only looks at its accounts, which may be those of many clients
        shared = self.accounts[record.accounts[0]].cl_ord_ids if record.accounts else None
        for name in record.accounts:
            own = self.accounts[name].cl_ord_ids
            if shared is not None and own is not shared:
                shared.absorb(own)
                for account in self.accounts.values():
                    if account.cl_ord_ids is own:
                        account.cl_ord_ids = shared

    def _account_state_moved(self, record: records.AccountStateMoved) -> None:
        self.standing.move(self.accounts[record.account], AccountState(record.state), record.reason)

    def _break_raised(self, record: records.BreakRaised) -> None:
        self.breaks.append(record)

    def _instrument_listed(self, record: records.InstrumentListed) -> None:
        instrument = instrument_of(record)
        if record.index == len(self.instruments):
            self.instruments.append(instrument)
            self.listings.append(record)
        else:
            self.instruments[record.index] = instrument
            self.listings[record.index] = record
        self.by_symbol[record.symbol] = instrument
        for account in self.accounts.values():
            account.limits.list_instrument(instrument)

    def approve(self, record: records.OrderApproved, terms: Terms | None = None) -> None:
        """Know an order that passed the checks, and hold what it could do."""
        account = self.accounts[record.account]
        order = WorkingOrder(
            record.order_id,
            record.cl_ord_id,
            record.session,
            record.account,
            self.instruments[record.instrument],
            _SIDES[record.side],
            record.lots,
            record.ticks,
            _ORD_TYPES[record.ord_type],
            _TIMES_IN_FORCE[record.time_in_force],
            record.is_post_only,
            record.is_reduce_only,
            self.time_ns,
        )
        order.terms = terms
        self.order_count += 1
        self.orders[record.order_id] = order
        account.cl_ord_ids.remember(record.cl_ord_id, record.order_id, self.time_ns)
        account.exposure.hold(order)

    def _cancel_requested(self, record: records.CancelRequested) -> None:
        order = self.orders[record.order_id]
        order.cancel_cl_ord_id, order.cancel_session = record.cl_ord_id, record.session
        order.is_cancel_pending = True
        if record.cl_ord_id:
            self.accounts[order.account].cl_ord_ids.remember(record.cl_ord_id, order.order_id, self.time_ns)

    def _replace_requested(self, record: records.ReplaceRequested) -> None:
        order = self.orders[record.order_id]
        account = self.accounts[order.account]
        account.exposure.release(order)
        terms = order_terms.replaced_terms(order, record)
        order.replace = PendingReplace(record.cl_ord_id, record.lots, record.ticks, record.session, terms)
        account.exposure.hold(order)
        account.cl_ord_ids.remember(record.cl_ord_id, order.order_id, self.time_ns)

    def _cancel_refused(self, record: records.CancelRefused) -> None:
        order = self.orders.get(record.order_id)
        if order is None or record.seq_in:  # refused by us before anything was held or sent
            return
        if not record.is_replace:
            order.cancel_cl_ord_id = ""
            order.is_cancel_pending = False
            return
        self.settle(order)

    def _killed(self, record: records.Killed) -> None:
        """Halt what a kill is of, and have the cancels of all its orders on their way."""
        self.standing.killed(record)
        mass_requests.mark_cancelled(self, covered(record, self.working_orders()), "")

    def _guard_moved(self, record: records.GuardMoved) -> None:
        self.guards[record.pair] = record
        if record.state == GuardState.HALTED:
            why = f"the guard of {record.pair} has halted: {', '.join(record.alarms)}"
            self.standing.halts[GUARD, record.pair] = why
        else:
            self.standing.halts.pop((GUARD, record.pair), None)

    def _legs_moved(self, record: LegsMoved) -> None:
        if record.is_lost:
            self.lost_venues[record.venue] = record.reason
        else:
            self.lost_venues.pop(record.venue, None)

    def settle(self, order: WorkingOrder) -> None:
        """A change is decided: hold what the order is now, or end it where it was filled up to that already."""
        exposure = self.accounts[order.account].exposure
        exposure.release(order)
        order.replace = None
        if order.is_working and order.cum_lots >= order.lots:
            order.happen(Happening.FILLED)
            self.end(order)
            self._check_overfill(order)
        else:
            exposure.hold(order)

    def _check_overfill(self, order: WorkingOrder) -> None:
        if order.cum_lots > order.largest_lots:
            self.standing.restrict(
                self.accounts[order.account], f"order {order.order_id} was filled beyond its quantity"
            )

    def _venue_accepted(self, record: records.VenueAccepted) -> None:
        order = self.orders[record.order_id]
        order.venue_order_id = record.venue_order_id
        order.happen(_ACCEPTED)

    def _venue_rejected(self, record: records.VenueRejected) -> None:
        order = self.orders[record.order_id]
        order.happen(Happening.REJECTED)
        self.end(order)

    def _order_lost(self, record: records.OrderLost) -> None:
        self.orders[record.order_id].happen(Happening.LOST)

    def _cancelled(self, record: records.Cancelled) -> None:
        order = self.orders[record.order_id]
        order.happen(Happening.EXPIRED if order.is_expiring else Happening.CANCELLED)
        self.end(order)

    def _replaced(self, record: records.Replaced) -> None:
        order = self.orders[record.order_id]
        replace = order.replace
        assert replace is not None
        self.accounts[order.account].exposure.release(order)
        order.cl_ord_id, order.lots, order.ticks = replace.cl_ord_id, replace.lots, replace.ticks
        if replace.terms is not None:
            order.terms = replace.terms
            if replace.terms.expire_ns:
                self.expiries.add(replace.terms.expire_ns, order.order_id)
        self.settle(order)

    def _filled(self, record: records.Filled) -> None:
        order = self.orders[record.order_id]
        account = self.accounts[order.account]
        self.remember_trade(record.venue, record.trade_id)
        try:
            account.apply_fill(order, record.lots, record.ticks, record.fee_units)
        except IllegalTransitionError:
            # What traded, traded: the position must be right, and a person must look.
            account.book_fill(order.instrument, order.side, record.lots, record.ticks, record.fee_units)
            self.standing.restrict(account, f"order {order.order_id} was filled after it had ended")
            return
        self._check_overfill(order)
        if not order.is_working:
            self.end(order)

    def remember_trade(self, venue: str, trade_id: str) -> None:
        """Know an execution as applied."""
        self.trade_ids[venue, trade_id] = None
        if len(self.trade_ids) > TRADE_IDS_KEPT:
            del self.trade_ids[next(iter(self.trade_ids))]

    def end(self, order: WorkingOrder) -> None:
        """Keep an order that works no more among the ended ones."""
        self.accounts[order.account].exposure.release(order)
        order.replace = None
        order.is_cancel_pending = False
        self._ended.append(order.order_id)
        if len(self._ended) > ENDED_ORDERS_KEPT:
            self.orders.pop(self._ended.popleft(), None)


def instrument_of(record: records.InstrumentListed) -> Instrument:
    """Return the Instrument that a record describes."""
    return make_instrument(
        index=record.index,
        symbol=record.symbol,
        venue=record.venue,
        kind=Kind(record.kind),
        is_inverse=record.is_inverse,
        underlying=record.underlying,
        base_currency=record.base_currency,
        quote_currency=record.quote_currency,
        settlement_currency=record.settlement_currency,
        tick_size=Decimal(record.tick_size),
        lot_size=Decimal(record.lot_size),
        contract_size=Decimal(record.contract_size),
        tick_steps=tuple((Decimal(above), Decimal(step)) for above, step in record.tick_steps),
        maker_fee=Decimal(record.maker_fee),
        taker_fee=Decimal(record.taker_fee),
        strike=None if record.strike is None else Decimal(record.strike),
        is_call=record.is_call,
        expiry_ns=record.expiry_ns,
        is_open=record.is_open,
    )


# record type -> what it does to the book; a type that is not here (a refusal, a session number) does nothing to it.
HANDLERS: Final[dict[type[records.Record], Callable[[Ledger, Any], None]]] = {
    records.GatewayStarted: Ledger._started,
    records.AccountOpened: Ledger._account_opened,
    records.CashMoved: Ledger._cash_moved,
    records.InstrumentListed: Ledger._instrument_listed,
    records.SessionOpened: Ledger._session_opened,
    records.AccountStateMoved: Ledger._account_state_moved,
    records.BreakRaised: Ledger._break_raised,
    records.OrderApproved: Ledger.approve,
    records.CancelRequested: Ledger._cancel_requested,
    records.ReplaceRequested: Ledger._replace_requested,
    records.CancelRefused: Ledger._cancel_refused,
    records.VenueAccepted: Ledger._venue_accepted,
    records.VenueRejected: Ledger._venue_rejected,
    records.OrderLost: Ledger._order_lost,
    records.Cancelled: Ledger._cancelled,
    records.Replaced: Ledger._replaced,
    records.Filled: Ledger._filled,
    records.Killed: Ledger._killed,
    records.GuardMoved: Ledger._guard_moved,
    LegsMoved: Ledger._legs_moved,
    records.Reinstated: lambda ledger, record: ledger.standing.reinstated(record),
    records.LimitMoved: lambda ledger, record: ledger.standing.limit_moved(record),
    records.SessionEnded: lambda ledger, record: ledger.standing.ended(record),
    records.GraceEnded: lambda ledger, record: ledger.standing.grace_ended(record),
    **order_terms.APPLIES,
    **mass_requests.APPLIES,
    **order_lists.APPLIES,
    **corrections.APPLIES,
    **ledger_handlers(Ledger),
    **holds.APPLIES,
    **adjustment_book.APPLIES,
    **margin_book.APPLIES,
    **clearing_book.APPLIES,
    **parameter_book.APPLIES,
    **transfer_book.APPLIES,
    **settlements.APPLIES,
    **exact_fills.APPLIES,
}
