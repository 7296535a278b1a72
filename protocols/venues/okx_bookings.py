"""OKX's bills as bookings: funding fees, deliveries of futures and exercises of options, each with an id of its own."""

from __future__ import annotations

from typing import Final

import msgspec

from protocols.venues.events import ContractDelivered, FundingBooked
from protocols.venues.fields import ZERO, FieldError, decimal_of, optional, positive, time_of

FUNDING: Final = "8"
DELIVERY: Final = "3"
BILL_TYPES: Final = (FUNDING, DELIVERY)
# delivery long and short; exercised, exercised by the counterparty, expired worthless
DELIVERED: Final = frozenset({"112", "113", "170", "171", "172"})
# What balance_and_position says when there is a bill to ask for.
BOOKED_EVENTS: Final = frozenset({"funding_fee", "delivered", "exercised"})


class BillWire(msgspec.Struct, gc=False, rename="camel"):
    bill_id: str
    inst_id: str
    type: str
    sub_type: str
    ccy: str
    bal_chg: str
    ts: str
    px: str = ""
    fee: str = ""


class JointWire(msgspec.Struct, gc=False, rename="camel"):
    event_type: str


BILLS: Final = msgspec.json.Decoder(list[BillWire])
JOINT: Final = msgspec.json.Decoder(list[JointWire])


def booking_of(wire: BillWire) -> FundingBooked | ContractDelivered:
    """Return what a bill is of. `px` of a delivery is the price of the underlying, and a fee is negative where paid."""
    time_ns = time_of(wire.ts, "ts")
    if wire.type == FUNDING:
        return FundingBooked(wire.inst_id, wire.bill_id, decimal_of(wire.bal_chg, "balChg"), wire.ccy, time_ns)
    if wire.sub_type not in DELIVERED:
        raise FieldError(f"subType: {wire.sub_type[:40]!r} of bill {wire.bill_id[:40]} is none that is known")
    fee = -(optional(wire.fee, "fee") or ZERO)
    return ContractDelivered(wire.inst_id, wire.bill_id, positive(wire.px, "px"), fee, wire.ccy, time_ns)
