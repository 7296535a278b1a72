"""What is held at a lost venue offsets nothing elsewhere, whatever it settles in and whichever way it is held."""

from math import isclose

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.instrument import Side
from risk.scenarios import Generation, GenerationBuilder, Grid
from tests.risk.contracts import (
    COIN_CALL,
    CURRENCIES,
    FUTURE,
    INDEX_PRICES,
    INVERSE,
    KERNELS,
    LINEAR,
    MARKS,
    Kernel,
    both,
)

LOST = "lost"
GRID = Grid((-0.16, 0.0, 0.16), (0.0,))
# The same four contracts at the venue that may be lost, and the linear perpetual at another.
THERE = tuple(
    msgspec.structs.replace(one, index=index, venue=LOST)
    for index, one in enumerate((LINEAR, INVERSE, FUTURE, COIN_CALL))
)
HERE = msgspec.structs.replace(LINEAR, index=4)
INSTRUMENTS = (*THERE, HERE)
BTC = CURRENCIES.index("BTC")
BTC_USD = INDEX_PRICES["BTC"]


def generation(*apart: str) -> Generation:
    builder = GenerationBuilder(
        number=1, as_of_ns=0, grid=GRID, instruments=INSTRUMENTS, marks={i: MARKS[i % 4] for i in range(5)},
        currencies=CURRENCIES, index_prices=INDEX_PRICES, apart=apart,
    )  # fmt: skip
    while not builder.price_some(3):
        pass
    return builder.generation()


TOGETHER, APART = generation(), generation(LOST)


class Held:
    """One account of a kernel."""

    def __init__(self, kind: type[Kernel], made: Generation) -> None:
        self.kernel = kind(2, len(made.groups), len(INSTRUMENTS), len(CURRENCIES), GRID.size)
        self.kernel.load(*made.arrays())

    def trade(self, instrument: int, lots: int) -> "Held":
        """Trade at the mark, to the fraction of a tick, without a fee."""
        one, mark = INSTRUMENTS[instrument], MARKS[instrument % 4].mark_price
        amount = lots * float(one.lot_amount)
        cash = amount / mark if one.is_inverse else -amount * mark
        self.kernel.add_position(0, instrument, lots)
        self.kernel.add_cash(0, CURRENCIES.index(one.settlement_currency), cash)
        return self

    @property
    def margin(self) -> float:
        return self.kernel.equity(0, GRID.base) - self.kernel.worst(0)


def hedged(kind: type[Kernel], made: Generation, leg: int, lots: int) -> Held:
    """A leg at the lost venue, and as much of the linear perpetual the other way elsewhere."""
    one = INSTRUMENTS[leg]
    usd = lots * float(one.lot_amount) * (1.0 if one.is_inverse else MARKS[leg].mark_price)
    return Held(kind, made).trade(leg, lots).trade(4, -round(usd / (60_012.0 * float(HERE.lot_amount))))


@both
@given(leg=st.sampled_from((0, 1, 2)), lots=st.integers(-3_000, 3_000).filter(lambda lots: abs(lots) > 100))
def test_a_lost_leg_and_its_hedge_are_margined_alone_either_way_round(kind: type[Kernel], leg: int, lots: int) -> None:
    lots *= 100
    before, after, mirrored = (
        hedged(kind, TOGETHER, leg, lots), hedged(kind, APART, leg, lots), hedged(kind, APART, leg, -lots)
    )  # fmt: skip
    one = INSTRUMENTS[leg]
    notional = abs(lots) * float(one.lot_amount) * (1.0 if one.is_inverse else MARKS[leg].mark_price)
    assert before.margin < 0.01 * notional
    # Index and mark are a hair apart, and the hedge is of whole lots.
    assert after.margin == pytest.approx(2 * 0.16 * notional, rel=0.02)
    assert isclose(after.margin, mirrored.margin, rel_tol=1e-9)
    assert isclose(after.kernel.equity(0, GRID.base), before.kernel.equity(0, GRID.base), rel_tol=1e-9, abs_tol=1e-3)


@both
@given(lots=st.integers(-5_000, 5_000), coins=st.integers(-50, 50), leg=st.sampled_from((1, 2)))
def test_profit_stays_with_the_coin_and_no_margin_is_made_of_it(
    kind: type[Kernel], lots: int, coins: int, leg: int
) -> None:
    """However much was gained and taken out before, what is set apart is today's leg and no more."""
    held = Held(kind, APART).trade(leg, lots)
    held.kernel.add_cash(0, BTC, coins)
    own = APART.groups.index("BTC@lost")
    assert held.kernel.equity_of_group(0, own, GRID.base) == pytest.approx(0.0, abs=1e-3)
    alone = abs(lots) * 10 * 0.16 * BTC_USD / MARKS[leg].mark_price
    assert held.margin == pytest.approx(alone + abs(coins) * 0.16 * BTC_USD, rel=1e-6, abs=1e-2)


@both
def test_a_position_that_comes_and_goes_leaves_nothing_behind(kind: type[Kernel]) -> None:
    held = Held(kind, APART)
    for instrument in range(5):
        held.trade(instrument, 70).trade(instrument, -70)
    assert held.margin == pytest.approx(0.0, abs=1e-6)


@both
@pytest.mark.parametrize("side", list(Side))
def test_an_order_at_a_lost_venue_offsets_nothing_elsewhere(kind: type[Kernel], side: Side) -> None:
    lots = 6_000 * side.sign
    cash = lots * 10 / MARKS[1].mark_price
    apart = Held(kind, APART).trade(4, -1_000 * side.sign)
    apart.kernel.add_cash(0, 0, 1e6)
    before = apart.kernel.worst(0)
    assert apart.kernel.what_if(0, 1, lots, cash) == pytest.approx(before - 0.16 * 60_000, rel=1e-3)
    apart.kernel.hold(0, 1, lots, cash)
    held = apart.kernel.worst(0)
    apart.kernel.release(0, 1, lots, cash)
    apart.trade(1, lots)
    assert apart.kernel.worst(0) == pytest.approx(held, abs=1e-3), "what was held for it covers its fill"


@both
def test_an_option_of_the_coin_moves_by_itself(kind: type[Kernel]) -> None:
    own = APART.groups.index("BTC@lost")
    held = Held(kind, APART).trade(3, 20)
    worth = held.kernel.equity_of_group(0, own, GRID.base)
    assert worth == pytest.approx(20 * 0.1 * 0.0721 * BTC_USD)
    assert held.kernel.worst_of_group(0, own) >= 0, "what was paid is all that it can lose"


def test_what_is_not_at_a_lost_venue_is_as_it_was() -> None:
    assert not any(TOGETHER.carried == TOGETHER.carried)
    assert [bool(one == one) for one in APART.carried] == [False, True, True, True, False]
    assert float(APART.carried[1]) == pytest.approx(10 / 59_990.0)


def test_both_kernels_agree() -> None:
    figures = [hedged(kind, APART, leg, lots).margin for leg in range(3) for lots in (-500, 500) for kind in KERNELS]
    step = len(KERNELS)
    for start in range(0, len(figures), step):
        assert figures[start : start + step] == pytest.approx([figures[start]] * step, rel=1e-12)


@both
def test_only_what_is_carried_may_settle_elsewhere(kind: type[Kernel]) -> None:
    *arrays, carried = APART.arrays()
    target = kind(1, len(APART.groups), len(INSTRUMENTS), len(CURRENCIES), GRID.size)
    with pytest.raises(ValueError, match="another risk group"):
        target.load(*arrays)
    for wrong in (carried[:-1], carried + 1e16):
        with pytest.raises(ValueError, match="carried"):
            target.load(*arrays, wrong)
