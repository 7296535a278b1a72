"""A venue's rate limits as it states them: a pool of credits that refills evenly, or a count within a window."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final, Literal

import msgspec

from protocols.errors import LocalProtocolError

NS_PER_SECOND = 1_000_000_000
NS_PER_MS: Final = 1_000_000
# Messages may bunch on their way: what left over a whole window can arrive in nine tenths of it.
SLACK_NUMERATOR: Final = 10
SLACK_DENOMINATOR: Final = 9
# Symbols and lanes for each of which a window is kept.
MAX_KEYS: Final = 20_000


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


class Window:
    """At most `limit` units in any stretch of `window_ns`.

    What was taken is remembered until it has aged out, so neither a fixed nor a sliding count at the venue can come
    out higher; a pool of credits of the same rate would let nearly twice the limit pass in one window.
    """

    __slots__ = ("_blocked_until_ns", "_level", "_taken", "limit", "window_ns")

    def __init__(self, limit: int, window_ns: int) -> None:
        if limit <= 0 or window_ns <= 0:
            raise ValueError("a window needs a positive limit and length")
        self.limit = limit
        self.window_ns = window_ns
        self._taken: deque[tuple[int, int]] = deque()  # (when, units)
        self._level = 0
        self._blocked_until_ns = 0

    def __repr__(self) -> str:
        return f"Window({self._level} of {self.limit})"

    def level(self, now_ns: int) -> int:
        """Return how many units count now."""
        taken = self._taken
        while taken and taken[0][0] + self.window_ns <= now_ns:
            self._level -= taken.popleft()[1]
        return self._level

    def has(self, cost: int, now_ns: int, reserve: int = 0) -> bool:
        """Whether `cost` can be taken and leave `reserve` behind."""
        return now_ns >= self._blocked_until_ns and self.level(now_ns) + cost + reserve <= self.limit

    def take(self, cost: int, now_ns: int, reserve: int = 0) -> bool:
        """Take `cost`, if that leaves `reserve` behind; return whether it was taken."""
        if not self.has(cost, now_ns, reserve):
            return False
        self._add(cost, now_ns)
        return True

    def available_at_ns(self, cost: int, now_ns: int, reserve: int = 0) -> int:
        """Return when `cost` can be taken, `now_ns` if it can be at once."""
        excess = self.level(now_ns) + cost + reserve - self.limit
        at_ns = max(now_ns, self._blocked_until_ns)
        for taken_ns, units in self._taken:
            if excess <= 0:
                break
            excess -= units
            at_ns = max(at_ns, taken_ns + self.window_ns)
        return at_ns

    def observe(self, used: int, now_ns: int) -> None:
        """Take over the venue's own count where it is higher: others may use the same account or address."""
        missing = min(used, self.limit) - self.level(now_ns)
        if missing > 0:
            self._add(missing, now_ns)

    def block(self, until_ns: int) -> None:
        """Let nothing pass until then: the venue has said so."""
        self._blocked_until_ns = max(self._blocked_until_ns, until_ns)

    def _add(self, units: int, now_ns: int) -> None:
        if units:
            self._taken.append((now_ns, units))
            self._level += units


class Budget(msgspec.Struct, frozen=True, gc=False):
    """One of a venue's limits: `limit` units in `window_ms`, counted for the account, each symbol, or each lane.

    Requests leave `reserve` of it for cancels, and cancels leave `vital` for what keeps the session alive.
    """

    name: str
    limit: int
    window_ms: int
    per: Literal["account", "symbol", "lane"] = "account"
    reserve: int = 0
    vital: int = 0


class Rank(IntEnum):
    """How much of a budget a request may use."""

    VITAL = 0
    CANCEL = 1
    OTHER = 2


# (budget, units) that a request draws on
Costs = tuple[tuple[str, int], ...]


class Budgets:
    """All limits of a venue; a request is let pass by all of its budgets or by none."""

    def __init__(self, budgets: tuple[Budget, ...]) -> None:
        self._budgets = {budget.name: budget for budget in budgets}
        for budget in budgets:
            if not 0 <= budget.vital <= budget.limit // 2 or not 0 <= budget.reserve < budget.limit:
                raise ValueError(f"budget {budget.name}: a reserve of {budget.reserve} of {budget.limit}")
        self._windows: dict[tuple[str, str], Window] = {}

    def _key(self, name: str, lane: str, symbol: str) -> tuple[str, str]:
        per = self._budgets[name].per
        return (name, symbol if per == "symbol" else lane if per == "lane" else "")

    def draws(self, costs: Costs, lane: str, symbol: str) -> tuple[tuple[str, str], ...]:
        """Name the windows that these costs are taken from."""
        return tuple([self._key(name, lane, symbol) for name, _ in costs])

    def window(self, name: str, lane: str = "", symbol: str = "") -> Window:
        """Return the window that counts for this lane or symbol."""
        budget = self._budgets[name]
        key = self._key(name, lane, symbol)
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= MAX_KEYS:
                raise RateLimitError(f"more than {MAX_KEYS} windows of rate limits")
            window_ns = budget.window_ms * NS_PER_MS * SLACK_NUMERATOR // SLACK_DENOMINATOR
            window = self._windows[key] = Window(budget.limit, window_ns)
        return window

    def has(self, costs: Costs, now_ns: int, lane: str = "", symbol: str = "", rank: Rank = Rank.OTHER) -> bool:
        return all(self.window(name, lane, symbol).has(cost, now_ns, self._reserve(name, rank)) for name, cost in costs)

    def take(self, costs: Costs, now_ns: int, lane: str = "", symbol: str = "", rank: Rank = Rank.OTHER) -> bool:
        """Take all, if all have room."""
        if not self.has(costs, now_ns, lane, symbol, rank):
            return False
        for name, cost in costs:
            self.window(name, lane, symbol).take(cost, now_ns)
        return True

    def available_at_ns(
        self, costs: Costs, now_ns: int, lane: str = "", symbol: str = "", rank: Rank = Rank.OTHER
    ) -> int:
        """Return when all have room, as far as is known now."""
        return max(
            (
                self.window(name, lane, symbol).available_at_ns(cost, now_ns, self._reserve(name, rank))
                for name, cost in costs
            ),
            default=now_ns,
        )

    def block(self, costs: Costs, until_ns: int, lane: str = "", symbol: str = "") -> None:
        """Let nothing of this kind pass until then."""
        for name, _ in costs:
            self.window(name, lane, symbol).block(until_ns)

    def lower(self, name: str, limit: int) -> None:
        """Take over a limit that the venue states, where it is lower than the one we know."""
        budget = self._budgets[name]
        if 0 < limit < budget.limit:
            reserve = min(budget.reserve, limit - 1)
            self._budgets[name] = msgspec.structs.replace(budget, limit=limit, reserve=reserve)
            for (of, _), window in self._windows.items():
                if of == name:
                    window.limit = limit

    def forget_lane(self, lane: str) -> None:
        """A new connection starts from nothing, where a limit counts one connection's messages."""
        for name, budget in self._budgets.items():
            if budget.per == "lane":
                self._windows.pop((name, lane), None)

    def _reserve(self, name: str, rank: Rank) -> int:
        budget = self._budgets[name]
        if rank is Rank.VITAL:
            return 0
        return budget.vital if rank is Rank.CANCEL else max(budget.reserve, budget.vital)
