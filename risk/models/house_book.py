"""What the house model prices: contracts of all venues netted, and what is held or owed where, in USD."""

from __future__ import annotations

from typing import Final

import msgspec
from scipy.special import stdtrit

from risk import collateral as pledged
from risk.models.portfolio import USD_LIKE, Collateral, Portfolio, Position, net
from risk.models.result import require
from risk.models.valuation import VolMove, VolShock
from risk.periods import PeriodRow, Periods, why_no_periods

# Where the account's cash lies: with the house itself, which no exchange's default touches.
HOME: Final = "house"
MAX_DAYS: Final = 4_000
MAX_MOVES: Final = 500
LEAST_MOVE: Final = -0.95


class Volume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An underlying's market: average daily volume in USD, daily volatility, half the spread as a share of price."""

    adv_usd: float
    daily_vol: float
    half_spread: float


class HouseParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """docs/margin.md, section house, says what each does. Moves are relative, rates fractions, times days."""

    grid_moves: tuple[float, ...]
    vols: tuple[VolMove, ...]
    vol_shock: VolShock
    move_scale: float = 1.0
    scales: dict[str, float] = {}
    mpor_days: float
    periods: tuple[PeriodRow, ...] = ()
    base_mpor_days: float
    confidence: float
    base_confidence: float
    tail_freedom: float
    history: dict[str, dict[str, float]] = {}
    history_days: float = 1.0
    history_vols: tuple[VolMove, ...]
    spike_moves: tuple[float, ...]
    spike_shock: VolShock
    default_loss: float
    default_moves: tuple[float, ...]
    peg_moves: tuple[float, ...]
    funding_spike: float
    funding_periods: float
    funding_default: float
    funding_rates: dict[str, float] = {}
    venue_netting_haircut: float
    location_rate: float
    offset_cap: float
    volumes: dict[str, Volume] = {}
    participation: float
    impact: float
    concentration_z: float
    least_delta: float
    maintenance_factor: float
    floor_rate: float
    short_option_floor: float
    prices: dict[str, float] = {}
    collateral_set: str = "house_2026"
    collateral: dict[str, dict[str, object]] = {}
    eligible: tuple[str, ...] | None = None
    profiles: tuple[str, ...] = ()
    stressed_scale: float
    ten_year_scale: float
    buffer_released: float = 0.0

    def __post_init__(self) -> None:
        shares: tuple[float, ...] = (self.default_loss, self.venue_netting_haircut, self.location_rate, self.offset_cap)
        shares += (self.maintenance_factor, self.buffer_released, self.least_delta)
        at_least_zero: tuple[float, ...] = (self.funding_spike, self.funding_periods, self.funding_default, self.impact)
        at_least_zero += (self.concentration_z, self.floor_rate, self.short_option_floor, self.move_scale)
        above_zero = (self.mpor_days, self.base_mpor_days, self.history_days, self.participation, *self.scales.values())
        above_zero += (*self.prices.values(), self.tail_freedom)
        moves = (*self.grid_moves, *self.spike_moves, *self.default_moves, *self.peg_moves)
        volumes = [(v.adv_usd, v.daily_vol, v.half_spread + 1.0) for v in self.volumes.values()]
        well_formed = {
            "shares lie in 0..1": all(0 <= share <= 1 for share in shares),
            "rates are not negative": all(rate >= 0 for rate in at_least_zero),
            "times, prices, scales are above zero": all(value > 0 for value in above_zero),
            "confidence lies in 0.5..1": all(0.5 < c < 1 for c in (self.confidence, self.base_confidence)),
            "moves lie above -1": all(move > -1 for move in moves),
            "there are moves": bool(self.grid_moves and self.vols and self.default_moves),
            "not too many": len(moves) <= MAX_MOVES and len(self.history) <= MAX_DAYS,
            "volumes are above zero": all(min(row) > 0 and row[2] >= 1 for row in volumes),
            "stress widens": min(self.stressed_scale, self.ten_year_scale) >= 1,
        }
        for rule, holds in well_formed.items():
            if not holds:
                raise ValueError(rule)
        if reason := why_no_periods(self.periods):
            raise ValueError(reason)

    def table(self) -> Periods:
        """Return the margin periods of products at venues."""
        return Periods(self.mpor_days, self.periods)

    def widened(self, days: float | None = None) -> float:
        """Return what grid moves are multiplied with: stress, root of time, and the quantiles of a Student t."""
        tail = self.tail(self.confidence) / self.tail(self.base_confidence)
        period = self.mpor_days if days is None else days
        return float(self.move_scale * (period / self.base_mpor_days) ** 0.5 * tail)

    def tail(self, confidence: float) -> float:
        """Return the quantile of the Student t that moves of a confidence are measured by."""
        return float(stdtrit(self.tail_freedom, confidence))

    def volume(self, underlying: str) -> Volume:
        """Return an underlying's market, or refuse: without volume its liquidation costs would be switched off."""
        require(underlying in self.volumes, "missing_volume", f"{underlying}: no average daily volume")
        return self.volumes[underlying]


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """The account over all venues, in USD.

    `contracts` are netted by venue and contract, without spot. `rows` is what is held and owed; `unpaid` the value of
    contracts since entry and of options, by (venue, asset of settlement). `units` are what moves: underlyings and
    coins. `currency_price` is the USD price of the account's currency.
    """

    portfolio: Portfolio
    by: pledged.CollateralRules
    contracts: tuple[Position, ...]
    rows: tuple[pledged.Counted, ...]
    unpaid: dict[tuple[str, str], float]
    unpaid_haircuts: dict[tuple[str, str], float]
    prices: dict[str, float]
    units: tuple[str, ...]
    venues: tuple[str, ...]
    currency_price: float

    def equity(self) -> float:
        """Return what counts, in USD: collateral, and values of contracts, whose gains bear their asset's haircut."""
        return sum(self.equity_at(venue) for venue in self.venues)

    def equity_at(self, venue: str) -> float:
        """Return a venue's part of `equity`."""
        held = sum(row.counted for row in self.rows if row.venue == venue)
        values = [(v, self.unpaid_haircuts[key]) for key, v in self.unpaid.items() if key[0] == venue]
        return held + sum(min(value, value * (1.0 - haircut)) for value, haircut in values)

    def exposure_at(self, venue: str) -> float:
        """Return what an exchange's default would take: collateral that counts, and contracts at their full value."""
        held = sum(row.counted for row in self.rows if row.venue == venue)
        return held + sum(value for key, value in self.unpaid.items() if key[0] == venue)


def book(portfolio: Portfolio, p: HouseParameters) -> Book:
    """Return the book of a portfolio.

    Raises
    ------
    MarginError
        missing_price, missing_mark, unsupported: what can not be priced is not left out.
    """
    clash = sorted(set(p.prices) & set(portfolio.underlyings))
    require(not clash, "bad_parameter", f"{', '.join(clash)}: priced twice, as an underlying and in prices")
    by, _ = pledged.rules(p.collateral_set, {"assets": p.collateral})
    if p.eligible is not None:
        by = msgspec.structs.replace(by, eligible=p.eligible)
    held = net(portfolio.positions)
    holdings = [pledged.Holding(portfolio.currency, portfolio.cash, _price(portfolio, p, portfolio.currency), HOME)]
    holdings += [_pledge(portfolio, p, asset) for asset in portfolio.collateral]
    holdings += [_spot(portfolio, position) for position in held if position.kind == "spot"]
    rows = pledged.count(holdings, by)
    contracts = tuple(position for position in held if position.kind != "spot")
    unpaid: dict[tuple[str, str], float] = {}
    prices = {row.asset: row.price for row in rows}
    for position in contracts:
        asset = settlement_of(position)
        prices[asset] = price = _price(portfolio, p, asset)
        unpaid[position.venue, asset] = unpaid.get((position.venue, asset), 0.0) + price * _value(position)
    coins = {row.asset for row in rows if _moves(row.asset, by) and row.qty}
    return Book(
        portfolio=msgspec.structs.replace(portfolio, currency="USD"),
        by=by,
        contracts=contracts,
        rows=rows,
        unpaid=unpaid,
        unpaid_haircuts={key: by.rule(key[1]).first_haircut(prices[key[1]]) for key in unpaid},
        prices=prices,
        units=tuple(sorted(coins | {position.underlying for position in contracts})),
        venues=tuple(sorted({HOME} | {row.venue for row in rows} | {position.venue for position in contracts})),
        currency_price=_price(portfolio, p, portfolio.currency),
    )


def settlement_of(held: Position) -> str:
    """Return the asset that a contract pays in; refused where it is neither a dollar nor the underlying."""
    if held.is_coin_settled:
        return held.underlying
    require(held.settlement in USD_LIKE, "unsupported", f"{held.instrument}: settles in {held.settlement}")
    return held.settlement


def _value(held: Position) -> float:
    """Return a contract's value in its settlement asset: an option's mark, a future's profit."""
    if held.kind == "option":
        return held.notional_qty * held.marked()
    return held.profit(held.marked())


def _pledge(portfolio: Portfolio, p: HouseParameters, held: Collateral) -> pledged.Holding:
    """Return collateral at its own price; a dollar that states par is worth what the portfolio says it is."""
    require(not held.loan, "unsupported", f"{held.asset}: give a loan as an asset owed")
    price = p.prices.get(held.asset, held.price)
    if held.asset in USD_LIKE and price == 1.0:
        price = _price(portfolio, p, held.asset)
    return pledged.Holding(held.asset, held.qty, price, held.venue)


def _spot(portfolio: Portfolio, held: Position) -> pledged.Holding:
    market = portfolio.underlyings.get(held.underlying)
    price = held.marked() if market is None else market.spot
    return pledged.Holding(held.underlying, held.notional_qty, price, held.venue)


def _price(portfolio: Portfolio, p: HouseParameters, asset: str) -> float:
    if asset in p.prices:
        return p.prices[asset]
    if asset in portfolio.underlyings:
        return portfolio.underlyings[asset].spot
    require(asset in USD_LIKE, "missing_price", f"{asset}: no price, and it is not worth zero for that")
    return 1.0 if asset == "USD" else portfolio.stable_price


def _moves(asset: str, by: pledged.CollateralRules) -> bool:
    return asset not in USD_LIKE and not (asset in by.assets and by.assets[asset].kind != "coin")
