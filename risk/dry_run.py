"""All checks on an order that nobody places: the answer of pre_trade.evaluate, and everything left as it was.

The answer is no `Approved`, so a router can not take it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from risk.account import Account
from risk.cash import fill_cash
from risk.instrument import Side
from risk.marks import Market
from risk.order import Order, Reject
from risk.pre_trade import evaluate

_BUY: Final = Side.BUY


class Passed(msgspec.Struct, frozen=True, gc=False):
    """An order that would be approved now: equity, and the worst case with it working, both in USD."""

    equity: float
    worst: float


def dry_run(order: Order, account: Account | None, market: Market) -> Passed | Reject:
    """Return what `evaluate` would say of an order now, without counting it against the account's rate."""
    if account is None:
        rejected = evaluate(order, None, market)
        assert isinstance(rejected, Reject)
        return rejected
    rate = account.rate
    counted = rate.counted
    try:
        decision = evaluate(order, account, market)
    finally:
        rate.counted = counted
    if isinstance(decision, Reject):
        return decision
    instrument, side = decision.instrument, order.side
    lots = order.lots if side is _BUY else -order.lots
    cash = fill_cash(instrument, side, order.lots, order.ticks)
    worst = market.kernel.what_if(account.index, instrument.index, lots, cash)
    return Passed(market.kernel.equity(account.index, market.base_scenario), worst)
