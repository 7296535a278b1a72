"""`margingate transfers`, `approve-transfer` and `decline-transfer`: collateral that the gateway moves by itself."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from gateway.commands.control import Reason, Who, answered
from gateway.commands.endings import fail
from gateway.commands.places import Place
from gateway.commands.tables import show
from gateway.operators.channel import ApproveTransfer, DeclineTransfer, ListTransfers

Key = Annotated[str, typer.Argument(help="Its key, as transfers shows it.")]


def transfers(
    place: Place, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show transfers that are wanted, await approval or are on their way, and what stays short."""
    answer = answered(place, ListTransfers())
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    if not answer["is_on"]:
        fail("there is no [collateral] in its configuration: it makes no transfers")
    for name, first in (("transfers", "transfer"), ("house_calls", "house"), ("unmet", "account")):
        show(answer[name], first)


def approve_transfer(place: Place, transfer: Key, reason: Reason, who: Who = "") -> None:
    """Approve of a transfer; a large one takes two people."""
    answer = answered(place, ApproveTransfer(transfer, reason, who))
    typer.echo(f"transfer {transfer}: {answer['state']}, approvals {answer['approvals']}")


def decline_transfer(place: Place, transfer: Key, reason: Reason, who: Who = "") -> None:
    """Have a transfer that has not begun dropped; its route is not taken for a while."""
    answer = answered(place, DeclineTransfer(transfer, reason, who))
    typer.echo(f"transfer {transfer}: {answer['state']}")
