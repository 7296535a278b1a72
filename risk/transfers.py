"""The cheapest set of collateral transfers that cures all shortfalls, as a mixed-integer linear programme (HiGHS).

For each usable route r, n_r whole steps move (integer) where y_r is 1, and s_t is what need t stays short of:

    first   minimise  sum_t s_t
    then    minimise  sum_r fee(n_r, y_r)                  with no s_t larger than before
    where   sum_{r to t} value_r n_r + s_t  >=  short_t
            sum_{r from a} (step_r + fee_r) n_r + flat_r y_r  <=  available_a - reserve_a
            minimum_r y_r  <=  step_r n_r  <=  most_r y_r

Routes that settle after a need's time, or whose collateral counts for nothing there, are left out beforehand. What the
solver says is taken as a proposal only: amounts are whole units, so it is made exact in integers (trimmed where a need
has too much, topped up where the solver's tolerance left it short), checked again, and refused where it does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from risk.collateral import CollateralRules
from risk.collateral_ledger import Location
from risk.instrument import UNITS_PER_WHOLE
from risk.margin_states import BPS
from risk.pricing import Floats

MAX_ROUTES: Final = 2_000
# Steps of one route: beyond, the solver's tolerance is more than a step, and steps are taken together.
MAX_STEPS: Final = 100_000
TIME_LIMIT_S: Final = 5.0


class TransferPlanError(Exception):
    """No plan can be made: inputs beyond the limits, or a solver that gave none; nothing is to be moved then."""


class Supply(msgspec.Struct, frozen=True):
    """An asset at a location: units of 1e-8, price of a whole one in units of 1e-8 USD, and what must stay there."""

    asset: str
    at: Location
    available_units: int
    price_units: int
    reserve_units: int = 0


class Need(msgspec.Struct, frozen=True):
    """What is short at a location, in units of 1e-8 USD, and in what time it must be there."""

    at: Location
    short_units: int
    within_ns: int


class Route(msgspec.Struct, frozen=True):
    """A way for one asset, and what it costs: a flat fee and one by amount, in the asset, paid at the source.

    `haircut_bps` is the part of the asset's value that does not count at the target.
    """

    asset: str
    source: Location
    target: Location
    settle_ns: int
    haircut_bps: int = 0
    flat_fee_units: int = 0
    fee_bps: int = 0
    minimum_units: int = 0
    step_units: int = 1

    def fee_units(self, units: int) -> int:
        """Return what moving so many units costs, rounded up."""
        return self.flat_fee_units - (-units * self.fee_bps // BPS) if units else 0


class Move(msgspec.Struct, frozen=True):
    """One transfer of a plan: `value_units` is what it counts for at the target, in units of 1e-8 USD."""

    route: Route
    units: int
    fee_units: int
    value_units: int


class Short(msgspec.Struct, frozen=True):
    """What stays short at a location, and why."""

    at: Location
    units: int
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """Transfers, what they cost in units of 1e-8 USD, and what they do not cure."""

    moves: tuple[Move, ...]
    cost_units: int
    short: tuple[Short, ...]


def counted_units(route: Route, units: int, price_units: int) -> int:
    """Return what units count for at the target, in units of 1e-8 USD, rounded down."""
    return units * price_units * (BPS - route.haircut_bps) // (UNITS_PER_WHOLE * BPS)


def cost_units(fee_units: int, price_units: int) -> int:
    """Return what a fee in an asset is in units of 1e-8 USD, rounded up."""
    return -(-fee_units * price_units // UNITS_PER_WHOLE)


def haircut_bps(rules: CollateralRules, asset: str, price: float, held_usd: float, more_usd: float) -> int:
    """Return the haircut, rounded up, of up to `more_usd` of an asset beside `held_usd` of it.

    What an asset counts for is concave in its value: the average over all of it holds for any part, against the client.
    """
    rule = rules.rule(asset)
    if more_usd <= 0:
        return BPS
    added = float(rule.counted(held_usd + more_usd, price)) - float(rule.counted(held_usd, price))
    return min(BPS, max(0, int(np.ceil(BPS * (1.0 - added / more_usd) - 1e-9))))


class _Way(msgspec.Struct, frozen=True):
    """A usable route with its indices; a step of it, and how many there may be."""

    route: Route
    supply: int
    need: int
    step_units: int
    most_steps: int
    least_steps: int


def plan(supplies: Sequence[Supply], needs: Sequence[Need], routes: Sequence[Route]) -> Plan:
    """Return the cheapest transfers that leave the least short.

    Raises
    ------
    TransferPlanError
        For inputs beyond the limits or that contradict each other, or where the solver finds nothing in its time.
    """
    _check(supplies, needs, routes)
    ways = _ways(supplies, needs, routes)
    amounts = _solved(supplies, needs, ways) if ways else []
    amounts = _exact(supplies, needs, ways, amounts)
    moves = []
    cost = 0
    for way, units in zip(ways, amounts, strict=True):
        if units:
            price, fee = supplies[way.supply].price_units, way.route.fee_units(units)
            moves.append(Move(way.route, units, fee, counted_units(way.route, units, price)))
            cost += cost_units(fee, price)
    fault = verify(supplies, moves)
    if fault is not None:
        raise TransferPlanError(fault)
    short = []
    for number, need in enumerate(needs):
        left = need.short_units - sum(move.value_units for move in moves if move.route.target == need.at)
        if left > 0:
            short.append(Short(need.at, left, _reason(number, supplies, needs, routes, ways)))
    return Plan(tuple(moves), cost, tuple(short))


def verify(supplies: Sequence[Supply], moves: Sequence[Move]) -> str | None:
    """Return what is wrong with moves, in integers; None where they can be made."""
    left = {(supply.asset, supply.at): supply.available_units - supply.reserve_units for supply in supplies}
    for move in moves:
        route = move.route
        if move.units < max(1, route.minimum_units) or move.units % route.step_units:
            return f"{move.units} units of {route.asset} are below the minimum or no whole steps"
        left[route.asset, route.source] -= move.units + move.fee_units
    spent = {(move.route.asset, move.route.source) for move in moves}
    beyond = sorted(asset for asset, at in spent if left[asset, at] < 0)
    return f"more {beyond[0]} than is available" if beyond else None


def _check(supplies: Sequence[Supply], needs: Sequence[Need], routes: Sequence[Route]) -> None:
    if len(routes) > MAX_ROUTES:
        raise TransferPlanError(f"{len(routes)} routes are more than {MAX_ROUTES}")
    places = [(supply.asset, supply.at) for supply in supplies]
    if len(set(places)) < len(places) or len({need.at for need in needs}) < len(needs):
        raise TransferPlanError("a supply or a need is given twice")
    if len({(route.asset, route.source, route.target) for route in routes}) < len(routes):
        raise TransferPlanError("a route is given twice")
    for supply in supplies:
        if supply.price_units <= 0 or supply.reserve_units < 0:
            raise TransferPlanError(f"{supply.asset}: no price, or a reserve below zero")
    for route in routes:
        numbers = (route.settle_ns, route.haircut_bps, route.flat_fee_units, route.fee_bps, route.minimum_units)
        if min(numbers) < 0 or route.step_units < 1 or route.haircut_bps > BPS:
            raise TransferPlanError(f"{route.asset}: a fee, haircut, minimum or time that can not be")


def _ways(supplies: Sequence[Supply], needs: Sequence[Need], routes: Sequence[Route]) -> list[_Way]:
    supply_of = {(supply.asset, supply.at): number for number, supply in enumerate(supplies)}
    need_of = {need.at: number for number, need in enumerate(needs) if need.short_units > 0}
    ways = []
    for route in routes:
        supply, need = supply_of.get((route.asset, route.source)), need_of.get(route.target)
        if supply is None or need is None or route.haircut_bps >= BPS or route.settle_ns > needs[need].within_ns:
            continue
        way = _way(route, supply, need, supplies[supply], needs[need])
        if way.most_steps >= max(1, way.least_steps):
            ways.append(way)
    return ways


def _way(route: Route, supply: int, need: int, of: Supply, to: Need) -> _Way:
    free = of.available_units - of.reserve_units - route.flat_fee_units
    most = max(0, free) * BPS // (BPS + route.fee_bps)
    per_unit = of.price_units * (BPS - route.haircut_bps)
    enough = -(-to.short_units * UNITS_PER_WHOLE * BPS // per_unit)
    # A step and the minimum beyond what is needed is never worth more.
    most = min(most, max(enough + route.step_units, route.minimum_units + route.step_units))
    step = route.step_units * max(1, -(-(most // route.step_units) // MAX_STEPS))
    return _Way(route, supply, need, step, most // step, -(-route.minimum_units // step))


def _solved(supplies: Sequence[Supply], needs: Sequence[Need], ways: list[_Way]) -> list[int]:
    """Return units of each way: the least short first, and the cheapest of those second."""
    count, size = len(ways), 2 * len(ways) + len(needs)
    whole = float(UNITS_PER_WHOLE)
    price = np.array([supplies[way.supply].price_units / whole for way in ways])
    step = np.array([way.step_units / whole for way in ways])
    value = step * price * np.array([1.0 - way.route.haircut_bps / BPS for way in ways])
    fee = step * np.array([way.route.fee_bps / BPS for way in ways])
    flat = np.array([way.route.flat_fee_units / whole for way in ways])
    most = np.array([way.most_steps for way in ways], dtype=np.float64)
    least = np.array([way.least_steps for way in ways], dtype=np.float64)
    rows: list[tuple[int, int, float]] = []
    low: list[float] = []
    high: list[float] = []
    for number, need in enumerate(needs):
        rows += [(len(low), j, value[j]) for j in range(count) if ways[j].need == number]
        rows.append((len(low), 2 * count + number, 1.0))
        low.append(max(0, need.short_units) / whole)
        high.append(np.inf)
    for number, supply in enumerate(supplies):
        used = [j for j in range(count) if ways[j].supply == number]
        rows += [(len(low), j, step[j] + fee[j]) for j in used] + [(len(low), count + j, flat[j]) for j in used]
        low.append(-np.inf)
        high.append(max(0, supply.available_units - supply.reserve_units) / whole)
    for j in range(count):
        rows += [(len(low), j, 1.0), (len(low), count + j, -most[j])]
        rows += [(len(low) + 1, j, 1.0), (len(low) + 1, count + j, -least[j])]
        low += [-np.inf, 0.0]
        high += [0.0, np.inf]
    at, columns, entries = zip(*rows, strict=True)
    within = LinearConstraint(csr_array((entries, (at, columns)), shape=(len(low), size)), low, high)
    integrality = np.concatenate([np.ones(2 * count), np.zeros(len(needs))])
    top = np.concatenate([most, np.ones(count), np.full(len(needs), np.inf)])
    missing = np.concatenate([np.zeros(2 * count), np.ones(len(needs))])
    first = _minimise(missing, within, integrality, top)
    # The cheapest of all that are as little short in sum: who of them goes short is open.
    rows += [(len(low), 2 * count + number, 1.0) for number in range(len(needs))]
    low.append(-np.inf)
    high.append(float(missing @ first) + 1e-6)
    at, columns, entries = zip(*rows, strict=True)
    within = LinearConstraint(csr_array((entries, (at, columns)), shape=(len(low), size)), low, high)
    dear = np.concatenate([fee * price, flat * price, np.zeros(len(needs))])
    second = _minimise(dear, within, integrality, top)
    return [round(second[j]) * ways[j].step_units for j in range(count)]


def _minimise(cost: Floats, within: LinearConstraint, integrality: Floats, top: Floats) -> Floats:
    options = {"time_limit": TIME_LIMIT_S, "mip_rel_gap": 0.0}
    found = milp(cost, constraints=within, integrality=integrality, bounds=Bounds(0.0, top), options=options)
    if found.x is None:
        raise TransferPlanError(f"the solver found no plan: {found.message}")
    return np.asarray(found.x, dtype=np.float64)


def _exact(supplies: Sequence[Supply], needs: Sequence[Need], ways: list[_Way], amounts: list[int]) -> list[int]:
    """Return amounts, in integers, with what the solver's tolerance and its coarser steps left open made good.

    What a need has too much is trimmed, the dearest way first; what it is short of is added, to ways that are used
    already first, while the supply lasts.
    """
    units = list(amounts)
    free = [supply.available_units - supply.reserve_units for supply in supplies]
    for j, way in enumerate(ways):
        free[way.supply] -= units[j] + way.route.fee_units(units[j])
    for number, need in enumerate(needs):
        to = [j for j, way in enumerate(ways) if way.need == number]
        gap = need.short_units - sum(_value(supplies, ways[j], units[j]) for j in to)
        for j in sorted(to, key=lambda j: (-ways[j].route.fee_bps, j)):
            gap += _change(supplies, ways[j], units, free, j, _fewer(supplies, ways[j], units[j], -gap))
        for j in sorted(to, key=lambda j: (not units[j], ways[j].route.flat_fee_units, j)):
            if gap > 0:
                gap += _change(supplies, ways[j], units, free, j, _more(supplies, ways[j], units[j], gap))
    return units


def _value(supplies: Sequence[Supply], way: _Way, units: int) -> int:
    return counted_units(way.route, units, supplies[way.supply].price_units)


def _change(supplies: Sequence[Supply], way: _Way, units: list[int], free: list[int], j: int, wanted: int) -> int:
    """Set a way's amount where its supply allows it; return by how much its need is shorter of it."""
    spent = wanted + way.route.fee_units(wanted) - units[j] - way.route.fee_units(units[j])
    if wanted == units[j] or spent > free[way.supply]:
        return 0
    change = _value(supplies, way, units[j]) - _value(supplies, way, wanted)
    free[way.supply] -= spent
    units[j] = wanted
    return change


def _fewer(supplies: Sequence[Supply], way: _Way, units: int, excess: int) -> int:
    """Return an amount that is worth less by no more than the excess."""
    step, least = way.route.step_units, max(1, -(-way.route.minimum_units // way.route.step_units))
    if excess <= 0 or units <= least * step:
        return units
    kept = max(0, _value(supplies, way, units) - excess)
    price = supplies[way.supply].price_units * (BPS - way.route.haircut_bps)
    needed = -(-kept * UNITS_PER_WHOLE * BPS // price)
    return min(units, max(least, -(-needed // step)) * step)


def _more(supplies: Sequence[Supply], way: _Way, units: int, gap: int) -> int:
    """Return the amount that closes a gap."""
    step, least = way.route.step_units, -(-way.route.minimum_units // way.route.step_units)
    price = supplies[way.supply].price_units * (BPS - way.route.haircut_bps)
    needed = -(-(_value(supplies, way, units) + gap) * UNITS_PER_WHOLE * BPS // price)
    return max(least, -(-needed // step)) * step


def _reason(
    number: int, supplies: Sequence[Supply], needs: Sequence[Need], routes: Sequence[Route], ways: Sequence[_Way]
) -> str:
    """Return why a need stays short: the first of these that holds."""
    need = needs[number]
    places = {(supply.asset, supply.at): supply for supply in supplies}
    to = [r for r in routes if r.target == need.at and (r.asset, r.source) in places and r.haircut_bps < BPS]
    if not to:
        return "no eligible collateral has a way there"
    if all(route.settle_ns > need.within_ns for route in to):
        return "nothing settles in time"
    if not any(way.need == number for way in ways):
        free = {key: supply.available_units - supply.reserve_units for key, supply in places.items()}
        if all(free[r.asset, r.source] <= 0 and places[r.asset, r.source].available_units > 0 for r in to):
            return "all that is left is the reserve"
        return "what is available is below the minimum of a transfer, or its fee"
    if any(places[way.route.asset, way.route.source].reserve_units for way in ways if way.need == number):
        return "not enough collateral beyond the reserve"
    return "not enough collateral"
