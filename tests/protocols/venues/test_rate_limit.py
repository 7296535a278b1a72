from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.venues.rate_limit import Credits

S = 1_000_000_000


def test_a_burst_and_then_the_rate() -> None:
    pool = Credits(20, 5)
    assert [pool.take(1, S) for _ in range(21)] == [True] * 20 + [False]
    assert pool.available_at_ns(1, S) == S + S // 5
    assert not pool.take(1, S + S // 5 - 1)
    assert pool.take(1, S + S // 5)
    assert repr(pool) == "Credits(0.0 of 20)"


def test_a_reserve_is_left() -> None:
    pool = Credits(20, 5)
    taken = sum(pool.take(1, 0, reserve=5) for _ in range(30))
    assert taken == 15
    assert not pool.has(1, 0, reserve=5)
    assert pool.has(1, 0)
    assert sum(pool.take(1, 0) for _ in range(30)) == 5
    assert pool.available_at_ns(1, 0, reserve=5) == 6 * S // 5


def test_time_that_goes_backwards_refills_nothing() -> None:
    pool = Credits(2, 1)
    assert pool.take(2, 10 * S)
    assert not pool.take(1, 5 * S)
    assert pool.available_at_ns(1, 5 * S) == 11 * S
    assert not pool.take(1, 11 * S - 1)
    assert pool.take(1, 11 * S)


@given(
    st.integers(1, 50),
    st.integers(1, 7),
    st.lists(st.tuples(st.integers(0, 3 * S), st.integers(1, 10)), max_size=60),
)
def test_no_interval_holds_more_than_capacity_and_refill(
    capacity: int, per_second: int, calls: list[tuple[int, int]]
) -> None:
    pool = Credits(capacity, per_second)
    now = S
    taken: list[tuple[int, int]] = []
    for wait, cost in calls:
        now += wait
        ready = pool.available_at_ns(cost, now)
        if pool.take(cost, now):
            assert ready == now
            taken.append((now, cost))
        else:
            assert ready > now
    for i, (start, _) in enumerate(taken):
        total = 0
        for at, cost in taken[i:]:
            total += cost
            assert total <= capacity + Fraction((at - start) * per_second, S)


@pytest.mark.parametrize(("capacity", "per_second"), [(0, 1), (1, 0), (-1, 5)])
def test_a_pool_needs_both(capacity: int, per_second: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        Credits(capacity, per_second)
