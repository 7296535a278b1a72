"""Profit of positions under moves of spot and volatility, vectorised; what every scenario model shares."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, Literal

import msgspec
import numpy as np

from risk.models.portfolio import SECONDS_A_DAY, SECONDS_A_YEAR, Portfolio, Position
from risk.models.result import MarginError, require
from risk.pricing import Floats, black76, black76_value

REFERENCE_DAYS: Final = 30.0

VolMove = Literal["down", "same", "up"]


class VolShock(msgspec.Struct, frozen=True, kw_only=True):
    """Relative volatility moves scaled by time to expiry: 1 ± range * (30 / max(days, floor)) ** power.

    The short power holds to 30 days inclusive. An up-shocked volatility is at least `min_up`; one shocked down stops
    at zero. Form: Deribit, Derive, Paradex (docs/margin.md).
    """

    up: float
    down: float
    short_power: float = 0.0
    long_power: float = 0.0
    floor_days: float = 1.0
    min_up: float = 0.0

    def scale(self, expiry_s: float) -> float:
        """Return (30 / days) ** power of an expiry."""
        days = expiry_s / SECONDS_A_DAY
        power = self.short_power if days <= REFERENCE_DAYS else self.long_power
        return float((REFERENCE_DAYS / max(days, self.floor_days)) ** power)

    def shocked(self, vol: float, expiry_s: float, move: str) -> float:
        """Return the volatility after a move."""
        if move == "same":
            return vol
        scale = self.scale(expiry_s)
        if move == "up":
            return max(vol * (1.0 + self.up * scale), self.min_up)
        require(move == "down", "bad_parameter", f"volatility move {move}")
        return vol * max(0.0, 1.0 - self.down * scale)


class Moves(msgspec.Struct, frozen=True, eq=False):
    """Scenarios: relative spot moves, shape (S,), and a volatility move each."""

    spot: Floats
    vol: tuple[VolMove, ...]

    @staticmethod
    def grid(spot: Sequence[float], vol: Sequence[VolMove]) -> Moves:
        """Return every spot move with every volatility move, spot-major."""
        return Moves(np.repeat(np.array(spot, dtype=np.float64), len(vol)), tuple(vol) * len(spot))

    def names(self) -> list[str]:
        """Return a name for each scenario, such as `-16% up`."""
        return [f"{100 * spot:+.6g}% {vol}" for spot, vol in zip(self.spot, self.vol)]


def option_vol(held: Position) -> float:
    """Return an option's mark volatility, or refuse: without one its risk would be switched off."""
    if held.vol is None:
        raise MarginError("missing_vol", f"{held.instrument}: an option needs its mark volatility")
    return held.vol


def option_forward(portfolio: Portfolio, held: Position) -> tuple[float, float]:
    """Return forward and the part of it that is fixed already; spot stands in where no expiry is given at all."""
    market = portfolio.underlying(held.underlying)
    if not market.expiries:
        raise MarginError("missing_forward", f"{held.instrument}: its underlying has no expiries")
    expiry = market.expiry(held.expiry_s if held.expiry_s is not None else inf)
    return expiry.forward, expiry.fixed_part()


def option_value(portfolio: Portfolio, held: Position) -> float:
    """Return the undiscounted Black-76 value of one option, in USD."""
    forward, _ = option_forward(portfolio, held)
    assert held.strike is not None
    return black76_value(forward, held.strike, held.years(), option_vol(held), held.is_call)


def option_mark_moved(portfolio: Portfolio, held: Position, factor: float) -> float:
    """Return an option's mark after spot moved to `factor`: the mark plus the change of the model, at least zero."""
    forward, fixed = option_forward(portfolio, held)
    shifted = fixed + (forward - fixed) * factor
    assert held.strike is not None
    vol, years = option_vol(held), held.years()
    before = black76_value(forward, held.strike, years, vol, held.is_call)
    after = black76_value(shifted, held.strike, years, vol, held.is_call)
    if held.is_coin_settled:
        before, after = before / forward, after / shifted
    return max(0.0, held.marked() + after - before)


def position_pnl(portfolio: Portfolio, held: Position, moves: Moves, shock: VolShock) -> Floats:
    """Return the profit of a position in each scenario, shape (S,), in its settlement currency.

    A linear future gains qty * mark * x; an inverse one, qty USD at mark P, gains qty / P * (1 - 1 / (1 + x)) coin,
    which is convex: a loss of 16 % costs 19.05 %. Options are the difference of two model values; those settled in
    coin are divided by the forward of their own scenario.
    """
    if held.kind == "option":
        return _option_pnl(portfolio, held, moves, shock)
    if held.style == "inverse":
        return held.notional_qty / held.marked() * (1.0 - 1.0 / (1.0 + moves.spot))
    return held.notional_qty * held.marked() * moves.spot


def _option_pnl(portfolio: Portfolio, held: Position, moves: Moves, shock: VolShock) -> Floats:
    forward, fixed = option_forward(portfolio, held)
    assert held.strike is not None and held.expiry_s is not None
    vol, years = option_vol(held), held.years()
    by_move = {move: shock.shocked(vol, held.expiry_s, move) for move in set(moves.vol)}
    vols = np.array([by_move[move] for move in moves.vol])
    shifted = fixed + (forward - fixed) * (1.0 + moves.spot)
    after = black76(shifted, held.strike, years, vols, held.is_call)
    before = black76_value(forward, held.strike, years, vol, held.is_call)
    if held.is_coin_settled:
        after, before = after / shifted, before / forward
    return held.notional_qty * (after - before)


def delta_coins(portfolio: Portfolio, held: Position) -> float:
    """Return a position's delta in coins of its underlying: Black-76 for options, inverse face over mark."""
    if held.kind == "option":
        return held.notional_qty * option_delta(portfolio, held)
    if held.style == "inverse":
        return held.notional_qty / held.marked()
    return held.notional_qty


def option_delta(portfolio: Portfolio, held: Position) -> float:
    """Return dV/dF of one option times the share of its forward that can still move."""
    forward, fixed = option_forward(portfolio, held)
    assert held.strike is not None
    bump = forward * 1e-5
    years, vol = held.years(), option_vol(held)
    up = black76_value(forward + bump, held.strike, years, vol, held.is_call)
    down = black76_value(forward - bump, held.strike, years, vol, held.is_call)
    return (up - down) / (2.0 * bump) * (1.0 - fixed / forward)


def option_vega(portfolio: Portfolio, held: Position) -> float:
    """Return dV/dvol of one option for a whole unit of volatility, in USD."""
    forward, _ = option_forward(portfolio, held)
    assert held.strike is not None
    vol, years = option_vol(held), held.years()
    low = max(vol - 1e-4, 0.0)
    high = vol + 1e-4
    up = black76_value(forward, held.strike, years, high, held.is_call)
    down = black76_value(forward, held.strike, years, low, held.is_call)
    return (up - down) / (high - low)


def year_fraction(expiry_s: float | None) -> float:
    """Return years to expiry; a perpetual's are zero."""
    return 0.0 if expiry_s is None else max(expiry_s, 0.0) / SECONDS_A_YEAR
