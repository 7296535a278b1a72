"""How old a mark is: by the venue's measured clock, or against the quickest message of the last minute or two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.venues import feed_clock
from gateway.venues.feed_clock import PERIOD_NS, FeedClock
from gateway.venues.feed_watch import FeedWatch
from gateway.venues.order_queue import OrderQueue

S, MS = 1_000_000_000, 1_000_000
NOW = 1_800_000_000 * S


@pytest.mark.parametrize("skew_ns", [-3_600 * S, -S, 0, S, 3_600 * S])
def test_lateness_is_found_whatever_the_two_clocks_differ_by(skew_ns: int) -> None:
    clock = FeedClock()
    assert clock.as_of("A", NOW + skew_ns - 5 * MS, NOW, None) == NOW
    late = NOW + S
    assert clock.as_of("B", late + skew_ns - 805 * MS, late, None) == late - 800 * MS


@pytest.mark.parametrize("offset_ns", [-20 * S, 0, 20 * S])
def test_a_measured_clock_tells_also_what_is_late_from_the_start(offset_ns: int) -> None:
    assert FeedClock().as_of("A", NOW + offset_ns - 700 * MS, NOW, offset_ns) == NOW - 700 * MS


def test_what_is_older_than_the_last_of_its_instrument_is_not_told() -> None:
    clock = FeedClock()
    assert clock.as_of("A", NOW, NOW, None) == NOW
    assert clock.as_of("A", NOW - 1, NOW + MS, None) is None
    assert clock.as_of("B", NOW - 1, NOW + MS, None) is not None
    assert clock.as_of("A", NOW, NOW + MS, None) is not None  # the same again is no step back


def test_a_step_of_a_clock_is_forgotten_within_two_periods() -> None:
    clock = FeedClock()
    clock.as_of("A", NOW, NOW, None)
    stepped = NOW + 3_600 * S  # ours is an hour ahead from now on
    assert clock.as_of("A", NOW + S, stepped + S, None) == NOW + S
    for second in range(2, 2 * PERIOD_NS // S + 3):
        told = clock.as_of("A", NOW + second * S, stepped + second * S, None)
    assert told == stepped + second * S


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_clock, "MAX_SYMBOLS", 3)
    clock = FeedClock()
    for number in range(10):
        clock.as_of(f"S{number}", NOW, NOW, None)
    assert len(clock._last) <= 3


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 3_000)), max_size=40), st.sampled_from([None, 0, 7 * S])
)
def test_age_never_grows_backwards_and_is_never_of_the_future(steps: list[tuple[int, int]], offset: int | None) -> None:
    clock, now, last = FeedClock(), NOW, 0
    for step_ms, lag_ms in steps:
        now += step_ms * MS
        told = clock.as_of("A", now - lag_ms * MS + (offset or 0), now, offset)
        if told is not None:
            assert last <= told <= now
            last = told


def test_a_watch_of_silence_begins_anew() -> None:
    watch = FeedWatch(10 * S)
    assert watch.deadline_ns is None and not watch.is_silent(NOW)
    watch.heard(NOW)
    assert watch.deadline_ns == NOW + 10 * S and not watch.is_silent(NOW + 9 * S) and watch.is_silent(NOW + 10 * S)
    watch.redial(["market"], NOW + 10 * S)
    assert not watch.is_silent(NOW + 19 * S) and watch.take_lanes_to_close() == ["market"]
    assert watch.take_lanes_to_close() == []
    never = FeedWatch(0)
    never.heard(NOW)
    assert never.deadline_ns is None and not never.is_silent(1 << 62)


def test_a_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.venues.order_queue.MAX_WAITING", 2)
    queue = OrderQueue(S)
    assert queue.is_used and queue.deadline_ns is None and not OrderQueue(0).is_used
    order: object = object()
    assert queue.take(order, "a", NOW) is None and queue.take(order, "b", NOW) is None  # type: ignore[arg-type]
    assert "2 orders wait" in str(queue.take(order, "c", NOW))  # type: ignore[arg-type]
    assert [(order_id, due) for _, order_id, due in queue.waiting(NOW)] == [("a", NOW + S), ("b", NOW + S)]
    assert queue.take_all() == ["a", "b"] and not queue.orders
