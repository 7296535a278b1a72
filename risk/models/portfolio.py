"""The portfolio that margin models price: positions, marks, collateral, orders; float64, as a file gives them.

The order path keeps its own integers (risk/instrument.py, risk/position.py); this is the slow side's picture of the
same account, in which options carry volatilities and underlyings carry forwards. docs/margin.md is its schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, Literal

import msgspec

from risk.models.result import MarginError, require

SECONDS_A_YEAR: Final = 365 * 86_400
SECONDS_A_DAY: Final = 86_400
MAX_POSITIONS: Final = 10_000
MAX_DEPTH: Final = 12
# No price, size or amount of money is larger, and no product of a few of them overflows.
LARGEST: Final = 1e30
# Venues that settle to an average take it over the last half hour (Deribit, Derive).
AVERAGING_WINDOW_S: Final = 1_800.0
USD_LIKE: Final = frozenset({"USD", "USDC", "USDT"})
# A price that is not stated: `prepared` finds it, or refuses.
UNSTATED: Final = -1.0

Kind = Literal["spot", "perpetual", "future", "option", "combo"]


class Position(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A holding: qty > 0 is long. `notional_qty` is qty * contract_size.

    Linear contracts and options: contract_size in coin. Inverse: contract_size in USD, and profit is in coin. An
    option's `mark` is in USD, or in coin where `settlement` is its underlying. A combo has `legs`, each with the
    qty of one combo. `leg` is the hedge-mode leg: "both" is one-way mode. `venue` is where it is held: only the house
    model prices several venues at once.
    """

    instrument: str
    kind: Kind
    underlying: str
    qty: float
    contract_size: float = 1.0
    style: Literal["linear", "inverse"] = "linear"
    settlement: str = "USD"
    mark: float | None = None
    entry: float | None = None
    expiry_s: float | None = None
    strike: float | None = None
    option_type: Literal["call", "put"] | None = None
    vol: float | None = None
    margin_mode: Literal["cross", "isolated"] = "cross"
    isolated_margin: float | None = None
    leverage: float | None = None
    leg: Literal["both", "long", "short"] = "both"
    accrued: float = 0.0
    legs: tuple[Position, ...] = ()
    venue: str = ""

    @property
    def notional_qty(self) -> float:
        """Signed coins (USD for inverse)."""
        return self.qty * self.contract_size

    @property
    def is_call(self) -> bool:
        """True for a call."""
        return self.option_type == "call"

    @property
    def is_coin_settled(self) -> bool:
        """True where profit is paid in the underlying coin."""
        return self.style == "inverse" or self.settlement == self.underlying

    def marked(self) -> float:
        """Return the mark, or refuse: futures need one above zero, an option's may be zero."""
        if self.mark is None:
            raise MarginError("missing_mark", f"{self.instrument}: no mark")
        least_is_met = self.mark >= 0 if self.kind == "option" else self.mark > 0
        require(least_is_met, "bad_mark", f"{self.instrument}: mark {self.mark} is no price")
        return self.mark

    def profit(self, price: float) -> float:
        """Return profit since entry at `price`, in settlement currency; without an entry none is counted."""
        if self.entry is None:
            return self.accrued
        if self.style == "inverse":
            require(self.entry > 0, "bad_entry", f"{self.instrument}: entry {self.entry} is no price")
            return self.notional_qty * (1.0 / self.entry - 1.0 / price) + self.accrued
        return self.notional_qty * (price - self.entry) + self.accrued

    def years(self) -> float:
        """Return the time to expiry in years of 365 days; refused where an expired contract is held."""
        if self.expiry_s is None:
            raise MarginError("missing_expiry", f"{self.instrument}: an option needs expiry_s")
        require(self.expiry_s >= 0, "expired", f"{self.instrument}: expired {-self.expiry_s} s ago")
        return self.expiry_s / SECONDS_A_YEAR


class Expiry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the market says of one expiry: forward in USD, rate an annual fraction, confidences 0..1.

    `fixed` is the part of the settlement average that is already made (`forward` includes it). Where it is absent
    inside the averaging window, the elapsed share of `forward` is taken as fixed.
    """

    expiry_s: float
    forward: float
    fixed: float | None = None
    forward_confidence: float = 1.0
    rate: float = 0.0
    rate_confidence: float = 1.0
    vol_confidence: float = 1.0

    def fixed_part(self) -> float:
        """Return the part of the forward that no move of the market changes any more."""
        if self.fixed is not None:
            return self.fixed
        return self.forward * max(0.0, 1.0 - self.expiry_s / AVERAGING_WINDOW_S)


class Underlying(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A coin: USD spot (index), perpetual price, and its expiries."""

    spot: float
    spot_confidence: float = 1.0
    perp_price: float | None = None
    perp_confidence: float = 1.0
    expiries: tuple[Expiry, ...] = ()

    def expiry(self, expiry_s: float) -> Expiry:
        """Return the expiry at `expiry_s`, or refuse: no forward is made up."""
        for expiry in self.expiries:
            if expiry.expiry_s == expiry_s:
                return expiry
        raise MarginError("missing_forward", f"no forward for the expiry in {expiry_s} s")


class Collateral(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An asset held (or owed: qty < 0). Haircuts are fractions; `rate` is 1 - haircut where a venue names that.

    Without a `price` it is worth 1 USD where it is a dollar, else its underlying's spot; else it is refused.
    """

    asset: str
    qty: float
    price: float = UNSTATED
    confidence: float = 1.0
    loan: float = 0.0
    rate: float = 1.0
    mm_haircut: float = 0.0
    im_haircut_addon: float = 0.0
    is_risk_cancelling: bool = False
    venue: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A working or hypothetical order; `contract` describes an instrument that is not held (its qty is ignored).

    `id` names a working order; `replaces` is the id of the working order that a hypothetical one is to replace.
    """

    instrument: str
    side: Literal["buy", "sell"]
    qty: float
    price: float
    contract: Position | None = None
    venue: str = ""
    id: str = ""
    replaces: str = ""

    def is_in(self, held: Position) -> bool:
        """True where a position is of the order's instrument, at its venue."""
        return held.instrument == self.instrument and held.venue == self.venue

    @property
    def signed_qty(self) -> float:
        """Quantity with the position's sign."""
        return self.qty if self.side == "buy" else -self.qty


class Portfolio(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account at one venue. `cash` is in `currency`; parameters override those of `parameter_set`.

    `add_ons` are charges that the venue states and no public formula gives, by name, in `currency`: they are added to
    the initial margin as they stand (Deribit's mmp_margin, spot_margin, correlation_contingency).
    """

    model: str
    currency: str = "USD"
    cash: float = 0.0
    stable_price: float = 1.0
    underlyings: dict[str, Underlying] = {}
    positions: tuple[Position, ...] = ()
    collateral: tuple[Collateral, ...] = ()
    orders: tuple[Order, ...] = ()
    add_ons: dict[str, float] = {}
    parameter_set: str | None = None
    parameters: dict[str, Any] = {}
    name: str = ""

    def underlying(self, name: str) -> Underlying:
        """Return an underlying's market, or refuse."""
        if name not in self.underlyings:
            raise MarginError("missing_mark", f"{name}: no market is given for this underlying")
        return self.underlyings[name]


def load(document: Mapping[str, Any]) -> Portfolio:
    """Return the portfolio of a document: every number finite, prices positive, combos expanded, duplicates netted.

    Raises
    ------
    MarginError
        With reason bad_portfolio for what does not fit the schema, else naming the number and where it stands.
    """
    refuse_bad_numbers(document)
    try:
        portfolio = msgspec.convert(document, Portfolio)
    except msgspec.ValidationError as error:
        raise MarginError("bad_portfolio", str(error)) from error
    return prepared(portfolio)


def prepared(portfolio: Portfolio) -> Portfolio:
    """Return the portfolio with combos as legs; refuse prices, quantities and contracts that can not be priced."""
    positions = tuple(_legs(portfolio.positions))
    require(len(positions) <= MAX_POSITIONS, "too_many_positions", f"{len(positions)} are more than {MAX_POSITIONS}")
    for position in positions:
        _check_position(position)
    for name, market in portfolio.underlyings.items():
        require(market.spot > 0, "bad_mark", f"{name}: spot {market.spot} is no price")
        perp = market.perp_price
        require(perp is None or perp > 0, "bad_mark", f"{name}: perpetual's price {perp} is no price")
        for what, sure in (("spot", market.spot_confidence), ("perp", market.perp_confidence)):
            require(0 <= sure <= 1, "bad_confidence", f"{name}: {what}_confidence {sure} is no share of one")
        for expiry in market.expiries:
            for sure in (expiry.forward_confidence, expiry.rate_confidence, expiry.vol_confidence):
                require(0 <= sure <= 1, "bad_confidence", f"{name}: a confidence of {sure} is no share of one")
            require(expiry.forward > 0, "bad_mark", f"{name}: forward {expiry.forward} is no price")
            require(expiry.expiry_s >= 0, "expired", f"{name}: an expiry lies {-expiry.expiry_s} s back")
    collateral = tuple(_priced(portfolio, held) for held in portfolio.collateral)
    for name, charge in portfolio.add_ons.items():
        require(charge >= 0, "bad_portfolio", f"add-on {name}: {charge} is negative")
    ids = [order.id for order in portfolio.orders if order.id]
    require(len(ids) == len(set(ids)), "bad_order", "two orders have one id: a cancel would not say which it ends")
    for order in portfolio.orders:
        require(order.qty > 0, "bad_order", f"{order.instrument}: quantity {order.qty} is not positive")
        require(order.price >= 0, "bad_order", f"{order.instrument}: price {order.price} is no price")
    return msgspec.structs.replace(portfolio, positions=positions, collateral=collateral)


def _priced(portfolio: Portfolio, held: Collateral) -> Collateral:
    if held.price != UNSTATED:
        require(held.price >= 0, "bad_mark", f"{held.asset}: price {held.price} is no price")
        return held
    if held.asset in portfolio.underlyings:
        return msgspec.structs.replace(held, price=portfolio.underlyings[held.asset].spot)
    require(held.asset in USD_LIKE, "missing_price", f"{held.asset}: no price, and it is not worth zero for that")
    return msgspec.structs.replace(held, price=1.0)


def refuse_bad_numbers(value: Any, path: str = "", depth: int = 0) -> None:
    """Raise MarginError for a NaN, an infinity, or what no market states, anywhere in a document, naming its path."""
    require(depth <= MAX_DEPTH, "bad_portfolio", f"{path}: nested deeper than {MAX_DEPTH}")
    if isinstance(value, float | int):
        require(isinstance(value, int) or isfinite(value), "not_a_number", f"{path or 'value'} is {value}")
        require(abs(value) <= LARGEST, "too_large", f"{path or 'value'} is beyond {LARGEST:g}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            refuse_bad_numbers(item, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        for row, item in enumerate(value):
            refuse_bad_numbers(item, f"{path}[{row}]", depth + 1)


def moved(portfolio: Portfolio, underlying: str, factor: float) -> Portfolio:
    """Return the portfolio after the price of one underlying moved to `factor` times today's, volatility unchanged.

    Spot, perpetual, forwards (their part that is not fixed), marks of futures and collateral of that coin move in
    proportion. Options are marked again by the models' own pricing; a model that reads option marks is given them
    moved by the change of the Black-76 value (risk/models/valuation.py).
    """
    from risk.models.valuation import option_mark_moved

    market = portfolio.underlyings.get(underlying)
    positions = []
    for held in portfolio.positions:
        if held.underlying == underlying and held.mark is not None:
            price = held.mark * factor
            if held.kind == "option":
                price = option_mark_moved(portfolio, held, factor)
            held = msgspec.structs.replace(held, mark=price)
        positions.append(held)
    changes: dict[str, Any] = {"positions": tuple(positions)}
    if market is not None:
        changes["underlyings"] = portfolio.underlyings | {underlying: _market_moved(market, factor)}
    changes["collateral"] = tuple(
        msgspec.structs.replace(held, price=held.price * factor) if held.asset == underlying else held
        for held in portfolio.collateral
    )
    return msgspec.structs.replace(portfolio, **changes)


def _market_moved(market: Underlying, factor: float) -> Underlying:
    expiries = []
    for expiry in market.expiries:
        fixed = expiry.fixed_part()
        forward = fixed + (expiry.forward - fixed) * factor
        expiries.append(msgspec.structs.replace(expiry, forward=forward, fixed=fixed))
    perp = None if market.perp_price is None else market.perp_price * factor
    return msgspec.structs.replace(market, spot=market.spot * factor, perp_price=perp, expiries=tuple(expiries))


def _legs(positions: Iterable[Position]) -> Iterable[Position]:
    for held in positions:
        if held.kind != "combo":
            require(not held.legs, "bad_position", f"{held.instrument}: only a combo has legs")
            yield held
            continue
        require(bool(held.legs), "bad_position", f"{held.instrument}: a combo without legs")
        for leg in held.legs:
            require(leg.kind != "combo", "bad_position", f"{held.instrument}: a combo of combos")
            yield msgspec.structs.replace(leg, qty=leg.qty * held.qty, venue=leg.venue or held.venue)


def _check_position(held: Position) -> None:
    require(held.contract_size > 0, "bad_position", f"{held.instrument}: contract size {held.contract_size}")
    pays = held.settlement in USD_LIKE or held.settlement == held.underlying
    require(pays, "unsupported", f"{held.instrument}: settles in {held.settlement}, no dollar and not its underlying")
    if held.mark is not None:
        held.marked()
    if held.kind == "option":
        require(held.option_type is not None, "bad_position", f"{held.instrument}: call or put?")
        strike_is_usable = held.strike is not None and held.strike > 0
        require(strike_is_usable, "bad_position", f"{held.instrument}: strike {held.strike} is no price")
        held.years()
        require(held.vol is None or held.vol >= 0, "bad_vol", f"{held.instrument}: volatility {held.vol}")
    if held.leg != "both":
        fits = held.qty >= 0 if held.leg == "long" else held.qty <= 0
        require(fits, "bad_position", f"{held.instrument}: qty {held.qty} in the {held.leg} leg")


def net(positions: Iterable[Position]) -> tuple[Position, ...]:
    """Return positions with equal contracts netted into one, in an order that does not depend on theirs.

    Profit since entry is unchanged at every price: fills of one side average their entry, a reduction keeps the
    entry of the larger side and puts what it realised into `accrued`.
    """
    found: dict[tuple[Any, ...], Position] = {}
    for held in sorted(positions, key=_order):
        key = _contract(held)
        known = found.get(key)
        found[key] = held if known is None else merged(known, held)
    return tuple(found.values())


def _contract(held: Position) -> tuple[Any, ...]:
    what = held.instrument if held.kind != "option" else ""
    terms = (held.underlying, held.kind, held.style, held.settlement, held.expiry_s, held.strike, held.option_type)
    return (*terms, what, held.leg, held.margin_mode, held.contract_size, held.venue)


def _order(held: Position) -> tuple[Any, ...]:
    """Return a total order of positions."""
    terms = (held.underlying, held.kind, held.expiry_s or 0.0, held.strike or 0.0, held.option_type or "")
    figures = (held.qty, held.entry or 0.0, held.mark or 0.0, held.accrued)
    return (*terms, held.instrument, held.venue, held.leg, *figures)


def merged(first: Position, second: Position) -> Position:
    """Return one position that has the quantity and, at every price, the profit of both."""
    qty, accrued, entry = first.qty + second.qty, first.accrued + second.accrued, first.entry
    if first.entry is None or second.entry is None or (first.style == "inverse" and 0 in (first.entry, second.entry)):
        return msgspec.structs.replace(first, qty=qty, accrued=accrued)
    is_inverse = first.style == "inverse"
    costs = [q.notional_qty / q.entry if is_inverse else q.notional_qty * q.entry for q in (first, second) if q.entry]
    cost, size = sum(costs), qty * first.contract_size
    if first.qty * second.qty > 0:
        entry = size / cost if is_inverse else cost / size
    else:
        entry = first.entry if abs(first.qty) >= abs(second.qty) else second.entry
        accrued += cost - size / entry if is_inverse else size * entry - cost
    return msgspec.structs.replace(first, qty=qty, accrued=accrued, entry=entry)


def contract_of(portfolio: Portfolio, order: Order) -> Position:
    """Return the order's instrument as a position of nothing, from what is held or from the order itself.

    Raises
    ------
    MarginError
        If neither describes it.
    """
    if order.contract is not None:
        venue = order.venue or order.contract.venue
        return msgspec.structs.replace(order.contract, qty=0.0, entry=None, accrued=0.0, venue=venue)
    for held in portfolio.positions:
        if order.is_in(held):
            return msgspec.structs.replace(held, qty=0.0, entry=None, accrued=0.0)
    raise MarginError("unknown_instrument", f"{order.instrument}: not held, and the order has no contract")


def equity(portfolio: Portfolio, counts_options: bool) -> float:
    """Return cash, collateral after its rate, profit of futures, and option marks where the venue counts them.

    All in the portfolio's currency: amounts in the coin of an underlying are converted at its spot.
    """
    total = portfolio.cash
    for held in portfolio.collateral:
        value = held.qty * held.price
        total += min(value * held.rate, value)  # a debt is not discounted
    for position in portfolio.positions:
        if position.kind == "option":
            amount = position.notional_qty * position.marked() if counts_options else 0.0
        elif position.kind == "spot":
            amount = position.notional_qty * position.marked()
        else:
            amount = position.profit(position.marked()) if position.qty or position.accrued else 0.0
        total += converted(portfolio, position, amount)
    return total


def converted(portfolio: Portfolio, held: Position, amount: float) -> float:
    """Return an amount of a position's settlement currency in the portfolio's currency."""
    in_coin = held.is_coin_settled
    account_in_coin = portfolio.currency == held.underlying
    require(
        account_in_coin or portfolio.currency in USD_LIKE,
        "unsupported",
        f"{held.instrument} in an account of {portfolio.currency}",
    )
    if in_coin == account_in_coin:
        return amount
    spot = portfolio.underlying(held.underlying).spot
    return amount / spot if account_in_coin else amount * spot


def coin_of(portfolio: Portfolio, held: Position) -> int | None:
    """Return which collateral an option that settles in its coin is paid with, or None: it is paid in cash."""
    if held.kind != "option" or not held.is_coin_settled or portfolio.currency == held.underlying:
        return None
    for at, asset in enumerate(portfolio.collateral):
        if asset.asset == held.underlying and asset.venue == held.venue:
            return at
    return None


def loss_at_once(portfolio: Portfolio, counts_options: bool = True) -> float:
    """Return what working orders lose the moment they fill, by limits beyond the mark; each alone, gains left out.

    In the portfolio's currency. Options are left out where equity does not count their marks.
    """
    total = 0.0
    for order in portfolio.orders:
        contract = contract_of(portfolio, order)
        if contract.kind == "option" and not counts_options:
            continue
        fill = msgspec.structs.replace(contract, qty=order.signed_qty, entry=order.price)
        require(order.price > 0 or contract.kind == "option", "bad_order", f"{order.instrument}: price {order.price}")
        total += max(0.0, -converted(portfolio, fill, fill.profit(fill.marked())))
    return total
