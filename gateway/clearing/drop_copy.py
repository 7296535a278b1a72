"""Copies of what happened, to others and from others.

Out: a session of kind "drop_copy" gets every ExecutionReport of its accounts, with CopyMsgIndicator(797) Y and the
session that was told first in OnBehalfOfCompID(115). A report that tells a second session of the same execution, or
that answers a question, is not copied. In: a session of kind "drop_copy_in" reports fills that were made elsewhere;
each is booked once, so that margin counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.corrections import EXTERNAL
from protocols.fix.codec import Header, Message, count_steps, parse_decimal
from protocols.venues.fill_ids import names_of
from risk.instrument import Instrument, Side, fee_units_from_decimal
from risk.order import Reject

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline
    from gateway.reports import Reports

ORDERS, DROP_COPY, DROP_COPY_IN = "orders", "drop_copy", "drop_copy_in"
# What a session of each kind may send; anything else of its version is refused with BusinessRejectReason(380) 3.
MESSAGES_OF_KIND: Final[Mapping[str, frozenset[str]]] = {
    ORDERS: frozenset({"D", "E", "F", "G", "H", "K", "M", "q", "AB", "AD", "AF", "AR", "AY"}),
    DROP_COPY: frozenset({"H", "AD", "AF", "AR"}),
    DROP_COPY_IN: frozenset({"8"}),
}
EXTERNAL_FILLS_KEPT: Final = 100_000
MAX_ID_BYTES: Final = 64
MAX_HEADERS: Final = 1_024

# BusinessRejectReason(380)
OTHER, UNKNOWN_ID, UNKNOWN_SECURITY, FIELD_MISSING = 0, 1, 2, 5
# Account, ExecID, TrdMatchID, Symbol, Side, LastQty, LastPx, Commission, CommType, ExecRefID, ExecType, ExecTransType,
# and the TradeID(1003) of later versions
_TAGS: Final = (1, 17, 880, 55, 54, 32, 31, 12, 13, 19, 150, 20, 1003)
ABSOLUTE: Final = b"3"  # CommType(13)
_SIDES: Final = {b"1": 1, b"2": 2}
_TRADE, _CANCEL, _CORRECT = frozenset({b"F", b"1", b"2"}), b"H", b"G"


# -- out ---------------------------------------------------------------------------------------------------------------


class Copies:
    """Which sessions get copies of an account's reports, and the headers that they go with."""

    __slots__ = ("_headers", "of_account")

    def __init__(self) -> None:
        self.of_account: dict[str, list[str]] = {}
        self._headers: dict[tuple[str, str], Header] = {}

    def clear(self) -> None:
        """A new start: the configuration says anew who gets copies."""
        self.of_account.clear()
        self._headers.clear()

    def open(self, record: records.SessionOpened) -> None:
        """A session of kind drop_copy gets copies of its accounts from now on."""
        for account in record.accounts if record.kind == DROP_COPY else ():
            self.of_account.setdefault(account, []).append(record.session)

    def send(
        self,
        reports: Reports,
        account: str,
        origin: str,
        values: tuple[bytes | int | None, ...],
        further: Mapping[int, bytes | int | None],
        time_ns: int,
    ) -> None:
        """Send copies of an ExecutionReport that session `origin` got."""
        copied = {**further, 797: b"Y"}
        for session in self.of_account.get(account, ()):
            reports.send_full(session, values, copied, time_ns, self._header(reports, session, origin))

    def _header(self, reports: Reports, session: str, origin: str) -> Header:
        header = self._headers.get((session, origin))
        if header is None:
            state = reports.sessions[session]
            key = state.key
            # An order of the gateway's own has no session: it is ours.
            comp_id = reports.sessions[origin].key.target_comp_id if origin else key.sender_comp_id
            routing = {**dict(state.routing), 115: comp_id.encode()}
            digits = state.config.timestamp_digits
            header = Header(key.begin_string, key.sender_comp_id, key.target_comp_id, routing.items(), digits)
            if len(self._headers) >= MAX_HEADERS:
                self._headers.clear()
            self._headers[session, origin] = header
        return header


# -- in ----------------------------------------------------------------------------------------------------------------


def _report_received(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    """Act on an ExecutionReport(8) of another system: a fill, or the end of one; all else is counted and no more."""
    values = message.values(_TAGS)
    exec_type, trans_type = values[10], values[11]
    exec_id, exec_ref = _text(values[1]), _text(values[9])
    ledger, source = pipeline.ledger, f"{EXTERNAL}:{session}"
    is_cancel = exec_type == _CANCEL or trans_type == b"1"
    is_correction = exec_type == _CORRECT or trans_type == b"2"
    if not (is_cancel or is_correction or (exec_type in _TRADE and trans_type in (None, b"0"))):
        pipeline.count_message(session, message, now_ns)
        return
    if ledger.knows_trade(source, f"exec:{exec_id}"):
        pipeline.count_message(session, message, now_ns)  # said before: booked once
        return
    if len(exec_id) > MAX_ID_BYTES:
        _refuse(pipeline, session, message, OTHER, f"ExecID(17) longer than {MAX_ID_BYTES} bytes", now_ns)
    elif (is_cancel or is_correction) and not ledger.external_fills.has(session, exec_ref):
        _refuse(pipeline, session, message, UNKNOWN_ID, f"ExecRefID(19) {exec_ref} is no fill known here", now_ns)
    elif is_cancel:
        record = records.ExternalFillReversed(session, message.msg_seq_num, exec_id, exec_ref)
        pipeline.commit(record, now_ns)
        pipeline.monitor.alert(f"{session}: external fill {exec_ref} was taken back")
    else:
        _fill(pipeline, session, message, values, exec_ref if is_correction else "", now_ns)


def _fill(
    pipeline: Pipeline,
    session: str,
    message: Message,
    values: tuple[bytes | None, ...],
    corrects: str,
    now_ns: int,
) -> None:
    ledger = pipeline.ledger
    account, symbol = _text(values[0]), _text(values[3])
    exec_id, trade_id = _text(values[1]), _text(values[2] or values[12])[:MAX_ID_BYTES]
    if not corrects and trade_id and ledger.knows_trade(f"{EXTERNAL}:{session}", f"trade:{trade_id}"):
        pipeline.count_message(session, message, now_ns)
        return
    names = pipeline.accounts_of.get(session, {})
    if not account and len(names) == 1:
        account = next(iter(names))
    instrument, side = ledger.by_symbol.get(symbol), _SIDES.get(values[4] or b"")
    if not corrects and instrument is not None and _is_known(pipeline, instrument, trade_id, account, side):
        pipeline.count_message(session, message, now_ns)  # a fill of our own order, which its venue has told
        return
    if account not in names:
        _refuse(pipeline, session, message, UNKNOWN_ID, f"Account(1) {account} is not known to this session", now_ns)
    elif instrument is None:
        _refuse(pipeline, session, message, UNKNOWN_SECURITY, f"Symbol(55) {symbol} is not listed", now_ns)
    elif side is None:
        _refuse(pipeline, session, message, OTHER, f"Side(54) {_text(values[4])} is not 1 buy or 2 sell", now_ns)
    else:
        lots = count_steps(values[5] or b"", instrument.lot_mantissa, instrument.lot_exponent)
        ticks = count_steps(values[6] or b"", instrument.tick_mantissa, instrument.tick_exponent)
        if lots <= 0 or ticks <= 0:
            text = f"LastQty(32) or LastPx(31) is no whole number of {symbol}'s lots or ticks"
            _refuse(pipeline, session, message, FIELD_MISSING if None in values[5:7] else OTHER, text, now_ns)
            return
        fee_units = _fee_units(values[7], values[8])
        place = (session, message.msg_seq_num, exec_id, trade_id, account, instrument.index)
        pipeline.commit(records.ExternalFill(*place, side, lots, ticks, fee_units, corrects), now_ns)
        pipeline.touched_accounts[account] = None


def _is_known(pipeline: Pipeline, instrument: Instrument, trade_id: str, account: str, side: int | None) -> bool:
    """Whether a copy is of a fill that its venue has told of; the other side of that trade may be a client's too."""
    if not trade_id:
        return False
    for name in names_of(pipeline.router.venue_symbol(instrument), trade_id, side == Side.BUY):
        if pipeline.ledger.knows_trade(instrument.venue, name):
            trade = pipeline.reports.trades.find(instrument.venue, name)
            if trade is None or (trade.account, trade.side) == (account, side):
                return True
    return False


def _fee_units(commission: bytes | None, comm_type: bytes | None) -> int:
    """Commission(12) as an absolute amount, in money units rounded up; others are not known here and count as none."""
    if commission is None or comm_type != ABSOLUTE or parse_decimal(commission) is None:
        return 0
    return fee_units_from_decimal(Decimal(commission.decode()))


def refuse(pipeline: Pipeline, session: str, message: Message, reject: Reject, seq_in: int, now_ns: int) -> None:
    """Refuse a report that nobody has looked at."""
    _refuse(pipeline, session, message, OTHER, f"{reject.reason.name} {reject.text}", now_ns, seq_in)


def _refuse(
    pipeline: Pipeline, session: str, message: Message, reason: int, text: str, now_ns: int, seq_in: int | None = None
) -> None:
    """A fill that can not be booked is not counted by margin: its reporter and a person must know."""
    number = message.msg_seq_num if seq_in is None else seq_in
    pipeline.monitor.alert(f"{session}: external execution {_text(message.get(17))[:MAX_ID_BYTES]} refused: {text}")
    ref_id = _text(message.get(17))[:MAX_ID_BYTES]
    pipeline.commit(records.MessageRefused(session, number, "8", reason, ref_id, text), now_ns)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")


HANDLERS: Final[dict[str, Callable[[Pipeline, str, Message, int], None]]] = {"8": _report_received}
