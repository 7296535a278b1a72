"""The commands of the operator's channel: kill, reinstate, logout, sessions."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import typer

from gateway import records
from gateway.clients.standing import ACCOUNT, DESK, FIRM, GROUPS, HOOK, SESSION
from gateway.commands.endings import fail
from gateway.commands.places import Place, journal_directory, stopped_journal, write
from gateway.commands.tables import show
from gateway.hook.session import token_hash
from gateway.operators.callers import own_token
from gateway.operators.channel import (
    NAME,
    Answer,
    AnyCommand,
    ControlError,
    DecideMargin,
    Kill,
    ListHolds,
    LogOut,
    MoveTransfer,
    Plan,
    Ranking,
    Reinstate,
    ReleaseHold,
    ShowMargin,
    Status,
    ask,
    person,
)
from gateway.operators.kills import MAX_REASON, MAX_WHO, printable
from risk.marks import INSTRUMENT, VENUE

SessionName = Annotated[str | None, typer.Option("--session", help="A session's name.")]
AccountName = Annotated[str | None, typer.Option("--account", help="An account's name.")]
HookName = Annotated[str | None, typer.Option("--hook", help="The name of a client of the hook.")]
DeskName = Annotated[str | None, typer.Option("--desk", help="A desk's name: all of its accounts.")]
FirmName = Annotated[str | None, typer.Option("--firm", help="A firm's name, or the gateway's: all accounts.")]
VenueName = Annotated[str | None, typer.Option("--venue", help="A venue's name.")]
InstrumentName = Annotated[str | None, typer.Option("--instrument", help="An instrument's symbol.")]
Reason = Annotated[str, typer.Option(help="Why: it is kept for ever.")]
Who = Annotated[str, typer.Option(help="Who decides: kept, and not believed; MARGINGATE_TOKEN proves it.")]


def kill(
    place: Place,
    reason: Reason,
    session: SessionName = None,
    account: AccountName = None,
    hook: HookName = None,
    desk: DeskName = None,
    firm: FirmName = None,
    venue: VenueName = None,
    instrument: InstrumentName = None,
    who: Who = "",
) -> None:
    """Take no new orders of what is named, whatever it is, and cancel all that it has working, now."""
    scope, name = _target(
        (SESSION, session), (ACCOUNT, account), (DESK, desk), (FIRM, firm), (VENUE, venue), (INSTRUMENT, instrument),
        (HOOK, hook),
    )  # fmt: skip
    directory = journal_directory(place)
    answer = asked(directory, Kill(scope, name, reason, who))
    if answer is None:
        _write(directory, records.Killed(scope, name, *_said(who, reason)))
        typer.echo(f"{scope} {name}: no gateway runs; killed from its next start on")
        return
    typer.echo(f"{scope} {name}: killed, {answer['cancels']} orders being cancelled")
    if not answer["is_journalled"]:
        fail("the journal can not be written: a restart would not know of this kill")


def reinstate(
    place: Place,
    reason: Reason,
    session: SessionName = None,
    account: AccountName = None,
    hook: HookName = None,
    desk: DeskName = None,
    firm: FirmName = None,
    venue: VenueName = None,
    instrument: InstrumentName = None,
    who: Who = "",
) -> None:
    """Lift a kill."""
    scope, name = _target(
        (SESSION, session), (ACCOUNT, account), (DESK, desk), (FIRM, firm), (VENUE, venue), (INSTRUMENT, instrument),
        (HOOK, hook),
    )  # fmt: skip
    directory = journal_directory(place)
    if asked(directory, Reinstate(scope, name, reason, who)) is None:
        _write(directory, records.Reinstated(scope, name, *_said(who, reason)))
        typer.echo(f"{scope} {name}: no gateway runs; reinstated from its next start on")
        return
    typer.echo(f"{scope} {name}: reinstated")


def logout(place: Place, session: Annotated[str, typer.Option(help="A session's name.")], reason: Reason) -> None:
    """Log a client out; it may log on again."""
    answered(place, LogOut(session, reason))
    typer.echo(f"session {session}: logged out")


def sessions(
    place: Place, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show the sessions and accounts of a running gateway."""
    answer = answered(place, Status())
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    show(answer["sessions"], "session")
    show(answer["accounts"], "account")
    if answer["hooks"]:
        show(answer["hooks"], "hook")


def holds(
    place: Place,
    unknown: Annotated[bool, typer.Option("--unknown", help="Only those whose deadline has passed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the holds of systems that send their own orders."""
    answer = answered(place, ListHolds(unknown))
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    show(answer["holds"], "hold")
    if not answer["is_complete"]:
        typer.echo("and more")


def release_hold(
    place: Place, hold: Annotated[str, typer.Argument(help="Its id.")], reason: Reason, who: Who = ""
) -> None:
    """Free the margin of an unknown hold: somebody has seen at the venue that its order has ended."""
    answer = answered(place, ReleaseHold(hold, reason, who))
    typer.echo(f"hold {hold}: released, {answer['released']['filled']} had been filled")


def plan(
    place: Place,
    account: Annotated[str, typer.Argument(help="The account.")],
    required: Annotated[float, typer.Option(help="Equity to reach, in maintenance margins.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what would be done to cover an account's margin again: each step with before, after and cost, in USD."""
    answer = answered(place, Plan(account, max(1, round(required * 10_000))))
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    rows = answer["steps"]
    if rows:
        show([{name: _two_places(value) for name, value in row.items()} for row in rows], "rung")
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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show who would be deleveraged first in an instrument, of longs and of shorts."""
    answer = answered(place, Ranking(symbol))
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    show([{"side": side} | row for side in ("long", "short") for row in answer[side]], "side")


def margin_calls(
    place: Place, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show accounts that are short of margin, what they are called for, and collateral on its way."""
    answer = answered(place, ShowMargin())
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    show(answer["accounts"], "account")
    show(answer["wallets"], "short wallet")
    show(answer["transfers"], "transfer")


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


def hook_token(client: Annotated[str, typer.Argument(help="The client's name in the configuration.")]) -> None:
    """Make a token for a client of the hook: what it says, shown once, and the lines of its credentials file."""
    token = secrets.token_urlsafe(32)
    typer.echo(f"the client says: {token}", err=True)
    typer.echo(f'client = "{client}"\ntoken_sha256 = "{token_hash(token).hex()}"')


def _target(*given: tuple[str, str | None]) -> tuple[str, str]:
    named = [(scope, name) for scope, name in given if name is not None]
    if len(named) != 1:
        fail(f"give one of {', '.join(f'--{scope}' for scope, _ in given)}")
    return named[0]


def _said(who: str, reason: str) -> tuple[str, str]:
    return printable(person(who), MAX_WHO), printable(reason, MAX_REASON)


def answered(place: Path, command: AnyCommand) -> Answer:
    """Return the gateway's answer; ends the process, with the reason, where none runs or it refuses."""
    directory = journal_directory(place)
    answer = asked(directory, command)
    if answer is None:
        fail(f"{directory}: no gateway runs there; `margingate run` starts one")
    return answer


def asked(directory: Path, command: AnyCommand) -> Answer | None:
    """Return the gateway's answer; None where none runs."""
    try:
        return ask(directory, msgspec.structs.replace(command, token=_token(command)))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except ControlError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{directory / NAME}: {error.strerror}: only the gateway's own user may ask it")


def _token(command: AnyCommand) -> str:
    try:
        return own_token()
    except ControlError:
        if isinstance(command, Kill):  # it waits for nothing
            return ""
        raise


def _write(directory: Path, record: records.Killed | records.Reinstated) -> None:
    """Write a kill or its end into the journal of a gateway that is stopped."""
    with stopped_journal(directory) as (log, known):
        ledger = known.ledger
        by_scope: dict[str, Collection[str]] = {
            SESSION: known.reports.sessions,
            ACCOUNT: ledger.accounts,
            HOOK: ledger.holds.hooks,
            VENUE: {instrument.venue for instrument in ledger.instruments},
            INSTRUMENT: ledger.by_symbol,
        }
        names = by_scope.get(record.scope, ())
        # Firms and desks are in the configuration alone: the next start works out whose accounts they are.
        if record.scope not in GROUPS and record.name not in names:
            fail(f"no {record.scope} {record.name}; there are {', '.join(sorted(names)) or 'none'}")
        is_killed = (record.scope, record.name) in ledger.standing.kills
        if isinstance(record, records.Reinstated) and not is_killed:
            fail(f"{record.scope} {record.name} is not killed")
        write(log, record)
