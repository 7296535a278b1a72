"""Requests to OKX: what is signed, and the frames and REST requests that carry it.

Order frames are written by template, which does not escape: all that goes into one is checked to need no escaping.
"""

from __future__ import annotations

import base64
from typing import Final

import orjson

from protocols.venues.clock_offset import ClockOffset
from protocols.venues.codec import HttpRequest
from protocols.venues.signing import Keyring, iso_text
from protocols.venues.trading import NewOrder, OrderChange

LOGIN_PATH: Final = "/users/self/verify"
MS_PER_S: Final = 1_000


def _signature(keyring: Keyring, text: str) -> str:
    return base64.b64encode(keyring.signer.sign(text.encode())).decode()


def login_frame(keyring: Keyring, clock: ClockOffset, now_ns: int) -> bytes:
    seconds = str(clock.venue_ms(now_ns) // MS_PER_S)
    args = {
        "apiKey": keyring.api_key,
        "passphrase": keyring.passphrase,
        "timestamp": seconds,
        "sign": _signature(keyring, f"{seconds}GET{LOGIN_PATH}"),
    }
    return orjson.dumps({"op": "login", "args": [args]})


def rest_request(
    keyring: Keyring, clock: ClockOffset, request_id: int, method: str, target: str, body: bytes, times: tuple[int, int]
) -> HttpRequest:
    """Return a signed REST request; `times` are now and its deadline in ns."""
    now_ns, deadline_ns = times
    stamp = iso_text(clock.venue_ms(now_ns))
    headers = [
        ("OK-ACCESS-KEY", keyring.api_key),
        ("OK-ACCESS-SIGN", _signature(keyring, f"{stamp}{method}{target}{body.decode()}")),
        ("OK-ACCESS-TIMESTAMP", stamp),
        ("OK-ACCESS-PASSPHRASE", keyring.passphrase),
    ]
    if body:
        headers.append(("Content-Type", "application/json"))
    return HttpRequest(request_id, method, target, tuple(headers), body, deadline_ns)


def channel_frame(request_id: int, channels: tuple[str, ...], is_joining: bool) -> bytes:
    """Return a (un)subscription; a channel's key is its name and what it is about, as in Arg.key."""
    return orjson.dumps(
        {
            "id": str(request_id),
            "op": "subscribe" if is_joining else "unsubscribe",
            "args": [channel_arg(key) for key in channels],
        }
    )


# What a channel is about, where it is not an instrument.
SUBJECTS: Final = {
    "orders": "instType",
    "positions": "instType",
    "liquidation-warning": "instType",
    "instruments": "instType",
    "opt-summary": "instFamily",
}


def channel_arg(key: str) -> dict[str, str]:
    channel, _, subject = key.partition(":")
    return {"channel": channel, SUBJECTS.get(channel, "instId"): subject} if subject else {"channel": channel}


def place_frame(
    request_id: int, order: NewOrder, code: int, mode: str, words: dict[str, str], self_trade: str, expires_ms: int
) -> bytes:
    """Return one order; `code` is the instrument's number, since its name is not taken in orders any more."""
    if order.price is None:
        kind, price = "market", ""
    else:
        kind = "post_only" if order.is_post_only else words[order.time_in_force]
        price = f',"px":"{order.price}"'
    terms = ',"reduceOnly":true' if order.is_reduce_only else ""
    if self_trade:
        terms += f',"stpMode":"{self_trade}"'
    return (
        f'{{"id":"{request_id}","op":"order","args":[{{"instIdCode":{code},"tdMode":"{mode}",'
        f'"clOrdId":"{order.client_id}","side":"{"buy" if order.is_buy else "sell"}","ordType":"{kind}",'
        f'"sz":"{order.amount}"{price}{terms}}}],"expTime":"{expires_ms}"}}'
    ).encode()


def amend_frame(request_id: int, change: OrderChange, code: int, expires_ms: int) -> bytes:
    return (
        f'{{"id":"{request_id}","op":"amend-order","args":[{{"instIdCode":{code},"ordId":"{change.order_id}",'
        f'"reqId":"{request_id}","newSz":"{change.amount}","newPx":"{change.price}"}}],"expTime":"{expires_ms}"}}'
    ).encode()


def cancel_frame(request_id: int, order_id: str, code: int) -> bytes:
    return (
        f'{{"id":"{request_id}","op":"cancel-order","args":[{{"instIdCode":{code},"ordId":"{order_id}"}}]}}'
    ).encode()


def batch_cancel_frame(request_id: int, orders: list[tuple[int, str]]) -> bytes:
    args = [{"instIdCode": code, "ordId": order_id} for code, order_id in orders]
    return orjson.dumps({"id": str(request_id), "op": "batch-cancel-orders", "args": args})


def mass_cancel_frame(request_id: int, family: str) -> bytes:
    args = [{"instType": "OPTION", "instFamily": family}]
    return orjson.dumps({"id": str(request_id), "op": "mass-cancel", "args": args})
