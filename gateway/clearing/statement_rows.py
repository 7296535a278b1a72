"""What each statement is asked by, and how its reports are read: RequestForPositions(AN) and PositionReport(AP),
TradeCaptureReportRequest(AD) and TradeCaptureReport(AE), CollateralInquiry(BB) and CollateralReport(BA),
MarginRequirementInquiry(CH) and MarginRequirementReport(CJ).

What lacks a field, or has one that is no number, is unreadable, and so is its whole statement: unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.messages.margin_scope import account_named, day_of, parties_of
from protocols.fix.codec import Message, format_timestamp, parse_decimal, parse_timestamp
from protocols.fix.dictionary import Dictionary
from protocols.fix.grouped import Values, entries_of
from risk.account import Account
from risk.reconciliation import Kind, Topic, TradeTerms, sums

if TYPE_CHECKING:
    from gateway.clearing.reconciler import Reconciler

MAX_ID_BYTES: Final = 64
TOTAL: Final = b"TOT"  # PosType(703)
WHOLE_ACCOUNT: Final = "USD"  # Currency(15) of a report that is of the whole account
_MARGINS: Final = {b"11": Kind.INITIAL_MARGIN, b"12": Kind.MAINTENANCE_MARGIN}  # MarginAmtType(1644)
_NO_TIME: Final = 0


class StatementError(Exception):
    """A report that can not be read; the text says why."""


def question(topic: Topic, request_id: str, account: str, since_ns: int, now_ns: int) -> tuple[str, Values]:
    """Return the message that asks for a statement of one account."""
    key, name, now = request_id.encode(), account.encode("latin-1"), format_timestamp(now_ns)
    if topic is Topic.POSITIONS:
        day = day_of(now_ns)
        return "AN", {710: key, 724: 0, 263: 0, 1: name, 453: parties_of(account), 581: 1, 715: day, 60: now}
    if topic is Topic.TRADES:
        since = format_timestamp(since_ns)
        dates: list[Values] = [{75: since[:8], 60: since}]
        return "AD", {568: key, 569: 0, 263: 0, 453: parties_of(account), 580: dates}
    if topic is Topic.BALANCES:
        return "BB", {909: key, 263: 0, 1: name, 453: parties_of(account)}
    return "CH", {1635: key, 1636: [{1637: 0}], 263: 0, 453: parties_of(account), 60: now}


# -- positions ---------------------------------------------------------------------------------------------------------


def _position(dictionary: Dictionary, message: Message) -> tuple[str, str, Decimal]:
    """Account, symbol and signed quantity of a PositionReport(AP): its net, or the sum of what it tells apart."""
    types = entries_of(dictionary, message, 702, 703)
    longs, shorts = entries_of(dictionary, message, 702, 704), entries_of(dictionary, message, 702, 705)
    if not types:
        raise StatementError("PositionReport(AP) without NoPositions(702)")
    rows = list(zip(types, longs, shorts, strict=True))
    nets = [row for row in rows if row[0] == TOTAL]
    total = Decimal(0)
    for _, long, short in nets or rows:
        if not long and not short:
            raise StatementError("a position with neither LongQty(704) nor ShortQty(705)")
        total += _number(long or b"0", 704) - _number(short or b"0", 705)
    return _account(message), _text(message, 55), total


def _positions(reconciler: Reconciler, account: str, rows: list[Any]) -> dict[str, Decimal]:
    return sums((symbol, quantity) for symbol, quantity in _of(account, rows))


# -- balances ----------------------------------------------------------------------------------------------------------


def _balance(dictionary: Dictionary, message: Message) -> tuple[str, str, Decimal | None]:
    """Account, currency and CashOutstanding(901) of a CollateralReport(BA); None: of the whole account, in USD."""
    currency, cash = _text(message, 15), message.get(901)
    if not currency:
        raise StatementError("CollateralReport(BA) without Currency(15)")
    # The first report of several is the account in one sum: TotalNetValue(900) beside MarginExcess(899).
    is_sum = currency == WHOLE_ACCOUNT and message.get(899) is not None
    if cash is None and not is_sum:
        raise StatementError("CollateralReport(BA) without CashOutstanding(901)")
    return _account(message), currency, None if is_sum else _number(cash, 901)


def _balances(reconciler: Reconciler, account: str, rows: list[Any]) -> dict[str, Decimal]:
    return sums((currency, amount) for currency, amount in _of(account, rows) if amount is not None)


# -- margin ------------------------------------------------------------------------------------------------------------


def _margin(dictionary: Dictionary, message: Message) -> tuple[str, str, dict[Kind, Decimal]]:
    """Account and requirements in USD of a MarginRequirementReport(CJ)."""
    types, amounts, currencies = (entries_of(dictionary, message, 1643, tag) for tag in (1644, 1645, 1646))
    found: dict[Kind, Decimal] = {}
    for kind, amount, currency in zip(types, amounts, currencies, strict=True):
        if kind in _MARGINS:
            if currency not in (b"", b"USD"):
                raise StatementError("MarginAmtCcy(1646) is not USD")
            found[_MARGINS[kind]] = _number(amount, 1645)
    if not found:
        raise StatementError("MarginRequirementReport(CJ) without MarginAmtType(1644) 11 or 12")
    return _account(message), "", found


def _margins(reconciler: Reconciler, account: str, rows: list[Any]) -> dict[Kind, Decimal]:
    told: dict[Kind, Decimal] = {}
    for _, found in _of(account, rows):
        told |= found
    if not told:
        raise StatementError("no requirement was told")
    return told


# -- trades ------------------------------------------------------------------------------------------------------------


def trade_of(dictionary: Dictionary, message: Message) -> TradeTerms:
    """Return what a TradeCaptureReport(AE) tells of, its venue left open. Raises StatementError."""
    side = next(iter(entries_of(dictionary, message, 552, 54)), b"")
    account = next(iter(entries_of(dictionary, message, 552, 1)), b"").decode("latin-1")
    return _terms(message, account, side, (880, 1003, 17))


def execution_of(message: Message) -> TradeTerms:
    """Return what an ExecutionReport(8) of a fill tells of. Raises StatementError."""
    return _terms(message, _account(message), message.get(54) or b"", (880, 1003, 17))


def _terms(message: Message, account: str, side: bytes, id_tags: tuple[int, ...]) -> TradeTerms:
    trade_id = next((value for tag in id_tags if (value := _text(message, tag))), "")
    if not trade_id or len(trade_id) > MAX_ID_BYTES:
        raise StatementError(f"a trade without an id of up to {MAX_ID_BYTES} bytes")
    if side not in (b"1", b"2") or not account or not _text(message, 55):
        raise StatementError(f"trade {trade_id} without Account(1), Symbol(55), or Side(54) 1 or 2")
    quantity, price = _number(message.get(32), 32), _number(message.get(31), 31)
    time_ns = parse_timestamp(message.get(60) or b"")
    if time_ns is None or quantity <= 0:
        raise StatementError(f"trade {trade_id} without TransactTime(60), or of no LastQty(32)")
    return TradeTerms("", trade_id, account, _text(message, 55), int(side), quantity, price, time_ns)


def _trade(dictionary: Dictionary, message: Message) -> tuple[str, str, TradeTerms | None]:
    if message.get(487) == b"1" or message.get(150) == b"H":  # annulled: it has not happened
        side_account = next(iter(entries_of(dictionary, message, 552, 1)), b"").decode("latin-1")
        return side_account, _text(message, 55), None
    terms = trade_of(dictionary, message)
    return terms.account, terms.symbol, terms


def _trades(reconciler: Reconciler, account: str, rows: list[Any]) -> list[TradeTerms]:
    return [reconciler.at_venue(terms) for _, terms in _of(account, rows) if terms is not None]


# -- all of them -------------------------------------------------------------------------------------------------------


class Reading(msgspec.Struct, frozen=True):
    """How one topic's reports are read, gathered into a statement, and compared."""

    row_of: Callable[[Dictionary, Message], tuple[str, str, Any]]
    gathered: Callable[[Reconciler, str, list[Any]], Any]
    compare: Callable[[Reconciler, str, Account, Any, int, int], bool]


ROWS: Final = {
    Topic.POSITIONS: Reading(
        _position, _positions, lambda r, name, account, told, since, now: r.positions_told(name, account, told, now)
    ),
    Topic.BALANCES: Reading(
        _balance, _balances, lambda r, name, account, told, since, now: r.balances_told(name, account, told, now)
    ),
    Topic.MARGIN: Reading(
        _margin, _margins, lambda r, name, account, told, since, now: r.margin_told(name, account, told, now)
    ),
    Topic.TRADES: Reading(
        _trade, _trades, lambda r, name, account, told, since, now: r.trades_told(name, account, told, since, now)
    ),
}


def _of(account: str, rows: list[Any]) -> list[tuple[str, Any]]:
    """Return (name, value) of the reports; one of another account is none that was asked for."""
    for told, _, _ in rows:
        if told != account:
            raise StatementError(f"a report of account {told[:MAX_ID_BYTES]}, which was not asked for")
    return [(name, value) for _, name, value in rows]


def _account(message: Message) -> str:
    name = account_named(message)
    if not name:
        raise StatementError(f"{message.msg_type} names no account")
    return name


def _number(value: bytes | None, tag: int) -> Decimal:
    if value is None or parse_decimal(value) is None:
        raise StatementError(f"tag {tag} is no number")
    return Decimal(value.decode())


def _text(message: Message, tag: int) -> str:
    return (message.get(tag) or b"").decode("latin-1")
