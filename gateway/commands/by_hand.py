"""`margingate set-state` and `correct-trade`: what a person changes in the journal of a gateway that is stopped."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from gateway import records
from gateway.clients.standing import ACCOUNT
from gateway.commands import stopped
from gateway.commands.terminal import fail
from gateway.corrections import bust_of, correction_of
from gateway.messages.trade_capture import Trade
from gateway.recovery import Recovered
from risk.account import AccountState

JournalPath = Annotated[Path, typer.Argument(help="The journal's directory; its gateway must be stopped.")]


def set_state(
    journal: JournalPath,
    account: Annotated[str, typer.Argument(help="The account's name.")],
    state: Annotated[AccountState, typer.Argument(help="What it may do from the next start on.")],
    reason: Annotated[str, typer.Option(help="Who decided this, and why: it is kept for ever.")],
) -> None:
    """Let an account trade again after a break, or restrict it: a person's decision, journalled."""

    def moved(known: Recovered, now_ns: int) -> records.AccountStateMoved:
        accounts = known.ledger.accounts
        if account not in accounts:
            fail(f"{journal}: no account {account}; there are {', '.join(sorted(accounts)) or 'none'}")
        return records.AccountStateMoved(account, state, reason)

    before, _ = stopped.write(journal, moved)
    standing = before.ledger.standing
    typer.echo(f"{account}: {standing.state_of(before.ledger.accounts[account]).value} -> {state.value}: {reason}")
    if (ACCOUNT, account) in standing.kills:
        typer.echo(f"{account} is killed, and stays so until it is reinstated")


def correct_trade(
    journal: JournalPath,
    venue: Annotated[str, typer.Argument(help="The venue's name in the configuration.")],
    trade_id: Annotated[str, typer.Argument(help="The venue's id of the trade.")],
    reason: Annotated[str, typer.Option(help="Who said so, and why: it is kept for ever, and told to the client.")],
    price: Annotated[str, typer.Option(help="The new price; without it and --quantity the trade is annulled.")] = "",
    quantity: Annotated[str, typer.Option(help="The new quantity.")] = "",
) -> None:
    """Annul a trade, or change it, as a venue that tells of it by other means has done: positions, cash, reports."""

    def decided(known: Recovered, now_ns: int) -> records.TradeBusted | records.TradeCorrected:
        trade = known.reports.trades.find(venue, trade_id)
        if trade is None or trade.is_busted or known.ledger.order_of(trade.order_id) is None:
            fail(f"{journal}: {venue} has no trade {trade_id} that stands")
        if not price and not quantity:
            return bust_of(trade, reason)
        lots, ticks = _corrected(trade, price, quantity)
        return correction_of(trade, lots, ticks, trade.fee_units, reason)

    _, record = stopped.write(journal, decided)
    what = "annulled" if isinstance(record, records.TradeBusted) else "corrected"
    typer.echo(f"{venue} {trade_id} of order {record.order_id}: {what}: {reason}")


def _corrected(trade: Trade, price: str, quantity: str) -> tuple[int, int]:
    """Return a trade's new lots and ticks; what is not said stays as it is."""
    instrument = trade.instrument
    try:
        lots = instrument.lots_from_decimal(Decimal(quantity)) if quantity else trade.lots
        ticks = instrument.ticks_from_decimal(Decimal(price)) if price else trade.ticks
    except InvalidOperation:
        fail("--price and --quantity are decimal numbers")
    if not lots or not ticks or lots < 0 or ticks < 0:
        fail(f"--price and --quantity are whole ticks and lots of {instrument.symbol}")
    return lots, ticks
