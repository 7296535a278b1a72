"""Whether a venue's market data still comes: sockets that are open and answer pings say nothing of it."""

from __future__ import annotations


class FeedWatch:
    """When a mark of any of the venue's instruments came last. With `timeout_ns` of 0 nothing is watched."""

    def __init__(self, timeout_ns: int) -> None:
        self.timeout_ns = timeout_ns
        self._heard_ns: int | None = None
        self._closing: list[str] = []

    def heard(self, now_ns: int) -> None:
        """A mark came, or is awaited from now on."""
        self._heard_ns = now_ns

    def is_silent(self, now_ns: int) -> bool:
        """Whether no mark has come for too long."""
        deadline_ns = self.deadline_ns
        return deadline_ns is not None and now_ns >= deadline_ns

    @property
    def deadline_ns(self) -> int | None:
        """When a venue that says nothing until then is silent."""
        if not self.timeout_ns or self._heard_ns is None:
            return None
        return self._heard_ns + self.timeout_ns

    def redial(self, lanes: list[str], now_ns: int) -> None:
        """Have these lanes closed, and give the venue the same time again."""
        self._closing = lanes
        self._heard_ns = now_ns

    def take_lanes_to_close(self) -> list[str]:
        """Return the lanes to close, once."""
        lanes, self._closing = self._closing, []
        return lanes
