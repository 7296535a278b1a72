"""The venue's side of the set-up: the WebSocket handshake and the answers that make a Deribit session live.

Orders are answered by the peer program, which is handed the connection; what is here runs outside the timed part.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Final

import orjson
from websockets.frames import Opcode
from websockets.server import ServerProtocol

from tests.bench.setting import PRICE, SMALL

SYMBOL: Final = "BTC-PERPETUAL"
MARK: Final = 60_000.0
_CHUNK: Final = 1 << 16
_PATIENCE_S: Final = 20.0
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


def result_of(method: str, params: dict[str, Any]) -> Any:
    """Return what the venue answers to one question of a session's start; an account without orders or positions."""
    if method in ("private/subscribe", "public/subscribe"):
        return params["channels"]
    answers: dict[str, Any] = {
        "public/auth": {"access_token": "bench", "refresh_token": "bench", "expires_in": 900_000},
        "public/set_heartbeat": "ok",
        "private/enable_cancel_on_disconnect": "ok",
        "public/get_instruments": [instrument(params.get("currency", "BTC"))],
        "private/get_user_trades_by_currency": {"trades": [], "has_more": False},
        "private/get_open_orders": [],
        "private/get_positions": [],
        _LAST_QUESTION: {"summaries": []},
    }
    return answers[method]


def ticker() -> bytes:
    """Return a ticker with the mark of now."""
    data = {
        "instrument_name": SYMBOL,
        "mark_price": MARK,
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

    def __init__(self) -> None:
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
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": result_of(request["method"], request["params"])}
        self._protocol.send_text(orjson.dumps(answer))
        return bool(request["method"] == _LAST_QUESTION)

    def send_mark(self) -> None:
        """Send a ticker, so that the mark is fresh for the run that follows."""
        assert self.connection is not None
        self._protocol.send_text(ticker())
        for piece in self._protocol.data_to_send():
            self.connection.sendall(piece)

    def close(self) -> None:
        """Close both sockets."""
        self._listener.close()
        if self.connection is not None:
            self.connection.close()
