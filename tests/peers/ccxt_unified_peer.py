"""ccxt as a client of a simulated OKX or Bybit: a program of its own, in an environment of its own.

``python ccxt_unified_peer.py HOST:PORT okx|bybit KEY SECRET [PASSPHRASE]`` does what a trading program does, and prints
one JSON object of what it saw. Nothing of ccxt is changed but the scheme, host and port of its addresses.
"""

import asyncio
import json
import re
import sys
from typing import Any

import ccxt.pro
import loopback  # noqa: F401  refuses every other host

SYMBOL = "BTC/USDT:USDT"


def moved(urls: Any, address: str, root: str) -> Any:
    """Every address, at whatever depth, with another scheme, host and port."""
    if isinstance(urls, dict):
        return {name: moved(url, address, root) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    scheme = "ws" if urls.startswith("ws") else "http"
    return re.sub(r"^[a-z]+://[^/]+", f"{scheme}://{address}", urls) or root


async def follow(exchange: Any, seen: dict[str, Any]) -> float:
    """Public data; returns the best bid."""
    markets = await exchange.load_markets()
    seen["markets"] = sorted({market["type"] for market in markets.values()})
    seen["has"] = SYMBOL in markets
    book = await exchange.watch_order_book(SYMBOL)
    for _ in range(5):
        book = await exchange.watch_order_book(SYMBOL)
    seen["top"] = [book["bids"][0][0], book["asks"][0][0]]
    seen["ticker"] = (await exchange.watch_ticker(SYMBOL))["last"]
    seen["trade"] = (await exchange.watch_trades(SYMBOL))[-1]["symbol"]
    seen["candle"] = len((await exchange.watch_ohlcv(SYMBOL))[0])
    seen["candles"] = len(await exchange.fetch_ohlcv(SYMBOL, "1m"))
    seen["funding"] = (await exchange.fetch_funding_rate(SYMBOL))["symbol"]
    option = next(name for name, market in markets.items() if market["option"] and market["strike"])
    seen["delta"] = abs((await exchange.fetch_greeks(option))["delta"])
    return float(book["bids"][0][0])


async def trade(exchange: Any, size: float, bid: float) -> dict[str, Any]:
    seen: dict[str, Any] = {"version": ccxt.__version__}
    seen["balance"] = (await exchange.fetch_balance())["USDT"]["total"]
    orders = asyncio.ensure_future(exchange.watch_orders(SYMBOL))
    await asyncio.sleep(0.5)  # the private lane must stand before the order is sent
    price = float(exchange.price_to_precision(SYMBOL, bid * 0.99))
    placed = await exchange.create_order(SYMBOL, "limit", "buy", size, price, {"postOnly": True})
    seen["told"] = [order["status"] for order in await orders]
    edited = await exchange.edit_order(placed["id"], SYMBOL, "limit", "buy", 2 * size, price)
    working = await exchange.fetch_open_orders(SYMBOL)
    seen["edited"] = [edited["id"] == placed["id"], [order["amount"] == 2 * size for order in working]]
    await exchange.cancel_order(placed["id"], SYMBOL)
    seen["open"] = len(await exchange.fetch_open_orders(SYMBOL))
    by_socket = await exchange.create_order_ws(SYMBOL, "limit", "buy", size, price)
    await exchange.edit_order_ws(by_socket["id"], SYMBOL, "limit", "buy", 2 * size, price)
    gone = await exchange.cancel_order_ws(by_socket["id"], SYMBOL)
    seen["by_socket"] = gone["id"] == by_socket["id"]
    await exchange.create_order(SYMBOL, "market", "buy", size)
    fills = await exchange.fetch_my_trades(SYMBOL)
    seen["filled"] = [sum(fill["amount"] for fill in fills), all(fill["fee"]["cost"] > 0 for fill in fills)]
    positions = [one for one in await exchange.fetch_positions() if one["contracts"]]
    seen["position"] = [[one["symbol"], one["contracts"], one["side"]] for one in positions]
    seen["cancelled"] = {order["status"] for order in await exchange.fetch_canceled_orders(SYMBOL)} == {"canceled"}
    return seen


async def refused(exchange: Any, size: float, price: float) -> list[str]:
    """What is raised for an order that is too large for the account, one that is not there, and a wrong secret."""
    names = []

    async def note(request: Any) -> None:
        try:
            await request
        except Exception as error:
            names.append(type(error).__name__)

    await note(exchange.create_order(SYMBOL, "limit", "buy", 100_000 * size, price))
    await note(exchange.cancel_order("00000000", SYMBOL))
    exchange.secret = "wrong"
    await note(exchange.fetch_balance())
    return names


async def main(address: str, name: str, key: str, secret: str, passphrase: str = "") -> None:
    exchange = getattr(ccxt.pro, name)(
        {"apiKey": key, "secret": secret, "password": passphrase, "enableRateLimit": False}
    )
    exchange.urls["api"] = moved(exchange.urls["api"], address, f"http://{address}")
    size = 1.0 if name == "okx" else 0.01
    seen: dict[str, Any] = {}
    try:
        bid = await follow(exchange, seen)
        seen |= await trade(exchange, size, bid)
        seen["refused"] = await refused(exchange, size, bid)
    finally:
        await exchange.close()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
