"""What a run did at each venue, counted from the journal as it is replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway import records
from gateway.journal import Record
from gateway.ledger import Ledger


class VenueFigures(msgspec.Struct):
    """Counts of one venue; the sums over all venues are the gateway's own counts."""

    accepted: int = 0
    fills: int = 0
    cancelled: int = 0
    replaced: int = 0
    venue_rejects: int = 0

    def as_json(self) -> dict[str, int]:
        """Return them by name."""
        counts: dict[str, int] = msgspec.to_builtins(self)
        return counts


class Tally:
    """Counts records on their way to a replay. `of` gives what each venue did, once the ledger is rebuilt."""

    def __init__(self) -> None:
        self._fills: Counter[str] = Counter()
        self._ended: list[tuple[str, str]] = []  # what happened, and the order that it happened to

    def watched(self, journal: Iterable[Record]) -> Iterator[Record]:
        """Pass a journal on."""
        for entry in journal:
            record = records.decode(entry.payload)
            if isinstance(record, records.Filled):
                self._fills[record.venue] += 1
            elif isinstance(record, records.Cancelled):
                self._ended.append(("cancelled", record.order_id))
            elif isinstance(record, records.VenueRejected):
                self._ended.append(("venue_rejects", record.order_id))
            elif isinstance(record, records.Replaced):
                self._ended.append(("replaced", record.order_id))
            yield entry

    def of(self, ledger: Ledger, venues: Iterable[str]) -> dict[str, VenueFigures]:
        """Return the figures of these venues."""
        figures = {venue: VenueFigures(fills=self._fills[venue]) for venue in venues}
        for order in ledger.orders.values():
            figures[order.instrument.venue].accepted += 1
        for what, order_id in self._ended:
            of = figures[ledger.orders[order_id].instrument.venue]
            setattr(of, what, getattr(of, what) + 1)
        return figures


def hedged(ledger: Ledger) -> list[str]:
    """Return the accounts that are long in an underlying at one venue and short in it at another."""
    found = []
    for account in ledger.accounts.values():
        sides: dict[str, set[tuple[str, bool]]] = {}
        for position in account.positions.values():
            if position.lots:
                instrument = position.instrument
                sides.setdefault(instrument.underlying, set()).add((instrument.venue, position.lots > 0))
        if any(
            (other, not is_long) in held
            for held in sides.values()
            for venue, is_long in held
            for other in {name for name, _ in held} - {venue}
        ):
            found.append(account.name)
    return found


def row(figures: VenueFigures, feed: dict[str, Any]) -> dict[str, Any]:
    """Return what `--json` says of one venue: how it stood while there was trading, and what was done there."""
    stood = {name: feed.get(name) for name in ("state", "feed_age_ms", "instruments", "marks_fresh")}
    return stood | figures.as_json()
