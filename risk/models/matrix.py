"""The scenario matrix that portfolio-margin venues share: positions and working orders, by risk unit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from risk.models.portfolio import USD_LIKE, Order, Portfolio, Position, contract_of, net
from risk.models.result import Scenario, require
from risk.models.valuation import Moves, VolShock, position_pnl
from risk.pricing import Floats


def units(portfolio: Portfolio) -> dict[str, list[Position]]:
    """Return positions netted by contract, by underlying."""
    found: dict[str, list[Position]] = {}
    for held in net(portfolio.positions):
        found.setdefault(held.underlying, []).append(held)
    return found


def pnl(portfolio: Portfolio, held: Position, moves: Moves, shock: VolShock) -> Floats:
    """Return a position's profit by scenario in the portfolio's currency, converted at the scenario's own spot."""
    profit = position_pnl(portfolio, held, moves, shock)
    account_in_coin = portfolio.currency == held.underlying
    if held.kind == "spot" and account_in_coin:
        return np.zeros(moves.spot.shape)  # a coin is worth one coin
    require(
        account_in_coin or portfolio.currency in USD_LIKE,
        "unsupported",
        f"{held.instrument} in an account of {portfolio.currency}",
    )
    if held.is_coin_settled == account_in_coin:
        return profit
    spot = portfolio.underlying(held.underlying).spot * (1.0 + moves.spot)
    return profit / spot if account_in_coin else profit * spot


def total_pnl(portfolio: Portfolio, positions: Sequence[Position], moves: Moves, shock: VolShock) -> Floats:
    """Return the profit of positions by scenario, shape (S,)."""
    total = np.zeros(moves.spot.shape)
    for held in positions:
        if held.qty:
            total += pnl(portfolio, held, moves, shock)
    return total


def order_pnl(portfolio: Portfolio, order: Order, moves: Moves, shock: VolShock) -> Floats:
    """Return the profit of an order filled completely at its limit, by scenario, in the portfolio's currency."""
    contract = contract_of(portfolio, order)
    filled = msgspec.structs.replace(contract, qty=order.signed_qty)
    if contract.kind == "option":
        at_once = filled.notional_qty * (filled.marked() - order.price)
    elif contract.style == "inverse":
        require(order.price > 0, "bad_order", f"{order.instrument}: price {order.price} is no price")
        at_once = filled.notional_qty * (1.0 / order.price - 1.0 / filled.marked())
    else:
        at_once = filled.notional_qty * (filled.marked() - order.price)
    in_coin, account_in_coin = contract.is_coin_settled, portfolio.currency == contract.underlying
    if in_coin != account_in_coin:
        spot = portfolio.underlying(contract.underlying).spot
        at_once = at_once / spot if account_in_coin else at_once * spot
    return at_once + pnl(portfolio, filled, moves, shock)


def losses_of_orders(portfolio: Portfolio, underlying: str, moves: Moves, shock: VolShock) -> Floats:
    """Return, by scenario, the sum of min(0, profit) over working orders: the exact bound over their fills."""
    total = np.zeros(moves.spot.shape)
    for order in portfolio.orders:
        if contract_of(portfolio, order).underlying == underlying:
            total += np.minimum(0.0, order_pnl(portfolio, order, moves, shock))
    return total


def ladder(moves: Moves, profits: Floats, prefix: str = "") -> tuple[Scenario, ...]:
    """Return the rungs of a risk unit."""
    names = moves.names()
    rungs = zip(names, moves.spot.tolist(), moves.vol, profits.tolist())
    return tuple(Scenario(f"{prefix}{name}", spot, vol, profit) for name, spot, vol, profit in rungs)
