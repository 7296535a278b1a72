"""The cell rate algorithm against a slow reference that keeps the backlog as a fraction."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.rate import NS_PER_SECOND, RateLimit
from tests.strategies import NOW_NS, NS

limits = st.tuples(st.integers(1, 5_000), st.integers(1, 50))
gaps = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2 * NS // 1_000), st.integers(0, NS)), max_size=60)


class LeakyBucket:
    """ITU-T I.371's other form: each order pours in one interval, time drains, an order that would overflow is refused.

    The interval is 1/rate rounded up to a nanosecond, the resolution of the clock.
    """

    def __init__(self, per_second: int, burst: int) -> None:
        self.interval = Fraction(-(-NS_PER_SECOND // per_second))
        self.capacity = self.interval * burst
        self.level, self.at_ns = Fraction(0), 0

    def admit(self, now_ns: int) -> bool:
        self.level = max(Fraction(0), self.level - (now_ns - self.at_ns))
        self.at_ns = now_ns
        if self.level + self.interval > self.capacity:
            return False
        self.level += self.interval
        return True


@given(limits, gaps)
def test_equals_the_leaky_bucket(limit: tuple[int, int], waits_ns: list[int]) -> None:
    rate, reference, now_ns = RateLimit(*limit), LeakyBucket(*limit), NOW_NS
    for wait_ns in waits_ns:
        now_ns += wait_ns
        assert rate.admit(now_ns) is reference.admit(now_ns)


@given(limits, gaps)
def test_no_window_admits_more_than_the_burst_and_the_rate(limit: tuple[int, int], waits_ns: list[int]) -> None:
    per_second, burst = limit
    rate, now_ns, admitted = RateLimit(*limit), NOW_NS, []
    for wait_ns in waits_ns:
        now_ns += wait_ns
        if rate.admit(now_ns):
            admitted.append(now_ns)
    for first, start_ns in enumerate(admitted):
        for last in range(first, len(admitted)):
            window = Fraction(admitted[last] - start_ns, NS)
            assert last - first + 1 <= burst + window * per_second


@pytest.mark.parametrize("per_second", [1, 3, 7, 100, 999_999_937, 10**9, 10**10])
def test_the_steady_rate_is_never_above_the_limit(per_second: int) -> None:
    # Asked at just the interval, rounded down, and ten times as often.
    for step_ns in (max(1, NS // per_second), max(1, NS // per_second // 10)):
        rate = RateLimit(per_second, 1)
        count = sum(rate.admit(NOW_NS + number * step_ns) for number in range(1_000))
        assert count <= 1 + Fraction(999 * step_ns * per_second, NS)


def test_a_burst_then_one_an_interval() -> None:
    rate = RateLimit(10, 3)
    assert [rate.admit(NOW_NS) for _ in range(5)] == [True, True, True, False, False]
    assert not rate.admit(NOW_NS + NS // 10 - 1)
    assert rate.admit(NOW_NS + NS // 10)  # the refused ones were not counted
    assert not rate.admit(NOW_NS + NS // 10)
    assert [rate.admit(NOW_NS + 10 * NS) for _ in range(4)] == [True, True, True, False]  # idleness saves one burst


@pytest.mark.parametrize("limit", [(0, 1), (-1, 1), (1, 0), (1, -5)])
def test_a_limit_of_nothing_is_a_mistake(limit: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RateLimit(*limit)
