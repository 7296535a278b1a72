# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The two steps of a session that an order takes, compiled: a regular message in, a message of the application out.

Same state, same slots: whatever is not ordinary (a gap, a resend, a store that is full) goes to the session's own methods.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.list cimport PyList_Append, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject

from protocols._slots cimport is_a, offset_of, set_slot, slot
from protocols.fix._codec cimport Framer, Header, Layout, Message, Screen, encoded

from protocols.errors import RemoteProtocolError
from protocols.fix import core as _core, heartbeats as _heartbeats, state as _state, store as _store
from protocols.fix.events import MessageReceived as _MessageReceived
from protocols.fix.session import Session as _Session

cdef object Session = _Session
cdef object SessionState = _state.SessionState
cdef object MessageStore = _store.MessageStore
cdef object Heartbeats = _heartbeats.Heartbeats
cdef object MessageReceived = _MessageReceived
cdef object plain_next_event = _Session.next_event
cdef object plain_send = _Session.send

cdef Py_ssize_t session_admin_moved = offset_of(_core.SessionCore, "admin_moved")
cdef Py_ssize_t session_state = offset_of(_core.SessionCore, "state")
cdef Py_ssize_t session_events = offset_of(_core.SessionCore, "_events")
cdef Py_ssize_t session_framer = offset_of(_core.SessionCore, "_framer")
cdef Py_ssize_t session_heartbeats = offset_of(_core.SessionCore, "_heartbeats")
cdef Py_ssize_t session_is_regular = offset_of(_core.SessionCore, "_is_regular")
cdef Py_ssize_t session_now = offset_of(_core.SessionCore, "_now_ns")
cdef Py_ssize_t session_out = offset_of(_core.SessionCore, "_out")
cdef Py_ssize_t session_resend = offset_of(_core.SessionCore, "_resend")
cdef Py_ssize_t session_transmits = offset_of(_core.SessionCore, "_transmits")
cdef Py_ssize_t state_header = offset_of(_state.SessionState, "header")
cdef Py_ssize_t state_next_in = offset_of(_state.SessionState, "next_in")
cdef Py_ssize_t state_next_out = offset_of(_state.SessionState, "next_out")
cdef Py_ssize_t state_screen = offset_of(_state.SessionState, "screen")
cdef Py_ssize_t state_sent = offset_of(_state.SessionState, "sent")
cdef Py_ssize_t store_kept = offset_of(_store.MessageStore, "_kept")
cdef Py_ssize_t store_numbers = offset_of(_store.MessageStore, "_numbers")
cdef Py_ssize_t store_begin = offset_of(_store.MessageStore, "_begin")
cdef Py_ssize_t store_floor = offset_of(_store.MessageStore, "_floor")
cdef long long DROPPED_AT_ONCE = _store._DROPPED_AT_ONCE
cdef Py_ssize_t store_bytes = offset_of(_store.MessageStore, "_bytes")
cdef Py_ssize_t store_next = offset_of(_store.MessageStore, "_next")
cdef Py_ssize_t store_capacity = offset_of(_store.MessageStore, "capacity")
cdef Py_ssize_t store_max_bytes = offset_of(_store.MessageStore, "max_bytes")
cdef Py_ssize_t heartbeats_last_sent = offset_of(_heartbeats.Heartbeats, "last_sent_ns")


cdef Message next_regular(object session):
    """Return the next message, where it is regular, and count it; else None: next_event goes on from there."""
    cdef Message message
    cdef long long next_in
    if not is_a(session, <PyObject *>Session) or slot(session, session_is_regular) is not True:
        return None
    if slot(session, session_admin_moved) is not False or slot(session, session_events):
        return None
    state, framer = slot(session, session_state), slot(session, session_framer)
    if not is_a(state, <PyObject *>SessionState) or type(framer) is not Framer:
        return None
    screen = slot(state, state_screen)
    if type(screen) is not Screen:
        return None
    try:
        message = (<Framer>framer).take()
    except RemoteProtocolError as error:
        session._close(str(error))
        return None
    if message is None:
        return None
    next_in = slot(state, state_next_in)
    if not (<Screen>screen).lets_pass(message, next_in, slot(session, session_now)):
        session._process(message)
        return None
    set_slot(state, state_next_in, next_in + 1)
    return message


def next_event(session):
    """Return the next event. See Session.next_event."""
    message = next_regular(session)
    return plain_next_event(session) if message is None else MessageReceived(message)


cdef bint keep(object store, object number, long long next_number, bytes raw) except -1:
    """MessageStore.put of the next number, where one message has to go at the most; False, and nothing done, else."""
    cdef long long size, most, begin, capacity
    cdef bint is_full
    if not is_a(store, <PyObject *>MessageStore) or <long long>slot(store, store_next) != next_number - 1:
        return False
    kept, numbers = <list>slot(store, store_kept), <list>slot(store, store_numbers)
    size, most = <long long>slot(store, store_bytes) + PyBytes_GET_SIZE(raw), slot(store, store_max_bytes)
    begin, capacity = slot(store, store_begin), slot(store, store_capacity)
    is_full = PyList_GET_SIZE(kept) - begin == capacity
    if is_full:  # of a session that has sent much, always
        size -= PyBytes_GET_SIZE(<bytes>PyList_GET_ITEM(kept, begin))
    if size > most or PyList_GET_SIZE(kept) - begin > capacity or begin + is_full >= DROPPED_AT_ONCE:
        return False
    set_slot(store, store_next, next_number)
    PyList_Append(kept, raw)
    PyList_Append(numbers, number)
    set_slot(store, store_bytes, size)
    if is_full:
        set_slot(store, store_floor, <long long><object>PyList_GET_ITEM(numbers, begin) + 1)
        kept[begin] = b""
        set_slot(store, store_begin, begin + 1)
    return True


cdef Header ready_header(object session):
    """Return the header of what the session sends, where that goes out at once; else None."""
    if not is_a(session, <PyObject *>Session):
        return None
    state = slot(session, session_state)
    if (
        not is_a(state, <PyObject *>SessionState) or slot(session, session_resend) is not None
        or slot(session, session_transmits) is not True
    ):
        return None
    header = slot(state, state_header)
    if type(header) is not Header or not is_a(slot(session, session_heartbeats), <PyObject *>Heartbeats):
        return None
    return <Header>header


cdef object next_number(object session):
    """Return the number of the next message of a session that is ready."""
    return slot(slot(session, session_state), state_next_out)


cdef int queue(object session, bytes raw, object now_ns) except -1:
    """Count, store and queue the message of the next number, of a session that is ready."""
    state = slot(session, session_state)
    number = slot(state, state_next_out)
    cdef long long following = <long long>number + 1
    set_slot(state, state_next_out, following)
    store = slot(state, state_sent)
    if not keep(store, number, following, raw):
        store.put(number, raw)
    PyList_Append(<list>slot(session, session_out), raw)
    set_slot(slot(session, session_heartbeats), heartbeats_last_sent, now_ns)
    return 0


def send(session, Layout layout not None, tuple values not None, now_ns):
    """Number, store and queue an application message; return its bytes. See SessionCore.send."""
    header = ready_header(session)
    if header is None:
        return plain_send(session, layout, values, now_ns)
    raw = encoded(layout, header, next_number(session), now_ns, values, False, -1)
    queue(session, raw, now_ns)
    return raw
