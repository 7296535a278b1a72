"""Checks of margin: the venue's own model of a sub-account, the house's of the account and of what stands above it."""

from __future__ import annotations

from typing import Final

from risk.account import Account, AccountState
from risk.cash import fill_cash
from risk.gate import refuse_by, surely_short
from risk.instrument import Side
from risk.marks import Market
from risk.order import Order, Reject, RejectReason
from risk.telling import USD, Quote, quote_of, told_in
from risk.venue_book import VenueKernel

_BUY: Final = Side.BUY
_TRADING, _REDUCING = AccountState.TRADING, AccountState.REDUCING
_SHORTFALL: Final = RejectReason.MARGIN_SHORTFALL
_HOUSE: Final = "margin_is_covered"
_VENUE: Final = "venue_margin_is_covered"
_KNOWN: Final = "instrument_is_known comes first"

# instrument, lots, cash; and the same of what is asked for, where the order replaces another
Asked = tuple[int, int, float] | tuple[int, int, float, int, float]


def margin_is_covered(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse what could leave the account, its desk or its firm short in any scenario, whatever fraction fills.

    An order that reduces risk always passes: filled completely it leaves the worst case better than now, and by the
    concavity of the bound no partial fill is worse than now either. "Now" has the order that it replaces still working,
    though the caller has released its hold: a smaller or better priced replacement is not blocked by a shortfall. Each
    level is judged so for itself.
    """
    short = surely_short(order, account, market)
    if short is not None:
        return _by_a_profile(order, account, market, *short) or _shortfall(order, account, market, *short)
    instrument, kernel = order.instrument, market.kernel
    assert instrument is not None, _KNOWN
    if instrument.index >= market.priced_count:
        text = f"margin unknown: {instrument.symbol} was listed after the last risk arrays"
        return Reject(RejectReason.MARGIN_UNKNOWN, _HOUSE, text)
    asked = asked_of(order)
    is_trading, hierarchy = account.state is _TRADING, market.hierarchy
    for row in (account.index, *market.above(account.index)):
        worst = kernel.what_if(row, *asked)
        if worst >= 0.0 and (is_trading or row != account.index):  # NaN is not >= 0: unknown is refused
            level = None if hierarchy is None else hierarchy.levels.get(row)
            if level is None or kernel.equity(row, market.base_scenario) - worst <= level.terms.max_margin:
                continue
        before = kernel.worst(row) if len(asked) == 3 else kernel.what_if(row, *asked[:3])
        if worst >= before and kernel.if_filled(row, *_filled_at_worse_price(order, market)) > before:
            continue
        return _short_of_margin(order, account, market, row, worst)
    return None


def asked_of(order: Order) -> Asked:
    """Return what the kernel is asked; a replaced order comes first: all of it may fill before the rest of the new."""
    instrument, side, replaced = order.instrument, order.side, order.replaces
    assert instrument is not None, _KNOWN
    lots = order.lots if side is _BUY else -order.lots
    cash = fill_cash(instrument, side, order.lots, order.ticks)
    if replaced is None:
        return instrument.index, lots, cash
    if replaced.held is not None:
        raise AssertionError("a replaced order is released before its replacement is checked")
    leaves = replaced.leaves_lots
    old_cash = fill_cash(instrument, side, leaves, replaced.ticks)
    return instrument.index, leaves if side is _BUY else -leaves, old_cash, lots, cash


def _filled_at_worse_price(order: Order, market: Market) -> tuple[int, int, float]:
    """Return an order as filled at its limit or at the mark, whichever is worse for the client.

    A limit far from the mark looks like a gain in every scenario of the grid, and is no reduction of risk for that.
    """
    instrument, ticks = order.instrument, order.ticks
    assert instrument is not None, _KNOWN
    lots = order.lots if order.side is _BUY else -order.lots
    mark = market.marks[instrument.index]
    if mark is None:
        return instrument.index, lots, float("nan")
    mark_ticks = max(1, round(mark.price / instrument.tick))
    ticks = max(ticks, mark_ticks) if order.side is _BUY else min(ticks, mark_ticks)
    return instrument.index, lots, fill_cash(instrument, order.side, order.lots, ticks)


def _short_of_margin(order: Order, account: Account, market: Market, row: int, worst: float) -> Reject:
    level = None if market.hierarchy is None else market.hierarchy.levels.get(row)
    if level is None and account.state is _REDUCING:
        text = f"account {account.name} may only reduce: {account.state_reason}"
        return Reject(RejectReason.ACCOUNT_REDUCING, _HOUSE, text)
    prefix = "" if level is None else f"{level}: "
    if worst != worst:
        text = f"{prefix}margin unknown: a held contract has no mark"
        return Reject(RejectReason.MARGIN_UNKNOWN, _HOUSE, text)
    equity = market.kernel.equity(row, market.base_scenario)
    if level is None:
        return _by_a_profile(order, account, market, equity, worst) or _shortfall(order, account, market, equity, worst)
    asked = equity - worst
    if worst >= 0.0:
        text = f"{level}: initial margin above the limit, in USD"
        return Reject(RejectReason.LEVEL_MARGIN, _HOUSE, text, level.terms.max_margin, asked)
    text = f"{level}: initial margin above equity, in USD"
    return Reject(RejectReason.LEVEL_MARGIN, _HOUSE, text, equity, worst, asked)


def _by_a_profile(order: Order, account: Account, market: Market, equity: float, worst: float) -> Reject | None:
    """Refuse in a profile's name what only the collateral that it does not take would cover; None where that is not so.

    The account's margin counts that collateral for nothing everywhere; here it is given back, scenario by scenario.
    """
    given = account.not_taken()
    if given is None or not market.kernel.what_if_given(account.index, *given, *asked_of(order)) >= 0.0:
        return None
    return not_taken(account, equity, worst, _HOUSE, quote_of(account.currency, market, order.received_ns))


def not_taken(account: Account, equity: float, worst: float, check: str, quote: Quote) -> Reject:
    """Refuse for want of collateral, naming the profile and what of the account's collateral it does not take."""
    assert account.constraints is not None and account.constraints.eligible is not None, _KNOWN
    held = sorted(name for name, units in account.cash_units.items() if units > 0)
    held += sorted({p.instrument.settlement_currency for p in account.positions.values() if p.lots})
    refused = {asset: by for asset in held if (by := account.constraints.eligible.refusing(asset))}
    by = next(iter(refused.values()), account.constraints.eligible.by[0][0])
    names = ", ".join(asset for asset, name in refused.items() if name == by)
    text = f"profile {by}, rule eligible_collateral: initial margin above equity without {names}"
    return told_in(quote, Reject(RejectReason.PROFILE_COLLATERAL, check, text, equity, worst, equity - worst))


def _shortfall(order: Order, account: Account, market: Market, equity: float, worst: float) -> Reject:
    if account.currency == USD:
        return Reject(_SHORTFALL, _HOUSE, "initial margin above equity, in USD", equity, worst, equity - worst)
    reject = Reject(_SHORTFALL, _HOUSE, "initial margin above equity", equity, worst, equity - worst)
    return told_in(quote_of(account.currency, market, order.received_ns), reject)


refuse_by(_shortfall)


def venue_margin_is_covered(order: Order, account: Account, market: Market) -> Reject | None:
    """Refuse what the venue's own model would not margin: it would refuse the order, or liquidate the sub-account.

    The bound is the model's own with working orders (venue_margin.py says where it is above). What only reduces the
    position and leaves the sub-account better, filled at the worse of limit and mark, passes.
    """
    instrument = order.instrument
    assert instrument is not None, _KNOWN
    sub_account = account.sub_accounts.get(instrument.venue)
    if sub_account is None:
        return None
    key = sub_account.book
    book = market.venue_books.get(key)
    if book is None or instrument.index >= book.priced_count:
        text = f"venue margin unknown: {key} has no risk arrays for {instrument.symbol}"
        return Reject(RejectReason.VENUE_MARGIN_UNKNOWN, _VENUE, text)
    kernel, asked = book.kernel, asked_of(order)
    left = kernel.what_if_of_group(account.index, *asked)
    if left >= 0.0:
        return None
    group = book.groups[instrument.index]
    if only_reduces(order, account) and _is_better_filled(kernel, order, account, market, group):
        return None
    if left != left:
        text = f"{book.model} of {instrument.venue}: margin unknown, a contract held or {instrument.symbol} has no mark"
        return Reject(RejectReason.VENUE_MARGIN_UNKNOWN, _VENUE, text)
    equity = kernel.equity_of_group(account.index, group, book.base_scenario)
    text = f"{book.model} of {instrument.venue}: initial margin above equity, in {book.units[group]}"
    return Reject(RejectReason.VENUE_MARGIN_SHORTFALL, _VENUE, text, equity, left, equity - left)


def only_reduces(order: Order, account: Account) -> bool:
    """Whether an order, with the working ones of its side, can not do more than close what is held."""
    assert order.instrument is not None, _KNOWN
    index, replaced = order.instrument.index, order.replaces
    held = account.position_lots(index)
    lots = order.lots if replaced is None else max(order.lots, replaced.leaves_lots)
    if order.side is _BUY:
        return held < 0 and held + account.exposure.buy_lots.get(index, 0) + lots <= 0
    return held > 0 and held - account.exposure.sell_lots.get(index, 0) - lots >= 0


def _is_better_filled(kernel: VenueKernel, order: Order, account: Account, market: Market, group: int) -> bool:
    before = kernel.worst_of_group(account.index, group)
    return kernel.if_filled_of_group(account.index, *_filled_at_worse_price(order, market)) > before
