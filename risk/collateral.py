"""What collateral counts for: eligibility, haircuts that grow with size, and with the distance of a stablecoin's peg.

    counted = min(X * P * (1 - h), X * P)        a debt is never discounted

h is marginal in the USD value of all that is held of an asset, over all venues: each slice at its own rate, plus what
the peg asks for. Forms: Binance's collateral rates and minimum, Derive's and OKX's peg tiers (docs/margin.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import inf, isfinite
from typing import Final, Literal

import msgspec
import numpy as np

from risk.models.parameters import Provenance, parameters
from risk.models.result import MarginError, require
from risk.pricing import FloatLike, Floats

AssetKind = Literal["cash", "stable", "coin"]

MAX_ROWS: Final = 100
MAX_HOLDINGS: Final = 10_000


class AssetRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one asset counts.

    `tiers` are (USD value from, haircut), ascending from zero, haircuts never falling. `peg` are (price below,
    haircut added), the price falling, the haircut rising; only a stablecoin has them.
    """

    kind: AssetKind
    tiers: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    peg: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        floors, haircuts = [row[0] for row in self.tiers], [row[1] for row in self.tiers]
        well_formed = bool(floors) and floors[0] == 0 and all(low < high for low, high in pairwise(floors))
        well_formed &= all(0 <= low <= high <= 1 for low, high in pairwise([*haircuts, 1.0]))
        well_formed &= all(low[0] > high[0] and low[1] <= high[1] for low, high in pairwise(self.peg))
        well_formed &= all(below > 0 and 0 <= added <= 1 for below, added in self.peg)
        well_formed &= (self.kind == "stable" or not self.peg) and len(self.tiers) + len(self.peg) <= MAX_ROWS
        if not well_formed:
            raise ValueError("tiers rise from zero, pegs fall, haircuts never fall and lie in 0..1")

    def peg_haircut(self, price: FloatLike) -> Floats:
        """Return what is added to every haircut at prices of the stablecoin."""
        added = np.zeros(np.shape(price))
        for below, haircut in self.peg:
            added = np.where(np.asarray(price) < below, haircut, added)
        return added

    def counted(self, value: FloatLike, price: FloatLike) -> Floats:
        """Return what non-negative USD values of the whole holding count for, at as many prices.

        Concave in the value, and never falling in it.
        """
        at, off_peg = np.asarray(value, dtype=np.float64), self.peg_haircut(price)
        total: Floats = np.zeros(np.broadcast_shapes(np.shape(at), np.shape(off_peg)))
        ends = [floor for floor, _ in self.tiers[1:]] + [inf]
        for (floor, haircut), end in zip(self.tiers, ends):
            slices = np.maximum(np.minimum(at, end) - floor, 0.0)
            total = total + slices * np.maximum(0.0, 1.0 - haircut - off_peg)
        return total

    def first_haircut(self, price: float) -> float:
        """Return the haircut of the first dollar."""
        return min(1.0, self.tiers[0][1] + float(self.peg_haircut(price)))


# What is not listed: it may be owed, it never counts.
INELIGIBLE: Final = AssetRule(kind="coin", tiers=((0.0, 1.0),))


class CollateralRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules by asset. An asset without one is not eligible; `eligible`, where given, narrows them further."""

    assets: dict[str, AssetRule]
    eligible: tuple[str, ...] | None = None

    def rule(self, asset: str) -> AssetRule:
        """Return an asset's rule; one that is not eligible counts for nothing while it is held, and whole when owed."""
        if asset not in self.assets:
            return INELIGIBLE
        if self.eligible is not None and asset not in self.eligible:
            return AssetRule(kind=self.assets[asset].kind, tiers=INELIGIBLE.tiers)
        return self.assets[asset]

    def is_stable(self, asset: str) -> bool:
        """True for a stablecoin that the rules know."""
        return asset in self.assets and self.assets[asset].kind == "stable"


IN_FULL: Final = AssetRule(kind="coin")


def narrowed(rules: CollateralRules | None, asset: str, eligible: tuple[str, ...] | None) -> AssetRule:
    """Return an asset's rule where only some assets are taken besides; without rules what is taken counts in full."""
    rule = IN_FULL if rules is None else rules.rule(asset)
    if eligible is None or asset in eligible:
        return rule
    return AssetRule(kind=rule.kind, tiers=INELIGIBLE.tiers)


class Holding(msgspec.Struct, frozen=True, gc=False):
    """An amount of an asset at a venue, qty < 0 owed; `price` in USD, None where the market has none."""

    asset: str
    qty: float
    price: float | None
    venue: str = ""


class Counted(msgspec.Struct, frozen=True, gc=False):
    """What one asset at one venue comes to, in USD: value at market, what is counted of it, the haircut between."""

    asset: str
    venue: str
    qty: float
    price: float
    value: float
    counted: float

    @property
    def haircut(self) -> float:
        """The share of the value that does not count; zero for a debt."""
        return 1.0 - self.counted / self.value if self.value else 0.0


def rules(
    chosen: str | None = None, overrides: Mapping[str, object] | None = None
) -> tuple[CollateralRules, Provenance]:
    """Return a set of rules of parameters/collateral.toml with overrides, and where it comes from."""
    return parameters("collateral", CollateralRules, chosen, overrides)


def count(holdings: Iterable[Holding], by: CollateralRules) -> tuple[Counted, ...]:
    """Return what holdings count for, by asset and venue, sorted; equal assets of a venue are netted first.

    The tiers of an asset are filled by what all venues hold of it; a debt at one venue is not set against them.

    Raises
    ------
    MarginError
        missing_price, bad_mark, not_a_number: an asset that can not be priced is not worth zero.
    """
    amounts: dict[tuple[str, str], float] = {}
    prices: dict[tuple[str, str], float] = {}
    given = sorted(holdings, key=lambda held: (held.asset, held.venue, held.qty, held.price or 0.0))
    require(len(given) <= MAX_HOLDINGS, "too_many_holdings", f"{len(given)} are more than {MAX_HOLDINGS}")
    for held in given:
        key = held.asset, held.venue
        price = _priced(held)
        require(prices.setdefault(key, price) == price, "bad_mark", f"{held.asset}: two prices at one venue")
        amounts[key] = amounts.get(key, 0.0) + held.qty
    totals: dict[str, float] = {}
    for (asset, venue), qty in amounts.items():
        totals[asset] = totals.get(asset, 0.0) + max(0.0, qty * prices[asset, venue])
    found = []
    for (asset, venue), qty in amounts.items():
        price = prices[asset, venue]
        value = counted = qty * price
        if value > 0:
            # Pro rata: a venue's share of the asset bears its share of the haircut.
            counted *= float(by.rule(asset).counted(totals[asset], price)) / totals[asset]
        found.append(Counted(asset, venue, qty, price, value, min(counted, value)))
    return tuple(found)


def total(rows: Iterable[Counted]) -> float:
    """Return what rows count for together, in USD."""
    return sum(row.counted for row in rows)


def _priced(held: Holding) -> float:
    require(isfinite(held.qty), "not_a_number", f"{held.asset}: quantity {held.qty}")
    if held.price is None:
        raise MarginError("missing_price", f"{held.asset}: no price, and it is not worth zero for that")
    require(isfinite(held.price), "not_a_number", f"{held.asset}: price {held.price}")
    require(held.price > 0, "bad_mark", f"{held.asset}: price {held.price} is no price")
    return held.price
