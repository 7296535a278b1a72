# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The short lane of websocket.py, compiled: whole unmasked text frames out of a chunk, and masked text frames."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from libc.string cimport memcpy

cdef enum:
    WHOLE_TEXT = 0x81
    MASKED = 0x80


cdef inline Py_ssize_t head_of(Py_ssize_t size) noexcept nogil:
    return 2 if size < 126 else 4 if size < 65536 else 10


cdef unsigned char *put_frame(
    unsigned char *at, unsigned char first_byte, const unsigned char *s, Py_ssize_t size, const unsigned char *mask
) noexcept nogil:
    """Write one masked frame; return where it ends."""
    cdef Py_ssize_t head = head_of(size), i = 0
    cdef unsigned long long wide = 0, word = 0
    memcpy(&wide, mask, 4)
    memcpy(<char *>&wide + 4, mask, 4)
    at[0] = first_byte
    if head == 2:
        at[1] = <unsigned char>(MASKED | size)
    elif head == 4:
        at[1] = MASKED | 126
        at[2], at[3] = <unsigned char>(size >> 8), <unsigned char>size
    else:
        at[1] = MASKED | 127
        for i in range(8):
            at[2 + i] = <unsigned char>(size >> (8 * (7 - i)))
        i = 0
    memcpy(at + head, mask, 4)
    at += head + 4
    while i + 8 <= size:
        memcpy(&word, s + i, 8)
        word ^= wide
        memcpy(at + i, &word, 8)
        i += 8
    while i < size:
        at[i] = s[i] ^ mask[i & 3]
        i += 1
    return at + size


def masked_frames(unsigned char first_byte, list payloads not None, bytes keys not None):
    """Return the client frames of some messages, one behind the other. See short_lane.masked_frames."""
    cdef Py_ssize_t count = PyList_GET_SIZE(payloads), room = 0, size, i
    cdef unsigned char *at
    cdef const unsigned char *mask = <const unsigned char *>PyBytes_AS_STRING(keys)
    cdef bytes frames
    if PyBytes_GET_SIZE(keys) != 4 * count:
        raise ValueError("a masking key has four bytes")
    for i in range(count):
        size = PyBytes_GET_SIZE(<bytes?>payloads[i])
        room += head_of(size) + 4 + size
    frames = PyBytes_FromStringAndSize(NULL, room)
    at = <unsigned char *>PyBytes_AS_STRING(frames)
    for i in range(count):
        payload = <bytes>PyList_GET_ITEM(payloads, i)
        at = put_frame(
            at, first_byte, <const unsigned char *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), mask + 4 * i
        )
    return frames


cdef bint is_ascii(const unsigned char *s, Py_ssize_t n) noexcept nogil:
    cdef unsigned long long word, seen = 0
    cdef Py_ssize_t i = 0
    while i + 8 <= n:
        memcpy(&word, s + i, 8)
        seen |= word
        i += 8
    while i < n:
        seen |= s[i]
        i += 1
    return seen & 0x8080808080808080ULL == 0


def take_texts(bytes data not None, Py_ssize_t most, list messages not None):
    """Append the payloads of the whole ASCII text frames that a chunk begins with; return where the next begins.

    What is none (cut short, longer than `most`, fragmented, masked, not ASCII) is left. See short_lane.take_texts.
    """
    cdef const unsigned char *s = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t at = 0, end = PyBytes_GET_SIZE(data), size, start, i
    while end - at >= 2 and s[at] == WHOLE_TEXT and s[at + 1] < 127:
        size, start = s[at + 1], at + 2
        if size == 126:
            start = at + 4
            if end < start:
                break
            size = <Py_ssize_t>s[at + 2] << 8 | s[at + 3]
        if size > most or start + size > end or not is_ascii(s + start, size):
            break
        messages.append(PyBytes_FromStringAndSize(<const char *>s + start, size))
        at = start + size
    return at
