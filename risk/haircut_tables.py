"""What haircuts of many accounts at once go by: the tables of risk/haircuts.py as arrays, and whose holdings they are.

`off_rows` writes for each segment of some accounts (an account and a risk group) what does not count in the grid, and
for each account what does not in the joint scenarios: what Haircuts.of returns, but for the order of additions.
MARGINGATE_PURE=1 takes the plain twin, which asks Haircuts.of for one account after the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from risk.collateral import AssetRule
from risk.haircuts import Haircuts
from risk.instrument import Kind
from risk.pricing import Floats
from risk.remargin import Portfolios
from risk.remargin_plain import Ints, Offsets

__all__ = ["COMPILED", "HaircutTables", "Holders", "beside", "off_rows", "tables_of"]

DERIVATIVE, OPTION, SPOT = range(3)
_COUNTS_IN_FULL: Final = AssetRule(kind="coin")


class Holders(msgspec.Struct, frozen=True, eq=False):
    """Some accounts' holdings, sorted, what each has cost (N,), and by which set of rules each account is (A,).

    What lies at venues: of account a those from placed_offsets[a] to placed_offsets[a + 1], by the tables' number of
    the venue and the generation's column. `first` is the index of the first account.
    """

    first: int
    portfolios: Portfolios
    moved: Floats
    sets: Ints
    placed_offsets: Offsets
    placed_venues: Ints
    placed_columns: Ints
    placed_amounts: Floats


class HaircutTables(msgspec.Struct, frozen=True, eq=False):
    """One generation's; I instruments, C currencies, K sets of rules, S + J scenarios side by side."""

    haircuts: Haircuts
    names: tuple[str, ...]
    venues: tuple[str, ...]
    group: Ints  # of each row of a portfolio
    known: Any  # uint8 (I,)
    kind: Ints
    settled: Ints
    bought: Ints  # the column of a spot contract's coin, -1
    venue: Ints
    worth: Floats  # (I,) today
    changes: Floats  # (I, S + J), from today
    currency_group: Ints
    prices: Floats  # (C, S + J)
    price_changes: Floats
    moves: Floats
    today: Floats  # (C,), 0 where unknown
    rise: Floats  # (C,) in scenarios of the market
    fall: Floats
    has_rule: Any  # uint8 (K, C)
    tier_offsets: Ints  # (K * C + 1,)
    tier_floors: Floats
    tier_haircuts: Floats
    pegs: Floats  # (K, C, S + J)
    worst_peg: Floats  # (K, C) in scenarios of the market
    first_haircut: Floats  # (K, C)
    is_market: Any  # uint8 (J,)
    scenarios: int
    base: int
    netting: float
    location: float

    def number_of(self, venue: str) -> int:
        """Return a venue's number; -1 for one where nothing is listed."""
        return self.venues.index(venue) if venue in self.venues else -1


def tables_of(haircuts: Haircuts, placed_at: Sequence[str] = ()) -> HaircutTables:
    """Return the tables of a generation's haircuts; `placed_at` are venues where cash may lie."""
    generation, given = haircuts.generation, haircuts.given
    size, base, count = generation.grid.size, generation.grid.base, len(generation.values)
    listed = list(haircuts.instruments[:count])
    column = {name: place for place, name in enumerate(generation.currencies)}
    venues = tuple(dict.fromkeys([one.venue for one in listed] + list(placed_at)))
    number = {name: place for place, name in enumerate(venues)}
    kinds = {Kind.SPOT: SPOT, Kind.OPTION: OPTION}
    known_prices = given.prices[:, base] > 0
    prices = np.where(known_prices[:, None], given.prices, 1.0)
    pegs = np.where(known_prices[:, None], given.pegs, 1.0)
    today = prices[:, base]
    moves = prices / today[:, None] - 1.0
    rules = [[own.get(c) for c in range(len(today))] for own in haircuts.rules]
    floors, rates, offsets = _tiers(rules)
    least = np.minimum(today[:, None], pegs)
    by_set = [
        [np.zeros(prices.shape[1]) if r is None else r.peg_haircut(least[c]) for c, r in enumerate(row)]
        for row in rules
    ]
    return HaircutTables(
        haircuts=haircuts,
        names=generation.currencies,
        venues=venues,
        group=np.concatenate((generation.group_of_instrument, generation.group_of_currency, np.zeros(1, np.int32))),
        known=generation.known.astype(np.uint8),
        kind=np.array([kinds.get(one.kind, DERIVATIVE) for one in listed], np.int32),
        settled=np.where(generation.known != 0, generation.currency_of_instrument, 0).astype(np.int32),
        bought=np.array([column.get(i.base_currency, -1) if i.kind is Kind.SPOT else -1 for i in listed], np.int32),
        venue=np.array([number[one.venue] for one in listed], np.int32),
        worth=np.nan_to_num(given.values[:, base]),
        changes=np.nan_to_num(_from_today(given.values, base, size)),
        currency_group=generation.group_of_currency.astype(np.int32),
        prices=prices,
        price_changes=_from_today(prices, base, size),
        moves=moves,
        today=np.where(known_prices, today, 0.0),
        rise=np.maximum(0.0, moves[:, given.is_market].max(axis=1)),
        fall=np.maximum(0.0, -moves[:, given.is_market].min(axis=1)),
        has_rule=np.array([[rule is not None for rule in row] for row in rules], np.uint8),
        tier_offsets=offsets,
        tier_floors=floors,
        tier_haircuts=rates,
        pegs=np.array(by_set),
        worst_peg=np.array([[row[given.is_market].max() for row in own] for own in by_set]),
        first_haircut=np.array(
            [[(r or _COUNTS_IN_FULL).first_haircut(float(today[c])) for c, r in enumerate(row)] for row in rules]
        ),
        is_market=given.is_market[size:].astype(np.uint8),
        scenarios=size,
        base=base,
        netting=haircuts.terms.netting,
        location=haircuts.terms.location,
    )  # fmt: skip


def _from_today(values: Floats, base: int, size: int) -> Floats:
    today = np.repeat(values[:, base : base + 1], values.shape[1], axis=1)
    if values.shape[1] > size:
        today[:, size:] = values[:, size : size + 1]
    changes: Floats = values - today
    return np.ascontiguousarray(changes)


def _tiers(rules: Sequence[Sequence[AssetRule | None]]) -> tuple[Floats, Floats, Ints]:
    floors: list[float] = []
    haircuts: list[float] = []
    offsets = [0]
    for own in rules:
        for rule in own:
            floors += [floor for floor, _ in rule.tiers] if rule else []
            haircuts += [haircut for _, haircut in rule.tiers] if rule else []
            offsets.append(len(floors))
    return np.array([*floors, 0.0]), np.array([*haircuts, 0.0]), np.array(offsets, np.int32)


def beside(tables: HaircutTables, rows: int) -> Ints:
    """Return rows of currencies that hold something as soon as an instrument is held, (2, R); -1 for none.

    What it settles in, and the coin of a spot contract: an account's haircuts are in their risk groups, too.
    """
    found = np.full((2, rows), -1, np.int32)
    count = len(tables.kind)
    found[0, :count] = np.where(tables.known != 0, count + tables.settled, -1)
    is_priced = (tables.bought >= 0) & (tables.today[np.maximum(tables.bought, 0)] > 0)
    found[1, :count] = np.where(is_priced, count + tables.bought, -1)
    return found


def plain_off_rows(tables: HaircutTables, held: Holders, start: int, stop: int, off: Floats, joint_off: Floats) -> None:
    """Write what of accounts `start` to `stop` does not count: off (M, S) by segment, joint_off (A, J)."""
    portfolios, size, count = held.portfolios, tables.scenarios, len(tables.kind)
    offsets = portfolios.segment_offsets
    for account in range(start, stop):
        first, last = (int(each) for each in portfolios.account_segments[account : account + 2])
        part = slice(int(offsets[first]), int(offsets[last]))
        rows, amounts = portfolios.rows[part].tolist(), portfolios.amounts[part].tolist()
        moved = held.moved[part].tolist()
        positions = [each for each in zip(rows, amounts, moved) if each[0] < count and each[1]]
        cash = {tables.names[r - count]: n for r, n in zip(rows, amounts) if count <= r < len(tables.group) - 1}
        found = tables.haircuts.of(positions, cash, held.first + account, _placed(tables, held, account))
        segments = {int(tables.group[portfolios.rows[offsets[one]]]): one for one in range(first, last)}
        joint_off[account] = found[0][size:]
        for group, row in found.items():
            if group in segments:
                off[segments[group]] += row[:size]
            elif first < last:  # a constant: where nothing can be lost, and something is owed
                off[first] += row[:size]


def _placed(tables: HaircutTables, held: Holders, account: int) -> list[tuple[str, str, float]]:
    part = slice(int(held.placed_offsets[account]), int(held.placed_offsets[account + 1]))
    columns = (
        held.placed_venues[part].tolist(),
        held.placed_columns[part].tolist(),
        held.placed_amounts[part].tolist(),
    )
    return [(tables.venues[v], tables.names[c], amount) for v, c, amount in zip(*columns, strict=True)]


def sets_of(haircuts: Mapping[int, int], first: int, count: int) -> Ints:
    """Return the sets of rules of accounts from `first` on, given those of the few that have one."""
    found = np.zeros(count, np.int32)
    if haircuts:
        found[:] = [haircuts.get(first + account, 0) for account in range(count)]
    return found


off_rows = plain_off_rows
COMPILED = False
if os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from risk._haircuts import off_rows

        COMPILED = True
    except ImportError:
        pass
