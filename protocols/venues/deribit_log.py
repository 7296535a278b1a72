"""When a Deribit session asks for its transaction log, and from where: each booking is told, however often it is asked.

The log is asked for after each connection, before positions are compared, soon after each settlement and each full
hour, in windows of a month, page by page from the newest row to the oldest. A window is told when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from protocols.venues.bookings import (
    FRESH_NS,
    HOUR_NS,
    LATER_FOR_NS,
    LATER_NS,
    OVERLAP_NS,
    SOON_FOR_NS,
    SOON_NS,
    next_look_ns,
)
from protocols.venues.deribit_accounts import Ask
from protocols.venues.deribit_bookings import LOG_PAGE, rows_of
from protocols.venues.deribit_market import MarketData
from protocols.venues.deribit_tables import Kind
from protocols.venues.events import BookingsRead, Event
from protocols.venues.fields import NS_PER_MS, FieldError
from protocols.venues.jsonrpc import Request
from protocols.venues.trading import CLOCK_MARGIN_NS

DAY_NS: Final = 24 * HOUR_NS
SETTLED_AT_NS: Final = 8 * HOUR_NS  # of each day, UTC
# With no position of the log known: funding is told with a settlement at the latest, which is once a day.
LOOK_BACK_NS: Final = DAY_NS + HOUR_NS
# Only a gateway that was away for long asks for so much at once, and it has not traded meanwhile.
WINDOW_MS: Final = 30 * DAY_NS // NS_PER_MS
PAGE_ROWS: Final = 250  # as many as the venue lists at once
MAX_PAGES: Final = 500


class Read(msgspec.Struct):
    """A window of one currency's log while its pages come, newest rows first."""

    request: Request
    since_ms: int
    until_ms: int
    goal_ms: int
    rows: list[msgspec.Raw]


class TransactionLog:
    """Asks for the log and tells what it says. `ask` sends a request, `report(message, context)` an error.

    Parameters
    ----------
    since_ns : from when on all was ours, with no position known; None: from the first connection, and no earlier
    known_ns : by currency, until when all of the log was told to an earlier session
    """

    def __init__(
        self,
        events: list[Event],
        market: MarketData,
        ask: Ask,
        report: Callable[[str, str], None],
        currencies: tuple[str, ...],
        since_ns: int | None,
        known_ns: Mapping[str, int],
    ) -> None:
        self._events = events
        self._market = market
        self._ask = ask
        self._report = report
        self._currencies = currencies
        self._asks_first = since_ns is not None
        self._since_ns = None if since_ns is None else since_ns - LOOK_BACK_NS
        self._known_ns = dict(known_ns)
        self._read_ns: dict[str, int] = {}  # when its last whole answer came
        self._holes_ns: dict[str, int] = {}  # since when rows are missing
        self._reads: dict[str, Read] = {}
        self.due_ns: int | None = None

    def on_connected(self, now_ns: int) -> None:
        if self._since_ns is None:
            self._since_ns = now_ns - CLOCK_MARGIN_NS

    def on_disconnected(self) -> None:
        self._reads.clear()
        self.due_ns = None

    # -- questions

    def ask(self, step: int, now_ns: int) -> None:
        """Ask for what was booked since the last whole answer; on a connection with no time to start from, nothing."""
        self.due_ns = self._next_look_ns(now_ns)
        if step and not self._asks_first:
            self._asks_first = True
            return
        for currency in self._currencies:
            if not step and currency in self._reads:
                continue  # a question that others wait for is under way
            is_fresh = now_ns - self._read_ns.get(currency, now_ns - FRESH_NS) < FRESH_NS
            if step and is_fresh and currency not in self._holes_ns:
                self.due_ns = min(self.due_ns, now_ns + FRESH_NS)
                continue
            self._begin(currency, self._from_ms(currency), now_ns // NS_PER_MS, step, now_ns)

    def ask_what_is_due(self, now_ns: int) -> None:
        """Ask again, at `due_ns`."""
        if self.due_ns is not None and self.due_ns <= now_ns:
            self.ask(0, now_ns)

    def _from_ms(self, currency: str) -> int:
        assert self._since_ns is not None
        known_ns = self._known_ns.get(currency)
        since_ns = self._since_ns if known_ns is None else known_ns - OVERLAP_NS
        return max(0, since_ns // NS_PER_MS)

    def _begin(self, currency: str, since_ms: int, goal_ms: int, step: int, now_ns: int) -> None:
        until_ms = min(goal_ms, since_ms + WINDOW_MS)
        request = Request(Kind.TRANSACTION_LOG, currency=currency, since_ms=since_ms, step=step)
        read = self._reads[currency] = Read(request, since_ms, until_ms, goal_ms, [])
        self._ask_page(read, now_ns)

    def _ask_page(self, read: Read, now_ns: int) -> None:
        params: dict[str, object] = {
            "currency": read.request.currency,
            "start_timestamp": read.since_ms,
            "end_timestamp": read.until_ms,
            "count": PAGE_ROWS,
        }
        if read.request.cursor:
            cursor = read.request.cursor
            params["continuation"] = int(cursor) if cursor.isdigit() else cursor
        self._ask(read.request, "private/get_transaction_log", params, now_ns)

    def _next_look_ns(self, now_ns: int) -> int:
        settled_ns = (now_ns - SETTLED_AT_NS) // DAY_NS * DAY_NS + SETTLED_AT_NS
        expiries = [one.expiration_ns for one in self._market.instruments.values() if one.expiration_ns is not None]
        return next_look_ns([settled_ns, settled_ns + DAY_NS, *expiries], now_ns)

    # -- answers

    def on_page(self, request: Request, result: msgspec.Raw, now_ns: int) -> None:
        """Take a page. Raises ValueError where it can not be right."""
        currency = request.currency
        read = self._reads.get(currency)
        if read is None or read.request is not request:
            return  # of a question that was asked anew since
        page = LOG_PAGE.decode(result)
        read.rows += page.logs
        if page.continuation is not None and page.logs:
            if request.page >= MAX_PAGES:
                raise FieldError(f"continuation: still there after {MAX_PAGES} pages")
            cursor = str(page.continuation)
            read.request = msgspec.structs.replace(request, cursor=cursor, page=request.page + 1)
            self._ask_page(read, now_ns)
            return
        del self._reads[currency]
        if self._tell(currency, read, now_ns) and read.until_ms < read.goal_ms:
            since_ms = max(read.since_ms + 1, read.until_ms - OVERLAP_NS // NS_PER_MS)
            self._begin(currency, since_ms, read.goal_ms, request.step, now_ns)

    def _tell(self, currency: str, read: Read, now_ns: int) -> bool:
        """Tell what a window has; False while rows of it are missing, which may come yet."""
        self._read_ns[currency] = now_ns
        told, holes = rows_of(currency, read.rows, now_ns)
        self._events += told
        if not holes:
            self._holes_ns.pop(currency, None)
        elif (missing_ns := now_ns - self._holes_ns.setdefault(currency, now_ns)) < LATER_FOR_NS:
            self._look_again(now_ns + (SOON_NS if missing_ns < SOON_FOR_NS else LATER_NS))
            return False
        self._events += holes
        until_ns = read.until_ms * NS_PER_MS
        self._known_ns[currency] = max(until_ns, self._known_ns.get(currency, 0))
        self._events.append(BookingsRead(currency, until_ns))
        return True

    def on_lost(self, request: Request, reason: str, now_ns: int) -> None:
        """A page has no usable answer: all of the window is asked for again later."""
        read = self._reads.get(request.currency)
        if read is not None and read.request is request:
            del self._reads[request.currency]
            self._report(f"not answered: {reason}", f"transaction log of {request.currency}")
            self._look_again(now_ns + LATER_NS)

    def _look_again(self, at_ns: int) -> None:
        self.due_ns = at_ns if self.due_ns is None else min(self.due_ns, at_ns)
