"""Approved orders go to the venue that lists their instrument. Nothing else can be sent: the type says so."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from gateway.venues.symbols import VenueSymbols
from risk.exposure import WorkingOrder
from risk.instrument import Instrument
from risk.order import Approved


class VenueLink(Protocol):
    """One venue's order entry, as the router sees it. Nothing here waits: frames queue until `flush`."""

    symbols: VenueSymbols

    def place(self, approved: Approved, order_id: str, now_ns: int) -> str | None:
        """Queue an order under its id as label; return why not, where the venue's session can not take it."""

    def cancel(self, order: WorkingOrder, now_ns: int) -> None:
        """Queue a cancel, or remember it until the venue has named the order."""

    def replace(self, order: WorkingOrder, now_ns: int) -> str | None:
        """Queue the order's pending replace; return why not, where the venue's session can not take it."""

    def flush(self) -> None:
        """Write everything queued, at once."""


class Router:
    """Venue name -> link."""

    __slots__ = ("_links", "_touched")

    def __init__(self) -> None:
        self._links: dict[str, VenueLink] = {}
        self._touched: set[str] = set()

    @property
    def venues(self) -> Collection[str]:
        """The venues that are in service."""
        return self._links.keys()

    def connect(self, venue: str, link: VenueLink) -> None:
        """Take a venue's link into service."""
        self._links[venue] = link

    def send(self, approved: Approved, order_id: str, now_ns: int) -> str | None:
        """Send an approved order; return why not, where it never left."""
        venue = approved.instrument.venue
        self._touched.add(venue)
        return self._links[venue].place(approved, order_id, now_ns)

    def cancel(self, order: WorkingOrder, now_ns: int) -> None:
        """Send a cancel."""
        venue = order.instrument.venue
        if venue in self._links:  # an order may be left from a venue that the configuration has dropped
            self._touched.add(venue)
            self._links[venue].cancel(order, now_ns)

    def replace(self, order: WorkingOrder, now_ns: int) -> str | None:
        """Send the order's pending replace; return why not, where it never left."""
        venue = order.instrument.venue
        if venue not in self._links:
            return f"venue {venue} is not configured"
        self._touched.add(venue)
        return self._links[venue].replace(order, now_ns)

    def venue_symbol(self, instrument: Instrument) -> str:
        """Return what an instrument is called at its venue."""
        link = self._links.get(instrument.venue)
        return instrument.symbol if link is None else link.symbols.venue(instrument.symbol)

    def touch(self, venue: str) -> None:
        """Have what a venue's link has queued by itself written with the batch."""
        self._touched.add(venue)

    def flush(self) -> None:
        """Write what was queued for any venue: once a batch."""
        while self._touched:
            self._links[self._touched.pop()].flush()
