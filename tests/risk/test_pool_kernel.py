"""The pool kernel: both twins alike over random lives, corners of a replace, releases to the bit, what is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from random import Random

import msgspec
import numpy as np
import pytest

from risk import pool
from risk.pool_plain import PoolKernel
from risk.pool_terms import Fixed, PoolTerms, check_terms, no_terms

KERNELS = [PoolKernel, pool.PoolKernel] if pool.COMPILED else [PoolKernel]
both = pytest.mark.parametrize("kind", KERNELS, ids=lambda kind: kind.__module__)
COUNT, COLUMNS, UNITS, POOLS, SCENARIOS = 6, 4, 3, 2, 7


def asked(unit: int, lots: Mapping[int, float]) -> Fixed:
    """Ask by a rule that depends on what is held, in an order that does not depend on how it came."""
    gross = sum(abs(lots[i]) * (i + 1) for i in sorted(lots))
    return 0.1 * gross, abs(sum(lots[i] for i in sorted(lots))), 0.3 * gross, 0.01 * gross


def terms(seed: int, *, nets: bool = False) -> PoolTerms:
    """Return random terms of two pools: two units in the first, one in the second."""
    random = np.random.default_rng(seed)
    made = no_terms(COUNT + 1, COLUMNS, UNITS, POOLS, SCENARIOS, 3)
    made.known[:COUNT] = 1
    made.unit[:COUNT] = [0, 0, 1, 1, 2, 2]
    made.column[:COUNT] = [0, 1, 0, 1, 2, 2]
    made.worth[:COUNT] = [50.0, -1.0, 30.0, 20.0, 40.0, -2.0]
    made.paid[:COUNT] = [0, 0, 1, 0, 1, 0]
    made.move[:COUNT] = random.normal(0.0, 5.0, (COUNT, SCENARIOS))
    made.move[:, 3] = 0.0
    for name in ("a_buy", "a_sell", "b", "d", "g_buy", "g_sell", "n"):
        getattr(made, name)[:COUNT] = random.uniform(0.0, 0.5, COUNT)
    made.expiry_s[:COUNT] = [0.0, 864_000.0, -1.0, 86_400.0, 0.0, 86_400.0 * 500]
    made.notional[:COUNT], made.scale[:COUNT] = 50.0, 1.5
    made.first[:COUNT], made.count[:COUNT] = [0, 0, 3, 0, 0, 3], [0, 3, 1, 0, 3, 0]
    made.pool[:] = [0, 0, 1]
    made.start[:] = random.uniform(0.0, 3.0, (UNITS, SCENARIOS))
    made.shock[:] = [[2.0, 0.1, 0.4], [5.0, 0.2, 0.3], [1.0, 0.05, 1.0]]
    made.column_pool[:] = [0, 0, 1, -1]
    made.price[:], made.rate[:], made.borrow[:] = [1.0, 40.0, 1.0, 1.0], [1.0, 0.9, 0.95, 1.0], [0.1, 0.2, 0.0, 0.0]
    made.nets[:], made.offset[:] = [nets, 0], [0.6, 0.0]
    made.limit[0] = random.uniform(0.0, 20.0, SCENARIOS)
    tiers = np.array([[0.0, 0.01, 0.0, 0.0], [200.0, 0.02, 2.0, 0.0], [900.0, 0.05, 29.0, 0.0], [0.0, 0.03, 0.0, 0.0]])
    steps = np.zeros((0, 2)) if nets else np.array([[0.0, 1.0], [3.0, 2.0], [9.0, 4.0]])
    return msgspec.structs.replace(made, tiers=tiers, steps=steps, most_days=365.0, fixed=asked)


def order(random: Random) -> tuple[int, float, float, float, float]:
    """Return instrument, lots, cash, and now and then what replaces them."""
    index, side = random.randrange(COUNT), random.choice((-1, 1))
    worth = float(terms(1).worth[index])
    lots = side * random.randint(1, 9)
    cash = -lots * worth * random.uniform(0.9, 1.1)
    if random.random() < 0.6:
        return index, lots, cash, 0.0, 0.0
    alternative = side * random.randint(1, 12)
    return index, lots, cash, alternative, -alternative * worth * random.uniform(0.9, 1.1)


@pytest.mark.parametrize("nets", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_both_kernels_answer_alike(seed: int, nets: bool) -> None:
    random, given = Random(seed), terms(seed, nets=nets)
    kernels = [kind(2, given) for kind in KERNELS]
    working: list[tuple[int, float, float, float, float]] = []
    for _ in range(60):
        what = random.random()
        if what < 0.3:
            index, lots, cash, *_ = order(random)
            for kernel in kernels:
                kernel.add_position(0, index, lots)
                kernel.add_cash(0, int(given.column[index]), cash)
        elif what < 0.6 or not working:
            working.append(order(random))
            for kernel in kernels:
                kernel.hold(0, *working[-1])
        elif what < 0.8:
            ended = working.pop(random.randrange(len(working)))
            for kernel in kernels:
                kernel.release(0, *ended)
        probe = order(random)
        answers = [
            (
                *(kernel.worst_of_group(0, group) for group in range(POOLS)),
                *(kernel.equity_of_group(0, group, 3) for group in range(POOLS)),
                kernel.what_if_of_group(0, *probe),
                kernel.if_filled_of_group(0, *probe[:3]),
            )
            for kernel in kernels
        ]
        assert answers[0] == pytest.approx(answers[-1], rel=1e-12, abs=1e-9)


@both
@pytest.mark.parametrize("nets", [False, True])
def test_a_question_is_the_answer_once_held(kind: type[PoolKernel], nets: bool) -> None:
    random = Random(5)
    kernel = kind(1, terms(5, nets=nets))
    kernel.add_cash(0, 0, 1_000.0)
    for _ in range(40):
        probe = order(random)
        group = int(terms(5).pool[terms(5).unit[probe[0]]])
        expected = kernel.what_if_of_group(0, *probe)
        kernel.hold(0, *probe)
        assert kernel.worst_of_group(0, group) == pytest.approx(expected, rel=1e-12, abs=1e-9)


@both
def test_what_was_filled_is_the_answer_of_if_filled(kind: type[PoolKernel]) -> None:
    random = Random(9)
    kernel = kind(1, terms(9))
    kernel.hold(0, 0, 3.0, -150.0)
    for _ in range(30):
        index, lots, cash, *_ = order(random)
        expected = kernel.if_filled_of_group(0, index, lots, cash)
        kernel.add_position(0, index, lots)
        kernel.add_cash(0, int(terms(9).column[index]), cash)
        group = int(terms(9).pool[terms(9).unit[index]])
        assert kernel.worst_of_group(0, group) == pytest.approx(expected, rel=1e-12, abs=1e-9)


@both
def test_nothing_outlives_the_last_order(kind: type[PoolKernel]) -> None:
    random = Random(3)
    kernel = kind(1, terms(3))
    kernel.add_cash(0, 0, 1_000.0)
    kernel.add_position(0, 1, 7.0)
    before = [kernel.worst_of_group(0, group) for group in range(POOLS)]
    for _ in range(3):
        held = [order(random) for _ in range(20)]
        for each in held:
            kernel.hold(0, *each)
        for each in sorted(held):
            kernel.release(0, *each)
    assert [kernel.worst_of_group(0, group) for group in range(POOLS)] == pytest.approx(before, rel=1e-14)
    with pytest.raises(ValueError, match="no order"):
        kernel.release(0, 0, 1.0, -50.0)


@both
def test_a_replace_is_the_worst_of_its_corners(kind: type[PoolKernel]) -> None:
    given = msgspec.structs.replace(terms(2), most_days=0.0)
    for old, new in ((2.0, 5.0), (5.0, 2.0), (4.0, 4.0), (-3.0, -8.0)):
        first, second = (old, -old * 51.0), (new, -new * 49.0)
        kernel = kind(1, given)
        both_held = kernel.what_if_of_group(0, 0, *first, *second)
        rest = max(0.0, 1.0 - old / new)
        corners = [(0.0, 0.0), first, second, (old + rest * new, first[1] + rest * second[1])]
        alone = []
        for lots, cash in corners:
            filled = kind(1, msgspec.structs.replace(given, fixed=lambda *_: (0.0, 0.0, 0.0, 0.0)))
            filled.add_position(0, 0, lots)
            filled.add_cash(0, 0, cash)
            alone.append(filled.worst_of_group(0, 0))
        assert both_held <= min(alone) + 1e-9


@both
def test_what_is_unknown_is_no_number(kind: type[PoolKernel]) -> None:
    kernel = kind(2, terms(1))
    assert isnan(kernel.what_if_of_group(0, COUNT, 1.0, 0.0))
    assert isnan(kernel.if_filled_of_group(0, COUNT, 1.0, 0.0))
    for lots, cash in ((nan, 0.0), (1.0, nan), (1e16, 0.0), (1.0, -1e19)):
        assert isnan(kernel.what_if_of_group(0, 0, lots, cash))
        with pytest.raises(ValueError, match="not finite"):
            kernel.hold(0, 0, lots, cash)
    kernel.hold(0, COUNT, 1.0, 0.0)
    assert isnan(kernel.worst_of_group(0, 0)) and not kernel.is_known(0) and kernel.is_known(1)
    kernel.release(0, COUNT, 1.0, 0.0)
    assert kernel.is_known(0)
    with pytest.raises(ValueError, match="no order"):
        kernel.release(0, COUNT, 1.0, 0.0)
    kernel.add_position(0, COUNT, 1.0)
    assert isnan(kernel.worst_of_group(0, 1)) and isnan(kernel.equity_of_group(0, 1, 3))
    assert isnan(kernel.what_if_of_group(0, 0, 1.0, 0.0))
    kernel.add_cash(1, 3, -1e9)  # counts nowhere
    assert kernel.worst_of_group(1, 0) == kernel.worst_of_group(1, 0)
    for call in (
        lambda: kernel.add_cash(0, COLUMNS, 1.0),
        lambda: kernel.add_position(0, COUNT + 1, 1.0),
        lambda: kernel.add_position(2, 0, 1.0),
        lambda: kernel.hold(0, -1, 1.0, 0.0),
        lambda: kernel.worst_of_group(0, POOLS),
        lambda: kernel.equity_of_group(0, -1, 3),
    ):
        with pytest.raises(IndexError):
            call()


def test_terms_that_do_not_fit_are_refused() -> None:
    good = terms(1)
    check_terms(good)
    broken = {
        "worth": np.zeros(2),
        "a_buy": np.full(COUNT + 1, -1.0),
        "rate": np.full(COLUMNS, 1.5),
        "unit": np.full(COUNT + 1, 9, np.int32),
        "pool": np.full(UNITS, 7, np.int32),
        "column": np.full(COUNT + 1, 2, np.int32),
        "count": np.full(COUNT + 1, 9, np.int32),
        "start": np.full((UNITS, SCENARIOS), nan),
        "steps": np.array([[0.0, 2.0], [1.0, 1.0]]),
    }
    for name, row in broken.items():
        with pytest.raises(ValueError, match="pool terms"):
            check_terms(msgspec.structs.replace(good, **{name: row}))
