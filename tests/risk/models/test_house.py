"""The house model over several venues: by hand, by hypothesis, and against its slow twin."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import models, profiles
from risk.models import MarginError, house
from risk.models.house_book import HOME, HouseParameters
from risk.models.parameters import _file, parameters
from risk.periods import PeriodRow
from risk.reference import black76
from risk.reference_house import House
from tests.risk.models.portfolios import DAY_S

FIXTURE = Path(__file__).resolve().parents[3] / "fixtures" / "margin" / "house.json"
SPOTS = {"BTC": 60_000.0, "ETH": 3_000.0}
VOLUMES = {name: {"adv_usd": 1e9, "daily_vol": 0.04, "half_spread": 1e-4} for name in SPOTS}
QUIET = {"default_loss": 0.0, "default_moves": [0.0], "peg_moves": [], "funding_spike": 0.0, "location_rate": 0.0}
ADD_ONS = {"impact": 0.0, "concentration_z": 0.0, "funding_default": 0.0, "floor_rate": 0.0, "short_option_floor": 0.0}
NO_SPREAD = {name: row | {"half_spread": 0.0} for name, row in VOLUMES.items()}
BARE = QUIET | ADD_ONS | {"volumes": NO_SPREAD, "spike_moves": []}
VENUES = ("okx", "deribit", "binance")

Document = dict[str, Any]


def perpetual(qty: float, venue: str = "okx", coin: str = "BTC", **fields: Any) -> Document:
    spot = SPOTS[coin]
    plain = {"instrument": f"{coin}-P", "kind": "perpetual", "underlying": coin, "qty": qty, "venue": venue}
    return plain | {"mark": spot, "entry": spot, "settlement": "USD"} | fields


def document(*positions: Document, parameters: Document | None = None, **fields: Any) -> Document:
    expiries = [{"expiry_s": 30 * DAY_S, "forward": SPOTS["BTC"] * 1.005}]
    markets = {"BTC": {"spot": SPOTS["BTC"], "expiries": expiries}, "ETH": {"spot": SPOTS["ETH"]}}
    given_ = {"volumes": VOLUMES} | (parameters or {})
    plain = {"model": "house", "cash": 1e6, "underlyings": markets, "positions": list(positions)}
    return plain | {"parameters": given_} | fields


def margin(given_: Document) -> models.MarginResult:
    return models.evaluate(given_, with_liquidation=False)


def bare(*positions: Document, parameters: Document | None = None, **fields: Any) -> models.MarginResult:
    return margin(document(*positions, parameters=BARE | (parameters or {}), **fields))


coins = st.sampled_from(("BTC", "ETH"))
places = st.sampled_from((*VENUES, HOME))
sizes = st.floats(-20, 20).map(lambda qty: round(qty, 3)).filter(bool)


@st.composite
def contracts(draw: st.DrawFn) -> Document:
    coin, venue, qty = draw(coins), draw(places), draw(sizes)
    spot = SPOTS[coin]
    kind = draw(st.sampled_from(("usd", "usdt", "inverse", "option", "coin_option")))
    if kind in ("usd", "usdt"):
        entry = spot * draw(st.sampled_from((0.9, 1.0, 1.05)))
        return perpetual(qty, venue, coin, settlement=kind.upper(), entry=entry, instrument=f"{coin}-{kind}")
    if kind == "inverse":
        face = round(qty * spot) or 1.0
        inverse = {"style": "inverse", "settlement": coin, "entry": spot * 0.97, "accrued": 0.01}
        return perpetual(face, venue, coin, instrument=f"{coin}-inverse") | inverse
    strike, forward = SPOTS["BTC"] * draw(st.sampled_from((0.8, 1.0, 1.2))), SPOTS["BTC"] * 1.005
    is_call = draw(st.booleans())
    value = black76(forward, strike, 30 / 365, 0.6, is_call)
    held = perpetual(qty, venue, instrument=f"O-{strike:g}-{is_call}-{kind}", kind="option", strike=strike, vol=0.6)
    held |= {"option_type": "call" if is_call else "put", "expiry_s": 30 * DAY_S, "entry": None}
    in_coin = kind == "coin_option"
    settled = {"settlement": "BTC", "mark": value / forward} if in_coin else {"settlement": "USDT", "mark": value}
    return held | settled


@st.composite
def accounts(draw: st.DrawFn, **parameters: Any) -> Document:
    """Contracts, each once a venue; coins, stablecoins and debts as collateral."""
    held = draw(st.lists(contracts(), min_size=1, max_size=5, unique_by=lambda c: (c["instrument"], c["venue"])))
    assets = draw(st.lists(st.tuples(st.sampled_from(("BTC", "ETH", "USDT", "USDC")), places), max_size=4, unique=True))
    usd = st.floats(-2e6, 2e7).map(round).filter(bool)
    prices = {**SPOTS, "USDT": 1.0, "USDC": 1.0}
    pledges = [{"asset": a, "venue": v, "qty": draw(usd) / prices[a]} for a, v in assets]
    history = draw(st.sampled_from(({}, {"d1": {"BTC": -0.3, "ETH": 0.1}, "d2": {"BTC": 0.25, "ETH": 0.3}})))
    more = {"history": history, "stable_price": draw(st.sampled_from((1.0, 0.97)))}
    stable_price = more.pop("stable_price")
    given_ = document(*held, parameters=more | parameters, collateral=pledges, stable_price=stable_price)
    return given_ | {"currency": draw(st.sampled_from(("USD", "USDT", "BTC"))), "cash": draw(st.floats(-100, 100))}


@settings(max_examples=30, deadline=None)
@given(accounts())
def test_against_the_slow_twin(given_: Document) -> None:
    values = dict(_file("house")["house_2026"]) | given_["parameters"]
    rules = _file("collateral")["house_2026"]["assets"]
    slow, ours = House(given_, values, rules, 1.0), margin(given_)
    price = ours.details["currency_price"]
    initial, maintenance = slow.margins()
    assert ours.equity * price == pytest.approx(slow.equity(), rel=1e-9, abs=1e-5)
    assert ours.initial * price == pytest.approx(initial, rel=1e-6, abs=1e-5)
    assert ours.maintenance * price == pytest.approx(maintenance, rel=1e-6, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(accounts(), st.integers(0, 1000))
def test_not_negative_the_sum_of_its_parts_and_in_any_order(given_: Document, seed: int) -> None:
    result = margin(given_)
    assert result.initial >= result.maintenance >= 0
    assert all(part.initial >= 0 and part.maintenance >= 0 for part in result.components.values())
    assert models.result.total(result.components) == pytest.approx((result.initial, result.maintenance))
    shuffled = {name: list(given_[name]) for name in ("positions", "collateral")}
    for rows in shuffled.values():
        random.Random(seed).shuffle(rows)
    other = margin(given_ | shuffled)
    assert other.initial == pytest.approx(result.initial, rel=1e-12)
    assert other.equity == pytest.approx(result.equity, rel=1e-12, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(accounts(location_rate=0.0, default_loss=0.0))
def test_a_hedge_never_raises_the_scenario_margin_beyond_its_own(given_: Document) -> None:
    """Together, two halves of a book ask at most what they ask apart, from the same collateral."""
    given_ |= {"collateral": [], "cash": 0.0}
    held = given_["positions"]
    parts = [margin(given_ | {"positions": part}).components for part in (held[:1], held[1:], held)]
    first, second, both = (part["scenarios"].initial + part["offset cap"].initial for part in parts)
    assert both <= (first + second) * (1 + 1e-9) + 1e-6


@settings(max_examples=25, deadline=None)
@given(accounts(), st.sampled_from((2.0, 7.0)))
def test_margin_grows_at_least_with_size(given_: Document, factor: float) -> None:
    given_ |= {"collateral": [], "currency": "USD"}
    held = [
        position | {name: factor * position.get(name, 0.0) for name in ("qty", "accrued")}
        for position in given_["positions"]
    ]
    one, many = margin(given_), margin(given_ | {"positions": held, "cash": factor * given_["cash"]})
    assert many.equity == pytest.approx(factor * one.equity, rel=1e-9, abs=1e-6)
    assert many.initial >= factor * one.initial * (1 - 1e-9) - 1e-9


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(coins, places, sizes), min_size=1, max_size=4, unique_by=lambda row: row[:2]))
def test_linear_books_cost_the_same_bought_or_sold(rows: list[tuple[str, str, float]]) -> None:
    bought, sold = (
        margin(document(*(perpetual(sign * qty, venue, coin) for coin, venue, qty in rows))) for sign in (1.0, -1.0)
    )
    assert sold.initial == pytest.approx(bought.initial, rel=1e-9)
    assert sold.maintenance == pytest.approx(bought.maintenance, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(accounts(), st.data())
def test_no_partial_fill_costs_more_than_was_reserved(given_: Document, data: st.DataObject) -> None:
    given_ |= {"cash": 1e7, "currency": "USD"}
    orders, fills = [], []
    for held in given_["positions"][:3]:
        size = abs(held["qty"]) * data.draw(st.sampled_from((0.5, 1.0, 3.0)))
        order = {"instrument": held["instrument"], "venue": held["venue"], "qty": size, "price": held["mark"] * 1.01}
        orders.append(order | {"side": data.draw(st.sampled_from(("buy", "sell")))})
        share = data.draw(st.sampled_from((0.0, 0.3, 0.7, 1.0)))
        fills += [orders[-1] | {"qty": size * share}] if share else []
    reserved = margin(given_ | {"orders": orders})
    filled = models.evaluate_orders(given_, fills).after if fills else margin(given_)
    assert filled.available >= reserved.available - 1e-9 * (abs(reserved.equity) + reserved.initial)


@settings(max_examples=6, deadline=None)
@given(accounts())
def test_equity_meets_maintenance_at_every_liquidation_price(given_: Document) -> None:
    for found in models.evaluate(given_ | {"cash": 1e6, "currency": "USD"}).liquidation:
        assert found.is_jump or abs(found.gap) < 1e-9 * found.notional


def test_one_long_by_hand() -> None:
    result = bare(perpetual(2.0))
    assert result.components["scenarios"].initial == pytest.approx(0.2 * 120_000)
    assert (result.initial, result.maintenance) == pytest.approx((24_000.0, 19_200.0))
    assert result.binding == "all -20% down" and result.currency == "USD"


@pytest.mark.parametrize(("haircut", "asked"), [(0.0, 0.0), (0.1, 0.1 * 24_000), (1.0, 24_000.0)])
def test_a_hedge_on_another_venue_bears_the_haircut_of_netting(haircut: float, asked: float) -> None:
    given_ = {"venue_netting_haircut": haircut}
    assert bare(perpetual(2.0), perpetual(-2.0, "deribit"), parameters=given_).initial == pytest.approx(asked)
    assert bare(perpetual(2.0), perpetual(-2.0, instrument="other"), parameters=given_).initial == 0.0


@pytest.mark.parametrize("cap", [0.0, 0.8, 1.0])
def test_offsets_between_coins_are_capped(cap: float) -> None:
    """Long BTC, short ETH of the same value: alone 2 x 12 000; together each alone is worst, nothing offsets more."""
    result = bare(perpetual(1.0), perpetual(-20.0, coin="ETH"), parameters={"offset_cap": cap})
    assert result.initial == pytest.approx(cap * 12_000 + (1 - cap) * 24_000)


def test_history_moves_all_coins_jointly() -> None:
    days = {"crash": {"BTC": -0.5, "ETH": -0.1}, "calm": {"BTC": 0.01, "ETH": 0.0}}
    held = perpetual(1.0), perpetual(10.0, coin="ETH")
    result = bare(*held, parameters={"history": days})
    assert result.components["scenarios"].initial == pytest.approx(30_000 + 3_000)
    assert result.binding == "crash same"
    longer = bare(*held, parameters={"history": days, "mpor_days": 4.0, "base_mpor_days": 4.0})
    assert longer.components["scenarios"].initial == pytest.approx(0.95 * 60_000 + 6_000)
    with pytest.raises(MarginError, match="ETH: no move on crash"):
        bare(*held, parameters={"history": {"crash": {"BTC": -0.5}}})


def test_a_product_at_a_venue_is_held_for_its_own_period() -> None:
    """Four days of perpetuals at one venue: twice the move there, in the grid and in days of history, and no hedge."""
    rows = [{"product": "perpetual", "venue": "deribit", "days": 4.0}]
    alone = bare(perpetual(1.0, "deribit")).initial
    assert bare(perpetual(1.0, "deribit"), parameters={"periods": rows}).initial == pytest.approx(2 * alone)
    assert bare(perpetual(1.0, "okx"), parameters={"periods": rows}).initial == pytest.approx(alone)
    hedged = perpetual(1.0, "deribit"), perpetual(-1.0, "okx")
    whole = {"venue_netting_haircut": 0.0}
    assert bare(*hedged, parameters=whole).initial == pytest.approx(0.0)
    assert bare(*hedged, parameters=whole | {"periods": rows}).initial == pytest.approx(alone)
    days = {"crash": {"BTC": -0.3}}
    longer = bare(perpetual(1.0, "deribit"), parameters={"periods": rows, "history": days})
    assert longer.components["scenarios"].initial == pytest.approx(0.6 * 60_000)
    p, _ = parameters("house", HouseParameters)
    p = msgspec.structs.replace(p, periods=(PeriodRow(0.5, "perpetual"),))
    assert profiles.tightened(p, [profiles.profile("emir_ccp_otc")]).table().of("perpetual", "deribit") == 5.0
    with pytest.raises(MarginError, match="no product"):
        bare(perpetual(1.0), parameters={"periods": [{"product": "swap", "days": 2.0}]})


def test_a_ladder_shows_the_worst_days_of_a_long_history() -> None:
    history = {f"d{day:03}": {"BTC": -day / 1000} for day in range(100)}
    result = bare(perpetual(1.0), parameters={"history": history})
    shown = [rung for rung in result.ladder if rung.name.startswith("d0")]
    assert len(shown) == house.SHOWN_DAYS and min(rung.pnl for rung in shown) == pytest.approx(-0.099 * 60_000)
    assert not result.unconfirmed
    assert "take" in bare(perpetual(1.0)).unconfirmed[0]


def test_wrong_way_collateral_is_shocked_in_the_same_scenario() -> None:
    """A long with coins as collateral loses on both; a short is hedged by them, less the haircut."""
    coins_held = [{"asset": "BTC", "qty": 1.0, "venue": "okx"}]
    assert bare(perpetual(1.0), collateral=coins_held).initial == pytest.approx(0.2 * 60_000 * 1.95)
    assert bare(perpetual(-1.0), collateral=coins_held).initial == pytest.approx(0.2 * 60_000 * 0.05)
    owed = [{"asset": "BTC", "qty": -1.0, "venue": "okx"}]
    assert bare(perpetual(-1.0), collateral=owed).initial == pytest.approx(0.2 * 60_000 * 2)


def test_an_exchange_defaults() -> None:
    """Its collateral is gone, and so is the hedge that was there."""
    pledged = [{"asset": "USD", "qty": 100_000.0, "venue": "okx"}]
    given_: Document = {"default_loss": 0.6, "default_moves": [-0.1, 0.1]}
    result = bare(perpetual(1.0), perpetual(-1.0, "deribit"), collateral=pledged, parameters=given_)
    assert result.initial == pytest.approx(0.6 * 100_000 + 0.1 * 60_000)
    assert result.binding == "default of okx +10%"
    at_home = [pledged[0] | {"venue": HOME}]
    assert bare(collateral=at_home, parameters=given_).initial == 0.0


def test_a_stablecoin_leaves_its_peg() -> None:
    given_ = {"peg_moves": [-0.04]}
    pledged = [{"asset": "USDT", "qty": 10_000.0, "venue": "okx"}]
    # At 0.96 four percent are lost, and 4 % of haircut added.
    result = bare(collateral=pledged, parameters=given_)
    assert result.initial == pytest.approx(10_000 - 9_600 * 0.96)
    # A short quoted in the stablecoin loses as its quote rises, a long does not.
    short = bare(perpetual(-1.0, settlement="USDT"), perpetual(1.0, instrument="hedge"), parameters=given_)
    assert short.initial == pytest.approx(0.04 * 60_000) and short.binding.endswith("repriced")
    worse = bare(collateral=pledged, stable_price=0.97)
    assert worse.equity - 1e6 == pytest.approx(9_700 * 0.96)
    stated = bare(collateral=[pledged[0] | {"price": 0.9}], parameters={"prices": {"USDC": 0.5}})
    assert stated.equity - 1e6 == pytest.approx(9_000 * 0.85)


def test_funding_spikes_against_the_position() -> None:
    given_ = {"funding_spike": 0.01, "funding_periods": 3.0}
    hedged = bare(perpetual(1.0), perpetual(-1.0, instrument="other"), parameters=given_)
    assert hedged.initial == 0.0
    apart = bare(perpetual(1.0), perpetual(-1.0, "deribit"), parameters=given_ | {"venue_netting_haircut": 0.0})
    assert apart.initial == pytest.approx(0.03 * 60_000) and apart.binding.startswith("funding of")


def test_funding_that_is_known_is_set_aside_where_it_is_owed() -> None:
    rates = {"funding_rates": {"BTC-P": 0.0002}, "funding_default": 0.001}
    for qty, owed in ((1.0, 3 * 0.0002 * 60_000), (-1.0, 0.0)):
        assert bare(perpetual(qty), parameters=rates).components["funding"].initial == pytest.approx(owed)
    unknown = bare(perpetual(-1.0, instrument="other"), parameters=rates)
    assert unknown.components["funding"].initial == pytest.approx(3 * 0.001 * 60_000)


def test_funding_accrued_is_equity() -> None:
    assert bare(perpetual(1.0, accrued=-500.0)).equity == pytest.approx(1e6 - 500)


def test_volatility_spikes() -> None:
    option = {"kind": "option", "strike": 60_000.0, "option_type": "call", "expiry_s": 30 * DAY_S, "vol": 0.6}
    held = perpetual(-1.0, instrument="O", entry=None, **option) | {"mark": 4_000.0}
    with_spike = bare(held, parameters={"spike_moves": [0.0, 0.2]})
    assert with_spike.binding == "vol spike +20%" and with_spike.initial > bare(held).initial


def test_money_that_lies_elsewhere_is_charged() -> None:
    pledged = [{"asset": "USD", "qty": 4_000.0, "venue": "okx"}]
    result = bare(perpetual(1.0), collateral=pledged, parameters={"location_rate": 0.05, "offset_cap": 1.0})
    assert result.components["location"].initial == pytest.approx(0.05 * (12_000 - 4_000))
    at_home = bare(perpetual(1.0, HOME), parameters={"location_rate": 0.05})
    assert at_home.components["location"].initial == 0.0


def test_liquidity_and_concentration_by_size_against_volume() -> None:
    market = {"adv_usd": 6e6, "daily_vol": 0.04, "half_spread": 0.001}
    given_ = {"impact": 1.0, "concentration_z": 2.0, "participation": 0.25, "volumes": {"BTC": market}}
    result = bare(perpetual(100.0), parameters=given_)
    parts = result.components
    assert parts["liquidity"].initial == pytest.approx(6e6 * (0.001 + 0.04))
    assert parts["concentration"].initial == pytest.approx(2 * 0.04 * 6e6 * (4**0.5 - 1))
    small = bare(perpetual(1.0), parameters=given_)
    assert small.components["concentration"].initial == 0.0
    with pytest.raises(MarginError, match="missing_volume"):
        bare(perpetual(1.0), parameters={"volumes": {}})


def test_a_floor_under_a_perfect_hedge() -> None:
    pair = perpetual(1.0), perpetual(-1.0, instrument="other")
    result = bare(*pair, parameters={"floor_rate": 0.01})
    assert result.components["floor"].initial == pytest.approx(0.01 * 120_000)
    assert result.components["floor"].maintenance == pytest.approx(0.8 * 0.01 * 120_000)


def test_accounts_in_other_currencies() -> None:
    held = perpetual(1.0)
    in_usd = bare(held)
    in_btc = bare(held, currency="BTC", cash=20.0)
    assert in_btc.components["scenarios"].initial == pytest.approx(0.2 + 20 * 0.2 * 0.95)
    assert in_btc.equity == pytest.approx(20 * 0.95)
    in_eur = bare(held, currency="EUR", parameters={"prices": {"EUR": 1.25}, "scales": {"EUR": 0.001}}, cash=0.0)
    assert in_eur.initial == pytest.approx(in_usd.initial / 1.25)
    with pytest.raises(MarginError, match="missing_price"):
        bare(held, currency="EUR")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positions": [perpetual(1.0, mark=None)]}, "missing_mark"),
        ({"positions": [perpetual(1.0, mark=float("nan"))]}, "not_a_number"),
        ({"positions": [perpetual(1.0, settlement="XYZ")]}, "unsupported"),
        ({"positions": [perpetual(1.0)], "underlyings": {}}, "missing_mark"),
        ({"collateral": [{"asset": "DOGE", "qty": 1.0}]}, "missing_price"),
        ({"collateral": [{"asset": "DOGE", "qty": 1.0, "price": 0.0}]}, "bad_mark"),
        ({"collateral": [{"asset": "USDT", "qty": 1.0, "loan": 1.0}]}, "unsupported"),
        ({"parameters": {"prices": {"BTC": 1.0}}}, "bad_parameter"),
        ({"parameters": {"confidence": 1.0}}, "bad_parameter"),
        ({"parameters": {"grid_moves": [-1.0]}}, "bad_parameter"),
        ({"parameters": {"collateral_set": "none"}}, "unknown_parameter_set"),
        ({"parameters": {"profiles": ["none"]}}, "unknown_parameter_set"),
    ],
)
def test_refusals(change: Document, reason: str) -> None:
    with pytest.raises(MarginError) as refused:
        margin(document() | change)
    assert refused.value.reason == reason


def test_spot_is_collateral_and_an_order_names_its_venue() -> None:
    spot = {"instrument": "BTC", "kind": "spot", "underlying": "BTC", "qty": 1.0, "mark": 60_000.0, "venue": "okx"}
    assert bare(spot).equity == pytest.approx(1e6 + 57_000)
    # Where no market is given, a spot position has its own mark.
    assert bare(spot, underlyings={}).equity == pytest.approx(1e6 + 57_000)
    given_ = document(perpetual(1.0), perpetual(1.0, "deribit"), parameters=BARE)
    order = {"instrument": "BTC-P", "venue": "deribit", "side": "sell", "qty": 1.0, "price": 60_000.0}
    assert models.evaluate_orders(given_, [order]).after.initial == pytest.approx(12_000)
    with pytest.raises(MarginError, match="unknown_instrument"):
        models.evaluate_orders(given_, [order | {"venue": "binance"}])
    described = order | {"venue": "binance", "contract": perpetual(0.0, "")}
    after = models.evaluate_orders(given_, [described]).after
    assert after.details["equity_by_venue"].keys() == {"binance", "deribit", HOME, "okx"}


def test_the_example_has_every_part() -> None:
    result = models.evaluate(json.loads(FIXTURE.read_text()))
    for name in ("scenarios", "offset cap", "location", "stress", "liquidity", "funding"):
        assert result.components[name].initial > 0, name
    assert result.liquidation and result.details["collateral_usd"]


@pytest.mark.parametrize("module", ["risk.collateral", "risk.profiles", "risk.models.house"])
def test_each_module_may_be_the_first_to_be_imported(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
