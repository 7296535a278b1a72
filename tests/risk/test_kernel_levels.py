"""Both blocks of scenarios, rows above rows, and charges by size: every figure against every subset of fills."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from math import inf, isnan, nan

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.charges import BY_RESERVATION, BY_TIERS, GROUP_COLUMNS, Cell, Charges, cell_charge, group_charge, no_charges
from risk.joint import JointScenarios, Stress
from risk.limits import RowTerms
from risk.models.option_margin import reservation
from risk.models.tiers import TierTable
from risk.reference import Fill, WorkingOrder, outcomes
from risk.scenarios import build_generation
from tests.risk.contracts import CURRENCIES, GRID, INDEX_PRICES, INSTRUMENTS, KERNELS, MARKS, Kernel, both, fill
from tests.risk.test_kernel import arguments, factors, instruments, lots_either_way, working_orders

DAYS = {"2020-03-12": {"BTC": -0.3, "ETH": -0.4}, "2021-01-03": {"BTC": 0.1, "ETH": 0.25}}
JOINT = JointScenarios(
    days=DAYS,
    day_vols=(0.0, 0.6),
    stress=Stress(
        spike_moves=(-0.2, 0.2), spike_vol=1.0, peg_moves=(-0.1, 0.02), default_moves=(-0.1, 0.1), default_loss=0.5,
        funding_rate=0.0075,
    ),
    venues=("test", "other"),
    everything=tuple(zip(GRID.spot.tolist(), GRID.vol.tolist(), strict=True)),
)  # fmt: skip
GENERATION = build_generation(
    number=1, as_of_ns=0, grid=GRID, instruments=INSTRUMENTS, marks=MARKS, currencies=CURRENCIES,
    index_prices=INDEX_PRICES, joint=JOINT,
)  # fmt: skip
GROUPS, COUNT = len(GENERATION.groups), len(INSTRUMENTS)
ACCOUNT, OTHER, DESK, FIRM = 0, 1, 2, 3
PARENTS = np.array([DESK, DESK, FIRM, -1], np.int32)


def charges(*, own: bool = False) -> Charges:
    """Liquidity and a delta shock by group; with `own`, tiers for futures and reservations for options."""
    made = no_charges(COUNT, GROUPS, GRID.size)
    for i in INSTRUMENTS:
        mark = MARKS[i.index]
        made.notional[i.index] = i.notional(1, mark.mark_price, mark.index_price)
        made.closing[i.index] = made.notional[i.index] * 0.7
        made.product[i.index] = int(i.kind)
        if own and not i.is_option:
            made.kind[i.index], made.unit[i.index], made.scale[i.index] = BY_TIERS, made.notional[i.index], 1.0
            made.count[i.index], made.fee[i.index], made.square[i.index] = 2, 1e-4, 1e-9
        elif own:
            made.kind[i.index], made.short[i.index], made.mark[i.index] = BY_RESERVATION, 900.0, 400.0
    made.group[:] = (2e-4, 1e-6, 0.02, 1e-3, 1.0, 1e6, 1e-8, 0.1)
    return msgspec.structs.replace(made, tiers=np.array([[0.0, 0.02, 0.01, 0.0], [200_000.0, 0.04, 0.02, 2_000.0]]))


def levels(kind: type[Kernel], asked: Charges | None = None) -> Kernel:
    made = kind(4, GROUPS, COUNT, len(CURRENCIES), GRID.size, JOINT.size)
    made.load(*GENERATION.arrays())
    made.set_tree(PARENTS)
    if asked is not None:
        made.charge(asked)
    return made


class Held(msgspec.Struct):
    """What one account holds and has working."""

    positions: dict[int, int]
    cash: dict[int, float]
    orders: list[WorkingOrder]

    def put_into(self, target: Kernel, row: int, *, held: bool = True) -> None:
        for instrument, lots in self.positions.items():
            target.add_position(row, instrument, lots)
        for currency, amount in self.cash.items():
            target.add_cash(row, currency, amount)
        for order in self.orders if held else ():
            target.hold(row, *arguments(order))


def fills_of(orders: Sequence[WorkingOrder]) -> Iterator[list[Fill]]:
    """Every corner: each order's outcomes, with every other's."""
    for chosen in itertools.product(*(outcomes(order) for order in orders)):
        yield [each for part in chosen for each in part]


def least_of_fills(
    held: Sequence[Held], cap: float, asked: Charges | None, orders: Sequence[WorkingOrder] = ()
) -> float:
    """The margin after the worst fills, by summing rows: no kernel, no bound."""
    working = [order for one in held for order in one.orders] + list(orders)
    worst = inf
    for fills in fills_of(working):
        lots = np.zeros(COUNT)
        grid, joint = np.zeros((GROUPS, GRID.size)), np.zeros(JOINT.size)
        for one in held:
            for instrument, count in one.positions.items():
                lots[instrument] += count
            for currency, amount in one.cash.items():
                grid[GENERATION.group_of_currency[currency]] += amount * GENERATION.currency_values[currency]
                joint += amount * GENERATION.joint_currency_values[currency]
        for instrument, count, cash in fills:
            lots[instrument] += count
            currency = GENERATION.currency_of_instrument[instrument]
            grid[GENERATION.group_of_instrument[instrument]] += cash * GENERATION.currency_values[currency]
            joint += cash * GENERATION.joint_currency_values[currency]
        for instrument in range(COUNT):
            grid[GENERATION.group_of_instrument[instrument]] += lots[instrument] * GENERATION.values[instrument]
            joint += lots[instrument] * GENERATION.joint_values[instrument]
        alone = float(grid.min(axis=1).sum())
        margin = cap * joint.min() + (1 - cap) * min(alone, joint.min())
        if asked is not None:
            closing = np.zeros(GROUPS)
            np.add.at(closing, GENERATION.group_of_instrument, np.abs(lots) * asked.closing)
            margin -= sum(group_charge(asked.group[g].tolist(), closing[g]) for g in range(GROUPS))
        worst = min(worst, margin)
    return worst


accounts = st.builds(
    Held,
    st.dictionaries(instruments, st.integers(-1_000, 1_000), max_size=4),
    st.dictionaries(st.integers(0, 2), st.floats(-10.0, 1_000.0), max_size=3),
    st.lists(working_orders(), max_size=2),
)
SIZE = 1e8  # USD that a drawn portfolio may come to: rounding is measured against it


def test_the_scenarios_are_many_and_named() -> None:
    assert JOINT.size == len(set(JOINT.names)) == GENERATION.joint and JOINT.names[0] == "today"
    assert np.array_equal(GENERATION.joint_values[:, 0], GENERATION.values[:, GRID.base])


@both
@settings(max_examples=25, deadline=None)
@given(one=accounts, two=accounts, order=working_orders())
def test_every_level_is_the_worst_of_every_subset_of_fills(
    kind: type[Kernel], one: Held, two: Held, order: WorkingOrder
) -> None:
    target = levels(kind)
    one.put_into(target, ACCOUNT)
    two.put_into(target, OTHER)
    for row, held in ((ACCOUNT, [one]), (OTHER, [two]), (DESK, [one, two]), (FIRM, [one, two])):
        assert target.worst(row) == pytest.approx(least_of_fills(held, 0.0, None), abs=1e-9 * SIZE)
        foreseen = target.what_if(row, *arguments(order))
        assert foreseen == pytest.approx(least_of_fills(held, 0.0, None, [order]), abs=1e-9 * SIZE)
        if row == ACCOUNT:
            together = target.what_if_basket(row, [arguments(order), arguments(order)])
            assert together == pytest.approx(least_of_fills(held, 0.0, None, [order, order]), abs=1e-9 * SIZE)
        alone = levels(kind)
        for place, each in enumerate(held):
            each.put_into(alone, place, held=False)
        above = ACCOUNT if len(held) == 1 else DESK
        assert target.held(row) == pytest.approx(alone.worst(above), abs=1e-9 * SIZE)
    before = [target.worst(row) for row in range(4)]
    foreseen = [target.what_if(row, *arguments(order)) for row in range(4)]
    target.hold(ACCOUNT, *arguments(order))
    assert [target.worst(row) for row in (ACCOUNT, DESK, FIRM)] == [foreseen[0], foreseen[2], foreseen[3]]
    assert target.worst(OTHER) == before[OTHER]
    target.release(ACCOUNT, *arguments(order))
    assert [target.worst(row) for row in range(4)] == pytest.approx(before, abs=1e-9 * SIZE)


@both
@settings(max_examples=25, deadline=None)
@given(one=accounts, order=working_orders(), cap=st.sampled_from([0.0, 0.5, 0.8]), with_charges=st.booleans())
def test_caps_and_charges_bound_from_above(
    kind: type[Kernel], one: Held, order: WorkingOrder, cap: float, with_charges: bool
) -> None:
    """Never more than the worst of all fills leaves, and less by no more than the gap that the docstrings state."""
    asked = charges() if with_charges else None
    target = levels(kind, asked)
    target.set_terms(ACCOUNT, RowTerms(offset_cap=cap))
    one.put_into(target, ACCOUNT)
    found, exact = target.what_if(ACCOUNT, *arguments(order)), least_of_fills([one], cap, asked, [order])
    assert found <= exact + 1e-9 * SIZE
    if not with_charges and cap == 0.0:
        assert found == pytest.approx(exact, abs=1e-9 * SIZE)
    # The gap: each part at its own worst fills, against all parts at the same.
    no_fill = least_of_fills([Held(one.positions, one.cash, [])], cap, asked)
    assert exact <= no_fill + 1e-9 * SIZE
    if not one.orders and not with_charges:
        assert target.worst(ACCOUNT) == pytest.approx(no_fill, abs=1e-9 * SIZE)
    if asked is not None and not one.orders:
        assert target.worst(ACCOUNT) == pytest.approx(no_fill, abs=1e-9 * SIZE)


@pytest.mark.skipif(len(KERNELS) < 2, reason="no compiled kernel was built")
@settings(max_examples=60, deadline=None)
@given(one=accounts, two=accounts, order=working_orders(), own=st.booleans(), cap=st.sampled_from([0.0, 0.8]))
def test_compiled_and_plain_agree(one: Held, two: Held, order: WorkingOrder, own: bool, cap: float) -> None:
    plain, compiled = (levels(kind, charges(own=own)) for kind in KERNELS)
    for target in (plain, compiled):
        target.set_terms(DESK, RowTerms(0.1, cap, 1e6, 5e6, 3e6, 4e5, 3, dict.fromkeys(range(6), 700)))
        target.set_terms(ACCOUNT, RowTerms(rate=0.05, offset_cap=cap))
        one.put_into(target, ACCOUNT)
        two.put_into(target, OTHER)
        for gone in one.orders[:1]:
            target.release(ACCOUNT, *arguments(gone))
    for row in range(4):
        assert plain.held(row) == pytest.approx(compiled.held(row), abs=1e-9 * SIZE)
        for group in range(GROUPS):
            assert plain.held_of_group(row, group) == pytest.approx(compiled.held_of_group(row, group), abs=1e-9 * SIZE)
            assert plain.held_of_group(row, group) >= plain.worst_of_group(row, group) - 1e-9 * SIZE
    near, asked = 1e-10 * SIZE, arguments(order)
    for row in range(4):
        for question in ("what_if", "what_if_of_group"):
            told = [getattr(target, question)(row, *asked) for target in (plain, compiled)]
            assert told[0] == pytest.approx(told[1], abs=near)
        for question in ("if_filled", "if_filled_of_group"):
            told = [getattr(target, question)(row, *order.working) for target in (plain, compiled)]
            assert told[0] == pytest.approx(told[1], abs=near)
        assert plain.worst(row) == pytest.approx(compiled.worst(row), abs=near)
        assert plain.charge_of(row) == pytest.approx(compiled.charge_of(row), abs=near)
        assert plain.joint_row(row) == pytest.approx(compiled.joint_row(row), abs=near)
        assert plain.what_if_basket(row, [asked, asked]) == pytest.approx(
            compiled.what_if_basket(row, [asked, asked]), abs=near
        )
        for at in range(GROUPS):
            assert plain.worst_of_group(row, at) == pytest.approx(compiled.worst_of_group(row, at), abs=near)
        for one_of, other in zip(plain.sizes(row), compiled.sizes(row), strict=True):
            assert one_of == pytest.approx(other, abs=near)
        assert all(plain.position(row, i) == compiled.position(row, i) for i in range(COUNT))
    assert plain.first_beyond(ACCOUNT, asked[0], asked[1]) == compiled.first_beyond(ACCOUNT, asked[0], asked[1])
    assert plain.first_short(ACCOUNT, GRID.base, *asked) == compiled.first_short(ACCOUNT, GRID.base, *asked)


@both
@settings(max_examples=40, deadline=None)
@given(lots=st.integers(-300, 300), buys=st.integers(0, 300), sells=st.integers(0, 300), order=lots_either_way)
def test_what_working_orders_may_make_of_a_contract(
    kind: type[Kernel], lots: int, buys: int, sells: int, order: int
) -> None:
    """The largest a position may become is found by filling every quantity."""
    target = levels(kind, charges(own=True))
    target.add_position(ACCOUNT, 0, lots)
    for count in (buys, -sells):
        if count:
            target.hold(ACCOUNT, 0, *fill(0, count, 1.0)[1:])
    bought, sold = buys + max(order, 0), sells + max(-order, 0)
    asked, exact = charges(own=True), 0.0
    table = TierTable([(0.0, 0.01, 0.02), (200_000.0, 0.02, 0.04)])
    for end in {lots, lots + bought, lots - sold}:
        v = abs(end) * float(asked.unit[0])
        closing = group_charge(asked.group[1].tolist(), abs(end) * float(asked.closing[0]))
        exact = max(exact, closing + table.initial(v, 10.0) + 1e-4 * v + 1e-9 * v * v)
    target.set_terms(ACCOUNT, RowTerms(rate=0.1))
    target.add_position(ACCOUNT, 0, 1)
    target.add_position(ACCOUNT, 0, -1)
    target.hold(ACCOUNT, 0, *fill(0, order, 1.0)[1:])
    assert target.charge_of(ACCOUNT) == pytest.approx(exact)
    assert target.position(DESK, 0) == (lots, bought, sold)


@settings(max_examples=60, deadline=None)
@given(
    held=st.integers(-50, 50),
    orders=st.lists(st.tuples(lots_either_way, st.floats(1.0, 2_000.0)), max_size=4),
)
def test_reservations_are_those_of_the_model(held: int, orders: list[tuple[int, float]]) -> None:
    asked, cell = charges(own=True), Cell()
    index = next(i.index for i in INSTRUMENTS if i.is_option)
    cell.held = float(held)
    for lots, price in orders:
        cell.order(lots, price)
    expected = max(0, -held) * 900.0 + reservation(held, orders, 900.0, 400.0)
    assert cell_charge(asked, index, cell, 0.0) == pytest.approx(expected)
    for lots, _ in orders:
        cell.unorder(lots)
    assert cell_charge(asked, index, cell, 0.0) == pytest.approx(max(0, -held) * 900.0)


@both
def test_limits_of_levels_count_all_their_accounts(kind: type[Kernel]) -> None:
    target = levels(kind, charges())
    lot = float(charges().notional[0])
    target.set_terms(DESK, RowTerms(position_lots={0: 100}, max_working_orders=3, max_net_notional=lot * 90))
    target.set_terms(FIRM, RowTerms(max_gross_notional=lot * 95, max_order_notional=lot * 50))
    assert target.first_beyond(ACCOUNT, 0, 50) == -1
    assert target.first_beyond(ACCOUNT, 0, 51) == FIRM  # one order's notional
    assert target.first_beyond(ACCOUNT, 6, 1) == DESK  # no limit there for it: not permitted
    target.add_position(OTHER, 0, 45)
    assert target.first_beyond(ACCOUNT, 0, 45) == -1
    assert target.first_beyond(ACCOUNT, 0, 46) == DESK  # net
    target.add_position(ACCOUNT, 0, -45)
    target.hold(OTHER, *fill(0, 48, 1.0))
    assert target.first_beyond(ACCOUNT, 0, -48) == -1
    target.hold(OTHER, *fill(0, 48, 1.0))
    assert target.first_beyond(ACCOUNT, 0, -1) == DESK  # net: 96 lots may be bought
    target.set_terms(DESK, RowTerms(position_lots={0: 100}, max_working_orders=3))
    assert target.first_beyond(ACCOUNT, 0, -1) == FIRM  # gross
    target.release(OTHER, *fill(0, 48, 1.0))
    for _ in range(2):
        target.hold(OTHER, *fill(0, 1, 1.0))
    assert target.first_beyond(ACCOUNT, 0, -1) == DESK  # three orders work
    assert target.sizes(FIRM)[3] == 3 and target.sizes(ACCOUNT)[3] == 0
    assert target.first_beyond(FIRM, 0, 1_000) == -1  # nothing is above


@both
def test_margin_is_judged_at_each_level(kind: type[Kernel]) -> None:
    target = levels(kind)
    order = fill(0, 1_000, 1.0)  # 1 BTC
    target.add_cash(ACCOUNT, 0, 50_000.0)
    assert target.first_short(ACCOUNT, GRID.base, *order) == -1
    target.set_terms(FIRM, RowTerms(max_margin=10_000.0))
    assert target.first_short(ACCOUNT, GRID.base, *order) == FIRM
    target.add_cash(OTHER, 0, -40_000.0)  # another account's debt is the desk's
    assert target.first_short(ACCOUNT, GRID.base, *order) == DESK
    target.add_cash(ACCOUNT, 0, -45_000.0)
    assert target.first_short(ACCOUNT, GRID.base, *order) == ACCOUNT
    assert target.first_short(ACCOUNT, GRID.base, 0, nan, 0.0) == ACCOUNT


@both
def test_bad_trees_and_charges_are_refused(kind: type[Kernel]) -> None:
    target = levels(kind)
    for parents in ([0, 0, 0, 0], [1, 2, 3, 4], [-2, -1, -1, -1], [1, 2, 3], [1, 1, -1, -1]):
        with pytest.raises(ValueError, match="parent"):
            target.set_tree(np.array(parents, np.int32))
    deep = kind(9, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="levels"):
        deep.set_tree(np.array([*range(1, 9), -1], np.int32))
    good = charges()
    for name, bad in (
        ("notional", np.full(COUNT, nan)), ("closing", -np.ones(COUNT)), ("unit", np.ones(1)),
        ("group", np.full((GROUPS, GROUP_COLUMNS), -1.0)), ("group", np.zeros((1, 1))), ("tiers", np.full((1, 4), nan)),
        ("start", np.zeros((1, 1))), ("product", np.full(COUNT, 9, np.int32)), ("first", np.full(COUNT, 3, np.int32)),
        ("kind", np.full(COUNT, BY_TIERS, np.int32)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="charges"):
            target.charge(msgspec.structs.replace(good, **{name: bad}))
    plain = kind(1, GROUPS, COUNT, len(CURRENCIES), GRID.size, 5)
    with pytest.raises(ValueError, match="joint"):
        plain.load(*GENERATION.arrays())
    with pytest.raises(ValueError, match="joint"):
        plain.load(*GENERATION.arrays()[:6])
    broken = np.array(GENERATION.joint_values)
    broken[0, 3] = nan
    with pytest.raises(ValueError, match="joint scenarios of a known instrument"):
        target.load(*GENERATION.arrays()[:6], broken, GENERATION.joint_currency_values)


@both
def test_what_is_unknown_is_unknown_at_every_level(kind: type[Kernel]) -> None:
    target = kind(4, GROUPS, COUNT + 1, len(CURRENCIES) + 1, GRID.size, JOINT.size)
    target.load(*GENERATION.arrays())
    target.set_tree(PARENTS)
    target.charge(charges())
    target.add_cash(OTHER, 0, 1e6)
    target.hold(ACCOUNT, COUNT, 1.0, -1.0)
    target.set_terms(DESK, RowTerms())
    assert [isnan(target.worst(row)) for row in range(4)] == [True, False, True, True]
    assert isnan(target.worst_of_group(FIRM, 0)) and np.isnan(target.joint_row(DESK)).all()
    assert target.first_short(OTHER, GRID.base, 0, 1.0, -60.0) == DESK == target.first_beyond(OTHER, 0, 1.0)
    assert isnan(target.what_if_basket(DESK, [(0, 1.0, -60.0, 0.0, 0.0)])) and isnan(target.if_filled(DESK, 0, 1, -60))
    assert isnan(target.what_if_of_group(DESK, 0, 1.0, -60.0))
    target.release(ACCOUNT, COUNT, 1.0, -1.0)
    target.add_cash(OTHER, len(CURRENCIES), 1.0)
    assert [isnan(target.worst(row)) for row in range(4)] == [False, True, True, True]


@both
@settings(max_examples=30, deadline=None)
@given(instrument=instruments, lots=lots_either_way, factor=factors)
def test_a_buy_mirrors_a_sell_in_what_size_asks(kind: type[Kernel], instrument: int, lots: int, factor: float) -> None:
    target = levels(kind, charges())
    for row, sign in ((ACCOUNT, 1), (OTHER, -1)):
        target.hold(row, *fill(instrument, sign * lots, factor))
    assert target.charge_of(ACCOUNT) == pytest.approx(target.charge_of(OTHER))
    one, other = target.sizes(ACCOUNT), target.sizes(OTHER)
    assert (one[0], one[1], one[2]) == (other[0], pytest.approx(-other[2]), pytest.approx(-other[1]))
