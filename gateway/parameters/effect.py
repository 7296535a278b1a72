"""What other margin parameters would do to every account, worked out beside the order path and before they act.

The marks of one moment are priced twice, by the parameters in force and by the others, and each account's positions,
cash and working orders are put into a kernel of either. The kernel that orders are checked by is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan
from typing import Final

import msgspec

from gateway.valuation import INSTRUMENTS_PER_SLICE, Acting, Valuation
from risk.account import Account
from risk.house_terms import HouseTerms
from risk.instrument import UNITS_PER_WHOLE
from risk.kernel import MarginKernel
from risk.limits import RowTerms
from risk.parameter_life import AccountEffect, ParameterError
from risk.repricing import MarketSnapshot, Repricing
from risk.scenarios import Generation

# Accounts that a shadow kernel has at once, and how many are asked in a slice: some 30 us each.
ACCOUNTS_AT_ONCE: Final = 256
ACCOUNTS_PER_SLICE: Final = 8


class Shadow:
    """One generation, and a kernel beside the market's for some accounts at a time."""

    def __init__(self, generation: Generation, terms: HouseTerms, snapshot: MarketSnapshot) -> None:
        self._generation, self._instruments = generation, snapshot.instruments
        # An account's own figures do not depend on what stands above it.
        self._terms = msgspec.structs.replace(terms, hierarchy=None, counts_sizes=terms.is_charged)
        self._hierarchy = terms.hierarchy
        self._columns = {currency: column for column, currency in enumerate(generation.currencies)}
        self._kernel = self.clear()

    def clear(self) -> MarginKernel:
        """Begin with an empty kernel."""
        generation = self._generation
        kernel = self._kernel = MarginKernel(
            ACCOUNTS_AT_ONCE,
            len(generation.groups),
            max(1, len(generation.values)),
            len(generation.currencies),
            generation.grid.size,
            generation.joint,
        )
        kernel.load(*generation.arrays())
        self._haircuts = self._terms.prepare(kernel, generation, self._instruments)
        return kernel

    def figures(self, account: Account, row: int) -> tuple[float, float]:
        """Return an account's equity and initial margin; NaN where the generation does not know all that it has."""
        kernel, count = self._kernel, len(self._generation.values)
        held = [each for each in account.positions.values() if each.lots]
        if any(each.instrument.index >= count for each in held) or any(
            each[1] >= count for each in account.exposure.held
        ):
            return nan, nan
        if any(units and currency not in self._columns for currency, units in account.cash_units.items()):
            return nan, nan
        kernel.set_terms(row, RowTerms() if self._hierarchy is None else self._hierarchy.terms_of(account.index))
        for position in held:
            kernel.add_position(row, position.instrument.index, position.lots)
        for currency, units in account.cash_units.items():
            if units:
                kernel.add_cash(row, self._columns[currency], units / UNITS_PER_WHOLE)
        if self._haircuts is not None:
            kernel.bear(row, self._haircuts.set_of(account.index))
            self._haircuts.apply(kernel, account.index, *account.held_for(self._haircuts), row=row)
        for _, index, lots, cash, alt_lots, alt_cash in account.exposure.held:
            kernel.hold(row, index, lots, cash, alt_lots, alt_cash)
        equity = kernel.equity(row, self._generation.grid.base)
        return equity, equity - kernel.worst(row)


class EffectPass:
    """One comparison: `steps` works it out in slices, `rows` are there after the last."""

    def __init__(self, valuation: Valuation, accounts: Mapping[str, Account], mark_max_age_ns: int) -> None:
        self._valuation, self._accounts, self._max_age_ns = valuation, accounts, mark_max_age_ns
        self.rows: list[AccountEffect] = []

    def steps(self, other: Acting) -> Iterator[None]:
        """Compare what is in force with another. Raises ParameterError before the first marks have come."""
        valuation, snapshot = self._valuation, self._valuation.snapshot
        if snapshot is None or valuation.generation is None:
            raise ParameterError("no marks have come yet: what the parameters do is not known")
        shadows = []
        for acting in (valuation.in_force, other):
            repricing = Repricing(snapshot, self._max_age_ns, valuation.setting_of(acting.terms))
            while not repricing.price_some(INSTRUMENTS_PER_SLICE):
                yield
            yield
            shadows.append(Shadow(repricing.generation(), acting.terms, snapshot))
            yield
        before, after = shadows
        for number, account in enumerate(list(self._accounts.values())):
            row = number % ACCOUNTS_AT_ONCE
            if number and not row:
                before.clear()
                yield
                after.clear()
                yield
            _, margin_before = before.figures(account, row)
            equity, margin_after = after.figures(account, row)
            self.rows.append(AccountEffect(account.name, equity, margin_before, margin_after))
            if number % ACCOUNTS_PER_SLICE == ACCOUNTS_PER_SLICE - 1:
                yield
