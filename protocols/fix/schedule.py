"""Session times: when a session may be up, and when a new one begins with numbers from 1."""

from bisect import bisect_right
from collections.abc import Callable

import msgspec

from protocols.fix.values import NS_PER_SECOND

DAY_S = 86_400
WEEK_S = 7 * DAY_S
_EVERY_DAY = frozenset(range(7))
# 1 January 1970 was a Thursday; Monday is 0.
_EPOCH_WEEKDAY = 3


def utc(time_ns: int) -> int:
    """Offset of UTC: none."""
    return 0


class Offsets(msgspec.Struct, frozen=True):
    """A time zone as a table, for who hands it to a core without files: (from ns since the epoch, seconds east)."""

    transitions: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.transitions or list(self.transitions) != sorted(self.transitions):
            raise ValueError("transitions must ascend, and there must be one")

    def __call__(self, time_ns: int) -> int:
        """Return the offset in force; before the first transition, that one's."""
        at = bisect_right(self.transitions, time_ns, key=lambda transition: transition[0])
        return self.transitions[max(at - 1, 0)][1]


class Schedule(msgspec.Struct, frozen=True):
    """Daily from `start_s` to `end_s` on `days`, or weekly from `start_day` to `end_day`; local time, Monday is 0.

    An end that is not after the start is the next day's, or week's: equal ones make a session without a pause, whose
    numbers begin anew each time. `offset_s` tells a zone's seconds east of UTC at a time in ns since the epoch.
    """

    start_s: int
    end_s: int
    offset_s: Callable[[int], int] = utc
    days: frozenset[int] = _EVERY_DAY
    start_day: int | None = None
    end_day: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.start_s < DAY_S and 0 <= self.end_s < DAY_S):
            raise ValueError("start_s and end_s are seconds of a day")
        if (self.start_day is None) != (self.end_day is None):
            raise ValueError("a weekly schedule has both start_day and end_day")
        if not self.days or not self.days | {self.start_day or 0, self.end_day or 0} <= _EVERY_DAY:
            raise ValueError("days are 0 (Monday) to 6")

    def window(self, now_ns: int) -> tuple[int, int] | None:
        """Return (begin, end) in ns of the session that is on at `now_ns`; None between sessions."""
        local_s = now_ns // NS_PER_SECOND + self.offset_s(now_ns)
        if self.start_day is None or self.end_day is None:
            begin_s = local_s - (local_s - self.start_s) % DAY_S
            length_s = (self.end_s - self.start_s) % DAY_S or DAY_S
            if _weekday(begin_s) not in self.days:
                return None
        else:
            start_s = self.start_day * DAY_S + self.start_s
            of_week_s = _weekday(local_s) * DAY_S + local_s % DAY_S
            begin_s = local_s - (of_week_s - start_s) % WEEK_S
            length_s = (self.end_day * DAY_S + self.end_s - start_s) % WEEK_S or WEEK_S
        begin_ns, end_ns = self._utc_ns(begin_s), self._utc_ns(begin_s + length_s)
        return (begin_ns, end_ns) if begin_ns <= now_ns < end_ns else None

    def next_begin_ns(self, now_ns: int) -> int:
        """Return when the next session after `now_ns` begins, for who has to connect then."""
        local_s = now_ns // NS_PER_SECOND + self.offset_s(now_ns)
        day_s = local_s - local_s % DAY_S
        starts = self.days if self.start_day is None else {self.start_day}
        for begin_s in range(day_s + self.start_s, day_s + WEEK_S + 2 * DAY_S, DAY_S):
            begin_ns = self._utc_ns(begin_s)
            if begin_ns > now_ns and _weekday(begin_s) in starts:
                return begin_ns
        raise AssertionError("some day of the week is a day of the schedule")

    def _utc_ns(self, local_s: int) -> int:
        """Return UTC of a local time: around a change of the clock, by the offset in force just before it."""
        before_s = self.offset_s((local_s - DAY_S) * NS_PER_SECOND)
        return (local_s - self.offset_s((local_s - before_s) * NS_PER_SECOND)) * NS_PER_SECOND


def _weekday(local_s: int) -> int:
    return (local_s // DAY_S + _EPOCH_WEEKDAY) % 7
