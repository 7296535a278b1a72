"""What an operator asks and decides of margin calls and transfers of collateral, in a running gateway."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from gateway.core import Core
from gateway.journal import JournalError
from gateway.operators.channel import (
    Answer,
    ApproveTransfer,
    ControlError,
    DecideMargin,
    DeclineTransfer,
    MoveTransfer,
    ShowMargin,
)
from gateway.operators.kills import MAX_REASON, MAX_WHO, printable
from risk.collateral_ledger import TransferError, TransferHappening
from risk.instrument import units_from_decimal
from risk.lifecycle import IllegalTransitionError
from risk.margin_states import Signal
from risk.margin_watch import CallAnswerError
from risk.transfer_orders import ONE_PERSON, ApprovalError

HAPPENINGS: Final = {
    "sent": TransferHappening.SENT,
    "settled": TransferHappening.SETTLED,
    "failed": TransferHappening.FAILED,
    "reversed": TransferHappening.REVERSED,
}
SIGNALS: Final = {
    "reinstated": Signal.REINSTATED,
    "handed-over": Signal.HANDED_OVER,
    "exhausted": Signal.EXHAUSTED,
}
UPHELD: Final = "upheld"


def answer(core: Core, command: ShowMargin | MoveTransfer | DecideMargin, who: str, now_ns: int) -> Answer:
    """Act on a command; raises ControlError where it is refused."""
    if isinstance(command, ShowMargin):
        return core.intraday.snapshot()
    by = printable(who, MAX_WHO)
    if isinstance(command, MoveTransfer) and command.approved_by:
        by += f", approved by {printable(command.approved_by, MAX_WHO)}"
    why = f"{by}: {printable(command.reason, MAX_REASON)}"
    try:
        if isinstance(command, MoveTransfer):
            return _move(core, command, why, now_ns)
        return _decide(core, command, why, now_ns)
    except (TransferError, IllegalTransitionError, CallAnswerError) as error:
        raise ControlError(str(error)) from None
    except JournalError as error:
        raise ControlError(f"the journal can not be written: {error}") from None


def is_shared(core: Core, key: str) -> bool:
    """Whether a transfer takes more than one person."""
    order = core.ledger.margin.orders.orders.get(key)
    return order is not None and order.approvals > ONE_PERSON


def decide_transfer(core: Core, command: ApproveTransfer | DeclineTransfer, who: str, now_ns: int) -> Answer:
    """A person approves of a transfer, or declines it; raises ControlError where it is refused."""
    key, desk = command.transfer, core.transfers
    try:
        if isinstance(command, ApproveTransfer):
            order = desk.approve(key, who, command.reason, now_ns)
            core.monitor.alert(f"transfer {key} approved by {printable(who, MAX_WHO)}")
            return {"state": order.state.value, "approvals": f"{len(order.approved_by)}/{order.approvals}"}
        desk.decline(key, who, command.reason, now_ns)
    except ApprovalError as error:
        raise ControlError(str(error)) from None
    except JournalError as error:
        raise ControlError(f"the journal can not be written: {error}") from None
    return {"state": core.ledger.margin.orders.orders[key].state.value}


def _move(core: Core, command: MoveTransfer, why: str, now_ns: int) -> Answer:
    happening = HAPPENINGS.get(command.happening)
    if happening is None:
        raise ControlError(f"what happened is one of {', '.join(HAPPENINGS)}")
    units = 0
    if happening is TransferHappening.SETTLED:
        try:
            units = units_from_decimal(Decimal(command.amount))
        except (InvalidOperation, ValueError):
            raise ControlError("what settled has an amount, in whole ones, with at most eight decimals") from None
    reference = printable(command.reference, MAX_WHO) if command.reference else ""
    is_news = core.intraday.transfer_moved(
        command.transfer, happening, now_ns, units=units, reference=reference, why=why
    )
    state = core.ledger.margin.collateral.transfers[command.transfer].state
    core.monitor.alert(f"transfer {command.transfer} {state.value}: {why}")
    return {"state": state.value, "is_news": is_news}


def _decide(core: Core, command: DecideMargin, why: str, now_ns: int) -> Answer:
    if command.account not in core.ledger.accounts:
        raise ControlError(f"no account {command.account[:64]}")
    if command.decision == UPHELD:
        core.intraday.upheld(command.account, command.call, why, now_ns)
    elif (told := SIGNALS.get(command.decision)) is not None:
        core.intraday.said(command.account, told, why, now_ns)
    else:
        raise ControlError(f"a decision is one of {', '.join((*SIGNALS, UPHELD))}")
    state = core.ledger.margin.watch(command.account).state
    core.monitor.alert(f"margin of {command.account} {state.value}: {command.decision} by {why}")
    return {"state": state.value}
