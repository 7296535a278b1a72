"""What keeps sessions in bounds, joined to the pipeline: throttles, kills, cancel on disconnect, session times.

No I/O: whoever drives it calls `start` once, after the replay, then `tick` no later than `deadline_ns`, and flushes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway import records
from gateway.clients.disconnects import CancelWatch, Disconnects
from gateway.clients.refusals import refuse
from gateway.clients.renewals import Renewals
from gateway.clients.sessions import name_of
from gateway.clients.standing import SESSION
from gateway.clients.throttle import Rate, Throttle, refuse_waiting
from gateway.config import Fix
from gateway.config import Session as SessionTable
from gateway.journal import JournalError
from gateway.messages.party_actions import Permissions
from gateway.operators.kills import Groups, Kills
from protocols.fix.codec import Message, decode
from risk.order import Reject, RejectReason

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

NS_PER_MS: Final = 1_000_000
# Messages that can bring new risk: single orders, lists, multileg and cross orders, replaces, quotes.
NEW_RISK_TYPES: Final = frozenset({"D", "E", "G", "AB", "AC", "s", "t", "S", "i"})


class Gate:
    """What a message of a session must pass before anybody looks at what it asks: its kill, then its throttle."""

    def __init__(self, session: str, pipeline: Pipeline, throttle: Throttle | None) -> None:
        self.session = session
        self.throttle = throttle
        self.killed: records.Killed | None = None
        self._pipeline = pipeline

    def admits(self, message: Message, now_ns: int) -> bool:
        """Whether to act on a message now; where not, it was answered or waits. Raises JournalError."""
        killed = self.killed
        if killed is not None and message.msg_type in NEW_RISK_TYPES:
            text = f"session {self.session} is killed: {killed.reason}"
            refuse(self._pipeline, self.session, message, Reject(RejectReason.KILLED, "kill", text), now_ns)
            return False
        return self.throttle is None or self.throttle.admits(message, now_ns)


class Controls:
    """All sessions of a configuration."""

    def __init__(self, pipeline: Pipeline, fix: Fix, groups: Groups) -> None:
        self._pipeline = pipeline
        self.watch = CancelWatch(pipeline)
        cancelling = [session for session in fix.session if session.cancel_on_disconnect]
        grace_ns = {name_of(s): s.cancel_on_disconnect_grace_ms * NS_PER_MS for s in cancelling}
        self._cancelling = tuple(grace_ns)
        self.disconnects = Disconnects(pipeline, self.watch, grace_ns)
        self.renewals = Renewals(pipeline)
        self.throttles = {
            name_of(session): Throttle(name_of(session), rate, pipeline)
            for session in fix.session
            if (rate := _rate_of(session)) is not None
        }
        self.kills = Kills(pipeline, self.watch, groups)
        self.permissions = Permissions(
            {name_of(session): frozenset(session.party_actions) for session in fix.session},
            {name_of(session): frozenset(session.accounts) for session in fix.session},
        )
        self.listeners: list[Callable[[records.Killed], None]] = []  # told of each kill once it holds
        for name in pipeline.reports.sessions:
            self._set_gate(name)

    def start(self, now_ns: int) -> None:
        """After a replay: nobody is connected any more, and what waited for its turn is too old to go out."""
        self.renewals.tick(now_ns)
        self.kills.renew(now_ns)
        for session in list(self._pipeline.reports.delayed):
            self._refuse_waiting(session, "delayed when the gateway was restarted", now_ns)
        for session in self._cancelling:
            self.disconnects.ended(session, now_ns)
        self.disconnects.tick(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        times = [self.disconnects.deadline_ns, self.watch.deadline_ns, self.renewals.deadline_ns]
        times += [throttle.deadline_ns for throttle in self.throttles.values()]
        return min((at for at in times if at is not None), default=None)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        self.renewals.tick(now_ns)
        self.disconnects.tick(now_ns)
        self.watch.tick(now_ns)
        for name, throttle in self.throttles.items():
            deadline_ns = throttle.deadline_ns
            if deadline_ns is not None and deadline_ns <= now_ns:
                self._release(name, throttle, now_ns)

    def logged_on(self, session: str, now_ns: int) -> None:
        """A client is there."""
        self.disconnects.logged_on(session, now_ns)

    def session_ended(self, session: str, cancels: bool, now_ns: int) -> None:
        """A client is gone; `cancels`: with cancel on disconnect."""
        self._refuse_waiting(session, "delayed when the session ended", now_ns)
        if cancels:
            self.disconnects.ended(session, now_ns)

    def numbers_reset(self, session: str, waiting: list[bytes], now_ns: int) -> None:
        """A client began its numbers again: what waited has none of the new ones."""
        reject = Reject(RejectReason.THROTTLED, "throttle", "delayed when the session's numbers were reset")
        try:
            for raw in waiting:
                refuse(self._pipeline, session, decode(raw), reject, now_ns, is_counted=False)
        except JournalError as error:
            self._pipeline.monitor.journal_failed(str(error))

    def kill(self, scope: str, name: str, who: str, reason: str, now_ns: int) -> tuple[int, bool]:
        """Stop something: gateway.kills.Kills.kill."""
        answer = self.kills.kill(scope, name, who, reason, now_ns)
        if scope == SESSION:
            self._set_gate(name)
            self._refuse_waiting(name, "delayed when the session was killed", now_ns)
        record = self._pipeline.ledger.standing.kills[scope, name]
        for tell in self.listeners:
            try:
                tell(record)
            except Exception as error:  # who wants to know of a kill does not keep it
                self._pipeline.monitor.alert(f"kill of {scope} {name}: {type(error).__name__}: {error}")
        return answer

    def reinstate(self, scope: str, name: str, who: str, reason: str, now_ns: int) -> None:
        """Lift a kill: gateway.kills.Kills.reinstate."""
        self.kills.reinstate(scope, name, who, reason, now_ns)
        if scope == SESSION:
            self._set_gate(name)

    def snapshot(self) -> dict[str, Any]:
        """Return counters as plain values."""
        return {
            "throttled": {name: throttle.refused for name, throttle in self.throttles.items()},
            "delayed": {name: throttle.delayed for name, throttle in self.throttles.items()},
            "waiting": {name: len(waiting) for name, waiting in self._pipeline.reports.delayed.items()},
            "killed": [f"{scope} {name}" for scope, name in sorted(self._pipeline.ledger.standing.kills)],
            "graces": sorted(self._pipeline.ledger.standing.cancel_at_ns),
            "unasked_cancels": self.watch.asked,
            "unasked_cancels_confirmed": self.watch.confirmed,
        }

    def _release(self, session: str, throttle: Throttle, now_ns: int) -> None:
        pipeline = self._pipeline
        if pipeline.reports.sessions[session].connection is None or pipeline.gates[session].killed is not None:
            # It was not refused when its client left, or was killed, for the journal could not be written.
            self._refuse_waiting(session, "delayed when the session ended", now_ns)
            return
        try:
            throttle.release(now_ns)
        except JournalError as error:  # they wait on
            pipeline.monitor.journal_failed(str(error))

    def _set_gate(self, session: str) -> None:
        pipeline, throttle = self._pipeline, self.throttles.get(session)
        killed = pipeline.ledger.standing.kills.get((SESSION, session))
        pipeline.gates.pop(session, None)
        if throttle is not None or killed is not None:
            gate = pipeline.gates[session] = Gate(session, pipeline, throttle)
            gate.killed = killed

    def _refuse_waiting(self, session: str, why: str, now_ns: int) -> None:
        try:
            refuse_waiting(self._pipeline, session, why, now_ns)
        except JournalError as error:
            self._pipeline.monitor.journal_failed(str(error))


def _rate_of(session: SessionTable) -> Rate | None:
    if session.throttle_messages is None:
        return None
    interval_ns = session.throttle_interval_ms * NS_PER_MS
    return Rate(session.throttle_messages, interval_ns, session.throttle_answer == "delay", session.throttle_queue)
