"""A stand-in for Bybit that answers a session's frames and REST requests: no matching, no time of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from protocols.venues.bybit import Bybit, BybitSettings
from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.signing import HmacSigner, Keyring
from tests.protocols.venues.lane_peer import SECRET, T0_MS, Frame, LanePeer, RefusalError, query_of

LINEAR: dict[str, Any] = {
    "symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "BTC",
    "quoteCoin": "USDT", "settleCoin": "USDT", "deliveryTime": "0", "priceFilter": {"tickSize": "0.10"},
    "lotSizeFilter": {"qtyStep": "0.001", "minOrderQty": "0.001"},
}  # fmt: skip
INVERSE = LINEAR | {
    "symbol": "BTCUSDH27", "contractType": "InverseFutures", "quoteCoin": "USD", "settleCoin": "BTC",
    "deliveryTime": "1806048000000", "lotSizeFilter": {"qtyStep": "1"},
}  # fmt: skip
OPTION: dict[str, Any] = {
    "symbol": "BTC-26MAR27-100000-C-USDT", "status": "Trading", "baseCoin": "BTC", "quoteCoin": "USDT",
    "settleCoin": "USDT", "optionsType": "Call", "deliveryTime": "1806048000000", "priceFilter": {"tickSize": "5"},
    "lotSizeFilter": {"qtyStep": "0.01"},
}  # fmt: skip
SPOT: dict[str, Any] = {
    "symbol": "ETHUSDT", "status": "Trading", "baseCoin": "ETH", "quoteCoin": "USDT",
    "priceFilter": {"tickSize": "0.01"}, "lotSizeFilter": {"basePrecision": "0.00001"},
}  # fmt: skip
LISTING = {"linear": [LINEAR], "inverse": [INVERSE], "option": [OPTION], "spot": [SPOT]}
RISK = [
    {"id": 2, "symbol": "BTCUSDT", "riskLimitValue": "2600000", "maintenanceMargin": "0.0056",
     "initialMargin": "0.0111", "maxLeverage": "90.00", "mmDeduction": "1200"},
    {"id": 1, "symbol": "BTCUSDT", "riskLimitValue": "2000000", "maintenanceMargin": "0.005",
     "initialMargin": "0.01", "maxLeverage": "100.00", "mmDeduction": ""},
]  # fmt: skip
WALLET: dict[str, Any] = {
    "accountType": "UNIFIED", "totalEquity": "10262.9", "totalMarginBalance": "9684.4", "totalInitialMargin": "127.8",
    "totalMaintenanceMargin": "12.7", "totalAvailableBalance": "9556.6",
    "coin": [{"coin": "USDT", "equity": "10226.2", "walletBalance": "9647.7"}],
}  # fmt: skip
POSITION = {"symbol": "BTCUSDT", "side": "Sell", "size": "0.030", "positionIdx": 0, "avgPrice": "50000.5"}


def wire_order(**changes: Any) -> Frame:
    return {
        "symbol": "BTCUSDT", "orderId": "5cf98598-1", "orderLinkId": "a1", "side": "Buy", "price": "50000.0",
        "qty": "0.100", "cumExecQty": "0", "orderStatus": "New", "reduceOnly": False, "updatedTime": str(T0_MS),
        "cancelType": "UNKNOWN", "rejectReason": "EC_NoError", "category": "linear", "orderType": "Limit",
        "timeInForce": "GTC", "leavesQty": "0.100",
    } | changes  # fmt: skip


def execution(**changes: Any) -> Frame:
    return {
        "symbol": "BTCUSDT", "orderId": "5cf98598-1", "orderLinkId": "a1", "side": "Buy", "execId": "e-501",
        "execPrice": "50000.0", "execQty": "0.040", "execFee": "0.8", "execType": "Trade",
        "execTime": str(T0_MS + 1), "isMaker": True, "feeCurrency": "USDT", "category": "linear",
    } | changes  # fmt: skip


def push(topic: str, *data: Any) -> Frame:
    return {"id": "x", "topic": topic, "creationTime": T0_MS, "data": list(data)}


def book(kind: str, update: int, time_ms: int = T0_MS, **sides: Any) -> Frame:
    data = {"s": "BTCUSDT", "b": [], "a": [], "u": update, "seq": update * 7} | sides
    return {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": time_ms, "cts": time_ms, "data": data}


class FakeBybit(LanePeer[Bybit]):
    def __init__(self, session: Bybit, answers: dict[str, Callable[[Any], Any] | None] | None = None) -> None:
        self.open_orders: list[Frame] = []
        super().__init__(session, answers)

    def defaults(self) -> dict[str, Callable[[Any], Any] | None]:
        def only(category: str, entries: list[Any]) -> Callable[[HttpRequest], Any]:
            def answer(request: HttpRequest) -> Any:
                query = query_of(request)
                is_it = query["category"] == category and query.get("settleCoin", "USDT") == "USDT"
                return {"list": entries if is_it else [], "nextPageCursor": ""}

            return answer

        return {
            "ping": lambda _: None,
            "auth": lambda _: None,
            "subscribe": lambda _: None,
            "unsubscribe": lambda _: None,
            "GET /v5/market/time": lambda _: {"timeSecond": "1", "timeNano": str(self.now_ns)},
            "GET /v5/account/info": lambda _: {"marginMode": "REGULAR_MARGIN", "unifiedMarginStatus": 5},
            "POST /v5/order/disconnected-cancel-all": lambda _: {},
            "GET /v5/market/instruments-info": lambda request: {"list": LISTING[query_of(request)["category"]]},
            "GET /v5/market/risk-limit": lambda request: {
                "list": [one | {"symbol": query_of(request)["symbol"]} for one in RISK]
            },
            "GET /v5/execution/list": lambda _: {"list": [], "nextPageCursor": ""},
            "GET /v5/asset/delivery-record": lambda _: {"list": [], "nextPageCursor": ""},
            "GET /v5/order/realtime": only("linear", self.open_orders),
            "GET /v5/order/history": lambda _: {"list": []},
            "GET /v5/position/list": only("linear", [POSITION]),
            "GET /v5/account/wallet-balance": lambda _: {"list": [WALLET]},
        }

    def name_of(self, lane: str, frame: Frame) -> str:
        return str(frame["op"])

    def replies(self, lane: str, frame: Frame, result: Any) -> list[bytes]:
        op = self.name_of(lane, frame)
        if op == "ping":
            return [orjson.dumps({"success": True, "ret_msg": "pong", "conn_id": "c1", "req_id": "", "op": "ping"})]
        if lane == "trade":
            reply = {"reqId": frame["reqId"], "retCode": 0, "retMsg": "OK", "op": op, "connId": "c1"}
            return [orjson.dumps(reply | ({} if op == "auth" else {"data": result, "header": {}}))]
        if lane == "option" and op in ("subscribe", "unsubscribe"):
            data = {"failTopics": [], "successTopics": frame["args"]}
            return [orjson.dumps({"success": True, "conn_id": "c1", "data": data, "type": "COMMAND_RESP"})]
        reply = {"success": True, "ret_msg": "", "conn_id": "c1", "op": op}
        return [orjson.dumps(reply | ({} if op == "auth" else {"req_id": frame["req_id"]}))]

    def refusal(self, lane: str, frame: Frame, refusal: RefusalError) -> list[bytes]:
        op = self.name_of(lane, frame)
        if lane == "trade":
            reply = {"reqId": frame["reqId"], "retCode": refusal.code, "retMsg": refusal.message, "op": op}
            return [orjson.dumps(reply | {"data": {}, "header": {}, "connId": "c1"})]
        reply = {"success": False, "ret_msg": refusal.message, "conn_id": "c1", "op": op}
        return [orjson.dumps(reply | ({"req_id": frame["req_id"]} if "req_id" in frame else {}))]

    def http_refusal(self, refusal: RefusalError) -> HttpResponse:
        return HttpResponse(refusal.status, orjson.dumps({"retCode": refusal.code, "retMsg": refusal.message}))

    def http_body(self, request: HttpRequest, result: Any) -> bytes:
        return orjson.dumps({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": T0_MS})


def session(**settings: Any) -> Bybit:
    defaults: dict[str, Any] = {"keyring": Keyring("key-id", HmacSigner(SECRET)), "symbols": lambda _: True}
    return Bybit(BybitSettings(**(defaults | settings)))


def live(**settings: Any) -> FakeBybit:
    """Return a venue with a session that is live, its first events and frames taken."""
    venue = FakeBybit(session(**settings))
    venue.connect()
    assert venue.session.is_live, (venue.session, venue.seen)
    venue.clear()
    return venue
