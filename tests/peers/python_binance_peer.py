"""python-binance as a client of a simulated Binance: a program of its own, in an environment of its own.

``python python_binance_peer.py HOST:PORT KEY SECRET`` prints one JSON object of what it saw. Nothing of the library is
changed but its base addresses.
"""

import asyncio
import json
import sys
from typing import Any

import loopback  # noqa: F401  refuses every other host
from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException

SYMBOL = "BTCUSDT"


class LocalClient(AsyncClient):
    """A client with other base addresses; `address` is set before the first is made."""

    address = ""

    def __init__(self, *given: Any, **named: Any) -> None:
        for name in ("API_URL", "MARGIN_API_URL", "FUTURES_URL", "FUTURES_COIN_URL", "OPTIONS_URL"):
            setattr(self, name, f"http://{self.address}/{getattr(AsyncClient, name).rpartition('/')[2]}")
        self.WS_FUTURES_URL = f"ws://{self.address}/ws-fapi/v1"
        super().__init__(*given, **named)


async def next_of(socket: Any, *events: str) -> dict[str, Any]:
    """The next message of one of these kinds."""
    while True:
        message = await asyncio.wait_for(socket.recv(), 10)
        found: dict[str, Any] = message.get("data", message)
        if found.get("e") in events:
            return found


async def trade(client: Any, manager: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    info = await client.futures_exchange_info()
    seen["symbols"] = sorted(symbol["symbol"] for symbol in info["symbols"])
    seen["balance"] = (await client.futures_account_balance(version=3))[0]["balance"]
    book = await client.futures_order_book(symbol=SYMBOL, limit=5)
    async with manager.futures_depth_socket(SYMBOL, depth="10") as depth:
        seen["depth"] = len((await next_of(depth, "depthUpdate"))["b"])
    # Not closed by the library, which waits ten seconds for a frame when it closes a quiet stream.
    trades = await manager.aggtrade_futures_socket(SYMBOL).__aenter__()
    user = await manager.futures_user_socket().__aenter__()
    price = f"{float(book['bids'][0][0]) * 0.99:.1f}"
    placed = await client.futures_create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTX", quantity="0.010", price=price
    )
    seen["placed"] = [placed["status"], placed["price"] == price]
    told = await next_of(user, "ORDER_TRADE_UPDATE")
    seen["told"] = [told["o"]["x"], told["o"]["c"] == placed["clientOrderId"]]
    lower = f"{float(price) - 10:.1f}"
    modified = await client.futures_modify_order(
        symbol=SYMBOL, side="BUY", orderId=placed["orderId"], quantity="0.020", price=lower
    )
    seen["modified"] = [modified["origQty"], modified["price"] == lower]
    seen["open"] = len(await client.futures_get_open_orders(symbol=SYMBOL))
    seen["cancelled"] = (await client.futures_cancel_order(symbol=SYMBOL, orderId=placed["orderId"]))["status"]
    bought = await client.ws_futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.050")
    seen["by_socket"] = bought["symbol"]
    seen["trade"] = (await next_of(trades, "aggTrade"))["s"]
    account = await next_of(user, "ACCOUNT_UPDATE")
    seen["account"] = [account["a"]["m"], account["a"]["P"][0]["s"]]
    position = await client.futures_position_information(symbol=SYMBOL)
    seen["position"] = position[0]["positionAmt"]
    try:
        await client.futures_cancel_order(symbol=SYMBOL, orderId=1)
    except BinanceAPIException as error:
        seen["refused"] = error.code
    return seen


async def main(address: str, key: str, secret: str) -> None:
    LocalClient.address = address
    client = LocalClient(key, secret)
    manager = BinanceSocketManager(client)
    manager.FSTREAM_URL = f"ws://{address}/"
    try:
        seen = await asyncio.wait_for(trade(client, manager), 40)
    finally:
        await client.close_connection()
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
