"""Bybit's own Python client against a simulated Bybit: a program of its own, in an environment of its own.

``python pybit_peer.py HOST:PORT KEY SECRET`` prints one JSON object of what it saw. Nothing of the library is changed
but its base addresses.
"""

import json
import logging
import queue
import sys
from typing import Any

import loopback  # noqa: F401  refuses every other host
import pybit._websocket_trading
import pybit.unified_trading
from pybit.exceptions import InvalidRequestError

SYMBOL = "BTCUSDT"
PATIENCE_S = 30


def addressed(address: str) -> None:
    """Move the library's addresses to another host."""
    pybit.unified_trading.PUBLIC_WSS = f"ws://{address}/v5/public/{{CHANNEL_TYPE}}"
    pybit.unified_trading.PRIVATE_WSS = f"ws://{address}/v5/private"
    pybit._websocket_trading.TRADE_WSS = f"ws://{address}/v5/trade"


def rest(http: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {"time": int(http.get_server_time()["result"]["timeSecond"])}
    seen["instruments"] = len(http.get_instruments_info(category="linear")["result"]["list"])
    book = http.get_orderbook(category="linear", symbol=SYMBOL)["result"]
    seen["levels"] = [len(book["b"]), len(book["a"])]
    wallet = http.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
    seen["equity"] = float(wallet["totalEquity"])
    price = str(round(float(book["b"][0][0]) * 0.99, 1))
    given: dict[str, Any] = {"category": "linear", "symbol": SYMBOL}
    order: dict[str, Any] = {"side": "Buy", "orderType": "Limit", "qty": "0.01", "price": price, "orderLinkId": "peer1"}
    http.place_order(**given, **order)
    try:
        http.place_order(**given, **order)
    except InvalidRequestError as error:
        seen["again"] = error.status_code
    http.amend_order(**given, orderLinkId="peer1", qty="0.02")
    seen["working"] = [row["qty"] for row in http.get_open_orders(**given)["result"]["list"]]
    http.cancel_order(**given, orderLinkId="peer1")
    seen["state"] = http.get_order_history(**given)["result"]["list"][0]["orderStatus"]
    seen["price"] = price
    return seen


def streams(key: str, secret: str, price: str) -> dict[str, Any]:
    """Book and trades, then an order over the trade lane, told by the private one."""
    books: queue.Queue[Any] = queue.Queue()
    told: queue.Queue[Any] = queue.Queue()
    acks: queue.Queue[Any] = queue.Queue()
    public = pybit.unified_trading.WebSocket(testnet=False, channel_type="linear")
    public.orderbook_stream(depth=50, symbol=SYMBOL, callback=books.put)
    private = pybit.unified_trading.WebSocket(testnet=False, channel_type="private", api_key=key, api_secret=secret)
    private.order_stream(callback=told.put)
    trading = pybit.unified_trading.WebSocketTrading(testnet=False, api_key=key, api_secret=secret)
    seen: dict[str, Any] = {"book": books.get(timeout=PATIENCE_S)["data"]["s"]}
    order = {"category": "linear", "symbol": SYMBOL, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": price}
    trading.place_order(acks.put, **order)
    ack = acks.get(timeout=PATIENCE_S)
    seen["ack"] = [ack["retCode"], sorted(name for name in ack["header"] if name.startswith("X-Bapi"))]
    first = told.get(timeout=PATIENCE_S)["data"][0]
    seen["told"] = [first["orderStatus"], first["orderId"] == ack["data"]["orderId"]]
    trading.cancel_order(acks.put, category="linear", symbol=SYMBOL, orderId=first["orderId"])
    seen["cancelled"] = acks.get(timeout=PATIENCE_S)["retCode"]
    seen["ended"] = told.get(timeout=PATIENCE_S)["data"][0]["orderStatus"]
    for socket in (public, private, trading):
        socket.exit()
    return seen


def main(address: str, key: str, secret: str) -> None:
    logging.disable(logging.CRITICAL)
    addressed(address)
    http = pybit.unified_trading.HTTP(testnet=False, api_key=key, api_secret=secret)
    http.endpoint = f"http://{address}"
    seen = rest(http)
    sys.stdout.write(json.dumps(seen | streams(key, secret, seen["price"])))


if __name__ == "__main__":
    main(*sys.argv[1:])
