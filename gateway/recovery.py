"""State from a journal: the same apply and report that ran live, over every record."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway import records
from gateway.journal import Record
from gateway.ledger import Ledger
from gateway.reports import Reports
from protocols.fix.session import SessionState


class UnreadableRecordError(Exception):
    """A journal record is sound but says nothing that this version understands."""


class Recovered(msgspec.Struct):
    """What a replay leaves."""

    ledger: Ledger
    reports: Reports
    records: int
    time_ns: int

    def state_hash(self) -> str:
        """Return the hash over the book and the session numbers."""
        return state_hash(self.ledger, self.reports)


def replay(journal: Iterable[Record], sessions: dict[str, SessionState] | None = None) -> Recovered:
    """Rebuild all state from records, oldest first. `sessions` are those already set up; others appear as recorded.

    Raises
    ------
    UnreadableRecordError
        Where a record is of no known type or can not be applied: the journal is of a newer version, or there is a bug.
    """
    ledger = Ledger()
    reports = Reports(ledger, {} if sessions is None else sessions)
    reports.is_replaying = True
    count, time_ns = 0, 0
    for entry in journal:
        try:
            record = records.decode(entry.payload)
            ledger.apply(record, entry.time_ns)
            reports.report(record, entry.sequence, entry.time_ns)
        except Exception as error:
            where = f"record {entry.sequence} of type {entry.record_type}"
            raise UnreadableRecordError(f"{where} can not be applied: {type(error).__name__}: {error}") from error
        count, time_ns = count + 1, entry.time_ns
    reports.is_replaying = False
    reports.touched.clear()
    return Recovered(ledger, reports, count, time_ns)


def state_hash(ledger: Ledger, reports: Reports) -> str:
    """Return one hash over the book, every session's numbers, and the messages that wait for their turn."""
    sessions = reports.sessions
    numbers = ",".join(f"{name}:{sessions[name].next_in}:{sessions[name].next_out}" for name in sorted(sessions))
    duties = reports.trades.duties.parts()
    if duties:
        numbers = f"{numbers};{duties}"
    waiting = ",".join(f"{name}:{list(reports.delayed[name])}" for name in sorted(reports.delayed))
    return ledger.state_hash(f"{numbers};{waiting}" if waiting else numbers)
