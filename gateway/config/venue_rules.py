"""What may be configured of each kind of venue, from the tables of its protocol."""

from typing import Final

from msgspec import Struct

from protocols.venues import binance_tables, bybit_tables, okx_tables
from protocols.venues.tables import VenueTables


class VenueRules(Struct, frozen=True):
    """Names of its budgets, its words for self-trade prevention, its range of dead-man times, and its products."""

    budgets: tuple[str, ...]
    self_trade_modes: tuple[str, ...]
    dead_man_s: tuple[int, int]
    products: tuple[str, ...]


def _rules(tables: VenueTables, *products: str) -> VenueRules:
    names = tuple(budget.name for budget in tables.budgets)
    modes = tuple(sorted(mode for mode in tables.self_trade_modes if mode))
    return VenueRules(names, modes, tables.dead_man_s, products)


# Spot is not traded here: a position in a coin is a balance, and no venue tells it as a position.
VENUE_RULES: Final[dict[str, VenueRules]] = {
    "deribit": VenueRules((), (), (1, 600), ()),
    "binance-usdm": _rules(binance_tables.TABLES),
    "binance-coinm": _rules(binance_tables.COIN_M_TABLES),
    "okx": _rules(okx_tables.TABLES, "SWAP", "FUTURES", "OPTION"),
    "bybit": _rules(bybit_tables.TABLES, "linear", "inverse", "option"),
}
