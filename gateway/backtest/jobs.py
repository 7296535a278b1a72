"""A backtest's work, shared out over processes, each with a history of its own; what waits for champions comes last."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.backtest import champions
from gateway.backtest.champions import Reign
from gateway.backtest.study import HORIZON_HOURS, Data, Finding, Plan, Refused, contest_or_why, find, find_under
from risk.learning.contest import Contest
from risk.volatility.refusals import EstimateError

Ratios = dict[str, dict[int, float]]
# A champion's forecast is of a day, as what is measured is.
CHAMPION_HOURS: Final = 24


class Results(msgspec.Struct, frozen=True):
    """Everything that a backtest found: walks by shape and model, contests of forecasts, those that were not held, and
    whose forecast would have been used."""

    findings: list[Finding]
    contests: list[Contest]
    refused: list[Refused]
    reigns: list[Reign] = []


def reign_or_why(data: Data, plan: Plan, underlying_at: int, _: int) -> Reign | Refused:
    """Whose forecast was used for an underlying, or why there was no contest."""
    try:
        return champions.reign(data, plan, underlying_at)
    except EstimateError as error:
        return Refused(data.days[underlying_at].name, CHAMPION_HOURS, f"champion: {error}")


def find_with_champions(data: Data, plan: Plan, shape_at: int, ratios: Ratios) -> Finding:
    """Walk a shape under the tempered margin with champions. An underlying without a contest keeps the filter's."""
    shape = data.shapes[shape_at]
    if not any(factor.underlying in ratios for factor in shape.factors):
        return Finding(shape.name, champions.NAME, None, "no contest could be held of its underlyings")
    return find_under(data, plan, shape, champions.model_of(data, ratios))


_WORK: Final[dict[str, Callable[..., Any]]] = {
    "reign": reign_or_why,
    "contest": contest_or_why,
    "walk": find,
    "champions": find_with_champions,
}
_data: Data | None = None


def _start(directory: str) -> None:
    global _data
    _data = Data.read(Path(directory))


def _work(what: str, plan: Plan, *given: Any) -> Any:
    assert _data is not None, "a worker reads its data first"
    return _WORK[what](_data, plan, *given)


Job = tuple[str, int, Any]


def _first_jobs(plan: Plan, data: Data) -> list[Job]:
    """All that waits for nothing, the longest first, so that no processor waits for another's last one."""
    count = len(data.files) if plan.forecasts else 0
    jobs: list[Job] = [("reign", at, 0) for at in range(count)]
    jobs += [("contest", at, hours) for at in range(count) for hours in HORIZON_HOURS]
    return jobs + [("walk", shape, model) for shape in range(len(data.shapes)) for model in range(len(data.models))]


def run(plan: Plan, data: Data, workers: int | None = None, on_done: Callable[[], None] | None = None) -> Results:
    """Walk all, in as many processes as there are processors; in the order of shapes, then models."""
    jobs = _first_jobs(plan, data)
    count = min(workers or cpu_count() or 1, max(1, len(jobs)))
    found: dict[tuple[str, int, Any], Any] = {}
    if count <= 1:
        for what, *given in [*jobs, *_later_jobs(plan, data)]:
            more = [_ratios(found)] if what == "champions" else given[1:]
            found[what, given[0], given[1]] = _WORK[what](data, plan, given[0], *more)
            if on_done is not None:
                on_done()
    else:
        _run_there(plan, data, count, jobs, found, on_done)
    return _results(plan, data, found)


def _run_there(
    plan: Plan, data: Data, count: int, jobs: list[Job], found: dict[Job, Any], on_done: Callable[[], None] | None
) -> None:
    later = _later_jobs(plan, data)
    reigns = sum(what == "reign" for what, *_ in jobs)
    # Spawned: a process that was forked has this one's locks, of numerical libraries among them.
    context = get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=_start, initargs=(plan.directory,)) as pool:
        pending: dict[Future[Any], Job] = {pool.submit(_work, job[0], plan, *job[1:]): job for job in jobs}
        while pending:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                job = pending.pop(future)
                found[job] = future.result()
                reigns -= job[0] == "reign"
                if on_done is not None:
                    on_done()
            if later and not reigns:
                ratios = _ratios(found)
                pending |= {pool.submit(_work, job[0], plan, job[1], ratios): job for job in later}
                later = []


def _later_jobs(plan: Plan, data: Data) -> list[Job]:
    return [("champions", shape, 0) for shape in range(len(data.shapes) if plan.forecasts else 0)]


def _ratios(found: dict[Job, Any]) -> Ratios:
    reigns = [one for (what, _, _), one in found.items() if what == "reign" and isinstance(one, Reign)]
    return {one.underlying: one.ratio for one in reigns}


def _results(plan: Plan, data: Data, found: dict[Job, Any]) -> Results:
    findings = []
    for shape in range(len(data.shapes)):
        for model in range(len(data.models)):
            findings.append(found["walk", shape, model])
            if model == 1 and plan.forecasts:  # beside the tempered margin that it is
                findings.append(found["champions", shape, 0])
    told = [found[job] for job in _first_jobs(plan, data) if job[0] in ("reign", "contest")]
    return Results(
        findings,
        [one for many in told if isinstance(many, list) for one in many],
        [one for one in told if isinstance(one, Refused)],
        [one for one in told if isinstance(one, Reign)],
    )


def job_count(plan: Plan, data: Data) -> int:
    """How many times `run` will call `on_done`."""
    return len(_first_jobs(plan, data)) + len(_later_jobs(plan, data))
