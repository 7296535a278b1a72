from collections.abc import Iterable, Mapping

from risk.account import Account
from risk.exposure import Exposure, Held
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
def orders_some(exposure: Exposure, count: int) -> bool: ...
def held_bytes(held: Iterable[Held]) -> bytes: ...
