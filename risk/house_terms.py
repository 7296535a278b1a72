"""What the house asks for beside its grid: joint scenarios, the tree of levels, liquidity and concentration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import msgspec
import numpy as np

from risk.charges import Charges, no_charges
from risk.haircuts import Haircuts, HaircutTerms
from risk.instrument import Instrument
from risk.joint import JointScenarios
from risk.kernel import MarginKernel
from risk.levels import Hierarchy
from risk.limits import RowTerms
from risk.periods import Periods
from risk.scenarios import Generation, underlying_of


class Volume(msgspec.Struct, frozen=True):
    """A coin's market: average daily volume in USD, daily volatility, half the spread, as shares of the price."""

    adv_usd: float
    daily_vol: float
    half_spread: float


class HouseTerms(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`volumes` is by underlying; with any, an underlying that has none is not priced. As in risk/models/house.py."""

    joint: JointScenarios | None = None
    hierarchy: Hierarchy | None = None
    volumes: Mapping[str, Volume] = {}
    impact: float = 1.0
    concentration_z: float = 2.33
    participation: float = 0.1
    mpor_days: float = 1.0
    periods: Periods | None = None  # by product and venue; none: `mpor_days` for all
    least_delta: float = 0.1
    haircuts: HaircutTerms | None = None
    counts_sizes: bool = False  # also without volumes or levels: an account's leverage is capped

    @property
    def joint_size(self) -> int:
        """How many joint scenarios there are."""
        return 0 if self.joint is None else self.joint.size

    def has_less_than(self, days: float) -> bool:
        """Whether anything that moves by a longer period than the least is held for less than so many days."""
        tables = [] if self.periods is None else [self.periods]
        tables += [] if self.joint is None else [self.joint.periods, self.joint.point_periods]
        return any(table.lengths[0] < days for table in tables)

    @property
    def is_charged(self) -> bool:
        """Whether anything depends on size."""
        return self.counts_sizes or bool(self.volumes) or (self.hierarchy is not None and self.hierarchy.has_limits)

    def rows(self, accounts: int) -> int:
        """Return how many rows a kernel needs."""
        return max(1, accounts if self.hierarchy is None else max(accounts, self.hierarchy.rows))

    def prepare(
        self, kernel: MarginKernel, generation: Generation, instruments: Sequence[Instrument]
    ) -> Haircuts | None:
        """Give a kernel that has just loaded a generation all that is not a risk array; return what accounts lack."""
        if self.hierarchy is not None:
            self.hierarchy.install(kernel, instruments)
        return self._charge(kernel, generation, instruments)

    def prepare_alone(
        self, kernel: MarginKernel, generation: Generation, instruments: Sequence[Instrument]
    ) -> Haircuts | None:
        """The same for a kernel whose only row is one account at a time, with `terms_of`, and nothing above it."""
        return self._charge(kernel, generation, instruments)

    def terms_of(self, account: int) -> RowTerms:
        """Return what an account's row is asked for."""
        return RowTerms() if self.hierarchy is None else self.hierarchy.terms_of(account)

    def _charge(
        self, kernel: MarginKernel, generation: Generation, instruments: Sequence[Instrument]
    ) -> Haircuts | None:
        if self.is_charged:
            kernel.charge(self.charges(generation, instruments))
        haircuts = self.haircuts_of(generation, instruments)
        if haircuts is not None:
            haircuts.install(kernel)
        return haircuts

    def haircuts_of(self, generation: Generation, instruments: Sequence[Instrument]) -> Haircuts | None:
        """Return the haircuts of a generation, None where there are none."""
        return None if self.haircuts is None else Haircuts(self.haircuts, generation, instruments, self.joint)

    def charges(self, generation: Generation, instruments: Sequence[Instrument]) -> Charges:
        """Return what size costs: `notional` and `closing` at the marks of the generation, and each group's market."""
        count = len(generation.values)
        asked = no_charges(count, len(generation.groups), generation.grid.size)
        asked.notional[:] = np.nan_to_num(generation.notionals)
        asked.closing[:] = np.nan_to_num(generation.closings)
        asked.product[:] = [int(instrument.kind) for instrument in instruments[:count]]
        for group, name in enumerate(generation.groups):
            volume = self.volumes.get(underlying_of(name))
            if volume is not None:
                asked.group[group, :5] = (
                    volume.half_spread,
                    self.impact * volume.daily_vol / sqrt(volume.adv_usd),
                    self.concentration_z * volume.daily_vol,
                    1.0 / sqrt(self.participation * volume.adv_usd),
                    sqrt(self.mpor_days),
                )
        return asked
