"""A run of questions to a venue, in steps: a step begins when all of the one before was answered."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from protocols.venues.jsonrpc import Request

Step = TypeVar("Step")


class Run(Generic[Step]):
    """Progress through the steps. Runs are numbered: a late answer counts in its own run only."""

    def __init__(self) -> None:
        self.number = 0
        self.is_active = False
        self._steps: deque[Step] = deque()
        self._waiting = 0

    def begin(self, steps: tuple[Step, ...]) -> None:
        assert not self.is_active
        self.number += 1
        self.is_active = True
        self._steps.extend(steps)

    def end(self) -> None:
        self.is_active = False
        self._steps.clear()
        self._waiting = 0

    def next_step(self) -> Step | None:
        """Return the step to begin now; None while answers are awaited, and when there is none left."""
        return self._steps.popleft() if self._steps and not self._waiting else None

    @property
    def is_complete(self) -> bool:
        return self.is_active and not self._steps and not self._waiting

    def includes(self, request: Request) -> bool:
        return self.is_active and request.step == self.number

    def wait_for(self, request: Request) -> None:
        if self.includes(request):
            self._waiting += 1

    def settle(self, request: Request) -> bool:
        """Count an answer; return whether it was one that this run waits for."""
        if not self.includes(request):
            return False
        self._waiting -= 1
        return True
