"""The client's handshake, closing, limits and mistakes of its caller."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from websockets.exceptions import InvalidURI

from protocols import websocket
from protocols.errors import LocalProtocolError
from protocols.websocket import WebSocketClient
from tests.protocols.websocket_peers import (
    LIMIT,
    connected,
    counting_entropy,
    frame,
    make_client,
    opened,
    raw,
    unmask,
)

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
    with pytest.raises(InvalidURI, match="isn't"):
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
    # Named, since a masked frame is different each time, and the workers of a parallel run must agree on the names.
    ids=["oversize", "oversize in fragments", "bad text", "bad text in fragments", "binary", "masked", "reserved bit"],
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
