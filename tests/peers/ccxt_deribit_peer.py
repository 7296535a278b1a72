"""ccxt as a client of a simulated Deribit: a program of its own, in an environment of its own.

``python ccxt_deribit_peer.py HOST:PORT ID SECRET`` does what a trading program does, and prints one JSON object of what
it saw. Nothing of ccxt is changed but the scheme, host and port of its addresses.
"""

import asyncio
import json
import sys
from typing import Any

import ccxt.pro
import loopback  # noqa: F401  refuses every other host
from ccxt_unified_peer import moved

SYMBOL = "BTC/USD:BTC"


async def follow(exchange: Any, seen: dict[str, Any]) -> float:
    """Public data; returns the best bid."""
    markets = await exchange.load_markets()
    seen["markets"] = sorted({market["type"] for market in markets.values()})
    seen["tick"] = markets[SYMBOL]["precision"]["price"]
    book = await exchange.watch_order_book(SYMBOL)
    for _ in range(5):
        book = await exchange.watch_order_book(SYMBOL)
    seen["top"] = [book["bids"][0][0], book["asks"][0][0]]
    seen["asked"] = (await exchange.fetch_order_book(SYMBOL, 5))["bids"][0][0]
    ticker = await exchange.watch_ticker(SYMBOL)
    seen["ticker"] = [ticker["symbol"], ticker["bid"]]
    return float(book["bids"][0][0])


async def trade(exchange: Any, bid: float) -> dict[str, Any]:
    seen: dict[str, Any] = {"version": ccxt.__version__}
    seen["balance"] = (await exchange.fetch_balance())["BTC"]["total"]
    orders = asyncio.ensure_future(exchange.watch_orders(SYMBOL))
    trades = asyncio.ensure_future(exchange.watch_trades(SYMBOL))
    await asyncio.sleep(0.5)  # both must be subscribed before the order is sent
    price = float(exchange.price_to_precision(SYMBOL, bid * 0.99))
    placed = await exchange.create_order(SYMBOL, "limit", "buy", 100, price, {"postOnly": True})
    seen["placed"] = [placed["status"], placed["amount"]]
    seen["told"] = (await orders)[-1]["status"]
    edited = await exchange.edit_order(placed["id"], SYMBOL, "limit", "buy", 200, price)
    seen["edited"] = [edited["id"] == placed["id"], edited["amount"]]
    seen["open"] = len(await exchange.fetch_open_orders(SYMBOL))
    seen["cancelled"] = (await exchange.cancel_order(placed["id"], SYMBOL))["status"]
    seen["left"] = len(await exchange.fetch_open_orders(SYMBOL))
    await exchange.create_order(SYMBOL, "market", "buy", 50)
    seen["trade"] = (await trades)[-1]["symbol"]
    fills = await exchange.fetch_my_trades(SYMBOL)
    seen["filled"] = [sum(fill["amount"] for fill in fills), all(fill["fee"]["cost"] >= 0 for fill in fills)]
    seen["position"] = [[one["symbol"], one["side"]] for one in await exchange.fetch_positions([SYMBOL])]
    return seen


async def refused(exchange: Any, price: float) -> list[str]:
    """What is raised for an order that is too large for the account, one that is not there, and a wrong secret."""
    names = []

    async def note(request: Any) -> None:
        try:
            await request
        except Exception as error:
            names.append(type(error).__name__)

    await note(exchange.create_order(SYMBOL, "limit", "buy", 900_000_000, price))
    await note(exchange.cancel_order("BTC-0", SYMBOL))
    exchange.secret = "wrong"
    await note(exchange.fetch_balance())
    return names


async def main(address: str, key: str, secret: str) -> None:
    exchange = ccxt.pro.deribit({"apiKey": key, "secret": secret, "enableRateLimit": False})
    exchange.urls["api"] = moved(exchange.urls["api"], address, f"http://{address}")
    seen: dict[str, Any] = {}
    try:
        bid = await follow(exchange, seen)
        seen |= await trade(exchange, bid)
        seen["refused"] = await refused(exchange, bid)
    finally:
        await exchange.close()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
