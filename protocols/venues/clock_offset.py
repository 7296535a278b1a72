"""How far the venue's clock is from ours: measured by asking, and good to half of the round trip."""

from __future__ import annotations

from typing import Final

from protocols.venues.fields import NS_PER_MS, NS_PER_S

# An answer that took longer says too little of when it was written.
MAX_ROUND_TRIP_NS: Final = 2 * NS_PER_S
# Past this, somebody's clock is wrong, and requests would be refused or accepted at the wrong time.
MAX_OFFSET_NS: Final = 60 * NS_PER_S


class ClockOffset:
    """`offset_ns` is the venue's clock less ours."""

    __slots__ = ("error_ns", "is_known", "offset_ns")

    def __init__(self) -> None:
        self.offset_ns = 0
        self.error_ns = 0
        self.is_known = False

    def measure(self, sent_ns: int, received_ns: int, venue_ns: int) -> str:
        """Take one answer; return why it was not taken, empty if it was."""
        round_trip_ns = received_ns - sent_ns
        if not 0 <= round_trip_ns <= MAX_ROUND_TRIP_NS:
            return f"the answer took {round_trip_ns // NS_PER_MS} ms"
        offset_ns = venue_ns - (sent_ns + received_ns) // 2
        if abs(offset_ns) > MAX_OFFSET_NS:
            return f"the venue's clock is {offset_ns // NS_PER_MS} ms from ours"
        self.offset_ns, self.error_ns, self.is_known = offset_ns, round_trip_ns // 2, True
        return ""

    def venue_ms(self, now_ns: int) -> int:
        """Return the time by the venue's clock, as its requests bear it."""
        return (now_ns + self.offset_ns) // NS_PER_MS
