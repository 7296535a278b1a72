"""A WebSocket client connection (RFC 6455) without I/O.

Two lanes read frames:

* the websockets library's sans-I/O core reads the opening handshake, control frames, fragments, compressed and
  broken frames, and closes the connection;
* a short lane of our own reads whole, unfragmented, uncompressed text frames, which are nearly all traffic.

The core always sees a complete stream of its own: the short lane takes whole frames out, only at a frame
boundary and only while no fragmented message is open, so the core's state stays what it would be without it.
Text is UTF-8 checked here, in both lanes, so what `messages` returns is valid UTF-8.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidState
from websockets.exceptions import ProtocolError as CoreProtocolError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from protocols.errors import LocalProtocolError
from protocols.short_lane import masked_frames, take_texts

# A 5 000-level book snapshot is about 200 KiB; an instrument list of 3 000 options about 2 MiB.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Masking keys drawn at once: one call for entropy costs more than 100 orders' frames would without the pool.
MASK_POOL_BYTES = 4096
MAX_HEADER_BYTES = 14  # 2, 8 of length, 4 of mask (section 5.2)

WHOLE_TEXT = 0x81  # FIN, no reserved bit, opcode 1
UNSUPPORTED_DATA, INVALID_DATA = 1003, 1007

# The library logs whole frames at debug level, and frames carry credentials: it gets a logger that is off.
_SILENT = logging.Logger("margingate.websocket")
_SILENT.disabled = True


class MaskKeys:
    """Unpredictable 4-byte masking keys (section 5.3), each used once, drawn from a pool."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._pool = b""
        self._used = 0

    def __repr__(self) -> str:
        return "MaskKeys()"

    def take(self, count: int) -> bytes:
        """Return so many keys, one behind the other."""
        used, size = self._used, 4 * count
        if used + size > len(self._pool):
            drawn = max(size, MASK_POOL_BYTES)
            self._pool = self._entropy(drawn)
            assert len(self._pool) == drawn
            used = 0
        self._used = used + size
        return self._pool[used : used + size]


class _Core(ClientProtocol):
    """The library's core, with masking keys from the same pool as the short lane."""

    keys: MaskKeys

    def send_frame(self, frame: Frame) -> None:
        frame.check()
        for extension in self.extensions:
            frame = extension.encode(frame)
        first_byte = frame.fin << 7 | frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4 | frame.opcode
        self.writes.append(masked_frames(first_byte, [bytes(frame.data)], self.keys.take(1)))


class WebSocketClient:
    """A client connection.

    The handshake, control frames, fragmentation, compression and closing are done by the websockets library's
    sans-I/O core; complete, unfragmented, uncompressed text frames - nearly all traffic - take a short lane of
    our own because it is several microseconds cheaper.

    After any call, write `data_to_send()` to the peer, then handle `messages()`. When `must_close_transport`
    is true, close the TCP connection after that write; when `is_closing` is true, do so if the peer has not
    within a short time.

    Parameters
    ----------
    uri : ws:// or wss:// address
    entropy : returns that many unpredictable bytes, os.urandom in production (masks and handshake key)
    max_message_bytes : larger messages, also after decompression, close the connection with 1009
    extra_headers : added to the opening handshake
    is_compressed : offer permessage-deflate (RFC 7692); every frame then goes through the core
    """

    def __init__(
        self,
        uri: str,
        *,
        entropy: Callable[[int], bytes],
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        extra_headers: Mapping[str, str] | None = None,
        is_compressed: bool = False,
    ) -> None:
        extensions = [ClientPerMessageDeflateFactory()] if is_compressed else None
        self._core = _Core(parse_uri(uri), max_size=max_message_bytes, extensions=extensions, logger=_SILENT)
        self._keys = self._core.keys = MaskKeys(entropy)
        self._core.key = base64.b64encode(entropy(16)).decode("ascii")
        self._extra_headers = dict(extra_headers or {})
        self._max_message_bytes = max_message_bytes
        self._messages: list[bytes] = []
        self._writes: list[bytes] = []
        self._fragments: bytearray | None = None
        self._tail = bytearray()  # the start of a frame, or the end of the handshake's header, not yet passed on
        self._tail_needs = 0  # bytes that the frame in _tail has in all, 0 while unknown
        self._core_frame_left = 0  # bytes of the frame that the core is reading
        self._handshake_is_sent = False
        self._header_is_read = False
        self._has_failed = False
        self._has_eof = False
        self._short_lane_is_open = False
        self.must_close_transport = False

    def __repr__(self) -> str:
        return f"WebSocketClient({self._core.state.name.lower()})"

    # -- state

    @property
    def is_open(self) -> bool:
        return self._core.state is State.OPEN

    @property
    def is_closing(self) -> bool:
        """A close frame was sent, or the handshake failed: the peer should end the connection soon."""
        return self._core.close_expected()

    @property
    def is_closed(self) -> bool:
        return self._core.state is State.CLOSED

    @property
    def close_code(self) -> int | None:
        """The code that ended, or is ending, the connection: ours when we sent it first; 1006 for a lost one."""
        sent, received = self._core.close_sent, self._core.close_rcvd
        if sent is not None and not (received is not None and self._core.close_rcvd_then_sent):
            return int(sent.code)
        if received is not None:
            return int(received.code)
        return 1006 if self.is_closed else None

    @property
    def close_reason(self) -> str:
        sent, received = self._core.close_sent, self._core.close_rcvd
        if sent is not None and not (received is not None and self._core.close_rcvd_then_sent):
            return sent.reason
        if received is not None:
            return received.reason
        if self._core.handshake_exc is not None:
            return f"handshake failed: {type(self._core.handshake_exc).__name__}"
        return ""

    # -- sending

    def connect(self) -> None:
        """Queue the opening handshake."""
        if self._handshake_is_sent:
            raise LocalProtocolError("the opening handshake was sent already")
        self._handshake_is_sent = True
        request = self._core.connect()
        for name, value in self._extra_headers.items():
            request.headers[name] = value
        self._core.send_request(request)
        self._collect()

    def send_text(self, payload: bytes) -> None:
        """Queue one text message; `payload` must be valid UTF-8."""
        self.send_texts([payload])

    def send_texts(self, payloads: list[bytes]) -> None:
        """Queue text messages, framed in one go; each must be valid UTF-8."""
        if not payloads:
            return
        if self._short_lane_is_open:
            self._writes.append(masked_frames(WHOLE_TEXT, payloads, self._keys.take(len(payloads))))
            return
        for payload in payloads:
            self._send_through_core(payload)

    def _send_through_core(self, payload: bytes) -> None:
        if self._core.state is not State.OPEN:
            raise LocalProtocolError(f"cannot send: the connection is {self._core.state.name.lower()}")
        self._core.send_text(payload)
        self._collect()

    def ping(self, payload: bytes = b"") -> None:
        try:
            self._core.send_ping(payload)
        except (InvalidState, CoreProtocolError) as error:
            raise LocalProtocolError(f"cannot ping: {error}") from error
        self._collect()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake. A second call, or one on a closed connection, does nothing."""
        if self._core.state is State.CONNECTING:
            self.must_close_transport = True
        elif self._core.state is State.OPEN:
            try:
                self._core.send_close(code, reason)
            except CoreProtocolError as error:
                raise LocalProtocolError(f"cannot close: {error}") from error
            if self._tail:
                # From here on every byte goes to the core, so it needs the half frame that was held back.
                self._core.receive_data(bytes(self._tail))
                self._tail.clear()
                self._tail_needs = 0
            self._collect()

    def data_to_send(self) -> bytes:
        writes = self._writes
        if not writes:
            return b""
        self._writes = []
        return writes[0] if len(writes) == 1 else b"".join(writes)

    # -- receiving

    def messages(self) -> list[bytes]:
        """Return the complete text messages since the last call, as UTF-8 that was validated here."""
        messages = self._messages
        if messages:
            self._messages = []
        return messages

    def receive_data(self, data: bytes) -> None:
        """Take a chunk of the byte stream, split anywhere."""
        if self._has_eof:
            raise LocalProtocolError("data after the end of the stream")
        if self._short_lane_is_open and not self._tail and not self._core_frame_left:
            self._read_frames(data)
            return
        if not self._header_is_read:
            data = self._read_handshake(data)
        if data:
            self._resume(data)

    def receive_eof(self) -> None:
        """The peer has closed its side."""
        if self._has_eof:
            return
        self._has_eof = True
        if self._tail:
            # Half a frame: the core must see that the stream ended inside it.
            self._core.receive_data(bytes(self._tail))
            self._tail.clear()
        self._core.receive_eof()
        self._collect()

    def _read_handshake(self, data: bytes) -> bytes:
        """Give the core the response's header, and no byte of the frames behind it; return those."""
        self._tail += data
        end = self._tail.find(b"\r\n\r\n")
        self._header_is_read = end >= 0
        # All but the last three bytes can not belong to a frame.
        through = end + 4 if end >= 0 else max(len(self._tail) - 3, 0)
        head, rest = bytes(self._tail[:through]), bytes(self._tail[through:])
        self._tail = bytearray(rest if end < 0 else b"")
        if head:
            self._core.receive_data(head)
            self._collect()
        return rest if end >= 0 else b""

    def _resume(self, data: bytes) -> None:
        """Go on from a chunk that ended inside a frame."""
        if self._core_frame_left or self._core.state is not State.OPEN:
            data = self._continue_core_frame(data)
        if self._tail:
            self._tail += data
            if len(self._tail) < self._tail_needs:
                return
            data = bytes(self._tail)
            self._tail.clear()
            self._tail_needs = 0
        if data:
            self._read_frames(data)

    def _continue_core_frame(self, data: bytes) -> bytes:
        """Feed the core the frame that it is in (all, once it no longer reads frames); return what follows."""
        through = self._core_frame_left if self._core.state is State.OPEN else len(data)
        self._core_frame_left = max(self._core_frame_left - len(data), 0)
        self._feed_core(data[:through])
        return data[through:]

    def _read_frames(self, data: bytes) -> None:
        """Read frames from a boundary on; what is left of the last one goes to _tail or to the core."""
        end = len(data)
        at = take_texts(data, self._max_message_bytes, self._messages) if self._short_lane_is_open else 0
        while at < end:
            if end - at < 2:
                break
            size = data[at + 1]
            if self._short_lane_is_open and data[at] == WHOLE_TEXT and size < 128:
                start = at + 2
                if size == 126:
                    start = at + 4
                    if end < start:
                        break
                    size = data[at + 2] << 8 | data[at + 3]
                elif size == 127:
                    start = at + 10
                    if end < start:
                        break
                    size = int.from_bytes(data[at + 2 : start], "big")
                if size <= self._max_message_bytes:
                    stop = start + size
                    if stop > end:
                        self._tail_needs = stop - at
                        break
                    payload = data[start:stop]
                    at = stop
                    if payload.isascii() or self._is_utf8(payload):
                        self._messages.append(payload)
                    continue
            through = self._pass_to_core(data, at)
            if through == at:
                break
            at = through
        if at < end:
            self._tail += data[at:] if at else data

    def _pass_to_core(self, data: bytes, at: int) -> int:
        """Feed the core the frame at `at`, or as much of it as is here; return where the next begins.

        Returns `at` itself while the length field is incomplete.
        """
        if self._core.state is not State.OPEN:
            self._feed_core(data[at:])
            return len(data)
        size = data[at + 1] & 0x7F
        width = 8 if size == 127 else 2 if size == 126 else 0
        start = at + 2 + width
        if len(data) < start:
            return at
        if width:
            size = int.from_bytes(data[at + 2 : start], "big")
        # A masked frame has four bytes more, but is a violation that the core ends the connection for.
        stop = start + size
        self._core_frame_left = max(stop - len(data), 0)
        self._feed_core(data[at:stop])
        return min(stop, len(data))

    def _feed_core(self, data: bytes) -> None:
        self._core.receive_data(data)
        self._collect()

    def _is_utf8(self, payload: bytes) -> bool:
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError:
            self._fail(INVALID_DATA, "text is not UTF-8")
            return False
        return True

    def _fail(self, code: int, reason: str) -> None:
        self._has_failed = True
        self._core.fail(code, reason)
        self._collect()

    def _collect(self) -> None:
        """Take what the core has read and wants to write."""
        core = self._core
        for event in core.events_received():
            if isinstance(event, Frame):
                self._on_frame(event)
        for write in core.data_to_send():
            if write:
                self._writes.append(write)
            else:
                self.must_close_transport = True
        self._short_lane_is_open = core.state is State.OPEN and not core.extensions and core.current_size is None

    def _on_frame(self, frame: Frame) -> None:
        # Section 7.1.7: nothing is processed after the connection was failed.
        if self._has_failed:
            return
        if frame.opcode is Opcode.BINARY:
            self._fail(UNSUPPORTED_DATA, "binary data is not used here")
            return
        if frame.opcode is Opcode.TEXT:
            self._fragments = bytearray()
        elif frame.opcode is not Opcode.CONT or self._fragments is None:
            return
        self._fragments += frame.data
        if frame.fin:
            payload = bytes(self._fragments)
            self._fragments = None
            if self._is_utf8(payload):
                self._messages.append(payload)
