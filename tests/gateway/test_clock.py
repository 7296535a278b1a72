import time
from itertools import count

import pytest

from gateway import clock


def test_the_time_is_wall_time() -> None:
    # One second: far more than two reads take, far less than a wrong epoch or unit.
    assert abs(clock.now_ns() - time.time_ns()) < 1_000_000_000


def test_it_never_decreases() -> None:
    readings = [clock.now_ns() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_step_of_the_wall_clock_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = clock.now_ns()
    monkeypatch.setattr(clock, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert clock.now_ns() >= before


def test_the_anchor_is_the_wall_time_at_monotonic_zero() -> None:
    steady = count(5_000, 10)
    assert clock.anchor_ns(wall_ns=lambda: 1_005_005, steady_ns=lambda: next(steady)) == 1_000_000


def test_the_anchor_comes_from_the_tightest_pair_of_reads() -> None:
    # Each pair of steady reads brackets one wall read; the third pair is the tight one.
    steady = iter([0, 900, 1000, 1700, 2000, 2002, 3000, 3500, *[0, 9000] * 4])
    wall = iter([111, 222, 50_000, 444, *[555] * 4])
    assert clock.anchor_ns(wall_ns=lambda: next(wall), steady_ns=lambda: next(steady)) == 50_000 - 2001
