"""Golden cases with other inputs: every field of the vectors' schema varied, against formulas written from the sheet.

Each reference below is a loop or a line of its own and shares no code with risk/models. What the vectors' files show of
a family (its keys) is what a case here is made of.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import models

sides = st.sampled_from(("long", "short"))
prices = st.floats(0.5, 100_000)
sizes = st.floats(0.001, 5_000)
rates = st.floats(0.001, 0.2)


def run(case: dict[str, Any], **options: Any) -> dict[str, Any]:
    return models.evaluate_case(case, **options).values


def sign(side: str) -> float:
    return 1.0 if side == "long" else -1.0


# -- liquidation prices of linear positions


@given(sides, prices, sizes, st.floats(1.01, 40), rates, st.floats(0, 0.3))
def test_binance_isolated(side: str, entry: float, qty: float, leverage: float, mmr: float, cum: float) -> None:
    """LP = (WB + cum - side q EP) / (q MMR - side q)."""
    margin, cum = entry * qty / leverage, cum * entry * qty * mmr
    case = {
        "mode": "isolated", "venue": "binance",
        "input": {"side": side, "leverage": leverage, "entry": entry, "qty": qty, "isolated_margin": margin,
                  "mmr": mmr, "maint_amount": cum},
    }  # fmt: skip
    s = sign(side)
    expected = (margin + cum - s * qty * entry) / (qty * mmr - s * qty)
    found = run(case)
    # Where the deduction is more than the rate asks for, maintenance is nothing, and no less.
    if expected > 0 and expected * qty * mmr >= cum:
        assert found["liq_price"] == pytest.approx(expected, rel=1e-9)
        assert abs(found["gap"]) < 1e-9 * qty * expected
    bankrupt = entry - s * margin / qty
    if bankrupt > 0:
        assert found["bankruptcy_price"] == pytest.approx(bankrupt, rel=1e-9)


@given(sides, prices, sizes, rates, st.lists(st.tuples(sides, prices, sizes, st.floats(0.9, 1.1), rates), max_size=3))
def test_binance_cross(side: str, entry: float, qty: float, mmr: float, others: list[Any]) -> None:
    """LP = (WB - TMM + UPNL + cum - side q EP) / (q MMR - side q), others standing still."""
    rest = [
        {"side": s, "qty": q, "entry": e, "mark": e * move, "mmr": m, "maint_amount": 0.1 * m * e * q * move}
        for s, e, q, move, m in others
    ]
    tmm = sum(o["qty"] * o["mark"] * o["mmr"] - o["maint_amount"] for o in rest)
    upnl = sum(sign(o["side"]) * o["qty"] * (o["mark"] - o["entry"]) for o in rest)
    wallet = tmm - upnl + entry * qty * 0.4
    target = {"side": side, "qty": qty, "entry": entry, "mmr": mmr, "maint_amount": 0.0}
    found = run(
        {"mode": "cross", "venue": "binance", "input": {"wallet_balance": wallet, "target": target, "others": rest}}
    )
    assert found["other_mm"] == pytest.approx(tmm, rel=1e-9, abs=1e-9)
    assert found["other_upnl"] == pytest.approx(upnl, rel=1e-9, abs=1e-6)
    s = sign(side)
    expected = (wallet - tmm + upnl - s * qty * entry) / (qty * mmr - s * qty)
    assert found["liq_price"] == pytest.approx(expected, rel=1e-9)


@given(
    sides, prices, sizes, st.floats(1.01, 40), rates, st.floats(0, 0.002), st.sampled_from(("okx", "gate", "okx/gate"))
)
def test_okx_and_gate_isolated(
    side: str, entry: float, qty: float, leverage: float, mmr: float, fee: float, venue: str
) -> None:
    """Margin + side q (LP - EP) = q LP (MMR + fee)."""
    margin, s = entry * qty / leverage, sign(side)
    given = {"side": side, "leverage": leverage, "entry": entry, "qty": qty, "isolated_margin": margin, "mmr": mmr,
             "taker_fee": fee}  # fmt: skip
    expected = (entry - s * margin / qty) / (1 - s * (mmr + fee))
    found = run({"mode": "isolated", "venue": venue, "input": given})
    assert found["liq_price"] == pytest.approx(expected, rel=1e-9)


@given(sides, prices, sizes, st.floats(1.01, 40), st.floats(0.001, 0.02))
def test_bybit_isolated(side: str, entry: float, qty: float, leverage: float, mmr: float) -> None:
    """LP = entry -/+ (IM - MM) / q, both at entry."""
    margin, s = entry * qty / leverage, sign(side)
    given = {"side": side, "leverage": leverage, "entry": entry, "qty": qty, "isolated_margin": margin, "mmr": mmr}
    expected = entry - s * (margin - entry * qty * mmr) / qty
    assert run({"mode": "isolated", "venue": "bybit", "input": given})["liq_price"] == pytest.approx(expected, rel=1e-9)


@given(sides, prices, sizes, st.floats(0.01, 0.9), st.floats(0.01, 0.1), st.floats(0.001, 0.009))
def test_bitmex_cross(side: str, entry: float, qty: float, cover: float, im_rate: float, mm_rate: float) -> None:
    """Maintenance on the entry notional; bankrupt where nothing is left."""
    s, wallet = sign(side), cover * entry * qty + entry * qty * 0.02
    given = {"side": side, "wallet_balance": wallet, "qty": qty, "entry": entry, "im_rate": im_rate, "mm_rate": mm_rate}
    found = run({"mode": "cross", "venue": "bitmex", "input": given})
    assert found["im"] == pytest.approx(entry * qty * im_rate)
    assert found["mm"] == pytest.approx(entry * qty * mm_rate)
    assert found["available"] == pytest.approx(wallet - entry * qty * im_rate, abs=1e-9 * wallet + 1e-9)
    assert found["liq_price"] == pytest.approx(entry - s * (wallet - entry * qty * mm_rate) / qty, rel=1e-9)
    assert found["bankruptcy_price"] == pytest.approx(entry - s * wallet / qty, rel=1e-9)


@given(sides, prices, st.floats(1.5, 50), st.floats(0.001, 0.01))
def test_mcs_inverse_isolated(side: str, entry: float, leverage: float, mmr: float) -> None:
    """LP = entry L / (L (1 -/+ MMR) +/- 1)."""
    given = {"side": side, "leverage": leverage, "entry": entry, "mmr": mmr}
    found = run({"mode": "isolated", "venue": "mcs.io", "contract": "inverse_style", "input": given})
    s = sign(side)
    assert found["liq_price"] == pytest.approx(entry * leverage / (leverage * (1 - s * mmr) + s), rel=1e-9)


@given(sides, prices, sizes, st.sampled_from((3, 5, 10, 20, 25, 40, 50)), st.floats(1.2, 30))
def test_hyperliquid_cross(side: str, price: float, qty: float, leverage: int, cover: float) -> None:
    """LP = price - side available / size / (1 - l side), l = 1 / (2 max leverage)."""
    s, rate = sign(side), 1 / (2 * leverage)
    value = price * qty * rate * cover
    given = {"side": side, "qty": qty, "price": price, "account_value": value, "max_leverage": leverage}
    found = run({"mode": "cross", "venue": "hyperliquid", "input": given})
    expected = price - s * (value - price * qty * rate) / qty / (1 - rate * s)
    assert found["mm"] == pytest.approx(price * qty * rate)
    if expected > 1e-9 * price:  # nearer to nothing it is rounding alone
        assert found["liq_price"] == pytest.approx(expected, rel=1e-9)


# -- inverse contracts


@given(sides, st.floats(100, 1e6), prices, st.floats(0.1, 0.9), st.floats(0.001, 0.01), st.floats(0, 0.001))
def test_bybit_inverse_cross(side: str, face: float, entry: float, cover: float, mmr: float, fee: float) -> None:
    """Bankrupt at (1 +/- fee) Q / (Q/E +/- available), where closing costs its fee; liquidated MM at entry before."""
    s, value = sign(side), face / entry
    balance, order_margin = cover * value + 0.1 * value, 0.05 * value
    given = {"side": side, "contracts_usd": face, "entry": entry, "balance_btc": balance, "mmr": mmr, "taker_fee": fee,
             "order_margin_btc": order_margin}  # fmt: skip
    available = balance - order_margin
    bankrupt = (1 + s * fee) * face / (value + s * available)
    found = run({"input": given})
    assert found["bankruptcy_price"] == pytest.approx(bankrupt, rel=1e-9)
    closing = face / bankrupt * fee
    liquid = face / (value + s * (available - value * mmr - closing))
    assert found["liq_price"] == pytest.approx(liquid, rel=1e-9)


@given(sides, st.floats(100, 1e6), prices, st.floats(1.2, 50), st.floats(0.001, 0.01))
def test_bybit_inverse_isolated(side: str, face: float, entry: float, leverage: float, mmr: float) -> None:
    """LP = Q / (PV +/- (IM - MM))."""
    s, value = sign(side), face / entry
    found = run({"input": {"side": side, "contracts_usd": face, "entry": entry, "leverage": leverage, "mmr": mmr}})
    assert found["liq_price"] == pytest.approx(face / (value + s * (value / leverage - value * mmr)), rel=1e-9)
    assert (found["im"], found["mm"]) == pytest.approx((value / leverage, value * mmr))


@given(sides, st.floats(100, 1e6), prices, st.floats(0.3, 3))
def test_inverse_profit(side: str, face: float, entry: float, move: float) -> None:
    mark = entry * move
    found = run({"input": {"side": side, "contracts_usd": face, "entry": entry, "mark": mark}})
    assert found["upnl_btc"] == pytest.approx(sign(side) * face * (1 / entry - 1 / mark), rel=1e-9, abs=1e-12)


@given(st.floats(100, 1e6), prices, st.floats(1, 50), st.floats(0.005, 0.05), st.floats(0.001, 0.005))
def test_inverse_margins_by_leverage(face: float, price: float, leverage: float, init: float, maint: float) -> None:
    given = {"contracts_usd": face, "price": price, "leverage": leverage, "margin_init": init, "margin_maint": maint}
    found = run({"input": given})
    assert found["im_btc"] == pytest.approx(face / price / leverage * init)
    assert found["mm_btc"] == pytest.approx(face / price / leverage * maint)
    assert found["im_usd_quote_mode"] == pytest.approx(face / leverage * init)


# -- tiers


@st.composite
def tier_rows(draw: st.DrawFn) -> list[list[float]]:
    count = draw(st.integers(1, 8))
    floors = sorted(draw(st.lists(st.floats(1, 1e8), min_size=count - 1, max_size=count - 1, unique=True)))
    steps = sorted(draw(st.lists(st.floats(0.001, 0.5), min_size=count, max_size=count)))
    return [[floor, rate] for floor, rate in zip([0.0, *floors], steps, strict=True)]


@given(tier_rows(), st.floats(0, 3e8))
def test_binance_tiers(rows: list[list[float]], notional: float) -> None:
    """Slices of notional, each at its own rate; the deduction is what is left."""
    mm = sum(max(0.0, min(notional, end) - floor) * rate
             for (floor, rate), end in zip(rows, [*(row[0] for row in rows[1:]), math.inf], strict=True))  # fmt: skip
    found = run({"venue": "binance", "input": {"tiers": rows, "notional": notional}})
    assert found["mm"] == pytest.approx(mm, rel=1e-9, abs=1e-6)
    assert found["maint_amount"] == pytest.approx(notional * found["mmr"] - mm, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize(
    ("tiers", "notional", "mmr", "mm"),
    [
        ([[0, 40], [150e6, 20]], 150e6, 0.0125, 1_875_000),
        ([[0, 40], [150e6, 20]], 1.0, 0.0125, 0.0125),
        ([[0, 25], [100e6, 15]], 200e6, 1 / 30, 200e6 / 30 - 100e6 * (1 / 30 - 1 / 50)),
        ([[0, 20], [70e6, 10]], 100e6, 0.05, 100e6 * 0.05 - 70e6 * 0.025),
        ([[0, 3]], 10.0, 1 / 6, 10 / 6),
    ],
)
def test_hyperliquid_tiers(tiers: list[list[float]], notional: float, mmr: float, mm: float) -> None:
    found = run({"venue": "hyperliquid", "input": {"tiers": tiers, "notional": notional}})
    assert (found["mmr"], found["mm"]) == pytest.approx((mmr, mm))
    assert found["mmr0"] == pytest.approx(1 / (2 * tiers[0][1])) and "deduction0" in found


ppm = st.integers(0, 1_000_000)


@given(ppm, st.integers(0, 10**19), st.integers(0, 10**19), st.integers(0, 2 * 10**19), st.integers(0, 10**24))
def test_dydx_in_integers_alone(base: int, low: int, width: int, oi: int, notional: int) -> None:
    """IMF = base + (1 - base) clamp((OI - lower) / (upper - lower)); quanta rounded up."""
    upper = low + width
    given = {"base_im_ppm": base, "oi_lower": low, "oi_upper": upper, "oi": oi, "notional_quantums": notional}
    if upper == 0 or oi <= low:
        numerator, denominator = base, 1_000_000
    elif oi >= upper:
        numerator, denominator = 1, 1
    else:
        numerator = base * (upper - low) + (1_000_000 - base) * (oi - low)
        denominator = 1_000_000 * (upper - low)
    expected = -(-notional * numerator // denominator)
    assert run({"venue": "dydx_v4", "input": given})["im_quantums"] == expected


@given(st.floats(0, 1e6), st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0, 1e5))
def test_one_deduction_from_the_tier_before(floor: float, rate: float, before: float, cum: float) -> None:
    given = {"rule": "cum", "floor": floor, "mmr_n": rate, "mmr_prev": before, "cum_prev": cum}
    found = run({"venue": "binance", "input": given})
    assert found["maint_amount"] == pytest.approx(floor * (rate - before) + cum, rel=1e-9, abs=1e-9)


# -- Deribit's standard margin


@given(
    st.sampled_from(("call", "put")), sides, st.floats(0.1, 10), st.floats(100, 100_000), st.floats(0.2, 3),
    st.floats(0, 0.5),
)  # fmt: skip
def test_deribit_options(kind: str, side: str, qty: float, spot: float, moneyness: float, mark: float) -> None:
    """The figures are of one contract, whatever the quantity."""
    strike = spot * moneyness
    given = {"type": kind, "side": side, "qty": qty, "underlying": spot, "strike": strike, "mark_coin": mark}
    found = run({"input": given})
    if side == "long":
        expected = (0.0, 0.0)
        assert (found["order_im_coin"], found["order_im_usd"]) == pytest.approx((mark, mark * spot), abs=1e-12)
    else:
        otm = max(strike - spot, 0) / spot if kind == "call" else max(spot - strike, 0) / spot
        im = max(0.15 - otm, 0.10) + mark
        mm = 0.075 + mark if kind == "call" else max(0.075, 0.075 * mark) + mark
        expected = (im if kind == "call" else max(im, mm), mm)
    assert (found["im_coin"], found["mm_coin"]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert (found["im_usd"], found["mm_usd"]) == pytest.approx([spot * x for x in expected], rel=1e-9, abs=1e-9)


@given(
    st.sampled_from(("call", "put")), st.floats(-5, 5), st.lists(st.floats(0.1, 3), max_size=4), st.floats(0.5, 1.5),
    st.floats(0.001, 0.2),
)  # fmt: skip
def test_deribit_orders_beyond_what_closes(
    kind: str, position: float, buys: list[float], moneyness: float, mark: float
) -> None:
    """Buys close a short first: only what is beyond it reserves its premium."""
    spot = 10_000.0
    orders = [{"side": "buy", "qty": qty, "limit_coin": mark} for qty in buys]
    given = {"type": kind, "position": position, "open_orders": orders, "underlying": spot,
             "strike": spot * moneyness, "mark_coin": mark}  # fmt: skip
    found, alone = run({"input": given}), run({"input": {**given, "open_orders": []}})
    beyond = max(0.0, sum(buys) - max(0.0, -position))
    assert found["total_im_usd"] == pytest.approx(alone["total_im_usd"] + beyond * mark * spot, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(("currency", "rate"), [("BTC", 5e-5), ("ETH", 4e-6)])
@given(size=st.floats(0, 5_000))
def test_deribit_futures(currency: str, rate: float, size: float) -> None:
    found = run({"input": {"type": "inverse_future_or_perp", "currency": currency, "size_coin": size}})
    assert (found["im_rate"], found["mm_rate"]) == pytest.approx((0.02 + size * rate, 0.01 + size * rate))
    assert found["im_coin"] == pytest.approx((0.02 + size * rate) * size)
    assert found["mm_coin"] == pytest.approx((0.01 + size * rate) * size)


# -- OKX, SPAN, Vega, Binance, BitMEX


@given(
    st.lists(st.tuples(st.floats(-50, 50).filter(lambda n: abs(n) > 0.01), st.floats(0.01, 1)), min_size=1, max_size=4),
    st.floats(1, 1e5), st.sampled_from(("BTC", "ETH", "LTC", "SOL")), st.floats(0.001, 0.01), st.floats(0.001, 0.01),
)  # fmt: skip
def test_okx_unit(rows: list[tuple[float, float]], mark: float, unit: str, mr4: float, mr7: float) -> None:
    positions = [
        {"inst": f"{unit}-USDT-{n}", "contracts": contracts, "contract_base": base, "avg_px": mark, "mark": mark}
        for n, (contracts, base) in enumerate(rows)
    ]
    net = sum(contracts * base for contracts, base in rows)
    gross = sum(abs(contracts * base) for contracts, base in rows)
    if abs(net) < 0.05 * gross:
        return
    shocks = [-0.18, -0.12, -0.06, 0, 0.06, 0.12, 0.18]
    given = {
        "risk_unit": unit, "positions": positions, "cash_delta_usd": net * mark,
        "shocked_notional_usd": abs(net) * mark, "mr1_shocks": shocks, "mr6_shock": 0.36, "mr6_weight": 0.5,
        "mr4_rate": mr4, "mr7_rate": mr7, "imr_factor": 1.3, "mr2": 0, "mr3": 0, "mr5": 0, "mr9": 0,
    }  # fmt: skip
    found = run({"input": given})
    pnl = [net * mark * shock for shock in shocks]
    mr1, mr6 = max(0.0, -min(pnl)), 0.5 * abs(net) * mark * 0.36
    assert found["mr1"] == pytest.approx(mr1, rel=1e-9)
    assert [found["mr1_scenarios"][f"{shock:g}"] for shock in shocks] == pytest.approx(pnl, rel=1e-9, abs=1e-9)
    assert found["mr6"] == pytest.approx(mr6, rel=1e-9)
    assert found["mr6_pnl"] == pytest.approx(-2 * mr6, rel=1e-9)
    assert found["mr7"] == pytest.approx(gross * mark * mr7, rel=1e-9)
    assert found["mmr"] == pytest.approx(max(max(mr1, mr6) + found["mr4"], found["mr7"]), rel=1e-9)
    assert found["imr"] == pytest.approx(1.3 * found["mmr"], rel=1e-9)
    if len(rows) == 1:
        assert found["mr4"] == pytest.approx(abs(net) * mark * mr4, rel=1e-9)


def test_okx_account_sums_units_and_borrowing() -> None:
    """The API documentation's account: two units, and 2 % / 10 % of what is owed."""
    units = [{"mmr": 1183.8207, "imr": 1538.9670}, {"mmr": 191.6630, "imr": 249.1619}]
    found = run({"input": {"units": units, "borrowed_usd": 78_553.22}})
    assert found["mmr"] == pytest.approx(2946.5481, abs=1e-4)
    assert found["imr"] == pytest.approx(9643.4509, abs=1e-3)


numbers = st.lists(st.floats(-1e5, 1e5), min_size=16, max_size=16)


@given(numbers, st.floats(-20, 20))
def test_span_of_one_contract(array: list[float], qty: float) -> None:
    given: dict[str, Any] = {"array": array, "qty": qty}
    expected = max(0.0, -min(qty * one for one in array))
    assert run({"input": given})["scan_risk"] == pytest.approx(expected, rel=1e-12, abs=1e-9)


@given(st.lists(st.tuples(numbers, st.floats(-20, 20)), min_size=1, max_size=4))
def test_span_of_several_contracts(legs: list[tuple[list[float], float]]) -> None:
    totals = [sum(qty * array[i] for array, qty in legs) for i in range(16)]
    expected = pytest.approx(max(0.0, -min(totals)), rel=1e-9, abs=1e-6)
    assert run({"input": {"legs": [{"array": a, "qty": q} for a, q in legs]}})["scan_risk"] == expected
    assert run({"input": {"arrays": [a for a, _ in legs], "qtys": [q for _, q in legs]}})["scan_risk"] == expected
    by_name = {f"leg{n}": a for n, (a, _) in enumerate(legs)}
    quantities = {f"leg{n}": q for n, (_, q) in enumerate(legs)}
    assert run({"input": {"arrays": by_name, "qty": quantities}})["scan_risk"] == expected


@given(st.floats(-10, 10).filter(lambda q: abs(q) > 1e-3), st.floats(1, 1e5), st.floats(0, 0.5), st.floats(0, 2))
def test_vega_maintenance(qty: float, mark: float, slippage: float, factor: float) -> None:
    given = {"qty": qty, "mark": mark, "linear_slippage": slippage, "risk_factor": factor}
    assert run({"input": given})["mm"] == pytest.approx(abs(qty) * mark * (slippage + factor), rel=1e-9)


@given(
    st.floats(1, 1e5), st.floats(0, 0.1), st.floats(-0.5, 0.5), st.floats(0, 2), st.floats(-10, 10), st.floats(0, 1e5)
)
def test_vega_funding(twap: float, dt: float, interest: float, factor: float, qty: float, futures: float) -> None:
    """Without a futures TWAP the payment is the interest of the spot's."""
    given = {"s_twap": twap, "delta_t": dt, "interest": interest, "margin_funding_factor": factor, "qty": qty,
             "futures_mm": futures}  # fmt: skip
    found = run({"input": given})
    payment = twap * interest * dt
    assert found["funding_payment"] == pytest.approx(payment, rel=1e-9, abs=1e-12 * twap)
    assert found["total"] == pytest.approx(futures + factor * max(0.0, payment * qty), rel=1e-9, abs=1e-10 * twap)


@given(st.floats(0.001, 0.2), st.floats(0.001, 1.0), st.floats(0.1, 3.0))
def test_vega_risk_factors(aversion: float, tau: float, sigma: float) -> None:
    """Expected shortfall of a log-normal price, by the quadrature of its tails."""
    s, z = sigma * math.sqrt(tau), NormalDist().inv_cdf(1 - aversion)
    found = run({"input": {"risk_aversion_lambda": aversion, "tau_years": tau, "mu": 0, "r": 0, "sigma": sigma}})
    cdf = NormalDist().cdf
    assert found["risk_factor_short"] == pytest.approx(cdf(s - z) / aversion - 1, rel=1e-9, abs=1e-9)
    assert found["risk_factor_long"] == pytest.approx(1 - cdf(-z - s) / aversion, rel=1e-9, abs=1e-9)


@given(
    st.dictionaries(st.sampled_from(("USDT", "BTC", "ETH", "BNB")), st.tuples(st.floats(0, 100), st.floats(0, 100))),
    st.dictionaries(st.sampled_from(("USDT", "BTC")), st.floats(0, 1e4)),
    st.lists(st.tuples(sides, st.floats(0.001, 10), prices, prices), max_size=3),
    st.lists(st.tuples(sides, st.floats(10, 1e5), prices, prices), max_size=2), st.floats(0.001, 0.05),
    st.floats(0.01, 0.2),
)  # fmt: skip
def test_binance_asset_equity(
    margin: dict[str, Any], wallet: dict[str, float], um: list[Any], cm: list[Any], fut: float, loan: float
) -> None:
    if not margin and not um and not cm:
        return
    given: dict[str, Any] = {
        "margin": {asset: list(pair) for asset, pair in margin.items()}, "wallet": wallet,
        "um": [{"side": s, "qty": q, "entry": e, "mark": m} for s, q, e, m in um],
        "cm": [{"side": s, "usd": q, "entry": e, "mark": m} for s, q, e, m in cm], "fut_mmr": fut, "loan_mmr": loan,
    }  # fmt: skip
    found = run({"input": given})
    upnl = [sign(s) * q * (m - e) for s, q, e, m in um]
    coin = [sign(s) * q * (1 / e - 1 / m) for s, q, e, m in cm]
    assert found["upnl_um"] == pytest.approx(upnl, rel=1e-9, abs=1e-9)
    assert found["mm_um"] == pytest.approx([q * m * fut for _, q, _, m in um], rel=1e-9)
    if len(cm) == 1:
        assert found["upnl_cm_btc"] == pytest.approx(coin[0], rel=1e-9, abs=1e-12)
        assert found["mm_cm_btc"] == pytest.approx(cm[0][1] / cm[0][3] * fut, rel=1e-9)
    assert found["mm_margin"] == pytest.approx({a: p[1] * loan for a, p in margin.items() if p[1]}, rel=1e-9)
    for asset in {*margin, *wallet}:
        held, owed = margin.get(asset, (0.0, 0.0))
        profit = sum(upnl) if asset == "USDT" else sum(coin) if asset == "BTC" else 0.0
        expected = held - owed + wallet.get(asset, 0.0) + profit
        assert found["equity"][asset] == pytest.approx(expected, rel=1e-9, abs=1e-7)


@given(sides, prices, st.floats(0.5, 2), st.floats(0.05, 0.9))
def test_bitmex_rank(side: str, entry: float, move: float, distance: float) -> None:
    mark, s = entry * move, sign(side)
    bankrupt = mark * (1 - s * distance)
    found = run({"input": {"side": side, "qty": 1, "entry": entry, "mark": mark, "bankruptcy": bankrupt}})
    share = s * (mark - entry) / entry
    leverage = mark / abs(mark - bankrupt)
    assert found["pnl_pct"] == pytest.approx(share, rel=1e-9, abs=1e-12)
    assert found["eff_leverage"] == pytest.approx(leverage, rel=1e-9)
    assert found["rank"] == pytest.approx(share * leverage if share > 0 else share / leverage, rel=1e-9, abs=1e-12)


# -- backtests


@given(st.integers(10, 2000), st.floats(0.001, 0.2), st.data())
def test_kupiec(n: int, p: float, data: st.DataObject) -> None:
    x = data.draw(st.integers(0, n))
    found = run({"input": {"n": n, "exceptions": x, "p": p}})

    def log_likelihood(rate: float) -> float:
        hits = 0.0 if x == 0 else x * math.log(rate)
        return hits + (0.0 if x == n else (n - x) * math.log(1 - rate))

    expected = -2 * (log_likelihood(p) - log_likelihood(x / n))
    assert found["lr_pof"] == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert found["p_value"] == pytest.approx(math.erfc(math.sqrt(max(0.0, expected) / 2)), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "p", "yellow", "red"),
    [(250, 0.01, 5, 10), (500, 0.01, 9, 15), (750, 0.01, 12, 20), (1000, 0.01, 15, 24), (250, 0.005, 3, 7),
     (750, 0.005, 7, 13)],
)  # fmt: skip
def test_basel(n: int, p: float, yellow: int, red: int) -> None:
    """The sheet's zones, and the binomial's own words: cumulative probability from 95 % and from 99.99 %."""
    found = run({"input": {"n": n, "p": p}})
    assert (found["yellow_from"], found["red_from"]) == (yellow, red)
    below = [sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(x + 1)) for x in range(40)]
    assert yellow == next(x for x in range(40) if below[x] >= 0.95)
    assert red == next(x for x in range(40) if below[x] >= 0.9999)


@given(st.lists(st.booleans(), min_size=30, max_size=300), st.floats(0.005, 0.1))
def test_christoffersen(hits: list[bool], p: float) -> None:
    series = [int(hit) for hit in hits]
    counts = {(a, b): 0 for a in (0, 1) for b in (0, 1)}
    for pair in pairwise(series):
        counts[pair] += 1

    def part(hit: int, miss: int) -> float:
        total = hit + miss
        found = 0.0
        for count in (hit, miss):
            found += count * math.log(count / total) if count else 0.0
        return found

    n00, n01, n10, n11 = counts[0, 0], counts[0, 1], counts[1, 0], counts[1, 1]
    expected = -2 * (part(n01 + n11, n00 + n10) - part(n01, n00) - part(n11, n10))
    found = run({"input": {"hits": series, "p": p}})
    assert found["lr_ind"] == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert found["lr_cc"] == pytest.approx(found["lr_pof"] + found["lr_ind"], rel=1e-9, abs=1e-9)
    by_counts = run({"input": {"n00": n00, "n01": n01, "n10": n10, "n11": n11}})
    assert by_counts["lr_ind"] == pytest.approx(found["lr_ind"])
