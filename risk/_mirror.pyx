# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twins of risk.mirror: the same slots, the same calls of the kernel, in the same order.

An account with accounts at venues, with working orders, or in the middle of a mirror is left to its own methods.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItemWithError, PyDict_Next, PyDict_Size
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.set cimport PySet_Add, PySet_Contains, PySet_Size
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

from risk._hold cimport hold_in
from risk._slots cimport is_a, offset_of, set_slot, slot

from risk import account as _accounts, exposure as _exposures, position as _positions
from risk.instrument import UNITS_PER_WHOLE as _UNITS_PER_WHOLE

cdef extern from "Python.h":
    int PyList_SetSlice(list l, Py_ssize_t low, Py_ssize_t high, PyObject *items) except -1

cdef enum:
    COLUMNS = 6  # the arguments of MarginKernel.hold

cdef object UNITS_PER_WHOLE = _UNITS_PER_WHOLE
cdef object Account = _accounts.Account
cdef object Exposure = _exposures.Exposure
cdef object Position = _positions.Position
cdef object Books = _accounts._Books
cdef object NO_BOOKS = _accounts._NO_BOOKS
cdef object NO_VENUES = _exposures.NO_VENUES

cdef Py_ssize_t account_books = offset_of(_accounts.Account, "_books")
cdef Py_ssize_t account_is_mirroring = offset_of(_accounts.Account, "_is_mirroring")
cdef Py_ssize_t account_cash = offset_of(_accounts.Account, "cash_units")
cdef Py_ssize_t account_exposure = offset_of(_accounts.Account, "exposure")
cdef Py_ssize_t account_index = offset_of(_accounts.Account, "index")
cdef Py_ssize_t account_positions = offset_of(_accounts.Account, "positions")
cdef Py_ssize_t account_subs = offset_of(_accounts.Account, "sub_accounts")
cdef Py_ssize_t exposure_held = offset_of(_exposures.Exposure, "_held")
cdef Py_ssize_t exposure_held_next = offset_of(_exposures.Exposure, "_held_next")
cdef Py_ssize_t exposure_kernel = offset_of(_exposures.Exposure, "_kernel")
cdef Py_ssize_t exposure_next = offset_of(_exposures.Exposure, "_next")
cdef Py_ssize_t exposure_to_mirror = offset_of(_exposures.Exposure, "_to_mirror")
cdef Py_ssize_t exposure_venues = offset_of(_exposures.Exposure, "_venues")
cdef Py_ssize_t exposure_venues_next = offset_of(_exposures.Exposure, "_venues_next")
cdef Py_ssize_t position_lots = offset_of(_positions.Position, "lots")
cdef Py_ssize_t position_odd = offset_of(_positions.Position, "odd_quantity")
cdef object NOTHING_ODD = _positions.NOTHING_ODD


cdef bint is_plain(object account, bint is_mirroring) except -1:
    """Whether an account, and what is held for it, are as most are."""
    if not is_a(account, <PyObject *>Account) or (slot(account, account_is_mirroring) is True) != is_mirroring:
        return False
    exposure = slot(account, account_exposure)
    if not is_a(exposure, <PyObject *>Exposure) or PyDict_Size(<dict>slot(account, account_subs)):
        return False
    if PyDict_Size(<dict>slot(exposure, exposure_held)) or PySet_Size(slot(exposure, exposure_held_next)):
        return False
    return PyList_GET_SIZE(<list>slot(exposure, exposure_to_mirror)) == 0


def begin_some(
    list accounts, Py_ssize_t start, Py_ssize_t most, kernel, dict currency_index, venue_books, haircuts
):
    """Write accounts from `start` on, until so much is written. See risk.mirror.plain_begin_some."""
    cdef Py_ssize_t at, count = PyList_GET_SIZE(accounts), written = 0, place
    cdef PyObject *key
    cdef PyObject *value
    books = Books(kernel, currency_index, NO_BOOKS)
    add_position, add_cash = kernel.add_position, kernel.add_cash
    for at in range(start, count):
        account = <object>PyList_GET_ITEM(accounts, at)
        if haircuts is not None or not is_plain(account, False):
            written += account.begin_mirror(kernel, currency_index, venue_books, haircuts)
            if written >= most or not account.exposure.is_mirrored:
                return at + 1, written
            continue
        index = slot(account, account_index)
        positions, cash = <dict>slot(account, account_positions), <dict>slot(account, account_cash)
        place = 0
        while PyDict_Next(<dict>positions, &place, &key, &value):
            one = <object>value
            if is_a(one, <PyObject *>Position) and slot(one, position_odd) is NOTHING_ODD:
                held = slot(one, position_lots)
            else:
                held = one.held
            if held:
                add_position(index, <object>key, held)
        place = 0
        while PyDict_Next(<dict>cash, &place, &key, &value):
            add_cash(index, currency_index[<object>key], <object>value / UNITS_PER_WHOLE)
        set_slot(account, account_is_mirroring, True)
        before = <tuple>slot(account, account_books)
        set_slot(account, account_books, (*before, books))
        exposure = slot(account, account_exposure)
        set_slot(exposure, exposure_next, kernel)
        set_slot(exposure, exposure_venues_next, NO_VENUES)
        written += PyDict_Size(<dict>positions) + PyDict_Size(<dict>cash)
        if written >= most:
            return at + 1, written
    return count, written


def end_some(list accounts, Py_ssize_t start, Py_ssize_t count):
    """Let some accounts go over to the kernel that was begun. See risk.mirror.plain_end_some."""
    cdef Py_ssize_t at, stop = min(PyList_GET_SIZE(accounts), start + count), last
    for at in range(start, stop):
        account = <object>PyList_GET_ITEM(accounts, at)
        if not is_plain(account, True):
            account.end_mirror()
            continue
        exposure = slot(account, account_exposure)
        next_kernel = slot(exposure, exposure_next)
        if next_kernel is None:
            account.end_mirror()
            continue
        set_slot(exposure, exposure_kernel, next_kernel)
        set_slot(exposure, exposure_venues, slot(exposure, exposure_venues_next))
        set_slot(exposure, exposure_next, None)
        set_slot(exposure, exposure_venues_next, NO_VENUES)
        books = <tuple>slot(account, account_books)
        last = PyTuple_GET_SIZE(books) - 1
        set_slot(account, account_books, (<object>PyTuple_GET_ITEM(books, last),))
        set_slot(account, account_is_mirroring, False)
    return stop


def orders_some(exposure, Py_ssize_t count):
    """Hold some of the working orders in the kernel to come. See Exposure.mirror_some."""
    cdef Py_ssize_t at, start, stop
    cdef PyObject *found
    if not is_a(exposure, <PyObject *>Exposure) or slot(exposure, exposure_venues_next):
        return exposure.mirror_some(count)
    kernel, waiting = slot(exposure, exposure_next), <list>slot(exposure, exposure_to_mirror)
    if kernel is None or count <= 0:
        return exposure.mirror_some(count)
    held, held_next = <dict>slot(exposure, exposure_held), slot(exposure, exposure_held_next)
    stop = PyList_GET_SIZE(waiting)
    start = max(0, stop - count)
    for at in range(start, stop):
        order_id = <object>PyList_GET_ITEM(waiting, at)
        found = PyDict_GetItemWithError(held, order_id)
        if found == NULL or PySet_Contains(held_next, order_id):  # it may have ended, or changed, meanwhile
            continue
        hold_in(kernel, <object>found)
        PySet_Add(held_next, order_id)
    PyList_SetSlice(waiting, start, stop, NULL)
    return start == 0


def held_bytes(held):
    """Return what is held as doubles, one order behind the other. See risk.mirror.plain_held_bytes."""
    cdef list rows = list(held)
    cdef Py_ssize_t count = PyList_GET_SIZE(rows), at, i
    cdef bytes made = PyBytes_FromStringAndSize(NULL, count * COLUMNS * sizeof(double))
    cdef double *to = <double *>PyBytes_AS_STRING(made)
    for at in range(count):
        row = <tuple?>(<object>PyList_GET_ITEM(rows, at))
        if PyTuple_GET_SIZE(row) != COLUMNS:
            raise ValueError("an order is told of by six numbers")
        for i in range(COLUMNS):
            to[at * COLUMNS + i] = <object>PyTuple_GET_ITEM(row, i)
    return made
