"""What Deribit has booked in a simulated world beside trades, and that the book has it: once, whole, nothing else."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

from fixtures.venues.core.contracts import decimal_of
from fixtures.venues.deribit_log import LogRow
from gateway import records
from gateway.records.settlements import BookingNoted, FundingBooked, PositionsDelivered
from risk.instrument import UNITS_PER_WHOLE, decimal_from_units

if TYPE_CHECKING:
    from tests.simulator import World

VENUE = "deribit"
CLIENT = "margingate"
# Of the venue's smallest unit of cash, 1e-8.
ROUNDING = Decimal("0.00000002")


def _id(row: LogRow) -> str:
    return f"{row.currency}-{row.id}"


def fundings_of(world: World) -> dict[str, LogRow]:
    """The rows that funding is part of, or that end a session of it, by their id in our journal."""
    rows = [row for row in world.venue.log(CLIENT) if row.kind in ("trade", "liquidation", "settlement")]
    return {_id(row): row for row in rows if row.interest or (row.session_interest is not None and _is_perpetual(row))}


def _is_perpetual(row: LogRow) -> bool:
    return (row.instrument or "").endswith("-PERPETUAL")


def deliveries_of(world: World) -> dict[str, LogRow]:
    """The rows of positions that have ended, by instrument."""
    return {row.instrument or "": row for row in world.venue.log(CLIENT) if row.kind == "delivery"}


def is_of_support(record: records.AnyRecord) -> bool:
    """Whether a break is of a row by which the venue has corrected trades, of which its support has told."""
    return isinstance(record, records.BreakRaised) and ": correction of " in record.text


def all_is_booked(world: World) -> bool:
    """Whether all that the venue has booked up to its last settlement has come; what trades bring comes in an hour."""
    ledger = world.core.ledger
    ended = {ledger.by_symbol[name].index for name in deliveries_of(world)}
    settled = [row.time_ns for row in world.venue.log(CLIENT) if row.kind == "settlement"]
    last_ns = max(settled, default=0)
    due = [name for name, row in fundings_of(world).items() if row.time_ns <= last_ns]
    return ended <= ledger.settlements.delivery_prices.keys() and all(
        ledger.settlements.knows(VENUE, name) for name in due
    )


def has_what_the_venue_booked(world: World, history: list[records.AnyRecord]) -> None:
    """Fundings and deliveries are the venue's, each once; its cash is our fills, funding and deliveries together."""
    ledger = world.core.ledger
    theirs = fundings_of(world)
    ours = [record for record in history if isinstance(record, FundingBooked) and record.venue == VENUE]
    assert len({record.settlement_id for record in ours}) == len(ours), "booked twice"
    for record in ours:
        row = theirs[record.settlement_id]
        assert ledger.instruments[record.instrument].symbol == row.instrument
        assert decimal_from_units(record.units) == decimal_of(row.interest or 0), f"{record}: the venue has {row}"
        assert sum(units for _, units in record.shares) == record.units, f"shared in part: {record}"
    delivered = [record for record in history if isinstance(record, PositionsDelivered) and record.venue == VENUE]
    named = [ledger.instruments[one.instrument].symbol for one in delivered if not one.settlement_id.startswith("late")]
    assert sorted(named) == sorted(deliveries_of(world)), f"delivered {named}"
    for record in delivered:
        row = deliveries_of(world)[ledger.instruments[record.instrument].symbol]
        assert float(record.delivery_price) == row.price
    strange = [record for record in history if isinstance(record, BookingNoted) and record.kind != "correction"]
    assert not strange, f"nobody can explain {strange}"
    _has_the_same_cash(world, history, {record.settlement_id for record in ours})


def _has_the_same_cash(world: World, history: list[records.AnyRecord], known: set[str]) -> None:
    """The venue's cash less what positions have cost is what moved here, but for funding that we have not read yet."""
    ledger = world.core.ledger
    moved: Counter[str] = Counter()
    count = 1
    for record in history:
        if isinstance(record, FundingBooked) and record.venue == VENUE:
            moved[ledger.instruments[record.instrument].settlement_currency] += sum(units for _, units in record.shares)
        elif isinstance(record, PositionsDelivered) and record.venue == VENUE:
            currency = ledger.instruments[record.instrument].settlement_currency
            moved[currency] += sum(units - fee for _, _, _, units, fee in record.shares)
        elif isinstance(record, records.Filled | records.TradeBusted | records.TradeCorrected):
            order = ledger.orders[record.order_id]
            if order.instrument.venue == VENUE:
                moved[order.instrument.settlement_currency] += _units_of(record, order)
        else:
            continue
        count += 1
    account = world.venue.account(CLIENT)
    assert account is not None
    for currency, opening in world.opening.items():
        costs = sum(position.session_cost for position in account.in_currency(currency))
        unlisted = sum(p.funding - p.funding_told for p in account.in_currency(currency))
        unlisted += sum(
            row.interest or 0
            for name, row in fundings_of(world).items()
            if name not in known and row.currency == currency
        )
        held = account.balances[currency] + account.session_profit[currency] - costs - unlisted
        theirs, mine = decimal_of(held) - opening, Decimal(moved[currency]) / UNITS_PER_WHOLE
        # Both sides round a fraction of their smallest unit on each fill of an inverse contract, and on each fee.
        assert abs(theirs - mine) <= count * ROUNDING, f"{currency}: the venue moved {theirs}, we {mine}"


def _units_of(record: records.Filled | records.TradeBusted | records.TradeCorrected, order: object) -> int:
    """The cash that a fill has moved here, its fee taken off; of a correction, the difference."""
    cash = order.instrument.cash_units  # type: ignore[attr-defined]
    side = order.side  # type: ignore[attr-defined]
    was: int = cash(side, record.lots, record.ticks) - record.fee_units
    if isinstance(record, records.Filled):
        return was
    if isinstance(record, records.TradeBusted):
        return -was
    is_now: int = cash(side, record.new_lots, record.new_ticks) - record.new_fee_units
    return is_now - was
