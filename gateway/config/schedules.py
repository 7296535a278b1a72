"""When a FIX session may be up, ours to a client or to a counterparty."""

from typing import Annotated, Literal

from gateway.config.rules import DISTINCT, NOT_EMPTY
from gateway.config.values import TIME_OF_DAY, ZONE, Table

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

# What is not said otherwise is UTC, as every time on the wire.
DEFAULT_TIME_ZONE = "UTC"
# Coins trade every day.
DEFAULT_DAYS: tuple[Day, ...] = DAYS


class Schedule(Table, frozen=True, kw_only=True):
    start: Annotated[str, TIME_OF_DAY, "When a session begins, with sequence numbers from 1."]
    end: Annotated[str, TIME_OF_DAY, "When it ends, with a Logout(5); the next day where it is not after `start`."]
    time_zone: Annotated[str, ZONE, "The zone of both times; changes of its clocks are followed."] = DEFAULT_TIME_ZONE
    days: Annotated[tuple[Day, ...], NOT_EMPTY, DISTINCT, "Daily: days on which a session begins."] = DEFAULT_DAYS
    start_day: Annotated[Day | None, "Weekly: the day of `start`."] = None
    end_day: Annotated[Day | None, "Weekly: the day of `end`."] = None
