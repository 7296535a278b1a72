"""A venue's rate limit as it states them: a pool of credits that refills at a constant rate."""

from __future__ import annotations

from protocols.errors import LocalProtocolError

NS_PER_SECOND = 1_000_000_000


class Credits:
    """A pool of credits, full at first.

    Integer arithmetic in credit-nanoseconds: the level is exact whatever the spacing of calls. Time that goes
    backwards refills nothing.
    """

    __slots__ = ("_as_of_ns", "_capacity", "_level", "_per_second")

    def __init__(self, capacity: int, per_second: int) -> None:
        if capacity <= 0 or per_second <= 0:
            raise ValueError("a pool of credits needs a positive capacity and refill")
        self._capacity = capacity * NS_PER_SECOND
        self._per_second = per_second
        self._level = self._capacity
        self._as_of_ns = 0

    def __repr__(self) -> str:
        return f"Credits({self._level / NS_PER_SECOND:.1f} of {self._capacity // NS_PER_SECOND})"

    def _advance(self, now_ns: int) -> int:
        elapsed_ns = now_ns - self._as_of_ns
        if elapsed_ns > 0:
            self._level = min(self._capacity, self._level + elapsed_ns * self._per_second)
            self._as_of_ns = now_ns
        return self._level

    def has(self, cost: int, now_ns: int, reserve: int = 0) -> bool:
        """Whether `cost` can be taken and leave `reserve` behind."""
        return self._advance(now_ns) >= (cost + reserve) * NS_PER_SECOND

    def take(self, cost: int, now_ns: int, reserve: int = 0) -> bool:
        """Take `cost`, if that leaves `reserve` behind; return whether it was taken."""
        level = self._level if now_ns == self._as_of_ns else self._advance(now_ns)
        if level < (cost + reserve) * NS_PER_SECOND:
            return False
        self._level = level - cost * NS_PER_SECOND
        return True

    def available_at_ns(self, cost: int, now_ns: int, reserve: int = 0) -> int:
        """Return when `cost` can be taken, `now_ns` if it can be at once."""
        missing = (cost + reserve) * NS_PER_SECOND - self._advance(now_ns)
        if missing <= 0:
            return now_ns
        return max(self._as_of_ns, now_ns) + -(-missing // self._per_second)


class RateLimitError(LocalProtocolError):
    """The venue's limit leaves no room for this order now; ask `can_send_order` first."""
