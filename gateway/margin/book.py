"""Margin under watch in the book: states of accounts, calls, and where collateral is; what their records do to them.

Part of the ledger: changed by records only. A payment credits its call in the record of its settlement, and a lapsed
call restricts its account in the record of its lapse, so that no crash can come between.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.records.margin import (
    AccountCurrencySet,
    AssignmentCancelled,
    CollateralAssigned,
    MarginCallAnswered,
    MarginCalled,
    MarginCallMoved,
    MarginStateMoved,
    TransferBegun,
    TransferMoved,
)
from risk.account import Account
from risk.collateral_ledger import (
    ENDED_TRANSFERS_KEPT,
    CollateralLedger,
    Location,
    Place,
    TransferHappening,
    TransferTerms,
    secured_units,
)
from risk.house_calls import HouseCalls
from risk.margin_states import MarginState
from risk.margin_watch import MarginWatch
from risk.marks import Market
from risk.telling import IN_USD, USD, Quote, quote_of
from risk.transfer_orders import TransferOrders

if TYPE_CHECKING:
    from gateway.ledger import Ledger
    from gateway.records import CashMoved

# Deadlines of what has ended are dropped when there are so many; from then on when they are more than the accounts.
MIN_DEADLINES: Final = 1_024


class MarginBook:
    """Each account's margin watch, and the collateral of all."""

    def __init__(self) -> None:
        self.watches: dict[str, MarginWatch] = {}
        self.collateral = CollateralLedger()
        # What we want to move ourselves, and what clearing houses want of us.
        self.orders = TransferOrders()
        self.house_calls = HouseCalls()
        # What clients pledged by message, by key of the transfer: who is to be told of it.
        self.assignments: dict[str, CollateralAssigned] = {}
        self._deadlines: list[tuple[int, str]] = []
        # What calls are told in, by account and call, of those that are not told in USD.
        self._quotes: dict[tuple[str, str], Quote] = {}

    def watch(self, account: str) -> MarginWatch:
        """Return an account's watch: healthy until something else was recorded."""
        return self.watches.setdefault(account, MarginWatch(account))

    def quote(self, account: str, call_id: str) -> Quote:
        """Return what an account is told of a call in: what it was told first, whatever prices have done since."""
        return self._quotes.get((account, call_id), IN_USD)

    def note_call(self, record: MarginCalled) -> None:
        """Keep what a call is told in, for as long as the call is kept."""
        account, calls = record.account, self.watch(record.account).calls
        for key in [key for key in self._quotes if key[0] == account and key[1] not in calls]:
            del self._quotes[key]
        if record.currency != USD:
            quote = Quote(record.currency, record.price_usd, record.priced_ns)
            self._quotes[account, record.call_id] = quote

    @property
    def deadline_ns(self) -> int | None:
        """When the next call or grace runs out: that is its last moment."""
        deadlines = self._deadlines
        while deadlines:
            at_ns, account = deadlines[0]
            if self.watches[account].deadline_ns == at_ns:
                return at_ns
            heapq.heappop(deadlines)
        return None

    def overdue(self, now_ns: int) -> MarginWatch | None:
        """Return a watch with a call or grace that has run out, the longest ago first; None where there is none."""
        at_ns = self.deadline_ns
        return None if at_ns is None or now_ns <= at_ns else self.watches[self._deadlines[0][1]]

    def deposited(self, record: CashMoved) -> None:
        """Book cash that came in or went out without a transfer: from the client, or back to it."""
        client, house = Location(Place.CLIENT, "", record.account), Location(Place.HOUSE, "", record.account)
        if record.units >= 0:
            self.collateral.post(record.currency, record.units, client, house)
        else:
            self.collateral.post(record.currency, -record.units, house, client)

    def parts(self) -> list[Any]:
        """Return all that a restart must bring back, in a fixed order, for the state's hash."""
        watches = [watch.parts() for _, watch in sorted(self.watches.items()) if not watch.is_untouched]
        ours = [self.orders.parts(), self.house_calls.parts()]
        quotes = [msgspec.structs.astuple(quote) for _, quote in sorted(self._quotes.items())]
        return [watches, self.collateral.parts(), sorted(self.assignments), ours, *quotes]

    def note_time(self, watch: MarginWatch) -> None:
        """Keep when an account's calls and graces run out."""
        at_ns, deadlines = watch.deadline_ns, self._deadlines
        if at_ns is None:
            return
        heapq.heappush(deadlines, (at_ns, watch.account))
        if len(deadlines) > max(MIN_DEADLINES, 4 * len(self.watches)):
            live = {(at_ns, account) for at_ns, account in deadlines if self.watches[account].deadline_ns == at_ns}
            self._deadlines = sorted(live)

    def note_assignment(self, record: CollateralAssigned) -> None:
        """Keep who pledged."""
        self.assignments.setdefault(record.key, record)
        if len(self.assignments) > ENDED_TRANSFERS_KEPT:
            del self.assignments[next(iter(self.assignments))]


def in_its_currency(record: MarginCalled, account: Account, market: Market, now_ns: int) -> MarginCalled:
    """Return a call with what its account is told of it in."""
    if account.currency == USD:
        return record
    quote = quote_of(account.currency, market, now_ns)
    return msgspec.structs.replace(
        record, currency=quote.currency, price_usd=quote.price, priced_ns=quote.as_of_ns, why=quote.why
    )


def terms_of(record: TransferBegun) -> TransferTerms:
    """Return the terms of the transfer that a record begins."""
    source = Location(Place(record.source_place), record.source_name, record.account)
    target = Location(Place(record.target_place), record.target_name, record.account)
    return TransferTerms(record.key, record.account, record.asset, record.units, source, target)


def _decided(ledger: Ledger, record: MarginStateMoved | MarginCalled | MarginCallMoved) -> None:
    watch = ledger.margin.watch(record.account)
    before = watch.state
    watch.apply(record)
    ledger.margin.note_time(watch)
    if isinstance(record, MarginCalled):
        ledger.margin.note_call(record)
    if watch.state is not before and not isinstance(record, MarginCalled):
        name = MarginState(watch.state).value.replace("_", " ")
        ledger.standing.limit_by_margin(ledger.accounts[watch.account], watch.may_do, f"margin {name}: {record.reason}")


def _begun(ledger: Ledger, record: TransferBegun) -> None:
    collateral = ledger.margin.collateral
    if record.key in collateral.transfers:
        return  # the same message again: its answer is the same, too
    transfer = collateral.begin(terms_of(record), record.due_ns, record.call_id)
    if record.key in ledger.margin.orders.orders:
        ledger.margin.orders.begun(record.key)
    if units := secured_units(transfer):
        ledger.accounts[record.account].move_cash(record.asset, units)


def _transfer_moved(ledger: Ledger, record: TransferMoved) -> None:
    margin = ledger.margin
    transfer = margin.collateral.transfers[record.key]
    before = secured_units(transfer)
    happening = TransferHappening(record.happening)
    margin.collateral.happen(record.key, happening, record.units, record.reference)
    account = transfer.terms.account
    if units := secured_units(transfer) - before:
        ledger.accounts[account].move_cash(transfer.terms.asset, units)
    if transfer.terms.source.place is Place.CLIENT:
        watch = margin.watch(account)
        if happening is TransferHappening.REVERSED:
            watch.take_back(record.key)
        elif record.value_units:
            watch.pay(record.key, record.value_units, transfer.call_id)
        margin.note_time(watch)


def _assigned(ledger: Ledger, record: CollateralAssigned) -> None:
    _begun(ledger, record)
    ledger.margin.note_assignment(record)


def _answered(ledger: Ledger, record: MarginCallAnswered) -> None:
    if record.happening:  # else it had been said before
        _decided(ledger, record)


def _currency_set(ledger: Ledger, record: AccountCurrencySet) -> None:
    ledger.accounts[record.account].currency = record.currency


APPLIES: Final[dict[type, Callable[[Ledger, Any], None]]] = {
    MarginStateMoved: _decided,
    MarginCalled: _decided,
    MarginCallMoved: _decided,
    MarginCallAnswered: _answered,
    TransferBegun: _begun,
    TransferMoved: _transfer_moved,
    AssignmentCancelled: _transfer_moved,
    CollateralAssigned: _assigned,
    AccountCurrencySet: _currency_set,
}
