"""The house model's equity and netting over a generation's risk arrays, by its own formulas: a judge of the path.

What risk/models/house_book.py and house_scenarios.py say, one portfolio at a time, nothing of kernels or bounds: equity
is collateral that counts and values of contracts, whose gains bear the first haircut of their asset; profits are added
up venue by venue, where gains bear the netting haircut. Where location costs, all is where it lies, and what a venue's
losses exceed what counts there bears the rate: in moves of the market, of each coin alone and of all.
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
    HaircutTerms(location=0.3),
    HaircutTerms(rules=RULES, netting=0.1, location=0.05),
    # What a profile of the account in row 0 takes; row 2 stands above it.
    HaircutTerms(rules=RULES, eligible={0: ("USDC",), 2: ("USDC",)}),
    HaircutTerms(netting=0.2, location=0.1, eligible={0: ("BTC", "USDC"), 2: ("BTC", "USDC")}),
    HaircutTerms(rules=RULES, location=0.5, eligible={0: ("ETH",), 2: ("ETH",)}),
)


class Portfolio:
    """Lots and what they cost by instrument, cash by currency index, and what of that lies at venues."""

    def __init__(self, cash: dict[int, float], placed: dict[tuple[str, int], float] | None = None) -> None:
        self.at: defaultdict[tuple[str, int], float] = defaultdict(float, placed or {})
        self.lots: defaultdict[int, float] = defaultdict(float)
        self.cost: defaultdict[int, float] = defaultdict(float)
        self.cash: defaultdict[int, float] = defaultdict(float, cash)

    def filled(self, instrument: int, lots: float, cash: float) -> Portfolio:
        """Return it with a fill; what a contract has gained becomes cash when nothing of it is left."""
        other = Portfolio(self.cash, self.at)
        other.lots.update(self.lots)
        other.cost.update(self.cost)
        other.lots[instrument] += lots
        other.cost[instrument] += cash
        settled = int(GENERATION.currency_of_instrument[instrument])
        other.cash[settled] += cash
        other.at[CONTRACTS[instrument].venue, settled] += cash
        if not other.lots[instrument]:
            other.cost[instrument] = 0.0
        return other

    def positions(self) -> list[tuple[int, float, float]]:
        """Return what Haircuts takes."""
        return [(i, lots, self.cost[i]) for i, lots in self.lots.items() if lots]

    def named_cash(self) -> dict[str, float]:
        """Return cash by the currency's name."""
        return {CURRENCIES[c]: amount for c, amount in self.cash.items()}

    def placed(self) -> list[tuple[str, str, float]]:
        """Return what lies at venues, as Haircuts takes it."""
        return [(venue, CURRENCIES[c], amount) for (venue, c), amount in self.at.items()]


def left(held: Portfolio, terms: HaircutTerms) -> float:
    """Return what the house model leaves of a portfolio in the worst scenario of either block."""
    values = np.concatenate((GENERATION.values, GENERATION.joint_values), axis=1)
    prices = np.concatenate((GENERATION.currency_values, GENERATION.joint_currency_values), axis=1)
    size, base = GRID.size, GRID.base
    today = np.full(values.shape[1], base)
    today[size:] = size
    owned, unpaid = _places(held, terms), defaultdict(float)
    by_venue: defaultdict[tuple[str, int], Floats] = defaultdict(lambda: np.zeros(values.shape[1]))
    for i, lots, cost in held.positions():
        contract, settled = CONTRACTS[i], int(GENERATION.currency_of_instrument[i])
        if contract.kind is Kind.SPOT:
            coin, at = CURRENCIES.index(contract.base_currency), contract.venue if terms.location else HOME
            amount = lots * float(values[i][base]) / float(prices[coin][base])  # at its own mark
            owned[at, coin] = owned.get((at, coin), 0.0) + amount
            # The model knows the coin alone; what the contract differs by (at a default it stands still) is nowhere.
            by_venue[HOME, int(GENERATION.group_of_instrument[i])] += lots * values[i] - amount * prices[coin]
            continue
        own = lots * values[i]
        if contract.kind is not Kind.OPTION:  # the profit is not paid yet: what it cost is no cash
            at = contract.venue if terms.location else HOME
            owned[at, settled] = owned.get((at, settled), 0.0) - cost
            own = own + cost * prices[settled]
        unpaid[contract.venue, settled] += own[base]
        by_venue[contract.venue, int(GENERATION.group_of_instrument[i])] += own - own[today]
    room: defaultdict[str, float] = defaultdict(float)
    for (venue, settled), value in unpaid.items():
        haircut = rule_of(terms, settled).first_haircut(1.0)
        room[venue] += min(value, value * (1.0 - haircut))
        moved = value * (prices[settled] / prices[settled][base] - 1.0)
        by_venue[venue, int(GENERATION.group_of_currency[settled])] -= haircut * np.maximum(0.0, moved)
    for (venue, asset), amount in owned.items():
        whole = sum(max(0.0, units) for (_, one), units in owned.items() if one == asset)
        counted = amount * prices[asset]
        if amount > 0:  # each place bears its share of the whole's haircut
            counted = rule_of(terms, asset).counted(whole * prices[asset], prices[asset]) * (amount / whole)
        room[venue] += float(counted[base])
        by_venue[venue, int(GENERATION.group_of_currency[asset])] += counted - counted[base]
    return sum(room.values()) + worst(by_venue, terms, size, room)


def _places(held: Portfolio, terms: HaircutTerms) -> dict[tuple[str, int], float]:
    """Return cash by place and currency; with the house, where location costs nothing."""
    owned = {(HOME, currency): amount for currency, amount in held.cash.items()}
    for (venue, currency), amount in held.at.items() if terms.location else ():
        owned[venue, currency] = amount
        owned[HOME, currency] = owned.get((HOME, currency), 0.0) - amount
    return owned


def rule_of(terms: HaircutTerms, asset: int) -> AssetRule:
    """Return an asset's rule for the account in row 0."""
    name, taken = CURRENCIES[asset], terms.eligible.get(0)
    rule = AssetRule(kind="coin") if terms.rules is None else terms.rules.rule(name)
    if taken is not None and name not in taken:
        return AssetRule(kind="coin", tiers=((0.0, 1.0),))
    # No loss by default here: the price of a stablecoin is its peg.
    return rule


def worst(by_venue: dict[tuple[str, int], Floats], terms: HaircutTerms, size: int, room: dict[str, float]) -> float:
    """Return the worse of each coin's own worst, and of all coins together; both with what is missing at venues."""
    alone, located, haircut = 0.0, [], terms.netting
    venues = {venue for venue, _ in by_venue} | set(room)

    def charged(parts: dict[str, Floats]) -> Floats:
        short = [np.maximum(0.0, -(room.get(at, 0.0) + parts.get(at, 0.0))) for at in venues if at != HOME]
        return netted(list(parts.values()), haircut) - terms.location * sum(short)

    for group in range(len(GENERATION.groups)):
        parts = {venue: by_venue[venue, group][:size] for venue in venues if (venue, group) in by_venue}
        if parts:
            alone += float(netted(list(parts.values()), haircut).min())
            located.append(float(charged(parts).min()))
    jointly = {venue: sum(change for (at, _), change in by_venue.items() if at == venue) for venue in venues}
    if not by_venue:
        return 0.0
    jointly = {venue: change for venue, change in jointly.items() if not isinstance(change, int)}
    everything = charged({venue: change[:size] for venue, change in jointly.items()})  # all coins in one grid move
    gone = {venue: change[size:] for venue, change in jointly.items()}
    together = np.where(JOINT.is_market, charged(gone), netted(list(gone.values()), haircut))
    return min(alone, *located, float(everything.min()), float(together.min()))


def netted(parts: list[Floats], haircut: float) -> Floats:
    return np.minimum(parts, (1.0 - haircut) * np.array(parts)).sum(axis=0)


def generation() -> Generation:
    """Return the generation of both blocks."""
    return GENERATION
