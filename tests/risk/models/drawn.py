"""Portfolios with working orders of every model, drawn from a seed; the same shapes as in portfolios.py."""

from __future__ import annotations

from random import Random
from typing import Any

from risk.reference import black76
from tests.risk.models.portfolios import DAY_S, EXPIRIES, KINDS, PARAMETERS


def position(random: Random, spot: float, kind: str) -> dict[str, Any]:
    """Return one position of a kind."""
    qty = round(random.uniform(0.01, 20.0), 3) * random.choice((-1.0, 1.0))
    entry = spot * random.choice((0.9, 1.0, 1.05))
    held: dict[str, Any] = {"underlying": "BTC", "qty": qty, "instrument": f"BTC-{kind}", "kind": "perpetual"}
    if kind in ("perpetual", "future"):
        held |= {"kind": kind, "mark": spot * 1.001, "entry": entry, "settlement": "USDT", "leverage": 10.0}
    if kind in ("inverse", "inverse_future"):
        held |= {"style": "inverse", "settlement": "BTC", "qty": round(qty * spot), "mark": spot, "entry": entry}
    if kind in ("future", "inverse_future"):
        expiry_s = random.choice(EXPIRIES)
        held |= {"kind": "future", "expiry_s": expiry_s, "instrument": f"BTC-{kind}-{expiry_s:.0f}"}
    return held | option(random, spot, kind == "coin_option") if "option" in kind else held


def option(random: Random, spot: float, in_coin: bool) -> dict[str, Any]:
    """Return what makes a position an option."""
    expiry_s, vol, is_call = random.choice(EXPIRIES), random.choice((0.3, 0.6, 1.2)), random.random() < 0.5
    strike = round(spot * random.choice((0.6, 0.9, 1.0, 1.1, 1.6)), 2)
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


def document(random: Random, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a portfolio of a model, and orders in what it holds and in what it might."""
    currency, kinds = KINDS[model]
    spot = random.choice((250.0, 20_000.0, 100_000.0))
    drawn = [position(random, spot, random.choice(kinds)) for _ in range(random.randint(2, 5))]
    held = list({each["instrument"]: each for each in drawn}.values())
    coins = sum(abs(p["qty"]) / (spot if p.get("style") == "inverse" else 1.0) for p in held)
    cash = coins * random.choice((0.1, 0.3, 0.7, 1.5)) * (1.0 if currency == "BTC" else spot)
    expiries = [{"expiry_s": expiry_s, "forward": spot * 1.001, "rate": 0.05} for expiry_s in EXPIRIES]
    orders = [
        {
            "instrument": contract["instrument"],
            "side": random.choice(("buy", "sell")),
            "qty": abs(contract["qty"]) * random.choice((0.25, 1.0, 1.5, 3.0)),
            "price": contract["mark"] * random.choice((0.97, 1.0, 1.03)),
        }
        for contract in random.sample(held, min(len(held), random.randint(1, 3)))
    ]
    if "derive" in model:
        orders = orders[:2]
    whole = {
        "model": model,
        "currency": currency,
        "cash": cash,
        "underlyings": {"BTC": {"spot": spot, "perp_price": spot * 1.001, "expiries": expiries}},
        "positions": held,
        "parameters": PARAMETERS.get(model, {}),
    }
    return whole, orders
