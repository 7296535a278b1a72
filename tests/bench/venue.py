"""The venue's side of the set-up: the WebSocket handshake and the answers that make a Deribit session live.

Orders are answered by the peer program, which is handed the connection; what is here runs outside the timed part.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from websockets.frames import Opcode
from websockets.server import ServerProtocol

from risk.pricing import black76_value
from tests.bench.setting import PRICE, SMALL

SYMBOL: Final = "BTC-PERPETUAL"
MARK: Final = 60_000.0
VOL: Final = 0.6
_CHUNK: Final = 1 << 16
_PATIENCE_S: Final = 60.0
_LAST_QUESTION: Final = "private/get_account_summaries"


def instrument(coin: str) -> dict[str, Any]:
    """Return an inverse perpetual as public/get_instruments lists it."""
    return {
        "instrument_name": f"{coin}-PERPETUAL",
        "kind": "future",
        "instrument_type": "reversed",
        "price_index": f"{coin.lower()}_usd",
        "base_currency": coin,
        "quote_currency": "USD",
        "settlement_currency": coin,
        "tick_size": 0.5 if coin == "BTC" else 0.05,
        "min_trade_amount": 10.0 if coin == "BTC" else 1.0,
        "contract_size": 10.0 if coin == "BTC" else 1.0,
        "maker_commission": 0.0,
        "taker_commission": 0.0005,
        "is_active": True,
        "expiration_timestamp": 32_503_708_800_000,
        "settlement_period": "perpetual",
    }


def option_names(count: int) -> list[str]:
    """Return names of BTC options: 25 strikes, calls and puts, an expiry for each fifty; the last of 2035."""
    months = ("JAN", "APR", "JUL", "OCT")
    return [
        f"BTC-25{months[expiry % 4]}{30 + expiry // 4}-{36_000 + 2_000 * (place // 2)}-{'CP'[place % 2]}"
        for expiry in range(-(-count // 50))
        for place in range(50)
    ][:count]


def option(name: str) -> dict[str, Any]:
    """Return an option as public/get_instruments lists it."""
    _, date, strike, letter = name.split("-")
    expires = datetime.strptime(f"{date} 08:00 +0000", "%d%b%y %H:%M %z")
    return instrument("BTC") | {
        "instrument_name": name,
        "kind": "option",
        "tick_size": 0.0001,
        "min_trade_amount": 0.1,
        "contract_size": 1.0,
        "quote_currency": "BTC",
        "strike": float(strike),
        "option_type": "call" if letter == "C" else "put",
        "maker_commission": 0.0003,
        "taker_commission": 0.0003,
        "expiration_timestamp": int(expires.timestamp() * 1000),
        "settlement_period": "month",
    }


def option_ticker(name: str) -> bytes:
    """Return a ticker of an option at VOL."""
    listed, now_ms = option(name), time.time_ns() // 1_000_000
    years = (listed["expiration_timestamp"] - now_ms) / (365 * 86_400_000)
    price = black76_value(MARK, listed["strike"], years, VOL, listed["option_type"] == "call") / MARK
    data = {
        "instrument_name": name,
        "mark_price": price,
        "index_price": MARK,
        "underlying_price": MARK,
        "mark_iv": 100 * VOL,
        "timestamp": now_ms,
        "state": "open",
    }
    params = {"channel": f"ticker.{name}.100ms", "data": data}
    return orjson.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


def result_of(method: str, params: dict[str, Any], options: Sequence[str] = ()) -> Any:
    """Return what the venue answers to one question of a session's start; an account without orders or positions."""
    if method == "public/get_instruments" and params.get("currency", "BTC") == "BTC" and options:
        return [instrument("BTC"), *map(option, options)]
    if method in ("private/subscribe", "public/subscribe"):
        return params["channels"]
    answers: dict[str, Any] = {
        "public/auth": {"access_token": "bench", "refresh_token": "bench", "expires_in": 900_000},
        "public/set_heartbeat": "ok",
        "private/enable_cancel_on_disconnect": "ok",
        "public/get_instruments": [instrument(params.get("currency", "BTC"))],
        "private/get_user_trades_by_currency": {"trades": [], "has_more": False},
        "private/get_transaction_log": {"logs": [], "continuation": None},
        "private/get_open_orders": [],
        "private/get_positions": [],
        _LAST_QUESTION: {"summaries": []},
    }
    return answers[method]


def ticker(mark: float = MARK) -> bytes:
    """Return a ticker with the mark of now."""
    data = {
        "instrument_name": SYMBOL,
        "mark_price": mark,
        "index_price": MARK,
        "timestamp": time.time_ns() // 1_000_000,
        "state": "open",
        "best_bid_price": MARK - 0.5,
        "best_ask_price": MARK + 0.5,
    }
    params = {"channel": f"ticker.{SYMBOL}.100ms", "data": data}
    return orjson.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


def order_json(label: str, state: str) -> dict[str, Any]:
    """Return an order as the venue shows it, with the fields of its recorded frames (as peer.c writes them)."""
    now_ms = time.time_ns() // 1_000_000
    return {
        "web": False,
        "time_in_force": "good_til_cancelled",
        "risk_reducing": False,
        "replaced": False,
        "reject_post_only": False,
        "reduce_only": False,
        "price": float(PRICE),
        "post_only": False,
        "order_type": "limit",
        "order_state": state,
        "order_id": f"B-{label}",
        "mmp": False,
        "max_show": float(SMALL),
        "last_update_timestamp": now_ms,
        "label": label,
        "is_liquidation": False,
        "instrument_name": SYMBOL,
        "filled_amount": 0.0,
        "direction": "buy",
        "creation_timestamp": now_ms,
        "contracts": 1.0,
        "average_price": 0.0,
        "api": True,
        "amount": float(SMALL),
    }


class Venue:
    """Listens for the gateway's connection, and brings its session up."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = options
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]
        self.connection: socket.socket | None = None
        self._protocol = ServerProtocol()

    def accept(self) -> None:
        """Take the connection and answer until the last question of the start was answered."""
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_PATIENCE_S)
        self.connection = connection
        is_live = False
        while not is_live:
            data = connection.recv(_CHUNK)
            if not data:
                raise RuntimeError("the gateway left while its session was set up")
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if hasattr(event, "opcode"):
                    is_live = self._answer(event) or is_live
                else:
                    self._protocol.send_response(self._protocol.accept(event))  # type: ignore[arg-type]
            for piece in self._protocol.data_to_send():
                connection.sendall(piece)

    def _answer(self, frame: Any) -> bool:
        assert frame.opcode is Opcode.TEXT
        request = orjson.loads(frame.data)
        result = result_of(request["method"], request["params"], self._options)
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
        self._protocol.send_text(orjson.dumps(answer))
        return bool(request["method"] == _LAST_QUESTION)

    def send_mark(self, mark: float = MARK, *, with_options: bool = True) -> None:
        """Send tickers, so that marks are fresh for the run that follows."""
        assert self.connection is not None
        self._protocol.send_text(ticker(mark))
        for name in self._options if with_options else ():
            self._protocol.send_text(option_ticker(name))
        for piece in self._protocol.data_to_send():
            self.connection.sendall(piece)

    def close(self) -> None:
        """Close both sockets."""
        self._listener.close()
        if self.connection is not None:
            self.connection.close()
