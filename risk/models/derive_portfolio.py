"""Derive's portfolio margin (PMRM 2): worst of scenarios, tails and skews, plus contingencies. All in USD.

    net margin = min(basis, scenarios) * factor - contingencies + mark to market + cash

Net margin >= 0 passes. Reproduces the venue's contract on its public cases; parameters are data.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Literal

import msgspec
import numpy as np

from risk.models.parameters import parameters
from risk.models.portfolio import Collateral, Expiry, Portfolio, Position, Underlying, net
from risk.models.result import Component, MarginError, MarginResult, Scenario, require
from risk.models.valuation import VolShock, option_vol
from risk.pricing import Floats, black76

VolKind = Literal["up", "none", "down", "linear", "abs"]


class DeriveScenario(msgspec.Struct, frozen=True, array_like=True):
    """Spot multiplier, volatility move, and the factor that the profit is dampened by."""

    spot: float
    vol: VolKind
    dampening: float


class Skew(msgspec.Struct, frozen=True):
    """How far the wings of the surface tilt ("linear") or lift ("abs"): cap = base + c * sqrt(t)."""

    linear_cap: float
    linear_c: float
    abs_cap: float
    abs_c: float
    min_k_star: float
    width_scale: float
    vol_static: float
    vol_scale: float


class DerivePortfolioParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every number of the model; fractions of one."""

    scenarios: tuple[DeriveScenario, ...]
    vol_shock: VolShock
    skew: Skew
    mm_loss_factor: float
    im_loss_factor: float
    short_rate_mult: float
    long_rate_mult: float
    short_rate_add: float
    long_rate_add: float
    long_static_discount: float
    short_static_discount: float
    basis_up: float
    basis_down: float
    basis_add: float
    basis_mult: float
    peg_threshold: float
    peg_factor: float
    confidence_threshold: float
    confidence_margin: float
    mm_perp: float
    im_perp: float
    mm_option: float
    im_option: float


class _Expiry:
    """One expiry's options, priced under every scenario at once: profits, shape (S,), before dampening."""

    def __init__(self, market: Expiry, options: list[Position], p: DerivePortfolioParameters) -> None:
        self.market, self.p = market, p
        self.years = options[0].years()
        # Calls first: black76 prices one kind at a time.
        options = [o for o in options if o.is_call] + [o for o in options if not o.is_call]
        self.calls = sum(o.is_call for o in options)
        self.strikes = np.array([o.strike for o in options], dtype=np.float64)
        self.vols = np.array([option_vol(o) for o in options])
        self.qty = np.array([o.notional_qty for o in options])
        rate = max(market.rate, 0.0)  # the venue takes no negative rate
        self.discount = exp(-rate * self.years)
        today = DeriveScenario(1.0, "none", 1.0)
        basis = [DeriveScenario(spot, "none", 1.0) for spot in (p.basis_up, p.basis_down)]
        values = self._values([today, *basis, *p.scenarios])
        self.mtm = float(values[0])
        loss = min(0.0, float(values[1]) - self.mtm, float(values[2]) - self.mtm)
        # The loss when this forward alone moves, scaled up with time to expiry.
        self.basis = loss * (p.basis_add + p.basis_mult * self.years)
        self.profits = self._profits(values[3:], rate)

    def _profits(self, values: Floats, rate: float) -> Floats:
        """Return shocked values, discounted against the holder, less the mark."""
        p, t = self.p, self.years
        when_long = p.long_static_discount * exp(-t * (rate * p.long_rate_mult + p.long_rate_add))
        when_short = p.short_static_discount * exp(t * (rate * p.short_rate_mult + p.short_rate_add))
        when_short = min(1.0 / self.discount, when_short)
        profits = np.where(values >= 0, values * when_long, values * when_short) - self.mtm
        # A tilt may go either way: each expiry is counted at its loss.
        tilts = np.array([s.vol in ("linear", "abs") for s in p.scenarios])
        return np.where(tilts, -np.abs(profits), profits)

    def _values(self, scenarios: list[DeriveScenario]) -> Floats:
        """Return the expiry's discounted value in each scenario, shape (S,)."""
        fixed = self.market.fixed_part()
        # A tilt of the surface leaves the forward where it is.
        spots = np.array([1.0 if s.vol in ("linear", "abs") else s.spot for s in scenarios])
        forwards = (fixed + (self.market.forward - fixed) * spots)[:, None]
        shocked = {vol: self._shocked(vol) for vol in {s.vol for s in scenarios}}
        vols, n = np.array([shocked[s.vol] for s in scenarios]), self.calls
        prices = np.hstack(
            [
                black76(forwards, self.strikes[:n], self.years, vols[:, :n], True),
                black76(forwards, self.strikes[n:], self.years, vols[:, n:], False),
            ]
        )
        values: Floats = self.discount * (prices @ self.qty)
        return values

    def _shocked(self, vol: str) -> Floats:
        shock, expiry_s = self.p.vol_shock, self.market.expiry_s
        if vol in ("linear", "abs"):
            return self._skewed(vol)
        if vol == "up":
            return np.maximum(self.vols * (1.0 + shock.up * shock.scale(expiry_s)), shock.min_up)
        if vol == "down":
            return self.vols * max(0.0, 1.0 - shock.down * shock.scale(expiry_s))
        return self.vols

    def naked_shorts(self) -> float:
        """Return short options of each strike that no long one of the same strike covers."""
        by_strike = (self.qty[self.strikes == strike] for strike in sorted(set(self.strikes.tolist())))
        return float(sum(max(0.0, -float(quantities.sum())) for quantities in by_strike))

    def _skewed(self, vol: str) -> Floats:
        p, root = self.p.skew, sqrt(self.years)
        cap = p.linear_cap + p.linear_c * root if vol == "linear" else p.abs_cap + p.abs_c * root
        k_star = max(p.min_k_star, root * p.width_scale * (p.vol_static + p.vol_scale * root))
        k = np.log(self.strikes / self.market.forward)
        if vol == "abs":
            k = np.abs(k)
        tilt = np.where(k >= 0, np.minimum(cap, k * cap / k_star), np.maximum(-cap, k * cap / k_star))
        skewed: Floats = self.vols * np.maximum(0.0, 1.0 + tilt)
        return skewed


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return Derive's portfolio margin; equity is mark to market plus cash."""
    p, where = parameters("derive_portfolio", DerivePortfolioParameters, portfolio.parameter_set, portfolio.parameters)
    require(bool(p.scenarios), "bad_parameter", "no scenarios")
    require(portfolio.stable_price > 0, "bad_mark", f"stable price {portfolio.stable_price}")
    market = _base(portfolio)
    perps = [held for held in net(portfolio.positions) if held.kind == "perpetual"]
    expiries = _expiries(portfolio, market, p)
    perp_qty = sum(held.notional_qty for held in perps)
    perp_price = _perp_price(market, perps)
    values = [held.qty * held.price / portfolio.stable_price for held in portfolio.collateral]
    cancelling = sum(v for v, held in zip(values, portfolio.collateral) if held.is_risk_cancelling)
    option_mtm = sum(e.mtm for e in expiries)
    perp_value = sum(held.profit(held.marked()) for held in perps)
    mtm = option_mtm + perp_value + sum(values) + portfolio.cash
    moves = np.array([s.spot - 1.0 for s in p.scenarios])
    profits = moves * (perp_qty * perp_price + cancelling)
    for e in expiries:
        profits = profits + e.profits
    pnl = (profits * np.array([s.dampening for s in p.scenarios])).tolist()
    basis = sum(e.basis for e in expiries)
    worst = min(basis, *pnl)
    peg = max(0.0, p.peg_threshold - portfolio.stable_price) * p.peg_factor
    components = _contingencies(portfolio, market, p, expiries, perp_qty, values)
    components["scenarios"] = Component(-worst * (p.im_loss_factor + peg), -worst * p.mm_loss_factor)
    initial = sum(c.initial for c in components.values())
    maintenance = sum(c.maintenance for c in components.values())
    return MarginResult(
        model="derive_portfolio",
        currency="USD",
        equity=mtm,
        initial=initial,
        maintenance=maintenance,
        components=components,
        ladder=tuple(Scenario(_name(s), s.spot - 1.0, s.vol, v) for s, v in zip(p.scenarios, pnl)),
        binding="basis" if basis <= min(pnl) else _name(p.scenarios[int(np.argmin(pnl))]),
        details={
            "im_net": mtm - initial,
            "mm_net": mtm - maintenance,
            "portfolio_mtm": mtm,
            "option_mtm": option_mtm,
            "collateral_mtm": sum(values),
            "forward_contingency": basis,
            "scenario_pnl": pnl,
        },
        source=where.source,
        as_of=where.as_of,
    )


def _name(s: DeriveScenario) -> str:
    return f"{100 * (s.spot - 1.0):+.6g}% {s.vol} x{s.dampening:.6g}"


def _base(portfolio: Portfolio) -> Underlying:
    """Return the one underlying that a portfolio-margined account of this venue may hold."""
    held = sorted({position.underlying for position in portfolio.positions} or set(portfolio.underlyings))
    require(len(held) == 1, "one_underlying", f"portfolio margin holds one underlying, not {', '.join(held) or 'none'}")
    return portfolio.underlying(held[0])


def _expiries(portfolio: Portfolio, market: Underlying, p: DerivePortfolioParameters) -> list[_Expiry]:
    by_expiry: dict[float, list[Position]] = {}
    for held in net(portfolio.positions):
        if held.kind == "option" and held.qty:
            by_expiry.setdefault(held.expiry_s or 0.0, []).append(held)
        elif held.kind not in ("option", "perpetual"):
            raise MarginError("unsupported", f"{held.instrument}: this venue lists no {held.kind}")
    return [_Expiry(market.expiry(expiry_s), options, p) for expiry_s, options in sorted(by_expiry.items())]


def _perp_price(market: Underlying, perps: list[Position]) -> float:
    if not any(held.qty for held in perps):
        return 0.0
    return market.perp_price if market.perp_price is not None else perps[0].marked()


def _contingencies(
    portfolio: Portfolio,
    market: Underlying,
    p: DerivePortfolioParameters,
    expiries: list[_Expiry],
    perp_qty: float,
    values: list[float],
) -> dict[str, Component]:
    spot = market.spot
    perp = abs(perp_qty) * spot
    naked = sum(e.naked_shorts() for e in expiries) * spot
    # A collateral's confidence ignores the perpetual's: the venue takes the minimum with spot before it reads it.
    confidence = min(market.spot_confidence, market.perp_confidence) if perp_qty else market.spot_confidence
    oracle = _unsure(confidence, p) * perp
    for e in expiries:
        feeds = (e.market.forward_confidence, e.market.rate_confidence, e.market.vol_confidence)
        oracle += _unsure(min(confidence, *feeds), p) * float(np.abs(e.qty).sum()) * spot
    im_haircut = mm_haircut = 0.0
    for held, value in zip(portfolio.collateral, values):
        mm_haircut += _haircut(value, held.mm_haircut, held)
        im_haircut += _haircut(value, held.mm_haircut + held.im_haircut_addon, held)
        oracle += _unsure(min(held.confidence, market.spot_confidence), p) * abs(value)
    return {
        "perpetual": Component(perp * (p.mm_perp + p.im_perp), perp * p.mm_perp),
        "naked_shorts": Component(naked * (p.mm_option + p.im_option), naked * p.mm_option),
        "collateral": Component(im_haircut, mm_haircut),
        "oracle": Component(oracle, 0.0),
    }


def _haircut(value: float, haircut: float, held: Collateral) -> float:
    require(0 <= haircut <= 1, "bad_parameter", f"{held.asset}: haircut {haircut}")
    return max(value, 0.0) * haircut  # a debt is never discounted


def _unsure(confidence: float, p: DerivePortfolioParameters) -> float:
    """Return the charge on notional for an oracle's confidence below the threshold."""
    return (1.0 - confidence) * p.confidence_margin if confidence < p.confidence_threshold else 0.0
