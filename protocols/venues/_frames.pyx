# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twin of deribit_frames.py: the same bytes, or None for the same arguments."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from protocols.venues import deribit_frames as plain

cdef extern from "Python.h":
    bint PyBytes_CheckExact(object o)
    bint PyUnicode_CheckExact(object o)
    bint PyUnicode_IS_COMPACT_ASCII(object o)
    const char *PyUnicode_1BYTE_DATA(object o)
    Py_ssize_t PyUnicode_GET_LENGTH(object o)

cdef enum:
    ROOM = 640  # more than all pieces together

cdef Py_ssize_t MAX_LABEL = plain.MAX_LABEL
cdef Py_ssize_t MAX_SYMBOL = plain.MAX_SYMBOL
cdef dict TIMES = plain.TIMES
cdef bytes HEAD = plain.HEAD
cdef bytes BUY = plain.BUY
cdef bytes SELL = plain.SELL
cdef bytes AMOUNT = plain.AMOUNT
cdef bytes TYPE = plain.TYPE
cdef bytes LABEL = plain.LABEL
cdef bytes PRICE = plain.PRICE
cdef bytes POST_ONLY = plain.POST_ONLY


cdef inline char *put(char *at, bytes piece) noexcept:
    memcpy(at, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
    return at + PyBytes_GET_SIZE(piece)


cdef bint is_quotable(object text, Py_ssize_t most) noexcept:
    """Whether a text may stand between quotes as it is: printable ASCII without quote and backslash."""
    cdef Py_ssize_t i, n
    cdef const char *s
    if not PyUnicode_CheckExact(text) or not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    n, s = PyUnicode_GET_LENGTH(text), PyUnicode_1BYTE_DATA(text)
    if not 0 < n <= most:
        return False
    for i in range(n):
        if s[i] < 32 or s[i] > 126 or s[i] == c'"' or s[i] == c"\\":
            return False
    return True


cdef bint is_number(object text) noexcept:
    """Whether a text is a JSON number without sign or exponent, and not zero."""
    cdef Py_ssize_t n, whole = 0, i
    cdef const char *s
    cdef bint is_positive = False
    if not PyBytes_CheckExact(text):
        return False
    n, s = PyBytes_GET_SIZE(text), PyBytes_AS_STRING(text)
    while whole < n and c"0" <= s[whole] <= c"9":
        is_positive |= s[whole] != c"0"
        whole += 1
    if not 0 < whole <= 18 or (s[0] == c"0" and whole > 1):
        return False
    if whole < n:
        if s[whole] != c"." or not 1 <= n - whole - 1 <= 18:
            return False
        for i in range(whole + 1, n):
            if not c"0" <= s[i] <= c"9":
                return False
            is_positive |= s[i] != c"0"
    return is_positive


def limit_frame(
    unsigned long long request_id, label, symbol, bint is_buy, quantity, price, time_in_force, bint post_only
):
    """Return a limit order's frame, or None. See deribit_frames.py."""
    cdef char text[ROOM]
    cdef char digits[24]
    cdef char *at = text
    cdef int n = 24
    time = TIMES.get(time_in_force)
    if (
        time is None or not is_quotable(label, MAX_LABEL) or not is_quotable(symbol, MAX_SYMBOL)
        or not is_number(quantity) or not is_number(price)
    ):
        return None
    at = put(at, HEAD)
    while True:
        n -= 1
        digits[n] = <char>(c"0" + request_id % 10)
        request_id //= 10
        if request_id == 0:
            break
    memcpy(at, digits + n, 24 - n)
    at = put(at + 24 - n, BUY if is_buy else SELL)
    memcpy(at, PyUnicode_1BYTE_DATA(symbol), PyUnicode_GET_LENGTH(symbol))
    at = put(put(put(at + PyUnicode_GET_LENGTH(symbol), AMOUNT), <bytes>quantity), TYPE)
    at = put(put(at, <bytes>time), LABEL)
    memcpy(at, PyUnicode_1BYTE_DATA(label), PyUnicode_GET_LENGTH(label))
    at = put(put(at + PyUnicode_GET_LENGTH(label), PRICE), <bytes>price)
    if post_only:
        at = put(at, POST_ONLY)
    at[0] = c"}"
    at[1] = c"}"
    return PyBytes_FromStringAndSize(text, at + 2 - text)
