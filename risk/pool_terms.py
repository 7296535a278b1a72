"""What a pool kernel is loaded with: a portfolio model restated by lots, one generation of it.

A pool is what one equity must margin, counted in its own currency. Its assets are columns, its risk units rows over the
model's scenarios. What is available in it, with working orders filled at their worst:

    sum over assets    min(price x, rate price x) - borrow price max(0, -low)
    + sum over units   min(least(row) - a - span b - shock(d), row[base] - floor(g)) - n + once
    - sum over tiered contracts   their margin at the largest that working orders may make them

    x       cash and the marks of all positions that settle in the asset, low: without those of options and spot, and
            with what working orders pay or lose at once
    row     profit of positions by scenario and, for every working order, min(0, D[s]), D what a whole fill gains at
            once and in the scenario. In a pool that nets its units a loss at once is kept apart, in `once`, and the
            least is taken of the sum of units, gains of each times `offset` up to `limit`.
    a d g n what positions ask for (`fixed`, by lots of a unit: exact), and what each working order may add, whole
    b span  what orders may add a day between the first and the last expiry that is held or worked, at most `most_days`

Each part is taken at its own worst fills: what the parts differ at each other's is the bound's gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Final

import msgspec
import numpy as np

from risk.charges import MOST, TIER_COLUMNS
from risk.kernel_checks import Flags, Ints
from risk.pricing import Floats

SECONDS_A_DAY: Final = 86_400.0
# Of a unit's positions, lots by instrument: a, d, g, n.
Fixed = tuple[float, float, float, float]


def nothing_fixed(unit: int, lots: Mapping[int, float]) -> Fixed:
    """Ask for nothing."""
    return 0.0, 0.0, 0.0, 0.0


class PoolTerms(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """I instruments, C columns of assets, U units, P pools, S scenarios, T tiers of all instruments, K steps.

    known (I,). unit, column (I,): of each instrument. worth (I,): the mark of a lot in its asset. paid (I,): 1 where it
    is paid for at once and no profit since entry: options, spot. move (I, S): what a lot gains by scenario, in the
    pool's currency. expiry_s (I,): a perpetual's is 0, below zero where it hedges nothing. What one lot of a working
    order adds: a_buy, a_sell, b, d, g_buy, g_sell, n (I,). notional (I,): of a lot for its tiers, which are rows of
    (floor, maintenance rate, deduction) from first (I,), count (I,) of them, none for most; scale (I,): the pool's
    currency for one of notional. pool (U,); start (U, S): what rows begin with; shock (U, 3): d beyond the first costs
    d * min(third, second * excess).
    column_pool (C,): -1 where it counts nowhere; price, rate, borrow (C,).
    nets (P,); offset (P,); limit (P, S): most gain of a unit that others may net. steps (K, 2): floor(g) is g times the
    last factor whose first is below g.
    """

    known: Flags
    unit: Ints
    column: Ints
    worth: Floats
    paid: Flags
    move: Floats
    expiry_s: Floats
    a_buy: Floats
    a_sell: Floats
    b: Floats
    d: Floats
    g_buy: Floats
    g_sell: Floats
    n: Floats
    notional: Floats
    scale: Floats
    first: Ints
    count: Ints
    tiers: Floats
    pool: Ints
    start: Floats
    shock: Floats
    column_pool: Ints
    price: Floats
    rate: Floats
    borrow: Floats
    nets: Flags
    offset: Floats
    limit: Floats
    steps: Floats
    base: int
    most_days: float = 0.0
    fixed: Callable[[int, Mapping[int, float]], Fixed] = nothing_fixed


# Those of each instrument that are amounts from zero on.
AMOUNTS: Final = ("a_buy", "a_sell", "b", "d", "g_buy", "g_sell", "n", "notional", "scale")


def no_terms(instruments: int, columns: int, units: int, pools: int, scenarios: int, base: int) -> PoolTerms:
    """Return terms that know nothing and ask for nothing, to fill in."""

    def flags(count: int) -> Flags:
        return np.zeros(count, np.uint8)

    def ints(count: int) -> Ints:
        return np.zeros(count, np.int32)

    return PoolTerms(
        worth=np.zeros(instruments),
        expiry_s=np.zeros(instruments),
        a_buy=np.zeros(instruments),
        a_sell=np.zeros(instruments),
        b=np.zeros(instruments),
        d=np.zeros(instruments),
        g_buy=np.zeros(instruments),
        g_sell=np.zeros(instruments),
        n=np.zeros(instruments),
        notional=np.zeros(instruments),
        scale=np.zeros(instruments),
        known=flags(instruments),
        unit=ints(instruments),
        column=ints(instruments),
        paid=flags(instruments),
        move=np.zeros((instruments, scenarios)),
        first=ints(instruments),
        count=ints(instruments),
        tiers=np.zeros((0, TIER_COLUMNS)),
        pool=ints(units),
        start=np.zeros((units, scenarios)),
        shock=np.tile([MOST, 0.0, 0.0], (units, 1)),
        column_pool=np.full(columns, -1, np.int32),
        price=np.zeros(columns),
        rate=np.zeros(columns),
        borrow=np.zeros(columns),
        nets=flags(pools),
        offset=np.zeros(pools),
        limit=np.zeros((pools, scenarios)),
        steps=np.zeros((0, 2)),
        base=base,
    )


def check_terms(terms: PoolTerms) -> None:
    """Raise ValueError unless terms fit together, are finite, and no amount is negative."""
    count, columns, (units, scenarios), pools = len(terms.known), len(terms.price), terms.start.shape, len(terms.nets)
    by_instrument = (*AMOUNTS, "worth", "expiry_s", "unit", "column", "paid", "first", "count")
    row_shape: tuple[int, ...] = (count,)
    column_shape: tuple[int, ...] = (columns,)
    shapes = dict.fromkeys(by_instrument, row_shape)
    shapes |= {"move": (count, scenarios), "pool": (units,), "shock": (units, 3), "offset": (pools,)}
    shapes |= dict.fromkeys(("column_pool", "rate", "borrow"), column_shape)
    shapes |= {"limit": (pools, scenarios), "steps": (len(terms.steps), 2), "tiers": (len(terms.tiers), TIER_COLUMNS)}
    for name, shape in shapes.items():
        row = getattr(terms, name)
        if row.shape != shape or not (np.abs(row) <= MOST).all():
            raise ValueError(f"pool terms: {name} has shape {row.shape}, not {shape}, or is not finite")
    for name in (*AMOUNTS, "shock", "price", "rate", "borrow", "offset", "limit", "steps"):
        if not ((getattr(terms, name) >= 0) & (getattr(terms, name) <= MOST)).all():
            raise ValueError(f"pool terms: {name} is negative")
    if not (np.abs(terms.start) <= MOST).all() or not 0 <= terms.base < scenarios or not 0 <= terms.most_days < inf:
        raise ValueError("pool terms: start is not finite, or base is no scenario")
    if (terms.rate > 1).any() or (terms.offset > 1).any():
        raise ValueError("pool terms: a rate or an offset is above one")
    for name, most in (("unit", units), ("column", columns)):
        row = getattr(terms, name)[terms.known != 0]
        if ((row < 0) | (row >= most)).any():
            raise ValueError(f"pool terms: {name} is out of range")
    if ((terms.pool < 0) | (terms.pool >= pools)).any() or (
        (terms.column_pool < -1) | (terms.column_pool >= pools)
    ).any():
        raise ValueError("pool terms: there is no such pool")
    mine = terms.known != 0
    if (terms.pool[terms.unit[mine]] != terms.column_pool[terms.column[mine]]).any():
        raise ValueError("pool terms: an instrument settles outside its pool")
    if (terms.first + terms.count > len(terms.tiers)).any() or (terms.first < 0).any() or (terms.count < 0).any():
        raise ValueError("pool terms: an instrument's tiers are not there")
    if (np.diff(terms.steps, axis=0) < 0).any():
        raise ValueError("pool terms: a floor that falls with size")
