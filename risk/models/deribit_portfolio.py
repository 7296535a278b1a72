"""Deribit's portfolio margin: buckets x volatility, extended moves, roll shock; in coin, or in USD across currencies.

    IM = worst case + delta shock + roll shock + add-ons + open orders
    MM = mm_factor * (worst case + delta shock + roll shock + correlation contingency)

Re-computed on real replies to 1e-8; the delta shock is a hypothesis (it is zero in both), and is marked so.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign

import msgspec
import numpy as np

from risk.models import matrix
from risk.models.parameters import Provenance, parameters
from risk.models.portfolio import Portfolio, Position, contract_of, equity
from risk.models.result import Component, MarginResult, Scenario, require
from risk.models.valuation import Moves, VolShock, delta_coins, year_fraction
from risk.pricing import Floats

CORRELATION = "correlation_contingency"


class DeribitPortfolioParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names are the venue's (private/simulate)."""

    price_range: float
    buckets_count: int
    volatility_range_up: float
    volatility_range_down: float
    min_volatility_for_shock_up: float
    short_term_vega_power: float
    long_term_vega_power: float
    extended_table_factor: float
    extended_moves: tuple[float, ...]
    delta_total_liq_shock_threshold: float
    max_delta_shock: float
    m_inc: float
    annualised_move_risk: float
    min_annualised_move: float
    extended_dampener: float
    pnl_offset: float
    max_offsetable_pnl: float
    mm_factor: float

    @property
    def vol_shock(self) -> VolShock:
        """The volatility shock of both tables."""
        return VolShock(
            up=self.volatility_range_up,
            down=self.volatility_range_down,
            short_power=self.short_term_vega_power,
            long_power=self.long_term_vega_power,
            min_up=self.min_volatility_for_shock_up,
        )

    def buckets(self) -> list[float]:
        """Return the standard spot moves, from the left."""
        n = self.buckets_count
        return [self.price_range * k / n for k in range(-n, n + 1)]


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return Deribit's portfolio margin; equity counts futures' profit and option marks."""
    p, where = parameters(
        "deribit_portfolio", DeribitPortfolioParameters, portfolio.parameter_set, portfolio.parameters
    )
    require(0 < p.price_range < 1 and p.buckets_count > 0, "bad_parameter", "price_range, buckets_count")
    units = matrix.units(portfolio)
    for order in portfolio.orders:
        units.setdefault(contract_of(portfolio, order).underlying, [])
    standard = Moves.grid(p.buckets(), ("down", "same", "up"))
    extended = Moves.grid(p.extended_moves, ("up",))
    held = np.zeros(standard.spot.shape), np.zeros(extended.spot.shape)
    filled = np.zeros(standard.spot.shape), np.zeros(extended.spot.shape)
    roll = delta_shock = 0.0
    for name, positions in units.items():
        for moves, is_extended, sums, worst_sums in (
            (standard, False, held[0], filled[0]),
            (extended, True, held[1], filled[1]),
        ):
            profit = matrix.total_pnl(portfolio, positions, moves, p.vol_shock)
            worst = profit + matrix.losses_of_orders(portfolio, name, moves, p.vol_shock)
            sums += _offset(portfolio, name, _extended(portfolio, name, profit, p) if is_extended else profit, p)
            worst_sums += _offset(portfolio, name, _extended(portfolio, name, worst, p) if is_extended else worst, p)
        roll += _roll_shock(portfolio, name, positions, p)
        delta_shock += _delta_shock(portfolio, name, positions, p)
    shocks = {"roll_shock": roll, "delta_shock": delta_shock, "orders_shocks": _order_shocks(portfolio, units, p)}
    return _result(portfolio, p, where, (standard, extended), held, filled, shocks)


def _result(
    portfolio: Portfolio,
    p: DeribitPortfolioParameters,
    where: Provenance,
    moves: tuple[Moves, Moves],
    held: tuple[Floats, Floats],
    filled: tuple[Floats, Floats],
    shocks: Mapping[str, float],
) -> MarginResult:
    roll, delta_shock = shocks["roll_shock"], shocks["delta_shock"]
    worst_case = max(0.0, -float(min(held[0].min(), held[1].min(initial=0.0))))
    with_orders = max(worst_case, -float(min(filled[0].min(), filled[1].min(initial=0.0))))
    correlation = portfolio.add_ons.get(CORRELATION, 0.0)
    components = {
        "worst_case": Component(worst_case, p.mm_factor * worst_case),
        "delta_shock": Component(delta_shock, p.mm_factor * delta_shock),
        "roll_shock": Component(roll, p.mm_factor * roll),
        "orders_worst_case": Component(with_orders - worst_case, 0.0),
        "orders_shocks": Component(shocks["orders_shocks"], 0.0),
    } | matrix.order_component(portfolio)
    for name, charge in portfolio.add_ons.items():
        components[name] = Component(charge, p.mm_factor * charge if name == CORRELATION else 0.0)
    by_bucket = held[0].reshape(-1, 3).min(axis=1)
    rungs = matrix.ladder(moves[0], held[0]) + matrix.ladder(moves[1], held[1], "extended ")
    initial, maintenance = (sum(getattr(c, k) for c in components.values()) for k in ("initial", "maintenance"))
    in_standard = -float(held[0].min()) >= worst_case
    return MarginResult(
        model="deribit_portfolio",
        currency=portfolio.currency,
        equity=equity(portfolio, counts_options=True),
        initial=initial,
        maintenance=maintenance,
        components=components,
        ladder=rungs,
        binding=_binding(rungs),
        details={
            "position_standard_low_edge": _edges(portfolio, p, -1.0),
            "position_standard_high_edge": _edges(portfolio, p, 1.0),
            "aggregated_standard_by_bucket": by_bucket.tolist(),
            "aggregated_extended": held[1].tolist(),
            "worst_case": worst_case,
            "worst_case_bucket": int(np.argmin(by_bucket)) + 1 if in_standard else None,
            "roll_shock": roll,
            "delta_shock": delta_shock,
            CORRELATION: correlation,
            "risk_matrix_margin": worst_case + delta_shock + roll + correlation,
            "initial_margin": initial,
            "maintenance_margin": maintenance,
        },
        unconfirmed=("delta_shock",) if delta_shock else (),
        source=where.source,
        as_of=where.as_of,
    )


def _binding(rungs: tuple[Scenario, ...]) -> str:
    worst = min(rungs, key=lambda rung: rung.pnl)
    return worst.name if worst.pnl < 0 else ""


def _edges(portfolio: Portfolio, p: DeribitPortfolioParameters, sign: float) -> dict[str, float]:
    moves = Moves.grid((sign * p.price_range,), ("same",))
    return {
        held.instrument: float(matrix.pnl(portfolio, held, moves, p.vol_shock)[0])
        for positions in matrix.units(portfolio).values()
        for held in positions
    }


def _offset(portfolio: Portfolio, name: str, profit: Floats, p: DeribitPortfolioParameters) -> Floats:
    """Return a unit's profit as others may net it: losses whole, gains times pnl_offset up to the limit."""
    limit = p.max_offsetable_pnl * _currency_per_usd(portfolio, name)
    return np.where(profit < 0, profit, np.minimum(p.pnl_offset * np.maximum(profit, 0.0), limit))


def _extended(portfolio: Portfolio, name: str, profit: Floats, p: DeribitPortfolioParameters) -> Floats:
    """Return extended moves scaled back to the edge of the range, dampened, and never a gain.

    A delta-one position shows its loss at the edge of the range; the dampener forgives a fixed amount of USD a range.
    """
    found = []
    for move, value in zip(p.extended_moves, profit.tolist()):
        sign = copysign(1.0, move)
        edge = 1.0 + sign * p.price_range
        in_coin = portfolio.currency == name
        # Coin amounts are restated from the price of the far move to that of the edge; USD amounts need it not.
        scaled = value * p.extended_table_factor * p.price_range / abs(move) * ((1.0 + move) / edge if in_coin else 1.0)
        usd = p.extended_dampener / (edge * portfolio.underlying(name).spot if in_coin else 1.0)
        forgiven = min((abs(move) / p.price_range - 1.0) * usd, abs(scaled))
        found.append(min(0.0, scaled + max(0.0, forgiven)))
    return np.array(found)


def _currency_per_usd(portfolio: Portfolio, name: str) -> float:
    return 1.0 / portfolio.underlying(name).spot if portfolio.currency == name else 1.0


def net_delta(portfolio: Portfolio, held: Position) -> float:
    """Return delta in coins; of a coin-settled option its mark is taken off (net transaction delta)."""
    delta = delta_coins(portfolio, held)
    if held.kind == "option" and held.is_coin_settled:
        delta -= held.notional_qty * held.marked()
    return delta


def _roll_shock(portfolio: Portfolio, name: str, positions: list[Position], p: DeribitPortfolioParameters) -> float:
    by_expiry: dict[float | None, float] = {}
    for held in positions:
        if held.kind != "spot":
            by_expiry[held.expiry_s] = by_expiry.get(held.expiry_s, 0.0) + net_delta(portfolio, held)
    coins = sum(
        abs(delta) * max(p.min_annualised_move, p.annualised_move_risk * year_fraction(expiry_s))
        for expiry_s, delta in sorted(by_expiry.items(), key=lambda item: item[0] or -1.0)
    )
    return coins if portfolio.currency == name else coins * portfolio.underlying(name).spot


def _order_shocks(portfolio: Portfolio, units: Mapping[str, list[Position]], p: DeribitPortfolioParameters) -> float:
    """Return the most that fills of working orders add to the roll and delta shocks: every order's delta counts."""
    total = 0.0
    for name, positions in units.items():
        orders = matrix.filled_orders(portfolio, name)
        total += sum(_roll_shock(portfolio, name, [order], p) for order in orders)
        grown = sum(abs(net_delta(portfolio, order)) for order in orders if order.kind != "spot")
        size = abs(_unit_delta(portfolio, positions))
        total += _shock_of(portfolio, name, size + grown, p) - _shock_of(portfolio, name, size, p)
    return total


def _unit_delta(portfolio: Portfolio, positions: list[Position]) -> float:
    return sum(net_delta(portfolio, held) for held in positions if held.kind != "spot")


def _delta_shock(portfolio: Portfolio, name: str, positions: list[Position], p: DeribitPortfolioParameters) -> float:
    """Return the charge on a delta beyond the threshold: a hypothesis, no reply with a non-zero one is public."""
    return _shock_of(portfolio, name, abs(_unit_delta(portfolio, positions)), p)


def _shock_of(portfolio: Portfolio, name: str, size: float, p: DeribitPortfolioParameters) -> float:
    spot = portfolio.underlying(name).spot
    beyond = max(0.0, size - p.delta_total_liq_shock_threshold / spot)
    coins = size * min(p.max_delta_shock, p.m_inc * beyond)
    return coins if portfolio.currency == name else coins * spot
