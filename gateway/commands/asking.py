"""How commands ask a running gateway: where it is, who asks, and what it answers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway.commands.terminal import fail
from gateway.operators.callers import own_token
from gateway.operators.channel import Answer, AnyCommand, ControlError, Kill, ask

Place = Annotated[Path, typer.Argument(help="The gateway's configuration, or its journal's directory.")]
Reason = Annotated[str, typer.Option(help="Why: it is kept for ever.")]
Who = Annotated[str, typer.Option(help="Who decides: kept, and not believed; MARGINGATE_TOKEN proves it.")]


def journal_directory(place: Path) -> Path:
    """Find the journal, without a look at the rest: a kill must not fail for a mistake in another table."""
    if place.is_dir():
        return place
    try:
        written = tomllib.loads(place.read_text())["gateway"]["journal_directory"]
        return place.parent / str(written)
    except (OSError, ValueError, LookupError, TypeError) as error:
        fail(f"{place}: no journal_directory can be read from it: {error}")


def answered(place: Path, command: AnyCommand) -> Answer:
    """Return the gateway's answer; ends the process, with the reason, where none runs or it refuses."""
    answer = asked(journal_directory(place), command)
    if answer is None:
        fail("no gateway runs there")
    return answer


def asked(directory: Path, command: AnyCommand) -> Answer | None:
    """Return the gateway's answer; None where none runs."""
    try:
        return ask(directory, msgspec.structs.replace(command, token=_token(command)))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except (ControlError, OSError) as error:
        fail(str(error))


def _token(command: AnyCommand) -> str:
    try:
        return own_token()
    except ControlError:
        if isinstance(command, Kill):  # it waits for nothing
            return ""
        raise
