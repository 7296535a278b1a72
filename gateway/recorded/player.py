"""Plays a recording to its venue's codec and counts: what was read, what did not follow, what was refused and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import msgspec
import orjson

from gateway.recorded.files import Recording
from gateway.recorded.kinds import QUOTE_FLAVOURS, READERS, Message, Quote, Seen, Top, top_of, venue_of
from gateway.recorded.sessions import DEFAULT_LANES, MAKERS, RecordedBinance, RecordedSession
from protocols.venues.events import BookGapped, BookUpdated, Event, InstrumentListed, VenueErrorReported
from protocols.venues.fields import DECODE_ERRORS
from protocols.venues.orderbook import OrderBook

# Of moments whose quote or book may still come; reasons are kept by their first words.
MAX_MOMENTS: Final = 200_000
MAX_REASONS: Final = 200
# A frame looked at to tell the venue.
LOOKED_AT: Final = 1_000


class Compared(msgspec.Struct):
    """How often two ways of saying the same were compared, and how often they agreed."""

    compared: int = 0
    equal: int = 0

    def add(self, is_equal: bool) -> None:
        self.compared += 1
        self.equal += is_equal


class Played(msgspec.Struct):
    """The counts of a recording.

    links : changes that followed what they say they follow
    quotes : best prices that were told apart from a book, of the same number or time as a book
    is_partial : no snapshot was recorded, so that the books' chains were followed and their levels are a part
    """

    venue: str
    messages: int = 0
    by_kind: dict[str, int] = {}
    control: dict[str, int] = {}
    left_out: dict[str, int] = {}
    events: dict[str, int] = {}
    snapshots: int = 0
    links: int = 0
    gaps: int = 0
    gap_reasons: dict[str, int] = {}
    checksums: Compared = msgspec.field(default_factory=Compared)
    checksums_of_zero: int = 0
    quotes: Compared = msgspec.field(default_factory=Compared)
    differing_quotes: list[str] = []
    refused: int = 0
    refusals: dict[str, int] = {}
    errors: dict[str, int] = {}
    books: int = 0
    books_usable: int = 0
    is_partial: bool = False


class Span(msgspec.Struct):
    """What tells one of Binance's books from another: its first and last number, and a price of it."""

    first: int
    last: int
    price: float

    def has(self, number: object) -> bool:
        return isinstance(number, int) and self.first - 1 <= number <= self.last


class Player:
    """Sessions of one venue, one for each kind of book channel: two that keep the same book apart stay apart."""

    def __init__(self, venue: str, spans: dict[str, Span] | None = None, *, has_snapshot: bool = True) -> None:
        self.played = Played(venue, is_partial=venue == "binance" and not has_snapshot)
        self._read = READERS[venue]
        self._make = MAKERS[venue]
        self._spans = spans or {}
        self._sessions: dict[str, RecordedSession] = {}
        self._now_ns = 0
        self._kinds, self._control, self._events = Counter[str](), Counter[str](), Counter[str]()
        self._gaps, self._refusals, self._errors = Counter[str](), Counter[str](), Counter[str]()
        self._books: dict[tuple[str, str], OrderBook] = {}
        self._book_tops: dict[tuple[str, int], Top] = {}
        self._quotes: dict[tuple[str, int], Quote] = {}

    # -- frames

    def play(self, time_ns: int, frame: bytes) -> None:
        """Take one frame; it came at `time_ns`, or at the time that it says itself where that is 0."""
        self.played.messages += 1
        message: Any
        try:
            message = orjson.loads(frame)
        except orjson.JSONDecodeError:
            message = {}
            seen = Seen(kind="no JSON")
        else:
            if isinstance(message, list):
                message = {"data": message}
            seen = self._read(message) if isinstance(message, dict) else Seen(kind="no object")
        self._now_ns = now_ns = time_ns or seen.time_ns or self._now_ns
        if seen.is_control:
            self._on_control(seen, message)
            return
        self._kinds[seen.kind or "?"] += 1
        session = self._session(seen.flavour, now_ns)
        try:
            session.name(seen, message)
            if seen.kind == "snapshot":
                self._on_snapshot(session, message, frame, now_ns)
                return
        except DECODE_ERRORS as error:
            self._refuse(str(error))
            return
        if self.played.is_partial and seen.is_change:
            self._begin_partial(session, seen, message, now_ns)
        refused = session.malformed_frames
        session.receive(frame, now_ns, seen.lane or DEFAULT_LANES[self.played.venue])
        self._take(session, seen, session.events(), session.malformed_frames > refused)

    def _session(self, flavour: str, now_ns: int) -> RecordedSession:
        session = self._sessions.get(flavour)
        if session is None:
            session = self._sessions[flavour] = self._make(flavour)
            session.begin(now_ns)
            session.events()
        return session

    def _on_control(self, seen: Seen, message: Message) -> None:
        self._control[seen.kind or "reply"] += 1
        error = message.get("error")
        text = error.get("message", error.get("msg")) if isinstance(error, dict) else None
        if text is None and (message.get("event") == "error" or message.get("success") is False):
            text = message.get("msg") or message.get("ret_msg")
        if text is not None:
            self._count(self._errors, f"told: {text}")

    def _take(self, session: RecordedSession, seen: Seen, events: list[Event], is_refused: bool) -> None:
        played, is_applied, is_broken = self.played, False, False
        for event in events:
            if isinstance(event, InstrumentListed):
                continue  # by the recording's names, not by the venue
            self._events[type(event).__name__] += 1
            if isinstance(event, BookUpdated):
                is_applied = True
            elif isinstance(event, BookGapped):
                is_broken = True
                played.gaps += 1
                self._count(self._gaps, f"{event.symbol}: {event.reason}")
            elif isinstance(event, VenueErrorReported) and not is_refused:
                self._count(self._errors, event.message)
        if is_refused:
            told = next((event for event in events if isinstance(event, VenueErrorReported)), None)
            self._refuse("" if told is None else f"{told.message} [{seen.kind or told.context}]")
        if is_applied:
            played.links += seen.is_change
            played.snapshots += not seen.is_change
        if seen.is_book:
            self._on_book(session, seen, is_applied, is_broken)
        if seen.quote is not None and not is_refused and len(seen.symbols) == 1:
            self._on_quote((seen.symbols[0], seen.key), seen.quote)

    def _refuse(self, reason: str) -> None:
        self.played.refused += 1
        self._count(self._refusals, reason or "malformed")

    @staticmethod
    def _count(reasons: Counter[str], reason: str) -> None:
        reasons[reason if reason in reasons or len(reasons) < MAX_REASONS else "others"] += 1

    # -- books and quotes

    def _on_book(self, session: RecordedSession, seen: Seen, is_applied: bool, is_broken: bool) -> None:
        for symbol in seen.symbols[:1]:
            book = self._books[symbol, seen.flavour] = session.book(symbol)
            if seen.checksum and is_applied:
                self.played.checksums.add(not is_broken)
            elif self.played.venue == "okx" and not seen.checksum:
                self.played.checksums_of_zero += 1
            if not book.is_usable or not is_applied or not seen.key or self.played.is_partial:
                continue
            bid, ask, zero = book.best_bid, book.best_ask, Decimal(0)
            bid_amount = zero if bid is None else book.bids.levels[bid]
            ask_amount = zero if ask is None else book.asks.levels[ask]
            top = (bid, bid_amount, ask, ask_amount)
            if seen.flavour in QUOTE_FLAVOURS:
                self._on_quote((symbol, seen.key), top)
            else:
                self._on_top((symbol, seen.key), top)

    def _on_top(self, moment: tuple[str, int], top: Top) -> None:
        """A book reached a number; a time may be that of more than one change, so a quote by time has to come after."""
        quote = self._quotes.pop(moment, None) if self.played.venue != "deribit" else None
        if quote is not None:
            self._compare(moment, top, quote)
        _keep(self._book_tops, moment, top)

    def _on_quote(self, moment: tuple[str, int], quote: Quote) -> None:
        top = self._book_tops.get(moment)
        if top is not None:
            self._compare(moment, top, quote)
        elif moment[1]:
            _keep(self._quotes, moment, quote)

    def _compare(self, moment: tuple[str, int], top: Top, told: Quote) -> None:
        quote = top_of(told)
        is_equal = top == quote
        self.played.quotes.add(is_equal)
        if not is_equal and len(self.played.differing_quotes) < 20:
            texts = [" ".join(map(str, one)) for one in (top, told)]
            self.played.differing_quotes.append(f"{moment[0]} {moment[1]}: book {texts[0]}, quote {texts[1]}")

    # -- Binance's books, whose snapshots come by REST and do not say of what

    def _on_snapshot(self, session: RecordedSession, message: Message, frame: bytes, now_ns: int) -> None:
        assert isinstance(session, RecordedBinance)
        number, price = message["lastUpdateId"], _price_of(message, "bids")
        spans = {name: span for name, span in self._spans.items() if span.has(number)} or self._spans
        if not isinstance(number, int) or not spans:
            self._refuse("lastUpdateId: no book that it could be of [snapshot]")
            return
        # Symbols are numbered alike; their prices tell them apart.
        symbol = min(
            spans, key=lambda name: (abs(price - spans[name].price) / (price or 1.0), abs(spans[name].first - number))
        )
        session.name(Seen(kind="snapshot", symbols=(symbol,)), message)
        session.take_snapshot(symbol, frame, now_ns)
        seen = Seen(kind="snapshot", flavour="depth", symbols=(symbol,), is_book=True)
        self._take(session, seen, session.events(), False)

    def _begin_partial(self, session: RecordedSession, seen: Seen, message: Message, now_ns: int) -> None:
        assert isinstance(session, RecordedBinance)
        for symbol in seen.symbols[:1]:
            book = session.book(symbol)
            if not book.is_usable:
                data = message.get("data", message)
                if isinstance(data, dict) and isinstance(data.get("U"), int):
                    session.begin_book(symbol, data, now_ns)

    # -- the end

    def end(self) -> Played:
        """Return the counts."""
        played = self.played
        for name, counts in (
            ("by_kind", self._kinds),
            ("control", self._control),
            ("events", self._events),
            ("gap_reasons", self._gaps),
            ("refusals", self._refusals),
            ("errors", self._errors),
        ):
            setattr(played, name, dict(counts.most_common()))
        played.books = len(self._books)
        played.books_usable = sum(book.is_usable for book in self._books.values())
        return played


def _keep(tops: dict[tuple[str, int], Any], moment: tuple[str, int], top: Any) -> None:
    if len(tops) >= MAX_MOMENTS:
        del tops[next(iter(tops))]
    tops[moment] = top


def play(recording: Recording, venue: str = "") -> Played:
    """Play a whole file; `venue` is told by its frames where it is not said.

    Raises
    ------
    ValueError
        For a file that can not be read, or whose frames are of none of the venues.
    """
    name = venue or _venue(recording.frames())
    if name not in READERS:
        raise ValueError(f"{recording.path}: no frame of {', '.join(sorted(READERS))} in it; say --venue")
    spans, has_snapshot = _spans(recording.frames()) if name == "binance" else ({}, True)
    player = Player(name, spans, has_snapshot=has_snapshot)
    for time_ns, frame in recording.frames():
        player.play(time_ns, frame)
    played = player.end()
    played.left_out = dict(recording.left_out)
    return played


def _venue(frames: Iterable[tuple[int, bytes]]) -> str:
    for number, (_, frame) in enumerate(frames):
        try:
            name = venue_of(orjson.loads(frame))
        except orjson.JSONDecodeError:
            name = ""
        if name or number >= LOOKED_AT:
            return name
    return ""


def _spans(frames: Iterable[tuple[int, bytes]]) -> tuple[dict[str, Span], bool]:
    """Return what is known of each symbol's changes, and whether there is a snapshot."""
    found: dict[str, Span] = {}
    has_snapshot = False
    for _, frame in frames:
        if b'"lastUpdateId"' in frame:
            has_snapshot = True
        elif b'"depthUpdate"' in frame:
            try:
                message = orjson.loads(frame)
                data = message.get("data", message)
                first, last = int(data["U"]), int(data["u"])
                span = found.setdefault(data["s"], Span(first, last, 0.0))
            except (ValueError, AttributeError, KeyError, TypeError):
                continue  # refused when it is played
            span.first, span.last = min(span.first, first), max(span.last, last)
            span.price = span.price or _price_of(data, "b") or _price_of(data, "a")
    return found, has_snapshot


def _price_of(message: Message, side: str) -> float:
    """Return the first price of a side, 0 where there is none."""
    try:
        return float(message[side][0][0])
    except (KeyError, IndexError, TypeError, ValueError):
        return 0.0
