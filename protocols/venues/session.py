"""A session with a venue of several lanes and REST, without I/O: what Binance, OKX and Bybit have in common.

A venue is a subclass that decodes frames and writes requests, and a VenueTables that says the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from protocols.errors import LocalProtocolError
from protocols.venues.books import BookRule
from protocols.venues.clock_offset import ClockOffset
from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.events import Event, ReconcileFailed, ReconcileFinished, VenueErrorReported, VenueStateChanged
from protocols.venues.fields import DECODE_ERRORS, NS_PER_MS, NS_PER_S
from protocols.venues.jsonrpc import Request, RequestTable
from protocols.venues.lanes import DRAIN_NS, MAX_WANTED, Lane, LaneState
from protocols.venues.market_data import MarketData
from protocols.venues.order_tracker import OrderTracker
from protocols.venues.orderbook import OrderBook
from protocols.venues.rate_limit import Budgets
from protocols.venues.requests import HTTP, ORDER_KINDS, Kind, RefusedError, RequestDesk, Send
from protocols.venues.settings import Settings
from protocols.venues.states import AUTHENTICATED_STATES, TRANSITIONS, Input, State
from protocols.venues.steps import Run
from protocols.venues.tables import VenueTables

CLOCK_INTERVAL_NS: Final = 600 * NS_PER_S
STAGGER_NS: Final = 120 * NS_PER_S

# A step begins when all of the one before was answered: (run, now_ns).
Step = Callable[[int, int], None]


class VenueSession:
    """States, lanes, requests and timers; see VenueCodec for how it is driven."""

    def __init__(self, tables: VenueTables, settings: Settings) -> None:
        shortest_s, longest_s = tables.dead_man_s
        if settings.dead_man_s and not shortest_s <= settings.dead_man_s <= longest_s:
            raise ValueError(f"dead_man_s is {settings.dead_man_s}, {tables.name} takes {shortest_s} to {longest_s}")
        if settings.self_trade not in tables.self_trade_modes:
            raise ValueError(f"self_trade is {settings.self_trade!r}, {tables.name} takes {tables.self_trade_modes}")
        self.tables = tables
        self._settings = settings
        self._keyring = settings.keyring
        self._state = State.CONNECTING
        self.is_live = False
        self._now_ns = 0
        self._born_ns: int | None = None
        self._events: list[Event] = []
        self._http: list[HttpRequest] = []
        self._lanes = {spec.name: Lane(spec, index * STAGGER_NS) for index, spec in enumerate(tables.lanes)}
        self._vital = [lane for lane in self._lanes.values() if lane.spec.is_vital]
        self._requests = RequestTable(settings.max_in_flight)
        self._budgets = Budgets(tables.budgets if settings.budgets is None else settings.budgets)
        self._desk = RequestDesk(self._requests, self._budgets, tables.costs, settings.request_timeout_ns)
        self._clock = ClockOffset()
        self._market = MarketData(
            self._events,
            self._report,
            is_wanted=settings.symbols,
            max_ahead_ns=settings.max_ahead_ns,
            rule_of=self._book_rule_of,
        )
        self._orders = OrderTracker(self._events)
        self._run: Run[Step] = Run()
        self._must_reconcile = False
        self._timers: dict[str, int] = {}
        self.malformed_frames = 0
        self.unmatched_replies = 0
        self.errors_reported = 0

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({self._state.value}, {len(self._requests)} in flight, {len(self._desk)} queued)"

    # -- what a venue defines

    def _setup_steps(self) -> tuple[Step, ...]:
        """Return what is asked on (re)connection, after the clock."""
        raise NotImplementedError

    def _reconcile_steps(self) -> tuple[Step, ...]:
        raise NotImplementedError

    def _login(self, lane: Lane, now_ns: int) -> None:
        """Ask the venue to know this lane; `_lane_ready` is called when it does."""
        raise NotImplementedError

    def _ping(self, lane: Lane, now_ns: int) -> None:
        lane.frames.append(lane.spec.ping.encode())

    def _on_frame(self, lane: Lane, frame: bytes, now_ns: int) -> None:
        raise NotImplementedError

    def _request_id_in(self, frame: bytes) -> int | None:
        """Return the id in a frame that could not be read otherwise."""
        raise NotImplementedError

    def _on_result(self, request: Request, body: bytes | msgspec.Raw, now_ns: int) -> None:
        """Read the answer to a request; raises RefusedError where it is one, ValueError where it can not be read."""
        raise NotImplementedError

    def _refusal_of(self, response: HttpResponse) -> RefusedError:
        """Read an answer of REST that is not a success."""
        raise NotImplementedError

    def _observe(self, request: Request, response: HttpResponse, now_ns: int) -> None:
        """Take over the venue's own counts of its limits from the headers of an answer."""

    def _channel_frame(self, request_id: int, lane: Lane, channels: tuple[str, ...], is_joining: bool) -> bytes:
        raise NotImplementedError

    def _book_rule_of(self, symbol: str) -> BookRule:
        raise NotImplementedError

    def _ask_snapshot(self, symbol: str, now_ns: int) -> None:
        """Have a broken book begin again."""
        raise NotImplementedError

    def _ask_clock(self, run: int, now_ns: int) -> None:
        raise NotImplementedError

    def _on_timer(self, name: str, now_ns: int) -> None:
        """A timer of the venue's own is due."""

    def _on_lane_lost(self, lane: Lane) -> None:
        """A connection is gone: what it carried is not known any more."""

    def _on_tick(self, now_ns: int) -> None:
        """Time has passed."""

    def _on_lost_query(self, request: Request, reason: str) -> None:
        """A question about an order has no usable answer."""

    def _on_interrupted(self, was_live: bool, now_ns: int) -> None:
        """A connection that is vital is gone."""

    # -- what the glue sees

    @property
    def state(self) -> State:
        return self._state

    @property
    def lanes(self) -> tuple[str, ...]:
        return tuple(self._lanes)

    @property
    def vital_lanes(self) -> tuple[str, ...]:
        return tuple([lane.spec.name for lane in self._vital])

    def url(self, lane: str) -> str:
        return self._lanes[lane].spec.path

    def lanes_to_close(self) -> list[tuple[str, str]]:
        return [(name, lane.close_reason) for name, lane in self._lanes.items() if lane.close_reason]

    def events(self) -> list[Event]:
        events = self._events[:]
        self._events.clear()
        return events

    def frames_to_send(self, lane: str = "") -> list[bytes]:
        frames = self._lanes[lane].frames
        taken = frames[:]
        frames.clear()
        return taken

    def http_requests(self) -> list[HttpRequest]:
        requests = self._http[:]
        self._http.clear()
        return requests

    def book(self, symbol: str) -> OrderBook:
        return self._market.books.book(symbol)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do next; None: nothing but a call or a frame will change that."""
        times = [lane.deadline_ns for lane in self._lanes.values()]
        times += (self._requests.deadline_ns, self._desk.wake_at_ns(self._now_ns))
        if self._state in AUTHENTICATED_STATES:
            times += (*self._timers.values(), self._orders.deadline_ns)
        times.append(self._market.books.deadline_ns)
        return min([time for time in times if time is not None], default=None)

    # -- connection

    def connected(self, now_ns: int, lane: str = "") -> None:
        """A lane's transport is up. Nothing private leaves on it before the venue knows us there."""
        line = self._lanes[lane]
        if line.state is not LaneState.DOWN:
            raise LocalProtocolError(f"{lane} is connected already")
        self._now_ns = now_ns
        if self._born_ns is None:
            self._born_ns = now_ns
        line.connect(now_ns)
        self._budgets.forget_lane(lane)
        if line.spec.is_vital and self._state is State.CONNECTING:
            self._transition(Input.CONNECTED)
        if line.spec.is_private:
            self._login(line, now_ns)
        else:
            self._lane_ready(line, now_ns)

    def disconnected(self, now_ns: int, lane: str = "") -> None:
        """A lane's transport is gone: whatever was in flight on it has an unknown outcome."""
        line = self._lanes[lane]
        self._now_ns = now_ns
        line.disconnect()
        if line.spec.is_vital:
            self._on_interrupted(self.is_live, now_ns)
            self._transition(Input.DISCONNECTED, f"{lane}: connection lost")
            self._run.end()
            self._must_reconcile = False
        for request in self._requests.clear_lane(lane) + self._desk.clear(lane):
            self._on_lost(request, "connection lost")
        if line.spec.is_vital:
            self._orders.on_disconnected()
        self._on_lane_lost(line)

    def _lane_ready(self, lane: Lane, now_ns: int) -> None:
        lane.state = LaneState.READY
        self._join_channels(lane, tuple(lane.wanted), 0, now_ns)
        if self._state is State.AUTHENTICATING and all(line.is_ready for line in self._vital):
            self._transition(Input.AUTHENTICATED)
            self._run.begin((self._ask_clock, *self._setup_steps()))
            self._advance(now_ns)

    # -- time

    def tick(self, now_ns: int) -> None:
        """Do what is due: timeouts, silence, pings, renewals, and whatever waited for the rate limit."""
        self._now_ns = now_ns
        for request in self._requests.expire(now_ns):
            self._on_lost(request, "no answer in time")
        for lane in self._lanes.values():
            if lane.state is not LaneState.DOWN and not lane.close_reason:
                self._tend(lane, now_ns)
        if self._state in AUTHENTICATED_STATES:
            for name, due_ns in list(self._timers.items()):
                if due_ns <= now_ns:
                    del self._timers[name]
                    self._on_timer(name, now_ns)
            self._orders.expire(now_ns)
            self._on_tick(now_ns)
        self._resync(now_ns)
        self._desk.flush(now_ns)

    def _tend(self, lane: Lane, now_ns: int) -> None:
        silent_at_ns, ping_at_ns, renew_at_ns = lane.silent_at_ns, lane.ping_at_ns, lane.renew_at_ns
        if silent_at_ns is not None and now_ns >= silent_at_ns:
            self._close_lane(lane, f"{lane.spec.name}: silent for {(now_ns - lane.received_ns) // NS_PER_S} s")
        elif renew_at_ns is not None and now_ns >= renew_at_ns:
            if lane.renewal_delay_ns < DRAIN_NS and self._requests.has_lane(lane.spec.name):
                lane.renewal_delay_ns += DRAIN_NS // 100  # a little later, when its answers have come
            else:
                lane.close_reason = "renewed before the venue cuts it"
        elif ping_at_ns is not None and now_ns >= ping_at_ns:
            lane.pinged_ns = now_ns
            self._ping(lane, now_ns)

    def _close_lane(self, lane: Lane, reason: str) -> None:
        """A lane can not be used: have it closed, and take no orders if it is one that they need."""
        if lane.state is LaneState.DOWN:
            return
        lane.close_reason = self._keyring.redact(reason)
        if lane.spec.is_vital:
            self._halt(reason, (lane,))
        else:
            self._report(reason, lane.spec.name)

    def _set_timer(self, name: str, due_ns: int) -> None:
        self._timers[name] = due_ns

    def _on_clock(self, request: Request, venue_ns: int, now_ns: int) -> None:
        """Take the venue's answer to what its time is; one that came too slowly is asked for again soon."""
        trouble = self._clock.measure(request.sent_ns, now_ns, venue_ns)
        if trouble:
            self._report(f"time: {trouble}", "clock")
        self._market.venue_offset_ns = self._clock.offset_ns
        self._set_timer("clock", now_ns + (CLOCK_INTERVAL_NS // 60 if trouble else CLOCK_INTERVAL_NS))

    # -- receiving

    def receive(self, frame: bytes, now_ns: int, lane: str = "") -> None:
        """Take one message. Whatever it holds, nothing is raised: what can not be read is reported."""
        line = self._lanes[lane]
        if line.state is LaneState.DOWN:
            self.malformed_frames += 1
            return
        line.received_ns = self._now_ns = now_ns
        try:
            self._on_frame(line, frame, now_ns)
        except DECODE_ERRORS as error:
            self._on_malformed(line, frame, str(error), now_ns)
        due_ns = self._market.books.deadline_ns
        if due_ns is not None and due_ns <= now_ns:
            self._resync(now_ns)

    def _on_malformed(self, lane: Lane, frame: bytes, message: str, now_ns: int) -> None:
        self.malformed_frames += 1
        self._report(message, lane.spec.name)
        request_id = self._request_id_in(frame)
        request = None if request_id is None else self._requests.settle(request_id)
        if request is not None:
            self._on_lost(request, "the reply could not be read")
        elif lane.spec.is_vital:
            self._ask_again(now_ns)

    def _ask_again(self, now_ns: int) -> None:
        """What was said of orders, fills or positions is lost: ask."""
        self._must_reconcile = True
        self._advance(now_ns)

    def http_answered(self, request_id: int, response: HttpResponse, now_ns: int) -> None:
        """Take the answer to one of `http_requests`."""
        self._now_ns = now_ns
        request = self._requests.settle(request_id)
        if request is None:
            self.unmatched_replies += 1
            self._report("id: no request waits for this reply", str(request_id))
            return
        self._observe(request, response, now_ns)
        if response.is_success:
            self._settle(request, response.body, None, now_ns)
        else:
            self._settle(request, b"", self._refusal_of(response), now_ns)

    def http_failed(self, request_id: int, reason: str, now_ns: int) -> None:
        """One of `http_requests` has no answer."""
        self._now_ns = now_ns
        request = self._requests.settle(request_id)
        if request is not None:
            self._on_lost(request, self._keyring.redact(reason))

    def _settle_id(self, request_id: int, body: msgspec.Raw, refusal: RefusedError | None, now_ns: int) -> None:
        """Take a reply that came over a lane."""
        request = self._requests.settle(request_id)
        if request is None:
            self.unmatched_replies += 1
            self._report("id: no request waits for this reply", str(request_id))
        else:
            self._settle(request, body, refusal, now_ns)

    def _settle(self, request: Request, body: bytes | msgspec.Raw, refusal: RefusedError | None, now_ns: int) -> None:
        try:
            if refusal is not None:
                raise refusal
            self._on_result(request, body, now_ns)
        except RefusedError as error:
            self._on_refused(request, error, now_ns)
            return
        except DECODE_ERRORS as problem:
            self.malformed_frames += 1
            self._report(str(problem), f"reply to {Kind(request.kind).name.lower()}")
            self._on_lost(request, "the reply could not be read")
            return
        if self._run.settle(request):
            self._advance(now_ns)
        if len(self._desk):
            self._desk.flush(now_ns)  # there is a place in the table again

    # -- refusals and losses

    def _on_refused(self, request: Request, refusal: RefusedError, now_ns: int) -> None:
        code, tables = refusal.code, self.tables
        message = self._keyring.redact(refusal.message)
        if code in tables.rate_codes:
            self._desk.block(request, now_ns + tables.rate_pause_ms * NS_PER_MS)
        if code in tables.clock_codes:
            self._ask_clock(0, now_ns)
        verdict = tables.verdict(code)
        if request.kind in ORDER_KINDS:
            self._orders.refused(request, code, message, verdict.is_definite)
        elif not self._takes_refusal(request, code, now_ns):
            self._report(message, Kind(request.kind).name.lower(), code)
            self._on_lost(request, f"refused with {code} {verdict.name}")
        if code in tables.fatal_codes:
            self._halt(f"{code} {verdict.name}")

    def _takes_refusal(self, request: Request, code: int, now_ns: int) -> bool:
        """Whether this error is an answer as good as any, and was dealt with."""
        return False

    def _on_lost(self, request: Request, reason: str) -> None:
        """A request has no usable answer."""
        kind = request.kind
        if kind in ORDER_KINDS:
            self._orders.lost(request, reason)
        elif kind == Kind.LOGIN:
            self._halt(f"authentication: {reason}")
        elif kind == Kind.SNAPSHOT or (kind == Kind.SUBSCRIBE and request.symbol):
            self._market.books.break_book(request.symbol, reason, self._now_ns)
        elif kind == Kind.CANCEL_ALL:
            self._report(f"outcome unknown: {reason}", "cancel_all")
        else:
            self._on_lost_query(request, reason)
        if self._run.includes(request):
            self._run.end()
            text = f"{Kind(kind).name.lower()}: {reason}"
            self._events.append(ReconcileFailed(text))
            if self._state is State.RECONCILING:
                self._halt(text)

    # -- state

    def _transition(self, happened: Input, reason: str = "") -> None:
        state = TRANSITIONS.get((self._state, happened))
        if state is None:
            raise LocalProtocolError(f"{happened.name} can not happen when {self._state.value}")
        if state is not self._state:
            self._state = state
            self.is_live = state is State.LIVE
            self._events.append(VenueStateChanged(state.value, self._keyring.redact(reason)))

    def _halt(self, reason: str, lanes: tuple[Lane, ...] | None = None) -> None:
        """Send nothing more, and have the lanes closed: those that orders need, where none is named."""
        if (self._state, Input.REFUSED) not in TRANSITIONS:
            return
        self._transition(Input.REFUSED, reason)
        self._run.end()
        for lane in self._vital if lanes is None else lanes:
            if lane.state is not LaneState.DOWN:
                lane.close_reason = lane.close_reason or self._keyring.redact(reason)
        for request in self._desk.clear():
            self._on_lost(request, "not sent")

    # -- questions

    def _advance(self, now_ns: int) -> None:
        """Begin the next step when the one before was answered; the last one ends in ReconcileFinished."""
        run = self._run
        while self._state in AUTHENTICATED_STATES:
            step = run.next_step()
            if step is not None:
                step(run.number, now_ns)
            elif run.is_complete:
                run.end()
                self._events.append(ReconcileFinished())
                if self._state is State.RECONCILING:
                    self._transition(Input.RECONCILED)
            elif self._must_reconcile and not run.is_active:
                self._must_reconcile = False
                run.begin(self._reconcile_steps())
            else:
                return

    def _ask(self, request: Request, send: Send, now_ns: int) -> None:
        """Send or queue a request; over a lane only where the venue knows us, but for the asking that it does."""
        self._run.wait_for(request)
        if request.lane != HTTP:
            lane = self._lanes[request.lane]
            is_open = lane.is_ready or (lane.state is LaneState.UP and request.kind == Kind.LOGIN)
            if not is_open or lane.close_reason:
                self._on_lost(request, f"not sent when {request.lane} is {lane.state.value}")
                return
        if not self._desk.ask(request, send, now_ns):
            self._report("the request queue is full", Kind(request.kind).name.lower())
            self._on_lost(request, "the request queue is full")

    def _join_channels(self, lane: Lane, channels: tuple[str, ...], run: int, now_ns: int) -> None:
        """Subscribe channels on a lane now if it is ready, and whenever it becomes so."""
        for channel in channels:
            if len(lane.wanted) >= MAX_WANTED and channel not in lane.wanted:
                self._report(f"more than {MAX_WANTED} channels: not subscribed", channel)
                continue
            lane.wanted[channel] = None
        if lane.is_ready:
            size = self.tables.channels_a_request
            for first in range(0, len(channels), size):
                self._ask_channels(lane, channels[first : first + size], True, now_ns, run=run)

    def _ask_channels(
        self, lane: Lane, channels: tuple[str, ...], is_joining: bool, now_ns: int, *, run: int = 0, symbol: str = ""
    ) -> None:
        def send(request_id: int, _: int) -> None:
            lane.frames.append(self._channel_frame(request_id, lane, channels, is_joining))

        kind = Kind.SUBSCRIBE if is_joining else Kind.UNSUBSCRIBE
        request = Request(kind, step=run, lane=lane.spec.name, channels=channels, symbol=symbol)
        self._ask(request, send, now_ns)

    def _resync(self, now_ns: int) -> None:
        for symbol in self._market.books.due_resyncs(now_ns):
            self._ask_snapshot(symbol, now_ns)

    # -- errors

    def _report(self, message: str, context: str, code: int = 0) -> None:
        self.errors_reported += 1
        redact = self._keyring.redact
        self._events.append(VenueErrorReported(code, redact(message), redact(context)))
