"""Requests to Bybit: what is signed, and the frames and REST requests that carry it.

Order frames are written by template, which does not escape: all that goes into one is checked to need no escaping.
"""

from __future__ import annotations

from typing import Final

import orjson

from protocols.venues.clock_offset import ClockOffset
from protocols.venues.codec import HttpRequest
from protocols.venues.signing import Keyring
from protocols.venues.trading import NewOrder, OrderChange

# An authentication that has not arrived by then is refused.
AUTH_LIFE_MS: Final = 10_000


class Requests:
    """Writes signed requests for one key."""

    def __init__(self, keyring: Keyring, clock: ClockOffset, recv_window_ms: int) -> None:
        self._keyring = keyring
        self._clock = clock
        self._recv_window_ms = recv_window_ms

    def __repr__(self) -> str:
        return "Requests()"

    def _sign(self, text: str) -> str:
        return self._keyring.signer.sign(text.encode()).hex()

    def auth(self, request_id: int, now_ns: int) -> bytes:
        expires_ms = self._clock.venue_ms(now_ns) + AUTH_LIFE_MS
        args = [self._keyring.api_key, expires_ms, self._sign(f"GET/realtime{expires_ms}")]
        return orjson.dumps({"reqId": str(request_id), "req_id": str(request_id), "op": "auth", "args": args})

    def order(self, request_id: int, op: str, arg: str, now_ns: int) -> bytes:
        """Return a frame of the trade lane; `arg` is the JSON of its one argument."""
        return (
            f'{{"reqId":"{request_id}","header":{{"X-BAPI-TIMESTAMP":"{self._clock.venue_ms(now_ns)}",'
            f'"X-BAPI-RECV-WINDOW":"{self._recv_window_ms}"}},"op":"{op}","args":[{arg}]}}'
        ).encode()

    def rest(
        self, request_id: int, method: str, path: str, params: dict[str, str], now_ns: int, deadline_ns: int
    ) -> HttpRequest:
        """Return a signed REST request: parameters in the query of a GET, in the JSON body of a POST."""
        stamp = str(self._clock.venue_ms(now_ns))
        body = orjson.dumps(params) if method == "POST" else b""
        query = "" if body else "&".join([f"{name}={value}" for name, value in params.items()])
        payload = f"{stamp}{self._keyring.api_key}{self._recv_window_ms}{query or body.decode()}"
        headers = [
            ("X-BAPI-API-KEY", self._keyring.api_key),
            ("X-BAPI-TIMESTAMP", stamp),
            ("X-BAPI-RECV-WINDOW", str(self._recv_window_ms)),
            ("X-BAPI-SIGN", self._sign(payload)),
        ]
        if body:
            headers.append(("Content-Type", "application/json"))
        return HttpRequest(request_id, method, f"{path}?{query}" if query else path, tuple(headers), body, deadline_ns)


def place_arg(order: NewOrder, category: str, words: dict[str, str], self_trade: str) -> str:
    terms = f',"price":"{order.price}"' if order.price is not None else ""
    word = "PostOnly" if order.is_post_only else words[order.time_in_force]
    if order.is_reduce_only:
        terms += ',"reduceOnly":true'
    if self_trade:
        terms += f',"smpType":"{self_trade}"'
    return (
        f'{{"category":"{category}","symbol":"{order.symbol}","side":"{"Buy" if order.is_buy else "Sell"}",'
        f'"orderType":"{"Market" if order.price is None else "Limit"}","qty":"{order.amount}",'
        f'"timeInForce":"{word}","orderLinkId":"{order.client_id}"{terms}}}'
    )


def amend_arg(change: OrderChange, category: str) -> str:
    return (
        f'{{"category":"{category}","symbol":"{change.symbol}","orderId":"{change.order_id}",'
        f'"qty":"{change.amount}","price":"{change.price}"}}'
    )


def cancel_arg(order_id: str, symbol: str, category: str) -> str:
    return f'{{"category":"{category}","symbol":"{symbol}","orderId":"{order_id}"}}'


def topics_frame(request_id: int, topics: tuple[str, ...], is_joining: bool) -> bytes:
    op = "subscribe" if is_joining else "unsubscribe"
    return orjson.dumps({"req_id": str(request_id), "op": op, "args": topics})
