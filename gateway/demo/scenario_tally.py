"""What a scenario came to: counted from the journal as it is replayed, held against what was to be expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gateway import records
from gateway.demo.scenario import Expected, Party, Scenario
from gateway.journal import Record
from gateway.ledger import Ledger
from gateway.records.guards import AccountHandedOver, CashConverted
from gateway.records.margin import MarginCalled, TransferBegun
from risk.calls import CallState
from risk.collateral_ledger import Place
from risk.lifecycle import OrdStatus

# What is sold further from the coin's price than this was sold on a bad mark.
BAD_MARK: Final = 0.05
# States of margin in which nothing is asked of an account.
AT_EASE: Final = ("healthy", "warned")


class AccountFigures(msgspec.Struct):
    """What happened to one client; amounts in USD. `paid` is what settled for its calls."""

    account: str
    called_usd: float = 0.0
    calls: int = 0
    met: int = 0
    expired: int = 0
    superseded: int = 0
    paid_usd: float = 0.0
    reductions: int = 0
    reduced_usd: float = 0.0
    least_equity_usd: float | None = None
    ends: str = ""


class ScenarioFigures(msgspec.Struct):
    """The table at the end; amounts in USD."""

    calls_issued: int = 0
    calls_met: int = 0
    calls_expired: int = 0
    calls_superseded: int = 0
    called_usd: float = 0.0
    transfers_begun: int = 0
    transfers_settled: int = 0
    conversions: int = 0
    reductions: int = 0
    reduced_on_bad_marks: int = 0
    handed_over: int = 0
    doubted: int = 0
    least_equity_usd: float | None = None
    collateral_adds_up: bool = False
    left_unknown: int = 0
    stale_venues: list[str] = []
    ends: dict[str, str] = {}
    called: list[str] = []
    reduced: list[str] = []
    accounts: list[AccountFigures] = []


class ScenarioTally:
    """Counts records on their way to a replay, and equities as they are told."""

    def __init__(self, scenario: Scenario, begins_ns: int, length_ns: int) -> None:
        self.scenario = scenario
        self.begins_ns, self.length_ns = begins_ns, length_ns
        self.figures = ScenarioFigures()
        self.least: dict[str, float] = {}
        self.own = Counter[str]()  # orders of the gateway's own: accepted, filled, cancelled
        self._own_orders: dict[str, tuple[str, int]] = {}
        self._entries: dict[tuple[str, int], tuple[float, float]] = {}
        self._orders: dict[str, tuple[str, int]] = {}
        self._sales: list[tuple[str, int, int, float, int]] = []
        self._called: set[str] = set()
        self._converted: set[str] = set()

    def told(self, rows: Iterable[dict[str, Any]]) -> None:
        """Take the accounts of a snapshot: what each has been worth at the least."""
        for row in rows:
            if row["equity"] is not None:
                name = row["account"]
                self.least[name] = min(self.least.get(name, row["equity"]), row["equity"])

    def stood(self, venues: dict[str, str]) -> None:
        """Take the states of venues, by the names that the scenario has for them."""
        for venue, state in venues.items():
            if state == "stale" and venue not in self.figures.stale_venues:
                self.figures.stale_venues.append(venue)

    def watched(self, journal: Iterable[Record]) -> Iterator[Record]:
        """Pass a journal on."""
        for entry in journal:
            record = records.decode(entry.payload)
            self._take(record, entry.time_ns)
            yield entry

    def _take(self, record: records.AnyRecord, time_ns: int) -> None:
        figures = self.figures
        if isinstance(record, MarginCalled):
            figures.calls_issued += 1
            figures.called_usd += record.amount_units / 1e8
            self._called.add(record.account)
        elif isinstance(record, TransferBegun):
            figures.transfers_begun += 1
        elif isinstance(record, CashConverted):
            figures.conversions += 1
            self._converted.add(record.account)
        elif isinstance(record, AccountHandedOver):
            figures.handed_over += 1
        elif isinstance(record, records.OrderApproved):
            self._orders[record.order_id] = (record.account, record.instrument)
            if not record.session:
                self._own_orders[record.order_id] = (record.account, record.instrument)
                self.own["accepted"] += 1
        elif isinstance(record, records.Filled):
            self._filled(record, time_ns)
        elif isinstance(record, records.Cancelled) and record.order_id in self._own_orders:
            self.own["cancelled"] += 1

    def _filled(self, record: records.Filled, time_ns: int) -> None:
        if record.order_id in self._own_orders:
            account, instrument = self._own_orders[record.order_id]
            self.own["fills"] += 1
            self._sales.append((account, instrument, record.lots, float(record.ticks), time_ns))
        elif record.order_id in self._orders:
            lots, ticks = self._entries.get(self._orders[record.order_id], (0.0, 0.0))
            self._entries[self._orders[record.order_id]] = (lots + record.lots, ticks + record.lots * record.ticks)

    def of(self, ledger: Ledger, counters: dict[str, Any]) -> ScenarioFigures:
        """Return the table, once the ledger is rebuilt; `counters` are the gateway's own."""
        figures = self.figures
        calls = [call for watch in ledger.margin.watches.values() for call in watch.calls.values()]
        figures.calls_met = sum(call.state is CallState.MET for call in calls)
        figures.calls_expired = sum(call.state is CallState.EXPIRED for call in calls)
        figures.calls_superseded = sum(call.state is CallState.SUPERSEDED for call in calls)
        transfers = ledger.margin.collateral.transfers.values()
        figures.transfers_settled = sum(one.state.value == "settled" for one in transfers)
        figures.reductions = len(self._sales)
        figures.reduced = sorted({account for account, *_ in self._sales} | self._converted)
        figures.reduced_on_bad_marks = sum(self._is_bad(ledger, *sale) for sale in self._sales)
        figures.left_unknown = sum(order.status is OrdStatus.UNKNOWN for order in ledger.working_orders())
        figures.doubted = counters["marks_doubted"]
        figures.least_equity_usd = min(self.least.values(), default=None)
        figures.collateral_adds_up = not misfits(ledger)
        figures.ends = {party.name: ledger.margin.watch(party.name).state.value for party in self.scenario.account}
        figures.called = sorted(self._called)
        figures.accounts = [self._account(ledger, party.name) for party in self.scenario.account]
        return figures

    def _account(self, ledger: Ledger, name: str) -> AccountFigures:
        watch = ledger.margin.watch(name)
        calls = list(watch.calls.values())
        found = AccountFigures(name, calls=len(calls), ends=watch.state.value, least_equity_usd=self.least.get(name))
        found.called_usd = sum(call.amount_units for call in calls) / 1e8
        found.met = sum(call.state is CallState.MET for call in calls)
        found.expired = sum(call.state is CallState.EXPIRED for call in calls)
        found.superseded = sum(call.state is CallState.SUPERSEDED for call in calls)
        found.paid_usd = sum(call.paid_units for call in calls) / 1e8
        sales = [sale for sale in self._sales if sale[0] == name]
        found.reductions = len(sales)
        for _, index, lots, ticks, _ in sales:
            instrument = ledger.instruments[index]
            price = ticks * float(instrument.tick_size)
            found.reduced_usd += instrument.notional(lots, price, price)
        return found

    def _is_bad(self, ledger: Ledger, account: str, index: int, lots: int, ticks: float, time_ns: int) -> bool:
        """Whether a price is far from what the scenario made the coin worth at that time, seen from the opening."""
        entry = self._entries.get((account, index))
        if entry is None or not entry[0]:
            return False
        share = (time_ns - self.begins_ns) / self.length_ns
        instrument = ledger.instruments[index]
        in_stablecoins = instrument.settlement_currency in ("USDC", "USDT")
        fair = self.scenario.shape.factor(instrument.base_currency, share, in_stablecoins=in_stablecoins)
        return abs(ticks / (entry[1] / entry[0]) / fair - 1.0) > BAD_MARK


_ROWS: Final = (
    ("calls issued", "calls_issued"),
    ("called, USD", "called_usd"),
    ("calls met", "calls_met"),
    ("calls expired", "calls_expired"),
    ("calls superseded: the market came back", "calls_superseded"),
    ("transfers begun", "transfers_begun"),
    ("transfers settled", "transfers_settled"),
    ("conversions of clients' coins", "conversions"),
    ("reductions: fills of our own orders", "reductions"),
    ("of them on a bad mark", "reduced_on_bad_marks"),
    ("handed over", "handed_over"),
    ("marks not believed", "doubted"),
    ("least equity of a client, USD", "least_equity_usd"),
)


def table_of(figures: ScenarioFigures) -> Table:
    """Return the table of the summary."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("scenario")
    table.add_column("", justify="right")
    for text, name in _ROWS:
        value = getattr(figures, name)
        table.add_row(text, "-" if value is None else f"{value:,.0f}")
    table.add_row("collateral adds up to the last unit", "yes" if figures.collateral_adds_up else "NO")
    return table


_ACCOUNT_ROWS: Final = (
    ("calls", "calls"),
    ("called, USD", "called_usd"),
    ("calls met", "met"),
    ("calls expired", "expired"),
    ("calls superseded", "superseded"),
    ("paid, USD", "paid_usd"),
    ("reductions", "reductions"),
    ("reduced, USD", "reduced_usd"),
    ("least equity, USD", "least_equity_usd"),
)


def accounts_of(figures: ScenarioFigures) -> Table:
    """Return what happened to each client, in a column: so that 80 characters show all of it."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("client")
    for one in figures.accounts:
        table.add_column(one.account, justify="right")
    for text, name in _ACCOUNT_ROWS:
        values = [getattr(one, name) for one in figures.accounts]
        table.add_row(text, *("-" if value is None else f"{value:,.0f}" for value in values))
    table.add_row("margin at the end", *(one.ends.replace("_", " ") for one in figures.accounts))
    return table


def misfits(ledger: Ledger) -> list[str]:
    """Return the assets that do not add up, over all places and against the cash of all accounts, to the last unit."""
    collateral, found = ledger.margin.collateral, []
    for asset in sorted({asset for asset, _ in collateral.balances}):
        if collateral.total(asset) != 0:
            found.append(f"{asset}: {collateral.total(asset)} units over all places")
        given = -sum(n for (one, at), n in collateral.balances.items() if one == asset and at.place is Place.CLIENT)
        open_units = sum(
            one.open_units
            for one in collateral.live()
            if one.terms.asset == asset and Place.CLIENT in (one.terms.source.place, one.terms.target.place)
        )
        cash = traded = 0
        for account in ledger.accounts.values():
            cash += account.cash_units.get(asset, 0)
            traded += sum(
                position.cash_units - position.fee_units
                for position in account.positions.values()
                if position.instrument.settlement_currency == asset
            )
        if cash != given - open_units + traded:
            found.append(f"{asset}: accounts have {cash} units, of {given - open_units} given and {traded} traded")
    return found


def claims(scenario: Scenario, figures: ScenarioFigures) -> list[tuple[bool, str]]:
    """Return (does it hold, text) of everything that was to be expected."""
    found = [_within(scenario.expected, figures, name) for name in _BOUNDED]
    told = [claim for claim in found if claim is not None]
    told += [(name in figures.stale_venues, f"{name} was seen to be stale") for name in scenario.expected.stale_venues]
    told += [_ended(party, figures) for party in scenario.account]
    least = figures.least_equity_usd
    return [
        *told,
        (figures.left_unknown == 0, f"{figures.left_unknown} orders of unknown outcome are left"),
        (figures.reduced_on_bad_marks == 0, f"{figures.reduced_on_bad_marks} reductions on a bad mark"),
        (least is not None and least >= 0, f"no client's equity was below zero: {least or 0:,.0f} USD at the least"),
        (figures.collateral_adds_up, "collateral adds up over all places, to the last unit"),
    ]


_BOUNDED: Final = {
    "calls_issued": "calls issued",
    "calls_met": "calls met",
    "calls_expired": "calls expired",
    "transfers_begun": "transfers",
    "conversions": "conversions",
    "reductions": "reductions",
    "doubted": "marks not believed",
}


def _within(expected: Expected, figures: ScenarioFigures, name: str) -> tuple[bool, str] | None:
    bounds, number = getattr(expected, name), getattr(figures, name)
    if bounds is None:
        return None
    low, high = bounds
    wanted = f"{low}" if low == high else f"{low} to {high}" if high < 1_000_000 else f"{low} or more"
    return low <= number <= high, f"{number} {_BOUNDED[name]}, of {wanted}"


def _ended(party: Party, figures: ScenarioFigures) -> tuple[bool, str]:
    state = figures.ends.get(party.name, "unknown")
    was_called, was_reduced = party.name in figures.called, party.name in figures.reduced
    is_as_called = was_called is party.called
    if party.ends == "healthy":
        is_right = state in AT_EASE and not was_reduced
    else:
        is_right = was_reduced or state in ("restricted", "adjusting")
    how = ", ".join(
        ["called" if was_called else "never called", *(["reduced"] if was_reduced else []), f"ends {state}"]
    )
    return is_right and is_as_called, f"{party.name}: {how.replace('_', ' ')}"
