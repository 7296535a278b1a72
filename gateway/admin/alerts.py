"""Alerts: what holds now and should not, what happened, who has seen it, and which messages are due. No I/O.

Alerts of one kind that come within a moment are one message. No more messages leave in a minute than were agreed; what
waits is told together. What a person has acknowledged is not told again while it holds.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

NS_PER_S: Final = 1_000_000_000
SEVERITIES: Final = ("info", "warning", "critical")
MAX_ALERTS: Final = 500
# Of one message: more are counted.
TEXTS_TOLD: Final = 20
# What happened (and does not hold) is shown so long.
EVENT_LIFE_NS: Final = 900 * NS_PER_S
# What comes and goes around a threshold is one alert: it is over when it has not been so for this long.
CALM_NS: Final = 30 * NS_PER_S
MINUTE_NS: Final = 60 * NS_PER_S


class Alert(msgspec.Struct):
    """One thing to look at. `key` says which; `ends_ns` is 0 while it holds."""

    number: int
    key: str
    kind: str
    severity: str
    text: str
    began_ns: int
    is_event: bool
    ends_ns: int = 0
    count: int = 1
    acknowledged_by: str = ""
    told_ns: int = 0
    must_tell: bool = True
    worst: str = ""
    quiet_ns: int = 0  # since when it has not been so; 0 while it is
    is_heard: bool = False  # another system tells of it


class Message(msgspec.Struct, frozen=True):
    """What is sent: the alerts of one kind, of which some may be over."""

    kind: str
    severity: str
    alerts: tuple[Alert, ...]

    @property
    def title(self) -> str:
        """One line."""
        firing = sum(1 for alert in self.alerts if not alert.ends_ns or alert.is_event)
        return f"[{self.severity}] {self.kind}: {firing} firing, {len(self.alerts) - firing} over"

    @property
    def body(self) -> str:
        """A line an alert."""
        lines = [f"{'over: ' if a.ends_ns and not a.is_event else ''}{a.text}" for a in self.alerts[:TEXTS_TOLD]]
        more = len(self.alerts) - len(lines)
        return "\n".join([*lines, f"and {more} more"] if more else lines)


class AlertBook:
    """All alerts that are known, by key."""

    def __init__(self, group_wait_s: int, repeat_s: int, per_minute: int) -> None:
        self._group_wait_ns = group_wait_s * NS_PER_S
        self._repeat_ns = repeat_s * NS_PER_S
        self._per_minute = per_minute
        self._number = 0
        self._sent_ns: deque[int] = deque()
        self._due_ns: dict[str, int] = {}  # kind -> when its message is due
        self.dropped = 0
        self.by_key: dict[str, Alert] = {}

    def holds(self, key: str, kind: str, severity: str, text: str, now_ns: int) -> None:
        """Something that should not be is so, now; again and again while it is."""
        alert = self.by_key.get(key)
        if alert is None or alert.ends_ns:
            self._new(key, kind, severity, text, now_ns, is_event=False)
            return
        if SEVERITIES.index(severity) > SEVERITIES.index(alert.worst):
            alert.acknowledged_by, alert.worst = "", severity  # it is worse than what was seen
            self._tell(alert, now_ns)
        alert.severity, alert.text, alert.quiet_ns = severity, text, 0

    def is_over(self, key: str, now_ns: int) -> None:
        """It is so no more, and over once that has lasted. What nobody was told of is forgotten."""
        alert = self.by_key.get(key)
        if alert is None or alert.ends_ns:
            return
        if not alert.told_ns:
            del self.by_key[key]
        elif not alert.quiet_ns:
            alert.quiet_ns = now_ns

    def happened(self, key: str, kind: str, severity: str, text: str, now_ns: int) -> None:
        """Something happened; the same again within a quarter of an hour is counted, and told again now and then."""
        alert = self.by_key.get(key)
        if alert is None or now_ns >= alert.ends_ns:
            self._new(key, kind, severity, text, now_ns, is_event=True)
            return
        alert.count += 1
        alert.text, alert.ends_ns = text, now_ns + EVENT_LIFE_NS
        if alert.told_ns and not alert.acknowledged_by and now_ns >= alert.told_ns + self._repeat_ns:
            self._tell(alert, now_ns)

    def heard(self, key: str, kind: str, severity: str, text: str, now_ns: int, *, is_firing: bool) -> None:
        """Another system says that something holds, or is over: shown here, and told to nobody from here."""
        if is_firing:
            self.holds(key, kind, severity, text, now_ns)
        else:
            self.is_over(key, now_ns - CALM_NS)
        if (alert := self.by_key.get(key)) is not None:
            alert.must_tell, alert.told_ns, alert.is_heard = False, now_ns, True

    def knows(self, number: int) -> bool:
        """Whether there is such an alert."""
        return any(alert.number == number for alert in self.by_key.values())

    def acknowledge(self, number: int, who: str) -> None:
        """A person has seen it."""
        for alert in self.by_key.values():
            if alert.number == number:
                alert.acknowledged_by = who

    def due(self, now_ns: int) -> list[Message]:
        """Return the messages to send now; what they tell counts as told."""
        self._forget(now_ns)
        for alert in self.by_key.values():
            is_on = not alert.ends_ns and not alert.acknowledged_by and not alert.is_heard
            if is_on and alert.told_ns and now_ns >= alert.told_ns + self._repeat_ns:
                self._tell(alert, now_ns)
        while self._sent_ns and self._sent_ns[0] <= now_ns - MINUTE_NS:
            self._sent_ns.popleft()
        waiting: dict[str, list[Alert]] = {kind: [] for kind, at_ns in self._due_ns.items() if at_ns <= now_ns}
        for alert in self.by_key.values():
            if alert.must_tell and alert.kind in waiting:
                waiting[alert.kind].append(alert)
        # Where not all may leave, the gravest do, and of those whoever has waited longest.
        kinds = sorted(waiting, key=lambda kind: (-_gravest(waiting[kind]), self._due_ns[kind]))
        messages = []
        for kind in kinds:
            alerts = waiting[kind]
            if alerts and len(self._sent_ns) >= self._per_minute:
                break
            del self._due_ns[kind]
            if not alerts:
                continue
            for alert in alerts:
                alert.must_tell, alert.told_ns = False, now_ns
            self._sent_ns.append(now_ns)
            severity = SEVERITIES[_gravest(alerts)]
            messages.append(Message(kind, severity, tuple(msgspec.structs.replace(alert) for alert in alerts)))
        return messages

    def rows(self, now_ns: int) -> list[dict[str, Any]]:
        """Return all alerts, those that hold first, the worst of them first."""
        self._forget(now_ns)
        order = sorted(self.by_key.values(), key=_rank)
        return [
            {
                "number": alert.number,
                "kind": alert.kind,
                "severity": alert.severity,
                "text": alert.text,
                "age_s": (now_ns - alert.began_ns) / NS_PER_S,
                "is_firing": not alert.ends_ns or alert.is_event,
                "count": alert.count,
                "acknowledged_by": alert.acknowledged_by,
            }
            for alert in order
        ]

    def _new(self, key: str, kind: str, severity: str, text: str, now_ns: int, *, is_event: bool) -> None:
        self._number += 1
        alert = Alert(self._number, key, kind, severity, text, now_ns, is_event)
        alert.worst = severity
        if is_event:
            alert.ends_ns = now_ns + EVENT_LIFE_NS
        self.by_key.pop(key, None)
        self.by_key[key] = alert
        if len(self.by_key) > MAX_ALERTS:
            self.dropped += 1
            least = min(self.by_key.values(), key=lambda a: (not a.ends_ns, SEVERITIES.index(a.severity), a.began_ns))
            del self.by_key[least.key]
        self._tell(alert, now_ns)

    def _tell(self, alert: Alert, now_ns: int) -> None:
        alert.must_tell = True
        self._due_ns.setdefault(alert.kind, now_ns + self._group_wait_ns)

    def _forget(self, now_ns: int) -> None:
        """End what has been quiet for long enough; drop what is over and told."""
        for alert in self.by_key.values():
            if alert.quiet_ns and not alert.ends_ns and now_ns >= alert.quiet_ns + CALM_NS:
                alert.ends_ns = now_ns
                if not alert.is_heard:
                    self._tell(alert, now_ns)
        over = [
            a.key
            for a in self.by_key.values()
            if a.ends_ns and not a.must_tell and now_ns >= a.ends_ns + (0 if a.is_event else EVENT_LIFE_NS)
        ]
        for key in over:
            del self.by_key[key]


def _gravest(alerts: list[Alert]) -> int:
    return max((SEVERITIES.index(alert.severity) for alert in alerts), default=-1)


def _rank(alert: Alert) -> tuple[bool, bool, int, int]:
    is_over = bool(alert.ends_ns) and not alert.is_event
    return is_over, bool(alert.acknowledged_by), -SEVERITIES.index(alert.severity), -alert.began_ns
