"""Journal records of what venues move beside whole fills: funding, deliveries, fills finer than lots or ticks, and what
nobody can explain. Tags 205 to 214.

Part of gateway.records, which has the rules for them.
"""

from __future__ import annotations

from gateway.records.base import Record


class FundingBooked(Record, frozen=True, tag=205):
    """A venue has charged (negative) or paid funding on the net position of its sub-account; applied once by its id.

    `shares` are (account, money units) and sum up to `units`; there are none where no account held the instrument then.
    `as_of_ns` is the venue's time of it. `session_units`: it ends a session, in which the venue has booked so much.
    """

    venue: str
    settlement_id: str
    instrument: int
    units: int
    shares: tuple[tuple[str, int], ...]
    as_of_ns: int
    session_units: int | None = None


class PositionsDelivered(Record, frozen=True, tag=206):
    """A contract has ended: all that accounts hold of it is closed at the delivery price of its underlying.

    `shares` are (account, lots, odd quantity, money units moved, fee in money units). Without any the price alone is
    known, for fills of before the end that are told later.
    """

    venue: str
    settlement_id: str
    instrument: int
    delivery_price: str
    shares: tuple[tuple[str, int, str, int, int], ...]
    as_of_ns: int


class FilledExactly(Record, frozen=True, tag=207):
    """An execution of which quantity or price is no whole number of lots or ticks; as Filled, to the last digit.

    `moved_units` is the cash that it moves, fee apart.
    """

    order_id: str
    venue: str
    trade_id: str
    quantity: str
    price: str
    moved_units: int
    fee_units: int
    is_maker: bool
    traded_ns: int = 0


class BookingNoted(Record, frozen=True, tag=210):
    """A venue lists something of which we do not know what it means: a break was raised, and nothing was booked.

    It is known by its id from then on, so that it is told once.
    """

    venue: str
    settlement_id: str
    symbol: str
    kind: str
    amount: str
    currency: str
    reason: str
    as_of_ns: int


class BookingsKnown(Record, frozen=True, tag=211):
    """All that a venue has listed of a scope until a time, by its clock, is in the journal before this record."""

    venue: str
    scope: str
    until_ns: int


SettlementRecord = FundingBooked | PositionsDelivered | FilledExactly | BookingNoted | BookingsKnown
