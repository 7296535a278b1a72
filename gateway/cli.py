"""The `margingate` command."""

from __future__ import annotations

import asyncio
import signal
import sys
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
import uvloop
from rich.console import Console

from gateway import compiled, records
from gateway.admin.command import register as register_admin
from gateway.backtest.command import backtest
from gateway.clients.passwords import MAX_CHARACTERS, hashed
from gateway.clients.standing import ACCOUNT
from gateway.clock import now_ns
from gateway.commands.breaks import breaks, close_break
from gateway.commands.control import register
from gateway.commands.margin import margin
from gateway.commands.parameters import app as parameters_app
from gateway.commands.top import top
from gateway.commands.transfers import approve_transfer, decline_transfer, transfers
from gateway.commands.venues import venues
from gateway.config import Config, ConfigError, load
from gateway.config.credentials import CredentialsError
from gateway.corrections import bust_of, correction_of
from gateway.fit.command import fit
from gateway.journal import Journal, JournalError, page, read
from gateway.recorded.command import recorded
from gateway.recovery import UnreadableRecordError, replay
from gateway.status import StatusWriter
from gateway.storm.command import storm
from protocols.fix import codec
from protocols.venues import frames
from risk import cash, gate, kernel, mirror, remargin
from risk.account import AccountState

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)

app.command("margin")(margin)
app.command("backtest")(backtest)
app.command("fit")(fit)
app.command("venues")(venues)
app.command("recorded")(recorded)
app.command("storm")(storm)
app.command("breaks")(breaks)
app.command("close-break")(close_break)
app.add_typer(parameters_app, name="parameters")
app.command("top")(top)
app.command("transfers")(transfers)
app.command("approve-transfer")(approve_transfer)
app.command("decline-transfer")(decline_transfer)

ConfigPath = Annotated[Path, typer.Argument(help="The configuration, a TOML file (docs/configuration.md).")]


@app.callback()
def margingate() -> None:
    """Margin gateway for crypto derivatives: FIX in, inline margin checks, exchanges' WebSockets out."""


@app.command()
def run(
    config: ConfigPath,
    status_json: Annotated[bool, typer.Option(help="Print a line of JSON at each report interval.")] = False,
) -> None:
    """Run the gateway until it is interrupted."""
    uvloop.run(_run(_loaded(config), status_json))


@app.command()
def check(config: ConfigPath) -> None:
    """Read a configuration and say what is wrong with it, line by line."""
    loaded = _loaded(config)
    counts = f"{len(loaded.account)} accounts, {len(loaded.fix.session)} sessions, {len(loaded.venue)} venues"
    print(f"{config}: {counts}: ok")


@app.command("replay")
def replay_journal(
    journal: Annotated[Path, typer.Argument(help="The journal's directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rebuild the state from a journal and print its hash."""
    try:
        recovered = replay(read(journal))
    except (JournalError, UnreadableRecordError) as error:
        _fail(str(error))
    ledger = recovered.ledger
    summary: dict[str, Any] = {
        "records": recovered.records,
        "accounts": len(ledger.accounts),
        "instruments": len(ledger.instruments),
        "orders": ledger.order_count,
        "working_orders": sum(1 for _ in ledger.working_orders()),
        "breaks": [f"{b.venue} {b.symbol}: {b.text}" for b in ledger.breaks],
        "killed": [f"{scope} {name}: by {k.who}: {k.reason}" for (scope, name), k in ledger.standing.kills.items()],
        "restricted": {
            name: f"{account.state.value}: {account.state_reason}"
            for name, account in ledger.accounts.items()
            if account.state is not AccountState.TRADING
        },
        "state_hash": recovered.state_hash(),
    }
    if as_json:
        print(orjson.dumps(summary).decode())
    else:
        for name, value in summary.items():
            if isinstance(value, list):
                value = "\n".join([str(len(value)), *(f"    {line}" for line in value)])
            elif isinstance(value, dict):
                value = "\n".join([str(len(value)), *(f"    {key} is {text}" for key, text in value.items())])
            print(f"{name:15} {value}")


class Scenario(StrEnum):
    """Stories of the demo (fixtures/scenarios)."""

    CALM = "calm"
    SELLOFF = "selloff"
    FLASH_CRASH = "flash-crash"
    VENUE_OUTAGE = "venue-outage"
    DEPEG = "depeg"


@app.command()
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


@app.command("set-state")
def set_state(
    journal: Annotated[Path, typer.Argument(help="The journal's directory; its gateway must be stopped.")],
    account: Annotated[str, typer.Argument(help="The account's name.")],
    state: Annotated[AccountState, typer.Argument(help="What it may do from the next start on.")],
    reason: Annotated[str, typer.Option(help="Who decided this, and why: it is kept for ever.")],
) -> None:
    """Let an account trade again after a break, or restrict it: a person's decision, journalled."""
    if not journal.is_dir():
        _fail(f"{journal}: there is no such directory")  # to open a journal is to make one
    try:
        log = Journal.open(journal)
        try:
            ledger = replay(read(journal)).ledger
            known = ledger.accounts
            if account not in known:
                _fail(f"{journal}: no account {account}; there are {', '.join(sorted(known)) or 'none'}")
            record = records.AccountStateMoved(account, state, reason)
            log.append(records.TAGS[type(record)], records.encode(record), now_ns(), True)
        finally:
            log.close()
    except (JournalError, UnreadableRecordError) as error:
        _fail(str(error))
    print(f"{account}: {ledger.standing.state_of(known[account]).value} -> {state.value}: {reason}")
    if (ACCOUNT, account) in ledger.standing.kills:
        print(f"{account} is killed, and stays so until it is reinstated")


@app.command()
def password() -> None:
    """Ask for a password, or read it from standard input, and print the line for a session's credentials file."""
    if sys.stdin.isatty():
        text = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        text = sys.stdin.readline(MAX_CHARACTERS + 2).removesuffix("\n")
    try:
        print(f'password_hash = "{hashed(text)}"')
    except ValueError as error:
        _fail(str(error))


@app.command("correct-trade")
def correct_trade(
    journal: Annotated[Path, typer.Argument(help="The journal's directory; its gateway must be stopped.")],
    venue: Annotated[str, typer.Argument(help="The venue's name in the configuration.")],
    trade_id: Annotated[str, typer.Argument(help="The venue's id of the trade.")],
    reason: Annotated[str, typer.Option(help="Who said so, and why: it is kept for ever, and told to the client.")],
    price: Annotated[str, typer.Option(help="The new price; without it and --quantity the trade is annulled.")] = "",
    quantity: Annotated[str, typer.Option(help="The new quantity.")] = "",
) -> None:
    """Annul a trade, or change it, as a venue that tells of it by other means has done: positions, cash, reports."""
    if not journal.is_dir():
        _fail(f"{journal}: there is no such directory")
    try:
        log = Journal.open(journal)
        try:
            recovered = replay(read(journal))
            trade = recovered.reports.trades.find(venue, trade_id)
            if trade is None or trade.is_busted or recovered.ledger.order_of(trade.order_id) is None:
                _fail(f"{journal}: {venue} has no trade {trade_id} that stands")
            record: records.Record = bust_of(trade, reason)
            if price or quantity:
                try:
                    lots = trade.instrument.lots_from_decimal(Decimal(quantity)) if quantity else trade.lots
                    ticks = trade.instrument.ticks_from_decimal(Decimal(price)) if price else trade.ticks
                except InvalidOperation:
                    _fail("--price and --quantity are decimal numbers")
                if not lots or not ticks or lots < 0 or ticks < 0:
                    _fail(f"--price and --quantity are whole ticks and lots of {trade.instrument.symbol}")
                record = correction_of(trade, lots, ticks, trade.fee_units, reason)
            log.append(records.TAGS[type(record)], records.encode(record), now_ns(), True)
        finally:
            log.close()
    except (JournalError, UnreadableRecordError) as error:
        _fail(str(error))
    print(f"{venue} {trade_id} of order {trade.order_id}: {'corrected' if price or quantity else 'annulled'}: {reason}")


@app.command()
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


register(app)
register_admin(app)


async def _run(config: Config, status_json: bool) -> None:
    from gateway.app import App  # late: the other commands need no sockets

    try:
        gateway = App(config)
    except (JournalError, UnreadableRecordError, CredentialsError) as error:
        _fail(str(error))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        port = await gateway.start()
    except OSError as error:
        gateway.journal.close()
        _fail(f"can not listen on {config.fix.listen_host}:{config.fix.listen_port}: {error.strerror}")
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
        _fail(str(error))


def _fail(text: str) -> NoReturn:
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)
    raise typer.Exit(1)


def main() -> None:
    """Entry point of the command."""
    app()


if __name__ == "__main__":
    main()
