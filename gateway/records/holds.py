"""Journal records of holds: orders that their owners send to a venue by themselves, checked and held here.

Part of gateway.records, which has the rules for them; tags 85 to 92.
"""

from __future__ import annotations

from gateway.records.base import Record


class HookOpened(Record, frozen=True, tag=85):
    """A client of the hook, by the configuration, at each start; `is_shared` as in HoldApproved."""

    hook: str
    accounts: tuple[str, ...]
    is_shared: bool


class HoldApproved(Record, frozen=True, tag=86):
    """An order of a hook's client passed every check, and is held until it is filled, released or overdue.

    `is_shared`: it goes through the venue account that we are connected to; else through one that we do not see.
    """

    hook: str
    hold_id: str
    key: str
    account: str
    instrument: int
    side: int
    lots: int
    ticks: int
    ord_type: int
    is_reduce_only: bool
    deadline_ns: int
    is_shared: bool
    checks_run: int


class HoldRefused(Record, frozen=True, tag=87):
    """An order of a hook's client was refused by a check; the fields are what the client sent."""

    hook: str
    key: str
    account: str
    symbol: str
    side: str
    ord_type: str
    quantity: str
    price: str
    is_reduce_only: bool
    reason: int
    check: str
    text: str
    limit: float | None
    observed: float | None
    required: float | None
    mark_age_ns: int | None


class HoldOverdue(Record, frozen=True, tag=88):
    """A hold's deadline has passed and nobody has said how it ended: UNKNOWN, its margin held."""

    hold_id: str


class HoldFilled(Record, frozen=True, tag=89):
    """An execution of a held order, told by its owner or, where `source` is a venue, by that; booked once.

    (source, trade_id) is what the ledger knows it by; `execution` is its id as it was told.
    """

    hold_id: str
    source: str
    trade_id: str
    execution: str
    lots: int
    ticks: int
    fee_units: int


class HoldReleased(Record, frozen=True, tag=90):
    """What was left of a hold is free again. `who` is empty for its owner, else the person who decided that."""

    hold_id: str
    who: str = ""
    reason: str = ""


HoldRecord = HookOpened | HoldApproved | HoldRefused | HoldOverdue | HoldFilled | HoldReleased
