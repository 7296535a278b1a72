"""Accounts written into the kernel of the generation to come, many at once: compiled where that was built.

`begin_some` and `end_some` are Account.begin_mirror and Account.end_mirror for some accounts of a list, `orders_some`
is Exposure.mirror_some; the compiled ones (risk/_mirror.pyx) read and set the same slots, and leave accounts with
sub-accounts, orders or haircuts, and orders that a venue's own model holds, to the methods.
MARGINGATE_PURE=1 takes the plain ones.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import Final

from risk.account import Account
from risk.exposure import Exposure, Held
from risk.haircuts import Haircuts
from risk.kernel import MarginKernel
from risk.venue_book import VenueBook

__all__ = ["COMPILED", "begin_some", "end_some", "held_bytes", "orders_some"]

_HELD_BYTES: Final = Struct("6d").pack

BeginSome = Callable[
    [list[Account], int, int, MarginKernel, dict[str, int], Mapping[str, VenueBook], Haircuts | None], tuple[int, int]
]


def plain_begin_some(
    accounts: list[Account],
    start: int,
    most: int,
    kernel: MarginKernel,
    currency_index: dict[str, int],
    venue_books: Mapping[str, VenueBook],
    haircuts: Haircuts | None,
) -> tuple[int, int]:
    """Write accounts from `start` on, until so much is written; return where to go on, and how much it was.

    It ends behind an account whose working orders are still to be held (Exposure.mirror_some).
    """
    written = 0
    for at in range(start, len(accounts)):
        account = accounts[at]
        written += account.begin_mirror(kernel, currency_index, venue_books, haircuts)
        if written >= most or not account.exposure.is_mirrored:
            return at + 1, written
    return len(accounts), written


def plain_end_some(accounts: list[Account], start: int, count: int) -> int:
    """Let some accounts go over to the kernel that was begun; return where to go on."""
    stop = min(len(accounts), start + count)
    for account in accounts[start:stop]:
        account.end_mirror()
    return stop


def plain_held_bytes(held: Iterable[Held]) -> bytes:
    """Return what is held for working orders as doubles, those of one behind those of the other."""
    return b"".join([_HELD_BYTES(*one) for one in held])


begin_some: BeginSome = plain_begin_some
end_some: Callable[[list[Account], int, int], int] = plain_end_some
orders_some: Callable[[Exposure, int], bool] = Exposure.mirror_some
held_bytes: Callable[[Iterable[Held]], bytes] = plain_held_bytes
COMPILED = False
if os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from risk import _mirror

        orders_some, held_bytes = _mirror.orders_some, _mirror.held_bytes
        begin_some, end_some = _mirror.begin_some, _mirror.end_some
        COMPILED = True
    except (ImportError, AttributeError):  # none was built, or one of an earlier tree
        pass
