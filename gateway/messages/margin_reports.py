"""MarginRequirementInquiry(CH), its Ack(CI), and its reports: MarginRequirementReport(CJ), AccountSummaryReport(CQ).

MarginReqmtInqQualifier(1637) says which: 0 summary, one CJ; 1 detail, one CJ a class, which is all contracts on one
coin, and one a wallet at a venue, in its own unit and by the venue's model; 2 excess or deficit, one CJ; 3 net
position, the account's summary, CQ, for which the standard has no request of its own. None asks for the summary.
Amounts are in the account's currency (risk.telling); maintenance is MarginAmtType(1644) 12, where liquidation begins. A
wallet that is short is told as a deficit in its own unit beside the house's figures: orders at that venue are refused.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.margin.figures import TOGETHER, Figures, MarginClass, WalletMargin, wallets_of
from gateway.messages.account_summaries import account_summary
from gateway.messages.amounts import coins, has, needs
from gateway.messages.collateral_reports import INTERVAL_NS, FiguresOf
from gateway.messages.margin_scope import (
    MAX_ID_BYTES,
    SUBSCRIBE,
    UNSUBSCRIBE,
    account_of,
    is_today,
    parties_of,
    request_fault,
    transport_fault,
)
from gateway.messages.margin_subscriptions import FiguresTold, Subscription, Subscriptions
from protocols.fix.codec import Message, format_timestamp
from protocols.fix.grouped import Values, entries_of
from risk.account import Account
from risk.telling import Quote

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# MarginReqmtInqQualifier(1637); MarginReqmtRptType(1638) has the first three.
SUMMARY, DETAIL, EXCESS, NET_POSITION = b"0", b"1", b"2", b"3"
# MarginReqmtInqStatus(1640), MarginReqmtInqResult(1641)
ACCEPTED, REJECTED = 0, 4
SUCCESSFUL, UNKNOWN_INSTRUMENT, UNKNOWN_CLASS, INVALID_PARTIES, INVALID_TRANSPORT = 0, 1, 2, 3, 4
NONE_FOUND, QUALIFIER_NOT_SUPPORTED, UNAUTHORISED, OTHER = 6, 7, 8, 99
# MarginAmtType(1644)
ADDITIONAL, CASH, CORE, INITIAL, LIQUIDATING, DEFICIT, SURPLUS, TOTAL, VARIATION = 1, 5, 7, 11, 12, 14, 15, 22, 23
# Of these, what an account has; the others are what it needs.
_HAS: Final = frozenset({CASH, SURPLUS, VARIATION})
# MarginReqmtInqID, SubscriptionRequestType, MarginClass, Symbol, ClearingBusinessDate
_TAGS: Final = (1635, 263, 1639, 55, 715)


def margin_amounts(figures: Figures) -> list[Values]:
    """Return the group NoMarginAmt(1643) of a whole account."""
    amounts = {
        INITIAL: figures.initial,
        LIQUIDATING: figures.maintenance,
        CORE: figures.core,
        ADDITIONAL: figures.initial - figures.core,
        TOTAL: figures.initial,
        CASH: figures.cash,
        VARIATION: figures.equity - figures.cash,
    }
    return _amounts(figures.quote, amounts) + excess_amount(figures)


def wallet_amounts(one: WalletMargin) -> list[Values]:
    """Return the group of one wallet at a venue, in its own unit, by the venue's model."""
    amounts = {INITIAL: one.initial, CORE: one.core, ADDITIONAL: one.initial - one.core}
    amounts |= {SURPLUS: one.excess} if one.excess >= 0 else {DEFICIT: -one.excess}
    return [{1645: coins(amount), 1644: kind, 1646: one.unit.encode()} for kind, amount in amounts.items()]


def excess_amount(figures: Figures) -> list[Values]:
    """Return what of the equity is free, or what it lacks; and what each wallet at a venue that is short lacks."""
    short = [one for one in figures.wallets if one.excess < 0]
    lacking: list[Values] = [{1645: coins(-one.excess), 1644: DEFICIT, 1646: one.unit.encode()} for one in short]
    whole = {SURPLUS: figures.excess} if figures.excess >= 0 else {DEFICIT: -figures.excess}
    return _amounts(figures.quote, whole) + lacking


def class_amounts(quote: Quote, one: MarginClass) -> list[Values]:
    """Return the group of one class: what is held, what working orders add, and both."""
    return _amounts(quote, {INITIAL: one.core + one.orders, CORE: one.core, ADDITIONAL: one.orders})


def _amounts(quote: Quote, amounts: dict[int, float]) -> list[Values]:
    currency, told = quote.currency.encode(), {kind: has if kind in _HAS else needs for kind in amounts}
    return [{1645: told[kind](quote, amount), 1644: kind, 1646: currency} for kind, amount in amounts.items()]


class MarginReports:
    """Answers MarginRequirementInquiry(CH), and tells subscribers."""

    def __init__(self, pipeline: Pipeline, subscriptions: Subscriptions, figures_of: FiguresOf) -> None:
        self._pipeline = pipeline
        self._subscriptions = subscriptions
        self._figures_of = figures_of
        self._reports = 0

    def receive(self, session: str, message: Message, now_ns: int) -> str | None:
        """Answer one inquiry: an Ack(CI), and its reports behind it."""
        request_id, action, margin_class, *_ = message.values(_TAGS)
        key, volatile = (request_id or b"")[:MAX_ID_BYTES], self._pipeline.volatile
        account = account_of(self._pipeline, session, message)
        qualifiers = self._qualifiers(session, message)
        refusal = self._why_not(session, message, account, now_ns)
        if refusal is None and action == UNSUBSCRIBE and not self._subscriptions.remove(session, "CH", key):
            refusal = OTHER, "no subscription has this MarginReqmtInqID(1635)"
        figures: Figures | str = ""
        if refusal is None and isinstance(account, Account) and action != UNSUBSCRIBE:
            figures = self._figures_of(account, now_ns)
            if isinstance(figures, str):
                refusal = OTHER, figures
        name = account.name if isinstance(account, Account) else "unknown"
        answer: Values = {
            1635: key,
            1636: [{1637: qualifier} for qualifier in qualifiers],
            263: action,
            453: parties_of(name) if isinstance(account, Account) else _parties_asked(message),
            1639: margin_class,
            60: format_timestamp(now_ns),
        }
        if refusal is not None:
            told: Values = {1640: REJECTED, 1641: refusal[0], 58: refusal[1].encode("ascii", "replace")}
            volatile.answer(session, "CI", {**answer, **told})
            return None
        reports: list[tuple[str, Values]] = []
        if isinstance(account, Account) and isinstance(figures, Figures):
            wanted = None if margin_class is None else margin_class.decode("latin-1")
            inquiry = FiguresTold(
                partial(self.figures, account), _shape, partial(self.messages, key, qualifiers, wanted)
            )
            reports = inquiry.first(figures, now_ns)
            if action == SUBSCRIBE:
                state = self._pipeline.reports.sessions[session]
                subscription = Subscription(state, inquiry.news, inquiry.forget, INTERVAL_NS, now_ns)
                self._subscriptions.add(session, "CH", key, subscription)
        result = SUCCESSFUL if reports or action == UNSUBSCRIBE else NONE_FOUND
        volatile.answer(session, "CI", {**answer, 1640: ACCEPTED, 1641: result, 911: len(reports)})
        for msg_type, values in reports:
            volatile.answer(session, msg_type, values)
        return None

    def _qualifiers(self, session: str, message: Message) -> list[bytes]:
        dictionary = self._pipeline.reports.sessions[session].dictionary
        return list(dict.fromkeys(entries_of(dictionary, message, 1636, 1637))) or [SUMMARY]

    def _why_not(self, session: str, message: Message, account: Account | str, now_ns: int) -> tuple[int, str] | None:
        request_id, action, margin_class, symbol, day = message.values(_TAGS)
        ledger = self._pipeline.ledger
        if fault := request_fault(request_id, action):
            return OTHER, fault
        if isinstance(account, str):
            return (INVALID_PARTIES if account.startswith("no account") else UNAUTHORISED), account
        if fault := transport_fault(message):
            return INVALID_TRANSPORT, fault
        if not is_today(day, now_ns):
            return OTHER, "ClearingBusinessDate(715) is today: margin is that of now"
        if symbol is not None or message.get(48) is not None:
            return UNKNOWN_INSTRUMENT, "margin is of a whole account, or of a MarginClass(1639): all on one coin"
        classes = {instrument.underlying for instrument in ledger.instruments} | {"USD", TOGETHER}
        classes |= {one.name for one in wallets_of(account, self._pipeline.market)}
        if margin_class is not None and margin_class.decode("latin-1") not in classes:
            return (
                UNKNOWN_CLASS,
                "MarginClass(1639) is the coin that contracts are on, or USD",
            )
        if margin_class is not None and set(self._qualifiers(session, message)) != {DETAIL}:
            return QUALIFIER_NOT_SUPPORTED, "a MarginClass(1639) is asked with MarginReqmtInqQualifier(1637) 1 detail"
        if action == SUBSCRIBE and (fault := self._subscriptions.fault(session, "CH", request_id or b"")):
            return OTHER, fault
        return None

    def figures(self, account: Account, now_ns: int) -> Figures | str:
        """Return an account's margin, or why it is not known."""
        return self._figures_of(account, now_ns)

    def messages(
        self, key: bytes, qualifiers: list[bytes], margin_class: str | None, figures: Figures, now_ns: int
    ) -> list[tuple[str, Values]]:
        """Return the reports that qualifiers ask for."""
        rows: list[dict[int, bytes | int | list[Values] | None]] = []
        for qualifier in qualifiers:
            if qualifier == SUMMARY:
                rows.append({1638: SUMMARY, 1643: margin_amounts(figures)})
            elif qualifier == EXCESS:
                rows.append({1638: EXCESS, 1643: excess_amount(figures)})
            elif qualifier == DETAIL:
                rows += [
                    {1638: DETAIL, 1639: one.name.encode(), 1643: class_amounts(figures.quote, one)}
                    for one in figures.classes
                    if margin_class in (None, one.name)
                ]
                rows += [
                    {1638: DETAIL, 1639: one.name.encode(), 1643: wallet_amounts(one)}
                    for one in figures.wallets
                    if margin_class in (None, one.name)
                ]
        reports: list[tuple[str, Values]] = []
        for number, row in enumerate(rows, 1):
            values: Values = {
                **row, 1642: self._report_id(), 1635: key, 911: len(rows), 912: b"Y" if number == len(rows) else b"N",
                453: parties_of(figures.account), 60: format_timestamp(now_ns),
                58: figures.quote.terms.encode("ascii", "replace") or None,
            }  # fmt: skip
            reports.append(("CJ", values))
        if NET_POSITION in qualifiers:
            reports.append(("CQ", account_summary(self._report_id(), figures, margin_amounts(figures), now_ns)))
        return reports

    def _report_id(self) -> bytes:
        self._reports += 1
        return f"{self._pipeline.ledger.run}-M{self._reports}".encode()


def _shape(figures: Figures) -> object:
    quote = figures.quote
    classes = tuple((one.name, needs(quote, one.core), needs(quote, one.orders)) for one in figures.classes)
    wallets = tuple((one.name, coins(one.equity), coins(one.initial), coins(one.core)) for one in figures.wallets)
    whole = has(quote, figures.equity), has(quote, figures.cash), needs(quote, figures.initial)
    return quote.currency, whole, classes, wallets


def _parties_asked(message: Message) -> list[Values]:
    """Return the parties of a request that names no account of its session, as they came."""
    parties = message.groups(453, (448, 447, 452))
    return [{448: party_id, 447: source, 452: role} for party_id, source, role in parties]
