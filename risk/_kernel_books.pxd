# What a margin kernel keeps, for the module that answers from it.

from risk._cells cimport BY_RESERVATION, Asking, Sizes, Terms


cdef struct Book:
    # rows: minima (G,), base (G, padded), row (G, padded), joint_base, joint_row (joint_padded), then those of sizes;
    # one block.
    double *minima
    double *base
    double *row
    double *joint_base
    double *joint_row
    int *orders
    Terms *terms
    Sizes sizes
    int bears  # by which of the sets of rates it puts aside
    double joint_least
    long long order_count
    long long generation
    long long unknown_positions
    long long unknown_orders


cdef class Books:
    cdef readonly Py_ssize_t accounts, groups, instruments, currencies, scenarios, joint
    cdef Py_ssize_t padded, joint_padded, block, count
    cdef long long generation
    cdef bint is_charged
    cdef readonly bint puts_aside
    cdef Py_ssize_t base
    cdef double netting, located, weight
    cdef const double *asides
    cdef object aside_rates
    cdef int *bearers
    cdef Asking asking
    cdef object charges
    cdef Book *books
    cdef double *start
    cdef double *values
    cdef double *currency_values
    cdef double *joint_values
    cdef double *joint_currency_values
    cdef int *parents
    cdef int *group_of_instrument
    cdef int *currency_of_instrument
    cdef int *group_of_currency
    cdef unsigned char *known
    cdef double *carried
    cdef unsigned char *currency_known

    cdef int _hold(
        self, Book *book, Py_ssize_t instrument, double lots, double cash, double alt_lots, double alt_cash
    ) except -1
    cdef int _release(
        self, Book *book, Py_ssize_t group, Py_ssize_t instrument, double lots, double cash, double alt_lots,
        double alt_cash
    ) except -1
    cdef void _add(
        self, Book *book, Py_ssize_t group, const double *per_unit, const double *jointly, double count
    ) noexcept
    cdef void _add_alone(self, Book *book, Py_ssize_t group, const double *per_unit, double count) noexcept
    cdef void _weigh(
        self, Book *book, Py_ssize_t group, Py_ssize_t instrument, double lots, double cash,
        double alt_lots, double alt_cash, double sign
    ) noexcept
    cdef double _aside(self, Book *book, Py_ssize_t instrument, double lots, double cash) noexcept
    cdef Book *_book(self, Py_ssize_t account) except NULL
    cdef int _renew(self, Book *book) except -1
    cdef void _lay_out(self, Book *book) noexcept
    cdef void _clear(self, Book *book) noexcept
    cdef void _free(self, Book *book) noexcept
    cdef int _copy(self, Book *book, Book *out) except -1
    cdef int _check_instrument(self, Py_ssize_t instrument) except -1
    cdef int _check_group(self, Py_ssize_t group) except -1


cdef inline double rate_of(const Book *book) noexcept:
    return 0.0 if book.terms == NULL else book.terms.rate


cdef inline bint is_reserved(Books books, Py_ssize_t instrument) noexcept:
    # Such an order takes its reservation alone, which counts the premium already.
    return books.is_charged and books.asking.kind[instrument] == BY_RESERVATION


cdef inline double sum_with(Books books, const Book *book, Py_ssize_t group, double least) noexcept:
    # The sum of all minima with one replaced, added in the order `worst` adds them: the same to the bit.
    cdef double total = 0.0
    cdef Py_ssize_t k
    for k in range(books.groups):
        total += least if k == group else book.minima[k]
    return total


cdef inline double blend(const Book *book, double alone, double joint) noexcept:
    cdef double cap = 0.0 if book.terms == NULL else book.terms.offset_cap
    cdef double less = alone if alone < joint else joint
    return cap * joint + (1.0 - cap) * less
