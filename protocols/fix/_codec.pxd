# What other compiled modules may know of _codec.pyx.

cdef enum:
    INLINE_FIELDS = 48

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
