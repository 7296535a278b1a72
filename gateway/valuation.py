"""The slow side of margin: prices risk arrays in short slices beside the order path, then swaps a whole generation in.

Between the first slice and the swap the checks go on with the generation before; they never see half of one, and they
know its age.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.ledger import Ledger
from risk.house_terms import HouseTerms
from risk.instrument import Instrument
from risk.kernel import MarginKernel
from risk.marks import Mark, Market
from risk.scenarios import Generation, GenerationBuilder, Grid, InstrumentMark
from risk.venue_margin import BookTerms, VenueBookBuilder

# At 200 scenarios about 0.4 ms, of which half is the start of numpy's loops.
INSTRUMENTS_PER_SLICE: Final = 16
# Working orders, positions and cash written into the next kernel a slice: some 0.2 us each.
WRITTEN_PER_SLICE: Final = 1_000
# Accounts that let go of the kernel before a slice.
ACCOUNTS_PER_SLICE: Final = 1_000
PLAIN_TERMS: Final = HouseTerms()
NS_PER_YEAR: Final = 365 * 24 * 3600 * 1_000_000_000


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
        self._terms = terms
        self._extra_currencies = tuple(currencies)
        self._builder: GenerationBuilder | None = None
        self._number = 0
        self.generation: Generation | None = None
        self._shape: tuple[int, ...] = ()
        self._spare: MarginKernel | None = None  # of the same shape as the market's
        self._filling: Iterator[None] | None = None
        # Venues' own models, priced and swapped in with each generation.
        self.venue_books: tuple[BookTerms, ...] = ()
        self._venue_builders: dict[str, VenueBookBuilder] = {}
        market.base_scenario = grid.base
        market.hierarchy = terms.hierarchy

    @property
    def is_busy(self) -> bool:
        """Whether a generation is being priced, or written into the kernel that it will be asked by."""
        return self._builder is not None or self._filling is not None

    def begin(self, now_ns: int) -> None:
        """Take the marks as they are and start a generation; those too old for a check are left out as unknown."""
        ledger, market = self._ledger, self._market
        fresh: dict[int, InstrumentMark] = {}
        newest: dict[str, Mark] = {}
        for instrument in ledger.instruments:
            mark = market.marks[instrument.index]
            if mark is None or now_ns - mark.time_ns > market.mark_max_age_ns:
                continue
            fresh[instrument.index] = _instrument_mark(instrument, mark, now_ns)
            coin = instrument.base_currency
            if coin not in newest or newest[coin].time_ns <= mark.time_ns:
                newest[coin] = mark
        self._number += 1
        currencies, instruments, rows = self._currencies(), list(ledger.instruments), len(ledger.accounts)
        self._venue_builders = {
            terms.name: VenueBookBuilder(terms, instruments, fresh, currencies, rows) for terms in self.venue_books
        }
        self._builder = GenerationBuilder(
            number=self._number,
            as_of_ns=now_ns,
            grid=self._grid,
            instruments=instruments,
            marks=fresh,
            currencies=currencies,
            index_prices={coin: mark.index_price for coin, mark in newest.items()},
            joint=self._terms.joint,
            coins=self._terms.volumes or None,
            least_delta=self._terms.least_delta,
        )

    def step(self, count: int = INSTRUMENTS_PER_SLICE) -> bool:
        """Price some more, or write some more into the next kernel; True once the generation has been swapped in."""
        builder = self._builder
        if builder is not None:
            # One after the other, and a slice of each is a slice.
            waiting = next((each for each in self._venue_builders.values() if not each.is_priced), None)
            if waiting is not None:
                waiting.price_some(count)
            elif builder.price_some(count):
                self._builder = None
                self._filling = self._swap_in(builder.generation())
            return False
        filling = self._filling
        if filling is None:
            raise AssertionError("begin comes first")
        self._filling = None  # should it fail, the generation before stays
        for _ in filling:
            self._filling = filling
            return False
        return True

    def run(self, now_ns: int) -> None:
        """Price and swap in a generation in one go."""
        self.begin(now_ns)
        while not self.step():
            pass

    def _swap_in(self, generation: Generation) -> Iterator[None]:
        """Fill a kernel beside the one that is asked, a slice at each step, and put it in its place in the last."""
        venue_books = {}
        for name, each in self._venue_builders.items():
            venue_books[name] = each.book()
            yield
        market, accounts = self._market, list(self._ledger.accounts.values())
        shape = (
            self._terms.rows(len(accounts)),
            len(generation.groups),
            max(1, len(generation.values)),
            len(generation.currencies),
            generation.grid.size,
            generation.joint,
        )
        if shape != self._shape:
            self._spare = None
        for account in accounts:
            account.drop_mirror()
        kernel = self._spare or MarginKernel(*shape)
        kernel.load(*generation.arrays())
        self._terms.prepare(kernel, generation, self._ledger.instruments)
        currency_index = {currency: column for column, currency in enumerate(generation.currencies)}
        written = 0
        for account in accounts:
            written += account.begin_mirror(kernel, currency_index, venue_books)
            while not account.exposure.mirror_some(WRITTEN_PER_SLICE):
                yield
                written = 0
            if written >= WRITTEN_PER_SLICE:
                yield
                written = 0
        before, market.kernel = market.kernel, kernel
        market.venue_books = venue_books
        market.generation_time_ns = generation.as_of_ns
        market.priced_count = len(generation.values)
        self.generation = generation
        # The one before is asked no more; that accounts go on writing into it for a few slices harms nobody.
        self._spare = None
        for number, account in enumerate(accounts, 1):
            account.end_mirror()
            if number % ACCOUNTS_PER_SLICE == 0:
                yield
        self._spare = before if shape == self._shape else None
        self._shape = shape

    def _currencies(self) -> list[str]:
        names: dict[str, None] = dict.fromkeys(("USD", "USDC", "USDT", *self._extra_currencies))
        for instrument in self._ledger.instruments:
            names[instrument.base_currency] = names[instrument.settlement_currency] = None
        for account in self._ledger.accounts.values():
            names.update(dict.fromkeys(account.cash_units))
        return list(names)


def _instrument_mark(instrument: Instrument, mark: Mark, now_ns: int) -> InstrumentMark:
    expiry_ns = instrument.expiry_ns
    return InstrumentMark(
        mark_price=mark.price,
        forward_price=mark.forward_price,
        index_price=mark.index_price,
        mark_iv=mark.implied_vol,
        years_to_expiry=0.0 if expiry_ns is None else max(0, expiry_ns - now_ns) / NS_PER_YEAR,
    )
