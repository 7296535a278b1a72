"""What the checks see of a venue's own margin model: a kernel of its own, in which each wallet is a group."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from risk.kernel import MarginKernel


class SubAccount(msgspec.Struct, frozen=True):
    """An account at a venue: the name of the book of its model, and what of its collateral lies there.

    `collateral_units` is by currency, besides the cash that its fills there have moved; None: all cash of the account.
    """

    book: str
    collateral_units: dict[str, int] | None = None


class VenueBook(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One model at one venue, for all accounts that use it; replaced as a whole with each generation.

    A wallet is what one equity must margin: a settlement currency, or all of them where collateral counts across.
    `groups` is the wallet of each instrument, `units` what a wallet counts in, `currency_index` the column of each
    currency that counts there. `priced_count` is how many instruments the generation knows of.
    """

    model: str
    kernel: MarginKernel
    base_scenario: int
    priced_count: int
    groups: tuple[int, ...]
    units: tuple[str, ...]
    currency_index: Mapping[str, int]
