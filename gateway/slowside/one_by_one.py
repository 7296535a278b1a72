"""What a pass asks the order path's own kernel: accounts with working orders, desks and firms, accounts at venues.

One row of each kernel is filled and cleared again for one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from gateway.slowside.book import BLOCK_ACCOUNTS, BookCopy, Rows, holdings_of, part_of
from risk.book_builder import ELSEWHERE
from risk.haircuts import Held, Placed
from risk.house_terms import HouseTerms
from risk.instrument import Instrument
from risk.kernel import MarginKernel
from risk.limits import RowTerms
from risk.pricing import Floats, InstrumentMark
from risk.scenarios import Generation
from risk.venue_book import BookTerms, SubAccount, VenueBook
from risk.venue_models import builder as venue_builder

# Accounts, sub-accounts, and of a desk orders and contracts: so many a slice, some 0.1 ms each.
A_SLICE: Final = 8
OF_A_LEVEL_A_SLICE: Final = 256
# An option of portfolio margin takes some 0.1 ms.
VENUE_PARTS_A_SLICE: Final = 8


class MarginTerms(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What margins are made with, beside generations. `sub_accounts` is by account index and venue."""

    house: HouseTerms = HouseTerms()
    venue_books: tuple[BookTerms, ...] = ()
    sub_accounts: dict[int, dict[str, SubAccount]] = {}


class Given(msgspec.Struct, frozen=True, eq=False):
    """What one pass goes by: the generation, and the marks and instruments that it was made of."""

    generation: Generation
    instruments: list[Instrument]
    marks: dict[int, InstrumentMark]


class Wallet(msgspec.Struct, frozen=True):
    """Where an account has least room at venues: the name of the wallet, equity and requirements in USD."""

    name: str
    equity: float
    initial: float
    maintenance: float


class HouseKernel:
    """The house's kernel with one row. Each figure is (worst with working orders, worst of what is held)."""

    def __init__(self, book: BookCopy, rows: Rows, given: Given, terms: HouseTerms) -> None:
        generation = given.generation
        self._book, self._rows, self._terms, self._count = book, rows, terms, rows.instruments
        self._kernel = kernel = MarginKernel(
            1, len(generation.groups), max(1, len(generation.values)), len(generation.currencies),
            generation.grid.size, generation.joint,
        )  # fmt: skip
        kernel.load(*generation.arrays())
        self._haircuts = terms.haircuts_of(generation, given.instruments)
        if self._haircuts is not None:
            self._haircuts.install(kernel)
        self._currencies = generation.currencies
        currency_known = np.isfinite(generation.currency_values).all(axis=1)
        self._known: list[int] = generation.known.tolist() + currency_known.tolist() + [0]
        self._is_known = True
        if terms.is_charged:
            kernel.charge(terms.charges(generation, given.instruments))
        self._base, self._is_told = generation.grid.base, True

    def account(self, account: int, orders: list[list[float]]) -> tuple[float, float, float]:
        """Return `figures` of an account with its orders."""
        self._begin(account)
        block = self._book.blocks[account // BLOCK_ACCOUNTS]
        held = list(holdings_of(block.portfolios(self._rows), account - block.first))
        for row, amount in held:
            self._add(row, amount)
        if self._haircuts is not None:
            positions, cash = self._holdings(account, held)
            self._haircuts.apply(self._kernel, account, positions, cash, self._placed(account), row=0)
        self._hold(orders)
        return self.figures()

    def _holdings(self, account: int, held: list[tuple[int, float]]) -> tuple[list[Held], dict[str, float]]:
        """Return positions with what they cost, and cash by currency."""
        count, block = self._count, self._book.blocks[account // BLOCK_ACCOUNTS]
        moved = block.moved(self._rows)[part_of(block.portfolios(self._rows), account - block.first)].tolist()
        positions = [(row, lots, cost) for (row, lots), cost in zip(held, moved, strict=True) if row < count and lots]
        last = len(self._rows.groups) - 1
        return positions, {self._currencies[row - count]: amount for row, amount in held if count <= row < last}

    def _placed(self, account: int) -> list[Placed]:
        """Return what of its cash lies at venues."""
        wallets = self._book.wallets.get(account, {})
        return [(venue, name, amount) for venue, held in wallets.items() for name, amount in held]

    def level(
        self, row: int, amounts: Floats, has_any: list[int], orders: list[list[float]],
        lacking: tuple[Floats, Floats] | None = None,
    ) -> Iterator[None]:  # fmt: skip
        """Take up what a desk or a firm holds, and the orders of its accounts, in slices; `figures` come after.

        `lacking` (G, S) and (J,) is what its accounts' haircuts take off it.
        """
        self._begin(row)
        for start in range(0, len(has_any), OF_A_LEVEL_A_SLICE):
            for at in has_any[start : start + OF_A_LEVEL_A_SLICE]:
                self._add(at, float(amounts[at]))
            yield
        if lacking is not None:
            for group, off in enumerate(lacking[0]):
                self._kernel.take_off(0, group, off, lacking[1] if group == 0 else np.zeros(len(lacking[1])))
        rest = iter(orders)
        while some := list(islice(rest, OF_A_LEVEL_A_SLICE)):
            self._hold(some)
            yield

    def figures(self) -> tuple[float, float, float]:
        """Return equity, and what is left at the worst with orders and of what is held."""
        kernel, unknown = self._kernel, float("nan")
        if not self._is_known:
            return unknown, unknown, unknown
        return kernel.equity(0, self._base), kernel.worst(0) if self._is_told else unknown, kernel.held(0)

    def dearest(self) -> tuple[int, int]:
        """Return the risk group that what is held costs most in, and its worst scenario; -1 where nothing costs."""
        kernel, base = self._kernel, self._base
        groups = range(kernel.groups)
        costs = [kernel.equity_of_group(0, group, base) - kernel.held_of_group(0, group) for group in groups]
        group = max(range(len(costs)), key=costs.__getitem__)
        return (group, kernel.binding(0, group)) if costs[group] > 0 else (-1, -1)

    def _begin(self, row: int) -> None:
        self._kernel.clear(0)
        self._is_known = self._is_told = True
        if self._terms.hierarchy is not None:
            self._kernel.set_terms(0, self._terms.hierarchy.terms_of(row))
        if self._haircuts is not None:
            self._kernel.bear(0, self._haircuts.set_of(row))

    def _add(self, row: int, amount: float) -> None:
        if not self._known[row]:
            self._is_known = False
        elif row < self._count:
            self._kernel.add_position(0, row, amount)
        else:
            self._kernel.add_cash(0, row - self._count, amount)

    def _hold(self, orders: list[list[float]]) -> None:
        for _, instrument, *amounts in orders:
            if not 0 <= instrument < self._count:
                self._is_told = False
            else:
                self._kernel.hold(0, int(instrument), *amounts)


class VenueKernels:
    """The venues' own models, each with one row; `make` prices them, in slices."""

    def __init__(self, book: BookCopy, rows: Rows, given: Given, terms: MarginTerms) -> None:
        self._book, self._rows, self._given, self._terms = book, rows, given, terms
        self._made: dict[str, VenueBook] = {}
        self._leverage = {one.name: one.leverage for one in terms.venue_books}
        generation = given.generation
        self._prices = dict(zip(generation.currencies, generation.currency_values[:, generation.grid.base].tolist()))

    def make(self) -> Iterator[None]:
        """Price all books."""
        given = self._given
        for terms in self._terms.venue_books:
            plain = msgspec.structs.replace(terms, leverage={})  # each account's own is set when its row is filled
            builder = venue_builder(plain, given.instruments, given.marks, given.generation.currencies, 1)
            while not builder.price_some(VENUE_PARTS_A_SLICE):
                yield
            self._made[terms.name] = builder.book()
            yield

    def nearest(self, account: int, orders: list[list[float]]) -> Wallet | None:
        """Return the wallet of an account with the least room for its orders, None where it has nothing at a venue."""
        found: list[Wallet] = []
        for venue, sub in self._terms.sub_accounts[account].items():
            book = self._made.get(sub.book)
            if book is not None:
                self._fill(account, venue, sub, book, orders)
                found += self._wallets(venue, book)
        return min(found, key=_room, default=None)

    def _fill(self, account: int, venue: str, sub: SubAccount, book: VenueBook, orders: list[list[float]]) -> None:
        kernel, instruments, count = book.kernel, self._given.instruments, self._rows.instruments
        kernel.clear(0)
        leverage = self._leverage[sub.book].get(account)
        if isinstance(kernel, MarginKernel):  # a portfolio's margin knows no leverage
            kernel.set_terms(0, RowTerms() if leverage is None else RowTerms(rate=1.0 / leverage))
        block, cash = self._book.blocks[account // BLOCK_ACCOUNTS], []
        for row, amount in holdings_of(block.portfolios(self._rows), account - block.first):
            if row < count and instruments[row].venue == venue:
                kernel.add_position(0, row, amount)
            elif count <= row < len(self._rows.groups) - 1:
                cash.append((self._given.generation.currencies[row - count], amount))
        if sub.collateral_units is not None:
            cash = self._book.wallets.get(account, {}).get(venue, [])
        for currency, amount in cash:
            kernel.add_cash(0, book.currency_index[currency], amount)
        for _, instrument, *amounts in orders:
            if 0 <= instrument < count and instruments[int(instrument)].venue == venue:
                kernel.hold(0, int(instrument), *amounts)

    def _wallets(self, venue: str, book: VenueBook) -> Iterator[Wallet]:
        kernel = book.kernel
        for group, unit in enumerate(book.units):
            if unit == ELSEWHERE:
                continue
            equity = kernel.equity_of_group(0, group, book.base_scenario)
            left, held = kernel.worst_of_group(0, group), kernel.held_of_group(0, group)
            if equity or left:
                price = self._prices.get(unit, float("nan"))
                yield Wallet(
                    wallet_name(book.model, venue, unit),
                    equity * price,
                    (equity - left) * price,
                    (equity - held) * price,
                )


def _room(wallet: Wallet) -> float:
    room = wallet.equity - wallet.initial
    return room if room == room else -np.inf


def wallet_name(model: str, venue: str, unit: str) -> str:
    """Return what a wallet is called: model, venue, and what it counts in."""
    return f"{model} of {venue}: {unit}"
