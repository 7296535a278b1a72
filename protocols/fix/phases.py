"""The phases of a connection, and the table of what may come in each."""

from enum import Enum, auto

from protocols.fix import tags


class Role(Enum):
    """Which side connected."""

    ACCEPTOR = auto()
    INITIATOR = auto()


class Phase(Enum):
    """Where a connection stands."""

    AWAITING_LOGON = auto()  # an acceptor's: nothing is known of the peer
    AUTHENTICATING = auto()  # an acceptor's: a Logon is here, and whether it may be is still to be told
    LOGON_SENT = auto()  # an initiator's
    ACTIVE = auto()
    RESET_SENT = auto()  # active, but that the peer is still to answer our Logon with 141=Y
    LOGOUT_SENT = auto()
    CLOSED = auto()


ACCEPTOR, INITIATOR = Role.ACCEPTOR, Role.INITIATOR

APPLICATION = "application"
ADMIN_TYPES = frozenset("012345A")

# (phase, MsgType or APPLICATION) -> handler. An absent pair is a violation: the connection closes. AUTHENTICATING has
# no row: whatever follows the Logon waits, unread, until that is accepted.
HANDLERS = {
    (Phase.AWAITING_LOGON, tags.LOGON): "_on_first_logon",
    (Phase.LOGON_SENT, tags.LOGON): "_on_logon_answer",
    (Phase.LOGON_SENT, tags.LOGOUT): "_on_logon_refused",
    (Phase.LOGON_SENT, tags.REJECT): "_on_logon_refused",
    (Phase.ACTIVE, tags.HEARTBEAT): "_on_heartbeat",
    (Phase.ACTIVE, tags.TEST_REQUEST): "_on_test_request",
    (Phase.ACTIVE, tags.RESEND_REQUEST): "_on_resend_request",
    (Phase.ACTIVE, tags.REJECT): "_on_reject",
    (Phase.ACTIVE, tags.SEQUENCE_RESET): "_on_gap_fill",
    (Phase.ACTIVE, tags.LOGOUT): "_on_logout",
    (Phase.ACTIVE, tags.LOGON): "_on_logon_again",
    (Phase.ACTIVE, APPLICATION): "_on_application_message",
    # Until the answer comes the peer's messages have numbers of the old count.
    (Phase.RESET_SENT, tags.HEARTBEAT): "_on_heartbeat",
    (Phase.RESET_SENT, tags.TEST_REQUEST): "_on_test_request",
    (Phase.RESET_SENT, tags.RESEND_REQUEST): "_on_resend_request",
    (Phase.RESET_SENT, tags.REJECT): "_on_reject",
    (Phase.RESET_SENT, tags.SEQUENCE_RESET): "_on_gap_fill",
    (Phase.RESET_SENT, tags.LOGOUT): "_on_logout",
    (Phase.RESET_SENT, tags.LOGON): "_on_reset_answer",
    (Phase.RESET_SENT, APPLICATION): "_on_application_message",
    # Until the peer's Logout comes its messages count, and its orders are answered.
    (Phase.LOGOUT_SENT, tags.HEARTBEAT): "_on_heartbeat",
    (Phase.LOGOUT_SENT, tags.TEST_REQUEST): "_on_test_request",
    (Phase.LOGOUT_SENT, tags.RESEND_REQUEST): "_on_resend_request",
    (Phase.LOGOUT_SENT, tags.REJECT): "_on_reject",
    (Phase.LOGOUT_SENT, tags.SEQUENCE_RESET): "_on_gap_fill",
    (Phase.LOGOUT_SENT, tags.LOGOUT): "_on_logout",
    (Phase.LOGOUT_SENT, APPLICATION): "_on_application_message",
}
