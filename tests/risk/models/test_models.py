"""Single formulas of the portfolio-margin models, worked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import risk
from risk import backtest, models
from risk.models import bybit_portfolio, deribit_portfolio, okx_portfolio, option_margin, parameters, span, vega
from risk.models.binance_portfolio import Status
from risk.models.portfolio import Portfolio, Position, merged, moved, prepared
from risk.models.valuation import Moves, VolShock, position_pnl

DAY_S = 86_400.0
NO_SHOCK = VolShock(up=0.0, down=0.0)


def future(**fields: Any) -> dict[str, Any]:
    plain = {"instrument": "F", "kind": "perpetual", "underlying": "BTC", "qty": 1.0, "mark": 100.0, "entry": 100.0}
    return plain | fields


def priced(model: str, *positions: dict[str, Any], **fields: Any) -> models.MarginResult:
    market = {"spot": 100.0, "expiries": [{"expiry_s": 30 * DAY_S, "forward": 100.0}]}
    document = {"model": model, "cash": 1e4, "underlyings": {"BTC": market}, "positions": list(positions)}
    return models.evaluate(document | fields, with_liquidation=False)


def test_the_package_prices_too() -> None:
    assert risk.evaluate is models.evaluate
    with pytest.raises(AttributeError):
        risk.surprise  # noqa: B018


@given(st.floats(-0.5, 2.0), st.floats(1.0, 1e6), st.floats(10, 1e5))
def test_inverse_is_linear_after_the_change_of_numeraire(move: float, face: float, price: float) -> None:
    """Valued at the scenario's own price the two are equal; at today's price they differ in second order."""
    portfolio = Portfolio(model="grid")
    coins = face / price
    inverse = Position(instrument="I", kind="perpetual", underlying="BTC", qty=face, style="inverse", mark=price)
    linear = Position(instrument="L", kind="perpetual", underlying="BTC", qty=coins, mark=price)
    moves = Moves.grid((move,), ("same",))
    in_coin = float(position_pnl(portfolio, inverse, moves, NO_SHOCK)[0])
    in_usd = float(position_pnl(portfolio, linear, moves, NO_SHOCK)[0])
    assert in_coin * price * (1 + move) == pytest.approx(in_usd, rel=1e-9, abs=1e-9 * face)
    assert abs(in_coin * price - in_usd) <= face * move * move / (1 + move) * (1 + 1e-6) + 1e-9 * face


def test_inverse_loss_is_convex() -> None:
    held = Position(instrument="I", kind="perpetual", underlying="BTC", qty=100.0, style="inverse", mark=100.0)
    pnl = position_pnl(Portfolio(model="grid"), held, Moves.grid((-0.16, 0.16), ("same",)), NO_SHOCK)
    assert pnl.tolist() == pytest.approx([-0.1904762, 0.1379310], abs=1e-7)


def test_the_volatility_shock_by_days() -> None:
    """Multipliers of the domain notes: 1d 2.387/0.307 ... 365d 1.361/0.819; never below zero."""
    shock = VolShock(up=0.5, down=0.25, short_power=0.3, long_power=0.13)
    for days, up, down in (
        (1, 2.387, 0.307),
        (7, 1.774, 0.613),
        (30, 1.5, 0.75),
        (90, 1.434, 0.783),
        (365, 1.361, 0.819),
    ):
        assert shock.shocked(1.0, days * DAY_S, "up") == pytest.approx(up, abs=1e-3)
        assert shock.shocked(1.0, days * DAY_S, "down") == pytest.approx(down, abs=1e-3)
        assert shock.shocked(1.0, days * DAY_S, "same") == 1.0
    assert VolShock(up=0.5, down=2.0).shocked(1.0, DAY_S, "down") == 0.0


def test_only_the_part_that_is_not_averaged_yet_moves() -> None:
    """Half of the averaging window gone: a spot move moves the forward by half."""
    market = {"spot": 100.0, "expiries": [{"expiry_s": 900.0, "forward": 100.0}]}
    document = {"model": "grid", "underlyings": {"BTC": market}}
    portfolio = models.load(document)
    assert portfolio.underlyings["BTC"].expiries[0].fixed_part() == pytest.approx(50.0)
    after = moved(portfolio, "BTC", 1.2).underlyings["BTC"]
    assert (after.spot, after.expiries[0].forward) == pytest.approx((120.0, 110.0))
    stated = {"spot": 100.0, "expiries": [{"expiry_s": 900.0, "forward": 100.0, "fixed": 20.0}]}
    portfolio = models.load(document | {"underlyings": {"BTC": stated}})
    assert moved(portfolio, "BTC", 1.5).underlyings["BTC"].expiries[0].forward == pytest.approx(140.0)


@given(
    st.floats(0.1, 10), st.floats(0.1, 10), st.booleans(), st.floats(50, 200), st.floats(50, 200), st.booleans(),
    st.floats(20, 500),
)  # fmt: skip
def test_merged_positions_have_the_same_profit(
    a: float, b: float, is_reducing: bool, first: float, second: float, is_inverse: bool, price: float
) -> None:
    style: Any = "inverse" if is_inverse else "linear"
    one = Position(instrument="P", kind="perpetual", underlying="BTC", qty=a, entry=first, style=style)
    two = Position(
        instrument="P", kind="perpetual", underlying="BTC", qty=-b if is_reducing else b, entry=second, style=style
    )
    both = merged(one, two)
    assert both.qty == one.qty + two.qty
    assert both.profit(price) == pytest.approx(one.profit(price) + two.profit(price), rel=1e-9, abs=1e-9)


def test_a_combo_is_its_legs() -> None:
    leg = {
        "kind": "option",
        "underlying": "BTC",
        "expiry_s": 30 * DAY_S,
        "option_type": "call",
        "vol": 0.5,
        "mark": 5.0,
    }
    legs = [
        leg | {"instrument": "A", "strike": 100.0, "qty": 1.0},
        leg | {"instrument": "B", "strike": 120.0, "qty": -1.0},
    ]
    combo = {"instrument": "S", "kind": "combo", "underlying": "BTC", "qty": 3.0, "legs": legs}
    apart = [held | {"qty": 3.0 * held["qty"]} for held in legs]  # type: ignore[operator]
    assert priced("grid", combo).initial == pytest.approx(priced("grid", *apart).initial)
    for wrong in ({"legs": []}, {"legs": [combo]}):
        with pytest.raises(models.MarginError):
            priced("grid", combo | wrong)
    with pytest.raises(models.MarginError, match="only a combo"):
        priced("grid", future(legs=legs))


class TestDeribit:
    def test_extended_moves_show_the_edge_and_are_forgiven(self) -> None:
        p, _ = parameters.parameters("deribit_portfolio", deribit_portfolio.DeribitPortfolioParameters)
        portfolio = Portfolio(model="deribit_portfolio", currency="BTC")
        portfolio = prepared(models.load({"model": "x", "currency": "BTC", "underlyings": {"BTC": {"spot": 50_000.0}}}))
        coins = 1_000.0
        profits = np.array([coins * (1 - 1 / (1 + move)) for move in p.extended_moves])
        shown = deribit_portfolio._extended(portfolio, "BTC", profits, p)
        edge = coins * (1 - 1 / 0.84)
        forgiven = [(abs(m) / 0.16 - 1) * 100_000 / (0.84 * 50_000) for m in (-0.66, -0.33)]
        assert shown[:2] == pytest.approx([edge + f for f in forgiven])
        assert (shown[2:] == 0).all()

    def test_gains_of_one_currency_offset_another_in_part(self) -> None:
        eth = {"spot": 10.0}
        held = [
            future(settlement="USDC"),
            future(instrument="E", underlying="ETH", qty=-10.0, mark=10.0, entry=10.0, settlement="USDC"),
        ]
        markets = {"BTC": {"spot": 100.0}, "ETH": eth}
        fields = {"underlyings": markets, "parameters": {"extended_moves": []}}
        for offset, expected in ((0.0, 16.0), (0.6, 6.4), (1.0, 0.0)):
            limits = {"pnl_offset": offset, "max_offsetable_pnl": 1e9}
            parameters_ = {"parameters": fields["parameters"] | limits}
            result = priced("deribit_portfolio", *held, **(fields | parameters_))
            assert result.components["worst_case"].initial == pytest.approx(expected)

    def test_a_delta_beyond_the_threshold_is_charged_and_marked(self) -> None:
        plain = priced("deribit_portfolio", future())
        assert plain.components["delta_shock"].initial == 0 and not plain.unconfirmed
        strict = priced(
            "deribit_portfolio", future(), parameters={"delta_total_liq_shock_threshold": 50.0, "m_inc": 0.1}
        )
        assert strict.components["delta_shock"].initial == pytest.approx(1.0 * 0.05 * 100)
        assert strict.unconfirmed == ("delta_shock",)

    def test_add_ons_are_initial_alone_but_for_the_correlation(self) -> None:
        add_ons = {"mmp_margin": 5.0, "correlation_contingency": 2.0}
        plain, more = priced("deribit_portfolio", future()), priced("deribit_portfolio", future(), add_ons=add_ons)
        assert more.initial - plain.initial == pytest.approx(7.0)
        assert more.maintenance - plain.maintenance == pytest.approx(1.6)

    def test_standard_rates_grow_with_size(self) -> None:
        held = future(style="inverse", settlement="BTC", qty=50_000.0, mark=100.0)
        result = priced("deribit_standard", held, currency="BTC")
        assert (result.initial, result.maintenance) == pytest.approx((22.5, 17.5))
        orders = [{"instrument": "F", "side": "sell", "qty": 150_000.0, "price": 100.0}]
        assert priced("deribit_standard", held, currency="BTC", orders=orders).initial == pytest.approx(1_000 * 0.07)


class TestOptions:
    def test_reservation_is_beyond_what_closes(self) -> None:
        assert option_margin.reservation(-1.0, [(0.1, 200.0), (1.1, 200.0)], 1250.0, 250.0) == pytest.approx(50.0)
        assert option_margin.reservation(1.0, [(-1.5, 200.0)], 1250.0, 250.0) == pytest.approx(0.5 * 1300.0)
        assert option_margin.reservation(0.0, [(1.0, 300.0)], 1250.0, 250.0) == pytest.approx(300.0)
        assert option_margin.reservation(0.0, [], 1250.0, 250.0) == 0.0

    def test_other_venues_of_the_family(self) -> None:
        bybit = option_margin.option_rule("bybit")[0]
        initial, maintenance = option_margin.short_margin(bybit, False, 20_250.0, 18_500.0, 290.0)
        assert maintenance == pytest.approx(607.5 + 290 + 40.5)
        assert initial == pytest.approx(2_315.0)
        aevo = option_margin.option_rule("aevo")[0]
        assert option_margin.short_margin(aevo, True, 100.0, 100.0, 2.0) == pytest.approx((17.0, 12.0))


class TestOkx:
    def test_minimum_charge_takes_the_multiplier_of_its_range(self) -> None:
        tiers = [(0.0, 1.0), (250_000.0, 2.0), (500_000.0, 4.0)]
        charges = [okx_portfolio.minimum_charge(raw, tiers) for raw in (0.0, 250_000.0, 250_001.0, 600_000.0)]
        assert charges == [0.0, 250_000.0, 500_002.0, 2_400_000.0]

    def test_stated_charges_replace_ours(self) -> None:
        plain = priced("okx_portfolio", future())
        stated = priced("okx_portfolio", future(), add_ons={"mr2": 50.0, "mr9": 3.0})
        assert stated.maintenance == pytest.approx(50.0 + plain.details["BTC"]["mr4"] + 3.0)
        assert set(stated.unconfirmed) == {"mr2", "mr9"}
        with pytest.raises(models.MarginError):
            priced("okx_portfolio", future(), add_ons={"mr1": 1.0})

    def test_what_is_owed_is_charged(self) -> None:
        owed = priced("okx_portfolio", collateral=[{"asset": "USDC", "qty": -100.0}])
        assert (owed.initial, owed.maintenance) == pytest.approx((10.0, 2.0))

    def test_depeg_pairs_in_order_and_by_the_worse_peg(self) -> None:
        pegs = [[0.995, 0.005], [0.8, 0.4]]
        deltas = {"USDT": 100.0, "USDC": -80.0, "USD": -60.0}
        charge, hedged = okx_portfolio.depeg_charge(deltas, {"USDC": 0.8}, pegs)
        assert hedged == {"USDT-USD": 60.0, "USDT-USDC": 40.0}
        assert charge == pytest.approx(60 * 0.005 + 40 * 0.4)
        assert okx_portfolio.depeg_charge({"USDT": 1.0, "USD": 1.0}, {}, pegs) == (0.0, {})
        with pytest.raises(models.MarginError):
            okx_portfolio.depeg_rate(1.0, [])

    def test_a_calendar_of_vega_is_charged(self) -> None:
        option = {
            "kind": "option",
            "underlying": "BTC",
            "strike": 100.0,
            "option_type": "call",
            "vol": 0.5,
            "mark": 5.0,
        }
        near = option | {"instrument": "N", "qty": 1.0, "expiry_s": 30 * DAY_S}
        far = option | {"instrument": "X", "qty": -1.0, "expiry_s": 90 * DAY_S}
        expiries = [{"expiry_s": e * DAY_S, "forward": 100.0} for e in (30, 90)]
        result = priced("okx_portfolio", near, far, underlyings={"BTC": {"spot": 100.0, "expiries": expiries}})
        assert result.details["BTC"]["mr3"] > 0 and result.details["BTC"]["mr5"] > 0
        assert {"mr3", "mr5"} <= set(result.unconfirmed)


class TestBybit:
    @pytest.mark.parametrize(
        ("amounts", "expected"),
        [
            ([(0.0, 1.0), (DAY_S, -1.0)], 1.0),
            ([(0.0, 1.0), (DAY_S, -1.0), (2 * DAY_S, 1.0)], 1.0),
            ([(0.0, 2.0), (DAY_S, -1.0), (3 * DAY_S, -1.0)], 4.0),
            ([(0.0, 1.0), (DAY_S, 1.0)], 0.0),
            ([(0.0, 1.0), (DAY_S, -3.0), (2 * DAY_S, 2.0)], 3.0),
            ([(0.0, 1.0), (1e4 * DAY_S, -1.0)], 365.0),
            ([], 0.0),
        ],
    )
    def test_hedged_days(self, amounts: list[tuple[float, float]], expected: float) -> None:
        assert bybit_portfolio.hedged_days(amounts, 365.0) == pytest.approx(expected)

    def test_contingencies_of_a_calendar(self) -> None:
        dated = future(instrument="D", kind="future", qty=-1.0, expiry_s=73 * DAY_S)
        charges = priced("bybit_portfolio", future(), dated).components
        assert charges["BTC delta spread"].maintenance == pytest.approx(73 / 365 * 0.6 * 100)
        assert charges["BTC futures"].maintenance == pytest.approx(2 * 0.005 * 100)
        assert charges["BTC max loss"].maintenance == pytest.approx(0.0, abs=1e-12)


class TestBinance:
    def test_a_debt_is_not_discounted(self) -> None:
        held = [
            {"asset": "BTC", "qty": 1.0, "price": 100.0, "rate": 0.9},
            {"asset": "ETH", "qty": 1.0, "loan": 3.0, "price": 10.0, "rate": 0.9},
        ]
        result = priced("binance_portfolio", collateral=held, cash=0.0)
        assert result.details["equities"] == pytest.approx({"BTC": 90.0, "ETH": -20.0})
        assert result.maintenance == pytest.approx(3.0)
        assert result.details["uni_mmr"] == pytest.approx(70 / 3)

    @pytest.mark.parametrize(
        ("cash", "expected"),
        [(200.0, Status.HEALTHY), (150.0, Status.REMINDED), (120.0, Status.REDUCE_ONLY), (105.0, Status.LIQUIDATED)],
    )
    def test_status_by_uni_mmr(self, cash: float, expected: Status) -> None:
        held = future(qty=100.0, mark=100.0, entry=100.0)
        result = priced("binance_portfolio", held, cash=cash, parameters={"default_mmr": 0.01})
        assert result.details["status"] == expected.value

    def test_orders_lose_at_once_what_their_limit_is_off(self) -> None:
        order = {"instrument": "F", "side": "buy", "qty": 1.0, "price": 110.0}
        result = priced("binance_portfolio", future(), parameters={"default_mmr": 0.01}, orders=[order])
        assert result.details["open_loss"] == pytest.approx(10.0)
        assert result.components["F orders"].initial == pytest.approx(1.2)


class TestSpan:
    def test_credit_of_opposite_commodities(self) -> None:
        markets = {"BTC": {"spot": 100.0}, "ETH": {"spot": 10.0}}
        dated: dict[str, Any] = {"kind": "future", "expiry_s": 30 * DAY_S}
        held = [future(**dated), future(instrument="E", underlying="ETH", qty=-10.0, mark=10.0, entry=10.0, **dated)]
        plain = priced("span", *held, underlyings=markets)
        offset = priced("span", *held, underlyings=markets, parameters={"credits": [["BTC", 1.0, "ETH", 10.0, 0.5]]})
        assert plain.maintenance == pytest.approx(70.0)
        assert offset.maintenance == pytest.approx(35.0)
        same_way = [held[0], held[1] | {"qty": 10.0}]
        credited = priced("span", *same_way, underlyings=markets, parameters={"credits": [["BTC", 1, "ETH", 10, 0.5]]})
        assert credited.maintenance == pytest.approx(70.0)

    def test_months_that_hedge_are_charged(self) -> None:
        near = future(kind="future", expiry_s=30 * DAY_S)
        far = future(instrument="X", kind="future", expiry_s=60 * DAY_S, qty=-1.0)
        result = priced("span", near, far, parameters={"inter_month": {"BTC": 3.0}})
        assert result.maintenance == pytest.approx(3.0)

    def test_a_short_option_has_a_minimum(self) -> None:
        option = {"instrument": "C", "kind": "option", "underlying": "BTC", "qty": -2.0, "strike": 1e4, "vol": 0.2}
        option |= {"option_type": "call", "expiry_s": 30 * DAY_S}
        result = priced("span", option, parameters={"short_option_minimum": {"BTC": 7.0}})
        assert result.maintenance == pytest.approx(14.0)

    def test_requirement(self) -> None:
        parts: dict[str, float] = {"inter_month": 1.0, "delivery": 2.0, "credit": 3.0}
        assert span.requirement(10.0, minimum=0.0, option_value=4.0, **parts) == 6.0
        assert span.requirement(10.0, minimum=20.0, option_value=-4.0, **parts) == 24.0
        assert span.requirement(1.0, minimum=0.0, option_value=9.0, **parts) == 0.0

    def test_inverse_contracts_are_refused(self) -> None:
        with pytest.raises(models.MarginError, match="pay in USD"):
            priced("span", future(style="inverse", settlement="BTC"))


class TestParadex:
    def test_minimum_by_delta_of_a_hedge(self) -> None:
        other = future(instrument="G", qty=-1.0)
        result = priced("paradex_portfolio", future(), other)
        assert result.components["BTC scan"] == models.Component(1.0, 0.5)
        assert result.components["BTC fee"].initial == pytest.approx(200 * 0.0003)

    def test_funding_that_may_be_paid_is_provided(self) -> None:
        for rate, expected in ((0.001, 0.1), (-0.001, 0.0)):
            result = priced("paradex_portfolio", future(), parameters={"funding_rate_8h": rate})
            assert result.components["BTC funding"].maintenance == pytest.approx(expected)


class TestVega:
    def test_risk_factors_at_no_risk(self) -> None:
        assert vega.risk_factors(0.01, 0.0, 1.0) == pytest.approx((0.0, 0.0), abs=1e-9)

    def test_the_book_caps_linear_slippage(self) -> None:
        assert vega.maintenance(-1, 15_900, 0.1, 0.25) == pytest.approx(5_565)
        assert vega.maintenance(-1, 15_900, 0.1, 100.0, 84_100.0) == pytest.approx(84_100 + 1_590)
        assert vega.exit_price(10, [(120, 1), (110, 4), (108, 7)]) == pytest.approx(110.0)
        assert vega.exit_price(100, [(120, 1)]) is None

    @pytest.mark.parametrize(
        ("terms", "expected"),
        [
            ({"s_twap": 1600, "f_twap": 1590, "delta_t": 0.002, "interest": 0.05}, 0.16),
            ({"s_twap": 1600, "f_twap": 1500, "clamp_upper": 0.05}, -20.0),
            ({"s_twap": 1600, "f_twap": 1700, "clamp_lower": -0.05}, 20.0),
            ({"s_twap": 1600, "f_twap": 1510, "clamp_lower": 0.0, "clamp_upper": 0.0}, -90.0),
        ],
    )
    def test_funding_payment(self, terms: dict[str, float], expected: float) -> None:
        assert vega.funding_payment(**terms) == pytest.approx(expected)

    def test_the_riskiest_side_counts(self) -> None:
        sale = {"instrument": "F", "side": "sell", "qty": 3.0, "price": 100.0}
        chosen = {"risk_aversion": 0.01, "sigma": 0.6, "linear_slippage": 0.0}
        short, long = vega.risk_factors(0.01, 0.1, 0.6)
        result = priced("vega", future(), orders=[sale], parameters=chosen)
        assert result.components["orders filled"].initial == 0.0
        assert result.maintenance == pytest.approx(max(200 * short, 100 * long))
        assert result.details["levels"]["search"] == pytest.approx(1.1 * result.maintenance)
        assert priced("vega", future(), parameters=chosen | {"payments": {"F": 2.0}}).maintenance == pytest.approx(
            100 * long + 1.0
        )


class TestWhatIf:
    def test_before_after_and_worst(self) -> None:
        document = {"model": "grid", "cash": 100.0, "underlyings": {"BTC": {"spot": 100.0}}, "positions": [future()]}
        orders = [{"instrument": "F", "side": side, "qty": 2.0, "price": 100.0} for side in ("buy", "sell")]
        outcome = models.evaluate_orders(document, orders)
        assert outcome.before.initial == outcome.after.initial == pytest.approx(15.0)
        assert outcome.worst_available == pytest.approx(55.0) and outcome.worst_fills == (0,)
        assert outcome.initial_is_covered
        big = models.evaluate_orders(document, [orders[0] | {"qty": 20.0}])
        assert not big.initial_is_covered
        reducing = models.evaluate_orders(document | {"cash": 1.0}, [orders[1] | {"qty": 1.0}])
        assert reducing.before.available < 0 and reducing.initial_is_covered

    def test_premium_is_paid_in_the_account_s_currency(self) -> None:
        option = {"instrument": "C", "kind": "option", "underlying": "BTC", "qty": -1.0, "strike": 100.0, "mark": 0.05}
        option |= {"option_type": "call", "expiry_s": 30 * DAY_S, "vol": 0.5, "settlement": "BTC"}
        document = {"model": "deribit_standard", "currency": "BTC", "cash": 1.0, "positions": [option]}
        document |= {"underlyings": {"BTC": {"spot": 100.0}}}
        outcome = models.evaluate_orders(document, [{"instrument": "C", "side": "buy", "qty": 1.0, "price": 0.06}])
        assert outcome.after.equity == pytest.approx(0.94) and outcome.after.initial == 0.0

    def test_a_cancel_may_come_too_late(self) -> None:
        document = {"model": "grid", "cash": 100.0, "underlyings": {"BTC": {"spot": 100.0}}, "positions": [future()]}
        working = {"instrument": "F", "side": "buy", "qty": 2.0, "price": 101.0, "id": "a"}
        document["orders"] = [working, working | {"id": "b", "side": "sell", "qty": 0.5}]
        outcome = models.evaluate_orders(document, [{"cancel": "a"}])
        alone = models.evaluate(document | {"orders": document["orders"][1:]})
        assert outcome.before.initial > outcome.after.initial == alone.initial
        filled = models.evaluate_orders(document | {"orders": document["orders"][1:]}, [working])
        assert outcome.worst_available == filled.after.available < outcome.after.available
        assert outcome.worst_fills == (0,)
        for wrong in ([{"cancel": "z"}], [{"cancel": "a"}, {"cancel": "a"}], [{"cancel": "a", "qty": 1}]):
            with pytest.raises(models.MarginError, match=r"unknown_order|bad_order"):
                models.evaluate_orders(document, wrong)

    @pytest.mark.parametrize(("new", "worst"), [(1.0, 2.0), (2.0, 2.0), (5.0, 5.0)])
    def test_a_replace_fills_as_one_version_then_the_other(self, new: float, worst: float) -> None:
        """Never both in full: of the new version what is beyond the old one's quantity."""
        document = {"model": "grid", "cash": 100.0, "underlyings": {"BTC": {"spot": 100.0}}, "positions": [future()]}
        working = {"instrument": "F", "side": "buy", "qty": 2.0, "price": 100.0}
        asked = working | {"qty": new, "replaces": "a"}
        outcome = models.evaluate_orders(document | {"orders": [working | {"id": "a"}]}, [asked])
        largest = models.evaluate_orders(document, [working | {"qty": worst}])
        assert outcome.worst_available == pytest.approx(largest.after.available)
        assert outcome.after.initial == models.evaluate_orders(document, [working | {"qty": new}]).after.initial

    def test_many_orders_are_not_enumerated(self) -> None:
        document = {"model": "grid", "cash": 1e4, "underlyings": {"BTC": {"spot": 100.0}}, "positions": [future()]}
        orders = [{"instrument": "F", "side": "buy", "qty": 0.1, "price": 100.0}] * 9
        assert models.evaluate_orders(document, orders).worst_available is None
        with pytest.raises(models.MarginError, match="too_many_orders"):
            models.evaluate(document | {"model": "span", "orders": orders})
        for wrong in ([], [{"instrument": "F"}]):
            with pytest.raises(models.MarginError, match="bad_order"):
                models.evaluate_orders(document, wrong)


class TestBacktest:
    def test_zones_of_basel(self) -> None:
        assert backtest.basel_zones(250, 0.01) == (5, 10)
        assert backtest.basel_zones(1000, 0.01) == (15, 24)

    def test_independence_counts_clusters(self) -> None:
        assert backtest.transitions([0, 1, 1, 0, 0]) == (1, 1, 1, 1)
        apart, together = [0] * 200, [0] * 200
        for day in range(0, 200, 40):
            apart[day] = 1
        together[100:105] = [1] * 5
        assert backtest.independence(*backtest.transitions(together)).p_value < 0.01
        assert backtest.independence(*backtest.transitions(apart)).p_value > 0.5
        assert backtest.independence(10, 0, 0, 0).statistic == 0.0

    @pytest.mark.parametrize(
        "call",
        [
            lambda: backtest.kupiec(0, 0, 0.01),
            lambda: backtest.kupiec(10, 11, 0.01),
            lambda: backtest.kupiec(10, 1, 1.0),
            lambda: backtest.independence(0, 0, 0, 0),
            lambda: backtest.independence(-1, 1, 1, 1),
            lambda: backtest.basel_zones(0, 0.01),
        ],
    )
    def test_what_is_no_backtest(self, call: Any) -> None:
        with pytest.raises(ValueError):
            call()

    def test_joint_test_of_a_series(self) -> None:
        series = [0] * 245 + [1] * 5
        case = {"input": {"hits": series, "p": 0.01}}
        values = models.evaluate_case(case).values
        assert values["lr_cc"] == pytest.approx(values["lr_pof"] + values["lr_ind"])
        assert values["lr_pof"] == pytest.approx(1.956809788)
        assert 0 <= values["p_value_cc"] < 0.001 and math.isfinite(values["lr_ind"])
