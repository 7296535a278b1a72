"""Who keeps the pricing process alive: a table of states, without a process, a socket or a clock.

    DOWN      none runs; one is started when the pause is over
    STARTING  it has not said that it is ready
    READY     it waits for a snapshot
    PRICING   it was asked for a generation

Whatever it does wrong ends it, and nothing of it is used: the generation in force ages, and new risk is refused when it
is too old. The pause before the next start doubles with each end, until one has worked for STEADY_NS.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Final

SHORTEST_PAUSE_NS: Final = 200_000_000
LONGEST_PAUSE_NS: Final = 30_000_000_000
# Importing numpy and scipy takes a second; ten times that on a machine that has much else to do.
START_LIMIT_NS: Final = 20_000_000_000
# A generation takes milliseconds. One so late would be too old to be used.
ANSWER_LIMIT_NS: Final = 10_000_000_000
STEADY_NS: Final = 60_000_000_000


class State(StrEnum):
    """Where the pricing process is; the value is what the status line says."""

    DOWN = "down"
    STARTING = "starting"
    READY = "ready"
    PRICING = "pricing"


class Heard(Enum):
    """What can happen to it."""

    DEADLINE = "deadline"
    HELLO = "hello"
    ASKED = "asked"
    ANSWER = "answer"
    ENDED = "ended"
    UNUSABLE = "unusable"


class Act(Enum):
    """What the caller is to do now."""

    NOTHING = "nothing"
    START = "start"
    KILL = "kill"
    TAKE = "take"


class Supervision:
    """Tell it what happens; it says what to do. `deadline_ns` is when `hear(DEADLINE)` is due, None for never."""

    def __init__(self, now_ns: int) -> None:
        self.state = State.DOWN
        self.deadline_ns: int | None = now_ns
        self.starts = 0
        self.trouble = ""  # why the last one ended, or what it said wrong; "" since it last did what it should
        self._pause_ns = 0
        self._started_ns = now_ns

    @property
    def is_ready(self) -> bool:
        """Whether it waits for a snapshot."""
        return self.state is State.READY

    def hear(self, what: Heard, now_ns: int, text: str = "") -> Act:
        """Go on to the next state; an input that a state does not know ends the process."""
        handler = TABLE.get((self.state, what))
        if handler is None:
            return self._fail(now_ns, f"{what.value} while {self.state.value}")
        return handler(self, now_ns, text)

    def generation_taken(self, now_ns: int) -> None:
        """What it gave is in use; after a while of that, an end is no repetition."""
        self.trouble = ""
        if now_ns - self._started_ns >= STEADY_NS:
            self._pause_ns = 0

    def _start(self, now_ns: int, text: str) -> Act:
        self.state, self.deadline_ns = State.STARTING, now_ns + START_LIMIT_NS
        self._started_ns = now_ns
        self.starts += 1
        return Act.START

    def _ready(self, now_ns: int, text: str) -> Act:
        self.state, self.deadline_ns = State.READY, None
        return Act.NOTHING

    def _asked(self, now_ns: int, text: str) -> Act:
        self.state, self.deadline_ns = State.PRICING, now_ns + ANSWER_LIMIT_NS
        return Act.NOTHING

    def _answered(self, now_ns: int, text: str) -> Act:
        self.state, self.deadline_ns = State.READY, None
        return Act.TAKE

    def _hung(self, now_ns: int, text: str) -> Act:
        return self._fail(now_ns, "it did not start in time" if self.state is State.STARTING else "it hung")

    def _unusable(self, now_ns: int, text: str) -> Act:
        return self._fail(now_ns, text)

    def _fail(self, now_ns: int, text: str) -> Act:
        self.trouble = text
        self.state = State.DOWN
        self._pause_ns = min(max(2 * self._pause_ns, SHORTEST_PAUSE_NS), LONGEST_PAUSE_NS)
        self.deadline_ns = now_ns + self._pause_ns
        return Act.KILL

    def _nothing(self, now_ns: int, text: str) -> Act:
        return Act.NOTHING


_Handler = Callable[[Supervision, int, str], Act]
_RUNNING: Final = (State.STARTING, State.READY, State.PRICING)
TABLE: Final[dict[tuple[State, Heard], _Handler]] = {
    (State.DOWN, Heard.DEADLINE): Supervision._start,
    # What the one before still says, or that it is gone at last.
    **{(State.DOWN, what): Supervision._nothing for what in Heard if what is not Heard.DEADLINE},
    (State.STARTING, Heard.DEADLINE): Supervision._hung,
    (State.STARTING, Heard.HELLO): Supervision._ready,
    (State.READY, Heard.DEADLINE): Supervision._nothing,
    (State.READY, Heard.ASKED): Supervision._asked,
    (State.PRICING, Heard.DEADLINE): Supervision._hung,
    (State.PRICING, Heard.ANSWER): Supervision._answered,
    **{(state, Heard.ENDED): Supervision._unusable for state in _RUNNING},
    **{(state, Heard.UNUSABLE): Supervision._unusable for state in _RUNNING},
}
