"""Every check that an order must pass, in order of precedence, and the one place where an order is approved.

A check takes (order, account, market) and returns None or the Reject that the client is told. Order is precedence:
absolute refusals first, those that need a market next, the dearest last. An exception inside a check refuses the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from risk.account import Account, AccountState
from risk.gate import KNOWN_CHECKS, surely_passed
from risk.instrument import Instrument, Side
from risk.level_checks import levels_are_within_limits, product_is_permitted, profile_is_kept
from risk.margin_checks import margin_is_covered, venue_margin_is_covered
from risk.marks import GUARD, INSTRUMENT, VENUE, Market
from risk.order import Approved, Order, Reject, RejectReason
from risk.self_trade import SelfTradePrevention

Check = Callable[[Order, Account, Market], Reject | None]

# Named once: in Python 3.11 an enum's member costs as much as two calls each time it is looked up.
_BUY: Final = Side.BUY
_HALTED: Final = AccountState.HALTED
_OFF, _CANCEL_RESTING = SelfTradePrevention.OFF, SelfTradePrevention.CANCEL_RESTING

_KNOWN: Final = "instrument_is_known comes first"


def account_is_trading(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse a halted account; a reducing one goes on to the margin check, which lets only reduction pass."""
    if account.state is _HALTED:
        return Reject(
            RejectReason.ACCOUNT_HALTED,
            "account_is_trading",
            f"account {account.name} is halted: {account.state_reason}",
        )
    return None


def instrument_is_known(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse what is not listed, not open, not permitted to the account, or at a venue that takes no orders now."""
    instrument = order.instrument
    if instrument is None:
        return _refuse(
            RejectReason.UNKNOWN_INSTRUMENT, "instrument_is_known", f"Symbol(55) {order.symbol} is not listed"
        )
    if market.halts and (halted := _halted(order, instrument, market)) is not None:
        return halted
    if not instrument.is_open or (instrument.expiry_ns is not None and order.received_ns >= instrument.expiry_ns):
        return _refuse(RejectReason.INSTRUMENT_CLOSED, "instrument_is_known", f"{instrument.symbol} is not open")
    if instrument.index not in account.limits.by_instrument:
        return _refuse(
            RejectReason.INSTRUMENT_NOT_PERMITTED,
            "instrument_is_known",
            f"account {account.name} has no limit for {instrument.symbol} and may not trade it",
        )
    if instrument.venue not in market.live_venues:
        return _refuse(
            RejectReason.VENUE_NOT_READY, "instrument_is_known", f"venue {instrument.venue} takes no orders now"
        )
    return None


def _halted(order: Order, instrument: Instrument, market: Market) -> Reject | None:
    """Refuse what a person has killed; where a guard has halted a market, what is reduce-only goes on."""
    check = "instrument_is_known"
    if why := market.halts.get((VENUE, instrument.venue)):
        return _refuse(RejectReason.VENUE_KILLED, check, why)
    if why := market.halts.get((INSTRUMENT, instrument.symbol)):
        return _refuse(RejectReason.INSTRUMENT_KILLED, check, why)
    why = market.halts.get((GUARD, instrument.pair))
    if why and not order.is_reduce_only:
        return _refuse(RejectReason.MARKET_HALTED, check, why)
    return None


def price_and_quantity_are_whole(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse a price off the tick scheme or a quantity off the lot: nothing is rounded for a client."""
    instrument = order.instrument
    assert instrument is not None, _KNOWN
    if order.lots <= 0:
        return _refuse(
            RejectReason.QUANTITY_NOT_IN_LOTS,
            "price_and_quantity_are_whole",
            f"OrderQty(38) is no positive multiple of {instrument.lot_size}",
        )
    if order.ticks <= 0 or (instrument.tick_steps and not instrument.ticks_are_on_step(order.ticks)):
        return _refuse(
            RejectReason.PRICE_NOT_IN_TICKS,
            "price_and_quantity_are_whole",
            f"Price(44) is not on the tick scheme of {instrument.symbol}, {instrument.tick_size}",
        )
    return None


def quantity_is_within_limit(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse an order larger than the account's largest for this instrument."""
    instrument = order.instrument
    assert instrument is not None, _KNOWN
    limit = account.limits.by_instrument[instrument.index].max_order_lots
    if order.lots > limit:
        lot = float(instrument.lot_size)
        return Reject(
            RejectReason.QUANTITY_ABOVE_LIMIT,
            "quantity_is_within_limit",
            "order quantity above the limit for one order",
            limit=limit * lot,
            observed=order.lots * lot,
        )
    return None


def notional_is_within_limit(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse an order of more notional (USD) than the account's largest; a sell counts at no less than the mark."""
    instrument = order.instrument
    assert instrument is not None, _KNOWN
    mark = market.marks[instrument.index]
    price, index_price = order.ticks * instrument.tick, 0.0
    if mark is not None:  # without one mark_is_fresh, a later check, refuses the order
        index_price = mark.index_price  # an option's notional is its underlying's
        if order.side is Side.SELL and mark.price > price:
            price = mark.price
    notional = instrument.notional(order.lots, price, index_price)
    limit = account.limits.max_order_notional
    if notional <= limit:  # so written, a limit that is NaN refuses
        return None
    return Reject(
        RejectReason.NOTIONAL_ABOVE_LIMIT,
        "notional_is_within_limit",
        "order notional above the limit for one order, in USD",
        limit=limit,
        observed=notional,
    )


def cl_ord_id_is_new(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse a ClOrdID that the account used in the last day; refuse all where no more can be remembered."""
    if account.cl_ord_ids.was_used(order.cl_ord_id, order.received_ns):
        return _refuse(
            RejectReason.DUPLICATE_CL_ORD_ID, "cl_ord_id_is_new", f"ClOrdID(11) {order.cl_ord_id} was used already"
        )
    if not account.cl_ord_ids.has_room(order.received_ns):
        return _refuse(RejectReason.CL_ORD_IDS_EXHAUSTED, "cl_ord_id_is_new", "too many ClOrdIDs in one day")
    return None


def rate_is_within_limit(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse orders faster than the account's rate, and more working orders than it may have."""
    if not account.rate.admit(order.received_ns):
        return Reject(
            RejectReason.RATE_ABOVE_LIMIT,
            "rate_is_within_limit",
            "orders a second above the limit",
            limit=float(account.rate.per_second),
        )
    working = len(account.exposure.orders)
    if working >= account.limits.max_working_orders and order.replaces is None:
        return Reject(
            RejectReason.WORKING_ORDERS_ABOVE_LIMIT,
            "rate_is_within_limit",
            "too many working orders",
            limit=float(account.limits.max_working_orders),
            observed=float(working),
        )
    return None


def price_is_within_collar(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse a limit price too far from the mark, on either side: far away is a slip of the finger too."""
    instrument = order.instrument
    assert instrument is not None, _KNOWN
    mark = market.marks[instrument.index]
    if mark is None or mark.collar_low_ticks <= order.ticks <= mark.collar_high_ticks:
        return None  # an unknown mark is refused by mark_is_fresh, the next check
    terms = order.terms
    if terms is not None and terms.stop_ticks:
        # It works once the market is at its stop price: a limit near that is no slip either.
        low, high = market.collar.band_ticks(instrument, terms.stop_ticks * instrument.tick)
        if low <= order.ticks <= high:
            return None
    beyond = mark.collar_low_ticks if order.ticks < mark.collar_low_ticks else mark.collar_high_ticks
    return Reject(
        RejectReason.PRICE_OUTSIDE_COLLAR,
        "price_is_within_collar",
        f"Price(44) outside the collar around the mark {mark.price:g}",
        limit=beyond * instrument.tick,
        observed=order.ticks * instrument.tick,
        mark_age_ns=order.received_ns - mark.time_ns,
    )


def mark_is_fresh(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse where the mark is unknown or stale: a feed outage must not switch margin off.

    A mark of the future would never grow stale: beyond the greatest age, either way, a time is not believed.
    """
    instrument = order.instrument
    assert instrument is not None, _KNOWN
    mark = market.marks[instrument.index]
    if mark is None:
        return _refuse(RejectReason.MARK_UNKNOWN, "mark_is_fresh", f"{order.symbol} has no mark price")
    now_ns = order.received_ns
    age_limit_ns = market.mark_age_limit_ns(instrument.index)
    if -age_limit_ns <= now_ns - mark.time_ns <= age_limit_ns:
        if now_ns - market.generation_time_ns <= market.generation_max_age_ns:
            return None
        age_ns, limit_ns, what = now_ns - market.generation_time_ns, market.generation_max_age_ns, "risk arrays are"
    else:
        age_ns, limit_ns, what = now_ns - mark.time_ns, age_limit_ns, "mark price is"
    text = f"{what} too old, in ms" if age_ns > 0 else f"{what} of the future, in ms"
    if market.pricing_trouble and what == "risk arrays are":
        text = f"{text}: {market.pricing_trouble}"
    return Reject(
        RejectReason.MARK_STALE,
        "mark_is_fresh",
        text,
        limit=limit_ns / 1e6,
        observed=age_ns / 1e6,
        mark_age_ns=now_ns - mark.time_ns,
    )


def own_orders_are_not_met(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse what could trade with a working order of the same client, in any of its accounts.

    An account that would have those cancelled passes where all of them can be: who cancels does so before this one is
    sent, and a cancel of an order that the venue has not named yet would come after it.
    """
    instrument, client_orders = order.instrument, account.exposure.client_orders
    assert instrument is not None, _KNOWN
    prevention = account.self_trade_prevention
    if prevention is _OFF or client_orders is None or order.will_rest:
        return None
    met_ticks = client_orders.met_at(order.side, instrument.index, order.ticks)
    if met_ticks is None:
        return None
    if prevention is _CANCEL_RESTING:
        resting = client_orders.met_by(order.side, instrument.index, order.ticks)
        if all(working.venue_order_id for working in resting):
            return None
    return Reject(
        RejectReason.SELF_TRADE,
        "own_orders_are_not_met",
        "could trade with a working order of the same client",
        limit=met_ticks * instrument.tick,
        observed=order.ticks * instrument.tick,
    )


def position_is_within_limit(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse what could, with all working orders of its side filled, take the position beyond its limit."""
    instrument = order.instrument
    assert instrument is not None, _KNOWN
    index = instrument.index
    exposure, replaced = account.exposure, order.replaces
    lots = order.lots if replaced is None else max(order.lots, replaced.leaves_lots)
    held = account.position_lots(index)
    if order.side is _BUY:
        worst = held + exposure.buy_lots.get(index, 0) + lots
    else:
        worst = exposure.sell_lots.get(index, 0) + lots - held
    if order.is_reduce_only and worst > 0:
        return _refuse(
            RejectReason.ORDER_NOT_REDUCING,
            "position_is_within_limit",
            "a reduce-only order, with working orders of its side, is larger than the position it would reduce",
        )
    limit = account.limits.by_instrument[index].max_position_lots
    if worst > limit:
        lot = float(instrument.lot_size)
        return Reject(
            RejectReason.POSITION_ABOVE_LIMIT,
            "position_is_within_limit",
            "position with working orders filled above the limit",
            limit=limit * lot,
            observed=worst * lot,
        )
    return None


# Order is precedence: absolute refusals first, those that need a market next, the dearest last.
CHECKS: Final[tuple[Check, ...]] = (
    account_is_trading,
    instrument_is_known,
    product_is_permitted,
    price_and_quantity_are_whole,
    quantity_is_within_limit,
    notional_is_within_limit,
    cl_ord_id_is_new,
    rate_is_within_limit,
    price_is_within_collar,
    mark_is_fresh,
    own_orders_are_not_met,
    position_is_within_limit,
    levels_are_within_limits,
    profile_is_kept,
    venue_margin_is_covered,
    margin_is_covered,
)


def _without(known: tuple[str, ...]) -> tuple[tuple[Check, ...], int]:
    """Return the checks that are not among these, and how many are."""
    remaining = tuple(check for check in CHECKS if check.__name__ not in known)
    return remaining, len(CHECKS) - len(remaining)


# What is left to check, and how many are not, once the gate vouches for so many of the checks that it knows.
_REMAINING: Final = tuple(_without(KNOWN_CHECKS[:passed]) for passed in range(len(KNOWN_CHECKS) + 1))


def evaluate(order: Order, account: Account | None, market: Market) -> Approved | Reject:
    """Run the checks in order and return the approval, or the first refusal. No account is an unknown account."""
    if account is None:
        text = f"Account(1) {order.account} is not known to this session"
        return _refuse(RejectReason.UNKNOWN_ACCOUNT, "account_is_trading", text)
    try:
        passed = surely_passed(order, account, market)
    except Exception as error:
        return broken(account_is_trading, error)
    return decide(order, account, market, passed)


def decide(order: Order, account: Account, market: Market, passed: int) -> Approved | Reject:
    """Return the approval, or the first refusal, of an order that passes so many of the gate's checks for certain."""
    check: Check = account_is_trading
    try:
        remaining, checks_run = _REMAINING[passed]
        for check in remaining:
            reject = check(order, account, market)
            if reject is not None:
                return reject
            checks_run += 1
        assert order.instrument is not None, _KNOWN
        return Approved(order, order.instrument, account, checks_run)
    except Exception as error:
        return broken(check, error)


def broken(check: Check, error: Exception) -> Reject:
    """Refuse an order that a check could not be made of: it is never let through by a bug of ours."""
    return _refuse(RejectReason.CHECK_ERROR, check.__name__, f"{type(error).__name__} inside a check")


def _refuse(reason: RejectReason, check: str, text: str) -> Reject:
    return Reject(reason, check, text)
