"""What one account's margin is made of, in USD: from its positions, cash, working orders and the last risk arrays.

Equity and initial margin are the kernel's, the very figures that orders are checked against. What they are made of is
worked out here, class by class; a class is a risk group: all contracts on one coin, and the coin itself.

    core         equity[base] - min over scenarios of equity[s], of what is held
    orders       what the worst fills of working orders add to it
    initial      the sum of both over classes
    maintenance  mm_factor * the sum of core: working orders are not in it

The ledger books what a fill moves as cash. Told as cash is what is there without the fills of open positions: deposits,
results of closed ones, less fees. So equity is cash and the profit of open positions, since their first fill.

mm_factor is Deribit's, as its portfolio margin has it (risk/models/parameters/deribit_portfolio.toml).
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from risk.account import Account
from risk.instrument import UNITS_PER_WHOLE
from risk.marks import Market
from risk.models.deribit_portfolio import DeribitPortfolioParameters
from risk.models.parameters import parameters
from risk.scenarios import Generation

MAINTENANCE_FACTOR: Final = parameters("deribit_portfolio", DeribitPortfolioParameters)[0].mm_factor


class MarginClass(msgspec.Struct, frozen=True, gc=False):
    """One risk group: what is held needs `core`, working orders add `orders`; USD."""

    name: str
    equity: float
    core: float
    orders: float


class Collateral(msgspec.Struct, frozen=True, gc=False):
    """Cash of one currency, in units of 1e-8; what one whole is worth in USD, and what the worst scenario takes off."""

    currency: str
    units: int
    price: float
    haircut: float

    @property
    def counted(self) -> float:
        """What it secures, in its own currency: a debt counts in full."""
        amount = self.units / UNITS_PER_WHOLE
        return amount * (1.0 - self.haircut) if amount > 0 else amount


class Figures(msgspec.Struct, frozen=True, gc=False):
    """One account's margin in USD. Below zero `excess` is a deficit."""

    account: str
    equity: float
    cash: float
    initial: float
    classes: tuple[MarginClass, ...]
    collateral: tuple[Collateral, ...]

    @property
    def core(self) -> float:
        """What is held needs."""
        return sum(one.core for one in self.classes)

    @property
    def maintenance(self) -> float:
        """Below it what is held is liquidated."""
        return MAINTENANCE_FACTOR * self.core

    @property
    def excess(self) -> float:
        """What no scenario could take."""
        return self.equity - self.initial


def figures_of(account: Account, market: Market, generation: Generation | None, now_ns: int) -> Figures | str:
    """Return an account's margin, or why it is not known now: nothing is told of arrays that no check would use."""
    if generation is None or now_ns - market.generation_time_ns > market.generation_max_age_ns:
        return "margin unknown: no fresh risk arrays"
    kernel, base = market.kernel, market.base_scenario
    worst, equity = kernel.worst(account.index), kernel.equity(account.index, base)
    if not (worst == worst and equity == equity):
        return "margin unknown: a held contract, a currency or an order has no mark"
    count, groups = len(generation.values), generation.groups
    rows = np.zeros((len(groups), generation.grid.size))
    lots_of = {index: position.lots for index, position in account.positions.items() if position.lots}
    if max(lots_of, default=-1) >= count:
        return "margin unknown: a held contract was listed after the last risk arrays"
    indices = list(lots_of)
    lots = np.array(list(lots_of.values()), dtype=np.float64)
    np.add.at(rows, generation.group_of_instrument[indices], lots[:, None] * generation.values[indices])
    traded: dict[str, int] = {}
    for position in account.positions.values():
        if position.lots:
            currency = position.instrument.settlement_currency
            traded[currency] = traded.get(currency, 0) + position.cash_units
    column = {currency: number for number, currency in enumerate(generation.currencies)}
    collateral = []
    cash = 0.0
    for currency, moved in sorted(account.cash_units.items()):
        if not moved:
            continue
        values = generation.currency_values[column[currency]]
        rows[generation.group_of_currency[column[currency]]] += moved / UNITS_PER_WHOLE * values
        price, units = float(values[base]), moved - traded.get(currency, 0)
        cash += units / UNITS_PER_WHOLE * price
        collateral.append(Collateral(currency, units, price, float(1.0 - values.min() / price)))
    classes = []
    for number, name in enumerate(groups):
        held, with_orders = rows[number], kernel.row(account.index, number)
        core = float(held[base] - held.min())
        if held.any() or with_orders.any():
            needed = float(held[base] - with_orders.min())
            classes.append(MarginClass(name, float(held[base]), core, max(0.0, needed - core)))
    return Figures(account.name, equity, cash, equity - worst, tuple(classes), tuple(collateral))
