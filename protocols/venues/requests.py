"""Requests to a venue, over a lane or REST: each draws on its budgets, and waits where they have no room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from protocols.venues.jsonrpc import Request, RequestTable
from protocols.venues.rate_limit import Budgets, Costs, Rank, RateLimitError

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
    BOOKINGS = 24
    DELIVERY_PRICE = 25


ORDER_KINDS: Final = frozenset({Kind.PLACE, Kind.REPLACE, Kind.CANCEL})
# These may use what others must leave, and overtake them: they keep the session alive, or end risk.
RANKS: Final[dict[int, Rank]] = {
    Kind.LOGIN: Rank.VITAL,
    Kind.PING: Rank.VITAL,
    Kind.RENEW_KEY: Rank.VITAL,
    Kind.DEAD_MAN: Rank.VITAL,
    Kind.CANCEL: Rank.CANCEL,
    Kind.CANCEL_ALL: Rank.CANCEL,
}


class RefusedError(Exception):
    """The venue's answer to a request is an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


# The rank of a request and the windows that it draws on: who shares them goes in order.
_Draws = tuple[Rank, tuple[tuple[str, str], ...]]


class RequestDesk:
    """Queues in front of the request table, with the venue's budgets between them.

    There is a queue for each set of windows that requests draw on, so what one of them holds up does not hold up the
    others, and for each rank, the vital ones first.
    """

    def __init__(self, table: RequestTable, budgets: Budgets, costs: dict[Kind, Costs], timeout_ns: int) -> None:
        self._table = table
        self._budgets = budgets
        self._costs = costs
        self._timeout_ns = timeout_ns
        self._queues: dict[_Draws, deque[tuple[Request, Send]]] = {}
        self._count = 0

    def __repr__(self) -> str:
        return f"RequestDesk({self._count} queued)"

    def __len__(self) -> int:
        return self._count

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
        """Send a request, or queue it; return False when the queues are full."""
        draws = self._budgets.draws(self.costs(request.kind), request.lane, _bucket(request))
        key = (RANKS.get(request.kind, Rank.OTHER), draws)
        queue = self._queues.get(key)
        if queue is None and not self._table.is_full and self._take(request, now_ns):
            send(self._add(request, now_ns), now_ns)
            return True
        if self._count >= MAX_QUEUED:
            return False
        if queue is None:
            queue = self._queues[key] = deque()
        queue.append((request, send))
        self._count += 1
        return True

    def flush(self, now_ns: int) -> None:
        """Send what there is room for."""
        for key in sorted(self._queues, key=_rank) if self._count else ():
            queue = self._queues[key]
            while queue and not self._table.is_full and self._take(queue[0][0], now_ns):
                request, send = queue.popleft()
                self._count -= 1
                send(self._add(request, now_ns), now_ns)
            if not queue:
                del self._queues[key]

    def wake_at_ns(self, now_ns: int) -> int | None:
        """Return when something in the queues can go."""
        if self._table.is_full or not self._count:
            return None
        times = []
        for (rank, _), queue in self._queues.items():
            request = queue[0][0]
            costs = self.costs(request.kind)
            times.append(self._budgets.available_at_ns(costs, now_ns, request.lane, _bucket(request), rank))
        return min(times)

    def clear(self, lane: str | None = None) -> list[Request]:
        """Empty the queues, or take one lane's requests out of them; return what was in them."""
        dropped = []
        for key, queue in list(self._queues.items()):
            dropped += [entry[0] for entry in queue if lane is None or entry[0].lane == lane]
            kept = deque(entry for entry in queue if lane is not None and entry[0].lane != lane)
            if kept:
                self._queues[key] = kept
            else:
                del self._queues[key]
        self._count -= len(dropped)
        return dropped

    def block(self, request: Request, until_ns: int) -> None:
        """Hold all of this kind until then: the venue has said that its limit is reached."""
        self._budgets.block(self.costs(request.kind), until_ns, request.lane, _bucket(request))

    def _take(self, request: Request, now_ns: int) -> bool:
        rank = RANKS.get(request.kind, Rank.OTHER)
        return self._budgets.take(self.costs(request.kind), now_ns, request.lane, _bucket(request), rank)

    def _add(self, request: Request, now_ns: int) -> int:
        request.sent_ns = now_ns
        request.deadline_ns = now_ns + self._timeout_ns
        return self._table.add(request)


def _bucket(request: Request) -> str:
    return request.bucket or request.symbol


def _rank(key: _Draws) -> Rank:
    return key[0]
