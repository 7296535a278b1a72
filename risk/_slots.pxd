# Reads the __slots__ of a Python class where they lie, as the interpreter's own specialised instructions do.
#
# The classes stay plain Python and there is one copy of their state. A class says at import where it keeps a field, and
# each object's type is compared before it is read: an object of any other class is nobody's to read here.

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        pass
    PyTypeObject PyMemberDescr_Type
    PyTypeObject *Py_TYPE(object o)
    bint PyLong_CheckExact(object o)
    bint PyFloat_CheckExact(object o)
    double PyFloat_AS_DOUBLE(object o)
    void Py_XDECREF(PyObject *o)

cdef extern from *:
    """
    /* An int of CPython as 64 bits; 0 where it has more. Below 3.12 its digits are read here, which takes no call. */
    static inline int mg_read_int(PyObject *o, long long *result) {
    #if PY_VERSION_HEX < 0x030C0000 && PyLong_SHIFT == 30
        const digit *d = ((PyLongObject *)o)->ob_digit;
        Py_ssize_t size = Py_SIZE(o), digits = size < 0 ? -size : size;
        long long value = 0;
        if (digits > 3 || (digits == 3 && d[2] > 7)) return 0;
        if (digits > 2) value = (long long)d[2] << 60;
        if (digits > 1) value |= (long long)d[1] << 30;
        if (digits > 0) value |= d[0];
        *result = size < 0 ? -value : value;
        return 1;
    #else
        int overflow;
        *result = PyLong_AsLongLongAndOverflow(o, &overflow);
        return !overflow;
    #endif
    }
    """
    bint mg_read_int(object o, long long *result) noexcept

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


cdef inline bint is_true(object o, Py_ssize_t offset) except -1:
    """Whether a field is True and nothing else."""
    return slot(o, offset) is True


cdef inline bint read_int(object value, long long most, long long *result) noexcept:
    """Read an int whose magnitude is at most `most`; False where it is no such thing."""
    return PyLong_CheckExact(value) and mg_read_int(value, result) and -most <= result[0] <= most


cdef inline bint read_float(object value, double *result) noexcept:
    """Read a float; False where it is none."""
    if not PyFloat_CheckExact(value):
        return False
    result[0] = PyFloat_AS_DOUBLE(value)
    return True
