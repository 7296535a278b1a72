"""What the glue asks of a session with Deribit: orders, cancels, and questions of how things stand."""

from __future__ import annotations

from protocols.errors import LocalProtocolError
from protocols.venues.deribit_accounts import Accounts
from protocols.venues.deribit_encode import Trigger
from protocols.venues.deribit_orders import OrderFlow
from protocols.venues.deribit_steps import Questions
from protocols.venues.deribit_tables import AUTHENTICATED_STATES, State
from protocols.venues.short_way import place


class Calls:
    """The part of `Deribit` that takes requests; nothing here reads a frame."""

    is_live: bool
    _state: State
    _now_ns: int
    _must_reconcile: bool
    _orders: OrderFlow
    _accounts: Accounts
    _questions: Questions

    def can_send_order(self, now_ns: int, symbol: str = "") -> bool:
        """Whether `place` and `replace` would be taken: the session is live and the rate limit has room."""
        return self.is_live and self._orders.can_send_order(now_ns)

    def place(
        self,
        label: str,
        symbol: str,
        is_buy: bool,
        quantity: str | bytes,
        price: str | bytes | None,
        order_type: str,
        time_in_force: str,
        post_only: bool,
        reduce_only: bool,
        now_ns: int,
        trigger: Trigger | None = None,
    ) -> None:
        """Queue one order frame; `quantity` and `price` are decimal texts, `price` None for a market order.

        `trigger` of a stop: which price ("mark_price", "last_price", "index_price"), and at what value.

        Raises LocalProtocolError when the session is not live or an argument is malformed, RateLimitError when
        the venue's limit has no room; nothing was sent then.
        """
        if not self.is_live:
            raise LocalProtocolError(f"orders are taken when live, not when {self._state.value}")
        place(
            self._orders, label, symbol, is_buy, quantity, price, order_type, time_in_force, post_only, reduce_only,
            now_ns, trigger,
        )  # fmt: skip

    def replace(
        self,
        label: str,
        venue_order_id: str,
        quantity: str | bytes,
        price: str | bytes,
        now_ns: int,
        post_only: bool = False,
        reduce_only: bool = False,
        trigger_price: str | bytes | None = None,
    ) -> None:
        """Queue one edit; `quantity` is the whole quantity wanted, and flags not stated are lost. Raises as `place`."""
        if not self.is_live:
            raise LocalProtocolError(f"orders are taken when live, not when {self._state.value}")
        self._orders.replace(label, venue_order_id, quantity, price, now_ns, post_only, reduce_only, trigger_price)

    def cancel(self, label: str, venue_order_id: str, now_ns: int) -> None:
        """Queue one cancel, sent when the rate limit has room. Cancels pass while reconciling too."""
        self._require_authenticated()
        self._now_ns = now_ns
        self._orders.cancel(label, venue_order_id, now_ns)

    def cancel_all(self, now_ns: int) -> bool:
        """Queue a cancel of all the account's orders; False when the rate limit has no room at all."""
        self._require_authenticated()
        return self._orders.cancel_all(now_ns)

    def query_order(self, label: str, symbol: str, now_ns: int) -> None:
        """Ask for an order by label: OrderStateReported after its fills, OrderNotFound, or OrderQueryFailed."""
        self._require_authenticated()
        self._now_ns = now_ns
        self._accounts.query_order(label, symbol, now_ns)

    def reconcile(self, now_ns: int) -> None:
        """Ask again for missed trades, open orders, positions, portfolios: ReconcileFinished or -Failed."""
        self._require_authenticated()
        self._now_ns = now_ns
        self._must_reconcile = True
        self._advance(now_ns)

    def list_instruments(self, now_ns: int) -> None:
        """Ask for new and changed instruments, and subscribe the new ones."""
        self._require_authenticated()
        self._now_ns = now_ns
        self._questions.ask_instruments(0, now_ns)

    def _require_authenticated(self) -> None:
        if self._state not in AUTHENTICATED_STATES:
            raise LocalProtocolError(f"no private request is sent when {self._state.value}")

    def _advance(self, now_ns: int) -> None:
        raise NotImplementedError
