"""The house model's equity and netting over a generation's risk arrays, by its own formulas: a judge of the path.

What risk/models/house_book.py and house_scenarios.py say, one portfolio at a time, nothing of kernels or bounds: equity
is collateral that counts and values of contracts, whose gains bear the first haircut of their asset; profits are added
up venue by venue, where gains bear the netting haircut.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec
import numpy as np

from risk.collateral import AssetRule, CollateralRules
from risk.haircuts import HaircutTerms
from risk.instrument import Kind
from risk.joint import JointScenarios, Stress
from risk.pricing import Floats
from risk.scenarios import Generation, build_generation
from tests.risk.contracts import CURRENCIES, GRID, INDEX_PRICES, INSTRUMENTS, MARKS

# The same contracts on two venues, so that one hedges another elsewhere.
CONTRACTS = tuple(
    msgspec.structs.replace(i, venue="other") if i.index in (1, 4) else i for i in INSTRUMENTS
)  # fmt: skip
JOINT = JointScenarios(
    days={"2020-03-12": {"BTC": -0.3, "ETH": -0.4}, "2021-01-03": {"BTC": 0.1, "ETH": 0.25}},
    stress=Stress(spike_moves=(-0.2, 0.2), spike_vol=1.0, peg_moves=(-0.1, 0.02), default_moves=(-0.1, 0.1)),
    venues=("test", "other"),
)
GENERATION = build_generation(
    number=1, as_of_ns=0, grid=GRID, instruments=CONTRACTS, marks=MARKS, currencies=CURRENCIES,
    index_prices=INDEX_PRICES, joint=JOINT,
)  # fmt: skip
RULES = CollateralRules(
    assets={
        "USDC": AssetRule(kind="stable", tiers=((0.0, 0.0), (30_000.0, 0.02)), peg=((0.995, 0.01), (0.95, 0.2))),
        "BTC": AssetRule(kind="coin", tiers=((0.0, 0.05), (40_000.0, 0.15))),
        "ETH": AssetRule(kind="coin", tiers=((0.0, 0.1), (5_000.0, 0.3))),
    }
)
HOME = "house"
TERMS = (
    HaircutTerms(rules=RULES),
    HaircutTerms(netting=0.3),
    HaircutTerms(rules=RULES, netting=0.2),
    HaircutTerms(rules=msgspec.structs.replace(RULES, eligible=("USDC",)), netting=0.1),
)


class Portfolio:
    """Lots and what they cost by instrument, cash by currency index."""

    def __init__(self, cash: dict[int, float]) -> None:
        self.lots: defaultdict[int, float] = defaultdict(float)
        self.cost: defaultdict[int, float] = defaultdict(float)
        self.cash: defaultdict[int, float] = defaultdict(float, cash)

    def filled(self, instrument: int, lots: float, cash: float) -> Portfolio:
        """Return it with a fill; what a contract has gained becomes cash when nothing of it is left."""
        other = Portfolio(self.cash)
        other.lots.update(self.lots)
        other.cost.update(self.cost)
        other.lots[instrument] += lots
        other.cost[instrument] += cash
        other.cash[int(GENERATION.currency_of_instrument[instrument])] += cash
        if not other.lots[instrument]:
            other.cost[instrument] = 0.0
        return other

    def positions(self) -> list[tuple[int, float, float]]:
        """Return what Haircuts takes."""
        return [(i, lots, self.cost[i]) for i, lots in self.lots.items() if lots]

    def named_cash(self) -> dict[str, float]:
        """Return cash by the currency's name."""
        return {CURRENCIES[c]: amount for c, amount in self.cash.items()}


def left(held: Portfolio, terms: HaircutTerms) -> float:
    """Return what the house model leaves of a portfolio in the worst scenario of either block."""
    values = np.concatenate((GENERATION.values, GENERATION.joint_values), axis=1)
    prices = np.concatenate((GENERATION.currency_values, GENERATION.joint_currency_values), axis=1)
    size, base = GRID.size, GRID.base
    today = np.full(values.shape[1], base)
    today[size:] = size
    owned, unpaid = dict(held.cash), defaultdict(float)
    by_venue: defaultdict[tuple[str, int], Floats] = defaultdict(lambda: np.zeros(values.shape[1]))
    for i, lots, cost in held.positions():
        contract, settled = CONTRACTS[i], int(GENERATION.currency_of_instrument[i])
        if contract.kind is Kind.SPOT:
            coin = CURRENCIES.index(contract.base_currency)
            amount = lots * float(values[i][base]) / float(prices[coin][base])  # at its own mark
            owned[coin] = owned.get(coin, 0.0) + amount
            # A defaulted exchange's stands still.
            by_venue[HOME, int(GENERATION.group_of_instrument[i])] += lots * values[i] - amount * prices[coin]
            continue
        own = lots * values[i]
        if contract.kind is not Kind.OPTION:  # the profit is not paid yet: what it cost is no cash
            owned[settled] = owned.get(settled, 0.0) - cost
            own = own + cost * prices[settled]
        unpaid[contract.venue, settled] += own[base]
        by_venue[contract.venue, int(GENERATION.group_of_instrument[i])] += own - own[today]
    equity = 0.0
    for (venue, settled), value in unpaid.items():
        haircut = first(terms, settled)
        equity += min(value, value * (1.0 - haircut))
        moved = value * (prices[settled] / prices[settled][base] - 1.0)
        by_venue[venue, int(GENERATION.group_of_currency[settled])] -= haircut * np.maximum(0.0, moved)
    for asset, amount in owned.items():
        counted = counting(terms, asset, amount, prices[asset])
        equity += float(counted[base])
        by_venue[HOME, int(GENERATION.group_of_currency[asset])] += counted - counted[base]
    return equity + worst(by_venue, terms.netting, size)


def first(terms: HaircutTerms, asset: int) -> float:
    return 0.0 if terms.rules is None else terms.rules.rule(CURRENCIES[asset]).first_haircut(1.0)


def counting(terms: HaircutTerms, asset: int, amount: float, prices: Floats) -> Floats:
    if terms.rules is None or amount <= 0:
        return amount * prices
    # No loss by default here: the price of a stablecoin is its peg.
    return terms.rules.rule(CURRENCIES[asset]).counted(amount * prices, prices)


def worst(by_venue: dict[tuple[str, int], Floats], haircut: float, size: int) -> float:
    """Return the worse of each coin's own worst, and of all coins together."""
    alone, venues = 0.0, {venue for venue, _ in by_venue}
    for group in range(len(GENERATION.groups)):
        parts = [by_venue[venue, group][:size] for venue in venues if (venue, group) in by_venue]
        if parts:
            alone += float(netted(parts, haircut).min())
    jointly = [sum(change[size:] for (at, _), change in by_venue.items() if at == venue) for venue in venues]
    return min(alone, float(netted(jointly, haircut).min()) if jointly else 0.0)


def netted(parts: list[Floats], haircut: float) -> Floats:
    return np.minimum(parts, (1.0 - haircut) * np.array(parts)).sum(axis=0)


def generation() -> Generation:
    """Return the generation of both blocks."""
    return GENERATION
