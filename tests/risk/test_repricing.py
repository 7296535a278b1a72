"""From marks to a generation, in slices; and volatilities of options that have a mark and none of their own."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.instrument import Instrument, Kind, make_instrument
from risk.pricing import MAX_VOL, InstrumentMark, black76_value
from risk.repricing import NS_PER_YEAR, MarketSnapshot, Repricing
from risk.scenarios import Generation, Grid, build_generation
from risk.volatility import surface as surfaces
from risk.volatility.surface import VolQuote, VolSurface

GRID = Grid((-0.2, 0.0, 0.2), (-0.3, 0.0, 0.4))
NOW = 1_760_000_000 * 10**9
YEAR = NS_PER_YEAR


def option(index: int, strike: int, years: float, is_call: bool = True) -> Instrument:
    return make_instrument(
        index=index, symbol=f"BTC-{years}-{strike}-{'C' if is_call else 'P'}", venue="v", kind=Kind.OPTION,
        is_inverse=False, underlying="BTC", base_currency="BTC", quote_currency="BTC", settlement_currency="BTC",
        tick_size=Decimal("0.0001"), lot_size=Decimal("0.1"), strike=Decimal(strike), is_call=is_call,
        expiry_ns=NOW + int(years * YEAR),
    )  # fmt: skip


def perpetual(index: int) -> Instrument:
    return make_instrument(
        index=index, symbol="BTC-PERPETUAL", venue="v", kind=Kind.PERPETUAL, is_inverse=True, underlying="BTC",
        base_currency="BTC", quote_currency="USD", settlement_currency="BTC", tick_size=Decimal("0.5"),
        lot_size=Decimal(10),
    )  # fmt: skip


def numbers_of(instrument: Instrument, vol: float, shown: float | None = None) -> tuple[float, ...]:
    """Mark, forward, index, volatility as shown; the mark is right at `vol`."""
    assert instrument.strike is not None and instrument.expiry_ns is not None and instrument.is_call is not None
    years = (instrument.expiry_ns - NOW) / YEAR
    price = black76_value(60_000.0, float(instrument.strike), years, vol, instrument.is_call) / 60_000.0
    return price, 60_000.0, 60_000.0, vol if shown is None else shown


def snapshot(instruments: list[Instrument], marked: list[tuple[float, ...]], **changes: Any) -> MarketSnapshot:
    made = MarketSnapshot(
        number=3, as_of_ns=NOW, instruments=instruments, currencies=["USD", "BTC"],
        rows=np.arange(len(marked), dtype=np.int32), time_ns=np.full(len(marked), NOW, dtype=np.int64),
        numbers=np.array(marked, dtype=np.float64).reshape(-1, 4),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def priced(given: MarketSnapshot, count: int = 7, max_age_ns: int = 10**9) -> Generation:
    repricing = Repricing(given, max_age_ns, {"grid": GRID})
    while not repricing.price_some(count):
        pass
    return repricing.generation()


BOOK = [option(i, strike, years) for i, (years, strike) in enumerate(product((0.1, 0.5), range(40_000, 90_000, 5_000)))]
BOOK.append(perpetual(len(BOOK)))
PERPETUAL = (60_010.0, 60_000.0, 60_000.0, 0.0)


def book_numbers(shown: dict[int, float]) -> list[tuple[float, ...]]:
    return [*(numbers_of(i, 0.6, shown.get(i.index)) for i in BOOK[:-1]), PERPETUAL]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_slices_give_what_one_go_gives(count: int) -> None:
    made = priced(snapshot(BOOK, book_numbers({})), count)
    marks = {
        i.index: InstrumentMark(*row, years_to_expiry=0.0 if i.expiry_ns is None else (i.expiry_ns - NOW) / YEAR)
        for i, row in zip(BOOK, book_numbers({}), strict=True)
    }
    whole = build_generation(
        number=3, as_of_ns=NOW, grid=GRID, instruments=BOOK, marks=marks, currencies=["USD", "BTC"],
        index_prices={"BTC": 60_000.0},
    )  # fmt: skip
    assert made.number == 3 and made.as_of_ns == NOW and not made.refusals
    for one, other in zip(made.arrays(), whole.arrays(), strict=True):
        assert np.array_equal(one, other, equal_nan=one.dtype == np.float64)


def test_old_marks_are_unknown_and_the_newest_index_counts() -> None:
    times = np.full(len(BOOK), NOW, dtype=np.int64)
    times[0] -= 10**9 + 1
    times[1:] -= np.arange(len(BOOK) - 1)
    numbers = book_numbers({})
    numbers[1] = (*numbers[1][:2], 59_000.0, numbers[1][3])
    made = priced(snapshot(BOOK, numbers, time_ns=times))
    assert made.refusals == {0: f"{BOOK[0].symbol}: no mark"}
    assert made.currency_values[1, GRID.base] == 59_000.0


def test_a_strike_without_a_volatility_takes_its_expiry_s() -> None:
    """Flat at 0.6: what is filled in is 0.6, so every array is the one with all volatilities shown."""
    whole, filled = priced(snapshot(BOOK, book_numbers({}))), priced(snapshot(BOOK, book_numbers({3: 0.0, 15: 0.0})))
    assert not filled.refusals
    np.testing.assert_allclose(filled.values, whole.values, rtol=1e-12)


def test_an_expiry_without_any_volatility_is_refused_by_name() -> None:
    made = priced(snapshot(BOOK, book_numbers(dict.fromkeys(range(10), 0.0))))
    assert made.known.tolist() == [0] * 10 + [1] * 11
    assert made.refusals[4] == f"{BOOK[4].symbol}: no mark_iv, and no surface: no option of its expiry has a volatility"


def test_a_volatility_that_is_none_is_refused_and_not_replaced() -> None:
    bad = [float("nan"), float("inf"), -0.1, MAX_VOL * 2]
    made = priced(snapshot(BOOK, book_numbers(dict(enumerate(bad)))))
    assert made.known.tolist()[:5] == [0, 0, 0, 0, 1]
    assert all("is not a usable volatility" in made.refusals[row] for row in range(4))


def test_without_a_forward_there_is_no_volatility_and_no_price() -> None:
    numbers = book_numbers({2: 0.0})
    numbers[2] = (numbers[2][0], 0.0, 60_000.0, 0.0)
    assert "forward_price 0.0 is not a usable price" in priced(snapshot(BOOK, numbers)).refusals[2]


def test_a_mark_that_contradicts_the_surface_is_refused() -> None:
    numbers = book_numbers({2: 0.0})
    numbers[2] = (0.9, *numbers[2][1:])
    assert "from its own model" in priced(snapshot(BOOK, numbers)).refusals[2]


def test_another_venue_s_marks_are_no_help() -> None:
    elsewhere = [msgspec.structs.replace(i, venue="w") if i.index == 0 else i for i in BOOK]
    assert "no surface" in priced(snapshot(elsewhere, book_numbers({0: 0.0}))).refusals[0]


def test_nothing_to_price() -> None:
    made = priced(snapshot([], []))
    assert made.values.shape == (0, GRID.size) and made.currency_refusals == {"BTC": "BTC: no index price"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"time_ns": np.zeros(1, dtype=np.int64)}, "2 marks with times"),
        ({"numbers": np.zeros((2, 3))}, "2 marks with times"),
        ({"rows": np.array([0, 2], dtype=np.int32)}, "of no instrument"),
        ({"rows": np.array([-1, 0], dtype=np.int32)}, "of no instrument"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], why: str) -> None:
    given = snapshot(BOOK[:2], [numbers_of(i, 0.6) for i in BOOK[:2]], **changes)
    with pytest.raises(ValueError, match=why):
        Repricing(given, 1, {"grid": GRID})


def test_a_generation_before_anything_is_priced() -> None:
    with pytest.raises(ValueError, match="nothing is priced yet"):
        Repricing(snapshot([], []), 1, {"grid": GRID}).generation()


# -- the surface itself ----------------------------------------------------------------------------------------------

vols = st.floats(0.01, 5.0)
quotes = st.lists(
    st.builds(VolQuote, st.sampled_from([0.02, 0.1, 0.5, 1.0]), st.sampled_from([3e4, 5e4, 6e4, 6.1e4, 1e5]),
              st.floats(5.5e4, 6.5e4), vols),
    min_size=1, max_size=30,
)  # fmt: skip
STRIKES = np.array([1.0, 2e4, 4e4, 5e4, 5.9e4, 6e4, 6.05e4, 8e4, 1e5, 1e9])
FORWARDS = np.full(len(STRIKES), 6e4)


@given(quotes)
def test_vols_are_positive_and_total_variance_never_falls_with_time(given_quotes: list[VolQuote]) -> None:
    surface = VolSurface(given_quotes)
    before = np.zeros(len(STRIKES))
    for years in surface.expiries:
        found = surface.vols(years, STRIKES, FORWARDS)
        assert (found > 0).all() and (found <= MAX_VOL).all()
        total = found**2 * years
        assert (total >= before * (1 - 1e-12)).all()
        before = total


@given(st.lists(vols, min_size=5, max_size=5))
def test_one_expiry_gives_its_marks_back_and_between_them_lies_between(marked: list[float]) -> None:
    strikes = np.array([4e4, 5e4, 6e4, 7e4, 8e4])
    surface = VolSurface([VolQuote(0.3, k, 6e4, v) for k, v in zip(strikes.tolist(), marked, strict=True)])
    forward = np.full(5, 6e4)
    np.testing.assert_allclose(surface.vols(0.3, strikes, forward), marked, rtol=1e-12)
    between = surface.vols(0.3, np.sqrt(strikes[1:] * strikes[:-1]), forward[1:])
    lower, higher = np.minimum(marked[1:], marked[:-1]), np.maximum(marked[1:], marked[:-1])
    assert (lower * (1 - 1e-12) <= between).all() and (between <= higher * (1 + 1e-12)).all()
    outside = surface.vols(0.3, np.array([1.0, 1e9]), forward[:2])
    np.testing.assert_allclose(outside, [marked[0], marked[-1]], rtol=1e-12)


def test_one_strike_is_flat_and_none_is_refused() -> None:
    surface = VolSurface([VolQuote(0.5, 6e4, 6e4, 0.7), VolQuote(1.0, 6e4, 6e4, float("nan"))])
    np.testing.assert_allclose(surface.vols(0.5, STRIKES, FORWARDS), 0.7, rtol=1e-12)
    assert surface.expiries == (0.5,)
    with pytest.raises(ValueError, match="no option of its expiry has a volatility"):
        surface.vols(1.0, STRIKES, FORWARDS)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), 1e13])
@pytest.mark.parametrize("field", ["years", "strike", "forward", "vol"])
def test_quotes_that_are_no_numbers_are_left_out(field: str, bad: float) -> None:
    good = {"years": 0.5, "strike": 6e4, "forward": 6e4, "vol": 0.7}
    assert VolSurface([VolQuote(**good | {field: bad})]).expiries == ()
    assert VolSurface([VolQuote(**good), VolQuote(**good | {field: bad})]).expiries == (0.5,)


@pytest.mark.parametrize(("strike", "forward"), [(0.0, 6e4), (float("nan"), 6e4), (6e4, 0.0), (6e4, float("inf"))])
def test_a_strike_or_forward_that_is_no_price(strike: float, forward: float) -> None:
    with pytest.raises(ValueError, match="is not a usable price"):
        VolSurface([VolQuote(0.5, 6e4, 6e4, 0.7)]).vols(0.5, np.array([strike]), np.array([forward]))


def test_a_call_and_a_put_count_with_their_mean() -> None:
    surface = VolSurface([VolQuote(0.5, 6e4, 6e4, 0.6), VolQuote(0.5, 6e4, 6e4, 0.8)])
    assert surface.vols(0.5, np.array([6e4]), np.array([6e4]))[0] == pytest.approx(0.7)


def test_a_limit_on_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "MAX_QUOTES", 2)
    with pytest.raises(ValueError, match="3 marks are more than 2"):
        VolSurface([VolQuote(0.5, 1.0, 1.0, 0.5)] * 3)
    made = priced(snapshot(BOOK, book_numbers({4: 0.0})))
    assert made.known.tolist() == [1] * 4 + [0] + [1] * 16 and "more than 2 of a surface" in made.refusals[4]
