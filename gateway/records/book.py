"""Journal records of the book itself: starts, accounts, cash, instruments, breaks.

Part of gateway.records, which has the rules for them; tags 1 to 7.
"""

from __future__ import annotations

from gateway.records.base import Record


class GatewayStarted(Record, frozen=True, tag=1):
    """A process took over this journal. Its time is the prefix of its OrderIDs."""

    version: str
    run: str


class AccountOpened(Record, frozen=True, tag=2):
    """An account appeared in the configuration."""

    account: str
    currency: str


class CashMoved(Record, frozen=True, tag=3):
    """Money came in or went out, in units of 1e-8."""

    account: str
    currency: str
    units: int
    reason: str


class InstrumentListed(Record, frozen=True, tag=4):
    """An instrument was listed by its venue, or listed again with other terms. Decimals as text."""

    index: int
    symbol: str
    venue: str
    kind: int
    is_inverse: bool
    underlying: str
    base_currency: str
    quote_currency: str
    settlement_currency: str
    tick_size: str
    lot_size: str
    contract_size: str
    tick_steps: tuple[tuple[str, str], ...]
    maker_fee: str
    taker_fee: str
    strike: str | None
    is_call: bool | None
    expiry_ns: int | None
    is_open: bool


class AccountStateMoved(Record, frozen=True, tag=6):
    """An account was halted, restricted to reduction, or set trading again."""

    account: str
    state: str
    reason: str


class BreakRaised(Record, frozen=True, tag=7):
    """Our book and the venue's differ, or the venue told what can not be; nothing is ever corrected by itself."""

    venue: str
    symbol: str
    text: str


BookRecord = GatewayStarted | AccountOpened | CashMoved | InstrumentListed | AccountStateMoved | BreakRaised
