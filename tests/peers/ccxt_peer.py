"""ccxt as a client of a simulated Binance: a program of its own, in an environment of its own.

``python ccxt_peer.py HOST:PORT KEY SECRET`` does what a trading program does, and prints one JSON object of what it
saw. Nothing of ccxt is changed but the scheme, host and port of every address that it knows.
"""

import asyncio
import json
import re
import sys
from typing import Any

import ccxt.pro
import loopback  # noqa: F401  refuses every other host

SYMBOL = "BTC/USDT:USDT"


def moved(urls: Any, address: str) -> Any:
    """Every address, at whatever depth, with another scheme, host and port."""
    if isinstance(urls, dict):
        return {name: moved(url, address) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    scheme = "ws" if urls.startswith("ws") else "http"
    return re.sub(r"^[a-z]+://[^/]+", f"{scheme}://{address}", urls)


def code_of(error: Exception) -> int:
    """The venue's code in an error's text."""
    found = re.search(r'"code":(-?\d+)', str(error))
    return int(found[1]) if found else 0


async def trade(exchange: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {"version": ccxt.__version__}
    markets = await exchange.load_markets()
    seen["markets"] = sorted(markets)
    seen["limits"] = markets[SYMBOL]["precision"]
    book = await exchange.watch_order_book(SYMBOL)
    for _ in range(5):
        book = await exchange.watch_order_book(SYMBOL)
    seen["top"] = [book["bids"][0][0], book["asks"][0][0]]
    seen["ticker"] = (await exchange.watch_ticker(SYMBOL))["last"]
    seen["mark"] = (await exchange.watch_mark_price(SYMBOL))["markPrice"]
    seen["balance"] = (await exchange.fetch_balance())["USDT"]["total"]
    orders = asyncio.ensure_future(exchange.watch_orders(SYMBOL))
    await asyncio.sleep(0.5)  # the user stream must stand before the order is sent
    price = exchange.price_to_precision(SYMBOL, book["bids"][0][0] * 0.99)
    placed = await exchange.create_order(SYMBOL, "limit", "buy", 0.01, float(price), {"postOnly": True})
    seen["placed"] = [placed["status"], placed["price"]]
    seen["told"] = [(await orders)[-1]["status"]]
    price = exchange.price_to_precision(SYMBOL, book["bids"][0][0] * 0.985)
    edited = await exchange.edit_order(placed["id"], SYMBOL, "limit", "buy", 0.02, float(price))
    seen["edited"] = [edited["id"] == placed["id"], edited["amount"]]
    seen["open"] = len(await exchange.fetch_open_orders(SYMBOL))
    cancelled = await exchange.cancel_order(placed["id"], SYMBOL)
    seen["cancelled"] = cancelled["status"]
    trades = asyncio.ensure_future(exchange.watch_trades(SYMBOL))
    await asyncio.sleep(0.3)
    over_socket = await exchange.create_order_ws(SYMBOL, "market", "buy", 0.05)
    seen["by_socket"] = over_socket["symbol"]
    seen["trade"] = (await trades)[-1]["symbol"]
    seen["my_trades"] = len(await exchange.fetch_my_trades(SYMBOL))
    positions = await exchange.fetch_positions([SYMBOL])
    seen["position"] = [positions[0]["contracts"], positions[0]["side"]]
    resting = await exchange.create_order_ws(SYMBOL, "limit", "sell", 0.02, book["asks"][0][0] * 1.01 // 1)
    seen["cancelled_by_socket"] = (await exchange.cancel_order_ws(resting["id"], SYMBOL))["status"]
    try:
        await exchange.create_order(SYMBOL, "limit", "buy", 0.01, 1.0)
    except ccxt.ExchangeError as error:
        seen["refused"] = code_of(error)
    try:
        await exchange.create_order(SYMBOL, "market", "buy", 900.0)
    except ccxt.ExchangeError as error:
        seen["too_large"] = code_of(error)
    seen["candles"] = len(await exchange.fetch_ohlcv(SYMBOL, "1m"))
    seen["leverage"] = (await exchange.set_leverage(10, SYMBOL))["leverage"]
    seen["funding"] = (await exchange.fetch_funding_rate(SYMBOL))["symbol"]
    return seen


async def main(address: str, key: str, secret: str) -> None:
    exchange = ccxt.pro.binanceusdm({"apiKey": key, "secret": secret, "enableRateLimit": False})
    exchange.urls["api"] = moved(exchange.urls["api"], address)
    try:
        seen = await asyncio.wait_for(trade(exchange), 40)
    finally:
        await exchange.close()
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
