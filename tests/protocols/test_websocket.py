"""The client against the library it is built on: same bytes, any split, same outcome."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.server import ServerProtocol

from protocols.websocket import MASK_POOL_BYTES, WebSocketClient
from tests.protocols.websocket_peers import (
    LIMIT,
    URI,
    Reference,
    assert_same,
    connected,
    frame,
    make_client,
    make_server,
    opened,
    raw,
    split,
)

texts = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.sampled_from([b"a" * 125, b"b" * 126, "é".encode() * 70, b"c" * LIMIT]),
)
payloads = st.binary(max_size=6)
whole_text = st.builds(lambda text: frame(1, text), texts)
fragmented = st.builds(
    lambda parts, between: b"".join(
        frame(1 if i == 0 else 0, part, fin=i == len(parts) - 1) + (between if i == 0 else b"")
        for i, part in enumerate(parts)
    ),
    st.lists(payloads, min_size=2, max_size=4),
    st.sampled_from([b"", frame(9, b"hi"), frame(10, b"")]),
)
control = st.one_of(
    st.builds(lambda payload: frame(9, payload), payloads), st.builds(lambda payload: frame(10, payload), payloads)
)
closing = st.sampled_from([frame(8, b"\x03\xe8bye"), frame(8, b""), frame(8, b"\x03\xe9")])
broken = st.sampled_from(
    [
        frame(1, b"\xff\xfe"),
        frame(1, b"x" * (LIMIT + 1)),
        b"\x81\x7f" + (2**63 - 1).to_bytes(8, "big"),
        b"\x81\x7e\x00\x05hello",  # a length that need not be this long
        frame(2, b"binary"),
        frame(0, b"no message to continue"),
        frame(1, b"open", fin=False) + frame(1, b"another"),
        frame(1, b"masked", mask=True),
        raw(0xC1, b"compressed"),
        raw(0x83, b"reserved opcode"),
        raw(0x09, b"fragmented ping"),
        raw(0x89, b"x" * 126),
        frame(8, b"\x03"),
        frame(8, b"\x03\xe8\xff"),
        b"\x81\x05hal",
        b"\x82\x7e",
        b"\x88",
        b"",
    ]
)
streams = st.lists(st.one_of(whole_text, whole_text, fragmented, control), max_size=6)


@settings(max_examples=150, deadline=None)
@given(streams, st.one_of(closing, broken), streams, st.lists(st.integers(0, 5000), max_size=12))
@example([frame(1, b"a")], b"", [], [1])
def test_any_stream_in_any_split_reads_as_by_the_library(
    before: list[bytes], middle: bytes, after: list[bytes], cuts: list[int]
) -> None:
    data = b"".join([*before, middle, *after])
    client = opened(max_message_bytes=LIMIT)
    reference = Reference(LIMIT)
    reference.receive(data)
    got: list[bytes] = []
    for chunk in split(data, cuts):
        client.receive_data(chunk)
        got += client.messages()
    # The short lane keeps the start of a frame that the library would already have taken in.
    sent = client.data_to_send()
    client.receive_eof()
    reference.core.receive_eof()
    assert_same(client, reference, got + client.messages(), sent + client.data_to_send())
    assert client.must_close_transport
    assert client.is_closed


@settings(max_examples=60, deadline=None)
@given(streams, st.lists(st.integers(0, 5000), max_size=12))
def test_the_core_is_at_a_frame_boundary_whenever_the_short_lane_is_open(frames: list[bytes], cuts: list[int]) -> None:
    client = opened(max_message_bytes=LIMIT)
    for chunk in split(b"".join(frames), cuts):
        client.receive_data(chunk)
        if client._short_lane_is_open and not client._core_frame_left:
            assert not client._core.reader.buffer
            assert client._core.current_size is None


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.lists(st.integers(0, 3000), max_size=8))
def test_frames_behind_the_handshake_in_the_same_chunk(messages: list[bytes], cuts: list[int]) -> None:
    client = make_client()
    client.connect()
    server, answer = make_server(client)
    for message in messages:
        server.send_text(message)
    data = answer + b"".join(server.data_to_send())
    got = []
    for chunk in split(data, cuts):
        client.receive_data(chunk)
        got += client.messages()
    assert got == messages
    assert client.is_open


# -- with the library's server


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(texts, st.just(b"z" * 66_000)), max_size=5), st.booleans())
def test_the_server_reads_what_the_client_sends(messages: list[bytes], is_compressed: bool) -> None:
    client, server = connected(is_compressed=is_compressed)
    for message in messages:
        client.send_text(message)
    data = client.data_to_send()
    assert client.data_to_send() == b""
    if data:
        server.receive_data(data)
    assert [bytes(event.data) for event in server.events_received()] == messages  # type: ignore[union-attr]
    assert server.parser_exc is None


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, max_size=5), st.booleans(), st.lists(st.integers(0, 5000), max_size=6))
def test_the_client_reads_what_the_server_sends(messages: list[bytes], is_compressed: bool, cuts: list[int]) -> None:
    client, server = connected(is_compressed=is_compressed)
    for message in messages:
        server.send_text(message)
    got: list[bytes] = []
    for chunk in split(b"".join(server.data_to_send()), cuts):
        client.receive_data(chunk)
        got += client.messages()
    assert got == messages


def test_masking_keys_are_fresh_and_drawn_in_pools() -> None:
    drawn = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return len(drawn).to_bytes(2, "big") * (size // 2)

    client = WebSocketClient(URI, entropy=entropy)
    client.connect()
    _, answer = make_server(client)
    client.receive_data(answer)
    keys = set()
    for _ in range(MASK_POOL_BYTES // 4 + 1):
        client.send_text(b"order")
        keys.add(client.data_to_send()[2:6])
    assert drawn == [16, MASK_POOL_BYTES, MASK_POOL_BYTES]
    assert len(keys) == 2  # one per pool with this entropy


def test_the_same_entropy_gives_the_same_bytes() -> None:
    def conversation() -> bytes:
        client = make_client()
        client.connect()
        sent = client.data_to_send()
        server = ServerProtocol()
        server.receive_data(sent)
        (request,) = server.events_received()
        response = server.accept(request)  # type: ignore[arg-type]
        server.send_response(response)
        client.receive_data(b"".join(server.data_to_send()) + frame(9, b"ping"))
        client.send_text(b"hello")
        client.close()
        return sent + client.data_to_send()

    assert conversation() == conversation()
