"""The table that keeps the pricing process alive: every row, every absent pair, and its pauses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.slowside.supervision import (
    ANSWER_LIMIT_NS,
    LONGEST_PAUSE_NS,
    SHORTEST_PAUSE_NS,
    START_LIMIT_NS,
    STEADY_NS,
    TABLE,
    Act,
    Heard,
    State,
    Supervision,
)

WAYS = {
    State.DOWN: (),
    State.STARTING: (Heard.DEADLINE,),
    State.READY: (Heard.DEADLINE, Heard.HELLO),
    State.PRICING: (Heard.DEADLINE, Heard.HELLO, Heard.ASKED),
}


def at(state: State) -> Supervision:
    supervision = Supervision(0)
    for what in WAYS[state]:
        supervision.hear(what, 0)
    assert supervision.state is state
    return supervision


@pytest.mark.parametrize(
    ("state", "what", "act", "after", "limit_ns"),
    [
        (State.DOWN, Heard.DEADLINE, Act.START, State.STARTING, START_LIMIT_NS),
        (State.STARTING, Heard.HELLO, Act.NOTHING, State.READY, None),
        (State.READY, Heard.ASKED, Act.NOTHING, State.PRICING, ANSWER_LIMIT_NS),
        (State.PRICING, Heard.ANSWER, Act.TAKE, State.READY, None),
        (State.STARTING, Heard.DEADLINE, Act.KILL, State.DOWN, SHORTEST_PAUSE_NS),
        (State.PRICING, Heard.DEADLINE, Act.KILL, State.DOWN, SHORTEST_PAUSE_NS),
        *[(s, w, Act.KILL, State.DOWN, SHORTEST_PAUSE_NS) for s in WAYS if s for w in (Heard.ENDED, Heard.UNUSABLE)
          if s is not State.DOWN],
    ],
)  # fmt: skip
def test_rows(state: State, what: Heard, act: Act, after: State, limit_ns: int | None) -> None:
    supervision = at(state)
    assert supervision.hear(what, 100, "why") is act
    assert supervision.state is after
    assert supervision.deadline_ns == (None if limit_ns is None else 100 + limit_ns)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("what", Heard)
def test_what_a_state_does_not_know_ends_the_process(state: State, what: Heard) -> None:
    supervision = at(state)
    act = supervision.hear(what, 0, "why")
    if (state, what) not in TABLE:
        assert act is Act.KILL and supervision.trouble == f"{what.value} while {state.value}"
    if state is State.DOWN and what is not Heard.DEADLINE:
        assert act is Act.NOTHING and supervision.state is State.DOWN


def test_pauses_double_to_a_limit_and_are_forgotten_after_steady_work() -> None:
    supervision, now, pauses = Supervision(0), 0, []
    for _ in range(12):
        supervision.hear(Heard.DEADLINE, now)
        supervision.hear(Heard.ENDED, now, "it ended")
        assert supervision.deadline_ns is not None
        pauses.append(supervision.deadline_ns - now)
        now = supervision.deadline_ns
    assert pauses[:3] == [SHORTEST_PAUSE_NS, 2 * SHORTEST_PAUSE_NS, 4 * SHORTEST_PAUSE_NS]
    assert pauses[-1] == LONGEST_PAUSE_NS and supervision.trouble == "it ended"
    supervision.hear(Heard.DEADLINE, now)
    supervision.generation_taken(now + STEADY_NS - 1)
    assert supervision.trouble == ""
    supervision.hear(Heard.ENDED, now)
    assert supervision.deadline_ns == now + LONGEST_PAUSE_NS  # one generation is no proof
    supervision.hear(Heard.DEADLINE, now)
    supervision.generation_taken(now + STEADY_NS)
    supervision.hear(Heard.ENDED, now)
    assert supervision.deadline_ns == now + SHORTEST_PAUSE_NS


@given(st.lists(st.tuples(st.sampled_from(list(Heard)), st.integers(0, 10**11)), max_size=60))
def test_it_is_started_only_when_down_and_killed_only_when_up(heard: list[tuple[Heard, int]]) -> None:
    supervision, now, is_up = Supervision(0), 0, False
    for what, passed_ns in heard:
        now += passed_ns
        act = supervision.hear(what, now)
        if act is Act.START:
            assert not is_up
            is_up = True
        if act is Act.KILL:
            assert is_up
            is_up = False
        assert is_up is (supervision.state is not State.DOWN)
        assert supervision.is_ready is (supervision.state is State.READY)
        assert supervision.deadline_ns is not None or supervision.is_ready
