"""The report: one page that needs nothing else, and the same as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.backtest import events, reasons
from gateway.backtest.champions import NAME as WITH_CHAMPIONS
from gateway.backtest.champions import Reign
from gateway.backtest.jobs import Results
from gateway.backtest.pictures import cost_against_rise, margin_against_loss
from gateway.backtest.study import Data, Finding, Plan, Refused, day_of
from gateway.price_files import PriceFile
from risk.coverage.verdict import Verdict, judged
from risk.coverage.walk import scored
from risk.learning.contest import CHALLENGER, CHAMPION, Contest
from risk.volatility.refusals import EstimateError

HTML: Final = "report.html"
JSON: Final = "report.json"


class Study(msgspec.Struct, frozen=True):
    """What a backtest found: verdicts by shape and model, why others have none, rises around events, costs."""

    plan: Plan
    measure: str
    tempered: str
    sources: list[dict[str, Any]]
    verdicts: list[Verdict]
    unanswered: list[dict[str, str]]
    rises: list[events.Rise]
    costs: list[events.Cost]
    contests: list[Contest]
    refused: list[Refused]
    clusters: list[reasons.Cluster]
    reigns: list[Reign]
    failed_tests: list[reasons.Failure]

    @property
    def failures(self) -> list[Verdict]:
        """Shapes that the measure does not cover as it should."""
        return [verdict for verdict in self.verdicts if verdict.model == self.measure and not verdict.is_covered]

    @property
    def own_reasons(self) -> list[reasons.Failure]:
        """Failures of the measure and of what is made of it."""
        return [one for one in self.failed_tests if one.model in (self.measure, self.tempered, WITH_CHAMPIONS)]

    @property
    def other_reasons(self) -> list[reasons.Failure]:
        """Failures of what they are compared with."""
        return [one for one in self.failed_tests if one not in self.own_reasons]

    @property
    def unsafe(self) -> list[Verdict]:
        """Shapes of which the tempered margin has too many exceptions, or a red zone."""
        return [verdict for verdict in self.verdicts if verdict.model == self.tempered and not verdict.is_safe]


def study_of(plan: Plan, data: Data, results: Results) -> Study:
    """Judge what was walked."""
    findings = results.findings
    measure, tempered = data.models[0].name, data.models[1].name
    verdicts, unanswered = [], []
    for finding in findings:
        why = finding.why
        if finding.walk is not None:
            try:
                verdicts.append(judged(scored(finding.walk, plan.first_day), plan.confidence))
                continue
            except EstimateError as error:
                why = str(error)
        unanswered.append({"shape": finding.shape, "model": finding.model, "why": why})
    ours = (measure, tempered, WITH_CHAMPIONS)
    dependent = {(v.shape, v.model) for v in verdicts if v.model in ours and not v.is_independent}
    return Study(
        plan,
        measure,
        tempered,
        [_source(data, at) for at in range(len(data.files))],
        verdicts,
        unanswered,
        events.rises(data, findings, measure, tempered, WITH_CHAMPIONS),
        events.costs(findings, measure, tempered, plan.first_day, WITH_CHAMPIONS),
        results.contests,
        results.refused,
        reasons.clusters(data, findings, dependent, plan.first_day),
        results.reigns,
        reasons.failures(data, findings, verdicts, plan.first_day),
    )


def _source(data: Data, at: int) -> dict[str, Any]:
    file, days = data.files[at], data.days[at]
    return {
        "underlying": days.name,
        "file": file.path.name,
        "sha256": file.sha256,
        "bar_seconds": file.rules.step_ns // 1_000_000_000,
        "first_day": str(day_of(int(days.day[0]))),
        "last_day": str(day_of(int(days.day[-1]))),
        "days": len(days.day),
        "days_without_variance": int(np.isnan(days.realised_variance).sum()),
        "implied_vol": _implied(file, days.implied_is_quoted),
        "implied_sha256": None if file.implied is None else file.implied.sha256,
        "implied_days": int(np.isfinite(days.implied_vol).sum()) if days.implied_is_quoted else 0,
        "basis": bool(np.isfinite(days.basis).any()),
        "funding": bool(np.isfinite(days.funding_rate).any()),
    }


def _implied(file: PriceFile, is_quoted: bool) -> str:
    if not is_quoted:
        return "derived from realised volatility"
    return "quoted" if file.implied is None else f"quoted, {file.implied.path.name}"


def document(study: Study) -> dict[str, Any]:
    """The study as JSON says it."""
    body: dict[str, Any] = msgspec.to_builtins(study)
    body["plan"]["first_day"] = str(day_of(study.plan.first_day))
    body["plan"]["last_day"] = str(day_of(study.plan.last_day))
    body["plan"]["directory"] = Path(study.plan.directory).name
    for row in body["reigns"]:
        row["ratio"] = {str(day_of(int(day))): ratio for day, ratio in row["ratio"].items()}
    for row, verdict in zip(body["verdicts"], study.verdicts):
        row |= {"is_covered": verdict.is_covered, "is_safe": verdict.is_safe}
    for row, rise in zip(body["rises"], study.rises):
        row |= {"cut": rise.cut, "champions_cut": rise.champions_cut, "is_named": rise.is_named}
    for row, cost in zip(body["costs"], study.costs):
        row |= {"more": cost.more, "champions_more": cost.champions_more}
    for row, contest in zip(body["contests"], study.contests):
        row["challenger_won"] = contest.challenger_won
    return body


def write(directory: Path, study: Study, findings: list[Finding], *, has_pictures: bool = True) -> tuple[Path, Path]:
    """Write report.html and report.json into a directory, which is made. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    html, json = directory / HTML, directory / JSON
    html.write_text(page(study, findings if has_pictures else None), encoding="utf-8")
    json.write_bytes(orjson.dumps(document(study), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return html, json


def page(study: Study, findings: list[Finding] | None) -> str:
    """The page; without pictures where there are no findings to draw."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f} %"
    walks = {(f.shape, f.model): f.walk for f in findings or () if f.walk is not None}
    shapes = []
    for shape in dict.fromkeys(verdict.shape for verdict in study.verdicts):
        rows = [verdict for verdict in study.verdicts if verdict.shape == shape]
        drawn = [walks[shape, m] for m in (study.measure, study.tempered, WITH_CHAMPIONS) if (shape, m) in walks]
        points = {v.model: (v.mean_margin, v.largest_rise["5"]) for v in rows if "5" in v.largest_rise}
        shapes.append(
            {
                "name": shape,
                "rows": rows,
                "picture": margin_against_loss(drawn) if drawn else "",
                "tradeoff": cost_against_rise(points) if findings is not None and len(points) > 1 else "",
            }
        )
    template = environment.get_template(HTML)
    return template.render(
        study=study,
        shapes=shapes,
        models=list(dict.fromkeys(verdict.model for verdict in study.verdicts)),
        verdicts={(v.shape, v.model): v for v in study.verdicts},
        champion=CHAMPION,
        with_champions=WITH_CHAMPIONS,
        challenger=CHALLENGER,
        measured=sum(verdict.model == study.measure for verdict in study.verdicts),
        first=day_of(study.plan.first_day),
        last=day_of(study.plan.last_day),
        rise_events=list(dict.fromkeys(rise.event for rise in study.rises)),
        rise_shapes=list(dict.fromkeys(rise.shape for rise in study.rises)),
        rises={(rise.event, rise.shape): rise for rise in study.rises},
        wanted_cut=events.WANTED_CUT,
        wanted_cost=events.WANTED_COST,
    )
