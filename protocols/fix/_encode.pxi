# The writing half of _codec.pyx.


cdef class Header:
    """The standard header of one session's outgoing messages, prebuilt. See plain.Header."""

    def __init__(self, begin_string, sender_comp_id, target_comp_id, routing=(), timestamp_digits=3):
        made = plain.Header(begin_string, sender_comp_id, target_comp_id, routing, timestamp_digits)
        self.begin_string = begin_string
        self.sender_comp_id = sender_comp_id
        self.target_comp_id = target_comp_id
        self.timestamp_digits = timestamp_digits
        self.begin = made.begin
        self.before_time = made.before_time
        self.after_time = made.after_time
        self.after_orig_time = made.after_orig_time


cdef class Layout:
    """The body fields that a kind of message may carry, ascending by tag; each may be left out."""

    def __init__(self, msg_type, tags):
        made = plain.Layout(msg_type, tags)
        self.msg_type = msg_type
        self.tags = tags
        self.prefixes = made.prefixes
        self.msg_type_field = made.msg_type_field
        self.data_values = made.data_values

    def __repr__(self):
        return f"Layout({self.msg_type!r}, {self.tags!r})"


cdef byte out[HEAD_ROOM + OUT_BYTES + 128]


cdef inline int put(byte *at, bytes text) noexcept:
    mg_copy(at, <const byte *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return <int>PyBytes_GET_SIZE(text)


cdef int put_body(byte *at, byte *limit, Layout layout, tuple values) except -1:
    """Write the fields that have a value, return their length."""
    cdef Py_ssize_t i, n = PyTuple_GET_SIZE(values)
    cdef byte *begin = at
    cdef object value
    cdef Py_ssize_t size
    if n != PyTuple_GET_SIZE(layout.tags):
        raise LocalProtocolError(f"{layout} takes {len(layout.tags)} values, not {n}")
    for i in range(n):
        value = <object>PyTuple_GET_ITEM(values, i)
        if value is None:
            continue
        if PyBytes_CheckExact(value):
            size = PyBytes_GET_SIZE(value)
            if size == 0:
                continue
            if at + size + 40 > limit:
                raise LocalProtocolError("message is too long to send")
            at += put(at, <bytes>PyTuple_GET_ITEM(layout.prefixes, i))
            if mg_copy(at, <const byte *>PyBytes_AS_STRING(value), size) and not layout.data_values:
                raise LocalProtocolError(f"a value of {layout} holds SOH")
            at += size
        elif PyLong_CheckExact(value):
            if at + 40 > limit:
                raise LocalProtocolError("message is too long to send")
            at += put(at, <bytes>PyTuple_GET_ITEM(layout.prefixes, i))
            at += put_number(at, <long long>value)
        else:
            raise LocalProtocolError(f"{layout} takes bytes, int and None, not {type(value)}")
        at[0] = SOH
        at += 1
    return <int>(at - begin)


def encode(
    Layout layout not None,
    Header header not None,
    long long msg_seq_num,
    long long sending_time_ns,
    tuple values not None,
    bint poss_dup=False,
    orig_sending_time_ns=None,
):
    """Return a whole message. See plain.encode."""
    cdef long long orig_ns = -1 if orig_sending_time_ns is None else orig_sending_time_ns
    return encoded(layout, header, msg_seq_num, sending_time_ns, values, poss_dup, orig_ns)


cdef bytes encoded(
    Layout layout, Header header, long long msg_seq_num, long long sending_time_ns, tuple values, bint poss_dup,
    long long orig_ns
):
    cdef byte *at = begun(layout, header, msg_seq_num, sending_time_ns, poss_dup, orig_ns)
    at += put_body(at, out + HEAD_ROOM + OUT_BYTES, layout, values)
    return message_ended(header, at)


cdef byte *message_begun(
    Layout layout, Header header, long long msg_seq_num, long long sending_time_ns
) except NULL:
    """Begin a message in static memory; return where its body goes, of which less than OUT_BYTES / 2 fits for certain."""
    return begun(layout, header, msg_seq_num, sending_time_ns, False, -1)


cdef byte *begun(
    Layout layout, Header header, long long msg_seq_num, long long sending_time_ns, bint poss_dup, long long orig_ns
) except NULL:
    cdef byte *at = out + HEAD_ROOM
    if PyBytes_GET_SIZE(header.before_time) + PyBytes_GET_SIZE(header.after_time) > 16384 or (
        PyBytes_GET_SIZE(header.after_orig_time) + PyBytes_GET_SIZE(layout.msg_type_field) > 16384
    ):
        raise LocalProtocolError("message is too long to send")
    at += put(at, layout.msg_type_field)
    at += put_number(at, msg_seq_num)
    at[0] = SOH
    at += 1
    if poss_dup:
        memcpy(at, b"43=Y\x01", 5)
        at += 5
    at += put(at, header.before_time)
    memcpy(at, b"52=", 3)
    at += 3 + put_time(at + 3, sending_time_ns, header.timestamp_digits)
    at[0] = SOH
    at += 1
    at += put(at, header.after_time)
    if orig_ns >= 0:
        memcpy(at, b"122=", 4)
        at += 4 + put_time(at + 4, orig_ns, header.timestamp_digits)
        at[0] = SOH
        at += 1
    return at + put(at, header.after_orig_time)


cdef bytes message_ended(Header header, byte *at):
    """Return the message that was begun, whose body ends at `at`."""
    cdef byte *begin = out + HEAD_ROOM
    cdef byte *head
    cdef byte length_text[20]
    cdef unsigned int total
    cdef Py_ssize_t n
    cdef int length_size, begin_size = <int>PyBytes_GET_SIZE(header.begin)
    # The length is known now: the head is written backwards in front.
    length_size = put_number(length_text, at - begin)
    head = begin - begin_size - length_size - 1
    memcpy(head, PyBytes_AS_STRING(header.begin), begin_size)
    memcpy(head + begin_size, length_text, length_size)
    (begin - 1)[0] = SOH
    n = at - head
    if n > OUT_BYTES:
        raise LocalProtocolError(f"message of {n} bytes is too long to send")
    total = mg_sum(head, n) & 255
    memcpy(at, b"10=", 3)
    at[3] = 48 + <byte>(total // 100)
    put_two(at + 4, total % 100)
    at[6] = SOH
    return PyBytes_FromStringAndSize(<char *>head, n + TRAILER)


cdef Py_ssize_t field_end(const byte *s, Py_ssize_t at, Py_ssize_t n) except -1:
    """Return the place behind the SOH that ends the field at `at`."""
    cdef const void *found = memchr(s + at, SOH, n - at)
    if found == NULL:
        raise LocalProtocolError("a stored message is cut short")
    return <const byte *>found - s + 1


cdef inline bint begins(const byte *s, Py_ssize_t at, Py_ssize_t n, const char *tag, Py_ssize_t size) noexcept:
    return at + size <= n and memcmp(s + at, tag, size) == 0


cdef inline byte *put_part(byte *at, const byte *s, Py_ssize_t begin, Py_ssize_t end) noexcept:
    memcpy(at, s + begin, end - begin)
    return at + (end - begin)


def possible_duplicate(bytes raw not None, bytes sending_time not None):
    """Return a sent message as it is sent again. See duplicates.possible_duplicate."""
    cdef const byte *s = <const byte *>PyBytes_AS_STRING(raw)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(raw) - TRAILER
    cdef Py_ssize_t begin, number_end, names, time_at, time_end, at, rest, original, original_end, inner_size, head_size
    cdef byte *to
    cdef byte *target
    cdef byte length_text[20]
    cdef unsigned int total
    cdef Py_ssize_t size
    cdef int length_size
    if n > OUT_BYTES or PyBytes_GET_SIZE(sending_time) > 40:
        raise LocalProtocolError("message is too long to send again")
    if n <= 0:
        raise LocalProtocolError("a stored message is cut short")
    begin = field_end(s, 0, n)
    head_size = begin + 2
    begin = field_end(s, begin, n)
    number_end = field_end(s, field_end(s, begin, n), n)
    names = field_end(s, number_end, n) if begins(s, number_end, n, b"43=", 3) else number_end
    time_at = names
    while not begins(s, time_at, n, b"52=", 3):
        time_at = field_end(s, time_at, n)
    time_end = field_end(s, time_at, n)
    time_at += 3
    at = time_end
    while (
        begins(s, at, n, b"56=", 3)
        or begins(s, at, n, b"57=", 3)
        or begins(s, at, n, b"97=", 3)
        or begins(s, at, n, b"115=", 4)
        or begins(s, at, n, b"116=", 4)
    ):
        at = field_end(s, at, n)
    rest = at
    original = time_at
    original_end = time_end
    if begins(s, at, n, b"122=", 4):
        original = at + 4
        original_end = rest = field_end(s, at, n)
    size = PyBytes_GET_SIZE(sending_time)
    inner_size = (number_end - begin) + 5 + (time_at - names) + size + (at - time_end + 1) + 4
    inner_size += (original_end - original) + (n - rest)
    length_size = put_number(length_text, inner_size)
    whole = PyBytes_FromStringAndSize(NULL, head_size + length_size + 1 + inner_size + TRAILER)
    target = to = <byte *>PyBytes_AS_STRING(whole)
    to = put_part(to, s, 0, head_size)
    memcpy(to, length_text, length_size)
    to += length_size
    to[0] = SOH
    to = put_part(to + 1, s, begin, number_end)
    memcpy(to, b"43=Y\x01", 5)
    to = put_part(to + 5, s, names, time_at)
    memcpy(to, PyBytes_AS_STRING(sending_time), size)
    to = put_part(to + size, s, time_end - 1, at)
    memcpy(to, b"122=", 4)
    to = put_part(to + 4, s, original, original_end)
    to = put_part(to, s, rest, n)
    total = mg_sum(target, to - target) & 255
    memcpy(to, b"10=", 3)
    to[3] = 48 + <byte>(total // 100)
    put_two(to + 4, total % 100)
    to[6] = SOH
    return whole
