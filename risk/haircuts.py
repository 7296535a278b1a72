"""What of an account's equity does not count: haircuts of collateral, and of gains at a venue against losses elsewhere.

Both are taken off the rows of the margin kernel, scenario by scenario, for what is held. Of each asset, with X what is
held of it, U what contracts that settle in it have gained by today, contract by contract, L what others have lost,
P(s) its price and d(s) how far that moves:

    collateral  W - counted(W) with W = X P(s) + U max(P, P(s)), and the first haircut of L max(0, -d)
                                                                              (risk/collateral.py: tiers, peg)
    netting     n times max(0, X P d), U max(0, d), L max(0, -d), and over venues max(0, gain of its contracts in s)

It is never less than the house model takes off (risk/models/house.py): haircuts grow with size, and here a gain bears
the tier that it would reach if it were realised, and collateral, contracts and what those have gained so far are not
set against each other at a venue. So nothing gets worse when a contract is closed and its profit becomes cash.

All are convex and without fills in them, so a fill changes them by no more than it would alone. With D what it adds at
the mark today, D(s) in a scenario, h the largest haircut of its asset, r how far its price rises at most and m how far
it moves either way, it costs at most, beside D(s),

    K = h r max(0, D) + h m max(0, -D) + n m |D|, and for what is paid in full (spot, options) shares of its price
    n max(0, D(s) - D)

Then min(0, D(s) - k), with k = (K + n max(0, -D)) / (1 - n), is no more than any part of the fill may change: where
D(s) >= k the whole of it costs nothing, where D(s) < k no more than D(s) - k. k is what the kernel puts aside; of a
fill that is booked n max(0, D(s) - D) too, until haircuts are worked out anew with the next generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from risk.collateral import CollateralRules
from risk.instrument import Instrument, Kind
from risk.joint import JointScenarios
from risk.kernel import MarginKernel
from risk.kernel_checks import ASIDE_COLUMNS
from risk.pricing import Floats
from risk.scenarios import Generation

# Contracts whose price is paid when they are bought: what they are worth is no gain, and cash for them is cash.
_PAID: Final = (Kind.SPOT, Kind.OPTION)
MAX_NETTING: Final = 0.95

# instrument index, lots, what its fills have moved in whole units of its settlement currency
Held = tuple[int, float, float]


class HaircutTerms(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`rules` None: all collateral counts in full. `netting` is a share, below 1."""

    rules: CollateralRules | None = None
    netting: float = 0.0


class Row(Protocol):
    """What an account's holdings are written into."""

    def take_off(self, account: int, group: int, off: Floats, joint_off: Floats) -> None:
        """Take off what does not count."""


class Haircuts:
    """Those of one generation. Arrays are USD."""

    def __init__(
        self,
        terms: HaircutTerms,
        generation: Generation,
        instruments: Sequence[Instrument],
        joint: JointScenarios | None,
    ) -> None:
        if not 0 <= terms.netting <= MAX_NETTING:
            raise ValueError(f"a netting haircut lies in 0..{MAX_NETTING}")
        self._terms, self._generation, self._instruments = terms, generation, instruments
        self._base = base = generation.grid.base
        self._column = {name: column for column, name in enumerate(generation.currencies)}
        # Prices by currency in all scenarios, the joint ones behind the grid's, and the same before losses by default.
        self._values = np.concatenate((generation.values, generation.joint_values), axis=1)
        self._prices = np.concatenate((generation.currency_values, generation.joint_currency_values), axis=1)
        self._pegs = np.array(self._prices)
        for name, column in self._column.items():
            price = float(self._prices[column, base])
            if joint is not None and generation.joint and price == price:
                self._pegs[column, generation.grid.size :] = joint.currency_moved(name, price, instruments)
        self._rules = {column: terms.rules.rule(name) for name, column in self._column.items()} if terms.rules else {}
        self._worst = {column: self._most(column) for column in self._column.values()}

    def install(self, kernel: MarginKernel) -> None:
        """Tell a kernel that has just loaded the generation what of fills is put aside."""
        kernel.put_aside(self._base, self.rates(), self._terms.netting)

    def rates(self) -> Floats:
        """Return what of each fill is put aside, (I, ASIDE_COLUMNS), as MarginKernel.put_aside takes it."""
        generation, n = self._generation, self._terms.netting
        rates = np.zeros((len(generation.values), ASIDE_COLUMNS))
        for index, settled in enumerate(generation.currency_of_instrument.tolist()):
            if not generation.known[index]:
                continue
            instrument, (share, rise, move) = self._instruments[index], self._worst[settled]
            paid = n * move if instrument.kind in _PAID else 0.0
            rates[index, :2] = share * rise + n * move, n + share * move + n * move + paid
            if instrument.kind in _PAID:
                base = self._column.get(instrument.base_currency, -1)
                bought, risen, _ = self._worst[base if instrument.kind is Kind.SPOT and base >= 0 else settled]
                rates[index, 2] = (bought * risen + paid) * float(generation.values[index, self._base])
                price = float(generation.currency_values[settled, self._base])
                rates[index, 3] = (share * (rise + move) + paid) * price
        return rates / (1.0 - n)

    def apply(self, kernel: Row, account: int, positions: Iterable[Held], cash: Mapping[str, float]) -> None:
        """Take off a kernel's row what of an account's holdings does not count; the unknown is left to the kernel."""
        self.take_off(kernel, account, self.of(positions, cash))

    def take_off(self, kernel: Row, account: int, off: Mapping[int, Floats]) -> None:
        """Take off a kernel's row what `of` returned."""
        size, none = self._generation.grid.size, np.zeros(self._generation.joint)
        for group, row in off.items():
            kernel.take_off(account, group, row[:size], row[size:] if group == 0 else none)

    def deposited(self, kernel: Row, account: int, currency: str, amount: float) -> None:
        """Take off what of an amount that has come in may not count, until haircuts are worked out anew."""
        column, size = self._column[currency], self._generation.grid.size
        prices = self._prices[column]
        if not prices[self._base] > 0:
            return
        off = amount * self._terms.netting * np.maximum(0.0, prices - self._today(prices))
        if column in self._rules:
            off = off + amount * self._share(column) * prices
        group = int(self._generation.group_of_currency[column])
        kernel.take_off(account, group, off[:size], off[size:])

    def of(self, positions: Iterable[Held], cash: Mapping[str, float]) -> dict[int, Floats]:
        """Return by risk group what does not count, (S + J,); that of the joint scenarios is all in the first group."""
        generation, base, size = self._generation, self._base, self._generation.grid.size
        assets: dict[int, _Asset] = {}
        for name, amount in cash.items():
            if name in self._column:
                assets.setdefault(self._column[name], _Asset()).owned += amount
        changes: dict[tuple[str, int], Floats] = {}
        for index, lots, moved in positions:
            if index >= len(generation.known) or not generation.known[index]:
                continue
            instrument, settled = self._instruments[index], int(generation.currency_of_instrument[index])
            own = lots * self._values[index]
            if instrument.kind is Kind.SPOT:
                bought = self._column.get(instrument.base_currency, -1)
                if bought >= 0:
                    assets.setdefault(bought, _Asset()).owned += float(own[base] / self._prices[bought, base])
                continue
            asset = assets.setdefault(settled, _Asset())
            if instrument.kind is Kind.OPTION:
                change = own - self._today(own)
            else:
                own = own + moved * self._prices[settled]
                asset.owned -= moved
                change = own - self._today(own) - float(own[base]) * self._moves(settled)
                asset.unpaid(float(own[base]))
            asset.add(float(own[base]))
            key = instrument.venue, int(generation.group_of_instrument[index])
            changes[key] = changes[key] + change if key in changes else change
        off: dict[int, Floats] = {0: np.zeros(size + generation.joint)}
        for column, asset in assets.items():
            self._of_asset(off, column, asset)
        if self._terms.netting:
            self._of_venues(off, changes)
        return off

    def _of_asset(self, off: dict[int, Floats], column: int, asset: _Asset) -> None:
        """Add the haircut of one asset, and what its own gain bears."""
        prices, n = self._prices[column], self._terms.netting
        today = float(prices[self._base])
        if not today > 0:
            return
        moves = self._moves(column)
        rises, falls = np.maximum(0.0, moves), np.maximum(0.0, -moves)
        rule, found = self._rules.get(column), np.zeros(len(prices))
        if rule is not None:
            held = max(0.0, asset.owned) * prices + asset.gained * (1.0 + rises)
            found += held - rule.counted(held, np.minimum(today, self._pegs[column]))
            found += rule.first_haircut(today) * asset.lost * falls
        if n:
            found += n * (today * np.maximum(0.0, asset.owned * moves))
            found += n * (asset.unpaid_gain * rises + asset.unpaid_loss * falls)
        _add(off, int(self._generation.group_of_currency[column]), found, self._generation.grid.size)

    def _moves(self, column: int) -> Floats:
        """Return how far a currency's price moves in each scenario, relative."""
        prices = self._prices[column]
        moves: Floats = prices / prices[self._base] - 1.0
        return moves

    def _of_venues(self, off: dict[int, Floats], changes: Mapping[tuple[str, int], Floats]) -> None:
        """Add what gains of contracts at each venue bear: each coin's alone in the grid, all together jointly."""
        size, share = self._generation.grid.size, self._terms.netting
        jointly: dict[str, Floats] = {}
        for (venue, group), change in changes.items():
            row = off.setdefault(group, np.zeros(size + self._generation.joint))
            row[:size] += share * np.maximum(0.0, change[:size])
            jointly[venue] = jointly[venue] + change[size:] if venue in jointly else change[size:]
        for change in jointly.values():
            off[0][size:] += share * np.maximum(0.0, change)

    def _today(self, values: Floats) -> Floats:
        """Return today's value for each scenario: of the grid its base, of the joint ones their first."""
        size = self._generation.grid.size
        today = np.full(len(values), values[self._base])
        today[size:] = values[size] if len(values) > size else 0.0
        return today

    def _share(self, column: int) -> float:
        """Return the largest haircut of an asset in any scenario."""
        rule, today = self._rules.get(column), float(self._prices[column, self._base])
        if rule is None:
            return 0.0
        return min(1.0, rule.tiers[-1][1] + float(rule.peg_haircut(np.minimum(today, self._pegs[column])).max()))

    def _most(self, column: int) -> tuple[float, float, float]:
        """Return the same, one plus how far the asset's price rises at most, and how far it moves either way."""
        if not self._prices[column, self._base] > 0:
            return 0.0, 1.0, 0.0
        moves = self._moves(column)
        return self._share(column), 1.0 + max(0.0, float(moves.max())), float(np.abs(moves).max())


class _Asset:
    """What an account has of one asset: units held; USD that contracts have gained and lost, options' value among it,
    and without them."""

    __slots__ = ("gained", "lost", "owned", "unpaid_gain", "unpaid_loss")

    def __init__(self) -> None:
        self.owned = self.gained = self.lost = self.unpaid_gain = self.unpaid_loss = 0.0

    def add(self, value: float) -> None:
        """Count what one contract is worth beside what it cost."""
        self.gained += max(0.0, value)
        self.lost += max(0.0, -value)

    def unpaid(self, value: float) -> None:
        """Count what is not paid yet."""
        self.unpaid_gain += max(0.0, value)
        self.unpaid_loss += max(0.0, -value)


def _add(off: dict[int, Floats], group: int, found: Floats, size: int) -> None:
    """Add a row: the grid's part to its group, the joint part to the first."""
    row = off.setdefault(group, np.zeros(len(found)))
    row[:size] += found[:size]
    off[0][size:] += found[size:]
