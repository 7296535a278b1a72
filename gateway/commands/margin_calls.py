"""`margingate margin-calls` and what is decided of margin: plan, ranking, move-transfer, decide-margin."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.commands.asking import Place, Reason, Who, answered
from gateway.commands.terminal import AsJson, print_json, print_rows
from gateway.operators.channel import DecideMargin, MoveTransfer, Plan, Ranking, ShowMargin


def plan(
    place: Place,
    account: Annotated[str, typer.Argument(help="The account.")],
    required: Annotated[float, typer.Option(help="Equity to reach, in maintenance margins.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Show what would be done to cover an account's margin again: each step with before, after and cost, in USD."""
    answer = answered(place, Plan(account, max(1, round(required * 10_000))))
    if as_json:
        print_json(answer)
        return
    rows = answer["steps"]
    if rows:
        print_rows([{name: _two_places(value) for name, value in row.items()} for row in rows], "rung")
    cured = "covered then" if answer["is_cured"] else "not covered then"
    typer.echo(
        f"account {account}: excess {answer['before']:,.2f} before, {answer['after']:,.2f} after, "
        f"cost {answer['cost']:,.2f} USD, {len(rows)} steps: {cured}"
    )


def _two_places(value: Any) -> Any:
    return f"{value:,.2f}" if isinstance(value, float) else value


def show_ranking(
    place: Place,
    symbol: Annotated[str, typer.Argument(help="The instrument.")],
    as_json: AsJson = False,
) -> None:
    """Show who would be deleveraged first in an instrument, of longs and of shorts."""
    answer = answered(place, Ranking(symbol))
    if as_json:
        print_json(answer)
        return
    print_rows([{"side": side} | row for side in ("long", "short") for row in answer[side]], "side")


def margin_calls(place: Place, as_json: AsJson = False) -> None:
    """Show accounts that are short of margin, what they are called for, and collateral on its way."""
    answer = answered(place, ShowMargin())
    if as_json:
        print_json(answer)
        return
    print_rows(answer["accounts"], "account")
    print_rows(answer["wallets"], "short wallet")
    print_rows(answer["transfers"], "transfer")


def move_transfer(
    place: Place,
    transfer: Annotated[str, typer.Argument(help="Its key, as margin-calls shows it.")],
    happening: Annotated[str, typer.Argument(help="sent, settled, failed or reversed.")],
    reason: Reason,
    amount: Annotated[str, typer.Option(help="What has settled, in whole ones of the asset.")] = "",
    reference: Annotated[str, typer.Option(help="The settlement's own id: told again, it counts once.")] = "",
    who: Who = "",
) -> None:
    """Tell what a bank, a chain or a custodian says of a transfer of collateral."""
    answer = answered(place, MoveTransfer(transfer, happening, reason, amount, reference, who))
    typer.echo(f"transfer {transfer}: {answer['state']}" + ("" if answer["is_news"] else ", as told before"))


def decide_margin(
    place: Place,
    account: Annotated[str, typer.Argument(help="An account's name.")],
    decision: Annotated[str, typer.Argument(help="reinstated, handed-over, exhausted; upheld, of a disputed call.")],
    reason: Reason,
    call: Annotated[str, typer.Option(help="The call that is upheld.")] = "",
    who: Who = "",
) -> None:
    """Decide what only a person decides of an account's margin."""
    answer = answered(place, DecideMargin(account, decision, reason, call, who))
    typer.echo(f"account {account}: {answer['state']}")
