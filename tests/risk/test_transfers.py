"""Transfers that cure shortfalls: against brute force on small cases, and what each restriction does."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.collateral import AssetRule, CollateralRules
from risk.collateral_ledger import Location, Place
from risk.instrument import UNITS_PER_WHOLE
from risk.margin_states import BPS
from risk.transfers import (
    Move,
    Need,
    Plan,
    Route,
    Supply,
    TransferPlanError,
    cost_units,
    counted_units,
    haircut_bps,
    plan,
    verify,
)

WHOLE = UNITS_PER_WHOLE
HOUSE, VAULT = Location(Place.HOUSE, "", "a"), Location(Place.LOCKED, "vault", "a")
ONE, TWO = Location(Place.VENUE, "one", "a"), Location(Place.VENUE, "two", "a")


def supply(asset: str, whole: int, price: int = 1, at: Location = HOUSE, reserve: int = 0) -> Supply:
    return Supply(asset, at, whole * WHOLE, price * WHOLE, reserve * WHOLE)


def need(whole: int, at: Location = ONE, within: int = 100) -> Need:
    return Need(at, whole * WHOLE, within)


def route(asset: str, target: Location = ONE, source: Location = HOUSE, **changes: int) -> Route:
    return Route(asset, source, target, **({"settle_ns": 10, "step_units": WHOLE} | changes))


def moved(made: Plan) -> list[tuple[str, str, int]]:
    return sorted((m.route.asset, m.route.target.name, m.units // WHOLE) for m in made.moves)


def test_the_cheapest_that_cures() -> None:
    routes = [route("BTC", flat_fee_units=WHOLE // 100), route("USDC", flat_fee_units=5 * WHOLE)]
    made = plan([supply("BTC", 10, 50_000), supply("USDC", 100_000)], [need(60_000)], routes)
    assert moved(made) == [("USDC", "one", 60_000)] and made.short == ()
    assert made.cost_units == 5 * WHOLE
    # A haircut makes more of it move; where it does not suffice both go.
    routes = [route("BTC", flat_fee_units=WHOLE // 100), route("USDC", flat_fee_units=5 * WHOLE, haircut_bps=5_000)]
    made = plan([supply("BTC", 10, 50_000), supply("USDC", 100_000)], [need(60_000)], routes)
    assert moved(made) == [("BTC", "one", 1), ("USDC", "one", 20_000)] or moved(made) == [("BTC", "one", 2)]
    assert made.short == ()


def test_one_supply_for_two_needs() -> None:
    made = plan(
        [supply("USDC", 100), supply("USDT", 100)],
        [need(80), need(90, TWO)],
        [route("USDC"), route("USDC", TWO, fee_bps=100), route("USDT", TWO)],
    )
    assert moved(made) == [("USDC", "one", 80), ("USDT", "two", 90)] and made.cost_units == 0


def test_what_is_slow_stays() -> None:
    made = plan([supply("USDC", 100)], [need(50, within=9)], [route("USDC")])
    assert made.moves == () and [(s.units // WHOLE, s.reason) for s in made.short] == [(50, "nothing settles in time")]
    assert moved(plan([supply("USDC", 100)], [need(50, within=10)], [route("USDC")])) == [("USDC", "one", 50)]


@pytest.mark.parametrize(
    ("supplies", "routes", "left", "reason"),
    [
        ([supply("USDC", 30)], [route("USDC")], 20, "not enough collateral"),
        ([supply("USDC", 60, reserve=30)], [route("USDC")], 20, "not enough collateral beyond the reserve"),
        ([supply("USDC", 60, reserve=60)], [route("USDC")], 50, "all that is left is the reserve"),
        ([supply("USDC", 60)], [route("USDC", minimum_units=61 * WHOLE)], 50, "below the minimum of a transfer"),
        ([supply("USDC", 60)], [route("USDC", haircut_bps=BPS)], 50, "no eligible collateral has a way there"),
        ([supply("USDC", 60)], [route("BTC")], 50, "no eligible collateral has a way there"),
        ([supply("USDC", 60)], [], 50, "no eligible collateral has a way there"),
        ([supply("USDC", 3)], [route("USDC", flat_fee_units=4 * WHOLE)], 50, "below the minimum of a transfer, or its"),
    ],
)
def test_the_least_short_and_why(supplies: list[Supply], routes: list[Route], left: int, reason: str) -> None:
    (short,) = plan(supplies, [need(50)], routes).short
    assert short.units == left * WHOLE and reason in short.reason and short.at == ONE


def test_a_minimum_moves_more_than_is_needed() -> None:
    made = plan([supply("USDC", 100)], [need(5)], [route("USDC", minimum_units=50 * WHOLE)])
    assert moved(made) == [("USDC", "one", 50)]


def test_nothing_short_moves_nothing() -> None:
    assert plan([supply("USDC", 100)], [need(0)], [route("USDC")]) == Plan((), 0, ())
    assert plan([], [], []) == Plan((), 0, ())


def test_whole_amounts_in_fine_steps_cure_to_the_last_unit() -> None:
    one = Route("BTC", HOUSE, ONE, 1, haircut_bps=333, fee_bps=7, flat_fee_units=12_345, step_units=1)
    for short in (1, 7, 999_999_999, 123_456_789_012_345):
        made = plan([Supply("BTC", HOUSE, 50 * WHOLE, 6_543_217_890_123)], [Need(ONE, short, 5)], [one])
        assert made.short == () and sum(m.value_units for m in made.moves) >= short


@pytest.mark.parametrize(
    ("supplies", "needs", "routes", "why"),
    [
        ([supply("A", 1), supply("A", 2)], [], [], "given twice"),
        ([], [need(1), need(2)], [], "given twice"),
        ([], [], [route("A"), route("A")], "given twice"),
        ([Supply("A", HOUSE, 1, 0)], [], [], "no price"),
        ([Supply("A", HOUSE, 1, 1, -1)], [], [], "no price"),
        ([], [], [route("A", haircut_bps=BPS + 1)], "can not be"),
        ([], [], [route("A", flat_fee_units=-1)], "can not be"),
        ([], [], [route("A", step_units=0)], "can not be"),
        ([], [], [route(f"A{n}") for n in range(2_001)], "more than 2000"),
    ],
)
def test_inputs_that_are_refused(supplies: list[Supply], needs: list[Need], routes: list[Route], why: str) -> None:
    with pytest.raises(TransferPlanError, match=why):
        plan(supplies, needs, routes)


def test_moves_are_verified_in_integers() -> None:
    of = [supply("USDC", 10, reserve=2)]
    one = route("USDC", fee_bps=100)
    assert verify(of, [Move(one, 7 * WHOLE, one.fee_units(7 * WHOLE), 0)]) is None
    assert verify(of, [Move(one, 8 * WHOLE, one.fee_units(8 * WHOLE), 0)]) == "more USDC than is available"
    assert "no whole steps" in str(verify(of, [Move(one, WHOLE + 1, 0, 0)]))
    assert "minimum" in str(verify(of, [Move(route("USDC", minimum_units=5 * WHOLE), WHOLE, 0, 0)]))


def test_fees_round_up_and_values_down() -> None:
    assert Route("A", HOUSE, ONE, 0, fee_bps=1).fee_units(1) == 1
    assert Route("A", HOUSE, ONE, 0, flat_fee_units=9).fee_units(0) == 0
    assert counted_units(Route("A", HOUSE, ONE, 0, haircut_bps=1), 3, WHOLE // 2) == 1
    assert cost_units(1, 1) == 1


def test_haircuts_are_those_of_the_last_dollars() -> None:
    rules = CollateralRules({"BTC": AssetRule(kind="coin", tiers=((0.0, 0.1), (1_000.0, 0.3)))})
    assert haircut_bps(rules, "BTC", 50_000.0, 0.0, 500.0) == 1_000
    assert haircut_bps(rules, "BTC", 50_000.0, 1_000.0, 500.0) == 3_000
    assert haircut_bps(rules, "BTC", 50_000.0, 500.0, 1_000.0) == 2_000
    assert haircut_bps(rules, "DOGE", 1.0, 0.0, 5.0) == BPS
    assert haircut_bps(rules, "BTC", 1.0, 0.0, 0.0) == BPS


# -- brute force -------------------------------------------------------------------------------------------------------


def brute_force(supplies: list[Supply], needs: list[Need], routes: list[Route]) -> tuple[int, int]:
    """Return the least that stays short, and the least cost of that: every combination of whole steps."""
    best: tuple[int, int] | None = None
    free = {(s.asset, s.at): s.available_units - s.reserve_units for s in supplies}
    price = {(s.asset, s.at): s.price_units for s in supplies}
    within = {n.at: n.within_ns for n in needs}
    usable = [r for r in routes if (r.asset, r.source) in free and r.settle_ns <= within.get(r.target, -1)]
    ranges = [range(max(0, free[r.asset, r.source]) // r.step_units + 1) for r in usable]
    for steps in product(*ranges):
        units = [n * r.step_units for n, r in zip(steps, usable, strict=True)]
        if any(0 < n < r.minimum_units for n, r in zip(units, usable, strict=True)):
            continue
        left, cost, given = dict(free), 0, {n.at: 0 for n in needs}
        for n, r in zip(units, usable, strict=True):
            left[r.asset, r.source] -= n + r.fee_units(n)
            cost += cost_units(r.fee_units(n), price[r.asset, r.source])
            given[r.target] += counted_units(r, n, price[r.asset, r.source])
        if min(left.values(), default=0) < 0:
            continue
        score = sum(max(0, n.short_units - given[n.at]) for n in needs), cost
        best = score if best is None or score < best else best
    assert best is not None
    return best


ROUTE = st.builds(
    lambda asset, target, source, slow, cut, flat, fee, least: route(
        asset, target, source, settle_ns=slow, haircut_bps=cut, flat_fee_units=flat * WHOLE // 4, fee_bps=fee,
        minimum_units=least * WHOLE,
    ),
    st.sampled_from(["A", "B"]), st.sampled_from([ONE, TWO]), st.sampled_from([HOUSE, VAULT]),
    st.sampled_from([10, 10, 10, 200]), st.sampled_from([0, 1_000, 5_000]), st.integers(0, 4),
    st.sampled_from([0, 500, 2_500]), st.integers(0, 3),
)  # fmt: skip


@pytest.mark.parametrize(("dear", "cheap"), [(ONE, TWO), (TWO, ONE)])
def test_of_two_that_can_not_both_be_met_the_cheaper_is(dear: Location, cheap: Location) -> None:
    """Which of two equal shortfalls is met, where there is enough for one, is a matter of cost."""
    routes = [
        route("A", dear, VAULT, flat_fee_units=WHOLE),
        route("A", cheap, VAULT, fee_bps=500, minimum_units=2 * WHOLE),
    ]
    made = plan([supply("A", 3, 1, VAULT, 0)], [need(3), need(3, TWO)], routes)
    assert [(move.route.target, move.units) for move in made.moves] == [(cheap, 2 * WHOLE)]
    assert made.cost_units == WHOLE // 10


@settings(max_examples=80, deadline=None)
@given(
    held=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    prices=st.lists(st.integers(1, 4), min_size=2, max_size=2),
    reserves=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    short=st.lists(st.integers(0, 8) | st.integers(0, 2), min_size=2, max_size=2),
    routes=st.lists(ROUTE, max_size=4, unique_by=lambda r: (r.asset, r.source, r.target)),
)  # fmt: skip
def test_as_good_as_brute_force(
    held: list[int], prices: list[int], reserves: list[int], short: list[int], routes: list[Route]
) -> None:
    places = [("A", HOUSE), ("A", VAULT), ("B", HOUSE), ("B", VAULT)]
    supplies = [
        supply(asset, held[n], prices[asset == "B"], at, min(reserves[n], held[n]))
        for n, (asset, at) in enumerate(places)
    ]
    needs = [need(short[0]), need(short[1], TWO)]
    made = plan(supplies, needs, routes)
    least, cost = brute_force(supplies, needs, routes)
    assert sum(s.units for s in made.short) == least
    # The cheapest but for the solver's tolerance, in units of 1e-8 USD.
    assert cost <= made.cost_units <= cost + WHOLE // 100_000
    if not made.short:  # and nothing moves without need
        for one in made.moves:
            price = next(s.price_units for s in supplies if (s.asset, s.at) == (one.route.asset, one.route.source))
            given = sum(m.value_units for m in made.moves if m.route.target == one.route.target)
            less = one.value_units - counted_units(one.route, one.units - WHOLE, price)
            wanted = next(n.short_units for n in needs if n.at == one.route.target)
            assert given - less < wanted or one.units <= max(WHOLE, one.route.minimum_units)
    assert verify(supplies, made.moves) is None
