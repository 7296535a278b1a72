"""What profiles ask of the house's margin on the order path: kernels with wider moves, or more of what they cost.

A rule's requirement is a sum of parts. A part is the house's margin with spot moves `scale` times as wide and losses
counted `factor` times; parts that do not carry the equity are taken off that of the one that does:

    period, confidence   M at f           f = sqrt(days / the house's) * the ratio of Student t quantiles
    buffer               1.25 M at f
    stress_weight        0.75 M at f + 0.25 M at f * stressed_scale
    ten_year_floor       M at f * ten_year_scale

Losses are linear in what is held, so each part is bounded over fills as the house's own margin is; parts take their own
worst fills, which is the bound's gap. Joint scenarios count `factor` times; they are of at least the profile's period,
and not widened for confidence: they are what happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from risk.charges import Charges
from risk.constraints import Part, Requirement
from risk.house_terms import HouseTerms
from risk.instrument import Instrument
from risk.kernel import MarginKernel
from risk.pricing import Floats
from risk.scenarios import MAX_MOVE, Generation, Grid

# No spot move falls below this: as in risk/models/house_scenarios.py.
LEAST_MOVE: Final = -0.95


def parts_of(requirements: Iterable[Requirement]) -> tuple[Part, ...]:
    """Return all different parts, in an order that does not depend on the accounts'."""
    return tuple(sorted({part for one in requirements for part in one.parts}))


def widened(grid: Grid, scale: float) -> Grid:
    """Return a grid with wider spot moves; those that would meet at an end of what can be are kept apart by a hair."""
    moves: list[float] = []
    for move in grid.spot_moves:
        found = min(max(move * scale, LEAST_MOVE), MAX_MOVE)
        moves.append(found if not moves or found > moves[-1] else float(np.nextafter(moves[-1], np.inf)))
    return Grid(tuple(0.0 if own == 0 else move for own, move in zip(grid.spot_moves, moves)), grid.vol_moves)


def asked_by(part: Part, setting: Mapping[str, Any], grid: Grid) -> dict[str, Any]:
    """Return the setting of a generation that is priced for a part: a wider grid, and no period below its least.

    The wider grid stands for the longer of the house's own period and the part's.
    """
    periods, joint, least = setting["periods"], setting["joint"], part.least_days
    if periods is not None:
        periods = periods.at_least(least, max(periods.stands_for, least))
    joint = joint if joint is None or not least else joint.at_least(least)
    return {**setting, "grid": widened(grid, part.scale), "periods": periods, "joint": joint}


def kernel_of(
    part: Part, generation: Generation, terms: HouseTerms, instruments: Sequence[Instrument], accounts: int
) -> MarginKernel:
    """Return a kernel of a part, loaded from a generation that was priced on its grid."""
    values, currencies, groups, currency_groups, settlement, known, joint, joint_currencies, carried = (
        generation.arrays()
    )
    base = generation.grid.base
    kernel = MarginKernel(
        terms.rows(accounts),
        len(generation.groups),
        max(1, len(values)),
        len(currencies),
        generation.grid.size,
        generation.joint,
    )
    kernel.load(
        _counted(values, values[:, base], part),
        _counted(currencies, currencies[:, base], part),
        groups,
        currency_groups,
        settlement,
        known,
        _counted(joint, values[:, base], part),
        _counted(joint_currencies, currencies[:, base], part),
        carried,
    )
    if terms.hierarchy is not None:
        terms.hierarchy.install(kernel, instruments)
    if terms.volumes:
        kernel.charge(_charged(terms.charges(generation, instruments), part.factor))
    return kernel


def _counted(values: Floats, today: Floats, part: Part) -> Floats:
    """Return values with what they gain or lose counted `factor` times, with or without what they are worth today."""
    moved = part.factor * (values - today[:, None])
    return moved + today[:, None] if part.has_equity else moved


def _charged(charges: Charges, factor: float) -> Charges:
    group = charges.group.copy()
    group[:, :3] *= factor  # half_spread, impact, beyond: what the rest multiplies
    return msgspec.structs.replace(charges, group=group)


class Fan:
    """Kernels that are told the same: an account's of the house, and those of its profiles."""

    __slots__ = ("_bearing", "_kernels")

    def __init__(self, kernels: Sequence[MarginKernel], bearing: Sequence[MarginKernel]) -> None:
        """`bearing` are those that carry the equity, and so its haircuts."""
        self._kernels, self._bearing = tuple(kernels), tuple(bearing)

    def take_off(self, account: int, group: int, off: Floats, joint_off: Floats) -> None:
        """Tell each that carries the equity."""
        for kernel in self._bearing:
            kernel.take_off(account, group, off, joint_off)

    def take_off_fill(self, account: int, instrument: int, lots: float, cash: float) -> None:
        """Tell each that carries the equity."""
        for kernel in self._bearing:
            kernel.take_off_fill(account, instrument, lots, cash)

    def add_position(self, account: int, instrument: int, lots: float) -> None:
        """Tell each."""
        for kernel in self._kernels:
            kernel.add_position(account, instrument, lots)

    def add_cash(self, account: int, currency: int, amount: float) -> None:
        """Tell each."""
        for kernel in self._kernels:
            kernel.add_cash(account, currency, amount)

    def hold(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Tell each."""
        for kernel in self._kernels:
            kernel.hold(account, instrument, lots, cash, alt_lots, alt_cash)

    def release(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Tell each."""
        for kernel in self._kernels:
            kernel.release(account, instrument, lots, cash, alt_lots, alt_cash)


def told_with(
    kernel: MarginKernel, requirements: Sequence[Requirement], made: Mapping[Part, MarginKernel]
) -> MarginKernel | Fan:
    """Return what an account writes into: the house's kernel, and those of its profiles."""
    own = [part for part in parts_of(requirements) if part in made]
    bearing = [made[part] for part in own if part.has_equity]
    return Fan([kernel, *(made[part] for part in own)], [kernel, *bearing]) if own else kernel
