"""Random input inside a valid envelope: no crash, no hang, and the session's promises hold.

MARGINGATE_FUZZ=1000000 runs as many inputs; each run of the suite takes the first ten thousands of them.
"""

import os
import random

from protocols.fix.codec import COMPILED
from protocols.fix.dictionary import FIX44
from protocols.fix.plain import check_sum
from protocols.fix.session import (
    Disconnected,
    Limits,
    MessageReceived,
    Session,
    SessionConfig,
    SessionKey,
    SessionState,
)
from tests.protocols.fix.conversation import START_NS

# Without the compiled codec an input takes ten times as long; the same inputs come first.
INPUTS = int(os.environ.get("MARGINGATE_FUZZ", "50000" if COMPILED else "10000"))
KEY = SessionKey("FIX.4.4", "GATE", "CLIENT")
CONFIG = SessionConfig(sent_capacity=20)
LIMITS = Limits(max_held_messages=5, resend_chunk_bytes=300)

TIME = b"20260101-00:00:00.000"
TYPES = [b"0", b"1", b"2", b"3", b"4", b"5", b"A", b"D", b"D", b"D", b"F", b"G", b"H", b"8", b"j", b"V", b"ZZ", b""]
BODIES = {
    b"0": b"",
    b"1": b"112=x\x01",
    b"2": b"7=1\x0116=0\x01",
    b"3": b"45=1\x01",
    b"4": b"123=Y\x0136=%d\x01",
    b"5": b"",
    b"A": b"98=0\x01108=30\x01",
    b"D": b"11=a\x0155=X\x0154=1\x0138=10\x0140=2\x0144=50.5\x0160=" + TIME + b"\x01",
    b"F": b"41=a\x0111=b\x0155=X\x0154=1\x0160=" + TIME + b"\x01",
    b"G": b"41=a\x0111=b\x0155=X\x0154=1\x0160=" + TIME + b"\x0140=1\x01",
    b"H": b"11=b\x0155=X\x0154=1\x01",
}
TAGS = [b"%d" % tag for tag in FIX44.fields]
ODD_TAGS = [b"0", b"-1", b"+8", b" 35", b"1_0", b"99999", b"9999999999", b"\xd9\xa3", b"011", b"abc", b"", b"8", b"10"]
ODD_VALUES = [
    b"",
    b"0",
    b"-0",
    b"1",
    b"Y",
    b"N",
    b"NaN",
    b"inf",
    b"1e400",
    b"-1",
    b"9" * 40,
    b"0." + b"0" * 30,
    b"99999999999999999999",
    b"\xff\xfe",
    b"\x00",
    b"=",
    b"a=b",
    b"8=FIX.4.4",
    b"10=000",
    b" ",
    b"x" * 300,
    TIME,
    b"20269999-99:99:99",
    b"20260101-00:00:60",
    b"G 6",
    b"5",
]


def random_field(choice: random.Random) -> bytes:
    tag = choice.choice(TAGS) if choice.random() < 0.8 else choice.choice(ODD_TAGS)
    return b"%b=%b\x01" % (tag, choice.choice(ODD_VALUES))


def random_input(choice: random.Random, next_in: int) -> bytes:
    """Return a message with a right envelope whose inside is a good one, damaged in a few places."""
    msg_type = choice.choice(TYPES)
    number = next_in + choice.choice((0, 0, 0, 0, 0, 0, 1, 3, -1, 10**9))
    body = BODIES.get(msg_type, b"")
    if b"%d" in body:
        body %= number + choice.choice((0, 1, 5, -2))
    head = b"34=%d\x0149=CLIENT\x0152=%b\x0156=GATE\x01" % (number, TIME)
    if choice.random() < 0.15:
        head += b"43=Y\x01" if choice.random() < 0.3 else b"43=Y\x01122=" + TIME + b"\x01"
    fields = (head + body).split(b"\x01")[:-1]
    for _ in range(choice.choice((0, 0, 1, 1, 2, 6))):
        at = choice.randrange(len(fields) + 1)
        damage = choice.randrange(6)
        if damage == 0 or not fields:
            fields.insert(at, random_field(choice)[:-1])
        elif damage == 1:
            del fields[at - 1]
        elif damage == 2:
            fields[at - 1] = random_field(choice)[:-1]
        elif damage == 3:
            fields.insert(at, fields[at - 1])
        elif damage == 4:
            text = bytearray(fields[at - 1])
            if text:
                text[choice.randrange(len(text))] = choice.randrange(256)
            fields[at - 1] = bytes(text)
        else:
            fields += choice.choice(
                (
                    [b"453=2", b"448=a", b"452=1", b"448=b"],
                    [b"453=1", b"802=1", b"523=x"],
                    [b"95=3", b"96=a\x01b"],
                    [b"95=999", b"96=a"],
                    [b"354=1", b"355=\x01"],
                    [b"141=Y"],
                )
            )
    inner = b"35=%b\x01" % msg_type + b"".join([field + b"\x01" for field in fields])
    if choice.random() < 0.01:
        inner += bytes(choice.choices(range(256), k=choice.randrange(200)))
    message = b"8=%b\x019=%d\x01%b" % (choice.choice((b"FIX.4.4",) * 50 + (b"FIX.4.2",)), len(inner), inner)
    return message + b"10=%03d\x01" % check_sum(message)


def logged_on(state: SessionState) -> Session:
    session = Session({KEY: state}.get, START_NS, limits=LIMITS)
    inner = b"35=A\x0134=%d\x0149=CLIENT\x0152=%b\x0156=GATE\x0198=0\x01108=30\x01" % (state.next_in, TIME)
    message = b"8=FIX.4.4\x019=%d\x01%b" % (len(inner), inner)
    session.receive_data(message + b"10=%03d\x01" % check_sum(message), START_NS)
    session.next_event()
    assert session.is_logged_on
    return session


def run(inputs: int, seed: int) -> tuple[int, int]:
    """Feed `inputs` random messages, each with a session that is alive; return (delivered, sessions)."""
    choice = random.Random(seed)
    state = SessionState(KEY, CONFIG)
    session = logged_on(state)
    delivered, sessions = 0, 1
    validate = FIX44.validate
    for _ in range(inputs):
        before = state.next_in
        session.receive_data(random_input(choice, state.next_in), START_NS)
        while (event := session.next_event()) is not None:
            if isinstance(event, MessageReceived):
                delivered += 1
                # In sequence, and without a fault that validation knows.
                assert event.message.msg_seq_num == state.next_in - 1
                assert validate(event.message) is None
            elif isinstance(event, Disconnected):
                assert session.is_closed
        assert state.next_in >= before or state.next_in == 2, "only a reset goes back"
        session.data_to_send()
        if session.is_closed or choice.random() < 0.001:
            session.connection_lost(START_NS)
            assert state.connection is None
            if state.next_in > 10**9:
                state.reset()
            session = logged_on(state)
            sessions += 1
    return delivered, sessions


def test_random_messages_in_valid_envelopes() -> None:
    delivered, sessions = run(INPUTS, seed=4)
    assert delivered > INPUTS // 50
    assert sessions > INPUTS // 500
