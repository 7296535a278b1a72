"""MarketDataRequest(V): who reads what of which instrument, and what each is told when.

Nothing is told in the batch of a request or of a venue's message: `begin` and `step`, once an interval and in slices,
tell every reader the net change since he was told last. A reader whose transport has a backlog is told nothing until it
has drained; then one message makes up for what he missed. Sans-I/O: time and backlogs are asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from gateway.clients.volatile import Outgoing, Volatile
from gateway.ledger import Ledger
from gateway.messages.book_stream import FULL, BookStream, Entries
from gateway.messages.quotes import Quotes
from gateway.messages.reader import Reader, State
from gateway.venues.feeds import Feeds
from protocols.fix.codec import Message
from protocols.fix.grouped import entries_of
from protocols.fix.market_data_messages import BID, INDEX, MARK, OFFER, TRADE
from protocols.fix.session import SessionState
from protocols.venues.orderbook import NO_SNAPSHOT, Touched
from risk.marks import Market

DEPTHS: Final = {b"0": FULL, b"1": 1, b"10": 10}
KINDS: Final = frozenset({BID, OFFER, TRADE, INDEX, MARK})
MAX_ID_BYTES: Final = 64
# A book that is followed for the first reader has so long to come before he is told that there is none.
FIRST_WAIT_NS: Final = 2_000_000_000
# MDReqRejReason(281)
UNKNOWN_SYMBOL, DUPLICATE_ID, INSUFFICIENT_BANDWIDTH, UNSUPPORTED_DEPTH = b"0", b"1", b"2", b"5"
UNSUPPORTED_UPDATE, UNSUPPORTED_AGGREGATION, UNSUPPORTED_KIND, UNSUPPORTED_SESSION = b"6", b"7", b"8", b"9"
UNSUPPORTED_SCOPE, UNSUPPORTED_IMPLICIT_DELETE = b"A", b"C"
SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE = b"0", b"1", b"2"

# MDReqRejReason(281), empty where none of the standard's fits, and Text(58)
Refusal = tuple[bytes, str]


class MarketDataDesk:
    """All subscriptions to market data. `backlog` tells how many bytes a session's client has not taken yet."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        market: Market,
        feeds: Feeds,
        volatile: Volatile,
        sessions: dict[str, SessionState],
        max_subscriptions: int,
        max_backlog_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._feeds = feeds
        self._volatile = volatile
        self._sessions = sessions
        self._max_subscriptions = max_subscriptions
        self._max_backlog_bytes = max_backlog_bytes
        self._quotes = Quotes(ledger, market)
        self.backlog: Callable[[str], int] = lambda session: 0
        self._streams: dict[str, dict[int, BookStream]] = {}  # by symbol and depth
        self._readers: dict[str, list[Reader]] = {}  # by symbol
        self._by_session: dict[str, dict[bytes, list[Reader]]] = {}  # by MDReqID(262)
        self._turns: deque[str] = deque()  # symbols whose turn is still to come
        self._room: dict[str, int] = {}
        self._outbox: dict[str, list[Outgoing]] = {}
        self._rotation = 0
        self.conflated = 0

    # -- requests ----------------------------------------------------------------------------------------------------

    def receive(self, session: str, message: Message, now_ns: int) -> None:
        """Act on a MarketDataRequest(V)."""
        self._drop_departed()
        md_req_id, action = message.values((262, 263))
        assert md_req_id is not None
        if action == UNSUBSCRIBE:
            if not self._remove(session, md_req_id):
                self._refuse(session, md_req_id, (b"", "no subscription has this MDReqID(262)"))
            self._follow(now_ns)
            return
        state = self._sessions[session]
        kinds = frozenset(entries_of(state.dictionary, message, 267, 269))
        symbols = [s.decode("latin-1") for s in dict.fromkeys(entries_of(state.dictionary, message, 146, 55))]
        venues = {v.decode("latin-1") for v in entries_of(state.dictionary, message, 386, 336)}
        refusal = self._why_not(session, message, kinds, symbols, venues)
        if refusal is not None:
            self._refuse(session, md_req_id, refusal)
            return
        depth = DEPTHS[message.get(264) or b""]
        for symbol in symbols:
            reader = Reader(
                session=session,
                state=state,
                md_req_id=md_req_id,
                symbol=symbol,
                kinds=kinds,
                stream=self._stream(symbol, depth) if kinds & {BID, OFFER} else None,
                is_incremental=action == SUBSCRIBE and message.get(265) == b"1",
                is_once=action == SNAPSHOT,
                asked_ns=now_ns,
            )
            self._readers.setdefault(symbol, []).append(reader)
            self._by_session.setdefault(session, {}).setdefault(md_req_id, []).append(reader)
        self._follow(now_ns)

    def _why_not(
        self, session: str, message: Message, kinds: frozenset[bytes], symbols: list[str], venues: set[str]
    ) -> Refusal | None:
        md_req_id, action, depth, update, aggregated, scope, implicit = message.values(
            (262, 263, 264, 265, 266, 546, 547)
        )
        mine = self._by_session.get(session, {})
        unknown = [symbol for symbol in symbols if symbol not in self._ledger.by_symbol]
        count = sum(len(readers) for readers in mine.values()) + len(symbols)
        if len(md_req_id or b"") > MAX_ID_BYTES:
            return b"", f"MDReqID(262) is longer than {MAX_ID_BYTES} bytes"
        if md_req_id in mine:
            return DUPLICATE_ID, "a subscription has this MDReqID(262)"
        if depth not in DEPTHS:
            return UNSUPPORTED_DEPTH, "MarketDepth(264) is 0 full, 1 or 10"
        if action == SUBSCRIBE and update is None:
            return UNSUPPORTED_UPDATE, "a subscription needs MDUpdateType(265): 0 full, 1 incremental"
        if aggregated == b"N":
            return UNSUPPORTED_AGGREGATION, "books are by price: AggregatedBook(266) is Y"
        if scope is not None:
            return UNSUPPORTED_SCOPE, "an instrument has one market: no Scope(546)"
        if implicit == b"Y":
            return UNSUPPORTED_IMPLICIT_DELETE, "what leaves the depth is deleted explicitly"
        if not kinds or not kinds <= KINDS:
            return UNSUPPORTED_KIND, "MDEntryType(269) is 0 bid, 1 offer, 2 trade, 3 index or 6 mark"
        if unknown or not symbols:
            return UNKNOWN_SYMBOL, f"{unknown[0][:MAX_ID_BYTES]} is not listed" if unknown else "no Symbol(55)"
        if venues and any(self._ledger.by_symbol[symbol].venue not in venues for symbol in symbols):
            return UNSUPPORTED_SESSION, "TradingSessionID(336) is the name of the instrument's venue"
        if count > self._max_subscriptions:
            return INSUFFICIENT_BANDWIDTH, f"more than {self._max_subscriptions} subscriptions"
        return None

    def _refuse(self, session: str, md_req_id: bytes, refusal: Refusal) -> None:
        reason, text = refusal
        self._volatile.answer(session, "Y", {262: md_req_id, 281: reason, 58: text.encode("ascii", "replace")})

    # -- subscriptions -----------------------------------------------------------------------------------------------

    @property
    def subscriptions(self) -> int:
        """How many there are: one for each instrument of each request."""
        return sum(len(readers) for readers in self._readers.values())

    @property
    def has_waiting(self) -> bool:
        """Whether somebody has been told nothing yet, so that the next turn should not wait for its time."""
        return any(reader.told is State.NOTHING for readers in self._readers.values() for reader in readers)

    def _stream(self, symbol: str, depth: int) -> BookStream:
        streams = self._streams.setdefault(symbol, {})
        if depth not in streams:
            streams[depth] = BookStream(symbol, depth)
        return streams[depth]

    def _remove(self, session: str, md_req_id: bytes) -> bool:
        readers = self._by_session.get(session, {}).pop(md_req_id, [])
        for reader in readers:
            self._forget(reader)
        return bool(readers)

    def _forget(self, reader: Reader) -> None:
        symbol, stream = reader.symbol, reader.stream
        remaining = [other for other in self._readers[symbol] if other is not reader]
        if remaining:
            self._readers[symbol] = remaining
        else:
            del self._readers[symbol]
        if stream is not None and not any(other.stream is stream for other in remaining):
            del self._streams[symbol][stream.depth]
            if not self._streams[symbol]:
                del self._streams[symbol]

    def _drop_departed(self) -> None:
        """A subscription ends with the connection that asked for it."""
        for session, requests in self._by_session.items():
            for md_req_id, readers in list(requests.items()):
                if not readers[0].is_there:
                    self._remove(session, md_req_id)

    def _follow(self, now_ns: int) -> None:
        readers = [reader for readers in self._readers.values() for reader in readers]
        books = {reader.symbol: None for reader in readers if reader.stream is not None}
        trades = {reader.symbol: None for reader in readers if TRADE in reader.kinds}
        self._feeds.follow(books, trades, now_ns)

    # -- telling -----------------------------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> None:
        """Begin a turn: every instrument with a reader is looked at once, another one first each time."""
        self._drop_departed()
        self._follow(now_ns)
        self._turns = deque(self._readers)
        self._rotation += 1
        self._turns.rotate(-(self._rotation % max(len(self._turns), 1)))
        self._room = {session: self._max_backlog_bytes - self.backlog(session) for session in self._by_session}

    def step(self, now_ns: int) -> bool:
        """Do one slice of the turn: one instrument, or one session's messages; return whether the turn is over."""
        if self._turns:
            symbol = self._turns.popleft()
            if symbol in self._readers:
                self._tell(symbol, now_ns)
        elif self._outbox:
            self._send(*self._outbox.popitem(), now_ns)
        return not self._turns and not self._outbox

    def _tell(self, symbol: str, now_ns: int) -> None:
        book, tape, trouble = self._feeds.book(symbol), self._feeds.tape(symbol), self._feeds.trouble(symbol)
        readers = [reader for reader in self._readers[symbol] if reader.is_there]
        behind = {reader for reader in readers if self._room.get(reader.session, 0) <= 0}
        self.conflated += len(behind)
        changes: dict[int, Entries] = {}
        if symbol in self._streams:
            touched = Touched() if book is None else book.take_touched()
            for depth, stream in self._streams[symbol].items():
                _keep_for(stream, behind)
                changes[depth] = stream.look(book, trouble, touched)
        quote = self._quotes.of(symbol, now_ns)
        for reader in readers:
            its_trouble = trouble if reader.stream is None else reader.stream.trouble
            is_early = its_trouble == NO_SNAPSHOT and now_ns < reader.asked_ns + FIRST_WAIT_NS
            if reader not in behind and not (is_early and reader.told is State.NOTHING):
                its_changes = None if reader.stream is None else changes[reader.stream.depth]
                self._post(reader, reader.messages(its_changes, tape, quote, its_trouble, now_ns))

    def _post(self, reader: Reader, messages: Iterator[Outgoing]) -> None:
        outbox = self._outbox.setdefault(reader.session, [])
        for message in messages:
            outbox.append(message)
            self._room[reader.session] -= len(message[1])
        if not outbox:
            del self._outbox[reader.session]

    def _send(self, session: str, messages: list[Outgoing], now_ns: int) -> None:
        is_sent = self._volatile.publish(session, messages, now_ns)
        for md_req_id, readers in list(self._by_session.get(session, {}).items()):
            for reader in list(readers):
                if not is_sent:
                    reader.forget()  # he was not told: he begins again
                elif reader.is_once and reader.told is not State.NOTHING:
                    readers.remove(reader)
                    self._forget(reader)
            if not readers:
                del self._by_session[session][md_req_id]


def _keep_for(stream: BookStream, behind: set[Reader]) -> None:
    """Keep for those who fall behind now what they were told last: the stream goes on without them."""
    falling = [reader for reader in behind if reader.stream is stream and reader.is_level_with_stream]
    if falling:
        kept = stream.told.copy()
        for reader in falling:
            reader.known = kept
