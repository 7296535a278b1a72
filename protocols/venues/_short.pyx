# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The short way of Deribit's orders, compiled: an order out, the reply that takes it, the notification that repeats that.

Same structs, same tables, read where they lie; frames are read where they stand, too. Whatever is not ordinary (a fill,
an edit, an order that is known already, a limit that is reached) goes to the plain methods, before anything was changed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Contains, PyDict_GetItemWithError, PyDict_SetItem, PyDict_Size
from cpython.list cimport PyList_Append, PyList_GET_SIZE
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool
from cpython.ref cimport Py_INCREF
from cpython.set cimport PySet_Contains
from libc.string cimport memchr, memcmp, memcpy

from protocols._slots cimport is_a, offset_of, set_slot, slot

from protocols.venues import deribit_orders as _orders, jsonrpc as _jsonrpc
from protocols.venues import rate_limit as _rates
from protocols.venues._frames import limit_frame as _limit_frame
from protocols.venues.deribit_decode import decimal as _decimal
from protocols.venues.deribit_short import CHANGES_START as _CHANGES_START, REPLY_START as _REPLY_START
from protocols.venues.deribit_short import ShortWay as _ShortWay
from protocols.venues.deribit_tables import Kind as _Kind
from protocols.venues.events import OrderAccepted as _OrderAccepted
from protocols.venues.fields import MAX_TIMESTAMP_MS as _MAX_TIMESTAMP_MS, NS_PER_MS as _NS_PER_MS

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object o)
    bint PyUnicode_IS_COMPACT_ASCII(object o)
    unsigned char *PyUnicode_1BYTE_DATA(object o)
    Py_ssize_t PyUnicode_GET_LENGTH(object o)
    object PyUnicode_New(Py_ssize_t size, unsigned most)
    void Py_XDECREF(PyObject *o)
    int PyDict_DelItem(object d, object key) except -1
    list PyList_GetSlice(list l, Py_ssize_t low, Py_ssize_t high)
    int PyList_SetSlice(list l, Py_ssize_t low, Py_ssize_t high, PyObject *items) except -1

cdef enum:
    ID_DIGITS = 18

include "_short_text.pxi"

cdef object OrderFlow = _orders.OrderFlow
cdef object RequestTable = _jsonrpc.RequestTable
cdef object Request = _jsonrpc.Request
cdef object Tracked = _orders.Tracked
cdef object Credits = _rates.Credits
cdef object OrderAccepted = _OrderAccepted
cdef object limit_frame = _limit_frame
cdef object decimal = _decimal
cdef object NOTHING = _decimal(0.0)
cdef object BUY = "buy", SELL = "sell"
cdef object PLACE = _Kind.PLACE
cdef object plain_receive = _ShortWay.receive
cdef object plain_place = _orders.OrderFlow.place
cdef bytes CHANGES_START = _CHANGES_START
cdef bytes REPLY_START = _REPLY_START
cdef Py_ssize_t CHANGES_SIZE = len(_CHANGES_START)
cdef Py_ssize_t REPLY_SIZE = len(_REPLY_START)
cdef long long MAX_TIMESTAMP_MS = _MAX_TIMESTAMP_MS
cdef long long NS_PER_MS = _NS_PER_MS
cdef long long NS_PER_S = _rates.NS_PER_SECOND
cdef Py_ssize_t MAX_LIVE_ORDERS = _orders.MAX_LIVE_ORDERS

cdef Py_ssize_t way_orders = offset_of(_ShortWay, "_orders")
cdef Py_ssize_t way_requests = offset_of(_ShortWay, "_requests")
cdef Py_ssize_t flow_orders = offset_of(_orders.OrderFlow, "_orders")
cdef Py_ssize_t flow_done = offset_of(_orders.OrderFlow, "_done")
cdef Py_ssize_t flow_events = offset_of(_orders.OrderFlow, "_events")
cdef Py_ssize_t flow_requests = offset_of(_orders.OrderFlow, "_requests")
cdef Py_ssize_t flow_frames = offset_of(_orders.OrderFlow, "_frames")
cdef Py_ssize_t flow_timeout = offset_of(_orders.OrderFlow, "_timeout_ns")
cdef Py_ssize_t flow_credits = offset_of(_orders.OrderFlow, "_credits")
cdef Py_ssize_t flow_reserve = offset_of(_orders.OrderFlow, "_cancel_reserve")
cdef Py_ssize_t flow_symbols = offset_of(_orders.OrderFlow, "symbols")
cdef Py_ssize_t table_in_flight = offset_of(_jsonrpc.RequestTable, "_in_flight")
cdef Py_ssize_t table_most = offset_of(_jsonrpc.RequestTable, "_max_in_flight")
cdef Py_ssize_t table_next_id = offset_of(_jsonrpc.RequestTable, "next_id")
cdef Py_ssize_t credits_as_of = offset_of(_rates.Credits, "_as_of_ns")
cdef Py_ssize_t credits_level = offset_of(_rates.Credits, "_level")
cdef Py_ssize_t request_kind = offset_of(_jsonrpc.Request, "kind")
cdef Py_ssize_t request_label = offset_of(_jsonrpc.Request, "label")
cdef Py_ssize_t request_symbol = offset_of(_jsonrpc.Request, "symbol")
cdef Py_ssize_t tracked_quantity = offset_of(_orders.Tracked, "quantity")
cdef Py_ssize_t tracked_price = offset_of(_orders.Tracked, "price")
cdef Py_ssize_t tracked_updated = offset_of(_orders.Tracked, "updated_ms")
cdef Py_ssize_t tracked_is_replaced = offset_of(_orders.Tracked, "is_replaced")
cdef Py_ssize_t tracked_reported = offset_of(_orders.Tracked, "reported")
cdef Py_ssize_t tracked_trigger_price = offset_of(_orders.Tracked, "trigger_price")
cdef Py_ssize_t tracked_is_confirmed = offset_of(_orders.Tracked, "is_confirmed")


# --- numbers ---------------------------------------------------------------------------------------------------------

cdef struct KeptNumber:
    long long digits
    int decimals
    PyObject *value

# What decimal() made of the numbers that came last: prices and amounts recur. NULL where nothing is kept.
cdef KeptNumber kept[NUMBERS_KEPT]
cdef double tenfold[MOST_DIGITS + 1]
for _i in range(NUMBERS_KEPT):
    kept[_i].value = NULL
for _i in range(MOST_DIGITS + 1):
    tenfold[_i] = 10.0 ** _i


cdef object number_of(const Number *number):
    """The decimal() of a number as JSON has it."""
    cdef KeptNumber *found = &kept[(<unsigned long long>number.digits * 31 + <unsigned>number.decimals) % NUMBERS_KEPT]
    if found.value != NULL and found.digits == number.digits and found.decimals == number.decimals:
        return <object>found.value
    made = decimal(<double>number.digits / tenfold[number.decimals])
    Py_XDECREF(found.value)
    Py_INCREF(made)
    found.digits, found.decimals, found.value = number.digits, number.decimals, <PyObject *>made
    return made


cdef object text_of(const Piece *piece):
    """A str of plain text."""
    cdef object made = PyUnicode_New(piece.size, 127)
    memcpy(PyUnicode_1BYTE_DATA(made), piece.start, piece.size)
    return made


cdef inline bint says(const Piece *piece, object text) noexcept:
    """Whether a str is of the same characters."""
    return (
        PyUnicode_CheckExact(text) and PyUnicode_IS_COMPACT_ASCII(text) and PyUnicode_GET_LENGTH(text) == piece.size
        and not memcmp(PyUnicode_1BYTE_DATA(text), piece.start, piece.size)
    )


cdef inline bint is_same(object one, object other) except -1:
    return one is other or PyObject_RichCompareBool(one, other, Py_EQ)


# --- in -------------------------------------------------------------------------------------------------------------


def receive(way, bytes frame not None, now_ns):
    """Take a frame; False, and nothing done, where it is for the long way. See ShortWay.receive."""
    cdef Text s = <Text>PyBytes_AS_STRING(frame)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
    if size > REPLY_SIZE and not memcmp(s, PyBytes_AS_STRING(REPLY_START), REPLY_SIZE):
        return receive_reply(way, frame, now_ns)
    if size < CHANGES_SIZE or memcmp(s, PyBytes_AS_STRING(CHANGES_START), CHANGES_SIZE):
        return False
    return True if repeats(slot(way, way_orders), s, size) else plain_receive(way, frame, now_ns)


cdef bint repeats(object flow, Text s, Py_ssize_t size) except -1:
    """Whether a notification tells only of one resting order as it is known; that is confirmed then."""
    cdef RestingOrder order
    cdef PyObject *found
    if not is_a(flow, <PyObject *>OrderFlow) or not is_plain_text(s, size):
        return False
    if not is_notice(s + CHANGES_SIZE, s + size, &order):
        return False
    found = PyDict_GetItemWithError(<dict>slot(flow, flow_orders), text_of(&order.order_id))
    if found == NULL:
        return False
    tracked = <object>found
    if (
        slot(tracked, tracked_updated) != order.updated_ms or slot(tracked, tracked_trigger_price) is not None
        or slot(tracked, tracked_is_replaced) is not (True if order.is_replaced else False)
        or not is_same(slot(tracked, tracked_quantity), number_of(&order.amount))
        or not is_same(slot(tracked, tracked_price), number_of(&order.price)) or slot(tracked, tracked_reported)
    ):
        return False
    set_slot(tracked, tracked_is_confirmed, True)
    return True


cdef object receive_reply(object way, bytes frame, object now_ns):
    cdef Text s = <Text>PyBytes_AS_STRING(frame)
    cdef Py_ssize_t at = REPLY_SIZE
    cdef long long number = 0
    cdef RestingOrder order
    cdef PyObject *found
    requests, flow = slot(way, way_requests), slot(way, way_orders)
    if not is_a(requests, <PyObject *>RequestTable) or not is_a(flow, <PyObject *>OrderFlow):
        return plain_receive(way, frame, now_ns)
    while c"0" <= s[at] <= c"9" and at - REPLY_SIZE < ID_DIGITS:  # the bytes end in NUL
        number = number * 10 + s[at] - c"0"
        at += 1
    if at == REPLY_SIZE or s[at] != c"," or (s[REPLY_SIZE] == c"0" and at > REPLY_SIZE + 1):
        return plain_receive(way, frame, now_ns)
    in_flight, request_id = <dict>slot(requests, table_in_flight), number
    found = PyDict_GetItemWithError(in_flight, request_id)
    if found == NULL:
        return False
    request = <object>found
    if (
        slot(request, request_kind) is not PLACE or not is_plain_text(s, PyBytes_GET_SIZE(frame))
        or not is_reply(s + at, s + PyBytes_GET_SIZE(frame), &order)
        or not takes_order(flow, in_flight, request_id, request, &order)
    ):
        return plain_receive(way, frame, now_ns)
    return True


cdef bint takes_order(object flow, dict in_flight, object request_id, object request, RestingOrder *order) except -1:
    """Whether a reply takes a new order into the book as it was sent; it is tracked and told of then."""
    label, symbol = slot(request, request_label), slot(request, request_symbol)
    if not says(&order.label, label) or not says(&order.symbol, symbol):
        return False
    if not order.amount.digits or not 0 < order.updated_ms < MAX_TIMESTAMP_MS:
        return False
    orders, order_id = <dict>slot(flow, flow_orders), text_of(&order.order_id)
    if PyDict_Size(orders) >= MAX_LIVE_ORDERS or PyDict_Contains(orders, order_id):
        return False
    if PyDict_Contains(<dict>slot(flow, flow_done), order_id):
        return False
    quantity, price = number_of(&order.amount), number_of(&order.price)
    PyDict_DelItem(in_flight, request_id)
    tracked = Tracked(
        label, symbol, quantity, price, order.updated_ms, True if order.is_replaced else False, NOTHING
    )
    PyDict_SetItem(orders, order_id, tracked)
    direction = BUY if order.is_buy else SELL
    accepted = OrderAccepted(label, order_id, symbol, direction, quantity, price, order.updated_ms * NS_PER_MS)
    PyList_Append(<list>slot(flow, flow_events), accepted)
    return True


# --- out ------------------------------------------------------------------------------------------------------------


def place(flow, label, symbol, is_buy, quantity, price, order_type, time_in_force, post_only, reduce_only, now_ns, trigger):
    """Queue an order. See OrderFlow.place."""
    if (
        is_a(flow, <PyObject *>OrderFlow) and trigger is None and reduce_only is False and order_type == "limit"
        and places(flow, label, symbol, is_buy, quantity, price, time_in_force, post_only, now_ns)
    ):
        return
    plain_place(
        flow, label, symbol, is_buy, quantity, price, order_type, time_in_force, post_only, reduce_only, now_ns, trigger
    )


cdef bint places(
    object flow, object label, object symbol, object is_buy, object quantity, object price, object time_in_force,
    object post_only, object now_ns
) except -1:
    """Whether a plain limit order was queued: its symbol is listed, its credit and its place in the table are there."""
    cdef long long level, needed
    requests, credits = slot(flow, flow_requests), slot(flow, flow_credits)
    if not is_a(requests, <PyObject *>RequestTable) or not is_a(credits, <PyObject *>Credits):
        return False
    if not PySet_Contains(<set>slot(flow, flow_symbols), symbol):
        return False
    in_flight, request_id = <dict>slot(requests, table_in_flight), slot(requests, table_next_id)
    if PyDict_Size(in_flight) >= <Py_ssize_t>slot(requests, table_most):
        return False
    frame = limit_frame(request_id, label, symbol, is_buy, quantity, price, time_in_force, post_only)
    if frame is None:
        return False
    if slot(credits, credits_as_of) != now_ns:
        credits._advance(now_ns)
    level, needed = slot(credits, credits_level), (1 + <long long>slot(flow, flow_reserve)) * NS_PER_S
    if level < needed:
        return False
    set_slot(credits, credits_level, level - NS_PER_S)
    set_slot(requests, table_next_id, request_id + 1)
    PyDict_SetItem(in_flight, request_id, Request(PLACE, now_ns + slot(flow, flow_timeout), label, symbol))
    PyList_Append(<list>slot(flow, flow_frames), frame)
    return True


# --- the session ------------------------------------------------------------------------------------------------------

# What Deribit says of itself at its own import's end.
cdef object Deribit, CONNECTING, plain_session_receive, plain_session_place, plain_session_events
cdef Py_ssize_t session_state, session_is_live, session_now, session_received, session_way, session_orders
cdef Py_ssize_t session_events


def session_steps(session_class, connecting):
    """Return the twins of Deribit.receive, .place and .events."""
    global Deribit, CONNECTING, plain_session_receive, plain_session_place, plain_session_events
    global session_state, session_is_live, session_now, session_received, session_way, session_orders, session_events
    Deribit, CONNECTING = session_class, connecting
    plain_session_receive, plain_session_place = session_class.receive, session_class.place
    plain_session_events = session_class.events
    session_state = offset_of(session_class, "_state")
    session_is_live = offset_of(session_class, "is_live")
    session_now = offset_of(session_class, "_now_ns")
    session_received = offset_of(session_class, "_received_ns")
    session_way = offset_of(session_class, "_short_way")
    session_orders = offset_of(session_class, "_orders")
    session_events = offset_of(session_class, "_events")
    return receive_frame, place_order, take_events


def plain_methods():
    """Return receive, place and events as Deribit has them: what the twins are compared with."""
    return plain_session_receive, plain_session_place, plain_session_events


def receive_frame(self, frame, now_ns, lane="main"):
    """Take a frame the short way; any other is Deribit.receive's."""
    if not is_a(self, <PyObject *>Deribit) or slot(self, session_state) is CONNECTING:
        return plain_session_receive(self, frame, now_ns, lane)
    set_slot(self, session_now, now_ns)
    set_slot(self, session_received, now_ns)
    if not receive(slot(self, session_way), frame, now_ns):
        plain_session_receive(self, frame, now_ns, lane)


def place_order(
    self, label, symbol, is_buy, quantity, price, order_type, time_in_force, post_only, reduce_only, now_ns, trigger=None
):
    """Queue an order of a session that is live. See Calls.place."""
    if not is_a(self, <PyObject *>Deribit) or slot(self, session_is_live) is not True:
        return plain_session_place(
            self, label, symbol, is_buy, quantity, price, order_type, time_in_force, post_only, reduce_only, now_ns,
            trigger,
        )
    place(
        slot(self, session_orders), label, symbol, is_buy, quantity, price, order_type, time_in_force, post_only,
        reduce_only, now_ns, trigger,
    )


def take_events(self):
    """Return what has happened. See Deribit.events."""
    if not is_a(self, <PyObject *>Deribit):
        return plain_session_events(self)
    events = <list>slot(self, session_events)
    taken = PyList_GetSlice(events, 0, PyList_GET_SIZE(events))
    PyList_SetSlice(events, 0, PyList_GET_SIZE(events), NULL)
    return taken
