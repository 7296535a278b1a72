"""A scenario as the demo reads it: who is there with what, how margin is called for, and how it should end.

The file is one of fixtures/scenarios, of which venues and clients read the rest: prices, failures, what is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gateway.demo.children import ROOT

DIRECTORY: Final = ROOT / "fixtures" / "scenarios"
NAMES: Final = ("calm", "selloff", "flash-crash", "venue-outage", "depeg")

Bounds = tuple[int, int]
Points = list[tuple[float, float]]


class Holding(msgspec.Struct, frozen=True):
    """What an account opens with: so many USD of a contract, negative for short."""

    symbol: str
    usd: float


class Party(msgspec.Struct, frozen=True):
    """An account. `called`: whether margin must have been called for, or must not; `ends`: one of ENDS."""

    name: str
    deposits: dict[str, str]
    holds: tuple[Holding, ...] = ()
    called: bool = False
    ends: str = "healthy"


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must have happened: from how many to how many; None: whatever did."""

    calls_issued: Bounds | None = None
    calls_met: Bounds | None = None
    calls_expired: Bounds | None = None
    transfers_begun: Bounds | None = None
    conversions: Bounds | None = None
    reductions: Bounds | None = None
    doubted: Bounds | None = None
    stale_venues: tuple[str, ...] = ()


class Shape(msgspec.Struct, frozen=True):
    """Factors of the coins' prices by time, as shares of the scenario's length."""

    btc: Points = []
    eth: Points = []

    def factor(self, coin: str, share: float) -> float:
        """Return what a coin is worth at a time, as a factor of what it was at first."""
        return _even(self.btc if coin.upper() == "BTC" else self.eth, share)


class Scenario(msgspec.Struct, frozen=True):
    """All of it that concerns the demo."""

    title: str
    seconds: float
    shape: Shape
    account: tuple[Party, ...]
    expected: Expected = Expected()


def path_of(name: str) -> Path:
    """Return the file of a scenario."""
    return DIRECTORY / f"{name}.toml"


def read_scenario(name: str) -> Scenario:
    """Return a scenario of ours. Raises ValueError naming what is wrong with its file."""
    try:
        return msgspec.toml.decode(path_of(name).read_bytes(), type=Scenario)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{name}.toml: {error}") from None


# A session and an account for each, limits that are no part of the story.
_PARTY: Final = """
[[fix.session]]
target_comp_id = "{name}"
accounts = ["{name}"]

[[account]]
name = "{name}"
deposits = {deposits}
[account.limits]
max_order_notional_usd = 250000
max_orders_per_second = 200
order_burst = 200
[[account.limits.instrument]]
pattern = "*"
max_order_quantity = 1000000
max_position_quantity = 2000000
"""

# Periods of hours and minutes are seconds here: a cure is a quarter of a scenario, and so is the grace after it.
_MARGIN_CALLS: Final = """
[margin_calls]
settlement_timeout_s = 30
resume_period_s = 0
[[margin_calls.profile]]
name = "demo"
accounts = [{names}]
minimum_transfer_usd = 250
rounding_usd = 50
cure_period_s = {cure_s}
dispute_period_s = {cure_s}
grace_period_s = 1
"""


# Who is short is reduced in rounds, with guards of markets up; the house takes over what can not be reduced.
_HOUSE: Final = """
[adjust]
round_ms = 400
participation = "0.25"
house_account = "HOUSE"

[guard]

[[account]]
name = "HOUSE"
deposits = { USDC = "2000000" }
[account.limits]
max_order_notional_usd = 2000000
[[account.limits.instrument]]
pattern = "*"
max_order_quantity = 10000000
max_position_quantity = 20000000
"""


def parties_text(scenario: Scenario, length_s: float) -> str:
    """Return the tables of sessions, accounts and margin calls of a configuration."""
    parties = [
        _PARTY.format(
            name=party.name,
            deposits="{ " + ", ".join(f'{asset} = "{amount}"' for asset, amount in party.deposits.items()) + " }",
        )
        for party in scenario.account
    ]
    names = ", ".join(f'"{party.name}"' for party in scenario.account)
    return "".join(parties) + _MARGIN_CALLS.format(cure_s=max(1, round(length_s / 5)), names=names) + _HOUSE


def _even(points: Sequence[tuple[float, float]], at: float) -> float:
    """Return the value at a time, even between two points."""
    before = points[0] if points else (0.0, 1.0)
    for point in points:
        if at < point[0]:
            share = (at - before[0]) / (point[0] - before[0])
            return before[1] + share * (point[1] - before[1])
        before = point
    return before[1]
