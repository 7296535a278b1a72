"""Volatility of strikes that a venue does not mark, from those of their expiry that it does.

Within an expiry total variance w = vol^2 T is linear in log-moneyness k = ln(K / F), flat beyond the outermost marks (a
slope of zero is inside Lee's bound of 2, whatever the strike). Between expiries nothing is invented, but guarded: at
equal k total variance never falls with time, since a calendar spread would then be worth less than nothing (Gatheral
and Jacquier 2014, for a forward without cost of carry in its own units). Between two marks the density that a kink
implies is not guarded: marks that are no arbitrage themselves give strikes between them that lie between their vols.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from risk.pricing import MAX_PRICE, MAX_VOL, MAX_YEARS, Floats

# Marks of one surface; a venue lists some hundreds an underlying.
MAX_QUOTES: Final = 20_000
_MOST: Final = (MAX_YEARS, MAX_PRICE, MAX_VOL, MAX_PRICE)


@dataclass(frozen=True, slots=True)
class VolQuote:
    """One option's mark: years to its expiry, strike, the forward of that expiry, vol as an annual fraction."""

    years: float
    strike: float
    forward: float
    vol: float


@dataclass(frozen=True, slots=True)
class _Smile:
    years: float
    moneyness: Floats
    total_variance: Floats

    def at(self, moneyness: Floats) -> Floats:
        value: Floats = np.interp(moneyness, self.moneyness, self.total_variance)
        return value


class VolSurface:
    """The smiles of one underlying, an expiry each. A quote that is not positive, or out of bounds, is left out.

    Raises ValueError where there are more than MAX_QUOTES.
    """

    def __init__(self, quotes: Iterable[VolQuote]) -> None:
        rows = np.array([(q.years, q.strike, q.vol, q.forward) for q in quotes], dtype=np.float64).reshape(-1, 4)
        if len(rows) > MAX_QUOTES:
            raise ValueError(f"{len(rows)} marks are more than {MAX_QUOTES} of a surface")
        usable = rows[((rows > 0) & (rows <= _MOST)).all(axis=1)]
        self._smiles = [_smile(years, usable[usable[:, 0] == years]) for years in np.unique(usable[:, 0]).tolist()]
        self._by_years = {smile.years: place for place, smile in enumerate(self._smiles)}

    @property
    def expiries(self) -> tuple[float, ...]:
        """Years to each expiry that has a smile, ascending."""
        return tuple(self._by_years)

    def vols(self, years: float, strike: Floats, forward: Floats) -> Floats:
        """Return vols of strikes of one expiry, shape (N,), annual fractions, positive and at most MAX_VOL.

        Raises
        ------
        ValueError
            If no strike of that expiry has a vol, or a strike or forward is not a usable price.
        """
        place = self._by_years.get(years)
        if place is None:
            raise ValueError("no option of its expiry has a volatility")
        for name, given in (("strike", strike), ("forward", forward)):
            if not ((given > 0) & (given <= MAX_PRICE)).all():
                raise ValueError(f"a {name} is not a usable price")
        moneyness = np.log(np.asarray(strike, dtype=np.float64) / forward)
        variance = self._smiles[place].at(moneyness)
        for earlier in self._smiles[:place]:
            variance = np.maximum(variance, earlier.at(moneyness))
        vols: Floats = np.sqrt(variance / years)
        return vols


def _smile(years: float, rows: Floats) -> _Smile:
    """A call and a put of a strike are marked alike; where not, the strike counts with their mean."""
    _, strike, vol, forward = rows.T
    strikes, place, count = np.unique(strike, return_inverse=True, return_counts=True)
    moneyness = np.log(strikes / (np.bincount(place, weights=forward) / count))
    total_variance = (np.bincount(place, weights=vol) / count) ** 2 * years
    order = np.argsort(moneyness, kind="stable")
    return _Smile(years, moneyness[order], total_variance[order])
