"""What records of planned transfers and of clearing houses' calls do to the book. Part of the ledger.

An order's state moves on with the very record that begins its transfer (gateway.margin.book), so that no crash can come
between: what was begun is not begun again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.records.transfers import (
    HouseCalled,
    HouseCallMoved,
    PlannedMove,
    TransferApproved,
    TransferCharged,
    TransferDropped,
    TransfersPlanned,
)
from risk.collateral_ledger import Location, Place, TransferTerms
from risk.house_calls import HouseCall, HouseCallHappening
from risk.transfer_orders import TransferOrder

if TYPE_CHECKING:
    from gateway.ledger import Ledger


def order_of(plan: str, move: PlannedMove) -> TransferOrder:
    """Return the order that a planned move is."""
    source = Location(Place(move.source_place), move.source_name, move.account)
    target = Location(Place(move.target_place), move.target_name, move.account)
    terms = TransferTerms(move.key, move.account, move.asset, move.units, source, target)
    return TransferOrder(
        terms, plan, move.route, move.fee_units, move.value_units, move.counted_units, move.approvals,
        move.expires_ns, move.call_id,
    )  # fmt: skip


def _planned(ledger: Ledger, record: TransfersPlanned) -> None:
    ledger.margin.orders.plan([order_of(record.plan, move) for move in record.moves], ledger.time_ns)


def _approved(ledger: Ledger, record: TransferApproved) -> None:
    ledger.margin.orders.approve(record.key, record.who)


def _dropped(ledger: Ledger, record: TransferDropped) -> None:
    ledger.margin.orders.drop(record.key)


def _house_called(ledger: Ledger, record: HouseCalled) -> None:
    said = (record.counterparty, record.request_id, record.account, record.amount_units, record.deadline_ns)
    ledger.margin.house_calls.open(HouseCall(*said))


def _house_call_moved(ledger: Ledger, record: HouseCallMoved) -> None:
    happening = HouseCallHappening(record.happening)
    ledger.margin.house_calls.move(record.counterparty, record.request_id, happening)


def _charged(ledger: Ledger, record: TransferCharged) -> None:
    collateral = ledger.margin.collateral
    terms = collateral.transfers[record.key].terms
    if units := collateral.charge(record.key, record.units):
        ledger.accounts[terms.account].move_cash(terms.asset, -units)


APPLIES: Final[dict[type, Callable[[Ledger, Any], None]]] = {
    TransfersPlanned: _planned,
    TransferApproved: _approved,
    TransferDropped: _dropped,
    HouseCalled: _house_called,
    HouseCallMoved: _house_call_moved,
    TransferCharged: _charged,
}
