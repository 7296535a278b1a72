"""Whose turn it is: the shortest first, each once a round, and nobody left behind however many are due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.margin.adjustment_turns import SORTED_FOR_NS, Turns

ROUND = 1_000_000_000
ratios = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 20_000), min_size=1, max_size=40)


@given(ratios, st.integers(1, 7))
def test_the_shortest_goes_first_and_each_goes_once_before_any_goes_twice(ratio: dict[str, int], count: int) -> None:
    turns = Turns(ratio, 0, ROUND)
    turns.ratio_of = ratio.__getitem__
    taken: list[str] = []
    while len(taken) < len(ratio):
        some = turns.take(count, 0)
        assert 0 < len(some) <= count
        taken += some
    assert sorted(taken) == sorted(ratio) and turns.take(count, 0) == []
    assert [ratio[name] for name in taken] == sorted(ratio.values())
    assert turns.deadline_ns == ROUND and turns.take(count, ROUND - 1) == []


@given(ratios, st.integers(1, 3))
def test_whoever_has_waited_a_round_longer_goes_before_the_shortest(ratio: dict[str, int], count: int) -> None:
    """More are due than can be taken: the shortest do not keep the others from their first turn."""
    turns = Turns(ratio, 0, ROUND)
    turns.ratio_of = ratio.__getitem__
    seen: set[str] = set()
    for number in range(2 * len(ratio)):
        seen.update(turns.take(count, number * 2 * ROUND))
    assert seen == set(ratio)


def test_who_joins_is_sorted_in_and_who_leaves_has_no_turn() -> None:
    turns = Turns(("a", "b"), 0, ROUND)
    ratio = {"a": 3, "b": 2, "c": 1}
    turns.ratio_of = ratio.__getitem__
    assert turns.take(1, 0) == ["b"]
    turns.join("c", 1)
    turns.join("b", 1)
    assert turns.take(1, SORTED_FOR_NS) == ["c"], "joined behind, and is shortest"
    turns.leave("a")
    assert turns.take(1, SORTED_FOR_NS) == [] and turns.deadline_ns == ROUND
