"""All clients of the pre-trade hook: their deadlines, what an operator does to their holds, what is shown of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.clients.standing import ACCOUNT, HOOK
from gateway.clients.throttle import Window
from gateway.config.hook import Hook as HookTable
from gateway.config.hook import HookClient
from gateway.hook.api import NS_PER_MS, Hook, standing_of
from gateway.hook.holds import Hold
from gateway.hook.messages import Standing, Stop, Unknown
from gateway.journal import JournalError
from gateway.pipeline import Pipeline
from gateway.records import Killed
from gateway.records.holds import HoldOverdue, HoldReleased, HookOpened
from risk.hold import HoldState
from risk.marks import INSTRUMENT, VENUE

# Where a deadline could not be written, it is tried again after this.
RETRY_NS: Final = 1_000_000_000
# Overdue holds that one alert names, and that one turn of the loop marks.
SHOWN: Final = 5
OVERDUE_AT_ONCE: Final = 1_000
# Holds that one event lists: a client with more asks for the others.
STOPPED_LISTED: Final = 1_000


# scope of a kill -> whether a hold is of what has this name
_HOLD_IS_OF: Final[dict[str, Callable[[Hold, str], bool]]] = {
    ACCOUNT: lambda hold, name: hold.order.account == name,
    VENUE: lambda hold, name: hold.order.instrument.venue == name,
    INSTRUMENT: lambda hold, name: hold.order.instrument.symbol == name,
}


class HoldError(Exception):
    """What a person asked of a hold means nothing here; the text says why."""


class Hooks:
    """The hook of one gateway; without a table in the configuration it has no clients."""

    def __init__(self, pipeline: Pipeline, config: HookTable | None, now_ns: int) -> None:
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._not_before_ns = now_ns
        self.by_name = {client.name: self._open(client, now_ns) for client in (config.client if config else ())}

    def _open(self, client: HookClient, now_ns: int) -> Hook:
        is_shared = client.venue_account == "shared"
        self._pipeline.commit(HookOpened(client.name, client.accounts, is_shared), now_ns)
        throttle = None
        if client.throttle_requests is not None:
            throttle = Window(client.throttle_requests, client.throttle_interval_ms * NS_PER_MS)
        return Hook(
            client.name,
            self._pipeline,
            {name: self._ledger.accounts[name] for name in client.accounts},
            timeout_ms=client.hold_timeout_ms,
            max_timeout_ms=client.max_hold_timeout_ms,
            is_shared=is_shared,
            throttle=throttle,
        )

    @property
    def deadline_ns(self) -> int | None:
        """When the next hold is overdue, of whatever client: those that the configuration has dropped too."""
        deadline_ns = self._ledger.holds.deadline_ns
        return None if deadline_ns is None else max(deadline_ns, self._not_before_ns)

    def tick(self, now_ns: int) -> None:
        """Mark what is overdue as UNKNOWN, and tell of it: its margin stays held until somebody says how it ended."""
        holds = self._ledger.holds
        if now_ns < self._not_before_ns or (hold := holds.overdue(now_ns)) is None:
            return
        marked: list[Hold] = []
        try:
            while hold is not None and len(marked) < OVERDUE_AT_ONCE:
                self._pipeline.commit(HoldOverdue(hold.hold_id), now_ns)
                marked.append(hold)
                hold = holds.overdue(now_ns)
        except JournalError as error:
            self._not_before_ns = now_ns + RETRY_NS
            self._pipeline.monitor.journal_failed(str(error))
        by_hook: dict[str, list[Hold]] = {}
        for hold in marked:
            by_hook.setdefault(hold.record.hook, []).append(hold)
        for name, late in by_hook.items():
            shown = ", ".join(h.hold_id for h in late[:SHOWN]) + (", ..." if len(late) > SHOWN else "")
            text = f"hook {name}: {len(late)} holds UNKNOWN, not told of by their deadline and held on: {shown}"
            self._pipeline.monitor.alert(text)
            hook = self.by_name.get(name)
            if hook is not None and hook.listeners:
                for hold in late:
                    hook.tell(Unknown(standing_of(hold)))

    def stopped(self, scope: str, name: str, reason: str) -> int:
        """Tell clients of a kill that is of holds of theirs; return how many holds they are to end."""
        count = 0
        for hook in self.by_name.values():
            if scope in _HOLD_IS_OF or (scope == HOOK and name == hook.name):
                is_of = _HOLD_IS_OF.get(scope)
                ids = [hold.hold_id for hold in hook.live() if is_of is None or is_of(hold, name)]
                count += len(ids)
                if ids or scope == HOOK:
                    hook.tell(Stop(scope, name, reason, ids[:STOPPED_LISTED]))
        return count

    def killed(self, record: Killed) -> None:
        """Tell clients of a kill; of a firm or a desk, account by account."""
        self.stopped(record.scope, record.name, record.reason)
        for account in record.accounts:
            self.stopped(ACCOUNT, account, record.reason)

    def release(self, hold_id: str, who: str, reason: str, now_ns: int) -> Standing:
        """Free an UNKNOWN hold, because a person says that its order has ended.

        Raises
        ------
        HoldError
            Where it is not UNKNOWN: then its client still answers for it.
        JournalError
            If it can not be written; it holds on then.
        """
        hold = self._ledger.holds.by_id.get(hold_id)
        if hold is None:
            raise HoldError(f"no hold {hold_id[:64]}")
        if hold.state is not HoldState.UNKNOWN:
            raise HoldError(
                f"hold {hold_id} is {hold.state.value}: only one that is unknown is for a person to release"
            )
        self._pipeline.commit(HoldReleased(hold_id, who, reason), now_ns)
        self._pipeline.monitor.alert(f"hold {hold_id} of {hold.record.hook} released by {who}: {reason}")
        return standing_of(hold)

    def rows(self) -> list[dict[str, Any]]:
        """Return each client's counts, for operators."""
        kills = self._ledger.standing.kills
        live: dict[str, int] = dict.fromkeys(self._ledger.holds.hooks, 0)
        unknown = dict(live)
        for hold in self._ledger.holds.live():
            name = hold.record.hook
            live[name] = live.get(name, 0) + 1
            unknown[name] = unknown.get(name, 0) + (hold.state is HoldState.UNKNOWN)
        return [
            {
                "hook": name,
                "connections": len(hook.listeners) if (hook := self.by_name.get(name)) else 0,
                "is_killed": (HOOK, name) in kills,
                "holds": count,
                "unknown": unknown[name],
                "checks": hook.checks if hook else 0,
                "held": hook.held if hook else 0,
                "refused": hook.refused if hook else 0,
                "fills": hook.fills if hook else 0,
                "releases": hook.releases if hook else 0,
                "throttled": hook.throttled if hook else 0,
            }
            for name, count in sorted(live.items())
        ]
