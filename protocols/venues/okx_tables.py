"""What an OKX v5 session decides by table.

Sources: okx.com/docs-v5 (overview, order book trading, public data, trading account, error codes), the notices of
January 2026 (instIdCode in place of instId in orders over WebSocket) and of May 2026 (checksum is always 0), as of
autumn 2026.
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

PUBLIC: Final = "public"
PRIVATE: Final = "private"
ADDRESS: Final = "wss://ws.okx.com:8443"
REST_ADDRESS: Final = "https://www.okx.com"

LANES: Final = (
    # Text "ping", answered by text "pong"; with nothing pushed for 30 s the venue cuts the connection.
    LaneSpec(
        name=PRIVATE, address=ADDRESS, path="/ws/v5/private", is_private=True, is_vital=True,
        ping="ping", ping_s=15, silence_s=40,
    ),
    LaneSpec(name=PUBLIC, address=ADDRESS, path="/ws/v5/public", ping="ping", ping_s=15, silence_s=40),
)  # fmt: skip

_SUB_ACCOUNT: Final = "sub_account"
BUDGETS: Final = (
    # For each instrument, of options for each family, and each kind of request apart.
    Budget("place", 60, 2_000, per="symbol"),
    Budget("amend", 60, 2_000, per="symbol"),
    Budget("cancel", 60, 2_000, per="symbol"),
    # New orders and amendments of the whole sub-account; past it, 50061.
    Budget(_SUB_ACCOUNT, 1_000, 2_000),
    # Subscriptions and logins of one connection in an hour; books that break need some.
    Budget("channels", 480, 3_600_000, per="lane", reserve=20),
    Budget("batch_cancel", 300, 2_000),
    Budget("query", 60, 2_000),
    Budget("fills", 10, 2_000),
    Budget("public_data", 10, 2_000),
    Budget("account", 10, 2_000),
    Budget("settings", 5, 2_000),
    Budget("dead_man", 1, 1_000),
    Budget("bills", 5, 1_000),
)
COSTS: Final = {
    Kind.PLACE: (("place", 1), (_SUB_ACCOUNT, 1)),
    Kind.REPLACE: (("amend", 1), (_SUB_ACCOUNT, 1)),
    Kind.CANCEL: (("cancel", 1),),
    Kind.CANCEL_ALL: (("batch_cancel", 20),),
    Kind.QUERY_ORDER: (("query", 1),),
    Kind.ORDER_TRADES: (("fills", 1),),
    Kind.TRADES: (("fills", 1),),
    Kind.LOGIN: (("channels", 1),),
    Kind.SUBSCRIBE: (("channels", 1),),
    Kind.UNSUBSCRIBE: (("channels", 1),),
    Kind.TIME: (("public_data", 1),),
    Kind.INSTRUMENTS: (("public_data", 1),),
    Kind.TIERS: (("public_data", 1),),
    Kind.SETTINGS: (("settings", 1),),
    Kind.OPEN_ORDERS: (("query", 1),),
    Kind.POSITIONS: (("account", 1),),
    Kind.BALANCES: (("account", 1),),
    Kind.DEAD_MAN: (("dead_man", 1),),
    Kind.BOOKINGS: (("bills", 1),),
}

_DEFINITE: Final = {
    1: "operation_failed",
    50000: "body_empty",
    50002: "json_syntax",
    50005: "api_offline",
    50006: "content_type",
    50008: "user_not_exist",
    50009: "account_suspended",
    50010: "user_id_empty",
    50011: "too_frequent",
    50012: "account_status_invalid",
    50014: "parameter_empty",
    50015: "parameter_one_of",
    50016: "parameter_mismatch",
    50017: "frozen_by_adl",
    50018: "frozen_by_adl_currency",
    50019: "frozen_by_adl_account",
    50020: "frozen_by_liquidation",
    50023: "funding_fee_frozen",
    50024: "parameters_together",
    50025: "parameter_count",
    50027: "trading_restricted",
    50030: "no_permission",
    50044: "broker_type",
    50061: "sub_account_order_limit",
    50100: "api_frozen",
    50101: "key_of_other_environment",
    50102: "timestamp_expired",
    50103: "key_header_empty",
    50104: "passphrase_header_empty",
    50105: "passphrase_incorrect",
    50106: "sign_header_empty",
    50107: "timestamp_header_empty",
    50110: "ip_not_listed",
    50111: "invalid_key",
    50112: "invalid_timestamp",
    50113: "invalid_sign",
    50114: "invalid_authorization",
    50115: "invalid_method",
    50119: "key_not_exist",
    50120: "key_without_permission",
    51000: "parameter_error",
    51001: "instrument_not_exist",
    51002: "instrument_not_of_index",
    51003: "client_or_order_id_required",
    51004: "tier_limit",
    51005: "amount_above_limit",
    51006: "price_outside_limit",
    51007: "below_one_contract",
    51008: "margin_not_sufficient",
    51009: "placing_blocked",
    51010: "account_mode",
    51011: "order_id_duplicated",
    51014: "index_not_exist",
    51015: "type_of_other_instrument",
    51017: "borrow_limit",
    51020: "below_minimum",
    51021: "pending_listing",
    51022: "contract_suspended",
    51023: "position_not_exist",
    51024: "account_blocked",
    51025: "count_of_orders",
    51026: "type_of_other_instrument",
    51027: "contract_expired",
    51028: "contract_delivering",
    51029: "contract_settling",
    51030: "funding_settling",
    51031: "closing_outside_limit",
    51046: "take_profit_price",
    51047: "stop_price",
    51100: "amount_limit",
    51101: "amount_above_maximum",
    51102: "count_above_maximum",
    51103: "family_count_above_maximum",
    51104: "family_amount_above_maximum",
    51105: "currency_count_above_maximum",
    51106: "currency_amount_above_maximum",
    51108: "close_all_amount",
    51109: "no_market_price",
    51110: "call_auction_price",
    51111: "batch_limit",
    51112: "close_amount",
    51113: "close_too_frequent",
    51115: "closing_pending",
    51116: "price_above_limit",
    51117: "close_price_limit",
    51119: "balance_not_sufficient",
    51120: "below_minimum_size",
    51121: "not_a_lot",
    51122: "price_below_minimum",
    51124: "limit_orders_only_in_auction",
    51127: "balance_zero",
    51131: "balance_not_sufficient_margin",
    51136: "price_above_bid_limit",
    51137: "price_above_buy_limit",
    51138: "price_below_sell_limit",
    51169: "reduce_only_no_position",
    51170: "reduce_only_same_side",
    51171: "edit_would_reverse",
    51202: "market_amount_above_maximum",
    51203: "amount_above_maximum_limit",
    51205: "reduce_only_not_available",
    51301: "post_only_rejected",
    51320: "order_range",
    51321: "delisting",
    51328: "reduce_only_only",
    51400: "cancel_no_such_order",
    51401: "cancel_already_cancelled",
    51402: "cancel_already_completed",
    51403: "cancel_not_supported",
    51404: "cancel_in_price_discovery",
    51405: "cancel_no_orders",
    51407: "cancel_id_required",
    51408: "cancel_pair_mismatch",
    51409: "cancel_currency_mismatch",
    51410: "cancel_pending",
    51500: "amend_nothing",
    51501: "amend_count",
    51502: "amend_balance",
    51503: "amend_no_such_order",
    51506: "amend_type",
    51508: "amend_in_auction",
    51509: "amend_already_cancelled",
    51510: "amend_already_completed",
    51511: "amend_post_only",
    51512: "amend_request_duplicated",
    51513: "amend_count_pending",
    51527: "amend_below_filled",
    51603: "no_such_order",
    51620: "affiliates_only",
    54000: "margin_not_supported",
    60004: "invalid_timestamp",
    60005: "invalid_key",
    60006: "timestamp_expired",
    60007: "invalid_sign",
    60008: "wrong_lane",
    60009: "login_failed",
    60011: "login_first",
    60012: "illegal_request",
    60013: "invalid_args",
    60014: "too_frequent",
    60018: "channel_not_exist",
    60019: "invalid_op",
    60020: "too_many_connections",
    60021: "multiple_accounts",
    60022: "bulk_login_partial",
    60023: "bulk_login_too_frequent",
    60024: "wrong_passphrase",
    60026: "batch_login_not_allowed",
    60029: "channel_not_permitted",
    60030: "channel_not_permitted_for_key",
    60032: "key_not_exist",
    63999: "login_internal_error",
    64004: "subscription_too_many_channels",
}
# The venue may have acted, or may yet act: margin stays held until it was asked.
_UNKNOWN: Final = {
    2: "partly_failed",
    50001: "service_unavailable",
    50004: "timeout",
    50013: "system_busy",
    50026: "system_error",
    51016: "client_order_id_duplicated",  # ours are used once: the order that has it is this one
    51054: "timed_out",
    51149: "order_timed_out",
    51416: "cancel_already_asked",
    60027: "args_empty",
    63001: "internal_error",
    64000: "deprecated_parameter",
}

ORDER_STATES: Final[dict[str, VenueOrderState]] = {
    "live": "open",
    "partially_filled": "open",
    "filled": "filled",
    "canceled": "cancelled",
    "mmp_canceled": "cancelled",
}
INSTRUMENT_KINDS: Final[dict[str, InstrumentKind]] = {
    "SPOT": "spot",
    "MARGIN": "spot",
    "SWAP": "perpetual",
    "FUTURES": "future",
    "OPTION": "option",
}
# The first tier's of derivatives; an account's own are configuration.
MAKER_FEE: Final = Decimal("0.0002")
TAKER_FEE: Final = Decimal("0.0005")

# A change names the message before it; one that names itself says that nothing changed, and after maintenance the
# numbers may begin anew, from a message that still names the last one.
CHAIN_RULE: Final = BookRule(link=Link.PREVIOUS, has_checksum=True)
WHOLE_RULE: Final = BookRule(link=Link.NONE)
BOOK_RULES: Final = {
    "books": CHAIN_RULE,
    "books-l2-tbt": CHAIN_RULE,
    "books50-l2-tbt": CHAIN_RULE,
    "books5": WHOLE_RULE,
    "bbo-tbt": WHOLE_RULE,
}
CHECKSUM_LEVELS: Final = 25

TABLES: Final = VenueTables(
    name="OKX",
    lanes=LANES,
    order_lane=PRIVATE,
    budgets=BUDGETS,
    costs=COSTS,
    verdicts=verdicts(_DEFINITE, _UNKNOWN),
    rate_codes=frozenset({50011, 50061, 60014}),
    clock_codes=frozenset({50102, 50112, 60004, 60006}),
    gone_codes=frozenset({51603}),
    fatal_codes=frozenset({50100, 50101, 50105, 50111, 50113, 50119, 60005, 60007, 60009, 60024, 60032}),
    client_ids=ClientIds("clOrdId", 32, "", "Z"),
    times_in_force={"good_til_cancelled": "limit", "immediate_or_cancel": "ioc", "fill_or_kill": "fok"},
    post_only="ordType post_only",
    self_trade_modes=frozenset({"", "cancel_maker", "cancel_taker", "cancel_both"}),
    book_rules=BOOK_RULES,
    channels_a_request=50,
    dead_man_s=(10, 120),
    rate_pause_ms=2_000,
    authentication="login op on the private lane, and each REST request, signed by HMAC-SHA256 in base64",
    words={
        "keys": "none: a login holds for the life of its connection",
        "dead man": "POST cancel-all-after for the account, every third of the time",
        "disconnect": "notice 64008 before maintenance; no cut by age",
        "connections": "3 attempts a second for the address",
        "no answer": "50004: the outcome is unknown; expTime bounds when an order may still be taken",
    },
)
