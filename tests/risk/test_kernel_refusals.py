import importlib
import sys
from collections.abc import Callable
from math import inf, isnan, nan

import numpy as np
import pytest

from risk import kernel, kernel_plain
from tests.risk.contracts import CURRENCIES, GENERATION, GRID, INSTRUMENTS, KERNELS, Kernel, both, fill, loaded


@both
def test_unknown_is_never_zero(kind: type[Kernel]) -> None:
    target = loaded(kind)
    unknown = len(INSTRUMENTS)
    target.add_cash(0, 0, 1e9)
    assert isnan(target.what_if(0, unknown, 1.0, -1.0))
    assert isnan(target.if_filled(0, unknown, 1.0, -1.0))
    # A working order in what has no mark: the margin is unknown until it is gone, the equity is not.
    target.hold(0, unknown, 1.0, -1.0)
    assert isnan(target.worst(0))
    assert isnan(target.what_if(0, 0, 1.0, -60.0))
    assert isnan(target.if_filled(0, 0, 1.0, -60.0))
    assert np.isnan(target.row(0, 1)).all()
    assert target.equity(0, GRID.base) == 1e9
    assert not target.is_known(0)
    target.release(0, unknown, 1.0, -1.0)
    assert target.worst(0) == 1e9
    assert target.is_known(0)
    with pytest.raises(ValueError, match="holds no order"):
        target.release(0, unknown, 1.0, -1.0)
    # A position or cash without a price: nothing is known until the account is filled anew.
    target.add_position(1, unknown, 0)
    target.add_cash(1, len(CURRENCIES), 0.0)
    assert target.worst(1) == 0.0
    target.add_position(1, unknown, 1)
    target.add_cash(2, len(CURRENCIES), 1.0)
    for account in (1, 2):
        assert isnan(target.worst(account))
        assert isnan(target.equity(account, 0))
        assert isnan(target.what_if(account, 0, 1.0, -60.0))
        assert not target.is_known(account)
        target.clear(account)
        assert target.worst(account) == 0.0


@both
def test_before_the_first_generation_nothing_is_known(kind: type[Kernel]) -> None:
    target = kind(1, 1, 1, 1, 4)
    assert isnan(target.what_if(0, 0, 1.0, 0.0))
    assert target.worst(0) == 0.0


@both
def test_a_load_clears_every_account_and_swaps_every_row(kind: type[Kernel]) -> None:
    target = loaded(kind)
    target.add_position(1, 0, 5)
    target.add_cash(1, 1, 9.0)
    target.hold(1, *fill(0, 5, 1.1))
    target.add_position(1, len(INSTRUMENTS), 1)
    halved = tuple(a * 0.5 if a.dtype == np.float64 else a for a in GENERATION.arrays())
    target.load(*halved)
    assert target.worst(1) == 0.0
    assert target.equity(1, 0) == 0.0
    with pytest.raises(ValueError, match="holds no order"):
        target.release(1, *fill(0, 5, 1.1))
    target.add_position(1, 0, 1)
    assert target.equity(1, GRID.base) == pytest.approx(0.001 * 60_012 / 2)
    # The arrays were copied.
    halved[0][:] = 7.0
    target.clear(1)
    target.add_position(1, 0, 1)
    assert target.equity(1, GRID.base) == pytest.approx(0.001 * 60_012 / 2)


@both
def test_a_shorter_generation_forgets_what_it_lacks(kind: type[Kernel]) -> None:
    target = loaded(kind)
    values, currency_values, group, currency_group, currency, known, *_ = GENERATION.arrays()
    target.load(values[:1], currency_values[:1], group[:1], currency_group[:1], currency[:1], known[:1])
    assert isnan(target.what_if(0, 1, 1.0, 0.0))
    target.add_cash(0, 1, 1.0)
    assert isnan(target.worst(0))


BAD_LOADS = {
    "are not of the scenarios": ({0: np.ones((7, 8))}, "not of 9 scenarios"),
    "currencies of other scenarios": ({1: np.ones((3, 8))}, "not of 9 scenarios"),
    "too many instruments": ({0: np.ones((9, 9))}, "made for"),
    "too many currencies": ({1: np.ones((5, 9))}, "made for"),
    "no currency": ({1: np.ones((0, 9)), 3: np.zeros(0, np.int32)}, "made for"),
    "too few groups": ({2: np.zeros(6, np.int32)}, "group_of_instrument has shape"),
    "too few flags": ({5: np.ones(6, np.uint8)}, "known has shape"),
    "too few currency groups": ({3: np.zeros(2, np.int32)}, "group_of_currency has shape"),
    "a group out of range": ({2: np.array([3, 1, 1, 1, 1, 2, 2], np.int32)}, "group_of_instrument is out"),
    "a negative group": ({3: np.array([0, -1, 2], np.int32)}, "group_of_currency is out"),
    "a currency out of range": ({4: np.array([0, 1, 1, 1, 0, 0, 3], np.int32)}, "currency_of_instrument is out"),
    "no settlement currency": ({4: np.array([0, 1, 1, 1, 0, 0, -1], np.int32)}, "currency_of_instrument is out"),
    "NaN": ({0: np.full((7, 9), nan)}, "not finite"),
    "infinity": ({0: np.full((7, 9), -inf)}, "not finite"),
    "out of bounds": ({0: np.full((7, 9), 1e19)}, "out of bounds"),
    "an unknown currency": ({1: np.full((3, 9), nan)}, "unknown currency"),
    "two groups": ({2: np.array([1, 2, 1, 1, 1, 2, 2], np.int32)}, "another risk group"),
}


@both
@pytest.mark.parametrize("case", BAD_LOADS)
def test_an_inconsistent_generation_is_refused_and_the_one_before_kept(kind: type[Kernel], case: str) -> None:
    changes, text = BAD_LOADS[case]
    target = loaded(kind)
    target.add_position(0, 0, 1)
    arrays = list(GENERATION.arrays())
    for position, array in changes.items():
        arrays[position] = array
    with pytest.raises(ValueError, match=text):
        target.load(*arrays)
    assert target.equity(0, GRID.base) == pytest.approx(0.001 * 60_012)


@both
@pytest.mark.parametrize("bad", [nan, inf, -inf, 1e19, -1e19])
def test_amounts_that_are_no_numbers_change_nothing(kind: type[Kernel], bad: float) -> None:
    target = loaded(kind)
    target.hold(0, 0, 1.0, -60.0)
    before = target.worst(0)
    for lots_and_cash in ((bad, 0.0), (0.0, bad), (0.0, 0.0, bad, 0.0), (0.0, 0.0, 0.0, bad)):
        assert isnan(target.what_if(0, 0, *lots_and_cash))
        for change in (target.hold, target.release):
            with pytest.raises(ValueError, match="not finite or out of bounds"):
                change(0, 0, *lots_and_cash)
    assert isnan(target.if_filled(0, 0, bad, 0.0))
    assert isnan(target.if_filled(0, 0, 0.0, bad))
    with pytest.raises(ValueError, match="not finite or out of bounds"):
        target.add_position(0, 0, bad)
    with pytest.raises(ValueError, match="not finite or out of bounds"):
        target.add_cash(0, 0, bad)
    assert target.worst(0) == before


def test_the_largest_amounts_stay_finite() -> None:
    zero = np.zeros(1, np.int32)
    for kind in KERNELS:
        target = kind(1, 1, 1, 1, 1)
        target.load(np.full((1, 1), 1e18), np.full((1, 1), 1e18), zero, zero, zero, np.ones(1, np.uint8))
        target.add_position(0, 0, -1e15)
        target.hold(0, 0, -1e15, -1e18, -1e15, -1e18)
        assert -inf < target.worst(0) < -1e36
        assert target.what_if(0, 0, 1e15, 1e18) == target.worst(0)


@both
@pytest.mark.parametrize("bad", [-1, -(2**31), 10_000, 2**40])
def test_an_index_out_of_range_is_an_index_error(kind: type[Kernel], bad: int) -> None:
    target = loaded(kind)
    calls: list[Callable[[], object]] = [
        lambda: target.worst(bad),
        lambda: target.equity(bad, 0),
        lambda: target.equity(0, bad),
        lambda: target.clear(bad),
        lambda: target.is_known(bad),
        lambda: target.row(bad, 0),
        lambda: target.row(0, bad),
        lambda: target.binding(bad, 0),
        lambda: target.binding(0, bad),
        lambda: target.add_cash(bad, 0, 1.0),
        lambda: target.add_cash(0, bad, 1.0),
        lambda: target.add_position(bad, 0, 1.0),
        lambda: target.add_position(0, bad, 1.0),
        lambda: target.hold(bad, 0, 1.0, 1.0),
        lambda: target.hold(0, bad, 1.0, 1.0),
        lambda: target.release(bad, 0, 1.0, 1.0),
        lambda: target.release(0, bad, 1.0, 1.0),
        lambda: target.what_if(bad, 0, 1.0, 1.0),
        lambda: target.what_if(0, bad, 1.0, 1.0),
        lambda: target.if_filled(bad, 0, 1.0, 1.0),
        lambda: target.if_filled(0, bad, 1.0, 1.0),
    ]
    for call in calls:
        with pytest.raises(IndexError):
            call()


@both
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("bad", [0, -1, 2_000_000])
def test_a_kernel_of_no_size_is_refused(kind: type[Kernel], place: int, bad: int) -> None:
    sizes = [2, 2, 2, 2, 2]
    sizes[place] = bad
    with pytest.raises(ValueError, match="is not in 1"):
        kind(*sizes)


@both
def test_an_order_that_is_not_held_can_not_be_released(kind: type[Kernel]) -> None:
    target = loaded(kind)
    target.hold(0, 0, 1.0, -60.0)
    with pytest.raises(ValueError, match="holds no order"):
        target.release(0, 6, 1.0, -60.0)
    target.release(0, 0, 1.0, -60.0)
    with pytest.raises(ValueError, match="holds no order"):
        target.release(0, 0, 1.0, -60.0)


def test_the_plain_kernel_is_taken_where_it_is_wanted_or_none_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        monkeypatch.setenv("MARGINGATE_PURE", "1")
        assert importlib.reload(kernel).MarginKernel is kernel_plain.MarginKernel
        assert not kernel.COMPILED
        monkeypatch.delenv("MARGINGATE_PURE")
        monkeypatch.setitem(sys.modules, "risk._kernel", None)
        assert importlib.reload(kernel).MarginKernel is kernel_plain.MarginKernel
        assert not kernel.COMPILED
    finally:
        monkeypatch.undo()
        importlib.reload(kernel)
