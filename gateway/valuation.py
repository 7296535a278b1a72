"""The slow side of margin: prices risk arrays in short slices beside the order path, then swaps a whole generation in.

Between the first slice and the swap the checks go on with the generation before; they never see half of one, and they
know its age.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.ledger import Ledger
from risk.instrument import Instrument
from risk.kernel import MarginKernel
from risk.marks import Mark, Market
from risk.scenarios import Generation, GenerationBuilder, Grid, InstrumentMark

# At 200 scenarios about 0.4 ms, of which half is the start of numpy's loops.
INSTRUMENTS_PER_SLICE: Final = 16
NS_PER_YEAR: Final = 365 * 24 * 3600 * 1_000_000_000


class Valuation:
    """Builds generations from the market's marks and loads them into its kernel."""

    def __init__(self, ledger: Ledger, market: Market, grid: Grid, currencies: Iterable[str] = ()) -> None:
        self._ledger = ledger
        self._market = market
        self._grid = grid
        self._extra_currencies = tuple(currencies)
        self._builder: GenerationBuilder | None = None
        self._number = 0
        self.generation: Generation | None = None
        self._shape: tuple[int, ...] = ()
        market.base_scenario = grid.base

    @property
    def is_busy(self) -> bool:
        """Whether a generation is being priced."""
        return self._builder is not None

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
        self._builder = GenerationBuilder(
            number=self._number,
            as_of_ns=now_ns,
            grid=self._grid,
            instruments=list(ledger.instruments),
            marks=fresh,
            currencies=self._currencies(),
            index_prices={coin: mark.index_price for coin, mark in newest.items()},
        )

    def step(self, count: int = INSTRUMENTS_PER_SLICE) -> bool:
        """Price some more; return True once the generation has been swapped in."""
        builder = self._builder
        if builder is None:
            raise AssertionError("begin comes first")
        if not builder.price_some(count):
            return False
        self._builder = None
        self._swap_in(builder.generation())
        return True

    def run(self, now_ns: int) -> None:
        """Price and swap in a generation in one go."""
        self.begin(now_ns)
        while not self.step():
            pass

    def _swap_in(self, generation: Generation) -> None:
        ledger, market = self._ledger, self._market
        shape = (
            max(1, len(ledger.accounts)),
            len(generation.groups),
            max(1, len(generation.values)),
            len(generation.currencies),
            generation.grid.size,
        )
        if shape != self._shape:
            market.kernel = MarginKernel(*shape)
            self._shape = shape
        market.kernel.load(*generation.arrays())
        currency_index = {currency: column for column, currency in enumerate(generation.currencies)}
        for account in ledger.accounts.values():
            account.mirror_into(market.kernel, currency_index)
        market.generation_time_ns = generation.as_of_ns
        market.priced_count = len(generation.values)
        self.generation = generation

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
