# What margin asks for by size: charges.py, compiled. A row keeps a cell for each contract that it ever touched, found by
# open addressing; cells are never taken out before the row is cleared.

from libc.math cimport INFINITY, fabs, sqrt
from libc.stdlib cimport free, malloc

from risk._rows cimport greater, lesser

cdef enum:
    KINDS = 4
    BY_TIERS = 1
    BY_RESERVATION = 2
    GROUP_COLUMNS = 8
    TIER_COLUMNS = 4
    FIRST_CAPACITY = 8
    HASH = 40503


cdef struct Asking:
    # charges.Charges, by pointer
    const double *notional
    const double *closing
    const double *unit
    const double *scale
    const double *fee
    const double *square
    const double *short_margin
    const double *mark
    const double *group
    const double *tiers
    const int *product
    const int *kind
    const int *first
    const int *count


cdef struct Cell:
    double held
    double buys
    double sells
    double dearest
    double cheapest
    double high
    double low
    double closing
    double own
    long long key


cdef struct Sizes:
    # of one row; closing, own, charge: (G,)
    double gross
    double high
    double low
    double products[KINDS]
    double *closing
    double *own
    double *charge
    Cell *cells
    Py_ssize_t capacity
    Py_ssize_t used
    long long working


cdef struct Terms:
    # limits.RowTerms; positions (I,): the most lots, -1 for none at all, or NULL
    double rate
    double offset_cap
    double max_order_notional
    double max_gross
    double max_net
    double max_margin
    long long max_working
    double *positions


cdef inline void empty(Cell *cell, long long key) noexcept nogil:
    cell.held = cell.buys = cell.sells = cell.dearest = 0.0
    cell.cheapest = INFINITY
    cell.high = cell.low = cell.closing = cell.own = 0.0
    cell.key = key


cdef inline Cell *find(Sizes *sizes, long long key) noexcept nogil:
    # The cell of an instrument, or the free place for it; NULL where there is no table yet.
    cdef Py_ssize_t at, mask = sizes.capacity - 1
    if sizes.capacity == 0:
        return NULL
    at = (<unsigned long long>key * HASH) & <unsigned long long>mask
    while sizes.cells[at].key >= 0 and sizes.cells[at].key != key:
        at = (at + 1) & mask
    return &sizes.cells[at]


cdef inline Cell *make(Sizes *sizes, long long key) except NULL:
    # The cell of an instrument, made where there is none.
    cdef Cell *cell = find(sizes, key)
    cdef Cell *before
    cdef Py_ssize_t old, k
    if cell != NULL and cell.key == key:
        return cell
    if 4 * (sizes.used + 1) > 3 * sizes.capacity:
        before, old = sizes.cells, sizes.capacity
        k = 2 * old if old else FIRST_CAPACITY
        cell = <Cell *>malloc(k * sizeof(Cell))
        if cell == NULL:
            raise MemoryError("margin kernel")
        sizes.cells, sizes.capacity = cell, k
        for k in range(sizes.capacity):
            empty(&sizes.cells[k], -1)
        for k in range(old):
            if before[k].key >= 0:
                find(sizes, before[k].key)[0] = before[k]
        free(before)
    cell = find(sizes, key)
    empty(cell, key)
    sizes.used += 1
    return cell


cdef inline double largest(const Cell *cell) noexcept nogil:
    # |lots| at most over fills
    return greater(fabs(cell.held + cell.buys), fabs(cell.held - cell.sells))


cdef inline void order(Cell *cell, double lots, double price) noexcept nogil:
    if lots > 0:
        cell.buys += lots
        cell.dearest = greater(cell.dearest, price)
    elif lots < 0:
        cell.sells -= lots
        cell.cheapest = lesser(cell.cheapest, price)


cdef inline void unorder(Cell *cell, double lots) noexcept nogil:
    # The dearest price is forgotten with the last of them: until then it is a bound.
    if lots > 0:
        cell.buys -= lots
        if cell.buys <= 0:
            cell.buys = cell.dearest = 0.0
    elif lots < 0:
        cell.sells += lots
        if cell.sells <= 0:
            cell.sells, cell.cheapest = 0.0, INFINITY


cdef inline double most_lots(
    double lots, double cash, double alt_lots, double alt_cash, double *price
) noexcept nogil:
    # The most lots that an order may fill, signed; what one of them pays at most, or brings at least.
    cdef double most = alt_lots if fabs(alt_lots) > fabs(lots) else lots
    cdef double one = fabs(cash / lots) if lots != 0 else -1.0
    cdef double other = fabs(alt_cash / alt_lots) if alt_lots != 0 else -1.0
    if one < 0 or other < 0:
        price[0] = greater(greater(one, other), 0.0)
    else:
        price[0] = greater(one, other) if most > 0 else lesser(one, other)
    return most


cdef inline double cell_charge(const Asking *asking, Py_ssize_t i, const Cell *cell, double least_rate) noexcept nogil:
    cdef double v, rate, maintenance, deduction, asked, held_short, closed, dearest, cheapest, short_margin
    cdef const double *tier
    cdef Py_ssize_t k
    if asking.kind[i] == BY_TIERS:
        v = largest(cell) * asking.unit[i]
        tier = asking.tiers + asking.first[i] * TIER_COLUMNS
        rate, maintenance, deduction = tier[1], tier[2], tier[3]
        for k in range(asking.count[i]):
            if v > tier[0]:
                rate, maintenance, deduction = tier[1], tier[2], tier[3]
            tier += TIER_COLUMNS
        asked = greater(v * greater(rate, least_rate), v * maintenance - deduction)
        return asking.scale[i] * (asked + asking.fee[i] * v + asking.square[i] * v * v)
    if asking.kind[i] == BY_RESERVATION:
        short_margin = asking.short_margin[i]
        held_short = greater(0.0, -cell.held)
        closed = lesser(cell.buys, held_short)
        dearest, cheapest = greater(asking.mark[i], cell.dearest), lesser(asking.mark[i], cell.cheapest)
        asked = held_short * short_margin + closed * greater(0.0, dearest - short_margin)
        asked = asked + (cell.buys - closed) * dearest
        return asked + greater(0.0, cell.sells - greater(0.0, cell.held)) * (
            short_margin + asking.mark[i] - cheapest
        )
    return 0.0


cdef inline double group_charge(const double *p, double closing) noexcept nogil:
    # half_spread, impact, beyond, horizon, period, shock_from, shock_slope, shock_cap
    cdef double n = greater(0.0, closing)
    cdef double root = sqrt(n)
    cdef double asked = n * (p[0] + p[1] * root)
    cdef double beyond = p[3] * root - p[4]
    if beyond > 0:
        asked = asked + n * p[2] * beyond
    if n > p[5]:
        asked = asked + n * lesser(p[7], p[6] * (n - p[5]))
    return asked


cdef inline void settle(
    const Asking *asking, Sizes *sizes, Cell *cell, Py_ssize_t group, double rate
) noexcept nogil:
    # Bring the sums up to date with a cell that was changed.
    cdef Py_ssize_t i = cell.key
    cdef double high = (cell.held + cell.buys) * asking.notional[i]
    cdef double low = (cell.held - cell.sells) * asking.notional[i]
    cdef double closing = largest(cell) * asking.closing[i]
    cdef double own = cell_charge(asking, i, cell, rate)
    sizes.gross += greater(fabs(high), fabs(low)) - greater(fabs(cell.high), fabs(cell.low))
    sizes.high += high - cell.high
    sizes.low += low - cell.low
    sizes.closing[group] += closing - cell.closing
    sizes.products[asking.product[i]] += closing - cell.closing
    sizes.own[group] += own - cell.own
    cell.high, cell.low, cell.closing, cell.own = high, low, closing, own
    sizes.charge[group] = (
        group_charge(asking.group + group * GROUP_COLUMNS, sizes.closing[group]) + greater(0.0, sizes.own[group])
    )


cdef inline void copy_of(Sizes *sizes, long long key, Cell *out) noexcept nogil:
    cdef Cell *cell = find(sizes, key)
    if cell == NULL or cell.key != key:
        empty(out, key)
    else:
        out[0] = cell[0]


cdef inline double charge_with(
    const Asking *asking, Sizes *sizes, Py_ssize_t i, Py_ssize_t group, double rate, double lots, double price
) noexcept nogil:
    # What a group would ask for with one more order working.
    cdef Cell after
    cdef double closing_before, own_before, closing, own
    copy_of(sizes, i, &after)
    closing_before, own_before = after.closing, after.own
    order(&after, lots, price)
    closing = sizes.closing[group] + (largest(&after) * asking.closing[i] - closing_before)
    own = sizes.own[group] + (cell_charge(asking, i, &after, rate) - own_before)
    return group_charge(asking.group + group * GROUP_COLUMNS, closing) + greater(0.0, own)


cdef struct After:
    double notional
    double gross
    double net
    double largest
    double grown


cdef inline void after_order(
    const Asking *asking, Sizes *sizes, Py_ssize_t i, double lots, After *out
) noexcept nogil:
    # What a row would come to with one more working order of so many lots.
    cdef double notional = asking.notional[i]
    cdef Cell cell
    cdef double was, high, low, net_high = sizes.high, net_low = sizes.low, closing
    copy_of(sizes, i, &cell)
    was, closing = greater(fabs(cell.high), fabs(cell.low)), cell.closing
    order(&cell, lots, 0.0)
    high, low = (cell.held + cell.buys) * notional, (cell.held - cell.sells) * notional
    net_high, net_low = net_high + (high - cell.high), net_low + (low - cell.low)
    out.notional = fabs(lots) * notional
    out.gross = sizes.gross + (greater(fabs(high), fabs(low)) - was)
    out.net = greater(fabs(net_high), fabs(net_low))
    out.largest = largest(&cell)
    out.grown = out.largest * asking.closing[i] - closing


cdef inline bint is_within(
    const Asking *asking, Sizes *sizes, const Terms *terms, Py_ssize_t i, double lots
) noexcept nogil:
    # Whether one more order of so many lots keeps a row's limits. Written so that NaN fails.
    cdef After found
    after_order(asking, sizes, i, lots, &found)
    return (
        found.notional <= terms.max_order_notional
        and sizes.working < terms.max_working
        and found.gross <= terms.max_gross
        and found.net <= terms.max_net
        and (terms.positions == NULL or found.largest <= terms.positions[i])
    )
