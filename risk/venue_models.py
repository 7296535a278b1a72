"""Venues' own margin models on the order path, by name: which there are, and what prices their books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from risk import pool_books, venue_margin
from risk.instrument import Instrument
from risk.pricing import InstrumentMark
from risk.venue_book import BookTerms

MODELS: Final = (*venue_margin.MODELS, *pool_books.MODELS)
Builder = venue_margin.VenueBookBuilder | pool_books.PoolBookBuilder


def builder(
    terms: BookTerms,
    instruments: Sequence[Instrument],
    marks: Mapping[int, InstrumentMark],
    currencies: Sequence[str],
    accounts: int,
) -> Builder:
    """Return what prices a book in slices."""
    kind = pool_books.PoolBookBuilder if terms.model in pool_books.MODELS else venue_margin.VenueBookBuilder
    return kind(terms, instruments, marks, currencies, accounts)


def refuse_unknown(model: str, parameter_set: str | None) -> None:
    """Raise ValueError unless a model with a parameter set can margin anything on the order path."""
    which = pool_books if model in pool_books.MODELS else venue_margin
    which.refuse_unknown(model, parameter_set)
