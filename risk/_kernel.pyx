# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The margin kernel, compiled: the interface, the formulas and the order of additions of kernel_plain.MarginKernel.

All matrices are C memory that the kernel owns. Rows are padded to a multiple of 4 scenarios; the padding repeats
scenario 0, so it changes no minimum and needs no special case. An account's rows are made when it is first touched,
and cleared when it is first touched after a load.
"""

from libc.math cimport NAN
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

from risk.kernel_plain import EQUAL_TO as _EQUAL_TO
from risk.kernel_plain import MAX_CASH as _MAX_CASH
from risk.kernel_plain import MAX_LOTS as _MAX_LOTS
from risk.kernel_plain import check_capacities, check_generation

cdef double EQUAL_TO = _EQUAL_TO
cdef double MAX_CASH = _MAX_CASH
cdef double MAX_LOTS = _MAX_LOTS


cdef struct Book:
    # rows: minima (G,), base (G, padded), row (G, padded), one block.
    double *minima
    double *base
    double *row
    int *orders
    long long generation
    long long unknown_positions
    long long unknown_orders


cdef inline double _lesser(double a, double b) noexcept nogil:
    return a if a < b else b


cdef inline double _least(const double *row, Py_ssize_t n) noexcept nogil:
    """Return the least of a padded row. Four chains: one would wait for each comparison's result."""
    cdef double m0 = row[0], m1 = row[1], m2 = row[2], m3 = row[3]
    cdef Py_ssize_t k
    for k in range(4, n, 4):
        m0 = _lesser(row[k], m0)
        m1 = _lesser(row[k + 1], m1)
        m2 = _lesser(row[k + 2], m2)
        m3 = _lesser(row[k + 3], m3)
    return _lesser(_lesser(m0, m1), _lesser(m2, m3))


cdef inline double _fill(const double *v, const double *x, Py_ssize_t k, double lots, double cash) noexcept nogil:
    """Return D in one scenario: what the order adds filled completely."""
    return lots * v[k] + cash * x[k]


cdef inline double _loss(const double *v, const double *x, Py_ssize_t k, double lots, double cash) noexcept nogil:
    return _lesser(_fill(v, x, k, lots, cash), 0.0)


cdef inline double _least_held(
    const double *row, const double *v, const double *x, Py_ssize_t n, double lots, double cash
) noexcept nogil:
    """Return min over s of row + min(0, D)."""
    cdef double m0, m1, m2, m3
    cdef Py_ssize_t k
    m0 = row[0] + _loss(v, x, 0, lots, cash)
    m1 = row[1] + _loss(v, x, 1, lots, cash)
    m2 = row[2] + _loss(v, x, 2, lots, cash)
    m3 = row[3] + _loss(v, x, 3, lots, cash)
    for k in range(4, n, 4):
        m0 = _lesser(row[k] + _loss(v, x, k, lots, cash), m0)
        m1 = _lesser(row[k + 1] + _loss(v, x, k + 1, lots, cash), m1)
        m2 = _lesser(row[k + 2] + _loss(v, x, k + 2, lots, cash), m2)
        m3 = _lesser(row[k + 3] + _loss(v, x, k + 3, lots, cash), m3)
    return _lesser(_lesser(m0, m1), _lesser(m2, m3))


cdef inline double _rest_share(double lots, double alt_lots) noexcept nogil:
    """Return w: which share of a replacing order is left once the order it replaces has filled."""
    cdef double share
    if alt_lots == 0:
        return 0.0
    share = 1.0 - lots / alt_lots
    return 0.0 if share < 0.0 else _lesser(share, 1.0)


cdef inline double _worse(
    const double *v, const double *x, Py_ssize_t k, double lots, double cash, double alt_lots, double alt_cash,
    double share
) noexcept nogil:
    """Return min(0, D, D_alt, D + w D_alt) in one scenario."""
    cdef double one = _fill(v, x, k, lots, cash)
    cdef double other = _fill(v, x, k, alt_lots, alt_cash)
    return _lesser(_lesser(_lesser(one, other), one + share * other), 0.0)


cdef inline bint _is_usable(double lots, double cash) noexcept nogil:
    # Written so that NaN fails.
    return -MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH


cdef int _check_amounts(double lots, double cash) except -1:
    if not _is_usable(lots, cash):
        raise ValueError(f"lots {lots} or cash {cash} is not finite or out of bounds")
    return 0


cdef class MarginKernel:
    """Worst equity of accounts over scenarios and over fills of working orders; see kernel_plain.MarginKernel."""

    cdef readonly Py_ssize_t accounts, groups, instruments, currencies, scenarios
    cdef Py_ssize_t padded
    cdef long long generation
    cdef Book *books
    cdef double *values
    cdef double *currency_values
    cdef int *group_of_instrument
    cdef int *currency_of_instrument
    cdef int *group_of_currency
    cdef unsigned char *known
    cdef unsigned char *currency_known

    def __cinit__(
        self, Py_ssize_t accounts, Py_ssize_t groups, Py_ssize_t instruments, Py_ssize_t currencies,
        Py_ssize_t scenarios
    ):
        check_capacities(accounts, groups, instruments, currencies, scenarios)
        self.accounts = accounts
        self.groups = groups
        self.instruments = instruments
        self.currencies = currencies
        self.scenarios = scenarios
        self.padded = (scenarios + 3) // 4 * 4
        self.books = <Book *> calloc(accounts, sizeof(Book))
        self.values = <double *> calloc(instruments * self.padded, sizeof(double))
        self.currency_values = <double *> calloc(currencies * self.padded, sizeof(double))
        self.group_of_instrument = <int *> calloc(instruments, sizeof(int))
        self.currency_of_instrument = <int *> calloc(instruments, sizeof(int))
        self.group_of_currency = <int *> calloc(currencies, sizeof(int))
        self.known = <unsigned char *> calloc(instruments, 1)
        self.currency_known = <unsigned char *> calloc(currencies, 1)
        if (
            self.books == NULL or self.values == NULL or self.currency_values == NULL
            or self.group_of_instrument == NULL or self.currency_of_instrument == NULL
            or self.group_of_currency == NULL or self.known == NULL or self.currency_known == NULL
        ):
            raise MemoryError("margin kernel")

    def __dealloc__(self):
        cdef Py_ssize_t account
        if self.books != NULL:
            for account in range(self.accounts):
                free(self.books[account].minima)
                free(self.books[account].orders)
        free(self.books)
        free(self.values)
        free(self.currency_values)
        free(self.group_of_instrument)
        free(self.currency_of_instrument)
        free(self.group_of_currency)
        free(self.known)
        free(self.currency_known)

    def load(
        self, values, currency_values, group_of_instrument, group_of_currency, currency_of_instrument, known
    ):
        """Take a whole generation (copied), and clear every account: the caller adds everything again."""
        capacities = (self.groups, self.instruments, self.currencies, self.scenarios)
        usable = check_generation(
            capacities, values, currency_values, group_of_instrument, group_of_currency, currency_of_instrument, known
        )
        cdef const double[:, ::1] v = np.ascontiguousarray(values, dtype=np.float64)
        cdef const double[:, ::1] x = np.ascontiguousarray(currency_values, dtype=np.float64)
        cdef const int[::1] groups = np.ascontiguousarray(group_of_instrument, dtype=np.intc)
        cdef const int[::1] currency_groups = np.ascontiguousarray(group_of_currency, dtype=np.intc)
        cdef const int[::1] settlement = np.ascontiguousarray(currency_of_instrument, dtype=np.intc)
        cdef const unsigned char[::1] is_known = np.ascontiguousarray(known, dtype=np.uint8)
        cdef const unsigned char[::1] is_usable = np.ascontiguousarray(usable, dtype=np.uint8)
        cdef Py_ssize_t index
        memset(self.known, 0, self.instruments)
        memset(self.currency_known, 0, self.currencies)
        for index in range(v.shape[0]):
            self.group_of_instrument[index] = groups[index]
            self.known[index] = is_known[index] != 0
            if is_known[index]:
                self.currency_of_instrument[index] = settlement[index]
                self._copy_row(self.values + index * self.padded, &v[index, 0])
        for index in range(x.shape[0]):
            self.group_of_currency[index] = currency_groups[index]
            self.currency_known[index] = is_usable[index]
            if is_usable[index]:
                self._copy_row(self.currency_values + index * self.padded, &x[index, 0])
        self.generation += 1

    def clear(self, Py_ssize_t account):
        """Forget an account's positions, cash and orders."""
        self._clear(self._book(account))

    def add_position(self, Py_ssize_t account, Py_ssize_t instrument, double lots):
        """Add signed lots to what an account holds."""
        cdef Book *book = self._book(account)
        self._check_instrument(instrument)
        _check_amounts(lots, 0.0)
        if lots == 0:
            return
        if not self.known[instrument]:
            book.unknown_positions += 1
            return
        self._add(book, self.group_of_instrument[instrument], self.values + instrument * self.padded, lots)

    def add_cash(self, Py_ssize_t account, Py_ssize_t currency, double amount):
        """Add whole units of a currency to what an account holds."""
        cdef Book *book = self._book(account)
        if not 0 <= currency < self.currencies:
            raise IndexError(f"currency {currency} is not in 0..{self.currencies - 1}")
        _check_amounts(0.0, amount)
        if amount == 0:
            return
        if not self.currency_known[currency]:
            book.unknown_positions += 1
            return
        self._add(book, self.group_of_currency[currency], self.currency_values + currency * self.padded, amount)

    def hold(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Count a working order: `lots` (signed) not yet filled, and the settlement cash that filling them moves."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t group
        self._check_instrument(instrument)
        _check_amounts(lots, cash)
        _check_amounts(alt_lots, alt_cash)
        if not self.known[instrument]:
            book.unknown_orders += 1
            return
        group = self.group_of_instrument[instrument]
        self._weigh(book, group, instrument, lots, cash, alt_lots, alt_cash, 1.0)
        book.orders[group] += 1

    def release(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Take a working order back; the arguments must be those of its hold."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t group
        cdef double *row
        self._check_instrument(instrument)
        _check_amounts(lots, cash)
        _check_amounts(alt_lots, alt_cash)
        group = self.group_of_instrument[instrument]
        if not (book.orders[group] if self.known[instrument] else book.unknown_orders):
            raise ValueError(f"account {account} holds no order to release")
        if not self.known[instrument]:
            book.unknown_orders -= 1
            return
        book.orders[group] -= 1
        if book.orders[group]:
            self._weigh(book, group, instrument, lots, cash, alt_lots, alt_cash, -1.0)
        else:
            # Rounding of earlier holds must not outlive them.
            row = book.row + group * self.padded
            memcpy(row, book.base + group * self.padded, self.padded * sizeof(double))
            book.minima[group] = _least(row, self.padded)

    def is_known(self, Py_ssize_t account):
        """Whether the generation knows everything the account holds and has working."""
        cdef Book *book = self._book(account)
        return not (book.unknown_positions or book.unknown_orders)

    def worst(self, Py_ssize_t account):
        """Return the worst equity in USD: every group at its worst scenario, working orders filled at their worst."""
        cdef Book *book = self._book(account)
        if book.unknown_positions or book.unknown_orders:
            return NAN
        return self._sum_with(book, 0, book.minima[0])

    def equity(self, Py_ssize_t account, Py_ssize_t base_scenario):
        """Return the equity in USD in one scenario, without working orders."""
        cdef Book *book = self._book(account)
        cdef double total = 0.0
        cdef Py_ssize_t group
        if not 0 <= base_scenario < self.scenarios:
            raise IndexError(f"scenario {base_scenario} is not in 0..{self.scenarios - 1}")
        if book.unknown_positions:
            return NAN
        for group in range(self.groups):
            total += book.base[group * self.padded + base_scenario]
        return total

    def what_if(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Return what `worst` would be with this order held; nothing changes."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t group, k
        cdef double least, share
        cdef double *v
        cdef double *x
        cdef double *row
        self._check_instrument(instrument)
        if (
            not self.known[instrument] or book.unknown_positions or book.unknown_orders
            or not _is_usable(lots, cash) or not _is_usable(alt_lots, alt_cash)
        ):
            return NAN
        group = self.group_of_instrument[instrument]
        v = self.values + instrument * self.padded
        x = self.currency_values + self.currency_of_instrument[instrument] * self.padded
        row = book.row + group * self.padded
        if alt_lots == 0 and alt_cash == 0:
            least = _least_held(row, v, x, self.padded, lots, cash)
        else:
            share = _rest_share(lots, alt_lots)
            least = row[0] + _worse(v, x, 0, lots, cash, alt_lots, alt_cash, share)
            for k in range(1, self.padded):
                least = _lesser(row[k] + _worse(v, x, k, lots, cash, alt_lots, alt_cash, share), least)
        return self._sum_with(book, group, least)

    def if_filled(self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash):
        """Return what `worst` would be if this were filled completely now."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t group, k
        cdef double least
        cdef double *v
        cdef double *x
        cdef double *row
        self._check_instrument(instrument)
        if (
            not self.known[instrument] or book.unknown_positions or book.unknown_orders
            or not _is_usable(lots, cash)
        ):
            return NAN
        group = self.group_of_instrument[instrument]
        v = self.values + instrument * self.padded
        x = self.currency_values + self.currency_of_instrument[instrument] * self.padded
        row = book.row + group * self.padded
        least = row[0] + _fill(v, x, 0, lots, cash)
        for k in range(1, self.padded):
            least = _lesser(row[k] + _fill(v, x, k, lots, cash), least)
        return self._sum_with(book, group, least)

    def row(self, Py_ssize_t account, Py_ssize_t group):
        """Return a copy of a group's equity in each scenario, working orders at their worst; NaN where unknown."""
        cdef Book *book = self._book(account)
        cdef double[::1] copy
        self._check_group(group)
        result = np.full(self.scenarios, NAN)
        if not (book.unknown_positions or book.unknown_orders):
            copy = result
            memcpy(&copy[0], book.row + group * self.padded, self.scenarios * sizeof(double))
        return result

    def binding(self, Py_ssize_t account, Py_ssize_t group):
        """Return the scenario that is the worst of a group, the first of several that differ by rounding alone."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t scenario = 0
        cdef double nearly
        self._check_group(group)
        nearly = book.minima[group] + abs(book.minima[group]) * EQUAL_TO
        while book.row[group * self.padded + scenario] > nearly:
            scenario += 1
        return scenario

    cdef inline Book *_book(self, Py_ssize_t account) except NULL:
        cdef Book *book
        if not 0 <= account < self.accounts:
            raise IndexError(f"account {account} is not in 0..{self.accounts - 1}")
        book = &self.books[account]
        if book.minima == NULL or book.generation != self.generation:
            self._renew(book)
        return book

    cdef int _renew(self, Book *book) except -1:
        cdef double *block
        if book.minima == NULL:
            book.orders = <int *> calloc(self.groups, sizeof(int))
            block = <double *> calloc(self.groups * (1 + 2 * self.padded), sizeof(double))
            if book.orders == NULL or block == NULL:
                free(book.orders)
                free(block)
                book.orders = NULL
                raise MemoryError("margin kernel")
            book.minima = block
            book.base = block + self.groups
            book.row = book.base + self.groups * self.padded
        self._clear(book)
        return 0

    cdef void _clear(self, Book *book) noexcept:
        memset(book.minima, 0, self.groups * (1 + 2 * self.padded) * sizeof(double))
        memset(book.orders, 0, self.groups * sizeof(int))
        book.unknown_positions = 0
        book.unknown_orders = 0
        book.generation = self.generation

    cdef void _copy_row(self, double *out, const double *row) noexcept:
        cdef Py_ssize_t k
        memcpy(out, row, self.scenarios * sizeof(double))
        for k in range(self.scenarios, self.padded):
            out[k] = row[0]

    cdef void _add(self, Book *book, Py_ssize_t group, const double *per_unit, double count) noexcept:
        """Add what is held for certain: to the base and to the row."""
        cdef double *base = book.base + group * self.padded
        cdef double *row = book.row + group * self.padded
        cdef Py_ssize_t k
        for k in range(self.padded):
            base[k] += per_unit[k] * count
            row[k] += per_unit[k] * count
        book.minima[group] = _least(row, self.padded)

    cdef void _weigh(
        self, Book *book, Py_ssize_t group, Py_ssize_t instrument, double lots, double cash,
        double alt_lots, double alt_cash, double sign
    ) noexcept:
        """Add what an order adds at its worst, times sign, to a group's row."""
        cdef const double *v = self.values + instrument * self.padded
        cdef const double *x = self.currency_values + self.currency_of_instrument[instrument] * self.padded
        cdef double *row = book.row + group * self.padded
        cdef double share = _rest_share(lots, alt_lots)
        cdef Py_ssize_t k
        if alt_lots == 0 and alt_cash == 0:
            for k in range(self.padded):
                row[k] += sign * _loss(v, x, k, lots, cash)
        else:
            for k in range(self.padded):
                row[k] += sign * _worse(v, x, k, lots, cash, alt_lots, alt_cash, share)
        book.minima[group] = _least(row, self.padded)

    cdef inline double _sum_with(self, Book *book, Py_ssize_t group, double least) noexcept:
        """Return the sum of all minima with one replaced, added in the order `worst` adds them: the same to the bit."""
        cdef double total = 0.0
        cdef Py_ssize_t k
        for k in range(self.groups):
            total += least if k == group else book.minima[k]
        return total

    cdef inline int _check_instrument(self, Py_ssize_t instrument) except -1:
        if not 0 <= instrument < self.instruments:
            raise IndexError(f"instrument {instrument} is not in 0..{self.instruments - 1}")
        return 0

    cdef inline int _check_group(self, Py_ssize_t group) except -1:
        if not 0 <= group < self.groups:
            raise IndexError(f"group {group} is not in 0..{self.groups - 1}")
        return 0
