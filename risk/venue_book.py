"""What the checks see of a venue's own margin model: a kernel of its own, in which each wallet is a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec


class SubAccount(msgspec.Struct, frozen=True):
    """An account at a venue: the name of the book of its model, and what of its collateral lies there.

    `collateral_units` is by currency, besides the cash that its fills there have moved; None: all cash of the account.
    """

    book: str
    collateral_units: dict[str, int] | None = None


class VenueKernel(Protocol):
    """What the checks and the mirror ask of a venue's book: a margin kernel, or a pool kernel."""

    def clear(self, account: int) -> None:
        """Forget an account's positions, cash and orders."""

    def add_position(self, account: int, instrument: int, lots: float) -> None:
        """Add signed lots to what an account holds."""

    def add_cash(self, account: int, currency: int, amount: float) -> None:
        """Add whole units of a currency."""

    def hold(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Count a working order."""

    def release(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Take a working order back."""

    def worst_of_group(self, account: int, group: int) -> float:
        """Return what is left of a wallet's equity, working orders filled at their worst."""

    def held_of_group(self, account: int, group: int) -> float:
        """Return the same without working orders."""

    def what_if_of_group(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> float:
        """Return the same with one more order."""

    def if_filled_of_group(self, account: int, instrument: int, lots: float, cash: float) -> float:
        """Return the same if this were filled now."""

    def equity_of_group(self, account: int, group: int, base_scenario: int) -> float:
        """Return a wallet's equity today."""


class BookTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a book: accounts that agree in all of it share one. `leverage` is by account index."""

    name: str
    venue: str
    model: str
    parameter_set: str | None = None
    leverage: dict[int, float] = {}


class VenueBook(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One model at one venue, for all accounts that use it; replaced as a whole with each generation.

    A wallet is what one equity must margin: a settlement currency, or all of them where collateral counts across.
    `groups` is the wallet of each instrument, `units` what a wallet counts in, `currency_index` the column of each
    currency that counts there. `priced_count` is how many instruments the generation knows of.
    """

    model: str
    kernel: VenueKernel
    base_scenario: int
    priced_count: int
    groups: tuple[int, ...]
    units: tuple[str, ...]
    currency_index: Mapping[str, int]
