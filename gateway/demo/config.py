"""The configuration that the demo runs the gateway with: accounts of different means, limits that bite now and then."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.admin.tokens import token_hash

CREDENTIALS_PREFIX: Final = "MARGINGATE_DEMO"
SENDER_COMP_ID: Final = "MARGINGATE"
DEMO_CREDENTIALS: Final = {"CLIENT_ID": "demo-key", "CLIENT_SECRET": "demo-secret", "PASSPHRASE": "demo-passphrase"}
DERIBIT: Final = "deribit"


class DemoVenue(msgspec.Struct, frozen=True):
    """One simulated venue: `simulator` is what fixtures.venues.run calls it, `suffix` what our symbols have more.

    `budgets`: it is run with limits that never bite, as a market maker's account would have.
    """

    name: str
    kind: str
    simulator: str
    instruments: tuple[str, ...]
    suffix: str = ""
    products: tuple[str, ...] = ()
    budgets: tuple[tuple[str, int], ...] = ()


VENUES: Final = (
    DemoVenue("sim-deribit", DERIBIT, "deribit", ("BTC-*", "ETH-*", "*_USDC-PERPETUAL")),
    DemoVenue("sim-binance", "binance-usdm", "binance", ("BTCUSDT", "ETHUSDT"),
              budgets=(("orders_10s", 100_000), ("orders_1m", 500_000))),
    DemoVenue("sim-okx", "okx", "okx", ("BTC-*-SWAP", "ETH-*-SWAP"), products=("SWAP",),
              budgets=(("place", 10_000), ("amend", 10_000), ("cancel", 10_000), ("query", 1_000))),
    DemoVenue("sim-bybit", "bybit", "bybit", ("BTCUSDT", "ETHUSDT"), suffix=".BYBIT",
              budgets=(("create", 5_000), ("amend", 5_000), ("cancel", 5_000))),
)  # fmt: skip


class Desk(msgspec.Struct, frozen=True):
    """One client: its CompID, the account that it trades and one with little collateral."""

    comp_id: str
    account: str
    deposits: str
    small_account: str


# Means differ: in coin (which falls with the market that it covers), in dollars, and in both.
_PROFILES: Final = (
    ("FUND", '{ BTC = "0.5", USDC = "20000" }'),
    ("QUANT", '{ USDC = "20000", USDT = "10000" }'),
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

[market]
# The simulated Deribit's own band is 1.5 %.
collar_fraction = "0.01"

[monitor]
report_interval_ms = 250

[admin]
tokens_file = "{tokens}"
"""

TOKENS_FILE: Final = "tokens.toml"

_DERIBIT: Final = """
[[venue]]
name = "{name}"
kind = "deribit"
url = "{address}"
credentials_env = "{prefix}_DERIBIT"
currencies = ["BTC", "ETH", "USDC"]
instruments = {instruments}
requests_per_second = 10000
request_burst = 10000
"""

_OTHER: Final = """
[[venue]]
name = "{name}"
kind = "{kind}"
url = "ws://{address}"
rest_url = "http://{address}"
credentials_env = "{prefix}"
currencies = ["BTC", "ETH", "USDT"]
instruments = {instruments}
symbol_suffix = "{suffix}"
products = {products}
budgets = {{ {budgets} }}
"""

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

# In coins, as their venues count; inverse swaps in dollars, as below.
[[account.limits.instrument]]
pattern = "*USDT*"
max_order_quantity = "1000"
max_position_quantity = "2000"

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


def credentials() -> dict[str, str]:
    """Return the environment that the gateway takes the simulated venues' keys from; they open nothing else."""
    common = {f"{CREDENTIALS_PREFIX}_{name}": value for name, value in DEMO_CREDENTIALS.items()}
    own = {f"{CREDENTIALS_PREFIX}_DERIBIT_{name}": "demo" for name in ("CLIENT_ID", "CLIENT_SECRET")}
    return common | own


def _venue_table(venue: DemoVenue, address: str) -> str:
    template = _DERIBIT if venue.kind == DERIBIT else _OTHER
    return template.format(
        name=venue.name,
        kind=venue.kind,
        address=address,
        prefix=CREDENTIALS_PREFIX,
        instruments=_texts(venue.instruments),
        suffix=venue.suffix,
        products=_texts(venue.products),
        budgets=", ".join(f"{name} = {limit}" for name, limit in venue.budgets),
    )


def _texts(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def write_config(directory: Path, *, port: int, addresses: Mapping[str, str], clients: list[Desk], rate: float) -> Path:
    """Write demo.toml into a directory, with rate limits that leave the clients' pace room; return its path.

    `addresses` are by the venue's name: Deribit's WebSocket, and host:port of the others.
    """
    parts = [
        _HEAD.format(port=port, sender=SENDER_COMP_ID, tokens=TOKENS_FILE),
        *(_venue_table(venue, addresses[venue.name]) for venue in VENUES),
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


def write_scenario_config(directory: Path, *, port: int, addresses: Mapping[str, str], parties: str) -> Path:
    """Write demo.toml of a scenario, whose sessions and accounts are `parties`; return its path."""
    # A market that falls by a fiftieth a second leaves an ordinary collar behind between two marks.
    head = _HEAD.format(port=port, sender=SENDER_COMP_ID, tokens=TOKENS_FILE)
    venues = (_venue_table(venue, addresses[venue.name]) for venue in VENUES)
    path = directory / "demo.toml"
    path.write_text("".join([head, *venues, parties]))
    return path


def write_token(directory: Path) -> str:
    """Write the file of tokens of the operator's page, of one risk manager; return his token."""
    token = secrets.token_urlsafe(16)
    path = directory / TOKENS_FILE
    path.touch(mode=0o600)
    path.write_text(f'[[token]]\nperson = "you"\nrole = "risk_manager"\nsha256 = "{token_hash(token).hex()}"\n')
    return token
