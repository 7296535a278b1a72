# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The steps of a record, compiled: journal, ledger, report, for the records that an order's life is made of.

Twins of Pipeline.receive (with ._new_order), .place and .commit, Ledger.approve, Ledger._venue_accepted,
Reports.received, ._order_refused and ._venue_accepted, over the same objects' own slots. What is not ordinary is left to those, before anything was changed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError, PyDict_SetItem, PyDict_Size
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.set cimport PySet_Add, PySet_Size
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.string cimport memchr, memcpy

from gateway.journal._page cimport Page
from protocols.fix._bytes cimport mg_copy
from protocols.fix._codec cimport (
    Header, Layout, Message, byte, message_begun, message_ended, put_hundredths, put_number, put_time,
)
from protocols.fix._session cimport next_number, next_regular, queue, ready_header
from risk._gate cimport first_look
from risk._hold cimport hold_new
from risk._slots cimport is_a, offset_of, read_float, read_int, set_slot, slot

from gateway import records as _records, report_values as _plain_values
from gateway._orders import ordinary_order as _ordinary_order
from gateway.compiled import order_values as _order_values, refusal_values as _refusal_values
from gateway.journal import JournalError as _JournalError, writer as _writer
from gateway.router import Router as _Router
from protocols.fix import core as _core, state as _state
from protocols.fix.messages import EXECUTION_REPORT as _EXECUTION_REPORT
from protocols.fix.steps import send as _send
from protocols.venues import events as _events
from risk import account as _accounts, exposure as _exposures, instrument as _instruments, marks as _marks, order as _orders
from risk.instrument import Side as _Side
from risk.pre_trade import account_is_trading as _account_is_trading, broken as _broken, decide as _decide
from risk.lifecycle import TABLE as _TABLE, Happening as _Happening, OrdStatus as _OrdStatus
from risk.order import OrdType as _OrdType, TimeInForce as _TimeInForce
from risk.self_trade import SelfTradePrevention as _SelfTradePrevention

cdef extern from "Python.h":
    int PyDict_DelItem(object d, object key) except -1
    bint PyMethod_Check(object o)
    PyObject *PyMethod_GET_FUNCTION(object method)
    bint PyUnicode_CheckExact(object o)
    bint PyUnicode_IS_ASCII(object text)
    void *PyUnicode_1BYTE_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef enum:
    GRANULE = 8

cdef long long MOST = 1 << 61
cdef long long OVERHEAD_ROUNDED = _writer._OVERHEAD_ROUNDED


include "_path_slots.pxi"

# What the classes that import this say of themselves, each at its own import's end.
cdef object Ledger, Reports
cdef object plain_approve, plain_venue_accepted, plain_received, plain_order_refused, plain_report_accepted, plain_commit
cdef Py_ssize_t ledger_accounts, ledger_instruments, ledger_orders, ledger_order_count, ledger_time
cdef Py_ssize_t reports_ledger, reports_sessions, reports_copies, reports_delayed, reports_touched, copies_of_account
cdef object Pipeline
cdef Py_ssize_t pipeline_journal, pipeline_ledger, pipeline_reports, pipeline_unwritten
cdef dict kinds, ledger_table, reports_table
cdef bint refusals_are_ours = False  # a record of a refusal is only reported, and by order_refused

# --- journal, then apply, then report -------------------------------------------------------------------------------

def commit_of(pipeline_class, dict kinds_of_records, dict of_ledger, dict of_reports):
    """Return Pipeline.commit's twin; the tables are those of pipeline, ledger and reports, by a record's type."""
    global Pipeline, plain_commit, kinds, ledger_table, reports_table, refusals_are_ours
    global pipeline_journal, pipeline_ledger, pipeline_reports, pipeline_unwritten
    Pipeline, plain_commit = pipeline_class, pipeline_class.commit
    kinds, ledger_table, reports_table = kinds_of_records, of_ledger, of_reports
    refusals_are_ours = (
        _records.OrderRefused not in ledger_table and reports_table.get(_records.OrderRefused) is order_refused
    )
    pipeline_journal = offset_of(Pipeline, "journal")
    pipeline_ledger = offset_of(Pipeline, "ledger")
    pipeline_reports = offset_of(Pipeline, "reports")
    pipeline_unwritten = offset_of(Pipeline, "_unwritten")
    return commit


def commit(self, record, now_ns):
    """Journal, apply, report. See Pipeline.commit."""
    cdef PyObject *found
    if not is_a(self, <PyObject *>Pipeline) or PySet_Size(slot(self, pipeline_unwritten)):
        return plain_commit(self, record, now_ns)
    ledger, reports = slot(self, pipeline_ledger), slot(self, pipeline_reports)
    kind = <tuple>kinds[type(record)]
    if not is_a(ledger, <PyObject *>Ledger) or not is_a(reports, <PyObject *>Reports):
        return plain_commit(self, record, now_ns)
    sequence = append(slot(self, pipeline_journal), kind[0], encode(record), now_ns, kind[1])
    set_slot(ledger, ledger_time, now_ns)
    found = PyDict_GetItemWithError(ledger_table, type(record))
    if found != NULL:
        (<object>found)(ledger, record)
    found = PyDict_GetItemWithError(reports_table, type(record))
    if found != NULL:
        (<object>found)(reports, record, sequence, now_ns)


cdef object append(object journal, object tag, bytes payload, object now_ns, object is_essential):
    """Journal.append, as long as the record is not beyond where the journal must be attended to."""
    cdef long long sequence = 0, time_ns = 0
    if read_int(now_ns, MOST, &time_ns):
        sequence = append_bytes(
            journal, tag, <const byte *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), time_ns
        )
    return sequence if sequence else journal.append(tag, payload, now_ns, is_essential)


cdef long long append_bytes(
    object journal, unsigned short tag, const byte *payload, Py_ssize_t size, long long time_ns
) except -1:
    """Write a record where there is room for it without further ado; return its number, 0 where nothing was done."""
    cdef long long offset = 0, attend_at = 0, sequence = 0, version = 0, salt = 0, end
    if not is_a(journal, <PyObject *>Journal) or type(slot(journal, journal_page)) is not Page:
        return 0
    if not (
        read_int(slot(journal, journal_offset), MOST, &offset) and read_int(slot(journal, journal_attend_at), MOST, &attend_at)
        and read_int(slot(journal, journal_next), MOST, &sequence)
        and read_int(slot(journal, journal_version), 0xffff, &version)
        and read_int(slot(journal, journal_salt), 0xffffffff, &salt) and salt >= 0 and version >= 0
    ):
        return 0
    end = offset + ((size + OVERHEAD_ROUNDED) & -GRANULE)
    if end > attend_at:
        return 0
    (<Page>slot(journal, journal_page)).write(
        offset, sequence, time_ns, tag, <unsigned short>version, <const char *>payload, size, <unsigned int>salt
    )
    set_slot(journal, journal_offset, end)
    set_slot(journal, journal_next, sequence + 1)
    return sequence


cdef inline bint commits_itself(object self) except -1:
    """Whether the commit of a pipeline is the one above, and a refusal is no more than written and reported by it."""
    method = self.commit
    return refusals_are_ours and PyMethod_Check(method) and PyMethod_GET_FUNCTION(method) == <PyObject *>commit


# --- the ledger -----------------------------------------------------------------------------------------------------

def ledger_handlers(ledger_class):
    """Return what replaces plain methods in the table of Ledger."""
    global Ledger, plain_approve, plain_venue_accepted
    global ledger_accounts, ledger_instruments, ledger_orders, ledger_order_count, ledger_time
    Ledger, plain_approve, plain_venue_accepted = ledger_class, ledger_class.approve, ledger_class._venue_accepted
    ledger_accounts = offset_of(Ledger, "accounts")
    ledger_instruments = offset_of(Ledger, "instruments")
    ledger_orders = offset_of(Ledger, "orders")
    ledger_order_count = offset_of(Ledger, "order_count")
    ledger_time = offset_of(Ledger, "time_ns")
    return {_records.OrderApproved: approve, _records.VenueAccepted: venue_accepted}


def approve(ledger, record):
    """Know an order that passed the checks, and hold what it could do. See Ledger.approve."""
    cdef PyObject *found
    cdef long long index = 0
    if not is_a(ledger, <PyObject *>Ledger):
        return plain_approve(ledger, record)
    found = PyDict_GetItemWithError(<dict>slot(ledger, ledger_accounts), slot(record, approved_account))
    instruments = <list>slot(ledger, ledger_instruments)
    if (
        found == NULL or not is_a(<object>found, <PyObject *>Account)
        or not read_int(slot(record, approved_instrument), MOST, &index)
        or not 0 <= index < PyList_GET_SIZE(instruments)
    ):
        return plain_approve(ledger, record)
    account = <object>found
    ids = slot(account, account_ids)
    if not is_a(ids, <PyObject *>RecentIds):
        return plain_approve(ledger, record)
    order_id, cl_ord_id = slot(record, approved_order_id), slot(record, approved_cl_ord_id)
    now_ns = slot(ledger, ledger_time)
    order = WorkingOrder(
        order_id, cl_ord_id, slot(record, approved_session), slot(record, approved_account),
        <object>PyList_GET_ITEM(instruments, index), sides[slot(record, approved_side)], slot(record, approved_lots),
        slot(record, approved_ticks), ord_types[slot(record, approved_ord_type)],
        times_in_force[slot(record, approved_time_in_force)], slot(record, approved_is_post_only),
        slot(record, approved_is_reduce_only), now_ns,
    )
    set_slot(ledger, ledger_order_count, slot(ledger, ledger_order_count) + 1)
    PyDict_SetItem(<dict>slot(ledger, ledger_orders), order_id, order)
    used = (now_ns, order_id, cl_ord_id)
    PyDict_SetItem(<dict>slot(ids, ids_ids), cl_ord_id, used)
    slot(ids, ids_queue).append(used)
    hold_new(slot(account, account_exposure), order)


def venue_accepted(ledger, record):
    """Take the venue's acknowledgement. See Ledger._venue_accepted."""
    cdef PyObject *found
    if not is_a(ledger, <PyObject *>Ledger):
        return plain_venue_accepted(ledger, record)
    found = PyDict_GetItemWithError(<dict>slot(ledger, ledger_orders), slot(record, accepted_order_id))
    if found == NULL or slot(<object>found, order_status) is not PENDING_NEW:
        return plain_venue_accepted(ledger, record)
    set_slot(<object>found, order_venue_id, slot(record, accepted_venue_id))
    set_slot(<object>found, order_status, accepted_status)


# --- reports --------------------------------------------------------------------------------------------------------

def report_handlers(reports_class, copies_class):
    """Return what replaces plain methods in the table of Reports."""
    global Reports, plain_received, plain_order_refused, plain_report_accepted
    global reports_ledger, reports_sessions, reports_copies, reports_delayed, reports_touched, copies_of_account
    Reports, plain_received = reports_class, reports_class.received
    plain_order_refused, plain_report_accepted = reports_class._order_refused, reports_class._venue_accepted
    reports_ledger = offset_of(Reports, "_ledger")
    reports_sessions = offset_of(Reports, "sessions")
    reports_copies = offset_of(Reports, "copies")
    reports_delayed = offset_of(Reports, "delayed")
    reports_touched = offset_of(Reports, "touched")
    copies_of_account = offset_of(copies_class, "of_account")
    return {
        _records.OrderApproved: received,
        _records.OrderRefused: order_refused,
        _records.VenueAccepted: report_accepted,
    }


cdef object state_for(object reports, object session):
    """The state of a session that is connected and writes reports as they are; None for any other."""
    cdef PyObject *found = PyDict_GetItemWithError(<dict>slot(reports, reports_sessions), session)
    if found == NULL or not is_a(<object>found, <PyObject *>SessionState):
        return None
    if slot(<object>found, state_as_given) is not True or slot(<object>found, state_connection) is None:
        return None
    return <object>found


cdef bint count(object reports, object state, long long number) except -1:
    """Reports.received where nothing is delayed; False, and nothing done, where something is."""
    cdef long long next_in = 0
    if PyDict_Size(<dict>slot(reports, reports_delayed)):
        return False
    if not read_int(slot(state, state_next_in), MOST, &next_in):
        return False
    if number and next_in <= number:
        set_slot(state, state_next_in, number + 1)
    return True


cdef bint has_copies(object reports) except -1:
    return PyDict_Size(<dict>slot(slot(reports, reports_copies), copies_of_account)) > 0


def received(reports, record, sequence, time_ns):
    """Count an approved order's message as received. See Reports.received."""
    cdef PyObject *found
    cdef long long seq_in = 0
    if not is_a(reports, <PyObject *>Reports) or not read_int(slot(record, approved_seq_in), MOST, &seq_in):
        return plain_received(reports, record, sequence, time_ns)
    found = PyDict_GetItemWithError(<dict>slot(reports, reports_sessions), slot(record, approved_session))
    if found == NULL or not is_a(<object>found, <PyObject *>SessionState):
        return plain_received(reports, record, sequence, time_ns)
    if not count(reports, <object>found, seq_in):
        plain_received(reports, record, sequence, time_ns)


def order_refused(reports, record, sequence, time_ns):
    """Report a refusal to a client that is there. See Reports._order_refused."""
    cdef long long seq_in = 0
    if not is_a(reports, <PyObject *>Reports) or has_copies(reports):
        return plain_order_refused(reports, record, sequence, time_ns)
    session = slot(record, refused_session)
    state = state_for(reports, session)
    if state is None or not read_int(slot(record, refused_seq_in), MOST, &seq_in) or not count(reports, state, seq_in):
        return plain_order_refused(reports, record, sequence, time_ns)
    values = refusal_values(record, sequence, time_ns)
    send(slot(state, state_connection), EXECUTION_REPORT, values, time_ns)
    PySet_Add(slot(reports, reports_touched), session)


def report_accepted(reports, record, sequence, time_ns):
    """Report an acknowledgement to a client that is there. See Reports._venue_accepted."""
    cdef PyObject *found
    if not is_a(reports, <PyObject *>Reports) or has_copies(reports):
        return plain_report_accepted(reports, record, sequence, time_ns)
    ledger = slot(reports, reports_ledger)
    if not is_a(ledger, <PyObject *>Ledger):
        return plain_report_accepted(reports, record, sequence, time_ns)
    found = PyDict_GetItemWithError(<dict>slot(ledger, ledger_orders), slot(record, accepted_order_id))
    if found == NULL or slot(<object>found, order_terms) is not None:
        return plain_report_accepted(reports, record, sequence, time_ns)
    order = <object>found
    session = slot(order, order_session)
    state = state_for(reports, session)
    if state is None:
        return plain_report_accepted(reports, record, sequence, time_ns)
    if slot(order, order_status) is not NEW:
        return None  # a fill came first, and its report has told already
    values = order_values(order, sequence, time_ns, b"0")
    send(slot(state, state_connection), EXECUTION_REPORT, values, time_ns)
    PySet_Add(slot(reports, reports_touched), session)


# --- an order ---------------------------------------------------------------------------------------------------------

cdef object plain_receive, plain_place, evaluate, Monitor, CANCEL_RESTING
cdef Py_ssize_t pipeline_gates, pipeline_monitor, pipeline_market, pipeline_router, pipeline_accounts_of
cdef Py_ssize_t ledger_by_symbol, ledger_run, market_day_ends
cdef Py_ssize_t monitor_orders_in, monitor_accepted, monitor_checks_run, monitor_accepted_at, monitor_acknowledged
cdef Py_ssize_t monitor_rejected, monitor_by_code, monitor_pending
cdef tuple refused_tags
cdef Py_ssize_t most_timed

cdef Py_ssize_t account_name = offset_of(_accounts.Account, "name")
cdef Py_ssize_t account_prevention = offset_of(_accounts.Account, "self_trade_prevention")
cdef Py_ssize_t asked_account = offset_of(_orders.Order, "account")
cdef Py_ssize_t asked_cl_ord_id = offset_of(_orders.Order, "cl_ord_id")
cdef Py_ssize_t asked_side = offset_of(_orders.Order, "side")
cdef Py_ssize_t asked_lots = offset_of(_orders.Order, "lots")
cdef Py_ssize_t asked_ticks = offset_of(_orders.Order, "ticks")
cdef Py_ssize_t asked_ord_type = offset_of(_orders.Order, "ord_type")
cdef Py_ssize_t asked_time_in_force = offset_of(_orders.Order, "time_in_force")
cdef Py_ssize_t asked_is_post_only = offset_of(_orders.Order, "is_post_only")
cdef Py_ssize_t asked_is_reduce_only = offset_of(_orders.Order, "is_reduce_only")
cdef Py_ssize_t asked_terms = offset_of(_orders.Order, "terms")
cdef Py_ssize_t approval_order = offset_of(_orders.Approved, "order")
cdef Py_ssize_t approval_instrument = offset_of(_orders.Approved, "instrument")
cdef Py_ssize_t approval_account = offset_of(_orders.Approved, "account")
cdef Py_ssize_t approval_checks_run = offset_of(_orders.Approved, "checks_run")
cdef Py_ssize_t instrument_index = offset_of(_instruments.Instrument, "index")
cdef Py_ssize_t instrument_venue = offset_of(_instruments.Instrument, "venue")
cdef object Router = _Router
cdef Py_ssize_t router_links = offset_of(_Router, "_links")
cdef Py_ssize_t router_touched = offset_of(_Router, "_touched")
cdef Py_ssize_t reject_reason = offset_of(_orders.Reject, "reason")
cdef Py_ssize_t reject_check = offset_of(_orders.Reject, "check")
cdef Py_ssize_t reject_text = offset_of(_orders.Reject, "text")
cdef Py_ssize_t reject_limit = offset_of(_orders.Reject, "limit")
cdef Py_ssize_t reject_observed = offset_of(_orders.Reject, "observed")
cdef Py_ssize_t reject_required = offset_of(_orders.Reject, "required")
cdef Py_ssize_t reject_mark_age = offset_of(_orders.Reject, "mark_age_ns")


def order_steps(pipeline_class, monitor_class, the_evaluate, tuple tags_sent_back, Py_ssize_t timed_at_most):
    """Return the twins of Pipeline.receive and Pipeline.place. `the_evaluate` is pre_trade's: all checks are its."""
    global plain_receive, plain_place, evaluate, Monitor, refused_tags, most_timed, CANCEL_RESTING
    global pipeline_gates, pipeline_monitor, pipeline_market, pipeline_router, pipeline_accounts_of
    global ledger_by_symbol, ledger_run, market_day_ends
    global monitor_orders_in, monitor_accepted, monitor_checks_run, monitor_accepted_at, monitor_acknowledged
    global monitor_rejected, monitor_by_code, monitor_pending, refusals_are_ours
    plain_receive, plain_place = pipeline_class.receive, pipeline_class.place
    evaluate, Monitor, refused_tags, most_timed = the_evaluate, monitor_class, tags_sent_back, timed_at_most
    refusals_are_ours = refusals_are_ours and layouts_are_known and tags_sent_back == SENT_TAGS
    CANCEL_RESTING = _SelfTradePrevention.CANCEL_RESTING
    pipeline_gates = offset_of(pipeline_class, "gates")
    pipeline_monitor = offset_of(pipeline_class, "monitor")
    pipeline_market = offset_of(pipeline_class, "market")
    pipeline_router = offset_of(pipeline_class, "router")
    pipeline_accounts_of = offset_of(pipeline_class, "accounts_of")
    ledger_by_symbol = offset_of(Ledger, "by_symbol")
    ledger_run = offset_of(Ledger, "run")
    market_day_ends = offset_of(_marks.Market, "day_ends_s")
    monitor_orders_in = offset_of(Monitor, "orders_in")
    monitor_accepted = offset_of(Monitor, "accepted")
    monitor_checks_run = offset_of(Monitor, "checks_run")
    monitor_accepted_at = offset_of(Monitor, "_accepted_at")
    monitor_acknowledged = offset_of(Monitor, "_acknowledged")
    monitor_rejected = offset_of(Monitor, "rejected")
    monitor_by_code = offset_of(Monitor, "rejects_by_code")
    monitor_pending = offset_of(Monitor, "_pending_rejects")
    return receive, place


def plain_methods():
    """Return receive, place and commit as Pipeline has them: what the twins are compared with."""
    return plain_receive, plain_place, plain_commit


include "_path_order.pxi"
include "_path_refusal.pxi"


# --- the venue's acknowledgement --------------------------------------------------------------------------------------

cdef object plain_order_accepted, Executions
cdef Py_ssize_t executions_pipeline, executions_ledger, executions_monitor


def venue_handlers(executions_class):
    """Return what replaces plain methods in the table of Executions."""
    global Executions, plain_order_accepted, executions_pipeline, executions_ledger, executions_monitor
    Executions, plain_order_accepted = executions_class, executions_class._order_accepted
    executions_pipeline = offset_of(Executions, "pipeline")
    executions_ledger = offset_of(Executions, "_ledger")
    executions_monitor = offset_of(Executions, "_monitor")
    return {OrderAccepted: order_accepted}


def order_accepted(self, event, now_ns):
    """Record that the venue has taken an order that waited for just that. See Executions._order_accepted."""
    cdef PyObject *found
    if not is_a(self, <PyObject *>Executions) or not is_a(event, <PyObject *>OrderAccepted):
        return plain_order_accepted(self, event, now_ns)
    ledger, monitor = slot(self, executions_ledger), slot(self, executions_monitor)
    if not is_a(ledger, <PyObject *>Ledger) or not is_a(monitor, <PyObject *>Monitor):
        return plain_order_accepted(self, event, now_ns)
    found = PyDict_GetItemWithError(<dict>slot(ledger, ledger_orders), slot(event, event_label))
    if found == NULL:
        return None
    order = <object>found
    if (
        slot(order, order_status) is not PENDING_NEW or slot(order, order_venue_id)
        or slot(order, order_is_cancel_pending) is not False
    ):
        return plain_order_accepted(self, event, now_ns)
    order_id = slot(order, order_order_id)
    slot(self, executions_pipeline).commit(VenueAccepted(order_id, slot(event, event_venue_order_id)), now_ns)
    waiting = <dict>slot(monitor, monitor_accepted_at)
    found = PyDict_GetItemWithError(waiting, order_id)
    if found != NULL:
        received_ns = <object>found
        PyDict_DelItem(waiting, order_id)
        add_one(<dict>slot(monitor, monitor_acknowledged), received_ns)
