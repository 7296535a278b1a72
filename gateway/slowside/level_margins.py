"""What desks and firms hold, added up over their accounts, and the margin of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gateway.margin.figures import MAINTENANCE_FACTOR
from gateway.slowside.one_by_one import HouseKernel
from risk.levels import Hierarchy
from risk.pricing import Floats
from risk.remargin import Portfolios
from risk.remargin_house import HouseMargins

if TYPE_CHECKING:
    from gateway.slowside.full_margin import MarginRows


class LevelHoldings:
    """Amounts by level and row, (L, R), and which were ever touched: what nets to nothing may still be unknown."""

    def __init__(self, hierarchy: Hierarchy, rows: int) -> None:
        self._hierarchy, self._first = hierarchy, hierarchy.accounts
        self._amounts: Floats = np.zeros((len(hierarchy.levels), rows))
        self._lacking: list[tuple[Floats, Floats]] = []  # what accounts' haircuts take off, (G, S) and (J,)
        self._touched: npt.NDArray[np.bool_] = np.zeros((len(hierarchy.levels), rows), dtype=bool)

    def lack(self, first: int, margins: HouseMargins) -> None:
        """Add what of the accounts' holdings does not count to what the level next above them lacks."""
        portfolios = margins.portfolios
        accounts = np.arange(first, first + portfolios.accounts)
        above = np.where(accounts < self._first, self._hierarchy.parents[np.minimum(accounts, self._first - 1)], -1)
        groups = margins.groups_of(np.arange(len(portfolios.segment_accounts)))
        if not self._lacking:
            groups_known = int(margins.groups.max()) + 1
            levels, size = len(self._hierarchy.levels), margins.off.shape[1]
            self._lacking = [
                (np.zeros((groups_known, size)), np.zeros(margins.joint_off.shape[1])) for _ in range(levels)
            ]
        for level in np.unique(above[above >= 0]).tolist():
            grid, joint = self._lacking[level - self._first]
            mine = np.flatnonzero(above[portfolios.segment_accounts] == level)
            for group in np.unique(groups[mine]).tolist():
                grid[group] += margins.off[mine[groups[mine] == group]].sum(axis=0)
            joint += margins.joint_off[above == level].sum(axis=0)

    def add(self, first: int, portfolios: Portfolios) -> None:
        """Add what some accounts hold to the level next above them; `first` is the index of the first."""
        accounts = first + np.repeat(portfolios.segment_accounts, np.diff(portfolios.segment_offsets))
        above = np.where(accounts < self._first, self._hierarchy.parents[np.minimum(accounts, self._first - 1)], -1)
        has = above >= 0
        places = above[has] - self._first, portfolios.rows[has]
        np.add.at(self._amounts, places, portfolios.amounts[has])
        self._touched[places] = True

    def margins(self, kernel: HouseKernel, orders: dict[int, list[list[float]]], rows: MarginRows) -> Iterator[None]:
        """Fill in the rows of all levels, in slices."""
        hierarchy, first = self._hierarchy, self._first
        for level in range(len(self._amounts)):  # desks come before firms
            above = int(hierarchy.parents[first + level]) - first
            if above >= 0:
                self._amounts[above] += self._amounts[level]
                self._touched[above] |= self._touched[level]
                for into, off in zip(self._lacking[above], self._lacking[level]) if self._lacking else ():
                    into += off
        working: dict[int, list[list[float]]] = {}
        for account, own in orders.items():
            for row in hierarchy.above(account):
                working.setdefault(row, []).extend(own)
            yield
        for level, (amounts, touched) in enumerate(zip(self._amounts, self._touched, strict=True)):
            has_any = np.flatnonzero(touched).tolist()
            lacking = self._lacking[level] if self._lacking else None
            yield from kernel.level(first + level, amounts, has_any, working.get(first + level, []), lacking)
            equity, worst, held = kernel.figures()
            at = rows.accounts + level
            rows.equity[at], rows.initial[at] = equity, equity - worst
            rows.maintenance[at] = MAINTENANCE_FACTOR * (equity - held)
            yield
