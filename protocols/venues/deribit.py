"""A session with Deribit: JSON-RPC 2.0 over one WebSocket, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from protocols.errors import LocalProtocolError
from protocols.venues.codec import MAIN, SingleLane
from protocols.venues.deribit_accounts import Accounts
from protocols.venues.deribit_auth import NS_PER_S, Identity
from protocols.venues.deribit_calls import Calls
from protocols.venues.deribit_channels import Channels
from protocols.venues.deribit_decode import DECODE_ERRORS, ENVELOPE, ID_ONLY, ErrorBody, FieldError, Params, error_text
from protocols.venues.deribit_log import TransactionLog
from protocols.venues.deribit_market import MarketData
from protocols.venues.deribit_orders import OrderFlow
from protocols.venues.deribit_requests import PacedRequests
from protocols.venues.deribit_short import ShortWay
from protocols.venues.deribit_steps import RECONCILE, SETUP, Questions, Run, Step
from protocols.venues.deribit_tables import (
    AUTHENTICATED_STATES,
    CHANGES_CHANNEL,
    ORDER_KINDS,
    TOO_MANY_REQUESTS,
    TRANSITIONS,
    Input,
    Kind,
    RateLimits,
    State,
    verdict,
)
from protocols.venues.events import (
    Event,
    ReconcileFailed,
    ReconcileFinished,
    VenueErrorReported,
    VenueStateChanged,
)
from protocols.venues.jsonrpc import Request, RequestTable
from protocols.venues.orderbook import OrderBook
from protocols.venues.short_way import receive as receive_short
from protocols.venues.short_way import session_steps

MIN_HEARTBEAT_S: Final = 10  # the venue's own minimum
REQUEST_TIMEOUT_NS: Final = 5 * NS_PER_S
# A socket that is open but silent: the venue sends something at least once in a heartbeat.
SILENT_HEARTBEATS: Final = 2.5
MAX_IN_FLIGHT: Final = 8_192
# Clocks may differ by this; a mark that claims to be later is not used.
MAX_AHEAD_NS: Final = 5 * NS_PER_S


class Deribit(Calls, SingleLane):
    """Sans-I/O session with Deribit.

    After any call send `frames_to_send()`, then handle `events()`; call `tick` no later than `deadline_ns`. In
    state "halted" close the transport, call `disconnected`, and connect again after a pause.

    Parameters
    ----------
    client_id, client_secret : the API key; the secret never appears in a repr, an event or an error
    currencies : what to list instruments, positions and trades of ("BTC", "ETH", "USDC", ...)
    symbols : tells which instruments to list and subscribe
    entropy : returns unpredictable bytes; needed for `is_signed`
    is_signed : authenticate by HMAC (client_signature) instead of sending the secret
    heartbeat_s : interval of the venue's heartbeats, at least 10
    limits : the venue's rate limits for this account
    request_timeout_ns : after it an order's outcome is unknown
    cancel_on_disconnect : have the venue cancel this connection's orders when it is lost
    book_interval : "raw", "100ms", "agg2", or None for no books; ticker_interval likewise
    books_on_demand : follow the books that `feeds.want` names, instead of all
    trades_since_ns : ask for own trades, and a day earlier for bookings, from this time at the first connection;
        None: earlier ones are not asked for
    bookings_known_ns : by currency, until when the transaction log was told to an earlier session
    max_ahead_ns : how far a timestamp of the venue may be ahead of our clock
    """

    # What the compiled twins at the end of this module read; all else is in its dictionary.
    __slots__ = ("_events", "_now_ns", "_orders", "_received_ns", "_short_way", "_state", "is_live")

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        currencies: tuple[str, ...],
        symbols: Callable[[str], bool],
        entropy: Callable[[int], bytes] | None = None,
        is_signed: bool = False,
        heartbeat_s: int = MIN_HEARTBEAT_S,
        request_timeout_ns: int = REQUEST_TIMEOUT_NS,
        limits: RateLimits | None = None,
        cancel_on_disconnect: bool = True,
        book_interval: str | None = "raw",
        books_on_demand: bool = False,
        ticker_interval: str | None = "100ms",
        trades_since_ns: int | None = None,
        bookings_known_ns: Mapping[str, int] | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_ahead_ns: int = MAX_AHEAD_NS,
    ) -> None:
        if heartbeat_s < MIN_HEARTBEAT_S:
            raise ValueError(f"heartbeat_s is {heartbeat_s}, the venue takes no less than {MIN_HEARTBEAT_S}")
        limits = limits or RateLimits()
        self._identity = Identity(client_id, client_secret, is_signed, entropy)
        self._silence_ns = int(heartbeat_s * SILENT_HEARTBEATS) * NS_PER_S
        self._state = State.CONNECTING
        self.is_live = False
        self._now_ns = 0
        self._received_ns = 0
        self._run: Run[Step] = Run()
        self._must_reconcile = False
        self._events: list[Event] = []
        self._frames: list[bytes] = []
        self._requests = RequestTable(max_in_flight)
        self._paced = PacedRequests(self._requests, self._frames, limits, request_timeout_ns)
        self._market = MarketData(self._events, self._report, is_wanted=symbols, max_ahead_ns=max_ahead_ns)
        self._orders = OrderFlow(
            self._requests, self._frames, self._events, limits, request_timeout_ns, self._identity.redact
        )
        self._accounts = Accounts(self._events, self._orders, self._market, self._ask, self._report, trades_since_ns)
        self._log = TransactionLog(
            self._events, self._market, self._ask, self._report, currencies, trades_since_ns, bookings_known_ns or {}
        )
        intervals = {"book_interval": book_interval, "ticker_interval": ticker_interval}
        self.feeds = self._channels = Channels(
            self._market, self._accounts, self._ask, **intervals, books_on_demand=books_on_demand
        )
        self._routes = self._channels.routes
        self._short_way = ShortWay(
            self._requests, self._orders, self._accounts, self._on_unreadable, self._on_unreadable_reply
        )
        self._questions = Questions(
            self._ask,
            self._channels,
            self._market,
            self._accounts,
            self._log,
            currencies=currencies,
            heartbeat_s=heartbeat_s,
            cancel_on_disconnect=cancel_on_disconnect,
        )
        self.malformed_frames = 0
        self.unmatched_replies = 0
        self.errors_reported = 0

    def __repr__(self) -> str:
        return f"Deribit({self._state.value}, {len(self._requests)} in flight, {len(self._paced)} queued)"

    # -- what the glue sees

    @property
    def state(self) -> State:
        return self._state

    def events(self) -> list[Event]:
        events = self._events[:]
        self._events.clear()
        return events

    def frames_to_send(self, lane: str = MAIN) -> list[bytes]:
        frames = self._frames[:]
        self._frames.clear()
        return frames

    def book(self, symbol: str) -> OrderBook:
        return self._market.book(symbol)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do next; None: nothing but a call or a frame will change that."""
        if self._state is State.CONNECTING:
            return None
        times = [self._requests.deadline_ns, self._paced.wake_at_ns(self._now_ns)]
        if self._state in AUTHENTICATED_STATES:
            times += (
                self._silent_at_ns,
                self._identity.refresh_at_ns,
                self._orders.deadline_ns(self._now_ns),
                self._market.deadline_ns,
                self._log.due_ns,
            )
        return min([time for time in times if time is not None], default=None)

    @property
    def _silent_at_ns(self) -> int:
        return self._received_ns + self._silence_ns

    # -- connection

    def connected(self, now_ns: int, lane: str = MAIN) -> None:
        """The transport is up: authenticate. No private frame leaves before that has succeeded."""
        self._transition(Input.CONNECTED)
        self._now_ns = self._received_ns = now_ns
        self._accounts.on_connected(now_ns)
        self._log.on_connected(now_ns)
        self._ask(Request(Kind.AUTHENTICATE), "public/auth", self._identity.credentials(now_ns), now_ns)

    def disconnected(self, now_ns: int, lane: str = MAIN) -> None:
        """The transport is gone: whatever was in flight has an unknown outcome."""
        self._now_ns = now_ns
        self._accounts.on_disconnected(self.is_live, now_ns)
        self._transition(Input.DISCONNECTED, "connection lost")
        self._run.end()
        self._must_reconcile = False
        for request in self._requests.clear() + self._paced.clear():
            self._on_lost(request, "connection lost")
        self._orders.on_disconnected()
        self._log.on_disconnected()
        self._channels.on_disconnected()
        self._market.on_disconnected()
        self._identity.forget_tokens()
        self._frames.clear()

    def tick(self, now_ns: int) -> None:
        """Do what is due: timeouts, silence, token refresh, and whatever waited for the rate limit."""
        self._now_ns = now_ns
        for request in self._requests.expire(now_ns):
            self._on_lost(request, "no answer in time")
        if self._state in AUTHENTICATED_STATES:
            if now_ns >= self._silent_at_ns:
                self._halt(f"silent for {(now_ns - self._received_ns) // NS_PER_S} s")
                return
            refresh_at_ns = self._identity.refresh_at_ns
            if refresh_at_ns is not None and now_ns >= refresh_at_ns:
                self._ask(Request(Kind.REFRESH), "public/auth", self._identity.refresh(), now_ns)
            self._orders.send_waiting(now_ns)
            for order_id in self._orders.due_shortfalls(now_ns):
                self._accounts.ask_order_trades("", order_id, now_ns)
            self._channels.resubscribe_books(now_ns)
            self._log.ask_what_is_due(now_ns)
        self._paced.flush(now_ns)

    # -- receiving

    def receive(self, frame: bytes, now_ns: int, lane: str = MAIN) -> None:
        """Take one message. Whatever it holds, nothing is raised: what can not be read is reported."""
        if self._state is State.CONNECTING:
            self.malformed_frames += 1
            return
        self._now_ns = self._received_ns = now_ns
        if receive_short(self._short_way, frame, now_ns):
            return
        try:
            envelope = ENVELOPE.decode(frame)
        except DECODE_ERRORS as error:
            self._on_malformed(frame, str(error), now_ns)
            return
        if envelope.id is not None:
            self._on_reply(envelope.id, envelope.result, envelope.error, now_ns)
        elif envelope.params is not None and envelope.method == "subscription":
            self._on_notification(envelope.params, now_ns)
        elif envelope.params is not None and envelope.method == "heartbeat":
            if envelope.params.type == "test_request":
                self._ask(Request(Kind.TEST), "public/test", {}, now_ns)
        else:
            self.malformed_frames += 1
            detail = f"code {envelope.error.code} without id" if envelope.error else "neither reply nor notice"
            self._report(f"{detail}, method {envelope.method[:40]!r}", "frame")

    def _on_notification(self, params: Params, now_ns: int) -> None:
        route = self._routes.get(params.channel)
        if route is None:
            self.malformed_frames += 1
            self._report("channel: not subscribed", params.channel)
            return
        try:
            route[0](params.data, route[1], now_ns)
        except DECODE_ERRORS as error:
            self._on_unreadable(params.channel, error, now_ns)
        if self._market.resync_due_ns and self._state in AUTHENTICATED_STATES:
            self._channels.resubscribe_books(now_ns)

    def _on_unreadable(self, channel: str, error: Exception, now_ns: int) -> None:
        self.malformed_frames += 1
        self._report(str(error), channel)
        if channel == CHANGES_CHANNEL:
            # What it said of orders and fills is lost: ask.
            self._must_reconcile = True
            self._advance(now_ns)

    def _on_malformed(self, frame: bytes, message: str, now_ns: int) -> None:
        self.malformed_frames += 1
        self._report(message, "frame")
        try:
            request = self._requests.settle(ID_ONLY.decode(frame).id)
        except DECODE_ERRORS:
            request = None
        if request is not None:
            self._on_lost(request, "the reply could not be read")
        elif CHANGES_CHANNEL.encode() in frame:
            self._must_reconcile = True
            self._advance(now_ns)

    def _on_reply(self, request_id: int, result: msgspec.Raw, error: ErrorBody | None, now_ns: int) -> None:
        request = self._requests.settle(request_id)
        if request is None:
            self.unmatched_replies += 1
            self._report("id: no request waits for this reply", str(request_id))
            return
        try:
            if error is not None:
                self._on_error(request, error)
            elif not result:
                raise FieldError("result: missing")
            elif request.kind in ORDER_KINDS:
                self._orders.on_reply(request, result, now_ns)
            else:
                self._on_result(request, result, now_ns)
        except DECODE_ERRORS as problem:
            self._on_unreadable_reply(request, problem)
            return
        if self._run.settle(request):
            self._advance(now_ns)

    def _on_unreadable_reply(self, request: Request, problem: Exception) -> None:
        self.malformed_frames += 1
        self._report(str(problem), f"reply to {Kind(request.kind).name.lower()}")
        self._on_lost(request, "the reply could not be read")

    def _on_result(self, request: Request, result: msgspec.Raw, now_ns: int) -> None:
        kind = request.kind
        if kind == Kind.AUTHENTICATE or kind == Kind.REFRESH:
            self._identity.accept(result, now_ns)
            # An answer after its timeout finds the session halted.
            if kind == Kind.AUTHENTICATE and self._state is State.AUTHENTICATING:
                self._transition(Input.AUTHENTICATED)
                self._run.begin(SETUP)
                self._advance(now_ns)
        elif kind == Kind.INSTRUMENTS:
            fresh = self._market.on_instruments(request.currency, result)
            self._orders.symbols.update(fresh)
            if not request.step:
                self._channels.subscribe_public(fresh, 0, now_ns)
        elif kind in (Kind.SUBSCRIBE_PRIVATE, Kind.SUBSCRIBE_PUBLIC, Kind.SUBSCRIBE_BOOK):
            missing = self._channels.missing(request, result)
            if missing:
                self._report(f"{len(missing)} channels not subscribed: {', '.join(missing[:5])}", "subscribe")
            if missing and kind != Kind.SUBSCRIBE_PUBLIC:
                request.channels = tuple(missing)
                self._on_lost(request, "not subscribed")
        elif kind == Kind.TRANSACTION_LOG:
            self._log.on_page(request, result, now_ns)
        else:
            self._accounts.on_result(request, result, now_ns)

    def _on_error(self, request: Request, error: ErrorBody) -> None:
        """A request was refused."""
        message = self._identity.redact(error_text(error))
        if request.kind in ORDER_KINDS:
            self._orders.on_error(request, error.code, message)
        else:
            self._report(message, Kind(request.kind).name.lower(), error.code)
            self._on_lost(request, f"refused with {error.code} {verdict(error.code).name}")
        if error.code == TOO_MANY_REQUESTS:
            self._halt("the venue ends sessions that exceed its rate limit")

    def _on_lost(self, request: Request, reason: str) -> None:
        """A request has no usable answer."""
        kind = request.kind
        if kind in ORDER_KINDS:
            self._orders.on_lost(request, reason)
        elif kind == Kind.AUTHENTICATE:
            self._halt(f"authentication: {reason}")
        elif kind == Kind.REFRESH:
            # Once more with the key itself before giving up.
            if request.count or self._state not in AUTHENTICATED_STATES:
                self._halt(f"token refresh: {reason}")
            else:
                params = self._identity.credentials(self._now_ns)
                self._ask(Request(Kind.REFRESH, count=1), "public/auth", params, self._now_ns)
        elif kind == Kind.SUBSCRIBE_BOOK:
            self._channels.on_refused(request.channels, reason, self._now_ns)
        elif kind == Kind.CANCEL_ALL:
            self._report(f"outcome unknown: {reason}", "cancel_all")
        elif kind == Kind.TRANSACTION_LOG:
            self._log.on_lost(request, reason, self._now_ns)
        else:
            self._accounts.on_lost(request, reason)
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
            self._events.append(VenueStateChanged(state.value, self._identity.redact(reason)))

    def _halt(self, reason: str) -> None:
        """Send nothing more; what is in flight may still be answered."""
        if (self._state, Input.REFUSED) not in TRANSITIONS:
            return
        self._transition(Input.REFUSED, reason)
        self._run.end()
        for request in self._paced.clear():
            self._on_lost(request, "not sent")

    # -- questions

    def _advance(self, now_ns: int) -> None:
        """Begin the next step when the one before was answered; the last one ends in ReconcileFinished."""
        run = self._run
        while self._state in AUTHENTICATED_STATES:
            step = run.next_step()
            if step is not None:
                step(self._questions, run.number, now_ns)
            elif run.is_complete:
                run.end()
                self._events.append(ReconcileFinished())
                if self._state is State.RECONCILING:
                    self._transition(Input.RECONCILED)
            elif self._must_reconcile and not run.is_active:
                self._must_reconcile = False
                run.begin(RECONCILE)
            else:
                return

    def _ask(self, request: Request, method: str, params: dict[str, Any], now_ns: int) -> None:
        """Send or queue a request, but before authentication none except those that it takes."""
        self._run.wait_for(request)
        if self._state not in AUTHENTICATED_STATES and (
            self._state is not State.AUTHENTICATING or request.kind not in (Kind.AUTHENTICATE, Kind.TEST)
        ):
            self._on_lost(request, f"not sent when {self._state.value}")
        elif not self._paced.ask(request, method, params, now_ns):
            self._report("the request queue is full", method)
            self._on_lost(request, "the request queue is full")

    # -- errors

    def _report(self, message: str, context: str, code: int = 0) -> None:
        self.errors_reported += 1
        redact = self._identity.redact
        self._events.append(VenueErrorReported(code, redact(message), redact(context)))


Deribit.receive, Deribit.place, Deribit.events = session_steps(  # type: ignore[method-assign]
    Deribit, State.CONNECTING
)
