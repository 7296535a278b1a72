"""Plain twin of the framer: bytes of a connection -> messages, linear in time whatever the split."""

from protocols.errors import RemoteProtocolError
from protocols.fix.plain import MAX_BUFFERED_BYTES, MAX_FIELDS, MAX_MESSAGE_BYTES, Message, frame

_START = b"8=FIX"


class Framer:
    """Cut a stream into messages, skipping what is garbled.

    Raises RemoteProtocolError, once and for all, when a message is over a limit, when more than `max_buffered_bytes`
    came without one message among them, or when as much waits that nobody has asked for.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_chunk_bytes",
        "_chunks",
        "_garbage_bytes",
        "_needed",
        "garbled_count",
        "max_buffered_bytes",
        "max_fields",
        "max_message_bytes",
    )

    def __init__(
        self,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_fields: int = MAX_FIELDS,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        self.max_message_bytes = max_message_bytes
        self.max_fields = max_fields
        self.max_buffered_bytes = max_buffered_bytes
        self.garbled_count = 0
        self._buffer = b""
        self._at = 0
        # Chunks behind the buffer, joined only when `_needed` bytes are there: each byte is copied once a need.
        self._chunks: list[bytes] = []
        self._chunk_bytes = 0
        self._needed = 1
        self._garbage_bytes = 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were fed and are not yet part of a returned message."""
        return len(self._buffer) - self._at + self._chunk_bytes

    def feed(self, data: bytes) -> None:
        """Take bytes as they came from the peer."""
        if self._at == len(self._buffer) and not self._chunks:
            self._buffer = data
            self._at = 0
            return
        if self.buffered_bytes > self.max_buffered_bytes:
            raise RemoteProtocolError(f"more than {self.max_buffered_bytes} bytes wait unread")
        self._chunks.append(data)
        self._chunk_bytes += len(data)

    def next_message(self) -> Message | None:
        """Return the next whole message, None when more bytes are needed."""
        while True:
            if self._chunks:
                if self.buffered_bytes < self._needed:
                    return None
                self._buffer = b"".join([self._buffer[self._at :], *self._chunks])
                self._at = 0
                self._chunks.clear()
                self._chunk_bytes = 0
            buffer = self._buffer
            if self._at == len(buffer):
                return None
            if not buffer.startswith(_START, self._at) and not self._find_start():
                return None
            found = frame(buffer, self._at, self.max_message_bytes, self.max_fields)
            if not isinstance(found, int):
                self._at += len(found.raw)
                self._garbage_bytes = 0
                self._needed = 1
                return found
            if found > 0:
                self._needed = found
                return None
            self.garbled_count += 1
            self._skip(-found)

    def _find_start(self) -> bool:
        """Move to the next ``8=FIX``; False when there is none yet, what might begin one kept."""
        limit = self._at + self.max_buffered_bytes + len(_START)
        start = self._buffer.find(_START, self._at, limit)
        if start >= 0:
            self._skip(start - self._at)
            return True
        end = min(len(self._buffer), limit)
        kept = max(n for n in range(len(_START)) if self._buffer.endswith(_START[:n], self._at, end))
        self._skip(end - kept - self._at)
        self._needed = kept + 1
        return False

    def _skip(self, count: int) -> None:
        self._at += count
        self._garbage_bytes += count
        self._needed = 1
        if self._garbage_bytes > self.max_buffered_bytes:
            raise RemoteProtocolError(f"more than {self.max_buffered_bytes} bytes without a message")
