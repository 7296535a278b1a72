"""A position as lots and cash: profit is exact, additive over fills, and needs no average price."""

import msgspec

from risk.instrument import Instrument, Side


class Position(msgspec.Struct):
    """What one account holds of one instrument.

    `cash_units` is the sum of what its fills moved, in money units of the settlement currency, fees apart.
    """

    instrument: Instrument
    lots: int = 0
    cash_units: int = 0
    fee_units: int = 0
    bought_lots: int = 0
    sold_lots: int = 0

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
