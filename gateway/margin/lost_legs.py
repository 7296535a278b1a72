"""Legs of hedges that are lost: a venue that a person has stopped, or that has been away for long.

What is held there is still owed, and can not be closed, moved or counted upon: from the next risk arrays on it offsets
nothing at other venues (`apart` of risk.repricing), and is valued by what the others say of its coin. Those arrays are
asked for at once. It is a record both ways, so that whoever looks at a call later sees why it was made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.journal import JournalError
from gateway.records import Killed
from gateway.records.guards import LegsMoved
from risk.marks import VENUE

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline


class LostLegs:
    """Which venues are lost; `tick` looks, and `killed` has a stop looked at without a wait."""

    def __init__(self, pipeline: Pipeline, after_ns: int, now_ns: int) -> None:
        self._pipeline, self._ledger = pipeline, pipeline.ledger
        self._after_ns = after_ns
        # A start takes its time to connect: nobody is away before it.
        self._seen_ns: dict[str, int] = {}
        self._began_ns = now_ns

    def killed(self, record: Killed) -> None:
        """Look at once, where a venue was stopped."""
        if record.scope == VENUE:
            self.tick(self._ledger.time_ns)

    def tick(self, now_ns: int) -> None:
        """Write what has changed of the venues that somebody holds something at."""
        market, lost = self._pipeline.market, self._ledger.lost_venues
        for venue in market.live_venues:
            self._seen_ns[venue] = now_ns
        for venue in sorted({*self._pipeline.router.venues, *lost}):
            why = self._why(venue, now_ns)
            if bool(why) is not (venue in lost):
                self._move(venue, why, now_ns)

    def _why(self, venue: str, now_ns: int) -> str:
        """Return why a venue is lost; empty where it is not."""
        if (VENUE, venue) in self._pipeline.market.halts:
            return self._pipeline.market.halts[VENUE, venue]
        if venue in self._pipeline.market.live_venues:
            return ""
        if venue in self._ledger.lost_venues:  # it has to be back, not only new
            return self._ledger.lost_venues[venue]
        is_away = now_ns - self._seen_ns.get(venue, self._began_ns) > self._after_ns
        return f"{venue} has been away for more than {self._after_ns // 1_000_000} ms" if is_away else ""

    def _move(self, venue: str, why: str, now_ns: int) -> None:
        reason = why or "back"
        try:
            self._pipeline.commit(LegsMoved(venue, bool(why), reason), now_ns)
        except JournalError as error:
            self._pipeline.monitor.journal_failed(str(error))
            return
        self._pipeline.market.has_moved = True  # new arrays are due now
        state = "set apart" if why else "count with the rest again"
        self._pipeline.monitor.alert(f"legs at {venue} {state}: {reason}")
