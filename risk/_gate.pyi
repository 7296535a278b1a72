from risk.account import Account
from risk.marks import Market
from risk.order import Order

KNOWN_CHECKS: tuple[str, ...]

def surely_passed(order: Order, account: Account, market: Market) -> int: ...
def surely_short(order: Order, account: Account, market: Market) -> tuple[float, float] | None: ...
