"""Paradex's portfolio margin: weighted worst of 24 scenarios, or a minimum by delta, plus provisions. In USD.

IMR = max(scan, min delta) + funding provision + fee provision;  MMR = 50 % of the first + both provisions
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from risk.models import matrix
from risk.models.parameters import parameters
from risk.models.portfolio import Portfolio, Position, contract_of, equity
from risk.models.result import Component, MarginResult, Scenario
from risk.models.valuation import Moves, VolShock, delta_coins


class ParadexParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scenarios` are (spot move, "up" or "down", weight)."""

    scenarios: tuple[tuple[float, str, float], ...]
    vol_shock: VolShock
    net_delta: float
    hedged_delta: float
    maintenance: float
    funding_rate_8h: float
    fee: float

    def moves(self) -> Moves:
        """Return the scenarios' moves."""
        vols = tuple("up" if vol == "up" else "down" for _, vol, _ in self.scenarios)
        return Moves(np.array([spot for spot, _, _ in self.scenarios]), vols)  # type: ignore[arg-type]


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return Paradex's portfolio margin; `accrued` funding stands in equity, the provision is for the next 8 hours."""
    p, where = parameters("paradex_portfolio", ParadexParameters, portfolio.parameter_set, portfolio.parameters)
    moves, weights = p.moves(), np.array([weight for _, _, weight in p.scenarios])
    units = matrix.units(portfolio)
    for order in portfolio.orders:
        units.setdefault(contract_of(portfolio, order).underlying, [])
    components: dict[str, Component] = {}
    ladder: tuple[Scenario, ...] = ()
    for name, positions in sorted(units.items()):
        profits = matrix.total_pnl(portfolio, positions, moves, p.vol_shock)
        weighted = profits * weights
        filled = (profits + matrix.losses_of_orders(portfolio, name, moves, p.vol_shock)) * weights
        least = minimum_delta(portfolio, name, positions, p)
        scan = max(0.0, -float(weighted.min()))
        net_margin = max(scan, least)
        components[f"{name} scan"] = Component(net_margin, p.maintenance * net_margin)
        funding, fee = _provisions(portfolio, name, positions, p)
        components[f"{name} funding"] = Component(funding, funding)
        components[f"{name} fee"] = Component(fee, fee)
        if portfolio.orders:
            delta, provisions = _order_charges(portfolio, name, p)
            grown = max(-float(filled.min()), least + delta)
            components[f"{name} orders"] = Component(max(0.0, grown - net_margin) + provisions, 0.0)
        ladder += matrix.ladder(moves, weighted, f"{name} ")
    components |= matrix.order_component(portfolio)
    return MarginResult(
        model="paradex_portfolio",
        currency=portfolio.currency,
        equity=equity(portfolio, counts_options=True),
        initial=sum(c.initial for c in components.values()),
        maintenance=sum(c.maintenance for c in components.values()),
        components=components,
        ladder=ladder,
        binding=min(ladder, key=lambda rung: rung.pnl).name if ladder else "",
        source=where.source,
        as_of=where.as_of,
    )


def minimum_delta(portfolio: Portfolio, name: str, positions: Sequence[Position], p: ParadexParameters) -> float:
    """Return the charge on net and hedged delta; hedged is what long and short delta have in common."""
    deltas = [delta_coins(portfolio, held) for held in positions if held.kind != "spot"]
    long = sum(delta for delta in deltas if delta > 0)
    short = -sum(delta for delta in deltas if delta < 0)
    spot = portfolio.underlying(name).spot
    return (p.net_delta * abs(long - short) + p.hedged_delta * min(long, short)) * spot


def _order_charges(portfolio: Portfolio, name: str, p: ParadexParameters) -> tuple[float, float]:
    """Return the most that fills of working orders add to the minimum by delta, and to the provisions."""
    delta = provisions = 0.0
    spot = portfolio.underlying(name).spot
    for order in matrix.filled_orders(portfolio, name):
        if order.kind != "spot":
            delta += abs(delta_coins(portfolio, order)) * max(p.net_delta, p.hedged_delta) * spot
        provisions += sum(_provisions(portfolio, name, [order], p))
    return delta, provisions


def _provisions(
    portfolio: Portfolio, name: str, positions: Sequence[Position], p: ParadexParameters
) -> tuple[float, float]:
    """Return what perpetuals may pay in funding over 8 hours, and what closing everything costs in fees."""
    spot = portfolio.underlying(name).spot
    perps = [held for held in positions if held.kind == "perpetual"]
    paid = sum(delta_coins(portfolio, held) for held in perps) * spot * p.funding_rate_8h
    futures = [held for held in positions if held.kind in ("perpetual", "future")]
    closed = sum(abs(delta_coins(portfolio, held)) for held in futures) * spot
    closed += sum(abs(held.notional_qty) * spot for held in positions if held.kind == "option")
    return max(0.0, paid), closed * p.fee
