"""CollateralInquiry(BB), its Ack(BG) and CollateralReport(BA): what an account has, and what of it is free.

The first report is of the whole account in its currency: MarginExcess(899), equity in TotalNetValue(900), cash in
CashOutstanding(901). One of each currency follows: its cash, what that secures, and as stipulation HAIRCUT what the
worst scenario takes off it. All collateral secures all positions: nothing is of one trade, order or instrument.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.margin.figures import Figures
from gateway.messages.amounts import coins, has, units
from gateway.messages.margin_scope import (
    MAX_ID_BYTES,
    SUBSCRIBE,
    UNSUBSCRIBE,
    account_of,
    parties_of,
    request_fault,
    transport_fault,
)
from gateway.messages.margin_subscriptions import NS_PER_S, FiguresTold, Subscription, Subscriptions
from protocols.fix.codec import Message, format_timestamp
from protocols.fix.grouped import Values
from risk.account import Account

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# CollInquiryStatus(945), CollInquiryResult(946), CollStatus(910)
ACCEPTED, REJECTED = 0, 4
SUCCESSFUL, UNKNOWN_INSTRUMENT, INVALID_PARTIES, INVALID_TRANSPORT = 0, 1, 3, 4
NOT_OF_TRADES, NOT_OF_ORDERS, QUALIFIER_NOT_SUPPORTED, UNAUTHORISED, OTHER = 6, 7, 8, 9, 99
ASSIGNED: Final = 3
HAIRCUT: Final = b"HAIRCUT"  # StipulationType(233)
# Subscribers hear of margin no more often.
INTERVAL_NS: Final = NS_PER_S
# Fields that ask for less than all of an account -> CollInquiryResult(946) and why not.
SCOPES: Final = (
    ((124, 897), NOT_OF_TRADES, "collateral is not of one trade"),
    ((11, 37, 198, 526), NOT_OF_ORDERS, "collateral is not of one order"),
    ((938,), QUALIFIER_NOT_SUPPORTED, "no CollInquiryQualifier(896): all collateral is assigned to the account"),
    ((55, 48, 711, 555), UNKNOWN_INSTRUMENT, "collateral is not of one instrument"),
)

FiguresOf = Callable[[Account, int], Figures | str]


class CollateralReports:
    """Answers CollateralInquiry(BB), and tells subscribers."""

    def __init__(self, pipeline: Pipeline, subscriptions: Subscriptions, figures_of: FiguresOf) -> None:
        self._pipeline = pipeline
        self._subscriptions = subscriptions
        self._figures_of = figures_of
        self._reports = 0

    def receive(self, session: str, message: Message, now_ns: int) -> str | None:
        """Answer one inquiry: an Ack(BG), and its reports behind it."""
        request_id, action = message.values((909, 263))
        key = (request_id or b"")[:MAX_ID_BYTES]
        volatile, account = self._pipeline.volatile, account_of(self._pipeline, session, message)
        answer: Values = {909: key, 1: (message.get(1) or b"")[:MAX_ID_BYTES]}
        refusal = self._why_not(session, message, account)
        if refusal is None and action == UNSUBSCRIBE:
            if self._subscriptions.remove(session, "BB", key):
                volatile.answer(session, "BG", {**answer, 945: ACCEPTED, 946: SUCCESSFUL, 911: 0})
                return None
            refusal = OTHER, "no subscription has this CollInquiryID(909)"
        figures: Figures | str = (
            "" if refusal is not None or isinstance(account, str) else self._figures_of(account, now_ns)
        )
        if isinstance(figures, str) or isinstance(account, str):
            result, text = refusal or (OTHER, str(figures))
            told: Values = {945: REJECTED, 946: result, 58: text.encode("ascii", "replace")}
            volatile.answer(session, "BG", {**answer, **told})
            return None
        inquiry = FiguresTold(partial(self.figures, account), _shape, partial(self.messages, key))
        reports = inquiry.first(figures, now_ns)
        accepted: Values = {945: ACCEPTED, 946: SUCCESSFUL, 911: len(reports), 453: parties_of(account.name)}
        volatile.answer(session, "BG", {**answer, **accepted, 1: account.name.encode("latin-1")})
        for msg_type, values in reports:
            volatile.answer(session, msg_type, values)
        if action == SUBSCRIBE:
            state = self._pipeline.reports.sessions[session]
            subscription = Subscription(state, inquiry.news, inquiry.forget, INTERVAL_NS, now_ns)
            self._subscriptions.add(session, "BB", key, subscription)
        return None

    def _why_not(self, session: str, message: Message, account: Account | str) -> tuple[int, str] | None:
        request_id, action = message.values((909, 263))
        if fault := request_fault(request_id, action):
            return OTHER, fault
        if isinstance(account, str):
            return (INVALID_PARTIES if account.startswith("no account") else UNAUTHORISED), account
        if fault := transport_fault(message):
            return INVALID_TRANSPORT, fault
        for tags, result, text in SCOPES:
            if any(message.get(tag) is not None for tag in tags):
                return result, text
        if action == SUBSCRIBE and (fault := self._subscriptions.fault(session, "BB", request_id or b"")):
            return OTHER, fault
        return None

    def figures(self, account: Account, now_ns: int) -> Figures | str:
        """Return an account's margin, or why it is not known."""
        return self._figures_of(account, now_ns)

    def messages(self, key: bytes, figures: Figures, now_ns: int) -> list[tuple[str, Values]]:
        """Return the reports of an account: the whole in its currency, then each that it has."""
        quote = figures.quote
        count, name = 1 + len(figures.collateral), figures.account
        common: dict[int, Values | bytes | int | list[Values] | None] = {
            909: key, 910: ASSIGNED, 911: count, 453: parties_of(name), 1: name.encode("latin-1"),
        }  # fmt: skip
        rows: list[dict[int, bytes | int | list[Values] | None]] = [
            {
                15: quote.currency.encode(),
                899: has(quote, figures.excess),
                900: has(quote, figures.equity),
                901: has(quote, figures.cash),
                58: quote.terms.encode("ascii", "replace") or None,
            }
        ]
        for one in figures.collateral:
            haircut: list[Values] = [{233: HAIRCUT, 234: coins(one.haircut)}]
            row: dict[int, bytes | int | list[Values] | None]
            row = {15: one.currency.encode(), 900: coins(one.counted), 901: units(one.units), 232: haircut}
            if one.not_taken_by:
                row[58] = f"profile {one.not_taken_by}, rule eligible_collateral".encode("ascii", "replace")
            rows.append(row)
        reports: list[tuple[str, Values]] = []
        for number, told in enumerate(rows, 1):
            self._reports += 1
            report_id = f"{self._pipeline.ledger.run}-C{self._reports}".encode()
            stamp: list[Values] = [{769: format_timestamp(now_ns), 770: 1}]
            last = b"Y" if number == count else b"N"
            reports.append(("BA", {**common, **told, 908: report_id, 912: last, 768: stamp}))  # type: ignore[dict-item]
        return reports


def _shape(figures: Figures) -> object:
    quote = figures.quote
    amounts = (figures.excess, figures.equity, figures.cash)
    return quote.currency, *(has(quote, amount) for amount in amounts), figures.collateral
