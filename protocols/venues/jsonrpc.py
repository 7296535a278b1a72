"""JSON-RPC 2.0 requests over a message stream: their ids, and which of them wait for a reply."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from protocols.errors import LocalProtocolError

# Replies that come after their timeout are still matched, as far back as this many requests.
MAX_OVERDUE = 4096


class Request(msgspec.Struct, gc=False):
    """A request that was sent, and what its reply needs to be read.

    Which of the optional fields are set depends on `kind`. `step`: the run of questions in which the next waits
    for this one's answer, 0 when none does. `bucket`: what a limit for each symbol counts, where it is not the symbol.
    """

    kind: IntEnum
    deadline_ns: int = 0
    label: str = ""
    symbol: str = ""
    order_id: str = ""
    currency: str = ""
    since_ms: int = 0
    count: int = 0
    page: int = 0
    is_historical: bool = False
    step: int = 0
    channels: tuple[str, ...] = ()
    lane: str = ""
    cursor: str = ""
    bucket: str = ""
    sent_ns: int = 0


class RequestTable:
    """Requests in flight by id.

    All requests have the same timeout, so the first in the table is the first to expire. An id is never used
    twice, not over reconnections either: a late reply can not be taken for another's.
    """

    __slots__ = ("_in_flight", "_max_in_flight", "_overdue", "next_id")

    def __init__(self, max_in_flight: int) -> None:
        self._in_flight: dict[int, Request] = {}
        self._overdue: dict[int, Request] = {}
        self._max_in_flight = max_in_flight
        self.next_id = 1  # what the next request gets

    def __len__(self) -> int:
        return len(self._in_flight)

    @property
    def is_full(self) -> bool:
        return len(self._in_flight) >= self._max_in_flight

    @property
    def deadline_ns(self) -> int | None:
        """When the first request in flight expires."""
        for request in self._in_flight.values():
            return request.deadline_ns
        return None

    def add(self, request: Request) -> int:
        """Enter a request and return its id."""
        if len(self._in_flight) >= self._max_in_flight:
            raise LocalProtocolError(f"{self._max_in_flight} requests are in flight already")
        request_id = self.next_id
        self.next_id = request_id + 1
        self._in_flight[request_id] = request
        return request_id

    def waiting(self, request_id: int) -> Request | None:
        """Return the request in flight under this id, which goes on waiting."""
        return self._in_flight.get(request_id)

    def settle(self, request_id: int) -> Request | None:
        """Return the request that a reply belongs to, at most once; None when there is none."""
        request = self._in_flight.pop(request_id, None)
        return self._overdue.pop(request_id, None) if request is None else request

    def expire(self, now_ns: int) -> list[Request]:
        """Return the requests whose time is over. Their replies still count if they come."""
        expired = []
        while self._in_flight:
            request_id, request = next(iter(self._in_flight.items()))
            if request.deadline_ns > now_ns:
                break
            del self._in_flight[request_id]
            if len(self._overdue) >= MAX_OVERDUE:
                del self._overdue[next(iter(self._overdue))]
            self._overdue[request_id] = request
            expired.append(request)
        return expired

    def has_lane(self, lane: str) -> bool:
        """Whether a request over this connection is in flight."""
        return any(request.lane == lane for request in self._in_flight.values())

    def clear_lane(self, lane: str) -> list[Request]:
        """Forget what went over one connection that is gone; return what was in flight."""
        lost = [request_id for request_id, request in self._in_flight.items() if request.lane == lane]
        for request_id in [request_id for request_id, request in self._overdue.items() if request.lane == lane]:
            del self._overdue[request_id]
        return [self._in_flight.pop(request_id) for request_id in lost]

    def clear(self) -> list[Request]:
        """Forget everything, as when the connection is gone; return what was in flight."""
        lost = list(self._in_flight.values())
        self._in_flight.clear()
        self._overdue.clear()
        return lost


def encode_request(request_id: int, method: str, params: dict[str, Any]) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}' % (
        request_id,
        method.encode("ascii"),
        msgspec.json.encode(params),
    )
