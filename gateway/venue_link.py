"""Between the pipeline and one venue's sans-I/O session: orders out as text, events in as records. Still no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.compiled import price_text, quantity_text
from gateway.executions import Executions
from gateway.journal import JournalError
from gateway.pipeline import Pipeline
from gateway.translate import VENUE_TIMES_IN_FORCE
from protocols.errors import LocalProtocolError
from protocols.venues.deribit import Deribit
from protocols.venues.events import (
    Event,
    OrderNotFound,
    OrderQueryFailed,
    OrderStateReported,
    ReconcileFailed,
    ReconcileFinished,
    VenueStateChanged,
)
from protocols.venues.orderbook import OrderBook
from protocols.venues.trade_tape import TradeTape
from risk.exposure import WorkingOrder
from risk.order import Approved

# An order is asked about at once, and again at this interval until the venue has said how it stands.
QUERY_INTERVAL_NS: Final = 1_000_000_000
ANSWERS_KEPT: Final = 10_000


class SessionLink:
    """One venue's session and what it means for the book.

    `flush_transport` writes what the session queued. After `receive` or `tick` the caller flushes the batch.
    """

    def __init__(
        self, venue: str, make_session: Callable[[], Deribit], pipeline: Pipeline, flush_transport: Callable[[], None]
    ) -> None:
        self.venue = venue
        self.session = make_session()
        self._make_session = make_session
        self._is_spoiled = False
        self.must_close = False
        self._pipeline = pipeline
        self._flush_transport = flush_transport
        self._executions = Executions(venue, pipeline, self._ask)
        # Orders that the venue must tell us about -> when to ask (again).
        self._questions: dict[str, int] = {}
        self._not_before: dict[str, int] = {}
        # Instruments whose books, and whose public trades, somebody reads.
        self._wanted: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self.state_name = "connecting"
        pipeline.router.connect(venue, self)

    # -- orders out (the router's side) ------------------------------------------------------------------------------

    def place(self, approved: Approved, order_id: str, now_ns: int) -> str | None:
        """Queue an approved order; return why not, where the session can not take it and nothing left."""
        order, instrument, terms = approved.order, approved.instrument, approved.order.terms
        order_type, trigger = "limit", None
        if terms is not None and terms.stop_ticks:
            order_type, trigger = "stop_limit", (terms.trigger, price_text(instrument, terms.stop_ticks))
        try:
            # Reduce-only is ours to enforce: the venue's account nets all our clients. A market order goes out as a
            # limit at the collar's price, and a stop without a limit of its own likewise.
            self.session.place(
                order_id,
                instrument.symbol,
                order.side == 1,
                quantity_text(instrument, order.lots),
                price_text(instrument, order.ticks),
                order_type,
                VENUE_TIMES_IN_FORCE[order.time_in_force],
                order.is_post_only,
                False,
                now_ns,
                trigger,
            )
        except LocalProtocolError as error:
            return str(error)
        return None

    def cancel(self, order: WorkingOrder, now_ns: int) -> None:
        """Queue a cancel; without the venue's id it waits for the acknowledgement, without a session for the next."""
        if not order.venue_order_id:
            return
        try:
            self.session.cancel(order.order_id, order.venue_order_id, now_ns)
        except LocalProtocolError:
            self._ask(order, now_ns)  # the answer to the question sends the cancel again

    def replace(self, order: WorkingOrder, now_ns: int) -> str | None:
        """Queue the order's pending replace; return why not, where nothing left."""
        replace, instrument = order.replace, order.instrument
        assert replace is not None
        quantity, price = quantity_text(instrument, replace.lots), price_text(instrument, replace.ticks)
        stop = None
        if replace.terms is not None and order.is_at_rest:
            stop = price_text(instrument, replace.terms.stop_ticks)
        try:
            # The venue takes an edit's flags as the order's new ones: what is not said again is gone.
            self.session.replace(
                order.order_id,
                order.venue_order_id,
                quantity,
                price,
                now_ns,
                post_only=order.is_post_only,
                trigger_price=stop,
            )
        except LocalProtocolError as error:
            return str(error)
        return None

    def flush(self) -> None:
        """Write what the session queued."""
        self._flush_transport()

    # -- market data (the readers' side) -----------------------------------------------------------------------------

    def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None:
        """Follow the books and public trades of these instruments, and no others."""
        self._wanted = books, trades
        self.session.feeds.want(books, trades, now_ns)
        self._pipeline.router.touch(self.venue)

    def book(self, symbol: str) -> OrderBook:
        """Return an instrument's book, usable or not."""
        return self.session.feeds.book(symbol)

    def tape(self, symbol: str) -> TradeTape:
        """Return an instrument's last public trades."""
        return self.session.feeds.tape(symbol)

    # -- what the venue says (the transport's side) ------------------------------------------------------------------

    def connected(self, now_ns: int) -> None:
        """The transport is up."""
        self.must_close = False
        if self._is_spoiled:
            # It has told events that could not be journalled; a new one asks the venue for all of them again.
            self.session = self._make_session()
            self.session.feeds.want(*self._wanted, now_ns)
            self._is_spoiled = False
        self.session.connected(now_ns)
        try:
            self._executions.lost_orders(now_ns)  # nothing can be in flight
        except JournalError as error:
            self._spoil(error)
        self._drain(now_ns)

    def disconnected(self, now_ns: int) -> None:
        """The transport is gone: what was in flight is unknown until the venue has been asked."""
        self._pipeline.market.live_venues.discard(self.venue)
        self.session.disconnected(now_ns)
        self._drain(now_ns)

    def receive(self, frame: bytes, now_ns: int) -> None:
        """Take one message of the venue."""
        self.session.receive(frame, now_ns)
        self._drain(now_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        self.session.tick(now_ns)
        if self._questions and self.session.is_live:
            self._ask_what_is_due(now_ns)
        self._drain(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        deadline = self.session.deadline_ns
        if self._questions and self.session.is_live:
            due = min(self._questions.values())
            return due if deadline is None else min(due, deadline)
        return deadline

    def hear(self, event: Event, now_ns: int) -> None:
        """Take what a venue has told on another way than its connection: that a trade was busted or corrected."""
        try:
            self._executions.handle(event, now_ns)
        except JournalError as error:
            self._spoil(error)

    def report_transport(self, text: str) -> None:
        """The transport could not be brought up."""
        self._pipeline.monitor.alert(f"{self.venue}: {text}")

    def recover(self, now_ns: int) -> None:
        """After a replay: nothing is known of orders whose answer was not journalled."""
        self._executions.lost_orders(now_ns)

    def _drain(self, now_ns: int) -> None:
        is_reconciled = False
        for event in self.session.events():
            kind = type(event)
            if kind is VenueStateChanged:
                self._state_changed(event, now_ns)  # type: ignore[arg-type]
                continue
            if kind is OrderStateReported:
                self._answered(event.order.label, now_ns)  # type: ignore[union-attr]
            elif kind is OrderNotFound:
                self._answered(event.label, now_ns)  # type: ignore[union-attr]
            elif kind is ReconcileFailed:
                # Nothing vouches for orders and positions now: connect again, and ask everything again.
                self._pipeline.market.live_venues.discard(self.venue)
                self._pipeline.monitor.alert(f"{self.venue}: not reconciled: {event.reason}")  # type: ignore[union-attr]
                self.must_close = True
                continue
            elif kind is OrderQueryFailed:
                self._pipeline.monitor.alert(f"{self.venue}: {event.label}: {event.reason}")  # type: ignore[union-attr]
                continue
            try:
                self._executions.handle(event, now_ns)
            except JournalError as error:
                self._spoil(error)
                return
            if kind is ReconcileFinished:
                is_reconciled = True
                if self._questions:
                    self._ask_what_is_due(now_ns)
        if is_reconciled:
            self._reconciled(now_ns)

    def _reconciled(self, now_ns: int) -> None:
        """Take orders again, unless positions differ: then they are compared once more before anything new is sent."""
        live_venues = self._pipeline.market.live_venues
        if self._executions.must_ask_again:
            live_venues.discard(self.venue)
            self.session.reconcile(now_ns)
        elif self.session.is_live and not self._is_spoiled:
            live_venues.add(self.venue)

    def _spoil(self, error: JournalError) -> None:
        """Hang up: an execution that can not be written may not be applied.

        Once the journal works again, reconciliation brings the execution back.
        """
        self._pipeline.monitor.journal_failed(str(error))
        self._pipeline.market.live_venues.discard(self.venue)
        self.must_close = self._is_spoiled = True

    def _state_changed(self, event: VenueStateChanged, now_ns: int) -> None:
        self.state_name = event.state
        live_venues = self._pipeline.market.live_venues
        if event.state == "live":
            if self._executions.must_ask_again:
                return  # `_reconciled` adds it
            live_venues.add(self.venue)
            return
        live_venues.discard(self.venue)
        if event.state == "halted":
            self.must_close = True
            self._pipeline.monitor.alert(f"{self.venue}: halted: {event.reason}")

    def _answered(self, order_id: str, now_ns: int) -> None:
        if self._questions.pop(order_id, None) is not None:
            if len(self._not_before) >= ANSWERS_KEPT:
                self._not_before.clear()
            self._not_before[order_id] = now_ns + QUERY_INTERVAL_NS

    def _ask(self, order: WorkingOrder, now_ns: int) -> None:
        """Ask about an order now where that is possible, and again until it is answered."""
        if order.order_id not in self._questions:
            # Where an answer was followed by the same question at once, the venue is given time.
            self._questions[order.order_id] = max(now_ns, self._not_before.pop(order.order_id, 0))
            if self.session.is_live:
                self._ask_what_is_due(now_ns)

    def _ask_what_is_due(self, now_ns: int) -> None:
        for order_id, due_ns in list(self._questions.items()):
            if due_ns > now_ns:
                continue
            order = self._pipeline.ledger.orders.get(order_id)
            if order is None or not (order.is_working or order.replace or order.is_cancel_pending):
                del self._questions[order_id]
                continue
            self._questions[order_id] = now_ns + QUERY_INTERVAL_NS
            try:
                self.session.query_order(order_id, order.instrument.symbol, now_ns)
            except LocalProtocolError:
                return
