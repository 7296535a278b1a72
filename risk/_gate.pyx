# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The checks of pre_trade.py, compiled, for as far as an order passes them: see gate.py for what is promised.

Each step below is the condition of the check that it is named after, read from the same objects. Where anything is not
as the ordinary order has it (a replace, another class, an integer beyond 2**61) no check is vouched for.
"""

from cpython.dict cimport PyDict_GetItemWithError, PyDict_Size
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.set cimport PySet_Contains
from cpython.tuple cimport PyTuple_GET_ITEM

from risk._cash cimport cash_of_fill
from risk._slots cimport is_a, is_true, offset_of, read_float, read_int, slot

from risk import account as _accounts, exposure as _exposures, instrument as _instruments, limits as _limits
from risk import levels as _levels, venue_book as _venues
from risk import marks as _marks, order as _orders, position as _positions, rate as _rates, self_trade as _self_trades

cdef enum:
    CHECKS = 16
    BEFORE_RATE = 7
    MOST_EXTRAS = 16

# No sum of three such numbers, and no difference of two such times, leaves 64 bits.
cdef long long MOST = 1 << 61
cdef long long DAY_NS = _accounts.CL_ORD_ID_MEMORY_NS

# Held for as long as the module is: a class that is compared by address must not go away.
cdef object _order_class = _orders.Order
cdef object _account_class = _accounts.Account
cdef object _market_class = _marks.Market
cdef object _mark_class = _marks.Mark
cdef object _instrument_class = _instruments.Instrument
cdef object _limits_class = _limits.Limits
cdef object _row_class = _limits.InstrumentLimits
cdef object _rate_class = _rates.RateLimit
cdef object _ids_class = _accounts.RecentIds
cdef object _exposure_class = _exposures.Exposure
cdef object _position_class = _positions.Position
cdef object _hierarchy_class = _levels.Hierarchy
cdef object _sub_account_class = _venues.SubAccount
cdef object _book_class = _venues.VenueBook
cdef object _clients_class = _self_trades.ClientOrders
cdef object _prices_class = _self_trades._Prices

cdef object _sell = _instruments.Side.SELL
cdef object _buy = _instruments.Side.BUY
cdef object _option = _instruments.Kind.OPTION
cdef object _halted = _accounts.AccountState.HALTED
cdef object _off = _self_trades.SelfTradePrevention.OFF
cdef object _trading = _accounts.AccountState.TRADING

cdef Py_ssize_t order_cl_ord_id = offset_of(_order_class, "cl_ord_id")
cdef Py_ssize_t order_instrument = offset_of(_order_class, "instrument")
cdef Py_ssize_t order_side = offset_of(_order_class, "side")
cdef Py_ssize_t order_lots = offset_of(_order_class, "lots")
cdef Py_ssize_t order_ticks = offset_of(_order_class, "ticks")
cdef Py_ssize_t order_is_reduce_only = offset_of(_order_class, "is_reduce_only")
cdef Py_ssize_t order_received_ns = offset_of(_order_class, "received_ns")
cdef Py_ssize_t order_replaces = offset_of(_order_class, "replaces")

cdef Py_ssize_t account_index = offset_of(_account_class, "index")
cdef Py_ssize_t account_state = offset_of(_account_class, "state")
cdef Py_ssize_t account_limits = offset_of(_account_class, "limits")
cdef Py_ssize_t account_rate = offset_of(_account_class, "rate")
cdef Py_ssize_t account_ids = offset_of(_account_class, "cl_ord_ids")
cdef Py_ssize_t account_self_trade = offset_of(_account_class, "self_trade_prevention")
cdef Py_ssize_t account_exposure = offset_of(_account_class, "exposure")
cdef Py_ssize_t account_positions = offset_of(_account_class, "positions")
cdef Py_ssize_t account_constraints = offset_of(_account_class, "constraints")
cdef Py_ssize_t account_sub_accounts = offset_of(_account_class, "sub_accounts")

cdef Py_ssize_t market_kernel = offset_of(_market_class, "kernel")
cdef Py_ssize_t market_marks = offset_of(_market_class, "marks")
cdef Py_ssize_t market_mark_age = offset_of(_market_class, "mark_max_age_ns")
cdef Py_ssize_t market_own_ages = offset_of(_market_class, "own_mark_ages_ns")
cdef Py_ssize_t market_generation_age = offset_of(_market_class, "generation_max_age_ns")
cdef Py_ssize_t market_generation_time = offset_of(_market_class, "generation_time_ns")
cdef Py_ssize_t market_priced_count = offset_of(_market_class, "priced_count")
cdef Py_ssize_t market_halts = offset_of(_market_class, "halts")
cdef Py_ssize_t market_live_venues = offset_of(_market_class, "live_venues")
cdef Py_ssize_t market_base = offset_of(_market_class, "base_scenario")
cdef Py_ssize_t market_hierarchy = offset_of(_market_class, "hierarchy")
cdef Py_ssize_t market_venue_books = offset_of(_market_class, "venue_books")

cdef Py_ssize_t sub_account_book = offset_of(_sub_account_class, "book")
cdef Py_ssize_t book_kernel = offset_of(_book_class, "kernel")
cdef Py_ssize_t book_priced_count = offset_of(_book_class, "priced_count")

cdef Py_ssize_t mark_price = offset_of(_mark_class, "price")
cdef Py_ssize_t mark_index_price = offset_of(_mark_class, "index_price")
cdef Py_ssize_t mark_time = offset_of(_mark_class, "time_ns")
cdef Py_ssize_t mark_low = offset_of(_mark_class, "collar_low_ticks")
cdef Py_ssize_t mark_high = offset_of(_mark_class, "collar_high_ticks")

cdef Py_ssize_t instrument_index = offset_of(_instrument_class, "index")
cdef Py_ssize_t instrument_venue = offset_of(_instrument_class, "venue")
cdef Py_ssize_t instrument_kind = offset_of(_instrument_class, "kind")
cdef Py_ssize_t instrument_is_inverse = offset_of(_instrument_class, "is_inverse")
cdef Py_ssize_t instrument_is_open = offset_of(_instrument_class, "is_open")
cdef Py_ssize_t instrument_expiry = offset_of(_instrument_class, "expiry_ns")
cdef Py_ssize_t instrument_tick_steps = offset_of(_instrument_class, "tick_steps")
cdef Py_ssize_t instrument_tick = offset_of(_instrument_class, "tick")
cdef Py_ssize_t instrument_lot_amount = offset_of(_instrument_class, "lot_amount")

cdef Py_ssize_t limits_notional = offset_of(_limits_class, "max_order_notional")
cdef Py_ssize_t limits_working = offset_of(_limits_class, "max_working_orders")
cdef Py_ssize_t limits_rows = offset_of(_limits_class, "by_instrument")
cdef Py_ssize_t row_order_lots = offset_of(_row_class, "max_order_lots")
cdef Py_ssize_t row_position_lots = offset_of(_row_class, "max_position_lots")

cdef Py_ssize_t rate_interval = offset_of(_rate_class, "_interval_ns")
cdef Py_ssize_t rate_tolerance = offset_of(_rate_class, "_tolerance_ns")
cdef Py_ssize_t rate_arrival = offset_of(_rate_class, "_arrival_ns")

cdef Py_ssize_t ids_ids = offset_of(_ids_class, "_ids")
cdef Py_ssize_t ids_oldest = offset_of(_ids_class, "_oldest_ns")
cdef Py_ssize_t ids_capacity = offset_of(_ids_class, "capacity")

cdef Py_ssize_t exposure_orders = offset_of(_exposure_class, "orders")
cdef Py_ssize_t exposure_buy_lots = offset_of(_exposure_class, "buy_lots")
cdef Py_ssize_t exposure_sell_lots = offset_of(_exposure_class, "sell_lots")
cdef Py_ssize_t exposure_client_orders = offset_of(_exposure_class, "client_orders")
cdef Py_ssize_t clients_buys = offset_of(_clients_class, "_buys")
cdef Py_ssize_t clients_sells = offset_of(_clients_class, "_sells")
cdef Py_ssize_t prices_heap = offset_of(_prices_class, "heap")
cdef Py_ssize_t position_lots = offset_of(_position_class, "lots")


# What later came to an order beside these fields must be None: only the plain checks know what that means.
_KNOWN_FIELDS = frozenset(
    "cl_ord_id account symbol instrument side lots ticks ord_type time_in_force is_post_only is_reduce_only received_ns"
    " replaces".split()
)
cdef Py_ssize_t extras[MOST_EXTRAS]
cdef int extra_count = 0
for _name in _order_class.__struct_fields__:
    if _name not in _KNOWN_FIELDS:
        extras[extra_count] = offset_of(_order_class, _name)
        extra_count += 1

cdef object shortfall = None

# The checks whose conditions are below, in order.
KNOWN_CHECKS = (
    "account_is_trading", "instrument_is_known", "product_is_permitted", "price_and_quantity_are_whole",
    "quantity_is_within_limit", "notional_is_within_limit", "cl_ord_id_is_new", "rate_is_within_limit",
    "price_is_within_collar", "mark_is_fresh", "own_orders_are_not_met", "position_is_within_limit",
    "levels_are_within_limits", "profile_is_kept", "venue_margin_is_covered", "margin_is_covered",
)


cdef struct Asked:
    # What is asked for, and what an order is checked against, as far as that is numbers.
    long long lots
    long long ticks
    long long now_ns
    bint is_buy
    double tick
    double lot_amount
    double mark_price
    double mark_index_price
    long long mark_time_ns
    long long low_ticks
    long long high_ticks
    double cash  # what a fill of all of it leaves, where the checks of margin were reached


def surely_passed(order, account, market):
    """Return how many checks, in order, this order passes for certain. See gate.py."""
    cdef Asked asked
    return _passed(order, account, market, &asked)


cpdef object first_look(order, account, market):
    """Return the refusal of an order that leaves its own account short for certain, else as surely_passed. See gate.py."""
    cdef Asked asked
    cdef int passed = _passed(order, account, market, &asked)
    # Without profiles, since product_is_permitted was passed; and where the account may trade.
    if passed != CHECKS - 1 or shortfall is None or slot(account, account_state) is not _trading:
        return passed
    lots = slot(order, order_lots) if asked.is_buy else -asked.lots
    try:
        short = _short(account, market, slot(order, order_instrument), lots, asked.cash)
    except Exception:
        return passed  # the plain check meets the same, and says that it did
    if short is None:
        return passed
    return shortfall(
        order, account, market, <object>PyTuple_GET_ITEM(short, 0), <object>PyTuple_GET_ITEM(short, 1)
    )


def refuse_by(function):
    """Have `function(order, account, market, equity, left)` make first_look's refusals: margin_checks hands it over."""
    global shortfall
    shortfall = function


cdef int _passed(object order, object account, object market, Asked *asked) except -1:
    cdef int passed
    if not (
        is_a(order, <PyObject *>_order_class) and is_a(account, <PyObject *>_account_class)
        and is_a(market, <PyObject *>_market_class)
    ):
        return 0
    instrument = slot(order, order_instrument)
    if slot(order, order_replaces) is not None or not is_a(instrument, <PyObject *>_instrument_class):
        return 0
    for passed in range(extra_count):
        if slot(order, extras[passed]) is not None:
            return 0
    side = slot(order, order_side)
    asked.is_buy = side is _buy
    if not (
        (asked.is_buy or side is _sell)
        and read_int(slot(order, order_lots), MOST, &asked.lots)
        and read_int(slot(order, order_ticks), MOST, &asked.ticks)
        and read_int(slot(order, order_received_ns), MOST, &asked.now_ns)
        and read_float(slot(instrument, instrument_tick), &asked.tick)
        and read_float(slot(instrument, instrument_lot_amount), &asked.lot_amount)
        and _read_mark(slot(market, market_marks), slot(instrument, instrument_index), asked)
    ):
        return 0
    passed = _without_rate(order, account, market, instrument, asked)
    if passed < BEFORE_RATE or not _rate_and_working(account, asked):
        return passed
    return _with_market(order, account, market, instrument, asked)


cdef bint _read_mark(object marks, object index, Asked *asked) except -1:
    """Read the instrument's mark; False where there is none: without one an order is refused anyway."""
    cdef long long row = 0
    if not read_int(index, MOST, &row) or not 0 <= row < PyList_GET_SIZE(<list>marks):
        return False
    mark = <object>PyList_GET_ITEM(<list>marks, row)
    return (
        is_a(mark, <PyObject *>_mark_class)
        and read_float(slot(mark, mark_price), &asked.mark_price)
        and read_float(slot(mark, mark_index_price), &asked.mark_index_price)
        and read_int(slot(mark, mark_time), MOST, &asked.mark_time_ns)
        and read_int(slot(mark, mark_low), MOST, &asked.low_ticks)
        and read_int(slot(mark, mark_high), MOST, &asked.high_ticks)
    )


cdef int _without_rate(object order, object account, object market, object instrument, Asked *asked) except -1:
    """The checks before the rate."""
    cdef long long expiry_ns = 0, most_lots = 0
    cdef double limit = 0.0
    cdef PyObject *row
    # account_is_trading
    if slot(account, account_state) is _halted:
        return 0
    # instrument_is_known; where anything is halted, only the plain check knows what
    if PyDict_Size(<dict>slot(market, market_halts)):
        return 1
    limits = slot(account, account_limits)
    if not is_a(limits, <PyObject *>_limits_class) or not is_true(instrument, instrument_is_open):
        return 1
    expiry = slot(instrument, instrument_expiry)
    if expiry is not None and (not read_int(expiry, MOST, &expiry_ns) or asked.now_ns >= expiry_ns):
        return 1
    row = PyDict_GetItemWithError(<dict>slot(limits, limits_rows), slot(instrument, instrument_index))
    if row == NULL or not is_a(<object>row, <PyObject *>_row_class):
        return 1
    if not PySet_Contains(<set>slot(market, market_live_venues), slot(instrument, instrument_venue)):
        return 1
    # product_is_permitted, where no profile says anything
    if slot(account, account_constraints) is not None:
        return 2
    # price_and_quantity_are_whole
    if asked.lots <= 0 or asked.ticks <= 0:
        return 3
    if <tuple>slot(instrument, instrument_tick_steps) and not instrument.ticks_are_on_step(slot(order, order_ticks)):
        return 3
    # quantity_is_within_limit
    if not read_int(slot(<object>row, row_order_lots), MOST, &most_lots) or asked.lots > most_lots:
        return 4
    # notional_is_within_limit; so written, a limit that is NaN is not passed
    if not read_float(slot(limits, limits_notional), &limit) or not _notional(instrument, asked) <= limit:
        return 5
    # cl_ord_id_is_new
    return BEFORE_RATE if _is_new(slot(account, account_ids), slot(order, order_cl_ord_id), asked.now_ns) else 6


cdef double _notional(object instrument, Asked *asked) except? -1.0:
    cdef double amount = <double>asked.lots * asked.lot_amount
    cdef double price = <double>asked.ticks * asked.tick
    if is_true(instrument, instrument_is_inverse):
        return amount
    if slot(instrument, instrument_kind) is _option:
        return amount * asked.mark_index_price
    if not asked.is_buy and asked.mark_price > price:
        price = asked.mark_price
    return amount * price


cdef bint _is_new(object memory, object cl_ord_id, long long now_ns) except -1:
    cdef PyObject *found
    cdef long long oldest_ns = 0, capacity = 0
    if not is_a(memory, <PyObject *>_ids_class):
        return False
    ids = <dict>slot(memory, ids_ids)
    found = PyDict_GetItemWithError(ids, cl_ord_id)
    if found != NULL:
        return False  # used in the last day, or by an order that may still work: the plain check knows
    if not read_int(slot(memory, ids_oldest), MOST, &oldest_ns) or now_ns - oldest_ns > DAY_NS:
        return memory.has_room(now_ns)
    return read_int(slot(memory, ids_capacity), MOST, &capacity) and PyDict_Size(ids) < capacity


cdef bint _rate_and_working(object account, Asked *asked) except -1:
    """rate_is_within_limit; the order is counted only where both halves pass, else the plain check counts it."""
    cdef long long arrival_ns = 0, interval_ns = 0, tolerance_ns = 0, most = 0
    rate = slot(account, account_rate)
    exposure = slot(account, account_exposure)
    if not is_a(rate, <PyObject *>_rate_class) or not is_a(exposure, <PyObject *>_exposure_class):
        return False
    if not (
        read_int(slot(rate, rate_arrival), MOST, &arrival_ns)
        and read_int(slot(rate, rate_interval), MOST, &interval_ns)
        and read_int(slot(rate, rate_tolerance), MOST, &tolerance_ns)
        and read_int(slot(slot(account, account_limits), limits_working), MOST, &most)
    ):
        return False
    if arrival_ns - asked.now_ns > tolerance_ns or PyDict_Size(<dict>slot(exposure, exposure_orders)) >= most:
        return False
    rate._arrival_ns = (arrival_ns if arrival_ns > asked.now_ns else asked.now_ns) + interval_ns
    return True


cdef int _with_market(object order, object account, object market, object instrument, Asked *asked) except -1:
    """The checks behind the rate."""
    cdef long long mark_age_ns = 0, generation_age_ns = 0, generation_ns = 0, age_ns
    cdef long long priced = 0, index = 0
    cdef PyObject *own_age
    # price_is_within_collar
    if not asked.low_ticks <= asked.ticks <= asked.high_ticks:
        return 8
    # mark_is_fresh
    age_ns = asked.now_ns - asked.mark_time_ns
    limit = slot(market, market_mark_age)
    own_age = PyDict_GetItemWithError(<dict>slot(market, market_own_ages), slot(instrument, instrument_index))
    if own_age != NULL:
        limit = <object>own_age
    if not read_int(limit, MOST, &mark_age_ns) or not -mark_age_ns <= age_ns <= mark_age_ns:
        return 9
    if not (
        read_int(slot(market, market_generation_age), MOST, &generation_age_ns)
        and read_int(slot(market, market_generation_time), MOST, &generation_ns)
        and asked.now_ns - generation_ns <= generation_age_ns
    ):
        return 9
    # own_orders_are_not_met, where there is none on the other side that could be
    if slot(account, account_self_trade) is not _off and not _meets_none(account, instrument, asked):
        return 10
    # position_is_within_limit
    if not _position_fits(order, account, slot(instrument, instrument_index), asked):
        return 11
    # All further checks ask what is priced; where nothing must be compared with how it is without the order.
    if not (
        read_int(slot(instrument, instrument_index), MOST, &index)
        and read_int(slot(market, market_priced_count), MOST << 1, &priced)
        and index < priced
        and cash_of_fill(instrument, asked.is_buy, asked.lots, asked.ticks, &asked.cash)
    ):
        return 12
    lots = slot(order, order_lots) if asked.is_buy else -asked.lots
    return _with_margin(account, market, instrument, lots, asked.cash)


cdef int _with_margin(object account, object market, object instrument, object lots, object cash) except -1:
    """The checks that ask kernels."""
    cdef long long answer = 0, priced = 0, at = 0
    cdef PyObject *found
    kernel, row, index = slot(market, market_kernel), slot(account, account_index), slot(instrument, instrument_index)
    # levels_are_within_limits
    hierarchy = slot(market, market_hierarchy)
    if hierarchy is not None:
        if not is_a(hierarchy, <PyObject *>_hierarchy_class):
            return 12
        if not read_int(kernel.first_beyond(row, index, lots), MOST, &answer) or answer >= 0:
            return 12
    # profile_is_kept: without profiles, since product_is_permitted was passed
    # venue_margin_is_covered
    sub_accounts = slot(account, account_sub_accounts)
    if PyDict_Size(<dict>sub_accounts):
        found = PyDict_GetItemWithError(<dict>sub_accounts, slot(instrument, instrument_venue))
        if found != NULL:
            if not is_a(<object>found, <PyObject *>_sub_account_class):
                return 14
            key = slot(<object>found, sub_account_book)
            found = PyDict_GetItemWithError(<dict>slot(market, market_venue_books), key)
            if found == NULL or not is_a(<object>found, <PyObject *>_book_class):
                return 14
            book = <object>found
            if not (
                read_int(index, MOST, &at) and read_int(slot(book, book_priced_count), MOST, &priced) and at < priced
                and <double>slot(book, book_kernel).what_if_of_group(row, index, lots, cash) >= 0.0
            ):
                return 14
    # margin_is_covered; an account that may only reduce is compared
    if slot(account, account_state) is not _trading:
        return 15
    if not read_int(kernel.first_short(row, slot(market, market_base), index, lots, cash), MOST, &answer):
        return 15
    return CHECKS if answer < 0 else 15


def surely_short(order, account, market):
    """Return (equity, what is left) where an order leaves its own account short for certain. See gate.py."""
    cdef long long lots = 0, ticks = 0, index = 0, priced = 0
    cdef double cash = 0.0
    if not (
        is_a(order, <PyObject *>_order_class) and is_a(account, <PyObject *>_account_class)
        and is_a(market, <PyObject *>_market_class)
    ):
        return None
    instrument, side, state = slot(order, order_instrument), slot(order, order_side), slot(account, account_state)
    if not (
        slot(order, order_replaces) is None and is_a(instrument, <PyObject *>_instrument_class)
        and (side is _buy or side is _sell) and state is _trading
        and read_int(slot(order, order_lots), MOST, &lots) and read_int(slot(order, order_ticks), MOST, &ticks)
        and read_int(slot(instrument, instrument_index), MOST, &index)
        and read_int(slot(market, market_priced_count), MOST << 1, &priced) and index < priced
        and cash_of_fill(instrument, side is _buy, lots, ticks, &cash)
    ):
        return None
    return _short(account, market, instrument, lots if side is _buy else -lots, cash)


cdef tuple _short(object account, object market, object instrument, object lots, object cash):
    """Return (equity, what is left) of the account's own row, or None where that is not worse than now, and short."""
    cdef double worst
    kernel, row = slot(market, market_kernel), slot(account, account_index)
    left = kernel.what_if(row, slot(instrument, instrument_index), lots, cash)
    worst = left
    # NaN is neither: an unknown margin is told as such, and what makes the worst case better may pass.
    if not worst < 0.0 or not worst < <double>kernel.worst(row):
        return None
    return kernel.equity(row, slot(market, market_base)), left


cdef bint _meets_none(object account, object instrument, Asked *asked) except -1:
    """Whether no working order of the client is on the other side at a price that this one could trade at."""
    cdef long long best = 0
    cdef PyObject *found
    clients = slot(slot(account, account_exposure), exposure_client_orders)
    if clients is None:
        return True
    if not is_a(clients, <PyObject *>_clients_class):
        return False
    by_instrument = <dict>slot(clients, clients_sells if asked.is_buy else clients_buys)
    found = PyDict_GetItemWithError(by_instrument, slot(instrument, instrument_index))
    if found == NULL:
        return True
    if not is_a(<object>found, <PyObject *>_prices_class):
        return False
    heap = <list>slot(<object>found, prices_heap)
    if PyList_GET_SIZE(heap) == 0:
        return True
    # The least key is the best price, whether or not an order is left there: buys are kept by their negative.
    if not read_int(<object>PyList_GET_ITEM(heap, 0), MOST, &best):
        return False
    return best > (asked.ticks if asked.is_buy else -asked.ticks)


cdef bint _position_fits(object order, object account, object index, Asked *asked) except -1:
    cdef long long held = 0, working = 0, most = 0, worst
    cdef PyObject *found
    found = PyDict_GetItemWithError(<dict>slot(account, account_positions), index)
    if found != NULL:
        if not is_a(<object>found, <PyObject *>_position_class):
            return False
        if not read_int(slot(<object>found, position_lots), MOST, &held):
            return False
    exposure = slot(account, account_exposure)
    by_instrument = <dict>slot(exposure, exposure_buy_lots if asked.is_buy else exposure_sell_lots)
    found = PyDict_GetItemWithError(by_instrument, index)
    if found != NULL and not read_int(<object>found, MOST, &working):
        return False
    worst = working + asked.lots + (held if asked.is_buy else -held)
    if worst > 0 and not slot(order, order_is_reduce_only) is False:
        return False
    found = PyDict_GetItemWithError(<dict>slot(slot(account, account_limits), limits_rows), index)
    return found != NULL and read_int(slot(<object>found, row_position_lots), MOST, &most) and worst <= most
