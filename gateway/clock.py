"""The only place that reads time.

`now_ns` is wall time as it was when the process started, plus the monotonic time that passed since. A step of
the wall clock (an operator's hand, a leap second, a first NTP correction) therefore moves no timer, expires no
mark and reorders no journal; a slew still reaches it, because Linux slews CLOCK_MONOTONIC too. Time spent
suspended is not counted.
"""

from collections.abc import Callable
from time import monotonic_ns, time_ns

# The two clocks cannot be read at one instant. Of this many attempts the one with the shortest bracket is kept,
# so that being descheduled between two reads does not shift every timestamp of the process.
ANCHOR_ATTEMPTS = 8


def anchor_ns(wall_ns: Callable[[], int] = time_ns, steady_ns: Callable[[], int] = monotonic_ns) -> int:
    """Return the wall time, in ns since the epoch, at which the monotonic clock showed zero."""
    best_anchor, best_bracket = 0, -1
    for _ in range(ANCHOR_ATTEMPTS):
        before = steady_ns()
        wall = wall_ns()
        bracket = steady_ns() - before
        if best_bracket < 0 or bracket < best_bracket:
            best_anchor, best_bracket = wall - (before + bracket // 2), bracket
    return best_anchor


_ANCHOR_NS = anchor_ns()


def now_ns() -> int:
    """Return the time in ns since the epoch; never decreases within a process."""
    return _ANCHOR_NS + monotonic_ns()
