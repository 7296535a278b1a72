"""Venue models against slow computations of the same notes, where tiers end, options expire, and hedges exceed."""

from __future__ import annotations

from math import nextafter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import models
from risk.models.bybit_portfolio import hedged_days
from risk.models.okx_portfolio import minimum_charge
from risk.models.result import MarginError
from tests.risk.models import slow

SPOT = {"BTC": 60_000.0, "DOGE": 0.2, "ETH": 3_000.0}
# At expiry, inside the half hour of averaging, on both sides of a day and of thirty, and far beyond a year.
EXPIRIES = (0.0, 900.0, 86_000.0, 86_400.0, 30 * 86_400.0, 30 * 86_400.0 + 1, 500 * 86_400.0)
SIZES = (1e-9, 0.001, 1.0, 7.0, 40.0, 3e5)
FEW = settings(max_examples=12, deadline=None)


def margin(document: dict[str, Any]) -> models.MarginResult:
    return models.evaluate(document, with_liquidation=False)


def document(model: str, held: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    markets = {
        name: {"spot": spot, "expiries": [{"expiry_s": at, "forward": spot * 1.01} for at in EXPIRIES]}
        for name, spot in SPOT.items()
    }
    return {"model": model, "currency": "USD", "cash": 1e6, "underlyings": markets, "positions": held} | changes


def market(name: str) -> dict[str, Any]:
    return {"spot": SPOT[name], "forward": dict.fromkeys(EXPIRIES, SPOT[name] * 1.01)}


def future(name: str = "BTC", qty: float = 1.0, at: float | None = None, **changes: Any) -> dict[str, Any]:
    what = {"kind": "perpetual"} if at is None else {"kind": "future", "expiry_s": at}
    mark = SPOT[name]
    held = {"instrument": f"{name}-{at}-{changes}", "underlying": name, "qty": qty, "mark": mark, "entry": mark}
    return held | what | {"settlement": "USDT"} | changes


def inverse(qty: float, at: float | None = None) -> dict[str, Any]:
    return future("BTC", qty, at, style="inverse", settlement="BTC")


@st.composite
def contracts(draw: st.DrawFn, name: str, kinds: str, whole: bool = False) -> dict[str, Any]:
    """f a dated future, i an inverse one, o an option, p a perpetual, s spot."""
    kind, at = draw(st.sampled_from(kinds)), draw(st.sampled_from(EXPIRIES))
    sizes = st.integers(1, 9).map(float) if whole else st.sampled_from(SIZES)
    qty = draw(sizes) * draw(st.sampled_from((-1.0, 1.0)))
    if kind == "i":
        return inverse(qty * 10, at)
    if kind in "fp":
        return future(name, qty, at if kind == "f" else None, settlement=draw(st.sampled_from(("USDT", "USDC"))))
    if kind == "s":
        return future(name, qty, None, kind="spot", instrument=f"{name} spot", settlement="USD")
    strike = SPOT[name] * draw(st.sampled_from((0.3, 1.0, 1.05, 3.0)))
    vol, side = draw(st.sampled_from((0.0, 0.05, 0.6, 5.0))), draw(st.sampled_from(("call", "put")))
    what = {"kind": "option", "expiry_s": at, "strike": strike, "vol": vol, "option_type": side, "settlement": "USD"}
    worth = slow.value(SPOT[name] * 1.01, strike, at / slow.YEAR_S, vol, side == "call")
    return future(name, qty) | what | {"mark": worth, "entry": None, "instrument": f"{name}-{at}-{strike}-{side}"}


def books(kinds: str, names: tuple[str, ...] = ("BTC",), whole: bool = False) -> st.SearchStrategy[list[Any]]:
    one = st.sampled_from(names).flatmap(lambda name: contracts(name, kinds, whole))
    # Of what is at the money at its expiry delta and vega are what one says they are: not drawn.
    return st.lists(one, min_size=1, max_size=5, unique_by=lambda held: held["instrument"])


def close(expected: float, book: list[dict[str, Any]], rel: float = 1e-5) -> Any:
    """Deltas and vegas are differences here and derivatives there."""
    gross = sum(abs(held["qty"]) * SPOT[held["underlying"]] for held in book)
    return pytest.approx(expected, rel=rel, abs=1e-6 * gross)


@FEW
@given(books("fposi", ("BTC", "DOGE")), st.sampled_from((1.02, 0.995, 0.9, 0.8, 0.5)))
def test_okx_unit_by_unit_and_charge_by_charge(book: list[Any], peg: float) -> None:
    found = margin(document("okx_portfolio", book, stable_price=peg)).details
    for name in {held["underlying"] for held in book}:
        mine = [held for held in book if held["underlying"] == name]
        for charge, expected in slow.okx(name, market(name), mine, peg).items():
            assert found[name][charge] == close(expected, mine), charge


@pytest.mark.parametrize(("floor", "before", "after"), [(250e3, 1, 2), (500e3, 2, 4), (4e6, 10, 12)])
def test_okx_minimum_charge_on_both_sides_of_its_ranges(floor: float, before: int, after: int) -> None:
    for raw, times in ((floor * (1 - 1e-12), before), (floor * (1 + 1e-12), after)):
        found = margin(document("okx_portfolio", [future(qty=1.0)], parameters={"mr7_rate": raw / SPOT["BTC"]}))
        assert found.details["BTC"]["mr7"] == pytest.approx(raw * times)
    table = [(0.0, float(before)), (floor, float(after))]
    beyond = nextafter(floor, 5e6)
    assert (minimum_charge(floor, table), minimum_charge(beyond, table)) == (floor * before, beyond * after)


def test_without_a_set_a_coin_has_its_own_class() -> None:
    doge, both = (margin(document("okx_portfolio", held)) for held in ([future("DOGE")], [future("DOGE"), future()]))
    assert both.components["DOGE"] == doge.components["DOGE"]
    assert doge.details["DOGE"]["mr1"] == pytest.approx(0.25 * SPOT["DOGE"])
    with pytest.raises(MarginError, match="missing_parameters"):
        margin(document("bybit_portfolio", [future("DOGE")]))
    margin(document("bybit_portfolio", [future("DOGE")], parameter_set="btc_eth"))


@FEW
@given(books("fpoi"), st.sampled_from((-0.001, 0.0, 0.02)))
def test_paradex_whole(book: list[Any], funding: float) -> None:
    found = margin(document("paradex_portfolio", book, parameters={"funding_rate_8h": funding}))
    expected = slow.paradex(market("BTC"), book, funding)
    assert (found.initial, found.maintenance) == (close(expected[0], book), close(expected[1], book))


@FEW
@given(books("fpoi", whole=True))
def test_bybit_whole(book: list[Any]) -> None:
    assert margin(document("bybit_portfolio", book)).maintenance == close(slow.bybit(market("BTC"), book), book)


days = st.tuples(st.integers(0, 900), st.sampled_from((-3.0, -1.0, 1.0, 2.0)))


@settings(max_examples=60, deadline=None)
@given(st.lists(days, max_size=6), st.lists(days, min_size=1, max_size=2), st.sampled_from((1.0, 365.0)))
def test_a_spread_grows_by_no_more_than_the_whole_span_for_each_coin(held: Any, orders: Any, most: float) -> None:
    """Also where one pair is capped: what comes between pairs that were near makes all of them far."""
    lots = [slow.summed((day * slow.DAY_S, lot) for day, lot in rows) for rows in (held, held + orders)]
    before, after = (hedged_days(sorted(each.items()), most) for each in lots)
    assert (before, after) == pytest.approx([slow.paired_days(each, most) for each in lots])
    found = [day for day, _ in held + orders]
    assert after - before <= (max(found) - min(found)) * sum(abs(lot) for _, lot in orders) + 1e-9


def test_bybit_reserves_for_an_order_that_pairs_all_others_anew() -> None:
    ends = (86_000.0, 86_400.0, 400 * 86_400.0, 401 * 86_400.0, 800 * 86_400.0, 801 * 86_400.0)
    held = [future(qty=10.0 * (-1) ** row, at=at) for row, at in enumerate(ends)]
    whole = document("bybit_portfolio", held)
    whole["underlyings"]["BTC"] |= {"expiries": []}
    order = {"instrument": "new", "side": "sell", "qty": 10.0, "price": SPOT["BTC"], "contract": future(at=0.0)}
    filled = models.evaluate_orders(whole, [order]).after
    assert margin(whole | {"orders": [order]}).available <= filled.available


CREDITS = {"credits": [["BTC", 1.0, "ETH", 10.0, 0.5]], "initial_factor": 1.0}


@FEW
@given(books("fpos", ("BTC", "ETH")))
def test_span_whole(book: list[Any]) -> None:
    found = margin(document("span", book, parameters=CREDITS))
    months, least = {"BTC": 300.0, "ETH": 20.0}, {"BTC": 500.0, "ETH": 30.0}
    expected = slow.span({name: market(name) for name in ("BTC", "ETH")}, book, months, least, 10.0, 0.5)
    assert found.initial == close(expected, book) and found.maintenance == found.initial


def test_spot_frees_no_scan_risk_and_is_no_month() -> None:
    spot = future(qty=10.0, kind="spot", settlement="USD", instrument="spot")
    for short in (future("ETH", -100.0, 0.0), future("BTC", -10.0, 0.0)):
        alone, hedged = (margin(document("span", held, parameters=CREDITS)) for held in ([short], [short, spot]))
        assert hedged.initial == alone.initial > 0


def test_a_speck_of_delta_frees_no_short_options() -> None:
    at = 30 * 86_400.0
    worth = slow.value(60_600.0, 60_000.0, at / slow.YEAR_S, 0.6, True)
    what = {"kind": "option", "expiry_s": at, "strike": 60_000.0, "vol": 0.6, "mark": worth, "entry": None}
    straddle = [
        future(qty=-10.0, instrument=side, option_type=side, settlement="USD", **what) for side in ("call", "put")
    ]
    coins = -sum(slow.delta(market("BTC"), held) for held in straddle) - 1e-6
    held = [*straddle, future(qty=coins)]
    alone, hedged = (
        margin(document("span", each, parameters=CREDITS)) for each in (held, [*held, future("ETH", 1e-5)])
    )
    assert hedged.initial == pytest.approx(alone.initial, rel=1e-6)


@FEW
@given(books("fpo", ("BTC", "ETH")))
def test_deribit_in_dollars_over_units(book: list[Any]) -> None:
    found = margin(document("deribit_portfolio", book, parameter_set="eth_2026_02", parameters={"m_inc": 0.0}))
    worst, roll = slow.deribit({name: market(name) for name in ("BTC", "ETH")}, book)
    assert found.details["worst_case"] == close(worst, book, 1e-9)
    assert found.details["roll_shock"] == close(roll, book)
    assert (found.initial, found.maintenance) == (close(worst + roll, book), close(0.8 * (worst + roll), book))


ROWS = [[0.0, 0.004], [50_000.0, 0.005], [250_000.0, 0.01], [1_000_000.0, 0.05]]
legs = st.sampled_from((0.0, 49_999.99, 50_000.0, 50_000.01, 250_000.0, 1_000_000.0, 5e6)).map(lambda usd: usd / 60_000)


@FEW
@given(legs, legs, st.sampled_from((0.9, 1.0, 1.1)), st.sampled_from((1.0, 1.03)), st.data())
def test_binance_in_hedge_mode_keeps_both_legs(
    long: float, short: float, dear: float, peg: float, data: st.DataObject
) -> None:
    """A buy grows the long leg and a sale the short one, each by its tiers, whatever part of them fills."""
    held = [future(qty=q, leg=leg, instrument="X") for q, leg in ((long, "long"), (-short, "short")) if q]
    sizes = [data.draw(legs), data.draw(legs)]
    price = SPOT["BTC"] * dear
    orders = [
        {"instrument": "X", "side": side, "qty": q, "price": price, "contract": future(leg=leg, instrument="X")}
        for side, leg, q in (("buy", "long", sizes[0]), ("sell", "short", sizes[1]))
        if q
    ]
    pledged = [{"asset": "USDT", "qty": 1e5, "price": peg, "rate": 0.97}]
    whole = document("binance_portfolio", held, collateral=pledged, cash=0.0, parameters={"tiers": {"X": ROWS}})
    reserved = margin(whole | {"orders": orders})
    for bought, sold in ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 1)):
        fills = [o | {"qty": o["qty"] * share} for o in orders if (share := bought if o["side"] == "buy" else sold)]
        after = models.evaluate_orders(whole, fills).after if fills else margin(whole)
        sides = long + bought * sizes[0], short + sold * sizes[1]
        expected = sum(slow.slices(ROWS, q * SPOT["BTC"]) for q in sides) * peg
        owned = (1e5 + (bought * sizes[0] - sold * sizes[1]) * (SPOT["BTC"] - price)) * peg
        assert after.maintenance == pytest.approx(expected, rel=1e-9, abs=1e-6)
        assert after.equity == pytest.approx(min(owned, 0.97 * owned), rel=1e-9, abs=1e-6)
        assert after.available >= reserved.available - 1e-6 - 1e-12 * abs(owned)


@pytest.mark.parametrize("model", ["okx_portfolio", "bybit_portfolio", "paradex_portfolio", "deribit_portfolio"])
@FEW
@given(st.lists(st.tuples(st.sampled_from(EXPIRIES), st.sampled_from((-7.0, -1.0, 1.0, 40.0))), max_size=4))
def test_linear_books_have_a_mirror(model: str, rows: list[tuple[float, float]]) -> None:
    """Where no option is held and the far moves, which differ to both sides, are left out."""
    parameters: dict[str, Any] = {"extended_moves": []} if model == "deribit_portfolio" else {}
    if model == "paradex_portfolio":
        parameters = {"scenarios": [[x, "up", 1.0] for x in (-0.16, 0.0, 0.16)]}
    book = [future(qty=qty, at=at) for at, qty in dict(rows).items()]
    other = [held | {"qty": -held["qty"]} for held in book]
    one, mirrored = (margin(document(model, each, parameters=parameters)) for each in (book, other))
    assert (mirrored.initial, mirrored.maintenance) == pytest.approx((one.initial, one.maintenance), rel=1e-12)
    assert not book or one.initial > 0
