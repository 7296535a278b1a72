# What other compiled modules may call of _page.pyx.

cdef class Page:
    cdef Py_buffer view
    cdef bint is_open
    cdef int write(
        self, Py_ssize_t offset, unsigned long long sequence, long long time_ns, unsigned short record_type,
        unsigned short payload_version, const char *payload, Py_ssize_t size, unsigned int salt,
    ) except -1
