"""The ladder: each step against brute force, nothing that raises risk, buy and sell alike."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.adjust import NOTHING, Plan, Quote, Rung, Step, Terms, Trial, TrialKernel, UnknownMarginError, plan, taken
from risk.instrument import Side
from tests.strategies import (
    COIN_OPTION,
    CURRENCIES,
    ETH_LINEAR,
    GENERATION,
    INSTRUMENTS,
    INVERSE,
    INVERSE_FUTURE,
    LINEAR,
    World,
    generation,
    mark_ticks,
    order_of,
    world,
)

TERMS = Terms(required=1.0, step_fraction=0.5, participation=1.0)


def book(index: int, lots: int = 1_000, *, spread: int = 1, levels: int = 3, slope: int = 2) -> Quote:
    """A book around the mark: `lots` at each of some levels."""
    ticks, step = mark_ticks(index), INSTRUMENTS[index].step_up(1)
    step = max(step, INSTRUMENTS[index].step_up(mark_ticks(index) + 1) - mark_ticks(index))
    bids = tuple((ticks - (spread + slope * n) * step, lots) for n in range(levels))
    asks = tuple((ticks + (spread + slope * n) * step, lots) for n in range(levels))
    return Quote(bids, asks, 1 << 40)


BOOKS = {index: book(index) for index in range(len(INSTRUMENTS))}


def account_of(cash: dict[str, int], lots: dict[int, int]) -> World:
    made = world()
    for currency in ("USDC", "BTC", "ETH"):
        made.set_cash(currency, 0)
    for index, held in lots.items():
        if held:
            made.give_position(index, held)
    for currency, amount in cash.items():
        made.account.move_cash(currency, amount * 10**8)
    return made


def trial(made: World, required: float = 1.0) -> Trial:
    return Trial(TrialKernel(GENERATION), made.account, required)


def planned(made: World, terms: Terms = TERMS, books: dict[int, Quote] = BOOKS) -> Plan:
    return plan(trial(made, terms.required), terms, INSTRUMENTS, books)


def test_the_trial_has_the_kernels_own_figures() -> None:
    made = account_of({"USDC": 5_000}, {LINEAR: 300, INVERSE: -500})
    made.working(order_of(LINEAR, lots=50))
    found = trial(made)
    assert found.measure == pytest.approx(made.kernel.worst(made.account.index), abs=1e-6)
    assert found.equity == pytest.approx(made.kernel.equity(made.account.index, GENERATION.grid.base), abs=1e-6)
    half = trial(made, 0.5)
    assert half.measure == pytest.approx(0.5 * found.equity + 0.5 * found.measure)


def test_an_account_that_is_covered_is_left_alone() -> None:
    assert planned(account_of({"USDC": 50_000}, {LINEAR: 300})).steps == ()


def test_orders_that_add_margin_go_first_the_heaviest_first_and_those_that_reduce_stay() -> None:
    made = account_of({"USDC": 5_800}, {LINEAR: 250})
    made.working(order_of(LINEAR, lots=100, ticks=mark_ticks(LINEAR)), "small")
    made.working(order_of(LINEAR, lots=400, ticks=mark_ticks(LINEAR)), "large")
    made.working(order_of(LINEAR, Side.SELL, lots=100, ticks=mark_ticks(LINEAR) + 100), "reduces")
    found = planned(made)
    assert [step.order_ids for step in found.steps if step.rung is Rung.CANCEL] == [("large",)]
    assert found.is_cured and found.cost == 0
    made.account.move_cash("USDC", -2_000 * 10**8)
    found = planned(made)
    assert [step.order_ids for step in found.steps if step.rung is Rung.CANCEL] == [("large",), ("small",)]


def test_a_debt_is_repaid_from_what_is_held_before_anything_is_sold() -> None:
    made = account_of({"USDC": -60_000, "BTC": 1}, {})
    assert trial(made).measure > 0
    made = account_of({"USDC": -90_000, "BTC": 1}, {})
    found = planned(made, Terms(required=1.0, may_convert=True))
    (step,) = found.steps
    assert (step.rung, step.sold, step.bought) == (Rung.CONVERT, "BTC", "USDC")
    assert found.is_cured and found.after == pytest.approx(0, abs=1)
    assert step.cost == pytest.approx(step.amount * 100_000 * 0.002, rel=1e-6)


def test_collateral_comes_before_trades() -> None:
    made = account_of({"USDC": 1_000}, {LINEAR: 300})
    short = -trial(made).measure
    terms = Terms(required=1.0, movable_usd=short + 5)
    with_dollars = Trial(TrialKernel(generation(currencies=(*CURRENCIES, "USD"))), made.account, 1.0)
    (step,) = plan(with_dollars, terms, INSTRUMENTS, BOOKS).steps
    assert (step.rung, step.amount) == (Rung.COLLATERAL, pytest.approx(short))
    # What can be brought is dollars: where margin knows none, trades are all that is left.
    without = planned(made, terms).steps
    assert without and all(step.rung is not Rung.COLLATERAL for step in without)


def test_an_options_delta_is_hedged_before_it_is_sold() -> None:
    made = account_of({"USDC": -45_000, "BTC": 1}, {COIN_OPTION: -60})
    short = trial(made)
    assert short.measure < 0
    found = planned(made, Terms(required=1.0, step_fraction=0.5, participation=1.0, hedges=(INVERSE,)))
    first = found.steps[0]
    assert (first.rung, first.symbol, first.side) == (Rung.HEDGE, INSTRUMENTS[INVERSE].symbol, 1)
    assert first.freed > 0


def test_without_a_quote_nothing_is_traded_and_what_is_left_is_handed_over() -> None:
    made = account_of({"USDC": 1_000}, {LINEAR: 300})
    assert planned(made, TERMS, {}).steps == ()
    (step,) = planned(made, Terms(required=1.0, may_hand_over=True), {}).steps
    assert step.rung is Rung.HAND_OVER


def test_what_has_no_price_is_not_decided_on() -> None:
    made = account_of({"USDC": 1_000}, {LINEAR: 300})
    made.account.cash_units["XRP"] = 10**8
    with pytest.raises(UnknownMarginError):
        trial(made)
    made = account_of({"USDC": 1_000}, {LINEAR: 300})
    made.give_position(INVERSE, 5)
    with pytest.raises(UnknownMarginError):
        Trial(TrialKernel(generation(unknown=frozenset({INVERSE}))), made.account, 1.0)


def every_step(made: World, terms: Terms, books: dict[int, Quote]) -> dict[str, tuple[int, float, float]]:
    """By brute force: for each position the step of the least size that cures, or else that frees most."""
    found = {}
    for index, lots in trial(made).lots.items():
        side, quote = (Side.SELL if lots > 0 else Side.BUY), books[index]
        levels = quote.bids if side is Side.SELL else quote.asks
        most = min(max(1, int(abs(lots) * terms.step_fraction)), sum(there for _, there in levels))
        sizes = {}
        for size in range(1, most + 1):
            copy = trial(made, terms.required)
            before, equity, worst = copy.measure, copy.equity, copy.kernel.worst(0)
            signed = size if side is Side.BUY else -size
            copy.fill(INSTRUMENTS[index], signed, taken(INSTRUMENTS[index], side, levels, size)[1])
            if copy.kernel.worst(0) >= worst - NOTHING:
                sizes[size] = (copy.measure, equity - copy.equity)
        if not sizes:
            continue
        peak = max(measure for measure, _ in sizes.values())
        wanted = 0.0 if peak >= 0 else peak - 1e-9
        size = min(size for size, (measure, _) in sizes.items() if measure >= wanted)
        if sizes[size][0] > before + NOTHING:
            found[INSTRUMENTS[index].symbol] = size, sizes[size][0], sizes[size][1]
    return found


LOTS = st.integers(-40, 40)
BOOK = st.tuples(st.integers(5, 60), st.integers(1, 200), st.integers(1, 50))  # lots, spread, slope
SIZES = st.integers(-500, 500)


@settings(max_examples=60, deadline=None)
@given(
    linear=LOTS,
    eth=st.integers(-300, 300),
    inverse=st.integers(-300, 300),
    cash=st.integers(-500, 500),
    shapes=st.tuples(BOOK, BOOK, BOOK),
)
def test_the_first_reduction_is_the_best_by_brute_force(
    linear: int, eth: int, inverse: int, cash: int, shapes: tuple[tuple[int, int, int], ...]
) -> None:
    made = account_of({"USDC": cash}, {LINEAR: linear, ETH_LINEAR: eth, INVERSE: inverse})
    books = {
        index: book(index, lots, spread=spread, slope=slope)
        for index, (lots, spread, slope) in zip((LINEAR, ETH_LINEAR, INVERSE), shapes, strict=True)
    }
    found = planned(made, TERMS, books)
    if found.before >= -NOTHING:
        assert found.steps == ()
        return
    expected = every_step(made, TERMS, books)
    if not expected:
        assert found.steps == ()
        return
    first = found.steps[0]
    assert first.symbol in expected

    def ratio(freed: float, cost: float) -> float:
        return freed / cost if cost > NOTHING else inf

    size, after, cost = expected[first.symbol]
    assert first.lots == size
    assert (first.after, first.cost) == (pytest.approx(after, abs=1e-6), pytest.approx(cost, abs=1e-6))
    best = max(ratio(after - found.before, cost) for _, after, cost in expected.values())
    assert ratio(first.freed, first.cost) == pytest.approx(best, rel=1e-6) or best == inf


PORTFOLIO = st.fixed_dictionaries(
    {LINEAR: LOTS, INVERSE: SIZES, INVERSE_FUTURE: SIZES, ETH_LINEAR: SIZES, COIN_OPTION: st.integers(-20, 20)}
)


@settings(max_examples=60, deadline=None)
@given(PORTFOLIO, st.integers(-1_000, 3_000), st.integers(0, 1), st.sampled_from([0.8, 1.0, 1.2]))
def test_no_step_and_no_part_of_one_raises_risk(lots: dict[int, int], cash: int, btc: int, required: float) -> None:
    made = account_of({"USDC": cash, "BTC": btc}, lots)
    terms = Terms(required=required, step_fraction=0.3, participation=0.5, may_convert=True)
    found = planned(made, terms)
    again = trial(made, required)
    measure = found.before
    for step in found.steps:
        assert step.before == pytest.approx(measure, abs=1e-3) and step.after > step.before
        measure = step.after
        if step.rung is not Rung.REDUCE:
            again.pay(step.sold, -step.amount), again.pay(step.bought, 0.0)
            return  # a conversion's rate is the step's own; the trades are looked at where there was none
        instrument, side = INSTRUMENTS[step.instrument], Side(step.side)
        levels = BOOKS[step.instrument].bids if side is Side.SELL else BOOKS[step.instrument].asks
        sign = 1 if side is Side.BUY else -1
        held = again.lots[step.instrument]
        assert abs(held + sign * step.lots) < abs(held)  # smaller, and never through zero
        for part in {1, max(1, step.lots // 3), step.lots}:
            cash_part = taken(instrument, side, levels, part)[1]
            assert again.if_filled(instrument, sign * part, cash_part)[0] >= again.measure - 1e-3
            assert again.kernel.if_filled(0, step.instrument, sign * part, cash_part) >= again.kernel.worst(0) - 1e-3
        again.fill(instrument, sign * step.lots, taken(instrument, side, levels, step.lots)[1])
    assert again.measure == pytest.approx(found.after, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(lots=st.integers(1, 300), cash=st.integers(-200, 2_000), shape=BOOK)
def test_longs_and_shorts_are_treated_alike(lots: int, cash: int, shape: tuple[int, int, int]) -> None:
    """On a symmetric grid a linear long and a short of the same size are reduced in the same sizes."""
    depth, spread, slope = shape
    books = {LINEAR: book(LINEAR, depth, spread=spread, slope=slope)}
    long = planned(account_of({"USDC": cash}, {LINEAR: lots}), TERMS, books)
    short = planned(account_of({"USDC": cash}, {LINEAR: -lots}), TERMS, books)

    def sizes(found: Plan) -> list[tuple[Rung, int]]:
        return [(step.rung, step.lots) for step in found.steps]

    assert {step.side for step in long.steps} <= {2} and {step.side for step in short.steps} <= {1}
    assert abs(sum(size for _, size in sizes(long)) - sum(size for _, size in sizes(short))) <= 1
    assert long.is_cured == short.is_cured


def test_a_hedged_leg_is_not_taken_from_its_hedge() -> None:
    made = account_of({"USDC": -100, "BTC": 0}, {INVERSE: 500, INVERSE_FUTURE: -500})
    found = planned(made)
    assert all(step.freed > 0 for step in found.steps)
    reduced: dict[str, int] = {}
    for step in found.steps:
        reduced[step.symbol] = reduced.get(step.symbol, 0) + step.lots
    assert abs(reduced.get("BTC-PERPETUAL", 0) - reduced.get("BTC-26MAR27", 0)) <= 30


def test_a_step_is_no_larger_than_limits_and_books_allow() -> None:
    made = account_of({"USDC": 0}, {LINEAR: 300})
    quote = book(LINEAR, 40)
    found = planned(made, Terms(required=1.0, step_fraction=0.9, participation=0.25), {LINEAR: quote})
    assert max(step.lots for step in found.steps) == 30
    small = Quote(quote.bids, quote.asks, 7)
    found = planned(made, Terms(required=1.0, step_fraction=0.9, participation=1.0), {LINEAR: small})
    assert max(step.lots for step in found.steps) == 7


def test_a_book_that_does_not_hold_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fill"):
        taken(INSTRUMENTS[LINEAR], Side.SELL, BOOKS[LINEAR].bids, 10**9)


def test_steps_tell_what_they_free() -> None:
    assert Step(Rung.REDUCE, -5.0, -2.0, 1.0).freed == 3.0
