import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import kernel, kernel_plain, reference
from risk.reference import WorkingOrder
from tests.risk.contracts import GENERATION, GRID, INSTRUMENTS, KERNELS, Kernel, both, fill, loaded, rows

MARKET = reference.Market(
    values=rows(GENERATION.values),
    currency_values=rows(GENERATION.currency_values),
    group_of_instrument=dict(enumerate(GENERATION.group_of_instrument.tolist())),
    group_of_currency=dict(enumerate(GENERATION.group_of_currency.tolist())),
    currency_of_instrument=dict(enumerate(GENERATION.currency_of_instrument.tolist())),
)
NONE = (0.0, 0.0)


def arguments(order: WorkingOrder) -> tuple[int, float, float, float, float]:
    return (*order.working, *(order.asked_for[1:] if order.asked_for else NONE))


class Portfolio:
    """What one account holds, and the size of it, against which rounding is measured."""

    def __init__(self, positions: dict[int, int], cash: dict[int, float], orders: Sequence[WorkingOrder]) -> None:
        self.positions, self.cash, self.orders = positions, cash, orders
        fills = [x for order in orders for x in (order.working, order.asked_for) if x] + [
            (instrument, lots, 0.0) for instrument, lots in positions.items()
        ]
        currency_of = MARKET.currency_of_instrument
        self.size = (
            1.0
            + sum(abs(lots) * abs(MARKET.values[i][GRID.base]) for i, lots, _ in fills)
            + sum(abs(moved) * MARKET.currency_values[currency_of[i]][GRID.base] for i, _, moved in fills)
            + sum(abs(amount) * MARKET.currency_values[c][GRID.base] for c, amount in cash.items())
        )

    def put_into(self, target: Kernel, account: int = 0, *, held: bool = True) -> None:
        for instrument, lots in self.positions.items():
            target.add_position(account, instrument, lots)
        for currency, amount in self.cash.items():
            target.add_cash(account, currency, amount)
        for order in self.orders if held else ():
            target.hold(account, *arguments(order))

    def worst(self, orders: Sequence[WorkingOrder]) -> float:
        return reference.worst_of_all_fills(MARKET, self.positions, self.cash, orders)

    def close(self, value: float) -> object:
        return pytest.approx(value, abs=1e-9 * self.size)


lots_either_way = st.integers(-500, 500).filter(bool)
factors = st.floats(0.7, 1.3)
instruments = st.integers(0, len(INSTRUMENTS) - 1)


@st.composite
def working_orders(draw: st.DrawFn) -> WorkingOrder:
    instrument, lots = draw(instruments), draw(lots_either_way)
    asked_for = None
    if draw(st.booleans()):
        asked_for = fill(instrument, draw(st.integers(1, 500)) * (1 if lots > 0 else -1), draw(factors))
    return WorkingOrder(fill(instrument, lots, draw(factors)), asked_for)


portfolios = st.builds(
    Portfolio,
    st.dictionaries(instruments, st.integers(-1_000, 1_000), max_size=5),
    st.dictionaries(st.integers(0, 2), st.floats(-10.0, 1_000.0), max_size=3),
    st.lists(working_orders(), min_size=1, max_size=4),
)


@both
@settings(max_examples=60, deadline=None)
@given(portfolio=portfolios)
def test_the_bound_is_the_worst_of_every_subset_of_fills(kind: type[Kernel], portfolio: Portfolio) -> None:
    target = loaded(kind)
    portfolio.put_into(target, held=False)
    held: list[WorkingOrder] = []
    for order in portfolio.orders:
        foreseen = target.what_if(0, *arguments(order))
        filled = target.if_filled(0, *order.working)
        one_filled = min(
            reference.worst_after(MARKET, portfolio.positions, portfolio.cash, [*fills, order.working])
            for fills in reference._combinations(held)
        )
        assert filled == portfolio.close(one_filled)
        target.hold(0, *arguments(order))
        held.append(order)
        assert target.worst(0) == foreseen
    assert target.worst(0) == portfolio.close(portfolio.worst(portfolio.orders))
    for order in portfolio.orders:
        target.release(0, *arguments(order))
    assert target.worst(0) == portfolio.close(portfolio.worst([]))
    by_scenario = reference.equity_by_scenario(MARKET, portfolio.positions, portfolio.cash)
    for scenario in range(GRID.size):
        assert target.equity(0, scenario) == portfolio.close(sum(row[scenario] for row in by_scenario.values()))
    # A constant dollar may be counted in any group: the sum of rows is what must agree.
    total = sum(target.row(0, group) for group in range(3))
    assert total == pytest.approx(
        [sum(r[s] for r in by_scenario.values()) for s in range(GRID.size)], abs=1e-9 * portfolio.size
    )


def test_eight_orders_are_bounded_exactly() -> None:
    orders = [WorkingOrder(fill(k % 7, (-1) ** k * 40 * (k + 1), 0.9 + 0.03 * k)) for k in range(reference.MAX_ORDERS)]
    portfolio = Portfolio({0: 30, 1: -200}, {0: 50_000.0, 1: 1.5}, orders)
    for kind in KERNELS:
        target = loaded(kind)
        portfolio.put_into(target)
        assert target.worst(0) == portfolio.close(portfolio.worst(orders))
    with pytest.raises(ValueError, match="too many"):
        portfolio.worst([*orders, orders[0]])


@both
@settings(max_examples=60, deadline=None)
@given(portfolio=portfolios, seed=st.randoms(use_true_random=False))
def test_no_partial_fill_is_worse_than_the_bound(kind: type[Kernel], portfolio: Portfolio, seed: random.Random) -> None:
    target = loaded(kind)
    portfolio.put_into(target)
    bound = target.worst(0)
    for _ in range(10):
        fills = [f for order in portfolio.orders for f in reference.partial(order, seed.random(), seed.random())]
        after = reference.worst_after(MARKET, portfolio.positions, portfolio.cash, fills)
        assert after >= bound - 1e-9 * portfolio.size


@both
def test_a_replace_to_more_may_fill_the_old_quantity_first_and_the_rest_at_the_new_price(kind: type[Kernel]) -> None:
    old, new = fill(0, 500, 1.2), fill(0, 1_000, 1.1)
    rest = (0, 500.0, new[2] / 2)
    target = loaded(kind)
    worst = reference.worst_after(MARKET, {}, {}, [old, rest])
    assert worst < min(reference.worst_after(MARKET, {}, {}, [one]) for one in (old, new)) - 1_000
    assert target.what_if(0, *old, *new[1:]) == pytest.approx(worst)
    # Less than what works now: whatever the old one fills is taken off the new one, so one of them is the worst.
    assert target.what_if(0, *new, *old[1:]) == pytest.approx(
        min(reference.worst_after(MARKET, {}, {}, [one]) for one in (old, new))
    )


@pytest.mark.parametrize(
    ("lots", "alt_lots", "share"),
    [(5, 10, 0.5), (10, 5, 0), (-5, -10, 0.5), (5, 0, 0), (0, 5, 1), (5, -5, 1), (5, 5, 0), (1e15, 5e-324, 0)],
)
def test_the_rest_of_a_replace_is_a_share(lots: float, alt_lots: float, share: float) -> None:
    assert kernel_plain.rest_share(lots, alt_lots) == share
    for kind in KERNELS:
        # 1 USD a lot, and no cash: what is added is minus the lots themselves.
        target = kind(1, 1, 1, 1, 1)
        one = np.zeros(1, np.int32)
        target.load(-np.ones((1, 1)), np.ones((1, 1)), one, one, one, np.ones(1, np.uint8))
        worst = min(0.0, -lots, -alt_lots, -lots - share * alt_lots)
        assert target.what_if(0, 0, lots, 0.0, alt_lots, 0.0) == worst


@both
@settings(max_examples=60, deadline=None)
@given(portfolio=portfolios, order=working_orders(), share=st.floats(0.0, 1.0))
def test_what_reduces_risk_filled_completely_never_adds_to_it_filled_in_part(
    kind: type[Kernel], portfolio: Portfolio, order: WorkingOrder, share: float
) -> None:
    target = loaded(kind)
    portfolio.put_into(target)
    before = target.worst(0)
    instrument, lots, cash = order.working
    after, part = (
        target.if_filled(0, instrument, lots, cash),
        target.if_filled(0, instrument, share * lots, share * cash),
    )
    assert part >= (1 - share) * before + share * after - 1e-9 * portfolio.size  # concave
    if after >= before:
        assert part >= before - 1e-9 * portfolio.size


@both
@settings(max_examples=40, deadline=None)
@given(portfolio=portfolios, seed=st.randoms(use_true_random=False))
def test_the_order_of_adds_does_not_matter(kind: type[Kernel], portfolio: Portfolio, seed: random.Random) -> None:
    target = loaded(kind)
    portfolio.put_into(target, 0)
    steps: list[Callable[[], None]] = [
        *(lambda i=i, n=n: target.add_position(1, i, n) for i, n in portfolio.positions.items()),
        *(lambda c=c, n=n: target.add_cash(1, c, n) for c, n in portfolio.cash.items()),
        *(lambda order=order: target.hold(1, *arguments(order)) for order in portfolio.orders),
    ]
    seed.shuffle(steps)
    for step in steps:
        step()
    assert target.worst(1) == portfolio.close(target.worst(0))
    assert target.worst(2) == 0.0


@both
@settings(max_examples=40, deadline=None)
@given(instrument=instruments, lots=st.integers(1, 500), factor=factors)
def test_a_buy_mirrors_a_sell(kind: type[Kernel], instrument: int, lots: int, factor: float) -> None:
    target = loaded(kind)
    group = MARKET.group_of_instrument[instrument]
    _, bought, cash = fill(instrument, lots, factor)
    target.hold(0, instrument, bought, cash)
    target.hold(1, instrument, -bought, -cash)
    target.add_position(2, instrument, bought)
    target.add_cash(2, MARKET.currency_of_instrument[instrument], cash)
    gain = sum(target.row(2, g) for g in range(3))
    assert target.row(0, group) == pytest.approx(np.minimum(gain, 0), abs=1e-6)
    assert target.row(1, group) == pytest.approx(np.minimum(-gain, 0), abs=1e-6)
    assert target.row(1, group) + -target.row(0, group) == pytest.approx(-gain, abs=1e-6)


@pytest.mark.skipif(not kernel.COMPILED, reason="no compiled kernel was built")
@settings(max_examples=60, deadline=None)
@given(portfolio=portfolios, order=working_orders())
def test_compiled_and_plain_agree(portfolio: Portfolio, order: WorkingOrder) -> None:
    plain, compiled = (loaded(kind) for kind in KERNELS)
    for target in (plain, compiled):
        portfolio.put_into(target)
        target.release(0, *arguments(portfolio.orders[0]))
    near = 1e-12 * portfolio.size
    assert compiled.worst(0) == pytest.approx(plain.worst(0), abs=near)
    assert compiled.what_if(0, *arguments(order)) == pytest.approx(plain.what_if(0, *arguments(order)), abs=near)
    assert compiled.if_filled(0, *order.working) == pytest.approx(plain.if_filled(0, *order.working), abs=near)
    for group in range(3):
        assert compiled.row(0, group) == pytest.approx(plain.row(0, group), abs=near)
    for scenario in range(GRID.size):
        assert compiled.equity(0, scenario) == pytest.approx(plain.equity(0, scenario), abs=near)


@both
def test_a_hundred_thousand_holds_and_releases_do_not_drift(kind: type[Kernel]) -> None:
    seed = random.Random(20260301)
    target = loaded(kind)
    pool = [
        arguments(
            WorkingOrder(fill(seed.randrange(7), seed.choice((-1, 1)) * seed.randint(1, 900), seed.uniform(0.8, 1.2)))
        )
        for _ in range(200)
    ]
    target.add_cash(0, 0, 1e6)
    held: list[tuple[int, float, float, float, float]] = []
    for _ in range(100_000):
        if len(held) > 1 and (len(held) > 30 or seed.random() < 0.5):
            target.release(0, *held.pop(seed.randrange(len(held))))
        else:
            held.append(seed.choice(pool))
            target.hold(0, *held[-1])
    target.add_cash(1, 0, 1e6)
    for order in held:
        target.hold(1, *order)
    assert target.worst(0) == pytest.approx(target.worst(1), rel=1e-9)
    for order in held:
        target.release(0, *order)
    # Nothing is left of a hundred thousand roundings.
    assert target.worst(0) == 1e6


@both
@pytest.mark.parametrize("scenarios", range(1, 10))
def test_every_count_of_scenarios_works(kind: type[Kernel], scenarios: int) -> None:
    values = np.random.default_rng(scenarios).normal(0.0, 10.0, (1, scenarios))
    zero = np.zeros(1, np.int32)
    target = kind(1, 1, 1, 1, scenarios)
    target.load(values, np.ones((1, scenarios)), zero, zero, zero, np.ones(1, np.uint8))
    target.add_position(0, 0, 3)
    assert target.worst(0) == pytest.approx(3 * values.min())
    assert target.binding(0, 0) == values.argmin()
    assert target.what_if(0, 0, -1, 4.0) == pytest.approx((3 * values + np.minimum(4.0 - values, 0)).min())
    assert target.row(0, 0) == pytest.approx(3 * values[0])


@both
def test_a_row_is_a_copy_and_binding_is_its_worst(kind: type[Kernel]) -> None:
    target = loaded(kind)
    target.add_position(0, 0, 100)
    target.row(0, 1)[:] = 0.0
    assert target.worst(0) == pytest.approx(100 * 0.001 * 60_012 * 0.84)
    assert target.binding(0, 1) == 0
    target.hold(0, 0, -300.0, 0.3 * 60_012)
    assert target.binding(0, 1) == 6
    assert target.binding(0, 2) == 0
