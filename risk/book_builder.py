"""What all builders of venues' own books do alike: the instruments of one venue are priced one by one, in slices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from risk.instrument import Instrument
from risk.models.result import MarginError
from risk.pricing import InstrumentMark, refuse_bad_mark, settles_in_coin
from risk.venue_book import BookTerms, VenueBook

# What counts in no wallet of the venue; never asked.
ELSEWHERE: Final = ""


class PartModel(Protocol):
    """What a builder asks a venue's model about each instrument."""

    def part(self, instrument: Instrument, mark: InstrumentMark) -> Any:
        """Return an instrument's part, or raise ValueError or MarginError where the model has none."""


Model = TypeVar("Model", bound=PartModel)
Part = TypeVar("Part")


class BookBuilder(ABC, Generic[Model, Part]):
    """Prices a book in slices, as scenarios.GenerationBuilder does: `price_some` until True, then `book`."""

    def __init__(
        self,
        terms: BookTerms,
        instruments: Sequence[Instrument],
        marks: Mapping[int, InstrumentMark],
        currencies: Sequence[str],
        accounts: int,
    ) -> None:
        self._model = self._model_of(terms)
        self._terms, self._instruments, self._marks = terms, instruments, marks
        self._currencies, self._accounts = list(currencies), max(1, accounts)
        self._mine = [i for i in instruments if i.venue == terms.venue]
        self._parts: dict[int, Part] = {}
        self.refusals: dict[int, str] = {}
        self._spots: dict[str, float] = {}
        self._next = 0

    @property
    def is_priced(self) -> bool:
        """Whether nothing is left to price."""
        return self._next == len(self._mine)

    def price_some(self, count: int) -> bool:
        """Price up to `count` more instruments; return whether all are done."""
        stop = min(self._next + count, len(self._mine))
        for instrument in self._mine[self._next : stop]:
            try:
                mark = self._marks.get(instrument.index)
                if mark is None:
                    raise ValueError(f"{instrument.symbol}: no mark")
                settles_in_coin(instrument)
                refuse_bad_mark(instrument, mark)
                self._parts[instrument.index] = self._model.part(instrument, mark)
                self._spots[self._coin_of(instrument)] = mark.index_price
            except (ValueError, MarginError) as error:
                self.refusals[instrument.index] = str(error)
        self._next = stop
        return self.is_priced

    @abstractmethod
    def book(self) -> VenueBook:
        """Return the book: a kernel that is loaded, and holds nothing yet."""

    @abstractmethod
    def _model_of(self, terms: BookTerms) -> Model:
        """Return the model that prices."""

    @abstractmethod
    def _coin_of(self, instrument: Instrument) -> str:
        """Return the coin that an instrument's index price is noted as the price of."""
