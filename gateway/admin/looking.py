"""What can be looked at: the page's data, orders, limits, alerts, proposals, metrics, health."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.admin.access import Administrator, Viewer, stranger
from gateway.admin.bodies import PROBLEMS, Health, Problem
from gateway.admin.desk import ActError, Desk
from gateway.admin.fast_json import Json
from gateway.admin.metrics import exposition
from gateway.operators.channel import ListHolds, Plan

# A gateway that has told nothing for so long is not ready.
READY_AGE_NS: Final = 10_000_000_000

OBJECT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"schema": {"type": "object"}}}, "description": "What is asked for."}
}

_ASKED: Final[dict[int | str, dict[str, Any]]] = {409: {"model": Problem}, 503: {"model": Problem}}

router = APIRouter(responses=PROBLEMS)
open_router = APIRouter(dependencies=[Depends(stranger)], responses={429: {"model": Problem}})

After = Annotated[int, Query(ge=0, le=2**62, description="Only events after this sequence number.")]
AccountName = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]
Wanted = Annotated[str, Query(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Kind = Annotated[str, Query(max_length=32, pattern=r"^[a-z ]*$")]


def desk_of(request: Request) -> Desk:
    """Return the desk of this process."""
    return cast(Desk, request.app.state.desk)


@router.get("/api/v1/view", summary="Everything that the page shows", response_class=Json, responses=OBJECT)
async def view(request: Request, person: Viewer, after: After = 0, account: AccountName = "") -> Any:
    """Return accounts, venues, sessions, ladders, events, breaks, alerts, proposals, and who asks."""
    desk = desk_of(request)
    now_ns = desk.now_ns()
    told = desk.view.told(after, account, now_ns)
    told |= {"proposals": desk.approvals.rows(now_ns), "person": {"name": person.name, "role": person.role}}
    return Json(told)


@router.get("/api/v1/orders", summary="What became of orders, the newest first", response_class=Json, responses=OBJECT)
async def orders(
    request: Request,
    person: Viewer,
    after: After = 0,
    kind: Kind = "",
    account: AccountName = "",
    limit: Annotated[int, Query(ge=1, le=2000)] = 200,
) -> Any:
    """Return events of the journal: accepted, rejected with the numbers behind it, filled, cancelled."""
    return Json({"events": desk_of(request).view.journal.recent(after, limit, kind, account)})


@router.get("/api/v1/limits", summary="Limits in force", responses={409: {"model": Problem}, 503: {"model": Problem}})
def limits(request: Request, person: Viewer, account: AccountName = "") -> dict[str, Any]:
    """Return each limit: in force, configured, and what two persons agreed on."""
    return {"limits": desk_of(request).limits(account)}


@router.get("/api/v1/holds", summary="Holds of the hook", responses={409: {"model": Problem}, 503: {"model": Problem}})
def holds(request: Request, person: Viewer, unknown: bool = False) -> dict[str, Any]:
    """Return what systems hold that send their own orders."""
    return desk_of(request).ask(ListHolds(unknown))


@router.get("/api/v1/plan", summary="What would be done about an account's margin", responses=_ASKED)
def plan(request: Request, person: Viewer, account: Wanted) -> dict[str, Any]:
    """Return the steps that would cover it again, each with before, after and cost; nothing is done."""
    return desk_of(request).ask(Plan(account))


@router.get("/api/v1/alerts", summary="Alerts", response_class=Json, responses=OBJECT)
async def alerts(request: Request, person: Viewer) -> Any:
    """Return all alerts, those that hold first."""
    desk = desk_of(request)
    return Json({"alerts": desk.view.alerts.rows(desk.now_ns())})


@router.get("/api/v1/audit", summary="Where the audit log ends")
async def audit(request: Request, person: Administrator) -> dict[str, Any]:
    """Return the number of entries and the last hash: kept elsewhere, it shows later whether the log was cut off."""
    head = desk_of(request).audit.head
    return {"entries": head.entries, "hash": head.hash}


@router.get(
    "/metrics",
    summary="For Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics."}},
)
async def metrics(request: Request, person: Viewer) -> Response:
    """Return the newest snapshot in Prometheus' text format."""
    return Response(exposition(request.app.state.facts), media_type=CONTENT_TYPE_LATEST)


@open_router.get("/health/live", summary="Whether this process answers")
async def live() -> Health:
    """Return that it does."""
    return Health(ok=True)


@open_router.get("/health/ready", summary="Whether it sees a gateway", responses={503: {"model": Problem}})
async def ready(request: Request) -> Health:
    """Return whether a gateway tells of itself and the journal can be followed."""
    desk = desk_of(request)
    now_ns = desk.now_ns()
    if desk.view.status is None:
        raise ActError(503, "no gateway runs")
    if desk.view.age_ns(now_ns) > READY_AGE_NS:
        raise ActError(503, "the gateway has told nothing for a while")
    if desk.view.trouble:
        raise ActError(503, "the journal can not be followed")
    return Health(ok=True)
