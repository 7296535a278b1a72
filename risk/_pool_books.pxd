# What a pool kernel keeps, for the module that answers from it; formulas are pool_plain's.

from risk._cells cimport Cell, Sizes
from risk._rows cimport lesser


cdef struct Effect:
    # What one more order does: two versions of it, and what is left of the second after the first.
    Py_ssize_t instrument, unit, column
    double lots, alt_lots, share
    double one, other  # gained at once, in the pool's currency
    double once, low
    double a, b, d, g, n
    double most


cdef struct Unit:
    double *base
    double *row
    double fixed[4]
    double sums[5]
    double once
    double left  # what it adds to its pool as it is; in a pool that nets, all but its row
    double first, last
    long long orders
    bint is_fixed, is_left


cdef struct Book:
    double *x  # x, owned, low (C,), own (P,), then rows: one block
    double *owned
    double *low
    double *own
    long long *orders
    Unit *units
    Sizes cells
    long long unknown_positions
    long long unknown_orders


cdef inline double at_once(double amount, double price, double rate) noexcept nogil:
    return lesser(rate * amount, amount) * price


cdef inline double worse_of(double one, double other, double share) noexcept nogil:
    # min(0, D, D_alt, D + w D_alt)
    return lesser(lesser(lesser(one, other), one + share * other), 0.0)


cdef inline double in_scenario(const Effect *e, const double *move, Py_ssize_t k) noexcept nogil:
    return worse_of(e.lots * move[k] + e.one, e.alt_lots * move[k] + e.other, e.share)


cdef inline double in_one(const Effect *e, const double *move, Py_ssize_t k) noexcept nogil:
    return lesser(e.lots * move[k] + e.one, 0.0)


cdef class PoolBooks:
    cdef readonly Py_ssize_t accounts, pools, scenarios
    cdef Py_ssize_t instruments, columns, units, padded, steps, base
    cdef object terms, fixed, kept
    cdef double most_days
    cdef Book *books
    cdef const double *worth
    cdef const double *move
    cdef const double *expiry
    cdef const double *a_buy
    cdef const double *a_sell
    cdef const double *b
    cdef const double *d
    cdef const double *g_buy
    cdef const double *g_sell
    cdef const double *n
    cdef const double *notional
    cdef const double *scale
    cdef const double *tiers
    cdef const double *start
    cdef const double *shock
    cdef const double *price
    cdef const double *rate
    cdef const double *borrow
    cdef const double *offset
    cdef const double *limit
    cdef const double *floor_steps
    cdef const int *known
    cdef const int *unit
    cdef const int *column
    cdef const int *paid
    cdef const int *first
    cdef const int *count
    cdef const int *pool
    cdef const int *nets
    cdef const int *columns_of
    cdef const int *columns_from
    cdef const int *units_of
    cdef const int *units_from

    cdef int _add(self, Book *book, Py_ssize_t instrument, double lots) except -1
    cdef int _order_cell(self, Book *book, const Effect *e, double lots) except -1
    cdef void _settle(self, Book *book, Py_ssize_t instrument, Cell *cell) noexcept
    cdef double _tiered(self, Py_ssize_t instrument, double lots) noexcept
    cdef void _weigh(
        self, Effect *e, Py_ssize_t instrument, double lots, double cash, double alt_lots, double alt_cash
    ) noexcept
    cdef void _apply(self, Book *book, const Effect *e, double sign) noexcept
    cdef void _span(self, Book *book, Py_ssize_t u) noexcept
    cdef Book *_book(self, Py_ssize_t account) except NULL
    cdef Py_ssize_t _size(self) noexcept
    cdef int _make(self, Book *book) except -1
    cdef int _allocate(self, Book *book) except -1
    cdef void _lay_out(self, Book *book) noexcept
    cdef int _copy(self, Book *book, Book *out) except -1
    cdef int _forget_orders(self, Book *book) except -1
    cdef void _free(self, Book *book) noexcept
    cdef int _check_instrument(self, Py_ssize_t instrument) except -1
    cdef int _check_pool(self, Py_ssize_t pool) except -1
