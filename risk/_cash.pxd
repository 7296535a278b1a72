# Instrument.fill_cash for other compiled modules.

cdef bint cash_of_fill(object instrument, bint is_buy, long long lots, long long ticks, double *cash) except -1
