"""Portfolio shapes: what each gains, per dollar of notional, when its factors move. Both sides where sides differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from scipy.special import ndtr

from risk.fhs.factors import Factor, FactorKind
from risk.fhs.underlying import DAYS_PER_YEAR, carry_loading
from risk.volatility.refusals import Floats

SPOT, VOL, CARRY, BASIS = FactorKind.SPOT, FactorKind.VOL, FactorKind.CARRY, FactorKind.BASIS
# Days to expiry of the dated future and of the options that shapes are made of, each opened anew every evening.
FUTURE_DAYS: Final = 90
OPTION_DAYS: Final = 30
STRANGLE_STRIKES: Final = (0.9, 1.1)

# (moves by factor [N], implied volatility today by underlying, days that pass) -> profit [N] per dollar of notional.
Profit = Callable[[Mapping[Factor, Floats], Mapping[str, float], float], Floats]


@dataclass(frozen=True)
class Shape:
    """One portfolio: its name, the factors that move it, what it gains."""

    name: str
    factors: tuple[Factor, ...]
    profit: Profit

    @property
    def needs_implied(self) -> tuple[str, ...]:
        """Underlyings of which an implied volatility is needed."""
        return tuple(sorted({factor.underlying for factor in self.factors if factor.kind is VOL}))


def single_shapes(underlying: str) -> tuple[Shape, ...]:
    """The shapes of one underlying."""
    spot, vol = Factor(underlying, SPOT), Factor(underlying, VOL)
    carry, basis = Factor(underlying, CARRY), Factor(underlying, BASIS)
    return (
        Shape(f"{underlying} long", (spot,), lambda m, iv, d: np.expm1(m[spot])),
        Shape(f"{underlying} short", (spot,), lambda m, iv, d: -np.expm1(m[spot])),
        Shape(f"{underlying} calendar spread, long the future", (spot, carry), _calendar(spot, carry, 1.0)),
        Shape(f"{underlying} calendar spread, short the future", (spot, carry), _calendar(spot, carry, -1.0)),
        Shape(f"{underlying} short strangle", (spot, vol), _strangle(spot, vol)),
        Shape(f"{underlying} delta-hedged short gamma", (spot, vol), _hedged_straddle(spot, vol)),
        Shape(f"{underlying} cross-venue pair, long the perpetual", (spot, basis), _pair(spot, basis, 1.0)),
        Shape(f"{underlying} cross-venue pair, short the perpetual", (spot, basis), _pair(spot, basis, -1.0)),
    )


def hedge_shapes(one: str, other: str) -> tuple[Shape, ...]:
    """The hedges between two underlyings, dollar against dollar."""
    return (_hedge(one, other), _hedge(other, one))


def shapes_of(underlyings: tuple[str, ...]) -> tuple[Shape, ...]:
    """All shapes: each underlying's, and hedges between neighbours of the list."""
    found: list[Shape] = []
    for underlying in underlyings:
        found += single_shapes(underlying)
    for one, other in pairwise(underlyings):
        found += hedge_shapes(one, other)
    return tuple(found)


def _hedge(long: str, short: str) -> Shape:
    bought, sold = Factor(long, SPOT), Factor(short, SPOT)
    name = f"hedge, long {long} short {short}"
    return Shape(name, (bought, sold), lambda m, iv, d: np.expm1(m[bought]) - np.expm1(m[sold]))


def _calendar(spot: Factor, carry: Factor, side: float) -> Profit:
    loading = carry_loading(FUTURE_DAYS / DAYS_PER_YEAR)
    return lambda m, iv, d: side * np.exp(m[spot]) * np.expm1(loading * m[carry])


def _pair(spot: Factor, basis: Factor, side: float) -> Profit:
    # The other leg is at the index, where a venue of no basis of its own would be.
    return lambda m, iv, d: side * np.exp(m[spot]) * -np.expm1(-m[basis])


def _strangle(spot: Factor, vol: Factor) -> Profit:
    low, high = STRANGLE_STRIKES

    def value(price: Floats, iv: Floats, years: float) -> Floats:
        call, _ = black_76(price, high, iv, years)
        _, put = black_76(price, low, iv, years)
        return call + put

    return _sold(spot, vol, value, delta=False)


def _hedged_straddle(spot: Factor, vol: Factor) -> Profit:
    def value(price: Floats, iv: Floats, years: float) -> Floats:
        call, put = black_76(price, 1.0, iv, years)
        return call + put

    return _sold(spot, vol, value, delta=True)


def _sold(spot: Factor, vol: Factor, value: Callable[[Floats, Floats, float], Floats], *, delta: bool) -> Profit:
    """Sold at today's price, bought back after the move; the hedge, where there is one, is set today and kept."""

    def profit(moves: Mapping[Factor, Floats], implied: Mapping[str, float], days: float) -> Floats:
        today, years = np.array([implied[spot.underlying]]), OPTION_DAYS / DAYS_PER_YEAR
        left = max(OPTION_DAYS - days, 0.0) / DAYS_PER_YEAR
        one = np.ones(1)
        gained = value(one, today, years) - value(np.exp(moves[spot]), today * np.exp(moves[vol]), left)
        if not delta:
            return gained
        bump = 1e-4
        slope = (value(one + bump, today, years) - value(one - bump, today, years)) / (2.0 * bump)
        return np.asarray(gained + slope * np.expm1(moves[spot]))

    return profit


def black_76(price: Floats, strike: float, vol: Floats, years: float) -> tuple[Floats, Floats]:
    """Undiscounted values of a call and a put on a future at `price` [N], with `vol` [N], in the price's currency."""
    deviation = np.maximum(vol * np.sqrt(years), 1e-9)
    d1 = np.log(price / strike) / deviation + deviation / 2.0
    call = price * ndtr(d1) - strike * ndtr(d1 - deviation)
    return call, call - price + strike
