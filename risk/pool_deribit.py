"""Deribit's portfolio margin on the order path: a pool for each settlement currency, coins and stablecoins alike.

At rest it is the pure model exactly, roll shock netted by expiry. In a coin's pool, one unit alone, fills are bounded
exactly; orders' roll and delta shocks count whole, as the model reserves them. In a stablecoin's pool units net as the
model lets them, gains at pnl_offset up to their limit, and what a fill loses at once is kept apart from what it gains
in a scenario.
"""

from __future__ import annotations

from math import copysign

import numpy as np

from risk.instrument import Instrument
from risk.models import matrix
from risk.models.deribit_portfolio import DeribitPortfolioParameters, net_delta
from risk.models.parameters import parameters
from risk.models.valuation import Moves
from risk.pool_parts import Held, PoolPart, future_or_option, lot_of
from risk.pool_terms import Fixed
from risk.pricing import USD_LIKE, Floats, InstrumentMark, settles_in_coin


class DeribitPortfolio:
    """The matrix of spot and volatility, and extended moves restated to the edge of the range and dampened."""

    most_days = 0.0
    steps: tuple[tuple[float, float], ...] = ()

    def __init__(self, parameter_set: str | None) -> None:
        self.p, _ = parameters("deribit_portfolio", DeribitPortfolioParameters, parameter_set)
        standard = Moves.grid(self.p.buckets(), ("down", "same", "up"))
        extended = Moves.grid(self.p.extended_moves, ("up",))
        self._moves = Moves(np.concatenate([standard.spot, extended.spot]), standard.vol + extended.vol)
        self.size = len(self._moves.vol)
        self._is_extended = np.arange(self.size) >= len(standard.vol)
        self._edges = np.array([1.0 + copysign(self.p.price_range, move) for move in self.p.extended_moves])
        self._far = np.array(self.p.extended_moves)

    @property
    def base(self) -> int:
        """The scenario in which nothing moves, in the middle of the standard ones."""
        return 3 * self.p.buckets_count + 1

    def pool_of(self, currency: str) -> str:
        """A settlement currency stands alone."""
        return currency

    def unit_of(self, instrument: Instrument) -> str:
        """An underlying."""
        return instrument.underlying

    def asset(self, currency: str) -> tuple[float, float]:
        """It counts whole in its own pool; a debt is asked nothing more for."""
        return 1.0, 0.0

    def part(self, instrument: Instrument, mark: InstrumentMark) -> PoolPart:
        """Return the matrix, and the delta by expiry."""
        future_or_option(instrument)
        in_coin = settles_in_coin(instrument)
        lot = lot_of(instrument, mark, instrument.underlying if in_coin else "USD")
        weights = np.ones(self.size)
        restated = self.p.extended_table_factor * self.p.price_range / np.abs(self._far)
        weights[self._is_extended] = restated * (1.0 + self._far) / self._edges if in_coin else restated
        price = 1.0 if in_coin else lot.spot
        delta = net_delta(lot.portfolio, lot.position) * price
        years = mark.years_to_expiry if instrument.expiry_ns is not None else 0.0
        rate = max(self.p.min_annualised_move, self.p.annualised_move_risk * years)
        return PoolPart(
            move=matrix.pnl(lot.portfolio, lot.position, self._moves, self.p.vol_shock) * weights,
            worth=lot.worth,
            is_paid=instrument.is_option,
            a=abs(delta) * rate,
            d=abs(delta),
            features=(delta, rate),
        )

    def of_unit(self, unit: str, pool: str, spot: float) -> tuple[Floats, tuple[float, float, float]]:
        """Return what the dampener forgives in each extended move, and the delta shock."""
        p, in_coin = self.p, unit == pool
        start = np.zeros(self.size)
        times = np.abs(self._far) / p.price_range - 1.0
        start[self._is_extended] = np.maximum(
            0.0, times * p.extended_dampener / (self._edges * spot if in_coin else 1.0)
        )
        price = 1.0 if in_coin else spot
        return start, (p.delta_total_liq_shock_threshold / spot * price, p.m_inc / price, p.max_delta_shock)

    def of_pool(self, pool: str, spot: float) -> tuple[bool, float, Floats]:
        """Return how units of a stablecoin's pool net; an extended move is never a gain."""
        limit = np.where(self._is_extended, 0.0, self.p.max_offsetable_pnl)
        return pool in USD_LIKE, self.p.pnl_offset, limit

    def fixed(self, unit: str, pool: str, spot: float, held: list[Held]) -> Fixed:
        """Return roll shock by expiry, and the delta of all."""
        by_expiry: dict[tuple[int, float], float] = {}
        for one in held:
            delta, rate = one.features
            key = one.expiry_ns, rate
            by_expiry[key] = by_expiry.get(key, 0.0) + one.lots * delta
        roll = sum(abs(delta) * rate for (_, rate), delta in by_expiry.items())
        return roll, abs(sum(by_expiry.values())), 0.0, 0.0
