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
from tests.risk.models.test_derive_variations import SRM
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
    ("depeg, a hedged size through its tiers", {"input": {"hedged_usd": 1e7, "tiers": [
        [0, 0.0075], [1e6, 0.0175], [5e6, 0.025]]}}, {"mr9": 202_500.0}),
    ("depeg, tiers by where they end", {"input": {"hedged": {"USDT-USDC": 1e7}, "tiers": [
        [1e6, 0.0075], [5e6, 0.0175], [1e7, 0.025]]}}, {"mr9": 202_500.0}),
    ("depeg, tiers by both ends", {"input": {"hedge_size": 1e7, "tiers": [
        [0, 1e6, 0.0075], [1e6, 5e6, 0.0175], [5e6, 1e7, 0.025]]}}, {"mr9": 202_500.0}),
    ("depeg, cut up already", {"input": {"slices": [[1e6, 0.0075], [4e6, 0.0175], [5e6, 0.025]]}},
     {"mr9": 202_500.0, "hedged": 1e7}),
    ("depeg, a hedged size off its peg", {"input": {"hedged_usd": 1e6, "usdt_price": 0.8}}, {"mr9": 400_000.0}),
    ("an inverse position at a mark", {"input": {"contracts_usd": 10_000, "mark": 40_000, "mmr": 0.005}},
     {"mm_btc": 0.00125}),
    ("OKX's minimum charge beyond its first range", {"input": {
        "risk_unit": "BTC", "mr7_rate": 0.0045,
        "positions": [{"inst": "A", "contracts": 1e3, "mark": 1e5}, {"inst": "B", "contracts": -1e3, "mark": 1e5}]}},
     {"mr7": 4 * 2e8 * 0.0045}),
    ("a venue whose rule is not known", {"mode": "cross", "venue": "elsewhere", "input": {
        "side": "long", "qty": 1, "entry": 100, "wallet_balance": 50, "mmr": 0.01}},
     {"rule": "generic", "liq_price": 50 / 0.99}),
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
    ("a margin mode that nobody has", {"mode": "crossed", "venue": "binance", "input": {
        "side": "long", "qty": 1, "entry": 100, "wallet_balance": 50, "mmr": 0.01}}, "bad_input"),
    ("a wallet without a size", {"mode": "cross", "venue": "binance", "input": {
        "side": "long", "entry": 100, "wallet_balance": 50, "mmr": 0.01}}, "missing_input"),
    ("open interest is not said", {"input": {"base_im_ppm": 1, "oi_upper": 5, "notional_quantums": 1}},
     "missing_input"),
    ("half a day", {"input": {"n": 250.5, "p": 0.01}}, "bad_input"),
    ("longer than the world", {"input": {"n": 10**18, "p": 0.005}}, "bad_input"),
    ("more money than there is", {"input": {"contracts_usd": 1e300, "mark": 40_000, "mmr": 0.005}}, "too_large"),
    ("an expectation that is none", {"input": {"n": 250, "p": 0.01}, "expected": "five"}, "bad_input"),
    ("a tolerance that is none", {"input": {"n": 250, "p": 0.01}, "tol": [1]}, "bad_input"),
    ("parameters that are none", {"input": {"n": 250, "p": 0.01}, "params": 5}, "bad_input"),
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


SCENARIO = {"spot": 100.0, "options": [], "expiry_feeds": [], "params": {}}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"scenarios": [[1.0, "Up"]]}, "params.scenarios"),
        ({"scenarios": 7}, "params.scenarios"),
        ({"margin": 5}, "params.margin"),
        ({"surprise": {}}, "params.surprise"),
    ],
)
def test_a_refusal_names_the_place(params: dict[str, Any], said: str) -> None:
    with pytest.raises(MarginError) as refused:
        models.evaluate_case({"input": SCENARIO, "params": params})
    assert said in refused.value.text


def test_a_missing_key_is_named_by_its_path() -> None:
    option = {"expiry_s": 1, "strike": 1, "type": "call", "qty": 1, "mark_vol": 1}
    case = {"input": {"markets": {"ETH": {"spot": 1}}, "options": [option]}}
    with pytest.raises(MarginError, match=r"input\.options\[0\]\.market is missing"):
        models.evaluate_case(case)


def test_what_no_figure_needed_is_said() -> None:
    given = {"side": "long", "qty": 7, "entry": 100, "mark": 120, "bankruptcy": 80, "insurance": {"fund": 5}}
    assert models.evaluate_case({"input": given, "note": "x"}).unread == ("input.insurance.fund", "input.qty")


def test_parameters_of_a_case_go_over_those_of_its_file() -> None:
    own = {"perp_im": 0.5}
    market = {"spot": 100.0, "perp_price": 100.0}
    perp = {"market": "ETH", "qty": 1.0, "entry_price": 100.0}
    case = {"input": {"markets": {"ETH": market}, "perps": [perp]}, "params": own}
    assert models.evaluate_case(case, defaults=SRM).values["im_net"] == pytest.approx(-50.0)
    assert models.evaluate_case(case, defaults=SRM).values["mm_net"] == pytest.approx(-5.0)


def test_a_flat_perpetual_still_owes() -> None:
    perp = {"market": "ETH", "qty": 0.0, "entry_price": 100.0, "unsettled_funding": -3.0}
    case = {"input": {"markets": {"ETH": {"spot": 100.0, "perp_price": 100.0}}, "perps": [perp]}}
    found = models.evaluate_case(case, defaults=SRM).values
    assert (found["mtm"], found["im_net"], found["mm_net"]) == (-3.0, -3.0, -3.0)
