"""The configuration that the demo runs the gateway with: accounts of different means, limits that bite now and then."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec

from gateway.admin.tokens import token_hash

CREDENTIALS_PREFIX: Final = "MARGINGATE_DEMO"
SENDER_COMP_ID: Final = "MARGINGATE"
VENUE: Final = "sim-deribit"


class Desk(msgspec.Struct, frozen=True):
    """One client: its CompID, the account that it trades and one with little collateral."""

    comp_id: str
    account: str
    deposits: str
    small_account: str


# Means differ: in coin (which falls with the market that it covers), in dollars, and in both.
_PROFILES: Final = (
    ("FUND", '{ BTC = "0.5", USDC = "20000" }'),
    ("QUANT", '{ USDC = "30000" }'),
    ("MAKER", '{ BTC = "0.1", ETH = "5", USDC = "15000" }'),
)
_SMALL_DEPOSITS: Final = '{ USDC = "1500" }'

_HEAD: Final = """\
[gateway]
name = "demo"
journal_directory = "journal"
journal_segment_mib = 16

[fix]
listen_port = {port}
sender_comp_id = "{sender}"

[[venue]]
name = "{venue}"
kind = "deribit"
url = "{url}"
credentials_env = "{prefix}"
currencies = ["BTC", "ETH", "USDC"]
instruments = ["BTC-*", "ETH-*", "*_USDC-PERPETUAL"]
requests_per_second = 10000
request_burst = 10000

[market]
# The simulated venue's own band is 1.5 %.
collar_fraction = "0.01"

[monitor]
report_interval_ms = 250

[admin]
tokens_file = "{tokens}"
"""

TOKENS_FILE: Final = "tokens.toml"

_SESSION: Final = """
[[fix.session]]
target_comp_id = "{comp_id}"
accounts = ["{account}", "{small_account}"]
"""

_ACCOUNT: Final = """
[[account]]
name = "{name}"
deposits = {deposits}

[account.limits]
max_order_notional_usd = "{notional}"
max_orders_per_second = {rate}
order_burst = {burst}
max_working_orders = 50

[[account.limits.instrument]]
pattern = "*-PERPETUAL"
max_order_quantity = "10000000"
max_position_quantity = "20000000"

# Options by coin, futures by dollar: the first pattern that fits decides.
[[account.limits.instrument]]
pattern = "*-[CP]"
max_order_quantity = "500"
max_position_quantity = "1000"

[[account.limits.instrument]]
pattern = "*"
max_order_quantity = "200000"
max_position_quantity = "150000"
"""


def desks(count: int) -> list[Desk]:
    """Return the clients of a demo, numbered from 1."""
    return [
        Desk(
            comp_id=f"DESK-{number}",
            account=f"{_PROFILES[(number - 1) % len(_PROFILES)][0]}-{number}",
            deposits=_PROFILES[(number - 1) % len(_PROFILES)][1],
            small_account=f"SMALL-{number}",
        )
        for number in range(1, count + 1)
    ]


def write_config(directory: Path, *, port: int, venue_url: str, clients: list[Desk], rate: float) -> Path:
    """Write demo.toml into a directory, with rate limits that leave the clients' pace room; return its path."""
    parts = [
        _HEAD.format(
            port=port,
            sender=SENDER_COMP_ID,
            venue=VENUE,
            url=venue_url,
            prefix=CREDENTIALS_PREFIX,
            tokens=TOKENS_FILE,
        ),
        *(_SESSION.format(comp_id=d.comp_id, account=d.account, small_account=d.small_account) for d in clients),
    ]
    for desk in clients:
        pace = max(20, int(rate))
        parts.append(
            _ACCOUNT.format(name=desk.account, deposits=desk.deposits, notional=250_000, rate=4 * pace, burst=4 * pace)
        )
        parts.append(
            _ACCOUNT.format(
                name=desk.small_account, deposits=_SMALL_DEPOSITS, notional=100_000, rate=max(10, pace // 4), burst=8
            )
        )
    path = directory / "demo.toml"
    path.write_text("".join(parts))
    return path


def write_token(directory: Path) -> str:
    """Write the file of tokens of the operator's page, of one risk manager; return his token."""
    token = secrets.token_urlsafe(16)
    path = directory / TOKENS_FILE
    path.touch(mode=0o600)
    path.write_text(f'[[token]]\nperson = "you"\nrole = "risk_manager"\nsha256 = "{token_hash(token).hex()}"\n')
    return token
