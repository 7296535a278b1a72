# Exposure.hold of a new order, for other compiled modules.

cdef int hold_new(object exposure, object order) except -1
