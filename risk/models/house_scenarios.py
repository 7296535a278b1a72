"""The scenarios of the house: profit by venue and by what moves, in USD.

Market scenarios move coins and volatilities: a grid for each coin alone and for all at once, the days of the supplied
history as joint moves, and a spike of volatility. Stress takes an exchange away, a stablecoin off its peg, or makes
funding jump. In every one of them collateral moves with the positions, at the place where it lies.
"""

from __future__ import annotations

import msgspec
import numpy as np

from risk.models import matrix
from risk.models.house_book import HOME, LEAST_MOVE, Book, HouseParameters
from risk.models.portfolio import Position
from risk.models.result import Scenario, require
from risk.models.valuation import Moves, VolMove, position_pnl
from risk.pricing import Floats


class Axis(msgspec.Struct, frozen=True, eq=False):
    """The moves that every coin is valued at: T of them, in four parts that follow each other.

    `names` are of grid, history and spike; `gap` are the moves that come with an exchange's default.
    """

    grid: Moves
    history: tuple[str, ...]
    history_vols: tuple[VolMove, ...]
    spike: Moves
    gap: Moves

    @property
    def market(self) -> int:
        """How many market scenarios move all coins at once."""
        return len(self.grid.vol) + len(self.history) * len(self.history_vols) + len(self.spike.vol)


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """What market scenarios come to, in USD.

    `joint` is the worst loss, `with_location` the worst with the charge for money that lies elsewhere, `alone` the sum
    of each coin's own worst loss.
    """

    joint: float
    with_location: float
    alone: float
    ladder: tuple[Scenario, ...]


def axis(p: HouseParameters) -> Axis:
    """Return the moves of a parameter set, for a coin whose scale is one."""
    return Axis(
        Moves.grid(p.grid_moves, p.vols),
        tuple(sorted(p.history)),
        p.history_vols,
        Moves.grid(p.spike_moves, ("up",)),
        Moves.grid(p.default_moves, ("same",)),
    )


def profits(book: Book, p: HouseParameters) -> Floats:
    """Return profit by venue, coin and move of `axis`, shape (V, U, T)."""
    lay, periods = axis(p), p.table()
    found = np.zeros((len(book.venues), len(book.units), lay.market + len(lay.gap.vol)))
    for column, unit in enumerate(book.units):
        moved: dict[float, tuple[Moves, Moves]] = {
            days: _moves_of(unit, p, lay, days) for days in {periods.days, *periods.lengths}
        }
        cut = lay.market - len(lay.spike.vol)  # the spike stands between market and gap, with a shock of its own
        for held in book.contracts:
            if held.underlying == unit and held.qty:
                plain, spike = moved[periods.of(held.kind, held.venue)]
                row = found[book.venues.index(held.venue), column]
                gained = matrix.pnl(book.portfolio, held, plain, p.vol_shock)
                row[:cut] += gained[:cut]
                row[cut : lay.market] += matrix.pnl(book.portfolio, held, spike, p.spike_shock)
                row[lay.market :] += gained[cut:]
        plain, spike = moved[periods.of("spot", "")]
        moves = np.concatenate([plain.spot[:cut], spike.spot, plain.spot[cut:]])
        found[:, column] += holdings_profit(book, unit, moves)
    return found


def _moves_of(unit: str, p: HouseParameters, lay: Axis, days: float) -> tuple[Moves, Moves]:
    """Return a coin's moves within a margin period: grid, history and gap; and those of the spike."""
    scale = p.widened(days) * p.scales.get(unit, 1.0)
    for day in lay.history:
        require(unit in p.history[day], "missing_history", f"{unit}: no move on {day}")
    root = (days / p.history_days) ** 0.5
    history = Moves.grid([p.history[day][unit] * root for day in lay.history], lay.history_vols)
    spots = np.concatenate([lay.grid.spot * scale, history.spot, lay.gap.spot * scale])
    plain = Moves(np.maximum(spots, LEAST_MOVE), lay.grid.vol + history.vol + lay.gap.vol)
    return plain, Moves(np.maximum(lay.spike.spot * scale, LEAST_MOVE), lay.spike.vol)


def holdings_profit(book: Book, asset: str, moves: Floats) -> Floats:
    """Return by venue, shape (V, T), what an asset's move does to what is held, owed and not yet paid of it.

    What is held changes by what it counts for, haircuts and tiers and the peg at the moved price; a debt in full. The
    gain of what is unpaid bears the haircut, its loss does not.
    """
    found = np.zeros((len(book.venues), moves.size))
    rule = book.by.rule(asset)
    rows = [row for row in book.rows if row.asset == asset]
    held = sum(max(0.0, row.value) for row in rows)
    for row in rows:
        at = found[book.venues.index(row.venue)]
        if row.value > 0:
            after = rule.counted(held * (1.0 + moves), row.price * (1.0 + moves))
            at += after * (row.value / held) - row.counted
        else:
            at += row.value * moves
    for (venue, settled), value in book.unpaid.items():
        if settled == asset:
            change = value * moves
            haircut = book.unpaid_haircuts[venue, settled]
            found[book.venues.index(venue)] += np.minimum(change, (1.0 - haircut) * change)
    return found


def netted(by_venue: Floats, p: HouseParameters) -> Floats:
    """Return profit over venues (first axis): gains bear a haircut, since losses are elsewhere.

    Concave and positively homogeneous, so that a hedge never costs more than it would alone. One venue's own gains
    and losses are netted whole before; a scenario that gains over all asks for nothing either way.
    """
    total: Floats = np.minimum(by_venue, (1.0 - p.venue_netting_haircut) * by_venue).sum(axis=0)
    return total


def market(book: Book, p: HouseParameters, gained: Floats) -> Outcome:
    """Return what market scenarios come to: each coin alone, all at once, history, spike."""
    lay = axis(p)
    grid = len(lay.grid.vol)
    cases = [gained[:, :, : lay.market].sum(axis=1)]
    cases += [gained[:, column, :grid] for column in range(len(book.units))]
    by_venue = np.concatenate(cases, axis=1)
    results = netted(by_venue, p)
    room = np.array([0.0 if venue == HOME else book.equity_at(venue) for venue in book.venues])
    away = np.array([venue != HOME for venue in book.venues], dtype=np.float64)
    short = (np.maximum(0.0, -(room[:, None] + by_venue)) * away[:, None]).sum(axis=0)
    alone = [max(0.0, -float(netted(gained[:, u, : lay.market], p).min())) for u in range(len(book.units))]
    return Outcome(
        joint=max(0.0, -float(results.min())),
        with_location=max(0.0, float((p.location_rate * short - results).max())),
        alone=sum(alone),
        ladder=_ladder(book, p, lay, results),
    )


def _ladder(book: Book, p: HouseParameters, lay: Axis, results: Floats) -> tuple[Scenario, ...]:
    grid, k = lay.grid, p.widened()
    rungs: list[tuple[str, float, str]]
    rungs = [(f"all {name}", spot, vol) for name, spot, vol in zip(grid.names(), grid.spot.tolist(), grid.vol)]
    rungs += [(f"{day} {vol}", 0.0, f"{day} {vol}") for day in lay.history for vol in lay.history_vols]
    rungs += [(f"vol spike {100 * spot:+.6g}%", spot, "spike") for spot in lay.spike.spot.tolist()]
    for unit in book.units:
        named = zip(grid.names(), grid.spot.tolist(), grid.vol)
        rungs += [(f"{unit} {name}", spot, f"{unit} {vol}") for name, spot, vol in named]
    scaled = "" if k == 1 else f" x{k:.4g}"
    found = zip(rungs, results.tolist())
    return tuple(Scenario(name + scaled, spot * k, vol, profit) for (name, spot, vol), profit in found)


def stress(book: Book, p: HouseParameters, gained: Floats) -> tuple[Scenario, ...]:
    """Return the stress scenarios: exchange defaults, stablecoins off their peg, funding spikes."""
    return (*_defaults(book, p, gained), *_pegs(book, p), *_funding(book, p))


def _defaults(book: Book, p: HouseParameters, gained: Floats) -> list[Scenario]:
    """An exchange keeps what is there, its contracts are gone, and the market moves against what they hedged."""
    lay, found = axis(p), []
    after = gained[:, :, lay.market :].sum(axis=1)
    for row, venue in enumerate(book.venues):
        if venue == HOME:
            continue
        left = after.copy()
        left[row] = -p.default_loss * max(0.0, book.exposure_at(venue))
        for move, profit in zip(lay.gap.spot.tolist(), netted(left, p).tolist()):
            name = f"default of {venue or 'the venue'}"
            found.append(Scenario(f"{name} {100 * move:+.6g}%", move, name, profit))
    return found


def _pegs(book: Book, p: HouseParameters) -> list[Scenario]:
    """A stablecoin moves; what it quotes stays, or finds its dollar price again: the worse of the two counts."""
    found = []
    moves = np.array(p.peg_moves)
    for asset in sorted(asset for asset in book.prices if book.by.is_stable(asset)):
        stays = holdings_profit(book, asset, moves)
        again = stays.copy()
        for held in book.contracts:
            if held.qty and not held.is_coin_settled and held.settlement == asset:
                again[book.venues.index(held.venue)] += _repriced(book, held, moves, p) * book.prices[asset]
        for name, profit in (("", netted(stays, p)), (" repriced", netted(again, p))):
            rungs = zip(moves.tolist(), profit.tolist())
            found += [Scenario(f"{asset} {100 * x:+.6g}%{name}", 0.0, f"{asset} {x:+.6g}{name}", g) for x, g in rungs]
    return found


def _repriced(book: Book, held: Position, moves: Floats, p: HouseParameters) -> Floats:
    """Return what a contract gains when its coin keeps its dollar price and its quote moves: in moved stablecoins."""
    risen = Moves.grid((1.0 / (1.0 + moves) - 1.0).tolist(), ("same",))
    gained: Floats = position_pnl(book.portfolio, held, risen, p.vol_shock) * (1.0 + moves)
    return gained


def _funding(book: Book, p: HouseParameters) -> list[Scenario]:
    """Funding jumps, on one venue or on all, for longs or for shorts."""
    paid = np.zeros(len(book.venues))
    for held in book.contracts:
        if held.kind == "perpetual":
            paid[book.venues.index(held.venue)] += perpetual_notional(held)
    places = [(venue or "the venue", np.arange(paid.size) == row) for row, venue in enumerate(book.venues) if paid[row]]
    places += [("all venues", paid != 0)] if len(places) > 1 else []
    found = []
    for venue, there in places:
        for rate in (p.funding_spike, -p.funding_spike):
            profit = float(netted(-rate * p.funding_periods * np.where(there, paid, 0.0), p))
            name = f"funding of {venue} {100 * rate:+.6g}%"
            found.append(Scenario(name, 0.0, name, profit))
    return found


def perpetual_notional(held: Position) -> float:
    """Return a perpetual's signed notional in its quote, dollars."""
    return held.notional_qty if held.style == "inverse" else held.notional_qty * held.marked()
