"""What venues say becomes records: acknowledgements, fills, ends; what can not be is a break, never a correction.

An order whose answer was lost is UNKNOWN and keeps its margin until the venue has answered by client id. A fill is
applied once by (venue, trade id), whether it comes in the reply, by the stream or from a query.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

from gateway import corrections, exact_fills, order_changes, records, settlements
from gateway.exact_fills import executed_quantity
from gateway.hook.fills import hear_fill
from gateway.hot_path import venue_handlers
from gateway.pipeline import TOO_LATE_TO_CANCEL, Pipeline
from gateway.settlements import awaited, deliver_late_fills
from gateway.venues import market_events
from gateway.venues.feed_clock import FeedClock
from protocols.venues import events
from risk.account import AccountState
from risk.exposure import PendingReplace, WorkingOrder
from risk.instrument import Instrument, Side, fee_units_from_decimal
from risk.lifecycle import TABLE, Happening, OrdStatus

_ACCEPTED: Final = Happening.ACCEPTED
_UNANSWERED: Final = frozenset({OrdStatus.PENDING_NEW, OrdStatus.UNKNOWN})
# Trades of others on our account that were told of once; a foreigner who trades on it all day is told of again.
STRANGE_TRADES_KEPT: Final = 10_000
# A difference that is another one each time is no more trusted than one that stays.
ASKED_AGAIN_AT_MOST: Final = 5


class Executions:
    """Applies one venue's events to the book. `query` asks the venue about an order by its label."""

    __slots__ = (
        "_asked_again",
        "_ledger",
        "_monitor",
        "_positions",
        "_query",
        "_strange_trades",
        "_strays",
        "_suspects",
        "clock_offset_ns",
        "feed_clock",
        "paused",
        "pipeline",
        "taken",
        "venue",
    )

    def __init__(self, venue: str, pipeline: Pipeline, query: Callable[[WorkingOrder, int], None]) -> None:
        self.venue = venue
        self.pipeline = pipeline
        self._ledger = pipeline.ledger
        self._monitor = pipeline.monitor
        self._query = query
        self._positions: dict[str, dict[str, Decimal]] = {}  # currency -> symbol -> quantity
        # Differences of positions that are not confirmed yet: symbol -> the venue's less ours.
        self._suspects: dict[str, Decimal] = {}
        self._asked_again = 0
        self._strange_trades: set[str] = set()
        self._strays: set[str] = set()  # orders that ended here and that the venue once said to be open
        self.paused: set[str] = set()  # instruments that their own ticker has closed
        self.feed_clock = FeedClock()
        self.clock_offset_ns: int | None = None  # the venue's clock less ours, where its session has measured it
        self.taken: set[str] = set()  # symbols of this venue that are another venue's instruments here

    def handle(self, event: events.Event, now_ns: int) -> None:
        """Act on one event of the venue."""
        handler = HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event, now_ns)

    @property
    def must_ask_again(self) -> bool:
        """Positions differed when they were compared last: only a second look tells a break from a fill on its way."""
        return bool(self._suspects)

    def lost_orders(self, now_ns: int) -> None:
        """Mark every order UNKNOWN that this venue has not answered; after a replay nothing is known of them."""
        for order in list(self._orders()):
            if order.status is OrdStatus.PENDING_NEW:
                self._lose(order, now_ns)

    # -- orders ------------------------------------------------------------------------------------------------------

    def _order_accepted(self, event: events.OrderAccepted, now_ns: int) -> None:
        order = self._ledger.orders.get(event.label)
        if order is None or order.venue_order_id:
            return
        self.accept(order, event.venue_order_id, now_ns)

    def accept(self, order: WorkingOrder, venue_order_id: str, now_ns: int) -> None:
        """The venue has acknowledged an order, under this id."""
        if not self._may(order, _ACCEPTED, now_ns):
            # It was given up, and its hold released: it must not work there with nothing held for it.
            stray = msgspec.structs.replace(order, venue_order_id=venue_order_id)
            self.pipeline.router.cancel(stray, now_ns)
            return
        self.pipeline.commit(records.VenueAccepted(order.order_id, venue_order_id), now_ns)
        self._monitor.order_answered(order.order_id)
        if order.is_working and order.is_cancel_pending:  # it had to wait for the venue's id
            self.pipeline.router.cancel(order, now_ns)

    def _order_filled(self, event: events.OrderFilled, now_ns: int) -> None:
        if self._ledger.knows_trade(self.venue, event.trade_id):
            return
        hold = self._ledger.holds.by_id.get(event.label)
        if hold is not None and hear_fill(self.pipeline, hold, event, now_ns):
            return
        order = self._ledger.orders.get(event.label) if hold is None else hold.order if hold.record.is_shared else None
        instrument = None if order is None else order.instrument
        lots = None if instrument is None else instrument.lots_from_decimal(event.quantity)
        ticks = None if instrument is None else instrument.ticks_from_decimal(event.price)
        is_a_trade = event.quantity > 0 and event.price > 0
        is_ours = instrument is not None and event.symbol == instrument.symbol and is_a_trade
        if order is None or instrument is None or not is_ours or (event.side == "buy") is not (order.side is Side.BUY):
            if self.is_strange(event.trade_id):
                settlements.hear_strange_trade(self, event, now_ns)
            return
        corrections.take_back_copy(self.pipeline, order, event.trade_id, now_ns)
        if not order.venue_order_id:
            # The fill came before the acknowledgement: it says all that the acknowledgement would.
            self._monitor.order_answered(order.order_id)
        if event.fee_currency != instrument.settlement_currency and event.fee:
            self.raise_break(event.symbol, f"trade {event.trade_id} has its fee in {event.fee_currency}", now_ns)
        if not lots or not ticks:
            exact_fills.hear(self, order, event, now_ns)
            self._close_late_fills(instrument, now_ns)
            return
        fee_units = fee_units_from_decimal(event.fee)
        was_working, most_lots = order.is_working, order.largest_lots
        filled = records.Filled(order.order_id, self.venue, event.trade_id, lots, ticks, fee_units, event.is_maker,
                                event.time_ns)  # fmt: skip
        self.commit_end(order, filled, "the order was filled before", now_ns)
        self._monitor.fills += 1
        self.pipeline.touched_accounts[order.account] = None
        if not was_working:
            self.raise_break(event.symbol, f"order {order.order_id} was filled after it had ended", now_ns)
        elif order.cum_lots > most_lots:
            self.raise_break(event.symbol, f"order {order.order_id} was filled beyond its quantity", now_ns)
        self._close_late_fills(instrument, now_ns)

    def _close_late_fills(self, instrument: Instrument, now_ns: int) -> None:
        if instrument.index in self._ledger.settlements.delivery_prices:
            deliver_late_fills(self.pipeline, self.venue, now_ns)

    def _order_cancelled(self, event: events.OrderCancelled, now_ns: int) -> None:
        order = self._ledger.orders.get(event.label)
        if order is not None:
            self._cancelled(order, event.filled_quantity, event.reason, now_ns)

    def _cancelled(self, order: WorkingOrder, filled_quantity: Decimal, reason: str, now_ns: int) -> None:
        if not order.is_working:
            return
        if filled_quantity > executed_quantity(order):
            # Fills are still on their way: what they need stays held until they are here.
            self._query(order, now_ns)
            return
        self._settle_requests(order, now_ns)
        # Where it had been filled up to the quantity before a replace, that was its end.
        if order.is_working and self._may(order, Happening.CANCELLED, now_ns):
            if not order.venue_order_id:
                self._monitor.order_answered(order.order_id)
            self.pipeline.commit(records.Cancelled(order.order_id, reason), now_ns)
            self._monitor.cancelled += 1

    def _order_rejected(self, event: events.OrderRejected, now_ns: int) -> None:
        order = self._ledger.orders.get(event.label)
        if order is None or order.status not in _UNANSWERED:
            return
        if event.is_definite:
            self._reject(order, event.code, event.message, now_ns)
        else:
            self._lose(order, now_ns)
            self._query(order, now_ns)

    def _reject(self, order: WorkingOrder, code: int, text: str, now_ns: int) -> None:
        if self._may(order, Happening.REJECTED, now_ns):
            self._monitor.order_answered(order.order_id)
            record = records.VenueRejected(order.order_id, code, text)
            self.commit_end(order, record, "the venue rejected the order", now_ns)
            self._monitor.venue_rejects += 1

    def refuse_unsent(self, order: WorkingOrder, why: str, now_ns: int) -> None:
        """End an approved order that has never left."""
        self._reject(order, 0, why, now_ns)

    def end_unsent(self, order: WorkingOrder, why: str, now_ns: int) -> None:
        """End an order that has never left as its client wants it: cancelled."""
        self._cancelled(order, Decimal(0), why, now_ns)

    def _lose(self, order: WorkingOrder, now_ns: int) -> None:
        if order.status is OrdStatus.PENDING_NEW:
            self.pipeline.commit(records.OrderLost(order.order_id), now_ns)
            self._monitor.unknown += 1

    def _outcome_unknown(self, event: events.OrderOutcomeUnknown, now_ns: int) -> None:
        order = self._ledger.orders.get(event.label)
        if order is None:
            return
        if event.request == "place":
            self._lose(order, now_ns)
        self._query(order, now_ns)

    # -- cancels and replaces ----------------------------------------------------------------------------------------

    def _cancel_rejected(self, event: events.CancelRejected, now_ns: int) -> None:
        order = self._ledger.orders.get(event.label)
        if order is None:
            return
        if event.venue_order_id not in ("", order.venue_order_id):
            return  # of a stop that has triggered meanwhile: what it became is cancelled under its own id
        if event.is_definite and order.is_cancel_pending:
            if order.cancel_cl_ord_id and not order.is_at_rest:
                self._refuse_cancel(order, f"{event.code} {event.message}", now_ns)
            else:
                # Nobody else watches the order: it is cancelled again for as long as the venue says that it is open.
                self._monitor.alert(f"{self.venue}: {order.order_id} not cancelled: {event.code} {event.message}")
        self._query(order, now_ns)  # the venue refused because the order is not what we think

    def _refuse_cancel(self, order: WorkingOrder, text: str, now_ns: int, cancel_id: str = "") -> None:
        cancel_id = cancel_id or order.cancel_cl_ord_id
        record = records.CancelRefused(
            order.cancel_session, 0, order.order_id, cancel_id, order.cl_ord_id, False, TOO_LATE_TO_CANCEL, text
        )
        self.pipeline.commit(record, now_ns)
        self._monitor.cancels_refused += 1

    def _replace_rejected(self, event: events.ReplaceRejected, now_ns: int) -> None:
        order = self._ledger.orders.get(event.label)
        if order is None:
            return
        if event.is_definite and order.replace is not None:
            self._refuse_replace(order, f"{event.code} {event.message}", now_ns)
        self._query(order, now_ns)

    def _order_replaced(self, event: events.OrderReplaced, now_ns: int) -> None:
        order = self._ledger.orders.get(event.label)
        if order is None:
            return
        if order.replace is None:
            order_changes.restate(self, order, event, now_ns)
        elif self.has_shape(order, order.replace, event):
            self._take_replace(order, now_ns)
        else:
            self._query(order, now_ns)

    @staticmethod
    def has_shape(
        order: WorkingOrder, wanted: WorkingOrder | PendingReplace, told: events.OrderReplaced | events.OrderState
    ) -> bool:
        """Whether the venue tells of an order as it is, or as a pending replace wants it."""
        instrument, terms = order.instrument, wanted.terms
        told_lots = instrument.lots_from_decimal(told.quantity)
        told_ticks = None if told.price is None else instrument.ticks_from_decimal(told.price)
        told_stop = None if told.trigger_price is None else instrument.ticks_from_decimal(told.trigger_price)
        stands = told.trigger_price is None or terms is None or told_stop == terms.stop_ticks
        return stands and told_lots == wanted.lots and told_ticks == wanted.ticks

    # -- reconciliation ----------------------------------------------------------------------------------------------

    def _open_orders(self, event: events.OpenOrdersReported, now_ns: int) -> None:
        told = {order.label: order for order in event.orders}
        for state in event.orders:
            order = self._ledger.orders.get(state.label)
            if order is not None and order.replace is not None:
                self._query(order, now_ns)  # the list may be older than the request
            elif order is not None:
                self._order_state(events.OrderStateReported(state), now_ns)
            elif not self._ledger.holds.has_shared(state.label):
                name = state.label or state.venue_order_id
                self.raise_break(state.symbol, f"open order {name} of {state.quantity} is not ours", now_ns)
        for order in list(self._orders()):
            # Of one that was sent a moment ago the answer is on its way, and the list may be older than the order.
            if order.order_id not in told and order.status is not OrdStatus.PENDING_NEW:
                self._query(order, now_ns)

    def _order_state(self, event: events.OrderStateReported, now_ns: int) -> None:
        state = event.order
        order = self._ledger.orders.get(state.label)
        if order is None:
            return
        if state.state == "triggered" or (state.state == "untriggered" and order.is_triggered):
            self._query(order, now_ns)  # what it has become is not told yet, or the answer is older than the trigger
        elif state.state in ("open", "untriggered"):
            self._order_is_open(order, state, now_ns)
        elif state.state == "rejected" and order.status in _UNANSWERED:
            self._reject(order, 0, "rejected by the venue", now_ns)
        elif state.state == "filled" and order.is_working:
            self._order_is_filled(order, state, now_ns)
        else:
            self._strays.discard(order.order_id)
            self._cancelled(order, state.filled_quantity, "cancelled at the venue", now_ns)

    def _order_is_open(self, order: WorkingOrder, state: events.OrderState, now_ns: int) -> None:
        was_named = bool(order.venue_order_id)
        if was_named and not order.is_working:
            if state.filled_quantity < executed_quantity(order):
                return  # written before fills that we have: how the order was, not how it is
            if order.order_id not in self._strays:
                # It may have been written before the end that we have: only a second look tells.
                if len(self._strays) >= STRANGE_TRADES_KEPT:
                    self._strays.clear()
                self._strays.add(order.order_id)
                self._query(order, now_ns)
                return
            text = f"order {order.order_id} is {order.status.name} and works at the venue"
            self.raise_break(order.instrument.symbol, text, now_ns)
            stray = msgspec.structs.replace(order, venue_order_id=state.venue_order_id)
            self.pipeline.router.cancel(stray, now_ns)
            return
        has_triggered = order_changes.has_become_another(order, state)
        if has_triggered:
            became = events.OrderTriggered(state.label, state.venue_order_id, order.venue_order_id)
            order_changes.trigger(self, became, now_ns)
        elif not was_named:
            self.accept(order, state.venue_order_id, now_ns)
        replace = order.replace
        if replace is not None:
            if self.has_shape(order, replace, state):
                self._take_replace(order, now_ns)
            elif self.has_shape(order, order, state):
                self._refuse_replace(order, "the venue has not taken it", now_ns)
        if was_named and not has_triggered and order.is_working and order.is_cancel_pending:
            self.pipeline.router.cancel(order, now_ns)
        if order.is_working and state.filled_quantity > executed_quantity(order):
            self._query(order, now_ns)  # a fill was told and did not come: the answer brings the order's trades

    def _order_is_filled(self, order: WorkingOrder, state: events.OrderState, now_ns: int) -> None:
        replace = order.replace
        if state.filled_quantity > executed_quantity(order):
            # Its trades came before this answer; where one is missing, ask again: margin stays held.
            self._query(order, now_ns)
        elif replace and self.has_shape(order, replace, state):
            self._take_replace(order, now_ns)
        else:
            self._cancelled(order, state.filled_quantity, "done at the venue", now_ns)

    def _take_replace(self, order: WorkingOrder, now_ns: int) -> None:
        assert order.replace is not None
        record = records.Replaced(order.order_id, order.cl_ord_id, order.replace.session)
        self.commit_end(order, record, "the order was filled before", now_ns)
        self._monitor.replaced += 1

    def _settle_requests(self, order: WorkingOrder, now_ns: int) -> None:
        if order.replace is not None:
            self._refuse_replace(order, "the order had ended", now_ns)

    def _refuse_replace(self, order: WorkingOrder, text: str, now_ns: int) -> None:
        cancel_id = _cancel_id(order)
        self.pipeline.refuse_replace(order, text, now_ns)
        if cancel_id and not order.is_working:
            self._refuse_cancel(order, "the order was filled before", now_ns, cancel_id)

    def commit_end(self, order: WorkingOrder, record: records.Record, text: str, now_ns: int) -> None:
        """Commit what may end an order; then whatever the client had asked of it meanwhile is answered too."""
        cancel_id, replace = _cancel_id(order), order.replace
        self.pipeline.commit(record, now_ns)
        if order.is_working:
            return
        if replace is not None and not isinstance(record, records.Replaced):
            refusal = records.CancelRefused(
                replace.session, 0, order.order_id, replace.cl_ord_id, order.cl_ord_id, True, TOO_LATE_TO_CANCEL, text
            )
            self.pipeline.commit(refusal, now_ns)
            self._monitor.replaces_refused += 1
        if cancel_id:
            self._refuse_cancel(order, text, now_ns, cancel_id)

    def _order_not_found(self, event: events.OrderNotFound, now_ns: int) -> None:
        order = self._ledger.orders.get(event.label)
        if order is None or not order.is_working:
            return
        if order.status in _UNANSWERED:
            self._reject(order, 0, "the venue does not know the order", now_ns)
        else:
            self._cancelled(order, executed_quantity(order), "not at the venue any more", now_ns)

    def _positions_reported(self, event: events.PositionsReported, now_ns: int) -> None:
        self.pipeline.venue_books.positions_told(self.venue, event, now_ns)
        if not event.is_complete:
            return
        # The whole of a currency at once: what an interrupted reconciliation has left is not to be compared with.
        self._positions[event.currency] = {position.symbol: position.quantity for position in event.positions}

    def _balances_reported(self, event: events.BalancesReported, now_ns: int) -> None:
        self.pipeline.venue_books.balances_told(self.venue, event)

    def _reconcile_finished(self, event: events.ReconcileFinished, now_ns: int) -> None:
        """Compare positions: a difference restricts the accounts that hold the instrument, and corrects nothing.

        A fill may be in the one and not yet in the other, so a difference counts once it was the same twice.
        """
        deliver_late_fills(self.pipeline, self.venue, now_ns)
        ours = self._ledger.venue_quantities(self.venue)
        told = {symbol: quantity for positions in self._positions.values() for symbol, quantity in positions.items()}
        before, self._suspects = self._suspects, {}
        for symbol in sorted(ours.keys() | told.keys()):
            instrument = self._ledger.by_symbol.get(symbol)
            nothing = Decimal(0) if instrument is None else instrument.quantity(0)
            theirs, mine = told.get(symbol, Decimal(0)), ours.get(symbol, nothing)
            if mine == theirs or awaited(self._ledger, symbol, now_ns):
                continue
            if before.get(symbol) == theirs - mine or self._asked_again >= ASKED_AGAIN_AT_MOST:
                self.restrict(symbol, f"position break: ours {mine}, the venue's {theirs}", now_ns)
            else:
                self._suspects[symbol] = theirs - mine
        self._asked_again = self._asked_again + 1 if self._suspects else 0
        self._positions.clear()
        self.pipeline.venue_books.is_whole(self.venue)

    def restrict(self, symbol: str, text: str, now_ns: int) -> None:
        """Raise a break, and let the accounts that hold the instrument only reduce; all, where none does."""
        self.raise_break(symbol, text, now_ns)
        accounts = list(self._ledger.accounts.values())
        holders = [a for a in accounts if any(p.instrument.symbol == symbol for p in a.positions.values() if p.held)]
        for account in holders or accounts:
            if self._ledger.standing.state_of(account) is AccountState.TRADING:
                self.pipeline.commit(
                    records.AccountStateMoved(account.name, AccountState.REDUCING, f"{symbol}: {text}"), now_ns
                )

    def _venue_error(self, event: events.VenueErrorReported, now_ns: int) -> None:
        self._monitor.venue_errors += 1
        self._monitor.alert(f"{self.venue}: {event.code} {event.message}")

    # -- helpers -----------------------------------------------------------------------------------------------------

    def working(self) -> list[str]:
        """Return the orders that the venue has acknowledged and that work, as far as is known."""
        return [order.order_id for order in self._orders() if order.status not in _UNANSWERED]

    def _orders(self) -> list[WorkingOrder]:
        return [o for o in self._ledger.working_orders() if o.instrument.venue == self.venue]

    def _may(self, order: WorkingOrder, happening: Happening, now_ns: int) -> bool:
        """Whether the table has this row; where not, the account halts and a person must look."""
        if (order.status, happening) in TABLE:
            return True
        text = f"order {order.order_id} is {order.status.name} and the venue says {happening.value}"
        self.raise_break(order.instrument.symbol, text, now_ns)
        self.pipeline.commit(records.AccountStateMoved(order.account, AccountState.HALTED, text), now_ns)
        return False

    def is_strange(self, told_id: str) -> bool:
        """Whether something that is not ours is told for the first time; it is told again and again."""
        if told_id in self._strange_trades:
            return False
        if len(self._strange_trades) >= STRANGE_TRADES_KEPT:
            self._strange_trades.clear()
        self._strange_trades.add(told_id)
        return True

    def raise_break(self, symbol: str, text: str, now_ns: int) -> None:
        """Journal and alert that our book and the venue's differ."""
        self.pipeline.commit(records.BreakRaised(self.venue, symbol, text), now_ns)
        self._monitor.breaks += 1
        self._monitor.alert(f"{self.venue} {symbol}: {text}")


def _cancel_id(order: WorkingOrder) -> str:
    """ClOrdID of the client's cancel that waits for its answer; empty where none does."""
    return order.cancel_cl_ord_id if order.is_cancel_pending else ""


HANDLERS: Final[dict[type, Callable[[Executions, Any, int], None]]] = {
    events.OrderAccepted: Executions._order_accepted,
    events.OrderFilled: Executions._order_filled,
    events.OrderCancelled: Executions._order_cancelled,
    events.OrderRejected: Executions._order_rejected,
    events.OrderOutcomeUnknown: Executions._outcome_unknown,
    events.CancelRejected: Executions._cancel_rejected,
    events.ReplaceRejected: Executions._replace_rejected,
    events.OrderReplaced: Executions._order_replaced,
    events.OpenOrdersReported: Executions._open_orders,
    events.OrderStateReported: Executions._order_state,
    events.OrderNotFound: Executions._order_not_found,
    events.PositionsReported: Executions._positions_reported,
    events.BalancesReported: Executions._balances_reported,
    events.ReconcileFinished: Executions._reconcile_finished,
    events.VenueErrorReported: Executions._venue_error,
    **market_events.HEARS,
    **order_changes.HEARS,
    **corrections.HEARS,
    **settlements.HEARS,
    **venue_handlers(Executions),
}
