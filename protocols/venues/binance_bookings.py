"""Binance's list of income as bookings, and the prices at which its dated futures are delivered.

The stream's ACCOUNT_UPDATE with reason FUNDING_FEE names neither symbol nor id for cross positions: it only says that
there is something to ask for. A delivery's income names no price; that comes from a list of its own.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocols.venues.binance_decode import TradeWire
from protocols.venues.events import ContractDelivered, FundingBooked
from protocols.venues.fields import NS_PER_MS, ZERO, FieldError, decimal_of, positive, since_epoch_ns

FUNDING: Final = "FUNDING_FEE"
DELIVERED: Final = "DELIVERED_SETTELMENT"  # the venue's own spelling
INCOME_TYPES: Final = (FUNDING, DELIVERED)
PAGE: Final = 1_000
# An order of the venue's own, by which it closes positions in what is delivered or taken off the list.
SETTLES: Final = "settlement_autoclose"
# The list of delivery prices is by day; an income belongs to the delivery that is nearest to it.
NEAREST_MS: Final = 12 * 3_600_000


class IncomeWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    income_type: str
    income: str
    asset: str
    time: int
    tran_id: int | str


class DeliveryWire(msgspec.Struct, gc=False, rename="camel"):
    delivery_time: int
    delivery_price: float | str


INCOME: Final = msgspec.json.Decoder(list[IncomeWire])
DELIVERIES: Final = msgspec.json.Decoder(list[DeliveryWire])


def booking_id(wire: IncomeWire) -> str:
    """Return what is the same whenever the venue tells of it; a transaction may move several symbols."""
    return f"{wire.income_type}-{wire.tran_id}-{wire.symbol}-{wire.asset}"


def funding_of(wire: IncomeWire) -> FundingBooked:
    amount, time_ns = decimal_of(wire.income, "income"), since_epoch_ns(wire.time, "time")
    return FundingBooked(wire.symbol, booking_id(wire), amount, wire.asset, time_ns)


def pair_of(symbol: str) -> str:
    """Return what a dated future's delivery prices are listed under: BTCUSDT of BTCUSDT_261225."""
    return symbol.partition("_")[0]


def delivery_by_trade(wire: TradeWire) -> ContractDelivered:
    """Return a contract's end by the trade with which the venue has closed what was held of it."""
    price, fee = positive(wire.price, "price"), decimal_of(wire.commission, "commission")
    time_ns = since_epoch_ns(wire.time, "time")
    return ContractDelivered(wire.symbol, f"settled-{wire.symbol}", price, fee, wire.commission_asset, time_ns)


def delivery_of(symbol: str, settlement_id: str, at_ms: int, wires: list[DeliveryWire]) -> ContractDelivered | None:
    """Return a contract's delivery, by the price nearest to when its income was booked; None while there is none."""
    near = min(wires, key=lambda wire: abs(wire.delivery_time - at_ms), default=None)
    if near is None or abs(near.delivery_time - at_ms) > NEAREST_MS:
        return None
    price = decimal_of(str(near.delivery_price), "deliveryPrice")
    if price <= 0:
        raise FieldError(f"deliveryPrice: {price}")
    return ContractDelivered(symbol, settlement_id, price, ZERO, "", at_ms * NS_PER_MS)
