"""Limits of one account. What has no limit may not be traded: an absent row refuses."""

from fnmatch import fnmatchcase
from math import inf

import msgspec

from risk.instrument import Instrument


class InstrumentLimits(msgspec.Struct, frozen=True, gc=False):
    """Largest order and largest position (either way, working orders included), in lots."""

    max_order_lots: int
    max_position_lots: int


class RowTerms(msgspec.Struct, frozen=True, gc=False):
    """What a row of a margin kernel may have: an account, a desk, a firm, or an account at one venue.

    USD at the marks of the risk arrays, with working orders at their worst. `rate` is one over the leverage chosen at
    a venue. `position_lots` is by instrument index, None for no limit; an instrument that it lacks may not be traded.
    """

    rate: float = 0.0
    offset_cap: float = 0.0
    max_order_notional: float = inf
    max_gross_notional: float = inf
    max_net_notional: float = inf
    max_margin: float = inf
    max_working_orders: int = 1 << 60
    position_lots: dict[int, int] | None = None


class LimitRule(msgspec.Struct, frozen=True, gc=False):
    """A limit as set up: by symbol pattern, in the instrument's own quantity."""

    symbol: str
    max_order_quantity: float
    max_position_quantity: float


class Limits(msgspec.Struct):
    """All limits of one account; `by_instrument` is filled as instruments are listed."""

    max_order_notional: float
    max_working_orders: int
    rules: tuple[LimitRule, ...]
    by_instrument: dict[int, InstrumentLimits] = msgspec.field(default_factory=dict)
    closed_venues: frozenset[str] = frozenset()  # where this account may not trade, whatever the rules say

    def list_instrument(self, instrument: Instrument) -> None:
        """Work out the limits of a newly listed instrument: the first rule that matches; none means not permitted."""
        self.by_instrument.pop(instrument.index, None)  # what was listed in its place before counts no more
        for rule in self.rules if instrument.venue not in self.closed_venues else ():
            if fnmatchcase(instrument.symbol, rule.symbol):
                lot = float(instrument.lot_size)
                self.by_instrument[instrument.index] = InstrumentLimits(
                    max_order_lots=int(rule.max_order_quantity / lot + 1e-9),
                    max_position_lots=int(rule.max_position_quantity / lot + 1e-9),
                )
                return
