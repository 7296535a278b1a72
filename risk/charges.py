"""What margin asks for by size, beside the scenarios; the plain twin of what `_cells.pxd` does.

Scenarios are linear in the position; these are not. Each is a function, never falling, of how large a position may
become, |lots| at most over fills of the working orders:

    largest = max(|held + buys|, |held - sells|)

which is exact for one contract, since its orders fill any quantity from -sells to +buys. So the worst of each charge
over fills is exact; that it is added to the worst of the scenarios, which other fills may make, is a bound from above.
The gap is at most what the charge differs between the fills that are worst for the one and for the other.

By group, with N the USD of delta that would have to be closed, sum of largest * closing:

    N * (half_spread + impact * sqrt(N))                          liquidity
    + N * beyond * max(0, horizon * sqrt(N) - period)             concentration
    + N * min(shock_cap, shock_slope * max(0, N - shock_from))    delta shock

By contract, with v = largest * unit its notional:

    tiers:        scale * (max(v * max(rate, 1 / leverage), v * maintenance - deduction) + fee * v + square * v^2)
    reservation:  a short option's margin and what working orders reserve beyond what they close (deribit_standard)
"""

from __future__ import annotations

from math import inf, sqrt
from typing import Final

import msgspec
import numpy as np

from risk.kernel_checks import Ints
from risk.pricing import Floats

NO_CHARGE, BY_TIERS, BY_RESERVATION = 0, 1, 2
KINDS: Final = 4  # of risk.instrument.Kind: what leverage is capped by
GROUP_COLUMNS: Final = 8  # half_spread, impact, beyond, horizon, period, shock_from, shock_slope, shock_cap
TIER_COLUMNS: Final = 4  # floor, initial rate, maintenance rate, deduction
MOST: Final = 1e18


class Charges(msgspec.Struct, frozen=True, eq=False):
    """All of a generation. I instruments, G groups, S scenarios, T tiers of all instruments one after the other.

    notional (I,): USD of one lot for limits. closing (I,): USD of delta of one lot, for liquidity and leverage.
    product (I,): its Kind. group (G, GROUP_COLUMNS). kind (I,): which charge by contract. unit, scale, fee, square (I,)
    as above; tiers (T, TIER_COLUMNS), those of an instrument from first (I,), count (I,) of them. short, mark (I,): the
    margin of one short lot of an option, and what a lot is worth. start (G, S): what each row begins with.
    """

    notional: Floats
    closing: Floats
    product: Ints
    group: Floats
    kind: Ints
    unit: Floats
    scale: Floats
    fee: Floats
    square: Floats
    tiers: Floats
    first: Ints
    count: Ints
    short: Floats
    mark: Floats
    start: Floats


def no_charges(instruments: int, groups: int, scenarios: int) -> Charges:
    """Return charges that ask for nothing, to fill in."""

    def amounts() -> Floats:
        return np.zeros(instruments)

    def counts() -> Ints:
        return np.zeros(instruments, np.int32)

    return Charges(
        notional=amounts(),
        closing=amounts(),
        product=counts(),
        group=np.zeros((groups, GROUP_COLUMNS)),
        kind=counts(),
        unit=amounts(),
        scale=amounts(),
        fee=amounts(),
        square=amounts(),
        tiers=np.zeros((0, TIER_COLUMNS)),
        first=counts(),
        count=counts(),
        short=amounts(),
        mark=amounts(),
        start=np.zeros((groups, scenarios)),
    )


def check_charges(charges: Charges, instruments: int, groups: int, scenarios: int) -> None:
    """Raise ValueError unless charges are of a generation's shape, finite, not negative and never fall with size."""
    per_instrument = ("notional", "closing", "product", "kind", "unit", "scale", "fee", "square", "first", "count")
    for name in (*per_instrument, "short", "mark"):
        row = getattr(charges, name)
        if row.shape != (instruments,) or not ((row >= 0) & (row <= MOST)).all():
            raise ValueError(f"charges: {name} is not of {instruments} finite numbers from zero on")
    if charges.group.shape != (groups, GROUP_COLUMNS) or charges.tiers.shape[1:] != (TIER_COLUMNS,):
        raise ValueError("charges: groups or tiers have another shape")
    if charges.start.shape != (groups, scenarios) or not (np.abs(charges.start) <= MOST).all():
        raise ValueError("charges: start is not of the scenarios")
    if not ((charges.group >= 0) & (charges.group <= MOST)).all() or not (np.abs(charges.tiers) <= MOST).all():
        raise ValueError("charges: groups or tiers are not finite")
    if (charges.product >= KINDS).any() or (charges.kind > BY_RESERVATION).any():
        raise ValueError("charges: a product or a kind is not known")
    tiered = charges.kind == BY_TIERS
    if (charges.first + charges.count > len(charges.tiers)).any() or (charges.count[tiered] < 1).any():
        raise ValueError("charges: an instrument's tiers are not there")


class Cell:
    """What one row holds and has working of one instrument, and what that adds to the row's sums."""

    __slots__ = ("buys", "cheapest", "closing", "dearest", "held", "high", "low", "own", "sells")

    def __init__(self) -> None:
        self.held = self.buys = self.sells = 0.0
        self.dearest, self.cheapest = 0.0, inf
        self.high = self.low = self.closing = self.own = 0.0  # high, low: USD at which the position may end, signed

    def copy(self) -> Cell:
        """Return one with the same figures."""
        other = Cell()
        for name in Cell.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    @property
    def largest(self) -> float:
        """|lots| at most over fills."""
        return max(abs(self.held + self.buys), abs(self.held - self.sells))

    def order(self, lots: float, price: float) -> None:
        """Count a working order; price is what one lot of it pays or brings."""
        if lots > 0:
            self.buys += lots
            self.dearest = max(self.dearest, price)
        elif lots < 0:
            self.sells -= lots
            self.cheapest = min(self.cheapest, price)

    def unorder(self, lots: float) -> None:
        """Take a working order back; the dearest price is forgotten with the last of them: until then it is a bound."""
        if lots > 0:
            self.buys -= lots
            if self.buys <= 0:
                self.buys, self.dearest = 0.0, 0.0
        elif lots < 0:
            self.sells += lots
            if self.sells <= 0:
                self.sells, self.cheapest = 0.0, inf


class Row:
    """The cells of one row of a kernel and the sums over them; `rate` is one over the leverage that was chosen."""

    __slots__ = ("cells", "closing", "gross", "high", "low", "own", "products", "working")

    def __init__(self, groups: int) -> None:
        self.cells: dict[int, Cell] = {}
        self.closing, self.own = [0.0] * groups, [0.0] * groups
        self.products = [0.0] * KINDS
        self.gross = self.high = self.low = 0.0
        self.working = 0

    def copy(self) -> Row:
        """Return one with the same figures."""
        other = Row(0)
        other.cells = {index: cell.copy() for index, cell in self.cells.items()}
        other.closing, other.own, other.products = list(self.closing), list(self.own), list(self.products)
        other.gross, other.high, other.low, other.working = self.gross, self.high, self.low, self.working
        return other

    def settle(self, charges: Charges, index: int, group: int, rate: float) -> None:
        """Bring the sums up to date with a cell that was changed."""
        cell = self.cells[index]
        notional, closing = float(charges.notional[index]), cell.largest * float(charges.closing[index])
        high, low = (cell.held + cell.buys) * notional, (cell.held - cell.sells) * notional
        own = cell_charge(charges, index, cell, rate)
        self.gross += max(abs(high), abs(low)) - max(abs(cell.high), abs(cell.low))
        self.high += high - cell.high
        self.low += low - cell.low
        self.closing[group] += closing - cell.closing
        self.products[charges.product[index]] += closing - cell.closing
        self.own[group] += own - cell.own
        cell.high, cell.low, cell.closing, cell.own = high, low, closing, own

    def charge(self, charges: Charges, group: int) -> float:
        """Return what a group asks for."""
        return group_charge(charges.group[group].tolist(), self.closing[group]) + max(0.0, self.own[group])

    def charge_with(self, charges: Charges, index: int, group: int, rate: float, lots: float, price: float) -> float:
        """Return what a group would ask for with one more order working."""
        cell = self.cells.get(index) or Cell()
        after = cell.copy()
        after.order(lots, price)
        closing = self.closing[group] + (after.largest * float(charges.closing[index]) - cell.closing)
        own = self.own[group] + (cell_charge(charges, index, after, rate) - cell.own)
        return group_charge(charges.group[group].tolist(), closing) + max(0.0, own)


def group_charge(p: list[float], closing: float) -> float:
    """Return liquidity, concentration and delta shock of a group; p as in GROUP_COLUMNS."""
    n = max(0.0, closing)
    root = sqrt(n)
    asked = n * (p[0] + p[1] * root)
    beyond = p[3] * root - p[4]
    if beyond > 0:
        asked += n * p[2] * beyond
    if n > p[5]:
        asked += n * min(p[7], p[6] * (n - p[5]))
    return asked


def group_charges(terms: Floats, closing: Floats) -> Floats:
    """Return `group_charge` of many at once: terms (N, GROUP_COLUMNS), closing (N,)."""
    half_spread, impact, beyond, horizon, period, shock_from, shock_slope, shock_cap = terms.T
    n = np.maximum(0.0, closing)
    root = np.sqrt(n)
    asked: Floats = n * (half_spread + impact * root) + n * beyond * np.maximum(0.0, horizon * root - period)
    asked += n * np.minimum(shock_cap, shock_slope * np.maximum(0.0, n - shock_from))
    return asked


def cell_charge(charges: Charges, index: int, cell: Cell, rate: float) -> float:
    """Return what one contract asks for."""
    kind = charges.kind[index]
    if kind == BY_TIERS:
        return _tiered(charges, index, cell.largest, rate)
    if kind == BY_RESERVATION:
        return _reserved(float(charges.short[index]), float(charges.mark[index]), cell)
    return 0.0


def _tiered(charges: Charges, index: int, largest: float, least_rate: float) -> float:
    v = largest * float(charges.unit[index])
    first = int(charges.first[index])
    rows = charges.tiers[first : first + int(charges.count[index])].tolist()
    _, rate, maintenance, deduction = rows[0]
    for floor, *row in rows:
        if v > floor:
            rate, maintenance, deduction = row
    asked = max(v * max(rate, least_rate), v * maintenance - deduction)
    return float(charges.scale[index] * (asked + charges.fee[index] * v + charges.square[index] * v * v))


def _reserved(short: float, mark: float, cell: Cell) -> float:
    """Return a short option's margin with what its working orders reserve: `option_margin.reservation`, by lots."""
    held_short = max(0.0, -cell.held)
    closed = min(cell.buys, held_short)
    dearest, cheapest = max(mark, cell.dearest), min(mark, cell.cheapest)
    asked = held_short * short + closed * max(0.0, dearest - short) + (cell.buys - closed) * dearest
    return asked + max(0.0, cell.sells - max(0.0, cell.held)) * (short + mark - cheapest)
