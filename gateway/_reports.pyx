# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twin of report_values.py: the same values, to the byte. What is not ordinary is asked of the plain one.

The place of each value comes from the layout's own tags. A field of an order that is not known here must be empty: what
came later says something that only the plain twin knows how to tell.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.string cimport memcpy

from protocols.fix._codec cimport byte, put_decimal, put_hundredths, put_time
from risk._slots cimport is_a, offset_of, read_float, read_int, slot

from gateway import report_values as plain
from gateway.records import OrderRefused as _OrderRefused
from protocols.fix.messages import EXECUTION_REPORT
from risk.exposure import WorkingOrder as _WorkingOrder
from risk.instrument import Instrument as _Instrument
from risk.lifecycle import WORKING as _WORKING

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    void Py_XDECREF(PyObject *o)

cdef extern from *:
    bint __builtin_mul_overflow(long long a, long long b, long long *result) noexcept nogil

cdef enum:
    TEXT_BYTES = 2048
    NUMBERS_BYTES = 160  # what limit, observed and required add to a text at the most
    MOST_EXTRAS = 32

cdef long long MOST = 1 << 61

cdef object OrderRefused = _OrderRefused
cdef object WorkingOrder = _WorkingOrder
cdef object Instrument = _Instrument
cdef dict reasons = plain.REASONS
cdef dict statuses = plain.STATUSES
cdef dict ord_types = plain.ORD_TYPES
cdef dict sides = plain.SIDES
cdef dict times_in_force = plain.TIMES_IN_FORCE
cdef tuple no_refusal = plain.NO_REFUSAL

cdef tuple layout_tags = EXECUTION_REPORT.tags
cdef Py_ssize_t width = len(layout_tags)


cdef int place(int tag) except -1:
    return layout_tags.index(tag)


cdef int account_at = place(1), avg_px_at = place(6), cl_ord_id_at = place(11), cum_qty_at = place(14)
cdef int exec_id_at = place(17), last_px_at = place(31), last_qty_at = place(32), order_id_at = place(37)
cdef int quantity_at = place(38), status_at = place(39), ord_type_at = place(40), orig_at = place(41)
cdef int price_at = place(44), side_at = place(54), symbol_at = place(55), text_at = place(58)
cdef int time_in_force_at = place(59), time_at = place(60), reason_at = place(103), exec_type_at = place(150)
cdef int leaves_at = place(151), refusal_at = place(plain.REFUSAL_TAGS[0])

cdef Py_ssize_t refused_cl_ord_id = offset_of(_OrderRefused, "cl_ord_id")
cdef Py_ssize_t refused_account = offset_of(_OrderRefused, "account")
cdef Py_ssize_t refused_symbol = offset_of(_OrderRefused, "symbol")
cdef Py_ssize_t refused_side = offset_of(_OrderRefused, "side")
cdef Py_ssize_t refused_ord_type = offset_of(_OrderRefused, "ord_type")
cdef Py_ssize_t refused_quantity = offset_of(_OrderRefused, "quantity")
cdef Py_ssize_t refused_price = offset_of(_OrderRefused, "price")
cdef Py_ssize_t refused_reason = offset_of(_OrderRefused, "reason")
cdef Py_ssize_t refused_check = offset_of(_OrderRefused, "check")
cdef Py_ssize_t refused_text = offset_of(_OrderRefused, "text")
cdef Py_ssize_t refused_limit = offset_of(_OrderRefused, "limit")
cdef Py_ssize_t refused_observed = offset_of(_OrderRefused, "observed")
cdef Py_ssize_t refused_required = offset_of(_OrderRefused, "required")
cdef Py_ssize_t refused_mark_age = offset_of(_OrderRefused, "mark_age_ns")

cdef Py_ssize_t order_order_id = offset_of(_WorkingOrder, "order_id")
cdef Py_ssize_t order_cl_ord_id = offset_of(_WorkingOrder, "cl_ord_id")
cdef Py_ssize_t order_account = offset_of(_WorkingOrder, "account")
cdef Py_ssize_t order_instrument = offset_of(_WorkingOrder, "instrument")
cdef Py_ssize_t order_side = offset_of(_WorkingOrder, "side")
cdef Py_ssize_t order_lots = offset_of(_WorkingOrder, "lots")
cdef Py_ssize_t order_ticks = offset_of(_WorkingOrder, "ticks")
cdef Py_ssize_t order_ord_type = offset_of(_WorkingOrder, "ord_type")
cdef Py_ssize_t order_time_in_force = offset_of(_WorkingOrder, "time_in_force")
cdef Py_ssize_t order_status = offset_of(_WorkingOrder, "status")
cdef Py_ssize_t order_cum_lots = offset_of(_WorkingOrder, "cum_lots")
cdef Py_ssize_t order_cum_lot_ticks = offset_of(_WorkingOrder, "cum_lot_ticks")
cdef Py_ssize_t tick_mantissa_slot = offset_of(_Instrument, "tick_mantissa")
cdef Py_ssize_t tick_exponent_slot = offset_of(_Instrument, "tick_exponent")
cdef Py_ssize_t lot_mantissa_slot = offset_of(_Instrument, "lot_mantissa")
cdef Py_ssize_t lot_exponent_slot = offset_of(_Instrument, "lot_exponent")
cdef Py_ssize_t symbol_slot = offset_of(_Instrument, "symbol")

_KNOWN_FIELDS = frozenset(
    "order_id cl_ord_id session account instrument side lots ticks ord_type time_in_force is_post_only is_reduce_only"
    " received_ns status venue_order_id cum_lots cum_lot_ticks is_cancel_pending cancel_cl_ord_id cancel_session"
    " replace held held_alternative".split()
)
cdef Py_ssize_t extras[MOST_EXTRAS]
cdef int extra_count = 0
for _name in _WorkingOrder.__struct_fields__:
    if _name not in _KNOWN_FIELDS:
        extras[extra_count] = offset_of(_WorkingOrder, _name)
        extra_count += 1


cdef inline void put(tuple values, int at, object value) noexcept:
    """Set an item of a tuple that is new; each item once."""
    Py_INCREF(value)
    PyTuple_SET_ITEM(values, at, value)


cdef bytes time_text(long long time_ns):
    cdef byte text[32]
    return PyBytes_FromStringAndSize(<char *>text, put_time(text, time_ns, 3))


cdef bytes ascii_of(object text):
    cdef Py_ssize_t size = 0
    cdef const char *s = PyUnicode_AsUTF8AndSize(text, &size)
    return PyBytes_FromStringAndSize(s, size)


cdef tuple blank():
    """Return a tuple without items, of the layout's width."""
    return PyTuple_New(width)


cdef int fill(tuple values) except -1:
    """Put None wherever nothing was put."""
    cdef Py_ssize_t i
    for i in range(width):
        if PyTuple_GET_ITEM(values, i) == NULL:
            put(values, i, None)
    return 0


# --- a refusal ------------------------------------------------------------------------------------------------------

cdef object number_text(object value, const char *name, int name_size, byte *text, Py_ssize_t *at):
    """Return a number as bytes, and write it behind its name into the text; None for None."""
    cdef double amount = 0.0
    cdef byte digits[40]
    cdef int size = 0
    if value is None:
        return None
    if read_float(value, &amount) and (1.0 <= amount < 1e9 or -1e9 < amount <= -1.0):
        size = put_hundredths(digits, amount)
    if size:
        made = PyBytes_FromStringAndSize(<char *>digits, size)
    else:
        made = plain.number(value)
    if len(made) > 40:
        raise OverflowError("a number of more than 40 bytes")
    memcpy(text + at[0], name, name_size)
    at[0] += name_size
    memcpy(text + at[0], <const char *>made, len(made))
    at[0] += len(made)
    return made


cdef int put_text(byte *text, Py_ssize_t *at, object piece) except -1:
    cdef Py_ssize_t size = 0
    cdef const char *s = PyUnicode_AsUTF8AndSize(piece, &size)
    if at[0] + size > TEXT_BYTES - NUMBERS_BYTES:
        raise OverflowError("a long text")
    memcpy(text + at[0], s, size)
    at[0] += size
    return 0


def refusal_values(record, exec_id, long long time_ns):
    """Return the values of the report of a refused order. See report_values.py."""
    cdef byte text[TEXT_BYTES]
    cdef Py_ssize_t at = 0
    cdef PyObject *found
    if not is_a(record, <PyObject *>OrderRefused) or time_ns < 0:
        return plain.refusal_values(record, exec_id, time_ns)
    found = PyDict_GetItemWithError(reasons, slot(record, refused_reason))
    if found == NULL:
        return plain.refusal_values(record, exec_id, time_ns)
    reason = <tuple>found
    check = slot(record, refused_check)
    try:
        put_text(text, &at, <object>PyTuple_GET_ITEM(reason, 1))
        put_text(text, &at, " ")
        put_text(text, &at, check)
        put_text(text, &at, ": ")
        put_text(text, &at, slot(record, refused_text))
        limit = number_text(slot(record, refused_limit), ", limit ", 8, text, &at)
        observed = number_text(slot(record, refused_observed), ", observed ", 11, text, &at)
        required = number_text(slot(record, refused_required), ", required ", 11, text, &at)
    except OverflowError:
        return plain.refusal_values(record, exec_id, time_ns)
    mark_age_ns = slot(record, refused_mark_age)
    values = blank()
    put(values, account_at, slot(record, refused_account))
    put(values, avg_px_at, b"0")
    put(values, cl_ord_id_at, slot(record, refused_cl_ord_id))
    put(values, cum_qty_at, b"0")
    put(values, exec_id_at, exec_id)
    put(values, order_id_at, b"NONE")
    put(values, quantity_at, slot(record, refused_quantity))
    put(values, status_at, b"8")
    put(values, ord_type_at, slot(record, refused_ord_type))
    put(values, price_at, slot(record, refused_price))
    put(values, side_at, slot(record, refused_side))
    put(values, symbol_at, slot(record, refused_symbol))
    put(values, text_at, PyBytes_FromStringAndSize(<char *>text, at))
    put(values, time_at, time_text(time_ns))
    put(values, reason_at, <object>PyTuple_GET_ITEM(reason, 2))
    put(values, exec_type_at, b"8")
    put(values, leaves_at, b"0")
    put(values, refusal_at, <object>PyTuple_GET_ITEM(reason, 0))
    put(values, refusal_at + 1, ascii_of(check))
    put(values, refusal_at + 2, limit)
    put(values, refusal_at + 3, observed)
    put(values, refusal_at + 4, required)
    put(values, refusal_at + 5, None if mark_age_ns is None else mark_age_ns // 1_000_000)
    fill(values)
    return values


# --- an order -------------------------------------------------------------------------------------------------------

# What was looked up last, under the key that it was looked up by: an order's kind and its names recur.
cdef struct Known:
    PyObject *key
    PyObject *value

cdef Known known_status, known_working, known_ord_type, known_side, known_time, known_account, known_symbol
cdef dict works = {status: status in _WORKING for status in statuses}


cdef inline object know(Known *known, object key, object value):
    Py_INCREF(key)
    Py_INCREF(value)
    Py_XDECREF(known.key)
    Py_XDECREF(known.value)
    known.key, known.value = <PyObject *>key, <PyObject *>value
    return value


cdef inline object entry(dict table, object key, Known *known):
    """table[key], for keys that are the same objects each time."""
    return <object>known.value if known.key == <PyObject *>key else know(known, key, table[key])


cdef inline object ascii_entry(object text, Known *known):
    """ascii_of(text), for texts that are."""
    return <object>known.value if known.key == <PyObject *>text else know(known, text, ascii_of(text))


cdef struct Scale:
    long long tick
    long long tick_exponent
    long long lot
    long long lot_exponent


cdef bytes steps_text(long long count, long long step, long long exponent):
    """Return so many steps as decimal text, or None where that is left to the plain twin."""
    cdef byte text[64]
    cdef long long mantissa = 0
    cdef int size
    if __builtin_mul_overflow(count, step, &mantissa):
        return None
    size = put_decimal(text, mantissa, <int>exponent)
    return PyBytes_FromStringAndSize(<char *>text, size) if size else None


cdef bint read_scale(object instrument, Scale *scale) except -1:
    return (
        is_a(instrument, <PyObject *>Instrument)
        and read_int(slot(instrument, tick_mantissa_slot), MOST, &scale.tick)
        and read_int(slot(instrument, tick_exponent_slot), 1000, &scale.tick_exponent)
        and read_int(slot(instrument, lot_mantissa_slot), MOST, &scale.lot)
        and read_int(slot(instrument, lot_exponent_slot), 1000, &scale.lot_exponent)
    )


cdef bint is_ordinary(object order) except -1:
    cdef int i
    if not is_a(order, <PyObject *>WorkingOrder):
        return False
    for i in range(extra_count):
        if slot(order, extras[i]):
            return False
    return True


cdef tuple ordinary_values(object order, object exec_id, long long time_ns, bytes exec_type, object last):
    """Return the values that every report on an order has, the rest NULL; None where the plain twin is to be asked."""
    cdef Scale scale
    cdef long long lots = 0, ticks = 0, cum_lots = 0, cum_lot_ticks = 0, leaves, last_lots = 0, last_ticks = 0
    cdef bytes quantity, cumulated, price, left, average = b"0", last_price = None, last_quantity = None
    instrument, status = slot(order, order_instrument), slot(order, order_status)
    if not (
        time_ns >= 0 and read_scale(instrument, &scale)
        and read_int(slot(order, order_lots), MOST, &lots) and read_int(slot(order, order_ticks), MOST, &ticks)
        and read_int(slot(order, order_cum_lots), MOST, &cum_lots)
        and read_int(slot(order, order_cum_lot_ticks), MOST, &cum_lot_ticks)
    ):
        return None
    leaves = lots - cum_lots if lots > cum_lots and entry(works, status, &known_working) is True else 0
    if cum_lots:
        if cum_lots < 0 or cum_lot_ticks < 0 or cum_lot_ticks % cum_lots:
            return None
        average = steps_text(cum_lot_ticks // cum_lots, scale.tick, scale.tick_exponent)
    if last is not None:
        if not read_int(last[0], MOST, &last_lots) or not read_int(last[1], MOST, &last_ticks):
            return None
        last_quantity = steps_text(last_lots, scale.lot, scale.lot_exponent)
        last_price = steps_text(last_ticks, scale.tick, scale.tick_exponent)
        if last_quantity is None or last_price is None:
            return None
    quantity = steps_text(lots, scale.lot, scale.lot_exponent)
    cumulated = steps_text(cum_lots, scale.lot, scale.lot_exponent)
    price = steps_text(ticks, scale.tick, scale.tick_exponent)
    left = quantity if leaves == lots else steps_text(leaves, scale.lot, scale.lot_exponent)
    if quantity is None or cumulated is None or price is None or left is None or average is None:
        return None
    values = blank()
    put(values, account_at, ascii_entry(slot(order, order_account), &known_account))
    put(values, avg_px_at, average)
    put(values, cum_qty_at, cumulated)
    put(values, exec_id_at, exec_id)
    put(values, last_px_at, last_price)
    put(values, last_qty_at, last_quantity)
    put(values, order_id_at, ascii_of(slot(order, order_order_id)))
    put(values, quantity_at, quantity)
    put(values, status_at, entry(statuses, status, &known_status))
    put(values, ord_type_at, entry(ord_types, slot(order, order_ord_type), &known_ord_type))
    put(values, price_at, price)
    put(values, side_at, entry(sides, slot(order, order_side), &known_side))
    put(values, symbol_at, ascii_entry(slot(instrument, symbol_slot), &known_symbol))
    put(values, time_in_force_at, entry(times_in_force, slot(order, order_time_in_force), &known_time))
    put(values, time_at, time_text(time_ns))
    put(values, exec_type_at, exec_type)
    put(values, leaves_at, left)
    return values


def order_values(
    order, exec_id, long long time_ns, bytes exec_type, text=None, cl_ord_id=None, orig_cl_ord_id=None, last=None,
    ord_rej_reason=None, refusal=no_refusal,
):
    """Return the values of a report on an order as it is now. See report_values.py."""
    cdef Py_ssize_t i
    values = ordinary_values(order, exec_id, time_ns, exec_type, last) if is_ordinary(order) else None
    if values is None:
        return plain.order_values(
            order, exec_id, time_ns, exec_type, text, cl_ord_id, orig_cl_ord_id, last, ord_rej_reason, refusal
        )
    put(values, cl_ord_id_at, ascii_of(cl_ord_id or slot(order, order_cl_ord_id)))
    put(values, orig_at, None if orig_cl_ord_id is None else ascii_of(orig_cl_ord_id))
    put(values, text_at, text)
    put(values, reason_at, ord_rej_reason)
    for i in range(PyTuple_GET_SIZE(<tuple>refusal)):
        put(values, <int>(refusal_at + i), <object>PyTuple_GET_ITEM(<tuple>refusal, i))
    fill(values)
    return values
