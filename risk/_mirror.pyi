from collections.abc import Mapping

from risk.account import Account
from risk.haircuts import Haircuts
from risk.kernel import MarginKernel
from risk.venue_book import VenueBook

def begin_some(
    accounts: list[Account],
    start: int,
    most: int,
    kernel: MarginKernel,
    currency_index: dict[str, int],
    venue_books: Mapping[str, VenueBook],
    haircuts: Haircuts | None,
) -> tuple[int, int]: ...
def end_some(accounts: list[Account], start: int, count: int) -> int: ...
