"""Journal records of FIX sessions: their numbers, and messages that were delayed, refused or told to nobody's order.

Part of gateway.records, which has the rules for them; tags 5, 8, 16 and 50 to 59.
"""

from __future__ import annotations

from gateway.records.base import Record


class SessionMoved(Record, frozen=True, tag=5):
    """A FIX session's next numbers after administrative traffic; orders and reports carry their own."""

    session: str
    next_in: int
    next_out: int


class SessionOpened(Record, frozen=True, tag=8):
    """A FIX session of the configuration, at each start; CompIDs as we see them, and the accounts it may use.

    `routing`: our SubID and LocationID, then the client's; empty where none is set.
    """

    session: str
    begin_string: str
    sender_comp_id: str
    target_comp_id: str
    accounts: tuple[str, ...] = ()
    routing: tuple[str, ...] = ()
    timestamp_digits: int = 3
    kind: str = "orders"
    reports_pending: bool = False


class MessageRefused(Record, frozen=True, tag=16):
    """An application message that could not be taken at all: BusinessMessageReject(j) follows."""

    session: str
    seq_in: int
    ref_msg_type: str
    reason: int
    ref_id: str
    text: str


class VolatileSent(Record, frozen=True, tag=50):
    """A FIX session's next numbers after a batch of messages that are neither kept nor made again.

    See gateway.clients.volatile.
    """

    session: str
    next_in: int
    next_out: int


class NewsPublished(Record, frozen=True, tag=51):
    """News(B) for the sessions that were logged on; `urgency` is FIX's: 0 normal, 1 flash, 2 background."""

    sessions: tuple[str, ...]
    headline: str
    lines: tuple[str, ...]
    urgency: int


class SessionRenewed(Record, frozen=True, tag=55):
    """Sequence numbers are of a new session from here on: by schedule, ResetSeqNumFlag(141) or reset_on_logon.

    `is_reset`: they begin at 1; else a schedule was introduced, and they are taken to be of the session that is on.
    `as_of_ns` is 0 without a schedule.
    """

    session: str
    is_reset: bool
    as_of_ns: int


class MessageDelayed(Record, frozen=True, tag=56):
    """A client's message came faster than its throttle allows; it counts as received and waits for its turn."""

    session: str
    seq_in: int
    raw: bytes


class MessageReleased(Record, frozen=True, tag=57):
    """A delayed message was acted on, and what was decided has no record of its own."""

    session: str
    seq_in: int


class SessionEnded(Record, frozen=True, tag=58):
    """A client is gone with orders working; they are cancelled at `cancel_at_ns`, unless it is back by then."""

    session: str
    cancel_at_ns: int


class GraceEnded(Record, frozen=True, tag=59):
    """The client is back, and keeps its orders; or it is not, and they have been cancelled."""

    session: str
    is_resumed: bool
    cancels: int


SessionRecord = (
    SessionMoved
    | SessionOpened
    | MessageRefused
    | VolatileSent
    | NewsPublished
    | SessionRenewed
    | MessageDelayed
    | MessageReleased
    | SessionEnded
    | GraceEnded
)
