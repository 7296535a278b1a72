"""What the gateway shows of margin calls, transfers and collateral: rows of the status page, made in slices."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from typing import Any, Final

from gateway.margin.book import MarginBook
from gateway.margin.figures import text_of
from risk.calls import Call
from risk.collateral_ledger import Transfer
from risk.instrument import UNITS_PER_WHOLE
from risk.margin_watch import MarginWatch
from risk.telling import IN_USD, Quote

# Watches, transfers and balances looked at in a step: some 1 us each.
LOOKED_AT_A_STEP: Final = 250
# Rows told at the most, the most urgent first.
TOLD: Final = 200

Row = dict[str, Any]


def margin_in_steps(book: MarginBook, shown: Row) -> Iterator[None]:
    """Fill in `calls`, `transfers` and `collateral`, with counts of all of them."""
    open_calls: list[tuple[int, str, str]] = []
    outstanding_units = 0
    states: dict[str, int] = {}
    for number, watch in enumerate(list(book.watches.values()), 1):
        states[watch.state.value] = states.get(watch.state.value, 0) + 1
        if watch.call_count:
            for call in watch.open_calls:
                open_calls.append((call.deadline_ns, watch.account, call.call_id))
                outstanding_units += call.outstanding_units
        if number % LOOKED_AT_A_STEP == 0:
            yield
    shown["calls_open"] = len(open_calls)
    shown["called_usd"] = outstanding_units / UNITS_PER_WHOLE
    shown["margin_states"] = states
    urgent = nsmallest(TOLD, open_calls)
    yield
    shown["calls"] = [
        call_row(account, book.watches[account].calls[call_id], book.watches[account], book.quote(account, call_id))
        for _, account, call_id in urgent
        if call_id in book.watches[account].calls  # it may have been forgotten since
    ]
    yield
    live = list(book.collateral.live())
    shown["transfers"] = [transfer_row(one) for one in nsmallest(TOLD, live, key=lambda one: one.due_ns)]
    shown["transfers_live"] = len(live)
    shown["transfers_unknown"] = sum(one.state.value == "unknown" for one in live)
    yield
    totals: dict[str, dict[str, int]] = {}
    # Balances may move between two slices: a sum that is not zero is looked at again, in one go, before it is told.
    balances = book.collateral.balances
    for number, key in enumerate(list(balances), 1):
        asset, location = key
        by_place = totals.setdefault(asset, {})
        by_place[location.place.value] = by_place.get(location.place.value, 0) + balances.get(key, 0)
        if number % LOOKED_AT_A_STEP == 0:
            yield
    shown["collateral"] = [
        collateral_row(asset, by_place, book.collateral.total(asset) if sum(by_place.values()) else 0)
        for asset, by_place in sorted(totals.items())
    ]


def call_row(account: str, call: Call, watch: MarginWatch, quote: Quote = IN_USD) -> Row:
    """Return one open call, in USD; `told` is what its account is told of it."""
    amounts = {"amount": call.amount_units, "outstanding": call.outstanding_units}
    told = {name: text_of(quote, quote.needs(units / UNITS_PER_WHOLE)) for name, units in amounts.items()}
    return {
        "account": account,
        "call": call.call_id,
        "state": call.state.value,
        "amount_usd": call.amount_units / UNITS_PER_WHOLE,
        "paid_usd": call.paid_units / UNITS_PER_WHOLE,
        "outstanding_usd": call.outstanding_units / UNITS_PER_WHOLE,
        "told": {"currency": quote.currency, **told},
        "deadline_ns": call.deadline_ns,
        "margin_state": watch.state.value,
    }


def transfer_row(one: Transfer) -> Row:
    """Return one transfer on its way, in wholes of its asset."""
    terms = one.terms
    ends = [f"{end.place.value} {end.name}".rstrip() for end in (terms.source, terms.target)]
    return {
        "transfer": terms.key,
        "account": terms.account,
        "asset": terms.asset,
        "amount": terms.units / UNITS_PER_WHOLE,
        "settled": one.settled_units / UNITS_PER_WHOLE,
        "state": one.state.value,
        "from": ends[0],
        "to": ends[1],
        "call": one.call_id,
        "due_ns": one.due_ns,
    }


def collateral_row(asset: str, by_place: dict[str, int], imbalance_units: int) -> Row:
    """Return where an asset is, in wholes; `imbalance_units` is the sum over all places, which is zero, always."""
    return {
        "asset": asset,
        "places": {place: units / UNITS_PER_WHOLE for place, units in sorted(by_place.items()) if units},
        "imbalance_units": imbalance_units,
    }
