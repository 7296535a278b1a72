"""A stand-in for OKX that answers a session's frames and REST requests: no matching, no time of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.okx import Okx, OkxSettings
from protocols.venues.signing import HmacSigner, Keyring
from tests.protocols.venues.lane_peer import SECRET, T0_MS, Frame, LanePeer, RefusalError, query_of

SWAP: dict[str, Any] = {
    "instType": "SWAP", "instId": "BTC-USDT-SWAP", "instIdCode": 10459, "instFamily": "BTC-USDT", "uly": "BTC-USDT",
    "baseCcy": "", "quoteCcy": "", "settleCcy": "USDT", "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC",
    "ctType": "linear", "expTime": "", "stk": "", "optType": "", "tickSz": "0.1", "lotSz": "0.01", "minSz": "0.01",
    "state": "live", "lever": "100",
}  # fmt: skip
INVERSE = SWAP | {
    "instId": "BTC-USD-SWAP", "instIdCode": 10458, "instFamily": "BTC-USD", "uly": "BTC-USD", "settleCcy": "BTC",
    "ctVal": "100", "ctValCcy": "USD", "ctType": "inverse", "lotSz": "1",
}  # fmt: skip
FUTURE = INVERSE | {
    "instType": "FUTURES", "instId": "BTC-USD-270326", "instIdCode": 20001, "expTime": "1806048000000",
}  # fmt: skip
OPTION = SWAP | {
    "instType": "OPTION", "instId": "BTC-USD-270326-100000-C", "instIdCode": 30001, "instFamily": "BTC-USD",
    "uly": "BTC-USD", "settleCcy": "BTC", "ctVal": "1", "ctMult": "0.01", "ctType": "", "tickSz": "0.0005",
    "lotSz": "1", "stk": "100000", "optType": "C", "expTime": "1806048000000",
}  # fmt: skip
SPOT = SWAP | {
    "instType": "SPOT", "instId": "BTC-USDT", "instIdCode": 3, "instFamily": "", "uly": "", "baseCcy": "BTC",
    "quoteCcy": "USDT", "settleCcy": "", "ctVal": "", "ctMult": "", "ctValCcy": "", "ctType": "",
    "lotSz": "0.00000001",
}  # fmt: skip
LISTING = {"SWAP": [SWAP, INVERSE], "FUTURES": [FUTURE], "OPTION": [OPTION], "SPOT": [SPOT]}
TIERS = [
    {"instFamily": "BTC-USDT", "tier": "2", "minSz": "50001", "maxSz": "100000", "imr": "0.02", "mmr": "0.01",
     "maxLever": "50"},
    {"instFamily": "BTC-USDT", "tier": "1", "minSz": "0", "maxSz": "50000", "imr": "0.01", "mmr": "0.004",
     "maxLever": "100"},
]  # fmt: skip
ACCOUNT: dict[str, Any] = {
    "totalEq": "10000.5", "adjEq": "9990", "imr": "120", "mmr": "60", "uTime": str(T0_MS),
    "details": [{"ccy": "USDT", "eq": "9000.5", "cashBal": "9000", "availEq": "8800", "imr": "", "mmr": ""}],
}  # fmt: skip
POSITION = {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "pos": "-3", "posSide": "net", "avgPx": "50000.5"}


def wire_order(**changes: Any) -> Frame:
    return {
        "instId": "BTC-USDT-SWAP", "instType": "SWAP", "ordId": "9001", "clOrdId": "a1", "side": "buy", "sz": "10",
        "px": "50000.0", "ordType": "limit", "accFillSz": "0", "state": "live", "uTime": str(T0_MS), "avgPx": "",
        "reduceOnly": "false", "fillSz": "0", "fillPx": "", "fillTime": "", "tradeId": "", "fee": "0",
        "feeCcy": "USDT", "fillFee": "0", "fillFeeCcy": "", "execType": "", "cancelSource": "", "amendResult": "",
        "reqId": "", "code": "0", "msg": "",
    } | changes  # fmt: skip


def fill(trade_id: str = "501", amount: str = "4", total: str = "4", time_ms: int = T0_MS + 1, **more: Any) -> Frame:
    return wire_order(
        accFillSz=total, state="filled" if total == "10" else "partially_filled", uTime=str(time_ms), fillSz=amount,
        fillPx="50000.0", fillTime=str(time_ms), tradeId=trade_id, fillFee="-0.8", fillFeeCcy="USDT", execType="M",
        **more,
    )  # fmt: skip


def fill_wire(**changes: Any) -> Frame:
    return {
        "instId": "BTC-USDT-SWAP", "ordId": "9001", "clOrdId": "a1", "tradeId": "501", "billId": "77", "side": "buy",
        "fillPx": "50000.0", "fillSz": "4", "fee": "-0.8", "feeCcy": "USDT", "execType": "M", "ts": str(T0_MS + 1),
    } | changes  # fmt: skip


def push(channel: str, data: list[Any], action: str = "", **arg: Any) -> Frame:
    frame: Frame = {"arg": {"channel": channel, **arg}, "data": data}
    return frame | ({"action": action} if action else {})


def orders(*wires: Frame) -> Frame:
    return push("orders", list(wires), instType="ANY")


def book(action: str, previous: int, sequence: int, time_ms: int = T0_MS, **sides: Any) -> Frame:
    data = {"asks": [], "bids": [], "ts": str(time_ms), "checksum": 0, "prevSeqId": previous, "seqId": sequence}
    return push("books", [data | sides], action, instId="BTC-USDT-SWAP")


class FakeOkx(LanePeer[Okx]):
    def __init__(self, session: Okx, answers: dict[str, Callable[[Any], Any] | None] | None = None) -> None:
        self.open_orders: list[Frame] = []
        super().__init__(session, answers)

    def defaults(self) -> dict[str, Callable[[Any], Any] | None]:
        return {
            "ping": lambda _: None,
            "login": lambda _: None,
            "subscribe": lambda _: None,
            "unsubscribe": lambda _: None,
            "GET /api/v5/public/time": lambda _: [{"ts": str(self.now_ns // 1_000_000)}],
            "GET /api/v5/account/config": lambda _: [{"posMode": "net_mode", "acctLv": "3"}],
            "GET /api/v5/public/instruments": lambda request: LISTING[query_of(request)["instType"]],
            "GET /api/v5/public/position-tiers": lambda _: TIERS,
            "GET /api/v5/trade/fills": lambda _: [],
            "GET /api/v5/account/bills": lambda _: [],
            "GET /api/v5/account/bills-archive": lambda _: [],
            "GET /api/v5/trade/fills-history": lambda _: [],
            "GET /api/v5/trade/orders-pending": lambda _: self.open_orders,
            "GET /api/v5/account/positions": lambda _: [POSITION],
            "GET /api/v5/account/balance": lambda _: [ACCOUNT],
            "POST /api/v5/trade/cancel-all-after": lambda _: [{"triggerTime": str(T0_MS + 60_000)}],
        }

    def name_of(self, lane: str, frame: Frame) -> str:
        return str(frame.get("op") or frame["text"])

    def replies(self, lane: str, frame: Frame, result: Any) -> list[bytes]:
        name = self.name_of(lane, frame)
        if name == "ping":
            return [b"pong"]
        if name == "login":
            return [orjson.dumps({"event": "login", "code": "0", "msg": "", "connId": "c1"})]
        if name in ("subscribe", "unsubscribe"):
            return [orjson.dumps({"event": name, "arg": arg, "connId": "c1"}) for arg in frame["args"]]
        return [orjson.dumps({"id": frame["id"], "op": name, "code": "0", "msg": "", "data": result})]

    def refusal(self, lane: str, frame: Frame, refusal: RefusalError) -> list[bytes]:
        name, code = self.name_of(lane, frame), str(refusal.code)
        if name in ("login", "subscribe", "unsubscribe"):
            error = {"event": "error", "code": code, "msg": refusal.message, "connId": "c1"}
            return [orjson.dumps(error | ({"id": frame["id"]} if "id" in frame else {}))]
        data = [{"ordId": "", "clOrdId": "", "sCode": code, "sMsg": refusal.message}]
        return [orjson.dumps({"id": frame["id"], "op": name, "code": "1", "msg": "", "data": data})]

    def http_refusal(self, refusal: RefusalError) -> HttpResponse:
        body = orjson.dumps({"code": str(refusal.code), "msg": refusal.message, "data": []})
        return HttpResponse(refusal.status, body)

    def http_body(self, request: HttpRequest, result: Any) -> bytes:
        return orjson.dumps({"code": "0", "msg": "", "data": result})


def session(**settings: Any) -> Okx:
    keyring = Keyring("key-id", HmacSigner(SECRET), "pass-phrase")
    defaults: dict[str, Any] = {"keyring": keyring, "symbols": lambda _: True}
    return Okx(OkxSettings(**(defaults | settings)))


def live(**settings: Any) -> FakeOkx:
    """Return a venue with a session that is live, its first events and frames taken."""
    venue = FakeOkx(session(**settings))
    venue.connect()
    assert venue.session.is_live, (venue.session, venue.seen)
    venue.clear()
    return venue
