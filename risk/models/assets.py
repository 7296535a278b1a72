"""What an account has, asset by asset, where one equity stands behind contracts of several settlement currencies.

A coin's amount is what is held of it, the profit of the futures that settle in it and the marks of its options; its
collateral rate discounts that sum, and leaves it whole where it is a debt. Profits in dollars are cash.
"""

from __future__ import annotations

import msgspec

from risk.models.portfolio import USD_LIKE, Order, Portfolio, Position, coin_of, contract_of, converted

CASH = ""


def equity(portfolio: Portfolio) -> float:
    """Return cash, assets at their rates, profit of futures, and marks of options and spot, in an account of USD."""
    coins = {held.asset for held in portfolio.collateral if held.asset not in USD_LIKE}
    gained = dict.fromkeys(coins, 0.0)
    total = portfolio.cash
    for position in portfolio.positions:
        if position.kind in ("option", "spot"):
            amount = position.notional_qty * position.marked()
        else:
            amount = position.profit(position.marked()) if position.qty or position.accrued else 0.0
        worth = converted(portfolio, position, amount)
        if position.is_coin_settled and position.kind != "spot" and position.underlying in gained:
            gained[position.underlying] += worth
        else:
            total += worth
    for held in portfolio.collateral:
        value = held.qty * held.price + gained.pop(held.asset, 0.0)
        total += min(value * held.rate, value)
    return total


def owed(portfolio: Portfolio, *, with_orders: bool = False) -> float:
    """Return what is borrowed: cash, and each asset, below zero after the profit of the futures that settle in it.

    With orders: once every working order has filled that pays a premium or a price, or loses at once.
    """
    found = {CASH: portfolio.cash}
    for held in portfolio.collateral:
        found[held.asset] = found.get(held.asset, 0.0) + held.qty * held.price
    for position in portfolio.positions:
        if position.kind in ("perpetual", "future") and (position.qty or position.accrued):
            name = _asset(portfolio, position)
            gained = converted(portfolio, position, position.profit(position.marked()))
            found[name] = found.get(name, 0.0) + gained
    for order in portfolio.orders if with_orders else ():
        name, paid = _paid(portfolio, order, contract_of(portfolio, order))
        found[name] = found.get(name, 0.0) - max(0.0, paid)
    return sum(max(0.0, -amount) for amount in found.values())


def _paid(portfolio: Portfolio, order: Order, contract: Position) -> tuple[str, float]:
    """Return what a whole fill of an order takes, and of which asset: as `whatif.filled` pays for it."""
    fill = msgspec.structs.replace(contract, qty=order.signed_qty, entry=order.price)
    if contract.kind in ("option", "spot"):
        at = coin_of(portfolio, contract)
        name = CASH if at is None else portfolio.collateral[at].asset
        return name, converted(portfolio, contract, fill.notional_qty * order.price)
    loss = -converted(portfolio, contract, fill.profit(fill.marked()))
    return _asset(portfolio, contract), loss


def _asset(portfolio: Portfolio, held: Position) -> str:
    """Return the asset that a future settles in; dollars that are not listed by name are cash."""
    if held.is_coin_settled:
        return held.underlying
    return held.settlement if any(asset.asset == held.settlement for asset in portfolio.collateral) else CASH
