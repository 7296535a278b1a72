"""What an operator's commands do to a running gateway."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import msgspec

from gateway import records
from gateway.clearing.reconciler import BreakError, row_of
from gateway.clients.standing import ACCOUNT, SESSION
from gateway.core import Core
from gateway.fix_server import FixServer
from gateway.hook.api import standing_of
from gateway.hook.clients import HoldError
from gateway.journal import JournalError
from gateway.margin import desk as margin_desk
from gateway.margin import plan_desk
from gateway.operators.callers import Caller, Callers
from gateway.operators.channel import (
    Answer,
    AnyCommand,
    ApproveTransfer,
    CloseBreak,
    ControlError,
    DecideMargin,
    DecideParameters,
    DeclineTransfer,
    Kill,
    ListBreaks,
    ListHolds,
    ListLimits,
    ListParameters,
    ListTransfers,
    LogOut,
    MoveTransfer,
    Plan,
    ProposeParameters,
    Ranking,
    Reinstate,
    ReleaseHold,
    SetLimit,
    SetState,
    ShowMargin,
    ShowParameters,
)
from gateway.operators.kills import MAX_REASON, MAX_WHO, KillError, printable
from gateway.operators.limit_moves import LimitError
from gateway.parameters import desk as parameter_desk

# Holds that one answer lists.
HOLDS_SHOWN: Final = 1_000
BREAKS_SHOWN: Final = 1_000


class Operator:
    """Acts on commands. `now_ns` is read once for each, when it has come."""

    def __init__(self, core: Core, server: FixServer, now_ns: Callable[[], int]) -> None:
        self._core = core
        self._server = server
        self._now_ns = now_ns
        self._callers = Callers(None if core.config.admin is None else core.config.admin.tokens_file)

    def answer(self, command: AnyCommand, user: str) -> Answer:
        """Act on a command of a user of this machine. Raises ControlError where it is refused."""
        caller = self._callers.caller(command, user)
        who = caller.said(getattr(command, "who", ""))
        if isinstance(command, Kill | Reinstate):
            return self._kill_or_reinstate(command, who)
        if isinstance(command, LogOut):
            return self._log_out(command, who)
        if isinstance(command, ListHolds):
            return self._holds(command)
        if isinstance(command, ReleaseHold):
            return self._release(command, who)
        if isinstance(command, Plan | Ranking):
            return plan_desk.answer(self._core, command, self._now_ns())
        if isinstance(command, ListLimits | SetLimit):
            return self._limits(command, _proposer(command, caller))
        if isinstance(command, SetState):
            return self._set_state(command, who)
        if isinstance(command, ShowMargin | MoveTransfer | DecideMargin):
            try:
                return margin_desk.answer(self._core, command, _proposer(command, caller), self._now_ns())
            finally:
                self._server.flush()
        if isinstance(command, ListParameters | ShowParameters | ProposeParameters | DecideParameters):
            return parameter_desk.answer(self._core, command, self._callers, caller, self._now_ns())
        if isinstance(command, ListTransfers):
            return self._core.transfers.snapshot()
        if isinstance(command, ApproveTransfer | DeclineTransfer):
            if isinstance(command, ApproveTransfer) and margin_desk.is_shared(self._core, command.transfer):
                who = self._callers.shared(caller)
            return margin_desk.decide_transfer(self._core, command, who, self._now_ns())
        if isinstance(command, ListBreaks):
            return self._breaks(command)
        if isinstance(command, CloseBreak):
            return self._close_break(command, who)
        return self._status()

    def _limits(self, command: ListLimits | SetLimit, who: str) -> Answer:
        moves = self._core.limit_moves
        try:
            if isinstance(command, ListLimits):
                return {"limits": moves.rows(command.account)}
            approved_by = printable(command.approved_by, MAX_WHO) if command.approved_by else ""
            name = (command.account, command.rule, command.key)
            reason = printable(command.reason, MAX_REASON)
            return moves.move(name, command.value, command.was, who, approved_by, reason, self._now_ns())
        except LimitError as error:
            raise ControlError(str(error)) from None
        except JournalError as error:
            raise ControlError(f"the journal can not be written: {error}") from None

    def _set_state(self, command: SetState, who: str) -> Answer:
        core = self._core
        account = core.ledger.accounts.get(command.account)
        if account is None:
            raise ControlError(f"no account {command.account[:64]}")
        was = core.ledger.standing.state_of(account)
        reason = printable(f"{printable(who, MAX_WHO)}: {command.reason}", MAX_REASON)
        try:
            core.pipeline.commit(records.AccountStateMoved(account.name, command.state, reason), self._now_ns())
        except JournalError as error:
            raise ControlError(f"the journal can not be written: {error}") from None
        core.monitor.alert(f"account {account.name}: {was.value} -> {command.state} by {reason}")
        return {"was": was.value, "is_killed": (ACCOUNT, account.name) in core.ledger.standing.kills}

    def _kill_or_reinstate(self, command: Kill | Reinstate, who: str) -> Answer:
        controls, now = self._core.controls, self._now_ns()
        asked = (command.scope, command.name, who, command.reason, now)
        try:
            if isinstance(command, Kill):
                cancels, is_journalled = controls.kill(*asked)
                return {"cancels": cancels, "is_journalled": is_journalled}
            controls.reinstate(*asked)
            return {}
        except KillError as error:
            raise ControlError(str(error)) from None
        except JournalError as error:
            raise ControlError(f"the journal can not be written: {error}") from None
        finally:
            self._server.flush()

    def _log_out(self, command: LogOut, who: str) -> Answer:
        connection = self._server.logged_on.get(command.name)
        if connection is None:
            raise ControlError(f"session {command.name[:64]} is not logged on")
        reason = printable(command.reason, MAX_REASON)
        self._core.monitor.alert(f"session {command.name} logged out by {who}: {reason}")
        connection.log_out(reason, self._now_ns())
        self._server.flush()
        return {}

    def _holds(self, command: ListHolds) -> Answer:
        holds = self._core.ledger.holds
        live = (hold for hold in holds.live() if not command.is_unknown or hold.hold_id in holds.unknown)
        shown = islice(live, HOLDS_SHOWN + 1)
        rows = [{"hook": hold.record.hook} | msgspec.structs.asdict(standing_of(hold)) for hold in shown]
        return {"holds": rows[:HOLDS_SHOWN], "is_complete": len(rows) <= HOLDS_SHOWN}

    def _release(self, command: ReleaseHold, who: str) -> Answer:
        said = (printable(who, MAX_WHO), printable(command.reason, MAX_REASON))
        try:
            released = self._core.hooks.release(command.hold, *said, self._now_ns())
        except HoldError as error:
            raise ControlError(str(error)) from None
        except JournalError as error:
            raise ControlError(f"the journal can not be written: {error}") from None
        finally:
            self._server.flush()
        return {"released": msgspec.structs.asdict(released)}

    def _breaks(self, command: ListBreaks) -> Answer:
        book, now = self._core.ledger.open_breaks, self._now_ns()
        found = reversed(book.ended) if command.is_ended else book.by_gravity()
        rows = [row_of(one, now) for one in islice(found, BREAKS_SHOWN)]
        total = len(book.ended) if command.is_ended else len(book.open)
        return {"breaks": rows, "is_complete": len(rows) == total}

    def _close_break(self, command: CloseBreak, who: str) -> Answer:
        said = printable(who, MAX_WHO), printable(command.reason, MAX_REASON)
        try:
            one = self._core.reconciler.close(command.number, *said, self._now_ns())
        except BreakError as error:
            raise ControlError(str(error)) from None
        except JournalError as error:
            raise ControlError(f"the journal can not be written: {error}") from None
        return {"closed": row_of(one, self._now_ns())}

    def _status(self) -> Answer:
        core = self._core
        kills = core.ledger.standing.kills
        working: dict[str, int] = {}
        for order in core.ledger.working_orders():
            working[order.session] = working.get(order.session, 0) + 1
        sessions: list[dict[str, Any]] = []
        for name, state in sorted(core.reports.sessions.items()):
            throttle = core.controls.throttles.get(name)
            killed = kills.get((SESSION, name))
            sessions.append(
                {
                    "session": name,
                    "is_logged_on": name in self._server.logged_on,
                    "killed": None if killed is None else f"by {killed.who}: {killed.reason}",
                    "next_in": state.next_in,
                    "next_out": state.next_out,
                    "working_orders": working.get(name, 0),
                    "throttled": 0 if throttle is None else throttle.refused,
                    "waiting": len(core.reports.delayed.get(name, {})),
                    "cancel_at_ns": core.ledger.standing.cancel_at_ns.get(name),
                }
            )
        accounts = [
            {
                "account": account.name,
                "state": account.state.value,
                "reason": account.state_reason,
                "is_killed": (ACCOUNT, account.name) in kills,
            }
            for account in core.ledger.accounts.values()
        ]
        unconfirmed = core.controls.watch.unconfirmed
        return {
            "sessions": sessions,
            "accounts": accounts,
            "hooks": core.hooks.rows(),
            "unconfirmed_cancels": unconfirmed,
            "kills": [
                {"scope": one.scope, "name": one.name, "who": one.who, "reason": one.reason}
                for _, one in sorted(kills.items())
            ],
        }


def _proposer(command: AnyCommand, caller: Caller) -> str:
    """Return who wanted it: where another has approved, the token is that one's, and the page says who proposed."""
    if getattr(command, "approved_by", ""):
        return Caller(caller.user).said(getattr(command, "who", ""))
    return caller.said(getattr(command, "who", ""))
