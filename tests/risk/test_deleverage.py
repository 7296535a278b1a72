"""Fault 44: deleveraging of hedged pairs, of ties, and where there is nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.deleverage import Candidate, deleverage, ranking
from risk.models.adl import rank


def holder(account: str, lots: int, net: float | None = None, gain: float = 0.1, leverage: float = 5.0) -> Candidate:
    return Candidate(account, lots, float(lots) if net is None else net, gain, leverage)


def test_the_largest_gain_at_the_most_leverage_comes_first() -> None:
    found = [holder("a", 5, gain=0.1), holder("b", 5, gain=0.3), holder("c", 5, leverage=20), holder("d", 5, gain=-0.1)]
    assert [one.account for one in ranking(found, is_long=True)] == ["c", "b", "a", "d"]


@pytest.mark.parametrize(("qty", "entry", "mark", "bankruptcy"), [(10, 100, 130, 50), (-10, 100, 130, 160)])
def test_the_rank_is_the_one_that_bitmex_publishes(qty: float, entry: float, mark: float, bankruptcy: float) -> None:
    gain, leverage, expected = rank(qty, entry, mark, bankruptcy)
    assert Candidate("a", int(qty), qty, gain, leverage).rank == pytest.approx(expected)


def test_fault_44_a_hedged_pair_gives_up_no_more_than_its_net() -> None:
    found = [holder("hedged", 10, net=0.0, gain=9.0), holder("partly", 10, net=4.0), holder("over", 10, net=-3.0)]
    taken, left = deleverage(-20, found)
    assert [(one.account, one.lots) for one in taken] == [("partly", 4)] and left == 16


def test_fault_44_without_a_counterparty_all_of_it_is_left() -> None:
    assert deleverage(-7, [holder("same side", -10)]) == ([], 7)
    assert deleverage(7, []) == ([], 7)


def test_fault_44_a_tie_is_broken_by_name_whatever_the_order() -> None:
    found = [holder("b", 5), holder("a", 5), holder("c", 5)]
    for order in (found, found[::-1]):
        assert [(one.account, one.lots) for one in deleverage(-7, order)[0]] == [("a", 5), ("b", 2)]


HOLDERS = st.lists(
    st.tuples(st.integers(-50, 50), st.floats(-80, 80), st.floats(-0.9, 3), st.floats(0.1, 50)), max_size=8
)


@given(lots=st.integers(-100, 100).filter(bool), holders=HOLDERS)
def test_fault_44_no_net_exposure_is_raised_and_sides_are_alike(
    lots: int, holders: list[tuple[int, float, float, float]]
) -> None:
    found = [Candidate(f"a{n}", held, net, gain, leverage) for n, (held, net, gain, leverage) in enumerate(holders)]
    taken, left = deleverage(lots, found)
    assert sum(one.lots for one in taken) + left == abs(lots)
    by_name = {one.account: one for one in found}
    for one in taken:
        candidate = by_name[one.account]
        sign = 1 if candidate.lots > 0 else -1
        assert sign == (-1 if lots > 0 else 1) and one.lots <= abs(candidate.lots)
        assert abs(candidate.net_lots - sign * one.lots) <= abs(candidate.net_lots)
    mirrored = [Candidate(c.account, -c.lots, -c.net_lots, c.gain, c.leverage) for c in found]
    assert deleverage(-lots, mirrored) == (taken, left)
