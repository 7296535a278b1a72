"""From the marks of one moment to a generation of risk arrays, in slices: the same work wherever it is done.

The order path's process does it between orders, or hands the snapshot to a process of its own; both call this.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from risk.instrument import Instrument, Kind
from risk.pricing import MAX_PRICE, Floats, InstrumentMark
from risk.scenarios import Generation, GenerationBuilder, Ints
from risk.volatility.surface import VolQuote, VolSurface

__all__ = ["MarketSnapshot", "Repricing"]

NS_PER_YEAR: Final = 365 * 24 * 3600 * 1_000_000_000
# Marks made ready take a twentieth of what an instrument's risk array does.
MARKS_AN_INSTRUMENT: Final = 20


class MarketSnapshot(msgspec.Struct, frozen=True, eq=False):
    """What a generation is made of. `instruments` are in the order of their index, each named once in `currencies`.

    rows (N,) are the instruments that have a mark, time_ns (N,) int64 when those came, and numbers (N, 4) their mark
    price, forward price, index price (USD) and implied volatility (annual fraction, 0 where there is none).
    index_prices are of coins that several venues tell the worth of, None where they contradict each other; of any
    other coin that of its newest mark counts.
    """

    number: int
    as_of_ns: int
    instruments: Sequence[Instrument]
    currencies: Sequence[str]
    rows: Ints
    time_ns: npt.NDArray[np.int64]
    numbers: Floats
    index_prices: Mapping[str, float | None] = {}
    apart: tuple[str, ...] = ()  # venues whose contracts offset nothing elsewhere now


class Repricing:
    """Prices one generation: call `price_some` until it returns True, then `generation`.

    Marks older than `mark_max_age_ns` are unknown to the generation, as they are to a check. An option with a mark and
    without a volatility takes that of its expiry's surface (`VolSurface`). `setting` are the other arguments of
    GenerationBuilder, the same for all generations.

    Raises
    ------
    ValueError
        From any call, if rows, times and numbers do not fit the instruments, or a setting does not fit.
    """

    def __init__(self, snapshot: MarketSnapshot, mark_max_age_ns: int, setting: Mapping[str, Any]) -> None:
        count = len(snapshot.rows)
        if snapshot.time_ns.shape != (count,) or snapshot.numbers.shape != (count, 4):
            raise ValueError(f"{count} marks with times {snapshot.time_ns.shape}, numbers {snapshot.numbers.shape}")
        if count and not (snapshot.rows.min() >= 0 and snapshot.rows.max() < len(snapshot.instruments)):
            raise ValueError("a mark is of no instrument")
        self._snapshot, self._max_age_ns, self._setting = snapshot, mark_max_age_ns, setting
        self.marks: dict[int, InstrumentMark] = {}
        self._index_prices: dict[str, tuple[int, float]] = {}
        self._no_vol: dict[int, str] = {}
        self._builder: GenerationBuilder | None = None
        self._count = 0
        self._work = self._prepare()

    def price_some(self, count: int) -> bool:
        """Price up to `count` more instruments, or prepare as much; return whether all are done."""
        self._count = count
        for _ in self._work:
            return False
        builder = self._builder
        assert builder is not None
        return builder.price_some(count)

    def generation(self) -> Generation:
        """Return the generation; raises ValueError if instruments are left to price."""
        if self._builder is None:
            raise ValueError("nothing is priced yet")
        generation = self._builder.generation()
        generation.refusals.update(self._no_vol)
        return generation

    def take_marks(self) -> dict[int, InstrumentMark]:
        """Return the marks of the snapshot that are fresh, by instrument, as they came; to be called first."""
        self._count = max(1, len(self._snapshot.rows))
        for _ in self._take_marks():
            pass
        return self.marks

    def _prepare(self) -> Iterator[None]:
        yield from self._take_marks()
        yield from self._complete_vols()
        snapshot = self._snapshot
        prices = {coin: price for coin, (_, price) in self._index_prices.items()} | dict(snapshot.index_prices)
        self._builder = GenerationBuilder(
            number=snapshot.number,
            as_of_ns=snapshot.as_of_ns,
            instruments=snapshot.instruments,
            marks=self.marks,
            currencies=snapshot.currencies,
            index_prices={coin: price for coin, price in prices.items() if price is not None},
            apart=snapshot.apart,
            **self._setting,
        )

    def _take_marks(self) -> Iterator[None]:
        snapshot, marks, newest = self._snapshot, self.marks, self._index_prices
        is_fresh = snapshot.as_of_ns - snapshot.time_ns <= self._max_age_ns
        rows, times = snapshot.rows[is_fresh].tolist(), snapshot.time_ns[is_fresh].tolist()
        numbers, instruments = snapshot.numbers[is_fresh].tolist(), snapshot.instruments
        start = 0
        while start < len(rows):
            stop = start + self._count * MARKS_AN_INSTRUMENT
            for row, time_ns, (mark, forward, index, vol) in zip(
                rows[start:stop], times[start:stop], numbers[start:stop], strict=True
            ):
                instrument = instruments[row]
                marks[row] = InstrumentMark(mark, forward, index, vol, _years(instrument, snapshot.as_of_ns))
                coin = instrument.base_currency
                if coin not in newest or newest[coin][0] <= time_ns:
                    newest[coin] = (time_ns, index)
            start = stop
            yield

    def _complete_vols(self) -> Iterator[None]:
        """Give a volatility to each option that has a mark and time left, and none; one underlying a slice."""
        lacking: dict[tuple[str, str, str], dict[float, list[int]]] = {}
        instruments, marks = self._snapshot.instruments, self.marks
        for row, mark in marks.items():
            if mark.mark_iv == 0 and mark.years_to_expiry > 0 and instruments[row].kind is Kind.OPTION:
                by_years = lacking.setdefault(_book(instruments[row]), {})
                by_years.setdefault(mark.years_to_expiry, []).append(row)
        for book, by_years in lacking.items():
            quotes = [
                VolQuote(mark.years_to_expiry, _strike(instruments[row]), mark.forward_price, mark.mark_iv)
                for row, mark in marks.items()
                if instruments[row].kind is Kind.OPTION and _book(instruments[row]) == book
            ]
            try:
                surface = VolSurface(quotes)
            except ValueError as refusal:
                self._refuse_vols([row for rows in by_years.values() for row in rows], refusal)
            else:
                for years, rows in by_years.items():
                    self._fill(surface, years, rows)
            yield

    def _fill(self, surface: VolSurface, years: float, rows: list[int]) -> None:
        instruments, marks = self._snapshot.instruments, self.marks
        # A price that is none is refused by name where the instrument is priced.
        rows = [row for row in rows if 0 < marks[row].forward_price <= MAX_PRICE and _strike(instruments[row]) > 0]
        strikes = np.array([_strike(instruments[row]) for row in rows])
        try:
            vols = surface.vols(years, strikes, np.array([marks[row].forward_price for row in rows]))
        except ValueError as refusal:
            self._refuse_vols(rows, refusal)
            return
        for row, vol in zip(rows, vols.tolist(), strict=True):
            marks[row] = msgspec.structs.replace(marks[row], mark_iv=vol)

    def _refuse_vols(self, rows: list[int], refusal: ValueError) -> None:
        for row in rows:
            symbol = self._snapshot.instruments[row].symbol
            self._no_vol[row] = f"{symbol}: no mark_iv, and no surface: {refusal}"


def _strike(instrument: Instrument) -> float:
    return float(instrument.strike or 0)


def _book(instrument: Instrument) -> tuple[str, str, str]:
    """Options of one venue on one underlying, settled alike, share a surface."""
    return instrument.venue, instrument.underlying, instrument.settlement_currency


def _years(instrument: Instrument, now_ns: int) -> float:
    expiry_ns = instrument.expiry_ns
    return 0.0 if expiry_ns is None else max(0, expiry_ns - now_ns) / NS_PER_YEAR
