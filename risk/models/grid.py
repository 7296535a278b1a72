"""Grids with charges by contract: TIMS-style customer portfolio margin, Dederi. In USD.

margin = max(worst loss over the grid + contingencies, minimum per contract)
"""

from __future__ import annotations

import msgspec

from risk.models import matrix
from risk.models.parameters import parameters
from risk.models.portfolio import Portfolio, Position, contract_of, equity
from risk.models.result import Component, MarginResult, Scenario
from risk.models.valuation import Moves, VolMove, VolShock


class GridParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`moves` and `vols` span the grid; contingencies are shares of the index per coin; minimum is USD per coin."""

    moves: tuple[float, ...]
    vols: tuple[VolMove, ...]
    vol_shock: VolShock
    future_contingency: float
    option_contingency: float
    minimum: float
    initial_factor: float


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return the margin of a grid model: each underlying is a class of its own, nothing offsets between them."""
    p, where = parameters("grid", GridParameters, portfolio.parameter_set, portfolio.parameters)
    moves = Moves.grid(p.moves, p.vols)
    units = matrix.units(portfolio)
    for order in portfolio.orders:
        units.setdefault(contract_of(portfolio, order).underlying, [])
    components: dict[str, Component] = {}
    ladder: tuple[Scenario, ...] = ()
    for name, positions in sorted(units.items()):
        profits = matrix.total_pnl(portfolio, positions, moves, p.vol_shock)
        filled = profits + matrix.losses_of_orders(portfolio, name, moves, p.vol_shock)
        index = portfolio.underlying(name).spot
        worst = max(0.0, -float(profits.min()))
        charge, coins = _contingency(positions, index, p)
        asked = max(worst + charge, p.minimum * coins)
        components[f"{name} scan"] = Component(p.initial_factor * worst, worst)
        components[f"{name} contingency"] = Component(p.initial_factor * charge, charge)
        floor = asked - worst - charge
        components[f"{name} minimum"] = Component(p.initial_factor * floor, floor)
        if portfolio.orders:
            grown, ordered = (
                max(0.0, -float(filled.min())),
                _contingency(matrix.filled_orders(portfolio, name), index, p),
            )
            more = max(grown + charge + ordered[0], p.minimum * (coins + ordered[1])) - asked
            components[f"{name} orders"] = Component(p.initial_factor * max(0.0, more), 0.0)
        ladder += matrix.ladder(moves, profits, f"{name} ")
    components |= matrix.order_component(portfolio)
    return MarginResult(
        model="grid",
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


def _contingency(positions: list[Position], index: float, p: GridParameters) -> tuple[float, float]:
    """Return the charge by contract, and the coins of contracts that a minimum counts."""
    futures = sum(_coins(held, index) for held in positions if held.kind in ("perpetual", "future"))
    shorts = sum(_coins(held, index) for held in positions if held.kind == "option" and held.qty < 0)
    options = sum(_coins(held, index) for held in positions if held.kind == "option")
    return index * (p.future_contingency * futures + p.option_contingency * shorts), futures + options


def _coins(held: Position, index: float) -> float:
    size = abs(held.notional_qty)
    return size / index if held.style == "inverse" else size
