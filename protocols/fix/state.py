"""What survives a connection: numbers, sent messages, and the rules agreed with the peer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from protocols.fix import tags
from protocols.fix.codec import MAX_FIELDS, MAX_MESSAGE_BYTES, Header, Layout, Message, Screen
from protocols.fix.dictionary import FIX42, FIX44, FIX50SP2, Dictionary
from protocols.fix.events import SessionKey
from protocols.fix.framing import MAX_BUFFERED_BYTES
from protocols.fix.schedule import Schedule
from protocols.fix.store import MAX_SENT_BYTES, MessageStore
from protocols.fix.values import NS_PER_SECOND
from protocols.fix.versions import View, needs_view

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


# What a session speaks when it is not told: FIXT alone does not say which application version.
DICTIONARIES: Mapping[str, Dictionary] = {
    dictionary.begin_string: dictionary for dictionary in (FIX42, FIX44, FIX50SP2)
}
FIXT = "FIXT.1.1"


class SessionConfig(msgspec.Struct, frozen=True):
    """Rules of one session. Every default errs on the side of what most peers do."""

    dictionary: Dictionary | None = None  # None: the one of DICTIONARIES for the key's BeginString
    # FIXT only: versions besides `dictionary` that a message may name in ApplVerID(1128).
    further_versions: tuple[Dictionary, ...] = ()
    # How strictly `dictionary` is applied; see Dictionary.relaxed.
    allows_unknown_tags: bool = False
    allows_any_order: bool = False
    checks_values: bool = True
    schedule: Schedule | None = None  # None: always on, and never reset by time
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
    sent_capacity: int = 100_000  # messages kept for resends, and bytes of them
    sent_bytes: int = MAX_SENT_BYTES
    # Whether a message that is sent while nobody is connected begins a new session where the schedule has; False:
    # only a Logon and `SessionState.renew` do, for an owner that keeps a record of each reset.
    renews_when_away: bool = True
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
    # What one data_to_send() adds of a resend (some 18 reports: little enough for who waits meanwhile), and how much
    # may pile up behind it.
    resend_chunk_bytes: int = 4096
    max_queued_bytes: int = 1 << 20


class SessionState:
    """The part of a session that the application owns and keeps over connections and restarts."""

    __slots__ = (
        "_views",
        "as_of_ns",
        "config",
        "connection",
        "dictionary",
        "header",
        "identity",
        "key",
        "name",
        "next_in",
        "next_out",
        "resets",
        "resets_next",
        "routing",
        "screen",
        "sent",
        "versions",
        "writes_as_given",
    )

    def __init__(
        self,
        key: SessionKey,
        config: SessionConfig | None = None,
        next_in: int = 1,
        next_out: int = 1,
        sent: MessageStore | None = None,
        as_of_ns: int | None = None,
        name: str = "",
    ) -> None:
        """`next_in`: the MsgSeqNum expected next; `next_out`: the one that our next message will have.

        `name`: what its owner calls the session, the peer's CompID where nothing is said.

        `as_of_ns`: when these numbers were last in use, for a schedule to tell whether a new session has begun since;
        None: they are of the present one. Raises ValueError when key and config contradict each other.
        """
        self.key = key
        self.name = name or key.target_comp_id
        self.resets = 0  # how often `reset` was called
        self.config = config = config or SessionConfig()
        self.as_of_ns = as_of_ns
        self.writes_as_given = key.begin_string == FIX44.begin_string
        self.resets_next = False  # our next Logon goes with 141=Y
        self.dictionary = dictionary = _dictionary(key, config)
        self.versions = {
            version.appl_ver_id.encode(): version
            for version in (*config.further_versions, dictionary)
            if key.begin_string == FIXT
        }
        # Header fields that the peer must send, and how we name ourselves.
        self.identity = _routing(key.target_sub_id, key.sender_sub_id, key.target_location_id, key.sender_location_id)
        ours = _routing(key.sender_sub_id, key.target_sub_id, key.sender_location_id, key.target_location_id)
        self.routing = tuple({**dict(ours), **dict(config.routing)}.items())
        self.next_in = next_in
        self.next_out = next_out
        if sent is None:
            sent = MessageStore(config.sent_capacity, config.sent_bytes)
            sent.reset(next_out)
        self.sent = sent
        self.connection: Session | None = None
        self.header = Header(
            key.begin_string,
            key.sender_comp_id,
            key.target_comp_id,
            self.routing,
            config.timestamp_digits,
        )
        self._views: dict[Layout, View | None] = {}
        self.screen = Screen(
            dictionary,
            config.application_messages,
            key.begin_string,
            key.target_comp_id,
            key.sender_comp_id,
            config.max_latency_ns,
            self.identity,
        )

    def dictionary_of(self, message: Message) -> Dictionary | None:
        """Return what validates a message: on FIXT it may name its ApplVerID(1128). None: none of ours."""
        if not self.versions:
            return self.dictionary
        appl_ver_id = message.get(tags.APPL_VER_ID)
        return self.dictionary if appl_ver_id is None else self.versions.get(appl_ver_id)

    def view(self, layout: Layout) -> View | None:
        """Return how this session's version writes a layout of FIX 4.4; None: as it is."""
        try:
            return self._views[layout]
        except KeyError:
            view = View(self.dictionary, layout) if needs_view(self.dictionary, layout) else None
            if len(self._views) >= 64:
                self._views.clear()
            self._views[layout] = view
            return view

    def is_over(self, now_ns: int) -> bool:
        """Whether the schedule began a new session since the numbers were last used."""
        schedule = self.config.schedule
        window = schedule.window(now_ns) if schedule is not None else None
        return window is not None and self.as_of_ns is not None and self.as_of_ns < window[0]

    def renew(self, now_ns: int) -> bool:
        """Reset when the schedule began a new session since the numbers were last used; tell whether it did."""
        schedule, is_new = self.config.schedule, self.is_over(now_ns)
        if schedule is None or schedule.window(now_ns) is None:
            return False
        self.as_of_ns = now_ns
        if is_new:
            self.reset()
        return is_new

    def reset(self) -> None:
        """Start both directions from 1 and forget what was sent: a new session by schedule, or 141=Y."""
        self.next_in = 1
        self.next_out = 1
        self.resets += 1
        self.sent.reset()

    def __repr__(self) -> str:
        return f"SessionState({self.key}, next_in={self.next_in}, next_out={self.next_out})"


def _dictionary(key: SessionKey, config: SessionConfig) -> Dictionary:
    dictionary = config.dictionary or DICTIONARIES.get(key.begin_string)
    if dictionary is None or dictionary.begin_string != key.begin_string:
        named = "none" if dictionary is None else f"that of {dictionary.begin_string}"
        raise ValueError(f"{key.begin_string} needs a dictionary of its own, not {named}")
    if config.further_versions and key.begin_string != FIXT:
        raise ValueError(f"further_versions are {FIXT}'s")
    if config.sends_next_expected and tags.NEXT_EXPECTED_MSG_SEQ_NUM not in dictionary.messages[tags.LOGON].body:
        raise ValueError(f"{key.begin_string} has no NextExpectedMsgSeqNum(789)")
    return dictionary.relaxed(
        allows_unknown_tags=config.allows_unknown_tags or dictionary.allows_unknown_tags,
        allows_any_order=config.allows_any_order or dictionary.allows_any_order,
        checks_values=config.checks_values and dictionary.checks_values,
    )


def _routing(sub_id: str, other_sub_id: str, location_id: str, other_location_id: str) -> tuple[tuple[int, bytes], ...]:
    """Header fields of a sender with this SubID and LocationID, to another with those."""
    fields = (
        (tags.SENDER_SUB_ID, sub_id),
        (tags.TARGET_SUB_ID, other_sub_id),
        (tags.SENDER_LOCATION_ID, location_id),
        (tags.TARGET_LOCATION_ID, other_location_id),
    )
    return tuple((tag, value.encode()) for tag, value in fields if value)
