"""What one account's margin is made of, in USD: from its positions, cash, working orders and the last risk arrays.

Equity and initial margin are the kernel's, the very figures that orders are checked against. What they are made of is
worked out here, class by class; a class is a risk group: all contracts on one coin, and the coin itself.

    core         equity[base] - min over scenarios of equity[s], of what is held, and what its size asks for
    orders       what the worst fills of working orders add to it
    initial      the sum of both over classes: what a check takes off equity
    maintenance  mm_factor * the sum of core: working orders are not in it

Where the joint scenarios cost more than the classes by themselves, or an offset cap takes something off them, that is a
class of its own, TOGETHER. What venues' own models say of an account stands beside it, wallet by wallet: a check asks
both, and neither helps the other.

The ledger books what a fill moves as cash. Told as cash is what is there without the fills of open positions: deposits,
results of closed ones, less fees. So equity is cash and the profit of open positions, since their first fill.

mm_factor is Deribit's, as its portfolio margin has it (risk/models/parameters/deribit_portfolio.toml).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite, nan
from typing import Any, Final

import msgspec

from risk.account import Account
from risk.book_builder import ELSEWHERE
from risk.instrument import UNITS_PER_WHOLE
from risk.kernel import MarginKernel
from risk.marks import NEVER_NS, Market
from risk.models.deribit_portfolio import DeribitPortfolioParameters
from risk.models.parameters import parameters
from risk.scenarios import Generation
from risk.telling import IN_USD, USD, Quote, quote_of

MAINTENANCE_FACTOR: Final = parameters("deribit_portfolio", DeribitPortfolioParameters)[0].mm_factor

# A margin class of what joint scenarios and offset caps change of the others; no coin is called so.
TOGETHER: Final = "ALL COINS"
NOTHING: Final = 1e-9
NS_PER_MS: Final = 1_000_000


class MarginClass(msgspec.Struct, frozen=True, gc=False):
    """One risk group: what is held needs `core`, working orders add `orders`; USD."""

    name: str
    equity: float
    core: float
    orders: float


class Collateral(msgspec.Struct, frozen=True, gc=False):
    """Cash of one currency, in units of 1e-8; what one whole is worth in USD, and what the worst scenario takes off it.

    `not_taken_by` is the profile that does not take it as collateral, where one does not.
    """

    currency: str
    units: int
    price: float
    haircut: float
    not_taken_by: str = ""

    @property
    def counted(self) -> float:
        """What it secures, in its own currency: a debt counts in full."""
        amount = self.units / UNITS_PER_WHOLE
        return amount * (1.0 - self.haircut) if amount > 0 else amount


class WalletMargin(msgspec.Struct, frozen=True, gc=False):
    """What a venue's own model says of one wallet, in its unit: `core` is of what is held, `initial` with orders."""

    model: str
    venue: str
    unit: str
    equity: float
    initial: float
    core: float

    @property
    def name(self) -> str:
        """What the wallet is called."""
        return f"{self.model} of {self.venue}: {self.unit}"

    @property
    def excess(self) -> float:
        """What is free, or lacking where below zero: an order that takes more is refused."""
        return self.equity - self.initial


class Figures(msgspec.Struct, frozen=True, gc=False):
    """One account's margin in USD, and what it is told in. Below zero `excess` is a deficit."""

    account: str
    equity: float
    cash: float
    initial: float
    classes: tuple[MarginClass, ...]
    collateral: tuple[Collateral, ...]
    wallets: tuple[WalletMargin, ...] = ()
    quote: Quote = IN_USD

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
    held = {index for index, position in account.positions.items() if position.lots}
    if max(held, default=-1) >= len(generation.values):
        return "margin unknown: a held contract was listed after the last risk arrays"
    cash, collateral = _collateral(account, generation)
    classes = _classes(account, kernel, generation.groups, base, (equity, worst))
    wallets = tuple(wallets_of(account, market))
    quote = quote_of(account.currency, market, now_ns)
    return Figures(account.name, equity, cash, equity - worst, classes, collateral, wallets, quote)


def _classes(
    account: Account, kernel: MarginKernel, groups: Sequence[str], base: int, whole: tuple[float, float]
) -> tuple[MarginClass, ...]:
    """Return each risk group's part, and what all of them together ask for beside it."""
    found, index, (equity, worst) = [], account.index, whole
    core = orders = 0.0
    for number, name in enumerate(groups):
        own = kernel.equity_of_group(index, number, base)
        held, left = kernel.held_of_group(index, number), kernel.worst_of_group(index, number)
        if own or held or left:
            found.append(MarginClass(name, own, own - held, max(0.0, held - left)))
            core, orders = core + own - held, orders + max(0.0, held - left)
    whole_core = equity - kernel.held(index)
    more = MarginClass(TOGETHER, 0.0, whole_core - core, (equity - worst - whole_core) - orders)
    if max(abs(more.core), abs(more.orders)) > NOTHING * max(1.0, core + orders):
        found.append(more)
    return tuple(found)


def _collateral(account: Account, generation: Generation) -> tuple[float, tuple[Collateral, ...]]:
    """Return cash in USD without the fills of open positions, and the same by currency."""
    traded: dict[str, int] = {}
    for position in account.positions.values():
        if position.lots:
            currency = position.instrument.settlement_currency
            traded[currency] = traded.get(currency, 0) + position.cash_units
    column = {currency: number for number, currency in enumerate(generation.currencies)}
    found, cash = [], 0.0
    for currency, moved in sorted(account.cash_units.items()):
        if moved:
            values = generation.currency_values[column[currency]]
            price, units = float(values[generation.grid.base]), moved - traded.get(currency, 0)
            cash += units / UNITS_PER_WHOLE * price
            counts = float(values.min() / price) * account.counted_share(currency)
            found.append(Collateral(currency, units, price, 1.0 - counts, not_taken_by(account, currency)))
    return cash, tuple(found)


def not_taken_by(account: Account, currency: str) -> str:
    """Return the first profile of an account that does not take a currency as collateral; empty where all do."""
    eligible = None if account.constraints is None else account.constraints.eligible
    return "" if eligible is None else eligible.refusing(currency)


def wallets_of(account: Account, market: Market) -> Iterator[WalletMargin]:
    """Yield what the venues' own models say of an account: each wallet in which it has anything."""
    for venue, sub in account.sub_accounts.items():
        book = market.venue_books.get(sub.book)
        if book is None:
            continue
        for group, unit in enumerate(book.units):
            equity = book.kernel.equity_of_group(account.index, group, book.base_scenario)
            left = book.kernel.worst_of_group(account.index, group)
            if unit != ELSEWHERE and (equity or left):
                core = equity - book.kernel.held_of_group(account.index, group)
                yield WalletMargin(book.model, venue, unit, equity, equity - left, core)


def account_rows(accounts: Iterable[Account], market: Market, now_ns: int | None = None) -> list[dict[str, Any]]:
    """Return each account's state, equity, initial margin and orders, and its wallets; None where margin is unknown.

    At a time, what arrays say that no check would use any more is unknown; else they count however old they are.
    Amounts of a row itself are in USD, so that rows can be compared and summed; `told` is what the account is told, in
    its own currency by the prices of that time, or of the last generation.
    """
    kernel, base, is_fresh = market.kernel, market.base_scenario, arrays_are_fresh(market, now_ns)
    at_ns = market.generation_time_ns if now_ns is None else now_ns
    rows: list[dict[str, Any]] = []
    for account in accounts:
        equity = worst = nan
        if is_fresh:
            equity, worst = kernel.equity(account.index, base), kernel.worst(account.index)
        row: dict[str, Any] = {
            "account": account.name,
            "state": account.state.value,
            **_told(equity, worst),
            "told": told_row(quote_of(account.currency, market, at_ns), at_ns, equity, equity - worst),
            "working_orders": len(account.exposure.orders),
            "positions": sum(1 for position in account.positions.values() if position.lots),
        }
        if account.constraints is not None and account.constraints.eligible is not None:
            held = [currency for currency, units in account.cash_units.items() if units > 0]
            row["not_taken"] = {currency: by for currency in held if (by := not_taken_by(account, currency))}
        if account.sub_accounts:
            row["wallets"] = [
                {"wallet": one.name, **(_told(one.equity, one.excess) if is_fresh else _told(nan, nan))}
                for one in wallets_of(account, market)
            ]
        rows.append(row)
    return rows


def told_row(quote: Quote, now_ns: int, equity: float, initial: float) -> dict[str, Any]:
    """Return what an account is told, as decimal text in `currency`; None for what is unknown.

    `price_usd` is what one whole of the currency counts for, `price_age_ms` how old that is, and `why` says why it is
    not the account's own.
    """
    is_priced = quote.currency != USD
    return {
        "currency": quote.currency,
        "equity": text_of(quote, quote.has(equity)),
        "initial_margin": text_of(quote, quote.needs(initial)),
        "price_usd": quote.price if is_priced else None,
        "price_age_ms": (now_ns - quote.as_of_ns) // NS_PER_MS if is_priced else None,
        "why": quote.why,
    }


def text_of(quote: Quote, units: int | None) -> str | None:
    """Return an amount as decimal text, None for what is unknown."""
    return None if units is None else quote.text(units)


def arrays_are_fresh(market: Market, now_ns: int | None) -> bool:
    """Whether risk arrays are there, and at a time, too, no older than a check would use."""
    at_ns = market.generation_time_ns
    return at_ns != NEVER_NS and (now_ns is None or now_ns - at_ns <= market.generation_max_age_ns)


def level_rows(market: Market, now_ns: int | None = None) -> list[dict[str, Any]]:
    """Return each desk's and firm's equity, initial margin and its limit, by which its accounts' orders are judged.

    Ages as for accounts.
    """
    levels = {} if market.hierarchy is None or market.generation_time_ns == NEVER_NS else market.hierarchy.levels
    kernel, base, is_fresh = market.kernel, market.base_scenario, arrays_are_fresh(market, now_ns)
    return [
        {
            "level": str(level),
            **(_told(kernel.equity(row, base), kernel.worst(row)) if is_fresh else _told(nan, nan)),
            "max_margin": level.terms.max_margin if isfinite(level.terms.max_margin) else None,
        }
        for row, level in levels.items()
    ]


def _told(equity: float, worst: float) -> dict[str, float | None]:
    is_known = equity == equity and worst == worst
    return {"equity": equity if is_known else None, "initial_margin": equity - worst if is_known else None}
