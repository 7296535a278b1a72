"""Whose turn it is to be adjusted: each account once a round, and of those that are due whoever is shortest first.

When a market falls a thousand accounts are due in the same moment. Nobody waits a whole round longer than another who
was due as early, however short that one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

# How long an order of turns stands before whoever has become due meanwhile is sorted in.
SORTED_FOR_NS: Final = 20_000_000


class Turns:
    """When each account is due, ns; `ratio_of` says how short one is (bps), the least first."""

    def __init__(self, accounts: Iterable[str], due_ns: int, round_ns: int) -> None:
        self._due_ns = dict.fromkeys(accounts, due_ns)
        self._round_ns = round_ns
        self._queue: list[str] = []  # the next at its end
        self._sorted_ns = 0
        self.ratio_of: Callable[[str], int] = lambda account: 0

    @property
    def deadline_ns(self) -> int | None:
        """When somebody is due."""
        return min(self._due_ns.values(), default=None)

    def join(self, account: str, now_ns: int) -> None:
        """An account is due now, unless it has its turn already."""
        self._due_ns.setdefault(account, now_ns)

    def leave(self, account: str) -> None:
        """An account has no more turns."""
        self._due_ns.pop(account, None)

    def take(self, count: int, now_ns: int) -> list[str]:
        """Return up to so many whose turn it is; each is due again a round later."""
        if not self._queue or now_ns - self._sorted_ns >= SORTED_FOR_NS:
            self._sort(now_ns)
        taken: list[str] = []
        while self._queue and len(taken) < count:
            name = self._queue.pop()
            if self._due_ns.get(name, now_ns + 1) <= now_ns:  # it may have left
                self._due_ns[name] = now_ns + self._round_ns
                taken.append(name)
        return taken

    def _sort(self, now_ns: int) -> None:
        due = [
            ((at_ns - now_ns) // self._round_ns, self.ratio_of(name), name)
            for name, at_ns in self._due_ns.items()
            if at_ns <= now_ns
        ]
        self._queue = [name for _, _, name in sorted(due, reverse=True)]
        self._sorted_ns = now_ns
