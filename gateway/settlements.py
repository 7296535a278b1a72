"""What venues move beside fills becomes records: funding of perpetuals, and the end of contracts.

A venue knows one net position, which here may be several accounts'. What it books is shared by what each of them held
when it did so, exactly (risk.settlement); the same notice comes by its stream and in its answers, and counts once by
the venue's id. A contract ends once: what is held of it is closed at the delivery price, and a fill of before the end
that is told afterwards is closed at the same price.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from gateway import booking_lists, records
from gateway.booking_lists import FundingSessions
from gateway.records.settlements import FundingBooked, PositionsDelivered
from protocols.venues import events
from risk.instrument import Instrument, Side, fee_units_from_decimal
from risk.settlement import delivery_units, split

if TYPE_CHECKING:
    from gateway.executions import Executions
    from gateway.ledger import Ledger
    from gateway.pipeline import Pipeline

# Ids of bookings are told again for as long as sessions look back: hours, of which each has few.
IDS_KEPT: Final = 200_000
# Venues publish a delivery within minutes; a position that is still here later is a break.
DELIVERED_WITHIN_NS: Final = 900 * 1_000_000_000
# The venue's clock may be so much ahead of ours.
EARLIEST_NS: Final = 5 * 1_000_000_000


class Settlements:
    """Part of the ledger: bookings by (venue, id), the oldest forgotten, and at what price contracts have ended."""

    __slots__ = ("_ids", "delivery_prices", "known_until_ns", "opened_ns", "sessions")

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.delivery_prices: dict[int, str] = {}  # by instrument index
        self.opened_ns = 0  # what was booked before the first start is in the deposits of then
        self.known_until_ns: dict[tuple[str, str], int] = {}  # by venue and scope: how far its list was read
        self.sessions = FundingSessions()

    def knows(self, venue: str, settlement_id: str) -> bool:
        """Whether a booking has been applied."""
        return (venue, settlement_id) in self._ids

    def remember(self, venue: str, settlement_id: str) -> None:
        """Know a booking as applied."""
        self._ids[venue, settlement_id] = None
        if len(self._ids) > IDS_KEPT:
            self._ids.popitem(last=False)

    def known_until(self, venue: str) -> dict[str, int]:
        """Return by scope until when all that a venue has listed was taken, by the venue's clock."""
        return {scope: until_ns for (name, scope), until_ns in self.known_until_ns.items() if name == venue}

    def parts(self) -> list[Any]:
        """Return what a state hash is of."""
        prices, known = sorted(self.delivery_prices.items()), sorted(self.known_until_ns.items())
        return [list(self._ids), prices, self.opened_ns, known, self.sessions.parts()]


def awaited(ledger: Ledger, symbol: str, now_ns: int) -> bool:
    """Whether a contract has just ended, and its venue has not told at what price: until then positions may differ."""
    instrument = ledger.by_symbol.get(symbol)
    if instrument is None or instrument.expiry_ns is None or instrument.index in ledger.settlements.delivery_prices:
        return False
    return instrument.expiry_ns - EARLIEST_NS <= now_ns < instrument.expiry_ns + DELIVERED_WITHIN_NS


# -- what a venue says -------------------------------------------------------------------------------------------------


def _news_of(
    executions: Executions, event: events.FundingBooked | events.ContractDelivered, what: str, now_ns: int
) -> Instrument | None:
    """Return what a booking is of; None where it was booked before, or is of nothing that is known: that is a break."""
    ledger, venue = executions.pipeline.ledger, executions.venue
    if ledger.settlements.knows(venue, event.settlement_id) or event.time_ns < ledger.settlements.opened_ns:
        return None
    instrument = ledger.by_symbol.get(event.symbol)
    if instrument is not None and instrument.venue == venue:
        return instrument
    if executions.is_strange(f"{what} {event.settlement_id}"):
        executions.raise_break(event.symbol, f"{what} {event.settlement_id} of an unknown instrument", now_ns)
    return None


def _funding(executions: Executions, event: events.FundingBooked, now_ns: int) -> None:
    pipeline, venue = executions.pipeline, executions.venue
    instrument = _news_of(executions, event, "funding", now_ns)
    if instrument is None:
        return
    units = _units(event.amount)
    holders: dict[str, Fraction] = {}
    trouble = ""
    if event.currency not in ("", instrument.settlement_currency):
        trouble = f"is in {event.currency}"
    else:
        holders = _holders(executions, instrument, event.time_ns)
        if not holders and units:
            trouble = "was booked on a position that nobody has here"
    parts = split(units, list(holders.values())) if holders else []
    shares = tuple(zip(holders, parts, strict=True))
    total = None if event.session_total is None else _units(event.session_total)
    booked = FundingBooked(venue, event.settlement_id, instrument.index, units, shares, event.time_ns, total)
    pipeline.commit(booked, now_ns)
    for name in holders:
        pipeline.touched_accounts[name] = None
    if trouble:
        text = f"funding {event.settlement_id} of {event.amount} {event.currency} {trouble}"
        executions.raise_break(event.symbol, text, now_ns)


def _holders(executions: Executions, instrument: Instrument, at_ns: int) -> dict[str, Fraction]:
    """Return what each account held at the venue's time `at_ns`; of now where that sums up to nothing."""
    pipeline, venue = executions.pipeline, instrument.venue
    now = dict(held_there(pipeline.ledger, instrument))
    then = dict(now)
    for trade in pipeline.reports.trades.latest(at_ns - (executions.clock_offset_ns or 0)):
        is_later = not trade.traded_ns or trade.traded_ns >= at_ns
        if is_later and trade.instrument.index == instrument.index and trade.source == venue:
            gained = trade.exact_lots if trade.side == Side.BUY else -trade.exact_lots
            then[trade.account] = then.get(trade.account, Fraction(0)) - gained
    for found in (then, now):
        if sum(found.values()):
            return {name: lots for name, lots in sorted(found.items()) if lots}
    return {}


def held_there(ledger: Ledger, instrument: Instrument) -> Iterator[tuple[str, Fraction]]:
    """Yield what each account holds of an instrument at its venue: without what is held elsewhere."""
    for name, account in ledger.accounts.items():
        position = account.positions.get(instrument.index)
        if position is not None:
            lots = position.exact_lots - ledger.external_lots.get((name, instrument.index), 0)
            if lots:
                yield name, lots


def _units(amount: Decimal) -> int:
    """Return an amount in money units; venues book finer ones, and a fraction of a unit goes against the client."""
    return -fee_units_from_decimal(-amount)


def _delivered(executions: Executions, event: events.ContractDelivered, now_ns: int) -> None:
    pipeline, ledger = executions.pipeline, executions.pipeline.ledger
    instrument = _news_of(executions, event, "delivery", now_ns)
    if instrument is None:
        return
    known = ledger.settlements.delivery_prices.get(instrument.index)
    if known is not None and Decimal(known) == event.delivery_price:
        return  # a fill that is told later is closed by `deliver_late_fills`
    if known is not None:
        text = f"delivery {event.settlement_id} is at {event.delivery_price}, and one before it was at {known}"
        if executions.is_strange(text):
            executions.raise_break(event.symbol, text, now_ns)
        return
    fee = event.fee if event.fee_currency in ("", instrument.settlement_currency) else Decimal(0)
    if event.fee and not fee:
        text = f"delivery {event.settlement_id} has its fee in {event.fee_currency}"
        executions.raise_break(event.symbol, text, now_ns)
    fee_units = fee_units_from_decimal(fee)
    _deliver(pipeline, instrument, event.settlement_id, event.delivery_price, fee_units, event.time_ns, now_ns)


def _deliver(
    pipeline: Pipeline,
    instrument: Instrument,
    settlement_id: str,
    price: Decimal,
    fee_units: int,
    as_of_ns: int,
    now_ns: int,
) -> None:
    """Close what all accounts hold of a contract; who holds more bears more of the fee, long or short."""
    held = [
        (name, position)
        for name, account in pipeline.ledger.accounts.items()
        if (position := account.positions.get(instrument.index)) is not None and position.held
    ]
    lots = [position.exact_lots for _, position in held]
    moved = delivery_units(instrument, lots, price)
    fees = split(fee_units, [abs(each) for each in lots]) if lots else []
    shares = tuple(
        (name, position.lots, str(position.odd_quantity), units, fee)
        for (name, position), units, fee in zip(held, moved, fees, strict=True)
    )
    place = (instrument.venue, settlement_id, instrument.index, str(price))
    pipeline.commit(PositionsDelivered(*place, shares, as_of_ns), now_ns)
    for name, _ in held:
        pipeline.touched_accounts[name] = None


def deliver_late_fills(pipeline: Pipeline, venue: str, now_ns: int) -> None:
    """Close what fills of before the end have left of contracts whose delivery was booked before they were told."""
    ledger = pipeline.ledger
    prices = ledger.settlements.delivery_prices
    if not prices:
        return
    # By what is held, which is bounded, and not by what has ended, which grows with the years.
    late = {
        index
        for account in ledger.accounts.values()
        for index, position in account.positions.items()
        if index in prices and position.held and position.instrument.venue == venue
    }
    for index in sorted(late):
        instrument = ledger.instruments[index]
        _deliver(pipeline, instrument, f"late:{instrument.symbol}", Decimal(prices[index]), 0, now_ns, now_ns)


def hear_strange_trade(executions: Executions, event: events.OrderFilled, now_ns: int) -> None:
    """Raise a break for a trade of no order of ours; one by which the venue has reduced the account restricts at once.

    Whose position the venue has reduced is a person's to say: it knows one account, which here may be several.
    """
    what = f"trade {event.trade_id} of {event.quantity}"
    if event.is_liquidation:
        text = f"{what}, {event.side} at {event.price}: the venue has liquidated our account"
        executions.restrict(event.symbol, text, now_ns)
    else:
        executions.raise_break(event.symbol, f"{what} is not ours", now_ns)


HEARS: Final[dict[type, Callable[[Executions, Any, int], None]]] = {
    events.FundingBooked: _funding,
    events.ContractDelivered: _delivered,
    **booking_lists.HEARS,
}


# -- the ledger --------------------------------------------------------------------------------------------------------


def _apply_funding(ledger: Ledger, record: FundingBooked) -> None:
    instrument = ledger.instruments[record.instrument]
    ledger.settlements.remember(record.venue, record.settlement_id)
    ledger.settlements.sessions.count(record)
    for name, units in record.shares:
        ledger.accounts[name].move_cash(instrument.settlement_currency, units, instrument.venue)


def _apply_delivery(ledger: Ledger, record: PositionsDelivered) -> None:
    instrument = ledger.instruments[record.instrument]
    ledger.settlements.remember(record.venue, record.settlement_id)
    ledger.settlements.delivery_prices[record.instrument] = record.delivery_price
    for name, _, _, units, fee_units in record.shares:
        ledger.accounts[name].deliver(instrument, units, fee_units)
        ledger.external_lots.pop((name, record.instrument), None)


APPLIES: Final[dict[type[records.Record], Callable[[Ledger, Any], None]]] = {
    FundingBooked: _apply_funding,
    PositionsDelivered: _apply_delivery,
    **booking_lists.APPLIES,
}
