"""Many orders at once: OrderMassCancelRequest(q) and OrderMassStatusRequest(AF).

A scope never goes beyond the accounts of its session. One record marks all orders of a mass cancel, so no crash leaves
half of them to work; what the scope held for is worked out from the book, live and in a replay alike. A mass cancel is
an essential record, and its cancels are sent even where the journal refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway import records
from gateway.report_values import NO_REFUSAL
from protocols.fix.codec import Message, format_timestamp
from protocols.fix.grouped import Values, send_grouped
from risk.exposure import WorkingOrder
from risk.instrument import Kind
from risk.order import Reject

if TYPE_CHECKING:
    from gateway.ledger import Ledger
    from gateway.pipeline import Pipeline
    from gateway.reports import Reports

# Orders that an OrderMassCancelReport(r) names; TotalAffectedOrders(533) counts all.
ORDERS_LISTED: Final = 500
# Reports that one OrderMassStatusRequest(AF) may cause: 600 kB, which a client's write buffer holds.
STATUS_REPORTS: Final = 2_000
MAX_ID_BYTES: Final = 64

# MassCancelRequestType(530) and MassStatusReqType(585), as far as they are served; the standard uses the same numbers.
SECURITY, UNDERLYING, SECURITY_TYPE, ALL, PARTY = "1", "2", "5", "7", "8"
# MassCancelRejectReason(532)
NOT_SUPPORTED, UNKNOWN_SECURITY, UNKNOWN_UNDERLYING, UNKNOWN_TYPE, OTHER = "0", "1", "2", "5", "99"
SECURITY_TYPES: Final[dict[str, frozenset[Kind]]] = {
    "FUT": frozenset({Kind.FUTURE, Kind.PERPETUAL}),
    "OPT": frozenset({Kind.OPTION}),
    "FOR": frozenset({Kind.SPOT}),
    "FXSPOT": frozenset({Kind.SPOT}),
}
_SIDES: Final = {b"1": 1, b"2": 2, None: 0}
# Account, ClOrdID, Side, Symbol, SecurityType, UnderlyingSymbol
_TAGS: Final = (1, 11, 54, 55, 167, 311)

# accounts, symbol, underlying, security_type, side
Scope = tuple[tuple[str, ...], str, str, str, int]


def orders_within(ledger: Ledger, scope: Scope) -> list[WorkingOrder]:
    """Return the working orders within a scope, oldest first."""
    accounts, symbol, underlying, security_type, side = scope
    kinds = SECURITY_TYPES.get(security_type)
    found = []
    for name in accounts:
        for order in ledger.orders_of(name):
            instrument = order.instrument
            if symbol and instrument.symbol != symbol:
                continue
            if underlying and instrument.underlying != underlying:
                continue
            if (kinds is None or instrument.kind in kinds) and side in (0, order.side):
                found.append(order)
    return sorted(found, key=lambda order: (order.received_ns, len(order.order_id), order.order_id))


def _scope_of(record: records.MassCancelRequested | records.MassStatusAsked) -> Scope:
    return record.accounts, record.symbol, record.underlying, record.security_type, record.side


# -- what a client asks ------------------------------------------------------------------------------------------------


def _cancel(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    pipeline.monitor.cancels_in += 1
    cl_ord_id, request_type = _text(message.get(11)), _text(message.get(530))
    scope = _scope(pipeline, session, message, request_type)
    if scope[0] and len(cl_ord_id) > MAX_ID_BYTES:
        scope = (OTHER, f"ClOrdID(11) longer than {MAX_ID_BYTES} bytes")
    if len(scope) == 2:
        pipeline.monitor.cancels_refused += 1
        refusal = records.MassCancelRefused(
            session, message.msg_seq_num, cl_ord_id[:MAX_ID_BYTES], request_type, scope[0], scope[1]
        )
        pipeline.commit(refusal, now_ns)
        return
    orders = [order for order in orders_within(pipeline.ledger, scope) if not order.is_cancel_pending]
    try:
        record = records.MassCancelRequested(session, message.msg_seq_num, cl_ord_id, request_type, *scope)
        pipeline.commit(record, now_ns)
    finally:
        for order in orders:  # it only takes risk away: it goes even where the journal does not
            pipeline.router.cancel(order, now_ns)


def would_cancel(pipeline: Pipeline, session: str, message: Message) -> bool:
    """Whether a mass cancel is of any order that works and is not being cancelled."""
    scope = _scope(pipeline, session, message, _text(message.get(530)))
    if len(scope) == 2 or len(message.get(11) or b"") > MAX_ID_BYTES:
        return False
    return any(not order.is_cancel_pending for order in orders_within(pipeline.ledger, scope))


def refuse(pipeline: Pipeline, session: str, message: Message, reject: Reject, seq_in: int, now_ns: int) -> None:
    """Refuse a mass cancel that nobody has looked at."""
    pipeline.monitor.cancels_in += 1
    pipeline.monitor.cancels_refused += 1
    cl_ord_id, text = _text(message.get(11))[:MAX_ID_BYTES], f"{reject.reason.name} {reject.text}"
    record = records.MassCancelRefused(session, seq_in, cl_ord_id, _text(message.get(530)), OTHER, text)
    pipeline.commit(record, now_ns)


def _status(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    request_id, request_type = _text(message.get(584)), _text(message.get(585))
    scope = _scope(pipeline, session, message, request_type)
    text = ""
    if len(scope) == 2:
        text, scope = scope[1], ((), "", "", "", 0)
    else:
        found = len(orders_within(pipeline.ledger, scope))
        if found > STATUS_REPORTS:
            text = f"{found} orders are more than {STATUS_REPORTS}: ask for fewer"
    record = records.MassStatusAsked(session, message.msg_seq_num, request_id[:MAX_ID_BYTES], *scope, text)
    pipeline.commit(record, now_ns)


def _scope(pipeline: Pipeline, session: str, message: Message, request_type: str) -> Scope | tuple[str, str]:
    """Return the scope that a message asks for, or (MassCancelRejectReason(532), text)."""
    account, _, side_text, symbol_text, type_text, underlying_text = message.values(_TAGS)
    own = pipeline.accounts_of.get(session, {})
    is_party = request_type == PARTY and message.msg_type == "AF"
    name = _party(message) if is_party else _text(account)
    if is_party and not name:
        return OTHER, "PartyID(448) of an account is missing"
    if name and name not in own:
        return OTHER, f"account {name} is not known to this session"
    if side_text not in _SIDES:
        return OTHER, f"Side(54) {_text(side_text)} is not traded here: 1 buy, 2 sell"
    symbol, underlying, security_type = _text(symbol_text), _text(underlying_text), _text(type_text)
    if request_type == SECURITY and symbol not in pipeline.ledger.by_symbol:
        return UNKNOWN_SECURITY, f"Symbol(55) {symbol} is not listed"
    if request_type == UNDERLYING and underlying not in {one.underlying for one in pipeline.ledger.instruments}:
        return UNKNOWN_UNDERLYING, f"UnderlyingSymbol(311) {underlying} is of nothing that is listed"
    if request_type == SECURITY_TYPE and security_type not in SECURITY_TYPES:
        return UNKNOWN_TYPE, f"SecurityType(167) is one of {', '.join(SECURITY_TYPES)}"
    if request_type not in (SECURITY, UNDERLYING, SECURITY_TYPE, ALL) and not is_party:
        return NOT_SUPPORTED, f"type {request_type} is not served: 1 security, 2 underlying, 5 security type, 7 all"
    return (
        (name,) if name else tuple(own),
        symbol if request_type == SECURITY else "",
        underlying if request_type == UNDERLYING else "",
        security_type if request_type == SECURITY_TYPE else "",
        _SIDES[side_text],
    )


def _party(message: Message) -> str:
    parties = message.groups(453, (448, 447, 452))
    return _text(parties[0][0]) if parties else ""


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")


HANDLERS: Final[dict[str, Callable[[Pipeline, str, Message, int], None]]] = {"q": _cancel, "AF": _status}


# -- the ledger --------------------------------------------------------------------------------------------------------


def mark_cancelled(ledger: Ledger, orders: Sequence[WorkingOrder], session: str) -> None:
    """Have cancels on their way for orders that have none; `ledger.marked` tells for which."""
    ledger.marked = [order for order in orders if not order.is_cancel_pending]
    for order in ledger.marked:
        order.is_cancel_pending = True
        order.cancel_cl_ord_id, order.cancel_session = "", session


def _apply_cancel(ledger: Ledger, record: records.MassCancelRequested) -> None:
    mark_cancelled(ledger, orders_within(ledger, _scope_of(record)), record.session)


APPLIES: Final[dict[type[records.Record], Callable[[Ledger, Any], None]]] = {
    records.MassCancelRequested: _apply_cancel,
}


# -- reports -----------------------------------------------------------------------------------------------------------


def _report_cancel(reports: Reports, record: records.MassCancelRequested, sequence: int, time_ns: int) -> None:
    reports.received(record)
    marked = reports.ledger.marked
    affected: list[Values] = [
        {41: order.cl_ord_id.encode(), 535: order.order_id.encode()} for order in marked[:ORDERS_LISTED]
    ]
    values: Values = {
        1: record.accounts[0].encode() if len(record.accounts) == 1 else None,
        11: record.cl_ord_id.encode(),
        37: b"M%d" % sequence,
        54: (None, b"1", b"2")[record.side],
        55: record.symbol.encode() or b"[N/A]",
        60: format_timestamp(time_ns),
        311: record.underlying.encode(),
        530: record.request_type.encode(),
        531: record.request_type.encode(),
        533: len(marked),
        534: affected,
    }
    _send(reports, record.session, values, time_ns)


def _report_refusal(reports: Reports, record: records.MassCancelRefused, sequence: int, time_ns: int) -> None:
    reports.received(record)
    values: Values = {
        11: record.cl_ord_id.encode(),
        37: b"M%d" % sequence,
        55: b"[N/A]",
        58: record.text.encode("ascii", "replace"),
        60: format_timestamp(time_ns),
        530: record.request_type.encode(),
        531: b"0",
        532: record.reason.encode(),
    }
    _send(reports, record.session, values, time_ns)


def _report_status(reports: Reports, record: records.MassStatusAsked, sequence: int, time_ns: int) -> None:
    reports.received(record)
    orders = [] if record.text else orders_within(reports.ledger, _scope_of(record))
    request_id, count = record.request_id.encode(), len(orders)
    for number, order in enumerate(orders, 1):
        further: dict[int, bytes | int | None] = {
            584: request_id,
            911: count,
            912: b"Y" if number == count else b"N",
        }
        reports.send_order(order, 0, time_ns, exec_type=b"I", session=record.session, further=further)
    if not orders:
        text = record.text or "no working orders"
        side = (b"7", b"1", b"2")[record.side]  # 7: undisclosed
        values = (
            None, b"0", None, b"0", b"0", None, None, b"NONE", None, b"8", None, None, None, side,
            record.symbol.encode() or b"[N/A]", text.encode("ascii", "replace"), None, format_timestamp(time_ns), b"99",
            b"I", b"0", *NO_REFUSAL,
        )  # fmt: skip
        reports.send_full(record.session, values, {584: request_id, 911: 0, 912: b"Y"}, time_ns)


def _send(reports: Reports, session: str, values: Values, time_ns: int) -> None:
    send_grouped(reports.sessions[session], "r", values, time_ns)
    reports.touched.add(session)


REPORTS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {
    records.MassCancelRequested: _report_cancel,
    records.MassCancelRefused: _report_refusal,
    records.MassStatusAsked: _report_status,
}
