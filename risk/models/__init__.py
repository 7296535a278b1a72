"""Margin models of the venues as pure functions: portfolio in, margin out. docs/margin.md has formulas and sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from risk import profiles
from risk.models import (
    binance_portfolio,
    bybit_portfolio,
    deribit_portfolio,
    deribit_standard,
    derive_portfolio,
    derive_standard,
    grid,
    liquidation,
    okx_portfolio,
    paradex_portfolio,
    span,
    tiered,
    vega,
)
from risk.models.cases import CaseResult, is_case, run_case
from risk.models.portfolio import Order, Portfolio, load, prepared, refuse_bad_numbers
from risk.models.result import Component, Liquidation, MarginError, MarginResult, Scenario
from risk.models.whatif import Cancel, WhatIf, what_if, with_orders_enumerated

__all__ = [
    "MODELS",
    "CaseResult",
    "Component",
    "Liquidation",
    "MarginError",
    "MarginResult",
    "Order",
    "Portfolio",
    "Scenario",
    "WhatIf",
    "evaluate",
    "evaluate_case",
    "evaluate_orders",
    "load",
]

Model = Callable[[Portfolio], MarginResult]


def _reserving(model: Model, *, holds_premium: bool = False) -> Model:
    """Return a model that reserves for working orders by their worst complete fills: it has no rule of its own."""
    return lambda portfolio: with_orders_enumerated(model, portfolio, holds_premium=holds_premium)


def _house(portfolio: Portfolio) -> MarginResult:
    # Late: whoever imports risk.profiles first finds it half made here.
    return profiles.evaluate(portfolio)


MODELS: Final[dict[str, Model]] = {
    "tiered": tiered.evaluate,
    "deribit_standard": deribit_standard.evaluate,
    "deribit_portfolio": deribit_portfolio.evaluate,
    "okx_portfolio": okx_portfolio.evaluate,
    "bybit_portfolio": bybit_portfolio.evaluate,
    "binance_portfolio": binance_portfolio.evaluate,
    "derive_standard": _reserving(derive_standard.evaluate, holds_premium=True),
    "derive_portfolio": _reserving(derive_portfolio.evaluate),
    "paradex_portfolio": paradex_portfolio.evaluate,
    "span": _reserving(span.evaluate),
    "grid": grid.evaluate,
    "vega": vega.evaluate,
    "house": _reserving(_house),
}


def evaluate(
    portfolio: Portfolio | Mapping[str, Any], model: str | None = None, *, with_liquidation: bool = True
) -> MarginResult:
    """Return the margin of a portfolio, or of a document of one (docs/margin.md).

    `model` replaces the portfolio's own. With `with_liquidation`, prices at which equity meets the maintenance margin
    are solved (tiered) or searched for (all others), each underlying moving alone.

    Raises
    ------
    MarginError
        With a reason and a text: an unknown model, a missing mark, a number that is none. Never a silent zero.
    """
    given = _loaded(portfolio)
    name = model or given.model
    chosen = _model(name)
    result = _priced(chosen, given)
    if not with_liquidation or (name == "tiered" and tiered.is_solved(given)):
        return result
    found = result.liquidation
    for underlying in sorted({held.underlying for held in given.positions if held.qty}):
        found += liquidation.search(lambda held: _priced(chosen, held), given, underlying)
    return msgspec.structs.replace(result, liquidation=found)


def evaluate_orders(portfolio: Portfolio | Mapping[str, Any], orders: Any, model: str | None = None) -> WhatIf:
    """Return the margin before and after `orders` fill at their limits: a list of Order or Cancel, or documents."""
    given = _loaded(portfolio)
    refuse_bad_numbers(msgspec.to_builtins(orders))
    try:
        rows = msgspec.convert(msgspec.to_builtins(orders), list[dict[str, Any]])
        wanted = [msgspec.convert(row, Cancel) if "cancel" in row else msgspec.convert(row, Order) for row in rows]
    except msgspec.ValidationError as error:
        raise MarginError("bad_order", str(error)) from error
    chosen = _model(model or given.model)
    return what_if(lambda held: _priced(chosen, held), given, wanted)


def evaluate_case(
    case: Mapping[str, Any], model: str | None = None, defaults: Mapping[str, Any] | None = None
) -> CaseResult:
    """Run a golden case in the vectors' format; `defaults` are the parameters of its file's meta."""
    return run_case(case, model, defaults)


def _loaded(portfolio: Portfolio | Mapping[str, Any]) -> Portfolio:
    if isinstance(portfolio, Portfolio):
        refuse_bad_numbers(msgspec.to_builtins(portfolio))
        return prepared(portfolio)
    if is_case(portfolio):
        raise MarginError("bad_portfolio", "this is a golden case: use evaluate_case")
    return load(portfolio)


def _model(name: str) -> Model:
    if name not in MODELS:
        raise MarginError("unknown_model", f"{name}: there are {', '.join(MODELS)}")
    return MODELS[name]


def _priced(chosen: Model, portfolio: Portfolio) -> MarginResult:
    """Return a model's result; what its formulas can not take is a refusal, and an overflow is told by its result."""
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return _checked(chosen(portfolio))
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, MarginError):
            raise
        raise MarginError("not_a_number", f"{portfolio.model}: {error}") from error


def _checked(result: MarginResult) -> MarginResult:
    """Return a result that is finite and not negative, or refuse: a formula's overflow is no margin."""
    figures = {"equity": result.equity, "initial": result.initial, "maintenance": result.maintenance}
    # The least of several profits would pass over one that is none.
    refuse_bad_numbers(figures | {f"profit in {rung.name}": rung.pnl for rung in result.ladder})
    for name in ("initial", "maintenance"):
        if figures[name] < 0:
            raise MarginError("negative_margin", f"{result.model}: {name} margin {figures[name]}")
    return result
