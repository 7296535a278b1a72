"""What the journal knows of clearing: open breaks, and which trades each counterparty has still to be told of.

Changed by records only, live and in a replay alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.records import clearing as clearing_records
from risk.breaks import Break
from risk.reconciliation import Severity

if TYPE_CHECKING:
    from gateway.ledger import Ledger
    from gateway.messages.trade_capture import Trade
    from gateway.records.base import Record
    from gateway.reports import Reports

# Reports that wait to be sent, or for their answers; the trades of a day that one counterparty was not to be had.
REPORTS_KEPT: Final = 100_000


class Due(msgspec.Struct, frozen=True, gc=False):
    """A report that is owed: `number` is its TradeReportID(571), the journal's number of what it reports."""

    number: int
    source: str
    trade_id: str


class _Duty(msgspec.Struct):
    """What one counterparty is owed, and what it has not answered; `lost`: more than REPORTS_KEPT."""

    accounts: tuple[str, ...]
    pending: deque[Due] = msgspec.field(default_factory=deque)
    unanswered: dict[int, Due] = msgspec.field(default_factory=dict)
    through: int = 0
    refused: int = 0
    lost: int = 0


class TradeDuties:
    """Trades to be reported, by counterparty. External fills are not ours to report."""

    def __init__(self) -> None:
        self.of: dict[str, _Duty] = {}
        self._is_open: set[str] = set()

    def queue(self, trade: Trade, number: int) -> None:
        """Owe a report of a trade, new, corrected or annulled, to whoever clears its account."""
        for name in self._is_open if not trade.source.startswith("external:") else ():
            duty = self.of[name]
            if trade.account in duty.accounts:
                if len(duty.pending) >= REPORTS_KEPT:
                    duty.pending.popleft()
                    duty.lost += 1
                duty.pending.append(Due(number, trade.source, trade.trade_id))

    def clear(self) -> None:
        """A new start: the configuration says anew who is told; what was owed before stays owed."""
        self._is_open.clear()

    def opened(self, record: clearing_records.CounterpartyOpened) -> None:
        """Report to a counterparty from here on."""
        if record.reports_trades:
            self.of.setdefault(record.counterparty, _Duty(())).accounts = record.accounts
            self._is_open.add(record.counterparty)

    def reported(self, record: clearing_records.TradesReported) -> None:
        """Note that reports are in the store."""
        duty = self.of[record.counterparty]
        duty.through = max(duty.through, record.through)
        while duty.pending and duty.pending[0].number <= record.through:
            due = duty.pending.popleft()
            if len(duty.unanswered) >= REPORTS_KEPT:
                del duty.unanswered[next(iter(duty.unanswered))]
                duty.lost += 1
            duty.unanswered[due.number] = due

    def answered(self, record: clearing_records.TradeReportAnswered) -> None:
        """Note an answer."""
        duty = self.of[record.counterparty]
        if duty.unanswered.pop(record.number, None) is not None and not record.is_accepted:
            duty.refused += 1

    def parts(self) -> list[Any]:
        """Return all of it in a fixed order, for the state's hash."""
        return [
            (name, duty.accounts, [d.number for d in duty.pending], sorted(duty.unanswered), duty.through, duty.refused)
            for name, duty in sorted(self.of.items())
        ]


# -- the ledger --------------------------------------------------------------------------------------------------------


def _opened(ledger: Ledger, record: clearing_records.BreakOpened) -> None:
    now_ns = ledger.time_ns
    one = Break(
        0, record.source, record.kind, record.account, record.subject, Severity(record.severity), record.ours,
        record.theirs, record.delta, record.evidence, now_ns, now_ns,
    )  # fmt: skip
    ledger.open_breaks.put(one)
    for name in record.restricts:
        account = ledger.accounts.get(name)
        if account is not None:
            ledger.standing.restrict(account, f"break {one.number}: {one.words()}")


def _resolved(ledger: Ledger, record: clearing_records.BreakResolved) -> None:
    key = record.source, record.kind, record.account, record.subject
    ending = f"{record.who}: {record.text}" if record.who else record.text
    ledger.open_breaks.end(key, ledger.time_ns, ending, is_accepted=bool(record.who))


def _counterparty_known(ledger: Ledger, record: clearing_records.CounterpartyOpened) -> None:
    ledger.counterparties.setdefault(record.counterparty, ledger.time_ns)


APPLIES: Final[dict[type[Record], Callable[[Ledger, Any], None]]] = {
    clearing_records.CounterpartyOpened: _counterparty_known,
    clearing_records.BreakOpened: _opened,
    clearing_records.BreakChanged: _opened,
    clearing_records.BreakResolved: _resolved,
}


# -- reports -----------------------------------------------------------------------------------------------------------


def _counterparty(reports: Reports, record: clearing_records.CounterpartyOpened, sequence: int, time_ns: int) -> None:
    reports.trades.duties.opened(record)


def _reported(reports: Reports, record: clearing_records.TradesReported, sequence: int, time_ns: int) -> None:
    reports.trades.duties.reported(record)


def _answered(reports: Reports, record: clearing_records.TradeReportAnswered, sequence: int, time_ns: int) -> None:
    reports.trades.duties.answered(record)


REPORTS: Final[dict[type[Record], Callable[[Reports, Any, int, int], None]]] = {
    clearing_records.CounterpartyOpened: _counterparty,
    clearing_records.TradesReported: _reported,
    clearing_records.TradeReportAnswered: _answered,
}
