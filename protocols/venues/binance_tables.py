"""What a Binance USD-M (and COIN-M) session decides by table.

Sources: developers.binance.com (derivatives: general information, websocket market streams, the change notice of
March 2026 that splits them, user data streams, websocket API, error codes), as of autumn 2026.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocols.venues.books import BookRule, Link
from protocols.venues.client_ids import ClientIds
from protocols.venues.events import VenueOrderState
from protocols.venues.lanes import LaneSpec
from protocols.venues.rate_limit import Budget
from protocols.venues.requests import Kind
from protocols.venues.tables import VenueTables, verdicts

PUBLIC: Final = "public"
MARKET: Final = "market"
PRIVATE: Final = "private"
TRADE: Final = "trade"
DAY_S: Final = 86_400
# The key lives for an hour; asking for more at half of it leaves room for a second try.
KEY_RENEWAL_S: Final = 1_800


class Product(msgspec.Struct, frozen=True, gc=False):
    """One of the venue's futures APIs: they differ in addresses, and in what an amount counts."""

    name: str
    rest: str  # prefix of REST paths
    rest_address: str
    is_inverse: bool
    private_path: str  # the listenKey comes after it


USD_M: Final = Product("usd_m", "/fapi/v1", "https://fapi.binance.com", False, "/private/ws?listenKey=")
COIN_M: Final = Product("coin_m", "/dapi/v1", "https://dapi.binance.com", True, "/ws/")


def _lanes(streams: str, trade: str, trade_path: str, public: str, market: str) -> tuple[LaneSpec, ...]:
    """Return the connections; the trade lane comes first, since it fetches the key of the private one."""
    return (
        LaneSpec(
            name=TRADE, address=trade, path=trade_path, is_private=True, is_vital=True,
            ping="session.status", ping_s=20, silence_s=50, lifetime_s=DAY_S,
        ),
        LaneSpec(
            name=PRIVATE, address=streams, path="", is_vital=True,
            ping="LIST_SUBSCRIPTIONS", ping_s=20, silence_s=50, lifetime_s=DAY_S,
        ),
        LaneSpec(
            name=PUBLIC, address=streams, path=public,
            ping="LIST_SUBSCRIPTIONS", ping_s=20, silence_s=50, lifetime_s=DAY_S,
        ),
        LaneSpec(
            name=MARKET, address=streams, path=market,
            ping="LIST_SUBSCRIPTIONS", ping_s=20, silence_s=50, lifetime_s=DAY_S,
        ),
    )  # fmt: skip


USD_M_LANES: Final = _lanes(
    "wss://fstream.binance.com", "wss://ws-fapi.binance.com", "/ws-fapi/v1", "/public/stream", "/market/stream"
)
# COIN-M has not been split.
COIN_M_LANES: Final = _lanes(
    "wss://dstream.binance.com", "wss://ws-dapi.binance.com", "/ws-dapi/v1", "/stream", "/stream"
)

_WEIGHT, _ORDERS_10S, _ORDERS_1M, _MESSAGES = "weight", "orders_10s", "orders_1m", "stream_messages"
BUDGETS: Final = (
    # Per address, in the units of the venue's table; cancels keep a sixth of it, pings and the dead-man timer a part.
    Budget(_WEIGHT, 2_400, 60_000, reserve=400, vital=150),
    # Per account. A cancel is not counted.
    Budget(_ORDERS_10S, 300, 10_000),
    Budget(_ORDERS_1M, 1_200, 60_000),
    # What one connection may be sent; past it the venue cuts it, and bans who comes back too often.
    Budget(_MESSAGES, 10, 1_000, per="lane", reserve=2),
)
# (interval, number of intervals) of the venue's own statements of its limits
LIMIT_NAMES: Final = {
    ("REQUEST_WEIGHT", "MINUTE", 1): _WEIGHT,
    ("ORDERS", "SECOND", 10): _ORDERS_10S,
    ("ORDERS", "MINUTE", 1): _ORDERS_1M,
}
LIMIT_HEADERS: Final = {
    "x-mbx-used-weight-1m": _WEIGHT,
    "x-mbx-order-count-10s": _ORDERS_10S,
    "x-mbx-order-count-1m": _ORDERS_1M,
}
COSTS: Final = {
    Kind.PLACE: ((_ORDERS_10S, 1), (_ORDERS_1M, 1)),
    Kind.REPLACE: ((_ORDERS_10S, 1), (_ORDERS_1M, 1), (_WEIGHT, 1)),
    Kind.CANCEL: ((_WEIGHT, 1),),
    Kind.CANCEL_ALL: ((_WEIGHT, 1),),
    Kind.QUERY_ORDER: ((_WEIGHT, 1),),
    Kind.ORDER_LABEL: ((_WEIGHT, 1),),
    Kind.ORDER_TRADES: ((_WEIGHT, 5),),
    Kind.TRADES: ((_WEIGHT, 5),),
    Kind.LOGIN: ((_WEIGHT, 2),),
    Kind.PING: ((_MESSAGES, 1), (_WEIGHT, 2)),
    Kind.SUBSCRIBE: ((_MESSAGES, 1),),
    Kind.UNSUBSCRIBE: ((_MESSAGES, 1),),
    Kind.TIME: ((_WEIGHT, 1),),
    Kind.SETTINGS: ((_WEIGHT, 30),),
    Kind.SESSION_KEY: ((_WEIGHT, 5),),
    Kind.RENEW_KEY: ((_WEIGHT, 1),),
    Kind.DEAD_MAN: ((_WEIGHT, 10),),
    Kind.INSTRUMENTS: ((_WEIGHT, 1),),
    Kind.TIERS: ((_WEIGHT, 1),),
    Kind.SNAPSHOT: ((_WEIGHT, 20),),
    Kind.OPEN_ORDERS: ((_WEIGHT, 40),),
    Kind.POSITIONS: ((_WEIGHT, 5),),
    Kind.BALANCES: ((_WEIGHT, 5),),
    Kind.BOOKINGS: ((_WEIGHT, 30),),
    Kind.DELIVERY_PRICE: ((_WEIGHT, 1),),
}

_DEFINITE: Final = {
    -1002: "unauthorized",
    -1003: "too_many_requests",
    -1008: "server_busy",
    -1010: "error_msg_received",
    -1011: "ip_not_allowed",
    -1013: "invalid_message",
    -1014: "unknown_order_composition",
    -1015: "too_many_orders",
    -1020: "unsupported_operation",
    -1021: "invalid_timestamp",
    -1022: "invalid_signature",
    -1099: "not_found",
    -1100: "illegal_chars",
    -1101: "too_many_parameters",
    -1102: "mandatory_param_missing",
    -1103: "unknown_param",
    -1104: "unread_parameters",
    -1105: "param_empty",
    -1106: "param_not_required",
    -1108: "bad_asset",
    -1109: "bad_account",
    -1110: "bad_instrument_type",
    -1111: "bad_precision",
    -1112: "no_depth",
    -1114: "tif_not_required",
    -1115: "invalid_tif",
    -1116: "invalid_order_type",
    -1117: "invalid_side",
    -1118: "empty_new_client_order_id",
    -1119: "empty_original_client_order_id",
    -1120: "bad_interval",
    -1121: "bad_symbol",
    -1122: "invalid_symbol_status",
    -1125: "invalid_listen_key",
    -1128: "optional_params_bad_combo",
    -1130: "invalid_parameter",
    -2010: "new_order_rejected",
    -2011: "cancel_rejected",
    -2012: "cancel_all_failed",
    -2013: "no_such_order",
    -2014: "bad_api_key_format",
    -2015: "rejected_key_ip_or_permission",
    -2016: "no_trading_window",
    -2017: "api_keys_locked",
    -2018: "balance_not_sufficient",
    -2019: "margin_not_sufficient",
    -2020: "unable_to_fill",
    -2021: "order_would_trigger",
    -2022: "reduce_only_rejected",
    -2023: "user_in_liquidation",
    -2024: "position_not_sufficient",
    -2025: "max_open_orders",
    -2026: "reduce_only_type_not_supported",
    -2027: "max_leverage_position",
    -2028: "min_leverage_margin",
    -4000: "invalid_order_status",
    -4001: "price_less_than_zero",
    -4002: "price_above_max",
    -4003: "quantity_less_than_zero",
    -4004: "quantity_below_min",
    -4005: "quantity_above_max",
    -4013: "price_below_min",
    -4014: "price_not_on_tick",
    -4015: "invalid_client_order_id_length",
    -4016: "price_above_multiplier",
    -4023: "quantity_not_on_step",
    -4024: "price_below_multiplier",
    -4061: "position_side_not_match",
    -4108: "symbol_pending_settlement",
    -4114: "invalid_client_order_id",
    -4118: "reduce_only_margin_check_failed",
    -4131: "counterparty_price_limit",
    -4140: "invalid_symbol_status_for_opening",
    -4141: "symbol_closed",
    -4142: "strategy_price_would_trigger",
    -4164: "min_notional",
    -4183: "price_above_stop_limit",
    -4184: "price_below_stop_limit",
    -4192: "cooling_off_period",
    -4400: "quantitative_rule_reduce_only",
    -4401: "compliance_reduce_only",
    -5021: "fok_rejected",
    -5022: "gtx_rejected",
    -5024: "position_side_change_exists",
    -5025: "only_limit_orders_can_be_modified",
    -5026: "too_many_modifications",
    -5027: "no_need_to_modify",
    -5028: "recv_window_exceeded_at_matching",
}
# The venue may have acted, or may yet act: margin stays held until it was asked.
_UNKNOWN: Final = {
    -1000: "unknown",
    -1001: "disconnected",
    -1004: "duplicate_ip",
    -1005: "no_such_ip",
    -1006: "unexpected_response",
    -1007: "timeout",
    -1016: "service_shutting_down",
    -4115: "client_order_id_duplicated_in_batch",  # ours are used once: the order that has it is this one
    -4116: "client_order_id_duplicated",
    -4188: "me_recv_window",
}

ORDER_STATES: Final[dict[str, VenueOrderState]] = {
    "NEW": "open",
    "PARTIALLY_FILLED": "open",
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "EXPIRED": "cancelled",
    "EXPIRED_IN_MATCH": "cancelled",
    "REJECTED": "rejected",
    # Orders of a liquidation, which the venue works for us.
    "NEW_INSURANCE": "open",
    "NEW_ADL": "open",
}
CONTRACT_KINDS: Final = {
    "PERPETUAL": "perpetual",
    "TRADIFI_PERPETUAL": "perpetual",
    "CURRENT_QUARTER": "future",
    "NEXT_QUARTER": "future",
    "CURRENT_MONTH": "future",
    "NEXT_MONTH": "future",
}
# The default tier's; an account's own are configuration.
MAKER_FEE: Final = Decimal("0.0002")
TAKER_FEE: Final = Decimal("0.0005")

# A change follows the snapshot that it spans, and then the message that its `pu` names.
DEPTH_RULE: Final = BookRule(link=Link.PREVIOUS, snapshot="request")
# Where there is no `pu` (spot), a change is numbered on from the one before.
SPOT_RULE: Final = BookRule(link=Link.COUNT, snapshot="request", overlap=1)

TABLES: Final = VenueTables(
    name="Binance",
    lanes=USD_M_LANES,
    order_lane=TRADE,
    budgets=BUDGETS,
    costs=COSTS,
    verdicts=verdicts(_DEFINITE, _UNKNOWN),
    rate_codes=frozenset({-1003, -1008, -1015}),
    clock_codes=frozenset({-1021, -5028}),
    gone_codes=frozenset({-2013}),
    fatal_codes=frozenset({-1002, -1011, -2014, -2015, -2017}),
    client_ids=ClientIds("newClientOrderId", 36, ".-_", "_"),
    times_in_force={"good_til_cancelled": "GTC", "immediate_or_cancel": "IOC", "fill_or_kill": "FOK"},
    post_only="timeInForce GTX",
    self_trade_modes=frozenset({"", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"}),
    book_rules={"@depth (pu)": DEPTH_RULE, "@depth (no pu)": SPOT_RULE},
    channels_a_request=100,
    dead_man_s=(10, 600),
    rate_pause_ms=10_000,
    authentication="session.logon by Ed25519, or each request signed by HMAC-SHA256 over its parameters sorted by name",
    words={
        "keys": "listenKey by userDataStream.start, renewed every 30 minutes, asked for again when it has expired",
        "dead man": "POST countdownCancelAll for each symbol with open orders, every third of the time",
        "disconnect": "every connection ends at 24 h; each is left 10 minutes or more before, one after the other",
        "connections": "300 attempts in 5 minutes for the address; a connection carries 1024 streams",
        "no answer": "-1007 and HTTP 503: the outcome is unknown",
    },
)
COIN_M_TABLES: Final = msgspec.structs.replace(TABLES, name="Binance COIN-M", lanes=COIN_M_LANES)
