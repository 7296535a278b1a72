"""Pauses after failures: how long, whose, and that the table can not be turned against anybody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.clients.back_off import (
    FORGOTTEN_AFTER_NS,
    FREE_FAILURES,
    LONGEST_DELAY_NS,
    LONGEST_PAUSE_NS,
    MAX_KNOWN_ORIGINS,
    NS_PER_S,
    BackOff,
)

T = 10**18


def failed(back_off: BackOff, times: int, origin: str = "o", session: str = "s", now_ns: int = T) -> None:
    for _ in range(times):
        back_off.failed(origin, session, now_ns)


def pause_s(back_off: BackOff, origin: str = "o", session: str = "s", now_ns: int = T) -> int:
    """Whole seconds until a Logon is read again."""
    seconds = 0
    while back_off.is_paused(origin, session, now_ns + seconds * NS_PER_S):
        seconds += 1
    return seconds


def test_three_failures_are_free_then_the_pause_doubles_to_five_minutes() -> None:
    back_off = BackOff()
    pauses = []
    for _ in range(13):
        back_off.failed("o", "s", T)
        pauses.append(pause_s(back_off))
    assert pauses == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    failed(back_off, 10_000)
    assert pause_s(back_off) == 300


def test_a_pause_is_of_one_origin_and_one_session() -> None:
    back_off = BackOff()
    failed(back_off, 20)
    assert not back_off.is_paused("other", "s", T) and not back_off.is_paused("o", "other", T)
    failed(back_off, 20, session="")  # sessions that nobody knows are one
    assert back_off.is_paused("o", "", T) and not back_off.is_paused("o", "other", T)


def test_success_forgives_and_so_does_time() -> None:
    back_off = BackOff()
    failed(back_off, 20)
    back_off.succeeded("o", "s")
    assert not back_off.is_paused("o", "s", T) and back_off.delay_ns("x", "s", T) == 0 and len(back_off) == 0
    failed(back_off, 20)
    later = T + FORGOTTEN_AFTER_NS
    assert not back_off.is_paused("o", "s", later)
    back_off.failed("o", "s", later)
    assert not back_off.is_paused("o", "s", later) and back_off.is_calm("s", later)


def test_guesses_from_everywhere_slow_the_session_and_lock_nobody_out() -> None:
    back_off = BackOff()
    delays = []
    for number in range(20):
        back_off.failed(f"o{number}", "s", T)
        delays.append(back_off.delay_ns("stranger", "s", T))
    assert delays[: FREE_FAILURES - 1] == [0, 0] and delays[FREE_FAILURES - 1] == NS_PER_S // 10
    assert delays[-1] == max(delays) == LONGEST_DELAY_NS < 10 * NS_PER_S
    assert not back_off.is_paused("stranger", "s", T) and not back_off.is_calm("s", T)
    assert back_off.delay_ns("stranger", "other", T) == 0
    assert back_off.delay_ns("stranger", "s", T + FORGOTTEN_AFTER_NS) == 0


def test_an_origin_that_was_in_before_is_not_slowed() -> None:
    back_off = BackOff()
    back_off.succeeded("home", "s")
    for number in range(100):
        back_off.failed(f"o{number}", "s", T)
    assert back_off.delay_ns("home", "s", T) == 0 and back_off.delay_ns("o1", "s", T) == LONGEST_DELAY_NS
    for number in range(MAX_KNOWN_ORIGINS):
        back_off.succeeded(f"home{number}", "s")
    failed(back_off, 20, origin="x")
    assert back_off.delay_ns("home", "s", T) == LONGEST_DELAY_NS  # a session has so many homes, no more


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.booleans()), max_size=300))
def test_the_table_is_bounded_and_pauses_only_those_who_failed(steps: list[tuple[int, int, bool]]) -> None:
    back_off, failures = BackOff(max_pairs=8), dict[tuple[str, str], int]()
    for number, session_number, is_good in steps:
        origin, session = f"o{number}", f"s{session_number}"
        if is_good:
            back_off.succeeded(origin, session)
            failures.pop((origin, session), None)
        else:
            back_off.failed(origin, session, T)
            failures[origin, session] = failures.get((origin, session), 0) + 1
        assert len(back_off) <= 8
        for origin_of in range(41):
            for session_of in range(3):
                pair = (f"o{origin_of}", f"s{session_of}")
                assert not back_off.is_paused(*pair, T) or failures.get(pair, 0) >= FREE_FAILURES


def test_the_oldest_failure_makes_room() -> None:
    back_off = BackOff(max_pairs=2)
    failed(back_off, 5, "a")
    failed(back_off, 5, "b")
    failed(back_off, 1, "a")
    failed(back_off, 5, "c")
    assert [back_off.is_paused(origin, "s", T) for origin in "abc"] == [True, False, True]
    assert LONGEST_PAUSE_NS < FORGOTTEN_AFTER_NS  # nobody is forgotten within a pause
