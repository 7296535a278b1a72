"""The session beyond its conversations: the whole table, bounds, what the owner of the state relies on."""

from itertools import product
from typing import Any

import msgspec
import pytest

from protocols.errors import LocalProtocolError
from protocols.fix.codec import Header, Layout, Message, decode, encode, encode_fields
from protocols.fix.handlers import MessageHandlers
from protocols.fix.phases import ADMIN_TYPES, APPLICATION
from protocols.fix.reject import SessionReject
from protocols.fix.session import (
    HANDLERS,
    INITIATOR,
    Disconnected,
    Event,
    Limits,
    LoggedOn,
    LoggedOut,
    LogonRequested,
    MessageReceived,
    Phase,
    Session,
    SessionConfig,
    SessionKey,
    SessionState,
    send_or_store,
)
from tests.protocols.fix.conversation import SECOND, START_NS, peer_message

KEY = SessionKey("FIX.4.4", "GATE", "CLIENT")
REPORT = Layout("8", (17, 37, 150))
ORDER = "11=a|55=X|54=1|60=@0|40=1|38=1"
# A well-formed body of each type, for the table.
BODIES = {
    "0": "",
    "1": "112=x",
    "2": "7=1|16=0",
    "3": "45=1",
    "4": "123=Y|36=9",
    "5": "58=bye",
    "A": "98=0|108=30",
    APPLICATION: ORDER,
}


def peer(text: str, now_ns: int = START_NS) -> bytes:
    return peer_message(text, now_ns)


def events_of(session: Session) -> list[Event]:
    events = []
    while (event := session.next_event()) is not None:
        events.append(event)
    return events


def sent_by(session: Session) -> list[Message]:
    messages = []
    while data := session.data_to_send():
        while data:
            end = data.index(b"\x0110=") + 8
            messages.append(decode(data[:end]))
            data = data[end:]
    return messages


def logged_on(config: SessionConfig | None = None, limits: Limits | None = None) -> tuple[Session, SessionState]:
    state = SessionState(KEY, config)
    session = Session({KEY: state}.get, START_NS, limits=limits)
    session.receive_data(peer("35=A|34=1|98=0|108=30"), START_NS)
    assert [type(event) for event in events_of(session)] == [LoggedOn]
    assert [message.msg_type for message in sent_by(session)] == ["A"]
    session.admin_moved = False
    return session, state


def in_phase(phase: Phase) -> Session:
    if phase is Phase.AWAITING_LOGON:
        return Session({KEY: SessionState(KEY)}.get, START_NS)
    if phase is Phase.AUTHENTICATING:
        session = Session({KEY: SessionState(KEY)}.get, START_NS, authenticates=True)
        session.receive_data(peer("35=A|34=1|98=0|108=30"), START_NS)
        assert [type(event) for event in events_of(session)] == [LogonRequested]
        return session
    if phase is Phase.LOGON_SENT:
        session = Session(lambda key: None, START_NS, role=INITIATOR)
        session.logon(SessionState(KEY), START_NS)
        sent_by(session)
        return session
    session, _ = logged_on()
    if phase is Phase.RESET_SENT:
        session.reset(START_NS)
    elif phase is not Phase.ACTIVE:
        session.logout("", START_NS)
    if phase is Phase.CLOSED:
        session.connection_lost(START_NS)
    assert session.phase is phase
    events_of(session)
    sent_by(session)
    return session


@pytest.mark.parametrize(("phase", "kind"), list(product(Phase, [*sorted(ADMIN_TYPES), APPLICATION])))
def test_every_pair_of_the_table(phase: Phase, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A legal pair reaches its handler, with a number in sequence; any other closes, and nothing is counted."""
    session = in_phase(phase)
    called = []
    for name in set(HANDLERS.values()):
        original = getattr(Session, name)

        def spied(self: Session, message: Message, name: str = name, original: Any = original) -> None:
            called.append(name)
            original(self, message)

        monkeypatch.setattr(Session, name, spied)
    expected = 1 if session.state is None or phase is Phase.LOGON_SENT else session.state.next_in
    before = session.state.next_in if session.state else None
    msg_type = "D" if kind == APPLICATION else kind
    session._is_regular = False  # the fast path knows no handlers
    session.receive_data(peer(f"35={msg_type}|34={expected}|{BODIES[kind]}"), START_NS)
    events = events_of(session)
    handler = HANDLERS.get((phase, kind))
    if handler is not None:
        assert called == [handler]
        return
    assert called == []
    if phase is Phase.AUTHENTICATING:  # it waits
        assert (session.phase, events, session.has_data_to_send) == (phase, [], False)
        return
    assert session.is_closed
    assert sent_by(session) == []
    assert [type(event) for event in events] == ([] if phase is Phase.CLOSED else [Disconnected])
    assert (session.state.next_in if session.state else None) == before


def test_the_table_names_methods_only() -> None:
    assert all(callable(getattr(Session, name)) for name in HANDLERS.values())
    assert {phase for phase, _ in HANDLERS} == set(Phase) - {Phase.AUTHENTICATING, Phase.CLOSED}
    assert isinstance(in_phase(Phase.ACTIVE), MessageHandlers)


# --- a Logon that is asked about ------------------------------------------------------------------------------------

LOGON_TEXT = "35=A|34=1|98=0|108=30"


def asked(lookup: Any, text: str = LOGON_TEXT) -> Session:
    session = Session(lookup, START_NS, authenticates=True)
    session.receive_data(peer(text), START_NS)
    (event,) = events_of(session)
    assert isinstance(event, LogonRequested)
    return session


def test_of_two_that_are_asked_about_at_once_the_first_accepted_is_in() -> None:
    state = SessionState(KEY)
    first, second, third = (asked({KEY: state}.get) for _ in range(3))
    second.accept_logon(START_NS)
    assert second.is_logged_on and [message.msg_type for message in sent_by(second)] == ["A"]
    numbers = (state.next_in, state.next_out)
    first.accept_logon(START_NS)
    assert events_of(first) == [Disconnected("the session is connected already")] and sent_by(first) == []
    # No Logout either: its number would be one of the live connection's.
    third.refuse_logon(START_NS, "Logon refused", "untold")
    assert events_of(third) == [Disconnected("untold")] and sent_by(third) == []
    assert (state.next_in, state.next_out) == numbers and state.connection is second
    late = Session({KEY: state}.get, START_NS, authenticates=True)
    late.receive_data(peer(LOGON_TEXT), START_NS)
    assert events_of(late) == [Disconnected("the session is connected already")]


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    session = Session({KEY: SessionState(KEY)}.get, START_NS, authenticates=True)
    for answer in (session.accept_logon, session.refuse_logon):
        with pytest.raises(LocalProtocolError):
            answer(START_NS)
    session.receive_data(peer(LOGON_TEXT), START_NS)
    events_of(session)
    session.accept_logon(START_NS)
    for answer in (session.accept_logon, session.refuse_logon):
        with pytest.raises(LocalProtocolError):
            answer(START_NS)
    with pytest.raises(ValueError, match="an acceptor authenticates"):
        Session(lambda key: None, START_NS, INITIATOR, authenticates=True)


def test_what_waits_behind_a_logon_is_bounded() -> None:
    session = asked({KEY: SessionState(KEY)}.get)
    order = peer(f"35=D|34=2|{ORDER}")
    fed = 0
    while not session.is_closed:
        session.receive_data(order, START_NS)
        fed += len(order)
        assert session.next_event() is None or session.is_closed
    assert Limits().max_buffered_bytes < fed < Limits().max_buffered_bytes + 3 * len(order)
    session.accept_logon(START_NS)
    assert sent_by(session) == []


@pytest.mark.parametrize("text", ["35=A|34=1|49=STRANGER|52=@-121|98=0|108=30", "35=A|34=1|52=@-121|98=0|108=30"])
def test_what_closes_before_anybody_is_asked_does_not_tell_a_session_from_none(text: str) -> None:
    session = Session({KEY: SessionState(KEY)}.get, START_NS, authenticates=True)
    session.receive_data(peer(text), START_NS)
    assert events_of(session) == [Disconnected("SendingTime accuracy problem")] and sent_by(session) == []


# --- what the owner relies on ---------------------------------------------------------------------------------------


def test_one_message_at_a_time() -> None:
    """next_in is past the returned message, and nothing behind it has been looked at."""
    session, state = logged_on()
    stream = b"".join(
        [
            peer(f"35=D|34=2|{ORDER}"),
            peer("35=1|34=3|112=x"),
            peer(f"35=D|34=4|453=1|448=p|{ORDER}"),  # a group: not of the fast path
            peer(f"35=D|34=5|{ORDER}"),
        ]
    )
    session.receive_data(stream, START_NS)
    seen = []
    while isinstance(event := session.next_event(), MessageReceived):
        seen.append((event.message.msg_seq_num, state.next_in, session.admin_moved))
        session.admin_moved = False
    assert seen == [(2, 3, False), (4, 5, True), (5, 6, False)]


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("35=0|34=2", True),
        ("35=1|34=2|112=x", True),
        ("35=2|34=2|7=1|16=0", True),
        ("35=3|34=2|45=1", True),
        ("35=4|34=2|123=Y|36=9", True),
        ("35=4|34=2|36=9", True),
        ("35=5|34=2", True),
        ("35=A|34=1|98=0|108=30|141=Y", True),
        ("35=V|34=2|262=x", True),
        ("35=ZZ|34=2", True),
        ("35=D|34=2|11=a", True),
        ("35=D|34=9|" + ORDER, True),
        ("35=D|34=1|" + ORDER, True),
        ("35=0|34=2|49=X", True),
        ("35=D|34=2|" + ORDER, False),
        ("35=D|34=2|453=1|448=x|" + ORDER, False),
        ("35=D|34=2|43=Y|122=@0|" + ORDER, False),
        ("35=D|34=1|43=Y|122=@0|" + ORDER, False),
        ("35=4|34=2|36=2", False),
    ],
)
def test_admin_moved(text: str, moves: bool) -> None:
    session, state = logged_on()
    before = (state.next_in, state.next_out)
    session.receive_data(peer(text), START_NS)
    events_of(session)
    assert session.admin_moved is moves
    if moves and "141=Y" not in text:
        assert (state.next_in, state.next_out) != before


def test_heartbeats_move_too() -> None:
    session, state = logged_on()
    session.tick(START_NS + 30 * SECOND)
    assert session.admin_moved
    assert state.next_out == 3


def test_send() -> None:
    session, state = logged_on()
    raw = session.send(REPORT, (b"E1", b"G1", b"0"), START_NS + 5)
    assert decode(raw).msg_seq_num == 2
    assert state.next_out == 3
    assert state.sent.get(2) == raw
    assert not session.admin_moved
    assert session.has_data_to_send
    assert session.data_to_send() == raw
    assert session.data_to_send() == b""
    assert not session.has_data_to_send
    header = Header("FIX.4.4", "GATE", "CLIENT", [(128, b"DESK")])
    assert b"\x01128=DESK\x01" in session.send(REPORT, (b"E2", b"G1", b"0"), START_NS, header)
    ready = encode_fields("8", state.header, state.next_out, START_NS, [(37, b"G1")])
    session.send_encoded(ready, START_NS)
    assert state.sent.get(4) == ready
    assert [message.msg_seq_num for message in sent_by(session)] == [3, 4]


def test_send_or_store() -> None:
    state = SessionState(KEY)
    first = send_or_store(state, REPORT, (b"E1", b"G1", b"0"), START_NS)
    assert (state.next_out, state.sent.get(1)) == (2, first)
    session, state = logged_on()
    second = send_or_store(state, REPORT, (b"E2", b"G1", b"0"), START_NS)
    assert session.data_to_send() == second
    session.connection_lost(START_NS)
    assert session.data_to_send() == b""
    assert state.connection is None
    third = send_or_store(state, REPORT, (b"E3", b"G1", b"0"), START_NS)
    assert state.sent.get(3) == third
    # A connection that is over stores too.
    fourth = session.send(REPORT, (b"E4", b"G1", b"0"), START_NS)
    session.send_encoded(encode(REPORT, state.header, 5, START_NS, (b"E5", None, None)), START_NS)
    assert state.sent.get(4) == fourth
    assert state.next_out == 6
    assert session.data_to_send() == b""


def test_the_bytes_of_the_last_words_survive_the_close() -> None:
    session, _ = logged_on()
    session.send(REPORT, (b"E1", b"G1", b"0"), START_NS)
    session.receive_data(peer(f"35=D|34=1|{ORDER}"), START_NS)
    kinds = [type(event) for event in events_of(session)]
    assert kinds == [LoggedOut, Disconnected]
    assert session.is_closed
    assert [message.msg_type for message in sent_by(session)] == ["8", "5"]
    session.receive_data(peer("35=0|34=2"), START_NS)
    session.tick(START_NS + 10**12)
    session.logout("again", START_NS)
    assert session.next_event() is None
    assert session.deadline_ns is None
    assert session.data_to_send() == b""


def test_hanging_up_waits_for_no_answer() -> None:
    session, state = logged_on()
    assert state.name == KEY.target_comp_id
    session.send(REPORT, (b"E1", b"G1", b"0"), START_NS)
    session.hang_up("too much is unread", START_NS)
    assert [type(event) for event in events_of(session)] == [LoggedOut, Disconnected]
    assert session.is_closed and state.connection is None and session.admin_moved
    report, logout = sent_by(session)
    assert (report.msg_type, logout.msg_type, logout.get(58)) == ("8", "5", b"too much is unread")
    before_logon = Session({KEY: state}.get, START_NS)
    before_logon.hang_up("bye", START_NS)
    assert events_of(before_logon) == [Disconnected("bye")] and before_logon.data_to_send() == b""


def test_a_second_logon_leaves_the_first_connection_alone() -> None:
    first, state = logged_on()
    second = Session({KEY: state}.get, START_NS)
    second.receive_data(peer("35=A|34=2|98=0|108=30"), START_NS)
    assert events_of(second) == [Disconnected("the session is connected already")]
    assert second.data_to_send() == b""
    assert state.connection is first
    assert first.is_logged_on
    assert (state.next_in, state.next_out) == (2, 2)


def test_rejects_of_the_application() -> None:
    session, state = logged_on()
    session.receive_data(peer(f"35=D|34=2|116=ANN|{ORDER}"), START_NS)
    event = session.next_event()
    assert isinstance(event, MessageReceived)
    session.reject_message(event.message, SessionReject(38, 5), START_NS)
    assert session.admin_moved
    session.business_reject(event.message, 4, "Application not available", START_NS, b"a")
    rejected, refused = sent_by(session)
    assert rejected.values((35, 45, 129, 371, 372, 373, 58)) == (
        b"3",
        b"2",
        b"ANN",
        b"38",
        b"D",
        b"5",
        b"Value is incorrect (out of range) for this tag",
    )
    assert refused.values((35, 45, 372, 379, 380)) == (b"j", b"2", b"D", b"a", b"4")
    assert state.sent.get(2) is None
    assert state.sent.get(3) == refused.raw


def test_only_an_initiator_logs_on_and_only_once() -> None:
    state = SessionState(KEY)
    with pytest.raises(LocalProtocolError):
        Session(lambda key: None, START_NS).logon(state, START_NS)
    session = Session(lambda key: None, START_NS, role=INITIATOR)
    session.logon(state, START_NS)
    with pytest.raises(LocalProtocolError):
        session.logon(state, START_NS)
    with pytest.raises(LocalProtocolError):
        Session(lambda key: None, START_NS, role=INITIATOR).logon(state, START_NS)


def test_only_a_session_that_lacks_nothing_is_reset() -> None:
    with pytest.raises(LocalProtocolError):
        Session(lambda key: None, START_NS).reset(START_NS)
    session, _ = logged_on()
    session.receive_data(peer(f"35=D|34=5|{ORDER}"), START_NS)
    assert session.next_event() is None
    with pytest.raises(LocalProtocolError):
        session.reset(START_NS)
    session, _ = logged_on()
    session.reset(START_NS)
    assert session.deadline_ns == START_NS + 10 * SECOND
    with pytest.raises(LocalProtocolError):
        session.reset(START_NS)


def test_states_show_themselves() -> None:
    assert "next_in=1" in repr(SessionState(KEY))


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_held_bytes_are_bounded() -> None:
    session, state = logged_on(limits=Limits(max_held_bytes=500))
    data = b"".join([peer(f"35=D|34={number}|{ORDER}") for number in range(3, 30)])
    session.receive_data(data, START_NS)
    assert events_of(session) == []
    session.receive_data(peer("35=4|34=2|43=Y|123=Y|36=3"), START_NS)
    assert 0 < len(events_of(session)) < 5
    assert state.next_in < 8


def test_a_stream_without_messages_closes() -> None:
    session, _ = logged_on()
    with_error = 0
    for _ in range(100):
        session.receive_data(b"x" * 1000, START_NS)
        with_error += sum(isinstance(event, Disconnected) for event in events_of(session))
    assert with_error == 1


def test_what_nobody_reads_closes() -> None:
    session, _ = logged_on()
    while not session.is_closed:
        session.receive_data(peer("35=0|34=2") * 10, START_NS)
    assert [type(event) for event in events_of(session)] == [Disconnected]


def test_the_deadline_is_the_first_of_all() -> None:
    session, state = logged_on()
    assert session.deadline_ns == START_NS + 30 * SECOND
    later = START_NS + 5 * SECOND
    session.receive_data(peer(f"35=D|34=9|{ORDER}", later), later)
    assert session.next_event() is None
    session.data_to_send()
    assert session.deadline_ns == later + min(30 * SECOND, state.config.resend_timeout_ns)
    waiting = Session(lambda key: None, START_NS)
    assert waiting.deadline_ns == START_NS + 10 * SECOND
    waiting.tick(START_NS + 9 * SECOND)
    assert not waiting.is_closed


def test_configs_are_values() -> None:
    assert msgspec.structs.replace(SessionConfig(), heart_bt_int=5).heart_bt_int == 5
    assert SessionKey("FIX.4.4", "GATE", "CLIENT") == KEY


def test_a_sequence_reset_of_ours_only_goes_forward_within_a_session() -> None:
    session, state = logged_on()
    for number in (1, state.next_out):
        with pytest.raises(LocalProtocolError, match="may go forward"):
            session.sequence_reset(number, START_NS)
    session.sequence_reset(9, START_NS)
    assert state.next_out == 9 and state.sent.first_seq_num == 9 and session.admin_moved
    session.connection_lost(START_NS)
    with pytest.raises(LocalProtocolError, match="may go forward"):
        session.sequence_reset(20, START_NS)
