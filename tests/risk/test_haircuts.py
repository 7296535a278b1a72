"""Haircuts on the order path: never less than the house model takes off, whatever fills; and both kernels agree."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest

from risk.haircuts import MAX_NETTING, Haircuts, HaircutTerms
from tests.risk.contracts import CURRENCIES, GRID, KERNELS, Kernel, both, fill
from tests.risk.haircut_house import CONTRACTS, GENERATION, JOINT, RULES, TERMS, Portfolio, left

SIZE = 1e6
PARENTS = np.array([2, 2, -1], np.int32)


def loaded(kind: type[Kernel], haircuts: Haircuts) -> Kernel:
    made = kind(3, len(GENERATION.groups), len(CONTRACTS), len(CURRENCIES), GRID.size, JOINT.size)
    made.load(*GENERATION.arrays())
    made.set_tree(PARENTS)
    haircuts.install(made)
    return made


def put(target: Kernel, haircuts: Haircuts, row: int, held: Portfolio) -> None:
    for index, lots, _ in held.positions():
        target.add_position(row, index, lots)
    for currency, amount in held.cash.items():
        target.add_cash(row, currency, amount)
    haircuts.apply(target, row, held.positions(), held.named_cash(), held.placed())


def drawn(random: Random) -> Portfolio:
    cash = {c: random.choice((-1, 1, 1)) * random.uniform(0, most) for c, most in enumerate((90_000.0, 2.0, 20.0))}
    held = Portfolio({c: amount for c, amount in cash.items() if random.random() < 0.7})
    for venue in ("test", "other"):  # some of it lies there
        if held.cash and random.random() < 0.5:
            asset = random.choice(list(held.cash))
            held.at[venue, asset] += held.cash[asset] * random.uniform(-0.5, 1.0)
    for _ in range(random.randint(0, 4)):
        held = held.filled(*order(random, 0.8, 1.2))
    return held


def order(random: Random, low: float = 0.9, high: float = 1.1) -> tuple[int, float, float]:
    lots = random.choice((1, 10, 100)) * random.randint(1, 9) * random.choice((-1, 1))
    return fill(random.randrange(len(CONTRACTS)), lots, random.uniform(low, high))


@both
@pytest.mark.parametrize("seed", range(120))
def test_no_fills_leave_less_by_the_house_model_than_the_kernel_says(kind: type[Kernel], seed: int) -> None:
    random = Random(seed)
    terms = random.choice(TERMS)
    haircuts = Haircuts(terms, GENERATION, CONTRACTS, JOINT)
    held, target = drawn(random), loaded(kind, haircuts)
    put(target, haircuts, 0, held)
    assert target.worst(0) <= left(held, terms) + 1e-9 * SIZE
    assert target.held(0) == pytest.approx(target.worst(0), abs=1e-9 * SIZE)
    orders = [order(random) for _ in range(random.randint(1, 3))]
    asked = orders[-1]
    for each in orders[:-1]:
        target.hold(0, *each)
    now, foreseen, filled = target.worst(0), target.what_if(0, *asked), target.if_filled(0, *asked)
    brute = []
    for chosen in itertools.product((0.0, 0.4, 1.0), repeat=len(orders)):
        after = held
        for share, (index, lots, cash) in zip(chosen, orders, strict=True):
            after = after.filled(index, lots * share, cash * share) if share else after
        brute.append(left(after, terms))
    assert foreseen <= min(brute) + 1e-9 * SIZE and foreseen <= now + 1e-9 * SIZE
    assert target.what_if_basket(0, [(*asked, 0.0, 0.0)]) == pytest.approx(foreseen, abs=1e-9 * SIZE)
    target.hold(0, *asked)
    assert target.worst(0) == pytest.approx(foreseen, abs=1e-9 * SIZE)
    assert target.worst(2) == pytest.approx(foreseen, abs=1e-9 * SIZE)
    for each in orders:
        target.release(0, *each)
    # A fill that is booked counts for no more than it will once haircuts are worked out anew.
    index, lots, cash = asked
    for each in orders[:-1]:
        target.hold(0, *each)
    target.add_position(0, index, lots)
    target.add_cash(0, int(GENERATION.currency_of_instrument[index]), cash)
    target.take_off_fill(0, index, lots, cash)
    assert target.worst(0) <= filled + 1e-9 * SIZE
    if len(orders) == 1:
        assert target.worst(0) <= left(held.filled(*asked), terms) + 1e-9 * SIZE


@pytest.mark.skipif(len(KERNELS) < 2, reason="no compiled kernel was built")
@pytest.mark.parametrize("seed", range(40))
def test_compiled_and_plain_agree(seed: int) -> None:
    random = Random(seed)
    haircuts = Haircuts(random.choice(TERMS), GENERATION, CONTRACTS, JOINT)
    held, orders = drawn(random), [order(random) for _ in range(3)]
    plain, compiled = (loaded(kind, haircuts) for kind in KERNELS)
    replacing = (*orders[2], orders[2][1] * 2, orders[2][2] * 2)
    for target in (plain, compiled):
        put(target, haircuts, 0, held)
        put(target, haircuts, 1, drawn(Random(seed + 1)))
        target.hold(0, *orders[0])
        target.take_off_fill(1, *orders[1])
        target.hold(1, *replacing)
    for row in range(3):
        assert plain.worst(row) == pytest.approx(compiled.worst(row), abs=1e-9 * SIZE)
        assert plain.held(row) == pytest.approx(compiled.held(row), abs=1e-9 * SIZE)
        for ask in ("what_if", "if_filled"):
            found = [getattr(target, ask)(row, *orders[1]) for target in (plain, compiled)]
            assert found[0] == pytest.approx(found[1], abs=1e-9 * SIZE)
        assert plain.at_base(row, GRID.base, *replacing) == pytest.approx(
            compiled.at_base(row, GRID.base, *replacing), abs=1e-9 * SIZE
        )


@both
def test_a_deposit_counts_for_no_more_than_its_haircut_lets_it(kind: type[Kernel]) -> None:
    for terms, asset in itertools.product(TERMS, range(len(CURRENCIES))):
        haircuts = Haircuts(terms, GENERATION, CONTRACTS, JOINT)
        held, target = Portfolio({asset: 1.0}), loaded(kind, haircuts)
        put(target, haircuts, 0, held)
        target.add_cash(0, asset, 3.0)
        haircuts.deposited(target, 0, CURRENCIES[asset], 3.0)
        assert target.worst(0) <= left(Portfolio({asset: 4.0}), terms) + 1e-9 * SIZE


@both
def test_a_hedge_at_another_venue_bears_the_netting_haircut_and_one_at_the_same_does_not(kind: type[Kernel]) -> None:
    haircuts = Haircuts(HaircutTerms(netting=0.25), GENERATION, CONTRACTS, JOINT)
    same, apart = Portfolio({0: 1e4}), Portfolio({0: 1e4})
    same = same.filled(*fill(0, 1_000, 1.0)).filled(*fill(2, -6_000, 1.0))  # both at one venue
    apart = apart.filled(*fill(0, 1_000, 1.0)).filled(*fill(1, -6_000, 1.0))
    margins = []
    for held in (same, apart):
        target = loaded(kind, haircuts)
        put(target, haircuts, 0, held)
        margins.append(target.equity(0, GRID.base) - target.worst(0))
    assert margins[1] > 0.2 * 0.16 * 60_000 > margins[0]


def test_nothing_asked_for_takes_nothing_off() -> None:
    haircuts = Haircuts(HaircutTerms(), GENERATION, CONTRACTS, JOINT)
    off = haircuts.of([(0, 10.0, -5.0), (99, 1.0, 0.0)], {"USDC": 5.0, "XRP": 1.0})
    assert not any(row.any() for row in off.values()) and not haircuts.rates().any()
    assert RULES.rule("XRP").tiers == ((0.0, 1.0),)


@both
def test_bad_rates_are_refused(kind: type[Kernel]) -> None:
    target = loaded(kind, Haircuts(TERMS[0], GENERATION, CONTRACTS, JOINT))
    count = len(CONTRACTS)
    for rates, base in ((np.zeros((count, 3)), 0), (np.full((count, 4), np.nan), 0), (np.zeros((count, 4)), GRID.size)):
        with pytest.raises(ValueError, match=r"put aside|base scenario"):
            target.put_aside(base, rates, 0.0)
    with pytest.raises(ValueError, match="not of the scenarios"):
        target.take_off(0, 0, np.zeros(1), np.zeros(JOINT.size))
    with pytest.raises(ValueError, match="netting"):
        Haircuts(HaircutTerms(netting=MAX_NETTING + 0.01), GENERATION, CONTRACTS, JOINT)
