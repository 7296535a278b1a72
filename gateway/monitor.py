"""Counters and latency histograms: plain integers on the path; it never decides and never changes state."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from gateway.redaction import redacted
from risk.order import Reject, RejectReason

# Latency buckets: 16 a power of two, so a percentile is within 6 % of the truth, in one list of integers.
SUB_BUCKETS: Final = 16
BUCKETS: Final = 64 * SUB_BUCKETS
# What strangers can cause is told once in so long for each cause: they must not wash other alerts away.
ALERT_INTERVAL_NS: Final = 10_000_000_000
# Accepted orders whose acknowledgement is timed; more in flight than this are not timed.
TIMED_ORDERS_MAX: Final = 65_536

_REASONS: Final = {reason: reason.name for reason in RejectReason}
_CHECK_ERROR: Final = RejectReason.CHECK_ERROR


class Histogram:
    """Durations in ns, in buckets of relative width 1/16."""

    __slots__ = ("count", "counts")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.count = 0

    def add(self, duration_ns: int, count: int = 1) -> None:
        """Count one duration, so many times; a negative one counts as 0."""
        if duration_ns < SUB_BUCKETS:
            bucket = max(duration_ns, 0)
        else:
            shift = duration_ns.bit_length() - 5
            bucket = (shift << 4) + (duration_ns >> shift)
        self.counts[bucket] += count
        self.count += count

    def percentile_ns(self, fraction: float) -> int:
        """Return the upper edge of the bucket that holds this fraction of the durations; 0 where there are none."""
        rank, seen = fraction * self.count, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= rank:
                if bucket < 2 * SUB_BUCKETS:
                    return bucket
                shift = (bucket >> 4) - 1
                return ((bucket & 15) + 17 << shift) - 1
        return 0


class Monitor:
    """What an operator sees of one process."""

    __slots__ = (
        "_accepted_at",
        "_acknowledged",
        "_pending_rejects",
        "_told_ns",
        "accept_latency",
        "accepted",
        "alert_count",
        "alerts",
        "breaks",
        "cancelled",
        "cancels_in",
        "cancels_refused",
        "checks_run",
        "connections_refused",
        "fills",
        "last_session_closed",
        "logons_refused",
        "marks_doubted",
        "marks_refused",
        "orders_in",
        "reject_latency",
        "rejected",
        "rejects_by_code",
        "replace_checks_run",
        "replaced",
        "replaces_accepted",
        "replaces_in",
        "replaces_refused",
        "sessions_closed",
        "unknown",
        "venue_errors",
        "venue_rejects",
    )

    def __init__(self) -> None:
        self.orders_in = 0
        self.accepted = 0
        self.rejected = 0
        self.rejects_by_code: Counter[str] = Counter()
        self.venue_rejects = 0
        self.fills = 0
        self.cancels_in = 0
        self.cancels_refused = 0
        self.cancelled = 0
        self.replaces_in = 0
        self.replaces_accepted = 0
        self.replaces_refused = 0
        self.replaced = 0
        self.unknown = 0
        self.checks_run = 0
        self.replace_checks_run = 0
        self.breaks = 0
        self.marks_refused = 0
        self.marks_doubted = 0
        self.venue_errors = 0
        self.alerts: list[str] = []
        self.alert_count = 0
        self.sessions_closed = 0
        self.last_session_closed = ""
        self.logons_refused: Counter[str] = Counter()
        self.connections_refused: Counter[str] = Counter()
        self._told_ns: dict[tuple[str, str], int] = {}
        self.reject_latency = Histogram()
        self.accept_latency = Histogram()
        # When orders were received -> how many of those are to be timed once the batch is written: of one read, all are
        # received at once.
        self._pending_rejects: dict[int, int] = {}
        self._accepted_at: dict[str, int] = {}
        self._acknowledged: dict[int, int] = {}

    def order_refused(self, reject: Reject, received_ns: int) -> None:
        """Count a refusal by its reason; its latency ends when the batch is written."""
        self.rejected += 1
        self.rejects_by_code[_REASONS[reject.reason]] += 1
        pending = self._pending_rejects
        pending[received_ns] = pending.get(received_ns, 0) + 1
        if reject.reason is _CHECK_ERROR:
            self.alert(f"{reject.check}: {reject.text}")

    def order_accepted(self, order_id: str, checks_run: int, received_ns: int) -> None:
        """Count an approval; its latency ends when the venue's acknowledgement has been written to the client."""
        self.accepted += 1
        self.checks_run += checks_run
        if len(self._accepted_at) < TIMED_ORDERS_MAX:
            self._accepted_at[order_id] = received_ns

    def order_answered(self, order_id: str) -> None:
        """The venue answered an order (acknowledged, filled, rejected) for the first time."""
        received_ns = self._accepted_at.pop(order_id, None)
        if received_ns is not None:
            self._acknowledged[received_ns] = self._acknowledged.get(received_ns, 0) + 1

    def batch_written(self, now_ns: int) -> None:
        """Everything queued has been handed to the sockets: latencies end here."""
        if self._pending_rejects:
            for received_ns, count in self._pending_rejects.items():
                self.reject_latency.add(now_ns - received_ns, count)
            self._pending_rejects.clear()
        if self._acknowledged:
            for received_ns, count in self._acknowledged.items():
                self.accept_latency.add(now_ns - received_ns, count)
            self._acknowledged.clear()

    def session_closed(self, name: str, reason: str) -> None:
        """A FIX connection ended."""
        self.sessions_closed += 1
        self.last_session_closed = redacted(f"{name or 'a connection without Logon'}: {reason}")

    def logon_refused(self, session: str, reason: str, address: str, now_ns: int) -> None:
        """A Logon was refused; `session` is "" for all that are none of the configuration's."""
        self.logons_refused[reason] += 1
        name = session or "an unknown session"
        text = f"fix: logon of {name} from {address} refused: {reason}; {self.logons_refused[reason]} such in all"
        self.alert_now_and_then((name, reason), text, now_ns)

    def connection_refused(self, reason: str, address: str, now_ns: int) -> None:
        """A connection was ended before its Logon. `reason` is one of a few texts of ours."""
        self.connections_refused[reason] += 1
        text = f"fix: connection refused, {reason}: {address}; {self.connections_refused[reason]} such in all"
        self.alert_now_and_then(("", reason), text, now_ns)

    def alert_now_and_then(self, cause: tuple[str, str], text: str, now_ns: int) -> None:
        """Keep an alert for the operator, unless there was one of the same cause a moment ago."""
        told_ns = self._told_ns.get(cause)
        if told_ns is None or now_ns >= told_ns + ALERT_INTERVAL_NS:
            self._told_ns[cause] = now_ns
            self.alert(text)

    def mark_doubted(self, symbol: str, why: str, now_ns: int) -> None:
        """A venue's mark is not used, as others contradict it."""
        self.marks_doubted += 1
        self.alert_now_and_then(("doubt", symbol), f"{symbol}: mark not used: {why}", now_ns)

    def journal_failed(self, text: str) -> None:
        """The journal can not be written: new risk is refused until it can."""
        self.alert(f"journal: {text}")

    def alert(self, text: str) -> None:
        """Keep an alert for the operator; the oldest is dropped beyond a hundred."""
        self.alerts.append(redacted(text))
        self.alert_count += 1
        del self.alerts[:-100]

    def snapshot(self) -> dict[str, Any]:
        """Return the counters as plain values."""
        names = (
            "orders_in", "accepted", "rejected", "venue_rejects", "fills", "cancels_in", "cancels_refused",
            "cancelled", "replaces_in", "replaces_accepted", "replaces_refused", "replaced", "unknown",
            "checks_run", "replace_checks_run", "breaks", "marks_refused", "marks_doubted", "venue_errors",
        )  # fmt: skip
        counters: dict[str, Any] = {name: getattr(self, name) for name in names}
        counters["rejects_by_code"] = dict(sorted(self.rejects_by_code.items()))
        counters["latency_us"] = {
            "reject": _percentiles(self.reject_latency),
            "accept": _percentiles(self.accept_latency),
        }
        counters["logons_refused"] = dict(sorted(self.logons_refused.items()))
        counters["connections_refused"] = dict(sorted(self.connections_refused.items()))
        counters["alerts"] = list(self.alerts)
        counters["alert_count"] = self.alert_count
        return counters


def _percentiles(histogram: Histogram) -> dict[str, float]:
    return {
        "p50": histogram.percentile_ns(0.50) / 1000,
        "p99": histogram.percentile_ns(0.99) / 1000,
        "count": histogram.count,
    }
