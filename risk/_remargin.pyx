# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Margin of many accounts at once, compiled: the interface and the meaning of remargin_plain.remargin_segments.

One row of sums is kept in C memory and used for every segment: with 200 scenarios it never leaves the first cache.
"""

from libc.math cimport NAN
from libc.stdlib cimport calloc, free


cdef inline void _add_row(double *total, const double *value, double amount, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t s
    for s in range(n):
        total[s] += amount * value[s]


cdef inline void _add_two_rows(
    double *total, const double *value, double amount, const double *other, double other_amount, Py_ssize_t n
) noexcept nogil:
    """Two rows a pass: the sums are loaded and stored half as often."""
    cdef Py_ssize_t s
    for s in range(n):
        total[s] += amount * value[s] + other_amount * other[s]


cdef inline double _least(const double *total, Py_ssize_t n) noexcept nogil:
    cdef double least = total[0]
    cdef Py_ssize_t s
    for s in range(1, n):
        least = total[s] if total[s] < least else least
    return least


def remargin_segments(
    const double[:, ::1] values,
    const unsigned char[::1] known,
    Py_ssize_t base,
    const long long[::1] segment_offsets,
    const int[::1] segment_accounts,
    const int[::1] rows,
    const double[::1] amounts,
    Py_ssize_t first,
    Py_ssize_t last,
    double[::1] worst,
    double[::1] equity,
    double[::1] cost,
    long long[::1] binding,
    int[::1] scenario,
    const double[:, ::1] off=None,
    const int[::1] off_of=None,
):
    """See remargin_plain.remargin_segments."""
    cdef Py_ssize_t scenarios = values.shape[1], segment, k, end, account
    cdef double least
    cdef bint is_known
    cdef double *total = <double *>calloc(scenarios, sizeof(double))
    if total == NULL:
        raise MemoryError
    try:
        with nogil:
            for segment in range(first, last):
                for k in range(scenarios):
                    total[k] = 0.0 if off is None else -off[off_of[segment], k]
                is_known = True
                k, end = segment_offsets[segment], segment_offsets[segment + 1]
                while k < end:
                    if not known[rows[k]]:
                        is_known = False
                        break
                    if k + 1 < end and known[rows[k + 1]]:
                        _add_two_rows(
                            total, &values[rows[k], 0], amounts[k], &values[rows[k + 1], 0], amounts[k + 1], scenarios
                        )
                        k += 2
                    else:
                        _add_row(total, &values[rows[k], 0], amounts[k], scenarios)
                        k += 1
                account = segment_accounts[segment]
                if not is_known:
                    worst[account] = equity[account] = NAN
                    continue
                least = _least(total, scenarios)
                worst[account] += least
                equity[account] += total[base]
                if total[base] - least > cost[account]:
                    cost[account] = total[base] - least
                    binding[account] = segment
                    k = 0
                    while total[k] != least:
                        k += 1
                    scenario[account] = <int>k
    finally:
        free(total)
