"""What can be done: each act takes a role and the name typed again, and stands in the audit log, done or not."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from gateway.admin.access import Administrator, RiskManager, Viewer
from gateway.admin.bodies import (
    ACT_PROBLEMS,
    AlertmanagerBody,
    ApproveBody,
    BreakBody,
    DecideBody,
    Done,
    KillBody,
    LimitBody,
    LogoutBody,
    MarginBody,
    ReleaseBody,
    SharedDone,
    StateBody,
    TransferBody,
)
from gateway.admin.desk import ActError
from gateway.admin.looking import desk_of
from gateway.operators.channel import (
    ApproveTransfer,
    CloseBreak,
    DecideMargin,
    DeclineTransfer,
    Kill,
    LogOut,
    MoveTransfer,
    Reinstate,
    ReleaseHold,
    SetLimit,
    SetState,
)
from gateway.redaction import redacted

router = APIRouter(prefix="/api/v1", responses=ACT_PROBLEMS)
Number = Annotated[int, Path(ge=1, le=2**62)]
MAX_TEXT = 300
_PROPOSED: dict[str, Any] = {"model": SharedDone, "description": "Proposed."}


@router.post("/kill", summary="Stop a firm, desk, account, session, venue, instrument or client of the hook")
def kill(request: Request, person: RiskManager, body: KillBody) -> Done:
    """No new orders of it are taken, and all that work are being cancelled."""
    command = Kill(body.scope, body.name, body.reason, person.name)
    return Done(**desk_of(request).act(person, "kill", command, body.name, body.confirm))


@router.post("/reinstate", summary="Lift a kill")
def reinstate(request: Request, person: RiskManager, body: KillBody) -> Done:
    """It may send orders again."""
    command = Reinstate(body.scope, body.name, body.reason, person.name)
    return Done(**desk_of(request).act(person, "reinstate", command, body.name, body.confirm))


@router.post("/state", summary="Halt an account, let it only reduce, or let it trade")
def state(request: Request, person: RiskManager, body: StateBody) -> Done:
    """Working orders stay as they are; a kill cancels them."""
    command = SetState(body.account, body.state, body.reason, person.name)
    return Done(**desk_of(request).act(person, "state", command, body.account, body.confirm))


@router.post("/logout", summary="Log a session out")
def logout(request: Request, person: Administrator, body: LogoutBody) -> Done:
    """It may log on again."""
    command = LogOut(body.session, body.reason, person.name)
    return Done(**desk_of(request).act(person, "logout", command, body.session, body.confirm))


@router.post("/release-hold", summary="Free the margin of an unknown hold")
def release_hold(request: Request, person: RiskManager, body: ReleaseBody) -> Done:
    """Somebody has seen at the venue that its order has ended."""
    command = ReleaseHold(body.hold, body.reason, person.name)
    return Done(**desk_of(request).act(person, "release_hold", command, body.hold, body.confirm))


@router.post("/limits", summary="Change a limit", responses={202: _PROPOSED})
def set_limit(request: Request, response: Response, person: RiskManager, body: LimitBody) -> SharedDone:
    """A limit that is raised far takes a second person: then it is proposed, and nothing has changed."""
    command = SetLimit(body.account, body.key, body.value, body.was, body.reason, body.rule)
    answer = desk_of(request).set_limit(person, command, body.confirm)
    if answer["outcome"] == "pending":
        response.status_code = 202
    return SharedDone(**answer)


@router.post("/transfers", summary="Tell what happened to collateral", responses={202: _PROPOSED})
def move_transfer(request: Request, response: Response, person: RiskManager, body: TransferBody) -> SharedDone:
    """What a person says has settled, or come back, is booked when a second one says so too."""
    command = MoveTransfer(body.transfer, body.happening, body.reason, body.amount, body.reference)
    answer = desk_of(request).move_transfer(person, command, body.confirm)
    if answer["outcome"] == "pending":
        response.status_code = 202
    return SharedDone(**answer)


@router.post("/transfers/approve", summary="Approve of a transfer that the gateway wants to make")
def approve_transfer(request: Request, person: RiskManager, body: ApproveBody) -> Done:
    """A large one takes two persons: the second approval begins it."""
    command = ApproveTransfer(body.transfer, body.reason, person.name)
    return Done(**desk_of(request).act(person, "approve_transfer", command, body.transfer, body.confirm))


@router.post("/transfers/decline", summary="Have a transfer that has not begun dropped")
def decline_transfer(request: Request, person: RiskManager, body: ApproveBody) -> Done:
    """Its route is not taken for a while."""
    command = DeclineTransfer(body.transfer, body.reason, person.name)
    return Done(**desk_of(request).act(person, "decline_transfer", command, body.transfer, body.confirm))


@router.post("/margin", summary="Decide on an account that was taken over, or on a disputed call")
def decide_margin(request: Request, person: RiskManager, body: MarginBody) -> Done:
    """Give it back, hand it over, say that nothing is left to adjust, or let the call stand."""
    command = DecideMargin(body.account, body.decision, body.reason, body.call, person.name)
    return Done(**desk_of(request).act(person, "margin", command, body.account, body.confirm))


@router.post("/breaks/close", summary="End a break that a person answers for")
def close_break(request: Request, person: RiskManager, body: BreakBody) -> Done:
    """The accounts that it restricted stay so."""
    command = CloseBreak(body.number, body.reason, person.name)
    return Done(**desk_of(request).act(person, "close_break", command, str(body.number), body.confirm))


@router.post("/proposals/{number}/approve", summary="Approve what another person proposed")
def approve(request: Request, person: RiskManager, number: Number, body: DecideBody) -> Done:
    """It is carried out."""
    return Done(**desk_of(request).decide(person, number, is_approval=True, confirm=body.confirm))


@router.post("/proposals/{number}/refuse", summary="Refuse a proposal, or take back one's own")
def refuse(request: Request, person: RiskManager, number: Number, body: DecideBody) -> Done:
    """It is void."""
    return Done(**desk_of(request).decide(person, number, is_approval=False, confirm=body.confirm))


@router.post("/alerts/{number}/acknowledge", summary="Say that somebody has seen an alert")
async def acknowledge(request: Request, person: RiskManager, number: Number) -> Done:
    """It is not told again while it holds, unless it gets worse."""
    desk = desk_of(request)
    if not desk.view.alerts.knows(number):
        raise ActError(404, f"no alert {number}")
    await asyncio.to_thread(desk.note, person, "acknowledge", "done", {"alert": number})
    desk.view.alerts.acknowledge(number, person.name)
    return Done()


@router.post("/alertmanager", summary="Alertmanager's webhook: its alerts are shown here too")
async def alertmanager(request: Request, person: Viewer, body: AlertmanagerBody) -> Done:
    """They are told to nobody from here: Alertmanager has its own receivers."""
    desk = desk_of(request)
    now_ns = desk.now_ns()
    for alert in body.alerts:
        name = alert.labels.get("alertname", "alert")[:MAX_TEXT]
        text = alert.annotations.get("summary") or alert.annotations.get("description") or name
        severity = alert.labels.get("severity", "")
        key = f"alertmanager {alert.fingerprint or name}"
        desk.view.alerts.heard(
            key,
            "alertmanager",
            severity if severity in ("info", "warning", "critical") else "warning",
            redacted(text[:MAX_TEXT]),
            now_ns,
            is_firing=alert.status == "firing",
        )
    return Done()
