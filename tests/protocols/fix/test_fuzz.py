"""Random input to framing, dictionary and session: no crash, no input over ten milliseconds, and all promises hold.

MARGINGATE_FUZZ=5000000 runs as many inputs, half of them here, an eighth in each version, an eighth as damaged bytes;
each run of the suite takes the first ten thousands of the same. Every block of inputs has a seed of its own, which a
failure names: MARGINGATE_FUZZ_SEED=N begins with that one. Millions take longer than a test may: --timeout=0.
"""

import os
import random
from collections.abc import Callable, Iterator
from time import thread_time_ns

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
INPUTS = int(os.environ.get("MARGINGATE_FUZZ", "80000" if COMPILED else "16000"))
FIRST_SEED = int(os.environ.get("MARGINGATE_FUZZ_SEED", "4"))
BLOCK = 5_000
MAX_INPUT_NS = 10_000_000
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


def logged_on(state: SessionState) -> "Counted":
    session = Counted({KEY: state}.get, START_NS, limits=LIMITS)
    inner = b"35=A\x0134=%d\x0149=CLIENT\x0152=%b\x0156=GATE\x0198=0\x01108=30\x01" % (state.next_in, TIME)
    message = b"8=FIX.4.4\x019=%d\x01%b" % (len(inner), inner)
    session.receive_data(message + b"10=%03d\x01" % check_sum(message), START_NS)
    session.next_event()
    assert session.is_logged_on
    return session


def seeds(inputs: int) -> Iterator[tuple[int, int]]:
    """Blocks of inputs: (seed, how many)."""
    for number in range(-(-inputs // BLOCK)):
        yield FIRST_SEED + number, min(BLOCK, inputs - number * BLOCK)


class Watch:
    """Finds inputs that take too long: of CPU, and again when tried again, or a busy machine would be what is found."""

    def __init__(self, feed: Callable[[Session, bytes], None], make: Callable[[int], Session]) -> None:
        self.feed = feed
        self.make = make
        self.slowest_ns = 0

    def __call__(self, session: Session, data: bytes, where: str) -> None:
        next_in = session.state.next_in if session.state is not None else 1
        began = thread_time_ns()
        self.feed(session, data)
        took = thread_time_ns() - began
        if took > MAX_INPUT_NS:
            took = min(self._again(data, next_in) for _ in range(5))
            assert took <= MAX_INPUT_NS, f"{where}: {took} ns for {data!r}"
        self.slowest_ns = max(self.slowest_ns, took)

    def _again(self, data: bytes, next_in: int) -> int:
        session = self.make(next_in)
        began = thread_time_ns()
        self.feed(session, data)
        return thread_time_ns() - began


def feed(session: Session, data: bytes) -> None:
    """Take one input, and every event that comes of it."""
    session.receive_data(data, START_NS)
    while (event := session.next_event()) is not None:
        if isinstance(event, MessageReceived):
            state = session.state
            assert state is not None
            session.delivered += 1  # type: ignore[attr-defined]
            # In sequence, and without a fault that validation knows.
            assert event.message.msg_seq_num == state.next_in - 1
            dictionary = state.dictionary_of(event.message)
            assert dictionary is not None and dictionary.validate(event.message) is None
        elif isinstance(event, Disconnected):
            assert session.is_closed
    while session.data_to_send():
        pass


class Counted(Session):
    """A session that remembers how many messages it delivered."""

    delivered = 0


def run(inputs: int, seed: int) -> tuple[int, int]:
    """Feed `inputs` random messages, each with a session that is alive; return (delivered, sessions)."""
    choice = random.Random(seed)
    state = SessionState(KEY, CONFIG)
    session = logged_on(state)
    delivered, sessions = 0, 1
    watch = Watch(feed, lambda next_in: logged_on(SessionState(KEY, CONFIG, next_in - 1)))
    for number in range(inputs):
        before = state.next_in
        watch(session, random_input(choice, state.next_in), f"seed {seed}, input {number}")
        assert state.next_in >= before or state.next_in == 2, "only a reset goes back"
        if session.is_closed or choice.random() < 0.001:
            session.connection_lost(START_NS)
            assert state.connection is None
            if state.next_in > 10**9:
                state.reset()
            delivered += session.delivered
            session = logged_on(state)
            sessions += 1
    return delivered + session.delivered, sessions


def test_random_messages_in_valid_envelopes() -> None:
    inputs = INPUTS // 2
    counts = [run(count, seed) for seed, count in seeds(inputs)]
    assert sum(delivered for delivered, _ in counts) > inputs // 50
    assert sum(sessions for _, sessions in counts) > inputs // 500


# --- damaged bytes ---------------------------------------------------------------------------------------------------

HEADS = [
    b"8=FIX",
    b"8=FIX.4.4\x01",
    b"8=FIX.4.4\x019=",
    b"8=FIX.4.4\x019=50\x01",
    b"8=FIX.4.4\x019=8192\x0135=",
    b"10=000\x01",
]


def damaged(choice: random.Random, next_in: int) -> bytes:
    """Some messages, then bytes of them changed, cut out, doubled, or replaced by what looks like a message's head."""
    count = choice.choice((1, 1, 2, 3))
    data = bytearray(b"".join([random_input(choice, next_in + number) for number in range(count)]))
    for _ in range(choice.choice((1, 1, 2, 5))):
        at, size = choice.randrange(len(data)), choice.choice((1, 1, 2, 8, 60))
        damage = choice.randrange(5)
        if damage == 0:
            data[at : at + size] = choice.randbytes(size)
        elif damage == 1 and len(data) > size + 1:
            del data[at : at + size]
        elif damage == 2:
            data[at:at] = data[at : at + size]
        elif damage == 3:
            data[at:at] = choice.choice(HEADS)
        else:
            data[at : at + 1] = choice.choice((b"\x01", b"=", b"9", b"0", b"8=FIX"))
    return bytes(data)


def test_damaged_bytes() -> None:
    """Framing cuts or skips them, and what it lets through is a whole message. In the end a good one is found again."""
    inputs = INPUTS // 8
    found_again = garbled = 0
    for seed, count in seeds(inputs):
        choice = random.Random(seed)
        state = SessionState(KEY, CONFIG)
        session = logged_on(state)
        watch = Watch(feed, lambda next_in: logged_on(SessionState(KEY, CONFIG, max(1, next_in - 1))))
        for number in range(count):
            watch(session, damaged(choice, state.next_in), f"seed {seed}, damaged input {number}")
            if choice.random() < 0.05 and not session.is_closed:
                # No claimed length is larger than a message may be, so after as many bytes it is past.
                watch(session, (b"x" * 4096 + b"\x01") * 2, f"seed {seed}, filler {number}")
                if not session.is_closed:
                    wanted = state.next_in + 1
                    watch(session, good_message(state.next_in), f"seed {seed}, good input {number}")
                    assert state.next_in >= wanted, f"seed {seed}, good input {number} was not found"
                    found_again += 1
            if session.is_closed:
                garbled += session.garbled_count
                state.reset()
                session = logged_on(state)
    assert found_again > inputs // 100 and garbled > inputs // 100


def good_message(number: int) -> bytes:
    inner = b"35=1\x0134=%d\x0149=CLIENT\x0152=%b\x0156=GATE\x01112=x\x01" % (number, TIME)
    message = b"8=FIX.4.4\x019=%d\x01%b" % (len(inner), inner)
    return message + b"10=%03d\x01" % check_sum(message)
