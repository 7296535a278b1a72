"""Public data of a venue: terms, marks put together from several channels, and books."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from protocols.venues.books import BookRule, Books
from protocols.venues.events import Event, IndexPriceUpdated, InstrumentListed, MarkPriceUpdated, TopOfBookUpdated
from protocols.venues.fields import NS_PER_MS, NS_PER_S, ONE, FieldError

MAX_INSTRUMENTS: Final = 20_000
MAX_LISTED: Final = 200_000
CONFIRMED_EVERY_NS: Final = 500 * NS_PER_MS
# A mark is told with the last index; an index that is older than this by the venue's clock says nothing.
MAX_INDEX_LAG_NS: Final = 120 * NS_PER_S


class MarkParts(msgspec.Struct, gc=False):
    """What is known of one instrument's mark; a venue may tell each part in a channel of its own."""

    mark_price: float = 0.0
    mark_ns: int = 0
    mark_iv: float | None = None
    forward_price: float | None = None
    min_price: float | None = None
    max_price: float | None = None


class MarketData:
    """What the public channels say. `events` is the session's list; `report(message, context)` tells of errors."""

    def __init__(
        self,
        events: list[Event],
        report: Callable[[str, str], None],
        *,
        is_wanted: Callable[[str], bool],
        max_ahead_ns: int,
        rule_of: Callable[[str], BookRule],
    ) -> None:
        self._events = events
        self._report = report
        self.is_wanted = is_wanted
        self._max_ahead_ns = max_ahead_ns
        self.venue_offset_ns = 0
        self.instruments: dict[str, InstrumentListed] = {}
        self.scopes: dict[str, str] = {}  # symbol -> the listing that it came in
        self.units: dict[str, Decimal] = {}
        self.books = Books(events, rule_of)
        # Limit prices that are taken, as parts of the mark price, where the venue states them so.
        self.bands: dict[str, tuple[float, float]] = {}
        self._marks: dict[str, MarkParts] = {}
        self._indices: dict[str, tuple[float, int]] = {}
        self.tops: dict[str, TopOfBookUpdated] = {}

    # -- instruments

    def on_listing(
        self, scope: str, entries: list[tuple[InstrumentListed, Decimal]], is_complete: bool = True
    ) -> list[str]:
        """Take one listing, each instrument with its unit of amount; return the wanted symbols that were not known.

        The units of all are kept: a position in one that is not wanted has to be understood too.
        """
        fresh, listed = [], set()
        for instrument, unit in entries:
            symbol = instrument.symbol
            if self.scopes.get(symbol, scope) != scope:
                self._report(f"symbol: {symbol} is listed in {self.scopes[symbol]} already", scope)
                continue
            if symbol not in self.units and len(self.units) >= MAX_LISTED:
                self._report(f"more than {MAX_LISTED} instruments: not listed", symbol)
                continue
            self.units[symbol] = unit
            self.books.set_unit(symbol, unit)
            if not self.is_wanted(symbol):
                continue
            listed.add(symbol)
            known = self.instruments.get(symbol)
            if known == instrument:
                continue
            if known is None:
                if len(self.instruments) >= MAX_INSTRUMENTS:
                    self._report(f"more than {MAX_INSTRUMENTS} instruments: not listed", symbol)
                    continue
                fresh.append(symbol)
            self.instruments[symbol] = instrument
            self.scopes[symbol] = scope
            self._events.append(instrument)
        for symbol, instrument in self.instruments.items() if is_complete else ():
            if instrument.is_open and self.scopes[symbol] == scope and symbol not in listed:
                closed = self.instruments[symbol] = msgspec.structs.replace(instrument, is_open=False)
                self._events.append(closed)
        return fresh

    def unit(self, symbol: str) -> Decimal:
        """Return what one of the venue's units of amount is as a quantity; raises ValueError for an unlisted symbol."""
        unit = self.units.get(symbol)
        if unit is None:
            raise FieldError(f"symbol: {symbol[:40]!r} is not listed, so its unit is not known")
        return unit

    def quantity(self, symbol: str, amount: Decimal) -> Decimal:
        """Return the venue's amount as a quantity of our own unit."""
        unit = self.unit(symbol)
        return amount if unit is ONE else amount * unit

    def open_symbols(self) -> list[str]:
        return [symbol for symbol, instrument in self.instruments.items() if instrument.is_open]

    # -- time

    def check_time(self, time_ns: int, now_ns: int) -> int:
        """Return the time; raises ValueError where it is later than the venue's clock can be."""
        if time_ns > now_ns + self.venue_offset_ns + self._max_ahead_ns:
            raise FieldError(f"timestamp: {(time_ns - now_ns) // NS_PER_MS} ms in the future")
        return time_ns

    # -- marks

    def parts(self, symbol: str) -> MarkParts:
        parts = self._marks.get(symbol)
        if parts is None:
            if symbol not in self.instruments:
                raise FieldError(f"symbol: {symbol[:40]!r} is not listed")
            parts = self._marks[symbol] = MarkParts()
        return parts

    def on_index(self, name: str, price: float, time_ns: int) -> None:
        if time_ns >= self._indices.get(name, (0.0, 0))[1]:
            if name not in self._indices and len(self._indices) >= MAX_INSTRUMENTS:
                raise FieldError(f"more than {MAX_INSTRUMENTS} price indices")
            self._indices[name] = (price, time_ns)
            self._events.append(IndexPriceUpdated(name, price, time_ns))

    def confirm_index(self, name: str, time_ns: int) -> None:
        """The index is still what it was: the venue tells only what has changed."""
        known = self._indices.get(name)
        if known is not None and time_ns > known[1]:
            self._indices[name] = (known[0], time_ns)

    def on_mark(self, symbol: str, price: float, time_ns: int) -> None:
        """Take a mark price, and tell it with all else that is known; one that is older than the last is not."""
        parts = self.parts(symbol)
        if time_ns < parts.mark_ns:
            return
        parts.mark_price, parts.mark_ns = price, time_ns
        band = self.bands.get(symbol)
        if band is not None:
            parts.min_price, parts.max_price = price * band[0], price * band[1]
        self.tell_mark(symbol)

    def confirm_mark(self, symbol: str, time_ns: int) -> None:
        """The mark is still what it was, where a venue tells only what has changed: told again, but not each time."""
        parts = self._marks.get(symbol)
        if parts is not None and parts.mark_ns and time_ns - parts.mark_ns >= CONFIRMED_EVERY_NS:
            parts.mark_ns = time_ns
            self.tell_mark(symbol)

    def tell_mark(self, symbol: str) -> None:
        """Tell the mark, once its price and a timely index are known, and the volatility for an option."""
        parts, instrument = self._marks[symbol], self.instruments[symbol]
        index = self._indices.get(instrument.underlying)
        if not parts.mark_ns or index is None or parts.mark_ns - index[1] > MAX_INDEX_LAG_NS:
            return
        if instrument.kind == "option" and (parts.mark_iv is None or parts.forward_price is None):
            return
        top = self.tops.get(symbol)
        self._events.append(
            MarkPriceUpdated(
                symbol,
                parts.mark_price,
                index[0],
                parts.mark_ns,
                parts.mark_iv,
                parts.forward_price,
                None,
                None if top is None or top.bid is None else float(top.bid),
                None if top is None or top.ask is None else float(top.ask),
                parts.min_price,
                parts.max_price,
                instrument.is_open,
            )
        )

    def on_disconnected(self, symbols: list[str]) -> None:
        """What these channels said last is not to be mixed with what they say next."""
        for symbol in symbols:
            self._marks.pop(symbol, None)
            self.tops.pop(symbol, None)
        self.books.on_disconnected(symbols)
