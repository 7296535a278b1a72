"""A fill that is paid for with borrowed money is reserved for: a counterexample that hypothesis once found."""

from __future__ import annotations

from typing import Any

import pytest

from risk import models

SPOT, FORWARD, MARK = 250.0, 250.25, 149.75
DOCUMENT: dict[str, Any] = {
    "model": "okx_portfolio",
    "currency": "USD",
    "cash": 150.0,
    "underlyings": {
        "BTC": {
            "spot": SPOT,
            "perp_price": FORWARD,
            "expiries": [{"expiry_s": 43_200.0, "forward": FORWARD, "rate": 0.05}],
        }
    },
    "positions": [
        {"underlying": "BTC", "qty": -1.0, "instrument": "BTC-perpetual", "kind": "perpetual", "mark": FORWARD,
         "entry": 225.0, "settlement": "USDT", "leverage": 10.0},
        {"underlying": "BTC", "qty": -1.0, "instrument": "BTC-400-P", "kind": "option", "expiry_s": 43_200.0,
         "strike": 400.0, "option_type": "put", "vol": 0.3, "mark": MARK, "settlement": "USD"},
    ],
    "parameters": {},
}  # fmt: skip


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_premiums_beyond_the_cash_are_borrowed(share: float) -> None:
    order = {"instrument": "BTC-400-P", "side": "buy", "qty": 3.0, "price": MARK * 0.97}
    reserved = models.evaluate(DOCUMENT | {"orders": [order]})
    borrowed = 3.0 * MARK * 0.97 - (150.0 - 25.25)  # the perpetual's loss is the asset's
    assert reserved.components["borrowing by orders"].initial == pytest.approx(0.10 * borrowed)
    filled = models.evaluate_orders(DOCUMENT, [order | {"qty": 3.0 * share}]).after
    assert filled.available >= reserved.available


def test_what_the_cash_pays_for_is_not_borrowed() -> None:
    order = {"instrument": "BTC-400-P", "side": "buy", "qty": 0.5, "price": MARK}
    assert "borrowing by orders" not in models.evaluate(DOCUMENT | {"orders": [order]}).components
