"""Connections that die on our side first: what was under way on them reaches the venue late, after we have asked.

A packet that is sent again, a proxy that holds a frame, a process that dies with bytes in the kernel: the venue acts on
a request of a connection that we have given up, and have a new one beside it. Only some seeds have it, so that what the
others have found stays as it was.
"""

from __future__ import annotations

from random import Random
from typing import Final

MS: Final = 1_000_000
CHANCE: Final = 0.03  # of a request of an order
LONGEST_MS: Final = 1_500


class Stalls:
    """Whether a frame is held up, for how long, and for how long its connection is open at the venue after that."""

    def __init__(self, name: str, seed: int, *, is_on: bool) -> None:
        self._random = Random(f"stalls:{name}:{seed}")
        self._is_on = is_on and seed % 4 == 2
        self.count = 0

    def of_order(self) -> int:
        """Return how long an order's frame is held up, in ns; 0 for not at all."""
        if not self._is_on or self._random.random() >= CHANCE:
            return 0
        self.count += 1
        return self._random.randrange(20, LONGEST_MS) * MS

    def of_crash(self) -> int:
        """Return for how long what a process has left under way may still arrive."""
        return self._random.randrange(1, LONGEST_MS) * MS if self._is_on and self._random.random() < 0.5 else 0

    def calm(self) -> None:
        """No more of them from here on."""
        self._is_on = False
