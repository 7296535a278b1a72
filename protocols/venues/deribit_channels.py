"""Deribit's subscription channels: which there are, and who reads what comes over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from protocols.venues.deribit_accounts import Accounts, Ask
from protocols.venues.deribit_decode import CHANNELS
from protocols.venues.deribit_market import MarketData
from protocols.venues.deribit_tables import CHANGES_CHANNEL, PORTFOLIO_CHANNEL, PRIVATE_CHANNELS, Kind
from protocols.venues.jsonrpc import Request

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
    ) -> None:
        self._market = market
        self._ask = ask
        self._book_interval = book_interval
        self._ticker_interval = ticker_interval
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
            if self._book_interval is not None:
                routes[f"book.{symbol}.{self._book_interval}"] = (self._market.on_book, symbol)
        self.routes.update(routes)
        channels = tuple(routes)
        for first in range(0, len(channels), CHANNELS_A_REQUEST):
            batch = channels[first : first + CHANNELS_A_REQUEST]
            request = Request(Kind.SUBSCRIBE_PUBLIC, channels=batch, step=step)
            self._ask(request, "public/subscribe", {"channels": batch}, now_ns)

    def resubscribe_books(self, now_ns: int) -> None:
        """Leave and join the channels of broken books: a new subscription begins with a snapshot."""
        for symbol in self._market.due_resyncs(now_ns):
            channels = (f"book.{symbol}.{self._book_interval}",)
            leave = Request(Kind.UNSUBSCRIBE_BOOK, symbol=symbol, channels=channels)
            self._ask(leave, "public/unsubscribe", {"channels": channels}, now_ns)
            join = Request(Kind.SUBSCRIBE_BOOK, symbol=symbol, channels=channels)
            self._ask(join, "public/subscribe", {"channels": channels}, now_ns)

    def missing(self, request: Request, result: msgspec.Raw) -> list[str]:
        """Return the channels that were asked for and not subscribed: the reply lists those that were."""
        return sorted(set(request.channels).difference(CHANNELS.decode(result)))
