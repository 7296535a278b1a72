"""OKX's own Python client against a simulated OKX: a program of its own, in an environment of its own.

``python python_okx_peer.py HOST:PORT KEY SECRET PASSPHRASE`` prints one JSON object of what it saw. It is told another
domain and nothing else; its WebSocket client knows TLS only, so REST is what it does here.
"""

import json
import sys
from typing import Any

import loopback  # noqa: F401  refuses every other host
from loguru import logger
from okx.Account import AccountAPI
from okx.MarketData import MarketAPI
from okx.PublicData import PublicAPI
from okx.Trade import TradeAPI

NAME = "BTC-USDT-SWAP"


def trade(address: str, *credentials: str) -> dict[str, Any]:
    named: dict[str, Any] = {"flag": "1", "domain": f"http://{address}", "debug": False}
    market, public = MarketAPI(**named), PublicAPI(**named)
    account, orders = AccountAPI(*credentials, **named), TradeAPI(*credentials, **named)
    seen: dict[str, Any] = {"time": int(public.get_system_time()["data"][0]["ts"])}
    seen["instruments"] = len(public.get_instruments(instType="SWAP")["data"])
    best = market.get_orderbook(instId=NAME, sz="5")["data"][0]
    seen["levels"] = [len(best["bids"]), len(best["asks"])]
    seen["mode"] = account.get_account_config()["data"][0]["posMode"]
    seen["equity"] = float(account.get_account_balance()["data"][0]["totalEq"])
    price = str(round(float(best["bids"][0][0]) * 0.99, 1))
    placed = orders.place_order(NAME, "cross", "buy", "limit", "1", px=price, clOrdId="peer1")["data"][0]
    seen["placed"] = placed["sCode"]
    again = orders.place_order(NAME, "cross", "buy", "limit", "1", px=price, clOrdId="peer1")
    seen["again"] = [again["code"], again["data"][0]["sCode"]]
    seen["amended"] = orders.amend_order(NAME, clOrdId="peer1", newSz="2")["data"][0]["sCode"]
    seen["working"] = [order["sz"] for order in orders.get_order_list(instType="SWAP")["data"]]
    seen["cancelled"] = orders.cancel_order(NAME, clOrdId="peer1")["data"][0]["sCode"]
    seen["state"] = orders.get_order(NAME, clOrdId="peer1")["data"][0]["state"]
    orders.place_order(NAME, "cross", "sell", "market", "3")
    seen["fills"] = sum(float(fill["fillSz"]) for fill in orders.get_fills(instType="SWAP")["data"])
    seen["position"] = [row["pos"] for row in account.get_positions()["data"]]
    return seen


if __name__ == "__main__":
    logger.remove()
    sys.stdout.write(json.dumps(trade(*sys.argv[1:])))
