"""A stand-in for the venue that answers a session's frames, for tests: no matching, no time of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from protocols.venues.deribit import Deribit
from protocols.venues.events import Event

SECRET = "s3cr3t-of-the-key"
ACCESS, REFRESH = "access-token-1", "refresh-token-1"
T0_NS = 1_800_003_600_000_000_000  # no settlement is near
T0_MS = T0_NS // 1_000_000

PERPETUAL: dict[str, Any] = {
    "price_index": "btc_usd",
    "kind": "future",
    "instrument_name": "BTC-PERPETUAL",
    "maker_commission": 0.0,
    "taker_commission": 0.0005,
    "instrument_type": "reversed",
    "expiration_timestamp": 32503708800000,
    "is_active": True,
    "tick_size": 0.5,
    "contract_size": 10.0,
    "min_trade_amount": 10.0,
    "settlement_currency": "BTC",
    "settlement_period": "perpetual",
    "base_currency": "BTC",
    "quote_currency": "USD",
    "tick_size_steps": [],
}
OPTION: dict[str, Any] = {
    "price_index": "btc_usd",
    "kind": "option",
    "instrument_name": "BTC-31DEC27-100000-C",
    "option_type": "call",
    "strike": 100000.0,
    "maker_commission": 0.0003,
    "taker_commission": 0.0003,
    "instrument_type": "reversed",
    "expiration_timestamp": 1830240000000,
    "is_active": True,
    "tick_size": 0.0001,
    "tick_size_steps": [{"above_price": 0.005, "tick_size": 0.0005}],
    "contract_size": 1.0,
    "min_trade_amount": 0.1,
    "settlement_currency": "BTC",
    "settlement_period": "month",
    "base_currency": "BTC",
    "quote_currency": "BTC",
}
PORTFOLIO: dict[str, Any] = {
    "currency": "BTC",
    "equity": 10.5,
    "margin_balance": 10.25,
    "initial_margin": 1.5,
    "maintenance_margin": 1.0,
    "available_funds": 8.75,
    "margin_model": "segregated_sm",
}
POSITION: dict[str, Any] = {
    "instrument_name": "BTC-PERPETUAL",
    "size": -30.0,
    "direction": "sell",
    "average_price": 50000.5,
}


def wire_order(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": "BTC-1",
        "order_state": "open",
        "instrument_name": "BTC-PERPETUAL",
        "direction": "buy",
        "amount": 100.0,
        "filled_amount": 0.0,
        "price": 50000.0,
        "average_price": 0.0,
        "last_update_timestamp": T0_MS,
        "creation_timestamp": T0_MS,
        "label": "a1",
        "replaced": False,
        "reduce_only": False,
        "order_type": "limit",
        "time_in_force": "good_til_cancelled",
        "post_only": False,
        "user_id": 96103,
        "web": False,
        "api": True,
    } | changes


def wire_trade(**changes: Any) -> dict[str, Any]:
    return {
        "trade_id": "t1",
        "order_id": "BTC-1",
        "instrument_name": "BTC-PERPETUAL",
        "direction": "buy",
        "amount": 40.0,
        "price": 50000.0,
        "fee": -0.00000008,
        "fee_currency": "BTC",
        "liquidity": "M",
        "timestamp": T0_MS + 1,
        "label": "a1",
        "self_trade": False,
        "trade_seq": 7,
        "index_price": 50010.0,
        "mark_price": 50001.0,
    } | changes


def log_row(**changes: Any) -> dict[str, Any]:
    """A row of the transaction log, by default of a perpetual's settlement, as the venue's documentation has one."""
    return {
        "username": "TestUser",
        "user_seq": 6008,
        "user_id": 7,
        "type": "settlement",
        "trade_id": None,
        "total_interest_pl": 0.00001243,
        "timestamp": T0_MS,
        "side": "long",
        "session_upl": 0.00220172,
        "session_rpl": -0.00004467,
        "price_currency": "USD",
        "price": 51807.07,
        "position": 1520,
        "order_id": None,
        "interest_pl": 0.00000993,
        "instrument_name": "BTC-PERPETUAL",
        "info": {"settlement_price": 51807, "floating_pl": 0.00220172},
        "id": 61311,
        "equity": 3003.42821428,
        "currency": "BTC",
        "commission": None,
        "change": 0.00215706,
        "cashflow": 0.00215706,
        "balance": 3003.72270418,
        "amount": 1520,
    } | changes


def notification(channel: str, data: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}})


def changes(
    orders: list[dict[str, Any]] | None = None,
    trades: list[dict[str, Any]] | None = None,
    positions: list[dict[str, Any]] | None = None,
) -> bytes:
    data = {
        "instrument_name": "BTC-PERPETUAL",
        "orders": orders or [],
        "trades": trades or [],
        "positions": positions or [],
    }
    return notification("user.changes.any.any.raw", data)


def reply(request_id: int, result: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "result": result, "usIn": 1, "usOut": 2})


def refusal(request_id: int, code: int, message: str = "refused", data: Any = None) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message, "data": data}})


Answer = Callable[[dict[str, Any]], Any]


class FakeDeribit:
    """Holds a session and answers its setup requests; `answers` maps a method to a function of its params.

    A method mapped to None is left unanswered, one whose function raises KeyError(code) is refused with it.
    """

    def __init__(self, session: Deribit, answers: dict[str, Answer | None] | None = None) -> None:
        self.session = session
        self.now_ns = T0_NS
        self.sent: list[dict[str, Any]] = []
        self.seen: list[Event] = []
        self.open_orders: list[dict[str, Any]] = []
        self.answers: dict[str, Answer | None] = {
            "public/auth": lambda _: {
                "access_token": ACCESS,
                "refresh_token": REFRESH,
                "expires_in": 900,
                "scope": "connection",
                "token_type": "bearer",
            },
            "public/set_heartbeat": lambda _: "ok",
            "public/test": lambda _: {"version": "1.2.26"},
            "private/enable_cancel_on_disconnect": lambda _: "ok",
            "private/subscribe": lambda params: params["channels"],
            "public/subscribe": lambda params: params["channels"],
            "public/unsubscribe": lambda params: params["channels"],
            "public/get_instruments": lambda _: [PERPETUAL, OPTION],
            "private/get_user_trades_by_currency": lambda _: {"trades": [], "has_more": False},
            "private/get_transaction_log": lambda _: {"logs": [], "continuation": None},
            "private/get_open_orders": lambda _: self.open_orders,
            "private/get_positions": lambda _: [POSITION],
            "private/get_account_summaries": lambda _: {"summaries": [PORTFOLIO]},
            **(answers or {}),
        }

    def pump(self) -> list[dict[str, Any]]:
        """Take what the session sends and answer it until it sends nothing more; return what was sent."""
        sent: list[dict[str, Any]] = []
        while frames := self.session.frames_to_send():
            for frame in frames:
                request = orjson.loads(frame)
                sent.append(request)
                answer = self.answers.get(request["method"])
                if answer is None:
                    continue
                try:
                    answered = reply(request["id"], answer(request["params"]))
                except KeyError as code:
                    answered = refusal(request["id"], code.args[0])
                self.session.receive(answered, self.now_ns)
        self.sent += sent
        return sent

    def receive(self, frame: bytes) -> list[Event]:
        """Give the session a frame; return the events of it and of what it leads to."""
        self.session.receive(frame, self.now_ns)
        self.pump()
        return self.events()

    def events(self) -> list[Event]:
        events = self.session.events()
        self.seen += events
        return events

    def connect(self) -> list[Event]:
        self.session.connected(self.now_ns)
        self.pump()
        return self.events()

    def pass_time(self, ns: int) -> list[Event]:
        self.now_ns += ns
        self.session.tick(self.now_ns)
        self.pump()
        return self.events()


def session(**settings: Any) -> Deribit:
    defaults: dict[str, Any] = {
        "client_id": "key-id",
        "client_secret": SECRET,
        "currencies": ("BTC",),
        "symbols": lambda _: True,
    }
    return Deribit(**(defaults | settings))


def live(**settings: Any) -> FakeDeribit:
    """Return a venue with a session that is live, its first events and frames taken."""
    venue = FakeDeribit(session(**settings))
    venue.connect()
    assert venue.session.is_live, venue.seen
    venue.sent.clear()
    venue.seen.clear()
    return venue
