"""`/metrics`: the newest snapshot as Prometheus reads it. A scrape costs this process, and the gateway nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.operators.showing import margin_use

# Each account is nine series; of more accounts, those nearest to their margin are told, and all are counted.
MAX_ACCOUNTS: Final = 500
_COUNTERS: Final = {
    "orders_in": "Orders that clients sent",
    "accepted": "Orders that passed every check",
    "rejected": "Orders that a check refused",
    "venue_rejects": "Orders that a venue refused",
    "fills": "Executions",
    "cancelled": "Orders cancelled",
    "replaced": "Orders replaced",
    "unknown": "Orders whose outcome became unknown",
    "breaks": "Differences between our book and a venue's",
    "marks_refused": "Marks that were not usable",
    "venue_errors": "Errors told by venues' sessions",
    "journal_records": "Records in the journal",
    "alert_count": "Alerts of the gateway",
}
_MONEY: Final = ("equity", "initial_margin", "maintenance_margin")
Facts = dict[str, Any]


class SnapshotCollector(Collector):
    """Makes metrics of a snapshot when they are asked for."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        """`facts` gives snapshot (None: there is none), age_s, alerts, audit_entries, deliveries."""
        self._facts = facts

    def collect(self) -> Iterable[Metric]:
        """Yield all families."""
        facts = self._facts()
        snapshot = facts["snapshot"]
        yield _gauge("up", "Whether a gateway tells of itself", 0.0 if snapshot is None else 1.0)
        yield CounterMetricFamily("margingate_audit_entries", "Entries of the audit log", facts["audit_entries"])
        firing = GaugeMetricFamily("margingate_alerts_firing", "Alerts that hold", labels=["kind", "severity"])
        counts: dict[tuple[str, str], int] = {}
        for row in facts["alerts"]:
            if row["is_firing"]:
                counts[row["kind"], row["severity"]] = counts.get((row["kind"], row["severity"]), 0) + 1
        for labels, count in counts.items():
            firing.add_metric(list(labels), count)
        yield firing
        messages = CounterMetricFamily("margingate_alert_messages", "Messages by receiver", labels=["sink", "outcome"])
        for name, outcomes in facts["deliveries"].items():
            for outcome, count in outcomes.items():
                messages.add_metric([name, outcome], count)
        yield messages
        if snapshot is not None:
            yield _gauge("snapshot_age_seconds", "Age of the newest snapshot", facts["age_s"])
            yield from _counters(snapshot)
            yield from _latencies(snapshot)
            yield from _accounts(snapshot.get("accounts", []))
            yield from _venues(snapshot)
            yield from _standing(snapshot)
            yield from _money(snapshot)


def exposition(facts: Callable[[], Facts]) -> bytes:
    """Return the text that a scraper is told."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(facts))
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"margingate_{name}", text, value)


def _counters(snapshot: Facts) -> Iterable[Metric]:
    for name, text in _COUNTERS.items():
        yield CounterMetricFamily(f"margingate_{name.removesuffix('_count')}", text, snapshot.get(name, 0))
    reasons = CounterMetricFamily("margingate_rejects", "Orders refused, by reason", labels=["reason"])
    for reason, count in snapshot.get("rejects_by_code", {}).items():
        reasons.add_metric([reason], count)
    yield reasons
    logons = CounterMetricFamily("margingate_logons_refused", "Logons refused, by reason", labels=["reason"])
    for reason, count in snapshot.get("logons_refused", {}).items():
        logons.add_metric([reason], count)
    yield logons
    yield _gauge("uptime_seconds", "Time since the gateway started", snapshot.get("duration_s", 0.0))


def _latencies(snapshot: Facts) -> Iterable[Metric]:
    latency = GaugeMetricFamily(
        "margingate_latency_seconds", "Order in to answer out, since the start", labels=["path", "quantile"]
    )
    for path, figures in snapshot.get("latency_us", {}).items():
        for name, quantile in (("p50", "0.5"), ("p99", "0.99")):
            if figures["count"]:
                latency.add_metric([path, quantile], figures[name] / 1e6)
    yield latency


def _accounts(rows: list[Facts]) -> Iterable[Metric]:
    yield _gauge("accounts", "Accounts", len(rows))
    told = sorted(rows, key=lambda row: -margin_use(row))[:MAX_ACCOUNTS]
    for key in _MONEY:
        family = GaugeMetricFamily(f"margingate_account_{key}_usd", key.replace("_", " "), labels=["account"])
        for row in told:
            if row.get(key) is not None:
                family.add_metric([row["account"]], row[key])
        yield family
    yield from _told(told)
    use = GaugeMetricFamily("margingate_account_margin_use_ratio", "Initial margin by equity", labels=["account"])
    state = GaugeMetricFamily("margingate_account_state", "1 for the state it is in", labels=["account", "state"])
    working = GaugeMetricFamily("margingate_account_working_orders", "Working orders", labels=["account"])
    for row in told:
        if row["equity"] is not None:
            use.add_metric([row["account"]], margin_use(row))
        state.add_metric([row["account"], row["state"]], 1)
        working.add_metric([row["account"]], row["working_orders"])
    yield from (use, state, working)


def _told(rows: list[Facts]) -> Iterable[Metric]:
    """Yield what accounts are told, in their own currencies; the label names it, and USD where one has no price."""
    for key in _MONEY:
        name = f"margingate_account_told_{key}"
        family = GaugeMetricFamily(name, f"{key.replace('_', ' ')} as told", labels=["account", "currency"])
        for row in rows:
            told = row.get("told", {})
            if told.get(key) is not None:
                family.add_metric([row["account"], told["currency"]], float(told[key]))
        yield family


def _venues(snapshot: Facts) -> Iterable[Metric]:
    state = GaugeMetricFamily("margingate_venue_state", "1 for the state it is in", labels=["venue", "state"])
    for venue, name in snapshot.get("venues", {}).items():
        state.add_metric([venue, name], 1)
    yield state
    age = GaugeMetricFamily("margingate_feed_age_seconds", "Age of a venue's marks", labels=["venue", "mark"])
    fresh = GaugeMetricFamily("margingate_feed_instruments", "Open instruments", labels=["venue", "mark"])
    for venue, feed in snapshot.get("feeds", {}).items():
        for mark, key in (("newest", "feed_age_ms"), ("oldest", "oldest_mark_ms")):
            if feed.get(key) is not None:
                age.add_metric([venue, mark], feed[key] / 1000)
        fresh.add_metric([venue, "fresh"], feed["marks_fresh"])
        fresh.add_metric([venue, "stale"], feed["instruments"] - feed["marks_fresh"])
    yield from (age, fresh)


def _standing(snapshot: Facts) -> Iterable[Metric]:
    on = GaugeMetricFamily("margingate_session_logged_on", "FIX sessions that are logged on", labels=["session"])
    for session in snapshot.get("sessions", []):
        on.add_metric([session], 1)
    yield on
    yield _gauge("kills", "Kills that stand", len(snapshot.get("controls", {}).get("killed", [])))


def _money(snapshot: Facts) -> Iterable[Metric]:
    states = GaugeMetricFamily("margingate_margin_states", "Accounts by the state of their margin", labels=["state"])
    for state, count in snapshot.get("margin_states", {}).items():
        states.add_metric([state], count)
    yield states
    yield _gauge("calls_open", "Margin calls that still ask for something", snapshot.get("calls_open", 0))
    yield _gauge("called_usd", "What open calls ask for", snapshot.get("called_usd", 0.0))
    yield _gauge("transfers_live", "Transfers of collateral on their way", snapshot.get("transfers_live", 0))
    yield _gauge("transfers_unknown", "Of them, those that nothing is heard of", snapshot.get("transfers_unknown", 0))
    balance = GaugeMetricFamily(
        "margingate_collateral_imbalance_units", "Sum of an asset over all places: zero", labels=["asset"]
    )
    for row in snapshot.get("collateral", []):
        balance.add_metric([row["asset"]], row["imbalance_units"])
    yield balance
    breaks = GaugeMetricFamily("margingate_breaks_open", "Open breaks with other books", labels=["severity"])
    for severity, count in snapshot.get("breaks_open", {}).items():
        breaks.add_metric([severity], count)
    yield breaks
