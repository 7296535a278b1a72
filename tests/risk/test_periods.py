"""Margin periods by product and venue: which row counts, that none is undercut, and how scenarios follow them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.constraints import Part
from risk.joint import JointScenarios
from risk.periods import PRODUCTS, PeriodRow, Periods, row_of, stretched, why_no_periods
from risk.profile_books import asked_by, widened
from risk.scenarios import Generation, GenerationBuilder, build_generation
from tests import strategies as world
from tests.strategies import CURRENCIES, GRID, INDEX_PRICES, INSTRUMENTS, INVERSE, LINEAR

MARKS = {
    i.index: world.InstrumentMark(
        mark_price=world.MARK_PRICES[i.index],
        forward_price=INDEX_PRICES[i.underlying],
        index_price=INDEX_PRICES[i.underlying],
        mark_iv=world.IMPLIED_VOL if i.is_option else 0.0,
        years_to_expiry=world.YEARS if i.expiry_ns else 0.0,
    )
    for i in INSTRUMENTS
}
DAYS = {"crash": {"BTC": -0.2, "ETH": -0.3}, "rise": {"BTC": 0.1, "ETH": 0.05}}
TABLE = Periods(1.0, [row_of("option=2"), row_of("@okx=3"), row_of("option@okx=1.5"), row_of("future@deribit=4")])


def generation(joint: JointScenarios | None = None, **changes: Any) -> Generation:
    given: dict[str, Any] = {"number": 1, "as_of_ns": 0, "grid": GRID, "instruments": INSTRUMENTS, "marks": MARKS}
    given |= {"currencies": CURRENCIES, "index_prices": INDEX_PRICES, "joint": joint}
    builder = GenerationBuilder(**(given | changes))
    while not builder.price_some(32):
        pass
    return builder.generation()


def everywhere(days: float) -> Periods:
    return Periods(1.0, [PeriodRow(days, product) for product in PRODUCTS])


@pytest.mark.parametrize(
    ("product", "venue", "days"),
    [
        ("perpetual", "deribit", 1.0), ("option", "deribit", 2.0), ("future", "deribit", 4.0),
        ("perpetual", "okx", 3.0), ("option", "okx", 1.5), ("future", "okx", 3.0), ("option", "", 2.0),
    ],
)  # fmt: skip
def test_the_row_of_both_counts_else_the_longer_else_the_default(product: str, venue: str, days: float) -> None:
    assert TABLE.of(product, venue) == days
    assert TABLE.at_least(2.5).of(product, venue) == max(days, 2.5)
    assert TABLE.lengths == (1.0, 1.5, 2.0, 3.0, 4.0) and TABLE.at_least(2.0).lengths == (2.0, 3.0, 4.0)


rows = st.builds(
    PeriodRow, st.sampled_from((0.5, 1.0, 2.0, 5.0)), st.sampled_from(("", *PRODUCTS)), st.sampled_from(("", "a", "b"))
)
tables = st.builds(
    lambda days, found: Periods(days, {(r.product, r.venue): r for r in found if r.product or r.venue}.values()),
    st.sampled_from((0.5, 1.0, 2.0)),
    st.lists(rows, max_size=8),
)


@given(tables, tables)
def test_raised_to_another_nothing_is_below_either(one: Periods, other: Periods) -> None:
    both = one.raised_to(other)
    for product in PRODUCTS:
        for venue in ("a", "b", "elsewhere"):
            assert both.of(product, venue) == max(one.of(product, venue), other.of(product, venue))
    assert both.shorter_than(one) == both.shorter_than(other) == ""
    short = any(one.of(p, v) < other.of(p, v) for p in PRODUCTS for v in ("a", "b", "elsewhere"))
    assert bool(one.shorter_than(other)) or not short


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("option", "is no margin period"), ("swap=2", "no product"), ("=2", "the default"),
        ("option=x", "is no margin"),
        ("option=0", "an hour"), ("option=31", "an hour"), ("option=nan", "an hour"), ("", "is no margin"),
    ],
)  # fmt: skip
def test_what_is_no_period_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        row_of(text)


def test_rows_are_written_as_they_are_read() -> None:
    for text in ("option=2", "@deribit=1.5", "future@okx=3"):
        assert str(row_of(text)) == text
    assert "two margin periods" in why_no_periods([row_of("option=2"), row_of("option=3")])
    assert "at most" in why_no_periods([PeriodRow(1.0, "", f"v{at}") for at in range(501)])
    with pytest.raises(ValueError, match="two margin periods"):
        Periods(1.0, [row_of("@okx=2"), row_of("@okx=3")])


@given(st.lists(st.floats(-0.999, 10.0), min_size=1, max_size=5), st.floats(0.1, 6.0), st.floats(0.0, 3.0))
def test_a_longer_period_stretches_no_move_less(moves: list[float], root: float, more: float) -> None:
    given = np.array(moves)
    one, other = stretched(given, root), stretched(given, root + more)
    assert (np.abs(other) >= np.abs(one) - 1e-12).all() and (one > -1).all() and (one <= 10).all()
    assert (one * given >= 0).all() and stretched(given, 1.0) is given


def test_periods_of_four_days_are_a_grid_and_days_twice_as_wide() -> None:
    joint = JointScenarios(days=DAYS, periods=everywhere(4.0))
    found = generation(joint, periods=everywhere(4.0))
    doubled = {day: {coin: 2 * move for coin, move in moves.items()} for day, moves in DAYS.items()}
    wide = generation(JointScenarios(days=doubled), grid=widened(GRID, 2.0))
    for one, other in zip(found.arrays(), wide.arrays(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_without_rows_nothing_changes_and_with_some_only_what_they_name() -> None:
    plain = generation(JointScenarios(days=DAYS))
    same = generation(JointScenarios(days=DAYS, periods=Periods(1.0)), periods=Periods(1.0))
    for one, other in zip(plain.arrays(), same.arrays(), strict=True):
        np.testing.assert_array_equal(one, other)
    table = Periods(1.0, [row_of("perpetual=4")])
    longer = generation(JointScenarios(days=DAYS, periods=table), periods=table)
    for instrument in INSTRUMENTS:
        at = instrument.index
        is_same = np.array_equal(plain.values[at], longer.values[at])
        is_same &= np.array_equal(plain.joint_values[at], longer.joint_values[at])
        assert is_same == (instrument.kind is not world.Kind.PERPETUAL or at == INVERSE)
    # An inverse contract is worth the same in dollars; what moves is the coin that its fills are held in.
    btc, eth = CURRENCIES.index("BTC"), CURRENCIES.index("ETH")
    assert longer.currency_values[btc].min() < plain.currency_values[btc].min()
    np.testing.assert_array_equal(longer.currency_values[eth], plain.currency_values[eth])


def test_a_point_moves_by_its_own_days_and_its_first_day_is_shared() -> None:
    """A perpetual of one day against an option of two: the point's own two days, not a day by the root of time."""
    points = {"crash": {1.0: DAYS["crash"], 2.0: {"BTC": -0.31, "ETH": -0.28}}}
    table = Periods(1.0, [row_of("future=2"), row_of("option=3")])
    joint = JointScenarios(days=DAYS, periods=Periods(1.0), points=points, point_periods=table)
    at = joint.names.index("crash vol +0"), joint.names.index("rise vol +0")
    moves = {i.kind: joint.moves(i)[0] for i in INSTRUMENTS if i.underlying == "BTC"}
    assert moves[world.Kind.PERPETUAL][at[0]] == -0.2 and moves[world.Kind.FUTURE][at[0]] == -0.31
    assert moves[world.Kind.OPTION][at[0]] == pytest.approx(-0.2 * 3**0.5)  # no moves over three days: by the root
    assert {row[at[1]] for row in moves.values()} == {0.1}  # a configured day: by the house's own periods


def test_a_profile_is_a_floor_for_all_of_it() -> None:
    table = Periods(1.0, [row_of("future=9"), row_of("option=4")])
    joint = JointScenarios(days=DAYS, periods=table)
    setting = {"grid": GRID, "joint": joint, "periods": table, "coins": None, "least_delta": 0.0}
    # A part of five days: the grid is widened to five, so only what is longer is stretched beyond that.
    asked = asked_by(Part(5**0.5, 1.0, True, 5.0), setting, GRID)
    assert asked["joint"] is joint.at_least(5.0)  # made once
    moves = {i.kind: asked["joint"].moves(i)[0].min() for i in INSTRUMENTS if i.underlying == "BTC"}
    assert moves[world.Kind.PERPETUAL] == moves[world.Kind.OPTION] == pytest.approx(-0.2 * 5**0.5)
    assert moves[world.Kind.FUTURE] == pytest.approx(-0.6)
    found = generation(**asked)
    lot = INSTRUMENTS[LINEAR].lot_amount * INDEX_PRICES["BTC"]
    low = found.values[LINEAR].min()
    assert low == pytest.approx(lot * (1 - 0.16 * 5**0.5))
    floored, plain = generation(**asked), generation(**setting)
    base = GRID.base
    for i in INSTRUMENTS:
        for one, other, today in (
            (floored.values[i.index], plain.values[i.index], plain.values[i.index, base]),
            (floored.joint_values[i.index], plain.joint_values[i.index], plain.values[i.index, base]),
        ):
            assert np.abs(one - today).max() >= np.abs(other - today).max() - 1e-9


def test_build_generation_is_the_builder() -> None:
    made = build_generation(
        number=1, as_of_ns=0, grid=GRID, instruments=INSTRUMENTS, marks=MARKS, currencies=CURRENCIES,
        index_prices=INDEX_PRICES,
    )  # fmt: skip
    for one, other in zip(made.arrays(), generation(periods=Periods(2.0)).arrays(), strict=True):
        np.testing.assert_array_equal(one, other)
