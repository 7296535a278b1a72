# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twin of plain.py, screen.py and values.py: the same answers, byte by byte.

Fields are (tag, start, end) in C arrays, and bytes objects are made only of what is asked for. All scratch space is
static: the interpreter's lock is held throughout, and no Python code runs while it is in use.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.math cimport rint
from libc.string cimport memchr, memcmp, memcpy, memset

from weakref import WeakKeyDictionary

from protocols.fix._bytes cimport mg_copy, mg_is_text, mg_soh, mg_sum

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.fix import plain, values as plain_values

cdef extern from "Python.h":
    bint PyBytes_CheckExact(object o)
    bint PyLong_CheckExact(object o)

cdef enum:
    SOH = 1
    SCRATCH_FIELDS = 4096
    KNOWN_TAGS = 4096  # tags below are found through `places`
    LENGTH_TAGS = 2048
    TRAILER = 7
    OUT_BYTES = 65536
    HEAD_ROOM = 64
    GARBLED = -1
    TOO_MANY = -2

    # Format, see formats.py
    TEXT = 1
    CHAR = 2
    BOOLEAN = 3
    INT = 4
    COUNT = 5
    FLOAT = 6
    TIMESTAMP = 7
    DATE = 8
    WORDS = 11

ctypedef unsigned long long mask_t

cdef Field scratch[SCRATCH_FIELDS]
# For the message cut last: where each tag came first. `stamps[tag]` tells whose `places[tag]` is.
cdef unsigned int stamps[KNOWN_TAGS]
cdef unsigned short places[KNOWN_TAGS]
cdef unsigned int last_stamp = 0
cdef unsigned short data_of[LENGTH_TAGS]
memset(stamps, 0, sizeof(stamps))
memset(data_of, 0, sizeof(data_of))
for _length, _data in plain.DATA_OF_LENGTH.items():
    data_of[<int>_length] = _data

cdef tuple LETTERS = tuple([chr(code) for code in range(256)])


include "_values.pxi"


# --- reading --------------------------------------------------------------------------------------------------------

@cython.freelist(16)
cdef class Message:
    """One message as it came, cut into fields; read-only. See plain.Message."""

    def __dealloc__(self):
        if self.cut != NULL and self.cut != self.few:
            PyMem_Free(self.cut)

    cdef int find(self, long tag) noexcept:
        cdef int i
        if 0 < tag < KNOWN_TAGS:
            if stamps[tag] == self.stamp:
                return places[tag]
            if self.stamp == last_stamp:
                return -1
        for i in range(self.count):
            if self.cut[i].tag == tag:
                return i
        return -1

    cdef object value(self, int i):
        cdef Field *field = &self.cut[i]
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.raw) + field.start, field.end - field.start)

    def get(self, long tag):
        """Return the value of the first field with this tag, or None."""
        cdef int i = self.find(tag)
        return None if i < 0 or tag == 0 else self.value(i)

    def values(self, tuple tags not None):
        """Return the first value of each tag, None where absent."""
        cdef Py_ssize_t i, n = PyTuple_GET_SIZE(tags)
        cdef tuple found = PyTuple_New(n)
        cdef object value
        cdef long tag
        cdef int at
        for i in range(n):
            tag = <object>PyTuple_GET_ITEM(tags, i)
            at = self.find(tag)
            value = None if at < 0 or tag == 0 else self.value(at)
            Py_INCREF(value)
            PyTuple_SET_ITEM(found, i, value)
        return found

    def fields(self):
        """Return (tag, value) in wire order, 8 to 10."""
        cdef int i
        return [(self.cut[i].tag, self.value(i)) for i in range(self.count)]

    def groups(self, count_tag, tags):
        """Return one tuple of values (in order of `tags`) for each entry of a repeating group."""
        return plain.group_values(self.fields(), count_tag, tags)

    def __repr__(self):
        return f"Message({self.msg_type!r}, {self.msg_seq_num})"


cdef int cut_fields(const byte *s, int n, int max_fields, bint *duplicates) noexcept nogil:
    """Cut a whole message into `scratch`, stamped; return the count, GARBLED or TOO_MANY."""
    global last_stamp
    cdef int at = 0, count = 0, start, end, tag, digits, i
    cdef int data_tag = 0
    cdef long long data_length = 0
    cdef unsigned int stamp
    last_stamp += 1
    if last_stamp == 0:
        memset(stamps, 0, sizeof(stamps))
        last_stamp = 1
    stamp = last_stamp
    duplicates[0] = False
    if max_fields > SCRATCH_FIELDS:
        max_fields = SCRATCH_FIELDS
    while at < n:
        start = at
        tag = 0
        while is_digit(s[at]) and at - start < 9:  # s ends in SOH, which is no digit
            tag = tag * 10 + (s[at] - 48)
            at += 1
        if s[at] != c"=" or at == start or s[start] == c"0":
            tag = 0
            digits = 0
            at = start
            while s[at] != c"=":
                if s[at] == SOH:
                    return GARBLED
                if is_digit(s[at]) or s[at] > 127:
                    digits += 1
                at += 1
            if digits == 0:
                return GARBLED
        at += 1
        if data_tag and tag == data_tag and at + data_length < n and s[at + data_length] == SOH:
            end = at + <int>data_length
        else:
            end = mg_soh(s, at, n)
        if count >= max_fields:
            return TOO_MANY
        scratch[count].tag = tag
        scratch[count].start = at
        scratch[count].end = end
        data_tag = 0
        if 0 < tag < KNOWN_TAGS:
            if stamps[tag] == stamp:
                duplicates[0] = True
            else:
                stamps[tag] = stamp
                places[tag] = count
            if tag < LENGTH_TAGS and data_of[tag]:
                data_tag = data_of[tag]
                data_length = number(s + at, end - at) if end - at < 6 else n
                if data_length < 0:
                    data_length = n
        elif tag:
            for i in range(count):
                if scratch[i].tag == tag:
                    duplicates[0] = True
        count += 1
        at = end + 1
    return count


cdef Py_ssize_t read_head(const byte *s, Py_ssize_t n, long long *length) noexcept nogil:
    """Return where the body starts; n > 0 bytes needed as -n; 0 when garbled."""
    cdef Py_ssize_t i, digits_start
    cdef const byte *start = <const byte *>b"8=FIX"
    for i in range(5 if n > 5 else n):
        if s[i] != start[i]:
            return 0
    if n <= 5:
        return -(n + 1)
    i = 5
    while i < n and s[i] != SOH and i < 16:
        i += 1
    if i == n:
        return -(n + 1)
    if s[i] != SOH or i == 5:
        return 0
    if i + 1 == n or (s[i + 1] == c"9" and i + 2 == n):
        return -(n + 1)
    if s[i + 1] != c"9" or s[i + 2] != c"=":
        return 0
    i += 3
    digits_start = i
    length[0] = 0
    while i < n and is_digit(s[i]) and i - digits_start < 9:
        length[0] = length[0] * 10 + (s[i] - 48)
        i += 1
    if i == n:
        return -(n + 1)
    return 0 if s[i] != SOH or i == digits_start else i + 1


cdef Message cut_frame(
    bytes buffer, Py_ssize_t start, Py_ssize_t max_message_bytes, Py_ssize_t max_fields, Py_ssize_t *result
):
    """Return a message; or None, with `result` as plain.frame returns it."""
    cdef const byte *s = <const byte *>PyBytes_AS_STRING(buffer) + start
    cdef Py_ssize_t n = PyBytes_GET_SIZE(buffer) - start
    cdef Py_ssize_t body_start, body_end, total
    cdef long long length = 0
    cdef bint duplicates = False
    cdef int count
    body_start = read_head(s, n, &length)
    if body_start <= 0:
        result[0] = -body_start if body_start < 0 else -1
        return None
    body_end = body_start + length
    total = body_end + TRAILER
    if total > max_message_bytes:
        raise RemoteProtocolError(f"message of {total} bytes is over the limit of {max_message_bytes}")
    if n < body_start + 3:
        result[0] = body_start + 3
        return None
    if memcmp(s + body_start, b"35=", 3) != 0:
        result[0] = -1
        return None
    if n < total:
        result[0] = total
        return None
    # A fault costs the body that is claimed; see plain.frame.
    result[0] = -body_end
    if (
        length < 5
        or s[body_end - 1] != SOH
        or memcmp(s + body_end, b"10=", 3) != 0
        or number(s + body_end + 3, 3) < 0
        or s[total - 1] != SOH
    ):
        return None
    result[0] = -total
    if (mg_sum(s, body_end) & 255) != number(s + body_end + 3, 3):
        return None
    count = cut_fields(s, <int>total, <int>max_fields, &duplicates)
    if count == GARBLED:
        return None
    if count == TOO_MANY:
        raise RemoteProtocolError(f"more than {max_fields} fields")
    if total == PyBytes_GET_SIZE(buffer):
        return new_message(buffer, count, duplicates)
    return new_message(PyBytes_FromStringAndSize(<const char *>s, total), count, duplicates)


cdef Message new_message(bytes raw, int count, bint duplicates):
    """Make a message of `raw`, whose fields lie in `scratch`."""
    cdef Message message = Message.__new__(Message)
    cdef const byte *s = <const byte *>PyBytes_AS_STRING(raw)
    cdef Field *field
    cdef int at
    message.raw = raw
    message.stamp = last_stamp
    message.has_duplicates = duplicates
    message.count = count
    message.cut = message.few
    if count > INLINE_FIELDS:
        message.cut = <Field *>PyMem_Malloc(count * sizeof(Field))
        if message.cut == NULL:
            raise MemoryError
    memcpy(message.cut, scratch, count * sizeof(Field))
    field = &message.cut[2]
    if field.end - field.start == 1:
        message.msg_type = <str>LETTERS[s[field.start]]
    else:
        message.msg_type = (<const char *>s)[field.start:field.end].decode("latin-1")
    at = message.find(34)
    message.msg_seq_num = -1
    if at >= 0:
        field = &message.cut[at]
        message.msg_seq_num = number(s + field.start, field.end - field.start)
    return message


def frame(bytes buffer not None, Py_ssize_t start, Py_ssize_t max_message_bytes=8192, Py_ssize_t max_fields=512):
    """Cut one message out of `buffer`. See plain.frame."""
    cdef Py_ssize_t result = 0
    cdef Message message = cut_frame(buffer, start, max_message_bytes, max_fields, &result)
    return result if message is None else message


def decode(bytes raw not None):
    """Decode exactly one message; RemoteProtocolError when it is garbled, cut short or over a limit."""
    cdef Py_ssize_t result = 0
    cdef Message message = cut_frame(raw, 0, plain.MAX_MESSAGE_BYTES, plain.MAX_FIELDS, &result)
    if message is None or PyBytes_GET_SIZE(message.raw) != PyBytes_GET_SIZE(raw):
        raise RemoteProtocolError("garbled message")
    return message


include "_framer.pxi"
include "_screen.pxi"
include "_encode.pxi"
