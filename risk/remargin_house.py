"""All that the house asks for, of many accounts at once: both blocks of scenarios, the offset cap, what size costs.

The figures are those of the margin kernel without working orders (`MarginKernel.held`), but for the order of additions.
"""

from __future__ import annotations

import msgspec
import numpy as np

from risk.charges import group_charges
from risk.haircut_tables import HaircutTables, Holders, off_rows
from risk.house_terms import HouseTerms
from risk.instrument import Instrument
from risk.pricing import Floats
from risk.remargin import Margins, Portfolios, RiskArrays, make_risk_arrays, remargin_some
from risk.remargin_plain import Flags, Ints, Offsets
from risk.scenarios import Generation

# What haircuts of a holding take, beside its own scenarios.
PRODUCTS_OF_HAIRCUTS = 4


class HouseArrays(msgspec.Struct, frozen=True, eq=False):
    """One generation by rows: R of them are its instruments, then its currencies, then one that is never known.

    group (R,); grid (R, S), joint (R, J) where there is one; closing (R,) in USD and terms (G, GROUP_COLUMNS) where
    size costs anything.
    """

    group: Ints
    grid: RiskArrays
    joint: RiskArrays | None
    closing: Floats | None
    terms: Floats | None


def make_house_arrays(generation: Generation, terms: HouseTerms, instruments: list[Instrument]) -> HouseArrays:
    """Return the arrays of a generation. Raises ValueError as make_risk_arrays."""
    unknown = np.zeros(1, dtype=np.int32)
    group = np.concatenate((generation.group_of_instrument, generation.group_of_currency, unknown))
    currency_known = np.isfinite(generation.currency_values).all(axis=1)
    known: Flags = np.concatenate((generation.known, currency_known, unknown)).astype(np.uint8)
    grid = make_risk_arrays(_stacked(generation.values, generation.currency_values), known, generation.grid.base)
    joint = closing = asked = None
    if generation.joint:
        joint = make_risk_arrays(_stacked(generation.joint_values, generation.joint_currency_values), known, 0)
    if terms.is_charged:
        charges = terms.charges(generation, instruments)
        closing = np.concatenate((charges.closing, np.zeros(len(generation.currencies) + 1)))
        asked = charges.group if charges.group.any() else None
    return HouseArrays(group, grid, joint, closing, asked)


def _stacked(values: Floats, currency_values: Floats) -> Floats:
    return np.concatenate((values, currency_values, np.full((1, values.shape[1]), np.nan)))


class HouseMargins:
    """Some accounts' margins, filled in by `some` and then `finish`; each account's scenarios alone, and together."""

    def __init__(
        self, portfolios: Portfolios, arrays: HouseArrays, tables: HaircutTables | None = None,
        held: Holders | None = None,
    ) -> None:  # fmt: skip
        """`tables` and `held` are given where haircuts are taken off."""
        self.portfolios, self._arrays, self._tables, self._held = portfolios, arrays, tables, held
        segments = len(portfolios.segment_accounts) if tables is not None else 0
        # What does not count, by segment in the grid and by account in the joint scenarios.
        self.off: Floats = np.zeros((segments, arrays.grid.values.shape[1]))
        joint = 0 if arrays.joint is None else arrays.joint.values.shape[1]
        self.joint_off: Floats = np.zeros((portfolios.accounts if tables is not None else 0, joint))
        self.alone = Margins.of(portfolios.accounts)
        self._together = None if arrays.joint is None else together(portfolios)
        self.joint = None if arrays.joint is None else Margins.of(portfolios.accounts)

    @property
    def groups(self) -> Ints:
        """The risk group of each row."""
        return self._arrays.group

    def groups_of(self, segments: Offsets) -> Ints:
        """Return the risk groups of some segments of the portfolios."""
        firsts = self.portfolios.segment_offsets[segments]
        return self._arrays.group[self.portfolios.rows[firsts]]

    @property
    def products(self) -> int:
        """How many multiplications all of it takes."""
        joint = self._arrays.joint
        columns = self._arrays.grid.values.shape[1] + (0 if joint is None else joint.values.shape[1])
        return len(self.portfolios.rows) * int(columns) * (1 if self._tables is None else PRODUCTS_OF_HAIRCUTS)

    def some(self, start: int, stop: int) -> None:
        """Add up the scenarios of accounts `start` to `stop`."""
        arrays, off, joint_off, of, joint_of = self._arrays, None, None, None, None
        if self._tables is not None and self._held is not None:
            off_rows(self._tables, self._held, start, stop, self.off, self.joint_off)
            off, joint_off, of = self.off, self.joint_off, np.arange(len(self.off), dtype=np.int32)
        remargin_some(self.portfolios, arrays.grid, self.alone, start, stop, off, of)
        if arrays.joint is not None and self._together is not None and self.joint is not None:
            joint_of = None if joint_off is None else self._together.segment_accounts
            remargin_some(self._together, arrays.joint, self.joint, start, stop, joint_off, joint_of)

    def finish(self, offset_caps: Floats) -> Floats:
        """Return what each account's held portfolio leaves at its worst, (A,), USD; offset_caps (A,)."""
        worst, arrays = self.alone.worst, self._arrays
        if self.joint is not None:
            joint = self.joint.worst
            worst = offset_caps * joint + (1.0 - offset_caps) * np.minimum(worst, joint)
        if arrays.closing is not None and arrays.terms is not None:
            worst = worst - charges_by_account(self.portfolios, arrays.closing, arrays.terms, arrays.group)
        return worst


def together(portfolios: Portfolios) -> Portfolios:
    """Return the same with one segment an account: in joint scenarios all groups move together."""
    starts, stops = portfolios.account_segments[:-1], portfolios.account_segments[1:]
    holds = np.flatnonzero(stops > starts)
    return msgspec.structs.replace(
        portfolios,
        account_segments=np.searchsorted(holds, np.arange(portfolios.accounts + 1)).astype(np.int64),
        segment_offsets=np.append(portfolios.segment_offsets[starts[holds]], len(portfolios.rows)).astype(np.int64),
        segment_accounts=holds.astype(np.int32),
    )


def charges_by_account(portfolios: Portfolios, closing: Floats, terms: Floats, group: Ints) -> Floats:
    """Return what the size of what each account holds asks for, (A,), USD; closing (R,), terms by group, group (R,)."""
    firsts = portfolios.segment_offsets[:-1]
    if not len(firsts):
        return np.zeros(portfolios.accounts)
    closed = np.add.reduceat(np.abs(portfolios.amounts) * closing[portfolios.rows], firsts)
    asked = group_charges(terms[group[portfolios.rows[firsts]]], closed)
    total: Floats = np.bincount(portfolios.segment_accounts, asked, minlength=portfolios.accounts).astype(np.float64)
    return total
