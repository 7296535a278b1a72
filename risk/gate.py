"""How many of the checks an order passes for certain: the compiled gate where it was built, otherwise none.

`surely_passed(order, account, market)` returns n: the first n of pre_trade.CHECKS pass, and an order that the rate check
passes was counted by it. The plain checks go on with number n, so every refusal, and every approval that needs a
comparison, is theirs: the gate may know less than they do, and never says yes where they would say no.

MARGINGATE_PURE=1 takes the plain checks alone.
"""

import os

from risk.account import Account
from risk.marks import Market
from risk.order import Order

__all__ = ["COMPILED", "KNOWN_CHECKS", "surely_passed"]


def nothing_is_sure(order: Order, account: Account, market: Market) -> int:
    """Return 0: all checks are left to the plain ones."""
    return 0


# The names of the checks that the gate knows the conditions of, in order; with any others it vouches for nothing.
KNOWN_CHECKS: tuple[str, ...] = ()
surely_passed = nothing_is_sure
COMPILED = False
if os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from risk._gate import KNOWN_CHECKS, surely_passed

        COMPILED = True
    except ImportError:
        pass
