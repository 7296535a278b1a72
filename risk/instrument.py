"""Contracts, and the place where decimal quantities, prices and amounts become integers.

Inside, a quantity is a number of *lots*, a price a number of *ticks*, and money a number of *units* of 1e-8 of its
currency. An Instrument knows its own scales; the FIX codec counts its steps straight from the wire with them.

Value convention ("lots and cash"): a position is worth so much a lot at the mark, and a fill moves cash by
`cash_units(side, lots, ticks)`. Profit is value plus cash, so it is additive over fills, and needs no average price.
A linear contract is worth lots * ticks * scale: exact. An inverse contract is worth *minus* its face value in coin,
-face / price; that is the one division, and it is rounded against the client.
"""

from decimal import Context, Decimal
from enum import IntEnum
from fractions import Fraction
from itertools import pairwise
from math import isfinite
from typing import Final

import msgspec

# Money is counted in 1e-8 of any currency: a satoshi, and finer than any exchange books a stablecoin.
MONEY_DECIMALS: Final = 8
UNITS_PER_WHOLE: Final = 10**MONEY_DECIMALS
WHOLE_PER_UNIT: Final = 1 / UNITS_PER_WHOLE
_UNIT: Final = Decimal(1).scaleb(-MONEY_DECIMALS)

# Amounts, prices, quantities and their steps lie between 1e-30 and 1e30. The default context's 28 digits would round
# the quotient of two such numbers without a word; this one holds it whole.
MAX_MAGNITUDE: Final = 30
_EXACT: Final = Context(prec=4 * MAX_MAGNITUDE)

# Deribit, OKX and Bybit cap an option's fee at this share of its premium (docs of the venues, 2026).
OPTION_FEE_CAP: Final = Decimal("0.125")


class Kind(IntEnum):
    """What sort of contract an instrument is."""

    SPOT = 0
    PERPETUAL = 1
    FUTURE = 2
    OPTION = 3


class Side(IntEnum):
    """FIX Side(54)."""

    BUY = 1
    SELL = 2

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


def units_from_decimal(amount: Decimal) -> int:
    """Return `amount` of a currency in money units.

    Raises
    ------
    ValueError
        If the amount is not finite, out of bounds, or finer than one unit: money is never rounded silently.
    """
    if not amount.is_finite() or amount.adjusted() >= MAX_MAGNITUDE:
        raise ValueError(f"amount {amount} is not finite or out of bounds")
    units, rest = _EXACT.divmod(amount, _UNIT)
    if rest:
        raise ValueError(f"amount {amount} is finer than 1e-{MONEY_DECIMALS}")
    return int(units)


def fee_units_from_decimal(fee: Decimal) -> int:
    """Return a fee in money units; venues book fees finer than a unit, and the fraction goes against the client."""
    if not fee.is_finite() or fee.adjusted() >= MAX_MAGNITUDE:
        raise ValueError(f"fee {fee} is not finite or out of bounds")
    units, rest = _EXACT.divmod(fee, _UNIT)
    return int(units) + (rest > 0)


def decimal_from_units(units: int) -> Decimal:
    """Return money units as an exact decimal amount of the currency."""
    return _EXACT.scaleb(Decimal(units), -MONEY_DECIMALS)


def units_against_client(amount: float) -> int:
    """Return a float amount in money units, rounded down: what the client has is never overstated.

    This is the one way back from float64 (pricing, margin) into integer money.
    """
    if not isfinite(amount):
        raise ValueError("a margin amount is not finite")
    scaled = amount * UNITS_PER_WHOLE
    return int(scaled // 1)


class Instrument(msgspec.Struct, frozen=True):
    """One tradable contract.

    `index` is its row in every risk array. `value_numerator / value_denominator` is its value scale.
    """

    index: int
    symbol: str
    venue: str
    kind: Kind
    is_inverse: bool
    underlying: str
    base_currency: str
    quote_currency: str
    settlement_currency: str
    tick_size: Decimal
    lot_size: Decimal
    contract_size: Decimal
    # Above each price (in ticks) the step grows to so many ticks, ascending.
    tick_steps: tuple[tuple[int, int], ...]
    maker_fee: Decimal
    taker_fee: Decimal
    strike: Decimal | None = None
    is_call: bool | None = None
    expiry_ns: int | None = None
    is_open: bool = True
    # Scales in money units, filled in by `make_instrument`; integers, so that value is exact.
    value_numerator: int = 0
    value_denominator: int = 1
    # Exponents for printing: price = ticks * tick_mantissa * 10**tick_exponent; the same for lots.
    tick_mantissa: int = 1
    tick_exponent: int = 0
    lot_mantissa: int = 1
    lot_exponent: int = 0
    # The value scale, a lot's amount and a tick as float; what bounds a fee: a share of value, for options an amount.
    value_scale: float = 0.0
    lot_amount: float = 0.0
    tick: float = 0.0
    fee_rate: float = 0.0
    option_fee_per_lot: float = 0.0

    @property
    def is_option(self) -> bool:
        """Whether the contract is an option."""
        return self.kind is Kind.OPTION

    @property
    def pair(self) -> str:
        """What its price is of, and in: coin and quote currency; of an option, whose price is in coin, its index's."""
        quote = "USD" if self.quote_currency == self.base_currency else self.quote_currency
        return f"{self.underlying}/{quote}"

    def cash_units(self, side: Side, lots: int, ticks: int) -> int:
        """Return the change of cash in money units of the settlement currency when `lots` trade at `ticks`.

        Linear (and option premiums): a buy pays lots * ticks * scale, exactly. Inverse: a buy is credited the face
        value in coin, face / price, since the position it gains is worth minus that. Any fraction of a unit goes
        against the client.
        """
        sign = 1 if side is Side.BUY else -1
        if self.is_inverse:
            return (sign * lots * self.value_numerator) // (ticks * self.value_denominator)
        return -sign * lots * ticks * self.value_numerator

    def exact_cash_units(self, side: Side, quantity: Decimal, price: Decimal) -> int:
        """Return `cash_units` of any quantity and price; any fraction of a unit goes against the client."""
        size = Fraction(quantity) * Fraction(self.contract_size) * UNITS_PER_WHOLE
        moved = side.sign * size / Fraction(price) if self.is_inverse else -side.sign * size * Fraction(price)
        return moved.numerator // moved.denominator

    def fill_cash(self, side: Side, lots: int, ticks: int) -> float:
        """Return an upper bound against the client of the cash a fill moves, fee taken off, in whole currency.

        The float twin of `cash_units`, for margin: no more than what one fill moves, but for float rounding (1e-15 of
        the value). The fraction of a unit that an inverse fill loses is taken off as a whole one. Fees of futures are
        the taker rate times value. Options: the venue's cap on the premium bounds the fee whatever the index does; a
        premium in coin is bounded by the flat rate too.
        """
        if self.is_inverse:
            value = lots * self.value_scale / ticks
            fee = value * self.fee_rate + WHOLE_PER_UNIT
        else:
            value = lots * ticks * self.value_scale
            fee = value * self.fee_rate
        if self.option_fee_per_lot and fee > lots * self.option_fee_per_lot:
            fee = lots * self.option_fee_per_lot
        # Bought linear and sold inverse contracts cost cash; the other two bring it.
        return (value if (side is Side.BUY) is self.is_inverse else -value) - fee

    def notional(self, lots: int, price: float, index_price: float) -> float:
        """Return the notional of `lots` in the quote currency of its underlying (USD), as float.

        Inverse contracts: their face value. Options: underlying amount times index. Others: amount times price.
        """
        amount = lots * self.lot_amount
        if self.is_inverse:
            return amount
        if self.kind is Kind.OPTION:
            return amount * index_price
        return amount * price

    def step_down(self, ticks: int) -> int:
        """Return the highest price on the tick scheme that is not above `ticks`."""
        return ticks - ticks % self._step_at(ticks)

    def step_up(self, ticks: int) -> int:
        """Return the lowest price on the tick scheme that is not below `ticks`."""
        return ticks + -ticks % self._step_at(ticks)

    def _step_at(self, ticks: int) -> int:
        step = 1
        for above, multiple in self.tick_steps:
            if ticks > above:
                step = multiple
        return step

    def ticks_are_on_step(self, ticks: int) -> bool:
        """Whether a price is allowed by the tick scheme (steps grow above set prices)."""
        return ticks % self._step_at(ticks) == 0

    def ticks_from_decimal(self, price: Decimal) -> int | None:
        """Return a price in ticks, or None where it is no whole number of ticks."""
        return _whole(price, self.tick_size)

    def lots_from_decimal(self, quantity: Decimal) -> int | None:
        """Return a quantity in lots, or None where it is no whole number of lots."""
        return _whole(quantity, self.lot_size)

    def price(self, ticks: int) -> Decimal:
        """Return a price in ticks as an exact decimal."""
        return self.tick_size * ticks

    def quantity(self, lots: int) -> Decimal:
        """Return a quantity in lots as an exact decimal."""
        return self.lot_size * lots


def _whole(amount: Decimal, step: Decimal) -> int | None:
    if not amount.is_finite() or not -MAX_MAGNITUDE < amount.adjusted() < MAX_MAGNITUDE:
        return None
    whole, rest = _EXACT.divmod(amount, step)
    return None if rest else int(whole)


def _mantissa(step: Decimal) -> tuple[int, int]:
    sign, digits, exponent = step.normalize().as_tuple()
    if sign or not isinstance(exponent, int):
        raise ValueError(f"step {step} is not a positive number")
    return int("".join(map(str, digits))), exponent


def make_instrument(
    *,
    index: int,
    symbol: str,
    venue: str,
    kind: Kind,
    is_inverse: bool,
    underlying: str,
    base_currency: str,
    quote_currency: str,
    settlement_currency: str,
    tick_size: Decimal,
    lot_size: Decimal,
    contract_size: Decimal = Decimal(1),
    tick_steps: tuple[tuple[Decimal, Decimal], ...] = (),
    maker_fee: Decimal = Decimal(0),
    taker_fee: Decimal = Decimal(0),
    strike: Decimal | None = None,
    is_call: bool | None = None,
    expiry_ns: int | None = None,
    is_open: bool = True,
) -> Instrument:
    """Return an Instrument with its scales worked out.

    Raises
    ------
    ValueError
        If a step is not positive, a fee not finite, an option lacks strike, type or expiry, tick steps do not ascend or
        meet, or one tick on one lot is worth no whole number of money units (its profit could not be exact).
    """
    _check_numbers(symbol, tick_size, lot_size, contract_size, maker_fee, taker_fee)
    _check_kind(symbol, kind, is_inverse, strike, is_call, expiry_ns)
    numerator, denominator = _value_scale(symbol, is_inverse, tick_size, lot_size * contract_size)
    tick_mantissa, tick_exponent = _mantissa(tick_size)
    lot_mantissa, lot_exponent = _mantissa(lot_size)
    fee = max(taker_fee, maker_fee, Decimal(0))
    is_coin_option = kind is Kind.OPTION and settlement_currency == base_currency
    return Instrument(
        index=index,
        symbol=symbol,
        venue=venue,
        kind=kind,
        is_inverse=is_inverse,
        underlying=underlying,
        base_currency=base_currency,
        quote_currency=quote_currency,
        settlement_currency=settlement_currency,
        tick_size=tick_size,
        lot_size=lot_size,
        contract_size=contract_size,
        tick_steps=_steps(symbol, tick_steps, tick_size),
        maker_fee=maker_fee,
        taker_fee=taker_fee,
        strike=strike,
        is_call=is_call,
        expiry_ns=expiry_ns,
        is_open=is_open,
        value_numerator=numerator,
        value_denominator=denominator,
        tick_mantissa=tick_mantissa,
        tick_exponent=tick_exponent,
        lot_mantissa=lot_mantissa,
        lot_exponent=lot_exponent,
        tick=float(tick_size),
        lot_amount=float(lot_size * contract_size),
        value_scale=numerator / denominator / UNITS_PER_WHOLE,
        fee_rate=float(OPTION_FEE_CAP if kind is Kind.OPTION else fee),
        option_fee_per_lot=float(fee * lot_size * contract_size) if is_coin_option else 0.0,
    )


def _check_numbers(
    symbol: str, tick_size: Decimal, lot_size: Decimal, contract_size: Decimal, maker_fee: Decimal, taker_fee: Decimal
) -> None:
    for name, step in (("tick_size", tick_size), ("lot_size", lot_size), ("contract_size", contract_size)):
        if not step.is_finite() or step <= 0 or not -MAX_MAGNITUDE < step.adjusted() < MAX_MAGNITUDE:
            raise ValueError(f"{symbol}: {name} {step} is not a positive number within bounds")
    if not (maker_fee.is_finite() and taker_fee.is_finite()):
        raise ValueError(f"{symbol}: a fee of {maker_fee} or {taker_fee} is not finite")


def _check_kind(
    symbol: str, kind: Kind, is_inverse: bool, strike: Decimal | None, is_call: bool | None, expiry_ns: int | None
) -> None:
    if kind is Kind.OPTION and (strike is None or not strike.is_finite() or strike <= 0 or is_call is None):
        raise ValueError(f"{symbol}: an option needs a positive strike and a type")
    if kind in (Kind.OPTION, Kind.FUTURE) and expiry_ns is None:
        raise ValueError(f"{symbol}: a contract with a term needs its expiry")
    if is_inverse and kind is Kind.OPTION:
        raise ValueError(f"{symbol}: an option is priced in its settlement currency and is never inverse")


def _value_scale(symbol: str, is_inverse: bool, tick_size: Decimal, lot_value: Decimal) -> tuple[int, int]:
    """Return (numerator, denominator) of the value scale in money units.

    Linear: units for one lot and one tick. Inverse: units = lots * numerator / (ticks * denominator).
    """
    if is_inverse:
        return (Fraction(lot_value) * UNITS_PER_WHOLE / Fraction(tick_size)).as_integer_ratio()
    scale = (tick_size * lot_value).scaleb(MONEY_DECIMALS)
    if scale != scale.to_integral_value():
        raise ValueError(f"{symbol}: one tick on one lot is worth no whole 1e-{MONEY_DECIMALS}: profit not exact")
    return int(scale), 1


def _steps(
    symbol: str, tick_steps: tuple[tuple[Decimal, Decimal], ...], tick_size: Decimal
) -> tuple[tuple[int, int], ...]:
    steps = tuple(_step(symbol, above, step, tick_size) for above, step in tick_steps)
    for (low, below), (high, multiple) in pairwise(((-1, 1), *steps)):
        # A boundary is a price of the steps on both its sides, so that rounding within a band never leaves it.
        if low >= high or high % below or high % multiple:
            raise ValueError(f"{symbol}: tick steps {tick_steps} do not ascend, or do not meet at their boundaries")
    return steps


def _step(symbol: str, above: Decimal, step: Decimal, tick_size: Decimal) -> tuple[int, int]:
    above_ticks, multiple = _whole(above, tick_size), _whole(step, tick_size)
    if above_ticks is None or multiple is None or multiple < 1:
        raise ValueError(f"{symbol}: tick step {step} above {above} is no multiple of the tick {tick_size}")
    return above_ticks, multiple
