# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twin of plain.py, screen.py and values.py: the same answers, byte by byte.

Fields are (tag, start, end) in C arrays, and bytes objects are made only of what is asked for. All scratch space is
static: the interpreter's lock is held throughout, and no Python code runs while it is in use.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.string cimport memchr, memcmp, memcpy, memset

from weakref import WeakKeyDictionary

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.fix import plain, values as plain_values

cdef extern from "Python.h":
    bint PyBytes_CheckExact(object o)
    bint PyLong_CheckExact(object o)

cdef enum:
    SOH = 1
    INLINE_FIELDS = 48
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

ctypedef unsigned char byte
ctypedef unsigned long long mask_t

cdef struct Field:
    int tag
    int start
    int end

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


# --- numbers and times ----------------------------------------------------------------------------------------------

cdef inline bint is_digit(byte c) noexcept nogil:
    return c >= 48 and c <= 57


cdef long long number(const byte *s, Py_ssize_t n) noexcept nogil:
    """Return strict digits as a number, -1 for anything else or more than 18 of them."""
    cdef long long value = 0
    cdef Py_ssize_t i
    if n < 1 or n > 18:
        return -1
    for i in range(n):
        if not is_digit(s[i]):
            return -1
        value = value * 10 + (s[i] - 48)
    return value


cdef inline int two(const byte *s) noexcept nogil:
    if is_digit(s[0]) and is_digit(s[1]):
        return (s[0] - 48) * 10 + s[1] - 48
    return -1


cdef inline int days_in(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month in (4, 6, 9, 11) else 31


cdef bint is_date(const byte *s) noexcept nogil:
    """FIX dates in general: month and day in range, whatever the month's length."""
    cdef int month = two(s + 4), day = two(s + 6)
    return two(s) >= 0 and two(s + 2) >= 0 and 1 <= month <= 12 and 1 <= day <= 31


cdef long long parse_time(const byte *s, Py_ssize_t n) noexcept nogil:
    """Return nanoseconds since the epoch, -1 when it is no UTCTimestamp."""
    cdef int year, month, day, hour, minute, second, y, m
    cdef long long days, fraction = 0
    cdef Py_ssize_t i
    if n != 17 and n != 21 and n != 24 and n != 27:
        return -1
    if two(s) < 0 or two(s + 2) < 0 or s[8] != c"-" or s[11] != c":" or s[14] != c":":
        return -1
    year = two(s) * 100 + two(s + 2)
    month, day, hour, minute, second = two(s + 4), two(s + 6), two(s + 9), two(s + 12), two(s + 15)
    if year < 1970 or year > 2200 or month < 1 or month > 12 or day < 1 or day > days_in(year, month):
        return -1
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60:
        return -1
    if n > 17:
        fraction = number(s + 18, n - 18)
        if s[17] != c"." or fraction < 0:
            return -1
        for i in range(27 - n):
            fraction *= 10
    # Days since the epoch of a civil date, years beginning in March.
    y = year - 1 if month <= 2 else year
    m = month + 9 if month <= 2 else month - 3
    days = 365LL * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 1 - 719468
    return (days * 86400 + hour * 3600 + minute * 60 + second) * 1000000000LL + fraction


cdef long long cached_second = -1
cdef byte cached_text[17]


cdef inline void put_two(byte *p, int value) noexcept nogil:
    p[0] = 48 + value // 10
    p[1] = 48 + value % 10


cdef int put_time(byte *p, long long ns, int digits) noexcept nogil:
    """Write a UTCTimestamp, return its length. `ns` must not be negative."""
    global cached_second
    cdef long long second = ns // 1000000000
    cdef long long rest = ns % 1000000000
    cdef long long z, era, doe, yoe, doy, mp
    cdef int year, of_day, i
    if second != cached_second:
        z = second // 86400 + 719468
        of_day = <int>(second % 86400)
        era = z // 146097
        doe = z - era * 146097
        yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
        doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
        mp = (5 * doy + 2) // 153
        year = <int>(yoe + era * 400) + (1 if mp >= 10 else 0)
        put_two(cached_text, year // 100)
        put_two(cached_text + 2, year % 100)
        put_two(cached_text + 4, <int>(mp + 3 if mp < 10 else mp - 9))
        put_two(cached_text + 6, <int>(doy - (153 * mp + 2) // 5 + 1))
        cached_text[8] = c"-"
        put_two(cached_text + 9, of_day // 3600)
        cached_text[11] = c":"
        put_two(cached_text + 12, of_day // 60 % 60)
        cached_text[14] = c":"
        put_two(cached_text + 15, of_day % 60)
        cached_second = second
    memcpy(p, cached_text, 17)
    if digits == 0:
        return 17
    p[17] = c"."
    for i in range(9 - digits):
        rest //= 10
    for i in range(digits):
        p[17 + digits - i] = 48 + <byte>(rest % 10)
        rest //= 10
    return 18 + digits


cdef int put_number(byte *p, long long value) noexcept nogil:
    """Write a decimal integer, return its length."""
    cdef byte reversed_digits[20]
    cdef int n = 0, length = 0
    cdef unsigned long long rest
    if value < 0:
        p[0] = c"-"
        length = 1
        rest = <unsigned long long>(-(value + 1)) + 1
    else:
        rest = <unsigned long long>value
    while True:
        reversed_digits[n] = 48 + <byte>(rest % 10)
        rest //= 10
        n += 1
        if rest == 0:
            break
    while n > 0:
        n -= 1
        p[length] = reversed_digits[n]
        length += 1
    return length


cdef bint cut_decimal(const byte *s, Py_ssize_t n, long long *mantissa, int *exponent) noexcept nogil:
    cdef Py_ssize_t i = 0
    cdef bint negative = False, digits = False, point = False
    cdef int significant = 0, places_seen = 0
    cdef long long value = 0
    if n < 1 or n > 32:
        return False
    if s[0] == c"-":
        negative = True
        i = 1
    while i < n:
        if is_digit(s[i]):
            digits = True
            if significant > 0 or s[i] != c"0":
                significant += 1
                if significant > 18:
                    return False
            value = value * 10 + (s[i] - 48)
            places_seen += point
        elif s[i] == c"." and not point:
            point = True
        else:
            return False
        i += 1
    mantissa[0] = -value if negative else value
    exponent[0] = -places_seen
    return digits


def parse_decimal(bytes text not None):
    """Return (mantissa, exponent) of a strict FIX float, or None."""
    cdef long long mantissa
    cdef int exponent
    if cut_decimal(<const byte *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), &mantissa, &exponent):
        return mantissa, exponent
    return None


def format_decimal(mantissa, int exponent):
    """Return `mantissa * 10**exponent` as FIX writes it."""
    cdef byte text[64]
    cdef byte out[64]
    cdef long long value
    cdef int length, sign = 0, at = 0, whole, i
    if exponent > 0 or exponent < -30 or not -1000000000000000000 < mantissa < 1000000000000000000:
        return plain_values.format_decimal(mantissa, exponent)
    value = mantissa
    if value < 0:
        sign = 1
        value = -value
    length = put_number(text, value)
    if sign:
        out[0] = c"-"
        at = 1
    whole = length + exponent
    if whole <= 0:
        out[at] = c"0"
        at += 1
    for i in range(whole):
        out[at] = text[i]
        at += 1
    if exponent < 0:
        out[at] = c"."
        at += 1
        for i in range(-whole):
            out[at] = c"0"
            at += 1
        for i in range(whole if whole > 0 else 0, length):
            out[at] = text[i]
            at += 1
    return PyBytes_FromStringAndSize(<char *>out, at)


def parse_timestamp(bytes text not None):
    """Return nanoseconds since the epoch, None when it is no UTCTimestamp."""
    cdef long long ns = parse_time(<const byte *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return None if ns < 0 else ns


def format_timestamp(long long time_ns, int digits=3):
    """Return UTCTimestamp of nanoseconds since the epoch; `digits` of a second: 0, 3, 6 or 9."""
    cdef byte text[32]
    if time_ns < 0 or digits not in (0, 3, 6, 9):
        return plain_values.format_timestamp(time_ns, digits)
    return PyBytes_FromStringAndSize(<char *>text, put_time(text, time_ns, digits))


# --- reading --------------------------------------------------------------------------------------------------------

cdef class Message:
    """One message as it came, cut into fields; read-only. See plain.Message."""

    cdef readonly bytes raw
    cdef readonly str msg_type
    cdef readonly long long msg_seq_num
    cdef readonly bint has_duplicates
    cdef unsigned int stamp
    cdef int count
    cdef Field *cut
    cdef Field few[INLINE_FIELDS]

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

    cdef inline object value(self, int i):
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
        return f"Message({self.raw!r})"


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
        end = at
        if data_tag and tag == data_tag and at + data_length < n and s[at + data_length] == SOH:
            end = at + <int>data_length
        else:
            while s[end] != SOH:
                end += 1
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


cdef Message cut_frame(
    bytes buffer, Py_ssize_t start, Py_ssize_t max_message_bytes, Py_ssize_t max_fields, Py_ssize_t *result
):
    """Return a message; or None, with `result` as plain.frame returns it."""
    cdef const byte *s = <const byte *>PyBytes_AS_STRING(buffer) + start
    cdef Py_ssize_t n = PyBytes_GET_SIZE(buffer) - start
    cdef Py_ssize_t i, digits_start, body_start, body_end, total
    cdef long long length
    cdef unsigned int total_sum = 0
    cdef bint duplicates = False
    cdef int count, begin
    cdef Message message
    for i in range(5 if n > 5 else n):
        if s[i] != (<const byte *>b"8=FIX")[i]:
            result[0] = -1
            return None
    if n <= 5:
        result[0] = n + 1
        return None
    i = 5
    while i < n and s[i] != SOH and i < 16:
        i += 1
    if i == n:
        result[0] = n + 1
        return None
    if s[i] != SOH or i == 5:
        result[0] = -1
        return None
    if i + 1 == n or (s[i + 1] == c"9" and i + 2 == n):
        result[0] = n + 1
        return None
    if s[i + 1] != c"9" or s[i + 2] != c"=":
        result[0] = -1
        return None
    i += 3
    digits_start = i
    length = 0
    while i < n and is_digit(s[i]) and i - digits_start < 9:
        length = length * 10 + (s[i] - 48)
        i += 1
    if i == n:
        result[0] = n + 1
        return None
    if s[i] != SOH or i == digits_start:
        result[0] = -1
        return None
    body_start = i + 1
    body_end = body_start + length
    total = body_end + TRAILER
    if total > max_message_bytes:
        raise RemoteProtocolError(f"message of {total} bytes is over the limit of {max_message_bytes}")
    for i in range(3):
        if body_start + i < n and s[body_start + i] != (<const byte *>b"35=")[i]:
            result[0] = -1
            return None
    if n < total:
        result[0] = total
        return None
    if (
        length < 5
        or s[body_end - 1] != SOH
        or memcmp(s + body_end, b"10=", 3) != 0
        or number(s + body_end + 3, 3) < 0
        or s[total - 1] != SOH
    ):
        result[0] = -1
        return None
    for i in range(body_end):
        total_sum += s[i]
    if (total_sum & 255) != number(s + body_end + 3, 3):
        result[0] = -total
        return None
    count = cut_fields(s, <int>total, <int>max_fields, &duplicates)
    if count == GARBLED:
        result[0] = -total
        return None
    if count == TOO_MANY:
        raise RemoteProtocolError(f"more than {max_fields} fields")
    message = Message.__new__(Message)
    message.raw = buffer if total == PyBytes_GET_SIZE(buffer) else PyBytes_FromStringAndSize(<const char *>s, total)
    message.stamp = last_stamp
    message.has_duplicates = duplicates
    message.count = count
    message.cut = message.few
    if count > INLINE_FIELDS:
        message.cut = <Field *>PyMem_Malloc(count * sizeof(Field))
        if message.cut == NULL:
            raise MemoryError
    memcpy(message.cut, scratch, count * sizeof(Field))
    begin = scratch[2].start
    if scratch[2].end - begin == 1:
        message.msg_type = <str>LETTERS[s[begin]]
    else:
        message.msg_type = (<const char *>s)[begin:scratch[2].end].decode("latin-1")
    begin = message.find(34)
    message.msg_seq_num = -1
    if begin >= 0:
        message.msg_seq_num = number(s + scratch[begin].start, scratch[begin].end - scratch[begin].start)
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
