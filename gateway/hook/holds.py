"""Holds in the book: what their records do to it, which of them are overdue, and what a key was answered.

Part of the ledger: changed by records only. A hold is a working order of its account, so that every check and margin
counts it; but it is in none of the ledger's other lists, since nobody here may send it, ask about it or cancel it.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.records.holds import HoldApproved, HoldFilled, HoldOverdue, HoldRefused, HoldReleased, HookOpened
from risk.account import CL_ORD_ID_MEMORY_NS
from risk.exposure import WorkingOrder
from risk.hold import HOLDING, HoldHappening, HoldState, next_state
from risk.instrument import Side
from risk.lifecycle import Happening, OrdStatus
from risk.order import OrdType, TimeInForce

if TYPE_CHECKING:
    from gateway.ledger import Ledger
    from gateway.reports import Reports

# Ended holds stay known, so that a key that comes again is answered as before; then it is only a key that was used.
ENDED_HOLDS_KEPT: Final = 200_000
# The same of refusals; the oldest forgotten, whose key is checked anew.
REFUSALS_KEPT: Final = 200_000
# Deadlines of ended holds are dropped when there are so many; from then on when they are more than those of live ones.
MIN_DEADLINES: Final = 1_024


class Hold(msgspec.Struct):
    """One order that its owner sends. `executions`: id -> (lots, ticks), each booked once."""

    record: HoldApproved
    order: WorkingOrder
    state: HoldState = HoldState.HELD
    executions: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)

    @property
    def hold_id(self) -> str:
        """Its OrderID(37), and the label that the order has at a shared venue account."""
        return self.order.order_id

    @property
    def is_holding(self) -> bool:
        """Whether margin is held for it."""
        return self.state in HOLDING

    def happening_of_fill(self, lots: int) -> HoldHappening:
        """Return what a fill of so many lots is to it."""
        is_last = self.order.cum_lots + lots >= self.order.lots
        return HoldHappening.FILLED if is_last else HoldHappening.PARTLY_FILLED


class Holds:
    """All holds, by id; live ones and, bounded, those that have ended."""

    def __init__(self) -> None:
        self.by_id: dict[str, Hold] = {}
        self._live: dict[str, Hold] = {}
        self.hooks: dict[str, HookOpened] = {}
        self.refusals: OrderedDict[tuple[str, str, str], tuple[int, HoldRefused]] = OrderedDict()
        self.unknown: dict[str, None] = {}
        self._ended: deque[str] = deque()
        self._deadlines: list[tuple[int, str]] = []

    def live(self) -> Iterator[Hold]:
        """Yield the holds for which margin is held, oldest first."""
        return iter(self._live.values())

    @property
    def deadline_ns(self) -> int | None:
        """When the next hold is overdue."""
        deadlines, live = self._deadlines, self._live
        while deadlines:
            hold = live.get(deadlines[0][1])
            if hold is not None and hold.state in (HoldState.HELD, HoldState.PARTLY_FILLED):
                return deadlines[0][0]
            heapq.heappop(deadlines)
        return None

    def overdue(self, now_ns: int) -> Hold | None:
        """Return a hold whose deadline has passed, the longest ago first; None where there is none."""
        deadline_ns = self.deadline_ns
        return None if deadline_ns is None or deadline_ns > now_ns else self.by_id[self._deadlines[0][1]]

    def refusal(self, hook: str, account: str, key: str, now_ns: int) -> HoldRefused | None:
        """Return how a key was refused in the last day; None where it was not."""
        found = self.refusals.get((hook, account, key))
        return None if found is None or now_ns - found[0] > CL_ORD_ID_MEMORY_NS else found[1]

    def has_shared(self, label: str) -> bool:
        """Whether an order that works at our venue account may do so, its margin held."""
        hold = self.by_id.get(label)
        return hold is not None and hold.record.is_shared and hold.is_holding

    def parts(self) -> list[Any]:
        """Return all that a restart must bring back, in a fixed order, for the state's hash."""
        holds = [
            (
                hold_id, hold.state, hold.record, sorted(hold.executions.items()), hold.order.status,
                hold.order.cum_lots, hold.order.cum_lot_ticks, hold.order.adjusted_lots, hold.order.adjusted_lot_ticks,
                hold.order.held,
            )
            for hold_id, hold in sorted(self.by_id.items())
        ]  # fmt: skip
        return [holds, sorted(self.hooks.items()), list(self.refusals.items()), sorted(self.unknown)]

    # -- changes -----------------------------------------------------------------------------------------------------

    def add(self, hold: Hold) -> None:
        """Know a new hold."""
        self.by_id[hold.hold_id] = self._live[hold.hold_id] = hold
        deadlines = self._deadlines
        heapq.heappush(deadlines, (hold.record.deadline_ns, hold.hold_id))
        if len(deadlines) > max(MIN_DEADLINES, 2 * len(self._live)):
            deadlines[:] = [(at_ns, hold_id) for at_ns, hold_id in deadlines if hold_id in self._live]
            heapq.heapify(deadlines)

    def move(self, hold: Hold, happening: HoldHappening) -> None:
        """Move a hold to its next state."""
        was_holding = hold.is_holding
        hold.state = next_state(hold.state, happening)
        if hold.state is HoldState.UNKNOWN:
            self.unknown[hold.hold_id] = None
        else:
            self.unknown.pop(hold.hold_id, None)
        if was_holding and not hold.is_holding:
            del self._live[hold.hold_id]
            self._ended.append(hold.hold_id)
            if len(self._ended) > ENDED_HOLDS_KEPT:
                del self.by_id[self._ended.popleft()]

    def refuse(self, record: HoldRefused, time_ns: int) -> None:
        """Know how a key was refused."""
        place = (record.hook, record.account, record.key)
        self.refusals[place] = (time_ns, record)
        self.refusals.move_to_end(place)
        if len(self.refusals) > REFUSALS_KEPT:
            self.refusals.popitem(last=False)


# -- the ledger --------------------------------------------------------------------------------------------------------


def _opened(ledger: Ledger, record: HookOpened) -> None:
    ledger.holds.hooks[record.hook] = record


def _approved(ledger: Ledger, record: HoldApproved) -> None:
    account = ledger.accounts[record.account]
    order = WorkingOrder(
        record.hold_id,
        record.key,
        record.hook,
        record.account,
        ledger.instruments[record.instrument],
        Side(record.side),
        record.lots,
        record.ticks,
        OrdType(record.ord_type),
        TimeInForce.DAY,
        False,
        record.is_reduce_only,
        ledger.time_ns,
        OrdStatus.NEW,
    )
    ledger.order_count += 1
    ledger.holds.add(Hold(record, order))
    account.cl_ord_ids.remember(record.key, record.hold_id, ledger.time_ns)
    account.exposure.hold(order)


def _refused(ledger: Ledger, record: HoldRefused) -> None:
    ledger.holds.refuse(record, ledger.time_ns)


def _overdue(ledger: Ledger, record: HoldOverdue) -> None:
    ledger.holds.move(ledger.holds.by_id[record.hold_id], HoldHappening.OVERDUE)


def _released(ledger: Ledger, record: HoldReleased) -> None:
    hold = ledger.holds.by_id[record.hold_id]
    ledger.holds.move(hold, HoldHappening.RELEASED)
    hold.order.happen(Happening.CANCELLED)
    ledger.accounts[hold.order.account].exposure.release(hold.order)


def _filled(ledger: Ledger, record: HoldFilled) -> None:
    hold = ledger.holds.by_id[record.hold_id]
    order, account = hold.order, ledger.accounts[hold.order.account]
    ledger.remember_trade(record.source, record.trade_id)
    hold.executions[record.execution] = (record.lots, record.ticks)
    was_holding = hold.is_holding
    ledger.holds.move(hold, hold.happening_of_fill(record.lots))
    if was_holding:
        account.apply_fill(order, record.lots, record.ticks, record.fee_units)
        if order.cum_lots > order.lots:
            ledger.standing.restrict(account, f"hold {order.order_id} was filled beyond its quantity")
    else:
        account.book_fill(order.instrument, order.side, record.lots, record.ticks, record.fee_units)
        order.cum_lots += record.lots
        order.cum_lot_ticks += record.lots * record.ticks
        ledger.standing.restrict(account, f"hold {order.order_id} was filled after it had ended")
    move_external(ledger, hold, record.lots)


def move_external(ledger: Ledger, hold: Hold, lots: int) -> None:
    """Keep what was filled (or, negative, taken back) out of what is compared with a venue that did not see it."""
    order = hold.order
    if not hold.record.is_shared:
        key = (order.account, order.instrument.index)
        ledger.external_lots[key] = ledger.external_lots.get(key, 0) + lots * order.side.sign


APPLIES: Final[dict[type, Callable[[Ledger, Any], None]]] = {
    HookOpened: _opened,
    HoldApproved: _approved,
    HoldRefused: _refused,
    HoldOverdue: _overdue,
    HoldFilled: _filled,
    HoldReleased: _released,
}


# -- reports -----------------------------------------------------------------------------------------------------------


def _report_filled(reports: Reports, record: HoldFilled, sequence: int, time_ns: int) -> None:
    """Clients that ask for trades by FIX hear of those of holds too."""
    reports.trades.add_hold_fill(reports, record, sequence, time_ns)


REPORTS: Final[dict[type, Callable[[Reports, Any, int, int], None]]] = {HoldFilled: _report_filled}
