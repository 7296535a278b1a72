# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The margin kernel, compiled: the interface, the formulas and the order of additions of kernel_plain.MarginKernel."""

from libc.math cimport INFINITY, NAN
from libc.string cimport memcpy

from risk._cells cimport (
    GROUP_COLUMNS, KINDS, After, Cell, Sizes, after_order, cell_charge, charge_with, empty, group_charge, is_within,
    largest, make, most_lots, settle,
)
from risk._cells cimport find as find_cell
from risk._kernel_books cimport Book, Books, blend, is_reserved, rate_of, sum_with
from risk._rows cimport (
    fill, greater, least, least_filled, least_worse, rest_share, take_off_fill, take_off_row, worse,
)

import numpy as np

from risk.kernel_checks import EQUAL_TO as _EQUAL_TO
from risk.kernel_checks import MAX_CASH as _MAX_CASH
from risk.kernel_checks import MAX_LOTS as _MAX_LOTS
from risk.kernel_checks import check_asides, check_bearers

cdef enum:
    ASIDE_COLUMNS = 4

cdef double EQUAL_TO = _EQUAL_TO
cdef double MAX_CASH = _MAX_CASH
cdef double MAX_LOTS = _MAX_LOTS


cdef inline bint _is_usable(double lots, double cash) noexcept nogil:
    # Written so that NaN fails.
    return -MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH


cdef class MarginKernel(Books):
    """Worst equity of accounts over scenarios and over fills of working orders; see kernel_plain.MarginKernel."""

    def put_aside(self, Py_ssize_t base_scenario, rates, double netting, double located=0.0, bearers=None):
        """Take what of each fill and order is put aside, rates (I or K, I, ASIDE_COLUMNS), and clear every account."""
        sets = check_asides(rates, self.count, base_scenario, self.scenarios, (netting, located))
        cdef const int[::1] bear = np.ascontiguousarray(check_bearers(bearers, self.accounts, len(sets)), dtype=np.intc)
        cdef const double[::1] given = sets.reshape(-1)
        memcpy(self.bearers, &bear[0], self.accounts * sizeof(int))
        self.aside_rates, self.asides = sets, &given[0] if self.count else NULL
        self.puts_aside, self.base, self.netting = True, base_scenario, netting
        self.located, self.weight = located, 1.0 + located
        self.generation += 1

    def bear(self, Py_ssize_t account, Py_ssize_t which):
        """Have a row put aside by one of the sets of rates from now on."""
        cdef Book *book = self._book(account)
        if not 0 <= which < (len(self.aside_rates) if self.puts_aside else 0):
            raise IndexError(f"set {which} is none of the sets of rates")
        book.bears = self.bearers[account] = <int> which

    def take_off(self, Py_ssize_t account, Py_ssize_t group, values, joint_values):
        """Take USD (S,) and (J,) off what an account holds in a group, and jointly; and off all above it."""
        cdef const double[::1] off = np.ascontiguousarray(values, dtype=np.float64)
        cdef const double[::1] joint_off = np.ascontiguousarray(joint_values, dtype=np.float64)
        cdef Py_ssize_t row = account
        self._book(account)
        self._check_group(group)
        if off.shape[0] != self.scenarios or joint_off.shape[0] != self.joint:
            raise ValueError("what is taken off is not of the scenarios")
        while row >= 0:
            self._take_off_rows(self._book(row), group, &off[0], &joint_off[0] if self.joint else NULL)
            row = self.parents[row]

    cdef void _take_off_rows(self, Book *book, Py_ssize_t group, const double *off, const double *joint_off) noexcept:
        cdef Py_ssize_t at = group * self.padded
        take_off_row(book.base + at, book.row + at, off, self.scenarios, self.padded)
        book.minima[group] = least(book.row + group * self.padded, self.padded)
        if joint_off != NULL:
            take_off_row(book.joint_base, book.joint_row, joint_off, self.joint, self.joint_padded)
            book.joint_least = least(book.joint_row, self.joint_padded)

    def take_off_fill(self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash):
        """Take off what of a fill is put aside, until the account's haircuts are worked out anew."""
        cdef Py_ssize_t row = account
        self._book(account)
        self._check_instrument(instrument)
        if not self.puts_aside or not self.known[instrument]:
            return
        while row >= 0:
            self._take_off(self._book(row), instrument, lots, cash)
            row = self.parents[row]

    cdef void _take_off(self, Book *book, Py_ssize_t instrument, double lots, double cash) noexcept:
        cdef Py_ssize_t group = self.group_of_instrument[instrument], currency = self.currency_of_instrument[instrument]
        cdef double less = self._aside(book, instrument, lots, cash), today
        cdef const double *v = self.values + instrument * self.padded
        cdef const double *x = self.currency_values + currency * self.padded
        today = fill(v, x, self.base, lots, cash)
        take_off_fill(
            book.base + group * self.padded, book.row + group * self.padded, v, x, self.padded, lots, cash, less,
            today, self.netting, self.located,
        )
        book.minima[group] = least(book.row + group * self.padded, self.padded)
        if self.joint:
            v = self.joint_values + instrument * self.joint_padded
            x = self.joint_currency_values + currency * self.joint_padded
            take_off_fill(
                book.joint_base, book.joint_row, v, x, self.joint_padded, lots, cash, less, today, self.netting,
                self.located,
            )
            book.joint_least = least(book.joint_row, self.joint_padded)

    def is_known(self, Py_ssize_t account):
        """Whether the generation knows everything the account holds and has working."""
        cdef Book *book = self._book(account)
        return not (book.unknown_positions or book.unknown_orders)

    def worst(self, Py_ssize_t account):
        """Return the worst equity in USD over both blocks, orders filled at their worst, charges taken off."""
        return self._worst(self._book(account))

    def worst_of_group(self, Py_ssize_t account, Py_ssize_t group):
        """Return the worst of the grid in one group, its charges taken off."""
        cdef Book *book = self._book(account)
        self._check_group(group)
        if book.unknown_positions or book.unknown_orders:
            return NAN
        return book.minima[group] - book.sizes.charge[group]

    def held(self, Py_ssize_t account):
        """Return what `worst` would be without working orders."""
        cdef Book *book = self._book(account)
        cdef double worst = 0.0, charge = 0.0
        cdef Py_ssize_t group
        if book.unknown_positions:
            return NAN
        for group in range(self.groups):
            worst += least(book.base + group * self.padded, self.padded)
            charge += self._charge_held(book, group)
        if self.joint:
            worst = blend(book, worst, least(book.joint_base, self.joint_padded))
        return worst - charge

    def held_of_group(self, Py_ssize_t account, Py_ssize_t group):
        """Return what `worst_of_group` would be without working orders."""
        cdef Book *book = self._book(account)
        self._check_group(group)
        if book.unknown_positions:
            return NAN
        return least(book.base + group * self.padded, self.padded) - self._charge_held(book, group)

    def equity(self, Py_ssize_t account, Py_ssize_t base_scenario):
        """Return the equity in USD in one scenario, without working orders."""
        cdef Book *book = self._book(account)
        if not 0 <= base_scenario < self.scenarios:
            raise IndexError(f"scenario {base_scenario} is not in 0..{self.scenarios - 1}")
        return self._equity(book, base_scenario)

    def equity_of_group(self, Py_ssize_t account, Py_ssize_t group, Py_ssize_t base_scenario):
        """Return the equity of one group in one scenario, without working orders."""
        cdef Book *book = self._book(account)
        self._check_group(group)
        if not 0 <= base_scenario < self.scenarios:
            raise IndexError(f"scenario {base_scenario} is not in 0..{self.scenarios - 1}")
        return NAN if book.unknown_positions else book.base[group * self.padded + base_scenario]

    def what_if(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Return what `worst` would be with this order held; nothing changes."""
        cdef Book *book = self._book(account)
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return NAN
        return self._what_if(book, instrument, lots, cash, alt_lots, alt_cash)

    def what_if_of_group(
        self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Return what `worst_of_group` of the instrument's group would be with this order held; nothing changes."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t group
        cdef double found
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return NAN
        group = self.group_of_instrument[instrument]
        found = self._least_of_group(book, group, instrument, lots, cash, alt_lots, alt_cash)
        if self.is_charged:
            found -= self._charge_with(book, group, instrument, lots, cash, alt_lots, alt_cash)
        return found

    def what_if_basket(self, Py_ssize_t account, orders):
        """Return what `worst` would be with all these orders held; nothing changes."""
        cdef Book tried
        cdef Py_ssize_t instrument
        cdef double lots, cash, alt_lots, alt_cash
        self._copy(self._book(account), &tried)
        try:
            for instrument, lots, cash, alt_lots, alt_cash in orders:
                self._check_instrument(instrument)
                if not self._can_ask(&tried, instrument, lots, cash, alt_lots, alt_cash):
                    return NAN
                self._hold(&tried, instrument, lots, cash, alt_lots, alt_cash)
            return self._worst(&tried)
        finally:
            self._free(&tried)

    def what_if_given(
        self, Py_ssize_t account, given, joint_given, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Return what `what_if` would be had the account so much more, USD (G, S) and (J,); nothing changes."""
        cdef const double[:, ::1] off = np.ascontiguousarray(np.negative(given), dtype=np.float64)
        cdef const double[::1] joint_off = np.ascontiguousarray(np.negative(joint_given), dtype=np.float64)
        cdef Book *book = self._book(account)
        cdef Book tried
        cdef Py_ssize_t group
        cdef bint jointly
        self._check_instrument(instrument)
        if off.shape[0] != self.groups or off.shape[1] != self.scenarios or joint_off.shape[0] != self.joint:
            raise ValueError("what is given is not of the scenarios")
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return NAN
        self._copy(book, &tried)
        for group in range(self.groups):
            jointly = group == 0 and self.joint
            self._take_off_rows(&tried, group, &off[group, 0], &joint_off[0] if jointly else NULL)
        found = self._what_if(&tried, instrument, lots, cash, alt_lots, alt_cash)
        self._free(&tried)
        return found

    def if_filled(self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash):
        """Return what `worst` would be if this were filled completely now."""
        return self._if_filled(account, instrument, lots, cash, True)

    def if_filled_of_group(self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash):
        """Return what `worst_of_group` of the instrument's group would be if this were filled completely now."""
        return self._if_filled(account, instrument, lots, cash, False)

    def row(self, Py_ssize_t account, Py_ssize_t group):
        """Return a copy of a group's equity in each scenario, working orders at their worst; NaN where unknown."""
        cdef Book *book = self._book(account)
        self._check_group(group)
        return _told(book, book.row + group * self.padded, self.scenarios)

    def joint_row(self, Py_ssize_t account):
        """Return a copy of the equity in each joint scenario, working orders at their worst; NaN where unknown."""
        cdef Book *book = self._book(account)
        return _told(book, book.joint_row, self.joint)

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

    def sizes(self, Py_ssize_t account):
        """Return gross notional, highest and lowest net notional (USD), working orders, and closing USD by product."""
        cdef Sizes *sizes = &self._book(account).sizes
        cdef Py_ssize_t k
        return sizes.gross, sizes.high, sizes.low, sizes.working, tuple([sizes.products[k] for k in range(KINDS)])

    def position(self, Py_ssize_t account, Py_ssize_t instrument):
        """Return lots held, and lots that working buys and sells may add; nothing without charges."""
        cdef Book *book = self._book(account)
        cdef Cell *cell
        self._check_instrument(instrument)
        cell = find_cell(&book.sizes, instrument)
        if cell == NULL or cell.key != instrument:
            return 0.0, 0.0, 0.0
        return cell.held, cell.buys, cell.sells

    def charge_of(self, Py_ssize_t account):
        """Return what is taken off `worst` by size."""
        return self._charges(self._book(account), -1, 0.0) if self.is_charged else 0.0

    def first_short(
        self, Py_ssize_t account, Py_ssize_t base_scenario, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Return the first of a row and those above it that this order would leave short, or -1."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t row = account
        cdef double worst
        self._check_instrument(instrument)
        if not 0 <= base_scenario < self.scenarios:
            raise IndexError(f"scenario {base_scenario} is not in 0..{self.scenarios - 1}")
        while row >= 0:
            book = self._book(row)
            if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
                return row
            worst = self._what_if(book, instrument, lots, cash, alt_lots, alt_cash)
            if not worst >= 0.0:
                return row
            if book.terms != NULL and book.terms.max_margin < INFINITY:
                if not self._equity(book, base_scenario) - worst <= book.terms.max_margin:
                    return row
            row = self.parents[row]
        return -1

    def first_beyond(self, Py_ssize_t account, Py_ssize_t instrument, double lots):
        """Return the first row above an account whose limits one more order of so many lots would break, or -1."""
        cdef Book *book = self._book(account)
        cdef Py_ssize_t row = self.parents[account]
        self._check_instrument(instrument)
        while row >= 0:
            book = self._book(row)
            if book.terms != NULL:
                if (
                    not self.is_charged or not self.known[instrument] or book.unknown_orders
                    or book.unknown_positions
                    or not is_within(&self.asking, &book.sizes, book.terms, instrument, lots)
                ):
                    return row
            row = self.parents[row]
        return -1

    def after(self, Py_ssize_t account, Py_ssize_t instrument, double lots):
        """Return what a row would come to with one more working order of so many lots; see kernel_plain."""
        cdef Book *book = self._book(account)
        cdef After found
        self._check_instrument(instrument)
        if not self.is_charged or not self.known[instrument] or book.unknown_orders or book.unknown_positions:
            return NAN, 0, NAN, NAN, NAN, NAN
        after_order(&self.asking, &book.sizes, instrument, lots, &found)
        return found.notional, book.sizes.working, found.gross, found.net, found.largest, found.grown

    def at_base(
        self, Py_ssize_t account, Py_ssize_t base_scenario, Py_ssize_t instrument, double lots, double cash,
        double alt_lots=0.0, double alt_cash=0.0
    ):
        """Return the equity in one scenario after the worst fills of all working orders and of this one."""
        cdef Book *book = self._book(account)
        cdef double total = 0.0
        cdef Py_ssize_t group
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return NAN
        for group in range(self.groups):
            total += book.row[group * self.padded + base_scenario]
        cdef double by = self.weight
        return total + worse(
            self.values + instrument * self.padded,
            self.currency_values + self.currency_of_instrument[instrument] * self.padded, base_scenario,
            by * lots, by * cash, by * alt_lots, by * alt_cash, rest_share(lots, alt_lots),
            by * self._aside(book, instrument, lots, cash), by * self._aside(book, instrument, alt_lots, alt_cash),
        )

    cdef inline bint _can_ask(
        self, Book *book, Py_ssize_t instrument, double lots, double cash, double alt_lots, double alt_cash
    ) noexcept:
        return (
            self.known[instrument] and not book.unknown_positions and not book.unknown_orders
            and _is_usable(lots, cash) and _is_usable(alt_lots, alt_cash)
        )

    cdef inline double _least_of_group(
        self, Book *book, Py_ssize_t group, Py_ssize_t instrument, double lots, double cash, double alt_lots,
        double alt_cash
    ) noexcept:
        cdef double by = self.weight
        if is_reserved(self, instrument):
            return book.minima[group]
        return least_worse(
            book.row + group * self.padded, self.values + instrument * self.padded,
            self.currency_values + self.currency_of_instrument[instrument] * self.padded, self.padded,
            by * lots, by * cash, by * alt_lots, by * alt_cash, by * self._aside(book, instrument, lots, cash),
            by * self._aside(book, instrument, alt_lots, alt_cash),
        )

    cdef double _what_if(
        self, Book *book, Py_ssize_t instrument, double lots, double cash, double alt_lots, double alt_cash
    ) noexcept:
        cdef Py_ssize_t group = self.group_of_instrument[instrument]
        cdef double alone, joint = 0.0, by = self.weight, less, alt_less
        alone = sum_with(
            self, book, group, self._least_of_group(book, group, instrument, lots, cash, alt_lots, alt_cash)
        )
        if self.joint:
            joint = book.joint_least
            if not is_reserved(self, instrument):
                less = by * self._aside(book, instrument, lots, cash)
                alt_less = by * self._aside(book, instrument, alt_lots, alt_cash)
                joint = least_worse(
                    book.joint_row, self.joint_values + instrument * self.joint_padded,
                    self.joint_currency_values + self.currency_of_instrument[instrument] * self.joint_padded,
                    self.joint_padded, by * lots, by * cash, by * alt_lots, by * alt_cash,
                    less, alt_less,
                )
            alone = blend(book, alone, joint)
        if not self.is_charged:
            return alone
        return alone - self._charges(
            book, group, self._charge_with(book, group, instrument, lots, cash, alt_lots, alt_cash)
        )

    cdef double _charge_with(
        self, Book *book, Py_ssize_t group, Py_ssize_t instrument, double lots, double cash, double alt_lots,
        double alt_cash
    ) noexcept:
        cdef double price = 0.0, most
        most = most_lots(lots, cash, alt_lots, alt_cash, &price)
        return charge_with(&self.asking, &book.sizes, instrument, group, rate_of(book), most, price)

    cdef double _charge_held(self, Book *book, Py_ssize_t group) noexcept:
        cdef double closing = 0.0, own = 0.0
        cdef Cell alone
        cdef Py_ssize_t k
        if not self.is_charged:
            return 0.0
        for k in range(book.sizes.capacity):
            if book.sizes.cells[k].key < 0 or self.group_of_instrument[book.sizes.cells[k].key] != group:
                continue
            empty(&alone, book.sizes.cells[k].key)
            alone.held = book.sizes.cells[k].held
            closing += largest(&alone) * self.asking.closing[alone.key]
            own += cell_charge(&self.asking, alone.key, &alone, rate_of(book))
        return group_charge(self.asking.group + group * GROUP_COLUMNS, closing) + greater(0.0, own)

    cdef inline double _charges(self, Book *book, Py_ssize_t group, double replaced) noexcept:
        cdef double total = 0.0
        cdef Py_ssize_t k
        for k in range(self.groups):
            total += replaced if k == group else book.sizes.charge[k]
        return total

    cdef double _worst(self, Book *book) noexcept:
        cdef double worst
        if book.unknown_positions or book.unknown_orders:
            return NAN
        worst = sum_with(self, book, 0, book.minima[0])
        if self.joint:
            worst = blend(book, worst, book.joint_least)
        return worst - self._charges(book, -1, 0.0) if self.is_charged else worst

    cdef double _equity(self, Book *book, Py_ssize_t base_scenario) noexcept:
        cdef double total = 0.0
        cdef Py_ssize_t group
        if book.unknown_positions:
            return NAN
        for group in range(self.groups):
            total += book.base[group * self.padded + base_scenario]
        return total

    cdef _if_filled(self, Py_ssize_t account, Py_ssize_t instrument, double lots, double cash, bint is_whole):
        cdef Book *book = self._book(account)
        cdef Py_ssize_t group, currency
        cdef double found, charge = 0.0
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, 0.0, 0.0):
            return NAN
        group = self.group_of_instrument[instrument]
        currency = self.currency_of_instrument[instrument]
        found = least_filled(
            book.row + group * self.padded, self.values + instrument * self.padded,
            self.currency_values + currency * self.padded, self.padded, lots, cash,
            self._aside(book, instrument, lots, cash), self.located,
        )
        if self.is_charged:
            charge = self._charge_if_filled(book, group, instrument, lots)
        if not is_whole:
            return found - charge
        found = sum_with(self, book, group, found)
        if self.joint:
            found = blend(
                book, found,
                least_filled(
                    book.joint_row, self.joint_values + instrument * self.joint_padded,
                    self.joint_currency_values + currency * self.joint_padded, self.joint_padded, lots, cash,
                    self._aside(book, instrument, lots, cash), self.located,
                ),
            )
        return found - self._charges(book, group, charge) if self.is_charged else found

    cdef double _charge_if_filled(self, Book *book, Py_ssize_t group, Py_ssize_t instrument, double lots) except? -1:
        """Return what a group would ask for: the cell is changed, and changed back."""
        cdef Cell *cell = make(&book.sizes, instrument)
        cdef Cell before = cell[0]
        cdef Sizes kept = book.sizes
        cdef double closing = kept.closing[group], own = kept.own[group], charge = kept.charge[group], found
        cell.held += lots
        settle(&self.asking, &book.sizes, cell, group, rate_of(book))
        found = book.sizes.charge[group]
        cell[0] = before
        book.sizes = kept
        kept.closing[group], kept.own[group], kept.charge[group] = closing, own, charge
        return found


cdef object _told(const Book *book, const double *row, Py_ssize_t count):
    result = np.full(count, NAN)
    cdef double[::1] copy = result
    if count and not (book.unknown_positions or book.unknown_orders):
        memcpy(&copy[0], row, count * sizeof(double))
    return result
