"""A position as lots and cash: profit is exact, additive over fills, and needs no average price."""

from decimal import Decimal
from fractions import Fraction

import msgspec

from risk.instrument import Instrument, Side

NOTHING_ODD = Decimal(0)  # what most positions have: the compiled mirror knows it by identity


class Position(msgspec.Struct):
    """What one account holds of one instrument.

    `cash_units` is the sum of what its fills moved, in money units of the settlement currency, fees apart.
    `odd_quantity` is what venues have filled beside whole lots: signed, less than a lot, in the unit of quantities.
    """

    instrument: Instrument
    lots: int = 0
    cash_units: int = 0
    fee_units: int = 0
    bought_lots: int = 0
    sold_lots: int = 0
    odd_quantity: Decimal = NOTHING_ODD

    @property
    def exact_lots(self) -> Fraction:
        """The signed position in lots, what is less than one included."""
        return self.lots + Fraction(self.odd_quantity) / Fraction(self.instrument.lot_size)

    @property
    def held(self) -> float:
        """The same as the margin kernels take it; whole lots stay whole numbers."""
        return float(self.exact_lots) if self.odd_quantity else self.lots

    @property
    def quantity(self) -> Decimal:
        """The signed position in the unit of quantities, exactly."""
        return self.instrument.quantity(self.lots) + self.odd_quantity

    def apply_exact(self, side: Side, quantity: Decimal, moved_units: int, fee_units: int) -> int:
        """Book a fill that is of no whole lots or ticks, with the cash that it moved; return the whole lots gained."""
        total = self.odd_quantity + side.sign * quantity
        lots = int(total / self.instrument.lot_size)
        self.odd_quantity = (total - self.instrument.quantity(lots)) or NOTHING_ODD
        self.lots += lots
        self.cash_units += moved_units
        self.fee_units += fee_units
        if side is Side.BUY:
            self.bought_lots += lots
        else:
            self.sold_lots -= lots
        return lots

    def close(self, moved_units: int, fee_units: int) -> None:
        """Book the end of the contract: nothing is held any more, and this much cash was moved by it."""
        if self.lots > 0:
            self.sold_lots += self.lots
        else:
            self.bought_lots -= self.lots
        self.lots, self.odd_quantity = 0, NOTHING_ODD
        self.cash_units += moved_units
        self.fee_units += fee_units

    def apply_fill(self, side: Side, lots: int, ticks: int, fee_units: int) -> int:
        """Book a fill; return the change of the account's cash in money units, fee taken off."""
        cash = self.instrument.cash_units(side, lots, ticks)
        self.cash_units += cash
        self.fee_units += fee_units
        if side is Side.BUY:
            self.lots += lots
            self.bought_lots += lots
        else:
            self.lots -= lots
            self.sold_lots += lots
        return cash - fee_units

    def reverse_fill(self, side: Side, lots: int, ticks: int, fee_units: int) -> int:
        """Take back what `apply_fill` booked for the same fill, to the unit; return the change of cash."""
        cash = self.instrument.cash_units(side, lots, ticks)
        self.cash_units -= cash
        self.fee_units -= fee_units
        if side is Side.BUY:
            self.lots -= lots
            self.bought_lots -= lots
        else:
            self.lots += lots
            self.sold_lots -= lots
        return fee_units - cash

    def profit_units(self, mark_ticks: int) -> int:
        """Return profit before fees in money units, as if closed at `mark_ticks`; fractions go against the client."""
        if self.lots == 0:
            return self.cash_units
        closing_side = Side.SELL if self.lots > 0 else Side.BUY
        return self.cash_units + self.instrument.cash_units(closing_side, abs(self.lots), mark_ticks)
