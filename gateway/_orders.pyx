# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Reads the ordinary order: a plain limit order of a listed instrument. Whatever else a message holds is not read here.

Answers what translate.new_order answers, or None: then that has to be asked.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeASCII

from protocols.fix._codec cimport Message, byte, put_decimal, whole_steps
from risk._slots cimport is_a, offset_of, read_int, slot

from gateway import translate as plain
from risk.instrument import Instrument as _Instrument, Side
from risk.order import Order as _Order, OrdType, TimeInForce

cdef extern from *:
    bint __builtin_mul_overflow(long long a, long long b, long long *result) noexcept nogil

cdef enum:
    LAST_TAG = 60

cdef object Order = _Order
cdef object Instrument = _Instrument
cdef object buy = Side.BUY
cdef object sell = Side.SELL
cdef object limit = OrdType.LIMIT
# By the digit of TimeInForce(59); None: not traded here.
cdef tuple times_in_force = (TimeInForce.DAY, TimeInForce.GTC, None, TimeInForce.IOC, TimeInForce.FOK)
cdef object day = TimeInForce.DAY
cdef int max_id_bytes = plain.MAX_ID_BYTES
cdef int max_symbol_bytes = plain.MAX_SYMBOL_BYTES

# Tags that say nothing beyond what is read here: the header's and the trailer's, HandlInst(21), TransactTime(60).
cdef bint is_plain_tag[LAST_TAG + 1]
cdef int _tag
for _tag in range(LAST_TAG + 1):
    is_plain_tag[_tag] = _tag in (1, 8, 9, 10, 11, 21, 34, 35, 38, 40, 43, 44, 49, 50, 52, 54, 55, 56, 57, 59, 60)

cdef Py_ssize_t instrument_venue = offset_of(_Instrument, "venue")
cdef Py_ssize_t tick_mantissa = offset_of(_Instrument, "tick_mantissa")
cdef Py_ssize_t tick_exponent = offset_of(_Instrument, "tick_exponent")
cdef Py_ssize_t lot_mantissa = offset_of(_Instrument, "lot_mantissa")
cdef Py_ssize_t lot_exponent = offset_of(_Instrument, "lot_exponent")


cdef inline int one_byte(Message message, int at) noexcept:
    """Return the value of a field of one byte, -1 for any other."""
    cdef const unsigned char *s = <const unsigned char *>PyBytes_AS_STRING(message.raw)
    return s[message.cut[at].start] if message.cut[at].end - message.cut[at].start == 1 else -1


cdef inline str text(Message message, int at):
    cdef const char *s = PyBytes_AS_STRING(message.raw)
    return PyUnicode_DecodeASCII(s + message.cut[at].start, message.cut[at].end - message.cut[at].start, NULL)


cdef inline int size(Message message, int at) noexcept:
    return message.cut[at].end - message.cut[at].start


cdef long long steps(Message message, int at, object mantissa, object exponent) except -2:
    cdef const unsigned char *s = <const unsigned char *>PyBytes_AS_STRING(message.raw)
    cdef long long step = 0, power = 0
    if not read_int(mantissa, 1 << 61, &step) or not read_int(exponent, 1 << 20, &power):
        return -1
    return whole_steps(s + message.cut[at].start, size(message, at), step, <int>power)


def ordinary_order(Message message not None, dict by_symbol not None, dict day_ends not None, now_ns):
    """Return the order that an ordinary NewOrderSingle(D) asks for, or None. See translate.new_order."""
    cdef int i, account, cl_ord_id, symbol, side, time_in_force
    cdef int quantity, price
    cdef long long lots, ticks
    cdef PyObject *found
    for i in range(message.count):
        if not 0 < message.cut[i].tag <= LAST_TAG or not is_plain_tag[message.cut[i].tag]:
            return None
    account, cl_ord_id, symbol = message.find(1), message.find(11), message.find(55)
    side, quantity, price = message.find(54), message.find(38), message.find(44)
    i, time_in_force = message.find(40), message.find(59)
    if cl_ord_id < 0 or symbol < 0 or side < 0 or quantity < 0 or price < 0 or i < 0 or one_byte(message, i) != c"2":
        return None
    if size(message, cl_ord_id) > max_id_bytes or size(message, symbol) > max_symbol_bytes:
        return None
    side_code = one_byte(message, side)
    if side_code != c"1" and side_code != c"2":
        return None
    tif = day
    if time_in_force >= 0:
        i = one_byte(message, time_in_force) - c"0"
        if not 0 <= i <= 4:
            return None
        tif = times_in_force[i]
        if tif is None:
            return None
    name = text(message, symbol)
    found = PyDict_GetItemWithError(by_symbol, name)
    if found == NULL:
        return None
    instrument = <object>found
    if not is_a(instrument, <PyObject *>Instrument):
        return None
    if tif is day and PyDict_GetItemWithError(day_ends, slot(instrument, instrument_venue)) != NULL:
        return None
    lots = steps(message, quantity, slot(instrument, lot_mantissa), slot(instrument, lot_exponent))
    ticks = steps(message, price, slot(instrument, tick_mantissa), slot(instrument, tick_exponent))
    if lots < 0 or ticks < 0:
        return None
    return Order(
        text(message, cl_ord_id), text(message, account) if account >= 0 else "", name, instrument,
        buy if side_code == c"1" else sell, lots, ticks, limit, tif, False, False, now_ns,
    )


cdef bytes steps_text(object count, object mantissa, object exponent):
    """Return so many steps as decimal text, or None where that is left to the plain twin."""
    cdef byte out[64]
    cdef long long steps_count = 0, step = 0, power = 0, product = 0
    cdef int length
    if (
        not read_int(count, 1 << 61, &steps_count) or not read_int(mantissa, 1 << 61, &step)
        or not read_int(exponent, 1000, &power) or __builtin_mul_overflow(steps_count, step, &product)
    ):
        return None
    length = put_decimal(out, product, <int>power)
    return PyBytes_FromStringAndSize(<char *>out, length) if length else None


def quantity_text(instrument, lots):
    """Return a quantity in lots as plain decimal text. See translate.py."""
    if not is_a(instrument, <PyObject *>Instrument):
        return plain.quantity_text(instrument, lots)
    made = steps_text(lots, slot(instrument, lot_mantissa), slot(instrument, lot_exponent))
    return plain.quantity_text(instrument, lots) if made is None else made


def price_text(instrument, ticks):
    """Return a price in ticks as plain decimal text. See translate.py."""
    if not is_a(instrument, <PyObject *>Instrument):
        return plain.price_text(instrument, ticks)
    made = steps_text(ticks, slot(instrument, tick_mantissa), slot(instrument, tick_exponent))
    return plain.price_text(instrument, ticks) if made is None else made
