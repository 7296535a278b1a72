"""What holds for every model, by hypothesis."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import models
from risk.models.result import total
from tests.risk.models import drawn
from tests.risk.models.portfolios import KINDS, portfolios

MODELS = sorted(KINDS)
# Margin is proportional to the portfolio where no charge depends on its size.
PROPORTIONAL = ("bybit_portfolio", "derive_portfolio", "derive_standard", "grid", "paradex_portfolio", "span", "vega")
# The part that is a worst case over scenarios, and so subadditive: add-ons stand beside it.
COHERENT = {
    "grid": "BTC scan",
    "bybit_portfolio": "BTC max loss",
    "derive_portfolio": "scenarios",
    "deribit_portfolio": "worst_case",
}


def margin(document: dict[str, Any]) -> models.MarginResult:
    return models.evaluate(document, with_liquidation=False)


def scaled(document: dict[str, Any], factor: float) -> dict[str, Any]:
    held = [position | {"qty": position["qty"] * factor} for position in document["positions"]]
    return document | {"positions": held, "cash": document["cash"] * factor}


def test_every_model_has_portfolios() -> None:
    assert set(KINDS) == set(models.MODELS)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_margin_is_the_sum_of_its_components_and_never_negative(model: str, data: st.DataObject) -> None:
    result = margin(data.draw(portfolios(model)))
    assert result.initial >= result.maintenance >= 0 or model == "derive_portfolio"
    assert result.initial >= 0 and result.maintenance >= 0
    assert total(result.components) == pytest.approx((result.initial, result.maintenance), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_equity_meets_maintenance_at_every_liquidation_price(model: str, data: st.DataObject) -> None:
    document = data.draw(portfolios(model, most=3))
    for found in models.evaluate(document).liquidation:
        assert found.is_jump or abs(found.gap) < 1e-9 * found.notional
        assert found.price > 0


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_order_of_positions_does_not_matter(model: str, data: st.DataObject, seed: int) -> None:
    document = data.draw(portfolios(model))
    shuffled = list(document["positions"])
    random.Random(seed).shuffle(shuffled)
    one, other = margin(document), margin(document | {"positions": shuffled})
    assert (other.initial, other.maintenance) == (one.initial, one.maintenance)
    assert other.equity == pytest.approx(one.equity, rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_two_halves_of_a_position_are_one(model: str, data: st.DataObject) -> None:
    document = data.draw(portfolios(model))
    halves = [position | {"qty": position["qty"] / 2} for position in document["positions"]]
    one, split = margin(document), margin(document | {"positions": halves * 2})
    assert (split.initial, split.maintenance) == pytest.approx((one.initial, one.maintenance), rel=1e-9, abs=1e-9)
    assert split.equity == pytest.approx(one.equity, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10, deadline=None)
@given(data=st.data(), factor=st.sampled_from((2.0, 5.0)))
def test_margin_grows_at_least_with_size(model: str, data: st.DataObject, factor: float) -> None:
    document = data.draw(portfolios(model))
    one, many = margin(document), margin(scaled(document, factor))
    assert many.equity == pytest.approx(factor * one.equity, rel=1e-9, abs=1e-9)
    if model in PROPORTIONAL:
        assert many.initial == pytest.approx(factor * one.initial, rel=1e-9, abs=1e-9)
    assert many.initial >= factor * one.initial * (1 - 1e-9)
    assert many.maintenance >= factor * one.maintenance * (1 - 1e-9)


@pytest.mark.parametrize("model", sorted(COHERENT))
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_hedge_never_raises_the_scenario_margin_beyond_its_own(model: str, data: st.DataObject) -> None:
    """Subadditive: together, two portfolios ask at most what they ask apart."""
    document = data.draw(portfolios(model))
    if model == "deribit_portfolio":
        # The dampener forgives each portfolio a fixed amount, which two that stand apart get twice.
        document |= {"parameters": {"extended_moves": []}}
    held = document["positions"]
    parts = [margin(document | {"positions": part}) for part in (held[:1], held[1:], held) if part]
    name = COHERENT[model]
    asked = [part.components[name] for part in parts if name in part.components]
    together, apart = asked[-1], asked[:-1]
    if len(held) > 1:
        assert together.initial <= sum(part.initial for part in apart) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10, deadline=None)
@given(data=st.data(), share=st.sampled_from((0.25, 0.5, 1.0)))
def test_reducing_the_only_position_never_raises_margin(model: str, data: st.DataObject, share: float) -> None:
    document = data.draw(portfolios(model, most=1))
    held = document["positions"][0]
    hedge = held | {"qty": -share * held["qty"]}
    before, after = margin(document), margin(document | {"positions": [held, hedge]})
    assert after.initial <= before.initial * (1 + 1e-9) + 1e-9
    assert after.maintenance <= before.maintenance * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("model", [m for m in MODELS if "perpetual" in KINDS[m][1]])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_linear_margin_is_the_same_bought_or_sold(model: str, data: st.DataObject) -> None:
    """Mirror: a delta-one linear position costs the same either way, except where a venue's risk factors differ."""
    document = data.draw(portfolios(model))
    held = next((p for p in document["positions"] if p["kind"] == "perpetual" and p.get("style") != "inverse"), None)
    if held is None or model == "vega":
        return
    bought, sold = (margin(document | {"positions": [held | {"qty": sign * abs(held["qty"])}]}) for sign in (1, -1))
    assert sold.initial == pytest.approx(bought.initial, rel=1e-9)
    assert sold.maintenance == pytest.approx(bought.maintenance, rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10, deadline=None)
@given(data=st.data(), side=st.sampled_from(("buy", "sell")), size=st.sampled_from((0.5, 1.0, 3.0)))
def test_a_working_order_never_lowers_the_initial_margin(
    model: str, data: st.DataObject, side: str, size: float
) -> None:
    document = data.draw(portfolios(model))
    held = document["positions"][0]
    order = {"instrument": held["instrument"], "side": side, "qty": size * abs(held["qty"]), "price": held["mark"]}
    without, working = margin(document), margin(document | {"orders": [order]})
    assert working.initial >= without.initial * (1 - 1e-12)
    # Vega alone counts orders in maintenance too: all its levels are multiples of one figure.
    assert working.maintenance == without.maintenance or model == "vega"


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_no_partial_fill_costs_more_than_was_reserved(model: str, data: st.DataObject) -> None:
    """Against brute force: whatever share of each working order fills, what is available stays above the bound."""
    document = data.draw(portfolios(model, most=3))
    orders, fills = [], []
    for held in document["positions"]:
        share = data.draw(st.sampled_from((0.0, 0.3, 0.7, 1.0)))
        size = abs(held["qty"]) * data.draw(st.sampled_from((0.5, 1.0, 3.0)))
        price = held["mark"] * data.draw(st.sampled_from((0.97, 1.0, 1.03)))
        side = data.draw(st.sampled_from(("buy", "sell")))
        orders.append({"instrument": held["instrument"], "side": side, "qty": size, "price": price})
        if share:
            fills.append(orders[-1] | {"qty": size * share})
    reserved = margin(document | {"orders": orders})
    filled = models.evaluate_orders(document, fills).after if fills else margin(document)
    scale = 1e-9 * (abs(reserved.equity) + reserved.initial)
    assert filled.available >= reserved.available - scale


@pytest.mark.parametrize("model", sorted(models.ENUMERATED))
@pytest.mark.parametrize("seed", range(3))
def test_where_fills_are_enumerated_orders_move_no_liquidation_price(model: str, seed: int) -> None:
    """So that its search need not price every subset of fills at every price."""
    document, orders = drawn.document(random.Random(f"{model} {seed}"), model)
    alone, working = models.evaluate(document), models.evaluate(document | {"orders": orders})
    assert (working.equity, working.maintenance) == pytest.approx((alone.equity, alone.maintenance), rel=1e-12)
    assert working.liquidation == alone.liquidation
