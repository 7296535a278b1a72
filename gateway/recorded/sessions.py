"""The venues' own sessions, to which a recording is played instead of a connection.

They read what comes exactly as those of the gateway do, and ask for nothing: their instruments are the names that the
recording bears, and a book that is broken begins again with the next snapshot that was recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, Final, Protocol

import msgspec

from gateway.recorded.kinds import Message, Seen, is_option
from protocols.venues.binance import Binance, BinanceSettings
from protocols.venues.binance_decode import SNAPSHOT
from protocols.venues.binance_tables import SPOT_RULE
from protocols.venues.bybit import Bybit, BybitSettings
from protocols.venues.deribit import Deribit
from protocols.venues.deribit_decode import PUBLIC_TRADES, public_trade
from protocols.venues.events import Event, InstrumentListed
from protocols.venues.okx import Okx, OkxSettings
from protocols.venues.okx_tables import BOOK_RULES
from protocols.venues.orderbook import OrderBook
from protocols.venues.session import VenueSession
from protocols.venues.signing import HmacSigner, Keyring

ONE: Final = Decimal(1)
CHANNEL: Final = "recorded"
_KEYS: Final = Keyring("recorded", HmacSigner("recorded"), passphrase="recorded")


class RecordedSession(Protocol):
    """What a player needs of a session."""

    malformed_frames: int

    def begin(self, now_ns: int) -> None:
        """Let the lanes be up."""
        ...

    def name(self, seen: Seen, message: Message) -> None:
        """Take the instruments and channels that a frame bears for listed and subscribed."""
        ...

    def receive(self, frame: bytes, now_ns: int, lane: str = "") -> None: ...

    def events(self) -> list[Event]: ...

    def book(self, symbol: str) -> OrderBook: ...


def instrument(symbol: str, underlying: str) -> InstrumentListed:
    """Terms by the name alone; amounts are the venue's own."""
    is_call = "-C" in symbol.upper()
    return InstrumentListed(
        symbol=symbol,
        kind="option" if is_option(symbol) else "perpetual",
        is_inverse=False,
        underlying=underlying,
        base_currency="",
        quote_currency="",
        settlement_currency="",
        tick_size=ONE,
        tick_steps=(),
        min_trade_amount=ONE,
        contract_size=ONE,
        strike=ONE if is_option(symbol) else None,
        option_type=("call" if is_call else "put") if is_option(symbol) else None,
        expiration_ns=None,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
        is_open=True,
    )


def _is_wanted(symbol: str) -> bool:
    return True


class RecordedLanes(VenueSession):
    """What the recorded sessions with lanes have alike."""

    UP: ClassVar[tuple[str, ...]]

    def begin(self, now_ns: int) -> None:
        """Let the lanes be up."""
        for lane in self.UP:
            self.connected(now_ns, lane)

    def underlying_of(self, symbol: str) -> str:
        """Of which underlying a name is; the name itself does where nothing is asked by it."""
        return symbol

    def name(self, seen: Seen, message: Message) -> None:
        """Take what a frame bears for listed."""
        for symbol in seen.symbols:
            if symbol not in self._market.units:
                listed = instrument(symbol, self.underlying_of(symbol))
                self._market.on_listing(CHANNEL, [(listed, ONE)], is_complete=False)

    def _ask_snapshot(self, symbol: str, now_ns: int) -> None:
        """A recording is not asked."""


class RecordedBinance(RecordedLanes, Binance):
    """Binance's session; USD-M's and COIN-M's streams, read alike: names say which."""

    UP = ("public", "market", "private")

    def __init__(self) -> None:
        super().__init__(BinanceSettings(keyring=_KEYS, symbols=_is_wanted, dead_man_s=0))

    def take_snapshot(self, symbol: str, frame: bytes, now_ns: int) -> None:
        """Give a REST snapshot to the book that waits for it."""
        self._streams.on_snapshot(symbol, SNAPSHOT.decode(frame), now_ns)

    def begin_book(self, symbol: str, change: Message, now_ns: int) -> None:
        """Begin a book with a change where no snapshot was recorded: its chain is whole, its levels are a part."""
        books = self._market.books
        previous = change.get("pu")
        if not isinstance(previous, int):
            books.feed(symbol).rule = SPOT_RULE
            previous = int(change["U"]) - 1
        books.on_snapshot(symbol, previous, now_ns, [], [])
        self._events.clear()


class RecordedOkx(RecordedLanes, Okx):
    """Okx's session; one channel of books, and all else."""

    UP = ("public", "private")

    def __init__(self, books: str) -> None:
        chosen = books if books in BOOK_RULES else "books"
        super().__init__(OkxSettings(keyring=_KEYS, symbols=_is_wanted, dead_man_s=0, books=chosen))

    def underlying_of(self, symbol: str) -> str:
        """Two words of the name."""
        return "-".join(symbol.split("-")[:2])

    def name(self, seen: Seen, message: Message) -> None:
        """The same but for tickers of indices: those are of no contract."""
        if seen.kind != "index-tickers":
            super().name(seen, message)


class RecordedBybit(RecordedLanes, Bybit):
    """Bybit's session; all categories."""

    UP = ("linear", "option", "private")

    def __init__(self) -> None:
        super().__init__(
            BybitSettings(keyring=_KEYS, symbols=_is_wanted, dead_man_s=0, categories=("linear", "option"))
        )


class RecordedDeribit(Deribit):
    """Deribit's session; whatever channels the recording has."""

    def __init__(self) -> None:
        super().__init__(client_id="recorded", client_secret="recorded", currencies=(), symbols=_is_wanted)

    def begin(self, now_ns: int) -> None:
        """Let the connection be up."""
        self.connected(now_ns)

    def name(self, seen: Seen, message: Message) -> None:
        """Take what a frame bears for listed."""
        for symbol in seen.symbols:
            self._market.instruments.setdefault(symbol, instrument(symbol, ""))
            self._orders.symbols.add(symbol)
        params = message.get("params")
        channel = params.get("channel") if isinstance(params, dict) else None
        if isinstance(channel, str) and channel not in self._channels.routes:
            self._route(channel, channel.split("."), seen)

    def _route(self, channel: str, words: list[str], seen: Seen) -> None:
        market = self._market
        reader: Callable[[msgspec.Raw, str, int], None] | None = None
        if seen.is_book:
            reader = market.on_book
        elif words[0] == "ticker":
            reader = market.on_ticker
        elif words[0] == "trades":
            reader = market.on_trades if len(words) == 3 else self._on_many_trades
        elif words[0] == "deribit_price_index":
            reader = market.on_index
        elif words[:2] == ["user", "changes"]:
            reader = self._accounts.on_changes
        elif words[:2] == ["user", "portfolio"]:
            reader = self._accounts.on_portfolio
        if reader is not None and len(words) > 1:
            self._channels.routes[channel] = (reader, words[1])

    def _on_many_trades(self, data: msgspec.Raw, name: str, now_ns: int) -> None:
        for wire in PUBLIC_TRADES.decode(data):
            self._market.tape(wire.instrument_name).add(public_trade(wire))


# Where a frame goes that says of nothing what it is.
DEFAULT_LANES: Final = {"binance": "public", "bybit": "linear", "deribit": "main", "okx": "public"}
MAKERS: Final[dict[str, Callable[[str], Any]]] = {
    "binance": lambda _: RecordedBinance(),
    "bybit": lambda _: RecordedBybit(),
    "deribit": lambda _: RecordedDeribit(),
    "okx": RecordedOkx,
}
