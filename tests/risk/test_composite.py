"""The composite of several sources: against a slow reference, by properties, and by what the board does with it."""

from __future__ import annotations

from statistics import median as reference_median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.composite import IndexBoard, Quote, composite, median

AGE, FAR = 2_000, 0.05
prices = st.floats(1.0, 1e6)


def quotes(*values: float, age_ns: int = 0) -> list[Quote]:
    return [Quote(f"v{number}", value, 10_000 - age_ns) for number, value in enumerate(values)]


def found(*values: float) -> tuple[float | None, int, int]:
    one = composite(quotes(*values), 10_000, AGE, FAR)
    return one.price, len(one.used), len(one.outliers)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((), (None, 0, 0)),
        ((100.0,), (100.0, 1, 0)),
        ((100.0, 104.0), (102.0, 2, 0)),
        ((100.0, 106.0), (None, 0, 2)),  # each within the limit of their mean, and not of each other
        ((100.0, 130.0), (None, 0, 2)),
        ((100.0, 101.0, 130.0), (100.5, 2, 1)),
        ((100.0, 101.0, 70.0), (100.5, 2, 1)),
        ((100.0, 120.0, 140.0), (None, 0, 3)),
        ((100.0, 101.0, 99.0, 130.0), (100.0, 3, 1)),
        ((100.0, 100.0, 130.0, 130.0), (None, 0, 4)),
        ((0.0, float("nan"), float("inf"), -1.0, 100.0), (100.0, 1, 0)),
    ],
)
def test_cases(values: tuple[float, ...], wanted: tuple[float | None, int, int]) -> None:
    price, used, outliers = found(*values)
    assert (used, outliers) == wanted[1:]
    assert price == (None if wanted[0] is None else pytest.approx(wanted[0]))


def test_what_is_too_old_counts_for_nothing() -> None:
    fresh, old = quotes(100.0, 101.0, 102.0), quotes(150.0, age_ns=AGE + 1)
    one = composite([*fresh, Quote("old", old[0].price, old[0].time_ns)], 10_000, AGE, FAR)
    assert one.price == 101.0 and one.stale == ("old",)
    assert composite(quotes(100.0, age_ns=AGE), 10_000, AGE, FAR).price == 100.0
    assert composite(quotes(100.0, age_ns=AGE + 1), 10_000, AGE, FAR).price is None


@given(st.lists(prices, min_size=1, max_size=9))
def test_the_median_is_the_median(values: list[float]) -> None:
    assert median(values) == pytest.approx(reference_median(values))


@given(st.lists(prices, min_size=0, max_size=7), st.randoms())
def test_the_order_of_sources_does_not_matter_and_none_is_lost(values: list[float], random: object) -> None:
    told = quotes(*values)
    mixed = told[:]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    first, second = composite(told, 10_000, AGE, FAR), composite(mixed, 10_000, AGE, FAR)
    assert first.price == second.price and set(first.used) == set(second.used)
    assert len(first.used) + len(first.outliers) + len(first.stale) == len(values)
    assert (first.price is None) is (not first.used)


@given(st.floats(100.0, 104.0), st.floats(100.0, 104.0), prices)
def test_no_third_source_moves_the_price_past_the_other_two(one: float, other: float, third: float) -> None:
    price = composite(quotes(one, other, third), 10_000, AGE, FAR).price
    assert price is not None
    assert min(one, other) <= price <= max(one, other)


@given(st.lists(st.floats(99.0, 101.0), min_size=3, max_size=7), st.floats(0.5, 2.0))
def test_prices_scale(values: list[float], factor: float) -> None:
    plain = composite(quotes(*values), 10_000, AGE, FAR).price
    scaled = composite(quotes(*[factor * value for value in values]), 10_000, AGE, FAR).price
    assert plain is not None and scaled == pytest.approx(factor * plain)


# -- the board -------------------------------------------------------------------------------------------------------


def board(*values: float) -> IndexBoard:
    made = IndexBoard(AGE, FAR, 0.25)
    for quote in quotes(*values):
        made.observe("BTC", quote.source, quote.price, quote.time_ns)
    return made


def test_a_source_that_is_off_is_doubted_until_it_comes_back() -> None:
    made = board(100.0, 100.0, 130.0)
    assert "v2 has BTC at 130" in made.doubts(7, "BTC", "v2", 130.0, 130.0, 10_000)
    assert made.is_doubted(7, 10_000 + AGE) and not made.is_doubted(7, 10_001 + AGE) and not made.is_doubted(8, 10_000)
    made.observe("BTC", "v2", 101.0, 10_000)
    assert made.doubts(7, "BTC", "v2", 101.0, 101.0, 10_000) == "" and not made.is_doubted(7, 10_000)


@pytest.mark.parametrize(
    ("mark", "is_doubted"), [(100.0, False), (124.0, False), (126.0, True), (74.0, True), (None, False)]
)
def test_a_mark_far_from_the_index_is_doubted(mark: float | None, is_doubted: bool) -> None:
    assert bool(board(100.0, 100.0, 100.0).doubts(0, "BTC", "v0", mark, 100.0, 10_000)) is is_doubted


@pytest.mark.parametrize("values", [(), (130.0,), (100.0, 130.0)])
def test_too_few_outvote_nobody(values: tuple[float, ...]) -> None:
    assert board(*values).doubts(0, "BTC", "v1", 500.0, 130.0, 10_000) == ""


def test_what_all_contradict_doubts_nobody_and_has_no_price() -> None:
    made = board(100.0, 120.0, 140.0)
    assert made.doubts(0, "BTC", "v0", 100.0, 100.0, 10_000) == ""
    assert made.composite("BTC", 10_000).price is None and made.coins() == ["BTC"]
    assert made.composite("ETH", 10_000).price is None


def test_old_sources_outvote_nobody() -> None:
    assert board(100.0, 100.0, 130.0).doubts(0, "BTC", "v2", 130.0, 130.0, 10_001 + AGE) == ""
