"""The kill switch: nothing new is taken of what it is of, and all that works of it is cancelled.

It depends on no mark, no margin, no venue and no disk: where the journal can not be written the kill holds in this
process all the same. One record marks every order of it, so no crash leaves half of them to work, and what is left to
do for each is one frame. Only a person lifts it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import records
from gateway.clients.disconnects import CancelWatch
from gateway.clients.standing import ACCOUNT, DESK, FIRM, GROUPS, HOOK, SCOPES, SESSION, covered
from gateway.config import Config
from risk.marks import INSTRUMENT, VENUE

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

MAX_WHO: Final = 128
MAX_REASON: Final = 256
# Names that an error lists.
NAMES_SHOWN: Final = 20

# (scope, name) of a firm or a desk -> its accounts
Groups = Mapping[tuple[str, str], tuple[str, ...]]


class KillError(Exception):
    """A kill or reinstatement that means nothing here; the text says why."""


def groups_of(config: Config) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what a configuration has of firms and desks; the gateway's own name is the firm of all accounts."""
    firm_of = {desk.name: desk.firm or "" for desk in config.desk}
    groups: dict[tuple[str, str], list[str]] = {(FIRM, config.gateway.name): []}
    for account in config.account:
        groups[FIRM, config.gateway.name].append(account.name)
        if account.desk is not None:
            groups.setdefault((DESK, account.desk), []).append(account.name)
            firm = firm_of.get(account.desk, "")
            if firm and firm != config.gateway.name:
                groups.setdefault((FIRM, firm), []).append(account.name)
    return {key: tuple(names) for key, names in groups.items()}


class Kills:
    """Kills and reinstatements by an operator, or by a session that may."""

    def __init__(self, pipeline: Pipeline, watch: CancelWatch, groups: Groups) -> None:
        self._pipeline = pipeline
        self._watch = watch
        self._groups = groups

    def kill(self, scope: str, name: str, who: str, reason: str, now_ns: int) -> tuple[int, bool]:
        """Stop something, again where it is stopped already; return (orders cancelled, is journalled).

        Raises
        ------
        KillError
            For a scope or a name that is not known.
        """
        who, reason = self._checked(scope, name, who, reason)
        pipeline = self._pipeline
        record = records.Killed(scope, name, who, reason, self._groups.get((scope, name), ()))
        orders = covered(record, pipeline.ledger.working_orders())
        to_cancel = [order for order in orders if not order.is_cancel_pending]
        is_journalled = self._commit(record, now_ns)
        failures = 0
        for order in to_cancel:
            try:
                pipeline.router.cancel(order, now_ns)
            except Exception as error:  # whatever is wrong with one order, the others are cancelled
                failures += 1
                pipeline.monitor.alert(f"{order.order_id} not cancelled: {type(error).__name__}: {error}")
        pipeline.monitor.alert(f"{scope} {name} killed by {who}: {reason}")
        self._watch.watch([order.order_id for order in orders], f"kill of {scope} {name}", now_ns)
        return len(orders) - failures, is_journalled

    def reinstate(self, scope: str, name: str, who: str, reason: str, now_ns: int) -> None:
        """Lift a kill. Raises KillError where there is none, JournalError where it can not be written."""
        kills = self._pipeline.ledger.standing.kills
        if (scope, name) not in kills:
            self._checked(scope, name, who, reason)
            raise KillError(f"{scope} {name} is not killed")
        who, reason = printable(who, MAX_WHO), printable(reason, MAX_REASON)
        self._pipeline.commit(records.Reinstated(scope, name, who, reason), now_ns)
        self._pipeline.monitor.alert(f"{scope} {name} reinstated by {who}: {reason}")

    def renew(self, now_ns: int) -> None:
        """After a start: accounts that have joined a firm or a desk that is killed are killed with it."""
        for record in list(self._pipeline.ledger.standing.kills.values()):
            joined = set(self._groups.get((record.scope, record.name), ())) - set(record.accounts)
            if record.scope in GROUPS and joined:
                accounts = (*record.accounts, *sorted(joined))
                self._commit(msgspec.structs.replace(record, accounts=accounts), now_ns)
                text = f"{record.scope} {record.name} is killed: {', '.join(sorted(joined)[:NAMES_SHOWN])} joined it"
                self._pipeline.monitor.alert(text)

    def knows(self, scope: str, name: str) -> bool:
        """Whether there is something of that name to kill."""
        return name in self._names().get(scope, ())

    def _commit(self, record: records.Killed, now_ns: int) -> bool:
        try:
            self._pipeline.commit(record, now_ns)
        except Exception as error:  # a full disk, or a fault of ours: the kill holds all the same
            self._pipeline.monitor.journal_failed(f"kill not written: {type(error).__name__}: {error}")
            self._pipeline.ledger.apply(record, now_ns)
            return False
        return True

    def _names(self) -> dict[str, Collection[str]]:
        ledger = self._pipeline.ledger
        return {
            SESSION: self._pipeline.reports.sessions.keys(),
            ACCOUNT: ledger.accounts.keys(),
            HOOK: ledger.holds.hooks.keys(),
            DESK: [name for scope, name in self._groups if scope == DESK],
            FIRM: [name for scope, name in self._groups if scope == FIRM],
            VENUE: {*self._pipeline.router.venues, *(instrument.venue for instrument in ledger.instruments)},
            INSTRUMENT: ledger.by_symbol.keys(),
        }

    def _checked(self, scope: str, name: str, who: str, reason: str) -> tuple[str, str]:
        """Return who and why as they may be told to clients; a kill does not fail for how it is worded."""
        known = self._names()
        if scope not in known:
            raise KillError(f"scope must be one of {', '.join(SCOPES)}")
        if name not in known[scope]:
            raise KillError(f"no {scope} {name[:64]}; there are {', '.join(_shown(known[scope])) or 'none'}")
        return printable(who, MAX_WHO), printable(reason, MAX_REASON)


def _shown(names: Collection[str]) -> Iterator[str]:
    listed = sorted(names)
    yield from listed[:NAMES_SHOWN]
    if len(listed) > NAMES_SHOWN:
        yield f"and {len(listed) - NAMES_SHOWN} more"


def printable(text: str, limit: int) -> str:
    """Return a text as it may stand in a FIX field: printable ASCII, not empty, cut to a length."""
    shown = "".join(mark if " " <= mark <= "~" else "?" for mark in text[:limit]).strip()
    return shown or "not said"
