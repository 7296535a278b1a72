"""The accounts of a storm, from a seed: what each has, holds, and does when it is called for margin."""

from __future__ import annotations

from math import exp, log
from random import Random
from typing import Final

import msgspec

from gateway.storm.venue import LOTS

HOUSE: Final = "house"
HOUSE_CASH: Final = 1_000_000_000
# Of equity at the start. The house's own grid asks for about a sixth of what is held: more than six can not be opened.
MOST_LEVERAGE: Final = 5.0
LEAST_LEVERAGE: Final = 0.5
LEAST_CASH, MOST_CASH = 10_000, 2_000_000
# Who is of which kind, of a hundred: direction of BTC and of ETH.
KINDS: Final = (
    ("long", 45, 1, 1), ("long BTC", 20, 1, 0), ("short", 10, -1, -1), ("pair", 15, 1, -1), ("long ETH", 10, 0, 1),
)  # fmt: skip
# Of a hundred clients so many pay what they are called for, so many a part; the others nothing.
PAYS_ALL, PAYS_PART = 60, 20


class Client(msgspec.Struct, frozen=True):
    """`lots` by coin, signed; a payment takes `delay_s`, is this share of a call, and all of them at most `reserve`."""

    name: str
    kind: str
    cash: int
    lots: dict[str, int]
    share: float
    delay_s: int
    reserve: float


def clients_of(seed: int, count: int, prices: dict[str, float]) -> list[Client]:
    """Return so many clients with their positions at these prices."""
    return [_client(Random(f"storm:{seed}:{number}"), f"c{number:04}", prices) for number in range(count)]


def _client(random: Random, name: str, prices: dict[str, float]) -> Client:
    kind, _, *directions = random.choices(KINDS, [share for _, share, *_ in KINDS])[0]
    cash = int(_between(random, LEAST_CASH, MOST_CASH))
    gross = cash * _between(random, LEAST_LEVERAGE, MOST_LEVERAGE)
    weights = {coin: sign * random.uniform(0.3, 1.0) for coin, sign in zip(prices, directions, strict=True)}
    total = sum(abs(weight) for weight in weights.values())
    worth = {coin: prices[coin] * float(LOTS[coin]) for coin in weights}
    lots = {coin: int(gross * weight / total / worth[coin]) for coin, weight in weights.items() if weight}
    pays = random.randrange(100)
    share = 1.0 if pays < PAYS_ALL else random.uniform(0.2, 0.7) if pays < PAYS_ALL + PAYS_PART else 0.0
    return Client(name, kind, cash, lots, share, random.randrange(60, 1_500), cash * random.uniform(0.1, 1.0))


def _between(random: Random, low: float, high: float) -> float:
    return exp(random.uniform(log(low), log(high)))


def configuration_of(clients: list[Client], turn_ms: int) -> str:
    """Return the configuration of a gateway with these accounts."""
    accounts = "".join(_account(client.name, client.cash) for client in clients) + _account(HOUSE, HOUSE_CASH)
    names = ", ".join(f'"{client.name}"' for client in clients)
    return f"""
[gateway]
name = "storm"
journal_directory = "journal"
[fix]
listen_port = 9880
sender_comp_id = "MARGINGATE"
[[fix.session]]
target_comp_id = "STORM"
accounts = [{names}]
{accounts}
[market]
mark_max_age_ms = 60000
generation_max_age_ms = 120000
[[venue]]
name = "deribit"
kind = "deribit"
url = "ws://127.0.0.1:1/ws/api/v2"
currencies = ["USDC"]
instruments = ["*-PERPETUAL"]
credentials_env = "STORM"
[margin_calls]
settlement_timeout_s = 3600
resume_period_s = 0
[[margin_calls.profile]]
name = "clients"
accounts = ["c*"]
cure_period_s = 1800
grace_period_s = 300
[adjust]
house_account = "{HOUSE}"
round_ms = {turn_ms}
max_notional_per_s_usd = 50000000
"""


def _account(name: str, cash: int) -> str:
    return f"""
[[account]]
name = "{name}"
deposits = {{ USDC = "{cash}" }}
[account.limits]
max_order_notional_usd = 1000000000
max_working_orders = 100
instrument = [{{ pattern = "*", max_order_quantity = 1000000, max_position_quantity = 100000000 }}]
"""
