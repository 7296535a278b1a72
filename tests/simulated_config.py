"""The configuration of a simulated world: three accounts, a desk, a firm, the house's own terms."""

CONFIG = """
[gateway]
name = "simulated"
journal_directory = "{directory}"
journal_segment_mib = 1
[fix]
listen_port = 9880
sender_comp_id = "MARGINGATE"
[[fix.session]]
target_comp_id = "ALPHA"
accounts = ["alpha"]
cancel_on_disconnect = {cancel_on_disconnect}
[[fix.session]]
target_comp_id = "BETA"
accounts = ["beta", "gamma"]
cancel_on_disconnect_grace_ms = {grace_ms}
throttle_messages = {throttle_messages}
throttle_interval_ms = 200
throttle_answer = "{throttle_answer}"
throttle_queue = 5
[[fix.session]]
target_comp_id = "RISK"
accounts = ["alpha", "gamma"]
kind = "drop_copy"
[[account]]
name = "alpha"
desk = "basis"
deposits = {{ BTC = "2", USDC = "100000" }}
sub_account = [{{ venue = "deribit", model = "{model}" }}]
[account.limits]
max_order_notional_usd = 200000
max_orders_per_second = 50
order_burst = 20
max_working_orders = 12
instrument = [{{ pattern = "*", max_order_quantity = 100000, max_position_quantity = 200000 }}]
[[account]]
name = "beta"
desk = "basis"
deposits = {{ ETH = "30" }}
[account.limits]
max_order_notional_usd = 400000
[[account.limits.instrument]]
pattern = "BTC*"
max_order_quantity = 200000
max_position_quantity = 300000
[[account.limits.instrument]]
pattern = "ETH*"
max_order_quantity = 100000
max_position_quantity = 200000
[[account]]
name = "gamma"
profiles = ["jp_individual"]
deposits = {{ USDC = "30000" }}
[account.limits]
max_order_notional_usd = 100000
instrument = [
    {{ pattern = "*USDC*", max_order_quantity = 2, max_position_quantity = 3 }},
    {{ pattern = "BTC*USDT*", max_order_quantity = 2, max_position_quantity = 3 }},
    {{ pattern = "ETH*USDT*", max_order_quantity = 6, max_position_quantity = 20 }},
    {{ pattern = "BTC-USD-SWAP", max_order_quantity = 20000, max_position_quantity = 40000 }},
]
[[desk]]
name = "basis"
firm = "house"
[desk.limits]
max_working_orders = {desk_orders}
max_gross_notional_usd = {gross}
max_net_notional_usd = 600000
max_margin_usd = {margin}
instrument = [{{ pattern = "*", max_position_quantity = 250000 }}]
[[firm]]
name = "house"
[firm.limits]
max_gross_notional_usd = 850000
[house]
offset_cap = {offset_cap}
[[house.volume]]
underlying = "BTC"
adv_usd = 2e7
daily_vol = 0.03
half_spread = 0.0002
[[house.volume]]
underlying = "ETH"
adv_usd = 1e7
daily_vol = 0.04
half_spread = 0.0003
[stress]
spike_spot_moves = [-0.2, 0.2]
peg_moves = [-0.05, 0.02]
default_moves = [-0.1, 0.1]
default_loss = 0.5
at_venue = 0.1
funding_rate = 0.0075
[reconciliation]
venue_interval_s = 1
[market]
mark_max_age_ms = 2000
generation_interval_ms = 250
[[venue]]
name = "deribit"
kind = "deribit"
url = "ws://127.0.0.1:1/ws/api/v2"
currencies = ["BTC", "ETH", "USDC"]
instruments = ["*-PERPETUAL"]
credentials_env = "SIMULATED"
stop_trigger = "{stop_trigger}"
"""
