"""The house's own margin over all venues of an account.

    M        = c * J + (1 - c) * W      J worst joint loss, W sum of each coin's own worst, c the offset cap
    initial  = max(max(M, stress) + liquidity + concentration + funding, floor)

Risk is measured in USD and stated in the account's currency at today's price. Every part is convex in the position, so
that the worst of complete fills bounds every partial one.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Final

import msgspec

from risk.models.house_book import Book, HouseParameters, book
from risk.models.house_scenarios import market, perpetual_notional, profits, stress
from risk.models.parameters import Provenance, parameters
from risk.models.portfolio import Portfolio, Position
from risk.models.result import Component, MarginResult, Scenario
from risk.models.valuation import delta_coins

# The days of history that a ladder shows; all of them count.
SHOWN_DAYS: Final = 10


class Size(msgspec.Struct, frozen=True):
    """What of an underlying would have to be closed: USD of delta, each contract at least at the least delta."""

    notional: float = 0.0
    short_options: float = 0.0


def read(portfolio: Portfolio) -> tuple[HouseParameters, Provenance]:
    """Return the parameters of a portfolio, and where they come from."""
    return parameters("house", HouseParameters, portfolio.parameter_set, portfolio.parameters)


def evaluate(portfolio: Portfolio, given: HouseParameters | None = None) -> MarginResult:
    """Return the house margin, in the account's currency; `given` replaces the portfolio's parameters.

    Profiles are not looked at: risk/profiles.py tightens what this returns.
    """
    stated, where = read(portfolio)
    p = stated if given is None else given
    held = book(portfolio, p)
    gained = profits(held, p)
    outcome, stressed = market(held, p, gained), stress(held, p, gained)
    capped = p.offset_cap * outcome.joint + (1.0 - p.offset_cap) * max(outcome.alone, outcome.joint)
    located = p.offset_cap * outcome.with_location + (1.0 - p.offset_cap) * max(outcome.alone, outcome.with_location)
    worst_stress = max([0.0, *(-rung.pnl for rung in stressed)])
    sizes = _sizes(held, p)
    whole = {
        "scenarios": outcome.joint,
        "offset cap": max(0.0, capped - outcome.joint),
        "location": max(0.0, located - capped),
        "stress": max(0.0, worst_stress - located),
    }
    parts = {name: Component(loss, p.maintenance_factor * loss) for name, loss in whole.items()}
    for name, charge in _charges(held, p, sizes).items():
        parts[name] = Component(charge, charge)
    parts["floor"] = _floor(parts, p, sizes)
    rate = 1.0 / held.currency_price
    parts = {name: Component(rate * part.initial, rate * part.maintenance) for name, part in parts.items()}
    ladder = _stated((*outcome.ladder, *stressed), rate)
    return MarginResult(
        model="house",
        currency=portfolio.currency,
        equity=rate * held.equity(),
        initial=sum(part.initial for part in parts.values()),
        maintenance=sum(part.maintenance for part in parts.values()),
        components=parts,
        ladder=_shown(ladder, p),
        binding=min(ladder, key=lambda rung: rung.pnl).name,
        details=_details(held, sizes, rate),
        unconfirmed=_unconfirmed(p),
        source=where.source,
        as_of=where.as_of,
    )


def _sizes(held: Book, p: HouseParameters) -> dict[str, Size]:
    found: dict[str, Size] = {}
    for position in held.contracts:
        if not position.qty:
            continue
        spot = held.portfolio.underlying(position.underlying).spot
        known = found.get(position.underlying, Size())
        delta, shorts = _closed(held, position, p)
        found[position.underlying] = Size(known.notional + delta * spot, known.short_options + shorts * spot)
    return found


def notional(held: Book, position: Position, p: HouseParameters) -> float:
    """Return the USD notional of a contract: its delta's, an option's at least its value."""
    market_of = held.portfolio.underlying(position.underlying)
    delta, _ = _closed(held, position, p)
    if position.kind != "option":
        return delta * market_of.spot
    price = market_of.spot if position.is_coin_settled else 1.0
    return max(delta * market_of.spot, abs(position.notional_qty) * position.marked() * price)


def _closed(held: Book, position: Position, p: HouseParameters) -> tuple[float, float]:
    """Return the coins of delta that closing a contract trades, and the coins of a short option."""
    delta = abs(delta_coins(held.portfolio, position))
    if position.kind != "option":
        return delta, 0.0
    return max(delta, p.least_delta * abs(position.notional_qty)), max(0.0, -position.notional_qty)


def _charges(held: Book, p: HouseParameters, sizes: Mapping[str, Size]) -> dict[str, float]:
    """Return what depends on size and time: liquidity, concentration, funding; in USD.

    Liquidity: half the spread, and an impact of k sigma sqrt(|q| / ADV). Concentration: what takes longer to close
    than the margin period bears its risk for that time too. Funding: the known rates of a period, or a default one,
    as far as they are to be paid.
    """
    liquidity = concentration = funding = 0.0
    for underlying, size in sizes.items():
        market_of, notional = p.volume(underlying), size.notional
        share = notional / market_of.adv_usd
        liquidity += notional * (market_of.half_spread + p.impact * market_of.daily_vol * sqrt(share))
        beyond = max(0.0, sqrt(share / p.participation) - sqrt(p.mpor_days))
        concentration += p.concentration_z * market_of.daily_vol * notional * beyond
    for position in held.contracts:
        if position.kind == "perpetual" and position.qty:
            signed = perpetual_notional(position)
            rate = p.funding_rates.get(position.instrument)
            owed = abs(signed) * p.funding_default if rate is None else max(0.0, signed * rate)
            funding += p.funding_periods * owed
    return {"liquidity": liquidity, "concentration": concentration, "funding": funding}


def _floor(parts: Mapping[str, Component], p: HouseParameters, sizes: Mapping[str, Size]) -> Component:
    """Return what is missing to the least that is asked for, in each requirement."""
    least = sum(p.floor_rate * size.notional + p.short_option_floor * size.short_options for size in sizes.values())
    initial = sum(part.initial for part in parts.values())
    maintenance = sum(part.maintenance for part in parts.values())
    return Component(max(0.0, least - initial), max(0.0, p.maintenance_factor * least - maintenance))


def _stated(ladder: tuple[Scenario, ...], rate: float) -> tuple[Scenario, ...]:
    return tuple(msgspec.structs.replace(rung, pnl=rung.pnl * rate) for rung in ladder)


def _shown(ladder: tuple[Scenario, ...], p: HouseParameters) -> tuple[Scenario, ...]:
    """Return the ladder with only the worst days of a long history."""
    days = {f"{day} {vol}" for day in p.history for vol in p.history_vols}
    worst = sorted((rung for rung in ladder if rung.vol in days), key=lambda rung: (rung.pnl, rung.name))
    hidden = {rung.name for rung in worst[SHOWN_DAYS:]}
    return tuple(rung for rung in ladder if rung.name not in hidden)


def _unconfirmed(p: HouseParameters) -> tuple[str, ...]:
    """Say where a history is too short to vouch for the confidence; the grid stands either way."""
    needed = ceil(1.0 / (1.0 - p.confidence) - 1e-9)
    if len(p.history) >= needed:
        return ()
    return (f"history: {len(p.history)} days do not vouch for {100 * p.confidence:g} %, which takes {needed}",)


def _details(held: Book, sizes: Mapping[str, Size], rate: float) -> dict[str, object]:
    rows = [msgspec.to_builtins(row) | {"haircut": row.haircut} for row in held.rows]
    return {
        "collateral_usd": rows,
        "equity_by_venue": {venue or "": rate * held.equity_at(venue) for venue in held.venues},
        "closed_notional_usd": {name: size.notional for name, size in sizes.items()},
        "currency_price": held.currency_price,
    }
