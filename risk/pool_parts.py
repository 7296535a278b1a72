"""One lot of a contract as the pure models see it, and what a portfolio model makes of it on the order path."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec
import numpy as np

from risk.instrument import Instrument, Kind
from risk.models.portfolio import SECONDS_A_YEAR, Expiry, Portfolio, Position, Underlying
from risk.pool_terms import Fixed
from risk.pricing import Floats, InstrumentMark, settles_in_coin

NO_TIERS: Final[tuple[tuple[float, float, float, float], ...]] = ()


class PoolPart(msgspec.Struct, kw_only=True):
    """A lot's numbers; names as in pool_terms.PoolTerms. `features` is what the model's `fixed` reads."""

    move: Floats
    worth: float
    is_paid: bool = False
    expiry_s: float = 0.0
    a: float = 0.0
    a_of_sells: float = 0.0  # more than buys add
    b: float = 0.0
    d: float = 0.0
    g: float = 0.0
    g_of_sells: float = 0.0
    n: float = 0.0
    notional: float = 0.0
    scale: float = 0.0
    tiers: tuple[tuple[float, float, float, float], ...] = NO_TIERS
    features: tuple[float, ...] = ()


class Held(msgspec.Struct, frozen=True, gc=False):
    """Lots of a contract that are held: its expiry (0: none), the currency it hedges in, and its features."""

    lots: float
    expiry_ns: int
    leg: str
    features: tuple[float, ...]


class PoolModel(Protocol):
    """What a portfolio model says of contracts, assets and units."""

    size: int
    most_days: float
    steps: tuple[tuple[float, float], ...]

    @property
    def base(self) -> int:
        """The scenario in which nothing moves."""

    def pool_of(self, currency: str) -> str:
        """Return the pool in which a settlement currency counts, by what it is counted in."""

    def unit_of(self, instrument: Instrument) -> str:
        """Return the risk unit of an instrument."""

    def part(self, instrument: Instrument, mark: InstrumentMark) -> PoolPart:
        """Return an instrument's part, or raise ValueError or MarginError where the model has none."""

    def asset(self, currency: str) -> tuple[float, float]:
        """Return an asset's collateral rate, and what is asked for a unit of it that is owed."""

    def of_unit(self, unit: str, pool: str, spot: float) -> tuple[Floats, tuple[float, float, float]]:
        """Return what a unit's row begins with, and its delta shock."""

    def of_pool(self, pool: str, spot: float) -> tuple[bool, float, Floats]:
        """Return whether a pool nets its units, the share of a unit's gains that counts, and the most of it."""

    def fixed(self, unit: str, pool: str, spot: float, held: list[Held]) -> Fixed:
        """Return what a unit's positions ask for."""


class Lot(msgspec.Struct, frozen=True):
    """One lot as a position of the pure models, with the market that it needs."""

    instrument: Instrument
    position: Position
    portfolio: Portfolio

    @property
    def spot(self) -> float:
        """The underlying's USD index."""
        return self.portfolio.underlying(self.position.underlying).spot

    @property
    def worth(self) -> float:
        """What the lot is worth in its settlement currency: of a future what a fill at the mark would pay back."""
        held = self.position
        if held.style == "inverse":
            return -held.notional_qty / held.marked()
        return held.notional_qty * held.marked()


def lot_of(instrument: Instrument, mark: InstrumentMark, currency: str) -> Lot:
    """Return a lot in an account of a currency; a contract of another shape than the models' raises ValueError."""
    in_coin = settles_in_coin(instrument)
    is_option = instrument.is_option
    has_expiry = instrument.expiry_ns is not None
    expiry_s = mark.years_to_expiry * SECONDS_A_YEAR if has_expiry else None
    position = Position(
        instrument=instrument.symbol,
        kind=instrument.kind.name.lower(),  # type: ignore[arg-type]  # the names are the models'
        underlying=instrument.underlying,
        qty=1.0,
        contract_size=instrument.lot_amount,
        style="inverse" if instrument.is_inverse else "linear",
        settlement=instrument.underlying if in_coin else instrument.settlement_currency,
        mark=mark.mark_price,
        expiry_s=expiry_s,
        strike=None if instrument.strike is None else float(instrument.strike),
        option_type=("call" if instrument.is_call else "put") if is_option else None,
        vol=mark.mark_iv if is_option else None,
    )
    expiries = () if expiry_s is None else (Expiry(expiry_s=expiry_s, forward=mark.forward_price),)
    market = Underlying(spot=mark.index_price, expiries=expiries)
    return Lot(
        instrument, position, Portfolio(model="", currency=currency, underlyings={instrument.underlying: market})
    )


def future_or_option(instrument: Instrument) -> None:
    """Raise ValueError for spot."""
    if instrument.kind is Kind.SPOT:
        raise ValueError(f"{instrument.symbol}: no spot in this model")


def with_today(rows: Floats) -> Floats:
    """Return a lot's gains with one scenario more, in which nothing moves."""
    return np.append(rows, 0.0)


def leg_of(instrument: Instrument) -> str:
    """Return the dollar in which a contract is quoted: what settles in its coin is quoted in dollars themselves."""
    return "USD" if settles_in_coin(instrument) else instrument.settlement_currency
