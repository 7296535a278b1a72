"""Baskets: NewOrderList(E), ListCancelRequest(K), ListStatusRequest(M), and the ListStatus(N) that answers them.

Each order of a list passes the checks that a NewOrderSingle(D) passes, in the list's order, with those before it held.
A refused one does not stop the others: a list is a batch, not an all-or-nothing order. The list as a whole is refused
where its own fields are not what is served here, or where it names an order twice. ListReceived counts the client's
message, a record decides each order, ListPlaced ends it; what a crash cut off between is refused at the next start,
since an order that was sent long ago must not come alive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import records
from gateway.corrections import average_price, status_after
from gateway.messages.mass_requests import mark_cancelled
from gateway.report_values import STATUSES
from gateway.translate import MAX_ID_BYTES, OrderFields, new_order, refused
from protocols.fix.codec import Header, Message, encode_fields, format_decimal, format_timestamp, frame
from protocols.fix.grouped import Values, send_grouped
from risk.lifecycle import OrdStatus
from risk.order import Order, Reject, RejectReason, Terms
from risk.pre_trade import evaluate

if TYPE_CHECKING:
    from gateway.ledger import Ledger
    from gateway.pipeline import Pipeline
    from gateway.reports import Reports

MAX_LIST_ORDERS: Final = 200
HEADER_FIELDS: Final = 16
NO_SYMBOL: Final = b"[N/A]"
LISTS_KEPT: Final = 10_000

# BusinessRejectReason(380)
OTHER, UNKNOWN_ID = 0, 1
POSS_RESEND: Final = 97
# ListStatusType(429), ListOrderStatus(431)
ACK, RESPONSE = b"1", b"2"
EXECUTING, CANCELING, ALL_DONE, REJECT = b"3", b"4", b"6", b"7"
NO_BIDDING, IMMEDIATE = b"3", b"1"
# ListID, BidType, ListExecInstType, TotNoOrders, LastFragment
_TAGS: Final = (66, 394, 433, 68, 893)
_CANCELLED: Final = frozenset({OrdStatus.CANCELED, OrdStatus.EXPIRED})
_HEADER: Final = Header("FIX.4.4", "LIST", "LIST")  # of messages that go nowhere


class OrderList(msgspec.Struct):
    """A list of one client: its orders as they came, (ClOrdID, Account, Symbol, Side), and what became of each."""

    session: str
    list_id: str
    orders: tuple[tuple[str, str, str, str], ...]
    order_ids: dict[str, str]  # ClOrdID -> OrderID of those that were approved
    refused: set[str]
    is_placed: bool = False


# -- what a client asks ------------------------------------------------------------------------------------------------


def _new_list(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    list_id = _text(message.get(66))
    entries = listed_orders(message)
    if answers_resend(pipeline, session, message, now_ns):
        return
    refusal = _why_not(pipeline, session, message, entries)
    if refusal is not None:
        named = list_id[:MAX_ID_BYTES]
        pipeline.commit(records.ListRefused(session, message.msg_seq_num, named, len(entries), refusal), now_ns)
        return
    named_orders = tuple(_named(entry) for entry in entries)
    pipeline.commit(records.ListReceived(session, message.msg_seq_num, list_id, named_orders), now_ns)
    for entry in entries:
        _place(pipeline, session, list_id, entry, now_ns)
    pipeline.commit(records.ListPlaced(session, list_id), now_ns)


def answers_resend(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> bool:
    """Answer a PossResend(97) of a list that is known: with how it stands, as Pipeline.answers_resend does."""
    list_id = _text(message.get(66))
    if message.get(POSS_RESEND) != b"Y" or (session, list_id) not in pipeline.ledger.lists:
        return False
    pipeline.commit(records.ListStatusAsked(session, message.msg_seq_num, list_id), now_ns)
    return True


def refuse(pipeline: Pipeline, session: str, message: Message, reject: Reject, seq_in: int, now_ns: int) -> None:
    """Refuse a list that nobody has looked at."""
    list_id, text = _text(message.get(66))[:MAX_ID_BYTES], f"{reject.reason.name} {reject.text}"
    pipeline.commit(records.ListRefused(session, seq_in, list_id, len(listed_orders(message)), text), now_ns)


def refuse_cancel(pipeline: Pipeline, session: str, message: Message, reject: Reject, seq_in: int, now_ns: int) -> None:
    """Refuse a cancel of a list: the list stands as it stands."""
    pipeline.monitor.cancels_in += 1
    pipeline.monitor.cancels_refused += 1
    list_id, text = _text(message.get(66)), f"{reject.reason.name} {reject.text}"
    if (session, list_id) in pipeline.ledger.lists:
        pipeline.commit(records.ListStatusAsked(session, seq_in, list_id, text), now_ns)
    else:
        named = list_id[:MAX_ID_BYTES]
        pipeline.commit(records.MessageRefused(session, seq_in, message.msg_type, OTHER, named, text), now_ns)


def would_cancel(pipeline: Pipeline, session: str, message: Message) -> bool:
    """Whether a cancel of a list is of any order that works and is not being cancelled."""
    listed = pipeline.ledger.lists.get((session, _text(message.get(66))))
    return listed is not None and any(not o.is_cancel_pending for o in working_orders(pipeline.ledger, listed))


def _named(entry: Message) -> tuple[str, str, str, str]:
    cl_ord_id, account, symbol, side = entry.values((11, 1, 55, 54))
    return _text(cl_ord_id), _text(account), _text(symbol), _text(side)


def _place(pipeline: Pipeline, session: str, list_id: str, entry: Message, now_ns: int) -> None:
    """Decide on one order of a list, as Pipeline does on a NewOrderSingle(D)."""
    ledger, monitor = pipeline.ledger, pipeline.monitor
    monitor.orders_in += 1
    fields = OrderFields(entry)
    order = new_order(fields, ledger.by_symbol.get(fields.symbol), pipeline.market, now_ns)
    account = pipeline.account(session, fields.account)
    decision = order if type(order) is Reject else evaluate(_listed(order, list_id), account, pipeline.market)
    if type(decision) is Reject:
        refusal = refused(session, 0, entry, decision)
        if refusal.symbol is None:  # it may be absent here, and not in the report
            refusal = msgspec.structs.replace(refusal, symbol=NO_SYMBOL)
        values: tuple[Any, ...] = (*msgspec.structs.astuple(refusal), list_id)
        pipeline.commit(records.ListOrderRefused(*values), now_ns)
        monitor.order_refused(decision, now_ns)
        return
    pipeline.place(session, 0, decision, now_ns)


def _listed(order: Order, list_id: str) -> Order:
    terms = Terms(list_id=list_id) if order.terms is None else msgspec.structs.replace(order.terms, list_id=list_id)
    return msgspec.structs.replace(order, terms=terms)


def listed_orders(message: Message) -> list[Message]:
    """Cut the orders out of a list, each as the NewOrderSingle(D) that it would be."""
    entries: list[list[tuple[int, bytes]]] = []
    within = False
    for tag, value in message.fields():
        if not within:
            within = tag == 73
        elif tag == 11:
            entries.append([(11, value)])
        elif entries and tag != 10:
            entries[-1].append((tag, value))
    return [_message(entry) for entry in entries]


def _message(entry: list[tuple[int, bytes]]) -> Message:
    raw = encode_fields("D", _HEADER, 1, 0, entry)
    message = frame(raw, 0, len(raw), len(entry) + HEADER_FIELDS)
    assert isinstance(message, Message)
    return message


def _why_not(pipeline: Pipeline, session: str, message: Message, entries: list[Message]) -> str | None:
    """Return why a list can not be taken as a whole; None where it can."""
    list_id, bid_type, exec_inst, total, last_fragment = message.values(_TAGS)
    cl_ord_ids = Counter(_text(entry.get(11)) for entry in entries)
    numbers = Counter(entry.get(67) for entry in entries)
    repeated = [name for name, count in cl_ord_ids.items() if count > 1]
    if bid_type != NO_BIDDING:
        return f"BidType(394) {_text(bid_type)} is not served here: 3 no bidding process"
    if exec_inst not in (None, IMMEDIATE):
        return f"ListExecInstType(433) {_text(exec_inst)} is not served here: 1 immediate"
    if last_fragment == b"N" or not (total or b"").isdigit() or int(total or b"0") != len(entries):
        return f"TotNoOrders(68) {_text(total)} is not the {len(entries)} orders of the message: a list comes whole"
    if not 0 < len(entries) <= MAX_LIST_ORDERS:
        return f"{len(entries)} orders: a list has 1 to {MAX_LIST_ORDERS}"
    if list_id is None or len(list_id) > MAX_ID_BYTES:
        return f"ListID(66) longer than {MAX_ID_BYTES} bytes"
    if (session, _text(list_id)) in pipeline.ledger.lists:
        return f"ListID(66) {_text(list_id)} was used already"
    if repeated:
        return f"ClOrdID(11) {repeated[0]} is in the list more than once"
    if max(numbers.values()) > 1:
        return "a ListSeqNo(67) is in the list more than once"
    return None


def _cancel(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    pipeline.monitor.cancels_in += 1
    listed = _find(pipeline, session, message, now_ns)
    if listed is None:
        return
    orders = [order for order in working_orders(pipeline.ledger, listed) if not order.is_cancel_pending]
    try:
        pipeline.commit(records.ListCancelRequested(session, message.msg_seq_num, listed.list_id), now_ns)
    finally:
        for order in orders:  # it only takes risk away: it goes even where the journal does not
            pipeline.router.cancel(order, now_ns)


def _status(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    listed = _find(pipeline, session, message, now_ns)
    if listed is not None:
        pipeline.commit(records.ListStatusAsked(session, message.msg_seq_num, listed.list_id), now_ns)


def _find(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> OrderList | None:
    list_id = _text(message.get(66))
    listed = pipeline.ledger.lists.get((session, list_id))
    if listed is None:
        text = f"ListID(66) {list_id[:MAX_ID_BYTES]} is not known"
        named = list_id[:MAX_ID_BYTES]
        refusal = records.MessageRefused(session, message.msg_seq_num, message.msg_type, UNKNOWN_ID, named, text)
        pipeline.commit(refusal, now_ns)
    return listed


def finish_interrupted(pipeline: Pipeline, now_ns: int) -> int:
    """Refuse what is left of lists that a crash, or a journal that was full, has cut off; return how many orders."""
    count = 0
    for listed in [pipeline.ledger.lists[key] for key in sorted(pipeline.ledger.open_lists)]:
        for cl_ord_id, account, symbol, side in listed.orders:
            if cl_ord_id in listed.order_ids or cl_ord_id in listed.refused:
                continue
            text, code = "the list was interrupted before this order", int(RejectReason.LIST_INTERRUPTED)
            names = (cl_ord_id.encode(), account.encode() or None, symbol.encode() or NO_SYMBOL, side.encode())
            refusal = records.ListOrderRefused(
                listed.session, 0, *names, None, None, None, code, "list", text, None, None, None, None, listed.list_id
            )
            pipeline.commit(refusal, now_ns)
            count += 1
        pipeline.commit(records.ListPlaced(listed.session, listed.list_id), now_ns)
    return count


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")


HANDLERS: Final[dict[str, Callable[[Pipeline, str, Message, int], None]]] = {"E": _new_list, "K": _cancel, "M": _status}


# -- the ledger --------------------------------------------------------------------------------------------------------


def working_orders(ledger: Ledger, listed: OrderList) -> list[Any]:
    """Return the orders of a list that may still be filled, in its order."""
    found = (ledger.orders.get(listed.order_ids.get(name, "")) for name, *_ in listed.orders)
    return [order for order in found if order is not None and order.is_working]


def _apply_received(ledger: Ledger, record: records.ListReceived) -> None:
    if len(ledger.lists) >= LISTS_KEPT:
        oldest = next(iter(ledger.lists))
        del ledger.lists[oldest]
        ledger.open_lists.discard(oldest)
    ledger.open_lists.add((record.session, record.list_id))
    ledger.lists[record.session, record.list_id] = OrderList(record.session, record.list_id, record.orders, {}, set())


def _apply_refused(ledger: Ledger, record: records.ListOrderRefused) -> None:
    ledger.lists[record.session, record.list_id].refused.add(_text(record.cl_ord_id))


def _apply_placed(ledger: Ledger, record: records.ListPlaced) -> None:
    ledger.lists[record.session, record.list_id].is_placed = True
    ledger.open_lists.discard((record.session, record.list_id))


def _apply_cancel(ledger: Ledger, record: records.ListCancelRequested) -> None:
    listed = ledger.lists[record.session, record.list_id]
    mark_cancelled(ledger, working_orders(ledger, listed), record.session)


APPLIES: Final[dict[type[records.Record], Callable[[Ledger, Any], None]]] = {
    records.ListReceived: _apply_received,
    records.ListOrderRefused: _apply_refused,
    records.ListPlaced: _apply_placed,
    records.ListCancelRequested: _apply_cancel,
}


# -- reports -----------------------------------------------------------------------------------------------------------


def _report_placed(reports: Reports, record: records.ListPlaced, sequence: int, time_ns: int) -> None:
    _send_status(reports, record.session, record.list_id, ACK, None, time_ns)


def _report_cancel(reports: Reports, record: records.ListCancelRequested, sequence: int, time_ns: int) -> None:
    reports.received(record)
    _send_status(reports, record.session, record.list_id, RESPONSE, CANCELING, time_ns)


def _report_status(reports: Reports, record: records.ListStatusAsked, sequence: int, time_ns: int) -> None:
    reports.received(record)
    text = record.text.encode("ascii", "replace") or None
    _send_status(reports, record.session, record.list_id, RESPONSE, None, time_ns, text)


def _report_refused(reports: Reports, record: records.ListRefused, sequence: int, time_ns: int) -> None:
    reports.received(record)
    text = record.text.encode("ascii", "replace")
    values = _values(record.list_id, RESPONSE, REJECT, text, record.orders, [], time_ns)
    send_grouped(reports.sessions[record.session], "N", values, time_ns)
    reports.touched.add(record.session)


def _values(
    list_id: str,
    status_type: bytes,
    status: bytes,
    text: bytes | None,
    total: int,
    entries: list[Values],
    time_ns: int,
) -> Values:
    return {
        60: format_timestamp(time_ns),
        66: list_id.encode(),
        68: total,
        73: entries,
        82: 1,
        83: 1,
        429: status_type,
        431: status,
        444: text,
    }


def _send_status(
    reports: Reports,
    session: str,
    list_id: str,
    status_type: bytes,
    status: bytes | None,
    time_ns: int,
    text: bytes | None = None,
) -> None:
    ledger = reports.ledger
    listed = ledger.lists[session, list_id]
    is_working = bool(working_orders(ledger, listed))
    if status is None or not is_working:
        status = EXECUTING if is_working else ALL_DONE if listed.order_ids else REJECT
    entries: list[Values] = []
    for cl_ord_id, *_ in listed.orders:
        order = ledger.orders.get(listed.order_ids.get(cl_ord_id, ""))
        if order is None:
            # It was refused, or ended so long ago that it is forgotten.
            told = b"8" if cl_ord_id in listed.refused else b"4"
            entries.append({11: cl_ord_id.encode(), 14: b"0", 39: told, 151: b"0", 84: b"0", 6: b"0"})
            continue
        lot, exponent = order.instrument.lot_mantissa, order.instrument.lot_exponent
        told_status = status_after(order)
        cancelled_lots = order.lots - order.cum_lots if told_status in _CANCELLED else 0
        entries.append(
            {
                11: cl_ord_id.encode(),
                14: format_decimal((order.cum_lots + order.adjusted_lots) * lot, exponent),
                39: STATUSES[told_status],
                151: format_decimal(order.leaves_lots * lot, exponent),
                84: format_decimal(max(0, cancelled_lots) * lot, exponent),
                6: average_price(order),
            }
        )
    values = _values(list_id, status_type, status, text, len(listed.orders), entries, time_ns)
    send_grouped(reports.sessions[session], "N", values, time_ns)
    reports.touched.add(session)


REPORTS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {
    records.ListReceived: lambda reports, record, sequence, time_ns: reports.received(record),
    records.ListPlaced: _report_placed,
    records.ListRefused: _report_refused,
    records.ListCancelRequested: _report_cancel,
    records.ListStatusAsked: _report_status,
}
