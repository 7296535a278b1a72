"""Golden cases as the vectors give them: which family a case is of is read off its inputs, never off its id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from risk.models.cases import deribit, derive, others, venues
from risk.models.cases.reading import ABOUT, Case, Table
from risk.models.portfolio import refuse_bad_numbers
from risk.models.result import MarginError, MarginResult

# Where a case states no tolerance: relative, or absolute where that is wider (figures are printed to 9 decimals).
RELATIVE: Final = 1e-6
ABSOLUTE: Final = 1e-8
# A stated tolerance is absolute; this much of the figure is rounding.
ROUNDING: Final = 1e-12

Run = Callable[[Case], "tuple[MarginResult | None, dict[str, Any]]"]


class Check(msgspec.Struct, frozen=True):
    """One expected figure against ours; `ours` is None where the model states no such figure."""

    name: str
    expected: Any
    ours: Any
    is_within: bool


class CaseResult(msgspec.Struct, frozen=True):
    """What a case comes to: `values` are under the vectors' own names, `unread` the inputs that none of them needed."""

    case_id: str
    model: str
    values: dict[str, Any]
    result: MarginResult | None = None
    checks: tuple[Check, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def is_within(self) -> bool:
        """True where every expected figure is met."""
        return all(check.is_within for check in self.checks)


def _with_result(run: Callable[[Case], MarginResult]) -> Run:
    def both(case: Case) -> tuple[MarginResult | None, dict[str, Any]]:
        result = run(case)
        return result, result.details

    return both


def _values(run: Callable[[Case], dict[str, Any]]) -> Run:
    return lambda case: (None, run(case))


def _has(*names: str) -> Callable[[Case], bool]:
    return lambda case: all(name in case.get("input", {}) for name in names)


def _has_any(*names: str) -> Callable[[Case], bool]:
    return lambda case: any(name in case.get("input", {}) for name in names)


def _states(*names: str) -> Callable[[Case], bool]:
    return lambda case: all(name in case for name in names)


# (model, what tells its cases, how they run): the first that fits.
FAMILIES: Final[tuple[tuple[str, Callable[[Case], bool], Run], ...]] = (
    ("derive_standard", _has("markets"), _with_result(derive.srm)),
    ("derive_portfolio", _has("spot", "options", "expiry_feeds"), _with_result(derive.pmrm2)),
    ("deribit_portfolio", _states("positions", "index_price", "currency"), _with_result(deribit.portfolio_margin)),
    ("okx_portfolio", _has("risk_unit", "positions"), others.okx_unit),
    ("okx_account", _has("units"), _values(others.okx_account)),
    ("okx_depeg", _has_any(*others.CASH_DELTAS, *others.HEDGED), _values(others.okx_depeg)),
    (
        "deribit_standard",
        _has_any("mark_coin", "mark_usd", "size_coin", "size_btc", "size_eth"),
        _values(deribit.standard_margin),
    ),
    ("binance_portfolio", _has_any("um", "cm", "margin"), _values(others.binance_assets)),
    ("tiered", _states("mode"), _values(venues.liquidation)),
    ("span", _has_any("array", "arrays", "legs", "scenarios"), _values(others.span_scan)),
    ("bitmex_adl", _has("mark", "bankruptcy"), _values(others.adl_rank)),
    ("dederi", _has_any("abr", "annual_basis", "basis"), _values(others.dederi)),
    (
        "vega",
        _has_any(
            "risk_aversion_lambda",
            "risk_aversion",
            "linear_slippage",
            "linear_slippage_factor",
            "s_twap",
            "margin_factor",
            "search_factor",
            "scaling_factors",
            "search_level",
            "search",
        ),
        _values(others.vega_margin),
    ),
    ("tiers", _has_any("base_im_ppm", "cum_prev"), _values(venues.tiers)),
    ("inverse", _has("contracts_usd"), _values(venues.inverse)),
    ("tiers", _has("tiers"), _values(venues.tiers)),
    ("backtest", _has_any("n00", "hits", "sequence", "violations"), _values(others.statistics)),
    ("backtest", _has("n", "p"), _values(others.statistics)),
    ("tiered", _has_any("wallet_balance", "isolated_margin", "account_value"), _values(venues.liquidation)),
)


def is_case(document: Mapping[str, Any]) -> bool:
    """Return True for a document that is a case rather than a portfolio."""
    return "input" in document or ("index_price" in document and "positions" in document and "currency" in document)


def run_case(case: Case, model: str | None = None, defaults: Mapping[str, Any] | None = None) -> CaseResult:
    """Run one case; `model` names its family where the inputs are not to decide.

    `defaults` are the parameters of the case's file: its own are put over them, key by key.

    Raises
    ------
    MarginError
        If no family fits, an input is missing, or the model refuses.
    """
    refuse_bad_numbers(case)
    _refuse_other_shapes(case)
    if defaults:
        case = {**case, "params": _merged(defaults, case.get("params", {}))}
    given = Table(case)
    if model and model not in NAMES:
        raise MarginError("unknown_model", f"{model}: there are {', '.join(NAMES)}")
    for name, fits, run in FAMILIES:
        if name == model if model else fits(given):
            result, values = _run(name, run, given)
            unread = tuple(sorted(place for place in given.seen.unread if place.split(".")[0] not in _SAID))
            return CaseResult(str(case.get("id", "")), name, values, result, tuple(_checks(case, values)), unread)
    raise MarginError("unknown_model", "no model takes inputs " + ", ".join(sorted(map(str, case.get("input", case)))))


NAMES: Final = tuple(dict.fromkeys(name for name, _, _ in FAMILIES))
_SAID: Final = ABOUT - {"input", "params"}


def _run(name: str, run: Run, given: Table) -> tuple[MarginResult | None, dict[str, Any]]:
    """Return what a family makes of a case; whatever does not fit is a refusal that names the place read last."""
    try:
        # An overflow is told by its infinite result.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result, values = run(given)
        refuse_bad_numbers(values, name)
    except MarginError:
        raise
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
        place, value = given.seen.last
        raise MarginError("bad_input", f"{place}: {_short(value)} does not fit {name}: {error}") from error
    return result, values


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= LONGEST_TOLD else told[: LONGEST_TOLD - 3] + "..."


LONGEST_TOLD: Final = 60


def _refuse_other_shapes(case: Case) -> None:
    for name in ("input", "params", "expected"):
        if not isinstance(case.get(name, {}), Mapping):
            raise MarginError("bad_input", f"{name} is no table")
    stated = case.get("tol")
    for tolerance in stated.values() if isinstance(stated, Mapping) else (stated,):
        if tolerance is not None and not _is_number(tolerance):
            raise MarginError("bad_input", f"tol: {_short(tolerance)} is no tolerance")


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(defaults)
    for key, value in own.items():
        known = found.get(key)
        found[key] = _merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return found


def _checks(case: Case, values: Mapping[str, Any]) -> Iterable[Check]:
    stated = case.get("tol")
    for name, expected in case.get("expected", {}).items():
        tolerance = stated.get(name) if isinstance(stated, Mapping) else stated
        ours = values.get(name)
        yield Check(name, expected, ours, name in values and agrees(expected, ours, tolerance))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def agrees(expected: Any, ours: Any, tolerance: float | None = None) -> bool:
    """Return True where two figures, or lists or tables of them, are within a stated (or else the usual) tolerance."""
    if isinstance(expected, Mapping):
        return isinstance(ours, Mapping) and all(
            key in ours and agrees(value, ours[key], tolerance) for key, value in expected.items()
        )
    if isinstance(expected, list):
        is_list = isinstance(ours, list) and len(ours) == len(expected)
        return is_list and all(agrees(a, b, tolerance) for a, b in zip(expected, ours))
    if not (_is_number(expected) and isinstance(ours, int | float)):
        return bool(expected == ours)
    size = abs(float(expected))
    allowed = max(ABSOLUTE, RELATIVE * size) if tolerance is None else tolerance + ROUNDING * size
    return bool(abs(float(expected) - float(ours)) <= allowed)
