"""The configuration that all figures are taken with, and the orders that are sent."""

from __future__ import annotations

from typing import Final

from tests.bench.client import SENDER, TARGET

# A buy of LARGE (USD) is far above what POOR has in margin; one of SMALL is nothing to RICH.
POOR: Final = "POOR"
RICH: Final = "RICH"
LARGE: Final = "100000"
SMALL: Final = "10"
PRICE: Final = "59990.5"
HOOK_CLIENT: Final = "bench"
HOOK_SOCKET: Final = "hook.sock"
# Who only asks what an order would do, in FIX 5.0 SP2.
ASKER: Final = "ASKER"
# No rate limit may be what is measured.
MOST: Final = 1_000_000

_CONFIG: Final = """
[gateway]
name = "bench"
journal_directory = "journal"

[fix]
listen_port = {fix_port}
sender_comp_id = "{target}"
heart_bt_int_s = 3600

[[fix.session]]
target_comp_id = "{sender}"
accounts = ["POOR", "RICH"]
cancel_on_disconnect = false

[[fix.session]]
target_comp_id = "{asker}"
begin_string = "FIXT.1.1"
accounts = ["RICH"]

[[account]]
name = "POOR"
deposits = {{ USDC = "1" }}
{limits}

[[account]]
name = "RICH"
deposits = {{ BTC = "1000000" }}
{limits}

[market]
mark_max_age_ms = 60000
generation_max_age_ms = 600000

[[venue]]
name = "deribit-bench"
kind = "deribit"
url = "ws://127.0.0.1:{venue_port}/ws/api/v2"
credentials_env = "MARGINGATE_BENCH"
currencies = ["BTC", "ETH"]
instruments = ["BTC-PERPETUAL", "ETH-PERPETUAL"]
heartbeat_s = 600
requests_per_second = {most}
request_burst = {most}

[hook]
socket_path = "{hook_socket}"
[[hook.client]]
name = "{hook_client}"
accounts = ["POOR", "RICH"]
authentication = "peer"
"""
_LIMITS: Final = """
[account.limits]
max_order_notional_usd = "2000000"
max_orders_per_second = {most}
order_burst = {most}
max_working_orders = 100000
[[account.limits.instrument]]
pattern = "*"
max_order_quantity = "1000000"
max_position_quantity = "1000000000"
"""


def config_text(fix_port: int, venue_port: int) -> str:
    """Return the gateway's configuration for these ports."""
    return _CONFIG.format(
        fix_port=fix_port,
        venue_port=venue_port,
        sender=SENDER,
        asker=ASKER,
        target=TARGET,
        most=MOST,
        hook_socket=HOOK_SOCKET,
        hook_client=HOOK_CLIENT,
        limits=_LIMITS.format(most=MOST),
    )
