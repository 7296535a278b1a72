"""Journal records of transfers that we make ourselves: planned, approved, dropped; and of clearing houses' calls.

Part of gateway.records, which has the rules for them; tags 166 to 179. What a planned transfer does once it has begun
is TransferBegun and TransferMoved of gateway.records.margin, under the key that it has here.
"""

from __future__ import annotations

import msgspec

from gateway.records.base import Record


class PlannedMove(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One transfer of a plan. `approvals`: how many people must say yes first; money in units of 1e-8."""

    key: str
    route: str
    account: str
    asset: str
    units: int
    source_place: str
    source_name: str
    target_place: str
    target_name: str
    fee_units: int
    value_units: int
    counted_units: int
    approvals: int
    expires_ns: int
    call_id: str


class Unmet(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a plan leaves short at a place, in units of 1e-8 USD, and why."""

    place: str
    name: str
    account: str
    units: int
    reason: str


class TransfersPlanned(Record, frozen=True, tag=166):
    """A set of transfers is wanted: by the optimiser, or, with another `source`, by whoever else asked for one."""

    plan: str
    source: str
    cost_units: int
    moves: tuple[PlannedMove, ...]
    unmet: tuple[Unmet, ...]


class TransferApproved(Record, frozen=True, tag=167):
    """A person approves of a planned transfer."""

    key: str
    who: str
    reason: str


class TransferDropped(Record, frozen=True, tag=168):
    """A planned transfer will not begin: declined by a person, or not needed, not possible, not in time."""

    key: str
    who: str
    reason: str


class HouseCalled(Record, frozen=True, tag=169):
    """A clearing house's CollateralRequest(AX): so much is to be there by the deadline, in units of 1e-8 USD."""

    counterparty: str
    request_id: str
    account: str
    amount_units: int
    deadline_ns: int
    asgn_reason: int


class HouseCallMoved(Record, frozen=True, tag=170):
    """A clearing house's call was met, has lapsed, or is unpaid again."""

    counterparty: str
    request_id: str
    happening: str
    reason: str


class TransferCharged(Record, frozen=True, tag=171):
    """What a transfer has cost, in units of its asset: taken from its source, once."""

    key: str
    units: int


TransferRecord = TransfersPlanned | TransferApproved | TransferDropped | HouseCalled | HouseCallMoved | TransferCharged
