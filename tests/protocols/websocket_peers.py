"""Peers for tests of the WebSocket client: the library's server, and its client as the reference."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from protocols.websocket import WebSocketClient

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
