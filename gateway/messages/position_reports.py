"""RequestForPositions(AN), its Ack(AO) and PositionReport(AP): what one account holds, asked once or told on change.

One report an instrument, net: LongQty(704) or ShortQty(705). There is no settlement price between settlements, so that
SettlPrice(730) is the mark, theoretical (731=2). A position that has been closed is told once more, as nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from gateway.messages.amounts import coins, units
from gateway.messages.margin_scope import (
    MAX_ID_BYTES,
    SUBSCRIBE,
    UNSUBSCRIBE,
    account_of,
    day_of,
    is_today,
    parties_of,
    request_fault,
    transport_fault,
)
from gateway.messages.margin_subscriptions import Subscription, Subscriptions
from gateway.messages.quotes import Quote, Quotes
from gateway.messages.reference_data import MAX_LISTS, PacedAnswers
from gateway.translate import quantity_text
from protocols.fix.codec import Message
from protocols.fix.dictionary import Dictionary
from protocols.fix.grouped import Values, entries_of
from risk.account import Account
from risk.instrument import UNITS_PER_WHOLE
from risk.position import Position

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# PosReqType(724)
POSITIONS: Final = b"0"
# PosReqResult(728), PosReqStatus(729)
VALID, UNSUPPORTED, NONE_FOUND, NOT_AUTHORISED, NOT_SERVED, OTHER = 0, 1, 2, 3, 4, 99
COMPLETED, COMPLETED_WITH_WARNINGS, REJECTED = 0, 1, 2
TOTAL: Final = b"TOT"  # PosType(703): the net of all transactions
CASH, MARKED = b"CASH", b"FMTM"  # PosAmtType(707)
THEORETICAL: Final = 2  # SettlPriceType(731)
# Reports of one subscription in one turn; what else changed comes with the next.
REPORTS_A_TURN: Final = 50
# PosReqID, PosReqType, SubscriptionRequestType, AccountType, ClearingBusinessDate, Symbol, Currency
_TAGS: Final = (710, 724, 263, 581, 715, 55, 15)

# Refused: PosReqResult(728) and Text(58).
Refusal = tuple[int, str]
# Lots and cash of a position.
_Told = tuple[int, int]


class PositionReports:
    """Answers RequestForPositions(AN), and tells subscribers."""

    def __init__(self, pipeline: Pipeline, paced: PacedAnswers, subscriptions: Subscriptions) -> None:
        self._pipeline = pipeline
        self._paced = paced
        self._subscriptions = subscriptions
        self._quotes = Quotes(pipeline.ledger, pipeline.market)
        self._reports = 0

    def receive(self, session: str, message: Message, now_ns: int) -> str | None:
        """Answer one request: an Ack(AO) now, its reports in turns."""
        request_id, _, action, account_type, _, symbol, currency = message.values(_TAGS)
        key = (request_id or b"")[:MAX_ID_BYTES]
        account = account_of(self._pipeline, session, message)
        refusal = self._why_not(session, message, account, now_ns)
        if refusal is None and action == UNSUBSCRIBE and not self._subscriptions.remove(session, "AN", key):
            refusal = OTHER, "no subscription has this PosReqID(710)"
        name = (
            account.name if isinstance(account, Account) else (message.get(1) or b"")[:MAX_ID_BYTES].decode("latin-1")
        )
        answer: Values = {
            721: self._report_id(),
            710: key,
            453: parties_of(name),
            1: name.encode("latin-1"),
            581: account_type,
            55: (symbol or b"")[:MAX_ID_BYTES] or None,
            15: currency,
        }
        if refusal is not None or not isinstance(account, Account):
            result, text = refusal or (OTHER, "")
            told: Values = {728: result, 729: REJECTED, 58: text.encode("ascii", "replace")}
            self._pipeline.volatile.answer(session, "AO", {**answer, **told})
            return None
        inquiry = PositionInquiry(self, account, message, self._dictionary(session))
        found = [] if action == UNSUBSCRIBE else inquiry.take()
        result = VALID if found or action == UNSUBSCRIBE else NONE_FOUND
        status = COMPLETED if found or action in (SUBSCRIBE, UNSUBSCRIBE) else COMPLETED_WITH_WARNINGS
        self._pipeline.volatile.answer(session, "AO", {**answer, 727: len(found), 728: result, 729: status})
        if found:
            self._paced.add(session, inquiry.reports(found, now_ns))
        if action == SUBSCRIBE:
            state = self._pipeline.reports.sessions[session]
            self._subscriptions.add(session, "AN", key, Subscription(state, inquiry.news, inquiry.forget, 0, now_ns))
        return None

    def _why_not(self, session: str, message: Message, account: Account | str, now_ns: int) -> Refusal | None:
        request_id, kind, action, _, day, symbol, _ = message.values(_TAGS)
        fault = request_fault(request_id, action)
        if fault:
            return UNSUPPORTED, fault
        if kind != POSITIONS:
            return NOT_SERVED, "PosReqType(724) is 0 positions"
        if isinstance(account, str):
            return NOT_AUTHORISED, account
        if not is_today(day, now_ns):
            return UNSUPPORTED, "ClearingBusinessDate(715) is today: positions are those of now"
        if symbol not in (None, b"[N/A]") and symbol.decode("latin-1") not in self._pipeline.ledger.by_symbol:
            return UNSUPPORTED, f"Symbol(55) {symbol.decode('latin-1')[:MAX_ID_BYTES]} is not listed"
        if fault := transport_fault(message):
            return UNSUPPORTED, fault
        if message.get(555) is not None or message.get(711) is not None:
            return UNSUPPORTED, "positions are asked by Symbol(55): no legs, no underlyings"
        venues = entries_of(self._dictionary(session), message, 386, 336)
        known = {instrument.venue.encode() for instrument in self._pipeline.ledger.instruments}
        if not known.issuperset(venues):
            return UNSUPPORTED, "TradingSessionID(336) is the name of a venue"
        if action != UNSUBSCRIBE and not self._paced.can_take(session):
            return OTHER, f"{MAX_LISTS} lists are on their way already"
        if action == SUBSCRIBE:
            fault = self._subscriptions.fault(session, "AN", request_id or b"")
            return (OTHER, fault) if fault else None
        return None

    def _dictionary(self, session: str) -> Dictionary:
        return self._pipeline.reports.sessions[session].dictionary

    def _report_id(self) -> bytes:
        self._reports += 1
        return f"{self._pipeline.ledger.run}-P{self._reports}".encode()

    def report(self, inquiry: PositionInquiry, position: Position, count: int | None, now_ns: int) -> Values:
        """Return one PositionReport(AP); `count` of reports that answer a request, None where it is told unasked."""
        instrument, lots = position.instrument, position.lots
        quote = self._quotes.of(instrument.symbol, now_ns)
        amounts: list[Values] = [{707: CASH, 708: units(position.cash_units)}]
        if quote.mark:
            amounts.append({707: MARKED, 708: coins(_profit(position, quote))})
        side = 704 if lots >= 0 else 705
        return {
            721: self._report_id(),
            710: inquiry.request_id,
            724: POSITIONS,
            263: inquiry.action,
            727: count,
            325: b"Y" if count is None else None,
            728: VALID if quote.mark else OTHER,
            715: day_of(now_ns),
            453: parties_of(inquiry.account.name),
            1: inquiry.account.name.encode("latin-1"),
            581: inquiry.account_type,
            55: instrument.symbol.encode(),
            15: instrument.settlement_currency.encode(),
            730: quote.mark or (b"0" if 730 in inquiry.required else None),
            731: THEORETICAL,
            734: quote.mark or (b"0" if 734 in inquiry.required else None),
            702: [{703: TOTAL, side: quantity_text(instrument, abs(lots))}],
            753: amounts,
            58: quote.trouble,
        }


class PositionInquiry:
    """One request: which positions it is about, and what was told of them last."""

    def __init__(self, desk: PositionReports, account: Account, message: Message, dictionary: Dictionary) -> None:
        request_id, _, action, self.account_type, _, symbol, currency = message.values(_TAGS)
        self.account = account
        self.action = action
        self.request_id = (request_id or b"")[:MAX_ID_BYTES]
        self.required = frozenset(dictionary.messages["AP"].required)
        self._desk = desk
        self._symbol = None if symbol in (None, b"[N/A]") else symbol.decode("latin-1")
        self._currency = None if currency is None else currency.decode("latin-1")
        self._venues = {venue.decode("latin-1") for venue in entries_of(dictionary, message, 386, 336)}
        self._told: dict[int, _Told] = {}

    def take(self) -> list[Position]:
        """Return the open positions, and take them as told."""
        found = [position for position in self._meant() if position.lots]
        self._told = {position.instrument.index: _shape(position) for position in found}
        return found

    def reports(self, found: list[Position], now_ns: int) -> Iterator[tuple[str, Values]]:
        """Yield the reports that answer the request, each of its position as it is when the report is written."""
        return (("AP", self._desk.report(self, position, len(found), now_ns)) for position in found)

    def news(self, now_ns: int) -> list[tuple[str, Values]]:
        """Return reports of what has changed since it was told."""
        changed = [p for p in self._meant() if self._told.get(p.instrument.index, (0, 0)) != _shape(p)]
        del changed[REPORTS_A_TURN:]
        self._told |= {position.instrument.index: _shape(position) for position in changed}
        return [("AP", self._desk.report(self, position, None, now_ns)) for position in changed]

    def forget(self) -> None:
        """What was told last did not leave: all of it again."""
        self._told = {}

    def _meant(self) -> Iterator[Position]:
        for position in self.account.positions.values():
            instrument = position.instrument
            if (
                self._symbol in (None, instrument.symbol)
                and self._currency in (None, instrument.settlement_currency)
                and (not self._venues or instrument.venue in self._venues)
            ):
                yield position


def _shape(position: Position) -> _Told:
    return position.lots, position.cash_units


def _profit(position: Position, quote: Quote) -> float:
    """Profit before fees in the settlement currency, as if closed at the mark."""
    instrument, mark = position.instrument, float(quote.mark)
    amount = position.lots * instrument.lot_amount
    held = -amount / mark if instrument.is_inverse else amount * mark
    return position.cash_units / UNITS_PER_WHOLE + held
