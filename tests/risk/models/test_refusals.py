"""What a model does with inputs that have no margin: a value or a named refusal, never a silent zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from risk import models
from risk.models import MarginError
from tests.risk.models.portfolios import KINDS, PARAMETERS

DAY_S = 86_400.0
Document = dict[str, Any]
Change = Callable[[Document], None]

OPTION_MODELS = sorted(m for m, (_, kinds) in KINDS.items() if any("option" in kind for kind in kinds))
# Models that read an option's mark; Derive and SPAN mark options by their own formula.
MARKING = sorted(set(OPTION_MODELS) - {"derive_standard", "derive_portfolio", "span"})


def document(model: str) -> Document:
    """A future and, where the model takes options, a short call with nine days to go."""
    currency, _ = KINDS[model]
    inverse = {"style": "inverse", "settlement": "BTC", "qty": 20_000.0}
    future: Document = {
        "instrument": "F",
        "kind": "future" if model == "span" else "perpetual",
        "underlying": "BTC",
        "qty": 1.0,
        "mark": 20_000.0,
        "entry": 19_000.0,
        "leverage": 10.0,
    }
    future |= inverse if currency == "BTC" else {"settlement": "USDT"}
    if future["kind"] == "future":
        future["expiry_s"] = 9 * DAY_S
    positions = [future]
    if model in OPTION_MODELS:
        in_coin = currency == "BTC"
        option = {"instrument": "C", "kind": "option", "underlying": "BTC", "qty": -3.0, "strike": 21_000.0}
        option |= {"option_type": "call", "expiry_s": 9 * DAY_S, "vol": 0.6}
        positions.append(option | {"mark": 0.02 if in_coin else 400.0, "settlement": "BTC" if in_coin else "USD"})
    expiries = [{"expiry_s": 9 * DAY_S, "forward": 20_050.0, "rate": 0.04}]
    parameters = PARAMETERS | {"tiered": {"tiers": {"F": [[0, 0.01]]}}}
    return {
        "model": model,
        "currency": currency,
        "cash": 3.0 if currency == "BTC" else 60_000.0,
        "underlyings": {"BTC": {"spot": 20_000.0, "perp_price": 20_000.0, "expiries": expiries}},
        "positions": positions,
        "parameters": dict(parameters.get(model, {})),
    }


def future(d: Document) -> Document:
    found: Document = d["positions"][0]
    return found


def option(d: Document) -> Document:
    found: Document = d["positions"][1]
    return found


def market(d: Document) -> Document:
    found: Document = d["underlyings"]["BTC"]
    return found


def expire_in(d: Document, seconds: float) -> None:
    option(d)["expiry_s"] = seconds
    market(d)["expiries"].append({"expiry_s": seconds, "forward": 20_050.0, "rate": 0.04})


REFUSED: dict[str, tuple[str, list[str], Change]] = {
    "cash is NaN": ("not_a_number", sorted(KINDS), lambda d: d.update(cash=math.nan)),
    "mark is infinite": ("not_a_number", sorted(KINDS), lambda d: future(d).update(mark=math.inf)),
    "mark of a future is zero": ("bad_mark", sorted(KINDS), lambda d: future(d).update(mark=0.0)),
    # Derive's standard margin reads the underlying's perpetual price instead.
    "mark of a future is missing": (
        "missing_mark",
        sorted(set(KINDS) - {"derive_standard"}),
        lambda d: future(d).pop("mark"),
    ),
    "mark of an option is missing": ("missing_mark", MARKING, lambda d: option(d).pop("mark")),
    "mark of an option is negative": ("bad_mark", OPTION_MODELS, lambda d: option(d).update(mark=-1.0)),
    "spot is zero": ("bad_mark", sorted(KINDS), lambda d: market(d).update(spot=0.0)),
    "forward is zero": ("bad_mark", sorted(KINDS), lambda d: market(d)["expiries"][0].update(forward=0.0)),
    "option has expired": ("expired", OPTION_MODELS, lambda d: option(d).update(expiry_s=-1.0)),
    "strike is zero": ("bad_position", OPTION_MODELS, lambda d: option(d).update(strike=0.0)),
    "call or put is not said": ("bad_position", OPTION_MODELS, lambda d: option(d).pop("option_type")),
    "volatility is negative": ("bad_vol", OPTION_MODELS, lambda d: option(d).update(vol=-0.1)),
    "a key is unknown": ("bad_portfolio", sorted(KINDS), lambda d: d.update(surprise=1)),
    "a parameter is unknown": (
        "bad_parameter",
        sorted(set(KINDS) - {"deribit_standard"}),
        lambda d: d["parameters"].update(surprise=1),
    ),
    "parameter set is unknown": ("unknown_parameter_set", sorted(KINDS), lambda d: d.update(parameter_set="none")),
    "model is unknown": ("unknown_model", ["span"], lambda d: d.update(model="none")),
    "leg and sign differ": ("bad_position", sorted(KINDS), lambda d: future(d).update(leg="short")),
    "it settles in another coin": ("unsupported", sorted(KINDS), lambda d: future(d).update(settlement="XYZ")),
    "a confidence is more than sure": (
        "bad_confidence",
        sorted(KINDS),
        lambda d: market(d).update(spot_confidence=1.5),
    ),
    "a confidence is negative": (
        "bad_confidence",
        sorted(KINDS),
        lambda d: market(d)["expiries"][0].update(vol_confidence=-0.1),
    ),
    "perpetual's price is zero": ("bad_mark", sorted(KINDS), lambda d: market(d).update(perp_price=0.0)),
    "a price is beyond all money": ("too_large", sorted(KINDS), lambda d: future(d).update(mark=1e300)),
    "cash is beyond all money": ("too_large", sorted(KINDS), lambda d: d.update(cash=10**40)),
    "contract size is zero": ("bad_position", sorted(KINDS), lambda d: future(d).update(contract_size=0.0)),
    "an order is in nothing known": (
        "unknown_instrument",
        sorted(KINDS),
        lambda d: d.update(orders=[{"instrument": "X", "side": "buy", "qty": 1, "price": 1}]),
    ),
    "an order is for nothing": (
        "bad_order",
        sorted(KINDS),
        lambda d: d.update(orders=[{"instrument": "F", "side": "buy", "qty": 0, "price": 1}]),
    ),
    "two orders have one id": (
        "bad_order",
        sorted(KINDS),
        lambda d: d.update(orders=2 * [{"instrument": "F", "side": "buy", "qty": 1, "price": 1, "id": "a"}]),
    ),
    "an add-on is negative": ("bad_portfolio", sorted(KINDS), lambda d: d.update(add_ons={"mmp_margin": -1.0})),
    "tiers are missing": ("missing_tiers", ["tiered"], lambda d: d.update(parameters={})),
    "account is in another coin": (
        "unsupported",
        ["tiered", "bybit_portfolio", "grid", "binance_portfolio"],
        lambda d: d.update(currency="ETH"),
    ),
}
REFUSALS = [
    pytest.param(model, reason, change, id=f"{name}: {model}")
    for name, (reason, where, change) in REFUSED.items()
    for model in where
]


@pytest.mark.parametrize("model", sorted(KINDS))
def test_the_plain_portfolio_has_a_margin(model: str) -> None:
    result = models.evaluate(document(model))
    assert 0 < result.maintenance <= result.initial


@pytest.mark.parametrize(("model", "reason", "change"), REFUSALS)
def test_refused(model: str, reason: str, change: Change) -> None:
    changed = document(model)
    change(changed)
    with pytest.raises(MarginError) as refusal:
        models.evaluate(changed)
    assert refusal.value.reason == reason


# Models that price options under scenarios need a volatility and a forward; standard margin reads neither.
PRICING = sorted(set(OPTION_MODELS) - {"deribit_standard"})


@pytest.mark.parametrize("model", PRICING)
def test_an_option_without_volatility_or_forward_is_refused(model: str) -> None:
    blind, lost = document(model), document(model)
    option(blind).pop("vol")
    market(lost)["expiries"] = []
    for changed, reason in ((blind, "missing_vol"), (lost, "missing_forward")):
        with pytest.raises(MarginError) as refusal:
            models.evaluate(changed)
        assert refusal.value.reason == reason


VALUED: dict[str, Change] = {
    "no volatility at all": lambda d: option(d).update(vol=0.0),
    "no time at all": lambda d: expire_in(d, 0.0),
    "inside the averaging window": lambda d: expire_in(d, 900.0),
    "one second left": lambda d: expire_in(d, 1.0),
    "a negative rate": lambda d: market(d)["expiries"][0].update(rate=-0.5),
    "a worthless option": lambda d: option(d).update(mark=0.0),
    "far out of the money": lambda d: option(d).update(strike=1e9),
    "deep in the money": lambda d: option(d).update(strike=1e-3),
    "a huge volatility": lambda d: option(d).update(vol=50.0),
    "a century left": lambda d: expire_in(d, 100 * 365 * DAY_S),
}


@pytest.mark.parametrize("model", OPTION_MODELS)
@pytest.mark.parametrize("name", VALUED)
def test_the_edge_has_a_value_and_it_is_not_zero(model: str, name: str) -> None:
    changed = document(model)
    VALUED[name](changed)
    result = models.evaluate(changed, with_liquidation=False)
    assert all(math.isfinite(figure) for figure in (result.equity, result.initial, result.maintenance))
    assert result.initial > 0 and result.maintenance > 0


def test_an_empty_portfolio_needs_no_margin_and_says_so() -> None:
    for model in sorted(KINDS):
        empty = document(model) | {"positions": []}
        result = models.evaluate(empty)
        assert (result.initial, result.maintenance) == (0.0, 0.0)
        assert result.equity == pytest.approx(empty["cash"])


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"input": {"n": math.nan, "p": 0.01}}, "not_a_number"),
        ({"input": {"strange": 1}}, "unknown_model"),
        ({"input": {"array": [1, 2]}}, "bad_input"),
        ({"input": {"mark_coin": "much", "type": "call", "underlying": 1, "strike": 1}}, "bad_input"),
        ({"input": {"mark_coin": 0.1, "type": "call", "underlying": 1}}, "missing_input"),
        ({"input": {"size_coin": 1, "currency": "DOGE"}}, "unknown_parameter_set"),
        ({"input": {"tiers": [[5, 0.01]], "notional": 1}}, "bad_tiers"),
        ({"input": {"tiers": [[0, 0.01], [0, 0.02]], "notional": 1}}, "bad_tiers"),
        ({"input": {"tiers": "none", "notional": 1}}, "bad_tiers"),
        ({"mode": "isolated", "input": {"side": "up", "entry": 1, "mmr": 0.1}}, "bad_input"),
        ({"input": {"contracts_usd": 1}}, "missing_input"),
        ({"input": {"search_factor": 1.1}}, "missing_input"),
        ({"input": {"markets": 1}}, "bad_input"),
    ],
)
def test_a_case_that_can_not_be_run_is_refused(case: Any, reason: str) -> None:
    with pytest.raises(MarginError) as refusal:
        models.evaluate_case(case)
    assert refusal.value.reason == reason


def test_a_case_is_no_portfolio() -> None:
    with pytest.raises(MarginError, match="evaluate_case"):
        models.evaluate({"input": {}})
