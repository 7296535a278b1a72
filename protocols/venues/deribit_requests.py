"""Requests to Deribit other than orders: queued until the venue's rate limit has room for them."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeAlias

from protocols.venues.deribit_tables import Kind, RateLimits
from protocols.venues.jsonrpc import Request, RequestTable, encode_request
from protocols.venues.rate_limit import Credits

# The longest legitimate queue: 20 000 instruments' channels in batches, and every book asked for again.
MAX_QUEUED: Final = 8_192

Queue: TypeAlias = deque[tuple[Request, str, dict[str, Any]]]

_SUBSCRIBE_KINDS: Final = frozenset(
    {Kind.SUBSCRIBE_PRIVATE, Kind.SUBSCRIBE_PUBLIC, Kind.UNSUBSCRIBE_BOOK, Kind.SUBSCRIBE_BOOK}
)
# These keep the session alive, so they may use what the others must leave.
_VITAL_KINDS: Final = frozenset({Kind.AUTHENTICATE, Kind.REFRESH, Kind.TEST, Kind.HEARTBEAT})


class PacedRequests:
    """A queue in front of the request table. Vital requests go to its head."""

    def __init__(
        self, requests: RequestTable, frames: list[bytes], limits: RateLimits, request_timeout_ns: int
    ) -> None:
        self._requests = requests
        self._frames = frames
        self._timeout_ns = request_timeout_ns
        self._limits = limits
        self._pool = Credits(limits.requests_capacity, limits.requests_per_s)
        self._subscribe_pool = Credits(limits.subscribe_capacity, limits.subscribe_per_s)
        self._instruments_pool = Credits(limits.instruments_capacity, limits.instruments_per_s)
        self._log_pool = Credits(limits.log_capacity, limits.log_per_s)
        self._queue: Queue = deque()
        self._log_queue: Queue = deque()  # a page a second: nothing else waits for it

    def __repr__(self) -> str:
        return f"PacedRequests({len(self)} queued)"  # never their parameters: they hold credentials

    def __len__(self) -> int:
        return len(self._queue) + len(self._log_queue)

    def ask(self, request: Request, method: str, params: dict[str, Any], now_ns: int) -> bool:
        """Send a request, or queue it; return False when the queue is full."""
        queue = self._log_queue if request.kind == Kind.TRANSACTION_LOG else self._queue
        if request.kind in _VITAL_KINDS:
            queue.appendleft((request, method, params))
        elif len(queue) >= MAX_QUEUED:
            return False
        else:
            queue.append((request, method, params))
        self.flush(now_ns)
        return True

    def flush(self, now_ns: int) -> None:
        """Send what there are credits for, in order."""
        for queue in (self._queue, self._log_queue):
            while queue:
                request, method, params = queue[0]
                pool, cost, reserve = self._price(request.kind)
                if self._requests.is_full or not pool.take(cost, now_ns, reserve):
                    break
                queue.popleft()
                request.deadline_ns = now_ns + self._timeout_ns
                self._frames.append(encode_request(self._requests.add(request), method, params))

    def wake_at_ns(self, now_ns: int) -> int | None:
        """Return when the head of a queue can go."""
        if self._requests.is_full:
            return None
        times = []
        for queue in (self._queue, self._log_queue):
            if queue:
                pool, cost, reserve = self._price(queue[0][0].kind)
                times.append(pool.available_at_ns(cost, now_ns, reserve))
        return min(times, default=None)

    def clear(self) -> list[Request]:
        """Empty the queues; return what was in them."""
        dropped = [request for queue in (self._queue, self._log_queue) for request, _, _ in queue]
        self._queue.clear()
        self._log_queue.clear()
        return dropped

    def _price(self, kind: int) -> tuple[Credits, int, int]:
        """Return the pool that a request draws on, what it costs, and what it must leave."""
        limits = self._limits
        if kind in _SUBSCRIBE_KINDS:
            return self._subscribe_pool, limits.subscribe_cost, 0
        if kind == Kind.INSTRUMENTS:
            return self._instruments_pool, 1, 0
        if kind == Kind.TRANSACTION_LOG:
            return self._log_pool, 1, 0
        return self._pool, limits.request_cost, 0 if kind in _VITAL_KINDS else limits.requests_reserve
