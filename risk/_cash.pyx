# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""Compiled twin of Instrument.fill_cash: the same operations in the same order, so the same float to the bit."""

from cpython.object cimport PyObject

from risk._slots cimport is_a, is_true, offset_of, read_float, read_int, slot

from risk.instrument import WHOLE_PER_UNIT as _WHOLE_PER_UNIT, Instrument as _Instrument, Side

cdef extern from *:
    bint __builtin_mul_overflow(long long a, long long b, long long *result) noexcept nogil

cdef long long MOST = 1 << 61
cdef double WHOLE_PER_UNIT = _WHOLE_PER_UNIT
cdef object Instrument = _Instrument
cdef object buy = Side.BUY

cdef Py_ssize_t is_inverse_slot = offset_of(_Instrument, "is_inverse")
cdef Py_ssize_t value_scale_slot = offset_of(_Instrument, "value_scale")
cdef Py_ssize_t fee_rate_slot = offset_of(_Instrument, "fee_rate")
cdef Py_ssize_t option_fee_slot = offset_of(_Instrument, "option_fee_per_lot")


cdef bint cash_of_fill(object instrument, bint is_buy, long long lots, long long ticks, double *cash) except -1:
    """Work out what a fill moves; False where that is left to Instrument.fill_cash. `instrument` is of that class."""
    cdef double scale = 0.0, rate = 0.0, flat = 0.0, value, fee
    cdef long long product = 0
    cdef bint is_inverse = is_true(instrument, is_inverse_slot)
    if not (
        read_float(slot(instrument, value_scale_slot), &scale)
        and read_float(slot(instrument, fee_rate_slot), &rate)
        and read_float(slot(instrument, option_fee_slot), &flat)
    ):
        return False
    if is_inverse:
        if ticks == 0:
            return False
        value = <double>lots * scale / <double>ticks
        fee = value * rate + WHOLE_PER_UNIT
    else:
        if __builtin_mul_overflow(lots, ticks, &product):
            return False
        value = <double>product * scale
        fee = value * rate
    if flat != 0.0 and fee > <double>lots * flat:
        fee = <double>lots * flat
    cash[0] = (value if is_buy == is_inverse else -value) - fee
    return True


def fill_cash(instrument, side, lots, ticks):
    """Return what a fill moves in whole currency, rounded against the client. See Instrument.fill_cash."""
    cdef long long count = 0, price = 0
    cdef double cash = 0.0
    if (
        is_a(instrument, <PyObject *>Instrument) and read_int(lots, MOST, &count) and read_int(ticks, MOST, &price)
        and cash_of_fill(instrument, side is buy, count, price, &cash)
    ):
        return cash
    return instrument.fill_cash(side, lots, ticks)
