"""The kill switch of a session or an account: nothing new is taken, and all that works is cancelled.

It depends on no mark, no margin and no disk: where the journal can not be written the kill holds in this process all
the same. Only a person lifts it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.disconnects import CancelWatch
from gateway.standing import ACCOUNT, HOOK, SCOPES, SESSION
from risk.exposure import WorkingOrder

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

MAX_WHO: Final = 128
MAX_REASON: Final = 256


class KillError(Exception):
    """A kill or reinstatement that means nothing here; the text says why."""


class Kills:
    """Kills and reinstatements by an operator."""

    def __init__(self, pipeline: Pipeline, watch: CancelWatch) -> None:
        self._pipeline = pipeline
        self._watch = watch

    def kill(self, scope: str, name: str, who: str, reason: str, now_ns: int) -> tuple[int, bool]:
        """Stop a session or an account, again where it is stopped already; return (orders cancelled, is journalled).

        Raises
        ------
        KillError
            For a scope or a name that is not known.
        """
        who, reason = self._checked(scope, name, who, reason)
        is_journalled = self._commit(records.Killed(scope, name, who, reason), now_ns)
        self._pipeline.monitor.alert(f"{scope} {name} killed by {who}: {reason}")
        orders = [order for order in self._pipeline.ledger.working_orders() if _is_of(order, scope, name)]
        failures = 0
        for order in orders:
            try:
                if not order.is_cancel_pending:
                    self._pipeline.cancel_unasked(order, "", now_ns)
            except Exception as error:  # whatever is wrong with one order, the others are cancelled
                failures += 1
                self._pipeline.monitor.alert(f"{order.order_id} not cancelled: {type(error).__name__}: {error}")
        self._watch.watch([order.order_id for order in orders], f"kill of {scope} {name}", now_ns)
        return len(orders) - failures, is_journalled

    def reinstate(self, scope: str, name: str, who: str, reason: str, now_ns: int) -> None:
        """Lift a kill. Raises KillError where there is none, JournalError where it can not be written."""
        who, reason = self._checked(scope, name, who, reason)
        if (scope, name) not in self._pipeline.ledger.standing.kills:
            raise KillError(f"{scope} {name} is not killed")
        self._pipeline.commit(records.Reinstated(scope, name, who, reason), now_ns)
        self._pipeline.monitor.alert(f"{scope} {name} reinstated by {who}: {reason}")

    def _commit(self, record: records.Killed, now_ns: int) -> bool:
        try:
            self._pipeline.commit(record, now_ns)
        except Exception as error:  # a full disk, or a fault of ours: the kill holds all the same
            self._pipeline.monitor.journal_failed(f"kill not written: {type(error).__name__}: {error}")
            self._pipeline.ledger.standing.killed(record)
            return False
        return True

    def _checked(self, scope: str, name: str, who: str, reason: str) -> tuple[str, str]:
        """Return who and why as they may be told to clients; a kill does not fail for how it is worded."""
        pipeline = self._pipeline
        known: dict[str, Collection[str]] = {
            SESSION: pipeline.reports.sessions.keys(),
            ACCOUNT: pipeline.ledger.accounts.keys(),
            HOOK: pipeline.ledger.holds.hooks.keys(),
        }
        if scope not in known:
            raise KillError(f"scope must be one of {', '.join(SCOPES)}")
        if name not in known[scope]:
            raise KillError(f"no {scope} {name[:64]}; there are {', '.join(sorted(known[scope]))}")
        return printable(who, MAX_WHO), printable(reason, MAX_REASON)


def printable(text: str, limit: int) -> str:
    """Return a text as it may stand in a FIX field: printable ASCII, not empty, cut to a length."""
    shown = "".join(mark if " " <= mark <= "~" else "?" for mark in text[:limit]).strip()
    return shown or "not said"


def _is_of(order: WorkingOrder, scope: str, name: str) -> bool:
    """Holds of a hook's client are not ours to cancel: gateway.hooks tells it to."""
    return scope != HOOK and name == (order.session if scope == SESSION else order.account)
