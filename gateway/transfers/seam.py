"""What adjustments of positions ask of transfers: how much could come by itself, and that it comes, once.

What takes a person's approval is not offered: whoever is short would wait for somebody who is asleep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from risk.instrument import UNITS_PER_WHOLE

if TYPE_CHECKING:
    from gateway.transfers.desk import TransferDesk


class AccountTransfers:
    """The desk, as adjustments see it."""

    def __init__(self, desk: TransferDesk) -> None:
        self._desk = desk

    def movable_usd(self, account: str) -> float:
        """Return what is on its way to an account, or else what could be brought, haircuts taken off."""
        return self._desk.movable_units(account) / UNITS_PER_WHOLE

    def is_coming(self, account: str) -> bool:
        """Return whether something is on its way to an account, or has just been asked for."""
        return self._desk.is_coming(account)

    def move(self, account: str, amount_usd: float, reason: str, now_ns: int) -> bool:
        """Have so much brought to an account; False while it is on its way, or where nothing can come."""
        return self._desk.ask_for(account, round(amount_usd * UNITS_PER_WHOLE), now_ns)
