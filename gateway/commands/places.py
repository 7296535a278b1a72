"""Where a gateway is: its configuration or its journal's directory; and the journal of one that is stopped."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gateway import records
from gateway.clock import now_ns
from gateway.commands.endings import fail, of_machine
from gateway.journal import Journal, JournalError, read
from gateway.journal.reader import segments
from gateway.recovery import Recovered, UnreadableRecordError, replay

Place = Annotated[Path, typer.Argument(help="The gateway's configuration, or its journal's directory.")]
StoppedPlace = Annotated[Path, typer.Argument(help="The configuration, or the journal's directory, of a stopped one.")]

_NO_CONFIGURATION = (
    "no journal_directory can be read from it: name a configuration (`margingate check` says what is wrong with it), "
    "or the journal's directory"
)


def journal_directory(place: Path) -> Path:
    """Find the journal, without a look at the rest: a kill must not fail for a mistake in another table."""
    try:
        if place.is_dir():
            return place
        text = place.read_bytes().decode("utf-8-sig")
        written = tomllib.loads(text.replace("\r\n", "\n"))["gateway"]["journal_directory"]
    except OSError as error:
        fail(f"{place}: {error.strerror}: name the gateway's configuration, or its journal's directory")
    except (ValueError, LookupError, TypeError):
        fail(f"{place}: {_NO_CONFIGURATION}")
    if not isinstance(written, str):
        fail(f"{place}: {_NO_CONFIGURATION}")
    return place.parent / written


def recovered(directory: Path) -> Recovered:
    """Replay a journal, beside a gateway that runs as well; ends the process where there is none."""
    with _told():
        _require_journal(directory)
        return replay(read(directory))


@contextmanager
def stopped_journal(directory: Path) -> Iterator[tuple[Journal, Recovered]]:
    """Give the journal of a gateway that is stopped, locked, with its state; ends the process where there is none."""
    with _told():
        _require_journal(directory)  # to open a journal is to make one
        log = Journal.open(directory)
        try:
            yield log, replay(read(directory))
        finally:
            log.close()


def write(log: Journal, record: records.Record, time_ns: int | None = None) -> None:
    """Append what a person has decided."""
    at = now_ns() if time_ns is None else time_ns
    log.append(records.TAGS[type(record)], records.encode(record), at, True)


def _require_journal(directory: Path) -> None:
    if not directory.is_dir():
        fail(f"{directory}: there is no such directory; a gateway makes its journal at its first start")
    if not segments(directory):
        fail(f"{directory}: no journal is in it (no file *.mgj): is it [gateway] journal_directory?")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (JournalError, UnreadableRecordError) as error:
        fail(str(error))
    except OSError as error:
        fail(of_machine(error))
