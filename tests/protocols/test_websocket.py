"""The client against the library it is built on: same bytes, any split, same outcome."""

from __future__ import annotations

import itertools
import tracemalloc
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from protocols import websocket
from protocols.errors import LocalProtocolError
from protocols.websocket import MASK_POOL_BYTES, WebSocketClient

URI = "ws://venue.test/ws/api/v2"
LIMIT = 300


def counting_entropy(size: int) -> bytes:
    return bytes(i & 255 for i in range(size))


def make_client(**settings: object) -> WebSocketClient:
    return WebSocketClient(URI, entropy=counting_entropy, **settings)  # type: ignore[arg-type]


def make_server(client: WebSocketClient, **settings: object) -> tuple[ServerProtocol, bytes]:
    """Return a server that has read the client's handshake, and its answer."""
    server = ServerProtocol(**settings)  # type: ignore[arg-type]
    server.receive_data(client.data_to_send())
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    return server, b"".join(server.data_to_send())


def connected(**settings: object) -> tuple[WebSocketClient, ServerProtocol]:
    client = make_client(**settings)
    client.connect()
    extensions = [ServerPerMessageDeflateFactory()] if settings.get("is_compressed") else None
    server, answer = make_server(client, max_size=None, extensions=extensions)
    client.receive_data(answer)
    assert client.is_open
    return client, server


def opened(**settings: object) -> WebSocketClient:
    return connected(**settings)[0]


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = False, rsv1: bool = False) -> bytes:
    return Frame(Opcode(opcode), payload, fin, rsv1).serialize(mask=mask) if not rsv1 else raw(0xC0 | opcode, payload)


def raw(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    return bytes((first, 126)) + size.to_bytes(2, "big") + payload


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    points = sorted({cut % (len(data) + 1) for cut in cuts})
    edges = [0, *points, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


# -- reference: the library alone


class Reference:
    """The library's client, with the rules that are ours on top: UTF-8, and no binary data."""

    def __init__(self, max_size: int) -> None:
        self.core = ClientProtocol(parse_uri(URI), state=State.OPEN, max_size=max_size)
        self.messages: list[bytes] = []
        self.fragments: list[bytes] = []
        self.has_failed = False

    def receive(self, data: bytes) -> None:
        # A byte at a time, so that the library has not read past a message that is refused.
        for i in range(len(data)):
            self.core.receive_data(data[i : i + 1])
            for event in self.core.events_received():
                if isinstance(event, Frame) and not self.has_failed:
                    self.on_frame(event)

    def on_frame(self, event: Frame) -> None:
        if event.opcode is Opcode.BINARY:
            self.fail(1003, "binary data is not used here")
        elif event.opcode in (Opcode.TEXT, Opcode.CONT):
            self.fragments.append(bytes(event.data))
            if event.fin:
                message = b"".join(self.fragments)
                self.fragments = []
                try:
                    message.decode()
                except UnicodeDecodeError:
                    self.fail(1007, "text is not UTF-8")
                else:
                    self.messages.append(message)

    def fail(self, code: int, reason: str) -> None:
        self.has_failed = True
        self.core.fail(code, reason)

    def writes(self) -> list[tuple[int, bytes]]:
        return unmask(b"".join(self.core.data_to_send()))


def unmask(data: bytes) -> list[tuple[int, bytes]]:
    """Return (first byte, payload) of masked frames."""
    frames = []
    while data:
        size = data[1] & 127
        start = 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        assert data[1] & 128
        key, masked = data[start : start + 4], data[start + 4 : start + 4 + size]
        frames.append((data[0], bytes(byte ^ key[i & 3] for i, byte in enumerate(masked))))
        data = data[start + 4 + size :]
    return frames


def assert_same(client: WebSocketClient, reference: Reference, got: list[bytes], sent: bytes) -> None:
    core = reference.core
    assert got == reference.messages
    assert client._core.state is core.state
    assert client._core.current_size == core.current_size
    assert client._core.close_sent == core.close_sent
    assert client._core.close_rcvd == core.close_rcvd
    assert unmask(sent) == reference.writes()


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


# -- handshake


def test_extra_headers_are_sent() -> None:
    client = make_client(extra_headers={"User-Agent": "margingate", "X-Region": "ld4"})
    client.connect()
    request = client.data_to_send()
    assert b"User-Agent: margingate\r\n" in request
    assert b"X-Region: ld4\r\n" in request
    assert b"permessage-deflate" not in request


def test_compression_is_offered_only_when_asked() -> None:
    client = make_client(is_compressed=True)
    client.connect()
    assert b"Sec-WebSocket-Extensions: permessage-deflate" in client.data_to_send()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nno way",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 20_000,
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"A: b\r\n" * 300 + b"\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_failed_handshake_closes_the_transport(answer: bytes, size: int) -> None:
    client = make_client()
    client.connect()
    client.data_to_send()
    for first in range(0, len(answer), size):
        client.receive_data(answer[first : first + size])
    assert client.must_close_transport
    assert client.is_closing
    assert not client.is_open
    assert client.close_reason.startswith("handshake failed: ")
    client.receive_eof()
    assert client.is_closed
    assert client.close_code == 1006
    assert client.messages() == []


def test_eof_in_the_handshake() -> None:
    client = make_client()
    client.connect()
    client.receive_data(b"HTTP/1.1 101 Sw")
    client.receive_eof()
    assert client.is_closed
    assert client.close_code == 1006


def test_closing_before_the_handshake_ends_closes_the_transport() -> None:
    client = make_client()
    client.close()
    assert client.must_close_transport


@pytest.mark.parametrize("uri", ["http://venue.test/", "ws://"])
def test_a_malformed_uri_is_refused(uri: str) -> None:
    with pytest.raises(Exception, match="isn't"):
        WebSocketClient(uri, entropy=counting_entropy)


# -- closing


def test_the_server_closes() -> None:
    client, server = connected()
    server.send_close(1001, "restart")
    client.receive_data(b"".join(server.data_to_send()))
    assert (client.close_code, client.close_reason) == (1001, "restart")
    assert client.is_closing
    assert not client.is_open
    server.receive_data(client.data_to_send())
    assert server.close_rcvd is not None
    client.receive_eof()
    assert client.is_closed
    assert client.must_close_transport
    client.receive_eof()


def test_the_client_closes_and_still_reads_what_was_under_way() -> None:
    client, server = connected()
    server.send_text(b"late")
    late = b"".join(server.data_to_send())
    client.receive_data(late[:3])  # half a frame is in the short lane
    client.close(4000, "enough")
    client.close()
    assert (client.close_code, client.close_reason) == (4000, "enough")
    client.receive_data(late[3:])
    assert client.messages() == [b"late"]
    server.receive_data(client.data_to_send())
    client.receive_data(b"".join(server.data_to_send()))
    client.receive_eof()
    assert client.is_closed
    assert (client.close_code, client.close_reason) == (4000, "enough")
    with pytest.raises(LocalProtocolError, match="cannot send: the connection is closed"):
        client.send_text(b"too late")
    with pytest.raises(LocalProtocolError, match="cannot ping"):
        client.ping()
    with pytest.raises(LocalProtocolError, match="after the end"):
        client.receive_data(b"x")
    client.close()


def test_a_lost_connection_is_1006() -> None:
    client = opened()
    client.receive_data(b"\x81\x05hal")
    client.receive_eof()
    assert client.is_closed
    assert (client.close_code, client.close_reason) == (1006, "")
    assert client.messages() == []


def test_nothing_is_delivered_after_the_connection_was_failed() -> None:
    client = opened()
    client.close()  # from here on the core reads several frames at once
    client.receive_data(frame(2, b"binary") + frame(1, b"text"))
    assert client.messages() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x7f" + (LIMIT + 1).to_bytes(8, "big"), 1009),
        (frame(1, b"x" * 200, fin=False) + frame(0, b"x" * 200), 1009),
        (frame(1, b"\xc3\x28"), 1007),
        (frame(1, b"\xc3", fin=False) + frame(0, b"\x28"), 1007),
        (frame(2, b"\x00"), 1003),
        (frame(1, b"x", mask=True), 1002),
        (raw(0xC1, b"x"), 1002),
    ],
)
def test_what_breaks_a_limit_closes_with_its_code(data: bytes, code: int) -> None:
    client = opened(max_message_bytes=LIMIT)
    client.receive_data(data)
    assert client.close_code == code
    assert not client.is_open
    assert client.messages() == []
    client.receive_data(frame(1, b"ignored"))
    assert client.messages() == []


def test_a_decompression_bomb_is_bounded() -> None:
    """Fault 32: 64 MB in 64 KB of frame end in 1009, and take under 2 MB."""
    client = opened(is_compressed=True, max_message_bytes=LIMIT)
    squeeze = zlib.compressobj(wbits=-15)
    bomb = squeeze.compress(bytes(1 << 26)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    data = raw(0xC1, bomb[:-4]) if len(bomb) < 65_000 else raw(0xC1, bomb[:65_000])
    tracemalloc.start()
    client.receive_data(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert client.close_code == 1009
    assert peak < 2_000_000


def test_a_message_in_empty_fragments_takes_no_memory() -> None:
    client = opened()
    client.receive_data(frame(1, b"", fin=False))
    tracemalloc.start()
    client.receive_data(frame(0, b"", fin=False) * 5_000)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 10_000
    client.receive_data(frame(0, b"end"))
    assert client.messages() == [b"end"]


def test_a_long_message_in_small_chunks_is_read_in_linear_time() -> None:
    """4 MiB in 1 KiB chunks: copying the rest at every chunk would move 8 GiB."""
    client = opened()
    data = b"\x81\x7f" + (1 << 22).to_bytes(8, "big") + b"x" * (1 << 22)
    for first in range(0, len(data), 1024):
        client.receive_data(data[first : first + 1024])
    (message,) = client.messages()
    assert len(message) == 1 << 22


# -- control frames and local mistakes


def test_a_ping_is_answered_and_a_pong_is_not() -> None:
    client = opened()
    client.receive_data(frame(9, b"are you there") + frame(10, b"unasked"))
    assert unmask(client.data_to_send()) == [(0x8A, b"are you there")]


def test_ping() -> None:
    client = opened()
    client.ping(b"me")
    assert unmask(client.data_to_send()) == [(0x89, b"me")]


def test_sending_while_a_fragmented_message_is_being_read() -> None:
    client = opened()
    client.receive_data(frame(1, b"first ", fin=False))
    client.send_text(b"order")
    assert unmask(client.data_to_send()) == [(0x81, b"order")]
    client.receive_data(frame(0, b"last") + frame(1, b"next"))
    assert client.messages() == [b"first last", b"next"]


def test_mistakes_of_the_caller_are_local_errors() -> None:
    client = make_client()
    with pytest.raises(LocalProtocolError, match="cannot send: the connection is connecting"):
        client.send_text(b"x")
    client.connect()
    with pytest.raises(LocalProtocolError, match="sent already"):
        client.connect()
    client = opened()
    with pytest.raises(LocalProtocolError, match="cannot ping"):
        client.ping(b"x" * 126)
    with pytest.raises(LocalProtocolError, match="cannot close"):
        client.close(999)
    with pytest.raises(LocalProtocolError, match="cannot close"):
        client.close(1000, "x" * 200)


def test_nothing_of_a_frame_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    client = opened()
    client.send_text(b"client_secret")
    client.receive_data(frame(1, b"access_token"))
    client.receive_data(frame(2, b"access_token"))
    assert caplog.text == "" or "secret" not in caplog.text
    assert repr(client) == "WebSocketClient(closing)"
    assert repr(websocket.MaskKeys(counting_entropy)) == "MaskKeys()"
