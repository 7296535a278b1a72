"""Checks of what stands above an account, and of what its profiles allow; see pre_trade.CHECKS for their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from risk.account import Account
from risk.constraints import Requirement
from risk.instrument import Side
from risk.kernel import MarginKernel
from risk.levels import Level
from risk.margin_checks import Asked, asked_of, not_taken, only_reduces
from risk.marks import Market
from risk.order import Order, Reject, RejectReason
from risk.pricing import Floats
from risk.telling import quote_of, told_in

_BUY: Final = Side.BUY
_LEVELS: Final = "levels_are_within_limits"
_PRODUCT: Final = "product_is_permitted"
_PROFILE: Final = "profile_is_kept"
_KNOWN: Final = "instrument_is_known comes first"


def product_is_permitted(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse a product that a profile of the account forbids; what is held of it may still be reduced."""
    constraints, instrument = account.constraints, order.instrument
    if constraints is None:
        return None
    assert instrument is not None, _KNOWN
    forbidding = constraints.forbidden.get(instrument.kind)
    if forbidding is None or only_reduces(order, account):
        return None
    text = f"profile {forbidding}, rule permitted: {instrument.symbol} is a {instrument.kind.name.lower()}"
    return Reject(RejectReason.PRODUCT_NOT_PERMITTED, _PRODUCT, text)


def levels_are_within_limits(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse what could take a desk or the firm beyond its limits, all orders of all its accounts counted.

    The largest order and the number of working orders bind every order. Positions and notionals are judged before and
    after: what can not raise them passes, whatever the limit.
    """
    above, instrument = market.above(account.index), order.instrument
    if not above:
        return None
    assert instrument is not None and market.hierarchy is not None, _KNOWN
    if instrument.index >= market.priced_count:
        text = f"limits of levels unknown: {instrument.symbol} was listed after the last risk arrays"
        return Reject(RejectReason.LEVEL_UNKNOWN, _LEVELS, text)
    replaced = order.replaces
    lots = order.lots if replaced is None else max(order.lots, replaced.leaves_lots)
    signed = lots if order.side is _BUY else -lots
    if replaced is None and market.kernel.first_beyond(account.index, instrument.index, signed) < 0:
        return None
    for row in above:
        level = market.hierarchy.levels[row]
        for refusal in _beyond(order, row, level, market, signed):
            return refusal
    return None


def _beyond(order: Order, row: int, level: Level, market: Market, signed: int) -> Iterator[Reject]:
    """Yield what one level refuses, in order of precedence."""
    instrument, replaced, terms, kernel = order.instrument, order.replaces, level.terms, market.kernel
    assert instrument is not None, _KNOWN
    notional, working, gross, net, largest, _ = kernel.after(row, instrument.index, signed)
    if gross != gross:
        yield Reject(RejectReason.LEVEL_UNKNOWN, _LEVELS, f"{level}: sizes unknown: a contract held has no mark")
        return
    old = 0
    if replaced is not None:
        old = replaced.leaves_lots if order.side is _BUY else -replaced.leaves_lots
        notional *= order.lots / abs(signed)
    _, _, gross_before, net_before, largest_before, _ = kernel.after(row, instrument.index, old)
    if not notional <= terms.max_order_notional:
        text = f"{level}: order notional above the limit for one order, in USD"
        yield Reject(RejectReason.LEVEL_ORDER_NOTIONAL, _LEVELS, text, terms.max_order_notional, notional)
    if working >= terms.max_working_orders and replaced is None:
        text, most = f"{level}: too many working orders", float(terms.max_working_orders)
        yield Reject(RejectReason.LEVEL_WORKING_ORDERS, _LEVELS, text, most, float(working))
    limit = market.hierarchy.position_lots(row, instrument) if market.hierarchy is not None else None
    if limit is not None and largest > max(limit, largest_before):
        lot = float(instrument.lot_size)
        text = f"{level}: position in {instrument.symbol} with working orders filled above the limit"
        yield Reject(RejectReason.LEVEL_POSITION, _LEVELS, text, max(limit, 0) * lot, largest * lot)
    if not gross <= max(terms.max_gross_notional, gross_before):
        text = f"{level}: gross notional with working orders filled above the limit, in USD"
        yield Reject(RejectReason.LEVEL_GROSS_NOTIONAL, _LEVELS, text, terms.max_gross_notional, gross)
    if not net <= max(terms.max_net_notional, net_before):
        text = f"{level}: net notional with working orders filled above the limit, in USD"
        yield Reject(RejectReason.LEVEL_NET_NOTIONAL, _LEVELS, text, terms.max_net_notional, net)


def profile_is_kept(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse more leverage than a profile allows, new risk below its close-out level, and what its margin forbids.

    Leverage: equity after the worst fills must be at least the sum of notional over cap, each product with its own,
    positions at the largest that working orders may make them. Each is its own worst: the bound's gap is at most what
    equity and notional are better at each other's worst fills. What only reduces a position passes.
    """
    constraints, instrument, kernel = account.constraints, order.instrument, market.kernel
    if constraints is None or not (constraints.leverage or constraints.close_out or constraints.requirements):
        return None
    assert instrument is not None, _KNOWN
    if only_reduces(order, account):
        return None
    equity = kernel.equity(account.index, market.base_scenario)
    if instrument.index >= market.priced_count or equity != equity:
        text = f"leverage unknown: {instrument.symbol}, or a contract held, has no mark in the risk arrays"
        return Reject(RejectReason.PROFILE_UNKNOWN, _PROFILE, text)
    rule = constraints.close_out
    if rule is not None:
        asked = equity - kernel.worst(account.index)
        if not equity >= rule.value * asked:  # unknown is below too
            text = f"profile {rule.profile}, rule close_out: equity below the close-out level"
            below = Reject(RejectReason.BELOW_CLOSE_OUT, _PROFILE, text, rule.value, equity, rule.value * asked)
            return told_in(quote_of(account.currency, market, order.received_ns), below, limit_is_ratio=True)
    return _leverage_refusal(order, account, market) or _margin_refusal(order, account, market)


def _margin_refusal(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse what a profile's own margin would not cover, at the worst fills of each of its parts."""
    assert account.constraints is not None, _KNOWN
    row, asked = account.index, asked_of(order)
    for one in account.constraints.requirements:
        kernels = [market.profile_kernels.get(part) for part in one.parts]
        left = sum(float("nan") if kernel is None else kernel.what_if(row, *asked) for kernel in kernels)
        if left >= 0.0:
            continue
        prefix = f"profile {one.profile}, rule {one.rule}"
        if left != left:
            return Reject(RejectReason.PROFILE_UNKNOWN, _PROFILE, f"{prefix}: margin unknown: a contract has no mark")
        equity = market.kernel.equity(row, market.base_scenario)
        given = account.not_taken()
        if given is not None and _left_with(kernels, one, row, given, asked) >= 0.0:
            return not_taken(account, equity, left, _PROFILE, quote_of(account.currency, market, order.received_ns))
        text = f"{prefix}: initial margin above equity"
        short = Reject(RejectReason.PROFILE_MARGIN, _PROFILE, text, equity, left, equity - left)
        return told_in(quote_of(account.currency, market, order.received_ns), short)
    return None


def _left_with(
    kernels: Sequence[MarginKernel | None], asked_for: Requirement, row: int, given: tuple[Floats, Floats], asked: Asked
) -> float:
    """Return what a requirement's parts would leave with collateral given back that profiles do not take."""
    left = 0.0
    for kernel, part in zip(kernels, asked_for.parts, strict=True):
        assert kernel is not None, "unknown margin is refused before"
        left += kernel.what_if_given(row, *given, *asked) if part.has_equity else kernel.what_if(row, *asked)
    return left


def _leverage_refusal(order: Order, account: Account, market: Market) -> Reject | None:
    constraints, instrument, kernel = account.constraints, order.instrument, market.kernel
    assert instrument is not None and constraints is not None, _KNOWN
    if not constraints.leverage:
        return None
    replaced, row = order.replaces, account.index
    most = order.lots if replaced is None else max(order.lots, replaced.leaves_lots)
    equity = kernel.at_base(row, market.base_scenario, *asked_of(order))
    *_, grown = kernel.after(row, instrument.index, most if order.side is _BUY else -most)
    notionals = list(kernel.sizes(row)[4])
    notionals[instrument.kind] += grown
    needed = sum(notionals[kind] / rule.value for kind, rule in constraints.leverage.items())
    if equity >= needed:
        return None
    strictest = min(constraints.leverage.values(), key=lambda rule: rule.value)
    rule = constraints.leverage.get(instrument.kind, strictest)
    text = f"profile {rule.profile}, rule max_leverage: equity below what a leverage of {rule.value:g} takes"
    above = Reject(RejectReason.LEVERAGE_ABOVE_CAP, _PROFILE, text, rule.value, equity, needed)
    return told_in(quote_of(account.currency, market, order.received_ns), above, limit_is_ratio=True)
