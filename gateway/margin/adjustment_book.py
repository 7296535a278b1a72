"""What adjustments do to the book: which accounts are being adjusted, conversions, take-overs, deleveraging.

Part of the ledger: changed by records only. What moves between two accounts is booked in both by one record, and what
either gets the other gives, to the unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.records import guards as records
from gateway.records.base import Record
from risk.account import Account
from risk.collateral_ledger import Location, Place
from risk.instrument import Instrument, Side

if TYPE_CHECKING:
    from gateway.ledger import Ledger

# What a client has given stays given, and what is on its way arrives where it was sent.
NOT_OURS: Final = frozenset({Place.CLIENT, Place.TRANSIT})


class Adjustment(msgspec.Struct):
    """One account that is being adjusted: until when, and how far that has come."""

    account: str
    required_bps: int
    reason: str
    begun_ns: int
    steps: int = 0


def cross(giver: Account, taker: Account, instrument: Instrument, lots: int, ticks: int) -> None:
    """Book a trade of signed lots of the giver with the taker, without fees; a unit lost in rounding is the taker's."""
    currency, side = instrument.settlement_currency, (Side.SELL if lots > 0 else Side.BUY)
    before = giver.cash_units.get(currency, 0) + taker.cash_units.get(currency, 0)
    giver.book_fill(instrument, side, abs(lots), ticks, 0)
    taker.book_fill(instrument, Side.BUY if lots > 0 else Side.SELL, abs(lots), ticks, 0)
    after = giver.cash_units.get(currency, 0) + taker.cash_units.get(currency, 0)
    taker.move_cash(currency, before - after)


def _begun(ledger: Ledger, record: records.AdjustmentBegun) -> None:
    known = ledger.adjustments.get(record.account)
    if known is not None:  # another target; its time goes on
        known.required_bps, known.reason = record.required_bps, record.reason
        return
    begun = Adjustment(record.account, record.required_bps, record.reason, ledger.time_ns)
    ledger.adjustments[record.account] = begun


def _stepped(ledger: Ledger, record: records.AdjustmentStepped) -> None:
    ledger.adjustments[record.account].steps = record.number


def _ended(ledger: Ledger, record: records.AdjustmentEnded) -> None:
    ledger.adjustments.pop(record.account, None)


def _converted(ledger: Ledger, record: records.CashConverted) -> None:
    client, house = ledger.accounts[record.account], ledger.accounts[record.house]
    ours, theirs = Location(Place.HOUSE, "", record.house), Location(Place.HOUSE, "", record.account)
    for currency, units in ((record.sold, -record.sold_units), (record.bought, record.bought_units)):
        client.move_cash(currency, units)
        house.move_cash(currency, -units)
        ledger.margin.collateral.post(currency, units, ours, theirs)


def _handed_over(ledger: Ledger, record: records.AccountHandedOver) -> None:
    client, house = ledger.accounts[record.account], ledger.accounts[record.house]
    for index, lots, ticks in record.positions:
        cross(client, house, ledger.instruments[index], lots, ticks)
    for currency, units in list(client.cash_units.items()):
        client.move_cash(currency, -units)
        house.move_cash(currency, units)
    collateral = ledger.margin.collateral
    for (asset, at), units in list(collateral.balances.items()):
        if at.account == record.account and at.place not in NOT_OURS:  # wherever it is, it is the house's from now on
            collateral.post(asset, units, at, Location(at.place, at.name, record.house))


def _deleveraged(ledger: Ledger, record: records.Deleveraged) -> None:
    house, other = ledger.accounts[record.account], ledger.accounts[record.counterparty]
    cross(house, other, ledger.instruments[record.instrument], record.lots, record.ticks)


APPLIES: Final[dict[type[Record], Callable[[Ledger, Any], None]]] = {
    records.AdjustmentBegun: _begun,
    records.AdjustmentStepped: _stepped,
    records.AdjustmentEnded: _ended,
    records.CashConverted: _converted,
    records.AccountHandedOver: _handed_over,
    records.Deleveraged: _deleveraged,
}
