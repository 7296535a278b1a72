# What other compiled modules may know of _codec.pyx.

cdef enum:
    INLINE_FIELDS = 32  # so that a message is small enough for the interpreter's own allocator

cdef struct Field:
    int tag
    int start
    int end


cdef class Message:
    cdef readonly bytes raw
    cdef readonly str msg_type
    cdef readonly long long msg_seq_num
    cdef readonly bint has_duplicates
    cdef unsigned int stamp
    cdef int count
    cdef Field *cut
    cdef Field few[INLINE_FIELDS]
    cdef int find(self, long tag) noexcept
    cdef object value(self, int i)


ctypedef unsigned char byte

cdef long long whole_steps(const byte *s, Py_ssize_t n, long long step_mantissa, int step_exponent) noexcept
cdef int put_decimal(byte *out, long long mantissa, int exponent) noexcept
cdef int put_hundredths(byte *out, double value) noexcept
cdef int put_time(byte *p, long long ns, int digits) noexcept nogil


cdef class Header:
    cdef readonly str begin_string, sender_comp_id, target_comp_id
    cdef readonly int timestamp_digits
    cdef readonly bytes begin, before_time, after_time, after_orig_time


cdef class Layout:
    cdef readonly str msg_type
    cdef readonly tuple tags, prefixes
    cdef readonly bytes msg_type_field
    cdef readonly bint data_values


cdef class Framer:
    cdef readonly Py_ssize_t max_message_bytes, max_fields, max_buffered_bytes
    cdef readonly long long garbled_count
    cdef bytes buffer
    cdef Py_ssize_t at, needed, chunk_bytes, garbage_bytes
    cdef list chunks
    cdef Message take(self)
    cdef bint find_start(self) except -1
    cdef int skip(self, Py_ssize_t count) except -1


cdef class Screen:
    cdef dict tables
    cdef bytes begin_string, sender, target
    cdef long long max_latency_ns
    cdef dict identity
    cdef int identity_count
    cdef bint lets_pass(self, Message message, long long msg_seq_num, long long now_ns) except -1


# A message is begun, its body is written by who knows it, and it is ended, before any other is begun; see _encode.pxi.
cdef byte *message_begun(Layout layout, Header header, long long msg_seq_num, long long sending_time_ns) except NULL
cdef bytes message_ended(Header header, byte *at)
cdef int put_number(byte *p, long long value) noexcept nogil

cdef bytes encoded(
    Layout layout, Header header, long long msg_seq_num, long long sending_time_ns, tuple values, bint poss_dup,
    long long orig_ns
)
