# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The two steps of an order at its venue's link, compiled: out to the session, and what the session heard in.

Twins of SessionLink.place and SessionLink.receive, over the same objects' own slots. What is not ordinary (another name
at the venue, an order that waits, a stop, any event but an acknowledgement) is left to those, before anything was done.
"""

from cpython.dict cimport PyDict_Size
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject

from risk._slots cimport is_a, offset_of, slot

from gateway.compiled import price_text as _price_text, quantity_text as _quantity_text
from gateway.journal import JournalError as _JournalError
from gateway.venues.order_queue import OrderQueue as _OrderQueue
from gateway.venues.symbols import VenueSymbols as _VenueSymbols
from protocols.errors import LocalProtocolError as _LocalProtocolError
from protocols.venues.codec import MAIN as _MAIN
from protocols.venues.events import OrderAccepted as _OrderAccepted
from protocols.venues.rate_limit import RateLimitError as _RateLimitError
from risk import instrument as _instruments, order as _orders

cdef object price_text = _price_text, quantity_text = _quantity_text
cdef object JournalError = _JournalError, LocalProtocolError = _LocalProtocolError, RateLimitError = _RateLimitError
cdef object Approved = _orders.Approved, OrderAccepted = _OrderAccepted
cdef object VenueSymbols = _VenueSymbols, OrderQueue = _OrderQueue
cdef object BUY = _instruments.Side.BUY

cdef Py_ssize_t symbols_suffix = offset_of(_VenueSymbols, "suffix")
cdef Py_ssize_t queue_orders = offset_of(_OrderQueue, "orders")
cdef Py_ssize_t approval_order = offset_of(_orders.Approved, "order")
cdef Py_ssize_t approval_instrument = offset_of(_orders.Approved, "instrument")
cdef Py_ssize_t asked_side = offset_of(_orders.Order, "side")
cdef Py_ssize_t asked_lots = offset_of(_orders.Order, "lots")
cdef Py_ssize_t asked_ticks = offset_of(_orders.Order, "ticks")
cdef Py_ssize_t asked_time_in_force = offset_of(_orders.Order, "time_in_force")
cdef Py_ssize_t asked_is_post_only = offset_of(_orders.Order, "is_post_only")
cdef Py_ssize_t asked_terms = offset_of(_orders.Order, "terms")
cdef Py_ssize_t instrument_symbol = offset_of(_instruments.Instrument, "symbol")

# What SessionLink says of itself at its own import's end.
cdef object SessionLink, plain_place, plain_receive
cdef dict venue_times, event_handlers
cdef Py_ssize_t link_session, link_symbols, link_queue, link_executions


def link_steps(link_class, dict times_in_force, dict handlers):
    """Return the twins of SessionLink.place and .receive; `handlers` is the table of Executions."""
    global SessionLink, plain_place, plain_receive, venue_times, event_handlers
    global link_session, link_symbols, link_queue, link_executions
    SessionLink, plain_place, plain_receive = link_class, link_class.place, link_class.receive
    venue_times, event_handlers = times_in_force, handlers
    link_session = offset_of(link_class, "session")
    link_symbols = offset_of(link_class, "symbols")
    link_queue = offset_of(link_class, "_queue")
    link_executions = offset_of(link_class, "_executions")
    return place, receive


def plain_methods():
    """Return place and receive as SessionLink has them: what the twins are compared with."""
    return plain_place, plain_receive


cdef inline bint has_own_names(object link) except -1:
    """Whether the venue calls its instruments as we do."""
    symbols = slot(link, link_symbols)
    return is_a(symbols, <PyObject *>VenueSymbols) and not <str>slot(symbols, symbols_suffix)


def place(self, approved, order_id, now_ns):
    """Queue an approved limit order. See SessionLink.place."""
    if not is_a(self, <PyObject *>SessionLink) or not is_a(approved, <PyObject *>Approved) or not has_own_names(self):
        return plain_place(self, approved, order_id, now_ns)
    order, queue = slot(approved, approval_order), slot(self, link_queue)
    if (
        slot(order, asked_terms) is not None or not is_a(queue, <PyObject *>OrderQueue)
        or PyDict_Size(<dict>slot(queue, queue_orders))
    ):
        return plain_place(self, approved, order_id, now_ns)
    instrument = slot(approved, approval_instrument)
    try:
        slot(self, link_session).place(
            order_id, slot(instrument, instrument_symbol), slot(order, asked_side) is BUY,
            quantity_text(instrument, slot(order, asked_lots)), price_text(instrument, slot(order, asked_ticks)),
            "limit", venue_times[slot(order, asked_time_in_force)], slot(order, asked_is_post_only), False, now_ns,
        )
    except RateLimitError as error:
        return queue.take(approved, order_id, now_ns) if queue.is_used else str(error)
    except LocalProtocolError as error:
        return str(error)
    return None


def receive(self, frame, now_ns, lane=_MAIN):
    """Take one message of the venue. See SessionLink.receive and ._hear."""
    cdef Py_ssize_t i, count
    if not is_a(self, <PyObject *>SessionLink):
        return plain_receive(self, frame, now_ns, lane)
    session = slot(self, link_session)
    session.receive(frame, now_ns, lane)
    told = session.events()
    if not PyList_CheckExact(told) or not has_own_names(self):
        return self._hear(told, now_ns)
    count = PyList_GET_SIZE(told)
    for i in range(count):
        if not is_a(<object>PyList_GET_ITEM(told, i), <PyObject *>OrderAccepted):
            return self._hear(told, now_ns)
    if count:
        take = event_handlers[OrderAccepted]
        executions = slot(self, link_executions)
        try:
            for i in range(count):
                take(executions, <object>PyList_GET_ITEM(told, i), now_ns)
        except JournalError as error:
            self._spoil(error)
