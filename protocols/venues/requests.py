"""Requests to a venue, over a lane or REST: each draws on its budgets, and waits where they have no room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final

from protocols.venues.jsonrpc import Request, RequestTable
from protocols.venues.rate_limit import Budgets, Costs, RateLimitError

# The longest legitimate queue: terms, margins, trades and a book of each of a few thousand instruments.
MAX_QUEUED: Final = 16_384
HTTP: Final = "http"

# Appends the frame or the HTTP request: (request_id, now_ns). It signs then, since a signature bears the time.
Send = Callable[[int, int], None]


class Kind(IntEnum):
    """What a request was for, and so how its reply is read."""

    PLACE = 1
    REPLACE = 2
    CANCEL = 3
    CANCEL_ALL = 4
    QUERY_ORDER = 5
    ORDER_TRADES = 6
    LOGIN = 7
    SUBSCRIBE = 8
    UNSUBSCRIBE = 9
    PING = 10
    TIME = 11
    SETTINGS = 12
    SESSION_KEY = 13
    RENEW_KEY = 14
    DEAD_MAN = 15
    INSTRUMENTS = 16
    TIERS = 17
    SNAPSHOT = 18
    OPEN_ORDERS = 19
    POSITIONS = 20
    BALANCES = 21
    TRADES = 22
    ORDER_LABEL = 23


ORDER_KINDS: Final = frozenset({Kind.PLACE, Kind.REPLACE, Kind.CANCEL})
# These may use what others must leave, and overtake them: they end risk, or keep the session alive.
URGENT_KINDS: Final = frozenset({Kind.CANCEL, Kind.CANCEL_ALL, Kind.LOGIN, Kind.PING, Kind.RENEW_KEY, Kind.DEAD_MAN})


class RefusedError(Exception):
    """The venue's answer to a request is an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class RequestDesk:
    """A queue in front of the request table, with the venue's budgets between them.

    What one budget holds up does not hold up what draws on others; what draws on the same goes in order.
    """

    def __init__(self, table: RequestTable, budgets: Budgets, costs: dict[Kind, Costs], timeout_ns: int) -> None:
        self._table = table
        self._budgets = budgets
        self._costs = costs
        self._timeout_ns = timeout_ns
        self._urgent: deque[tuple[Request, Send]] = deque()
        self._queue: deque[tuple[Request, Send]] = deque()

    def __repr__(self) -> str:
        return f"RequestDesk({len(self)} queued)"

    def __len__(self) -> int:
        return len(self._urgent) + len(self._queue)

    def costs(self, kind: int) -> Costs:
        return self._costs.get(Kind(kind), ())

    def has_room(self, kind: Kind, now_ns: int, lane: str, symbol: str) -> bool:
        """Whether a request of this kind could leave now."""
        return not self._table.is_full and self._budgets.has(self.costs(kind), now_ns, lane, symbol)

    def enter(self, request: Request, now_ns: int) -> int:
        """Take a request that leaves now or not at all; return its id. Raises RateLimitError."""
        if self._table.is_full:
            raise RateLimitError("too many requests in flight")
        if not self._take(request, now_ns):
            raise RateLimitError("the venue's rate limit leaves no room")
        return self._add(request, now_ns)

    def ask(self, request: Request, send: Send, now_ns: int) -> bool:
        """Send a request, or queue it; return False when the queue is full."""
        queue = self._urgent if request.kind in URGENT_KINDS else self._queue
        if len(queue) >= MAX_QUEUED:
            return False
        queue.append((request, send))
        self.flush(now_ns)
        return True

    def flush(self, now_ns: int) -> None:
        """Send what there is room for."""
        for queue in (self._urgent, self._queue):
            if queue:
                self._flush(queue, now_ns)

    def _flush(self, queue: deque[tuple[Request, Send]], now_ns: int) -> None:
        kept: deque[tuple[Request, Send]] = deque()
        held: set[tuple[str, str, str]] = set()  # what an earlier one waits for
        while queue and not self._table.is_full:
            request, send = queue.popleft()
            draws = set(self._draws(request))
            if held.isdisjoint(draws) and self._take(request, now_ns):
                send(self._add(request, now_ns), now_ns)
            else:
                held |= draws
                kept.append((request, send))
        queue.extendleft(reversed(kept))

    def wake_at_ns(self, now_ns: int) -> int | None:
        """Return when something in the queue can go."""
        if self._table.is_full:
            return None
        times = []
        seen: set[tuple[str, str, str]] = set()
        for request, _ in self._waiting():
            draws = set(self._draws(request))
            if draws <= seen:
                continue
            seen |= draws
            is_urgent = request.kind in URGENT_KINDS
            costs = self.costs(request.kind)
            times.append(self._budgets.available_at_ns(costs, now_ns, request.lane, _bucket(request), is_urgent))
        return min(times, default=None)

    def clear(self, lane: str | None = None) -> list[Request]:
        """Empty the queue, or take one lane's requests out of it; return what was in it."""
        dropped = [request for request, _ in self._waiting() if lane is None or request.lane == lane]
        for queue in (self._urgent, self._queue):
            kept = [entry for entry in queue if lane is not None and entry[0].lane != lane]
            queue.clear()
            queue.extend(kept)
        return dropped

    def block(self, request: Request, until_ns: int) -> None:
        """Hold all of this kind until then: the venue has said that its limit is reached."""
        self._budgets.block(self.costs(request.kind), until_ns, request.lane, _bucket(request))

    def _waiting(self) -> Iterator[tuple[Request, Send]]:
        yield from self._urgent
        yield from self._queue

    def _draws(self, request: Request) -> list[tuple[str, str, str]]:
        return [(name, request.lane, _bucket(request)) for name, _ in self.costs(request.kind)]

    def _take(self, request: Request, now_ns: int) -> bool:
        is_urgent = request.kind in URGENT_KINDS
        return self._budgets.take(self.costs(request.kind), now_ns, request.lane, _bucket(request), is_urgent)

    def _add(self, request: Request, now_ns: int) -> int:
        request.sent_ns = now_ns
        request.deadline_ns = now_ns + self._timeout_ns
        return self._table.add(request)


def _bucket(request: Request) -> str:
    return request.bucket or request.symbol
