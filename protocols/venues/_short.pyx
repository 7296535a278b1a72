# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The short way of Deribit's orders, compiled: an order out, the reply that takes it, the notification that repeats that.

Same structs, same tables, read where they lie. Whatever is not ordinary (a fill, an edit, an order that is known
already, a limit that is reached) goes to the plain methods, before anything was changed.
"""

from cpython.dict cimport PyDict_Contains, PyDict_GetItemWithError, PyDict_SetItem, PyDict_Size
from cpython.list cimport PyList_Append, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool
from cpython.set cimport PySet_Contains

from protocols._slots cimport is_a, offset_of, set_slot, slot

from protocols.venues import deribit_decode as _decode, deribit_orders as _orders, jsonrpc as _jsonrpc
from protocols.venues import rate_limit as _rates
from protocols.venues._frames import limit_frame as _limit_frame
from protocols.venues.deribit_decode import DECODE_ERRORS as _DECODE_ERRORS, decimal as _decimal
from protocols.venues.deribit_short import CHANGES_START as _CHANGES_START, REPLY_START as _REPLY_START
from protocols.venues.deribit_short import ShortWay as _ShortWay
from protocols.venues.deribit_tables import CHANGES_CHANNEL as _CHANGES_CHANNEL, Kind as _Kind
from protocols.venues.events import OrderAccepted as _OrderAccepted
from protocols.venues.fields import MAX_TIMESTAMP_MS as _MAX_TIMESTAMP_MS, NS_PER_MS as _NS_PER_MS

cdef extern from "Python.h":
    double PyFloat_AS_DOUBLE(object o)
    bint PyFloat_CheckExact(object o)
    bint PyLong_CheckExact(object o)
    int PyDict_DelItem(object d, object key) except -1
    list PyList_GetSlice(list l, Py_ssize_t low, Py_ssize_t high)
    int PyList_SetSlice(list l, Py_ssize_t low, Py_ssize_t high, PyObject *items) except -1

cdef enum:
    ID_DIGITS = 18

cdef object OrderFlow = _orders.OrderFlow
cdef object RequestTable = _jsonrpc.RequestTable
cdef object Request = _jsonrpc.Request
cdef object Tracked = _orders.Tracked
cdef object Credits = _rates.Credits
cdef object OrderAccepted = _OrderAccepted
cdef object limit_frame = _limit_frame
cdef object decode_errors = _DECODE_ERRORS
cdef object decode_reply = _decode.ORDER_REPLY.decode
cdef object decode_notice = _decode.CHANGES_NOTICE.decode
cdef object decimal = _decimal
cdef dict decimals = _decode._decimals
cdef object PLACE = _Kind.PLACE
cdef object plain_receive_reply = _ShortWay._receive_reply
cdef object plain_place = _orders.OrderFlow.place
cdef bytes CHANGES_START = _CHANGES_START
cdef bytes REPLY_START = _REPLY_START
cdef str CHANNEL = _CHANGES_CHANNEL
cdef Py_ssize_t ID_AT = len(_REPLY_START)
cdef long long MAX_TIMESTAMP_MS = _MAX_TIMESTAMP_MS
cdef long long NS_PER_MS = _NS_PER_MS
cdef long long NS_PER_S = _rates.NS_PER_SECOND
cdef double MAX_NUMBER = _decode.MAX_NUMBER
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
cdef Py_ssize_t reply_id = offset_of(_decode.OrderReply, "id")
cdef Py_ssize_t reply_result = offset_of(_decode.OrderReply, "result")
cdef Py_ssize_t reply_error = offset_of(_decode.OrderReply, "error")
cdef Py_ssize_t result_order = offset_of(_decode.OrderAndTrades, "order")
cdef Py_ssize_t result_trades = offset_of(_decode.OrderAndTrades, "trades")
cdef Py_ssize_t notice_id = offset_of(_decode.ChangesNotice, "id")
cdef Py_ssize_t notice_method = offset_of(_decode.ChangesNotice, "method")
cdef Py_ssize_t notice_params = offset_of(_decode.ChangesNotice, "params")
cdef Py_ssize_t params_channel = offset_of(_decode.ChangesParams, "channel")
cdef Py_ssize_t params_data = offset_of(_decode.ChangesParams, "data")
cdef Py_ssize_t changes_orders = offset_of(_decode.Changes, "orders")
cdef Py_ssize_t changes_trades = offset_of(_decode.Changes, "trades")
cdef Py_ssize_t changes_positions = offset_of(_decode.Changes, "positions")
cdef Py_ssize_t order_id_at = offset_of(_decode.OrderWire, "order_id")
cdef Py_ssize_t order_state = offset_of(_decode.OrderWire, "order_state")
cdef Py_ssize_t order_symbol = offset_of(_decode.OrderWire, "instrument_name")
cdef Py_ssize_t order_direction = offset_of(_decode.OrderWire, "direction")
cdef Py_ssize_t order_amount = offset_of(_decode.OrderWire, "amount")
cdef Py_ssize_t order_filled = offset_of(_decode.OrderWire, "filled_amount")
cdef Py_ssize_t order_price = offset_of(_decode.OrderWire, "price")
cdef Py_ssize_t order_updated = offset_of(_decode.OrderWire, "last_update_timestamp")
cdef Py_ssize_t order_label = offset_of(_decode.OrderWire, "label")
cdef Py_ssize_t order_replaced = offset_of(_decode.OrderWire, "replaced")
cdef Py_ssize_t order_trigger_id = offset_of(_decode.OrderWire, "trigger_order_id")
cdef Py_ssize_t tracked_snapshot = offset_of(_orders.Tracked, "snapshot")
cdef Py_ssize_t tracked_is_confirmed = offset_of(_orders.Tracked, "is_confirmed")


cdef inline object number_of(object value):
    """decimal(), whose table is looked at here."""
    cdef PyObject *found = PyDict_GetItemWithError(decimals, value)
    return decimal(value) if found == NULL else <object>found


cdef inline bint is_resting(object order) except -1:
    """Whether an order is open, and nothing of it was filled."""
    filled = slot(order, order_filled)
    return <str>slot(order, order_state) == "open" and PyFloat_CheckExact(filled) and PyFloat_AS_DOUBLE(filled) == 0.0


# --- in -------------------------------------------------------------------------------------------------------------


def receive(way, bytes frame not None, now_ns):
    """Take a frame; False, and nothing done, where it is for the long way. See ShortWay.receive."""
    if frame.startswith(REPLY_START):
        return receive_reply(way, frame, now_ns)
    if not frame.startswith(CHANGES_START):
        return False
    try:
        notice = decode_notice(frame)
    except decode_errors:
        return False
    return True if repeats(way, notice) else way.take_notice(notice, now_ns)


cdef bint repeats(object way, object notice) except -1:
    """Whether a notification tells only of resting orders as they are known; those are confirmed then."""
    cdef Py_ssize_t i
    cdef PyObject *found
    flow = slot(way, way_orders)
    if (
        not is_a(flow, <PyObject *>OrderFlow) or slot(notice, notice_id) is not None
        or <str>slot(notice, notice_method) != "subscription"
    ):
        return False
    params = slot(notice, notice_params)
    if <str>slot(params, params_channel) != CHANNEL:
        return False
    data = slot(params, params_data)
    if PyList_GET_SIZE(<list>slot(data, changes_trades)) or PyList_GET_SIZE(<list>slot(data, changes_positions)):
        return False
    known, told = <dict>slot(flow, flow_orders), <list>slot(data, changes_orders)
    for i in range(PyList_GET_SIZE(told)):
        order = <object>PyList_GET_ITEM(told, i)
        found = PyDict_GetItemWithError(known, slot(order, order_id_at))
        if found == NULL or not is_resting(order):
            return False
        if not PyObject_RichCompareBool(order, slot(<object>found, tracked_snapshot), Py_EQ):
            return False
        set_slot(<object>found, tracked_is_confirmed, True)
    return True


cdef object receive_reply(object way, bytes frame, object now_ns):
    cdef const unsigned char *s = <const unsigned char *>frame
    cdef Py_ssize_t at = ID_AT
    cdef long long number = 0
    cdef PyObject *found
    requests, flow = slot(way, way_requests), slot(way, way_orders)
    if not is_a(requests, <PyObject *>RequestTable) or not is_a(flow, <PyObject *>OrderFlow):
        return plain_receive_reply(way, frame, now_ns)
    while c"0" <= s[at] <= c"9" and at - ID_AT < ID_DIGITS:  # the bytes end in NUL
        number = number * 10 + s[at] - c"0"
        at += 1
    if at == ID_AT or s[at] != c",":
        return plain_receive_reply(way, frame, now_ns)
    in_flight, request_id = <dict>slot(requests, table_in_flight), number
    found = PyDict_GetItemWithError(in_flight, request_id)
    if found == NULL:
        return False
    request = <object>found
    if slot(request, request_kind) is not PLACE:
        return plain_receive_reply(way, frame, now_ns)
    try:
        reply = decode_reply(frame)
    except decode_errors:
        return False
    if not takes_order(flow, in_flight, request_id, request, reply):
        return way.take_order_reply(request, reply, now_ns)
    return True


cdef bint takes_order(object flow, dict in_flight, object request_id, object request, object reply) except -1:
    """Whether a reply takes a new order into the book as it was sent; it is tracked and told of then."""
    cdef double amount
    cdef long long updated_ms
    if slot(reply, reply_error) or slot(reply, reply_id) != request_id:
        return False
    result = slot(reply, reply_result)
    if PyList_GET_SIZE(<list>slot(result, result_trades)):
        return False
    order = slot(result, result_order)
    label, symbol, order_id = slot(order, order_label), slot(order, order_symbol), slot(order, order_id_at)
    wire_amount, wire_price, updated = slot(order, order_amount), slot(order, order_price), slot(order, order_updated)
    if (
        not is_resting(order) or <str>label != <str>slot(request, request_label)
        or <str>symbol != <str>slot(request, request_symbol) or slot(order, order_trigger_id)
        or not PyFloat_CheckExact(wire_amount) or not PyFloat_CheckExact(wire_price) or not PyLong_CheckExact(updated)
    ):
        return False
    amount, updated_ms = PyFloat_AS_DOUBLE(wire_amount), updated
    if not 0.0 < amount < MAX_NUMBER or not -MAX_NUMBER < PyFloat_AS_DOUBLE(wire_price) < MAX_NUMBER:
        return False
    if not 0 < updated_ms < MAX_TIMESTAMP_MS:
        return False
    orders = <dict>slot(flow, flow_orders)
    if PyDict_Size(orders) >= MAX_LIVE_ORDERS or PyDict_Contains(orders, order_id):
        return False
    if PyDict_Contains(<dict>slot(flow, flow_done), order_id):
        return False
    PyDict_DelItem(in_flight, request_id)
    quantity, price, reported = number_of(wire_amount), number_of(wire_price), number_of(slot(order, order_filled))
    tracked = Tracked(label, symbol, quantity, price, updated, slot(order, order_replaced), reported, order)
    PyDict_SetItem(orders, order_id, tracked)
    direction = slot(order, order_direction)
    accepted = OrderAccepted(label, order_id, symbol, direction, quantity, price, updated_ms * NS_PER_MS)
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
