"""Tiered margin per position: Binance, OKX, Bybit, Hyperliquid, BitMEX, dYdX; cross and isolated, one-way and hedge.

Linear accounts count in quote currency, inverse ones in coin. What differs between venues is data: whether the
maintenance margin is taken on the notional at the mark or at entry, and whether a closing fee belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Literal

import msgspec

from risk.models.liquidation import Basis, Leg, bankruptcy_price, liquidation_price
from risk.models.parameters import parameters
from risk.models.portfolio import Order, Portfolio, Position, contract_of, converted, loss_at_once, merged, net
from risk.models.result import Component, Liquidation, MarginError, MarginResult, require
from risk.models.tiers import PPM, TierTable, open_interest_fraction, rounded_up, rows_of


class VenueRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a venue reads its tiers. `tiers` are by instrument; `tier_unit` says what a row's second number is."""

    basis: Basis
    counts_closing_fee: bool = False
    tier_unit: Literal["rate", "leverage", "ppm"] = "rate"
    taker_fee: float = 0.0
    tiers: dict[str, Any] = {}
    open_interest: dict[str, list[int]] = {}
    maintenance_ppm: int = 500_000
    quantum: float = 0.0


def venue_rule(venue: str | None, overrides: Mapping[str, Any] | None = None) -> tuple[VenueRule, str, str]:
    """Return a venue's rule, its source and as-of date."""
    found, where = parameters("tiered", VenueRule, venue, overrides)
    return found, where.source, where.as_of


def table(rule: VenueRule, instrument: str) -> TierTable:
    """Return an instrument's tiers, or refuse: a margin without tiers would be none."""
    rows = rule.tiers.get(instrument)
    if rows is None:
        raise MarginError("missing_tiers", f"{instrument}: no tiers are given")
    if rule.tier_unit == "leverage":
        return TierTable.of_leverage(rows_of(rows))
    if rule.tier_unit == "ppm":
        scaled = [[row[0], row[1] / PPM * rule.maintenance_ppm / PPM, row[1] / PPM] for row in rows_of(rows)]
        return TierTable(scaled)
    return TierTable(rows_of(rows))


def leg_of(rule: VenueRule, held: Position) -> Leg:
    """Return a position for the solver; without an entry its mark stands for it."""
    entry = held.entry if held.entry is not None else held.marked()
    require(entry > 0, "bad_entry", f"{held.instrument}: entry {entry} is no price")
    return Leg(
        qty=held.notional_qty,
        entry=entry,
        tiers=table(rule, held.instrument),
        fee=rule.taker_fee if rule.counts_closing_fee else 0.0,
        basis=rule.basis,
        is_inverse=held.style == "inverse",
    )


class _Held:
    """One instrument's legs, with their margin in the account's currency."""

    def __init__(self, portfolio: Portfolio, rule: VenueRule, legs: list[Position], orders: list[Order]) -> None:
        self.portfolio, self.positions, self.rule = portfolio, legs, rule
        self.legs = [leg_of(rule, held) for held in legs]
        self.mode = legs[0].margin_mode
        marks = [1.0 / held.marked() if held.style == "inverse" else held.marked() for held in legs]
        self.maintenance = sum(leg.maintenance(x) for leg, x in zip(self.legs, marks))
        self.initial = sum(_initial(rule, held, leg, x) for held, leg, x in zip(legs, self.legs, marks))
        if rule.quantum:
            self.maintenance, self.initial = _in_quanta(rule, self)
        self.reserved = max(0.0, self._initial_with(orders) - self.initial)
        self.profit = sum(held.profit(held.marked()) for held in legs)

    def in_account(self, amount: float) -> float:
        """Return an amount in the account's currency."""
        return converted(self.portfolio, self.positions[0], amount)

    def _initial_with(self, orders: list[Order]) -> float:
        """Return the largest initial margin that fills of orders can make: all buys, all sells, in hedge mode both.

        In hedge mode a buy opens the long leg and a sale the short one, so that neither closes the other.
        """
        worst = self.initial
        sides = [("buy",), ("sell",)] if self.positions[0].leg == "both" else [("buy", "sell")]
        for taken in ([order for order in orders if order.side in side] for side in sides):
            if taken:
                filled = [_filled(held, taken) for held in _both_legs(self.positions)]
                worst = max(worst, _Held(self.portfolio, self.rule, filled, []).initial)
        return worst


def _both_legs(positions: list[Position]) -> list[Position]:
    """Return an instrument's legs; in hedge mode the missing one as a position of nothing."""
    if positions[0].leg == "both" or len(positions) == 2:
        return positions
    other: Literal["long", "short"] = "short" if positions[0].leg == "long" else "long"
    return [*positions, msgspec.structs.replace(positions[0], leg=other, qty=0.0, entry=None, accrued=0.0)]


def _filled(held: Position, orders: list[Order]) -> Position:
    for order in orders:
        fits = held.leg == "both" or (held.leg == "long") == (order.side == "buy")
        if fits:
            extra = msgspec.structs.replace(held, qty=order.signed_qty, entry=order.price, accrued=0.0)
            held = merged(held, extra) if held.qty else msgspec.structs.replace(extra, mark=held.mark)
    return held


def _initial(rule: VenueRule, held: Position, leg: Leg, x: float) -> float:
    """Return a leg's initial margin: notional over leverage, at least its maintenance margin."""
    at = leg.entry_x if rule.basis == "entry" else x
    fee = leg.fee * leg.value(x)
    return max(leg.tiers.initial(leg.value(at), held.leverage) + fee, leg.maintenance(x))


def _in_quanta(rule: VenueRule, held: _Held) -> tuple[float, float]:
    """Return dYdX's margins: initial growing with open interest, both rounded up to whole quanta."""
    initial = maintenance = 0
    for position in held.positions:
        base = int(rows_of(rule.tiers[position.instrument])[0][1])
        size = abs(position.notional_qty) * position.marked() / rule.quantum
        notional = Fraction(size)
        caps = rule.open_interest.get(position.instrument, [0, 0, 0])
        fraction = open_interest_fraction(base, *caps)
        initial += rounded_up(notional * fraction)
        maintenance += rounded_up(notional * Fraction(base, PPM) * Fraction(rule.maintenance_ppm, PPM))
    return maintenance * rule.quantum, max(initial, maintenance) * rule.quantum


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return tiered margin. Isolated positions stand alone: their margin is taken out of the cross account.

    Equity, initial and maintenance are those of the cross account; each isolated position is a component of its own
    name, with its margin on both sides (`isolated` in details), and its own liquidation price.
    """
    rule, source, as_of = venue_rule(portfolio.parameter_set, portfolio.parameters)
    held = [_Held(portfolio, rule, legs, orders) for legs, orders in _instruments(portfolio)]
    cross = [h for h in held if h.mode == "cross"]
    balance = portfolio.cash + sum(min(c.qty * c.price * c.rate, c.qty * c.price) for c in portfolio.collateral)
    profit = sum(h.in_account(h.profit) for h in cross)
    components: dict[str, Component] = {}
    for h in cross:
        name = h.positions[0].instrument
        components[name] = Component(h.in_account(h.initial), h.in_account(h.maintenance))
        if h.reserved:
            components[f"{name} orders"] = Component(h.in_account(h.reserved), 0.0)
    alone = [h for h in held if h.mode == "isolated"]
    for h in alone:
        if h.reserved:
            # What an order in an isolated position will need is taken out of the cross account.
            components[f"{h.positions[0].instrument} orders"] = Component(h.in_account(h.reserved), 0.0)
    if portfolio.orders:
        components["orders at once"] = Component(loss_at_once(portfolio), 0.0)
    return MarginResult(
        model="tiered",
        currency=portfolio.currency,
        equity=balance + profit,
        initial=sum(c.initial for c in components.values()),
        maintenance=sum(c.maintenance for c in components.values()),
        components=components,
        liquidation=tuple(_liquidations(balance, cross, alone)),
        details={
            "balance": balance,
            "unrealised": profit,
            "isolated": {h.positions[0].instrument: _isolated(h) for h in alone},
        },
        source=source,
        as_of=as_of,
    )


def _instruments(portfolio: Portfolio) -> Iterable[tuple[list[Position], list[Order]]]:
    """Yield each instrument's legs of one mode with its orders; an order in nothing held is a leg of nothing."""
    groups: dict[tuple[str, str], list[Position]] = {}
    for held in net(portfolio.positions):
        if held.kind not in ("perpetual", "future"):
            raise MarginError("unsupported", f"{held.instrument}: tiers are for futures, not for a {held.kind}")
        groups.setdefault((held.instrument, held.margin_mode), []).append(held)
    names = {name for name, _ in groups}
    for order in portfolio.orders:
        if order.instrument not in names:
            groups.setdefault((order.instrument, "cross"), [contract_of(portfolio, order)])
    for (name, mode), legs in sorted(groups.items()):
        is_first = mode == "cross" or (name, "cross") not in groups
        yield legs, [order for order in portfolio.orders if order.instrument == name and is_first]


def _isolated_wallet(h: _Held) -> float:
    """Return the margin set aside for an isolated position: stated, or its entry notional over leverage."""
    total = 0.0
    for position, leg in zip(h.positions, h.legs):
        if position.isolated_margin is not None:
            total += position.isolated_margin
        else:
            require(position.leverage is not None, "missing_input", f"{position.instrument}: isolated, no margin")
            total += leg.value(leg.entry_x) / (position.leverage or 1.0)
        total += position.accrued
    return total


def _isolated(h: _Held) -> dict[str, float]:
    wallet = _isolated_wallet(h)
    accrued = sum(position.accrued for position in h.positions)
    return {
        "wallet": wallet,
        "equity": wallet + h.profit - accrued,
        "initial": h.initial,
        "maintenance": h.maintenance,
        "orders": h.reserved,
    }


def is_solved(portfolio: Portfolio) -> bool:
    """Return True where every liquidation price has a closed form: no other currency, no rounding to quanta."""
    rule = venue_rule(portfolio.parameter_set, portfolio.parameters)[0]
    cross = [held for held in portfolio.positions if held.margin_mode == "cross"]
    return not rule.quantum and all(_is_own_currency(portfolio, held) for held in cross)


def _is_own_currency(portfolio: Portfolio, held: Position) -> bool:
    return held.is_coin_settled == (portfolio.currency == held.underlying)


def _liquidations(balance: float, cross: list[_Held], isolated: list[_Held]) -> Iterable[Liquidation]:
    """Yield the liquidation price of each instrument, all others standing still."""
    for h in isolated:
        yield from _one(h, _isolated_wallet(h))
    for h in cross:
        others = [other for other in cross if other is not h]
        resting = balance + sum(other.in_account(other.profit - other.maintenance) for other in others)
        if not _is_own_currency(h.portfolio, h.positions[0]):
            continue  # an account in another currency: its price is searched for, not solved
        accrued = sum(position.accrued for position in h.positions)
        unmaintained = balance + sum(other.in_account(other.profit) for other in others) + accrued
        yield from _one(h, resting + accrued, unmaintained)


def _one(h: _Held, wallet: float, equity_wallet: float | None = None) -> Iterable[Liquidation]:
    if h.rule.quantum or not any(leg.qty for leg in h.legs):
        return
    price = liquidation_price(h.legs, wallet)
    if price is None:
        return
    x = 1.0 / price if h.legs[0].is_inverse else price
    gap = wallet + sum(leg.profit(x) - leg.maintenance(x) for leg in h.legs)
    notional = sum(leg.value(x) for leg in h.legs)
    bankrupt = bankruptcy_price(h.legs, wallet if equity_wallet is None else equity_wallet)
    yield Liquidation(h.positions[0].instrument, price, gap, notional, bankrupt)
