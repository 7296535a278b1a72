"""News(B): what an operator, or the gateway itself, has to say to every client that is logged on.

News is kept: it is a record of the journal, and a client that missed it is resent it.
"""

from __future__ import annotations

from typing import Final

from gateway import records
from gateway.journal import JournalError
from gateway.pipeline import Pipeline
from gateway.venues.feeds import Feeds

# Urgency(61)
NORMAL, FLASH, BACKGROUND = 0, 1, 2
MAX_HEADLINE_BYTES: Final = 128
MAX_LINES: Final = 20
MAX_LINE_BYTES: Final = 200


class Newsroom:
    """Publishes news. `look` tells when a venue has gone or come back."""

    def __init__(self, pipeline: Pipeline, feeds: Feeds) -> None:
        self._pipeline = pipeline
        self._feeds = feeds
        self._live: dict[str, bool] = {}
        self.published = 0

    def publish(self, headline: str, lines: tuple[str, ...], now_ns: int, urgency: int = NORMAL) -> int:
        """Send news to every session that is logged on; return to how many. Nothing is journalled for nobody.

        Raises ValueError for a text that FIX can not carry or that is too long, JournalError if it can not be written:
        nothing was sent then.
        """
        _check(headline, lines, urgency)
        states = self._pipeline.reports.sessions
        names = [name for name, state in states.items() if state.connection and state.connection.is_logged_on]
        if names:
            self._pipeline.commit(records.NewsPublished(tuple(names), headline, lines, urgency), now_ns)
            self.published += 1
        return len(names)

    def look(self, now_ns: int) -> None:
        """Tell clients of venues that have gone or come since the last look."""
        for venue, feed in self._feeds.venues.items():
            is_live = self._feeds.is_live(venue)
            was_live = self._live.get(venue, is_live)  # how it is at the first look is no news
            self._live[venue] = is_live
            if is_live is was_live:
                continue
            if is_live:
                headline, line, urgency = f"Venue {venue} is live", "orders for its instruments are taken", NORMAL
            else:
                headline, urgency = f"Venue {venue} is down", FLASH
                line = f"orders for its instruments are refused; its session is {feed.state_name}"
            try:
                self.publish(headline, (line,), now_ns, urgency)
            except JournalError as error:
                self._pipeline.monitor.journal_failed(str(error))


def _check(headline: str, lines: tuple[str, ...], urgency: int) -> None:
    if urgency not in (NORMAL, FLASH, BACKGROUND):
        raise ValueError("urgency is 0, 1 or 2")
    if not 0 < len(lines) <= MAX_LINES:
        raise ValueError(f"news has 1 to {MAX_LINES} lines")
    for text, most in ((headline, MAX_HEADLINE_BYTES), *((line, MAX_LINE_BYTES) for line in lines)):
        if not (text.isascii() and text.isprintable() and 0 < len(text) <= most):
            raise ValueError(f"news is printable ASCII: a headline of 1 to {MAX_HEADLINE_BYTES} characters, "
                             f"lines of 1 to {MAX_LINE_BYTES}")  # fmt: skip
