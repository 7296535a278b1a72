"""Cancel on disconnect: at once, or when the client is not back within its grace; and whether the venue confirmed it.

The time of the cancels is a record, so it survives the gateway: a new process takes every session for disconnected,
from its start on or from when the journal says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.journal import JournalError
from risk.exposure import WorkingOrder

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# Alerts are due within five seconds of what they tell of, so a cancel that is not confirmed is told of after four.
CONFIRM_WITHIN_NS: Final = 4_000_000_000
# Order ids that an alert names.
IDS_SHOWN: Final = 5


class CancelWatch:
    """Cancels that nobody else waits for: counted when the order has ended, an alert when it does not end in time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._due_ns: dict[str, tuple[int, str]] = {}  # OrderID -> (when to tell, why it was cancelled)
        self._late: dict[str, None] = {}  # told of, and still working
        self.asked = 0
        self.confirmed = 0

    @property
    def unconfirmed(self) -> int:
        """Orders that are still to end."""
        return len(self._due_ns) + len(self._late)

    @property
    def deadline_ns(self) -> int | None:
        """When to look next."""
        return next(iter(self._due_ns.values()))[0] if self._due_ns else None

    def watch(self, order_ids: Iterable[str], why: str, now_ns: int) -> None:
        """Watch orders whose cancel was just sent."""
        for order_id in order_ids:
            if order_id not in self._due_ns and order_id not in self._late:
                self._due_ns[order_id] = (now_ns + CONFIRM_WITHIN_NS, why)
                self.asked += 1

    def tick(self, now_ns: int) -> None:
        """Count what has ended, and tell of what has not in time."""
        if not self._due_ns and not self._late:
            return
        orders = self._pipeline.ledger.orders
        for order_id in [*self._due_ns, *self._late]:
            order = orders.get(order_id)
            if order is None or not order.is_working:
                self.confirmed += 1
                self._due_ns.pop(order_id, None)
                self._late.pop(order_id, None)
        overdue: dict[str, list[str]] = {}
        for order_id, (due_ns, why) in list(self._due_ns.items()):
            if due_ns > now_ns:
                break
            overdue.setdefault(why, []).append(order_id)
            del self._due_ns[order_id]
            self._late[order_id] = None
            if not orders[order_id].is_cancel_pending:  # it was the client's own cancel, and the venue refused that
                self._pipeline.cancel_unasked(orders[order_id], "", now_ns)
        for why, order_ids in overdue.items():
            shown = ", ".join(order_ids[:IDS_SHOWN]) + (", ..." if len(order_ids) > IDS_SHOWN else "")
            text = (
                f"{why}: {len(order_ids)} orders not confirmed as cancelled in {CONFIRM_WITHIN_NS // 10**9} s: {shown}"
            )
            self._pipeline.monitor.alert(text)


class Disconnects:
    """Sessions with cancel_on_disconnect: `grace_ns` by name; those that are not in it have none."""

    def __init__(self, pipeline: Pipeline, watch: CancelWatch, grace_ns: Mapping[str, int]) -> None:
        self._pipeline = pipeline
        self._watch = watch
        self._grace_ns = grace_ns
        self._cancel_at_ns = pipeline.ledger.standing.cancel_at_ns

    @property
    def deadline_ns(self) -> int | None:
        """When the first grace is over."""
        return min(self._cancel_at_ns.values(), default=None)

    def ended(self, session: str, now_ns: int) -> None:
        """A session is over. A grace that runs already, from before a restart, is not prolonged."""
        pipeline, grace_ns = self._pipeline, self._grace_ns.get(session, 0)
        if session in self._cancel_at_ns or not any(True for _ in self._orders(session)):
            return
        if not grace_ns:
            self._cancel(session, now_ns)
            return
        try:
            pipeline.commit(records.SessionEnded(session, now_ns + grace_ns), now_ns)
        except JournalError as error:
            # A time that is not written would not survive us: there is no grace then.
            pipeline.monitor.journal_failed(str(error))
            self._cancel(session, now_ns)

    def logged_on(self, session: str, now_ns: int) -> None:
        """A client is back: in time it keeps its orders, and too late is too late, whoever looked first."""
        self.tick(now_ns)
        if session in self._cancel_at_ns:
            self._settle(session, True, 0, now_ns)

    def tick(self, now_ns: int) -> None:
        """Cancel for whom the grace is over."""
        for session in [name for name, at_ns in self._cancel_at_ns.items() if at_ns <= now_ns]:
            self._settle(session, False, self._cancel(session, now_ns), now_ns)

    def _cancel(self, session: str, now_ns: int) -> int:
        orders = list(self._orders(session))
        self._pipeline.cancel_all(session, now_ns)
        self._watch.watch([order.order_id for order in orders], f"fix: {session} is gone", now_ns)
        return len(orders)

    def _settle(self, session: str, is_resumed: bool, cancels: int, now_ns: int) -> None:
        record = records.GraceEnded(session, is_resumed, cancels)
        try:
            self._pipeline.commit(record, now_ns)
        except JournalError as error:
            # The cancels are on their way; a process that does not know of it sends them again.
            self._pipeline.monitor.journal_failed(str(error))
            self._pipeline.ledger.apply(record, now_ns)

    def _orders(self, session: str) -> Iterator[WorkingOrder]:
        return (order for order in self._pipeline.ledger.working_orders() if order.session == session)
