"""Transfers that are wanted: planned, approved where they are large, then begun once; or dropped.

A transfer order is what stands before a transfer of risk.collateral_ledger and has its key. (state, what happened) ->
state is a table; an absent row is an error. How many people must approve is decided by limits when it is planned, and
kept with it: limits that change later change nothing that was planned before.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Any, Final

import msgspec

from risk.collateral_ledger import Place, TransferTerms
from risk.lifecycle import follow

# Orders that have ended stay known, so that people see what became of them.
ENDED_ORDERS_KEPT: Final = 10_000
MAX_LIVE_ORDERS: Final = 1_000
# What moves without a person is counted over so long.
WINDOW_NS: Final = 3_600_000_000_000
NO_APPROVAL, ONE_PERSON, TWO_PEOPLE = 0, 1, 2


class OrderState(StrEnum):
    """How a transfer order stands."""

    AWAITING = "awaiting_approval"
    READY = "ready"
    BEGUN = "begun"
    DROPPED = "dropped"


class OrderHappening(StrEnum):
    """What can happen to a transfer order."""

    APPROVED = "approved"
    RELEASED = "released"
    BEGUN = "begun"
    DROPPED = "dropped"


_S, _H = OrderState, OrderHappening

TABLE: Final[dict[tuple[OrderState, OrderHappening], OrderState]] = {
    (_S.AWAITING, _H.APPROVED): _S.AWAITING,
    (_S.AWAITING, _H.RELEASED): _S.READY,
    (_S.AWAITING, _H.DROPPED): _S.DROPPED,
    (_S.READY, _H.BEGUN): _S.BEGUN,
    (_S.READY, _H.DROPPED): _S.DROPPED,
}
LIVE: Final = frozenset({_S.AWAITING, _S.READY})


def next_state(state: OrderState, happening: OrderHappening) -> OrderState:
    """Return the state after `happening`; raises IllegalTransitionError where the table has no such row."""
    return follow(TABLE, state, happening, "a transfer order")


class ApprovalError(Exception):
    """Somebody can not approve or drop this; the text says why, and nothing has changed."""


class TransferLimits(msgspec.Struct, frozen=True):
    """What moves by itself, in units of 1e-8 USD: of one transfer, and of all in an hour; beyond `two_person_units`
    of one, two people approve, else one."""

    automatic_units: int
    hour_units: int
    two_person_units: int

    def approvals(self, value_units: int, used_units: int) -> int:
        """Return how many people must approve a transfer of this value, after `used_units` in the last hour."""
        if value_units > self.two_person_units:
            return TWO_PEOPLE
        is_automatic = value_units <= self.automatic_units and used_units + value_units <= self.hour_units
        return NO_APPROVAL if is_automatic else ONE_PERSON


class TransferOrder(msgspec.Struct):
    """One transfer that is wanted: `value_units` is what it moves in units of 1e-8 USD, `counted_units` what of it
    counts at the target."""

    terms: TransferTerms
    plan: str
    route: str
    fee_units: int
    value_units: int
    counted_units: int
    approvals: int
    expires_ns: int
    call_id: str = ""
    approved_by: list[str] = msgspec.field(default_factory=list)
    state: OrderState = OrderState.AWAITING

    @property
    def is_live(self) -> bool:
        """Whether it may still begin."""
        return self.state in LIVE

    @property
    def brings_money_in(self) -> bool:
        """Whether what it moves secures its account only once it has settled."""
        return self.terms.source.place is Place.CLIENT

    def happen(self, happening: OrderHappening) -> None:
        """Move to the next state; raises IllegalTransitionError where there is none, and nothing has changed then."""
        self.state = next_state(self.state, happening)


class TransferOrders:
    """All orders, changed by what was decided only."""

    def __init__(self) -> None:
        self.orders: dict[str, TransferOrder] = {}
        self.plans = 0
        self._live: dict[str, TransferOrder] = {}
        self._ended: deque[str] = deque()
        self._automatic: deque[tuple[int, int]] = deque()

    def live(self) -> list[TransferOrder]:
        """Return the orders that may still begin, oldest first."""
        return list(self._live.values())

    @property
    def has_live(self) -> bool:
        """Whether an order may still begin."""
        return bool(self._live)

    def used_units(self, now_ns: int) -> int:
        """Return what was planned to move by itself in the last hour."""
        return sum(units for at_ns, units in self._automatic if at_ns > now_ns - WINDOW_NS)

    def parts(self) -> list[Any]:
        """Return all of it in a fixed order, for the state's hash."""
        orders = [msgspec.to_builtins(order) for order in self.orders.values()]
        return [self.plans, orders, list(self._automatic)]

    # -- changes -----------------------------------------------------------------------------------------------------

    def plan(self, orders: list[TransferOrder], time_ns: int) -> None:
        """Keep the orders of one plan; one that nobody need approve is ready at once."""
        self.plans += 1
        while self._automatic and self._automatic[0][0] <= time_ns - WINDOW_NS:
            self._automatic.popleft()
        for order in orders:
            self.orders[order.terms.key] = self._live[order.terms.key] = order
            if not order.approvals:
                order.happen(OrderHappening.RELEASED)
                self._automatic.append((time_ns, order.value_units))

    def why_not_approve(self, key: str, who: str) -> str | None:
        """Return why a person can not approve an order; None where he can."""
        order = self.orders.get(key)
        if order is None:
            return "no such transfer order"
        if order.state is not OrderState.AWAITING:
            return f"the transfer order is {order.state.value}"
        if not who:
            return "whoever approves has a name"
        if who in order.approved_by:
            return "the same person has approved it already: it takes another one"
        return None

    def approve(self, key: str, who: str) -> TransferOrder:
        """A person has approved.

        Raises
        ------
        ApprovalError
            Where he can not; nothing has changed then.
        """
        refusal = self.why_not_approve(key, who)
        if refusal is not None:
            raise ApprovalError(refusal)
        order = self.orders[key]
        order.approved_by.append(who)
        is_enough = len(order.approved_by) >= order.approvals
        order.happen(OrderHappening.RELEASED if is_enough else OrderHappening.APPROVED)
        return order

    def begun(self, key: str) -> None:
        """Its transfer has begun; raises IllegalTransitionError for an order that was not ready."""
        self._end(key, OrderHappening.BEGUN)

    def drop(self, key: str) -> None:
        """It will not begin; raises IllegalTransitionError for one that has."""
        self._end(key, OrderHappening.DROPPED)

    def _end(self, key: str, happening: OrderHappening) -> None:
        self.orders[key].happen(happening)
        del self._live[key]
        self._ended.append(key)
        if len(self._ended) > ENDED_ORDERS_KEPT:
            del self.orders[self._ended.popleft()]
