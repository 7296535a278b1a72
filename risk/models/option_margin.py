"""The standard option margin that most venues share: max(0.15 - OTM, 0.10) of the index, plus the mark, for shorts.

One formula, a rule a venue. Amounts are USD per option on one coin; coin-settled venues divide by their index.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from risk.models.parameters import Provenance, parameters
from risk.models.result import require


class OptionRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates are shares of the index, `*_mark` shares of the option's mark.

    IM = max(high - OTM / S, low) * S + mark, MM = max(mm * S, mm_mark * mark) + fee * S + mark, times `factor` where
    the venue scales by position tier; a short put's IM is at least put_floor * MM (0: no floor), a call's
    call_floor * MM.
    """

    high: float
    low: float
    mm_call: float
    mm_put: float
    mm_call_mark: float = 0.0
    mm_put_mark: float = 0.0
    put_floor: float = 1.0
    call_floor: float = 0.0
    liquidation_fee: float = 0.0
    factor: float = 1.0


def option_rule(chosen: str | None = None) -> tuple[OptionRule, Provenance]:
    """Return a venue's rule; Deribit's without a choice."""
    return parameters("option_rules", OptionRule, chosen)


def out_of_the_money(is_call: bool, spot: float, strike: float) -> float:
    """Return by how much an option is out of the money, at least zero."""
    return max(strike - spot, 0.0) if is_call else max(spot - strike, 0.0)


def short_margin(rule: OptionRule, is_call: bool, spot: float, strike: float, mark: float) -> tuple[float, float]:
    """Return initial and maintenance margin of one short option, in USD; mark in USD.

    Raises
    ------
    MarginError
        If spot or strike is no price, or the mark is negative.
    """
    require(spot > 0, "bad_mark", f"index {spot} is no price")
    require(strike > 0, "bad_position", f"strike {strike} is no price")
    require(mark >= 0, "bad_mark", f"option mark {mark} is negative")
    share = rule.mm_call if is_call else rule.mm_put
    of_mark = rule.mm_call_mark if is_call else rule.mm_put_mark
    fee = rule.liquidation_fee * spot
    maintenance = max(share * spot, of_mark * mark) * rule.factor + fee + mark
    otm = out_of_the_money(is_call, spot, strike)
    initial = max(rule.high * spot - otm, rule.low * spot) * rule.factor + mark
    floor = rule.call_floor if is_call else rule.put_floor
    return max(initial, floor * maintenance), maintenance


def reservation(position: float, orders: Iterable[tuple[float, float]], short_initial: float, mark: float) -> float:
    """Return what working orders in one option reserve beyond the position's margin, in USD.

    `orders` are (signed quantity, limit). What closes the position reserves nothing; a buy beyond that reserves its
    premium (the higher of limit and mark), a sell the initial margin of a short, or what its limit adds to it. Buys
    and sells are not set against each other: either may fill alone.
    """
    buys = sells = 0.0
    dearest, cheapest = mark, mark
    for qty, limit in orders:
        if qty > 0:
            buys, dearest = buys + qty, max(dearest, limit)
        else:
            sells, cheapest = sells - qty, min(cheapest, limit)
    closed = min(buys, max(0.0, -position))
    opened_long = buys - closed
    opened_short = max(0.0, sells - max(0.0, position))
    # A sale below the mark receives less premium than the mark that the margin counts with.
    dear = max(0.0, dearest - short_initial)  # a closing buy that costs more than the margin it frees
    return closed * dear + opened_long * dearest + opened_short * (short_initial + mark - cheapest)
