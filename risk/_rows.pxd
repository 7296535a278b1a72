# Loops over the scenarios of one row, padded to a multiple of four; the formulas are kernel_plain's.

from libc.math cimport NAN


cdef inline double lesser(double a, double b) noexcept nogil:
    return a if a < b else b


cdef inline double greater(double a, double b) noexcept nogil:
    return a if a > b else b


cdef inline double least(const double *row, Py_ssize_t n) noexcept nogil:
    # Four chains: one would wait for each comparison's result.
    cdef double m0 = row[0], m1 = row[1], m2 = row[2], m3 = row[3]
    cdef Py_ssize_t k
    for k in range(4, n, 4):
        m0 = lesser(row[k], m0)
        m1 = lesser(row[k + 1], m1)
        m2 = lesser(row[k + 2], m2)
        m3 = lesser(row[k + 3], m3)
    return lesser(lesser(m0, m1), lesser(m2, m3))


cdef inline double fill(const double *v, const double *x, Py_ssize_t k, double lots, double cash) noexcept nogil:
    # D in one scenario: what the order adds filled completely.
    return lots * v[k] + cash * x[k]


cdef inline double loss(
    const double *v, const double *x, Py_ssize_t k, double lots, double cash, double less
) noexcept nogil:
    # less is what of a fill is put aside
    return lesser(fill(v, x, k, lots, cash) - less, 0.0)


cdef inline double least_held(
    const double *row, const double *v, const double *x, Py_ssize_t n, double lots, double cash, double less
) noexcept nogil:
    # min over s of row + min(0, D - less)
    cdef double m0, m1, m2, m3
    cdef Py_ssize_t k
    m0 = row[0] + loss(v, x, 0, lots, cash, less)
    m1 = row[1] + loss(v, x, 1, lots, cash, less)
    m2 = row[2] + loss(v, x, 2, lots, cash, less)
    m3 = row[3] + loss(v, x, 3, lots, cash, less)
    for k in range(4, n, 4):
        m0 = lesser(row[k] + loss(v, x, k, lots, cash, less), m0)
        m1 = lesser(row[k + 1] + loss(v, x, k + 1, lots, cash, less), m1)
        m2 = lesser(row[k + 2] + loss(v, x, k + 2, lots, cash, less), m2)
        m3 = lesser(row[k + 3] + loss(v, x, k + 3, lots, cash, less), m3)
    return lesser(lesser(m0, m1), lesser(m2, m3))


cdef inline double least_filled(
    const double *row, const double *v, const double *x, Py_ssize_t n, double lots, double cash, double less,
    double located
) noexcept nogil:
    # min over s of row + D - less, what that loses lost 1 + located times
    cdef double found = 0.0, added, here
    cdef Py_ssize_t k
    for k in range(n):
        added = fill(v, x, k, lots, cash) - less
        here = row[k] + (added + located * lesser(added, 0.0))
        found = here if k == 0 else lesser(here, found)
    return found


cdef inline double rest_share(double lots, double alt_lots) noexcept nogil:
    # w: which share of a replacing order is left once the order it replaces has filled
    cdef double share
    if alt_lots == 0:
        return 0.0
    share = 1.0 - lots / alt_lots
    return 0.0 if share < 0.0 else lesser(share, 1.0)


cdef inline double worse(
    const double *v, const double *x, Py_ssize_t k, double lots, double cash, double alt_lots, double alt_cash,
    double share, double less, double alt_less
) noexcept nogil:
    # min(0, D, D_alt, D + w D_alt) in one scenario, each without what is put aside
    cdef double one = fill(v, x, k, lots, cash) - less
    cdef double other = fill(v, x, k, alt_lots, alt_cash) - alt_less
    return lesser(lesser(lesser(one, other), one + share * other), 0.0)


cdef inline double least_worse(
    const double *row, const double *v, const double *x, Py_ssize_t n, double lots, double cash, double alt_lots,
    double alt_cash, double less, double alt_less
) noexcept nogil:
    # min over s of row and what the order adds at its worst, pending replace or not
    cdef double share, found
    cdef Py_ssize_t k
    if alt_lots == 0 and alt_cash == 0:
        return least_held(row, v, x, n, lots, cash, less)
    share = rest_share(lots, alt_lots)
    found = row[0] + worse(v, x, 0, lots, cash, alt_lots, alt_cash, share, less, alt_less)
    for k in range(1, n):
        found = lesser(row[k] + worse(v, x, k, lots, cash, alt_lots, alt_cash, share, less, alt_less), found)
    return found


cdef inline void weigh(
    double *row, const double *v, const double *x, Py_ssize_t n, double lots, double cash, double alt_lots,
    double alt_cash, double sign, double less, double alt_less
) noexcept nogil:
    # Add what an order adds at its worst, times sign.
    cdef double share
    cdef Py_ssize_t k
    if alt_lots == 0 and alt_cash == 0:
        for k in range(n):
            row[k] += sign * loss(v, x, k, lots, cash, less)
    else:
        share = rest_share(lots, alt_lots)
        for k in range(n):
            row[k] += sign * worse(v, x, k, lots, cash, alt_lots, alt_cash, share, less, alt_less)


cdef inline double aside(
    const double *rates, const double *v, const double *x, Py_ssize_t base, double lots, double cash
) noexcept nogil:
    # What of a fill is put aside: rates are of a gain, of a loss, of a lot bought, of a unit of cash that comes in.
    cdef double at_once = fill(v, x, base, lots, cash)
    return (
        rates[0] * greater(0.0, at_once) + rates[1] * greater(0.0, -at_once) + rates[2] * greater(0.0, lots)
        + rates[3] * greater(0.0, cash)
    )


cdef inline void take_off_row(
    double *base, double *row, const double *off, Py_ssize_t n, Py_ssize_t padded
) noexcept nogil:
    # The padding repeats scenario 0.
    cdef Py_ssize_t k
    for k in range(padded):
        base[k] -= off[k if k < n else 0]
        row[k] -= off[k if k < n else 0]


cdef inline void take_off_fill(
    double *base, double *row, const double *v, const double *x, Py_ssize_t n, double lots, double cash, double less,
    double today, double share, double located
) noexcept nogil:
    # What is put aside of a fill that is booked, a share of what it gains beside today, and of what it loses.
    cdef double added, off
    cdef Py_ssize_t k
    for k in range(n):
        added = fill(v, x, k, lots, cash)
        off = less + share * greater(0.0, added - today)
        off += located * greater(0.0, off - added)
        base[k] -= off
        row[k] -= off
