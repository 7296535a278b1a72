"""A portfolio after hypothetical fills, and the margin before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Final

import msgspec

from risk.models.portfolio import Order, Portfolio, coin_of, contract_of, converted, merged, prepared
from risk.models.result import Component, MarginResult, require

# More orders have too many subsets of fills to enumerate here; the order path's kernel bounds them all at once.
MAX_ENUMERATED: Final = 8


# One row of what is asked, and the fills that may come of it: each a list of orders that fill completely.
_Outcomes = list[list[Order]]


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cancel the working order of this id; until the venue says so, it may have filled."""

    cancel: str


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """Margin before, after all orders filled and all cancels done, and in the worst of all that may come of them.

    `worst_available` is the least of equity - initial over subsets that fill completely, nothing included; what is
    cancelled or replaced may fill before that. None where there are more rows than MAX_ENUMERATED. `worst_fills` are
    the rows with a fill in the worst case.
    """

    before: MarginResult
    after: MarginResult
    worst_available: float | None
    worst_fills: tuple[int, ...]

    @property
    def initial_is_covered(self) -> bool:
        """True where every enumerated outcome leaves the initial margin covered, or does not worsen it."""
        worst = self.after.available if self.worst_available is None else self.worst_available
        return worst >= 0 or worst >= self.before.available


def filled(portfolio: Portfolio, order: Order) -> Portfolio:
    """Return the portfolio after an order filled completely at its limit: position, entry and cash.

    Options and spot are paid for at once: in the coin they settle in, where the account lists it as collateral, else in
    cash. Futures change entry, and what a reduction realises is kept in `accrued`.
    """
    contract = contract_of(portfolio, order)
    mark = contract.mark if contract.mark is not None else order.price
    leg = contract.leg
    if leg != "both" or any(order.is_in(held) and held.leg != "both" for held in portfolio.positions):
        leg = "long" if order.side == "buy" else "short"  # in hedge mode an order opens a leg of its own side
    fill = msgspec.structs.replace(contract, qty=order.signed_qty, entry=order.price, mark=mark, leg=leg)
    cash, collateral = portfolio.cash, portfolio.collateral
    if contract.kind in ("option", "spot"):
        premium = fill.notional_qty * order.price
        at = coin_of(portfolio, contract)
        if at is None:
            cash -= converted(portfolio, contract, premium)
        else:
            paid = msgspec.structs.replace(collateral[at], qty=collateral[at].qty - premium)
            collateral = (*collateral[:at], paid, *collateral[at + 1 :])
    positions, is_placed = [], False
    for held in portfolio.positions:
        is_same = held.instrument == order.instrument and held.venue == contract.venue
        if is_same and held.leg == leg and not is_placed:
            held, is_placed = merged(held, fill), True
        positions.append(held)
    if not is_placed:
        positions.append(fill)
    return msgspec.structs.replace(portfolio, positions=tuple(positions), cash=cash, collateral=collateral)


def what_if(
    evaluate: Callable[[Portfolio], MarginResult], portfolio: Portfolio, orders: Sequence[Order | Cancel]
) -> WhatIf:
    """Return margin before and after orders, replaces and cancels, and the worst of what may come of them.

    Raises
    ------
    MarginError
        If an order names no known contract, or none that works, or the model refuses what it would make of the
        portfolio.
    """
    require(bool(orders), "bad_order", "no orders")
    new = [order for order in orders if isinstance(order, Order)]
    prepared(msgspec.structs.replace(portfolio, orders=tuple(new)))
    working = {order.id: order for order in portfolio.orders if order.id}
    ended = [row.cancel if isinstance(row, Cancel) else row.replaces for row in orders]
    for name in filter(None, ended):
        require(name in working, "unknown_order", f"no working order has the id {name}")
        require(ended.count(name) == 1, "bad_order", f"order {name} is cancelled or replaced twice")
    left = tuple(order for order in portfolio.orders if not order.id or order.id not in ended)
    remaining = msgspec.structs.replace(portfolio, orders=left)
    worst: tuple[float, tuple[int, ...]] | None = None
    if len(orders) <= MAX_ENUMERATED:
        rows = [_outcomes(row, working.get(name)) for row, name in zip(orders, ended, strict=True)]
        for chosen in product(*rows):
            available = evaluate(_after(remaining, [fill for fills in chosen for fill in fills])).available
            if worst is None or available < worst[0]:
                worst = available, tuple(row for row, fills in enumerate(chosen) if fills)
    return WhatIf(
        before=evaluate(portfolio),
        after=evaluate(_after(remaining, new)),
        worst_available=None if worst is None else worst[0],
        worst_fills=() if worst is None else worst[1],
    )


def _outcomes(row: Order | Cancel, ended: Order | None) -> _Outcomes:
    """Return what may fill of one row: of a replace the old, the new, or the old and the rest of the new."""
    late: _Outcomes = [] if ended is None else [[ended]]
    if isinstance(row, Cancel):
        return [[], *late]
    if ended is not None and row.qty > ended.qty:
        late.append([ended, msgspec.structs.replace(row, qty=row.qty - ended.qty)])
    return [[], [row], *late]


def with_orders_enumerated(
    evaluate: Callable[[Portfolio], MarginResult], portfolio: Portfolio, *, holds_premium: bool = False
) -> MarginResult:
    """Return a model's margin with a reservation for working orders, for models that have none of their own.

    The reservation is what the worst subset of complete fills takes off what is available. Where the requirement is
    not convex in a fill (a bought hedge that is worth nothing until it covers all), `holds_premium` sets the premium
    of every option that is bought aside as well, which bounds every partial fill. Refused for more orders than can be
    enumerated.
    """
    alone = msgspec.structs.replace(portfolio, orders=())
    held = evaluate(alone)
    if not portfolio.orders:
        return held
    count = len(portfolio.orders)
    require(count <= MAX_ENUMERATED, "too_many_orders", f"{count} working orders are more than {MAX_ENUMERATED}")
    bought = [o for o in portfolio.orders if _is_bought_option(portfolio, o)] if holds_premium else []
    others = [order for order in portfolio.orders if order not in bought]
    reserved = sum(order.qty * contract_of(portfolio, order).contract_size * order.price for order in bought)
    if others:
        outcome = what_if(evaluate, alone, others)
        assert outcome.worst_available is not None
        reserved += max(0.0, held.available - outcome.worst_available)
    components = held.components | {"orders": Component(reserved, 0.0)}
    return msgspec.structs.replace(held, components=components, initial=held.initial + reserved)


def _is_bought_option(portfolio: Portfolio, order: Order) -> bool:
    return order.side == "buy" and contract_of(portfolio, order).kind == "option"


def _after(portfolio: Portfolio, orders: Sequence[Order]) -> Portfolio:
    for order in orders:
        portfolio = filled(portfolio, order)
    return portfolio
