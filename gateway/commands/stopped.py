"""What commands do with the journal of a gateway that is stopped: look at its state, write what a person decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway import records
from gateway.clock import now_ns
from gateway.commands.terminal import fail
from gateway.journal import Journal, JournalError, read
from gateway.recovery import Recovered, UnreadableRecordError, replay

Record = TypeVar("Record", bound=records.Record)


def recovered(directory: Path) -> Recovered:
    """Return the state of a journal; ends the process, with the reason, where it can not be read."""
    _must_be_there(directory)
    try:
        return replay(read(directory))
    except (JournalError, UnreadableRecordError) as error:
        fail(str(error))


def write(directory: Path, decide: Callable[[Recovered, int], Record]) -> tuple[Recovered, Record]:
    """Append what `decide` makes of a journal's state and of now, in nanoseconds since 1970; return that state, and it.

    Ends the process, with the reason, where a gateway has the journal or it can not be read or written. What `decide`
    raises goes through, and nothing is written then.
    """
    _must_be_there(directory)  # to open a journal is to make one
    try:
        log = Journal.open(directory)
        try:
            now = now_ns()
            known = replay(read(directory))
            record = decide(known, now)
            log.append(records.TAGS[type(record)], records.encode(record), now, True)
        finally:
            log.close()
    except (JournalError, UnreadableRecordError) as error:
        fail(str(error))
    return known, record


def _must_be_there(directory: Path) -> None:
    if not directory.is_dir():
        fail(f"{directory}: there is no such directory")
