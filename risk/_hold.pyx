# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twin of Exposure.hold for an order that was just approved: same tables, same arguments to the kernel.

An order of any other kind (filled in part, being replaced, held already, a stop at rest) is held by Exposure itself.
"""

from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.set cimport PySet_Add
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

from risk._cash cimport cash_of_fill
from risk._kernel_books cimport Books
from risk._slots cimport is_a, offset_of, read_float, read_int, set_slot, slot

from risk import exposure as _exposures, instrument as _instruments, kernel as _kernels, self_trade as _self_trades
from risk.lifecycle import OrdStatus as _OrdStatus

cdef long long MOST = 1 << 61
cdef long long MOST_ROWS = 1 << 31
cdef long long MOST_COUNTED = 1 << 40  # far below what the kernel refuses, and exact in a double
# Only the compiled kernel itself; whatever else holds orders is asked by its method.
cdef PyObject *Kernel = <PyObject *>_kernels.MarginKernel if issubclass(_kernels.MarginKernel, Books) else NULL

cdef object Exposure = _exposures.Exposure
cdef object WorkingOrder = _exposures.WorkingOrder
cdef object Instrument = _instruments.Instrument
cdef object ClientOrders = _self_trades.ClientOrders
cdef object Prices = _self_trades._Prices
cdef object buy = _instruments.Side.BUY
cdef object sell = _instruments.Side.SELL
cdef object PENDING_NEW = _OrdStatus.PENDING_NEW

cdef Py_ssize_t exposure_account = offset_of(_exposures.Exposure, "_account_index")
cdef Py_ssize_t exposure_held = offset_of(_exposures.Exposure, "_held")
cdef Py_ssize_t exposure_held_next = offset_of(_exposures.Exposure, "_held_next")
cdef Py_ssize_t exposure_kernel = offset_of(_exposures.Exposure, "_kernel")
cdef Py_ssize_t exposure_next = offset_of(_exposures.Exposure, "_next")
cdef Py_ssize_t exposure_venues = offset_of(_exposures.Exposure, "_venues")
cdef Py_ssize_t exposure_venues_next = offset_of(_exposures.Exposure, "_venues_next")
cdef Py_ssize_t exposure_buy_lots = offset_of(_exposures.Exposure, "buy_lots")
cdef Py_ssize_t exposure_sell_lots = offset_of(_exposures.Exposure, "sell_lots")
cdef Py_ssize_t exposure_client_orders = offset_of(_exposures.Exposure, "client_orders")
cdef Py_ssize_t exposure_orders = offset_of(_exposures.Exposure, "orders")
cdef Py_ssize_t order_order_id = offset_of(_exposures.WorkingOrder, "order_id")
cdef Py_ssize_t order_instrument = offset_of(_exposures.WorkingOrder, "instrument")
cdef Py_ssize_t order_side = offset_of(_exposures.WorkingOrder, "side")
cdef Py_ssize_t order_lots = offset_of(_exposures.WorkingOrder, "lots")
cdef Py_ssize_t order_ticks = offset_of(_exposures.WorkingOrder, "ticks")
cdef Py_ssize_t order_status = offset_of(_exposures.WorkingOrder, "status")
cdef Py_ssize_t order_cum_lots = offset_of(_exposures.WorkingOrder, "cum_lots")
cdef Py_ssize_t order_replace = offset_of(_exposures.WorkingOrder, "replace")
cdef Py_ssize_t order_held = offset_of(_exposures.WorkingOrder, "held")
cdef Py_ssize_t order_terms = offset_of(_exposures.WorkingOrder, "terms")
cdef Py_ssize_t instrument_index = offset_of(_instruments.Instrument, "index")
cdef Py_ssize_t instrument_venue = offset_of(_instruments.Instrument, "venue")
cdef Py_ssize_t clients_buys = offset_of(_self_trades.ClientOrders, "_buys")
cdef Py_ssize_t clients_sells = offset_of(_self_trades.ClientOrders, "_sells")
cdef Py_ssize_t prices_counts = offset_of(_self_trades._Prices, "counts")


def hold(exposure, order):
    """Hold what a new order could do. See Exposure.hold."""
    hold_new(exposure, order)


cdef int hold_new(object exposure, object order) except -1:
    cdef long long lots = 0, ticks = 0, filled = 0
    cdef double cash = 0.0
    cdef bint is_buy
    cdef PyObject *found
    if not is_a(exposure, <PyObject *>Exposure) or not is_a(order, <PyObject *>WorkingOrder):
        exposure.hold(order)
        return 0
    instrument, side = slot(order, order_instrument), slot(order, order_side)
    is_buy = side is buy
    if not (
        (is_buy or side is sell)
        and slot(order, order_status) is PENDING_NEW and slot(order, order_held) is None
        and slot(order, order_replace) is None and slot(order, order_terms) is None
        and read_int(slot(order, order_cum_lots), MOST, &filled) and filled == 0
        and read_int(slot(order, order_lots), MOST, &lots) and lots > 0
        and read_int(slot(order, order_ticks), MOST, &ticks)
        and is_a(instrument, <PyObject *>Instrument)
        and cash_of_fill(instrument, is_buy, lots, ticks, &cash)
    ):
        exposure.hold(order)
        return 0
    order_id, index, count = slot(order, order_order_id), slot(instrument, instrument_index), slot(order, order_lots)
    set_slot(order, order_held, (count, slot(order, order_ticks)))
    PyDict_SetItem(<dict>slot(exposure, exposure_orders), order_id, order)
    by_instrument = <dict>slot(exposure, exposure_buy_lots if is_buy else exposure_sell_lots)
    found = PyDict_GetItemWithError(by_instrument, index)
    PyDict_SetItem(by_instrument, index, count if found == NULL else <object>found + count)
    signed = count if is_buy else -lots
    account = slot(exposure, exposure_account)
    arguments = (account, index, signed, cash, 0.0, 0.0)
    PyDict_SetItem(<dict>slot(exposure, exposure_held), order_id, arguments)
    kernel = slot(exposure, exposure_kernel)
    if kernel is not None:
        hold_in(kernel, arguments)
        venues = slot(exposure, exposure_venues)
        if venues:
            kernel = venues.get(slot(instrument, instrument_venue))
            if kernel is not None:
                kernel.hold(account, index, signed, cash, 0.0, 0.0)
    kernel = slot(exposure, exposure_next)
    if kernel is not None:
        hold_in(kernel, arguments)
        kernel = slot(exposure, exposure_venues_next).get(slot(instrument, instrument_venue))
        if kernel is not None:
            kernel.hold(account, index, signed, cash, 0.0, 0.0)
        PySet_Add(slot(exposure, exposure_held_next), order_id)
    clients = slot(exposure, exposure_client_orders)
    if clients is not None and not joins(clients, is_buy, index, ticks):
        clients.add(side, index, slot(order, order_ticks))
    return 0


cdef int hold_in(object kernel, object arguments) except -1:
    """Count a working order in a kernel, as kernel.hold(*arguments); arguments are those that an exposure keeps."""
    cdef long long account = 0, instrument = 0, lots = 0
    cdef double cash = 0.0, alternative = 0.0, alternative_cash = 0.0
    cdef Py_ssize_t row
    cdef Books books
    held = <tuple>arguments
    if (
        is_a(kernel, Kernel) and PyTuple_GET_SIZE(held) == 6
        and read_int(<object>PyTuple_GET_ITEM(held, 0), MOST_ROWS, &account) and account >= 0
        and read_int(<object>PyTuple_GET_ITEM(held, 1), MOST_ROWS, &instrument)
        and read_int(<object>PyTuple_GET_ITEM(held, 2), MOST_COUNTED, &lots)
        and read_float(<object>PyTuple_GET_ITEM(held, 3), &cash) and -MOST_COUNTED <= cash <= MOST_COUNTED
        and read_float(<object>PyTuple_GET_ITEM(held, 4), &alternative) and alternative == 0.0
        and read_float(<object>PyTuple_GET_ITEM(held, 5), &alternative_cash) and alternative_cash == 0.0
    ):
        books, row = <Books>kernel, account
        books._book(row)
        books._check_instrument(instrument)
        while row >= 0:
            books._hold(books._book(row), instrument, <double>lots, cash, alternative, alternative_cash)
            row = books.parents[row]
    else:
        kernel.hold(*held)
    return 0


cdef bint joins(object clients, bint is_buy, object index, long long ticks) except -1:
    """Whether an order was counted at a price that the client has orders at; False, and nothing done, at any other."""
    cdef PyObject *found
    if not is_a(clients, <PyObject *>ClientOrders):
        return False
    found = PyDict_GetItemWithError(<dict>slot(clients, clients_buys if is_buy else clients_sells), index)
    if found == NULL or not is_a(<object>found, <PyObject *>Prices):
        return False
    counts, key = <dict>slot(<object>found, prices_counts), -ticks if is_buy else ticks
    found = PyDict_GetItemWithError(counts, key)
    if found == NULL:
        return False
    PyDict_SetItem(counts, key, <object>found + 1)
    return True
