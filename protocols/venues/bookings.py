"""What a venue books to an account beside trades: funding, and what contracts bring when they end.

Streams tell of it at best once, and some without its id. So a session asks for the list of bookings itself: after each
connection from where the last whole answer ended, soon after each full hour and each expiry, and when a stream has
said that there is something. What is told twice counts once by its id, which is the gateway's to see.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from protocols.venues.fields import NS_PER_MS, NS_PER_S
from protocols.venues.jsonrpc import Request
from protocols.venues.requests import HTTP, Kind
from protocols.venues.settings import Settings
from protocols.venues.tables import VenueTables
from protocols.venues.trading import CLOCK_MARGIN_NS, MAX_PAGES, TradingSession

TIMER: Final = "bookings"
HOUR_NS: Final = 3_600 * NS_PER_S
# A list may be so much behind what it is of; it is asked for again from so long before its last whole answer.
OVERLAP_NS: Final = 1_800 * NS_PER_S
# After a restart: longer than between two fundings, since the notice of the last one may have been lost.
LOOK_BACK_NS: Final = 9 * HOUR_NS
AFTER_THE_HOUR_NS: Final = 5 * NS_PER_S
AFTER_EXPIRY_NS: Final = NS_PER_S
AFTER_A_NOTICE_NS: Final = NS_PER_S // 5
# Reconciliations may follow one another at once: what was answered so shortly before is not asked for by each.
FRESH_NS: Final = NS_PER_S
# How soon to ask again, for a minute after an expiry, and then until deliveries are published for certain.
SOON_NS, SOON_FOR_NS = 5 * NS_PER_S, 60 * NS_PER_S
LATER_NS, LATER_FOR_NS = 60 * NS_PER_S, 900 * NS_PER_S


def next_look_ns(expiries: Iterable[int], venue_ns: int) -> int:
    """Return when to ask next, after `venue_ns`: after the next full hour, or after an expiry, until it is told."""
    due_ns = venue_ns - venue_ns % HOUR_NS + HOUR_NS + AFTER_THE_HOUR_NS
    for expiry_ns in expiries:
        age_ns = venue_ns - expiry_ns
        if age_ns < AFTER_EXPIRY_NS:
            due_ns = min(due_ns, expiry_ns + AFTER_EXPIRY_NS)
        elif age_ns < SOON_FOR_NS:
            due_ns = min(due_ns, venue_ns + SOON_NS)
        elif age_ns < LATER_FOR_NS:
            due_ns = min(due_ns, venue_ns + LATER_NS)
    return due_ns


class BookingSession(TradingSession):
    """Adds the questions; a venue adds their words, and reads the answers."""

    def __init__(self, tables: VenueTables, settings: Settings) -> None:
        super().__init__(tables, settings)
        since_ns = settings.trades_since_ns
        self._asks_bookings = since_ns is not None
        self._booked_since_ns = None if since_ns is None else since_ns - LOOK_BACK_NS
        self._booked_ns: dict[str, int] = {}  # scope -> until when its bookings are known

    # -- what a venue defines

    def _booking_scopes(self) -> list[str]:
        """Return what bookings have to be asked for separately."""
        raise NotImplementedError

    def _ask_booking_page(self, request: Request, now_ns: int) -> None:
        raise NotImplementedError

    # -- when to ask

    def _ask_bookings(self, run: int, now_ns: int) -> None:
        """Ask for what was booked since the last whole answer; before a first connection, nothing is ours."""
        if self._booked_since_ns is None:
            self._booked_since_ns = (self._born_ns or now_ns) - CLOCK_MARGIN_NS
        self._set_timer(TIMER, self._next_look_ns(now_ns))
        if run and not self._asks_bookings:
            self._asks_bookings = True
            return
        for scope in self._booking_scopes():
            since_ns = self._booked_ns.get(scope, self._booked_since_ns)
            if run and scope in self._booked_ns and now_ns - (since_ns + OVERLAP_NS) < FRESH_NS:
                self._set_timer(TIMER, now_ns + FRESH_NS)
                continue
            since_ms = max(0, since_ns // NS_PER_MS)
            self._ask_booking_page(
                Request(Kind.BOOKINGS, currency=scope, since_ms=since_ms, step=run, lane=HTTP), now_ns
            )

    def _on_timer(self, name: str, now_ns: int) -> None:
        if name == TIMER:
            self._ask_bookings(0, now_ns)

    def _something_was_booked(self, now_ns: int) -> None:
        """A stream has told so, and not all of it: ask, a moment later."""
        self._set_timer(TIMER, min(self._timers.get(TIMER, now_ns + HOUR_NS), now_ns + AFTER_A_NOTICE_NS))

    def _next_look_ns(self, now_ns: int) -> int:
        """Return when to ask next: after the next full hour of the venue's, or after an expiry, until it is told."""
        offset_ns = self._clock.offset_ns
        listed = self._market.instruments.values()
        expiries = [one.expiration_ns for one in listed if one.expiration_ns is not None]
        return next_look_ns(expiries, now_ns + offset_ns) - offset_ns

    # -- answers

    def _on_booking_page(self, request: Request, cursor: str, since_ms: int, now_ns: int) -> None:
        """Go on to the next page, by a cursor or a later start; without either, the scope is known until now."""
        if not cursor and since_ms == request.since_ms:
            self._booked_ns[request.currency] = now_ns - OVERLAP_NS
            return
        if request.page >= MAX_PAGES:
            raise ValueError(f"more than {MAX_PAGES} pages of bookings")
        following = msgspec.structs.replace(request, cursor=cursor, since_ms=since_ms, page=request.page + 1)
        self._ask_booking_page(following, now_ns)

    def _on_lost_query(self, request: Request, reason: str) -> None:
        super()._on_lost_query(request, reason)
        if request.kind in (Kind.BOOKINGS, Kind.DELIVERY_PRICE):
            self._report(f"not answered: {reason}", f"bookings {request.currency or request.symbol}")
            self._set_timer(TIMER, min(self._timers.get(TIMER, self._now_ns + LATER_NS), self._now_ns + LATER_NS))
