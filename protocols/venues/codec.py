"""The shape of every venue codec: bytes and time in, frames, requests and events out, and no I/O.

A venue is reached over one or more lanes (WebSocket connections) and, where it has no other way, over REST. A
transport keeps a connection for each lane whose `url` is not empty, executes `http_requests`, and feeds back what
comes. Nothing else is known of the venue outside of its codec.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from protocols.errors import LocalProtocolError
from protocols.venues.events import Event, TradePrinted
from protocols.venues.orderbook import OrderBook
from protocols.venues.states import State
from protocols.venues.trade_tape import TradeTape

MAIN: Final = "main"
# A request may be under way for so long before the venue acts on it, and what it did be found by a question so late.
SETTLE_NS: Final = 3_000_000_000


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """One request to the venue's REST host. `target` is path and query; the body, where there is one, is JSON.

    Execute it within the time to `deadline_ns` and hand the answer to `http_answered`, or say why there is none by
    `http_failed`; an answer that comes later still counts.
    """

    request_id: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    deadline_ns: int = 0

    def __repr__(self) -> str:
        path, _, _ = self.target.partition("?")  # the rest may hold a key and a signature
        return f"HttpRequest({self.request_id}, {self.method} {path})"


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """The answer to an HttpRequest; names of `headers` in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = {}

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class MarketFeeds(Protocol):
    """Books and public trades that somebody reads."""

    def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None: ...

    def book(self, symbol: str) -> OrderBook: ...

    def tape(self, symbol: str) -> TradeTape: ...

    def on_trade(self, trade: TradePrinted) -> None: ...


class VenueCodec(Protocol):
    """A session with one venue.

    After any call, for each lane send `frames_to_send(lane)`, execute `http_requests()`, then handle `events()`,
    and close what `lanes_to_close()` names; call `tick` no later than `deadline_ns`. A lane that was closed is
    dialled again after a pause, as is one that the venue closed.
    """

    is_live: bool
    malformed_frames: int
    unmatched_replies: int
    errors_reported: int

    @property
    def state(self) -> State: ...

    @property
    def lanes(self) -> tuple[str, ...]: ...

    @property
    def vital_lanes(self) -> tuple[str, ...]:
        """Lanes without which no order is taken."""
        ...

    @property
    def order_lane(self) -> str:
        """The lane that carries orders: what is in flight when it is lost has an unknown outcome."""
        ...

    @property
    def clock_offset_ns(self) -> int | None:
        """The venue's clock less ours, None where it was not measured."""
        ...

    @property
    def settle_ns(self) -> int:
        """How long after a request was sent it may still take effect: until then nothing proves that it has not."""
        ...

    @property
    def feeds(self) -> MarketFeeds:
        """Books and public trades that somebody reads."""
        ...

    @property
    def deadline_ns(self) -> int | None: ...

    def url(self, lane: str) -> str:
        """Return the path and query to dial for a lane, empty while it can not be dialled yet."""
        ...

    def lanes_to_close(self) -> list[tuple[str, str]]: ...

    def events(self) -> list[Event]: ...

    def frames_to_send(self, lane: str = MAIN) -> list[bytes]: ...

    def http_requests(self) -> list[HttpRequest]: ...

    def http_answered(self, request_id: int, response: HttpResponse, now_ns: int) -> None: ...

    def http_failed(self, request_id: int, reason: str, now_ns: int) -> None: ...

    def connected(self, now_ns: int, lane: str = MAIN) -> None: ...

    def disconnected(self, now_ns: int, lane: str = MAIN) -> None: ...

    def receive(self, frame: bytes, now_ns: int, lane: str = MAIN) -> None: ...

    def tick(self, now_ns: int) -> None: ...

    def can_send_order(self, now_ns: int, symbol: str = "") -> bool: ...

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
        trigger: tuple[str, str | bytes] | None = None,
    ) -> None: ...

    def replace(
        self,
        label: str,
        venue_order_id: str,
        quantity: str | bytes,
        price: str | bytes,
        now_ns: int,
        post_only: bool = False,
        reduce_only: bool = False,
        trigger_price: str | bytes | None = None,
    ) -> None: ...

    def cancel(self, label: str, venue_order_id: str, now_ns: int) -> None: ...

    def cancel_all(self, now_ns: int) -> bool: ...

    def query_order(self, label: str, symbol: str, now_ns: int) -> None: ...

    def reconcile(self, now_ns: int) -> None: ...

    def list_instruments(self, now_ns: int) -> None: ...

    def book(self, symbol: str) -> OrderBook: ...


class SingleLane:
    """What a codec with one connection and no REST adds to be a VenueCodec."""

    @property
    def state(self) -> State:
        raise NotImplementedError

    @property
    def lanes(self) -> tuple[str, ...]:
        return (MAIN,)

    @property
    def vital_lanes(self) -> tuple[str, ...]:
        return (MAIN,)

    @property
    def order_lane(self) -> str:
        return MAIN

    @property
    def clock_offset_ns(self) -> int | None:
        return None

    @property
    def settle_ns(self) -> int:
        return SETTLE_NS

    def url(self, lane: str) -> str:
        """Return "/": the address that the transport was configured with is the whole of it."""
        return "/"

    def lanes_to_close(self) -> list[tuple[str, str]]:
        return [(MAIN, "halted")] if self.state is State.HALTED else []

    def http_requests(self) -> list[HttpRequest]:
        return []

    def http_answered(self, request_id: int, response: HttpResponse, now_ns: int) -> None:
        raise LocalProtocolError("no request was made over HTTP")

    def http_failed(self, request_id: int, reason: str, now_ns: int) -> None:
        raise LocalProtocolError("no request was made over HTTP")
