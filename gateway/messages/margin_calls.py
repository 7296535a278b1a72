"""Margin calls by FIX: CollateralRequest(AX) out, CollateralAssignment(AY) in, CollateralResponse(AZ) back.

A call goes to every session that trades for its account, as a message like any other: numbered, kept, resent, and made
again by a replay. With it goes a CollateralReport(BA) with what is missing as a negative MarginExcess(899), and where
the version has it a MarginRequirementReport(CJ); a BA follows whenever the call moves.

A client answers with an AY of CollAsgnTransType(903) 0: with Currency(15) and CashOutstanding(901) it pledges that
amount; without, a stipulation says RECEIVED, AGREED, or DISPUTED with the undisputed part. With 903=2 it takes
back a pledge that has not moved. The AZ says 0 while the transfer is on its way, 1 once it has settled, 3 with
CollAsgnRejectReason(906) where it was refused or has failed.

A call is told in its account's currency, at the price of the moment of the call from the first message to the last:
the record has it. What is paid counts by what collateral counts for, as always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.messages.amounts import has, needs, units
from gateway.messages.margin_scope import MAX_ID_BYTES, account_of, parties_of
from gateway.records.base import Record
from gateway.records.margin import (
    AssignmentCancelled,
    CollateralAssigned,
    CollateralRefused,
    MarginCallAnswered,
    MarginCalled,
    MarginCallMoved,
    TransferMoved,
)
from protocols.fix.codec import Message, format_timestamp
from protocols.fix.grouped import Values, send_grouped
from protocols.fix.values import count_steps
from risk.calls import CallHappening, CallState
from risk.collateral_ledger import (
    Location,
    Place,
    Transfer,
    TransferError,
    TransferHappening,
    TransferState,
    TransferTerms,
)
from risk.instrument import UNITS_PER_WHOLE, units_against_client
from risk.lifecycle import IllegalTransitionError
from risk.margin_watch import CallAnswerError, MarginWatch
from risk.telling import USD, Quote

if TYPE_CHECKING:
    from gateway.intraday import Intraday
    from gateway.margin.book import MarginBook
    from gateway.pipeline import Pipeline
    from gateway.reports import Reports

# CollAsgnReason(895)
MARGIN_DEFICIENCY: Final = 3
# CollAsgnTransType(903)
NEW, CANCEL = b"0", b"2"
# CollAsgnRespType(905)
RECEIVED, ACCEPTED, REJECTED = 0, 1, 3
# CollAsgnRejectReason(906)
UNKNOWN_DEAL, UNAUTHORISED, INSUFFICIENT, INVALID_TYPE, OTHER = 0, 2, 3, 4, 99
# CollStatus(910)
UNASSIGNED, PARTLY_ASSIGNED, PROPOSED, ASSIGNED, CHALLENGED = range(5)
# MarginAmtType(1644)
LIQUIDATING, CALL = 12, 13
MONEY_EXPONENT: Final = -8
ANSWERS: Final = {
    b"RECEIVED": CallHappening.RECEIVED,
    b"AGREED": CallHappening.AGREED,
    b"DISPUTED": CallHappening.DISPUTED,
}
_STATUS: Final = {
    CallState.ISSUED: UNASSIGNED,
    CallState.RECEIVED: UNASSIGNED,
    CallState.AGREED: PROPOSED,
    CallState.DISPUTED: CHALLENGED,
    CallState.PARTLY_MET: PARTLY_ASSIGNED,
    CallState.ESCALATED: CHALLENGED,
    CallState.MET: ASSIGNED,
    CallState.EXPIRED: UNASSIGNED,
    CallState.SUPERSEDED: UNASSIGNED,
}


class RefusedError(Exception):
    """An assignment is refused: CollAsgnRejectReason(906) and a text."""

    def __init__(self, reason: int, text: str) -> None:
        super().__init__(text)
        self.reason = reason


# -- in: CollateralAssignment(AY) ------------------------------------------------------------------------------------


def receive(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    """Act on one CollateralAssignment(AY)."""
    assignment_id, request_id = (_text(message, tag) for tag in (902, 894))
    trans_type, asgn_reason = int(message.get(903) or b"0"), int(message.get(895) or b"3")
    account = account_of(pipeline, session, message)
    name = "" if isinstance(account, str) else account.name
    try:
        if max(len(assignment_id), len(request_id)) > MAX_ID_BYTES:
            raise RefusedError(OTHER, f"an id longer than {MAX_ID_BYTES} bytes")
        if isinstance(account, str):
            raise RefusedError(UNAUTHORISED, account)
        intraday = pipeline.intraday
        if intraday is None or not intraday.is_on:
            raise RefusedError(OTHER, "margin is not called for here")
        decide = _DECIDES.get(message.get(903) or b"")
        if decide is None:
            raise RefusedError(OTHER, "CollAsgnTransType(903) is 0 new or 2 cancel")
        record: Record = decide(pipeline, intraday, session, message, name, now_ns)
    except RefusedError as refusal:
        said = (session, message.msg_seq_num, assignment_id[:MAX_ID_BYTES], request_id[:MAX_ID_BYTES])
        text = str(refusal).encode("ascii", "replace").decode()
        record = CollateralRefused(*said, trans_type, asgn_reason, name, refusal.reason, text)
    pipeline.commit(record, now_ns)
    if name:
        pipeline.touched_accounts[name] = None


def _new(
    pipeline: Pipeline, intraday: Intraday, session: str, message: Message, account: str, now_ns: int
) -> CollateralAssigned | MarginCallAnswered:
    """Decide on a pledge, or on what is said of a call."""
    request_id = _text(message, 894)
    watch = pipeline.ledger.margin.watch(account)
    if request_id and request_id not in watch.calls:
        raise RefusedError(UNKNOWN_DEAL, "CollReqID(894) is no margin call of this account")
    if message.get(901) is None:
        return _answer(pipeline, intraday, session, message, account, now_ns)
    asset = _text(message, 15)
    amount = count_steps(message.get(901) or b"", 1, MONEY_EXPONENT)
    if not amount:
        raise RefusedError(OTHER, "CashOutstanding(901) is above 0, with at most eight decimals")
    if intraday.price(asset, now_ns, account) is None:
        raise RefusedError(INVALID_TYPE, "Currency(15) is no collateral here, or has no price now")
    assignment_id = _text(message, 902)
    client, house = Location(Place.CLIENT, "", account), Location(Place.HOUSE, "", account)
    terms = TransferTerms(f"{session}:{assignment_id}", account, asset, amount, client, house)
    try:
        known = pipeline.ledger.margin.collateral.known(terms)
    except TransferError as error:
        raise RefusedError(OTHER, f"CollAsgnID(902): {error}") from None
    refusal = None if known is not None else pipeline.ledger.margin.collateral.why_not(terms)
    if refusal is not None:
        raise RefusedError(INSUFFICIENT, refusal)
    due_ns, reason = now_ns + intraday.settlement_timeout_ns, int(message.get(895) or b"3")
    return CollateralAssigned(
        terms.key, account, asset, amount, client.place, "", house.place, "", due_ns, request_id,
        session, message.msg_seq_num, assignment_id, request_id, reason,
    )  # fmt: skip


def _answer(
    pipeline: Pipeline, intraday: Intraday, session: str, message: Message, account: str, now_ns: int
) -> MarginCallAnswered:
    call_id, asgn_reason = _text(message, 894), int(message.get(895) or b"3")
    said = [(kind, value) for kind, value in message.groups(232, (233, 234)) if kind in ANSWERS]
    if not call_id or len(said) != 1:
        raise RefusedError(
            OTHER, "give CashOutstanding(901), or one stipulation RECEIVED, AGREED or DISPUTED of a call"
        )
    told, undisputed = ANSWERS[said[0][0] or b""], 0
    if told is CallHappening.DISPUTED and (value := said[0][1] or b"0").strip(b"0."):
        undisputed = count_steps(value, 1, MONEY_EXPONENT)
        if not undisputed:
            raise RefusedError(OTHER, "the undisputed part in StipulationValue(234) is an amount")
        undisputed = _in_usd(pipeline.ledger.margin, account, call_id, undisputed)
    try:
        moved = intraday.answered(account, call_id, told, undisputed, now_ns)
    except (CallAnswerError, IllegalTransitionError) as error:
        raise RefusedError(OTHER, str(error)) from None
    happening = told.value if moved is not None else ""
    return MarginCallAnswered(
        account, call_id, happening, undisputed, 0, "said by the client", session, message.msg_seq_num,
        _text(message, 902), asgn_reason,
    )  # fmt: skip


def _in_usd(book: MarginBook, account: str, call_id: str, amount_units: int) -> int:
    """Return money units of what a call is told in as units of USD, rounded up; less than the call where they are."""
    quote, call = book.quote(account, call_id), book.watch(account).calls.get(call_id)
    if quote.currency == USD or call is None:
        return amount_units
    told_units = (quote.needs(call.amount_units / UNITS_PER_WHOLE) or 0) * UNITS_PER_WHOLE // 10**quote.digits
    in_usd = -units_against_client(-amount_units / UNITS_PER_WHOLE * quote.price)
    return min(in_usd, call.amount_units - 1) if amount_units < told_units else max(in_usd, call.amount_units)


def _cancel(
    pipeline: Pipeline, intraday: Intraday, session: str, message: Message, account: str, now_ns: int
) -> AssignmentCancelled:
    """Decide on taking back a pledge: its transfer must not have moved."""
    collateral = pipeline.ledger.margin.collateral
    key = f"{session}:{_text(message, 907)}"
    transfer = collateral.transfers.get(key)
    if transfer is None or transfer.terms.account != account:
        raise RefusedError(UNKNOWN_DEAL, "CollAsgnRefID(907) is no assignment of this session and account")
    if transfer.state is not TransferState.PENDING:
        raise RefusedError(OTHER, f"its transfer is {transfer.state.value}")
    request_id, reason = _text(message, 894), int(message.get(895) or b"3")
    return AssignmentCancelled(
        key, TransferHappening.FAILED, 0, "", 0, "cancelled by the client", session, message.msg_seq_num,
        _text(message, 902), request_id, reason,
    )  # fmt: skip


_DECIDES: Final[dict[bytes, Callable[..., CollateralAssigned | MarginCallAnswered | AssignmentCancelled]]] = {
    NEW: _new,
    CANCEL: _cancel,
}
HANDLERS: Final[dict[str, Callable[[Pipeline, str, Message, int], None]]] = {"AY": receive}


def _text(message: Message, tag: int) -> str:
    return (message.get(tag) or b"").decode("latin-1")


# -- out ---------------------------------------------------------------------------------------------------------------


def _called(reports: Reports, record: MarginCalled, sequence: int, time_ns: int) -> None:
    """AX, BA and CJ of a new call."""
    account, now = record.account.encode("latin-1"), format_timestamp(time_ns)
    quote = reports.ledger.margin.quote(record.account, record.call_id)
    currency, equity = quote.currency.encode(), _has(quote, record.equity_units)
    missing, terms = _has(quote, -record.amount_units), quote.terms or (f"in USD: {record.why}" if record.why else "")
    request: Values = {
        894: record.call_id.encode(), 895: MARGIN_DEFICIENCY, 60: now, 126: format_timestamp(record.deadline_ns),
        453: parties_of(record.account), 1: account, 15: currency, 899: missing, 900: equity,
        58: terms.encode("ascii", "replace") or None,
    }  # fmt: skip
    amounts: list[Values] = [
        {1645: _needs(quote, record.amount_units), 1644: CALL, 1646: currency},
        {1645: _needs(quote, record.maintenance_units), 1644: LIQUIDATING, 1646: currency},
    ]
    required: Values = {
        1642: b"%d" % sequence, 1638: 2, 912: b"Y", 453: parties_of(record.account), 1643: amounts, 60: now,
        325: b"Y", 911: 1, 58: terms.encode("ascii", "replace") or None,
    }  # fmt: skip
    text = f"margin call {record.call_id}" + (f", {terms}" if terms else "")
    report = _report(record.account, record.call_id, UNASSIGNED, (currency, missing), text, sequence)
    report = {**report, 900: equity}
    for session in reports.sessions_of(record.account):
        for msg_type, values in (("AX", request), ("BA", report), ("CJ", required)):
            _send(reports, session, msg_type, values, time_ns)


def _call_moved(reports: Reports, record: MarginCallMoved, sequence: int, time_ns: int) -> None:
    """BA of what became of a call."""
    watch = reports.ledger.margin.watch(record.account)
    _tell_call(reports, watch, record.call_id, record.reason, sequence, time_ns)


def _tell_call(reports: Reports, watch: MarginWatch, call_id: str, why: str, sequence: int, time_ns: int) -> None:
    call = watch.calls.get(call_id)
    if call is None:
        return
    text = f"margin call {call_id} {call.state.value}: {why}"
    quote = reports.ledger.margin.quote(watch.account, call_id)
    missing = quote.currency.encode(), _has(quote, -call.outstanding_units)
    report = _report(watch.account, call_id, _STATUS[call.state], missing, text, sequence)
    for session in reports.sessions_of(watch.account):
        _send(reports, session, "BA", report, time_ns)


def _has(quote: Quote, amount_units: int) -> bytes:
    """Return units of USD in what a call is told in; rounded down, and in USD exact."""
    if quote.currency == USD:
        return units(amount_units)
    return has(quote, amount_units / UNITS_PER_WHOLE) or b"0"


def _needs(quote: Quote, amount_units: int) -> bytes:
    """The same rounded up."""
    if quote.currency == USD:
        return units(amount_units)
    return needs(quote, amount_units / UNITS_PER_WHOLE) or b"0"


def _report(account: str, call_id: str, status: int, excess: tuple[bytes, bytes], text: str, sequence: int) -> Values:
    """CollateralReport(BA): nobody had inquired, so the call stands in CollInquiryID(909)."""
    return {
        908: f"{sequence}-{call_id}".encode(), 909: call_id.encode(), 910: status, 911: 1, 912: b"Y",
        453: parties_of(account), 1: account.encode("latin-1"), 15: excess[0], 899: excess[1],
        58: text.encode("ascii", "replace"),
    }  # fmt: skip


def _assigned(reports: Reports, record: CollateralAssigned, sequence: int, time_ns: int) -> None:
    reports.received(record)
    transfer = reports.ledger.margin.collateral.transfers[record.key]
    _respond(reports, record, transfer, "", sequence, time_ns)


def _transfer_moved(reports: Reports, record: TransferMoved, sequence: int, time_ns: int) -> None:
    """AZ to who pledged; and a BA of each call that a settlement or a reversal has changed."""
    margin = reports.ledger.margin
    transfer = margin.collateral.transfers.get(record.key)
    if transfer is None:
        return
    pledged = margin.assignments.get(record.key)
    if pledged is not None and record.happening not in (TransferHappening.SENT, TransferHappening.TIMED_OUT):
        _respond(reports, pledged, transfer, record.reason, sequence, time_ns)
    watch = margin.watch(transfer.terms.account)
    if record.value_units:
        for call_id in dict.fromkeys(call_id for call_id, _ in watch.credits.get(record.key, ())):
            _tell_call(reports, watch, call_id, "collateral has settled", sequence, time_ns)
    elif record.happening == TransferHappening.REVERSED and transfer.call_id:
        _tell_call(reports, watch, transfer.call_id, "a transfer was reversed", sequence, time_ns)


def _respond(
    reports: Reports, pledged: CollateralAssigned, transfer: Transfer, why: str, sequence: int, time_ns: int
) -> None:
    terms = transfer.terms
    kind, is_bad = RECEIVED, transfer.state in (TransferState.FAILED, TransferState.REVERSED)
    if is_bad:
        kind = REJECTED
    elif transfer.state is TransferState.SETTLED:
        kind = ACCEPTED
    text = f"transfer {transfer.state.value}" + (f": {why}" if why else "")
    more: Values = {
        906: OTHER if is_bad else None, 15: terms.asset.encode("latin-1"), 901: units(transfer.settled_units),
        58: text.encode("ascii", "replace"),
    }  # fmt: skip
    said = (pledged.session, pledged.assignment_id, pledged.request_id, pledged.asgn_reason, 0, kind)
    _response(reports, *said, terms.account, more, sequence, time_ns)


def _answered(reports: Reports, record: MarginCallAnswered, sequence: int, time_ns: int) -> None:
    reports.received(record)
    said = (record.session, record.assignment_id, record.call_id, record.asgn_reason, 0, ACCEPTED)
    _response(reports, *said, record.account, {}, sequence, time_ns)
    if record.happening:
        _call_moved(reports, record, sequence, time_ns)


def _cancelled(reports: Reports, record: AssignmentCancelled, sequence: int, time_ns: int) -> None:
    reports.received(record)
    account = reports.ledger.margin.collateral.transfers[record.key].terms.account
    said = (record.session, record.assignment_id, record.request_id, record.asgn_reason, int(CANCEL), ACCEPTED)
    _response(reports, *said, account, {}, sequence, time_ns)
    _transfer_moved(reports, record, sequence, time_ns)


def _refused(reports: Reports, record: CollateralRefused, sequence: int, time_ns: int) -> None:
    reports.received(record)
    said = (record.session, record.assignment_id, record.request_id, record.asgn_reason, record.trans_type, REJECTED)
    more: Values = {906: record.reason, 58: record.text.encode("ascii", "replace")}
    _response(reports, *said, record.account, more, sequence, time_ns)


def _response(
    reports: Reports, session: str, assignment_id: str, request_id: str, reason: int, trans_type: int, kind: int,
    account: str, more: Values, sequence: int, time_ns: int,
) -> None:  # fmt: skip
    values: Values = {
        904: b"%d" % sequence, 902: assignment_id.encode("latin-1") or b"NONE", 894: request_id.encode("latin-1"),
        895: reason, 903: trans_type, 905: kind, 60: format_timestamp(time_ns), 1: account.encode("latin-1"), **more,
    }  # fmt: skip
    _send(reports, session, "AZ", values, time_ns)


def _send(reports: Reports, session: str, msg_type: str, values: Values, time_ns: int) -> None:
    """Send to a session of a version that has the message; FIX 4.2 has none of these."""
    state = reports.sessions[session]
    if msg_type in state.dictionary.messages:
        send_grouped(state, msg_type, values, time_ns)
        reports.touched.add(session)


REPORTS: Final[dict[type, Callable[[Reports, Any, int, int], None]]] = {
    MarginCalled: _called,
    MarginCallMoved: _call_moved,
    TransferMoved: _transfer_moved,
    CollateralAssigned: _assigned,
    MarginCallAnswered: _answered,
    AssignmentCancelled: _cancelled,
    CollateralRefused: _refused,
}
