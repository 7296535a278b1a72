"""OKX portfolio margin: MR1 to MR9 of each risk unit, in USD.

    MMR = max(max(MR1, MR2, MR6) + MR3 + MR4 + MR5, MR7) + MR9,  IMR = imr_factor * MMR,  account adds MR8 (borrowing)

MR1, MR4, MR6, MR7 and the factor are re-computed on the venue's API example. MR2, MR3, MR5 and the place of MR7 in
the formula are not confirmed: the example holds no option. They are charged all the same, as written below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from risk.models import assets, matrix
from risk.models.parameters import parameters
from risk.models.portfolio import SECONDS_A_DAY, Portfolio, Position, contract_of
from risk.models.result import Component, MarginError, MarginResult, Scenario, require
from risk.models.valuation import (
    Moves,
    VolShock,
    delta_coins,
    option_forward,
    option_value,
    option_vega,
    option_vol,
    year_fraction,
)
from risk.pricing import black76_value

UNCONFIRMED: Final = ("mr2", "mr3", "mr5", "mr9")
# Underlyings of the class that asks least; without a parameter set all others have the one that asks most.
LARGE: Final = ("BTC", "ETH")
# The order in which hedges between stablecoin legs are taken.
PAIRS: Final = (("USDT", "USD"), ("USDT", "USDC"), ("USDC", "USD"))


class OkxParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of one class of underlyings; `mr7_tiers` are (raw charge from, multiplier), `mr9_pegs` (peg, rate).

    `rates` are collateral rates by asset for the order path; a file gives those of its own collateral.
    """

    mr1_moves: tuple[float, ...]
    mr1_vol: VolShock
    mr6_move: float
    mr6_weight: float
    mr4_annual: float
    mr4_least: float
    mr7_rate: float
    mr7_tiers: tuple[tuple[float, float], ...]
    mr3_rate: float
    mr5_shift: float
    mr9_pegs: tuple[tuple[float, float], ...]
    imr_factor: float
    mr8_mmr: float
    mr8_imr: float
    rates: dict[str, float] = {}


def class_of(underlying: str) -> str:
    """Return the parameter set of an underlying where none is chosen: of one that is not known, the strictest."""
    return "btc_eth" if underlying in LARGE else "others"


class UnitMargin(msgspec.Struct, frozen=True, kw_only=True):
    """The charges of one risk unit, each at least zero."""

    mr1: float = 0.0
    mr2: float = 0.0
    mr3: float = 0.0
    mr4: float = 0.0
    mr5: float = 0.0
    mr6: float = 0.0
    mr7: float = 0.0
    mr9: float = 0.0

    @property
    def mmr(self) -> float:
        """The unit's maintenance margin."""
        stressed = max(self.mr1, self.mr2, self.mr6) + self.mr3 + self.mr4 + self.mr5
        return max(stressed, self.mr7) + self.mr9


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return OKX's portfolio margin; `add_ons` named mr2, mr3, mr5, mr9 replace ours where the venue states them."""
    p, where = parameters("okx_portfolio", OkxParameters, portfolio.parameter_set, portfolio.parameters)
    units = matrix.units(portfolio)
    for order in portfolio.orders:
        units.setdefault(contract_of(portfolio, order).underlying, [])
    stated = portfolio.add_ons
    require(stated.keys() <= set(UNCONFIRMED), "bad_portfolio", f"add-ons {sorted(stated)}")
    require(not stated or len(units) == 1, "bad_portfolio", "stated charges belong to one risk unit")
    components: dict[str, Component] = {}
    ladder: tuple[Scenario, ...] = ()
    details: dict[str, object] = {}
    for name, positions in sorted(units.items()):
        chosen = portfolio.parameter_set or class_of(name)
        by, _ = parameters("okx_portfolio", OkxParameters, chosen, portfolio.parameters)
        unit, rungs = _unit(portfolio, name, positions, by, with_orders=False)
        full = _unit(portfolio, name, positions, by, with_orders=True)[0] if portfolio.orders else unit
        unit, full = (msgspec.structs.replace(u, **stated) for u in (unit, full))
        components[name] = Component(by.imr_factor * unit.mmr, unit.mmr)
        if portfolio.orders:
            components[f"{name} orders"] = Component(by.imr_factor * max(0.0, full.mmr - unit.mmr), 0.0)
        ladder += rungs
        details[name] = msgspec.to_builtins(unit) | {"mmr": unit.mmr, "imr": by.imr_factor * unit.mmr}
    owed = assets.owed(portfolio)
    components |= matrix.order_component(portfolio)
    if owed:
        components["borrowing"] = Component(p.mr8_imr * owed, p.mr8_mmr * owed)
    if more := assets.owed(portfolio, with_orders=True) - owed:
        components["borrowing by orders"] = Component(p.mr8_imr * more, 0.0)
    used = [
        name for name in UNCONFIRMED if any(float(u.get(name, 0.0)) for u in details.values() if isinstance(u, dict))
    ]
    return MarginResult(
        model="okx_portfolio",
        currency="USD",
        equity=assets.equity(portfolio),
        initial=sum(c.initial for c in components.values()),
        maintenance=sum(c.maintenance for c in components.values()),
        components=components,
        ladder=ladder,
        binding=min(ladder, key=lambda rung: rung.pnl).name if ladder else "",
        details=details,
        unconfirmed=tuple(used),
        source=where.source,
        as_of=where.as_of,
    )


def _unit(
    portfolio: Portfolio, name: str, positions: list[Position], p: OkxParameters, with_orders: bool
) -> tuple[UnitMargin, tuple[Scenario, ...]]:
    moves = Moves.grid(p.mr1_moves, ("down", "same", "up"))
    extreme = Moves.grid((-p.mr6_move, p.mr6_move), ("same",))
    profits = matrix.total_pnl(portfolio, positions, moves, p.mr1_vol)
    far = matrix.total_pnl(portfolio, positions, extreme, p.mr1_vol)
    if with_orders:
        profits = profits + matrix.losses_of_orders(portfolio, name, moves, p.mr1_vol)
        far = far + matrix.losses_of_orders(portfolio, name, extreme, p.mr1_vol)
    spot = portfolio.underlying(name).spot
    deltas: dict[float | None, float] = {}
    for held in positions:
        if held.kind != "spot":
            deltas[held.expiry_s] = deltas.get(held.expiry_s, 0.0) + delta_coins(portfolio, held)
    basis = sum(
        abs(delta) * spot * max(p.mr4_least, p.mr4_annual * year_fraction(expiry_s))
        for expiry_s, delta in sorted(deltas.items(), key=lambda item: item[0] or -1.0)
    )
    gross = sum(gross_coins(portfolio, held) for held in positions) * spot
    orders = matrix.filled_orders(portfolio, name) if with_orders else []
    gross += sum(gross_coins(portfolio, order) for order in orders) * spot
    more = _order_charges(portfolio, orders, spot, p)
    unit = UnitMargin(
        mr1=max(0.0, -float(profits.min())),
        mr2=_theta(portfolio, positions) + more.mr2,
        mr3=p.mr3_rate * _vega_mismatch(portfolio, positions) + more.mr3,
        mr4=basis + more.mr4,
        mr5=_interest(portfolio, positions, p.mr5_shift) + more.mr5,
        mr6=max(0.0, -float(far.min())) * p.mr6_weight,
        mr7=minimum_charge(gross * p.mr7_rate, p.mr7_tiers),
        mr9=depeg_charge(_cash_deltas(portfolio, positions), {"USDT": portfolio.stable_price}, p.mr9_pegs)[0]
        + more.mr9,
    )
    return unit, matrix.ladder(moves, profits, f"{name} ")


def _order_charges(portfolio: Portfolio, orders: Sequence[Position], spot: float, p: OkxParameters) -> UnitMargin:
    """Return the most that fills of orders add to each charge: every order counts whole, none hedges."""
    peg = depeg_rate(min(1.0, portfolio.stable_price), p.mr9_pegs)
    mr2 = mr3 = mr4 = mr5 = mr9 = 0.0
    for order in orders:
        cash = 0.0 if order.kind == "spot" else abs(delta_coins(portfolio, order)) * spot
        mr4 += cash * max(p.mr4_least, p.mr4_annual * year_fraction(order.expiry_s))
        mr9 += cash * peg
        if order.kind == "option":
            mr2 += _theta(portfolio, [order])
            mr3 += p.mr3_rate * abs(vega_points(portfolio, order))
            mr5 += _interest(portfolio, [order], p.mr5_shift)
    return UnitMargin(mr2=mr2, mr3=mr3, mr4=mr4, mr5=mr5, mr9=mr9)


def gross_coins(portfolio: Portfolio, held: Position) -> float:
    """Return the coins that the minimum charge counts: futures whole, options where they are short."""
    if held.kind == "option":
        return max(0.0, -held.notional_qty)
    return 0.0 if held.kind == "spot" else abs(delta_coins(portfolio, held))


def minimum_charge(raw: float, tiers: Sequence[tuple[float, float]]) -> float:
    """Return MR7: the raw charge times the multiplier of its own range (the whole charge, not only its excess)."""
    factor = 1.0
    for floor, multiplier in tiers:
        if raw > floor or floor == 0:
            factor = multiplier
    return raw * factor


def _theta(portfolio: Portfolio, positions: Sequence[Position]) -> float:
    """Return MR2: what the unit's options lose in a day in which nothing else happens."""
    today = sum(value_in(portfolio, held, 0.0) for held in positions if held.kind == "option")
    tomorrow = sum(value_in(portfolio, held, SECONDS_A_DAY) for held in positions if held.kind == "option")
    return max(0.0, today - tomorrow)


def value_in(portfolio: Portfolio, held: Position, seconds: float) -> float:
    """Return what options are worth after so much time, all else as it is."""
    forward, _ = option_forward(portfolio, held)
    years = max(0.0, held.years() - year_fraction(seconds))
    value = black76_value(forward, held.strike or 0.0, years, option_vol(held), held.is_call)
    return value * held.notional_qty


def _vega_mismatch(portfolio: Portfolio, positions: Sequence[Position]) -> float:
    """Return MR3's base: vega that one expiry hedges in another, per volatility point."""
    by_expiry: dict[float, float] = {}
    for held in positions:
        if held.kind == "option":
            vega = vega_points(portfolio, held)
            by_expiry[held.expiry_s or 0.0] = by_expiry.get(held.expiry_s or 0.0, 0.0) + vega
    long = sum(vega for vega in by_expiry.values() if vega > 0)
    short = -sum(vega for vega in by_expiry.values() if vega < 0)
    return min(long, short)


def vega_points(portfolio: Portfolio, held: Position) -> float:
    """Return what options gain by a point of volatility."""
    return option_vega(portfolio, held) * held.notional_qty * 0.01


def years_of_value(portfolio: Portfolio, held: Position) -> float:
    """Return the value of options times their years: what a whole unit of rates takes off."""
    return option_value(portfolio, held) * held.notional_qty * held.years()


def _interest(portfolio: Portfolio, positions: Sequence[Position], shift: float) -> float:
    """Return MR5: a parallel shift of rates on the discounted value of options."""
    return abs(sum(years_of_value(portfolio, held) for held in positions if held.kind == "option")) * shift


def _cash_deltas(portfolio: Portfolio, positions: Sequence[Position]) -> dict[str, float]:
    found: dict[str, float] = {}
    for held in positions:
        if held.kind != "spot":
            currency = "USD" if held.is_coin_settled else held.settlement
            spot = portfolio.underlying(held.underlying).spot
            found[currency] = found.get(currency, 0.0) + delta_coins(portfolio, held) * spot
    return found


def depeg_charge(
    cash_deltas: Mapping[str, float], prices: Mapping[str, float], pegs: Sequence[Sequence[float]]
) -> tuple[float, dict[str, float]]:
    """Return MR9 and the hedged size of each pair of legs.

    Legs of opposite sign hedge each other pair by pair in PAIRS' order; each hedged dollar is charged the rate of the
    worse peg of the two. `pegs` are (price, rate), falling; between two the rate is interpolated (not confirmed).
    """
    left = dict(cash_deltas)
    hedged: dict[str, float] = {}
    charge = 0.0
    for first, second in PAIRS:
        a, b = left.get(first, 0.0), left.get(second, 0.0)
        if a * b >= 0:
            continue
        size = min(abs(a), abs(b))
        left[first], left[second] = a - size * (1 if a > 0 else -1), b - size * (1 if b > 0 else -1)
        hedged[f"{first}-{second}"] = size
        charge += size * depeg_rate(min(prices.get(first, 1.0), prices.get(second, 1.0)), pegs)
    return charge, hedged


def depeg_rate(price: float, pegs: Sequence[Sequence[float]]) -> float:
    """Return the rate at a stablecoin's price."""
    if not pegs:
        raise MarginError("bad_parameter", "no peg tiers")
    rows = sorted(pegs, key=lambda row: row[0])
    return float(np.interp(price, [row[0] for row in rows], [row[1] for row in rows]))
