"""One hash over all that survives a restart: what a replay must bring back, in a fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from risk.account import Account
from risk.exposure import WorkingOrder

if TYPE_CHECKING:
    from gateway.ledger import Ledger


def hash_of(ledger: Ledger, numbers: str) -> str:
    """Return a SHA-256 over the book; `numbers` are the sessions' (see gateway.recovery)."""
    return hashlib.sha256(msgspec.msgpack.encode(list(_parts(ledger, numbers)))).hexdigest()


def _parts(ledger: Ledger, numbers: str) -> Iterator[Any]:
    yield from (numbers, ledger.run, ledger.order_count, [i.symbol for i in ledger.instruments])
    for _, account in sorted(ledger.accounts.items()):
        yield _account(account)
    for _, order in sorted(ledger.orders.items()):
        yield from _order(order)
    yield [(o.session, o.list_id, sorted(o.refused), o.is_placed) for o in ledger.lists.values()]
    yield sorted(ledger.external_lots.items()), len(ledger.external_fills)
    yield sorted(ledger.trade_ids)
    yield [(b.venue, b.symbol, b.text) for b in ledger.breaks]
    yield ledger.standing.parts()
    yield ledger.open_breaks.parts()
    yield ledger.holds.parts()
    yield [msgspec.to_builtins(one) for _, one in sorted(ledger.adjustments.items())]
    yield [msgspec.to_builtins(moved) for _, moved in sorted(ledger.guards.items())]
    yield sorted(ledger.lost_venues.items())
    yield ledger.margin.parts()
    yield ledger.parameters.parts()
    yield ledger.settlements.parts()


def _account(account: Account) -> tuple[Any, ...]:
    positions = [
        (p.instrument.symbol, p.lots, p.cash_units, p.fee_units, p.bought_lots, p.sold_lots, str(p.odd_quantity))
        for _, p in sorted(account.positions.items())
    ]
    held = sorted(account.exposure.orders)
    cash = sorted(account.cash_units.items())
    return account.name, account.state, account.state_reason, cash, positions, held


def _order(order: WorkingOrder) -> Iterator[tuple[Any, ...]]:
    """Yield what is told of every order, and of those that are more than lots at a price."""
    replace = order.replace and (order.replace.cl_ord_id, order.replace.lots, order.replace.ticks)
    cancel = (order.cancel_cl_ord_id, order.is_cancel_pending)
    shape = (order.lots, order.ticks, order.cum_lots, order.cum_lot_ticks, order.held, order.held_alternative)
    yield order.order_id, order.cl_ord_id, order.status, order.venue_order_id, cancel, replace, shape
    if order.exact is not None:
        yield str(order.exact.quantity), str(order.exact.value)
    if order.terms is not None or order.adjusted_lots or order.adjusted_lot_ticks:
        flags = (order.is_triggered, order.is_expiring)
        new_terms = order.replace and order.replace.terms
        yield order.terms, flags, order.adjusted_lots, order.adjusted_lot_ticks, new_terms
