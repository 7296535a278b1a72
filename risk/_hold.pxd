# Exposure.hold of a new order, for other compiled modules.

cdef int hold_new(object exposure, object order) except -1
cdef int hold_in(object kernel, object arguments) except -1
