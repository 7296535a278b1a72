"""Journal records of reconciliation and clearing: breaks, and the trades that we report. Part of gateway.records.

Tags 160 to 169. A record that restricts accounts names them, so that a break and what it restricts are one decision.
"""

from __future__ import annotations

from gateway.records.base import Record


class CounterpartyOpened(Record, frozen=True, tag=160):
    """A session of the configuration that we open, at each start: whom it is to, and which accounts it is about."""

    counterparty: str
    kind: str
    accounts: tuple[str, ...]
    reports_trades: bool


class BreakOpened(Record, frozen=True, tag=161):
    """Our book and another's differ: `source` says whose, `delta` what the difference is, `restricts` whom it stops."""

    source: str
    kind: str
    account: str
    subject: str
    severity: int
    ours: str
    theirs: str
    delta: str
    evidence: str
    restricts: tuple[str, ...] = ()


class BreakChanged(BreakOpened, frozen=True, tag=162):
    """The difference of an open break is another now, or graver, or less so."""


class BreakResolved(Record, frozen=True, tag=163):
    """A break is over: two looks did not find it again, or, with `who`, a person has closed it."""

    source: str
    kind: str
    account: str
    subject: str
    text: str
    who: str = ""


class TradesReported(Record, frozen=True, tag=164):
    """TradeCaptureReports(AE) up to this TradeReportID(571) are in the session's store: they will reach it."""

    counterparty: str
    through: int


class TradeReportAnswered(Record, frozen=True, tag=165):
    """A counterparty has taken or refused a report: its TradeCaptureReportAck(AR)."""

    counterparty: str
    number: int
    is_accepted: bool
    text: str


ClearingRecord = CounterpartyOpened | BreakOpened | BreakChanged | BreakResolved | TradesReported | TradeReportAnswered
