"""What the checks would say to an order that is not placed: all of them, in the same order, and nothing is kept of it.

An order that is asked about takes no token of the account's rate, uses up no ClOrdID and holds nothing. The answer is
as good as the moment: an order that is placed is checked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from risk.account import Account
from risk.cash import fill_cash
from risk.exposure import WorkingOrder
from risk.instrument import Side
from risk.marks import Market
from risk.order import Approved, Order, Reject, RejectReason
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


def rehearse_basket(
    orders: Sequence[Order],
    account: Account | None,
    market: Market,
    further: Callable[[Order, Account], Reject | None] = lambda order, account: None,
) -> Passed | tuple[int, Reject]:
    """Run the checks over orders of one account, each with those before it working, and take all back.

    All or none: Passed is of all of them at once, else the place of the first that would be refused, and why. That is
    what placing them one after the other would come to, as long as none fills. `further` is asked of each that passes.
    Replacements are refused: what they replace is held as well.
    """
    if account is None or not orders:
        text = "a basket is of new orders of one account"
        answer = rehearse(orders[0], None, market) if orders else None
        return 0, answer if isinstance(answer, Reject) else _not_of_a_basket(text)
    exposure, arrival_ns, held = account.exposure, account.rate.arrival_ns, list[WorkingOrder]()
    used: set[str] = set()
    excess, checks_run = 0.0, 0
    try:
        for place, order in enumerate(orders):
            if order.replaces is not None or order.account not in ("", account.name):
                return place, _not_of_a_basket("a basket is of new orders of one account")
            if order.cl_ord_id and order.cl_ord_id in used:
                text = f"ClOrdID(11) {order.cl_ord_id} is in the basket more than once"
                return place, Reject(RejectReason.DUPLICATE_CL_ORD_ID, "cl_ord_id_is_new", text)
            used.add(order.cl_ord_id)
            decision = evaluate(order, account, market)
            refusal = decision if isinstance(decision, Reject) else further(order, account)
            if refusal is not None:
                return place, refusal
            assert isinstance(decision, Approved)
            checks_run, excess = decision.checks_run, _excess(order, account, market)
            if place < len(orders) - 1:
                held.append(_working(order, account, place))
                exposure.hold(held[-1])
        return Passed(checks_run, market.kernel.equity(account.index, market.base_scenario), excess)
    finally:
        account.rate.arrival_ns = arrival_ns
        for working in reversed(held):
            exposure.release(working)


def _not_of_a_basket(text: str) -> Reject:
    return Reject(RejectReason.UNSUPPORTED_CHARACTERISTIC, "basket", text)


def _working(order: Order, account: Account, place: int) -> WorkingOrder:
    """Return an order as it would work; no id of a real one has a space in it."""
    assert order.instrument is not None
    return WorkingOrder(
        f"what if {place}", order.cl_ord_id, "", account.name, order.instrument, order.side, order.lots, order.ticks,
        order.ord_type, order.time_in_force, order.is_post_only, order.is_reduce_only, order.received_ns,
        terms=order.terms,
    )  # fmt: skip


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
