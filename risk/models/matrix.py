"""The scenario matrix that portfolio-margin venues share: positions and working orders, by risk unit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from risk.models.portfolio import USD_LIKE, Portfolio, Position, contract_of, loss_at_once, net
from risk.models.result import Component, Scenario, require
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


def losses_of_orders(portfolio: Portfolio, underlying: str, moves: Moves, shock: VolShock) -> Floats:
    """Return, by scenario, the sum of min(0, profit from the mark) over working orders.

    This is the worst that any fills of them add in each scenario; what a fill loses against the mark at once is
    `portfolio.loss_at_once`, which a scenario's weight does not lighten.
    """
    total = np.zeros(moves.spot.shape)
    for filled in filled_orders(portfolio, underlying):
        total += np.minimum(0.0, pnl(portfolio, filled, moves, shock))
    return total


def filled_orders(portfolio: Portfolio, underlying: str) -> list[Position]:
    """Return what each working order in an underlying would add as a position of its own."""
    found = []
    for order in portfolio.orders:
        contract = contract_of(portfolio, order)
        if contract.underlying == underlying:
            found.append(msgspec.structs.replace(contract, qty=order.signed_qty))
    return found


def order_component(portfolio: Portfolio) -> dict[str, Component]:
    """Return the initial charge for what working orders lose at once; nothing where there are none."""
    return {"orders at once": Component(loss_at_once(portfolio), 0.0)} if portfolio.orders else {}


def ladder(moves: Moves, profits: Floats, prefix: str = "") -> tuple[Scenario, ...]:
    """Return the rungs of a risk unit."""
    names = moves.names()
    rungs = zip(names, moves.spot.tolist(), moves.vol, profits.tolist())
    return tuple(Scenario(f"{prefix}{name}", spot, vol, profit) for name, spot, vol, profit in rungs)
