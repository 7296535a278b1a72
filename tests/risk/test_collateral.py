"""Collateral: eligibility, haircuts by size and by the peg, debts that no haircut makes smaller."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import collateral, reference_house
from risk.collateral import AssetRule, CollateralRules, Counted, Holding
from risk.models import MarginError

COIN = AssetRule(kind="coin", tiers=((0.0, 0.1), (1000.0, 0.3), (5000.0, 1.0)))
STABLE = AssetRule(kind="stable", tiers=((0.0, 0.0), (10_000.0, 0.02)), peg=((0.99, 0.05), (0.95, 0.2), (0.8, 1.0)))
RULES = CollateralRules(assets={"USD": AssetRule(kind="cash"), "BTC": COIN, "USDT": STABLE})

assets = st.sampled_from(("USD", "BTC", "USDT", "DOGE"))
amounts = st.floats(-1e6, 1e6, allow_nan=False)
prices = {"USD": 1.0, "BTC": 50.0, "USDT": 0.97, "DOGE": 0.1}
venues = st.sampled_from(("", "okx", "deribit"))
holdings = st.lists(
    st.tuples(assets, amounts, venues).map(lambda row: Holding(row[0], row[1], prices[row[0]], row[2])), max_size=8
)


def alone(asset: str, qty: float, price: float) -> Counted:
    return collateral.count([Holding(asset, qty, price)], RULES)[0]


@pytest.mark.parametrize(
    ("asset", "qty", "price", "counted"),
    [
        ("USD", 100.0, 1.0, 100.0),
        ("USD", -100.0, 1.0, -100.0),
        ("BTC", 10.0, 50.0, 450.0),
        ("BTC", 40.0, 50.0, 900.0 + 700.0),
        ("BTC", 200.0, 50.0, 900.0 + 2800.0),  # beyond 5 000 USD nothing counts
        ("BTC", -10.0, 50.0, -500.0),
        ("USDT", 100.0, 1.0, 100.0),
        ("USDT", 100.0, 0.99, 99.0),
        ("USDT", 100.0, 0.98, 98.0 * 0.95),
        ("USDT", 100.0, 0.9, 90.0 * 0.8),
        ("USDT", 100.0, 0.79, 0.0),
        ("USDT", -100.0, 0.79, -79.0),
        ("USDT", 20_000.0, 1.0, 10_000.0 + 9_800.0),
        ("DOGE", 100.0, 0.1, 0.0),
        ("DOGE", -100.0, 0.1, -10.0),
    ],
)
def test_table(asset: str, qty: float, price: float, counted: float) -> None:
    row = alone(asset, qty, price)
    assert row.counted == pytest.approx(counted)
    assert row.haircut == pytest.approx(1 - counted / (qty * price))


def test_tiers_are_filled_by_all_venues_together() -> None:
    rows = collateral.count([Holding("BTC", 20.0, 50.0, "okx"), Holding("BTC", 20.0, 50.0, "deribit")], RULES)
    assert [row.counted for row in rows] == pytest.approx([800.0, 800.0])
    assert collateral.total(rows) == pytest.approx(1600.0)


def test_a_debt_elsewhere_is_not_set_against_what_is_held() -> None:
    rows = collateral.count([Holding("BTC", 10.0, 50.0, "okx"), Holding("BTC", -10.0, 50.0, "deribit")], RULES)
    assert collateral.total(rows) == pytest.approx(450.0 - 500.0)
    same = collateral.count([Holding("BTC", 10.0, 50.0, "okx"), Holding("BTC", -10.0, 50.0, "okx")], RULES)
    assert collateral.total(same) == 0.0 and same[0].haircut == 0.0


@pytest.mark.parametrize(
    ("qty", "price", "reason"),
    [
        (1.0, None, "missing_price"),
        (-1.0, None, "missing_price"),
        (0.0, None, "missing_price"),
        (1.0, math.nan, "not_a_number"),
        (1.0, math.inf, "not_a_number"),
        (math.nan, 1.0, "not_a_number"),
        (1.0, 0.0, "bad_mark"),
        (1.0, -1.0, "bad_mark"),
    ],
)
@pytest.mark.parametrize("asset", ["USD", "BTC", "USDT", "DOGE"])
def test_what_has_no_price_is_refused(asset: str, qty: float, price: float | None, reason: str) -> None:
    with pytest.raises(MarginError) as refused:
        collateral.count([Holding(asset, qty, price)], RULES)
    assert refused.value.reason == reason and asset in refused.value.text


def test_two_prices_of_one_asset_at_a_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MarginError, match="two prices"):
        collateral.count([Holding("BTC", 1.0, 50.0), Holding("BTC", 1.0, 51.0)], RULES)
    monkeypatch.setattr(collateral, "MAX_HOLDINGS", 1)
    with pytest.raises(MarginError, match="too_many_holdings"):
        collateral.count([Holding("BTC", 1.0, 50.0), Holding("USD", 1.0, 1.0)], RULES)


@pytest.mark.parametrize(
    "fields",
    [
        {"tiers": ()},
        {"tiers": ((1.0, 0.0),)},
        {"tiers": ((0.0, 0.2), (10.0, 0.1))},
        {"tiers": ((0.0, 0.2), (0.0, 0.3))},
        {"tiers": ((0.0, -0.1),)},
        {"tiers": ((0.0, 1.1),)},
        {"peg": ((0.9, 0.1), (0.95, 0.2))},
        {"peg": ((0.95, 0.2), (0.9, 0.1))},
        {"peg": ((0.95, 1.2),)},
        {"kind": "coin", "peg": ((0.95, 0.2),)},
    ],
)
def test_rules_that_contradict_themselves(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tiers rise"):
        AssetRule(**({"kind": "stable"} | fields))


def test_the_set_of_the_house() -> None:
    by, where = collateral.rules()
    assert where.source and where.as_of and where.certainty == "H"
    assert by.is_stable("USDT") and not by.is_stable("BTC") and not by.is_stable("DOGE")
    narrowed, _ = collateral.rules(None, {"eligible": ["USD"], "assets": {"USD": {"tiers": [[0, 0.5]]}}})
    assert collateral.total(collateral.count([Holding("BTC", 1.0, 50.0), Holding("USD", 2.0, 1.0)], narrowed)) == 1.0
    with pytest.raises(MarginError, match="bad_parameter"):
        collateral.rules(None, {"assets": {"USD": {"tiers": [[1, 0.5]]}}})


@given(holdings, st.integers(0, 100))
def test_never_more_than_its_value_and_in_any_order(given_: list[Holding], seed: int) -> None:
    rows = collateral.count(given_, RULES)
    shuffled = list(given_)
    random.Random(seed).shuffle(shuffled)
    assert collateral.count(shuffled, RULES) == rows
    for row in rows:
        assert row.counted <= row.value and (row.counted >= 0 if row.value >= 0 else row.counted == row.value)


@given(st.floats(0.01, 1e6), st.floats(0.1, 1.5), st.floats(0.1, 1.5))
def test_a_lower_peg_never_counts_for_more(qty: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert alone("USDT", qty, low).counted <= alone("USDT", qty, high).counted * (1 + 1e-12)
    assert alone("USDT", qty, low).haircut >= 0 and STABLE.peg_haircut(low) >= STABLE.peg_haircut(high)


@given(holdings, assets, st.floats(0, 1e6))
def test_more_of_an_asset_never_counts_for_less(given_: list[Holding], asset: str, more: float) -> None:
    before = collateral.total(collateral.count(given_, RULES))
    after = collateral.total(collateral.count([*given_, Holding(asset, more, prices[asset])], RULES))
    assert after >= before - 1e-6


@given(holdings)
def test_narrowing_what_is_eligible_never_adds(given_: list[Holding]) -> None:
    narrow = CollateralRules(assets=RULES.assets, eligible=("USD", "USDT"))
    wide = collateral.total(collateral.count(given_, RULES))
    assert collateral.total(collateral.count(given_, narrow)) <= wide + 1e-6


@given(st.sampled_from(("USD", "BTC", "USDT")), st.floats(0.001, 1e6), st.floats(0.5, 1.2))
def test_against_the_slow_twin(asset: str, qty: float, price: float) -> None:
    rule = RULES.assets[asset]
    slow = reference_house.counted(qty * price, price, {"tiers": rule.tiers, "peg": rule.peg})
    assert alone(asset, qty, price).counted == pytest.approx(slow, rel=1e-9, abs=1e-9)
