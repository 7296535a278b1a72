"""At every liquidation price that any tiered account names, equity is the maintenance margin, priced there anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import models

SETS = ("binance", "binance_coin", "okx", "gate", "bybit", "bitmex", "mcs", "hyperliquid", "generic")
LINEAR = [[0.0, 0.004], [50_000.0, 0.005], [250_000.0, 0.01], [1_000_000.0, 0.025], [10_000_000.0, 0.05]]
LEVERAGE = [[0.0, 40.0], [100_000.0, 20.0], [5_000_000.0, 5.0]]
INVERSE = [[0.0, 0.004], [5.0, 0.01], [50.0, 0.05]]


@st.composite
def accounts(draw: st.DrawFn, venue: str, is_inverse: bool) -> dict[str, Any]:
    """One to three instruments: one way or hedged, cross or isolated."""
    positions: list[dict[str, Any]] = []
    rows = LEVERAGE if venue == "hyperliquid" else INVERSE if is_inverse else LINEAR
    spot = draw(st.sampled_from((25.0, 3_000.0, 90_000.0)))
    for name in draw(st.sampled_from((("P",), ("P", "Q"), ("P", "Q", "R")))):
        mode = draw(st.sampled_from(("cross", "cross", "isolated")))
        legs = draw(st.sampled_from((("both",), ("both",), ("long", "short"), ("long",))))
        for leg in legs:
            size = draw(st.floats(0.01, 300.0)) * (spot if is_inverse else 1.0)
            way = {"long": 1.0, "short": -1.0}.get(leg) or draw(st.sampled_from((-1.0, 1.0)))
            held = {
                "instrument": name, "kind": "perpetual", "underlying": "BTC", "qty": way * size, "mark": spot,
                "entry": spot * draw(st.sampled_from((0.95, 1.0, 1.02))), "leg": leg,
                "leverage": draw(st.sampled_from((3.0, 10.0))), "margin_mode": mode,
                "settlement": "BTC" if is_inverse else "USDT",
                "accrued": draw(st.sampled_from((0.0, -0.01))),
            }  # fmt: skip
            positions.append(held | ({"style": "inverse"} if is_inverse else {}))
    coins = sum(abs(p["qty"]) / (spot if is_inverse else 1.0) for p in positions)
    cash = draw(st.sampled_from((0.1, 0.4, 0.9))) * coins * (1.0 if is_inverse else spot)
    return {
        "model": "tiered", "parameter_set": venue, "currency": "BTC" if is_inverse else "USDT", "cash": cash,
        "positions": positions, "parameters": {"tiers": dict.fromkeys("PQR", rows)},
    }  # fmt: skip


@pytest.mark.parametrize("is_inverse", [False, True])
@pytest.mark.parametrize("venue", SETS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_equity_is_the_maintenance_margin_there(venue: str, is_inverse: bool, data: st.DataObject) -> None:
    document = data.draw(accounts(venue, is_inverse))
    for found in models.evaluate(document).liquidation:
        assert found.price > 0 and not found.is_jump
        assert abs(found.gap) < 1e-9 * found.notional
        # Only that instrument's mark moves; where its margin stands alone, that is what is compared.
        moved = [p | {"mark": found.price} if p["instrument"] == found.underlying else p for p in document["positions"]]
        there = models.evaluate(document | {"positions": moved}, with_liquidation=False)
        alone = there.details["isolated"].get(found.underlying)
        equity, maintenance = (
            (there.equity, there.maintenance) if alone is None else (alone["equity"], alone["maintenance"])
        )
        scale = found.notional + abs(equity) + maintenance
        assert equity == pytest.approx(maintenance, abs=1e-9 * scale), (found, alone)
