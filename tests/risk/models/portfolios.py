"""Random portfolios of every model, as documents: solvent by a random margin, marked by the textbook's Black-76."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from risk.reference import black76

DAY_S = 86_400.0
EXPIRIES = (0.5 * DAY_S, 9 * DAY_S, 90 * DAY_S)

# model -> (account currency, kinds of position that it takes)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "tiered": ("USD", ("perpetual",)),
    "deribit_standard": ("BTC", ("inverse", "coin_option")),
    "deribit_portfolio": ("BTC", ("inverse", "inverse_future", "coin_option")),
    "okx_portfolio": ("USD", ("perpetual", "inverse", "future", "option")),
    "bybit_portfolio": ("USD", ("perpetual", "inverse", "future", "option")),
    "binance_portfolio": ("USD", ("perpetual", "inverse")),
    "derive_standard": ("USD", ("perpetual", "option")),
    "derive_portfolio": ("USD", ("perpetual", "option")),
    "paradex_portfolio": ("USD", ("perpetual", "option")),
    "span": ("USD", ("future", "option")),
    "grid": ("USD", ("perpetual", "future", "option")),
    "vega": ("USD", ("perpetual",)),
    "house": ("USD", ("perpetual", "inverse", "future", "option")),
}
TIERS = [[0.0, 0.004], [50_000.0, 0.005], [250_000.0, 0.01], [1_000_000.0, 0.025], [10_000_000.0, 0.05]]
PARAMETERS: dict[str, dict[str, Any]] = {
    "tiered": {"tiers": {"BTC-perpetual": TIERS}},
    "binance_portfolio": {"default_mmr": 0.01},
    # The default market asks 80 % of a long position, and no random portfolio is solvent under that.
    "vega": {"risk_aversion": 0.01, "sigma": 0.6},
    # Stress and location ask for what has been earned so far, which differs between the sides: tests of their own.
    "house": {
        "volumes": {"BTC": {"adv_usd": 1e9, "daily_vol": 0.04, "half_spread": 1e-4}},
        "default_loss": 0.0,
        "peg_moves": [],
        "location_rate": 0.0,
    },
}

sizes = st.floats(0.01, 20.0).map(lambda size: round(size, 3))
signs = st.sampled_from((-1.0, 1.0))


@st.composite
def positions(draw: st.DrawFn, spot: float, kind: str) -> dict[str, Any]:
    qty = draw(sizes) * draw(signs)
    entry = spot * draw(st.sampled_from((0.9, 1.0, 1.05)))
    held: dict[str, Any] = {"underlying": "BTC", "qty": qty, "instrument": f"BTC-{kind}", "kind": "perpetual"}
    if kind in ("perpetual", "future"):
        held |= {"kind": kind, "mark": spot * 1.001, "entry": entry, "settlement": "USDT", "leverage": 10.0}
    if kind in ("inverse", "inverse_future"):
        held |= {"style": "inverse", "settlement": "BTC", "qty": round(qty * spot), "mark": spot, "entry": entry}
    if kind in ("future", "inverse_future"):
        expiry_s = draw(st.sampled_from(EXPIRIES))
        held |= {"kind": "future", "expiry_s": expiry_s, "instrument": f"BTC-{kind}-{expiry_s:.0f}"}
    return held if "option" not in kind else held | draw(options(spot, kind == "coin_option"))


@st.composite
def options(draw: st.DrawFn, spot: float, in_coin: bool) -> dict[str, Any]:
    expiry_s = draw(st.sampled_from(EXPIRIES))
    strike = round(spot * draw(st.sampled_from((0.6, 0.9, 1.0, 1.1, 1.6))), 2)
    vol = draw(st.sampled_from((0.3, 0.6, 1.2)))
    is_call = draw(st.booleans())
    value = black76(spot * 1.001, strike, expiry_s / (365 * DAY_S), vol, is_call)
    return {
        "kind": "option",
        "instrument": f"BTC-{expiry_s:.0f}-{strike:g}-{'C' if is_call else 'P'}",
        "expiry_s": expiry_s,
        "strike": strike,
        "option_type": "call" if is_call else "put",
        "vol": vol,
        "mark": value / (spot * 1.001) if in_coin else value,
        "settlement": "BTC" if in_coin else "USD",
    }


@st.composite
def portfolios(draw: st.DrawFn, model: str, most: int = 4) -> dict[str, Any]:
    """A document; instruments are distinct, so that one has one volatility and one mark."""
    currency, kinds = KINDS[model]
    spot = draw(st.sampled_from((250.0, 20_000.0, 100_000.0)))
    drawn = st.sampled_from(kinds).flatmap(lambda kind: positions(spot, kind))
    held = draw(st.lists(drawn, min_size=1, max_size=most, unique_by=lambda position: position["instrument"]))
    coins = sum(abs(p["qty"]) / (spot if p.get("style") == "inverse" else 1.0) for p in held)
    cash = coins * draw(st.sampled_from((0.3, 0.7, 1.5))) * (1.0 if currency == "BTC" else spot)
    market = {"spot": spot, "perp_price": spot * 1.001}
    expiries = [{"expiry_s": expiry_s, "forward": spot * 1.001, "rate": 0.05} for expiry_s in EXPIRIES]
    return {
        "model": model,
        "currency": currency,
        "cash": cash,
        "underlyings": {"BTC": market | {"expiries": expiries}},
        "positions": held,
        "parameters": PARAMETERS.get(model, {}),
    }
