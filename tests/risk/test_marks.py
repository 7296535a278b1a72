"""Which marks are taken, and the band of limit prices around them."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.instrument import Instrument
from risk.kernel import MarginKernel
from risk.marks import NEVER_NS, Collar, Market
from tests.strategies import (
    COIN_OPTION,
    INSTRUMENTS,
    LINEAR,
    NOW_NS,
    USD_OPTION,
    instruments,
    kernel_of,
    set_mark,
    world,
)

COLLAR = Collar(fraction=0.1, option_fraction=0.5, option_min_ticks=20)


@pytest.mark.parametrize(
    ("index", "price", "band"),
    [
        (LINEAR, 100_000.0, (180_000, 220_000)),
        (LINEAR, 100_000.3, (180_001, 220_000)),  # both ends rounded inwards
        (LINEAR, 0.5, (1, 1)),
        (LINEAR, 0.01, (1, 1)),  # never below one tick
        (COIN_OPTION, 0.0572, (290, 855)),  # half of 572 either way, on steps of 5 above 50
        (COIN_OPTION, 0.0030, (10, 50)),  # 20 ticks are more than half of 30; 50 is a boundary
        (COIN_OPTION, 0.0040, (20, 60)),  # the high end lies on the coarser step
        (COIN_OPTION, 0.0001, (1, 21)),
        (USD_OPTION, 1_827.0, (184, 540)),  # 182.7..548.1 ticks: steps of 2 up to 200, of 10 above
    ],
)
def test_band(index: int, price: float, band: tuple[int, int]) -> None:
    assert COLLAR.band_ticks(INSTRUMENTS[index], price) == band


@given(instruments, st.floats(0.01, 1e6), st.floats(0, 0.9))
def test_both_ends_of_a_band_are_prices_and_mirror(instrument: Instrument, price: float, fraction: float) -> None:
    low, high = Collar(fraction, fraction, 3).band_ticks(instrument, price)
    assert instrument.ticks_are_on_step(low)
    assert instrument.ticks_are_on_step(high)
    mark = Fraction(price) / Fraction(instrument.tick_size)
    width = max(mark * Fraction(fraction), 3) if instrument.is_option else mark * Fraction(fraction)
    slack = mark / 10**12
    # Inwards from the exact band, by less than one step: the same on the buy side as on the sell side.
    assert low >= mark - width - slack
    assert high <= max(1, mark + width + slack)
    assert low == 1 or instrument.step_down(low - 1) < mark - width + slack
    assert instrument.step_up(high + 1) > mark + width - slack


@pytest.mark.parametrize("name", ["price", "index_price", "forward_price"])
@pytest.mark.parametrize("value", [nan, inf, -inf, 0.0, -0.0, -1.0, 1e15, 1e400])
def test_a_price_that_is_none_changes_nothing(name: str, value: float) -> None:
    _assert_not_taken({name: value})


@pytest.mark.parametrize("implied_vol", [nan, inf, -0.01, 1e3])
def test_a_volatility_that_is_none_changes_nothing(implied_vol: float) -> None:
    _assert_not_taken({"implied_vol": implied_vol})


def test_an_older_mark_changes_nothing_and_one_of_the_same_time_is_taken() -> None:
    _assert_not_taken({"time_ns": NOW_NS - 1})
    w = world()
    assert set_mark(w.market, LINEAR, price=100_001.0, time_ns=NOW_NS)
    mark = w.market.marks[LINEAR]
    assert mark is not None
    assert mark.price == 100_001.0


def _assert_not_taken(changes: dict[str, Any]) -> None:
    market = world().market
    before = market.marks[LINEAR]
    good = {"price": 1e5, "index_price": 1e5, "forward_price": 1e5, "implied_vol": 0.0, "time_ns": NOW_NS}
    assert not market.update_mark(INSTRUMENTS[LINEAR], **{**good, **changes})
    assert market.marks[LINEAR] is before


def test_listing_makes_room_and_knows_nothing() -> None:
    market = Market(kernel_of(), [], 1, 1, COLLAR)
    market.list_instrument(3)
    market.list_instrument(1)
    assert market.marks == [None] * 4
    assert market.generation_time_ns == NEVER_NS
    assert market.live_venues == set()


@pytest.mark.parametrize(
    ("lowest_sell", "highest_buy", "at"),
    [
        (0.0, 0.0, (180_000, 220_000)),  # the venue did not say
        (95_000.0, 105_000.0, (192_000, 208_000)),  # four fifths of the way
        (94_999.0, 105_001.0, (191_999, 208_001)),
        (95_000.2, 105_000.3, (192_001, 208_000)),  # inwards
        (80_000.0, 130_000.0, (180_000, 220_000)),  # wider than the collar
        (nan, nan, (180_000, 220_000)),
        (1e300, 1e300, (180_000, 220_000)),
    ],
)
def test_a_market_orders_limit_is_within_what_the_venue_takes(
    lowest_sell: float, highest_buy: float, at: tuple[int, int]
) -> None:
    market = world().market
    market.collar = COLLAR
    market.update_mark(
        INSTRUMENTS[LINEAR], price=100_000.0, index_price=100_000.0, forward_price=100_000.0, implied_vol=0.0,
        time_ns=NOW_NS, lowest_sell=lowest_sell, highest_buy=highest_buy,
    )  # fmt: skip
    mark = market.marks[LINEAR]
    assert mark is not None
    assert (mark.sell_at_ticks, mark.buy_at_ticks) == at
    assert (mark.collar_low_ticks, mark.collar_high_ticks) == (180_000, 220_000)


@pytest.mark.parametrize(
    ("changes", "is_due"),
    [
        ({"price": 60_060.0}, False),
        ({"price": 60_061.0}, True),
        ({"price": 59_939.0}, True),
        ({"forward_price": 60_061.0}, True),
        ({"index_price": 70_000.0}, False),
        ({"implied_vol": 2.0}, False),
    ],
)
def test_a_move_beyond_the_threshold_makes_a_generation_due(changes: dict[str, float], is_due: bool) -> None:
    market = moving_market()
    instrument = INSTRUMENTS[LINEAR]
    feed(market, instrument, price=60_000.0)
    assert not market.has_moved  # the first mark waits for the timer
    market.begin_generation()
    feed(market, instrument, **{"price": 60_000.0} | changes)
    assert market.has_moved is is_due
    before = market.begin_generation()
    assert not market.has_moved and before == market.marks and before is not market.marks
    feed(market, instrument, **{"price": 60_000.0} | changes)
    assert not market.has_moved


@pytest.mark.parametrize(("vol", "is_due"), [(0.5, False), (0.5099, False), (0.511, True), (0.489, True), (0.0, True)])
def test_an_option_moves_by_its_forward_and_its_volatility(vol: float, is_due: bool) -> None:
    market = moving_market()
    feed(market, INSTRUMENTS[COIN_OPTION], price=0.05, implied_vol=0.5)
    market.begin_generation()
    feed(market, INSTRUMENTS[COIN_OPTION], price=0.9, implied_vol=vol)
    assert market.has_moved is is_due


def test_without_a_threshold_nothing_is_due() -> None:
    market = moving_market()
    market.due_after_move = 0.0
    feed(market, INSTRUMENTS[LINEAR], price=60_000.0)
    market.begin_generation()
    feed(market, INSTRUMENTS[LINEAR], price=90_000.0)
    assert not market.has_moved


def moving_market() -> Market:
    return Market(
        kernel=MarginKernel(1, 1, 1, 1, 1), marks=[None] * len(INSTRUMENTS), mark_max_age_ns=1, generation_max_age_ns=1,
        collar=COLLAR, due_after_move=0.001, due_after_vol_move=0.02,
    )  # fmt: skip


def feed(market: Market, instrument: Instrument, *, price: float, **changes: float) -> None:
    numbers = {"index_price": 60_000.0, "forward_price": 60_000.0, "implied_vol": 0.0, "time_ns": 1} | changes
    assert market.update_mark(instrument, price=price, **numbers)  # type: ignore[arg-type]
