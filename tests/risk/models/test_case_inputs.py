"""Cases as other hands may write them: other names and shapes of the same inputs, and inputs that make no sense.

What is not read is refused where leaving it out would change the answer; whatever is put into a case, the answer is a
value or a refusal by name.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from risk import models
from risk.models import MarginError
from tests.risk.models.test_vectors import FOLDER

CALL = [460, -610, 2640, 1730, -1270, -2340, 5210, 4540, -2540, -3430, 8060, 7640, -3380, -3990, 3130, -1500]
FUTURE = [0, 0, 3330, 3330, -3330, -3330, 6670, 6670, -6670, -6670, 10000, 10000, -10000, -10000, 7000, -7000]
OPTION = {"underlying": 10_000, "strike": 9_000, "mark_coin": 0.025}
UNITS = [{"mmr": 1183.8207, "imr": 1538.967}, {"mmr": 191.663, "imr": 249.1619}]
LEGS = {"USDT": 2e6, "USDC": -5e5, "USD": -1e6}
OWED = 78_553.2

# what, case, expected: by hand from the sheets
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a call in capitals", {"input": OPTION | {"type": "Call", "side": "Short", "qty": 1}}, {"im_coin": 0.175}),
    ("a put by its letter", {"input": OPTION | {"type": "P", "qty": -1}}, {"im_coin": 0.125, "mm_coin": 0.1}),
    ("orders beyond the position", {"input": OPTION | {"type": "put", "position": -1, "open_orders": [
        {"side": "buy", "qty": 0.1, "limit_coin": 0.02}, {"side": "buy", "qty": 1.1, "limit_coin": 0.025}]}},
     {"total_im_usd": 1300}),
    ("Bit.com by its own name", {"input": {"venue": "bit.com", "currency": "BCH", "type": "call", "side": "short",
                                           "qty": 1, "underlying": 500, "strike": 500, "mark_coin": 0.05}},
     {"im_coin": 0.3, "mm_coin": 0.175}),
    ("Aevo in dollars", {"venue": "aevo", "input": {"type": "call", "side": "short", "qty": 1, "underlying": 2_000,
                                                    "strike": 2_200, "mark_usd": 50}}, {"im_usd": 250.0}),
    ("a size in bitcoin", {"input": {"type": "inverse_future_or_perp", "currency": "BTC", "size_btc": -500}},
     {"im_coin": 22.5, "mm_coin": 17.5}),
    ("an account by equity", {"input": {"units": UNITS, "usdt_equity": -OWED}},
     {"mmr": 2_946.5477, "imr": 9_643.4489}),
    ("an account of named units", {"input": {"units": {"BTC": UNITS[0], "LTC": UNITS[1]}, "borrow": OWED}},
     {"mmr": 2_946.5477, "imr": 9_643.4489}),
    ("an account that owes nothing", {"input": {"units": UNITS, "usdt_equity": 5e4}}, {"mmr": 1_375.4837, "mr8": 0}),
    ("depeg, prices by name", {"input": {"cash_delta_usd": LEGS, "usdt_price": 0.8}},
     {"hedged": {"USDT-USD": 1e6, "USDT-USDC": 5e5}, "mr9": 600_000.0}),
    ("depeg, tiers by size", {"input": {"cash_deltas": LEGS, "tiers": [[0, 0.005], [600_000, 0.01]]}},
     {"mr9": 3_000 + 4_000 + 2_500}),
    ("depeg, short dollars", {"input": {"deltas": {k: -v for k, v in LEGS.items()}}},
     {"hedged_USDT_USD": 1e6, "hedged_USDT_USDC": 5e5, "mr9": 7_500.0}),
    ("a covered write", {"input": {"legs": [{"array": FUTURE, "qty": 1}, {"array": CALL, "qty": -1}]}},
     {"scan_risk": 6_620}),
    ("a covered write by name", {"input": {"arrays": {"f": FUTURE, "c": CALL}, "qty": {"f": 1, "c": -1}}},
     {"scan_risk": 6_620}),
    ("hedge mode, legs", {"mode": "cross", "venue": "binance", "input": {"wallet_balance": 10_000, "legs": [
        {"side": "long", "qty": 1, "entry": 50_000, "mmr": 0.004},
        {"side": "short", "qty": 0.5, "entry": 51_000, "mmr": 0.004}]}},
     {"liq_price": (10_000 - 50_000 + 25_500) / (1.5 * 0.004 - 0.5)}),
    ("no price at which it is liquidated", {"mode": "cross", "venue": "hyperliquid", "input": {
        "side": "long", "qty": 1, "price": 1_000, "account_value": 10_000, "max_leverage": 20}}, {"liq_price": None}),
    ("a unit whose legs cancel", {"input": {
        "risk_unit": "BTC", "cash_delta_usd": 0, "shocked_notional_usd": 0, "mr4_rate": 0.002, "mr7_rate": 0.0045,
        "positions": [
                      {"inst": "A", "contracts": 10, "contract_base": 0.01, "mark": 1e5},
                      {"inst": "B", "contracts": -10, "contract_base": 0.01, "mark": 1e5}]}}, {"mr1": 0.0}),
]  # fmt: skip

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("neither call nor put", {"input": OPTION | {"type": "straddle", "qty": -1}}, "bad_input"),
    ("an input that nobody reads", {"input": {"units": UNITS, "usdc_equity": -OWED}}, "unknown_input"),
    ("a leg in euros", {"input": {"cash_delta": {"EUR": 1.0, "USD": -1.0}}}, "bad_input"),
    ("no table of inputs", {"input": [1, 2]}, "bad_input"),
    ("an initial rate of fifty", {"input": {"tiers": [[0, 0.004, 50]], "notional": 1}}, "bad_tiers"),
    ("an option on a market that is not given", {"input": {"markets": {}, "options": [
        {"market": "ETH", "expiry_s": 1, "strike": 1, "type": "call", "qty": 1, "mark_vol": 1}]}}, "missing_mark"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_other_shapes_of_the_same_inputs(case: dict[str, Any], expected: dict[str, Any]) -> None:
    found = models.evaluate_case(case | {"expected": expected, "tol": 1e-6 * 1e4})
    assert found.is_within, [check for check in found.checks if not check.is_within]


@pytest.mark.parametrize(("case", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_makes_no_sense_is_refused_by_name(case: dict[str, Any], reason: str) -> None:
    with pytest.raises(MarginError) as refused:
        models.evaluate_case(case)
    assert refused.value.reason == reason


def places(document: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    rows = document.items() if isinstance(document, dict) else enumerate(document[:2])
    for key, value in rows:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def changed(document: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    other = copy.deepcopy(document)
    inner: Any = other
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return other


@pytest.mark.skipif(not FOLDER.exists(), reason="../shared/vectors is not here")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_place_of_a_case_may_be_anything(path: Path) -> None:
    """A value, or a refusal by name; never another error."""
    document = json.loads(path.read_text())
    defaults = document["meta"].get("params")
    for case in document["cases"][:2]:
        given = {key: value for key, value in case.items() if key in ("input", "params", "mode", "venue", "contract")}
        given = given if "input" in given else {key: value for key, value in case.items() if key != "expected"}
        for place in places(given):
            for value in (..., None, 0, -1, 1e300, "x", [], {}):
                try:
                    models.evaluate_case(changed(given, place, value), defaults=defaults)
                except MarginError:
                    continue
