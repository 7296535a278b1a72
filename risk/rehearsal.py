"""What the checks would say to an order that is not placed: all of them, in the same order, and nothing is kept of it.

An order that is asked about takes no token of the account's rate, uses up no ClOrdID and holds nothing. The answer is
as good as the moment: an order that is placed is checked again.
"""

from __future__ import annotations

import msgspec

from risk.account import Account
from risk.cash import fill_cash
from risk.instrument import Side
from risk.marks import Market
from risk.order import Order, Reject
from risk.pre_trade import evaluate


class Passed(msgspec.Struct, frozen=True, gc=False):
    """An order that would be approved, and what it would leave, in USD.

    `equity` is that of what is held now, `excess` what of it no scenario could take once the order works, whatever part
    of it fills; the initial margin is the difference. `excess` is below zero where the order reduces a shortfall.
    """

    checks_run: int
    equity: float
    excess: float

    @property
    def initial_margin(self) -> float:
        """What would be required with the order working, in USD."""
        return self.equity - self.excess


def rehearse(order: Order, account: Account | None, market: Market) -> Passed | Reject:
    """Run the checks over an order, and take back what they count.

    An order that replaces another is judged as its replacement is: the hold of the other is released meanwhile.
    """
    if account is None:
        answer = evaluate(order, account, market)
        assert isinstance(answer, Reject)
        return answer
    replaced, arrival_ns = order.replaces, account.rate.arrival_ns
    if replaced is not None:
        account.exposure.release(replaced)
    try:
        decision = evaluate(order, account, market)
        if isinstance(decision, Reject):
            return decision
        kernel = market.kernel
        excess = _excess(order, account, market)
        return Passed(decision.checks_run, kernel.equity(account.index, market.base_scenario), excess)
    finally:
        account.rate.arrival_ns = arrival_ns
        if replaced is not None:
            account.exposure.hold(replaced)


def _excess(order: Order, account: Account, market: Market) -> float:
    """The worst case with the order working, as margin_is_covered sees it."""
    instrument, replaced = order.instrument, order.replaces
    assert instrument is not None
    sign = 1 if order.side is Side.BUY else -1
    new = sign * order.lots, fill_cash(instrument, order.side, order.lots, order.ticks)
    if replaced is None:
        return market.kernel.what_if(account.index, instrument.index, *new)
    leaves = replaced.leaves_lots
    old = sign * leaves, fill_cash(instrument, order.side, leaves, replaced.ticks)
    return market.kernel.what_if(account.index, instrument.index, *old, *new)
