"""The tree firm > desk > account as rows of one margin kernel: what each level may have, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec
import numpy as np

from risk.instrument import Instrument
from risk.kernel import MarginKernel
from risk.limits import LimitRule, RowTerms

NO_TERMS: Final = RowTerms()


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A desk or a firm. `rules` bound its position by symbol pattern; with rules, what none fits may not be traded."""

    kind: Literal["desk", "firm"]
    name: str
    terms: RowTerms
    rules: tuple[LimitRule, ...] = ()
    firm: str = ""  # of a desk, where it has one

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Hierarchy:
    """Rows of a kernel: accounts by their index first, then desks, then firms, so that parents come after children.

    `desk_of` names the desk of an account, by its index; an account without one stands alone. `terms_of` are accounts'
    own terms.

    Raises
    ------
    ValueError
        If a name is not known, or given twice.
    """

    def __init__(
        self,
        accounts: int,
        levels: Sequence[Level] = (),
        desk_of: Mapping[int, str] | None = None,
        terms_of: Mapping[int, RowTerms] | None = None,
    ) -> None:
        self.accounts = accounts
        ordered = sorted(levels, key=lambda level: level.kind == "firm")
        self.levels = {accounts + number: level for number, level in enumerate(ordered)}
        self.rows = accounts + len(ordered)
        row_of: dict[tuple[str, str], int] = {(level.kind, level.name): row for row, level in self.levels.items()}
        if len(row_of) != len(ordered):
            raise ValueError("a desk or a firm is listed twice")
        parents = np.full(max(1, self.rows), -1, np.int32)
        for index, desk in (desk_of or {}).items():
            parents[index] = _row(row_of, "desk", desk)
        for row, level in self.levels.items():
            if level.firm:
                parents[row] = _row(row_of, "firm", level.firm)
        self.parents = parents
        self._above = {row: self._chain(row) for row in range(self.rows)}
        self.own_terms = dict(terms_of or {})
        self._lots: dict[int, dict[int, tuple[Instrument, int | None]]] = {row: {} for row in self.levels}

    @property
    def has_limits(self) -> bool:
        """Whether anything stands above an account: then sizes are to be counted."""
        return bool(self.levels)

    def _chain(self, row: int) -> tuple[int, ...]:
        above = []
        while (row := int(self.parents[row])) >= 0:
            above.append(row)
        return tuple(above)

    def above(self, account: int) -> tuple[int, ...]:
        """Return the rows above an account, the nearest first; of one that came later there are none."""
        return self._above.get(account, ())

    def terms_of(self, row: int) -> RowTerms:
        """Return what a row may have, but for its positions."""
        level = self.levels.get(row)
        return self.own_terms.get(row, NO_TERMS) if level is None else level.terms

    def install(self, kernel: MarginKernel, instruments: Sequence[Instrument]) -> None:
        """Give a kernel that was just loaded the tree and the terms of all its rows."""
        kernel.set_tree(self.parents)
        for row, terms in self.own_terms.items():
            kernel.set_terms(row, terms)
        for row, level in self.levels.items():
            terms = level.terms
            if level.rules:
                terms = msgspec.structs.replace(terms, position_lots=self._position_lots(row, level, instruments))
            kernel.set_terms(row, terms)

    def position_lots(self, row: int, instrument: Instrument) -> int | None:
        """Return the most lots of an instrument at a level, -1 for none at all; None where it has no such limits."""
        level = self.levels[row]
        if not level.rules:
            return None
        most = _most_lots(level.rules, instrument)
        return -1 if most is None else most

    def _position_lots(self, row: int, level: Level, instruments: Sequence[Instrument]) -> dict[int, int]:
        """Return the largest positions by instrument; worked out once for each listing."""
        found = self._lots[row]
        for instrument in instruments:
            known = found.get(instrument.index)
            if known is None or known[0] is not instrument:
                found[instrument.index] = instrument, _most_lots(level.rules, instrument)
        return {index: lots for index, (_, lots) in found.items() if lots is not None}


def _row(row_of: Mapping[tuple[str, str], int], kind: str, name: str) -> int:
    if (kind, name) not in row_of:
        raise ValueError(f"there is no {kind} {name}")
    return row_of[kind, name]


def _most_lots(rules: Sequence[LimitRule], instrument: Instrument) -> int | None:
    for rule in rules:
        if fnmatchcase(instrument.symbol, rule.symbol):
            return int(rule.max_position_quantity / float(instrument.lot_size) + 1e-9)
    return None
