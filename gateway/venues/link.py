"""Between the pipeline and one venue's sans-I/O session: orders out as text, events in as records. Still no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.compiled import price_text, quantity_text
from gateway.executions import HANDLERS as HEARS
from gateway.executions import Executions
from gateway.journal import JournalError
from gateway.link_steps import link_steps
from gateway.pipeline import Pipeline
from gateway.translate import VENUE_TIMES_IN_FORCE
from gateway.venues.feed_watch import FeedWatch
from gateway.venues.order_queue import OrderQueue
from gateway.venues.order_watch import OrderWatch
from gateway.venues.symbols import VenueSymbols
from protocols.errors import LocalProtocolError
from protocols.venues.codec import MAIN, VenueCodec
from protocols.venues.events import (
    BookUpdated,
    Event,
    MarginCallReported,
    MarginTiersListed,
    MarkPriceUpdated,
    NoticeReported,
    OrderNotFound,
    OrderQueryFailed,
    OrderState,
    OrderStateReported,
    ReconcileFailed,
    ReconcileFinished,
    TradePrinted,
    VenueStateChanged,
)
from protocols.venues.orderbook import OrderBook
from protocols.venues.rate_limit import RateLimitError
from protocols.venues.trade_tape import TradeTape
from risk.exposure import WorkingOrder
from risk.order import Approved, TimeInForce

# An order is asked about at once, and again at this interval until the venue has said how it stands.
QUERY_INTERVAL_NS: Final = 1_000_000_000
ANSWERS_KEPT: Final = 10_000
RESTING: Final = frozenset({"open", "untriggered"})
MAX_TIERS: Final = 20_000


class SessionLink:
    """One venue's session and what it means for the book.

    `flush_transport` writes what the session queued. After `receive` or `tick` the caller flushes the batch.

    Parameters
    ----------
    symbol_suffix : what the house's symbols have more than the venue's, where two venues would share them
    queue_ns : how long an order may wait for the venue's rate limit; 0: it is refused at once
    feed_timeout_ns : with no mark of any instrument for so long, the market's lanes are dialled again; 0: never
    order_check_ns : how often a working order is asked about, though nothing is known to be wrong; 0: never
    """

    # What the compiled twins of `place` and `receive` read (gateway/_link.pyx); all else is in its dictionary.
    __slots__ = ("__dict__", "_executions", "_queue", "session", "symbols")

    def __init__(
        self,
        venue: str,
        make_session: Callable[[], VenueCodec],
        pipeline: Pipeline,
        flush_transport: Callable[[], None],
        *,
        symbol_suffix: str = "",
        queue_ns: int = 0,
        feed_timeout_ns: int = 0,
        order_check_ns: int = 0,
    ) -> None:
        self.venue = venue
        self.session = make_session()
        self.symbols = VenueSymbols(symbol_suffix)
        self.feed = FeedWatch(feed_timeout_ns)
        self._queue = OrderQueue(queue_ns)
        self._watch = OrderWatch(order_check_ns)
        self.lanes_up: set[str] = set()
        # Margin parameters that the venue publishes, by instrument, or by family of them.
        self.margin_tiers: dict[str, MarginTiersListed] = {}
        self._make_session = make_session
        self._is_spoiled = False
        self.must_close = False
        self._pipeline = pipeline
        self._flush_transport = flush_transport
        self._executions = Executions(venue, pipeline, self._ask)
        # Orders that the venue must tell us about -> when to ask (again).
        self._questions: dict[str, int] = {}
        self._not_before: dict[str, int] = {}
        self._replaced_ns: dict[str, int] = {}  # when the replaces were sent that have no answer
        self._born_ns = 0  # what an earlier process sent, it sent before this
        # Instruments whose books, and whose public trades, somebody reads.
        self._wanted: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self.state_name = "connecting"
        pipeline.router.connect(venue, self)

    # -- orders out (the router's side) ------------------------------------------------------------------------------

    def place(self, approved: Approved, order_id: str, now_ns: int) -> str | None:
        """Queue an approved order; return why not, where the session can not take it and nothing left."""
        if self._queue.orders:
            return self._queue.take(approved, order_id, now_ns)  # what came first goes first
        try:
            self._place(approved, order_id, now_ns)
        except RateLimitError as error:
            return self._queue.take(approved, order_id, now_ns) if self._queue.is_used else str(error)
        except LocalProtocolError as error:
            return str(error)
        return None

    def _place(self, approved: Approved, order_id: str, now_ns: int) -> None:
        order, instrument, terms = approved.order, approved.instrument, approved.order.terms
        symbol, order_type, trigger = instrument.symbol, "limit", None
        time_in_force = VENUE_TIMES_IN_FORCE[order.time_in_force]
        if self.symbols.suffix:
            symbol = self.symbols.venue(symbol)
        if terms is not None:
            if terms.stop_ticks:
                order_type, trigger = "stop_limit", (terms.trigger, price_text(instrument, terms.stop_ticks))
            if terms.expire_ns:
                time_in_force = VENUE_TIMES_IN_FORCE[TimeInForce.GTC]  # it ends here, not there
        # Reduce-only is ours to enforce: the venue's account nets all our clients. A market order goes out as a
        # limit at the collar's price, and a stop without a limit of its own likewise.
        self.session.place(
            order_id,
            symbol,
            order.side == 1,
            quantity_text(instrument, order.lots),
            price_text(instrument, order.ticks),
            order_type,
            time_in_force,
            order.is_post_only,
            False,
            now_ns,
            trigger,
        )

    def cancel(self, order: WorkingOrder, now_ns: int) -> None:
        """Queue a cancel; without the venue's id it waits for the acknowledgement, without a session for the next."""
        if not order.venue_order_id:
            if self._queue.holds(order.order_id):
                self._executions.end_unsent(order, "cancelled before it was sent", now_ns)
                self._queue.drop(order.order_id)
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
        if len(self._replaced_ns) >= ANSWERS_KEPT:
            orders = self._pipeline.ledger.orders
            waiting = {name: at for name, at in self._replaced_ns.items() if name in orders and orders[name].replace}
            self._replaced_ns = waiting
        self._replaced_ns[order.order_id] = now_ns
        return None

    def flush(self) -> None:
        """Write what the session queued."""
        self._flush_transport()

    # -- market data (the readers' side) -----------------------------------------------------------------------------

    def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None:
        """Follow the books and public trades of these instruments, and no others."""
        self._wanted = self.symbols.venue_set(books), self.symbols.venue_set(trades)
        self.session.feeds.want(*self._wanted, now_ns)
        self._pipeline.router.touch(self.venue)

    def book(self, symbol: str) -> OrderBook:
        """Return an instrument's book, usable or not."""
        return self.session.feeds.book(self.symbols.venue(symbol))

    def tape(self, symbol: str) -> TradeTape:
        """Return an instrument's last public trades."""
        return self.session.feeds.tape(self.symbols.venue(symbol))

    # -- what the venue says (the transport's side) ------------------------------------------------------------------

    @property
    def orders_waiting(self) -> int:
        """How many orders wait for the venue's rate limit."""
        return len(self._queue.orders)

    def url(self, lane: str) -> str:
        """Return the path to dial for a lane; empty while it can not be dialled."""
        if self._is_spoiled and self.lanes_up:
            return ""  # a new session begins when nothing of the old one is left
        return self.session.url(lane)

    def lanes_to_close(self) -> list[str]:
        """Return the lanes whose connections are to be closed now."""
        if self.must_close:
            return list(self.session.lanes if self._is_spoiled else self.session.vital_lanes)
        return [lane for lane, _ in self.session.lanes_to_close()] + self.feed.take_lanes_to_close()

    def connected(self, now_ns: int, lane: str = MAIN) -> None:
        """A lane's transport is up."""
        if self._is_spoiled and not self.lanes_up:
            # It has told events that could not be journalled; a new one asks the venue for all of them again.
            self.session = self._make_session()
            self.session.feeds.want(*self._wanted, now_ns)
            self._is_spoiled = False
        self.lanes_up.add(lane)
        self._born_ns = self._born_ns or now_ns
        if lane in self.session.vital_lanes:
            self.must_close = self._is_spoiled
        self.session.connected(now_ns, lane)
        if lane == self.session.order_lane:
            try:
                self._executions.lost_orders(now_ns)  # nothing can be in flight
            except JournalError as error:
                self._spoil(error)
        self._drain(now_ns)

    def disconnected(self, now_ns: int, lane: str = MAIN) -> None:
        """A lane's transport is gone: what was in flight is unknown until the venue has been asked."""
        self.lanes_up.discard(lane)
        if lane in self.session.vital_lanes:
            self._pipeline.market.live_venues.discard(self.venue)
        self.session.disconnected(now_ns, lane)
        self._drain(now_ns)

    def receive(self, frame: bytes, now_ns: int, lane: str = MAIN) -> None:
        """Take one message of the venue."""
        self.session.receive(frame, now_ns, lane)
        self._drain(now_ns)

    def handle_events(self, now_ns: int) -> None:
        """Act on what an answer of the venue's REST host has led to."""
        self._drain(now_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        self.session.tick(now_ns)
        if self._questions and self.session.is_live:
            self._ask_what_is_due(now_ns)
        if self._queue.orders:
            self._send_waiting(now_ns)
        self._look_after_orders(now_ns)
        if self.feed.is_silent(now_ns) and self.session.is_live:
            self._redial_market(now_ns)
        self._drain(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        times = [self.session.deadline_ns, self._queue.deadline_ns, self._watch.deadline_ns]
        if self.session.is_live:
            times.append(self.feed.deadline_ns)
            if self._questions:
                times.append(min(self._questions.values()))
        return min([at for at in times if at is not None], default=None)

    def _look_after_orders(self, now_ns: int) -> None:
        """Ask about one order that is believed to work: what was told of it may never have come."""
        orders = self._pipeline.ledger.orders
        order = orders.get(self._watch.due(now_ns, self._executions.working) or "")
        if order is not None and order.is_working and not order.replace and order.order_id not in self._questions:
            self._ask(order, now_ns)

    def _redial_market(self, now_ns: int) -> None:
        """The sockets are open and answer, and no mark of any instrument comes: what feeds them is dead."""
        text = f"no mark of any instrument for {self.feed.timeout_ns // 1_000_000_000} s: dialled again"
        self._pipeline.monitor.alert(f"{self.venue}: {text}")
        vital = self.session.vital_lanes
        self.feed.redial([lane for lane in self.session.lanes if lane not in vital], now_ns)
        self.must_close = self.must_close or len(vital) == len(self.session.lanes)

    def _send_waiting(self, now_ns: int) -> None:
        """Send the orders that waited for the venue's rate limit, as far as it has room; refuse those that may not
        wait any longer."""
        try:
            for approved, order_id, due_ns in self._queue.waiting(now_ns):
                order = self._pipeline.ledger.orders.get(order_id)
                if order is not None and order.is_working:
                    try:
                        self._place(approved, order_id, now_ns)
                    except LocalProtocolError as error:
                        if isinstance(error, RateLimitError) and now_ns < due_ns:
                            return
                        self._executions.refuse_unsent(order, f"waited in vain: {error}", now_ns)
                self._queue.drop(order_id)
        except JournalError as error:
            self._spoil(error)

    def _give_up_waiting(self, now_ns: int) -> None:
        """The session takes no orders: those that wait for it are not sent when it comes back, when all has changed."""
        try:
            for order_id in self._queue.take_all():
                order = self._pipeline.ledger.orders.get(order_id)
                if order is not None and order.is_working:
                    self._executions.refuse_unsent(order, f"{self.venue} was lost before it was sent", now_ns)
        except JournalError as error:  # they are asked about with the next connection, and found to be unknown there
            self._spoil(error)

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
        self._hear(self.session.events(), now_ns)

    def _hear(self, events: list[Event], now_ns: int) -> None:
        """Act on what the venue has told."""
        is_reconciled = False
        for told in events:
            kind = type(told)
            if kind is BookUpdated:
                continue
            if kind is TradePrinted:
                self.session.feeds.on_trade(told)  # type: ignore[arg-type]
                continue
            event = self.symbols.house_event(told) if self.symbols.suffix else told
            if kind is MarkPriceUpdated:
                self.feed.heard(now_ns)
                self._executions.clock_offset_ns = self.session.clock_offset_ns
            elif kind is VenueStateChanged:
                self._state_changed(event, now_ns)  # type: ignore[arg-type]
                continue
            if kind is OrderStateReported:
                asked_ns = self._answered(event.order.label, now_ns)  # type: ignore[union-attr]
                if self._may_still_change(event.order, asked_ns, now_ns):  # type: ignore[union-attr]
                    continue
            elif kind is OrderNotFound:
                asked_ns = self._answered(event.label, now_ns)  # type: ignore[union-attr]
                if self._may_still_come(event.label, asked_ns, now_ns):  # type: ignore[union-attr]
                    continue
            elif kind is ReconcileFailed:
                # Nothing vouches for orders and positions now: connect again, and ask everything again.
                self._pipeline.market.live_venues.discard(self.venue)
                self._pipeline.monitor.alert(f"{self.venue}: not reconciled: {event.reason}")  # type: ignore[union-attr]
                self.must_close = True
                continue
            elif kind is OrderQueryFailed:
                self._pipeline.monitor.alert(f"{self.venue}: {event.label}: {event.reason}")  # type: ignore[union-attr]
                continue
            elif kind is MarginTiersListed:
                if len(self.margin_tiers) < MAX_TIERS:
                    self.margin_tiers[event.name] = event  # type: ignore[union-attr,assignment]
                continue
            elif kind is NoticeReported or kind is MarginCallReported:
                self._pipeline.monitor.alert(f"{self.venue}: {_words(event)}")
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
            self.feed.heard(now_ns)
            self._watch.begin(now_ns)
            if self._executions.must_ask_again:
                return  # `_reconciled` adds it
            live_venues.add(self.venue)
            return
        live_venues.discard(self.venue)
        self._watch.end()
        if self._queue.orders:
            self._give_up_waiting(now_ns)
        if event.state == "halted":
            # Of several lanes the session names those that are to be closed: one may be enough.
            self.must_close = self.must_close or len(self.session.lanes) == 1
            self._pipeline.monitor.alert(f"{self.venue}: halted: {event.reason}")

    def _answered(self, order_id: str, now_ns: int) -> int:
        """Take note of an answer; return when it was asked for at the latest, 0 where it was not."""
        again_ns = self._questions.pop(order_id, None)
        if again_ns is None:
            return 0
        if len(self._not_before) >= ANSWERS_KEPT:
            self._not_before.clear()
        self._not_before[order_id] = now_ns + QUERY_INTERVAL_NS
        return again_ns - QUERY_INTERVAL_NS

    def _may_still_change(self, state: OrderState, asked_ns: int, now_ns: int) -> bool:
        """Whether an answer says nothing of a replace that is on its way; the order is asked about again then.

        How an order rests without its replace is no answer to that before the venue would refuse it as too late: it
        may be on another connection, in a queue, or older than the question.
        """
        order = self._pipeline.ledger.orders.get(state.label)
        if order is None or order.replace is None or state.state not in RESTING:
            return False
        sent_ns = self._replaced_ns.get(order.order_id, self._born_ns)
        if asked_ns >= sent_ns + self.session.settle_ns or self._executions.has_shape(order, order.replace, state):
            return False
        self._ask(order, now_ns)
        return True

    def _may_still_come(self, order_id: str, asked_ns: int, now_ns: int) -> bool:
        """Whether an order that the venue does not know may still reach it; it is asked about again then."""
        order = self._pipeline.ledger.orders.get(order_id)
        if order is None or order.venue_order_id or not order.is_working:
            return False
        sent_ns = order.received_ns + self._queue.wait_ns
        sent_ns = sent_ns if order.received_ns <= now_ns else self._born_ns  # the clock was set back before this start
        if asked_ns >= sent_ns + self.session.settle_ns:
            return False
        self._ask(order, now_ns)
        return True

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
                self.session.query_order(order_id, self.symbols.venue(order.instrument.symbol), now_ns)
            except LocalProtocolError:
                return


def _words(event: Event) -> str:
    if isinstance(event, MarginCallReported):
        return f"margin call: {', '.join(event.symbols[:10])}"
    assert isinstance(event, NoticeReported)
    return f"notice {event.code} {event.message}"


SessionLink.place, SessionLink.receive = link_steps(  # type: ignore[method-assign]
    SessionLink, VENUE_TIMES_IN_FORCE, HEARS
)
