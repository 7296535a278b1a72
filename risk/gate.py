"""How many of the checks an order passes for certain: the compiled gate where it was built, otherwise none.

`surely_passed(order, account, market)` returns n: the first n of KNOWN_CHECKS pass, and an order that the rate check
passes was counted by it. All other checks of pre_trade.CHECKS are left to be run as they stand, so every refusal, and
every approval that takes a comparison, is theirs: the gate may know less than they do, and never says yes where one of
them would say no.

`first_look(order, account, market)` answers the same in the one call that the hot path makes; but where nothing is left
than the account's own margin, and that is short for certain, it is the refusal, made by margin_checks' own function.

MARGINGATE_PURE=1 takes the plain checks alone.
"""

import os
from collections.abc import Callable

from risk.account import Account
from risk.marks import Market
from risk.order import Order, Reject

__all__ = ["COMPILED", "KNOWN_CHECKS", "first_look", "refuse_by", "surely_passed", "surely_short"]


def nothing_is_sure(order: Order, account: Account, market: Market) -> int:
    """Return 0: all checks are left to the plain ones."""
    return 0


def nothing_is_short(order: Order, account: Account, market: Market) -> tuple[float, float] | None:
    """Return None: all orders are left to the plain check."""
    return None


def refuse_by(function: Callable[[Order, Account, Market, float, float], Reject]) -> None:
    """Take no function: all refusals are left to the plain check."""


# The names of the checks whose conditions the gate knows, in order of precedence.
KNOWN_CHECKS: tuple[str, ...] = ()
surely_passed = nothing_is_sure
surely_short = nothing_is_short
first_look: Callable[[Order, Account, Market], int | Reject] = nothing_is_sure
COMPILED = False
if os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from risk._gate import KNOWN_CHECKS, first_look, refuse_by, surely_passed, surely_short

        COMPILED = True
    except ImportError:
        pass
