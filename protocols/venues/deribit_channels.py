"""Deribit's subscription channels: which there are, and who reads what comes over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import msgspec

from protocols.venues.deribit_accounts import Accounts, Ask
from protocols.venues.deribit_decode import CHANNELS
from protocols.venues.deribit_market import MarketData
from protocols.venues.deribit_tables import CHANGES_CHANNEL, PORTFOLIO_CHANNEL, PRIVATE_CHANNELS, Kind
from protocols.venues.events import TradePrinted
from protocols.venues.jsonrpc import Request
from protocols.venues.orderbook import OrderBook
from protocols.venues.trade_tape import TradeTape

# A subscription carries a batch of channels for one price; the venue takes at most 500 at once.
CHANNELS_A_REQUEST: Final = 200

# reader(data, name, now_ns) and the instrument or index that the channel is about
Route: TypeAlias = tuple[Callable[[msgspec.Raw, str, int], None], str]


class Channels:
    """Subscribes, and maps a channel's name to its reader."""

    def __init__(
        self,
        market: MarketData,
        accounts: Accounts,
        ask: Ask,
        *,
        book_interval: str | None,
        ticker_interval: str | None,
        books_on_demand: bool,
    ) -> None:
        self._market = market
        self._ask = ask
        self._book_interval = book_interval
        self._ticker_interval = ticker_interval
        self._books_on_demand = books_on_demand
        # Channels of books and public trades that somebody wants, and whether they are subscribed by now.
        self._wanted: dict[str, Route] = {}
        self._is_open = False
        self.routes: dict[str, Route] = {
            CHANGES_CHANNEL: (accounts.on_changes, ""),
            PORTFOLIO_CHANNEL: (accounts.on_portfolio, ""),
        }

    def subscribe_private(self, step: int, now_ns: int) -> None:
        request = Request(Kind.SUBSCRIBE_PRIVATE, channels=PRIVATE_CHANNELS, step=step)
        self._ask(request, "private/subscribe", {"channels": PRIVATE_CHANNELS}, now_ns)

    def subscribe_public(self, symbols: list[str], step: int, now_ns: int) -> None:
        """Subscribe the channels of these instruments and of their price indices, in batches."""
        routes: dict[str, Route] = {}
        for symbol in symbols:
            name = self._market.instruments[symbol].underlying
            routes[f"deribit_price_index.{name}"] = (self._market.on_index, name)
            if self._ticker_interval is not None:
                routes[f"ticker.{symbol}.{self._ticker_interval}"] = (self._market.on_ticker, symbol)
            if self._book_interval is not None and not self._books_on_demand:
                routes[f"book.{symbol}.{self._book_interval}"] = (self._market.on_book, symbol)
        listed = set(symbols)
        routes |= {channel: route for channel, route in self._wanted.items() if route[1] in listed}
        self._is_open = True
        self.routes.update(routes)
        channels = tuple(routes)
        for first in range(0, len(channels), CHANNELS_A_REQUEST):
            batch = channels[first : first + CHANNELS_A_REQUEST]
            request = Request(Kind.SUBSCRIBE_PUBLIC, channels=batch, step=step)
            self._ask(request, "public/subscribe", {"channels": batch}, now_ns)

    def book(self, symbol: str) -> OrderBook:
        """Return the book of a symbol; unusable, and its reason says so, where it is not followed."""
        return self._market.book(symbol)

    def tape(self, symbol: str) -> TradeTape:
        """Return the last public trades of a symbol, as long as they are followed."""
        return self._market.tape(symbol)

    def on_trade(self, trade: TradePrinted) -> None:
        """Nothing to do: the tapes are kept where the trades are read."""

    def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None:
        """Follow the books and the public trades of these instruments and, on demand, no others.

        What is wanted outlives the connection. A book that is joined anew begins with a snapshot.
        """
        interval = self._book_interval
        wanted: dict[str, Route] = {}
        if interval is not None:
            if self._books_on_demand:
                wanted |= {f"book.{symbol}.{interval}": (self._market.on_book, symbol) for symbol in sorted(books)}
            wanted |= {f"trades.{symbol}.{interval}": (self._market.on_trades, symbol) for symbol in sorted(trades)}
        joined = [channel for channel in wanted if channel not in self._wanted]
        left = [channel for channel in self._wanted if channel not in wanted]
        gone = {channel: self._wanted[channel] for channel in left}
        self._wanted = wanted
        for channel, (_, symbol) in gone.items():
            self.routes[channel] = (_pass_by, symbol)  # what is on its way when we leave is no error
            self._market.leave(symbol, channel.startswith("book."))
        if self._is_open:
            self._ask_in_batches(Kind.UNSUBSCRIBE_BOOK, "public/unsubscribe", left, now_ns)
            for channel in joined:
                self.routes[channel] = wanted[channel]
                self._market.join(wanted[channel][1], now_ns)
            self._ask_in_batches(Kind.SUBSCRIBE_BOOK, "public/subscribe", joined, now_ns)

    def _ask_in_batches(self, kind: Kind, method: str, channels: list[str], now_ns: int) -> None:
        for first in range(0, len(channels), CHANNELS_A_REQUEST):
            batch = tuple(channels[first : first + CHANNELS_A_REQUEST])
            self._ask(Request(kind, channels=batch), method, {"channels": batch}, now_ns)

    def on_disconnected(self) -> None:
        """Nothing is subscribed any more; what is wanted is, again, with everything else."""
        self._is_open = False

    def on_refused(self, channels: Iterable[str], reason: str, now_ns: int) -> None:
        """These were not joined: their instruments' books are broken, and joined again in a moment."""
        for symbol in dict.fromkeys(self.routes[channel][1] for channel in channels):
            self._market.on_resync_failed(symbol, reason, now_ns)

    def resubscribe_books(self, now_ns: int) -> None:
        """Leave and join the channels of broken books: a new subscription begins with a snapshot."""
        for symbol in self._market.due_resyncs(now_ns):
            names = (f"book.{symbol}.{self._book_interval}", f"trades.{symbol}.{self._book_interval}")
            channels = tuple(name for name in names if self.routes.get(name, (_pass_by, ""))[0] is not _pass_by)
            if not channels:
                continue  # nobody wants it any more
            leave = Request(Kind.UNSUBSCRIBE_BOOK, channels=channels)
            self._ask(leave, "public/unsubscribe", {"channels": channels}, now_ns)
            join = Request(Kind.SUBSCRIBE_BOOK, channels=channels)
            self._ask(join, "public/subscribe", {"channels": channels}, now_ns)

    def missing(self, request: Request, result: msgspec.Raw) -> list[str]:
        """Return the channels that were asked for and not subscribed: the reply lists those that were."""
        return sorted(set(request.channels).difference(CHANNELS.decode(result)))


def _pass_by(data: msgspec.Raw, name: str, now_ns: int) -> None:
    """Read nothing: nobody wants the channel any more."""
