"""Binance portfolio margin: equity by asset after its collateral rate, maintenance of three books, uniMMR.

    X = margin asset - loan + futures wallet + unrealised profit;  equity = min(X * P * rate, X * P)
    uniMMR = sum(equity) / sum(maintenance)

The minimum is what keeps a debt whole: a negative X times a rate below one would be smaller than the debt.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from risk.models.parameters import parameters
from risk.models.portfolio import USD_LIKE, Collateral, Portfolio, Position, contract_of, net
from risk.models.result import Component, MarginError, MarginResult, require
from risk.models.tiers import TierTable, rows_of


class BinanceParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tiers` by instrument, in its margin currency; `default_mmr` for what has none, refused where that is zero.

    `rates` are collateral rates by asset for the order path; a file gives those of its own collateral.
    """

    loan_mmr: float
    loan_mmr_by_asset: dict[str, float]
    default_mmr: float
    tiers: dict[str, list[list[float]]]
    remind: float
    reduce_only: float
    liquidate: float
    imr_factor: float
    rates: dict[str, float] = {}


class Status(StrEnum):
    """What the venue lets an account do, by uniMMR."""

    HEALTHY = "healthy"
    REMINDED = "reminded"
    REDUCE_ONLY = "reduce_only"
    LIQUIDATED = "liquidated"


def status(uni_mmr: float, p: BinanceParameters) -> Status:
    """Return the state of an account: thresholds count as reached."""
    if uni_mmr <= p.liquidate:
        return Status.LIQUIDATED
    if uni_mmr <= p.reduce_only:
        return Status.REDUCE_ONLY
    return Status.REMINDED if uni_mmr <= p.remind else Status.HEALTHY


def asset_equity(amount: float, price: float, rate: float) -> float:
    """Return an asset's adjusted equity in USD."""
    require(price >= 0, "bad_mark", f"price {price}")
    require(0 <= rate <= 1, "bad_parameter", f"collateral rate {rate}")
    return min(amount * price * rate, amount * price)


def maintenance(held: Position, p: BinanceParameters) -> float:
    """Return a futures position's maintenance margin in its margin currency."""
    notional = abs(held.notional_qty)
    notional = notional / held.marked() if held.style == "inverse" else notional * held.marked()
    rows = p.tiers.get(held.instrument)
    if rows is None:
        if not p.default_mmr:
            raise MarginError("missing_tiers", f"{held.instrument}: no tiers are given")
        return TierTable.single(p.default_mmr).maintenance(notional)
    return TierTable(rows_of(rows)).maintenance(notional)


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return Binance's portfolio margin, in USD."""
    p, where = parameters("binance_portfolio", BinanceParameters, portfolio.parameter_set, portfolio.parameters)
    require(portfolio.currency in USD_LIKE, "unsupported", "portfolio margin is counted in USD")
    assets = {held.asset: held for held in portfolio.collateral}
    require(len(assets) == len(portfolio.collateral), "bad_portfolio", "an asset is listed twice")
    positions = net(portfolio.positions)
    amounts = {name: held.qty - held.loan for name, held in assets.items()}
    if portfolio.cash:
        assets.setdefault("USDT", Collateral(asset="USDT", qty=0.0, price=portfolio.stable_price))
        amounts["USDT"] = amounts.get("USDT", 0.0) + portfolio.cash
    components: dict[str, Component] = {}
    for held in positions:
        asset = _margin_asset(held)
        if asset not in assets:
            assets[asset] = Collateral(asset=asset, qty=0.0, price=_price(portfolio, held, asset))
            amounts[asset] = 0.0
        amounts[asset] += held.profit(held.marked())
        charge = maintenance(held, p) * assets[asset].price
        _add(components, held.instrument, charge, p)
    for name, owned in assets.items():
        if owned.loan:
            rate = p.loan_mmr_by_asset.get(name, p.loan_mmr)
            _add(components, f"loan {name}", owned.loan * rate * owned.price, p)
    equities = {name: asset_equity(amounts[name], owned.price, owned.rate) for name, owned in assets.items()}
    open_loss = _open_loss(portfolio, components, {name: owned.price for name, owned in assets.items()}, p)
    total, mm = sum(equities.values()) - open_loss, sum(c.maintenance for c in components.values())
    uni_mmr = total / mm if mm else None
    return MarginResult(
        model="binance_portfolio",
        currency="USD",
        equity=total,
        initial=sum(c.initial for c in components.values()),
        maintenance=mm,
        components=components,
        details={
            "amounts": amounts,
            "equities": equities,
            "open_loss": open_loss,
            "uni_mmr": uni_mmr,
            "status": (Status.HEALTHY if uni_mmr is None else status(uni_mmr, p)).value,
        },
        unconfirmed=("initial",),
        source=where.source,
        as_of=where.as_of,
    )


def _margin_asset(held: Position) -> str:
    if held.kind not in ("perpetual", "future"):
        raise MarginError("unsupported", f"{held.instrument}: no {held.kind} in this model")
    if held.style == "inverse":
        return held.underlying
    return "USDT" if held.settlement == "USD" else held.settlement


def _price(portfolio: Portfolio, held: Position, asset: str) -> float:
    if held.style != "inverse":
        return portfolio.stable_price
    return portfolio.underlying(asset).spot if asset in portfolio.underlyings else held.marked()


def _add(components: dict[str, Component], name: str, charge: float, p: BinanceParameters) -> None:
    known = components.get(name, Component(0.0, 0.0))
    components[name] = Component(known.initial + charge * p.imr_factor, known.maintenance + charge)


def _open_loss(
    portfolio: Portfolio, components: dict[str, Component], prices: Mapping[str, float], p: BinanceParameters
) -> float:
    """Return what working orders lose at once when they fill at their limits, and charge their margin as initial.

    That is what a contract may come to ask for beyond what it asks for now, all orders of one side filled: tiers grow
    faster than size, so that orders by themselves would ask for less than their fills. In hedge mode each side grows
    the leg of its own, and both may.
    """
    loss, sides = 0.0, dict[str, list[float]]()
    contracts: dict[str, Position] = {}

    def price_of(held: Position) -> float:
        asset = _margin_asset(held)
        return prices[asset] if asset in prices else _price(portfolio, held, asset)

    for order in portfolio.orders:
        contract = contract_of(portfolio, order)
        held = msgspec.structs.replace(contract, qty=order.signed_qty, entry=order.price)
        loss += max(0.0, -held.profit(held.marked())) * price_of(held)
        contracts[order.instrument] = contract
        buys_sells = sides.setdefault(order.instrument, [0.0, 0.0])
        buys_sells[order.side == "sell"] += order.qty
    for name, (buys, sells) in sides.items():
        held = contracts[name]
        grown = sum(
            max(0.0, _maintenance_of(held, after, p) - _maintenance_of(held, before, p))
            for before, after in _growths(portfolio, held, buys, sells)
        )
        components[f"{name} orders"] = Component(grown * price_of(held) * p.imr_factor, 0.0)
    return loss


def _growths(portfolio: Portfolio, contract: Position, buys: float, sells: float) -> list[tuple[float, float]]:
    """Return the quantity of each leg of a contract now, and at its largest over fills."""
    legs = {"both": 0.0, "long": 0.0, "short": 0.0}
    is_hedged = contract.leg != "both"
    for held in portfolio.positions:
        if held.instrument == contract.instrument:
            legs[held.leg] += held.qty
            is_hedged = is_hedged or held.leg != "both"
    if is_hedged:
        return [(legs["long"], legs["long"] + buys), (legs["short"], legs["short"] - sells)]
    now = legs["both"]
    return [(now, max(now + buys, now - sells, key=abs))]


def _maintenance_of(contract: Position, qty: float, p: BinanceParameters) -> float:
    return maintenance(msgspec.structs.replace(contract, qty=qty), p)
