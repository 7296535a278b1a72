"""What a Deribit session asks after authentication, in which order, and what waits for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocols.venues.deribit_accounts import Accounts, Ask
from protocols.venues.deribit_channels import Channels
from protocols.venues.deribit_log import TransactionLog
from protocols.venues.deribit_market import MarketData
from protocols.venues.deribit_tables import Kind
from protocols.venues.jsonrpc import Request
from protocols.venues.steps import Run as Run


class Questions:
    """Asks for everything a session needs. `run` marks a request whose answer the next step waits for, 0 none."""

    def __init__(
        self,
        ask: Ask,
        channels: Channels,
        market: MarketData,
        accounts: Accounts,
        log: TransactionLog,
        *,
        currencies: tuple[str, ...],
        heartbeat_s: int,
        cancel_on_disconnect: bool,
    ) -> None:
        self._ask = ask
        self._channels = channels
        self._market = market
        self._accounts = accounts
        self._log = log
        self._currencies = currencies
        self._heartbeat_s = heartbeat_s
        self._cancel_on_disconnect = cancel_on_disconnect

    def ask_session(self, run: int, now_ns: int) -> None:
        heartbeat = Request(Kind.HEARTBEAT, step=run)
        self._ask(heartbeat, "public/set_heartbeat", {"interval": self._heartbeat_s}, now_ns)
        if self._cancel_on_disconnect:
            protection = Request(Kind.CANCEL_ON_DISCONNECT, step=run)
            self._ask(protection, "private/enable_cancel_on_disconnect", {"scope": "connection"}, now_ns)
        self._channels.subscribe_private(run, now_ns)

    def ask_instruments(self, run: int, now_ns: int) -> None:
        for currency in self._currencies:
            request = Request(Kind.INSTRUMENTS, currency=currency, step=run)
            self._ask(request, "public/get_instruments", {"currency": currency, "expired": False}, now_ns)

    def ask_market_data(self, run: int, now_ns: int) -> None:
        self._channels.subscribe_public(self._market.open_symbols(), run, now_ns)

    def ask_trades(self, run: int, now_ns: int) -> None:
        self._accounts.ask_trades(self._currencies, run, now_ns)

    def ask_bookings(self, run: int, now_ns: int) -> None:
        self._log.ask(run, now_ns)

    def ask_accounts(self, run: int, now_ns: int) -> None:
        self._accounts.ask_accounts(self._currencies, run, now_ns)


Step = Callable[[Questions, int, int], None]

# A step begins when all of the one before was answered. Private channels come before any query, so that nothing
# falls between an answer and the first notification, and trades before orders, so that an order's fills are known
# when its state is told. Bookings come after the trades that they are shared by, and before positions are compared.
SETUP: Final[tuple[Step, ...]] = (
    Questions.ask_session,
    Questions.ask_instruments,
    Questions.ask_market_data,
    Questions.ask_trades,
    Questions.ask_bookings,
    Questions.ask_accounts,
)
RECONCILE: Final[tuple[Step, ...]] = (Questions.ask_trades, Questions.ask_bookings, Questions.ask_accounts)
