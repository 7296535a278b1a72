"""Bytes to messages: any split gives the same ones, in linear time and bounded memory."""

import random
import tracemalloc
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import RemoteProtocolError
from protocols.fix.framing import Framer
from tests.protocols.fix.test_codec import GARBLED, envelope
from tests.protocols.fix.twins import IDS, TWINS

twins = pytest.mark.parametrize("twin", TWINS, ids=IDS)

MESSAGES = [
    envelope(b"35=0|34=1|"),
    envelope(b"35=D|34=2|11=a|58=8=FIX.4.4|"),
    envelope(b"35=A|34=3|95=9|96=8=FIX.4.4|"),
    envelope(b"35=0|34=4|58=" + b"x" * 3000 + b"|"),
]
JUNK = [b"", b"8", b"8=FI", b"8=FIX", b"8=FIX.4.4\x01", b"8=FIX.4.4\x019=50\x01", b"\x01\x0110=123\x01", b"junk"]


def read(framer: object, chunks: list[bytes]) -> list[bytes]:
    found = []
    for chunk in chunks:
        framer.feed(chunk)
        while (message := framer.next_message()) is not None:
            found.append(message.raw)
    return found


def split(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from([*MESSAGES, *GARBLED, *JUNK]), max_size=12),
    st.lists(st.integers(0, 1 << 30), max_size=40),
)
def test_any_split_gives_the_same_messages(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    outcomes = []
    for twin in TWINS:
        for chunks in ([data], split(data, places), [data[at : at + 1] for at in range(len(data))]):
            framer = twin.Framer()
            outcomes.append((read(framer, chunks), framer.garbled_count, framer.buffered_bytes))
    assert all(outcome == outcomes[0] for outcome in outcomes)


@twins
def test_whole_messages_between_garbled_ones_are_found(twin: SimpleNamespace) -> None:
    data = b"".join([garbled + MESSAGES[at % 4] for at, garbled in enumerate(GARBLED)])
    framer = twin.Framer()
    assert read(framer, [data]) == [MESSAGES[at % 4] for at in range(len(GARBLED))]
    assert framer.garbled_count >= len(GARBLED) - 3  # some do not even begin as a message does


@twins
@pytest.mark.parametrize("junk", [b"x", b"8", b"8=", b"8=FIX", b"8=FIX.4.4\x019=5\x01", b"\x01"])
def test_garbage_without_end_closes_at_the_limit(twin: SimpleNamespace, junk: bytes) -> None:
    framer = twin.Framer()
    chunk = junk * (1000 // len(junk))
    fed = 0
    with pytest.raises(RemoteProtocolError, match="without a message"):
        while fed < 10**6:
            fed += len(chunk)
            read(framer, [chunk])
    assert 65_536 < fed <= 65_536 + 2 * 1000


@twins
def test_a_hundred_megabytes_without_a_separator(twin: SimpleNamespace) -> None:
    chunk = b"8=FIX.4.4" + b"x" * (1 << 18)
    framer = twin.Framer()
    tracemalloc.start()
    try:
        fed = 0
        with pytest.raises(RemoteProtocolError):
            while fed < 100_000_000:
                fed += len(chunk)
                read(framer, [chunk])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert fed == len(chunk)
    assert peak < 1_000_000


@twins
def test_a_whole_chunk_of_garbage_is_looked_at_no_further_than_the_limit(twin: SimpleNamespace) -> None:
    framer = twin.Framer()
    with pytest.raises(RemoteProtocolError):
        read(framer, [b"x" * 100_000 + MESSAGES[0]])


@twins
def test_what_nobody_reads_is_bounded(twin: SimpleNamespace) -> None:
    framer = twin.Framer(max_buffered_bytes=1000)
    with pytest.raises(RemoteProtocolError, match="wait unread"):
        for _ in range(100):
            framer.feed(MESSAGES[0])
    assert framer.buffered_bytes <= 1000 + 2 * len(MESSAGES[0])


@twins
def test_a_large_chunk_of_good_messages_is_welcome(twin: SimpleNamespace) -> None:
    framer = twin.Framer()
    assert len(read(framer, [MESSAGES[1] * 20_000])) == 20_000
    assert framer.garbled_count == 0


@twins
def test_the_declared_length_is_limited(twin: SimpleNamespace) -> None:
    framer = twin.Framer(max_message_bytes=100)
    with pytest.raises(RemoteProtocolError, match="over the limit of 100"):
        read(framer, [b"8=FIX.4.4\x019=100\x01"])


@twins
def test_one_byte_at_a_time(twin: SimpleNamespace) -> None:
    message = MESSAGES[3]
    framer = twin.Framer()
    for at in range(len(message)):
        framer.feed(message[at : at + 1])
        assert (framer.next_message() is not None) == (at == len(message) - 1)


def test_random_damage_never_harms() -> None:
    choice = random.Random(7)
    good = b"".join(MESSAGES * 3)
    for _ in range(200):
        data = bytearray(good)
        for _ in range(choice.randrange(20)):
            data[choice.randrange(len(data))] = choice.randrange(256)
        framer = Framer()
        try:
            found = read(framer, [bytes(data)])
        except RemoteProtocolError:
            continue
        assert all(message in bytes(data) for message in found)
