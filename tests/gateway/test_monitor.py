"""Histograms against a slow reference, and counters that only ever count."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.monitor import BUCKETS, TIMED_ORDERS_MAX, Histogram, Monitor
from risk.order import Reject, RejectReason

durations = st.lists(st.integers(0, 10**12) | st.integers(0, 100), min_size=1, max_size=200)
fractions = st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]) | st.floats(0.0, 1.0)


def slow_percentile(values: list[int], fraction: float) -> int:
    """The smallest value that at least this fraction of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(fraction * len(values)) - 1)]


@given(durations, fractions)
def test_a_percentile_is_never_below_the_truth_and_at_most_a_sixteenth_above(
    values: list[int], fraction: float
) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    truth, told = slow_percentile(values, fraction), histogram.percentile_ns(fraction)
    assert truth <= told <= truth + truth // 16
    assert histogram.count == len(values) == sum(histogram.counts)


def test_small_durations_are_exact_and_buckets_are_in_order() -> None:
    edges = []
    for duration in [*range(64), *(1 << n for n in range(6, 64)), *((1 << n) - 1 for n in range(6, 64))]:
        histogram = Histogram()
        histogram.add(duration)
        told = histogram.percentile_ns(0.5)
        assert told == duration if duration < 32 else duration <= told <= duration * 17 // 16
        edges.append((duration, told, histogram.counts.index(1)))
    edges.sort()
    assert all(a[1] <= b[1] and a[2] <= b[2] < BUCKETS for a, b in pairwise(edges))


def test_no_durations_and_negative_ones() -> None:
    histogram = Histogram()
    assert histogram.percentile_ns(0.99) == 0
    histogram.add(-5)  # clocks of two threads, at worst
    assert histogram.percentile_ns(0.99) == 0 and histogram.count == 1


def test_latencies_end_when_the_batch_is_written() -> None:
    monitor = Monitor()
    monitor.order_refused(Reject(RejectReason.MARK_STALE, "mark_is_fresh", "old"), 1_000)
    monitor.order_accepted("r-1", 11, 2_000)
    monitor.batch_written(5_000)
    assert monitor.reject_latency.count == 1 and monitor.reject_latency.percentile_ns(0.5) in range(4_000, 4_251)
    assert monitor.accept_latency.count == 0
    for _ in range(2):
        monitor.order_answered("r-1")
        monitor.batch_written(9_000)
    assert monitor.accept_latency.count == 1 and monitor.accept_latency.percentile_ns(0.5) in range(7_000, 7_438)


def test_orders_in_flight_beyond_the_bound_are_not_timed() -> None:
    monitor = Monitor()
    for number in range(TIMED_ORDERS_MAX + 10):
        monitor.order_accepted(str(number), 11, 0)
    assert len(monitor._accepted_at) == TIMED_ORDERS_MAX
    monitor.order_answered(str(TIMED_ORDERS_MAX + 5))
    monitor.batch_written(1)
    assert monitor.accept_latency.count == 0


def test_alerts_are_bounded_and_an_error_inside_a_check_is_one() -> None:
    monitor = Monitor()
    for number in range(150):
        monitor.alert(f"alert {number}")
    monitor.order_refused(Reject(RejectReason.CHECK_ERROR, "margin_is_covered", "KeyError inside a check"), 0)
    monitor.journal_failed("full")
    assert len(monitor.alerts) == 100
    assert monitor.alerts[-2:] == ["margin_is_covered: KeyError inside a check", "journal: full"]


@pytest.mark.parametrize(("name", "told"), [("ALPHA", "ALPHA: bye"), ("", "a connection without Logon: bye")])
def test_a_snapshot_is_plain_values(name: str, told: str) -> None:
    monitor = Monitor()
    monitor.session_closed(name, "bye")
    monitor.order_refused(Reject(RejectReason.MARK_STALE, "c", "t"), 0)
    monitor.order_accepted("r-1", 11, 0)
    snapshot = monitor.snapshot()
    assert monitor.last_session_closed == told
    assert snapshot["rejected"] == snapshot["accepted"] == 1 and snapshot["checks_run"] == 11
    assert snapshot["rejects_by_code"] == {"MARK_STALE": 1}
    assert set(snapshot["latency_us"]) == {"reject", "accept"}
