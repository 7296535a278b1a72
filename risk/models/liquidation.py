"""Liquidation and bankruptcy prices.

Where margin is piecewise linear in the price (or in its inverse), the price is solved exactly, with the tier in force
at that price. For any other model the price is searched for, by moving the whole market of an underlying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Final, Literal

import msgspec

from risk.models.portfolio import Portfolio, moved
from risk.models.result import Liquidation, MarginError, MarginResult
from risk.models.tiers import TierTable

Basis = Literal["mark", "entry"]

# How far from today's price a search looks, and how fine its first grid is.
LOWEST: Final = 0.02
HIGHEST: Final = 10.0
GRID: Final = 48
MAX_STEPS: Final = 200
TOLERANCE: Final = 1e-10


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One position for the solver: qty > 0 long; coins for linear contracts, USD face for inverse.

    `fee` is a closing fee on the notional at the price, which some venues count into the maintenance margin.
    """

    qty: float
    entry: float
    tiers: TierTable
    fee: float = 0.0
    basis: Basis = "mark"
    is_inverse: bool = False

    def value(self, x: float) -> float:
        """Return the absolute notional at solver variable x (price, or 1 / price for inverse)."""
        return abs(self.qty) * x

    @property
    def entry_x(self) -> float:
        """Entry in the solver's variable."""
        return 1.0 / self.entry if self.is_inverse else self.entry

    def profit(self, x: float) -> float:
        """Return profit at x."""
        return self.qty * (self.entry_x - x) if self.is_inverse else self.qty * (x - self.entry_x)

    def maintenance(self, x: float) -> float:
        """Return the maintenance margin at x, with its fee."""
        at = self.entry_x if self.basis == "entry" else x
        return self.tiers.maintenance(self.value(at)) + self.fee * self.value(x)


def liquidation_price(legs: Sequence[Leg], wallet: float) -> float | None:
    """Return the price at which wallet + profit equals maintenance, or None where no price does.

    `wallet` is everything that does not move with this instrument: balance, less the margin of other positions, plus
    their profit. In hedge mode both legs are given. The function to solve is linear between the prices at which a
    leg changes its tier; of several roots the one nearest to the first leg's entry is returned.
    """
    is_inverse = legs[0].is_inverse
    if any(leg.is_inverse is not is_inverse for leg in legs):
        raise MarginError("unsupported", "linear and inverse legs have no common price")

    def excess(x: float) -> float:
        return wallet + sum(leg.profit(x) - leg.maintenance(x) for leg in legs)

    roots = _roots(excess, _breaks(legs))
    if not roots:
        return None
    centre = legs[0].entry_x
    x = min(roots, key=lambda root: abs(root - centre))
    return 1.0 / x if is_inverse else x


def bankruptcy_price(legs: Sequence[Leg], wallet: float) -> float | None:
    """Return the price at which wallet + profit - closing fees is zero, or None where no price does."""
    slope = sum(leg.profit(1.0) - leg.profit(0.0) - leg.fee * abs(leg.qty) for leg in legs)
    level = wallet + sum(leg.profit(0.0) for leg in legs)
    if slope == 0:
        return None
    x = -level / slope
    if x <= 0:
        return None
    return 1.0 / x if legs[0].is_inverse else x


def _breaks(legs: Iterable[Leg]) -> list[float]:
    """Return the points, ascending from zero, between which every leg stays in one tier."""
    found = {0.0}
    for leg in legs:
        if leg.basis == "mark" and leg.qty:
            for low, _, tier in leg.tiers.intervals():
                found.add(low / abs(leg.qty))
                if tier.mmr and tier.deduction:
                    found.add(tier.deduction / tier.mmr / abs(leg.qty))  # where a stated deduction meets zero
    return sorted(found)


def _roots(excess: Callable[[float], float], breaks: list[float]) -> list[float]:
    """Return the positive roots of a function that is linear between breaks and beyond the last."""
    roots = []
    for low, high in zip(breaks, [*breaks[1:], inf]):
        # Two points inside the piece: at a break the neighbouring tier might be read.
        width = high - low if high < inf else max(1.0, low)
        first, second = low + 0.25 * width, low + 0.75 * width
        at_first, at_second = excess(first), excess(second)
        slope = (at_second - at_first) / (second - first)
        if slope == 0:
            continue
        root = first - at_first / slope
        if root > 0 and low * (1 - 1e-12) <= root <= high * (1 + 1e-12):
            # One more step from beside the root: the line was drawn from afar.
            roots.append(root - excess(root) / slope)
    return roots


def search(
    evaluate: Callable[[Portfolio], MarginResult], portfolio: Portfolio, underlying: str
) -> tuple[Liquidation, ...]:
    """Return the nearest prices, below and above today's, at which equity falls to the maintenance margin.

    The whole market of the underlying moves in proportion, volatilities stay. Empty where an account is not solvent
    today, or stays so within LOWEST..HIGHEST times the price.
    """
    spot = _price(portfolio, underlying)

    def excess(factor: float) -> float:
        result = evaluate(moved(portfolio, underlying, factor))
        return result.equity - result.maintenance

    def equity(factor: float) -> float:
        return evaluate(moved(portfolio, underlying, factor)).equity

    if spot is None or not excess(1.0) > 0:
        return ()
    found = []
    for edge in (LOWEST, HIGHEST):
        bracket = _bracket(excess, edge)
        if bracket is None:
            continue
        factor, is_jump = _bisected(excess, *bracket, scale=_notional(portfolio, underlying, spot))
        end = _bracket(equity, edge)
        bankrupt = None if end is None else spot * _bisected(equity, *end, scale=1.0)[0]
        notional = _notional(portfolio, underlying, spot) * factor
        found.append(Liquidation(underlying, spot * factor, excess(factor), notional, bankrupt, is_jump))
    return tuple(found)


def _price(portfolio: Portfolio, underlying: str) -> float | None:
    if underlying in portfolio.underlyings:
        return portfolio.underlyings[underlying].spot
    return next((held.mark for held in portfolio.positions if held.underlying == underlying), None)


def _notional(portfolio: Portfolio, underlying: str, spot: float) -> float:
    """Return the gross notional of an underlying, at least one coin's: the scale of a price's exactness."""
    gross = spot
    for held in portfolio.positions:
        if held.underlying == underlying:
            gross += abs(held.notional_qty) * (1.0 if held.style == "inverse" else spot)
    return gross


def _bracket(function: Callable[[float], float], edge: float) -> tuple[float, float] | None:
    """Return (solvent, insolvent) neighbours on a geometric grid from 1 to `edge`, or None."""
    solvent = 1.0
    for step in range(1, GRID + 1):
        factor = edge ** (step / GRID)
        if function(factor) <= 0:
            return solvent, factor
        solvent = factor
    return None


def _bisected(function: Callable[[float], float], solvent: float, insolvent: float, scale: float) -> tuple[float, bool]:
    """Return the root between two factors, and whether the function jumps over zero there.

    Regula falsi in its Illinois form, with a bisection whenever that stalls; a root that no step reaches is a jump.
    """
    at_solvent, at_insolvent = function(solvent), function(insolvent)
    weight_solvent, weight_insolvent = at_solvent, at_insolvent
    for step in range(MAX_STEPS):
        middle = (solvent * weight_insolvent - insolvent * weight_solvent) / (weight_insolvent - weight_solvent)
        low, high = min(solvent, insolvent), max(solvent, insolvent)
        if step % 4 == 3 or not low < middle < high:
            middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        value = function(middle)
        if abs(value) <= TOLERANCE * scale * 1e-2:
            return middle, False
        if value > 0:
            solvent, at_solvent, weight_solvent, weight_insolvent = middle, value, value, weight_insolvent / 2
        else:
            insolvent, at_insolvent, weight_insolvent, weight_solvent = middle, value, value, weight_solvent / 2
    best, at_best = min(((solvent, at_solvent), (insolvent, at_insolvent)), key=lambda pair: abs(pair[1]))
    is_jump = abs(at_best) > TOLERANCE * scale
    return (solvent if is_jump else best), is_jump
