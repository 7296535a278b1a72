# Bytes of a connection -> messages. See plain_framer.py.

cdef class Framer:
    """Cut a stream into messages, skipping what is garbled."""

    def __init__(
        self,
        Py_ssize_t max_message_bytes=plain.MAX_MESSAGE_BYTES,
        Py_ssize_t max_fields=plain.MAX_FIELDS,
        Py_ssize_t max_buffered_bytes=plain.MAX_BUFFERED_BYTES,
    ):
        self.max_message_bytes = max_message_bytes
        self.max_fields = max_fields
        self.max_buffered_bytes = max_buffered_bytes
        self.garbled_count = 0
        self.buffer = b""
        self.at = 0
        # Chunks behind the buffer, joined only when `needed` bytes are there: each byte is copied once a need.
        self.chunks = []
        self.chunk_bytes = 0
        self.needed = 1
        self.garbage_bytes = 0

    @property
    def buffered_bytes(self):
        """Bytes that were fed and are not yet part of a returned message."""
        return PyBytes_GET_SIZE(self.buffer) - self.at + self.chunk_bytes

    def feed(self, bytes data not None):
        """Take bytes as they came from the peer."""
        cdef Py_ssize_t left = PyBytes_GET_SIZE(self.buffer) - self.at
        if left == 0 and self.chunk_bytes == 0:
            self.buffer = data
            self.at = 0
            return
        if left + self.chunk_bytes > self.max_buffered_bytes:
            raise RemoteProtocolError(f"more than {self.max_buffered_bytes} bytes wait unread")
        self.chunks.append(data)
        self.chunk_bytes += PyBytes_GET_SIZE(data)

    def next_message(self):
        """Return the next whole message, None when more bytes are needed."""
        return self.take()

    cdef Message take(self):
        cdef Py_ssize_t left, result = 0
        cdef Message message
        while True:
            left = PyBytes_GET_SIZE(self.buffer) - self.at
            if self.chunk_bytes:
                if left + self.chunk_bytes < self.needed:
                    return None
                self.buffer = b"".join([self.buffer[self.at:], *self.chunks])
                self.at = 0
                self.chunks.clear()
                self.chunk_bytes = 0
                left = PyBytes_GET_SIZE(self.buffer)
            if left == 0:
                return None
            if left < 5 or memcmp(PyBytes_AS_STRING(self.buffer) + self.at, b"8=FIX", 5) != 0:
                if not self.find_start():
                    return None
                left = PyBytes_GET_SIZE(self.buffer) - self.at
            message = cut_frame(self.buffer, self.at, self.max_message_bytes, self.max_fields, &result)
            if message is not None:
                self.at += PyBytes_GET_SIZE(message.raw)
                self.garbage_bytes = 0
                self.needed = 1
                return message
            if result > 0:
                self.needed = result
                return None
            self.garbled_count += 1
            self.skip(-result)

    cdef bint find_start(self) except -1:
        """Move to the next start of a message; False when there is none yet, what might begin one kept."""
        cdef Py_ssize_t limit = self.at + self.max_buffered_bytes + 5
        cdef Py_ssize_t start = self.buffer.find(b"8=FIX", self.at, limit)
        cdef Py_ssize_t end, kept
        if start >= 0:
            self.skip(start - self.at)
            return True
        end = min(PyBytes_GET_SIZE(self.buffer), limit)
        for kept in range(4, -1, -1):
            if self.buffer.endswith(b"8=FIX"[:kept], self.at, end):
                break
        self.skip(end - kept - self.at)
        self.needed = kept + 1
        return False

    cdef int skip(self, Py_ssize_t count) except -1:
        self.at += count
        self.garbage_bytes += count
        self.needed = 1
        if self.garbage_bytes > self.max_buffered_bytes:
            raise RemoteProtocolError(f"more than {self.max_buffered_bytes} bytes without a message")
        return 0
