# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What the compiled margin kernel keeps: kernel_book.Books, with its formulas and order of additions.

All matrices are C memory that the kernel owns. Rows are padded to a multiple of 4 scenarios; the padding repeats
scenario 0, so it changes no minimum and needs no special case. A row's books are made when it is first touched, and
cleared when it is first touched after a load. Loops are in `_rows.pxd`, what is asked for by size in `_cells.pxd`.
"""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from risk._cells cimport BY_RESERVATION, Cell, make, most_lots, order, settle, unorder
from risk._rows cimport aside, least, weigh

import numpy as np

from risk.charges import check_charges
from risk.kernel_checks import MAX_CASH as _MAX_CASH
from risk.kernel_checks import MAX_LOTS as _MAX_LOTS
from risk.kernel_checks import check_capacities, check_generation, check_joint, check_tree

cdef enum:
    ASIDE_COLUMNS = 4

cdef double MAX_CASH = _MAX_CASH
cdef double MAX_LOTS = _MAX_LOTS


cdef inline bint _is_usable(double lots, double cash) noexcept nogil:
    # Written so that NaN fails.
    return -MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH


cdef int _check_amounts(double lots, double cash) except -1:
    if not _is_usable(lots, cash):
        raise ValueError(f"lots {lots} or cash {cash} is not finite or out of bounds")
    return 0


cdef class Books:
    """The part of MarginKernel that changes; what it answers is in _kernel.pyx."""

    def __cinit__(
        self, Py_ssize_t accounts, Py_ssize_t groups, Py_ssize_t instruments, Py_ssize_t currencies,
        Py_ssize_t scenarios, Py_ssize_t joint=0
    ):
        cdef Py_ssize_t row
        check_capacities(accounts, groups, instruments, currencies, scenarios, joint)
        self.accounts, self.groups, self.instruments = accounts, groups, instruments
        self.currencies, self.scenarios, self.joint = currencies, scenarios, joint
        self.padded, self.joint_padded = (scenarios + 3) // 4 * 4, (joint + 3) // 4 * 4
        self.block = groups * (4 + 2 * self.padded) + 2 * self.joint_padded
        self.books = <Book *> calloc(accounts, sizeof(Book))
        self.start = <double *> calloc(groups * self.padded, sizeof(double))
        self.values = <double *> calloc(instruments * self.padded, sizeof(double))
        self.currency_values = <double *> calloc(currencies * self.padded, sizeof(double))
        self.joint_values = <double *> calloc(instruments * self.joint_padded + 1, sizeof(double))
        self.joint_currency_values = <double *> calloc(currencies * self.joint_padded + 1, sizeof(double))
        self.bearers = <int *> calloc(accounts, sizeof(int))
        self.weight = 1.0
        self.parents = <int *> malloc(accounts * sizeof(int))
        self.group_of_instrument = <int *> calloc(instruments, sizeof(int))
        self.currency_of_instrument = <int *> calloc(instruments, sizeof(int))
        self.group_of_currency = <int *> calloc(currencies, sizeof(int))
        self.known = <unsigned char *> calloc(instruments, 1)
        # Coins that go with each lot into its own group; 0 of most.
        self.carried = <double *> calloc(instruments, sizeof(double))
        self.currency_known = <unsigned char *> calloc(currencies, 1)
        if (
            self.books == NULL or self.start == NULL or self.values == NULL or self.currency_values == NULL
            or self.joint_values == NULL or self.joint_currency_values == NULL or self.parents == NULL
            or self.group_of_instrument == NULL or self.currency_of_instrument == NULL or self.bearers == NULL
            or self.group_of_currency == NULL or self.known == NULL or self.currency_known == NULL or self.carried == NULL
        ):
            raise MemoryError("margin kernel")
        for row in range(accounts):
            self.parents[row] = -1

    def __dealloc__(self):
        cdef Py_ssize_t account
        if self.books != NULL:
            for account in range(self.accounts):
                self._free(&self.books[account])
                if self.books[account].terms != NULL:
                    free(self.books[account].terms.positions)
                free(self.books[account].terms)
        free(self.books)
        free(self.start)
        free(self.values)
        free(self.currency_values)
        free(self.joint_values)
        free(self.joint_currency_values)
        free(self.bearers)
        free(self.parents)
        free(self.group_of_instrument)
        free(self.currency_of_instrument)
        free(self.group_of_currency)
        free(self.known)
        free(self.carried)
        free(self.currency_known)

    def load(
        self, values, currency_values, group_of_instrument, group_of_currency, currency_of_instrument, known,
        joint_values=None, joint_currency_values=None, carried=None
    ):
        """Take a whole generation (copied), and clear every account: the caller adds everything again."""
        capacities = (self.groups, self.instruments, self.currencies, self.scenarios)
        usable = check_generation(
            capacities, values, currency_values, group_of_instrument, group_of_currency, currency_of_instrument, known,
            carried,
        )
        together = check_joint(
            self.joint, values, currency_values, known, usable, joint_values, joint_currency_values
        )
        cdef const double[:, ::1] v = np.ascontiguousarray(values, dtype=np.float64)
        cdef const double[:, ::1] x = np.ascontiguousarray(currency_values, dtype=np.float64)
        cdef const double[:, ::1] joint_v = np.ascontiguousarray(together[0], dtype=np.float64)
        cdef const double[:, ::1] joint_x = np.ascontiguousarray(together[1], dtype=np.float64)
        cdef const int[::1] groups = np.ascontiguousarray(group_of_instrument, dtype=np.intc)
        cdef const int[::1] currency_groups = np.ascontiguousarray(group_of_currency, dtype=np.intc)
        cdef const int[::1] settlement = np.ascontiguousarray(currency_of_instrument, dtype=np.intc)
        cdef const unsigned char[::1] is_known = np.ascontiguousarray(known, dtype=np.uint8)
        cdef const unsigned char[::1] is_usable = np.ascontiguousarray(usable, dtype=np.uint8)
        cdef const double[::1] moved = np.nan_to_num(np.zeros(len(values)) if carried is None else carried)
        cdef Py_ssize_t index
        memset(self.known, 0, self.instruments)
        memset(self.currency_known, 0, self.currencies)
        memset(self.start, 0, self.groups * self.padded * sizeof(double))
        self.is_charged, self.charges, self.puts_aside, self.located, self.weight = False, None, False, 0.0, 1.0
        for index in range(v.shape[0]):
            self.group_of_instrument[index] = groups[index]
            self.known[index] = is_known[index] != 0
            self.carried[index] = moved[index]
            if is_known[index]:
                self.currency_of_instrument[index] = settlement[index]
                _copy_row(self.values + index * self.padded, &v[index, 0], self.scenarios, self.padded)
                if self.joint:
                    _copy_row(
                        self.joint_values + index * self.joint_padded, &joint_v[index, 0], self.joint, self.joint_padded
                    )
        for index in range(x.shape[0]):
            self.group_of_currency[index] = currency_groups[index]
            self.currency_known[index] = is_usable[index]
            if is_usable[index]:
                _copy_row(self.currency_values + index * self.padded, &x[index, 0], self.scenarios, self.padded)
                if self.joint:
                    _copy_row(
                        self.joint_currency_values + index * self.joint_padded, &joint_x[index, 0], self.joint,
                        self.joint_padded,
                    )
        self.count = v.shape[0]
        self.generation += 1

    def charge(self, charges):
        """Take what the loaded generation asks for by size, and clear every account."""
        cdef Py_ssize_t group
        check_charges(charges, self.count, self.groups, self.scenarios)
        cdef const double[:, ::1] start = np.ascontiguousarray(charges.start, dtype=np.float64)
        # Kept for as long as they are pointed at.
        self.charges = kept = {
            name: np.array(getattr(charges, name), dtype=np.float64, order="C")
            for name in ("notional", "closing", "unit", "scale", "fee", "square", "short", "mark", "group", "tiers")
        } | {
            name: np.array(getattr(charges, name), dtype=np.intc, order="C")
            for name in ("product", "kind", "first", "count")
        }
        self.asking.notional, self.asking.closing = _doubles(kept["notional"]), _doubles(kept["closing"])
        self.asking.unit, self.asking.scale = _doubles(kept["unit"]), _doubles(kept["scale"])
        self.asking.fee, self.asking.square = _doubles(kept["fee"]), _doubles(kept["square"])
        self.asking.short_margin, self.asking.mark = _doubles(kept["short"]), _doubles(kept["mark"])
        self.asking.group, self.asking.tiers = _doubles(kept["group"]), _doubles(kept["tiers"])
        self.asking.product, self.asking.kind = _ints(kept["product"]), _ints(kept["kind"])
        self.asking.first, self.asking.count = _ints(kept["first"]), _ints(kept["count"])
        for group in range(self.groups):
            _copy_row(self.start + group * self.padded, &start[group, 0], self.scenarios, self.padded)
        self.is_charged = True
        self.generation += 1

    cdef double _aside(self, Book *book, Py_ssize_t instrument, double lots, double cash) noexcept:
        return 0.0 if not self.puts_aside else aside(
            self.asides + (book.bears * self.count + instrument) * ASIDE_COLUMNS,
            self.values + instrument * self.padded,
            self.currency_values + self.currency_of_instrument[instrument] * self.padded, self.base, lots, cash,
        )

    def set_tree(self, parents):
        """Say which row (-1: none) counts all that a row counts, for as many rows; clear every account."""
        check_tree(parents, self.accounts)
        cdef const int[::1] above = np.ascontiguousarray(parents, dtype=np.intc)
        memcpy(self.parents, &above[0], self.accounts * sizeof(int))
        self.generation += 1

    def set_terms(self, Py_ssize_t account, terms):
        """Say what a row may have, and its offset cap; it counts from the next fill or order on."""
        cdef Book *book = self._book(account)
        cdef Terms *kept = book.terms
        if kept == NULL:
            kept = book.terms = <Terms *> calloc(1, sizeof(Terms))
            if kept == NULL:
                raise MemoryError("margin kernel")
        kept.rate, kept.offset_cap = terms.rate, terms.offset_cap
        kept.max_order_notional, kept.max_working = terms.max_order_notional, terms.max_working_orders
        kept.max_gross, kept.max_net = terms.max_gross_notional, terms.max_net_notional
        kept.max_margin = terms.max_margin
        free(kept.positions)
        kept.positions = NULL
        if terms.position_lots is not None:
            kept.positions = <double *> malloc(self.instruments * sizeof(double))
            if kept.positions == NULL:
                raise MemoryError("margin kernel")
            for index in range(self.instruments):
                kept.positions[index] = terms.position_lots.get(index, -1)

    def clear(self, Py_ssize_t account):
        """Forget an account's positions, cash and orders; not those of what is above it."""
        self._clear(self._book(account))

    def add_position(self, Py_ssize_t account, Py_ssize_t instrument, double lots):
        """Add signed lots to what an account holds, and all above it."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t row = account, group, currency
        cdef Cell *cell
        cdef double *coin
        cdef double coins
        self._check_instrument(instrument)
        _check_amounts(lots, 0.0)
        if lots == 0:
            return
        group = self.group_of_instrument[instrument]
        while row >= 0:
            book = self._book(row)
            if not self.known[instrument]:
                book.unknown_positions += 1
            else:
                self._add(
                    book, group, self.values + instrument * self.padded,
                    self.joint_values + instrument * self.joint_padded, lots,
                )
                if self.carried[instrument] != 0:
                    currency = self.currency_of_instrument[instrument]
                    coin, coins = self.currency_values + currency * self.padded, lots * self.carried[instrument]
                    self._add_alone(book, group, coin, coins)
                    self._add_alone(book, self.group_of_currency[currency], coin, -coins)
                if self.is_charged:
                    cell = make(&book.sizes, instrument)
                    cell.held += lots
                    settle(&self.asking, &book.sizes, cell, group, rate_of(book))
            row = self.parents[row]

    def add_cash(self, Py_ssize_t account, Py_ssize_t currency, double amount):
        """Add whole units of a currency to what an account holds, and all above it."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t row = account
        if not 0 <= currency < self.currencies:
            raise IndexError(f"currency {currency} is not in 0..{self.currencies - 1}")
        _check_amounts(0.0, amount)
        if amount == 0:
            return
        while row >= 0:
            book = self._book(row)
            if not self.currency_known[currency]:
                book.unknown_positions += 1
            else:
                self._add(
                    book, self.group_of_currency[currency], self.currency_values + currency * self.padded,
                    self.joint_currency_values + currency * self.joint_padded, amount,
                )
            row = self.parents[row]

    def hold(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Count a working order: `lots` (signed) not yet filled, and the settlement cash that filling them moves."""
        cdef Py_ssize_t row = account
        self._book(account)
        self._check_instrument(instrument)
        _check_amounts(lots, cash)
        _check_amounts(alt_lots, alt_cash)
        while row >= 0:
            self._hold(self._book(row), instrument, lots, cash, alt_lots, alt_cash)
            row = self.parents[row]

    def release(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Take a working order back; the arguments must be those of its hold."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t row = account, group
        self._check_instrument(instrument)
        _check_amounts(lots, cash)
        _check_amounts(alt_lots, alt_cash)
        group = self.group_of_instrument[instrument]
        while row >= 0:
            book = self._book(row)
            if not (book.orders[group] if self.known[instrument] else book.unknown_orders):
                raise ValueError(f"account {account} holds no order to release")
            row = self.parents[row]
        row = account
        while row >= 0:
            self._release(&self.books[row], group, instrument, lots, cash, alt_lots, alt_cash)
            row = self.parents[row]

    cdef int _hold(
        self, Book *book, Py_ssize_t instrument, double lots, double cash, double alt_lots, double alt_cash
    ) except -1:
        cdef Py_ssize_t group = self.group_of_instrument[instrument]
        cdef Cell *cell
        cdef double price = 0.0, most
        if not self.known[instrument]:
            book.unknown_orders += 1
            return 0
        if not is_reserved(self, instrument):
            self._weigh(book, group, instrument, lots, cash, alt_lots, alt_cash, 1.0)
        book.orders[group] += 1
        book.order_count += 1
        if self.is_charged:
            cell = make(&book.sizes, instrument)
            most = most_lots(lots, cash, alt_lots, alt_cash, &price)
            order(cell, most, price)
            settle(&self.asking, &book.sizes, cell, group, rate_of(book))
            book.sizes.working += 1
        return 0

    cdef int _release(
        self, Book *book, Py_ssize_t group, Py_ssize_t instrument, double lots, double cash, double alt_lots,
        double alt_cash
    ) except -1:
        cdef double *row = book.row + group * self.padded
        cdef Cell *cell
        cdef double price = 0.0
        if not self.known[instrument]:
            book.unknown_orders -= 1
            return 0
        if not is_reserved(self, instrument):
            self._weigh(book, group, instrument, lots, cash, alt_lots, alt_cash, -1.0)
        book.orders[group] -= 1
        book.order_count -= 1
        # Rounding of earlier holds must not outlive them.
        if not book.orders[group]:
            memcpy(row, book.base + group * self.padded, self.padded * sizeof(double))
            book.minima[group] = least(row, self.padded)
        if self.joint and not book.order_count:
            memcpy(book.joint_row, book.joint_base, self.joint_padded * sizeof(double))
            book.joint_least = least(book.joint_row, self.joint_padded)
        if self.is_charged:
            cell = make(&book.sizes, instrument)
            unorder(cell, most_lots(lots, cash, alt_lots, alt_cash, &price))
            settle(&self.asking, &book.sizes, cell, group, rate_of(book))
            book.sizes.working -= 1
        return 0

    cdef void _add(
        self, Book *book, Py_ssize_t group, const double *per_unit, const double *jointly, double count
    ) noexcept:
        """Add what is held for certain: to the base and to the row."""
        cdef Py_ssize_t k
        self._add_alone(book, group, per_unit, count)
        if self.joint:
            for k in range(self.joint_padded):
                book.joint_base[k] += jointly[k] * count
                book.joint_row[k] += jointly[k] * count
            book.joint_least = least(book.joint_row, self.joint_padded)

    cdef void _add_alone(self, Book *book, Py_ssize_t group, const double *per_unit, double count) noexcept:
        """The same in the grid alone."""
        cdef double *base = book.base + group * self.padded
        cdef double *row = book.row + group * self.padded
        cdef Py_ssize_t k
        for k in range(self.padded):
            base[k] += per_unit[k] * count
            row[k] += per_unit[k] * count
        book.minima[group] = least(row, self.padded)

    cdef void _weigh(
        self, Book *book, Py_ssize_t group, Py_ssize_t instrument, double lots, double cash,
        double alt_lots, double alt_cash, double sign
    ) noexcept:
        """Add what an order adds at its worst, times sign, to both blocks."""
        cdef Py_ssize_t currency = self.currency_of_instrument[instrument]
        cdef double *row = book.row + group * self.padded
        cdef double less = self.weight * self._aside(book, instrument, lots, cash), by = self.weight
        cdef double alt_less = by * self._aside(book, instrument, alt_lots, alt_cash)
        weigh(
            row, self.values + instrument * self.padded, self.currency_values + currency * self.padded, self.padded,
            by * lots, by * cash, by * alt_lots, by * alt_cash, sign, less, alt_less,
        )
        book.minima[group] = least(row, self.padded)
        if self.joint:
            weigh(
                book.joint_row, self.joint_values + instrument * self.joint_padded,
                self.joint_currency_values + currency * self.joint_padded, self.joint_padded,
                by * lots, by * cash, by * alt_lots, by * alt_cash, sign, less, alt_less,
            )
            book.joint_least = least(book.joint_row, self.joint_padded)

    cdef Book *_book(self, Py_ssize_t account) except NULL:
        cdef Book *book
        if not 0 <= account < self.accounts:
            raise IndexError(f"account {account} is not in 0..{self.accounts - 1}")
        book = &self.books[account]
        if book.minima == NULL or book.generation != self.generation:
            self._renew(book)
        return book

    cdef int _renew(self, Book *book) except -1:
        if book.minima == NULL:
            book.orders = <int *> calloc(self.groups, sizeof(int))
            book.minima = <double *> calloc(self.block, sizeof(double))
            if book.orders == NULL or book.minima == NULL:
                free(book.orders)
                free(book.minima)
                book.orders = NULL
                book.minima = NULL
                raise MemoryError("margin kernel")
            self._lay_out(book)
        book.bears = self.bearers[book - self.books]
        self._clear(book)
        return 0

    cdef void _lay_out(self, Book *book) noexcept:
        book.base = book.minima + self.groups
        book.row = book.base + self.groups * self.padded
        book.joint_base = book.row + self.groups * self.padded
        book.joint_row = book.joint_base + self.joint_padded
        book.sizes.closing = book.joint_row + self.joint_padded
        book.sizes.own = book.sizes.closing + self.groups
        book.sizes.charge = book.sizes.own + self.groups

    cdef void _clear(self, Book *book) noexcept:
        cdef Py_ssize_t group, k
        memset(book.minima, 0, self.block * sizeof(double))
        memset(book.orders, 0, self.groups * sizeof(int))
        if self.is_charged:
            for group in range(self.groups):
                k = group * self.padded
                memcpy(book.base + k, self.start + k, self.padded * sizeof(double))
                memcpy(book.row + k, self.start + k, self.padded * sizeof(double))
                book.minima[group] = least(self.start + k, self.padded)
        for k in range(book.sizes.capacity):
            book.sizes.cells[k].key = -1
        book.sizes.used = 0
        book.sizes.gross = book.sizes.high = book.sizes.low = 0.0
        for k in range(4):
            book.sizes.products[k] = 0.0
        book.sizes.working = 0
        book.joint_least = 0.0
        book.order_count = 0
        book.unknown_positions = 0
        book.unknown_orders = 0
        book.generation = self.generation

    cdef void _free(self, Book *book) noexcept:
        free(book.minima)
        free(book.orders)
        free(book.sizes.cells)

    cdef int _copy(self, Book *book, Book *out) except -1:
        """Copy a book, to try something on; `_free` the copy."""
        out[0] = book[0]
        out.minima = <double *> malloc(self.block * sizeof(double))
        out.orders = <int *> malloc(self.groups * sizeof(int))
        out.sizes.cells = <Cell *> malloc((book.sizes.capacity + 1) * sizeof(Cell))
        if out.minima == NULL or out.orders == NULL or out.sizes.cells == NULL:
            self._free(out)
            raise MemoryError("margin kernel")
        memcpy(out.minima, book.minima, self.block * sizeof(double))
        memcpy(out.orders, book.orders, self.groups * sizeof(int))
        memcpy(out.sizes.cells, book.sizes.cells, book.sizes.capacity * sizeof(Cell))
        self._lay_out(out)
        return 0

    cdef int _check_instrument(self, Py_ssize_t instrument) except -1:
        if not 0 <= instrument < self.instruments:
            raise IndexError(f"instrument {instrument} is not in 0..{self.instruments - 1}")
        return 0

    cdef int _check_group(self, Py_ssize_t group) except -1:
        if not 0 <= group < self.groups:
            raise IndexError(f"group {group} is not in 0..{self.groups - 1}")
        return 0


cdef const double *_doubles(object array) except? NULL:
    cdef const double[::1] flat = array.reshape(-1) if array.size else np.zeros(1)
    return &flat[0]


cdef const int *_ints(object array) except? NULL:
    cdef const int[::1] flat = array if array.size else np.zeros(1, np.intc)
    return &flat[0]


cdef void _copy_row(double *out, const double *row, Py_ssize_t count, Py_ssize_t padded) noexcept:
    cdef Py_ssize_t k
    memcpy(out, row, count * sizeof(double))
    for k in range(count, padded):
        out[k] = row[0]
