# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twin of page.py: a record into mapped memory, with the CRC-32C instruction of the processor.

Where the processor (or the compiler) has none, importing this fails and the plain twin is used.
"""

from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <nmmintrin.h>
    #include <string.h>
    static int mg_has_crc(void) { return __builtin_cpu_supports("sse4.2"); }
    __attribute__((target("sse4.2")))
    static unsigned int mg_crc(unsigned int seed, const unsigned char *s, size_t n) {
        unsigned long long crc = (unsigned int)~seed, word;
        for (; n >= 8; n -= 8, s += 8) {
            memcpy(&word, s, 8);
            crc = _mm_crc32_u64(crc, word);
        }
        for (; n; n--, s++) crc = _mm_crc32_u8((unsigned int)crc, *s);
        return ~(unsigned int)crc;
    }
    static void mg_store_last(unsigned char *at, unsigned long long value) {
        __atomic_store_n((unsigned long long *)at, value, __ATOMIC_RELEASE);
    }
    #else
    static int mg_has_crc(void) { return 0; }
    static unsigned int mg_crc(unsigned int seed, const unsigned char *s, size_t n) { return 0; }
    static void mg_store_last(unsigned char *at, unsigned long long value) {}
    #endif
    """
    bint mg_has_crc() noexcept nogil
    unsigned int mg_crc(unsigned int seed, const unsigned char *s, size_t n) noexcept nogil
    void mg_store_last(unsigned char *at, unsigned long long value) noexcept nogil

if not mg_has_crc():
    raise ImportError("no CRC-32C instruction")

cdef enum:
    PREFIX = 8
    FIXED = 20


cdef class Page:
    """The mapped memory of one segment, written at offsets that the journal keeps. See page.Page."""

    def __init__(self, memory):
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE)
        self.is_open = True

    def __dealloc__(self):
        if self.is_open:
            PyBuffer_Release(&self.view)

    def close(self):
        """Let go of the memory, so that it can be unmapped."""
        if self.is_open:
            self.is_open = False
            PyBuffer_Release(&self.view)

    def put(
        self, Py_ssize_t offset, unsigned long long sequence, long long time_ns, unsigned short record_type,
        unsigned short payload_version, bytes payload not None, unsigned int salt,
    ):
        """Write a record at an offset, its length and CRC last."""
        self.write(
            offset, sequence, time_ns, record_type, payload_version, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload),
            salt,
        )

    cdef int write(
        self, Py_ssize_t offset, unsigned long long sequence, long long time_ns, unsigned short record_type,
        unsigned short payload_version, const char *payload, Py_ssize_t size, unsigned int salt,
    ) except -1:
        cdef unsigned int length = <unsigned int>(size + FIXED)
        cdef unsigned char *at = <unsigned char *>self.view.buf + offset
        cdef unsigned char *body = at + PREFIX
        if not self.is_open or offset < 0 or offset & 7 or offset + PREFIX + FIXED + size > self.view.len:
            raise ValueError(f"no room for a record of {size} bytes at {offset}")
        memcpy(body, &sequence, 8)
        memcpy(body + 8, &time_ns, 8)
        memcpy(body + 16, &record_type, 2)
        memcpy(body + 18, &payload_version, 2)
        memcpy(body + FIXED, payload, size)
        # A process that dies in between leaves a place where nothing was written.
        mg_store_last(at, <unsigned long long>mg_crc(salt ^ length, body, length) << 32 | length)
        return 0
