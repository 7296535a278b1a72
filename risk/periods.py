"""Margin periods of risk: how long a position may have to be held before it is closed, by product and venue.

A row names a product, a venue, or both. One of both counts before others; of a row of the product and one of the venue
the longer; where no row fits, the default. A profile's least period is a floor under all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from math import isfinite, sqrt
from typing import Final

import msgspec
import numpy as np

from risk.instrument import Instrument, Kind
from risk.pricing import USD_LIKE, Floats

PRODUCTS: Final = ("spot", "perpetual", "future", "option")
_PRODUCT_OF: Final = {Kind.SPOT: "spot", Kind.PERPETUAL: "perpetual", Kind.FUTURE: "future", Kind.OPTION: "option"}
# An hour to a month: what closing a position may take.
LEAST_DAYS: Final = 1 / 24
MOST_DAYS: Final = 30.0
MAX_ROWS: Final = 500
# Different lengths of one set: each is moves of its own for every coin in every tail point.
MAX_LENGTHS: Final = 8
# No stretched move falls below this, as in risk/models/house_book.py; one that was below it before stays.
LEAST_MOVE: Final = -0.95
MAX_MOVE: Final = 10.0


class PeriodRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, order=True):
    """The period of a product, of a venue, or of a product at a venue, in days; empty: any."""

    days: float
    product: str = ""
    venue: str = ""

    def __str__(self) -> str:
        """As people write it: option@deribit=2."""
        at = f"@{self.venue}" if self.venue else ""
        return f"{self.product}{at}={self.days:g}"


class Periods:
    """The table. What has no row has `days`; nothing has less than `least`; moves that are stretched by `root` are of
    `stands_for` days, the default where it is not given.

    Raises
    ------
    ValueError
        If it is no table, saying why.
    """

    __slots__ = ("_by_kind", "_cash", "_counted", "_known", "days", "least", "rows", "stands_for")

    def __init__(
        self, days: float, rows: Iterable[PeriodRow] = (), *, least: float = 0.0, stands_for: float | None = None
    ) -> None:
        self.days, self.rows, self.least = days, tuple(rows), least
        self.stands_for = days if stands_for is None else stands_for
        if reason := why_no_periods(self.rows):
            raise ValueError(reason)
        # As files name them: to six digits.
        self._known = {(row.product, row.venue): float(f"{row.days:g}") for row in self.rows}
        self._by_kind: dict[tuple[Kind, str], float] = {}
        self._cash: dict[str, float] = {}
        self._counted = 0

    @property
    def is_plain(self) -> bool:
        """Whether no move is stretched: all that there is has the days that moves are of."""
        return not self.rows and max(self.days, self.least) == self.stands_for

    @property
    def lengths(self) -> tuple[float, ...]:
        """All different periods, ascending."""
        return tuple(sorted({max(self.least, days) for days in (self.days, *self._known.values())}))

    def of(self, product: str, venue: str) -> float:
        """The period of a product at a venue, in days."""
        known = self._known
        found = known.get((product, venue))
        if found is None:
            rows = [known[key] for key in ((product, ""), ("", venue)) if key in known]
            found = max(rows, default=self.days)
        return max(self.least, found)

    def of_instrument(self, instrument: Instrument) -> float:
        """The period of an instrument, in days."""
        key = instrument.kind, instrument.venue
        found = self._by_kind.get(key)
        if found is None:
            found = self._by_kind[key] = self.of(_PRODUCT_OF[instrument.kind], instrument.venue)
        return found

    def root(self, days: float) -> float:
        """What moves of `stands_for` days are multiplied by to be of so many."""
        return sqrt(days / self.stands_for)

    def cash_days(self, currency: str, instruments: Sequence[Instrument]) -> float:
        """The period of a coin that is held: spot's, and of what settles in it, since fills of that are held in it.

        An inverse contract is worth the same in dollars whatever its coin does; it is the coin of its fills that moves.
        `instruments` only ever grow from one call to the next.
        """
        for instrument in instruments[self._counted :]:
            settled = instrument.settlement_currency
            if settled not in USD_LIKE:
                self._cash[settled] = max(self._cash.get(settled, 0.0), self.of_instrument(instrument))
        self._counted = max(self._counted, len(instruments))
        return max(self.of("spot", ""), self._cash.get(currency, 0.0))

    def at_least(self, days: float, stands_for: float | None = None) -> Periods:
        """The same with nothing below so many days."""
        stands = self.stands_for if stands_for is None else stands_for
        return Periods(self.days, self.rows, least=max(self.least, days), stands_for=stands)

    def raised_to(self, other: Periods) -> Periods:
        """The longer of both for every product and venue that either names."""
        days = max(self.days, self.least, other.days, other.least)
        rows = [PeriodRow(max(self.of(*key), other.of(*key)), *key) for key in pairs_of((*self.rows, *other.rows))]
        kept = [row for row in rows if row.days != days or (row.product, row.venue) in self._known | other._known]
        return Periods(days, kept, stands_for=self.stands_for)

    def shorter_than(self, other: Periods) -> str:
        """What has less here than there, in words; empty where nothing has."""
        for product, venue in (("", ""), *pairs_of((*self.rows, *other.rows))):
            mine, least = self.of(product, venue), other.of(product, venue)
            if mine < least:
                what = f"{product or 'anything'} at {venue or 'a venue without a row'}" if product or venue else ""
                return f"of {mine:g} days{f' for {what}' if what else ''}, and the margin period of risk is {least:g}"
        return ""


def pairs_of(rows: Collection[PeriodRow]) -> Iterator[tuple[str, str]]:
    """Every product at every venue that rows name, and at any other."""
    venues = sorted({row.venue for row in rows} | {""})
    return ((product, venue) for venue in venues for product in ("", *PRODUCTS) if product or venue)


def why_no_periods(rows: Sequence[PeriodRow]) -> str:
    """Why rows are no table; empty where they are."""
    if len(rows) > MAX_ROWS:
        return f"{len(rows)} margin periods, {MAX_ROWS} at most"
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if row.product not in ("", *PRODUCTS):
            return f"{row.product[:20]!r} is no product: {', '.join(PRODUCTS)}"
        if not (row.product or row.venue):
            return "a margin period names neither product nor venue: that is the default"
        if not (isfinite(row.days) and LEAST_DAYS <= row.days <= MOST_DAYS):
            return f"a margin period of {row.days:g} days is not within an hour and {MOST_DAYS:g} days"
        if (row.product, row.venue) in seen:
            return f"two margin periods of {row.product or 'anything'} at {row.venue or 'any venue'}"
        seen.add((row.product, row.venue))
    return ""


def row_of(text: str) -> PeriodRow:
    """Read a row as people write it: option=2, @deribit=1.5, future@okx=3. Raises ValueError."""
    name, equals, days = text.partition("=")
    product, _, venue = name.partition("@")
    try:
        row = PeriodRow(float(days), product.strip(), venue.strip())
    except ValueError:
        equals = ""
    if not equals:
        raise ValueError(f"{text!r} is no margin period: option=2, @deribit=1.5 or future@okx=3")
    if reason := why_no_periods([row]):
        raise ValueError(f"{text!r}: {reason}")
    return row


def stretched(moves: Floats, root: float) -> Floats:
    """Relative moves so many times as wide, within what a price can do; as they were for a root of one."""
    if root == 1.0:
        return moves
    return np.clip(moves * root, np.minimum(moves, LEAST_MOVE), MAX_MOVE)
