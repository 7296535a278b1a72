"""`margingate sessions`, `logout`, `holds`, `release-hold` and `hook-token`: clients of a running gateway."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from gateway.commands.asking import Place, Reason, Who, answered
from gateway.commands.terminal import AsJson, print_json, print_rows
from gateway.hook.session import token_hash
from gateway.operators.channel import ListHolds, LogOut, ReleaseHold, Status


def sessions(place: Place, as_json: AsJson = False) -> None:
    """Show the sessions and accounts of a running gateway."""
    answer = answered(place, Status())
    if as_json:
        print_json(answer)
        return
    print_rows(answer["sessions"], "session")
    print_rows(answer["accounts"], "account")
    if answer["hooks"]:
        print_rows(answer["hooks"], "hook")


def logout(place: Place, session: Annotated[str, typer.Option(help="A session's name.")], reason: Reason) -> None:
    """Log a client out; it may log on again."""
    answered(place, LogOut(session, reason))
    typer.echo(f"session {session}: logged out")


def holds(
    place: Place,
    unknown: Annotated[bool, typer.Option("--unknown", help="Only those whose deadline has passed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the holds of systems that send their own orders."""
    answer = answered(place, ListHolds(unknown))
    if as_json:
        print_json(answer)
        return
    print_rows(answer["holds"], "hold")
    if not answer["is_complete"]:
        typer.echo("and more")


def release_hold(
    place: Place, hold: Annotated[str, typer.Argument(help="Its id.")], reason: Reason, who: Who = ""
) -> None:
    """Free the margin of an unknown hold: somebody has seen at the venue that its order has ended."""
    answer = answered(place, ReleaseHold(hold, reason, who))
    typer.echo(f"hold {hold}: released, {answer['released']['filled']} had been filled")


def hook_token(client: Annotated[str, typer.Argument(help="The client's name in the configuration.")]) -> None:
    """Make a token for a client of the hook: what it says, shown once, and the lines of its credentials file."""
    token = secrets.token_urlsafe(32)
    typer.echo(f"the client says: {token}", err=True)
    typer.echo(f'client = "{client}"\ntoken_sha256 = "{token_hash(token).hex()}"')
