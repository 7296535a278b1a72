"""What survives a connection: numbers, sent messages, and the rules agreed with the peer."""

from typing import TYPE_CHECKING

import msgspec

from protocols.fix import tags
from protocols.fix.codec import MAX_FIELDS, MAX_MESSAGE_BYTES, Header, Screen
from protocols.fix.dictionary import FIX44, Dictionary
from protocols.fix.events import SessionKey
from protocols.fix.framing import MAX_BUFFERED_BYTES
from protocols.fix.store import MessageStore
from protocols.fix.values import NS_PER_SECOND

if TYPE_CHECKING:
    from protocols.fix.session import Session

ORDER_MESSAGES = frozenset(
    {
        tags.NEW_ORDER_SINGLE,
        tags.ORDER_CANCEL_REQUEST,
        tags.ORDER_CANCEL_REPLACE_REQUEST,
        tags.ORDER_STATUS_REQUEST,
    }
)


class SessionConfig(msgspec.Struct, frozen=True):
    """Rules of one session. Every default errs on the side of what most peers do."""

    dictionary: Dictionary = FIX44
    # What the application takes; any other type of the dictionary's version is refused with 380=3.
    application_messages: frozenset[str] = ORDER_MESSAGES
    heart_bt_int: int = 30  # what an initiator asks for, seconds
    min_heart_bt_int: int = 1  # an acceptor refuses others; 0 would never find out a dead peer
    max_heart_bt_int: int = 3600
    max_latency_ns: int = 120 * NS_PER_SECOND
    logon_timeout_ns: int = 10 * NS_PER_SECOND  # an initiator waits so long for the answer
    logout_timeout_ns: int = 10 * NS_PER_SECOND
    # A requested gap that does not move for so long is asked for again, at most so often.
    resend_timeout_ns: int = 30 * NS_PER_SECOND
    max_resend_requests: int = 3
    accepts_reset: bool = True  # Logon with 141=Y from the peer
    reset_on_logon: bool = False  # both sides start from 1 with every Logon
    sends_next_expected: bool = False  # NextExpectedMsgSeqNum(789) in our Logon, and the peer's honoured
    timestamp_digits: int = 3
    sent_capacity: int = 100_000
    # Further header fields, such as (50, b"DESK1").
    routing: tuple[tuple[int, bytes], ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """What one connection may cost us, whoever is at the other end."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_fields: int = MAX_FIELDS
    max_buffered_bytes: int = MAX_BUFFERED_BYTES
    logon_timeout_ns: int = 10 * NS_PER_SECOND
    # Messages above a gap wait here; those beyond are dropped and asked for again.
    max_held_messages: int = 1000
    max_held_bytes: int = 1 << 20
    # What one data_to_send() adds of a resend, and how much may pile up behind it.
    resend_chunk_bytes: int = 65_536
    max_queued_bytes: int = 1 << 20


class SessionState:
    """The part of a session that the application owns and keeps over connections and restarts."""

    __slots__ = ("config", "connection", "header", "key", "next_in", "next_out", "screen", "sent")

    def __init__(
        self,
        key: SessionKey,
        config: SessionConfig | None = None,
        next_in: int = 1,
        next_out: int = 1,
        sent: MessageStore | None = None,
    ) -> None:
        """`next_in`: the MsgSeqNum expected next; `next_out`: the one that our next message will have."""
        self.key = key
        self.config = config = config or SessionConfig()
        self.next_in = next_in
        self.next_out = next_out
        if sent is None:
            sent = MessageStore(config.sent_capacity)
            sent.reset(next_out)
        self.sent = sent
        self.connection: Session | None = None
        self.header = Header(
            key.begin_string, key.sender_comp_id, key.target_comp_id, config.routing, config.timestamp_digits
        )
        self.screen = Screen(
            config.dictionary,
            config.application_messages,
            key.begin_string,
            key.target_comp_id,
            key.sender_comp_id,
            config.max_latency_ns,
        )

    def reset(self) -> None:
        """Start both directions from 1 and forget what was sent: a new session by schedule, or 141=Y."""
        self.next_in = 1
        self.next_out = 1
        self.sent.reset()

    def __repr__(self) -> str:
        return f"SessionState({self.key}, next_in={self.next_in}, next_out={self.next_out})"
