"""What of an account's equity does not count: haircuts of collateral, and of gains at a venue against losses elsewhere.

Both are taken off the rows of the margin kernel, scenario by scenario, for what is held. Of each asset, with X what is
held of it, U what contracts that settle in it have gained by today, contract by contract, L what others have lost,
P(s) its price and d(s) how far that moves:

    collateral  W - counted(W) with W = X P(s) + U max(P, P(s)), and the first haircut of L max(0, -d)
                                                                              (risk/collateral.py: tiers, peg)
    netting     n times max(0, X P d), U max(0, d), L max(0, -d), and over venues max(0, gain of its contracts in s)
    location    what is missing at venues, at a rate (risk/location.py); then X is place by place

An asset that a profile of the account does not take counts like one that the house does not: nothing while it is held,
whole while it is owed. An account's rules are one of a few sets, which all accounts with the same profiles share.

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

from risk.collateral import AssetRule, CollateralRules, narrowed
from risk.instrument import Instrument, Kind
from risk.joint import Flags, JointScenarios
from risk.kernel import MarginKernel
from risk.kernel_checks import ASIDE_COLUMNS, Ints
from risk.location import Places
from risk.pricing import Floats
from risk.scenarios import Generation

# Contracts whose price is paid when they are bought: what they are worth is no gain, and cash for them is cash.
_PAID: Final = (Kind.SPOT, Kind.OPTION)
MAX_NETTING: Final = 0.95
# Different sets of assets that accounts' profiles take.
MAX_SETS: Final = 64

# instrument index, lots, what its fills have moved in whole units of its settlement currency
Held = tuple[int, float, float]
# venue, currency and amount of the cash that lies there, what fills of open positions have moved among it
Placed = tuple[str, str, float]


class HaircutTerms(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`rules` None: all collateral counts in full. `netting` is a share, below 1; `location` a rate of what is missing.

    `eligible` are the assets that the profiles of an account take, by kernel row; of a desk those that all below take.
    """

    rules: CollateralRules | None = None
    netting: float = 0.0
    location: float = 0.0
    eligible: Mapping[int, tuple[str, ...]] = {}


class Given(msgspec.Struct, frozen=True, eq=False):
    """Scenarios of the grid and behind them the joint ones: values (I, S + J), prices, and prices before what is lost
    with an exchange (C, S + J), and which are of the market (S + J,).
    """

    values: Floats
    prices: Floats
    pegs: Floats
    is_market: Flags


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
        if not (0 <= terms.netting <= MAX_NETTING and 0 <= terms.location <= 1):
            raise ValueError(f"a netting haircut lies in 0..{MAX_NETTING}, a charge for location in 0..1")
        self.terms, self.generation, self.instruments = terms, generation, instruments
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
        self._market = np.ones(self._values.shape[1], dtype=bool)
        if joint is not None and generation.joint:
            self._market[generation.grid.size :] = joint.is_market
        # The first set is the house's own.
        sets = dict.fromkeys(terms.eligible.values())
        if len(sets) > MAX_SETS:
            raise ValueError(f"{len(sets)} different sets of eligible collateral are more than {MAX_SETS}")
        self._sets: tuple[tuple[str, ...] | None, ...] = (None, *sets)
        number = {assets: place for place, assets in enumerate(sets, 1)}
        self.sets = {row: number[assets] for row, assets in terms.eligible.items()}
        self.rules = [self._rules_of(assets) for assets in self._sets]
        self._worst = [{c: self._most(rules, c) for c in self._column.values()} for rules in self.rules]

    def _rules_of(self, eligible: tuple[str, ...] | None) -> dict[int, AssetRule]:
        """Return the rule of each currency, by column; none where all counts in full."""
        rules = self.terms.rules
        if rules is None and eligible is None:
            return {}
        return {column: narrowed(rules, name, eligible) for name, column in self._column.items()}

    @property
    def given(self) -> Given:
        """What of the generation it goes by."""
        return Given(self._values, self._prices, self._pegs, self._market)

    @property
    def asks_where(self) -> bool:
        """Whether it matters where cash lies."""
        return self.terms.location > 0

    def install(self, kernel: MarginKernel) -> None:
        """Tell a kernel that has just loaded the generation what of fills is put aside."""
        bearers: Ints | None = None
        if self.sets:
            bearers = np.zeros(kernel.accounts, np.int32)
            for row, place in self.sets.items():
                if row < kernel.accounts:  # of a kernel that accounts take turns in each says so itself
                    bearers[row] = place
        rates = np.stack([self.rates(place) for place in range(len(self._sets))])
        kernel.put_aside(self._base, rates, self.terms.netting, self.terms.location, bearers)

    def set_of(self, account: int) -> int:
        """Return the number of an account's set of rules, by which its row puts aside; 0 is the house's own."""
        return self.sets.get(account, 0)

    def rates(self, place: int = 0) -> Floats:
        """Return what of each fill is put aside by a set of rules, (I, ASIDE_COLUMNS), as MarginKernel.put_aside."""
        generation, n, worst = self.generation, self.terms.netting, self._worst[place]
        rates = np.zeros((len(generation.values), ASIDE_COLUMNS))
        for index, settled in enumerate(generation.currency_of_instrument.tolist()):
            if not generation.known[index]:
                continue
            instrument, (share, rise, move) = self.instruments[index], worst[settled]
            paid = n * move if instrument.kind in _PAID else 0.0
            rates[index, :2] = share * rise + n * move, n + share * move + n * move + paid
            if instrument.kind in _PAID:
                base = self._column.get(instrument.base_currency, -1)
                bought, risen, _ = worst[base if instrument.kind is Kind.SPOT and base >= 0 else settled]
                rates[index, 2] = (bought * risen + paid) * float(generation.values[index, self._base])
                price = float(generation.currency_values[settled, self._base])
                rates[index, 3] = (share * (rise + move) + paid) * price
        return rates * (1.0 + self.terms.location) / (1.0 - n)

    def apply(
        self, kernel: Row, account: int, positions: Iterable[Held], cash: Mapping[str, float],
        placed: Iterable[Placed] = (), row: int = -1,
    ) -> None:  # fmt: skip
        """Take off a kernel's row what of an account's holdings does not count; the unknown is left to the kernel.

        `row` is the account's in the kernel, where that is not its index.
        """
        self.take_off(kernel, account if row < 0 else row, self.of(positions, cash, account, placed))

    def take_off(self, kernel: Row, account: int, off: Mapping[int, Floats]) -> None:
        """Take off a kernel's row what `of` returned."""
        size, none = self.generation.grid.size, np.zeros(self.generation.joint)
        for group, row in off.items():
            kernel.take_off(account, group, row[:size], row[size:] if group == 0 else none)

    def deposited(self, kernel: Row, account: int, currency: str, amount: float, row: int = -1) -> None:
        """Take off what of an amount that has come in may not count, until haircuts are worked out anew.

        Of one that went out, what it may leave missing where it lay.
        """
        column, size = self._column[currency], self.generation.grid.size
        prices, location = self._prices[column], self.terms.location
        if not prices[self._base] > 0 or (amount < 0 and not location):
            return
        if amount < 0:
            off = -amount * location * prices
        else:
            off = amount * self.terms.netting * np.maximum(0.0, prices - self._today(prices))
            rules = self.rules[self.set_of(account)]
            if column in rules:
                off = off + amount * self._share(rules, column) * prices
        group = int(self.generation.group_of_currency[column])
        kernel.take_off(account if row < 0 else row, group, off[:size], off[size:])

    def counts(self, account: int, currency: str) -> float:
        """Return the share of the first dollar of a currency that counts for an account, 0..1, at today's price."""
        column = self._column.get(currency, -1)
        rule = self.rules[self.set_of(account)].get(column)
        if rule is None:
            return 1.0
        today = float(self._prices[column, self._base])
        return 1.0 - rule.first_haircut(today) if today > 0 else 0.0

    def not_taken(
        self, account: int, positions: Sequence[Held], cash: Mapping[str, float], placed: Sequence[Placed] = ()
    ) -> tuple[Floats, Floats]:
        """Return what would count beside if no profile said anything, USD (G, S) and (J,)."""
        size, groups = self.generation.grid.size, len(self.generation.groups)
        own, house = (self.of(positions, cash, one, placed) for one in (account, -1))
        given = np.zeros((groups, size))
        for sign, off in ((1.0, own), (-1.0, house)):
            for group, values in off.items():
                given[group] += sign * values[:size]
        return given, own[0][size:] - house[0][size:]

    def of(
        self, positions: Iterable[Held], cash: Mapping[str, float], account: int = -1, placed: Iterable[Placed] = ()
    ) -> dict[int, Floats]:
        """Return by risk group what does not count, (S + J,); that of the joint scenarios is all in the first group.

        `placed` says what of the cash lies at venues; it is looked at where location costs.
        """
        generation, base, size = self.generation, self._base, self.generation.grid.size
        assets: dict[int, _Asset] = {}
        places = Places(self.terms.location) if self.terms.location else None
        for venue, name, amount in placed if places is not None else ():
            if name in self._column:
                assets.setdefault(self._column[name], _Asset()).move(venue, amount)
        for name, amount in cash.items():
            if name in self._column:
                assets.setdefault(self._column[name], _Asset()).owned += amount
        changes: dict[tuple[str, int], Floats] = {}
        for index, lots, moved in positions:
            if index >= len(generation.known) or not generation.known[index]:
                continue
            instrument, settled = self.instruments[index], int(generation.currency_of_instrument[index])
            own = lots * self._values[index]
            if instrument.kind is Kind.SPOT:
                bought = self._column.get(instrument.base_currency, -1)
                if bought >= 0:
                    asset, amount = assets.setdefault(bought, _Asset()), float(own[base] / self._prices[bought, base])
                    asset.owned += amount
                    asset.move(instrument.venue, amount)
                continue
            asset = assets.setdefault(settled, _Asset())
            if instrument.kind is Kind.OPTION:
                change = own - self._today(own)
            else:
                own = own + moved * self._prices[settled]
                asset.owned -= moved
                asset.move(instrument.venue, -moved)
                change = own - self._today(own) - float(own[base]) * self._moves(settled)
                asset.unpaid(float(own[base]))
            asset.add(float(own[base]))
            key = instrument.venue, int(generation.group_of_instrument[index])
            changes[key] = changes[key] + change if key in changes else change
            if places is not None:
                places.gain(*key, own - self._today(own))
                places.worth(instrument.venue, settled, float(own[base]))
        off: dict[int, Floats] = {0: np.zeros(size + generation.joint)}
        for column, asset in assets.items():
            self._of_asset(off, column, asset, self.rules[self.set_of(account)].get(column), places)
        if self.terms.netting:
            self._of_venues(off, changes)
        if places is not None:
            places.charge(off, size, self._market)
        return off

    def _of_asset(
        self, off: dict[int, Floats], column: int, asset: _Asset, rule: AssetRule | None, places: Places | None
    ) -> None:
        """Add the haircut of one asset, and what its own gain bears; say what of it lies at each venue."""
        prices, n = self._prices[column], self.terms.netting
        today = float(prices[self._base])
        if not today > 0:
            return
        moves = self._moves(column)
        rises, falls = np.maximum(0.0, moves), np.maximum(0.0, -moves)
        found, gross = np.zeros(len(prices)), asset.gross if places is not None else max(0.0, asset.owned)
        if rule is not None:
            held = gross * prices + asset.gained * (1.0 + rises)
            found += held - rule.counted(held, np.minimum(today, self._pegs[column]))
            found += rule.first_haircut(today) * asset.lost * falls
        if n:
            found += n * today * (gross * rises + (gross - asset.owned) * falls)
            found += n * (asset.unpaid_gain * rises + asset.unpaid_loss * falls)
        group = int(self.generation.group_of_currency[column])
        _add(off, group, found, self.generation.grid.size)
        if places is not None:
            rise, fall = (max(0.0, float(way[self._market].max())) for way in (moves, -moves))
            lost = self._lost_share(rule, column, (gross * today + asset.gained) * (1.0 + rise))
            places.lay(column, group, asset.at, prices - self._today(prices), today, (lost, 1.0 + rise, fall))

    def _lost_share(self, rule: AssetRule | None, column: int, value: float) -> float:
        """Return which share of so much of an asset does not count at worst, in scenarios of the market."""
        if rule is None:
            return 0.0
        least = np.minimum(self._prices[column, self._base], self._pegs[column, self._market])
        worth = max(value, 1.0)  # of nothing, and of what is owed, the first dollar's
        return 1.0 - float(rule.counted(worth, least).min()) / worth

    def _moves(self, column: int) -> Floats:
        """Return how far a currency's price moves in each scenario, relative."""
        prices = self._prices[column]
        moves: Floats = prices / prices[self._base] - 1.0
        return moves

    def _of_venues(self, off: dict[int, Floats], changes: Mapping[tuple[str, int], Floats]) -> None:
        """Add what gains of contracts at each venue bear: each coin's alone in the grid, all together jointly."""
        size, share = self.generation.grid.size, self.terms.netting
        jointly: dict[str, Floats] = {}
        for (venue, group), change in changes.items():
            row = off.setdefault(group, np.zeros(size + self.generation.joint))
            row[:size] += share * np.maximum(0.0, change[:size])
            jointly[venue] = jointly[venue] + change[size:] if venue in jointly else change[size:]
        for change in jointly.values():
            off[0][size:] += share * np.maximum(0.0, change)

    def _today(self, values: Floats) -> Floats:
        """Return today's value for each scenario: of the grid its base, of the joint ones their first."""
        size = self.generation.grid.size
        today = np.full(len(values), values[self._base])
        today[size:] = values[size] if len(values) > size else 0.0
        return today

    def _share(self, rules: Mapping[int, AssetRule], column: int) -> float:
        """Return the largest haircut of an asset in any scenario."""
        rule, today = rules.get(column), float(self._prices[column, self._base])
        if rule is None:
            return 0.0
        return min(1.0, rule.tiers[-1][1] + float(rule.peg_haircut(np.minimum(today, self._pegs[column])).max()))

    def _most(self, rules: Mapping[int, AssetRule], column: int) -> tuple[float, float, float]:
        """Return the same, one plus how far the asset's price rises at most, and how far it moves either way."""
        if not self._prices[column, self._base] > 0:
            return 0.0, 1.0, 0.0
        moves = self._moves(column)
        return self._share(rules, column), 1.0 + max(0.0, float(moves.max())), float(np.abs(moves).max())


class _Asset:
    """What an account has of one asset: units held; USD that contracts have gained and lost, options' value among it,
    and without them; `at` what of the units lies at which venue."""

    __slots__ = ("at", "gained", "lost", "owned", "unpaid_gain", "unpaid_loss")

    def __init__(self) -> None:
        self.owned = self.gained = self.lost = self.unpaid_gain = self.unpaid_loss = 0.0
        self.at: dict[str, float] = {}

    def move(self, venue: str, units: float) -> None:
        """Count units at a venue; what is nowhere else is with the house."""
        self.at[venue] = self.at.get(venue, 0.0) + units

    @property
    def gross(self) -> float:
        """What is held, place by place: a debt at one is not set against another."""
        return sum(max(0.0, units) for units in self.at.values()) + max(0.0, self.owned - sum(self.at.values()))

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
