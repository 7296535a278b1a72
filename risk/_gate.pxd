# What other compiled modules may call of _gate.pyx.

cpdef object first_look(object order, object account, object market)
