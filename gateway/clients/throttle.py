"""How many messages a session may send: at most N in any interval, exactly; more are refused, or wait in order.

A cancel that takes risk away never waits for a token: each working order has that one in reserve. So neither a flood of
orders nor one of cancels that cancel nothing can keep a client from getting out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway import records
from gateway.clients.refusals import refuse
from gateway.messages import mass_requests, order_lists, party_actions
from gateway.translate import OrderFields
from protocols.fix.codec import MAX_MESSAGE_BYTES, Message, decode
from risk.order import Reject, RejectReason

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

CANCEL: Final = "F"
MASS_CANCEL: Final = "q"
LIST_CANCEL: Final = "K"
# Delayed messages that are acted on in one go, so that one session's queue stalls no other session.
RELEASED_AT_ONCE: Final = 64


class Window:
    """The times of the last `count` messages, in a ring: the oldest tells whether there is room for one more."""

    __slots__ = ("_at", "_interval_ns", "_times_ns")

    def __init__(self, count: int, interval_ns: int) -> None:
        if count < 1 or interval_ns < 1:
            raise ValueError(f"a window takes at least 1 message in 1 ns, not {count} in {interval_ns}")
        self._times_ns = [-(1 << 62)] * count
        self._interval_ns = interval_ns
        self._at = 0

    @property
    def opens_at_ns(self) -> int:
        """When one more message fits."""
        return self._times_ns[self._at] + self._interval_ns

    def take(self, now_ns: int) -> bool:
        """Count a message if fewer than `count` came in the interval before `now_ns`; a refused one does not count."""
        times_ns, at = self._times_ns, self._at
        if now_ns - times_ns[at] < self._interval_ns:
            return False
        times_ns[at] = now_ns
        self._at = at + 1 if at + 1 < len(times_ns) else 0
        return True


class Rate(msgspec.Struct, frozen=True):
    """What a session may send: `messages` in any `interval_ns`; beyond it `delays` up to `queue`, else refuses."""

    messages: int
    interval_ns: int
    delays: bool
    queue: int


class Throttle:
    """One session's. Messages that wait are in `reports.delayed`, for the journal knows them too."""

    def __init__(self, session: str, rate: Rate, pipeline: Pipeline) -> None:
        self.session = session
        self.rate = rate
        self.refused = 0
        self.delayed = 0
        self._window = Window(rate.messages, rate.interval_ns)
        self._pipeline = pipeline

    @property
    def waiting(self) -> dict[int, bytes]:
        """Messages that wait, by their number."""
        return self._pipeline.reports.delayed.get(self.session, {})

    @property
    def deadline_ns(self) -> int | None:
        """When the next message that waits may go."""
        return self._window.opens_at_ns if self.waiting else None

    def admits(self, message: Message, now_ns: int) -> bool:
        """Whether a message is to be acted on now; where not, it has been answered or waits.

        Raises JournalError where neither can be written.
        """
        has_room = not self.waiting and self._window.take(now_ns)
        if has_room or self._takes_risk_away(message):
            return True
        if self.rate.delays and len(self.waiting) < self.rate.queue and len(message.raw) <= MAX_MESSAGE_BYTES:
            record = records.MessageDelayed(self.session, message.msg_seq_num, message.raw)
            self._pipeline.commit(record, now_ns)
            self.delayed += 1
        else:
            self.refused += 1
            refuse(self._pipeline, self.session, message, self._reject(), now_ns)
        return False

    def release(self, now_ns: int) -> None:
        """Act on messages that have waited, oldest first, as far as there are tokens."""
        for seq_in, raw in list(self.waiting.items())[:RELEASED_AT_ONCE]:
            message = decode(raw)
            # Its own order may have gone out just now: then it waits no longer.
            if not self._window.take(now_ns) and not self._takes_risk_away(message):
                return
            self._pipeline.act(self.session, message, now_ns)
            if seq_in in self.waiting:  # a question, of which nothing is written
                self._pipeline.commit(records.MessageReleased(self.session, seq_in), now_ns)

    def _takes_risk_away(self, message: Message) -> bool:
        """Whether it cancels what works and is not being cancelled: each order can be the reason of that once."""
        pipeline = self._pipeline
        if message.msg_type == CANCEL:
            order = pipeline.find(self.session, OrderFields(message))
            return order is not None and order.is_working and not order.is_cancel_pending
        if message.msg_type == MASS_CANCEL:
            return mass_requests.would_cancel(pipeline, self.session, message)
        if message.msg_type == party_actions.PARTY_ACTION:
            return party_actions.would_kill(pipeline, self.session, message)
        return message.msg_type == LIST_CANCEL and order_lists.would_cancel(pipeline, self.session, message)

    def _reject(self) -> Reject:
        rate = self.rate
        text = f"more than {rate.messages} messages in {rate.interval_ns // 1_000_000} ms"
        return Reject(RejectReason.THROTTLED, "throttle", text, limit=float(rate.messages))


def refuse_waiting(pipeline: Pipeline, session: str, why: str, now_ns: int) -> int:
    """Refuse what still waits of a session, since nobody watches it any more; return how many.

    Raises JournalError where that can not be written; the rest still waits.
    """
    waiting = list(pipeline.reports.delayed.get(session, {}).values())
    for raw in waiting:
        refuse(pipeline, session, decode(raw), Reject(RejectReason.THROTTLED, "throttle", why), now_ns)
    return len(waiting)
