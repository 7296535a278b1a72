"""Deribit's standard margin: each position alone, open orders reserved beyond what they close. In coin or USD."""

from __future__ import annotations

import msgspec

from risk.models.option_margin import OptionRule, option_rule, reservation, short_margin
from risk.models.parameters import parameters
from risk.models.portfolio import Order, Portfolio, Position, contract_of, converted, equity, loss_at_once, net
from risk.models.result import Component, MarginError, MarginResult, require


class FutureRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates of inverse futures and perpetuals: base + size in coin * per_coin."""

    im_base: float
    mm_base: float
    per_coin: float
    liquidation_fee: float
    option_rule: str = "deribit"


def future_rule(currency: str) -> FutureRule:
    """Return the rule of an underlying; refused where the venue's table has none."""
    found, _ = parameters("deribit_standard", FutureRule, currency.lower())
    return found


def future_rates(rule: FutureRule, size_coin: float) -> tuple[float, float]:
    """Return the initial and maintenance rate of a position of `size_coin`."""
    grown = abs(size_coin) * rule.per_coin
    return rule.im_base + grown, rule.mm_base + grown


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return Deribit's standard margin; equity is cash and futures' profit: options were paid when they were bought."""
    _, where = parameters("deribit_standard", FutureRule, portfolio.parameter_set)
    components: dict[str, Component] = {}
    by_name: dict[str, list[Order]] = {}
    for order in portfolio.orders:
        by_name.setdefault(order.instrument, []).append(order)
    held = {position.instrument: position for position in net(portfolio.positions)}
    for name, orders in by_name.items():
        held.setdefault(name, contract_of(portfolio, orders[0]))
    for name, position in sorted(held.items()):
        components |= _position(portfolio, position, by_name.get(name, []))
    if portfolio.orders:
        components["orders at once"] = Component(loss_at_once(portfolio, counts_options=False), 0.0)
    return MarginResult(
        model="deribit_standard",
        currency=portfolio.currency,
        equity=equity(portfolio, counts_options=False),
        initial=sum(c.initial for c in components.values()),
        maintenance=sum(c.maintenance for c in components.values()),
        components=components,
        source=where.source,
        as_of=where.as_of,
    )


def _position(portfolio: Portfolio, held: Position, orders: list[Order]) -> dict[str, Component]:
    if held.kind == "spot":
        return {}
    if held.kind == "option":
        initial, maintenance, reserved = _option(portfolio, held, orders)
    else:
        initial, maintenance, reserved = _future(portfolio, held, orders)
    found = {held.instrument: Component(initial, maintenance)}
    if orders:
        found[f"{held.instrument} orders"] = Component(reserved, 0.0)
    return found


def _option(portfolio: Portfolio, held: Position, orders: list[Order]) -> tuple[float, float, float]:
    rule: OptionRule = option_rule(future_rule(held.underlying).option_rule)[0]
    spot = portfolio.underlying(held.underlying).spot
    per_unit = spot if held.is_coin_settled else 1.0
    mark = held.marked() * per_unit
    short_initial, short_maintenance = short_margin(rule, held.is_call, spot, held.strike or 0.0, mark)
    short = max(0.0, -held.notional_qty)
    limits = [(o.signed_qty * held.contract_size, o.price * per_unit) for o in orders]
    reserved = reservation(held.notional_qty, limits, short_initial, mark)
    scale = 1.0 / spot if held.is_coin_settled else 1.0
    amounts = (short * short_initial, short * short_maintenance, reserved)
    initial, maintenance, kept = (converted(portfolio, held, amount * scale) for amount in amounts)
    return initial, maintenance, kept


def _future(portfolio: Portfolio, held: Position, orders: list[Order]) -> tuple[float, float, float]:
    if held.kind not in ("perpetual", "future"):
        raise MarginError("unsupported", f"{held.instrument}: no {held.kind} in standard margin")
    rule, mark = future_rule(held.underlying), held.marked()
    buys = sum(o.qty for o in orders if o.side == "buy") * held.contract_size
    sells = sum(o.qty for o in orders if o.side == "sell") * held.contract_size
    largest = max(abs(held.notional_qty), abs(held.notional_qty + buys), abs(held.notional_qty - sells))
    sizes = [size / mark if held.style == "inverse" else size for size in (abs(held.notional_qty), largest)]
    require(max(sizes) < float("inf"), "bad_position", f"{held.instrument}: size")
    scale = 1.0 if held.style == "inverse" else mark
    initial, maintenance = (sizes[0] * rate * scale for rate in future_rates(rule, sizes[0]))
    with_orders = sizes[1] * future_rates(rule, sizes[1])[0] * scale
    kept = (initial, maintenance, with_orders - initial)
    first, second, third = (converted(portfolio, held, amount) for amount in kept)
    return first, second, third
