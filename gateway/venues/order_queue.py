"""Approved orders that wait for room in a venue's rate limit, where the configuration lets them wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from risk.order import Approved

# More would wait for longer than their clients want them.
MAX_WAITING: Final = 1_000
RETRY_NS: Final = 10_000_000


class OrderQueue:
    """First come, first sent. `orders` are order id -> what to send and until when; with `wait_ns` of 0 none waits."""

    __slots__ = ("_retry_ns", "orders", "wait_ns")

    def __init__(self, wait_ns: int) -> None:
        self.wait_ns = wait_ns
        self.orders: dict[str, tuple[Approved, int]] = {}
        self._retry_ns = 0

    @property
    def is_used(self) -> bool:
        """Whether orders may wait at all."""
        return self.wait_ns > 0

    @property
    def deadline_ns(self) -> int | None:
        """When to look whether there is room."""
        return self._retry_ns if self.orders else None

    def take(self, approved: Approved, order_id: str, now_ns: int) -> str | None:
        """Keep an order; return why not."""
        if len(self.orders) >= MAX_WAITING:
            return f"the venue's rate limit is reached, and {MAX_WAITING} orders wait for it"
        self.orders[order_id] = (approved, now_ns + self.wait_ns)
        self._retry_ns = now_ns + RETRY_NS
        return None

    def holds(self, order_id: str) -> bool:
        """Whether an order waits here."""
        return order_id in self.orders

    def waiting(self, now_ns: int) -> Iterator[tuple[Approved, str, int]]:
        """Yield (order, its id, until when it may wait), the first come first."""
        self._retry_ns = now_ns + RETRY_NS
        for order_id, (approved, due_ns) in list(self.orders.items()):
            yield approved, order_id, due_ns

    def drop(self, order_id: str) -> None:
        """Forget an order: it was sent, or has ended."""
        del self.orders[order_id]

    def take_all(self) -> list[str]:
        """Forget all, and return which they were."""
        order_ids = list(self.orders)
        self.orders.clear()
        return order_ids
