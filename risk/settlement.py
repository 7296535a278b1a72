"""What venues move beside fills, in money units: funding of perpetuals, and the cash of contracts that expire.

A venue knows one account, which here may be several. It charges that account's net position; each account's part
follows from its own lots, exactly: the parts always sum up to what the venue has moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from risk.instrument import UNITS_PER_WHOLE, Instrument


def split(total_units: int, lots: Sequence[int | Fraction]) -> list[int]:
    """Return each holder's part of what was charged on the sum of their signed lots, in whole units.

    parts[i] = total * lots[i] / sum(lots), rounded so that the parts sum up to the total: the fractions left over go,
    a unit each, to the largest fractions, and of equal ones to the first. Who holds against the sum gets the other
    sign: a long of 5 beside a short of 3 pays five halves of what the venue charges on 2.

    Raises
    ------
    ValueError
        If the lots sum up to nothing: there is no position that was charged.
    """
    net = sum(lots)
    if net == 0:
        raise ValueError(f"{total_units} units were charged on positions that sum up to nothing")
    sign = -1 if total_units < 0 else 1  # a charge is shared as a payment of the same size is
    return [sign * part for part in _rounded([Fraction(abs(total_units)) * held / net for held in lots])]


def delivery_units(instrument: Instrument, lots: Sequence[int | Fraction], delivery_price: Decimal) -> list[int]:
    """Return what each signed position brings when it is closed at a delivery price of the underlying, in money units.

    Their sum is the value of the sum of positions, rounded down once, against the client.
    """
    value = Fraction(instrument.lot_size) * Fraction(instrument.contract_size) * UNITS_PER_WHOLE
    price = closing_price(instrument, delivery_price)
    each = -value / price if instrument.is_inverse else value * price
    return _rounded([each * held for held in lots])


def closing_price(instrument: Instrument, delivery_price: Decimal) -> Fraction:
    """Return the price at which a contract ends: of an option what it pays, in coin where its price is in coin.

    Raises
    ------
    ValueError
        If the delivery price is no positive number.
    """
    if not delivery_price.is_finite() or delivery_price <= 0:
        raise ValueError(f"{instrument.symbol}: a delivery price of {delivery_price} can not be")
    price = Fraction(delivery_price)
    if instrument.strike is None or instrument.is_call is None:
        return price
    strike = Fraction(instrument.strike)
    pays = max(Fraction(0), price - strike if instrument.is_call else strike - price)
    return pays / price if instrument.settlement_currency == instrument.base_currency else pays


def _rounded(parts: Sequence[Fraction]) -> list[int]:
    """Round parts to whole numbers that sum up to their own sum, rounded down."""
    whole = [part.numerator // part.denominator for part in parts]
    total = sum(parts, Fraction(0))
    left = total.numerator // total.denominator - sum(whole)
    by_fraction = sorted(range(len(parts)), key=lambda i: whole[i] - parts[i])  # the largest fraction first, then order
    for at in by_fraction[:left]:
        whole[at] += 1
    return whole
