# Reads and writes the __slots__ of a Python class where they lie; see risk/_slots.pxd, which protocols must not know.

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        pass
    PyTypeObject PyMemberDescr_Type
    PyTypeObject *Py_TYPE(object o)
    void Py_XDECREF(PyObject *o)

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        int type
        Py_ssize_t offset
    int T_OBJECT_EX

cdef extern from "descrobject.h":
    ctypedef struct PyMemberDescrObject:
        PyMemberDef *d_member


cdef inline Py_ssize_t offset_of(object cls, str name) except -1:
    """Return where objects of a class keep a field; ImportError where that is no slot."""
    descriptor = cls.__dict__[name]
    if Py_TYPE(descriptor) != &PyMemberDescr_Type:
        raise ImportError(f"{cls.__name__}.{name} is no slot")
    cdef PyMemberDef *member = (<PyMemberDescrObject *>descriptor).d_member
    if member.type != T_OBJECT_EX:
        raise ImportError(f"{cls.__name__}.{name} holds no object")
    return member.offset


cdef inline bint is_a(object o, PyObject *cls) noexcept:
    """Whether an object is of exactly this class."""
    return <PyObject *>Py_TYPE(o) == cls


cdef inline object slot(object o, Py_ssize_t offset):
    """Return a field of an object whose class was compared; AttributeError where it was never set."""
    cdef PyObject *value = (<PyObject **>(<char *><PyObject *>o + offset))[0]
    if value == NULL:
        raise AttributeError("a slot that was never set")
    return <object>value


cdef inline void set_slot(object o, Py_ssize_t offset, object value) noexcept:
    """Set a field of an object whose class was compared, and that is not frozen."""
    cdef PyObject **place = <PyObject **>(<char *><PyObject *>o + offset)
    cdef PyObject *old = place[0]
    Py_INCREF(value)
    place[0] = <PyObject *>value
    Py_XDECREF(old)
