"""Outbound resends: bounded, in order, byte for byte, and never ahead of a first sending."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.fix.codec import decode, encode_fields, format_timestamp
from protocols.fix.session import Disconnected, Limits, LoggedOut, SessionConfig
from tests.protocols.fix.conversation import SECOND, START_NS
from tests.protocols.fix.test_session import REPORT, events_of, logged_on, peer, sent_by
from tests.protocols.fix.twins import IDS, PLAIN, TWINS


def test_a_resend_is_bounded_in_memory_and_keeps_every_body() -> None:
    session, _ = logged_on(limits=Limits(resend_chunk_bytes=2000))
    bodies = {}
    for number in range(2, 502):
        raw = session.send(REPORT, (b"E%d" % number, b"x" * 100, b"0"), START_NS)
        bodies[number] = raw[raw.index(b"\x0117=") : -7]
    session.data_to_send()
    later = START_NS + 7 * SECOND
    session.receive_data(peer("35=2|34=2|7=1|16=0", later), later)
    assert session.next_event() is None
    assert session.deadline_ns == later + 1_000_000
    chunks = []
    live = b""
    while chunk := session.data_to_send():
        assert len(chunk) < 2000 + 1000
        chunks.append(chunk)
        if len(chunks) == 3:
            live = session.send(REPORT, (b"live", None, None), later)
    data = b"".join(chunks)
    assert data.endswith(live)
    numbers = []
    while data:
        end = data.index(b"\x0110=") + 8
        message = decode(data[:end])
        numbers.append(message.msg_seq_num)
        if message.msg_type == "8" and message.raw != live:
            assert message.values((43, 52, 122)) == (b"Y", b"20260101-00:00:07.000", b"20260101-00:00:00.000")
            assert message.raw[message.raw.index(b"\x0117=") : -7] == bodies[message.msg_seq_num]
        data = data[end:]
    assert numbers == list(range(1, 503))
    assert session.deadline_ns is not None
    assert session.deadline_ns > later


TAGS = [50, 57, 97, 115, 116, 128, 129, 142, 143, 144, 145]


@settings(deadline=None, max_examples=150)
@given(
    values=st.tuples(*[st.one_of(st.none(), st.binary(max_size=9).filter(lambda value: b"\x01" not in value))] * 6),
    routing=st.dictionaries(st.sampled_from(TAGS), st.sampled_from([b"x", b"52=y", b"122=z"])),
    number=st.integers(1, 10**9),
    digits=st.sampled_from([0, 3, 6, 9]),
    original=st.one_of(st.none(), st.integers(0, 10**18)),
    now_ns=st.integers(10**18, 4 * 10**18),
)
def test_a_message_sent_again_says_the_same(values, routing, number, digits, original, now_ns) -> None:
    """Both twins, held against the fields: 43=Y, a new 52, the old one as 122, all else as it was."""
    layout = PLAIN.Layout("8", (6, 11, 52 + 1, 58, 122 + 1, 5000))
    header = PLAIN.Header("FIX.4.4", "GATE", "CLIENT", routing.items(), digits)
    raw = PLAIN.encode(layout, header, number, now_ns - 5, values, original is not None, original)
    sending_time = format_timestamp(now_ns, digits)
    again = [twin.possible_duplicate(raw, sending_time) for twin in TWINS]
    assert again == [again[0]] * len(TWINS)
    before, after = PLAIN.decode(raw).fields(), PLAIN.decode(again[0]).fields()
    wanted = dict(before) | {43: b"Y", 52: sending_time, 122: dict(before).get(122) or dict(before)[52]}
    assert {tag: value for tag, value in after if tag not in (9, 10)} == {
        tag: value for tag, value in wanted.items() if tag not in (9, 10)
    }
    tags = [tag for tag, _ in after]
    assert [tag for tag in tags if tag not in (43, 122)] == [tag for tag, _ in before if tag not in (43, 122)]
    head = tags[3 : len(tags) - 1 - sum(value not in (None, b"") for value in values)]
    assert head == sorted(head) and tags[:3] == [8, 9, 35]


@pytest.mark.parametrize("twin", TWINS, ids=IDS)
def test_what_was_cut_short_is_not_sent_again(twin: SimpleNamespace) -> None:
    header = twin.Header("FIX.4.4", "GATE", "CLIENT", [(57, b"D")])
    raw = twin.encode(twin.Layout("8", (17, 37)), header, 7, START_NS, (b"E", b"x"))
    for end in range(raw.index(b"52=")):
        with pytest.raises(LocalProtocolError, match="cut short"):
            twin.possible_duplicate(raw[:end], b"20260101-00:00:00.000")


def test_a_resend_of_a_hundred_thousand_messages_takes_little_of_each_turn() -> None:
    """Whatever is asked for, one turn writes a piece: no session waits for more than that of another's resend."""
    session, state = logged_on()
    for _ in range(100_000):
        session.send(REPORT, (b"E1", b"x" * 100, b"0"), START_NS)
    session.data_to_send()
    session.receive_data(peer("35=2|34=2|7=1|16=0"), START_NS)
    assert session.next_event() is None
    largest = pieces = messages = 0
    while session.is_resending:
        piece = session.data_to_send()
        largest = max(largest, len(piece))
        messages += piece.count(b"\x0143=Y\x01")
        pieces += 1
    assert messages == 100_001 and largest < 4096 + 300 and pieces > 3000
    assert session.data_to_send() == b"" and state.next_out == 100_002


def test_what_waits_behind_a_resend_is_never_sent_twice() -> None:
    """A second request during a resend must not reach into messages that still wait for their first sending."""
    session, _ = logged_on(limits=Limits(resend_chunk_bytes=1))
    for number in range(2, 6):
        session.send(REPORT, (b"E%d" % number, b"G", b"0"), START_NS)
    session.data_to_send()
    session.receive_data(peer("35=2|34=2|7=1|16=0"), START_NS)
    session.next_event()
    session.data_to_send()
    session.send(REPORT, (b"E6", b"G", b"0"), START_NS)
    session.receive_data(peer("35=2|34=3|7=3|16=0"), START_NS)
    session.next_event()
    messages = sent_by(session)
    assert [(message.msg_seq_num, message.get(43)) for message in messages] == [
        (3, b"Y"),
        (4, b"Y"),
        (5, b"Y"),
        (6, None),
    ]


def test_a_request_for_what_only_waits_is_answered_by_sending_it() -> None:
    session, _ = logged_on(limits=Limits(resend_chunk_bytes=1))
    for number in range(2, 6):
        session.send(REPORT, (b"E%d" % number, b"G", b"0"), START_NS)
    session.data_to_send()
    session.receive_data(peer("35=2|34=2|7=1|16=0"), START_NS)
    session.next_event()
    session.send(REPORT, (b"E6", b"G", b"0"), START_NS)
    session.receive_data(peer("35=2|34=3|7=6|16=0"), START_NS)
    session.next_event()
    assert [(m.msg_seq_num, m.get(43)) for m in sent_by(session)] == [(6, None)]


def test_what_is_queued_before_a_resend_goes_before_it() -> None:
    session, _ = logged_on()
    session.send(REPORT, (b"E2", b"G", b"0"), START_NS)
    session.receive_data(peer("35=2|34=2|7=2|16=0"), START_NS)
    session.next_event()
    assert [(m.msg_seq_num, m.get(43)) for m in sent_by(session)] == [(2, None), (2, b"Y")]


def test_a_peer_that_does_not_take_its_resend_is_given_up() -> None:
    session, state = logged_on(limits=Limits(resend_chunk_bytes=1, max_queued_bytes=1000))
    for number in range(2, 30):
        session.send(REPORT, (b"E%d" % number, b"G", b"0"), START_NS)
    session.data_to_send()
    session.receive_data(peer("35=2|34=2|7=1|16=0"), START_NS)
    session.next_event()
    while not session.is_closed:
        session.send(REPORT, (b"E", b"G", b"0"), START_NS)
        assert state.next_out < 60
    assert events_of(session) == [Disconnected("peer is too slow")]
    assert session.data_to_send() == b""
    assert state.sent.get(state.next_out - 1) is not None


def test_a_slow_peer_is_given_up_by_admin_messages_too() -> None:
    session, _ = logged_on(limits=Limits(resend_chunk_bytes=1, max_queued_bytes=10))
    session.send(REPORT, (b"E", b"G", b"0"), START_NS)
    session.data_to_send()
    session.receive_data(peer("35=2|34=2|7=1|16=0"), START_NS)
    session.next_event()
    session.receive_data(peer("35=1|34=3|112=x"), START_NS)
    assert events_of(session) == [Disconnected("peer is too slow")]


@pytest.mark.parametrize("last", ["35=D|34=1|11=a", "35=5|34=3", "35=0|34=3|49=X", "35=1|34=3|112=x"])
def test_a_slow_peer_hears_no_last_words(last: str) -> None:
    session, state = logged_on(limits=Limits(resend_chunk_bytes=1, max_queued_bytes=10))
    session.send(REPORT, (b"E", b"G", b"0"), START_NS)
    session.data_to_send()
    session.receive_data(peer("35=2|34=2|7=1|16=0") + peer(last), START_NS)
    assert events_of(session) == [Disconnected("peer is too slow")]
    assert state.connection is None
    number = state.next_out
    session.tick(START_NS + 10**12)
    assert (session.data_to_send(), state.next_out) == (b"", number)


def test_a_close_in_the_middle_of_a_resend_drops_it() -> None:
    session, _ = logged_on(limits=Limits(resend_chunk_bytes=1))
    session.send(REPORT, (b"E2", b"G", b"0"), START_NS)
    session.receive_data(peer("35=2|34=2|7=1|16=0") + peer("35=5|34=3"), START_NS)
    assert [type(event) for event in events_of(session)] == [LoggedOut, Disconnected]
    assert [(m.msg_type, m.get(43)) for m in sent_by(session)] == [("8", None), ("5", None)]


def test_a_reset_in_the_middle_of_a_resend_drops_it() -> None:
    session, state = logged_on(limits=Limits(resend_chunk_bytes=1))
    session.send(REPORT, (b"E2", b"G", b"0"), START_NS)
    session.receive_data(peer("35=2|34=2|7=1|16=0") + peer("35=A|34=1|98=0|108=30|141=Y"), START_NS)
    events_of(session)
    assert [(m.msg_type, m.msg_seq_num, m.get(43)) for m in sent_by(session)][-1] == ("A", 1, None)
    assert (state.next_in, state.next_out) == (2, 2)


def test_a_message_longer_than_we_would_read_is_resent_all_the_same() -> None:
    session, state = logged_on()
    fields = [(58, b"x") for _ in range(9000)]
    session.send_encoded(encode_fields("8", state.header, 2, START_NS, fields), START_NS)
    raw = session.data_to_send()
    session.receive_data(peer("35=2|34=2|7=2|16=0"), START_NS)
    session.next_event()
    again = session.data_to_send()
    assert again.count(b"\x0158=x") == 9000
    assert again[again.index(b"\x0158=x") : -7] == raw[raw.index(b"\x0158=x") : -7]


def test_routing_fields_survive_a_resend() -> None:
    config = SessionConfig(routing=((50, b"DESK"), (142, b"PARIS")))
    session, _ = logged_on(config)
    session.send(REPORT, (b"E2", b"G", b"0"), START_NS)
    session.data_to_send()
    session.receive_data(peer("35=2|34=2|7=2|16=0"), START_NS)
    session.next_event()
    (message,) = sent_by(session)
    assert [tag for tag, _ in message.fields()] == [8, 9, 35, 34, 43, 49, 50, 52, 56, 122, 142, 17, 37, 150, 10]
