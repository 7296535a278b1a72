"""The slow side of margin: prices risk arrays in short slices beside the order path, then swaps a whole generation in.

Between the first slice and the swap the checks go on with the generation before; they never see half of one, and they
know its age. Pricing is done here, or in a process of its own that is handed `snapshot_in_steps` and gives what `take`
takes (gateway/slowside).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.ledger import Ledger
from risk import mirror
from risk.account import Account
from risk.constraints import Part, Requirement
from risk.haircuts import Haircuts
from risk.house_terms import HouseTerms
from risk.kernel import MarginKernel
from risk.marks import Mark, Market
from risk.pricing import Floats
from risk.profile_books import asked_by, kernel_of, parts_of, told_with
from risk.repricing import MarketSnapshot, Repricing
from risk.scenarios import Generation, Grid, Ints
from risk.venue_book import BookTerms, VenueBook
from risk.venue_models import builder

# At 200 scenarios about 0.4 ms, of which half is the start of numpy's loops.
INSTRUMENTS_PER_SLICE: Final = 16
# Marks copied in a slice: some 0.3 us each.
MARKS_PER_SLICE: Final = 1_000
# Working orders, positions and cash written into the next kernel a slice: some 0.2 us each.
WRITTEN_PER_SLICE: Final = 1_000
# Accounts that let go of the kernel before a slice.
ACCOUNTS_PER_SLICE: Final = 1_000
# Of a venue's own model: an option of portfolio margin takes some 0.1 ms.
VENUE_PARTS_PER_SLICE: Final = 8
PLAIN_TERMS: Final = HouseTerms()


class Acting(msgspec.Struct, frozen=True, eq=False):
    """What a generation is made by: the house's terms, each coin's collar (below and above the mark) and haircut.

    `number` is of the margin parameters that it comes from, 0 of the configuration; `version` tells two apart.
    """

    terms: HouseTerms
    number: int = 0
    version: int = 0
    collars: Mapping[str, tuple[float, float]] = {}
    haircuts: Mapping[str, float] = {}


class Valuation:
    """Builds generations from the market's marks and loads them into its kernel."""

    def __init__(
        self,
        ledger: Ledger,
        market: Market,
        grid: Grid,
        currencies: Iterable[str] = (),
        terms: HouseTerms = PLAIN_TERMS,
    ) -> None:
        self._ledger = ledger
        self._market = market
        self._grid = grid
        # What generations are to be made by from the next one on, what the last one asked for is made by, and what
        # the one in force was. One generation knows one of them alone.
        self.acting = self.asked = self.in_force = Acting(terms)
        self._extra_currencies = tuple(currencies)
        self._work: Iterator[None] | None = None
        self._count = INSTRUMENTS_PER_SLICE
        self._number = 0
        self.generation: Generation | None = None
        self.snapshot: MarketSnapshot | None = None
        self._shape: tuple[int, ...] = ()
        self._listed_currencies: dict[str, None] = {}  # of the first so many instruments
        self._listed_count = 0
        self._told_in: dict[str, None] = {}  # what accounts are told in, of the first so many
        self._told_count = 0
        self._is_filling = False  # accounts write into a kernel that is not asked yet
        self._spare: MarginKernel | None = None  # of the same shape as the market's
        # Venues' own models, priced here from the same marks, and swapped in with each generation.
        self.venue_books: tuple[BookTerms, ...] = ()
        market.base_scenario = grid.base
        market.hierarchy = terms.hierarchy

    @property
    def is_busy(self) -> bool:
        """Whether a generation is being priced, or written into the kernel that it will be asked by."""
        return self._work is not None

    @property
    def terms(self) -> HouseTerms:
        """The house's terms of the generation in force."""
        return self.in_force.terms

    @property
    def setting(self) -> dict[str, Any]:
        """What of a GenerationBuilder's arguments does not come from the marks, of the generation asked for last."""
        return self.setting_of(self.asked.terms)

    def setting_of(self, terms: HouseTerms) -> dict[str, Any]:
        """The same for other terms."""
        coins = frozenset(terms.volumes) or None
        setting = {"grid": self._grid, "joint": terms.joint, "coins": coins, "least_delta": terms.least_delta}
        return setting | {"periods": terms.periods}

    def adopt(self, acting: Acting) -> None:
        """Make generations by this from the next one on; the first of them puts all of it in force at once."""
        self.acting = acting
        self._market.has_moved = True  # the next is due

    def begin(self, now_ns: int) -> None:
        """Take the marks as they are and start a generation; those too old for a check are left out as unknown."""
        self._work = self._made_here(now_ns)

    def take(self, generation: Generation) -> None:
        """Start to swap in a generation that was made elsewhere; `step` does it."""
        self._work = self._swap_in(generation)

    def _coins(self, now_ns: int) -> dict[str, float | None]:
        """Return what coins are worth by the composite of the venues; None of one on which they contradict each other.

        What no venue has told of lately is not in it.
        """
        found = {coin: self._market.board.composite(coin, now_ns) for coin in self._market.board.coins()}
        return {coin: one.price for coin, one in found.items() if one.price is not None or one.outliers}

    def step(self, count: int = INSTRUMENTS_PER_SLICE) -> bool:
        """Price some more, or write some more into the next kernel; True once the generation has been swapped in."""
        work = self._work
        if work is None:
            raise AssertionError("begin comes first")
        self._work, self._count = None, count  # should it fail, the generation before stays
        for _ in work:
            self._work = work
            return False
        return True

    def run(self, now_ns: int) -> None:
        """Price and swap in a generation in one go."""
        self.begin(now_ns)
        while not self.step():
            pass

    def snapshot_in_steps(self, now_ns: int) -> Iterator[None]:
        """Take the marks as they are at the first turn, in turns; `snapshot` is there after the last."""
        self._number += 1
        self.asked = self.acting
        number, market, ledger = self._number, self._market, self._ledger
        instruments, currencies = list(ledger.instruments), self._currencies()
        worth, apart = self._coins(now_ns), tuple(sorted(ledger.lost_venues))
        marks = market.usable_marks(self._believed(market.begin_generation(), worth, now_ns), now_ns)
        slices = [_columns(0, [])]
        for start in range(0, len(instruments), MARKS_PER_SLICE):
            slices.append(_columns(start, marks[start : start + MARKS_PER_SLICE]))
            yield
        rows, times, numbers = (np.concatenate(parts) for parts in zip(*slices, strict=True))
        self.snapshot = MarketSnapshot(
            number=number,
            as_of_ns=now_ns,
            instruments=instruments,
            currencies=currencies,
            rows=rows,
            time_ns=times,
            numbers=numbers,
            index_prices=worth,
            apart=apart,
        )

    def _believed(
        self, marks: Sequence[Mark | None], worth: Mapping[str, float | None], now_ns: int
    ) -> Sequence[Mark | None]:
        """Move the marks of venues that are not believed, where the others are: worth what it was, by their index."""
        market, instruments = self._market, self._ledger.instruments
        moved: list[Mark | None] | None = None
        doubted = market.board.doubted(now_ns)
        if lost := self._ledger.lost_venues:  # what is held there is still owed, whoever tells of it or not
            doubted += [one.index for one in instruments[: len(marks)] if one.venue in lost]
        for index in dict.fromkeys(doubted):
            instrument, mark = instruments[index], marks[index]
            price = worth.get(instrument.base_currency)
            is_old = mark is not None and now_ns - mark.time_ns > market.mark_age_limit_ns(index)
            if mark is not None and is_old and price and not instrument.is_option:
                moved = moved or list(marks)
                moved[index] = _moved(mark, price, now_ns)
        return moved or marks

    def _made_here(self, now_ns: int) -> Iterator[None]:
        yield from self.snapshot_in_steps(now_ns)
        snapshot = self.snapshot
        assert snapshot is not None
        repricing = Repricing(snapshot, self._market.longest_mark_age_ns, self.setting)
        while not repricing.price_some(self._count):
            yield
        yield
        yield from self._swap_in(repricing.generation())

    def _swap_in(self, generation: Generation) -> Iterator[None]:
        """Fill a kernel beside the one that is asked, a slice at each step, and put it in its place in the last."""
        venue_books: dict[str, VenueBook] = {}
        yield from self._make_venue_books(venue_books)
        market, accounts, acting = self._market, list(self._ledger.accounts.values()), self.asked
        terms = acting.terms
        profile_kernels: dict[Part, MarginKernel] = {}
        yield from self._make_profile_kernels(profile_kernels, generation, terms)
        shape = (
            terms.rows(len(accounts)),
            len(generation.groups),
            max(1, len(generation.values)),
            len(generation.currencies),
            generation.grid.size,
            generation.joint,
        )
        if shape != self._shape:
            self._spare = None
        if self._is_filling:  # one was given up half-way: nobody writes into its kernel any more
            for account in accounts:
                account.drop_mirror()
        self._is_filling = True
        kernel = self._spare or MarginKernel(*shape)
        kernel.load(*generation.arrays())
        haircuts = terms.prepare(kernel, generation, self._ledger.instruments)
        self._lift_offsets(kernel, accounts, terms)
        currency_index = {currency: column for column, currency in enumerate(generation.currencies)}
        yield from self._begin_mirrors(accounts, (kernel, currency_index, venue_books, haircuts), profile_kernels)
        before, market.kernel = market.kernel, kernel
        market.venue_books, market.profile_kernels = venue_books, profile_kernels
        market.generation_time_ns = generation.as_of_ns
        market.currency_prices = _prices_of(generation)
        market.priced_count = len(generation.values)
        self.generation = generation
        has_new_collars = self.in_force.collars != acting.collars
        self.in_force, market.haircuts = acting, acting.haircuts
        market.collar = msgspec.structs.replace(market.collar, of_coin=acting.collars)
        # The one before is asked no more; that accounts go on writing into it for a few slices harms nobody.
        self._spare = None
        at = 0
        while at < len(accounts):
            at = mirror.end_some(accounts, at, ACCOUNTS_PER_SLICE)
            if at % ACCOUNTS_PER_SLICE == 0:
                yield
        self._is_filling = False
        self._spare = before if shape == self._shape else None
        self._shape = shape
        if has_new_collars:
            yield from self._collar_anew()

    def _begin_mirrors(
        self,
        accounts: list[Account],
        into: tuple[MarginKernel, dict[str, int], dict[str, VenueBook], Haircuts | None],
        profile_kernels: dict[Part, MarginKernel],
    ) -> Iterator[None]:
        """Write accounts into the kernels to come, a slice at each turn."""
        kernel, currency_index, venue_books, haircuts = into
        free = [account for account in accounts if not _asked_of(account)]
        at = written = 0
        while at < len(free):
            at, more = mirror.begin_some(free, at, WRITTEN_PER_SLICE - written, *into)
            written += more
            exposure = free[at - 1].exposure
            while not (exposure.is_mirrored or mirror.orders_some(exposure, WRITTEN_PER_SLICE)):
                yield
                written = 0
            if written >= WRITTEN_PER_SLICE:
                yield
                written = 0
        if haircuts is not None:
            for part, made in profile_kernels.items():
                if part.has_equity:
                    haircuts.install(made)
        for account in accounts:
            if asked := _asked_of(account):
                told = told_with(kernel, asked, profile_kernels)
                account.begin_mirror(told, currency_index, venue_books, haircuts)
                while not mirror.orders_some(account.exposure, WRITTEN_PER_SLICE):
                    yield
                yield

    def _collar_anew(self) -> Iterator[None]:
        """Give every mark the band of its coin's new collar; those that come meanwhile have it already."""
        instruments, market = self._ledger.instruments, self._market
        for start in range(0, len(market.marks), MARKS_PER_SLICE):
            yield
            for index in range(start, min(start + MARKS_PER_SLICE, len(market.marks))):
                mark = market.marks[index]
                if mark is None:
                    continue
                low, high = market.collar.band_ticks(instruments[index], mark.price)
                if market.guard is not None:  # it may have drawn the band closer, and does so again at the next mark
                    low, high = max(low, mark.collar_low_ticks), min(high, mark.collar_high_ticks)
                mark.set_band(low, high)

    def _lift_offsets(self, kernel: MarginKernel, accounts: Iterable[Account], house: HouseTerms) -> None:
        """Let who has a leg at a venue that is lost have no offset between coins either, until it is back."""
        lost, hierarchy = self._ledger.lost_venues, house.hierarchy
        if not lost or hierarchy is None:
            return
        for account in accounts:
            terms = hierarchy.terms_of(account.index)
            legs = (position.instrument.venue for position in account.positions.values() if position.lots)
            if terms.offset_cap and any(venue in lost for venue in legs):
                kernel.set_terms(account.index, msgspec.structs.replace(terms, offset_cap=0.0))

    def _make_venue_books(self, made: dict[str, VenueBook]) -> Iterator[None]:
        """Price the venues' own models from the marks of the generation's snapshot, a slice at each turn."""
        snapshot = self.snapshot
        if not self.venue_books or snapshot is None:
            return
        marks = Repricing(snapshot, self._market.longest_mark_age_ns, self.setting).take_marks()
        yield
        for terms in self.venue_books:
            accounts = len(self._ledger.accounts)
            pricing = builder(terms, snapshot.instruments, marks, snapshot.currencies, accounts)
            while not pricing.price_some(VENUE_PARTS_PER_SLICE):
                yield
            made[terms.name] = pricing.book()
            yield

    def _make_profile_kernels(
        self, made: dict[Part, MarginKernel], generation: Generation, terms: HouseTerms
    ) -> Iterator[None]:
        """Price the house's margin as profiles ask for it, on grids as wide as theirs, a slice at each turn."""
        accounts, snapshot = self._ledger.accounts.values(), self.snapshot
        asked = [one for account in accounts for one in _asked_of(account)]
        for part in parts_of(asked):
            priced = generation
            if part.scale != 1.0 or terms.has_less_than(part.least_days):
                if snapshot is None:
                    return
                setting = asked_by(part, self.setting_of(terms), self._grid)
                repricing = Repricing(snapshot, self._market.longest_mark_age_ns, setting)
                while not repricing.price_some(self._count):
                    yield
                priced = repricing.generation()
            if priced.groups != generation.groups or len(priced.values) != len(generation.values):
                continue  # of other marks than the generation: unknown until the next
            made[part] = kernel_of(part, priced, terms, self._ledger.instruments, len(accounts))
            yield

    def _currencies(self) -> list[str]:
        listed, instruments = self._listed_currencies, self._ledger.instruments
        for instrument in instruments[self._listed_count :]:
            listed[instrument.base_currency] = listed[instrument.settlement_currency] = None
        self._listed_count = len(instruments)
        if self._told_count != len(self._ledger.accounts):
            self._told_count = len(self._ledger.accounts)
            self._told_in = dict.fromkeys(account.currency for account in self._ledger.accounts.values())
        held = chain.from_iterable([account.cash_units for account in self._ledger.accounts.values()])
        return list(dict.fromkeys(chain(("USD", "USDC", "USDT"), self._extra_currencies, listed, self._told_in, held)))


def _prices_of(generation: Generation) -> dict[str, float]:
    """Return what one whole of each currency counts for today; those without a price are left out."""
    base, rows = generation.grid.base, zip(generation.currencies, generation.currency_values, strict=True)
    return {currency: price for currency, values in rows if (price := float(values[base])) == price}


def _asked_of(account: Account) -> tuple[Requirement, ...]:
    """Return what an account's profiles ask of margin beyond the house's."""
    return () if account.constraints is None else account.constraints.requirements


def _moved(mark: Mark, index_price: float, now_ns: int) -> Mark:
    ratio = index_price / mark.index_price
    return msgspec.structs.replace(
        mark,
        price=mark.price * ratio,
        forward_price=mark.forward_price * ratio,
        index_price=index_price,
        time_ns=now_ns,
    )


def _columns(start: int, marks: Sequence[Mark | None]) -> tuple[Ints, npt.NDArray[np.int64], Floats]:
    """Return rows, times and numbers of a slice's marks; a list a column takes a third of what a row at a time does."""
    present = [mark for mark in marks if mark is not None]
    if len(present) == len(marks):
        rows = np.arange(start, start + len(marks), dtype=np.int32)
    else:
        rows = np.array([row for row, mark in enumerate(marks, start) if mark is not None], dtype=np.int32)
    numbers = np.empty((len(present), 4))
    numbers[:, 0] = [mark.price for mark in present]
    numbers[:, 1] = [mark.forward_price for mark in present]
    numbers[:, 2] = [mark.index_price for mark in present]
    numbers[:, 3] = [mark.implied_vol for mark in present]
    return rows, np.array([mark.time_ns for mark in present], dtype=np.int64), numbers
