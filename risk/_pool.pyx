# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The pool kernel, compiled: the interface, the formulas and the order of additions of pool_plain.PoolKernel.

A unit's figures without a further order are kept until something of it changes; what its positions ask for is asked of
the model in Python, once after each change of them.
"""

from libc.math cimport INFINITY, NAN

from risk._cells cimport Cell, empty, find, largest
from risk._pool_books cimport Book, Effect, PoolBooks, Unit, in_one, in_scenario
from risk._rows cimport greater, least, lesser

from risk.kernel_checks import MAX_CASH as _MAX_CASH
from risk.kernel_checks import MAX_LOTS as _MAX_LOTS
from risk.pool_terms import SECONDS_A_DAY as _SECONDS_A_DAY

cdef double MAX_CASH = _MAX_CASH
cdef double MAX_LOTS = _MAX_LOTS
cdef double SECONDS_A_DAY = _SECONDS_A_DAY


cdef double _least_with(const double *row, const double *move, Py_ssize_t n, const Effect *e) noexcept nogil:
    cdef double m0, m1, m2, m3
    cdef Py_ssize_t k
    if e.alt_lots == 0 and e.other == 0:
        m0, m1 = row[0] + in_one(e, move, 0), row[1] + in_one(e, move, 1)
        m2, m3 = row[2] + in_one(e, move, 2), row[3] + in_one(e, move, 3)
        for k in range(4, n, 4):
            m0 = lesser(row[k] + in_one(e, move, k), m0)
            m1 = lesser(row[k + 1] + in_one(e, move, k + 1), m1)
            m2 = lesser(row[k + 2] + in_one(e, move, k + 2), m2)
            m3 = lesser(row[k + 3] + in_one(e, move, k + 3), m3)
        return lesser(lesser(m0, m1), lesser(m2, m3))
    m0 = row[0] + in_scenario(e, move, 0)
    for k in range(1, n):
        m0 = lesser(row[k] + in_scenario(e, move, k), m0)
    return m0


cdef class PoolKernel(PoolBooks):
    """What is available in each pool of an account; see pool_plain.PoolKernel."""

    def worst_of_group(self, Py_ssize_t account, Py_ssize_t group):
        """Return what is available in a pool, working orders filled at their worst."""
        cdef Book *book = self._book(account)
        self._check_pool(group)
        if book.unknown_positions or book.unknown_orders:
            return NAN
        return self._left(book, group, NULL)

    def held_of_group(self, Py_ssize_t account, Py_ssize_t group):
        """Return what `worst_of_group` would be without working orders."""
        cdef Book *book = self._book(account)
        cdef Book held
        self._check_pool(group)
        if book.unknown_positions:
            return NAN
        try:
            self._copy(book, &held)
            self._forget_orders(&held)
            return self._left(&held, group, NULL)
        finally:
            self._free(&held)

    def equity_of_group(self, Py_ssize_t account, Py_ssize_t group, Py_ssize_t base_scenario):
        """Return a pool's equity today, without working orders; the scenario is the terms' base."""
        cdef Book *book = self._book(account)
        cdef double total = 0.0, x
        cdef Py_ssize_t k, c
        self._check_pool(group)
        if book.unknown_positions:
            return NAN
        for k in range(self.columns_from[group], self.columns_from[group + 1]):
            c = self.columns_of[k]
            x = self.price[c] * book.x[c]
            total += lesser(self.rate[c] * x, x)
        return total

    def what_if_of_group(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Return what `worst_of_group` of the instrument's pool would be with this order held; nothing changes."""
        cdef Book *book = self._book(account)
        cdef Effect e
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return NAN
        self._weigh(&e, instrument, lots, cash, alt_lots, alt_cash)
        return self._left(book, self.pool[e.unit], &e)

    def if_filled_of_group(self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash):
        """Return what `worst_of_group` of the instrument's pool would be if this were filled completely now."""
        cdef Book *book = self._book(account)
        cdef Book tried
        cdef Py_ssize_t c
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, 0.0, 0.0):
            return NAN
        c = self.column[instrument]
        try:
            self._copy(book, &tried)
            tried.x[c] += cash
            tried.owned[c] += cash
            self._add(&tried, instrument, lots)
            return self._left(&tried, self.pool[self.unit[instrument]], NULL)
        finally:
            self._free(&tried)

    def is_known(self, Py_ssize_t account):
        """Whether the terms know everything the account holds and has working."""
        cdef Book *book = self._book(account)
        return not (book.unknown_positions or book.unknown_orders)

    cdef double _left(self, Book *book, Py_ssize_t pool, const Effect *e) except? -1:
        cdef double total = 0.0, x, low
        cdef Py_ssize_t k, c, u
        cdef Unit *unit
        for k in range(self.columns_from[pool], self.columns_from[pool + 1]):
            c = self.columns_of[k]
            low = book.owned[c] + book.low[c]
            if e != NULL and e.column == c:
                low += e.low
            x = self.price[c] * book.x[c]
            total += lesser(self.rate[c] * x, x)
            if low < 0:
                total -= self.borrow[c] * self.price[c] * -low
        for k in range(self.units_from[pool], self.units_from[pool + 1]):
            u = self.units_of[k]
            unit = &book.units[u]
            if e != NULL and e.unit == u:
                total += self._of_unit(book, u, e)
            else:
                if not unit.is_left:
                    unit.left = self._of_unit(book, u, NULL)
                    unit.is_left = True
                total += unit.left
        if self.nets[pool]:
            total += self._netted(book, pool, e)
        return total - self._own(book, pool, e)

    cdef double _netted(self, Book *book, Py_ssize_t pool, const Effect *e) noexcept:
        """Return the least of the sum of units, gains of each at their share."""
        cdef double found = INFINITY, sum, row, share = self.offset[pool]
        cdef const double *limit = self.limit + pool * self.padded
        cdef Py_ssize_t s, k, u
        for s in range(self.padded):
            sum = 0.0
            for k in range(self.units_from[pool], self.units_from[pool + 1]):
                u = self.units_of[k]
                row = book.units[u].row[s]
                if e != NULL and e.unit == u:
                    row += in_scenario(e, self.move + e.instrument * self.padded, s)
                sum += row if row < 0 else lesser(share * row, limit[s])
            found = lesser(sum, found)
        return found

    cdef double _own(self, Book *book, Py_ssize_t pool, const Effect *e) noexcept:
        """Return what contracts with tiers ask for."""
        cdef double own = book.own[pool]
        cdef Cell after
        cdef Cell *cell
        if e != NULL and self.count[e.instrument]:
            cell = find(&book.cells, e.instrument)
            if cell == NULL or cell.key != e.instrument:
                empty(&after, e.instrument)
            else:
                after = cell[0]
            own -= after.own
            if e.most > 0:
                after.buys += e.most
            else:
                after.sells -= e.most
            own += self._tiered(e.instrument, largest(&after))
        return greater(0.0, own)

    cdef double _of_unit(self, Book *book, Py_ssize_t u, const Effect *e) except? -1:
        """Return what a unit adds to what is available; in a pool that nets, all but its row."""
        cdef Unit *unit = &book.units[u]
        cdef double a, d, g, n, once, left, beyond, today
        cdef const double *shock = self.shock + 3 * u
        if not unit.is_fixed:
            self._fix(book, u)
        a, d, g, n = unit.fixed[0], unit.fixed[1], unit.fixed[2], unit.fixed[3]
        once = unit.once
        if e == NULL:
            a = a + unit.sums[0] + self._days(unit, e) * unit.sums[1]
            d, g, n = d + unit.sums[2], g + unit.sums[3], n + unit.sums[4]
        else:
            a = a + (unit.sums[0] + e.a) + self._days(unit, e) * (unit.sums[1] + e.b)
            d, g, n = d + (unit.sums[2] + e.d), g + (unit.sums[3] + e.g), n + (unit.sums[4] + e.n)
            once = once + e.once
        beyond = d - shock[0]
        if beyond > 0:
            a = a + d * lesser(shock[2], shock[1] * beyond)
        if self.nets[self.pool[u]]:
            return once - a - n
        today = unit.row[self.base]
        if e == NULL:
            left = least(unit.row, self.padded) - a
        else:
            left = _least_with(unit.row, self.move + e.instrument * self.padded, self.padded, e) - a
            today += in_scenario(e, self.move + e.instrument * self.padded, self.base)
        if self.steps:
            left = lesser(left, today - self._floor(g))
        return left - n + once

    cdef double _floor(self, double g) noexcept:
        cdef double factor = self.floor_steps[1]
        cdef Py_ssize_t k
        for k in range(self.steps):
            if g > self.floor_steps[2 * k]:
                factor = self.floor_steps[2 * k + 1]
        return g * factor

    cdef double _days(self, const Unit *unit, const Effect *e) noexcept:
        """Return the days between the first and the last expiry of what is held and worked, at most most_days."""
        cdef double first = unit.first, last = unit.last, mine
        if self.most_days == 0:
            return 0.0
        if e != NULL:
            mine = self.expiry[e.instrument]
            if mine >= 0:
                first, last = lesser(first, mine), greater(last, mine)
        return lesser((last - first) / SECONDS_A_DAY, self.most_days) if last > first else 0.0

    cdef int _fix(self, Book *book, Py_ssize_t u) except -1:
        """Ask the model what a unit's positions ask for."""
        cdef Unit *unit = &book.units[u]
        cdef Cell *cell
        cdef Py_ssize_t k
        held = {}
        for k in range(book.cells.capacity):
            cell = &book.cells.cells[k]
            if cell.key >= 0 and self.unit[cell.key] == u and cell.held != 0:
                held[cell.key] = cell.held
        asked = self.fixed(u, held)
        for k in range(4):
            unit.fixed[k] = asked[k]
        unit.is_fixed = True
        return 0

    cdef inline bint _can_ask(
        self, Book *book, Py_ssize_t instrument, double lots, double cash, double alt_lots, double alt_cash
    ) noexcept:
        # Written so that NaN fails.
        return (
            self.known[instrument] and not book.unknown_positions and not book.unknown_orders
            and -MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH
            and -MAX_LOTS <= alt_lots <= MAX_LOTS and -MAX_CASH <= alt_cash <= MAX_CASH
        )
