"""Orders that are believed to work are asked about now and then: a notice that was lost tells nobody that it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

# One question in this time: a tenth of what the strictest venue lets pass, the rest is for what is urgent.
PACE_NS: Final = 100_000_000
MAX_ROUND: Final = 20_000


class OrderWatch:
    """Rounds over a venue's working orders, one each `interval_ns`; 0: none. A long round delays the next."""

    def __init__(self, interval_ns: int) -> None:
        self.interval_ns = interval_ns
        self._round: deque[str] = deque()
        self._next_ns: int | None = None

    @property
    def deadline_ns(self) -> int | None:
        """When to call `due`."""
        return self._next_ns

    def begin(self, now_ns: int) -> None:
        """The venue takes orders: what works is asked about from an interval later on, since it was listed just now."""
        self._round.clear()
        self._next_ns = now_ns + self.interval_ns if self.interval_ns else None

    def end(self) -> None:
        """The venue does not answer, and lists everything once it does."""
        self._round.clear()
        self._next_ns = None

    def due(self, now_ns: int, working: Callable[[], Iterable[str]]) -> str | None:
        """Return the order to ask about now, if any; `working` is asked for all of them at the start of a round."""
        if self._next_ns is None or now_ns < self._next_ns:
            return None
        if not self._round:
            self._round.extend(order_id for order_id, _ in zip(working(), range(MAX_ROUND)))
            if not self._round:
                self._next_ns = now_ns + self.interval_ns
                return None
        order_id = self._round.popleft()
        self._next_ns = now_ns + (PACE_NS if self._round else self.interval_ns)
        return order_id
