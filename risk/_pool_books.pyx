# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What the compiled pool kernel keeps: pool_plain.PoolKernel's books, with its formulas and order of additions.

Rows are padded to a multiple of 4 scenarios that repeat the first. All is C memory that the kernel owns; contracts are
kept in cells, found by open addressing (_cells.pxd).
"""

from libc.math cimport INFINITY, fabs
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from risk._cells cimport Cell, largest, make
from risk._rows cimport greater, lesser, rest_share

import numpy as np

from risk.kernel_checks import check_amounts
from risk.pool_terms import check_terms


cdef const double *_doubles(object array) except? NULL:
    cdef const double[::1] flat = array.reshape(-1) if array.size else np.zeros(1)
    return &flat[0]


cdef const int *_ints(object array) except? NULL:
    cdef const int[::1] flat = array if array.size else np.zeros(1, np.intc)
    return &flat[0]


def _padded(rows, padded):
    return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, padded - rows.shape[1])), mode="wrap"))


def _listed(pools, of_each):
    """Return the members of each pool one after the other, and where each pool's begin, as C integers."""
    members = [[k for k, at in enumerate(of_each.tolist()) if at == pool] for pool in range(pools)]
    starts = np.cumsum([0, *(len(mine) for mine in members)])
    return np.array(sum(members, []), np.intc), starts.astype(np.intc)


cdef class PoolBooks:
    """The part of PoolKernel that changes; what it answers is in _pool.pyx."""

    def __cinit__(self, Py_ssize_t accounts, terms):
        check_terms(terms)
        self.accounts, self.pools = accounts, len(terms.nets)
        self.units, self.scenarios = terms.start.shape
        self.instruments, self.columns, self.steps = len(terms.known), len(terms.price), len(terms.steps)
        self.padded, self.base, self.most_days = (self.scenarios + 3) // 4 * 4, terms.base, terms.most_days
        self.terms, self.fixed = terms, terms.fixed
        # Kept for as long as they are pointed at.
        self.kept = kept = {
            name: np.array(getattr(terms, name), np.float64, order="C")
            for name in (
                "worth", "expiry_s", "a_buy", "a_sell", "b", "d", "g_buy", "g_sell", "n", "notional", "scale", "tiers",
                "shock", "price", "rate", "borrow", "offset", "steps",
            )
        } | {
            name: np.array(getattr(terms, name), np.intc)
            for name in ("known", "unit", "column", "paid", "first", "count", "pool", "nets")
        } | {name: _padded(getattr(terms, name), self.padded) for name in ("move", "start", "limit")}
        kept["columns_of"], kept["columns_from"] = _listed(self.pools, terms.column_pool)
        kept["units_of"], kept["units_from"] = _listed(self.pools, terms.pool)
        self.worth, self.move, self.expiry = _doubles(kept["worth"]), _doubles(kept["move"]), _doubles(kept["expiry_s"])
        self.a_buy, self.a_sell = _doubles(kept["a_buy"]), _doubles(kept["a_sell"])
        self.b, self.d, self.n = _doubles(kept["b"]), _doubles(kept["d"]), _doubles(kept["n"])
        self.g_buy, self.g_sell = _doubles(kept["g_buy"]), _doubles(kept["g_sell"])
        self.notional, self.scale, self.tiers = (
            _doubles(kept["notional"]), _doubles(kept["scale"]), _doubles(kept["tiers"])
        )
        self.start, self.shock, self.limit = _doubles(kept["start"]), _doubles(kept["shock"]), _doubles(kept["limit"])
        self.price, self.rate, self.borrow = _doubles(kept["price"]), _doubles(kept["rate"]), _doubles(kept["borrow"])
        self.offset, self.floor_steps = _doubles(kept["offset"]), _doubles(kept["steps"])
        self.known, self.unit, self.column = _ints(kept["known"]), _ints(kept["unit"]), _ints(kept["column"])
        self.paid, self.first, self.count = _ints(kept["paid"]), _ints(kept["first"]), _ints(kept["count"])
        self.pool, self.nets = _ints(kept["pool"]), _ints(kept["nets"])
        self.columns_of, self.columns_from = _ints(kept["columns_of"]), _ints(kept["columns_from"])
        self.units_of, self.units_from = _ints(kept["units_of"]), _ints(kept["units_from"])
        self.books = <Book *>calloc(accounts, sizeof(Book))
        if self.books == NULL:
            raise MemoryError("pool kernel")

    def __dealloc__(self):
        cdef Py_ssize_t account
        if self.books != NULL:
            for account in range(self.accounts):
                self._free(&self.books[account])
        free(self.books)

    def clear(self, Py_ssize_t account):
        """Forget an account's positions, cash and orders."""
        cdef Book *book = self._book(account)
        self._free(book)
        memset(book, 0, sizeof(Book))

    def add_cash(self, Py_ssize_t account, Py_ssize_t column, double amount):
        """Add whole units of an asset; what counts nowhere is passed over."""
        cdef Book *book = self._book(account)
        if not 0 <= column < self.columns:
            raise IndexError(f"column {column} is not in 0..{self.columns - 1}")
        check_amounts(0.0, amount)
        book.x[column] += amount
        book.owned[column] += amount

    def add_position(self, Py_ssize_t account, Py_ssize_t instrument, double lots):
        """Add signed lots to what an account holds."""
        cdef Book *book = self._book(account)
        self._check_instrument(instrument)
        check_amounts(lots, 0.0)
        if lots != 0 and not self.known[instrument]:
            book.unknown_positions += 1
        elif lots != 0:
            self._add(book, instrument, lots)

    def hold(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Count a working order, as MarginKernel.hold does."""
        cdef Book *book = self._book(account)
        cdef Effect e
        self._check_instrument(instrument)
        check_amounts(lots, cash)
        check_amounts(alt_lots, alt_cash)
        if not self.known[instrument]:
            book.unknown_orders += 1
            return
        self._weigh(&e, instrument, lots, cash, alt_lots, alt_cash)
        book.units[e.unit].orders += 1
        book.orders[e.column] += 1
        self._apply(book, &e, 1.0)
        self._order_cell(book, &e, e.most)

    def release(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Take a working order back; the arguments must be those of its hold. Rounding does not outlive the last."""
        cdef Book *book = self._book(account)
        cdef Effect e
        cdef Unit *unit
        cdef Py_ssize_t k
        self._check_instrument(instrument)
        check_amounts(lots, cash)
        check_amounts(alt_lots, alt_cash)
        unit = &book.units[self.unit[instrument]]
        if not (unit.orders if self.known[instrument] else book.unknown_orders):
            raise ValueError(f"account {account} holds no order to release")
        if not self.known[instrument]:
            book.unknown_orders -= 1
            return
        self._weigh(&e, instrument, lots, cash, alt_lots, alt_cash)
        self._apply(book, &e, -1.0)
        unit.orders -= 1
        if not unit.orders:
            memcpy(unit.row, unit.base, self.padded * sizeof(double))
            for k in range(5):
                unit.sums[k] = 0.0
            unit.once = 0.0
        book.orders[e.column] -= 1
        if not book.orders[e.column]:
            book.low[e.column] = 0.0
        self._order_cell(book, &e, -e.most)

    cdef int _add(self, Book *book, Py_ssize_t instrument, double lots) except -1:
        cdef Unit *unit = &book.units[self.unit[instrument]]
        cdef const double *move = self.move + instrument * self.padded
        cdef Cell *cell = make(&book.cells, instrument)
        cdef double worth = self.worth[instrument] * lots
        cdef Py_ssize_t k, c = self.column[instrument]
        for k in range(self.padded):
            unit.base[k] += move[k] * lots
            unit.row[k] += move[k] * lots
        unit.is_fixed = unit.is_left = False
        book.x[c] += worth
        if not self.paid[instrument]:
            book.owned[c] += worth
        cell.held += lots
        self._settle(book, instrument, cell)
        if self.most_days != 0:
            self._span(book, self.unit[instrument])
        return 0

    cdef int _order_cell(self, Book *book, const Effect *e, double lots) except -1:
        cdef Cell *cell = make(&book.cells, e.instrument)
        if e.most > 0:
            cell.buys = greater(0.0, cell.buys + lots)
        else:
            cell.sells = greater(0.0, cell.sells - lots)
        book.units[e.unit].is_left = False
        self._settle(book, e.instrument, cell)
        if self.most_days != 0:
            self._span(book, e.unit)
        return 0

    cdef void _settle(self, Book *book, Py_ssize_t instrument, Cell *cell) noexcept:
        cdef double own
        if self.count[instrument]:
            own = self._tiered(instrument, largest(cell))
            book.own[self.pool[self.unit[instrument]]] += own - cell.own
            cell.own = own

    cdef double _tiered(self, Py_ssize_t instrument, double lots) noexcept:
        """Return a contract's margin in the pool's currency at so many lots either way."""
        cdef double v = lots * self.notional[instrument], rate = 0.0, taken = 0.0
        cdef const double *tier = self.tiers + self.first[instrument] * 4
        cdef Py_ssize_t k
        for k in range(self.count[instrument]):
            if v > tier[0] or k == 0:
                rate, taken = tier[1], tier[2]
            tier += 4
        return self.scale[instrument] * greater(0.0, v * rate - taken)

    cdef void _weigh(
        self, Effect *e, Py_ssize_t instrument, double lots, double cash, double alt_lots, double alt_cash
    ) noexcept:
        """Say what an order does at its worst."""
        cdef double worth = self.worth[instrument], kept = 0.0 if self.paid[instrument] else worth, size
        cdef Py_ssize_t c = self.column[instrument]
        e.instrument, e.unit, e.column = instrument, self.unit[instrument], c
        e.lots, e.alt_lots, e.share = lots, alt_lots, rest_share(lots, alt_lots)
        e.one = at_once(cash + lots * worth, self.price[c], self.rate[c])
        e.other = at_once(alt_cash + alt_lots * worth, self.price[c], self.rate[c])
        e.once = 0.0
        if self.nets[self.pool[e.unit]]:
            e.once = worse_of(e.one, e.other, e.share)
            e.one, e.other = greater(e.one, 0.0), greater(e.other, 0.0)
        e.low = worse_of(cash + lots * kept, alt_cash + alt_lots * kept, e.share)
        e.most = alt_lots if fabs(alt_lots) > fabs(lots) else lots
        size = fabs(e.most)
        e.a = size * (self.a_buy[instrument] if e.most > 0 else self.a_sell[instrument])
        e.g = size * (self.g_buy[instrument] if e.most > 0 else self.g_sell[instrument])
        e.b, e.d, e.n = size * self.b[instrument], size * self.d[instrument], size * self.n[instrument]

    cdef void _apply(self, Book *book, const Effect *e, double sign) noexcept:
        cdef Unit *unit = &book.units[e.unit]
        cdef const double *move = self.move + e.instrument * self.padded
        cdef Py_ssize_t k
        for k in range(self.padded):
            unit.row[k] += sign * in_scenario(e, move, k)
        unit.once += sign * e.once
        unit.sums[0] += sign * e.a
        unit.sums[1] += sign * e.b
        unit.sums[2] += sign * e.d
        unit.sums[3] += sign * e.g
        unit.sums[4] += sign * e.n
        book.low[e.column] += sign * e.low
        unit.is_left = False

    cdef void _span(self, Book *book, Py_ssize_t u) noexcept:
        """Find the first and the last expiry of what a unit holds and has working."""
        cdef Unit *unit = &book.units[u]
        cdef const Cell *cell
        cdef Py_ssize_t k
        unit.first, unit.last = INFINITY, -INFINITY
        for k in range(book.cells.capacity):
            cell = &book.cells.cells[k]
            if cell.key >= 0 and self.unit[cell.key] == u and self.expiry[cell.key] >= 0:
                if cell.held != 0 or cell.buys > 0 or cell.sells > 0:
                    unit.first = lesser(unit.first, self.expiry[cell.key])
                    unit.last = greater(unit.last, self.expiry[cell.key])

    cdef Book *_book(self, Py_ssize_t account) except NULL:
        cdef Book *book
        if not 0 <= account < self.accounts:
            raise IndexError(f"account {account} is not in 0..{self.accounts - 1}")
        book = &self.books[account]
        if book.x == NULL:
            self._make(book)
        return book

    cdef Py_ssize_t _size(self) noexcept:
        return 3 * self.columns + self.pools + 2 * self.units * self.padded

    cdef int _make(self, Book *book) except -1:
        cdef Py_ssize_t u
        self._allocate(book)
        for u in range(self.units):
            memcpy(book.units[u].base, self.start + u * self.padded, self.padded * sizeof(double))
            memcpy(book.units[u].row, self.start + u * self.padded, self.padded * sizeof(double))
            book.units[u].is_fixed = True
            book.units[u].first, book.units[u].last = INFINITY, -INFINITY
        return 0

    cdef int _allocate(self, Book *book) except -1:
        cdef double *block = <double *>calloc(self._size(), sizeof(double))
        book.orders = <long long *>calloc(self.columns, sizeof(long long))
        book.units = <Unit *>calloc(self.units, sizeof(Unit))
        book.x = block
        if block == NULL or book.orders == NULL or book.units == NULL:
            self._free(book)
            raise MemoryError("pool kernel")
        self._lay_out(book)
        return 0

    cdef void _lay_out(self, Book *book) noexcept:
        cdef Py_ssize_t u
        cdef double *rows
        book.owned, book.low = book.x + self.columns, book.x + 2 * self.columns
        book.own = book.x + 3 * self.columns
        rows = book.own + self.pools
        for u in range(self.units):
            book.units[u].base = rows + 2 * u * self.padded
            book.units[u].row = rows + (2 * u + 1) * self.padded

    cdef int _copy(self, Book *book, Book *out) except -1:
        """Copy a book, to try something on; `_free` the copy."""
        out[0] = book[0]
        out.x, out.orders, out.units, out.cells.cells = NULL, NULL, NULL, NULL
        self._allocate(out)
        out.cells.cells = <Cell *>calloc(book.cells.capacity + 1, sizeof(Cell))
        if out.cells.cells == NULL:
            raise MemoryError("pool kernel")
        memcpy(out.x, book.x, self._size() * sizeof(double))
        memcpy(out.orders, book.orders, self.columns * sizeof(long long))
        memcpy(out.units, book.units, self.units * sizeof(Unit))
        memcpy(out.cells.cells, book.cells.cells, book.cells.capacity * sizeof(Cell))
        self._lay_out(out)
        return 0

    cdef int _forget_orders(self, Book *book) except -1:
        cdef Unit *unit
        cdef Cell *cell
        cdef Py_ssize_t c, k, u
        for c in range(self.columns):
            book.low[c] = 0.0
        for k in range(book.cells.capacity):
            cell = &book.cells.cells[k]
            if cell.key >= 0:
                cell.buys = cell.sells = 0.0
                self._settle(book, cell.key, cell)
        for u in range(self.units):
            unit = &book.units[u]
            memcpy(unit.row, unit.base, self.padded * sizeof(double))
            for k in range(5):
                unit.sums[k] = 0.0
            unit.once, unit.is_left = 0.0, False
            self._span(book, u)
        return 0

    cdef void _free(self, Book *book) noexcept:
        free(book.x)
        free(book.orders)
        free(book.units)
        free(book.cells.cells)
        book.x = NULL
        book.orders = NULL
        book.units = NULL
        book.cells.cells = NULL

    cdef int _check_instrument(self, Py_ssize_t instrument) except -1:
        if not 0 <= instrument < self.instruments:
            raise IndexError(f"instrument {instrument} is not in 0..{self.instruments - 1}")
        return 0

    cdef int _check_pool(self, Py_ssize_t pool) except -1:
        if not 0 <= pool < self.pools:
            raise IndexError(f"pool {pool} is not in 0..{self.pools - 1}")
        return 0
