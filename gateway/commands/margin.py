"""`margingate margin`: price a portfolio file, or golden cases, by a venue's model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import orjson
import typer
from rich.console import Console
from rich.table import Table

from gateway.commands.tables import output
from risk import models
from risk.models import CaseResult, MarginError, MarginResult, WhatIf
from risk.models.cases import is_case

# A portfolio of ten thousand positions is 4 MB; a larger file is a mistake.
MAX_BYTES: Final = 32 * 1024 * 1024
MAX_CASES: Final = 10_000


def margin(
    file: Annotated[Path, typer.Argument(help="A portfolio, a golden case, or a file of cases (docs/margin.md).")],
    model: Annotated[str | None, typer.Option(help="Price by this model instead of the file's own.")] = None,
    whatif: Annotated[Path | None, typer.Option(help="Orders, a JSON list: margin before and after them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the ladder, spot x volatility, into this PNG file.")] = None,
) -> None:
    """Price a portfolio: components, scenario ladder, liquidation prices. Exit status 1 where anything is refused."""
    document = _read(file)
    if isinstance(document, list) or "cases" in document or is_case(document):
        if whatif is not None or plot is not None:
            _fail("bad_input", "--whatif and --plot are for a portfolio, not for golden cases")
        _print_cases(document, model, as_json)
        return
    try:
        portfolio = models.load(document)
        result = models.evaluate(portfolio, model)
        outcome = None if whatif is None else models.evaluate_orders(portfolio, _read(whatif), model)
        if plot is not None:
            from gateway.commands.margin_plot import draw  # late: only a picture needs the plotting library

            draw(portfolio, result, plot, model)
    except MarginError as refusal:
        _refuse(refusal, as_json)
    if as_json:
        _out(document_of(result) | ({} if outcome is None else {"whatif": _whatif(outcome)}))
    else:
        _print_result(result, outcome)


def document_of(result: MarginResult) -> dict[str, Any]:
    """Return a result as a JSON document: its fields, and what is available."""
    fields: dict[str, Any] = msgspec.to_builtins(result)
    covered = {"initial": result.initial_is_covered, "maintenance": result.maintenance_is_covered}
    return fields | {"available": result.available, "is_covered": covered}


def _whatif(outcome: WhatIf) -> dict[str, Any]:
    before, after = outcome.before, outcome.after
    names = ("equity", "initial", "maintenance", "available")
    return {
        "before": document_of(before),
        "after": document_of(after),
        "change": {name: getattr(after, name) - getattr(before, name) for name in names},
        "worst_available": outcome.worst_available,
        "worst_fills": list(outcome.worst_fills),
        "initial_is_covered": outcome.initial_is_covered,
    }


def _print_cases(document: Any, model: str | None, as_json: bool) -> None:
    """Run golden cases; a case that is refused or misses an expected figure makes the exit status 1."""
    cases, meta = (document, {}) if isinstance(document, list) else (document.get("cases", [document]), _meta(document))
    if not isinstance(cases, list):
        _fail("bad_input", "cases is no list")
    defaults = meta.get("params")
    if defaults is not None and not isinstance(defaults, dict):
        _fail("bad_input", "meta.params is no table")
    if len(cases) > MAX_CASES:
        _fail("too_many_cases", f"{len(cases)} are more than {MAX_CASES}")
    rows = list(_run(cases, model, defaults))
    is_good = all(row["is_within"] for row in rows)
    if as_json:
        _out({"cases": rows, "count": len(rows), "within": sum(row["is_within"] for row in rows)})
    else:
        for row in rows:
            print(_line(row))
    if not is_good:
        raise typer.Exit(1)


def _meta(document: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = document.get("meta") or {}
    if not isinstance(meta, Mapping):
        _fail("bad_input", "meta is no table")
    return meta


def _run(cases: Iterable[Any], model: str | None, defaults: Any) -> Iterable[dict[str, Any]]:
    for case in cases:
        case_id = case.get("id", "") if isinstance(case, Mapping) else ""
        try:
            if not isinstance(case, Mapping):
                raise MarginError("bad_input", "a case is an object")
            yield _case(models.evaluate_case(case, model, defaults))
        except MarginError as refusal:
            yield {"id": case_id, "refused": _reason(refusal), "is_within": False}


def _case(result: CaseResult) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": result.case_id,
        "model": result.model,
        "values": result.values,
        "checks": msgspec.to_builtins(result.checks),
        "is_within": result.is_within,
        "unread": list(result.unread),
    }
    if result.result is not None:
        row["result"] = document_of(result.result)
    return row


def _line(row: Mapping[str, Any]) -> str:
    if "refused" in row:
        return f"{row['id']}: refused: {row['refused']['reason']}: {row['refused']['text']}"
    unread = f"; not read: {', '.join(row['unread'])}" if row["unread"] else ""
    if not row["checks"]:
        return f"{row['id']} ({row['model']}): {_json(row['values'])}{unread}"
    missed = [check for check in row["checks"] if not check["is_within"]]
    said = ", ".join(f"{check['name']} is {check['ours']}, expected {check['expected']}" for check in missed)
    met = f"{len(row['checks'])} figures within tolerance"
    return f"{row['id']} ({row['model']}): {said or met}{unread}"


def _print_result(result: MarginResult, outcome: WhatIf | None) -> None:
    console = output()
    table = Table("", "initial", "maintenance", title=f"{result.model}, {result.currency}")
    for name, part in result.components.items():
        table.add_row(name, f"{part.initial:,.8g}", f"{part.maintenance:,.8g}")
    table.add_section()
    table.add_row("requirement", f"{result.initial:,.8g}", f"{result.maintenance:,.8g}")
    left = result.equity - result.maintenance
    table.add_row("equity", f"{result.equity:,.8g}", "")
    table.add_row("available", f"{result.available:,.8g}", f"{left:,.8g}")
    console.print(table)
    if result.ladder:
        rungs = Table("scenario", "profit", title=f"ladder; binding: {result.binding or 'none'}")
        for rung in result.ladder:
            rungs.add_row(rung.name, f"{rung.pnl:,.8g}")
        console.print(rungs)
    for found in result.liquidation:
        bankrupt = "" if found.bankruptcy is None else f", bankrupt at {found.bankruptcy:,.8g}"
        jump = ", where the requirement jumps" if found.is_jump else ""
        console.print(f"{found.underlying}: liquidated at {found.price:,.8g}{jump}{bankrupt}", markup=False)
    if result.unconfirmed:
        console.print(f"not confirmed by a public source: {', '.join(result.unconfirmed)}", markup=False)
    console.print(f"source: {result.source} ({result.as_of})", markup=False)
    if outcome is not None:
        worst = (
            "" if outcome.worst_available is None else f"; available in the worst case {outcome.worst_available:,.8g}"
        )
        changed = (
            outcome.after.initial - outcome.before.initial,
            outcome.after.maintenance - outcome.before.maintenance,
        )
        console.print(f"orders: initial {changed[0]:+,.8g}, maintenance {changed[1]:+,.8g}{worst}", markup=False)
        console.print("covered" if outcome.initial_is_covered else "NOT covered")


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            _fail("too_large", f"{path}: more than {MAX_BYTES} bytes")
        text = path.read_bytes()
        orjson.loads(text)  # strict: no NaN, no half of a character, no nesting without end
        document = json.loads(text, object_pairs_hook=_once)  # exact: integers of any size
    except OSError as error:
        _fail("unreadable", f"{path}: {error.strerror}")
    except orjson.JSONDecodeError as error:
        _fail("bad_json", f"{path}: {error}")
    if not isinstance(document, dict | list):
        _fail("bad_json", f"{path}: neither an object nor a list")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table, or refuse one that states a key twice: which of the two was meant?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        _fail("bad_json", f"{next(key for key in keys if keys.count(key) > 1)}: stated twice in one table")
    return found


def _reason(refusal: MarginError) -> dict[str, str]:
    return {"reason": refusal.reason, "text": refusal.text}


def _refuse(refusal: MarginError, as_json: bool) -> NoReturn:
    if as_json:
        _out({"refused": _reason(refusal)})
        raise typer.Exit(1)
    _fail(refusal.reason, refusal.text)


def _out(document: Mapping[str, Any]) -> None:
    print(_json(document))


def _json(document: Any) -> str:
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    except TypeError:  # quanta of more than 64 bits
        return json.dumps(document, ensure_ascii=False)


def _fail(reason: str, text: str) -> NoReturn:
    Console(stderr=True, highlight=False).print(f"refused: {reason}: {text}", markup=False, soft_wrap=True)
    raise typer.Exit(1)
