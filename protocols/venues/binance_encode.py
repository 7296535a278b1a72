"""Requests to Binance: what is signed, in which order, and the frames and REST requests that carry it.

Frames are written by template, which does not escape: all that goes into one is checked to need no escaping.
"""

from __future__ import annotations

import base64
from typing import Final, TypeAlias

import orjson

from protocols.venues.clock_offset import ClockOffset
from protocols.venues.codec import HttpRequest
from protocols.venues.signing import Keyring
from protocols.venues.trading import NewOrder, OrderChange

# Texts are quoted in a frame, whole numbers are not.
Params: TypeAlias = dict[str, str | int]

API_KEY_HEADER: Final = "X-MBX-APIKEY"
LISTEN_KEY: Final = "listenKey"
FLAGS: Final = {False: "false", True: "true"}


class Requests:
    """Writes signed requests for one key. `is_logged_on`: the connection is known, so its requests are not signed."""

    def __init__(self, keyring: Keyring, clock: ClockOffset, recv_window_ms: int, prefix: str) -> None:
        self._keyring = keyring
        self._clock = clock
        self._recv_window_ms = recv_window_ms
        self._prefix = prefix
        self.is_logged_on = False

    def __repr__(self) -> str:
        return "Requests()"

    def signature(self, payload: str) -> str:
        signer = self._keyring.signer
        digest = signer.sign(payload.encode())
        return base64.b64encode(digest).decode() if signer.is_asymmetric else digest.hex()

    def frame(self, request_id: int, method: str, params: Params, now_ns: int, is_signed: bool = True) -> bytes:
        """Return a frame of the WebSocket API; the parameters are signed in the order of their names."""
        if is_signed:
            params["timestamp"] = self._clock.venue_ms(now_ns)
            params["recvWindow"] = self._recv_window_ms
            if not self.is_logged_on:
                params["apiKey"] = self._keyring.api_key
        items = sorted(params.items())
        if is_signed and not self.is_logged_on:
            payload = "&".join([f"{name}={value}" for name, value in items])
            items.append(("signature", self.signature(payload)))
        body = ",".join([f'"{name}":{value}' if type(value) is int else f'"{name}":"{value}"' for name, value in items])
        return f'{{"id":{request_id},"method":"{method}","params":{{{body}}}}}'.encode()

    def key_frame(self, request_id: int, method: str) -> bytes:
        """Return a frame that says who we are and is not signed: those about the listenKey."""
        return self.frame(request_id, method, {"apiKey": self._keyring.api_key}, 0, is_signed=False)

    def logon(self, request_id: int, now_ns: int) -> bytes:
        self.is_logged_on = False
        return self.frame(request_id, "session.logon", {}, now_ns)

    def rest(
        self, request_id: int, method: str, path: str, params: Params, now_ns: int, deadline_ns: int, is_signed: bool
    ) -> HttpRequest:
        """Return a REST request; `path` begins after the version, or with /futures/; parameters are in the query."""
        query = "&".join([f"{name}={value}" for name, value in params.items()])
        headers: tuple[tuple[str, str], ...] = ()
        if is_signed:
            stamp = f"timestamp={self._clock.venue_ms(now_ns)}&recvWindow={self._recv_window_ms}"
            query = f"{query}&{stamp}" if query else stamp
            # A base64 signature has characters that mean something in a query.
            signature = self.signature(query).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
            query += f"&signature={signature}"
            headers = ((API_KEY_HEADER, self._keyring.api_key),)
        # Lists of the market's past are beside the versions of the interface.
        prefix = "" if path.startswith("/futures/") else self._prefix
        target = f"{prefix}{path}" + (f"?{query}" if query else "")
        return HttpRequest(request_id, method, target, headers, b"", deadline_ns)


def place_params(order: NewOrder, times_in_force: dict[str, str], self_trade: str) -> Params:
    """Return the parameters of order.place: the reply is asked to describe the order."""
    params: Params = {
        "symbol": order.symbol,
        "side": "BUY" if order.is_buy else "SELL",
        "type": "MARKET" if order.price is None else "LIMIT",
        "quantity": order.amount,
        "newClientOrderId": order.client_id,
        "newOrderRespType": "RESULT",
    }
    if order.price is not None:
        params["price"] = order.price
        params["timeInForce"] = "GTX" if order.is_post_only else times_in_force[order.time_in_force]
    if order.is_reduce_only:
        params["reduceOnly"] = "true"
    if self_trade:
        params["selfTradePreventionMode"] = self_trade
    return params


def modify_params(change: OrderChange) -> Params:
    return {
        "symbol": change.symbol,
        "side": "BUY" if change.is_buy else "SELL",
        "orderId": int(change.order_id),
        "quantity": change.amount,
        "price": change.price,
    }


def control_frame(request_id: int, method: str, channels: tuple[str, ...] = ()) -> bytes:
    """Return a control request of a stream connection."""
    if not channels:
        return b'{"method":"%b","id":%d}' % (method.encode(), request_id)
    return b'{"method":"%b","params":%b,"id":%d}' % (method.encode(), orjson.dumps(channels), request_id)
