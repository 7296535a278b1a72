"""Leverage tiers: maintenance margin as a continuous function of notional, and growth with open interest."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import inf

import msgspec

from risk.models.result import MarginError, require

PPM = 1_000_000


class Tier(msgspec.Struct, frozen=True, gc=False):
    """From `floor` of notional on: MM = notional * mmr - deduction, IM = notional * imr at least."""

    floor: float
    mmr: float
    deduction: float
    imr: float = 0.0


def deduction(floor: float, mmr: float, mmr_before: float, deduction_before: float) -> float:
    """Return a tier's deduction ("cum", maintenance amount): what keeps the margin continuous at its floor."""
    return floor * (mmr - mmr_before) + deduction_before


class TierTable:
    """Tiers of one instrument, in its margin currency.

    `rows` are (floor, maintenance rate) or (floor, maintenance rate, initial rate), ascending from zero. A notional
    on a floor belongs to the tier below it: the margin is the same in both.
    """

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        require(bool(rows), "bad_tiers", "no tiers")
        for row in rows:
            require(len(row) in (2, 3), "bad_tiers", f"a tier is (floor, rate[, initial rate]), not {row!r}")
        require(rows[0][0] == 0, "bad_tiers", f"the first tier starts at {rows[0][0]}, not at zero")
        for low, high in pairwise(rows):
            require(low[0] < high[0], "bad_tiers", f"floor {high[0]} does not ascend")
            require(low[1] <= high[1], "bad_tiers", f"rate {high[1]} falls with size")
        tiers: list[Tier] = []
        for row in rows:
            require(0 <= row[1] < 1, "bad_tiers", f"maintenance rate {row[1]}")
            require(len(row) == 2 or 0 <= row[2] <= 1, "bad_tiers", f"initial rate {row[-1]}")
            before = tiers[-1] if tiers else Tier(0.0, row[1], 0.0)
            taken = deduction(row[0], row[1], before.mmr, before.deduction)
            tiers.append(Tier(float(row[0]), float(row[1]), taken, float(row[2]) if len(row) == 3 else 0.0))
        self.tiers = tuple(tiers)

    @classmethod
    def of_leverage(cls, rows: Sequence[Sequence[float]]) -> TierTable:
        """Return the table of (floor, largest leverage): IM 1 / leverage, MM half of it (Hyperliquid)."""
        for row in rows:
            require(len(row) == 2 and row[1] >= 1, "bad_tiers", f"a tier is (floor, leverage), not {row!r}")
        return cls([(floor, 1.0 / (2.0 * leverage), 1.0 / leverage) for floor, leverage in rows])

    @classmethod
    def single(cls, mmr: float, taken: float = 0.0, imr: float = 0.0) -> TierTable:
        """Return one tier for all sizes, with the deduction that a venue states for the tier in force."""
        require(0 <= mmr < 1, "bad_tiers", f"maintenance rate {mmr}")
        table = cls([(0.0, mmr, imr)])
        table.tiers = (Tier(0.0, mmr, taken, imr),)
        return table

    def at(self, notional: float) -> Tier:
        """Return the tier of a notional."""
        found = self.tiers[0]
        for tier in self.tiers:
            if notional > tier.floor:
                found = tier
        return found

    def maintenance(self, notional: float) -> float:
        """Return the maintenance margin of a notional; never negative."""
        tier = self.at(notional)
        return max(0.0, notional * tier.mmr - tier.deduction)

    def initial(self, notional: float, leverage: float | None) -> float:
        """Return the initial margin at a chosen leverage, and at the tier's own rate where that asks for more."""
        require(leverage is None or leverage > 0, "bad_position", f"leverage {leverage}")
        rate = max(self.at(notional).imr, 0.0 if leverage is None else 1.0 / leverage)
        # What may be held must be enough to keep holding it.
        return max(notional * rate, self.maintenance(notional))

    def intervals(self) -> list[tuple[float, float, Tier]]:
        """Return (from, to, tier) over all notionals."""
        ends = [*(tier.floor for tier in self.tiers[1:]), inf]
        return [(tier.floor, end, tier) for tier, end in zip(self.tiers, ends)]


def open_interest_fraction(base_ppm: int, lower: int, upper: int, open_interest: int) -> Fraction:
    """Return dYdX's initial margin fraction: base, growing to one between two caps of open interest.

    Source: dydxprotocol/v4-chain, liquidity tiers. With no range between the caps the fraction does not grow below
    the cap; above it, it is one.
    """
    require(0 <= base_ppm <= PPM, "bad_parameter", f"base fraction {base_ppm} ppm")
    require(lower <= upper, "bad_parameter", f"caps {lower} and {upper}")
    base = Fraction(base_ppm, PPM)
    if upper == 0 or open_interest <= lower:
        return base
    grown = Fraction(1) if open_interest >= upper else Fraction(open_interest - lower, upper - lower)
    return base + (1 - base) * grown


def rounded_up(amount: Fraction) -> int:
    """Return an amount of quanta, rounded up: an integer venue never asks for less than the exact margin."""
    return -((-amount.numerator) // amount.denominator)


def rows_of(value: object) -> list[list[float]]:
    """Return tier rows of a document, or refuse."""
    try:
        return msgspec.convert(value, list[list[float]])
    except msgspec.ValidationError as error:
        raise MarginError("bad_tiers", str(error)) from error
