"""The models against risk/reference_margin.py: the same figures from loops that share no code with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import models, reference_margin
from risk.models import option_margin, tiers, vega
from risk.models.liquidation import Leg, bankruptcy_price, liquidation_price
from risk.models.parameters import _file
from risk.reference_margin import scaled_vol, unmoved
from tests.risk.models.portfolios import portfolios

ROWS = [[0.0, 0.004], [50_000.0, 0.005], [250_000.0, 0.01], [1_000_000.0, 0.025], [10_000_000.0, 0.05]]


def margin(document: dict[str, Any]) -> models.MarginResult:
    return models.evaluate(document, with_liquidation=False)


def grid_of(spots: list[float], up: float, down: float, least: float = 0.0) -> list[Any]:
    vols = (scaled_vol(-1, down, 0.3, 0.13), unmoved, scaled_vol(1, up, 0.3, 0.13, least))
    return [(spot, vol, 1.0) for spot in spots for vol in vols]


FIFTEEN = [-0.15, -0.12, -0.09, -0.06, -0.03, 0.0, 0.03, 0.06, 0.09, 0.12, 0.15]


@settings(max_examples=15, deadline=None)
@given(portfolios("bybit_portfolio"))
def test_bybit_max_loss(document: dict[str, Any]) -> None:
    expected = reference_margin.worst_loss(document, grid_of(FIFTEEN, 0.4, 0.3))
    assert margin(document).components["BTC max loss"].maintenance == pytest.approx(expected, rel=1e-9, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(portfolios("grid"))
def test_tims_and_dederi(document: dict[str, Any]) -> None:
    tims = document | {"parameter_set": "tims_equity"}
    expected = reference_margin.worst_loss(tims, [(spot, unmoved, 1.0) for spot in FIFTEEN if spot])
    assert margin(tims).components["BTC scan"].maintenance == pytest.approx(expected, rel=1e-9, abs=1e-6)
    other = document | {"parameter_set": "dederi"}
    expected = reference_margin.worst_loss(other, grid_of(FIFTEEN, 0.45, 0.25))
    assert margin(other).components["BTC scan"].maintenance == pytest.approx(expected, rel=1e-9, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(portfolios("okx_portfolio"))
def test_okx_mr1_and_mr6(document: dict[str, Any]) -> None:
    unit = margin(document).details["BTC"]
    spots = [-0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12]
    assert unit["mr1"] == pytest.approx(
        reference_margin.worst_loss(document, grid_of(spots, 0.5, 0.25)), rel=1e-9, abs=1e-6
    )
    extreme = [(spot, unmoved, 0.5) for spot in (-0.24, 0.24)]
    assert unit["mr6"] == pytest.approx(reference_margin.worst_loss(document, extreme), rel=1e-9, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(portfolios("paradex_portfolio"))
def test_paradex_scan(document: dict[str, Any]) -> None:
    vols = {"up": scaled_vol(1, 0.4, 0.3, 0.13), "down": scaled_vol(-1, 0.22, 0.3, 0.13)}
    rows = _file("paradex_portfolio")["btc"]["scenarios"]
    scan = reference_margin.worst_loss(document, [(spot, vols[vol], weight) for spot, vol, weight in rows])
    result = margin(document)
    worst = max(0.0, -min(rung.pnl for rung in result.ladder))
    assert worst == pytest.approx(scan, rel=1e-9, abs=1e-6)
    assert result.components["BTC scan"].initial >= worst * (1 - 1e-12)


@settings(max_examples=15, deadline=None)
@given(portfolios("deribit_portfolio"))
def test_deribit_worst_case_of_the_standard_table(document: dict[str, Any]) -> None:
    document |= {"parameters": {"extended_moves": []}}
    spots = [0.16 * k / 4 for k in range(-4, 5)]
    expected = reference_margin.worst_loss(document, grid_of(spots, 0.5, 0.25, 0.5))
    assert margin(document).components["worst_case"].initial == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(portfolios("derive_portfolio"))
def test_derive_net_margin(document: dict[str, Any]) -> None:
    expected = reference_margin.derive_portfolio(document, _file("derive_portfolio")["pmrm2_2025"])
    details = margin(document).details
    assert (details["im_net"], details["mm_net"]) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(st.booleans(), st.floats(100, 1e5), st.floats(0.3, 3.0), st.floats(0.0, 0.5))
def test_deribit_short_option(is_call: bool, spot: float, moneyness: float, mark: float) -> None:
    rule = option_margin.option_rule()[0]
    ours = option_margin.short_margin(rule, is_call, spot, spot * moneyness, spot * mark)
    expected = reference_margin.short_option(is_call, spot, spot * moneyness, spot * mark)
    assert ours == pytest.approx(expected, rel=1e-12)


@given(st.floats(0, 1e9))
def test_tiers_are_slices(notional: float) -> None:
    table = tiers.TierTable(ROWS)
    assert table.maintenance(notional) == pytest.approx(reference_margin.tier_margin(ROWS, notional), rel=1e-9)


@given(
    qty=st.floats(0.01, 500), sign=st.sampled_from((-1.0, 1.0)), entry=st.floats(10, 1e5), cover=st.floats(0.06, 0.8)
)
def test_linear_liquidation_price_is_where_the_slices_say(qty: float, sign: float, entry: float, cover: float) -> None:
    wallet = cover * qty * entry
    price = liquidation_price([Leg(qty=sign * qty, entry=entry, tiers=tiers.TierTable(ROWS))], wallet)

    def excess(at: float) -> float:
        return wallet + sign * qty * (at - entry) - reference_margin.tier_margin(ROWS, qty * at)

    expected = reference_margin.root(excess, *((1e-9, entry) if sign > 0 else (entry, 100 * entry)))
    assert expected is not None and price == pytest.approx(expected, rel=1e-9)


@given(qty=st.floats(100, 1e6), sign=st.sampled_from((-1.0, 1.0)), entry=st.floats(10, 1e5), cover=st.floats(0.06, 0.8))
def test_inverse_liquidation_price_is_where_the_slices_say(qty: float, sign: float, entry: float, cover: float) -> None:
    rows = [[0.0, 0.004], [5.0, 0.01], [50.0, 0.05]]
    wallet = cover * qty / entry
    leg = Leg(qty=sign * qty, entry=entry, tiers=tiers.TierTable(rows), is_inverse=True)

    def excess(at: float) -> float:
        return wallet + sign * qty * (1 / entry - 1 / at) - reference_margin.tier_margin(rows, qty / at)

    price = liquidation_price([leg], wallet)
    expected = reference_margin.root(excess, *((entry / 100, entry) if sign > 0 else (entry, 1e3 * entry)))
    if expected is not None:
        assert price == pytest.approx(expected, rel=1e-9)
    bankrupt = bankruptcy_price([leg], wallet)
    assert bankrupt is None or wallet + sign * qty * (1 / entry - 1 / bankrupt) == pytest.approx(0, abs=1e-9 * qty)


@pytest.mark.parametrize(("risk_aversion", "tau", "sigma"), [(0.01, 0.1, 1.0), (0.001, 0.02, 0.6), (0.05, 1.0, 0.5)])
def test_expected_shortfall_is_the_mean_of_the_tail(risk_aversion: float, tau: float, sigma: float) -> None:
    expected = reference_margin.expected_shortfall(risk_aversion, tau, sigma)
    assert vega.risk_factors(risk_aversion, tau, sigma) == pytest.approx(expected, abs=1e-4)
