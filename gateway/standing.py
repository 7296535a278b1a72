"""What the journal knows of sessions and accounts beyond numbers and orders: who was killed, whose grace is running.

Part of the ledger: changed by records only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway import records
from risk.account import Account, AccountState

SESSION: Final = "session"
ACCOUNT: Final = "account"
HOOK: Final = "hook"
SCOPES: Final = (SESSION, ACCOUNT, HOOK)
_SEVERITY: Final = (AccountState.TRADING, AccountState.REDUCING, AccountState.HALTED)


class Standing:
    """Kills by (scope, name), and when orders of sessions that ended are cancelled."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self.kills: dict[tuple[str, str], records.Killed] = {}
        self.cancel_at_ns: dict[str, int] = {}
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
        """Note a kill; an account halts."""
        self.kills[record.scope, record.name] = record
        account = self._accounts.get(record.name) if record.scope == ACCOUNT else None
        if account is not None:
            self._show(account)

    def reinstated(self, record: records.Reinstated) -> None:
        """Forget a kill; an account goes back to what it was, or to what it was tightened to meanwhile."""
        self.kills.pop((record.scope, record.name), None)
        if record.scope == ACCOUNT and record.name in self._behind:
            self._show(self._accounts[record.name])

    def _show(self, account: Account) -> None:
        """Let an account have the strictest of its own state, what its margin lets it do, and a kill."""
        own = self._behind.setdefault(account.name, (account.state, account.state_reason))
        kill, margin = self.kills.get((ACCOUNT, account.name)), self._by_margin.get(account.name)
        strictest = own
        if margin is not None and _SEVERITY.index(margin[0]) > _SEVERITY.index(own[0]):
            strictest = margin
        if kill is not None:
            strictest = AccountState.HALTED, f"killed by {kill.who}: {kill.reason}"
        account.state, account.state_reason = strictest
        if kill is None and margin is None:
            del self._behind[account.name]

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
        kills = [(record.scope, record.name, record.who, record.reason) for _, record in sorted(self.kills.items())]
        limits = [(name, move.value, move.configured) for name, move in sorted(self.limits.items())]
        agreed = [(name, move.value, move.configured) for name, move in sorted(self.agreed_limits.items())]
        margin = sorted(self._by_margin.items())
        return [kills, sorted(self.cancel_at_ns.items()), sorted(self._behind.items()), margin, limits, agreed]
