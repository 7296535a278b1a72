"""A stand-in for Binance that answers a session's frames and REST requests: no matching, no time of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from protocols.venues.binance import Binance, BinanceSettings
from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.signing import HmacSigner, Keyring
from tests.protocols.venues.lane_peer import SECRET, T0_MS, Frame, LanePeer, RefusalError

KEY = "ListenKey01"

SYMBOL: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404800000,
    "onboardDate": 1569398400000,
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 2,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
    ],
}
FUTURE = SYMBOL | {
    "symbol": "ETHUSDT_270326",
    "pair": "ETHUSDT",
    "contractType": "CURRENT_QUARTER",
    "deliveryDate": 1806048000000,
    "baseAsset": "ETH",
}
LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
]
BRACKETS = [
    {
        "symbol": "BTCUSDT",
        "brackets": [
            {"bracket": 2, "initialLeverage": 100, "notionalFloor": 50000, "notionalCap": 600000,
             "maintMarginRatio": 0.005, "cum": 50.0},
            {"bracket": 1, "initialLeverage": 125, "notionalFloor": 0, "notionalCap": 50000,
             "maintMarginRatio": 0.004, "cum": 0.0},
        ],
    }
]  # fmt: skip
ACCOUNT: dict[str, Any] = {
    "totalInitialMargin": "12.5",
    "totalMaintMargin": "5.0",
    "totalMarginBalance": "1010.5",
    "availableBalance": "998",
    "assets": [
        {"asset": "USDT", "walletBalance": "1000.5", "marginBalance": "1010.5", "initialMargin": "12.5",
         "maintMargin": "5.0", "availableBalance": "998"},
    ],
    "positions": [],
}  # fmt: skip
POSITION = {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.030", "entryPrice": "50000.5"}


def wire_order(**changes: Any) -> Frame:
    """An order in a reply."""
    return {
        "orderId": 7001,
        "symbol": "BTCUSDT",
        "status": "NEW",
        "clientOrderId": "a1",
        "price": "50000.0",
        "avgPrice": "0.00",
        "origQty": "0.100",
        "executedQty": "0.000",
        "cumQuote": "0",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "reduceOnly": False,
        "side": "BUY",
        "positionSide": "BOTH",
        "selfTradePreventionMode": "NONE",
        "updateTime": T0_MS,
    } | changes


def order_update(time_ms: int = T0_MS, **changes: Any) -> Frame:
    """An ORDER_TRADE_UPDATE."""
    body = {
        "s": "BTCUSDT", "c": "a1", "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "0.100", "p": "50000.0", "ap": "0",
        "sp": "0", "x": "NEW", "X": "NEW", "i": 7001, "l": "0", "z": "0", "L": "0", "T": time_ms, "t": 0, "m": False,
        "R": False, "ps": "BOTH", "V": "EXPIRE_MAKER",
    } | changes  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": time_ms, "T": time_ms, "o": body}


def fill(
    trade_id: int = 501, amount: str = "0.040", total: str = "0.040", time_ms: int = T0_MS + 1, **more: Any
) -> Frame:
    state = "FILLED" if total == "0.100" else "PARTIALLY_FILLED"
    return order_update(
        time_ms, x="TRADE", X=state, l=amount, z=total, L="50000.0", N="USDT", n="0.8", t=trade_id, m=True, **more
    )


def user_trade(**changes: Any) -> Frame:
    return {
        "symbol": "BTCUSDT", "id": 501, "orderId": 7001, "side": "BUY", "price": "50000.0", "qty": "0.040",
        "commission": "0.8", "commissionAsset": "USDT", "time": T0_MS + 1, "maker": True, "positionSide": "BOTH",
    } | changes  # fmt: skip


def depth(first: int, last: int, previous: int | None, time_ms: int = T0_MS, **sides: Any) -> Frame:
    data = {"e": "depthUpdate", "E": time_ms, "T": time_ms, "s": "BTCUSDT", "U": first, "u": last, "b": [], "a": []}
    if previous is not None:
        data["pu"] = previous
    return {"stream": "btcusdt@depth@100ms", "data": data | sides}


class FakeBinance(LanePeer[Binance]):
    def __init__(self, session: Binance, answers: dict[str, Callable[[Any], Any] | None] | None = None) -> None:
        self.open_orders: list[Frame] = []
        super().__init__(session, answers)

    def defaults(self) -> dict[str, Callable[[Any], Any] | None]:
        return {
            "session.logon": lambda _: {"apiKey": "key-id", "authorizedSince": T0_MS},
            "session.status": lambda _: {"connectedSince": T0_MS},
            "LIST_SUBSCRIPTIONS": lambda _: [],
            "SUBSCRIBE": lambda _: None,
            "UNSUBSCRIBE": lambda _: None,
            "userDataStream.start": lambda _: {"listenKey": KEY},
            "userDataStream.ping": lambda _: {"listenKey": KEY},
            "v2/account.position": lambda _: [POSITION],
            "v2/account.status": lambda _: ACCOUNT,
            "GET /fapi/v1/time": lambda _: {"serverTime": self.now_ns // 1_000_000},
            "GET /fapi/v1/positionSide/dual": lambda _: {"dualSidePosition": False},
            "GET /fapi/v1/exchangeInfo": lambda _: {"rateLimits": LIMITS, "symbols": [SYMBOL, FUTURE]},
            "GET /fapi/v1/leverageBracket": lambda _: BRACKETS,
            "GET /fapi/v1/userTrades": lambda _: [],
            "GET /fapi/v1/income": lambda _: [],
            "GET /fapi/v1/openOrders": lambda _: self.open_orders,
            "GET /fapi/v1/depth": lambda _: {"lastUpdateId": 1, "E": T0_MS, "T": T0_MS, "bids": [], "asks": []},
            "POST /fapi/v1/countdownCancelAll": lambda _: {"symbol": "BTCUSDT", "countdownTime": "60000"},
        }

    def name_of(self, lane: str, frame: Frame) -> str:
        return str(frame["method"])

    def replies(self, lane: str, frame: Frame, result: Any) -> list[bytes]:
        if lane == "trade":
            return [orjson.dumps({"id": frame["id"], "status": 200, "result": result, "rateLimits": []})]
        return [orjson.dumps({"result": result, "id": frame["id"]})]

    def refusal(self, lane: str, frame: Frame, refusal: RefusalError) -> list[bytes]:
        error = {"code": refusal.code, "msg": refusal.message}
        return [orjson.dumps({"id": frame["id"], "status": refusal.status, "error": error, "rateLimits": []})]

    def http_refusal(self, refusal: RefusalError) -> HttpResponse:
        return HttpResponse(refusal.status, orjson.dumps({"code": refusal.code, "msg": refusal.message}))

    def http_body(self, request: HttpRequest, result: Any) -> bytes:
        return orjson.dumps(result)


def session(**settings: Any) -> Binance:
    defaults: dict[str, Any] = {"keyring": Keyring("key-id", HmacSigner(SECRET)), "symbols": lambda _: True}
    return Binance(BinanceSettings(**(defaults | settings)))


def live(**settings: Any) -> FakeBinance:
    """Return a venue with a session that is live, its first events and frames taken."""
    venue = FakeBinance(session(**settings))
    venue.connect()
    assert venue.session.is_live, (venue.session, venue.seen)
    venue.clear()
    return venue
