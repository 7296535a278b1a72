"""`margingate recorded`: play a recorded stream of a venue to its codec, and say what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import typer
from rich.console import Console

from gateway.commands.endings import fail
from gateway.recorded.files import Recording
from gateway.recorded.player import Played, play


def recorded(
    file: Annotated[Path, typer.Argument(help="Lines of JSON or one document; plain, gzipped or zipped.")],
    venue: Annotated[str, typer.Option(help="binance, bybit, deribit or okx; told by the frames if not said.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play a recorded stream of a venue to the codec that would read it, and count. Exit status 1: nothing was read."""
    try:
        with Console(stderr=True).status(f"playing {file}"):
            played = play(Recording(file), venue)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from None
    if not played.messages:
        fail(f"{file}: no frame in it, so there is nothing to play (docs/venues.md says what a recording is)")
    typer.echo(orjson.dumps(msgspec.to_builtins(played)).decode() if as_json else text_of(played))
    if played.refused == played.messages:
        fail(f"{file}: every message was refused; is it of another venue than {played.venue}?")


def text_of(played: Played) -> str:
    """Return the counts as lines."""
    quotes, checksums = played.quotes, played.checksums
    partial = " (no snapshot recorded: chains only)" if played.is_partial else ""
    rows: list[tuple[str, Any]] = [
        ("venue", played.venue),
        ("messages", f"{played.messages:,}"),
        ("books", f"{played.books}, usable at the end {played.books_usable}{partial}"),
        ("snapshots", f"{played.snapshots:,}"),
        ("links that hold", f"{played.links:,}"),
        ("gaps", f"{played.gaps:,}"),
        ("checksums", f"{checksums.equal:,} of {checksums.compared:,} equal, {played.checksums_of_zero:,} are 0"),
        ("quotes", f"{quotes.equal:,} of {quotes.compared:,} equal to the book of the same moment"),
        ("refused", f"{played.refused:,}"),
    ]
    lines = [f"{name:16} {value}" for name, value in rows]
    tables = (
        ("by kind", played.by_kind),
        ("acknowledgements, replies, heartbeats", played.control),
        ("left out of the file", played.left_out),
        ("events", played.events),
        ("gaps", played.gap_reasons),
        ("refused", played.refusals),
        ("errors", played.errors),
        ("quotes that differ", dict.fromkeys(played.differing_quotes, 1)),
    )
    for name, counts in tables:
        if counts:
            lines += [f"{name}:", *(f"    {count:>9,}  {text}" for text, count in counts.items())]
    return "\n".join(lines)
