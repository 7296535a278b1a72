"""What a session tells its owner."""

import msgspec

from protocols.fix.codec import Message


class SessionKey(msgspec.Struct, frozen=True, gc=False):
    """A session by our own view: the sender is us. SubIDs and LocationIDs where they tell sessions apart."""

    begin_string: str
    sender_comp_id: str
    target_comp_id: str
    sender_sub_id: str = ""
    sender_location_id: str = ""
    target_sub_id: str = ""
    target_location_id: str = ""


class LogonHeader(msgspec.Struct, frozen=True, gc=False):
    """What a signature over a Logon(A) may cover, as it stands on the wire."""

    sender_comp_id: bytes
    target_comp_id: bytes
    msg_seq_num: bytes
    sending_time: bytes


class LogonRequested(msgspec.Struct, frozen=True, gc=False):
    """A peer wants to log on: answer with `accept_logon` or `refuse_logon`, at once or later. Nothing is validated yet.

    `key` is None where nobody knows the session. Such a Logon is refused whatever is answered; it is told of so that
    the answer can take as long as for a session that there is.
    """

    key: SessionKey | None
    message: Message


class LoggedOn(msgspec.Struct, frozen=True, gc=False):
    """Logons were exchanged. `message` is the peer's Logon(A)."""

    key: SessionKey
    message: Message


class MessageReceived(msgspec.Struct, frozen=True, gc=False):
    """An application message, validated, in sequence; nothing behind it has been looked at yet."""

    message: Message


class RejectReceived(msgspec.Struct, frozen=True, gc=False):
    """The peer refused a message of ours: Reject(3) or BusinessMessageReject(j)."""

    message: Message


class SequenceNumbersReset(msgspec.Struct, frozen=True, gc=False):
    """The peer reset both sides' numbers to 1 within the session (Logon with 141=Y)."""


class LoggedOut(msgspec.Struct, frozen=True, gc=False):
    """A Logout(5) came or went; `text` is its Text(58). Disconnected follows."""

    text: str


class Disconnected(msgspec.Struct, frozen=True, gc=False):
    """The session is over: always the last event, exactly once. The transport flushes, then closes."""

    reason: str


Event = LogonRequested | LoggedOn | MessageReceived | RejectReceived | SequenceNumbersReset | LoggedOut | Disconnected
