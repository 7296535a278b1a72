"""What the Deribit session decides by table: its states, the venue's error codes, its channels and limits.

Sources: docs.deribit.com (session management, rate limits, subscriptions) and the RPC error list as clients of
the venue carry it, both of autumn 2026.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from protocols.venues.states import AUTHENTICATED_STATES as AUTHENTICATED_STATES
from protocols.venues.states import TRANSITIONS as TRANSITIONS
from protocols.venues.states import UNLISTED as UNLISTED
from protocols.venues.states import Input as Input
from protocols.venues.states import State as State
from protocols.venues.states import Verdict as Verdict


class Kind(IntEnum):
    """What a request was for, and so how its reply is read."""

    PLACE = 1
    REPLACE = 2
    CANCEL = 3
    CANCEL_ALL = 4
    QUERY_ORDER = 5
    QUERY_ORDER_TRADES = 6
    AUTHENTICATE = 7
    REFRESH = 8
    HEARTBEAT = 9
    TEST = 10
    CANCEL_ON_DISCONNECT = 11
    SUBSCRIBE_PRIVATE = 12
    SUBSCRIBE_PUBLIC = 13
    UNSUBSCRIBE_BOOK = 14
    SUBSCRIBE_BOOK = 15
    INSTRUMENTS = 16
    OPEN_ORDERS = 17
    POSITIONS = 18
    PORTFOLIOS = 19
    TRADES = 20
    TRANSACTION_LOG = 21


ORDER_KINDS: Final = frozenset({Kind.PLACE, Kind.REPLACE, Kind.CANCEL})
# A refusal of one of these leaves the session without what it is there for.
SETUP_KINDS: Final = frozenset(
    {
        Kind.HEARTBEAT,
        Kind.CANCEL_ON_DISCONNECT,
        Kind.SUBSCRIBE_PRIVATE,
        Kind.SUBSCRIBE_PUBLIC,
        Kind.INSTRUMENTS,
        Kind.OPEN_ORDERS,
        Kind.POSITIONS,
        Kind.PORTFOLIOS,
        Kind.TRADES,
        Kind.TRANSACTION_LOG,
    }
)


class RateLimits(msgspec.Struct, frozen=True, gc=False):
    """Credits per sub-account (docs.deribit.com/articles/rate-limits), and what is kept back for what must go.

    Past a limit the venue answers 10028 and ends the session, so nothing is ever sent without its credits.
    """

    requests_capacity: int = 50_000
    requests_per_s: int = 10_000
    request_cost: int = 500
    # Answers to test_request come out of the same pool; without one the venue closes the connection at once.
    requests_reserve: int = 2_000
    subscribe_capacity: int = 30_000
    subscribe_per_s: int = 10_000
    subscribe_cost: int = 3_000
    instruments_capacity: int = 50
    instruments_per_s: int = 1
    # private/get_transaction_log has a pool of its own: one a second is published, a burst is not.
    log_capacity: int = 4
    log_per_s: int = 1
    # The default tier. Higher ones go by seven-day volume; private/get_account_summary (extended) tells.
    matching_capacity: int = 20
    matching_per_s: int = 5
    # Orders and replaces leave this many credits for cancels.
    cancel_reserve: int = 5


_DEFINITE: Final = {
    -32700: "parse_error",
    -32602: "invalid_params",
    -32601: "method_not_found",
    -32600: "request_entity_too_large",
    -32000: "missing_params",
    10000: "authorization_required",
    10002: "qty_too_low",
    10003: "order_overlap",
    10004: "order_not_found",
    10005: "price_too_low",
    10006: "price_too_low4idx",
    10007: "price_too_high",
    10009: "not_enough_funds",
    10010: "already_closed",
    10011: "price_not_allowed",
    10012: "book_closed",
    10013: "pme_max_total_open_orders",
    10014: "pme_max_future_open_orders",
    10015: "pme_max_option_open_orders",
    10016: "pme_max_future_open_orders_size",
    10017: "pme_max_option_open_orders_size",
    10018: "non_pme_max_future_position_size",
    10019: "locked_by_admin",
    10020: "invalid_or_unsupported_instrument",
    10021: "invalid_amount",
    10022: "invalid_quantity",
    10023: "invalid_price",
    10024: "invalid_max_show",
    10025: "invalid_order_id",
    10026: "price_precision_exceeded",
    10027: "non_integer_contract_amount",
    10029: "not_owner_of_order",
    10030: "must_be_websocket_request",
    10031: "invalid_args_for_instrument",
    10032: "whole_cost_too_low",
    10033: "not_implemented",
    10034: "trigger_price_too_high",
    10035: "trigger_price_too_low",
    10036: "invalid_max_show_amount",
    10041: "settlement_in_progress",
    10043: "price_wrong_tick",
    10044: "trigger_price_wrong_tick",
    10045: "can_not_cancel_liquidation_order",
    10046: "can_not_edit_liquidation_order",
    10048: "not_on_this_server",
    10049: "cancel_on_disconnect_failed",
    11008: "already_filled",
    11013: "max_spot_open_orders",
    11021: "post_only_price_modification_not_possible",
    11022: "max_spot_order_quantity",
    11029: "invalid_arguments",
    11030: "other_reject",
    11041: "not_adv_order",
    11042: "permission_denied",
    11043: "bad_argument",
    11044: "not_open_order",
    11046: "outdated_instrument",
    11047: "unsupported_arg_combination",
    11049: "bad_arguments",
    11050: "bad_request",
    11052: "subscribe_error_unsubscribed",
    11054: "post_only_reject",
    11055: "post_only_not_allowed",
    13004: "invalid_credentials",
    13009: "unauthorized",
    13020: "not_found",
    13021: "forbidden",
    13025: "method_switched_off_by_admin",
    13778: "raw_subscriptions_not_available_for_unauthorized",
}

# The venue may have acted, or may yet act: margin stays held until it was asked.
_UNKNOWN: Final = {
    -32603: "internal_error",
    10001: "error",  # "some general failure"
    10028: "too_many_requests",  # the session is ended with it, and with it what else was in flight
    10040: "retry",
    10047: "matching_engine_queue_full",
    10066: "too_many_concurrent_requests",
    11031: "other_error",
    11051: "system_maintenance",
    11094: "internal_server_error",
    13008: "request_failed",
    13028: "temporarily_unavailable",
    13503: "unavailable",
    13666: "request_cancelled_by_user",
    13888: "timed_out",
}

VERDICTS: Final[dict[int, Verdict]] = {
    **{code: Verdict(name, True) for code, name in _DEFINITE.items()},
    **{code: Verdict(name, False) for code, name in _UNKNOWN.items()},
}
TOO_MANY_REQUESTS: Final = 10028

TIMES_IN_FORCE: Final = frozenset({"good_til_cancelled", "good_til_day", "immediate_or_cancel", "fill_or_kill"})
# Those of STOP_TYPES rest as trigger orders and become the type that follows their first word.
STOP_TYPES: Final = frozenset({"stop_limit", "stop_market"})
ORDER_TYPES: Final = frozenset({"limit", "market"}) | STOP_TYPES
PRICED_TYPES: Final = frozenset({"limit", "stop_limit"})
TRIGGERS: Final = frozenset({"mark_price", "last_price", "index_price"})

CHANGES_CHANNEL: Final = "user.changes.any.any.raw"
PORTFOLIO_CHANNEL: Final = "user.portfolio.any"
PRIVATE_CHANNELS: Final = (CHANGES_CHANNEL, PORTFOLIO_CHANNEL)


def verdict(code: int) -> Verdict:
    """Classify one of the venue's error codes."""
    return VERDICTS.get(code, UNLISTED)
