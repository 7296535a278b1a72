"""What a venue's list of bookings tells beside bookings: how far it was read, what nobody can explain, what is missing.

Where a venue says at the end of a session what it has booked in it, that must be what was booked here. A row may be
listed late, so a session is judged when the list was read far enough beyond its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import records
from gateway.records.settlements import BookingNoted, BookingsKnown, FundingBooked
from protocols.venues import events

if TYPE_CHECKING:
    from gateway.executions import Executions
    from gateway.ledger import Ledger

# How far a list was read is worth a record when it has moved so much: reading it again from there costs a page.
WORTH_A_RECORD_NS: Final = 600 * 1_000_000_000
JUDGED_AFTER_NS: Final = 900 * 1_000_000_000
# Beside a unit for each row, since each is rounded, and its total as well.
ROUNDING_UNITS: Final = 2
SESSIONS_KEPT: Final = 10


class Session(msgspec.Struct):
    """Funding of one instrument between two settlements; `ended_ns` is 0 while it lasts."""

    began_ns: int
    units: int = 0
    rows: int = 0
    ended_ns: int = 0
    total_units: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether what was booked is what the venue says that it has booked."""
        return abs(self.units - self.total_units) <= self.rows + ROUNDING_UNITS


class FundingSessions:
    """Part of the ledger: sessions by instrument index, those that were not judged yet and the one that lasts.

    A first session has begun before we looked, so that nothing is known of it but its end.
    """

    __slots__ = ("_by_instrument",)

    def __init__(self) -> None:
        self._by_instrument: dict[int, list[Session]] = {}

    def count(self, record: FundingBooked) -> None:
        """Count a booking in the session that it is of, and end the one that it ends."""
        known = self._by_instrument.get(record.instrument)
        if known is None:
            if record.session_units is not None:
                self._by_instrument[record.instrument] = [Session(record.as_of_ns)]
            return
        of = next((one for one in reversed(known) if record.as_of_ns > one.began_ns), None)
        if of is None:
            return
        of.units += record.units
        of.rows += 1
        if record.session_units is not None and not of.ended_ns:
            of.ended_ns, of.total_units = record.as_of_ns, record.session_units
            known.append(Session(record.as_of_ns))
            del known[:-SESSIONS_KEPT]

    def ended_before(self, index: int, at_ns: int) -> list[Session]:
        """Return the sessions of an instrument that are to be judged now."""
        return [one for one in self._by_instrument.get(index, ()) if 0 < one.ended_ns <= at_ns]

    def drop_before(self, index: int, at_ns: int) -> None:
        """Forget those."""
        known = self._by_instrument.get(index)
        if known is not None:
            known[:] = [one for one in known if not 0 < one.ended_ns <= at_ns]

    def parts(self) -> list[Any]:
        """Return what a state hash is of."""
        return [(index, msgspec.to_builtins(known)) for index, known in sorted(self._by_instrument.items())]


# -- what a venue says -------------------------------------------------------------------------------------------------


def _unexplained(executions: Executions, event: events.BookingUnexplained, now_ns: int) -> None:
    """Raise a break, once by the venue's id: the break first, so that who dies between them tells it again."""
    pipeline, venue = executions.pipeline, executions.venue
    known = pipeline.ledger.settlements
    if known.knows(venue, event.settlement_id) or event.time_ns < known.opened_ns:
        return
    text = f"booking {event.settlement_id}: {event.kind} of {event.amount} {event.currency}: {event.reason}"
    executions.raise_break(event.symbol, text, now_ns)
    what = (event.symbol, event.kind, str(event.amount), event.currency, event.reason, event.time_ns)
    pipeline.commit(BookingNoted(venue, event.settlement_id, *what), now_ns)


def _read(executions: Executions, event: events.BookingsRead, now_ns: int) -> None:
    pipeline, venue = executions.pipeline, executions.venue
    ledger = pipeline.ledger
    known_ns = ledger.settlements.known_until_ns.get((venue, event.scope))
    if known_ns is not None and event.until_ns < known_ns + WORTH_A_RECORD_NS:
        return
    for index in _of_scope(ledger, venue, event.scope):
        for session in ledger.settlements.sessions.ended_before(index, event.until_ns - JUDGED_AFTER_NS):
            if not session.is_whole:
                text = f"funding of the session is {session.total_units} units, and {session.units} were booked of it"
                executions.raise_break(ledger.instruments[index].symbol, text, now_ns)
    pipeline.commit(BookingsKnown(venue, event.scope, event.until_ns), now_ns)


def _of_scope(ledger: Ledger, venue: str, scope: str) -> list[int]:
    return [one.index for one in ledger.instruments if one.venue == venue and one.settlement_currency == scope]


HEARS: Final[dict[type, Callable[[Executions, Any, int], None]]] = {
    events.BookingUnexplained: _unexplained,
    events.BookingsRead: _read,
}


# -- the ledger --------------------------------------------------------------------------------------------------------


def _apply_noted(ledger: Ledger, record: BookingNoted) -> None:
    ledger.settlements.remember(record.venue, record.settlement_id)


def _apply_known(ledger: Ledger, record: BookingsKnown) -> None:
    ledger.settlements.known_until_ns[record.venue, record.scope] = record.until_ns
    for index in _of_scope(ledger, record.venue, record.scope):
        ledger.settlements.sessions.drop_before(index, record.until_ns - JUDGED_AFTER_NS)


APPLIES: Final[dict[type[records.Record], Callable[[Ledger, Any], None]]] = {
    BookingNoted: _apply_noted,
    BookingsKnown: _apply_known,
}
