"""What desks and firms hold, added up over their accounts, and the margin of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gateway.margin_figures import MAINTENANCE_FACTOR
from gateway.slowside.one_by_one import HouseKernel
from risk.levels import Hierarchy
from risk.pricing import Floats
from risk.remargin import Portfolios

if TYPE_CHECKING:
    from gateway.slowside.full_margin import MarginRows


class LevelHoldings:
    """Amounts by level and row, (L, R), and which were ever touched: what nets to nothing may still be unknown."""

    def __init__(self, hierarchy: Hierarchy, rows: int) -> None:
        self._hierarchy, self._first = hierarchy, hierarchy.accounts
        self._amounts: Floats = np.zeros((len(hierarchy.levels), rows))
        self._touched: npt.NDArray[np.bool_] = np.zeros((len(hierarchy.levels), rows), dtype=bool)

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
        working: dict[int, list[list[float]]] = {}
        for account, own in orders.items():
            for row in hierarchy.above(account):
                working.setdefault(row, []).extend(own)
            yield
        for level, (amounts, touched) in enumerate(zip(self._amounts, self._touched, strict=True)):
            has_any = np.flatnonzero(touched).tolist()
            yield from kernel.level(first + level, amounts, has_any, working.get(first + level, []))
            equity, worst, held = kernel.figures()
            at = rows.accounts + level
            rows.equity[at], rows.initial[at] = equity, equity - worst
            rows.maintenance[at] = MAINTENANCE_FACTOR * (equity - held)
            yield
