"""Tiered accounts: cross and isolated, one-way and hedge mode, linear and inverse, growth with open interest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import models
from risk.models import adl
from risk.models.liquidation import Leg, bankruptcy_price, liquidation_price
from risk.models.tiers import TierTable, open_interest_fraction, rounded_up

ROWS = [[0.0, 0.004], [50_000.0, 0.005], [250_000.0, 0.01]]


def position(**fields: Any) -> dict[str, Any]:
    plain = {"instrument": "P", "kind": "perpetual", "underlying": "BTC", "qty": 1.0, "mark": 100.0, "entry": 100.0}
    return plain | {"settlement": "USDT"} | fields


def account(*positions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    tiers = {"P": [[0, 0.01]], "Q": [[0, 0.02]]}
    plain: dict[str, Any] = {"model": "tiered", "currency": "USDT", "cash": 50.0, "positions": list(positions)}
    return plain | {"parameters": {"tiers": tiers}} | fields


def test_deductions_keep_the_margin_continuous() -> None:
    table = TierTable(ROWS)
    assert [tier.deduction for tier in table.tiers] == pytest.approx([0, 50, 1300])
    for floor, _ in ROWS[1:]:
        assert table.maintenance(floor * (1 + 1e-12)) == pytest.approx(table.maintenance(floor), rel=1e-9)


def test_other_positions_stand_still() -> None:
    """Cross: what others lose and maintain is taken off before the price is solved."""
    other = position(instrument="Q", underlying="ETH", qty=-2.0, mark=11.0, entry=10.0)
    result = models.evaluate(account(position(qty=1.0), other))
    found = {price.underlying: price for price in result.liquidation}
    # 50 - 2 (loss of Q) - 0.44 (its margin) + (p - 100) = 0.01 p
    assert found["P"].price == pytest.approx((100 - 50 + 2 + 0.44) / 0.99)
    assert found["P"].bankruptcy == pytest.approx(100 - 50 + 2)


def test_isolated_stands_alone() -> None:
    alone = position(margin_mode="isolated", isolated_margin=20.0)
    result = models.evaluate(account(alone, position(instrument="Q", underlying="ETH")))
    assert set(result.components) == {"Q"}
    assert result.details["isolated"]["P"] == {
        "wallet": 20.0,
        "equity": 20.0,
        "initial": 1.0,
        "maintenance": 1.0,
        "orders": 0.0,
    }
    found = {price.underlying: price.price for price in result.liquidation}
    assert found["P"] == pytest.approx(80 / 0.99)


def test_isolated_margin_follows_from_leverage_or_is_asked_for() -> None:
    levered = position(margin_mode="isolated", leverage=5.0, accrued=-1.0)
    assert models.evaluate(account(levered)).details["isolated"]["P"]["wallet"] == pytest.approx(19.0)
    with pytest.raises(models.MarginError, match="isolated, no margin"):
        models.evaluate(account(position(margin_mode="isolated")))


def test_hedge_mode_margins_both_legs() -> None:
    legs = position(qty=3.0, leg="long"), position(qty=-1.0, leg="short")
    hedged = models.evaluate(account(*legs))
    assert hedged.maintenance == pytest.approx(4.0)
    # 50 + 2 (p - 100) = 0.01 * 4 p
    assert hedged.liquidation[0].price == pytest.approx(150 / 1.96)
    assert models.evaluate(account(position(qty=2.0))).maintenance == pytest.approx(2.0)


def test_the_tier_is_that_of_the_liquidation_price() -> None:
    """A short grows as the price rises: its margin is the tier's of then, not of today."""
    table = TierTable([[0.0, 0.01], [150.0, 0.2]])
    leg = Leg(qty=-1.0, entry=100.0, tiers=table)
    price = liquidation_price([leg], 100.0)
    assert price is not None and price > 150
    assert 100 - (price - 100) == pytest.approx(price * 0.2 - 150 * 0.19)


@given(st.floats(0.05, 0.9), st.floats(10, 1e5), st.sampled_from(("mark", "entry")))
def test_mirror_of_linear_bankruptcy(cover: float, entry: float, basis: Any) -> None:
    long, short = (Leg(qty=q, entry=entry, tiers=TierTable.single(0.01), basis=basis) for q in (1.0, -1.0))
    below, above = (bankruptcy_price([leg], cover * entry) for leg in (long, short))
    assert below is not None and above is not None
    assert above - entry == pytest.approx(entry - below, rel=1e-9)
    if basis == "entry":
        low, high = (liquidation_price([leg], cover * entry) for leg in (long, short))
        assert low is not None and high is not None
        assert high - entry == pytest.approx(entry - low, rel=1e-9)


def test_a_fully_funded_position_is_never_liquidated() -> None:
    assert liquidation_price([Leg(qty=1.0, entry=100.0, tiers=TierTable.single(0.01))], 200.0) is None
    assert bankruptcy_price([Leg(qty=1.0, entry=100.0, tiers=TierTable.single(0.01))], 200.0) is None
    flat = [Leg(qty=q, entry=100.0, tiers=TierTable.single(0.0)) for q in (1.0, -1.0)]
    assert bankruptcy_price(flat, 1.0) is None and liquidation_price(flat, 1.0) is None


def test_linear_and_inverse_do_not_mix() -> None:
    legs = [Leg(qty=1.0, entry=1.0, tiers=TierTable.single(0.1), is_inverse=flag) for flag in (True, False)]
    with pytest.raises(models.MarginError, match="no common price"):
        liquidation_price(legs, 1.0)


def test_an_inverse_position_in_a_dollar_account_is_searched_for() -> None:
    held = position(style="inverse", settlement="BTC", qty=-100.0, leverage=10.0)
    result = models.evaluate(account(held, underlyings={"BTC": {"spot": 100.0}}))
    assert result.liquidation and abs(result.liquidation[0].gap) < 1e-9 * result.liquidation[0].notional


def test_orders_reserve_the_worse_side() -> None:
    order = {"instrument": "P", "price": 90.0}
    held = position(qty=2.0, leverage=10.0)
    buy, sell = order | {"side": "buy", "qty": 1.0}, order | {"side": "sell", "qty": 5.0}
    assert models.evaluate(account(held, orders=[buy])).components["P orders"].initial == pytest.approx(10.0)
    assert models.evaluate(account(held, orders=[sell])).components["P orders"].initial == pytest.approx(10.0)
    closing = models.evaluate(account(held, orders=[sell | {"qty": 3.0}]))
    assert "P orders" not in closing.components


def test_an_order_in_something_new_brings_its_contract() -> None:
    contract = position(instrument="Q", leverage=10.0)
    order = {"instrument": "Q", "side": "buy", "qty": 1.0, "price": 100.0, "contract": contract}
    assert models.evaluate(account(orders=[order])).components["Q orders"].initial == pytest.approx(10.0)


@pytest.mark.parametrize(("oi", "expected"), [(0, 0.2), (25, 0.2), (60, 1.0), (90, 1.0), (42.5, 0.6)])
def test_open_interest_scales_the_fraction(oi: float, expected: float) -> None:
    fraction = open_interest_fraction(200_000, 25_000, 60_000, int(oi * 1_000))
    assert float(fraction) == pytest.approx(expected)
    assert rounded_up(fraction * 10 + 1) >= float(fraction * 10 + 1)


def test_dydx_rounds_up_to_quanta_and_scales_initial_alone() -> None:
    parameters = {"tiers": {"P": [[0, 100_000]]}, "open_interest": {"P": [10, 20, 15]}}
    held = position(qty=0.333333333)
    result = models.evaluate(account(held, cash=20.0, parameter_set="dydx", parameters=parameters))
    assert result.initial == pytest.approx(33.3333333 * 0.55, abs=2e-6)
    assert result.maintenance == pytest.approx(33.3333333 * 0.05, abs=2e-6)
    assert result.initial * 1e6 == pytest.approx(round(result.initial * 1e6), abs=1e-3)
    # A requirement of whole quanta has steps: the price found is exact to one of them.
    assert [abs(found.gap) <= 1e-6 for found in result.liquidation] == [True]


def test_leverage_tiers_ask_half_for_keeping() -> None:
    table = TierTable.of_leverage([[0, 40], [150e6, 20]])
    assert table.maintenance(200e6) == pytest.approx(3_125_000)
    assert table.initial(1e6, 100.0) == pytest.approx(25_000)


def test_options_have_no_tiers() -> None:
    option = position(kind="option", strike=1.0, option_type="call", expiry_s=1.0)
    with pytest.raises(models.MarginError, match="tiers are for futures"):
        models.evaluate(account(option))


@pytest.mark.parametrize(
    ("qty", "mark", "bankruptcy", "expected"),
    [(1, 120, 80, (0.2, 3.0, 0.6)), (-1, 80, 120, (0.2, 2.0, 0.4)), (1, 80, 60, (-0.2, 4.0, -0.05))],
)
def test_deleveraging_rank(qty: float, mark: float, bankruptcy: float, expected: tuple[float, ...]) -> None:
    assert adl.rank(qty, 100.0, mark, bankruptcy) == pytest.approx(expected)
