"""`margingate venues`: simulated venues alone, in the process that asked for them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

MODULE = "fixtures.venues.run"


def venues(
    venue: Annotated[list[str] | None, typer.Option(help="Which one; repeatable. All if none is named.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65_000, help="Of the first; the others follow. 0: free ones.")] = 0,
    faults: Annotated[Path | None, typer.Option(help="Which faults to commit: JSON or TOML.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Prices from a recorded file instead of a seed.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long.")] = None,
    seed: Annotated[int, typer.Option(help="What the market does depends on it.")] = 1,
    generous_limits: Annotated[bool, typer.Option(help="Rate limits that never bite.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a venue.")] = False,
) -> None:
    """Run simulated venues on this machine, for any client to connect to; print addresses and test credentials."""
    arguments = [f"--port={port}", f"--seed={seed}", *(f"--venue={name}" for name in venue or ())]
    for name, value in (("faults", faults), ("replay", replay), ("seconds", seconds)):
        if value is not None:
            arguments.append(f"--{name}={value}")
    arguments += ["--generous-limits"] * generous_limits + ["--json"] * as_json
    # The venues are no part of the gateway: it becomes their process, so that signals and exit codes are theirs.
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", MODULE, *arguments])
