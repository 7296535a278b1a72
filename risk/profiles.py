"""Regulatory and client constraints as data: jurisdiction x client class x product.

A profile only ever tightens: requirements with it are at least those without, equity at most, and what is permitted is
a subset. Several profiles bind together. Each refusal names profile and rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from risk.constraints import Constraints, Eligible, Part, Requirement, Rule
from risk.instrument import Kind
from risk.models import house
from risk.models.house_book import HouseParameters, book
from risk.models.parameters import names, parameters
from risk.models.portfolio import Order, Portfolio, Position, contract_of, prepared
from risk.models.result import Component, MarginError, MarginResult, require, total
from risk.models.whatif import filled

Product = Literal["spot", "perpetual", "future", "option"]
# EMIR RTS 153/2013 Art. 28(1): (a) an exhaustible buffer, (b) weight on stressed observations, (c) a ten-year floor.
AntiProcyclicality = Literal["buffer", "stress_weight", "ten_year_floor"]
PRODUCTS: Final[tuple[Product, ...]] = ("spot", "perpetual", "future", "option")

# Art. 28(1)(a) and (b): at least a quarter.
BUFFER: Final = 0.25
STRESS_WEIGHT: Final = 0.25
ROUNDING: Final = 1e-9
ANY_CLASS: Final = "any"


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of constraints; what is None does not bind.

    `max_leverage` is by product, of the gross notional (options: their delta's, at least as much as they are worth).
    `close_out` is the least share of initial margin that equity may fall to. `eligible_collateral` lists assets.
    `rules` gives, by constraint, its source and certainty.
    """

    jurisdiction: str
    client_class: str
    permitted: tuple[Product, ...] = PRODUCTS
    max_leverage: dict[Product, float] = {}
    close_out: float | None = None
    least_mpor_days: float | None = None
    least_confidence: float | None = None
    offset_cap: float | None = None
    anti_procyclicality: tuple[AntiProcyclicality, ...] = ()
    eligible_collateral: tuple[str, ...] | None = None
    rules: dict[str, str] = {}
    name: str = ""

    def __post_init__(self) -> None:
        shares = [share for share in (self.close_out, self.offset_cap) if share is not None]
        well_formed = all(0 <= share <= 1 for share in shares) and all(x >= 1 for x in self.max_leverage.values())
        well_formed &= self.least_mpor_days is None or self.least_mpor_days > 0
        well_formed &= self.least_confidence is None or 0.5 < self.least_confidence < 1
        if not well_formed:
            raise ValueError("shares lie in 0..1, leverage is at least 1, confidence in 0.5..1, time above zero")


class Refusal(msgspec.Struct, frozen=True):
    """Why an order may not be sent: the profile, its rule, and the figures."""

    profile: str
    rule: str
    text: str

    def __str__(self) -> str:
        return f"profile {self.profile}, rule {self.rule}: {self.text}"


def profile(name: str) -> Profile:
    """Return a profile of parameters/profiles.toml; refused where it is not known."""
    found, _ = parameters("profiles", Profile, name)
    return msgspec.structs.replace(found, name=name)


def known() -> list[str]:
    """Return the names of all profiles."""
    return names("profiles")


def applying(jurisdiction: str, client_class: str) -> tuple[Profile, ...]:
    """Return all profiles of a client: those of its jurisdiction for its class, or for any.

    Raises
    ------
    MarginError
        no_profile: a client that nobody has classified is not one without constraints.
    """
    found = [one for one in map(profile, known()) if one.jurisdiction == jurisdiction]
    found = [one for one in found if one.client_class in (client_class, ANY_CLASS)]
    require(bool(found), "no_profile", f"{jurisdiction}, {client_class}: no profile is known")
    return tuple(found)


def permitted(profiles: Iterable[Profile]) -> frozenset[Product]:
    """Return the products that all profiles permit."""
    return frozenset(PRODUCTS).intersection(*(one.permitted for one in profiles))


_KINDS: Final[dict[Product, Kind]] = {
    "spot": Kind.SPOT,
    "perpetual": Kind.PERPETUAL,
    "future": Kind.FUTURE,
    "option": Kind.OPTION,
}


def constraints(
    chosen: Sequence[str], mpor_days: float = 1.0, shortest_days: float | None = None
) -> Constraints | None:
    """Return what profiles forbid on the order path, the strictest of each rule; None where there are none.

    The grid of the order path stands for `mpor_days` at the confidence of the house's parameters; the shortest period
    of any product at any venue is `shortest_days`, the same where it is not given.

    Raises
    ------
    ValueError
        If a profile is not known: it is not passed over.
    """
    if not chosen:
        return None
    forbidden: dict[Kind, str] = {}
    leverage: dict[Kind, Rule] = {}
    close_out: Rule | None = None
    requirements: list[Requirement] = []
    for name in chosen:
        try:
            one = profile(name)
        except MarginError as error:
            raise ValueError(f"profile {name}: {error}") from error
        for product, kind in _KINDS.items():
            if product not in one.permitted:
                forbidden.setdefault(kind, name)
            cap = one.max_leverage.get(product)
            if cap is not None and (kind not in leverage or cap < leverage[kind].value):
                leverage[kind] = Rule(cap, name)
        requirements += _requirements(one, mpor_days, mpor_days if shortest_days is None else shortest_days)
        if one.close_out is not None and (close_out is None or one.close_out > close_out.value):
            close_out = Rule(one.close_out, name)
    return Constraints(forbidden, leverage, close_out, tuple(requirements), _eligible(chosen))


def _eligible(chosen: Sequence[str]) -> Eligible | None:
    """Return what all of some profiles take as collateral; None where none says anything."""
    lists = [(name, profile(name).eligible_collateral) for name in chosen]
    by = tuple((name, tuple(assets)) for name, assets in lists if assets is not None)
    if not by:
        return None
    taken = frozenset(by[0][1]).intersection(*(assets for _, assets in by[1:]))
    return Eligible(tuple(sorted(taken)), by)


def _requirements(one: Profile, mpor_days: float, shortest_days: float) -> list[Requirement]:
    """Return what a profile asks of margin on the order path; nothing where it is the house's own."""
    p, _ = parameters("house", HouseParameters)
    tail = max(1.0, p.tail(max(p.confidence, one.least_confidence or 0.0)) / p.tail(p.confidence))
    least = one.least_mpor_days or 0.0
    least = least if least > shortest_days else 0.0  # nothing is shorter: the house's own
    period = max(1.0, least / mpor_days) ** 0.5
    found = []
    if tail > 1.0:
        found.append(Requirement(one.name, "least_confidence", (Part(tail, 1.0, True),)))
    if least:
        found.append(Requirement(one.name, "least_mpor_days", (Part(tail * period, 1.0, True, least),)))
    scale = tail * period
    parts: dict[AntiProcyclicality, tuple[Part, ...]] = {
        "buffer": (Part(scale, 1.0 + BUFFER * (1.0 - p.buffer_released), True, least),),
        "stress_weight": (
            Part(scale, 1.0 - STRESS_WEIGHT, True, least),
            Part(scale * p.stressed_scale, STRESS_WEIGHT, False, least),
        ),
        "ten_year_floor": (Part(scale * p.ten_year_scale, 1.0, True, least),),
    }
    return found + [Requirement(one.name, f"anti_procyclicality, {m}", parts[m]) for m in one.anti_procyclicality]


def offset_cap(chosen: Sequence[str], most: float) -> float:
    """Return how much of the offset between coins counts: the least of the house's own and of the profiles'."""
    caps = [profile(name).offset_cap for name in chosen]
    return min([most, *(cap for cap in caps if cap is not None)])


def tightened(p: HouseParameters, profiles: Iterable[Profile]) -> HouseParameters:
    """Return house parameters at least as strict as given and as every profile's."""
    for one in profiles:
        eligible = p.eligible
        if one.eligible_collateral is not None:
            mine = one.eligible_collateral
            eligible = mine if eligible is None else tuple(asset for asset in eligible if asset in mine)
        p = msgspec.structs.replace(
            p,
            mpor_days=max(p.mpor_days, one.least_mpor_days or 0.0),
            periods=tuple(
                msgspec.structs.replace(row, days=max(row.days, one.least_mpor_days or 0.0)) for row in p.periods
            ),
            confidence=max(p.confidence, one.least_confidence or 0.0),
            offset_cap=p.offset_cap if one.offset_cap is None else min(p.offset_cap, one.offset_cap),
            eligible=eligible,
        )
    return p


def evaluate(portfolio: Portfolio, profiles: Sequence[Profile] | None = None) -> MarginResult:
    """Return the house margin under profiles; those of the portfolio's parameters where none are given.

    The house's own figures, those under each profile and those under all are computed, and the strictest of each
    counts: less collateral may ask less of a portfolio that it burdened. Components name the rules that raised them.
    """
    p, _ = house.read(portfolio)
    bound = tuple(profile(name) for name in p.profiles) if profiles is None else tuple(profiles)
    base = house.evaluate(portfolio, p)
    if not bound:
        return base
    stricts = [tightened(p, (one,)) for one in bound]
    figures = _Figures(base)
    for strict in [*stricts, tightened(p, bound)]:
        figures.tighten(base if strict == p else house.evaluate(portfolio, strict))
    figures.core = figures.initial, figures.maintenance
    for one, strict in zip(bound, stricts):
        _apply(figures, portfolio, one, strict)
    for one in bound:  # last: a share of the initial margin that all of them ask for
        figures.raise_to(f"{one.name}: close_out", 0.0, (one.close_out or 0.0) * figures.initial)
    return figures.result(bound)


class _Figures:
    """Requirements as they are raised, and by which rule; `shown` is the result that asked for most."""

    def __init__(self, base: MarginResult) -> None:
        self.base = self.shown = base
        self.equity, self.initial, self.maintenance = base.equity, base.initial, base.maintenance
        # What anti-procyclicality starts from: two profiles with one mode each do not buffer a buffer.
        self.core = self.initial, self.maintenance
        self.parts: dict[str, Component] = {}
        self.unconfirmed = base.unconfirmed

    def tighten(self, tight: MarginResult) -> None:
        """Take the worse of each figure with those under tightened parameters."""
        self.equity = min(self.equity, tight.equity)
        self.unconfirmed = tuple(dict.fromkeys((*self.unconfirmed, *tight.unconfirmed)))
        if tight.initial > self.initial:
            self.shown = tight
        self.raise_to("parameters under profiles", tight.initial, tight.maintenance)

    def raise_to(self, name: str, initial: float, maintenance: float) -> None:
        """Raise both requirements to at least these; what that adds is a component by this name."""
        more = Component(max(0.0, initial - self.initial), max(0.0, maintenance - self.maintenance))
        if more.initial or more.maintenance:
            known = self.parts.get(name, Component(0.0, 0.0))
            self.parts[name] = Component(known.initial + more.initial, known.maintenance + more.maintenance)
            self.initial, self.maintenance = self.initial + more.initial, self.maintenance + more.maintenance

    def result(self, bound: Sequence[Profile]) -> MarginResult:
        """Return the house's own result raised."""
        components = self.base.components | self.parts
        initial, maintenance = total(components)
        return msgspec.structs.replace(
            self.base,
            equity=self.equity,
            initial=initial,
            maintenance=maintenance,
            components=components,
            ladder=self.shown.ladder,
            binding=self.shown.binding,
            unconfirmed=self.unconfirmed,
            details=self.base.details | {"profiles": [one.name for one in bound]},
        )


def _apply(figures: _Figures, portfolio: Portfolio, one: Profile, strict: HouseParameters) -> None:
    for mode in one.anti_procyclicality:
        figures.raise_to(f"{one.name}: {mode}", *_smoothed(mode, figures, portfolio, strict))
    least = leverage_margin(portfolio, one, strict)
    figures.raise_to(f"{one.name}: max_leverage", least, 0.0)


def _smoothed(
    mode: AntiProcyclicality, figures: _Figures, portfolio: Portfolio, strict: HouseParameters
) -> tuple[float, float]:
    """Return both requirements under a mode of Art. 28: buffer (a), stress_weight (b), ten_year_floor (c)."""
    if mode == "buffer":
        factor = 1.0 + BUFFER * (1.0 - strict.buffer_released)
        return figures.core[0] * factor, figures.core[1] * factor
    scale = strict.stressed_scale if mode == "stress_weight" else strict.ten_year_scale
    wide = house.evaluate(portfolio, msgspec.structs.replace(strict, move_scale=strict.move_scale * scale))
    weight = STRESS_WEIGHT if mode == "stress_weight" else 1.0
    mixed = [(1.0 - weight) * now + weight * then for now, then in zip(figures.core, (wide.initial, wide.maintenance))]
    return mixed[0], mixed[1]


def leverage_margin(portfolio: Portfolio, one: Profile, p: HouseParameters) -> float:
    """Return the initial margin that a profile's leverage caps ask for, in the account's currency."""
    if not one.max_leverage:
        return 0.0
    held = book(portfolio, p)
    needed = 0.0
    for position in held.contracts:
        cap = one.max_leverage.get(_product(position))
        if cap is not None and position.qty:
            needed += house.notional(held, position, p) / cap
    return needed / held.currency_price


def check(portfolio: Portfolio, orders: Sequence[Order], profiles: Sequence[Profile] | None = None) -> Refusal | None:
    """Return the first rule that refuses to send orders, or None.

    What is held of a product that is not permitted may be reduced. Margin is compared before and after all orders
    filled: a shortfall refuses them unless they make it no worse, and closing one leg of a hedge may well do that.

    Raises
    ------
    MarginError
        If the margin can not be stated.
    """
    p, _ = house.read(portfolio)
    bound = tuple(profile(name) for name in p.profiles) if profiles is None else tuple(profiles)
    prepared(msgspec.structs.replace(portfolio, orders=tuple(orders)))
    after = portfolio
    for order in orders:
        contract = contract_of(portfolio, order)
        reduces = _reduces(after, order)
        for one in bound:
            if not reduces and _product(contract) not in one.permitted:
                permits = ", ".join(one.permitted) or "nothing"
                return Refusal(one.name, "permitted", f"{order.instrument} is a {contract.kind}, permitted: {permits}")
        after = filled(after, order)
    return _short_of(portfolio, after, bound)


def _short_of(portfolio: Portfolio, after: Portfolio, bound: Sequence[Profile]) -> Refusal | None:
    """Return which profile's margin is not covered after the fills, where the fills made it worse."""
    together = [(one,) for one in bound] + ([tuple(bound)] if len(bound) > 1 else [])
    for group in together:
        now, then = (evaluate(each, group) for each in (portfolio, after))
        if then.available < min(0.0, now.available) - ROUNDING * then.initial:
            needed = f"initial margin {then.initial:.10g} {then.currency} after the fills, equity {then.equity:.10g}"
            return Refusal(" + ".join(one.name for one in group), _largest(then), needed)
    return None


def _largest(result: MarginResult) -> str:
    """Return the rule that asks for most beyond the house's own margin; initial_margin where none does."""
    own = {name: part.initial for name, part in result.components.items() if ": " in name and part.initial > 0}
    return max(sorted(own), key=lambda name: own[name]).partition(": ")[2] if own else "initial_margin"


def _reduces(portfolio: Portfolio, order: Order) -> bool:
    held = sum(position.qty for position in portfolio.positions if order.is_in(position))
    return held * order.signed_qty < 0 and abs(order.signed_qty) <= abs(held)


def _product(held: Position) -> Product:
    if held.kind == "combo":
        raise MarginError("unsupported", f"{held.instrument}: give the legs of a combo, each is a product")
    return held.kind
