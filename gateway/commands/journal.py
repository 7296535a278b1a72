"""Commands on a journal: `replay`, and what a person decides while its gateway is stopped."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from gateway import records
from gateway.clients.standing import ACCOUNT
from gateway.commands.endings import fail
from gateway.commands.places import Place, StoppedPlace, journal_directory, recovered, stopped_journal, write
from gateway.corrections import bust_of, correction_of
from risk.account import AccountState


def replay_journal(
    journal: Place,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rebuild the state from a journal and print its hash."""
    directory = journal_directory(journal)
    with Console(stderr=True).status(f"replaying {directory}"):
        found = recovered(directory)
    ledger = found.ledger
    summary: dict[str, Any] = {
        "records": found.records,
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
        "state_hash": found.state_hash(),
    }
    if as_json:
        typer.echo(orjson.dumps(summary))
        return
    for name, value in summary.items():
        if isinstance(value, list):
            value = "\n".join([str(len(value)), *(f"    {line}" for line in value)])
        elif isinstance(value, dict):
            value = "\n".join([str(len(value)), *(f"    {key} is {text}" for key, text in value.items())])
        typer.echo(f"{name:15} {value}")


def set_state(
    journal: StoppedPlace,
    account: Annotated[str, typer.Argument(help="The account's name.")],
    state: Annotated[AccountState, typer.Argument(help="What it may do from the next start on.")],
    reason: Annotated[str, typer.Option(help="Who decided this, and why: it is kept for ever.")],
) -> None:
    """Let an account trade again after a break, or restrict it: a person's decision, journalled."""
    directory = journal_directory(journal)
    with stopped_journal(directory) as (log, found):
        ledger, known = found.ledger, found.ledger.accounts
        if account not in known:
            fail(f"{directory}: no account {account}; there are {', '.join(sorted(known)) or 'none'}")
        write(log, records.AccountStateMoved(account, state, reason))
    typer.echo(f"{account}: {ledger.standing.state_of(known[account]).value} -> {state.value}: {reason}")
    if (ACCOUNT, account) in ledger.standing.kills:
        typer.echo(f"{account} is killed, and stays so until it is reinstated")


def correct_trade(
    journal: StoppedPlace,
    venue: Annotated[str, typer.Argument(help="The venue's name in the configuration.")],
    trade_id: Annotated[str, typer.Argument(help="The venue's id of the trade.")],
    reason: Annotated[str, typer.Option(help="Who said so, and why: it is kept for ever, and told to the client.")],
    price: Annotated[str, typer.Option(help="The new price; without it and --quantity the trade is annulled.")] = "",
    quantity: Annotated[str, typer.Option(help="The new quantity.")] = "",
) -> None:
    """Annul a trade, or change it, as a venue that tells of it by other means has done: positions, cash, reports."""
    directory = journal_directory(journal)
    with stopped_journal(directory) as (log, found):
        trade = found.reports.trades.find(venue, trade_id)
        if trade is None or trade.is_busted or found.ledger.order_of(trade.order_id) is None:
            fail(f"{directory}: {venue} has no trade {trade_id} that stands")
        record: records.Record = bust_of(trade, reason)
        if price or quantity:
            try:
                lots = trade.instrument.lots_from_decimal(Decimal(quantity)) if quantity else trade.lots
                ticks = trade.instrument.ticks_from_decimal(Decimal(price)) if price else trade.ticks
            except InvalidOperation:
                fail("--price and --quantity are decimal numbers")
            if not lots or not ticks or lots < 0 or ticks < 0:
                fail(f"--price and --quantity are whole ticks and lots of {trade.instrument.symbol}")
            record = correction_of(trade, lots, ticks, trade.fee_units, reason)
        write(log, record)
    typer.echo(
        f"{venue} {trade_id} of order {trade.order_id}: {'corrected' if price or quantity else 'annulled'}: {reason}"
    )
