# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twin of level_lists.py: the same lists and books, and the same errors, which the twin itself finds.

Prices and amounts recur, so each number that was read is kept, found by its digits and its scale; of those that share
a place the older one gives way, so that no more than NUMBERS are kept.
"""

from decimal import Decimal
from heapq import heappush

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc

from protocols.venues import level_lists as plain

cdef extern from "Python.h":
    object PyUnicode_DecodeASCII(const char *text, Py_ssize_t size, const char *errors)
    void Py_XDECREF(PyObject *o)
    void Py_INCREF(object o)
    ctypedef struct PyObject

cdef enum:
    NUMBERS = 131072  # as many as the twin keeps; a power of two
    MAX_DIGITS = 17  # below 2 ** 57
    SCALE_SHIFT = 58

cdef struct Place:
    uint64_t key  # digits and, above them, the scale
    PyObject *number

cdef Place *places = <Place *>calloc(NUMBERS, sizeof(Place))
if places is NULL:
    raise MemoryError


cdef object learn(Place *pair, uint64_t key, const char *text, Py_ssize_t size):
    """Make a number and keep it where the older of two was."""
    number = Decimal(PyUnicode_DecodeASCII(text, size, NULL))
    cdef PyObject *old = pair[1].number
    pair[1] = pair[0]
    Py_INCREF(number)
    pair[0].key = key
    pair[0].number = <PyObject *>number
    Py_XDECREF(old)
    return number


cdef object number_at(const char **at, const char *end):
    """Return the number that a text holds, and step behind its closing quote; None where it is not a plain one."""
    cdef const char *s = at[0]
    cdef const char *begin
    cdef uint64_t digits = 0, key
    cdef Py_ssize_t count = 0, scale = 0
    cdef Place *pair
    if s >= end or s[0] != c'"':
        return None
    s += 1
    begin = s
    while s < end and c"0" <= s[0] <= c"9":
        digits = digits * 10 + <uint64_t>(s[0] - c"0")
        s += 1
    count = s - begin
    if count == 0 or count > MAX_DIGITS:
        return None
    if s < end and s[0] == c".":
        s += 1
        while s < end and c"0" <= s[0] <= c"9":
            digits = digits * 10 + <uint64_t>(s[0] - c"0")
            s += 1
        scale = s - begin - count - 1
        if scale == 0 or count + scale > MAX_DIGITS:
            return None
    if s >= end or s[0] != c'"':
        return None
    at[0] = s + 1
    key = digits | <uint64_t>scale << SCALE_SHIFT
    # Fibonacci hashing; two places a set.
    pair = places + (((key * <uint64_t>0x9E3779B97F4A7C15) >> 47) & ~<uint64_t>1)
    if pair[0].number is not NULL and pair[0].key == key:
        return <object>pair[0].number
    if pair[1].number is not NULL and pair[1].key == key:
        return <object>pair[1].number
    return learn(pair, key, begin, s - begin)


cdef inline bint skip_text(const char **at, const char *end) noexcept:
    """Step over a comma and a text of plain characters; False where that is not what is there."""
    cdef const char *s = at[0]
    if end - s < 3 or s[0] != c"," or s[1] != c'"':
        return False
    s += 2
    while s < end and s[0] != c'"':
        if s[0] < 32 or s[0] == c"\\" or s[0] > 126:
            return False
        s += 1
    at[0] = s + 1
    return s < end


cdef list scan(const char *s, const char *end, int width):
    """Return the levels of an array without blanks; None where the twin is to look."""
    cdef list levels = []
    cdef int rest
    if end - s < 2 or s[0] != c"[":
        return None
    s += 1
    if s[0] == c"]":
        return levels if s + 1 == end else None
    while True:
        if s >= end or s[0] != c"[":
            return None
        s += 1
        price = number_at(&s, end)
        if price is None or s >= end or s[0] != c",":
            return None
        s += 1
        amount = number_at(&s, end)
        if amount is None:
            return None
        for rest in range(width - 2):
            if not skip_text(&s, end):
                return None
        if end - s < 2 or s[0] != c"]":
            return None
        levels.append((price, amount))
        if s[1] == c"]":
            return levels if s + 2 == end else None
        if s[1] != c",":
            return None
        s += 2


def read_levels(raw, int width, str field):
    """Return (price, amount) of levels. See level_lists.py."""
    cdef Py_buffer view
    PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE)
    try:
        levels = scan(<const char *>view.buf, <const char *>view.buf + view.len, width)
    finally:
        PyBuffer_Release(&view)
    return plain.read_levels(raw, width, field) if levels is None else levels


def set_levels(dict levels, list heap, bint is_bid, changes):
    """Put each amount at its price. See level_lists.py."""
    cdef Py_ssize_t count
    for price, amount in changes:
        if amount:
            count = len(levels)
            levels[price] = amount
            if len(levels) != count:
                heappush(heap, price.copy_negate() if is_bid else price)
        else:
            levels.pop(price, None)
