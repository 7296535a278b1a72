"""SPAN: sixteen scenarios, spread charges and credits, a minimum for short options.

    risk = max(scan + inter-month + delivery - inter-commodity credit, short option minimum) - net option value

Scenarios in the usual order; profit is positive here, where the exchanges' files print losses positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from risk.models.parameters import parameters
from risk.models.portfolio import Portfolio, Position, equity, net
from risk.models.result import Component, MarginError, MarginResult, Scenario, require
from risk.models.valuation import delta_coins, option_forward, option_value, option_vol
from risk.pricing import Floats, black76

# (share of the price scan range, volatility direction, share of the loss that counts); extremes are filled in.
_REGULAR: Final = (0.0, 1 / 3, -1 / 3, 2 / 3, -2 / 3, 1.0, -1.0)
_SHARES: Final = ("0", "+1/3", "-1/3", "+2/3", "-2/3", "+3/3", "-3/3")
NAMES: Final = (*(f"{share}{vol}" for share in _SHARES for vol in (",+v", ",-v")), "+extreme", "-extreme")
SCENARIOS: Final = 16


class SpanParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ranges are shares of price and absolute volatility; charges are USD per coin of spread or per short option.

    `credits` are (first, its deltas, second, its deltas, rate): offsets between commodities.
    """

    price_scan: dict[str, float]
    vol_scan: dict[str, float]
    default_price_scan: float
    default_vol_scan: float
    extreme_multiple: float
    extreme_cover: float
    inter_month: dict[str, float]
    delivery: dict[str, float]
    short_option_minimum: dict[str, float]
    credits: tuple[tuple[str, float, str, float, float], ...]
    initial_factor: float


def scan_risk(profits: Sequence[float] | Floats) -> float:
    """Return the largest loss of a total array of sixteen profits, at least zero."""
    require(len(profits) == SCENARIOS, "bad_input", f"{len(profits)} scenarios, not {SCENARIOS}")
    return max(0.0, -float(min(profits)))


def combined(arrays: Sequence[Sequence[float]], quantities: Sequence[float]) -> list[float]:
    """Return the total profits of arrays of one contract times their quantities."""
    require(len(arrays) == len(quantities), "bad_input", "as many quantities as arrays")
    for array in arrays:
        require(len(array) == SCENARIOS, "bad_input", f"{len(array)} scenarios, not {SCENARIOS}")
    totals = np.asarray(arrays, dtype=np.float64).T @ np.asarray(quantities, dtype=np.float64)
    return [float(total) for total in totals]


def requirement(
    scan: float, *, inter_month: float, delivery: float, credit: float, minimum: float, option_value: float
) -> float:
    """Return a combined commodity's requirement, at least zero."""
    return max(0.0, max(scan + inter_month + delivery - credit, minimum) - option_value)


def risk_array(portfolio: Portfolio, held: Position, p: SpanParameters) -> Floats:
    """Return a position's profit in the sixteen scenarios, in USD, the cover of extremes applied."""
    scan = p.price_scan.get(held.underlying, p.default_price_scan)
    vol_scan = p.vol_scan.get(held.underlying, p.default_vol_scan)
    require(scan * p.extreme_multiple > 0, "bad_parameter", f"price scan {scan}")
    shares = np.array([share for share in _REGULAR for _ in range(2)] + [p.extreme_multiple, -p.extreme_multiple])
    vols = np.array([vol_scan, -vol_scan] * len(_REGULAR) + [0.0, 0.0])
    cover = np.array([1.0] * (2 * len(_REGULAR)) + [p.extreme_cover] * 2)
    factors = np.maximum(1.0 + scan * shares, 1e-6)  # a price stops at nothing
    if held.kind == "option":
        forward, fixed = option_forward(portfolio, held)
        shocked = np.maximum(option_vol(held) + vols, 0.0)
        moved = fixed + (forward - fixed) * factors
        after = black76(moved, held.strike or 0.0, held.years(), shocked, held.is_call)
        gained: Floats = held.notional_qty * (after - option_value(portfolio, held)) * cover
        return gained
    if held.style == "inverse":
        raise MarginError("unsupported", f"{held.instrument}: SPAN here is for contracts that pay in USD")
    profits: Floats = held.notional_qty * held.marked() * (factors - 1.0) * cover
    return profits


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return SPAN margin in USD. Net option value is credited, so equity counts no option marks."""
    p, where = parameters("span", SpanParameters, portfolio.parameter_set, portfolio.parameters)
    found: dict[str, list[Position]] = {}
    for held in net(portfolio.positions):
        found.setdefault(held.underlying, []).append(held)
    totals = {name: _total(portfolio, held, p) for name, held in found.items()}
    scans = {name: scan_risk(array) for name, array in totals.items()}
    credit = _credits(portfolio, found, scans, p)
    components: dict[str, Component] = {}
    ladder: tuple[Scenario, ...] = ()
    details: dict[str, object] = {}
    for name, positions in sorted(found.items()):
        parts = {
            "inter_month": p.inter_month.get(name, 0.0) * _spreads(portfolio, positions),
            "delivery": p.delivery.get(name, 0.0) * sum(abs(h.notional_qty) for h in positions if h.kind == "future"),
            "credit": credit.get(name, 0.0),
            "minimum": p.short_option_minimum.get(name, 0.0) * _shorts(positions),
            "option_value": sum(option_value(portfolio, h) * h.notional_qty for h in positions if h.kind == "option"),
        }
        asked = requirement(scans[name], **parts)
        components[name] = Component(p.initial_factor * asked, asked)
        details[name] = {"scan_risk": scans[name]} | parts
        shares = [*(share for share in _REGULAR for _ in range(2)), p.extreme_multiple, -p.extreme_multiple]
        scan = p.price_scan.get(name, p.default_price_scan)
        vols = ["up", "down"] * len(_REGULAR) + ["same", "same"]
        rungs = zip(NAMES, shares, vols, totals[name].tolist())
        ladder += tuple(Scenario(f"{name} {label}", scan * share, vol, pnl) for label, share, vol, pnl in rungs)
    return MarginResult(
        model="span",
        currency=portfolio.currency,
        equity=equity(portfolio, counts_options=False),
        initial=sum(c.initial for c in components.values()),
        maintenance=sum(c.maintenance for c in components.values()),
        components=components,
        ladder=ladder,
        binding=min(ladder, key=lambda rung: rung.pnl).name if ladder else "",
        details=details,
        source=where.source,
        as_of=where.as_of,
    )


def _total(portfolio: Portfolio, positions: Sequence[Position], p: SpanParameters) -> Floats:
    total = np.zeros(SCENARIOS)
    for held in positions:
        if held.qty and held.kind != "spot":
            total += risk_array(portfolio, held, p)
    return total


def _shorts(positions: Sequence[Position]) -> float:
    """Return short options, calls or puts, whichever are more: one price can not hurt both."""
    calls = -sum(min(0.0, h.notional_qty) for h in positions if h.kind == "option" and h.is_call)
    puts = -sum(min(0.0, h.notional_qty) for h in positions if h.kind == "option" and not h.is_call)
    return max(calls, puts)


def _spreads(portfolio: Portfolio, positions: Sequence[Position]) -> float:
    """Return the deltas that one month hedges in another."""
    by_month: dict[float, float] = {}
    for held in positions:
        if held.kind == "spot":  # it is no month of anything, and bears no scan risk that a spread could free
            continue
        month = held.expiry_s or 0.0
        by_month[month] = by_month.get(month, 0.0) + delta_coins(portfolio, held)
    long = sum(delta for delta in by_month.values() if delta > 0)
    return min(long, -sum(delta for delta in by_month.values() if delta < 0))


def _future_scan(name: str, p: SpanParameters) -> float:
    """Return what a long or short future is asked for, as a share of its price."""
    return p.price_scan.get(name, p.default_price_scan) * max(1.0, p.extreme_multiple * p.extreme_cover)


def _credits(
    portfolio: Portfolio, found: Mapping[str, Sequence[Position]], scans: Mapping[str, float], p: SpanParameters
) -> dict[str, float]:
    """Return credits by commodity: opposite deltas pair up in the tier's ratio, in the order the offsets are listed.

    A paired delta frees its share of its commodity's scan risk times the offset's rate; never more than all of it, nor
    than a future of that delta is asked for: what short options ask for beside their delta is not offset by one.
    """
    nets = {
        name: sum(delta_coins(portfolio, held) for held in positions if held.kind != "spot")
        for name, positions in found.items()
    }
    left = dict(nets)
    freed: dict[str, float] = {}
    for first, of_first, second, of_second, rate in p.credits:
        require(0 <= rate <= 1 and of_first > 0 and of_second > 0, "bad_parameter", f"credit {first}-{second}")
        if left.get(first, 0.0) * left.get(second, 0.0) >= 0:
            continue
        pairs = min(abs(left[first]) / of_first, abs(left[second]) / of_second)
        for name, size in ((first, of_first), (second, of_second)):
            share = pairs * size / abs(nets[name])
            of_futures = pairs * size * portfolio.underlying(name).spot * _future_scan(name, p)
            freed[name] = freed.get(name, 0.0) + rate * min(share * scans[name], of_futures)
            left[name] -= pairs * size * (1 if left[name] > 0 else -1)
    return freed
