# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Haircuts of many accounts, compiled: what Haircuts.of takes off, by the tables of risk/haircut_tables.py.

An account's rows lie in one scratch, one for each venue and risk group that it touches, used again for the next.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

import numpy as np

cdef enum:
    DERIVATIVE = 0
    OPTION = 1
    SPOT = 2


cdef struct Asset:
    double owned, gained, lost, unpaid_gain, unpaid_loss
    int is_touched


cdef inline double _above(double x) noexcept nogil:
    return x if x > 0.0 else 0.0


cdef inline void _add(double *row, const double *values, double amount, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        row[k] += amount * values[k]


cdef class _Pass:
    """The tables as pointers, and the scratch of one account."""

    cdef Py_ssize_t count, columns, venues, groups, size, all, joint, base, slots, room_for, touched
    cdef double netting, location
    cdef const int[::1] group, kind, settled, bought, venue, currency_group, tier_offsets
    cdef const unsigned char[::1] known, is_market
    cdef const unsigned char[:, ::1] has_rule
    cdef const double[::1] worth, today, rise, fall, floors, haircuts
    cdef const double[:, ::1] changes, prices, price_changes, moves, first, worst_peg
    cdef const double[:, :, ::1] pegs
    cdef Asset *assets
    cdef int *used       # columns that are touched
    cdef double *at      # (venues, columns): units that lie there
    cdef double *unpaid  # (venues, columns): what contracts there are worth
    cdef double *room    # (venues,)
    cdef int *slot_of    # (venues, groups), -1
    cdef int *slot_venue
    cdef int *slot_group
    cdef double *rows    # (slots, all): how contracts move
    cdef double *paid    # (slots, columns): cash of positions
    cdef double *base_worth  # (slots, columns): what they are worth, whose own move is no gain at the venue
    cdef double *laid    # (slots, columns): units that lie there
    cdef double *found
    cdef double *work

    def __cinit__(self, tables):
        self.group, self.kind, self.settled, self.bought = tables.group, tables.kind, tables.settled, tables.bought
        self.venue, self.currency_group, self.tier_offsets = tables.venue, tables.currency_group, tables.tier_offsets
        self.known, self.is_market, self.has_rule = tables.known, tables.is_market, tables.has_rule
        self.worth, self.today, self.rise, self.fall = tables.worth, tables.today, tables.rise, tables.fall
        self.floors, self.haircuts, self.changes = tables.tier_floors, tables.tier_haircuts, tables.changes
        self.prices, self.price_changes, self.moves = tables.prices, tables.price_changes, tables.moves
        self.first, self.worst_peg, self.pegs = tables.first_haircut, tables.worst_peg, tables.pegs
        self.netting, self.location = tables.netting, tables.location
        self.count, self.columns, self.venues = len(tables.kind), len(tables.today), max(1, len(tables.venues))
        self.groups, self.size, self.base = int(tables.group.max()) + 1, tables.scenarios, tables.base
        self.all = tables.prices.shape[1]
        self.joint = self.all - self.size
        self.slots = self.room_for = self.touched = 0
        cdef Py_ssize_t pairs = self.venues * self.columns, k
        self.assets = <Asset *> calloc(self.columns, sizeof(Asset))
        self.used = <int *> calloc(self.columns, sizeof(int))
        self.at = <double *> calloc(pairs, sizeof(double))
        self.unpaid = <double *> calloc(pairs, sizeof(double))
        self.room = <double *> calloc(self.venues, sizeof(double))
        self.slot_of = <int *> calloc(self.venues * self.groups, sizeof(int))
        self.found = <double *> calloc(self.all, sizeof(double))
        self.work = <double *> calloc(self.all, sizeof(double))
        if (
            self.assets == NULL or self.used == NULL or self.at == NULL or self.unpaid == NULL or self.room == NULL
            or self.slot_of == NULL or self.found == NULL or self.work == NULL
        ):
            raise MemoryError("haircuts")
        for k in range(self.venues * self.groups):
            self.slot_of[k] = -1

    def __dealloc__(self):
        free(self.assets)
        free(self.used)
        free(self.at)
        free(self.unpaid)
        free(self.room)
        free(self.slot_of)
        free(self.slot_venue)
        free(self.slot_group)
        free(self.rows)
        free(self.paid)
        free(self.base_worth)
        free(self.laid)
        free(self.found)
        free(self.work)

    cdef int _grow(self) except -1:
        cdef Py_ssize_t more = 2 * self.room_for + 8
        self.slot_venue = <int *> realloc(self.slot_venue, more * sizeof(int))
        self.slot_group = <int *> realloc(self.slot_group, more * sizeof(int))
        self.rows = <double *> realloc(self.rows, more * self.all * sizeof(double))
        self.paid = <double *> realloc(self.paid, more * self.columns * sizeof(double))
        self.base_worth = <double *> realloc(self.base_worth, more * self.columns * sizeof(double))
        self.laid = <double *> realloc(self.laid, more * self.columns * sizeof(double))
        if (
            self.slot_venue == NULL or self.slot_group == NULL or self.rows == NULL or self.paid == NULL
            or self.base_worth == NULL or self.laid == NULL
        ):
            raise MemoryError("haircuts")
        self.room_for = more
        return 0

    cdef Py_ssize_t _slot(self, Py_ssize_t venue, Py_ssize_t group) except -1:
        """Return the row of a venue and a risk group, empty where it is new."""
        cdef Py_ssize_t slot = self.slot_of[venue * self.groups + group]
        if slot >= 0:
            return slot
        if self.slots == self.room_for:
            self._grow()
        slot = self.slots
        self.slots += 1
        self.slot_of[venue * self.groups + group] = <int> slot
        self.slot_venue[slot], self.slot_group[slot] = <int> venue, <int> group
        memset(self.rows + slot * self.all, 0, self.all * sizeof(double))
        memset(self.paid + slot * self.columns, 0, self.columns * sizeof(double))
        memset(self.base_worth + slot * self.columns, 0, self.columns * sizeof(double))
        memset(self.laid + slot * self.columns, 0, self.columns * sizeof(double))
        return slot

    cdef inline Asset *_asset(self, Py_ssize_t column) noexcept:
        cdef Asset *found = &self.assets[column]
        if not found.is_touched:
            found.is_touched = 1
            self.used[self.touched] = <int> column
            self.touched += 1
        return found

    cdef int _hold(self, Py_ssize_t row, double amount, double moved) except -1:
        """Count one holding."""
        cdef Py_ssize_t column, venue, slot
        cdef double value
        cdef Asset *asset
        if row >= self.count:
            self._asset(row - self.count).owned += amount
            return 0
        if not self.known[row] or amount == 0.0:
            return 0
        venue, value = self.venue[row], amount * self.worth[row]
        if self.kind[row] == SPOT:
            column = self.bought[row]
            if column >= 0 and self.today[column] > 0:
                self._asset(column).owned += value / self.today[column]
                self.at[venue * self.columns + column] += value / self.today[column]
            return 0
        column = self.settled[row]
        asset = self._asset(column)
        if self.kind[row] == DERIVATIVE:
            value += moved * self.prices[column, self.base]
            asset.owned -= moved
            self.at[venue * self.columns + column] -= moved
            asset.unpaid_gain += _above(value)
            asset.unpaid_loss += _above(-value)
        asset.gained += _above(value)
        asset.lost += _above(-value)
        if self.netting or self.location:
            slot = self._slot(venue, self.group[row])
            _add(self.rows + slot * self.all, &self.changes[row, 0], amount, self.all)
            if self.kind[row] == DERIVATIVE:
                self.paid[slot * self.columns + column] += moved
                self.base_worth[slot * self.columns + column] += value
            self.unpaid[venue * self.columns + column] += value
        return 0

    cdef double _counted(self, Py_ssize_t which, Py_ssize_t column, double value, double peg) noexcept:
        """Return what so much of an asset counts for: AssetRule.counted."""
        cdef Py_ssize_t rule = which * self.columns + column, k
        cdef double total = 0.0, end
        for k in range(self.tier_offsets[rule], self.tier_offsets[rule + 1]):
            end = value
            if k + 1 < self.tier_offsets[rule + 1] and self.floors[k + 1] < value:
                end = self.floors[k + 1]
            if end <= self.floors[k]:
                break
            total += (end - self.floors[k]) * _above(1.0 - self.haircuts[k] - peg)
        return total

    cdef double _gross(self, Py_ssize_t column) noexcept:
        """Return what is held of an asset, place by place."""
        cdef double home = self.assets[column].owned, held = 0.0
        cdef Py_ssize_t venue
        if not self.location:
            return _above(home)
        for venue in range(self.venues):
            held += _above(self.at[venue * self.columns + column])
            home -= self.at[venue * self.columns + column]
        return held + _above(home)

    cdef int _of_asset(self, Py_ssize_t which, Py_ssize_t column) except -1:
        """Write one asset's part into `found`; lay what of it is at venues into their rows."""
        cdef Asset *asset = &self.assets[column]
        cdef double today = self.today[column], gross = self._gross(column), n = self.netting, first, held, move
        cdef Py_ssize_t k
        memset(self.found, 0, self.all * sizeof(double))
        if self.has_rule[which, column]:
            first = self.first[which, column]
            for k in range(self.all):
                move = self.moves[column, k]
                held = gross * self.prices[column, k] + asset.gained * (1.0 + _above(move))
                self.found[k] = held - self._counted(which, column, held, self.pegs[which, column, k])
                self.found[k] += first * asset.lost * _above(-move)
        if n:
            for k in range(self.all):
                move = self.moves[column, k]
                self.found[k] += n * (
                    (today * gross + asset.unpaid_gain) * _above(move)
                    + (today * (gross - asset.owned) + asset.unpaid_loss) * _above(-move)
                )
        if self.location:
            self._lay(which, column, (gross * today + asset.gained) * (1.0 + self.rise[column]))
        return 0

    cdef int _lay(self, Py_ssize_t which, Py_ssize_t column, double most) except -1:
        cdef double lost = 0.0, worth = most if most > 1.0 else 1.0, units, value, counted
        cdef Py_ssize_t venue, slot
        if self.has_rule[which, column]:
            lost = 1.0 - self._counted(which, column, worth, self.worst_peg[which, column]) / worth
        for venue in range(self.venues):
            units, value = self.at[venue * self.columns + column], self.unpaid[venue * self.columns + column]
            if units:
                counted = units * (1.0 - lost) if units > 0 else units
                self.room[venue] += counted * self.today[column]
                slot = self._slot(venue, self.currency_group[column])
                self.laid[slot * self.columns + column] += counted
            if value:
                self.room[venue] += value - lost * (
                    (1.0 + self.rise[column]) * value if value > 0 else -self.fall[column] * value
                )
        return 0

    cdef void _spread(self, const double *amounts) noexcept:
        """Add to each slot's row what its amounts of each asset move by."""
        cdef Py_ssize_t slot, k, c
        cdef double *row
        for slot in range(self.slots):
            row = self.rows + slot * self.all
            for c in range(self.touched):
                k = self.used[c]
                if amounts[slot * self.columns + k]:
                    _add(row, &self.price_changes[k, 0], amounts[slot * self.columns + k], self.all)

    cdef void _of_venues(self, const int *segments, double *off, Py_ssize_t stride, double *jointly) noexcept:
        """Add what gains at each venue bear, and what is missing there."""
        cdef Py_ssize_t slot, venue, k, c
        cdef double *row
        cdef double room, whole, loss, share
        self._spread(self.paid)
        if self.netting:
            self._net(segments, off, stride, jointly)
        if not self.location:
            return
        self._spread(self.laid)
        for venue in range(self.venues):
            room, whole = self.room[venue], 0.0
            memset(self.work, 0, self.all * sizeof(double))
            for slot in range(self.slots):
                if self.slot_venue[slot] == venue:
                    whole += self._loss(slot)
                    _add(self.work + self.size, self.rows + slot * self.all + self.size, 1.0, self.joint)
            for slot in range(self.slots):
                if self.slot_venue[slot] != venue or whole == 0.0:
                    continue
                row, share = self.rows + slot * self.all, room * (self._loss(slot) / whole)
                for k in range(self.size):
                    loss = _above(-(share + row[k]))
                    off[segments[self.slot_group[slot]] * stride + k] += self.location * loss
            if whole == 0.0 and room < 0.0:
                for k in range(self.size):
                    off[segments[self.groups] * stride + k] -= self.location * room
            for k in range(self.joint):
                if self.is_market[k]:
                    jointly[k] += self.location * _above(-(room + self.work[self.size + k]))

    cdef double _loss(self, Py_ssize_t slot) noexcept:
        cdef const double *row = self.rows + slot * self.all
        cdef double least = row[0]
        cdef Py_ssize_t k
        for k in range(1, self.size):
            least = row[k] if row[k] < least else least
        return _above(-least)

    cdef void _net(self, const int *segments, double *off, Py_ssize_t stride, double *jointly) noexcept:
        cdef Py_ssize_t slot, venue, k, c
        cdef double *row
        cdef double *into
        for venue in range(self.venues):
            memset(self.work, 0, self.all * sizeof(double))
            for slot in range(self.slots):
                if self.slot_venue[slot] != venue:
                    continue
                row, into = self.found, off + segments[self.slot_group[slot]] * stride
                for k in range(self.all):
                    row[k] = self.rows[slot * self.all + k]
                for c in range(self.touched):
                    k = self.used[c]
                    if self.base_worth[slot * self.columns + k]:
                        _add(row, &self.moves[k, 0], -self.base_worth[slot * self.columns + k], self.all)
                for k in range(self.size):
                    into[k] += self.netting * _above(row[k])
                for k in range(self.size, self.all):
                    self.work[k] += row[k]
            for k in range(self.joint):
                jointly[k] += self.netting * _above(self.work[self.size + k])

    cdef int account(
        self, Py_ssize_t which, const int *segments, double *off, Py_ssize_t stride, double *jointly
    ) except -1:
        """Write what of all that was counted does not count, and begin anew."""
        cdef Py_ssize_t place, column, k, slot
        cdef double *into
        for place in range(self.touched):
            column = self.used[place]
            if not self.today[column] > 0:
                continue
            self._of_asset(which, column)
            into = off + segments[self.currency_group[column]] * stride
            for k in range(self.size):
                into[k] += self.found[k]
            for k in range(self.joint):
                jointly[k] += self.found[self.size + k]
        if self.netting or self.location:
            self._of_venues(segments, off, stride, jointly)
        for slot in range(self.slots):
            self.slot_of[self.slot_venue[slot] * self.groups + self.slot_group[slot]] = -1
        for place in range(self.touched):
            column = self.used[place]
            memset(&self.assets[column], 0, sizeof(Asset))
            for k in range(self.venues):
                self.at[k * self.columns + column] = self.unpaid[k * self.columns + column] = 0.0
        memset(self.room, 0, self.venues * sizeof(double))
        self.slots = self.touched = 0
        return 0


def off_rows(tables, held, Py_ssize_t start, Py_ssize_t stop, double[:, ::1] off, double[:, ::1] joint_off):
    """See risk.haircut_tables.plain_off_rows."""
    cdef _Pass made = _Pass(tables)
    portfolios = held.portfolios
    cdef const long long[::1] segments = portfolios.account_segments, offsets = portfolios.segment_offsets
    cdef const int[::1] rows = portfolios.rows, sets = held.sets
    cdef const double[::1] amounts = portfolios.amounts, moved = held.moved, placed = held.placed_amounts
    cdef const long long[::1] placed_offsets = held.placed_offsets
    cdef const int[::1] placed_venues = held.placed_venues, placed_columns = held.placed_columns
    # Of each risk group the account's segment, behind them its first.
    cdef int[::1] segment_of = np.zeros(made.groups + 1, np.intc)
    cdef Py_ssize_t account, segment, k, last = made.count + made.columns
    cdef double none = 0.0
    for account in range(start, stop):
        if segments[account] == segments[account + 1]:
            continue
        for k in range(made.groups + 1):
            segment_of[k] = <int> segments[account]
        for segment in range(segments[account], segments[account + 1]):
            segment_of[made.group[rows[offsets[segment]]]] = <int> segment
            for k in range(offsets[segment], offsets[segment + 1]):
                if rows[k] < last:
                    made._hold(rows[k], amounts[k], moved[k])
        for k in range(placed_offsets[account], placed_offsets[account + 1]):
            made._asset(placed_columns[k])
            made.at[placed_venues[k] * made.columns + placed_columns[k]] += placed[k]
        made.account(
            sets[account], &segment_of[0], &off[0, 0], off.shape[1],
            &joint_off[account, 0] if made.joint else &none,
        )
