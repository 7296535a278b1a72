"""What a Bybit v5 session decides by table.

Sources: bybit-exchange.github.io/docs/v5 (websocket connect, trade guideline, public and private topics, rate limits,
disconnection protection, error codes), as of autumn 2026.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocols.venues.books import BookRule, Link
from protocols.venues.client_ids import ClientIds
from protocols.venues.events import InstrumentKind, VenueOrderState
from protocols.venues.lanes import LaneSpec
from protocols.venues.rate_limit import Budget
from protocols.venues.requests import Kind
from protocols.venues.tables import VenueTables, verdicts

PRIVATE: Final = "private"
TRADE: Final = "trade"
ADDRESS: Final = "wss://stream.bybit.com"
REST_ADDRESS: Final = "https://api.bybit.com"
PING: Final = '{"op":"ping"}'

PRIVATE_LANES: Final = (
    LaneSpec(
        name=PRIVATE, address=ADDRESS, path="/v5/private", is_private=True, is_vital=True,
        ping=PING, ping_s=20, silence_s=50,
    ),
    LaneSpec(
        name=TRADE, address=ADDRESS, path="/v5/trade", is_private=True, is_vital=True,
        ping=PING, ping_s=20, silence_s=50,
    ),
)  # fmt: skip
CATEGORIES: Final = ("linear", "inverse", "option", "spot")
PUBLIC_LANES: Final = {
    category: LaneSpec(
        name=category, address=ADDRESS, path=f"/v5/public/{category}", ping=PING, ping_s=20, silence_s=50
    )
    for category in CATEGORIES
}

BUDGETS: Final = (
    # For the account: each kind of request apart, at the tier without VIP.
    Budget("create", 10, 1_000),
    Budget("amend", 10, 1_000),
    Budget("cancel", 10, 1_000),
    Budget("cancel_all", 10, 1_000),
    Budget("query", 50, 1_000),
    Budget("executions", 50, 1_000),
    Budget("account", 50, 1_000),
    Budget("disconnect_cancel", 5, 1_000),
    # For the address, of all REST requests.
    Budget("http", 600, 5_000, reserve=50),
    # The venue states none for subscriptions; this keeps a book that breaks again and again from filling a lane.
    Budget("channels", 100, 10_000, per="lane", reserve=10),
)
# What the counts in a reply's header are of.
LIMIT_OPS: Final = {"order.create": "create", "order.amend": "amend", "order.cancel": "cancel"}
COSTS: Final = {
    Kind.PLACE: (("create", 1),),
    Kind.REPLACE: (("amend", 1),),
    Kind.CANCEL: (("cancel", 1),),
    Kind.CANCEL_ALL: (("cancel_all", 1), ("http", 1)),
    Kind.QUERY_ORDER: (("query", 1), ("http", 1)),
    Kind.OPEN_ORDERS: (("query", 1), ("http", 1)),
    Kind.ORDER_TRADES: (("executions", 1), ("http", 1)),
    Kind.TRADES: (("executions", 1), ("http", 1)),
    Kind.POSITIONS: (("account", 1), ("http", 1)),
    Kind.BALANCES: (("account", 1), ("http", 1)),
    Kind.SETTINGS: (("account", 1), ("http", 1)),
    Kind.DEAD_MAN: (("disconnect_cancel", 1), ("http", 1)),
    Kind.BOOKINGS: (("executions", 1), ("http", 1)),
    Kind.TIME: (("http", 1),),
    Kind.INSTRUMENTS: (("http", 1),),
    Kind.TIERS: (("http", 1),),
    Kind.SUBSCRIBE: (("channels", 1),),
    Kind.UNSUBSCRIBE: (("channels", 1),),
}

_DEFINITE: Final = {
    10001: "parameter_error",
    10002: "request_time_outside_window",
    10003: "invalid_api_key",
    10004: "invalid_sign",
    10005: "permission_denied",
    10006: "too_many_visits",
    10007: "authentication_failed",
    10008: "account_banned",
    10009: "ip_banned",
    10010: "ip_not_listed",
    10017: "route_not_found",
    10018: "ip_rate_limit",
    10024: "compliance_rules",
    10027: "trading_banned",
    10028: "unified_accounts_only",
    10029: "symbol_not_whitelisted",
    10403: "ip_rate_limit_of_lane",
    10404: "op_not_found",
    10429: "system_frequency_protection",
    20001: "authenticated_already",
    20003: "too_frequent_on_connection",
    20006: "req_id_duplicated",
    33004: "api_key_expired",
    110001: "order_not_exist",
    110003: "price_outside_range",
    110004: "wallet_balance_not_sufficient",
    110005: "position_status",
    110006: "position_margin_not_sufficient",
    110007: "available_balance_not_sufficient",
    110008: "order_done",
    110009: "stop_orders_above_maximum",
    110010: "order_cancelled",
    110011: "would_liquidate",
    110012: "available_balance_not_sufficient_after",
    110013: "risk_limit",
    110014: "margin_not_sufficient",
    110015: "margin_in_isolated",
    110016: "quantity_exceeds_limit",
    110017: "reduce_only_violated",
    110018: "user_id",
    110019: "order_id",
    110020: "orders_above_maximum",
    110021: "open_interest_limit",
    110022: "quantity_above_maximum",
    110023: "reduce_only_now",
    110024: "position_mode_with_position",
    110025: "position_mode_not_modified",
    110026: "margin_mode_not_modified",
    110028: "position_mode_with_orders",
    110029: "hedge_mode_not_supported",
    110030: "order_id_duplicated",
    110031: "no_such_contract",
    110032: "user_in_liquidation",
    110034: "no_net_position",
    110038: "in_liquidation_cannot_change",
    110040: "would_force_liquidation",
    110041: "hedge_mode_with_orders",
    110043: "leverage_not_modified",
    110044: "available_margin_not_sufficient",
    110045: "wallet_balance",
    110046: "liquidation_fee",
    110047: "risk_limit_value",
    110048: "risk_limit_of_leverage",
    110049: "tick_size",
    110050: "trigger_price",
    110051: "available_balance_of_account",
    110052: "available_balance_for_order",
    110053: "available_balance_for_price",
    110054: "stop_loss_setting",
    110055: "take_profit_setting",
    110056: "stop_loss_replaces",
    110057: "take_profit_parameters",
    110058: "option_not_supported",
    110059: "stop_loss_only",
    110060: "take_profit_only",
    110061: "tpsl_orders_above_maximum",
    110063: "settlement_in_progress",
    110064: "risk_limit_modified",
    110065: "margin_insufficient",
    110066: "trading_not_allowed",
    110067: "position_limit",
    110068: "parameter_of_contract",
    110069: "conditional_order",
    110070: "transfer",
    110071: "unified_funding",
    110073: "set_margin_mode",
    110074: "contract_not_live",
    110075: "risk_id_not_modified",
    110076: "only_lock_trading",
    110077: "pm_mode_not_supported",
    110079: "order_in_process",
    110080: "reduce_only_quantity",
    110082: "batch_order",
    110083: "smp_group",
    110085: "risk_limit_too_low",
    110090: "position_above_limit",
    110092: "trigger_price_below",
    110093: "trigger_price_above",
    110094: "min_notional",
    110095: "price_above_maximum",
    110096: "price_below_minimum",
    170005: "spot_too_many_orders",
    170031: "spot_not_supported",
    170105: "spot_parameter_missing",
    170115: "spot_invalid_time_in_force",
    170116: "spot_invalid_order_type",
    170117: "spot_invalid_side",
    170121: "spot_invalid_symbol",
    170124: "spot_amount_too_large",
    170130: "spot_parameter_data",
    170131: "spot_balance_not_sufficient",
    170132: "spot_price_too_high",
    170133: "spot_price_below_minimum",
    170134: "spot_price_precision",
    170135: "spot_quantity_above_maximum",
    170136: "spot_quantity_below_minimum",
    170137: "spot_quantity_precision",
    170139: "spot_order_filled",
    170140: "spot_value_below_minimum",
    170142: "spot_order_cancelled",
    170143: "spot_no_such_order",
    170213: "spot_order_not_exist",
}
# The venue may have acted, or may yet act: margin stays held until it was asked.
_UNKNOWN: Final = {
    10000: "server_timeout",
    10014: "duplicate_request",
    10016: "internal_error",
    10019: "service_restarting",
    10430: "order_placing_failed",
    20022: "service_restarting_on_lane",
    110072: "order_link_id_duplicated",  # ours are used once: the order that has it is this one
    110086: "timeout_of_request",
    170001: "spot_internal_error",
    170007: "spot_timeout",
    170141: "spot_client_order_id_duplicated",
    170146: "spot_creation_timeout",
    170147: "spot_cancellation_timeout",
    170810: "spot_outcome_not_known",
}

ORDER_STATES: Final[dict[str, VenueOrderState]] = {
    "New": "open",
    "PartiallyFilled": "open",
    "Untriggered": "untriggered",
    "Triggered": "open",
    "Filled": "filled",
    "Rejected": "rejected",
    "Cancelled": "cancelled",
    "PartiallyFilledCanceled": "cancelled",
    "Deactivated": "cancelled",
}
CONTRACT_KINDS: Final[dict[str, InstrumentKind]] = {
    "LinearPerpetual": "perpetual",
    "InversePerpetual": "perpetual",
    "LinearFutures": "future",
    "InverseFutures": "future",
}
# What in the list of executions is a trade of ours, and what is money that moves without one.
TRADE_TYPES: Final = frozenset({"Trade", "AdlTrade", "BustTrade", "BlockTrade", "FutureSpread"})
OTHER_TYPES: Final = frozenset(
    {"Funding", "Delivery", "Settle", "MovePosition", "SessionSettlePnL", "SwapSpot", "UNKNOWN"}
)
MAKER_FEE: Final = Decimal("0.0002")
TAKER_FEE: Final = Decimal("0.00055")

# Each message of a topic is numbered one above the last; any snapshot begins anew, with 1 after a restart.
COUNT_RULE: Final = BookRule(link=Link.COUNT)
BOOK_RULES: Final = {"orderbook.{depth}.{symbol}": COUNT_RULE}
DISCONNECT_PRODUCTS: Final = {
    "linear": ("DERIVATIVES", "dcp.future"),
    "inverse": ("DERIVATIVES", "dcp.future"),
    "option": ("OPTIONS", "dcp.option"),
    "spot": ("SPOT", "dcp.spot"),
}

TABLES: Final = VenueTables(
    name="Bybit",
    lanes=(*PRIVATE_LANES, *PUBLIC_LANES.values()),
    order_lane=TRADE,
    budgets=BUDGETS,
    costs=COSTS,
    verdicts=verdicts(_DEFINITE, _UNKNOWN),
    rate_codes=frozenset({10006, 10018, 10403, 10429, 20003, 170005}),
    clock_codes=frozenset({10002}),
    gone_codes=frozenset({110001, 170213, 170143}),
    fatal_codes=frozenset({10003, 10004, 10005, 10007, 10008, 10009, 10010, 33004}),
    client_ids=ClientIds("orderLinkId", 36, "-_", "_"),
    times_in_force={"good_til_cancelled": "GTC", "immediate_or_cancel": "IOC", "fill_or_kill": "FOK"},
    post_only="timeInForce PostOnly",
    self_trade_modes=frozenset({"", "CancelMaker", "CancelTaker", "CancelBoth"}),
    book_rules=BOOK_RULES,
    channels_a_request=10,
    dead_man_s=(3, 300),
    rate_pause_ms=1_000,
    authentication="auth op on the private and trade lanes, and each REST request, signed by HMAC-SHA256 in hex",
    words={
        "keys": "none: a login holds for the life of its connection",
        "dead man": "disconnect protection: dcp topics on the private lane, and its time window set by REST",
        "disconnect": "no cut by age; idle connections are cut after 10 minutes",
        "connections": "500 attempts in 5 minutes for the address",
        "no answer": "10000, 10016: the outcome is unknown; the receive window bounds when an order may be taken",
    },
)
