"""Journal records of margin under watch: states of accounts, margin calls, transfers of collateral.

Part of gateway.records, which has the rules for them; tags 120 to 139, and 215. Money in units of 1e-8, ratios in basis
points. The fields of the first three begin with those of the decisions that they record (risk.margin_watch).
"""

from __future__ import annotations

from gateway.records.base import Record


class MarginStateMoved(Record, frozen=True, tag=120):
    """An account's margin moved it to another state: what it may do follows from that (risk.margin_states)."""

    account: str
    state: str
    signal: str
    equity_units: int
    maintenance_units: int
    reason: str


class MarginCalled(Record, frozen=True, tag=121):
    """A margin is called for: CollateralRequest(AX) and CollateralReport(BA) follow, and from FIX 5.0 on a CJ."""

    account: str
    call_id: str
    amount_units: int
    requirement_units: int
    held_units: int
    equity_units: int
    maintenance_units: int
    deadline_ns: int
    # What its account is told of it in, all along: the USD of one whole, as of when, and why it is not its currency.
    currency: str = "USD"
    price_usd: float = 1.0
    priced_ns: int = 0
    why: str = ""


class MarginCallMoved(Record, frozen=True, tag=122):
    """Something happened to a margin call. `until_ns`: the new deadline of an escalated or upheld one, or the grace."""

    account: str
    call_id: str
    happening: str
    undisputed_units: int
    until_ns: int
    reason: str


class TransferBegun(Record, frozen=True, tag=123):
    """Collateral is about to move: taken from its source. Places are those of risk.collateral_ledger."""

    key: str
    account: str
    asset: str
    units: int
    source_place: str
    source_name: str
    target_place: str
    target_name: str
    due_ns: int
    call_id: str


class TransferMoved(Record, frozen=True, tag=124):
    """Something happened to a transfer, told of under `reference`; `value_units` is what settled units count for."""

    key: str
    happening: str
    units: int
    reference: str
    value_units: int
    reason: str


class CollateralAssigned(TransferBegun, frozen=True, tag=125):
    """A client's CollateralAssignment(AY) pledges an asset: its transfer begins, CollateralResponse(AZ) follows."""

    session: str
    seq_in: int
    assignment_id: str
    request_id: str
    asgn_reason: int


class MarginCallAnswered(MarginCallMoved, frozen=True, tag=126):
    """A client's CollateralAssignment(AY) says something of a call: received, agreed, disputed. AZ follows."""

    session: str
    seq_in: int
    assignment_id: str
    asgn_reason: int


class AssignmentCancelled(TransferMoved, frozen=True, tag=127):
    """A client's CollateralAssignment(AY) takes back what it had pledged and not sent. AZ follows."""

    session: str
    seq_in: int
    assignment_id: str
    request_id: str
    asgn_reason: int


class CollateralRefused(Record, frozen=True, tag=128):
    """A client's CollateralAssignment(AY) was refused: CollAsgnRejectReason(906) and why. AZ follows."""

    session: str
    seq_in: int
    assignment_id: str
    request_id: str
    trans_type: int
    asgn_reason: int
    account: str
    reason: int
    text: str


class AccountCurrencySet(Record, frozen=True, tag=215):
    """From here on an account is told its margin in this currency; AccountOpened says the first."""

    account: str
    currency: str


MarginRecord = (
    MarginStateMoved
    | MarginCalled
    | MarginCallMoved
    | TransferBegun
    | TransferMoved
    | CollateralAssigned
    | MarginCallAnswered
    | AssignmentCancelled
    | CollateralRefused
    | AccountCurrencySet
)
