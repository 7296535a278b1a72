# What other compiled modules may call of _session.pyx.

from protocols.fix._codec cimport Header, Message

cdef Message next_regular(object session)
cdef Header ready_header(object session)
cdef object next_number(object session)
cdef int queue(object session, bytes raw, object now_ns) except -1
