"""Bybit's funding, which is told as an execution, and its list of deliveries, as bookings."""

from __future__ import annotations

from typing import Final

import msgspec

from protocols.venues.bybit_decode import ExecutionWire
from protocols.venues.events import ContractDelivered, FundingBooked
from protocols.venues.fields import ZERO, decimal_of, optional, positive, since_epoch_ns, time_of

FUNDING: Final = "Funding"
DELIVERY: Final = "Delivery"
# What of the executions says that there is a delivery to ask for.
ENDS: Final = frozenset({"Delivery", "Settle"})


class DeliveryWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    delivery_time: int
    delivery_price: str
    fee: str = ""


DELIVERY_RECORD: Final = msgspec.json.Decoder(DeliveryWire)


def funding_of(wire: ExecutionWire, settlement: str) -> FundingBooked:
    """Return a funding; its fee is positive where it was paid."""
    amount, time_ns = -decimal_of(wire.exec_fee, "execFee"), time_of(wire.exec_time, "execTime")
    return FundingBooked(wire.symbol, wire.exec_id, amount, wire.fee_currency or settlement, time_ns)


def delivery_of(wire: DeliveryWire) -> ContractDelivered:
    """Return the end of a contract, which ends once: the venue gives its record no id."""
    price, fee = positive(wire.delivery_price, "deliveryPrice"), optional(wire.fee, "fee") or ZERO
    time_ns = since_epoch_ns(wire.delivery_time, "deliveryTime")
    return ContractDelivered(wire.symbol, f"{wire.symbol}-{wire.delivery_time}", price, fee, "", time_ns)
