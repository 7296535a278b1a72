# What _path.pyx does of an order that a check refused: its record and its report, written from the message itself.
#
# The bytes are those of records.encode(translate.refused(...)), and of report_values.refusal_values in EXECUTION_REPORT's
# layout. Whatever is not ordinary is found before anything is written, and goes the way of all records, `commit`.

cdef enum:
    SENT = 7  # what goes back as it came: REFUSED_TAGS
    CL_ORD_ID = 0
    ACCOUNT = 1
    SYMBOL = 2
    SIDE = 3
    ORD_TYPE = 4
    QUANTITY = 5
    PRICE = 6
    FIGURES = 3  # limit, observed, required
    MOST_SENT = 255  # of one value, the most that has a length of one byte in the record
    MOST_TEXT = 1024
    FIGURE_BYTES = 40
    RECORD_BYTES = 4096  # more than all that together
    SOH = 1

cdef struct Piece:
    const char *at
    Py_ssize_t size

cdef struct Figure:
    bint is_told
    double amount
    int size
    byte text[FIGURE_BYTES]

cdef struct Refusal:
    long long seq_in
    long long code
    int sent[SENT]  # the fields of the message, -1 where it has none
    Piece session
    Piece name
    Piece check
    Piece text
    Piece ord_rej_reason
    Figure figures[FIGURES]
    bint has_mark_age
    long long mark_age_ns

SENT_TAGS = (11, 1, 55, 54, 40, 38, 44)
cdef int sent_tags[SENT]
for _at, _tag in enumerate(SENT_TAGS):
    sent_tags[_at] = _tag
cdef dict reasons = _plain_values.REASONS
cdef object plain_number = _plain_values.number
cdef object refused_reason = None  # what was refused for last, and its entry of `reasons`
cdef tuple refused_as = None

_RECORD = (
    "session seq_in cl_ord_id account symbol side ord_type quantity price reason check text limit observed required"
    " mark_age_ns"
)
_REPORT = (1, 6, 11, 14, 17, 37, 38, 39, 40, 44, 54, 55, 58, 60, 103, 150, 151, 20001, 20002, 20003, 20004, 20005, 20007)
# Whether both are still what is written here.
cdef bint layouts_are_known = (
    _records.OrderRefused.__struct_fields__ == tuple(_RECORD.split()) and _records.TAGS[_records.OrderRefused] == 11
    and tuple(tag for tag in _EXECUTION_REPORT.tags if tag in _REPORT) == _REPORT
)


def writes_refusals():
    """Whether refusals are written here at all: the layouts are known, and the tables' handlers are those above."""
    return refusals_are_ours


cdef bint refuse(object self, object session, Message message, object decision, object now_ns) except -1:
    """Journal and report a refusal, in this order; False, and nothing done, where that is not ordinary."""
    cdef Refusal told
    cdef byte record[RECORD_BYTES]
    cdef long long time_ns = 0, sequence
    if not commits_itself(self) or PySet_Size(slot(self, pipeline_unwritten)):
        return False
    ledger, reports = slot(self, pipeline_ledger), slot(self, pipeline_reports)
    if not is_a(ledger, <PyObject *>Ledger) or not is_a(reports, <PyObject *>Reports):
        return False
    state = None if has_copies(reports) else state_for(reports, session)
    if state is None or PyDict_Size(<dict>slot(reports, reports_delayed)):
        return False
    connection = slot(state, state_connection)
    header = ready_header(connection)
    if header is None or not read_int(now_ns, MOST, &time_ns) or time_ns < 0:
        return False
    if not read_refusal(&told, session, message, decision):
        return False
    sequence = append_bytes(slot(self, pipeline_journal), 11, record, packed(record, &told, message) - record, time_ns)
    if sequence == 0:
        return False
    set_slot(ledger, ledger_time, now_ns)
    count(reports, state, told.seq_in)
    queue(connection, report_of(&told, message, header, next_number(connection), sequence, time_ns), now_ns)
    PySet_Add(slot(reports, reports_touched), session)
    return True


def refusal_bytes(session, Message message not None, decision, Header header not None, number, sequence, time_ns):
    """Return a refusal's record and report, or None where that is not ordinary: what is compared with the plain twins'."""
    cdef Refusal told
    cdef byte record[RECORD_BYTES]
    if not read_refusal(&told, session, message, decision):
        return None
    size = packed(record, &told, message) - record
    return (<char *>record)[:size], report_of(&told, message, header, number, sequence, time_ns)


# --- what is told -----------------------------------------------------------------------------------------------------

cdef bint read_refusal(Refusal *told, object session, Message message, object decision) except -1:
    """Read what there is to tell; False where some of it is not ordinary. Nothing can fail behind this."""
    cdef int i, at
    told.seq_in = message.msg_seq_num
    for i in range(SENT):
        at = told.sent[i] = message.find(sent_tags[i])
        if at >= 0 and message.cut[at].end - message.cut[at].start > MOST_SENT:
            return False
    reason = reason_told(slot(decision, reject_reason))
    if reason is None or told.seq_in < 0:
        return False
    told.code = <object>PyTuple_GET_ITEM(reason, 0)
    told.ord_rej_reason.at = PyBytes_AS_STRING(<object>PyTuple_GET_ITEM(reason, 2))
    told.ord_rej_reason.size = PyBytes_GET_SIZE(<object>PyTuple_GET_ITEM(reason, 2))
    if not (
        read_text(session, &told.session) and read_text(<object>PyTuple_GET_ITEM(reason, 1), &told.name)
        and read_text(slot(decision, reject_check), &told.check) and read_text(slot(decision, reject_text), &told.text)
    ):
        return False
    told.has_mark_age = slot(decision, reject_mark_age) is not None
    if told.has_mark_age and not read_int(slot(decision, reject_mark_age), MOST, &told.mark_age_ns):
        return False
    return (
        read_figure(slot(decision, reject_limit), &told.figures[0])
        and read_figure(slot(decision, reject_observed), &told.figures[1])
        and read_figure(slot(decision, reject_required), &told.figures[2])
    )


cdef tuple reason_told(object reason):
    """Return code, name and OrdRejReason(103) of a reason, None of one that is not known."""
    global refused_reason, refused_as
    if reason is not refused_reason:
        refused_as = reasons.get(reason._value_)
        refused_reason = reason
    return refused_as


cdef bint read_text(object text, Piece *piece) except -1:
    if not PyUnicode_CheckExact(text) or not PyUnicode_IS_ASCII(text):
        return False
    piece.at, piece.size = <const char *>PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text)
    return piece.size <= MOST_TEXT and memchr(piece.at, SOH, piece.size) == NULL


cdef bint read_figure(object value, Figure *figure) except -1:
    """Read a float, with its text for the client, or None."""
    figure.is_told = value is not None
    if not figure.is_told:
        return True
    if not read_float(value, &figure.amount):
        return False
    figure.size = 0
    if 1.0 <= figure.amount < 1e9 or -1e9 < figure.amount <= -1.0:
        figure.size = put_hundredths(figure.text, figure.amount)
    if figure.size == 0:
        text = <bytes>plain_number(value)
        if PyBytes_GET_SIZE(text) > FIGURE_BYTES:
            return False
        figure.size = <int>PyBytes_GET_SIZE(text)
        memcpy(figure.text, PyBytes_AS_STRING(text), figure.size)
    return True


# --- the record, as MessagePack ----------------------------------------------------------------------------------------

cdef byte *packed(byte *at, Refusal *told, Message message) noexcept:
    """Write OrderRefused as records.encode does; return its end."""
    cdef int i, field
    cdef const char *raw = PyBytes_AS_STRING(message.raw)
    memcpy(at, b"\xdc\x00\x11\x0b", 4)  # an array of 17, the first is the tag
    at = pack_text(at + 4, &told.session)
    at = pack_int(at, told.seq_in)
    for i in range(SENT):
        field = told.sent[i]
        at = at + pack_none(at) if field < 0 else pack_bytes(
            at, raw + message.cut[field].start, message.cut[field].end - message.cut[field].start
        )
    at = pack_int(at, told.code)
    at = pack_text(at, &told.check)
    at = pack_text(at, &told.text)
    for i in range(FIGURES):
        at = pack_float(at, told.figures[i].amount) if told.figures[i].is_told else at + pack_none(at)
    return pack_int(at, told.mark_age_ns) if told.has_mark_age else at + pack_none(at)


cdef inline int pack_none(byte *at) noexcept:
    at[0] = 0xc0
    return 1


cdef inline byte *pack_big(byte *at, byte kind, unsigned long long value, int size) noexcept:
    """Write a kind and the value behind it, its highest byte first."""
    cdef int i
    at[0] = kind
    for i in range(size, 0, -1):
        at[i] = <byte>value
        value >>= 8
    return at + size + 1


cdef byte *pack_int(byte *at, long long value) noexcept:
    if value >= 0:
        if value < 0x80:
            at[0] = <byte>value
            return at + 1
        if value <= 0xff:
            return pack_big(at, 0xcc, value, 1)
        if value <= 0xffff:
            return pack_big(at, 0xcd, value, 2)
        return pack_big(at, 0xce, value, 4) if value <= 0xffffffff else pack_big(at, 0xcf, value, 8)
    if value >= -32:
        at[0] = <byte>value
        return at + 1
    if value >= -0x80:
        return pack_big(at, 0xd0, value, 1)
    if value >= -0x8000:
        return pack_big(at, 0xd1, value, 2)
    return pack_big(at, 0xd2, value, 4) if value >= -0x80000000LL else pack_big(at, 0xd3, value, 8)


cdef byte *pack_float(byte *at, double amount) noexcept:
    cdef unsigned long long bits
    memcpy(&bits, &amount, 8)
    return pack_big(at, 0xcb, bits, 8)


cdef byte *pack_text(byte *at, Piece *piece) noexcept:
    if piece.size < 32:
        at[0] = 0xa0 | <byte>piece.size
        at += 1
    else:
        at = pack_big(at, 0xd9, piece.size, 1) if piece.size <= 0xff else pack_big(at, 0xda, piece.size, 2)
    memcpy(at, piece.at, piece.size)
    return at + piece.size


cdef inline byte *pack_bytes(byte *at, const char *s, int size) noexcept:
    at[0] = 0xc4
    at[1] = <byte>size
    mg_copy(at + 2, <const byte *>s, size)
    return at + 2 + size


# --- the report -------------------------------------------------------------------------------------------------------

cdef bytes report_of(
    Refusal *told, Message message, Header header, long long number, long long sequence, long long time_ns
):
    """Return the ExecutionReport(8) of a refusal, its fields in the layout's order."""
    cdef byte *at = message_begun(EXECUTION_REPORT, header, number, time_ns)
    at = sent_back(at, b"1=", 2, told, message, ACCOUNT)
    at = literal(at, b"6=0\x01", 4)
    at = sent_back(at, b"11=", 3, told, message, CL_ORD_ID)
    at = literal(at, b"14=0\x0117=", 8)
    at = literal(at + put_number(at, sequence), b"\x0137=NONE\x01", 9)
    at = sent_back(at, b"38=", 3, told, message, QUANTITY)
    at = literal(at, b"39=8\x01", 5)
    at = sent_back(at, b"40=", 3, told, message, ORD_TYPE)
    at = sent_back(at, b"44=", 3, told, message, PRICE)
    at = sent_back(at, b"54=", 3, told, message, SIDE)
    at = sent_back(at, b"55=", 3, told, message, SYMBOL)
    at = piece_of(literal(at, b"58=", 3), &told.name)
    at = piece_of(literal(at, b" ", 1), &told.check)
    at = piece_of(literal(at, b": ", 2), &told.text)
    at = figure_of(at, b", limit ", 8, &told.figures[0])
    at = figure_of(at, b", observed ", 11, &told.figures[1])
    at = figure_of(at, b", required ", 11, &told.figures[2])
    at = literal(at, b"\x0160=", 4)
    at += put_time(at, time_ns, 3)
    at = piece_of(literal(at, b"\x01103=", 5), &told.ord_rej_reason)
    at = literal(at, b"\x01150=8\x01151=0\x0120001=", 19)
    at += put_number(at, told.code)
    at = piece_of(literal(at, b"\x0120002=", 7), &told.check)
    at = figure_of(at, b"\x0120003=", 7, &told.figures[0])
    at = figure_of(at, b"\x0120004=", 7, &told.figures[1])
    at = figure_of(at, b"\x0120005=", 7, &told.figures[2])
    if told.has_mark_age:
        at = literal(at, b"\x0120007=", 7)
        at += put_number(at, whole_ms(told.mark_age_ns))
    return message_ended(header, literal(at, b"\x01", 1))


cdef inline long long whole_ms(long long ns) noexcept:
    """Whole milliseconds, down as Python's // has it."""
    return ns // 1_000_000 if ns >= 0 else -((999_999 - ns) // 1_000_000)


cdef inline byte *literal(byte *at, const char *s, Py_ssize_t size) noexcept:
    memcpy(at, s, size)
    return at + size


cdef inline byte *piece_of(byte *at, Piece *piece) noexcept:
    mg_copy(at, <const byte *>piece.at, piece.size)
    return at + piece.size


cdef inline byte *figure_of(byte *at, const char *before, Py_ssize_t size, Figure *figure) noexcept:
    """A figure behind what names it, where it is told."""
    if figure.is_told:
        at = literal(at, before, size)
        mg_copy(at, figure.text, figure.size)
        at += figure.size
    return at


cdef inline byte *sent_back(
    byte *at, const char *prefix, Py_ssize_t size, Refusal *told, Message message, int which
) noexcept:
    """A value as the client sent it; nothing where there is none."""
    cdef int i = told.sent[which], length
    if i >= 0:
        length = message.cut[i].end - message.cut[i].start
        if length:
            at = literal(at, prefix, size)
            mg_copy(at, <const byte *>PyBytes_AS_STRING(message.raw) + message.cut[i].start, length)
            at[length] = SOH
            at += length + 1
    return at


# --- as a record, and counted -------------------------------------------------------------------------------------------

cdef object refusal_of(object session, Message message, object decision):
    """The record of a refusal. See translate.refused."""
    cl_ord_id, account, symbol, side, ord_type, quantity, price = message.values(refused_tags)
    return OrderRefused(
        session, message.msg_seq_num, cl_ord_id, account, symbol, side, ord_type, quantity, price,
        slot(decision, reject_reason)._value_, slot(decision, reject_check), slot(decision, reject_text),
        slot(decision, reject_limit), slot(decision, reject_observed), slot(decision, reject_required),
        slot(decision, reject_mark_age),
    )


cdef int count_refused(object monitor, object decision, object now_ns) except -1:
    """Monitor.order_refused, but for what an operator is alerted of."""
    reason = slot(decision, reject_reason)
    told = reason_told(reason)
    if reason is CHECK_ERROR or told is None:
        monitor.order_refused(decision, now_ns)
        return 0
    set_slot(monitor, monitor_rejected, slot(monitor, monitor_rejected) + 1)
    add_one(<dict>slot(monitor, monitor_by_code), <object>PyTuple_GET_ITEM(told, 1))
    add_one(<dict>slot(monitor, monitor_pending), now_ns)
    return 0
