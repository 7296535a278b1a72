"""`margingate kill` and `reinstate`: told to a running gateway, or written into the journal of one that is stopped."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gateway import records
from gateway.clients.standing import ACCOUNT, GROUPS, HOOK, SESSION
from gateway.commands import stopped
from gateway.commands.asking import Place, Reason, Who, asked, journal_directory
from gateway.commands.terminal import fail
from gateway.operators.channel import Kill, Reinstate, person
from gateway.operators.kills import MAX_REASON, MAX_WHO, printable
from gateway.recovery import Recovered
from risk.marks import INSTRUMENT, VENUE

Decision = TypeVar("Decision", records.Killed, records.Reinstated)

SessionName = Annotated[str | None, typer.Option("--session", help="A session's name.")]
AccountName = Annotated[str | None, typer.Option("--account", help="An account's name.")]
HookName = Annotated[str | None, typer.Option("--hook", help="The name of a client of the hook.")]
DeskName = Annotated[str | None, typer.Option("--desk", help="A desk's name: all of its accounts.")]
FirmName = Annotated[str | None, typer.Option("--firm", help="A firm's name, or the gateway's: all accounts.")]
VenueName = Annotated[str | None, typer.Option("--venue", help="A venue's name.")]
InstrumentName = Annotated[str | None, typer.Option("--instrument", help="An instrument's symbol.")]


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
        session=session, account=account, desk=desk, firm=firm, venue=venue, instrument=instrument, hook=hook
    )
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
        session=session, account=account, desk=desk, firm=firm, venue=venue, instrument=instrument, hook=hook
    )
    directory = journal_directory(place)
    if asked(directory, Reinstate(scope, name, reason, who)) is None:
        _write(directory, records.Reinstated(scope, name, *_said(who, reason)))
        typer.echo(f"{scope} {name}: no gateway runs; reinstated from its next start on")
        return
    typer.echo(f"{scope} {name}: reinstated")


def _target(**given: str | None) -> tuple[str, str]:
    """Return which scope is named, and the name; options are called as their scopes (gateway.clients.standing)."""
    named = [(scope, name) for scope, name in given.items() if name is not None]
    if len(named) != 1:
        fail(f"give one of {', '.join(f'--{scope}' for scope in given)}")
    return named[0]


def _said(who: str, reason: str) -> tuple[str, str]:
    return printable(person(who), MAX_WHO), printable(reason, MAX_REASON)


def _write(directory: Path, record: Decision) -> None:
    def decided(known: Recovered, now_ns: int) -> Decision:
        names = _names(known, record.scope)
        # Firms and desks are in the configuration alone: the next start works out whose accounts they are.
        if record.scope not in GROUPS and record.name not in names:
            fail(f"no {record.scope} {record.name}; there are {', '.join(sorted(names)) or 'none'}")
        is_killed = (record.scope, record.name) in known.ledger.standing.kills
        if isinstance(record, records.Reinstated) and not is_killed:
            fail(f"{record.scope} {record.name} is not killed")
        return record

    stopped.write(directory, decided)


def _names(known: Recovered, scope: str) -> Collection[str]:
    """Return what there is of a scope, as far as a journal knows it."""
    ledger = known.ledger
    by_scope: dict[str, Collection[str]] = {
        SESSION: known.reports.sessions,
        ACCOUNT: ledger.accounts,
        HOOK: ledger.holds.hooks,
        VENUE: {instrument.venue for instrument in ledger.instruments},
        INSTRUMENT: ledger.by_symbol,
    }
    return by_scope.get(scope, ())
