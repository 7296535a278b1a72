"""When what a venue tells was so, by our clock: a mark that comes late is as old as it is, not as its arrival.

Where the session has measured the venue's clock, that tells. Elsewhere the quickest message of the last minute or two
stands for one without delay: what takes longer than that is late by the difference, however the two clocks differ.
"""

from __future__ import annotations

from typing import Final

# The quickest of the last one to two of these counts: a step of a clock is forgotten within that.
PERIOD_NS: Final = 60_000_000_000
MAX_SYMBOLS: Final = 20_000


class FeedClock:
    """Turns a venue's timestamps into ours."""

    __slots__ = ("_last", "_least_before_ns", "_least_ns", "_period_ends_ns")

    def __init__(self) -> None:
        self._least_ns: int | None = None
        self._least_before_ns: int | None = None
        self._period_ends_ns = 0
        self._last: dict[str, tuple[int, int]] = {}  # symbol -> (the venue's time, ours) of what was told last

    def as_of(self, symbol: str, time_ns: int, now_ns: int, offset_ns: int | None) -> int | None:
        """Return when it was so by our clock, never later than now; None of what is older than what was told last.

        `time_ns` is the venue's timestamp, `offset_ns` its clock less ours where that was measured.
        """
        lag_ns = now_ns - time_ns
        if now_ns >= self._period_ends_ns:
            self._least_before_ns, self._least_ns = self._least_ns, None
            self._period_ends_ns = now_ns + PERIOD_NS
        if self._least_ns is None or lag_ns < self._least_ns:
            self._least_ns = lag_ns
        if offset_ns is not None:
            delay_ns = lag_ns + offset_ns
        else:
            before_ns = self._least_before_ns
            delay_ns = lag_ns - (self._least_ns if before_ns is None else min(before_ns, self._least_ns))
        as_of_ns = now_ns - max(0, delay_ns)
        last = self._last.get(symbol)
        if last is not None:
            if time_ns < last[0]:
                return None
            as_of_ns = max(as_of_ns, min(last[1], now_ns))  # as what is known of the delay gets better
        elif len(self._last) >= MAX_SYMBOLS:
            self._last.clear()
        self._last[symbol] = (time_ns, as_of_ns)
        return as_of_ns
