"""The `margingate` command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import uvloop
from rich.console import Console

from gateway import compiled
from gateway.admin.command import admin, admin_token, audit_app
from gateway.backtest.command import backtest
from gateway.clients.passwords import MAX_CHARACTERS, hashed
from gateway.commands.breaks import breaks, close_break
from gateway.commands.control import (
    decide_margin,
    holds,
    hook_token,
    kill,
    logout,
    margin_calls,
    move_transfer,
    plan,
    reinstate,
    release_hold,
    sessions,
    show_ranking,
)
from gateway.commands.endings import Commands, fail, stopping_signals
from gateway.commands.journal import correct_trade, replay_journal, set_state
from gateway.commands.margin import margin
from gateway.commands.parameters import app as parameters_app
from gateway.commands.top import top
from gateway.commands.transfers import approve_transfer, decline_transfer, transfers
from gateway.commands.venues import venues
from gateway.config import Config, ConfigError, load
from gateway.config.credentials import CredentialsError
from gateway.fit.command import fit
from gateway.journal import JournalError, page
from gateway.recorded.command import recorded
from gateway.recovery import UnreadableRecordError
from gateway.status import StatusWriter
from gateway.storm.command import storm
from protocols.fix import codec
from protocols.venues import frames
from risk import cash, gate, kernel, mirror, remargin

app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)

ConfigPath = Annotated[Path, typer.Argument(help="The configuration, a TOML file (docs/configuration.md).")]


def _version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"margingate {version('margingate')}")
        raise typer.Exit


@app.callback()
def margingate(
    is_version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """Margin gateway for crypto derivatives: FIX in, inline margin checks, exchanges' WebSockets out."""


def run(
    config: ConfigPath,
    status_json: Annotated[bool, typer.Option(help="Print a line of JSON at each report interval.")] = False,
) -> None:
    """Run the gateway until it is interrupted."""
    uvloop.run(_run(_loaded(config), status_json))


def check(config: ConfigPath) -> None:
    """Read a configuration and say what is wrong with it, line by line."""
    loaded = _loaded(config)
    counted = {"account": loaded.account, "session": loaded.fix.session, "venue": loaded.venue}
    counts = ", ".join(f"{len(rows)} {name}{'s' if len(rows) > 1 else ''}" for name, rows in counted.items())
    print(f"{config}: {counts}: ok")


class Scenario(StrEnum):
    """Stories of the demo (fixtures/scenarios)."""

    CALM = "calm"
    SELLOFF = "selloff"
    FLASH_CRASH = "flash-crash"
    VENUE_OUTAGE = "venue-outage"
    DEPEG = "depeg"


def demo(
    scenario: Annotated[
        Scenario | None, typer.Option(help="Prices that move as in this story, with margin called for.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, max=3600, help="How long to trade: 20, or as long as the scenario is.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What the market and the clients do depends on it.")] = 1,
    clients: Annotated[int, typer.Option(min=1, max=16, help="Trading clients, each with two accounts.")] = 3,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Requests a second of each client.")] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, no more.")] = False,
    page: Annotated[bool, typer.Option(help="Serve the operator's page too, without --json; it prints where.")] = True,
) -> None:
    """Run four simulated venues, the gateway and trading clients on this machine, then replay the journal."""
    from gateway.demo.runner import Options, run_demo  # late: the other commands start no processes

    options = Options(
        seconds=seconds or (20.0 if scenario is None else 0.0),
        seed=seed,
        clients=clients,
        rate=rate,
        as_json=as_json,
        has_page=page and not as_json,
        scenario="" if scenario is None else scenario.value,
    )
    raise typer.Exit(run_demo(options))


def password() -> None:
    """Ask for a password, or read it from standard input, and print the line for a session's credentials file."""
    if sys.stdin.isatty():
        text = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        text = sys.stdin.readline(MAX_CHARACTERS + 2).removesuffix("\n")
    try:
        print(f'password_hash = "{hashed(text)}"')
    except ValueError as error:
        fail(str(error))


def kernels() -> None:
    """Say whether the compiled kernels are in use."""
    parts = {
        "FIX codec": codec.COMPILED,
        "margin kernel": kernel.COMPILED,
        "checks": gate.COMPILED and cash.COMPILED,
        "orders and reports": compiled.COMPILED,
        "venue frames": frames.COMPILED,
        "journal": page.COMPILED,
        "margin of many accounts": remargin.COMPILED and mirror.COMPILED,
    }
    for name, is_compiled in parts.items():
        print(f"{name}: {'compiled' if is_compiled else 'plain Python (no compiled kernel: slower, the same results)'}")


# In the order of `--help`, by what a person has in mind.
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Begin": {"demo": demo, "venues": venues, "check": check, "run": run, "kernels": kernels},
    "Look at a running gateway": {
        "top": top,
        "sessions": sessions,
        "margin-calls": margin_calls,
        "transfers": transfers,
        "holds": holds,
        "breaks": breaks,
        "plan": plan,
        "ranking": show_ranking,
        "admin": admin,
    },
    "Act": {
        "kill": kill,
        "reinstate": reinstate,
        "logout": logout,
        "approve-transfer": approve_transfer,
        "decline-transfer": decline_transfer,
        "move-transfer": move_transfer,
        "decide-margin": decide_margin,
        "release-hold": release_hold,
        "close-break": close_break,
    },
    "The journal": {"replay": replay_journal, "set-state": set_state, "correct-trade": correct_trade},
    "Margin and prices": {"margin": margin, "fit": fit, "backtest": backtest, "storm": storm, "recorded": recorded},
    "Passwords and tokens": {"password": password, "hook-token": hook_token, "admin-token": admin_token},
}
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)
app.add_typer(parameters_app, name="parameters", rich_help_panel="Margin and prices")
app.add_typer(audit_app, name="audit", rich_help_panel="The journal")


async def _run(config: Config, status_json: bool) -> None:
    from gateway.app import App  # late: the other commands need no sockets

    try:
        gateway = App(config)
    except (JournalError, UnreadableRecordError, CredentialsError) as error:
        fail(str(error))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stopping_signals():
        loop.add_signal_handler(number, stop.set)
    try:
        port = await gateway.start()
    except OSError as error:
        await gateway.stop()
        fail(f"can not listen on {error.strerror}")
    name = f"margingate {version('margingate')} {config.gateway.name}"
    Console(stderr=True).print(f"{name}: FIX on {config.fix.listen_host}:{port}, stop with Ctrl-C")

    # Whoever started us to read this may go away: then we end as for a signal, in order.
    status = StatusWriter(_print_json, lambda: loop.call_soon_threadsafe(stop.set)) if status_json else None
    await gateway.run(stop, None if status is None else status.publish)
    await gateway.stop()
    if status is not None:
        status.publish(gateway.snapshot() | {"state_hash": gateway.core.state_hash(), "is_final": True})
        status.close()


def _print_json(snapshot: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(snapshot).decode() + "\n")
    sys.stdout.flush()


def _loaded(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        fail(str(error))


def main() -> None:
    """Entry point of the command."""
    app()


if __name__ == "__main__":
    main()
