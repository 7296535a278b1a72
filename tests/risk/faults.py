"""One fault for each reason to refuse an order: each alone fails exactly its check."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any, Final

import msgspec

from risk import pre_trade
from risk.account import AccountState, RecentIds
from risk.constraints import Constraints, Part, Requirement, Rule
from risk.instrument import Kind, Side
from risk.levels import Level
from risk.limits import InstrumentLimits, LimitRule, RowTerms
from risk.marks import GUARD, INSTRUMENT, VENUE
from risk.order import Order, RejectReason
from risk.pre_trade import CHECKS
from risk.rate import RateLimit
from risk.self_trade import ClientOrders, SelfTradePrevention
from tests.strategies import COIN_OPTION, ETH_LINEAR, LINEAR, NS, World, order_of

Fault = Callable[[World, Order], Order]
POSITIONS: Final = {check.__name__: position for position, check in enumerate(CHECKS)}
# The order that the faults spoil: an option, since it has tick steps and a notional that does not hang on its price.
INDEX: Final = COIN_OPTION


def base_order() -> Order:
    return order_of(INDEX, Side.BUY, 10)


def set_state(state: AccountState) -> Fault:
    def fault(w: World, order: Order) -> Order:
        w.account.state, w.account.state_reason = state, "a test said so"
        return order

    return fault


def change(**changes: object) -> Fault:
    return lambda w, order: msgspec.structs.replace(order, **changes)


def closed(w: World, order: Order) -> Order:
    assert order.instrument is not None
    return msgspec.structs.replace(order, instrument=msgspec.structs.replace(order.instrument, is_open=False))


def expired(w: World, order: Order) -> Order:
    assert order.instrument is not None
    instrument = msgspec.structs.replace(order.instrument, expiry_ns=order.received_ns)
    return msgspec.structs.replace(order, instrument=instrument)


def not_permitted(w: World, order: Order) -> Order:
    del w.account.limits.by_instrument[INDEX]
    return order


def venue_down(w: World, order: Order) -> Order:
    w.market.live_venues.clear()
    return order


def halted(kind: str) -> Fault:
    def fault(w: World, order: Order) -> Order:
        assert order.instrument is not None
        instrument = order.instrument
        name = {VENUE: instrument.venue, INSTRUMENT: instrument.symbol, GUARD: instrument.pair}[kind]
        w.market.halts[kind, name] = "a test said so"
        return order

    return fault


def limit_lots(*, order_lots: int | None = None, position_lots: int | None = None) -> Fault:
    def fault(w: World, order: Order) -> Order:
        now = w.account.limits.by_instrument.get(INDEX, InstrumentLimits(10**9, 10**9))
        w.account.limits.by_instrument[INDEX] = InstrumentLimits(
            now.max_order_lots if order_lots is None else order_lots,
            now.max_position_lots if position_lots is None else position_lots,
        )
        return order

    return fault


def limit_notional(notional: float) -> Fault:
    def fault(w: World, order: Order) -> Order:
        w.account.limits.max_order_notional = notional
        return order

    return fault


def id_used(w: World, order: Order) -> Order:
    w.account.cl_ord_ids.remember(order.cl_ord_id, "o1", order.received_ns)
    return order


def ids_exhausted(w: World, order: Order) -> Order:
    w.account.cl_ord_ids = RecentIds(capacity=1)
    w.account.cl_ord_ids.remember("another", "o1", order.received_ns)
    return order


def too_fast(w: World, order: Order) -> Order:
    w.account.rate = RateLimit(1, 1)
    assert w.account.rate.admit(order.received_ns)
    return order


def too_many_working(w: World, order: Order) -> Order:
    w.account.limits.max_working_orders = 0
    return order


def mark_aged(age_ns: int) -> Fault:
    def fault(w: World, order: Order) -> Order:
        mark = w.market.marks[INDEX]
        if mark is not None:
            mark.time_ns = order.received_ns - age_ns
        return order

    return fault


def mark_unknown(w: World, order: Order) -> Order:
    w.market.marks[INDEX] = None
    return order


def generation_aged(w: World, order: Order) -> Order:
    w.market.generation_time_ns = order.received_ns - w.market.generation_max_age_ns - 1
    return order


def own_order_met(w: World, order: Order) -> Order:
    w.account.exposure.client_orders = ClientOrders()
    w.account.exposure.client_orders.add(Side.SELL, INDEX, -1_000)  # whatever else is wrong with the order's price
    w.account.self_trade_prevention = SelfTradePrevention.REJECT
    return order


def penniless(w: World, order: Order) -> Order:
    w.set_cash("USDC", 0)
    return order


def collateral_not_taken(w: World, order: Order) -> Order:
    w.give_eligible("BTC")
    return order


def forbidden(w: World, order: Order) -> Order:
    known = w.account.constraints or Constraints()
    w.account.constraints = msgspec.structs.replace(known, forbidden=dict.fromkeys(Kind, "spot_only"))
    return order


def leverage_capped(w: World, order: Order) -> Order:
    w.give_levels()
    w.account.constraints = Constraints(
        forbidden=w.account.constraints.forbidden if w.account.constraints else {},
        leverage={Kind.OPTION: Rule(2.0, "capped"), Kind.PERPETUAL: Rule(1e-6, "capped")},
    )
    w.give_position(LINEAR, 5)
    return order


def below_close_out(w: World, order: Order) -> Order:
    w.account.constraints = Constraints(
        forbidden=w.account.constraints.forbidden if w.account.constraints else {}, close_out=Rule(1.0, "closing")
    )
    w.give_position(LINEAR, 5)
    w.set_cash("USDC", -1_000)
    return order


def profile_without_mark(w: World, order: Order) -> Order:
    w.account.constraints = Constraints(
        forbidden=w.account.constraints.forbidden if w.account.constraints else {}, close_out=Rule(0.5, "closing")
    )
    w.lose_mark(ETH_LINEAR)
    return order


def beyond_profile_margin(w: World, order: Order) -> Order:
    w.give_requirements(Requirement("buffered", "buffer", (Part(1.0, 1e6, True),)))
    return order


def level(rules: tuple[LimitRule, ...] = (), **terms: Any) -> Fault:
    def fault(w: World, order: Order) -> Order:
        w.give_levels(Level(kind="desk", name="d", terms=RowTerms(**terms), rules=rules, firm="f"))
        return order

    return fault


def level_without_mark(w: World, order: Order) -> Order:
    w.give_levels()
    w.market.priced_count = INDEX
    return order


def level_of_unknown_sizes(w: World, order: Order) -> Order:
    w.give_levels(unknown=frozenset({ETH_LINEAR}))
    w.kernel.add_position(0, ETH_LINEAR, 5)  # another account's
    return order


def indebted_desk(w: World, order: Order) -> Order:
    w.give_levels()
    w.kernel.add_cash(0, 0, -1e9)
    return order


def venue_short(w: World, order: Order) -> Order:
    w.give_venue_book(0)
    return order


def venue_unknown(w: World, order: Order) -> Order:
    w.give_venue_book(10**6)
    w.market.venue_books.clear()
    return order


def venue_without_mark(w: World, order: Order) -> Order:
    w.give_venue_book(10**6, known=False)
    return order


def position_without_mark(w: World, order: Order) -> Order:
    w.lose_mark(ETH_LINEAR)
    return order


# (reason, check, what is wrong). Each alone fails exactly its check.
R = RejectReason
FAULTS: Final[tuple[tuple[RejectReason, str, Fault], ...]] = (
    (R.ACCOUNT_HALTED, "account_is_trading", set_state(AccountState.HALTED)),
    (R.UNKNOWN_INSTRUMENT, "instrument_is_known", change(instrument=None)),
    (R.INSTRUMENT_CLOSED, "instrument_is_known", closed),
    (R.VENUE_KILLED, "instrument_is_known", halted(VENUE)),
    (R.INSTRUMENT_KILLED, "instrument_is_known", halted(INSTRUMENT)),
    (R.MARKET_HALTED, "instrument_is_known", halted(GUARD)),
    (R.INSTRUMENT_CLOSED, "instrument_is_known", expired),
    (R.INSTRUMENT_NOT_PERMITTED, "instrument_is_known", not_permitted),
    (R.VENUE_NOT_READY, "instrument_is_known", venue_down),
    (R.QUANTITY_NOT_IN_LOTS, "price_and_quantity_are_whole", change(lots=0)),
    (R.QUANTITY_NOT_IN_LOTS, "price_and_quantity_are_whole", change(lots=-10)),
    (R.PRICE_NOT_IN_TICKS, "price_and_quantity_are_whole", change(ticks=0)),
    (R.PRICE_NOT_IN_TICKS, "price_and_quantity_are_whole", change(ticks=-570)),
    (R.PRICE_NOT_IN_TICKS, "price_and_quantity_are_whole",
     lambda w, order: msgspec.structs.replace(order, ticks=order.ticks + 1)),
    (R.QUANTITY_ABOVE_LIMIT, "quantity_is_within_limit", limit_lots(order_lots=9)),
    (R.NOTIONAL_ABOVE_LIMIT, "notional_is_within_limit", limit_notional(99_999.0)),
    (R.NOTIONAL_ABOVE_LIMIT, "notional_is_within_limit", limit_notional(nan)),
    (R.DUPLICATE_CL_ORD_ID, "cl_ord_id_is_new", id_used),
    (R.CL_ORD_IDS_EXHAUSTED, "cl_ord_id_is_new", ids_exhausted),
    (R.RATE_ABOVE_LIMIT, "rate_is_within_limit", too_fast),
    (R.WORKING_ORDERS_ABOVE_LIMIT, "rate_is_within_limit", too_many_working),
    (R.PRICE_OUTSIDE_COLLAR, "price_is_within_collar",
     lambda w, order: msgspec.structs.replace(order, ticks=order.ticks + 500)),
    (R.PRICE_OUTSIDE_COLLAR, "price_is_within_collar", change(ticks=100)),
    (R.MARK_UNKNOWN, "mark_is_fresh", mark_unknown),
    (R.MARK_STALE, "mark_is_fresh", mark_aged(2 * NS + 1)),
    (R.MARK_STALE, "mark_is_fresh", mark_aged(-2 * NS - 1)),
    (R.MARK_STALE, "mark_is_fresh", generation_aged),
    (R.SELF_TRADE, "own_orders_are_not_met", own_order_met),
    (R.POSITION_ABOVE_LIMIT, "position_is_within_limit", limit_lots(position_lots=9)),
    (R.ORDER_NOT_REDUCING, "position_is_within_limit", change(is_reduce_only=True)),
    (R.PRODUCT_NOT_PERMITTED, "product_is_permitted", forbidden),
    (R.LEVEL_UNKNOWN, "levels_are_within_limits", level_without_mark),
    (R.LEVEL_UNKNOWN, "levels_are_within_limits", level_of_unknown_sizes),
    (R.LEVEL_ORDER_NOTIONAL, "levels_are_within_limits", level(max_order_notional=99_999.0)),
    (R.LEVEL_WORKING_ORDERS, "levels_are_within_limits", level(max_working_orders=0)),
    (R.LEVEL_POSITION, "levels_are_within_limits", level(rules=(LimitRule("*", 0.0, 0.9),))),
    (R.LEVEL_POSITION, "levels_are_within_limits", level(rules=(LimitRule("ETH*", 0.0, 9.0),))),
    (R.LEVEL_GROSS_NOTIONAL, "levels_are_within_limits", level(max_gross_notional=99_999.0)),
    (R.LEVEL_NET_NOTIONAL, "levels_are_within_limits", level(max_net_notional=99_999.0)),
    (R.LEVERAGE_ABOVE_CAP, "profile_is_kept", leverage_capped),
    (R.BELOW_CLOSE_OUT, "profile_is_kept", below_close_out),
    (R.PROFILE_UNKNOWN, "profile_is_kept", profile_without_mark),
    (R.PROFILE_MARGIN, "profile_is_kept", beyond_profile_margin),
    (R.VENUE_MARGIN_SHORTFALL, "venue_margin_is_covered", venue_short),
    (R.VENUE_MARGIN_UNKNOWN, "venue_margin_is_covered", venue_unknown),
    (R.VENUE_MARGIN_UNKNOWN, "venue_margin_is_covered", venue_without_mark),
    (R.LEVEL_MARGIN, "margin_is_covered", level(max_margin=0.5)),
    (R.LEVEL_MARGIN, "margin_is_covered", indebted_desk),
    (R.MARGIN_SHORTFALL, "margin_is_covered", penniless),
    (R.PROFILE_COLLATERAL, "margin_is_covered", collateral_not_taken),
    (R.MARGIN_UNKNOWN, "margin_is_covered", position_without_mark),
    (R.ACCOUNT_REDUCING, "margin_is_covered", set_state(AccountState.REDUCING)),
)  # fmt: skip


def fails(check: pre_trade.Check, order: Order, w: World) -> bool:
    """Whether a check on its own refuses; one that can not run without the checks before it does not pass either."""
    try:
        return check(order, w.account, w.market) is not None
    except Exception:
        return True
