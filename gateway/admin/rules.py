"""Which alerts a snapshot of the gateway means; docs/monitoring/alerts.yml has the same conditions for Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from gateway.admin.alerts import AlertBook
from gateway.config import Admin
from gateway.operators.showing import margin_use

# A gateway that has not told anything for so many intervals of its own, and at least so long, is stuck or gone.
SILENT_INTERVALS: Final = 5
SILENT_NS: Final = 3_000_000_000
# How an alert text of the gateway begins, or what it contains -> kind and severity. The first that fits decides.
TEXTS: Final = (
    (re.compile(r"internal error"), "internal error", "critical"),
    (re.compile(r"^journal"), "journal", "critical"),
    (re.compile(r"not confirmed|not cancelled|unconfirmed"), "cancels", "critical"),
    (re.compile(r" killed by | reinstated by | logged out by |^limit of | -> (trading|reducing|halted) by"),
     "operator", "warning"),
    (re.compile(r"break|differs|is not ours"), "break", "critical"),
    (re.compile(r"^margin of .* taken_over:| deleveraged by | ended, exhausted: "), "margin call", "critical"),
    (re.compile(r"^transfer .* (awaits approval|approved) by "), "transfer", "info"),
    (re.compile(r"^transfer | calls [\d.]+ USD of |: call \S+ (lapsed|unpaid)"), "transfer", "warning"),
    (re.compile(r"^(valuation|margin watch|margin parameters) failed|^pricing process: "), "margin", "critical"),
    (re.compile(r"^fix: (logon|connection)"), "logons", "warning"),
    (re.compile(r"halted|disconnected|reconcil"), "venue", "warning"),
)  # fmt: skip
# States of an account's margin that somebody should know of, and how urgently.
GRAVE_MARGIN: Final = {
    "called": "warning", "restricted": "warning", "adjusting": "critical", "taken_over": "critical"
}  # fmt: skip
# A number that stands alone: how many, how much, since when. Digits in a name tell one thing from another.
_NUMBERS: Final = re.compile(r"(?<![^\s(])[+-]?\d[\d.,]*(?![^\s;:,.%)])")


class Condition(NamedTuple):
    """Something that should not be."""

    key: str
    kind: str
    severity: str
    text: str


def conditions(snapshot: dict[str, Any], rules: Admin) -> Iterator[Condition]:
    """Yield what holds in a snapshot and should not."""
    for venue, state in snapshot.get("venues", {}).items():
        if state != "live":
            yield Condition(f"venue {venue}", "venue", "critical", f"venue {venue} is {state}")
    for venue, feed in snapshot.get("feeds", {}).items():
        age_ms = feed["feed_age_ms"]
        if age_ms is not None and age_ms > rules.feed_age_warning_ms:
            text = f"venue {venue}: its newest mark is {age_ms / 1000:.1f} s old"
            yield Condition(f"feed {venue}", "feed", "critical", text)
    for row in snapshot.get("accounts", []):
        use, name = margin_use(row), row["account"]
        if row["equity"] is None:
            yield Condition(f"margin {name}", "margin", "warning", f"account {name}: margin unknown")
        elif use >= rules.margin_use_warning:
            severity = "critical" if use >= rules.margin_use_critical else "warning"
            share = "without equity" if use == float("inf") else f"{use:.0%} of equity"
            yield Condition(f"margin {name}", "margin", severity, f"account {name}: initial margin is {share}")
        if row.get("margin_state") in GRAVE_MARGIN:
            severity = GRAVE_MARGIN[row["margin_state"]]
            text = f"account {name}: margin {row['margin_state'].replace('_', ' ')}"
            yield Condition(f"margin state {name}", "margin call", severity, text)
        if row["state"] != "trading":
            yield Condition(f"state {name}", "account state", "warning", f"account {name} is {row['state']}")


def money_conditions(snapshot: dict[str, Any]) -> Iterator[Condition]:
    """Yield what is wrong with transfers, collateral and the comparison with other books."""
    if unknown := snapshot.get("transfers_unknown", 0):
        text = f"{unknown} transfers of collateral of which nothing is heard"
        yield Condition("transfers", "transfer", "critical", text)
    for row in snapshot.get("collateral", []):
        if row["imbalance_units"]:
            text = f"collateral in {row['asset']} does not add up: {row['imbalance_units']} units"
            yield Condition(f"collateral {row['asset']}", "collateral", "critical", text)
    for severity, count in snapshot.get("breaks_open", {}).items():
        told = "critical" if severity == "block" else "warning"
        yield Condition(f"breaks {severity}", "break", told, f"{count} breaks open: {severity}")


class Watch:
    """Turns snapshots into alerts: conditions that begin and end, and the gateway's own texts, each once."""

    def __init__(self, book: AlertBook, rules: Admin, report_interval_ms: int) -> None:
        self._book = book
        self._rules = rules
        self._silent_ns = max(SILENT_NS, SILENT_INTERVALS * report_interval_ms * 1_000_000)
        self._holding: set[str] = set()
        self._texts_seen: int | None = None
        self._uptime_s = 0.0

    def look(self, snapshot: dict[str, Any] | None, age_ns: int, now_ns: int) -> None:
        """Take up a snapshot of so long ago; None: there is none."""
        found: dict[str, Condition] = {}
        if snapshot is None or age_ns > self._silent_ns:
            text = "no gateway runs" if snapshot is None else f"the gateway has told nothing for {age_ns / 1e9:.0f} s"
            found["gateway"] = Condition("gateway", "gateway", "critical", text)
            keys = self._holding - {"gateway"}  # what was so is not known to be over
        else:
            found = {one.key: one for one in conditions(snapshot, self._rules)}
            found |= {one.key: one for one in money_conditions(snapshot)}
            keys = set()
            self._told(snapshot, now_ns)
        for condition in found.values():
            self._book.holds(*condition, now_ns)
        for key in self._holding - found.keys() - keys:
            self._book.is_over(key, now_ns)
        self._holding = set(found) | keys

    def _told(self, snapshot: dict[str, Any], now_ns: int) -> None:
        """Take up alert texts that are new; those from before this process began are shown by the gateway's list."""
        count, texts = snapshot.get("alert_count", 0), snapshot.get("alerts", [])
        seen, before_s = self._texts_seen, self._uptime_s
        self._uptime_s = snapshot.get("duration_s", before_s)
        if seen is None:  # this process has just begun
            seen = max(0, count - len(texts))
        elif count < seen or self._uptime_s < before_s:  # the gateway has
            seen = 0
        if (lost := count - seen - len(texts)) > 0:
            text = f"{lost} alerts of the gateway came faster than they are read here: see its journal"
            self._book.happened("texts lost", "gateway", "critical", text, now_ns)
        for text in texts[-(count - seen) :] if count > seen else []:
            kind, severity = _kind_of(text)
            self._book.happened(f"text {_NUMBERS.sub('#', text)}", kind, severity, text, now_ns)
        self._texts_seen = count


def _kind_of(text: str) -> tuple[str, str]:
    for pattern, kind, severity in TEXTS:
        if pattern.search(text):
            return kind, severity
    return "gateway", "info"
