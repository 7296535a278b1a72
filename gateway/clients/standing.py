"""What the journal knows of sessions and accounts beyond numbers and orders: who was killed, whose grace is running.

Part of the ledger: changed by records only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway import records
from risk.account import Account, AccountState
from risk.exposure import WorkingOrder
from risk.marks import INSTRUMENT, VENUE, Halts

SESSION: Final = "session"
ACCOUNT: Final = "account"
HOOK: Final = "hook"
DESK: Final = "desk"
FIRM: Final = "firm"
# What a kill stops. Firms and desks are groups of accounts: a kill of one names them.
SCOPES: Final = (SESSION, ACCOUNT, DESK, FIRM, VENUE, INSTRUMENT, HOOK)
GROUPS: Final = frozenset({DESK, FIRM})
_SEVERITY: Final = (AccountState.TRADING, AccountState.REDUCING, AccountState.HALTED)


class Standing:
    """Kills by (scope, name), what is halted by them, and when orders of sessions that ended are cancelled."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self.kills: dict[tuple[str, str], records.Killed] = {}
        # Venues and instruments that take no orders, and why: the market has this very dictionary.
        self.halts: Halts = {}
        self.cancel_at_ns: dict[str, int] = {}
        # Which kills an account is under, and what each says: a firm's has thousands of accounts.
        self._kills_of: dict[str, dict[tuple[str, str], str]] = {}
        # By account, rule and key: the last change of each limit, and the last that two people agreed on.
        self.limits: dict[tuple[str, str, str], records.LimitMoved] = {}
        self.agreed_limits: dict[tuple[str, str, str], records.LimitMoved] = {}
        # What margin lets an account do, where that is not all, and why.
        self._by_margin: dict[str, tuple[AccountState, str]] = {}
        # What an account that is killed or restricted by its margin goes back to: its own state, which may still be
        # tightened meanwhile, and why.
        self._behind: dict[str, tuple[AccountState, str]] = {}

    def state_of(self, account: Account) -> AccountState:
        """Return an account's own state, were it not for a kill or its margin."""
        behind = self._behind.get(account.name)
        return account.state if behind is None else behind[0]

    def move(self, account: Account, state: AccountState, reason: str) -> None:
        """Set an account's own state; one with a kill or short of margin has it when that is over."""
        if account.name in self._behind:
            self._behind[account.name] = (state, reason)
            self._show(account)
        else:
            account.state, account.state_reason = state, reason

    def restrict(self, account: Account, reason: str) -> None:
        """Let an account only reduce from here on; one that is halted stays so: nothing loosens by itself."""
        if self.state_of(account) is AccountState.TRADING:
            self.move(account, AccountState.REDUCING, reason)

    def limit_by_margin(self, account: Account, state: AccountState, reason: str) -> None:
        """Set what an account's margin lets it do; its own state and a kill hold all the same."""
        if state is AccountState.TRADING:
            self._by_margin.pop(account.name, None)
        else:
            self._by_margin[account.name] = (state, reason)
        if state is not AccountState.TRADING or account.name in self._behind:
            self._show(account)

    def killed(self, record: records.Killed) -> None:
        """Note a kill; accounts, venues and instruments halt."""
        self.kills[record.scope, record.name] = record
        reason = _reason(record)
        if record.scope in (VENUE, INSTRUMENT):
            self.halts[record.scope, record.name] = reason
        for name in accounts_of(record):
            if name in self._accounts:
                self._kills_of.setdefault(name, {})[record.scope, record.name] = reason
                self._show(self._accounts[name])

    def reinstated(self, record: records.Reinstated) -> None:
        """Forget a kill; an account that no other kill is of goes back to what it was, or was tightened to since."""
        key = (record.scope, record.name)
        self.kills.pop(key, None)
        if record.scope in (VENUE, INSTRUMENT):
            self.halts.pop(key, None)
        for name in [name for name, kills in self._kills_of.items() if key in kills]:
            del self._kills_of[name][key]
            if not self._kills_of[name]:
                del self._kills_of[name]
            self._show(self._accounts[name])

    def _show(self, account: Account) -> None:
        """Let an account have the strictest of its own state, what its margin lets it do, and a kill."""
        name = account.name
        own = self._behind.setdefault(name, (account.state, account.state_reason))
        kills, margin = self._kills_of.get(name), self._by_margin.get(name)
        strictest = own
        if margin is not None and _SEVERITY.index(margin[0]) > _SEVERITY.index(own[0]):
            strictest = margin
        if kills:
            strictest = AccountState.HALTED, min(kills.items())[1]
        account.state, account.state_reason = strictest
        if not kills and margin is None:
            del self._behind[name]

    def ended(self, record: records.SessionEnded) -> None:
        """Note when a session's orders are to be cancelled."""
        self.cancel_at_ns[record.session] = record.cancel_at_ns

    def grace_ended(self, record: records.GraceEnded) -> None:
        """Forget the time: the client is back, or its orders are cancelled."""
        self.cancel_at_ns.pop(record.session, None)

    def limit_moved(self, record: records.LimitMoved) -> None:
        """Note a changed limit; it is put into force with the configuration, which the journal does not hold."""
        name = (record.account, record.rule, record.key)
        self.limits[name] = record
        if record.approved_by:
            self.agreed_limits[name] = record

    def parts(self) -> list[Any]:
        """Return all of it in a fixed order, for the state's hash."""
        kills = [(one.scope, one.name, one.who, one.reason, one.accounts) for _, one in sorted(self.kills.items())]
        limits = [(name, move.value, move.configured) for name, move in sorted(self.limits.items())]
        agreed = [(name, move.value, move.configured) for name, move in sorted(self.agreed_limits.items())]
        margin = sorted(self._by_margin.items())
        return [kills, sorted(self.cancel_at_ns.items()), sorted(self._behind.items()), margin, limits, agreed]


def accounts_of(record: records.Killed) -> tuple[str, ...]:
    """Return the accounts that a kill halts."""
    return (record.name,) if record.scope == ACCOUNT else record.accounts


def covered(record: records.Killed, orders: Iterable[WorkingOrder]) -> list[WorkingOrder]:
    """Return those of some orders that a kill is of. Holds of a hook's client are not ours: gateway.hooks tells it."""
    scope, name = record.scope, record.name
    if scope == SESSION:
        return [order for order in orders if order.session == name]
    if scope == VENUE:
        return [order for order in orders if order.instrument.venue == name]
    if scope == INSTRUMENT:
        return [order for order in orders if order.instrument.symbol == name]
    accounts = frozenset(accounts_of(record))
    return [order for order in orders if order.account in accounts]


def _reason(record: records.Killed) -> str:
    of = "" if record.scope == ACCOUNT else f"{record.scope} {record.name} "
    return f"{of}killed by {record.who}: {record.reason}"
