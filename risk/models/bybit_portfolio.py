"""Bybit's portfolio margin: worst of a spot x volatility grid, plus contingencies, by risk unit. In USD.

    MM = max loss + net short options + vega spread + stablecoin spread + delta spread + futures;  IM = im_factor * MM

The components and their factors are read in the venue's help pages; how it pairs hedged quantities is not published,
so hedges are paired here from the nearest expiries on, which charges least distance but every hedged coin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from risk.models import assets, matrix
from risk.models.parameters import parameters
from risk.models.portfolio import SECONDS_A_DAY, Portfolio, Position, contract_of
from risk.models.result import Component, MarginResult, Scenario, require
from risk.models.valuation import Moves, VolShock, delta_coins, option_vol

# The underlyings that the first parameter set is of.
LARGE: Final = ("BTC", "ETH")


class BybitParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of one underlying; `days` distances are capped at `most_days`.

    `rates` are collateral rates by asset for the order path; a file gives those of its own collateral.
    """

    moves: tuple[float, ...]
    vol_shock: VolShock
    short_option: float
    vega_spread: float
    stable_spread: float
    basis: float
    futures: float
    most_days: float
    im_factor: float
    rates: dict[str, float] = {}


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return Bybit's portfolio margin."""
    p, where = parameters("bybit_portfolio", BybitParameters, portfolio.parameter_set, portfolio.parameters)
    units = matrix.units(portfolio)
    for order in portfolio.orders:
        units.setdefault(contract_of(portfolio, order).underlying, [])
    moves = Moves.grid(p.moves, ("down", "same", "up"))
    components: dict[str, Component] = {}
    ladder: tuple[Scenario, ...] = ()
    for name, positions in sorted(units.items()):
        is_known = portfolio.parameter_set is not None or name in LARGE
        require(is_known, "missing_parameters", f"{name}: no set is of this underlying, and none was chosen")
        profits = matrix.total_pnl(portfolio, positions, moves, p.vol_shock)
        worst = max(0.0, -float(profits.min()))
        filled = profits + matrix.losses_of_orders(portfolio, name, moves, p.vol_shock)
        charges = {"max loss": worst} | contingencies(portfolio, name, positions, p)
        for key, charge in charges.items():
            components[f"{name} {key}"] = Component(p.im_factor * charge, charge)
        if portfolio.orders:
            more = max(0.0, -float(filled.min()) - worst) + _orders(portfolio, name, positions, p)
            components[f"{name} orders"] = Component(p.im_factor * more, 0.0)
        ladder += matrix.ladder(moves, profits, f"{name} ")
    components |= matrix.order_component(portfolio)
    return MarginResult(
        model="bybit_portfolio",
        currency=portfolio.currency,
        equity=assets.equity(portfolio),
        initial=sum(c.initial for c in components.values()),
        maintenance=sum(c.maintenance for c in components.values()),
        components=components,
        ladder=ladder,
        binding=min(ladder, key=lambda rung: rung.pnl).name if ladder else "",
        unconfirmed=("vega_spread", "delta_spread", "stable_spread"),
        source=where.source,
        as_of=where.as_of,
    )


def contingencies(
    portfolio: Portfolio, name: str, positions: Sequence[Position], p: BybitParameters
) -> dict[str, float]:
    """Return the charges beside the worst loss, in USD, each at least zero."""
    index = portfolio.underlying(name).spot
    options = [held for held in positions if held.kind == "option"]
    futures = [held for held in positions if held.kind in ("perpetual", "future")]
    short = max(0.0, -sum(held.notional_qty for held in options if held.is_call))
    short += max(0.0, -sum(held.notional_qty for held in options if not held.is_call))
    vegas = _by_expiry([(held.expiry_s, vega_coins(held)) for held in options])
    deltas = _by_expiry([(held.expiry_s, delta_coins(portfolio, held)) for held in positions if held.kind != "spot"])
    stables: dict[str, float] = {}
    for held in positions:
        if held.kind != "spot":
            currency = "USD" if held.is_coin_settled else held.settlement
            stables[currency] = stables.get(currency, 0.0) + delta_coins(portfolio, held)
    long = sum(coins for coins in stables.values() if coins > 0)
    owed = -sum(coins for coins in stables.values() if coins < 0)
    sizes = sum(abs(delta_coins(portfolio, held)) for held in futures)
    return {
        "net short options": short * p.short_option * index,
        "vega spread": hedged_days(vegas, p.most_days) * p.vega_spread * index,
        "stable spread": min(long, owed) * p.stable_spread * index,
        "delta spread": hedged_days(deltas, p.most_days) / 365.0 * p.basis * index,
        "futures": sizes * p.futures * index,
    }


def _orders(portfolio: Portfolio, name: str, positions: Sequence[Position], p: BybitParameters) -> float:
    """Return the most that fills of orders add to the contingencies: each counts whole, at the longest hedge.

    That is the whole span, also where it is beyond `most_days`: a lot put between others pairs all of them anew, and
    the distances of pairs that follow each other add up to it.
    """
    orders, index, charge = matrix.filled_orders(portfolio, name), portfolio.underlying(name).spot, 0.0
    expiries = [held.expiry_s or 0.0 for held in (*positions, *orders) if held.kind != "spot"]
    days = (max(expiries, default=0.0) - min(expiries, default=0.0)) / SECONDS_A_DAY
    for order in orders:
        if order.kind == "spot":
            continue
        delta = abs(delta_coins(portfolio, order))
        charge += delta * (p.stable_spread + days / 365.0 * p.basis)
        if order.kind == "option":
            charge += abs(vega_coins(order)) * days * p.vega_spread
            charge += max(0.0, -order.notional_qty) * p.short_option
        else:
            charge += delta * p.futures
    return charge * index


def vega_coins(held: Position) -> float:
    """Return an option's vega in options: each counts as one at the money, as long as it has time and volatility.

    Not by its own vega, which is a difference of prices: far from the money its rounding would say what is hedged.
    """
    return held.notional_qty if held.years() > 0 and option_vol(held) > 0 else 0.0


def _by_expiry(amounts: Sequence[tuple[float | None, float]]) -> list[tuple[float, float]]:
    found: dict[float, float] = {}
    for expiry_s, amount in amounts:
        found[expiry_s or 0.0] = found.get(expiry_s or 0.0, 0.0) + amount
    return sorted(found.items())


def hedged_days(amounts: Sequence[tuple[float, float]], most_days: float) -> float:
    """Return the sum over hedged quantity of the days between the two expiries that hedge, capped.

    `amounts` are (expiry in seconds, signed quantity), ascending. Opposite quantities are paired as they meet, so the
    result is the area between the cumulative sums and zero where they return to it.
    """
    open_lots: list[tuple[float, float]] = []
    total = 0.0
    for expiry_s, amount in amounts:
        while amount and open_lots and open_lots[-1][1] * amount < 0:
            since, waiting = open_lots.pop()
            size = min(abs(waiting), abs(amount))
            total += size * min((expiry_s - since) / SECONDS_A_DAY, most_days)
            waiting += size if waiting < 0 else -size
            amount += size if amount < 0 else -size
            if waiting:
                open_lots.append((since, waiting))
        if amount:
            open_lots.append((expiry_s, amount))
    return total
