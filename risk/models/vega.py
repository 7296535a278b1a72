"""Vega: log-normal expected shortfall in closed form, linear slippage, margin levels, funding margin.

rf_short = N(s - z) / L - 1,  rf_long = 1 - N(-z - s) / L,  s = sigma * sqrt(tau),  z = N^-1(1 - L)
MM = |qty| * mark * (slippage + rf) [+ funding factor * max(0, payment * qty)]
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, sqrt
from statistics import NormalDist
from typing import Final

import msgspec

from risk.models.parameters import parameters
from risk.models.portfolio import Portfolio, Position, contract_of, equity, loss_at_once, net
from risk.models.result import Component, MarginError, MarginResult, require

_NORMAL: Final = NormalDist()


class VegaParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Risk model and margin factors of a market; `payments` are funding payments due per contract, by instrument."""

    risk_aversion: float
    tau: float
    sigma: float
    mu: float
    linear_slippage: float
    search: float
    initial: float
    release: float
    funding_factor: float
    payments: dict[str, float]


def risk_factors(risk_aversion: float, tau: float, sigma: float, mu: float = 0.0) -> tuple[float, float]:
    """Return (short, long) risk factors: expected shortfall of a log-normal price, as shares of it.

    The drift enters as exp(mu * tau). A long one loses at most everything.
    """
    require(0 < risk_aversion < 1, "bad_parameter", f"risk aversion {risk_aversion}")
    require(tau >= 0 and sigma >= 0, "bad_parameter", f"tau {tau}, sigma {sigma}")
    s, growth = sigma * sqrt(tau), exp(mu * tau)
    # The quantile of a small tail is taken from below: 1 - L rounds where L is tiny.
    z = -_NORMAL.inv_cdf(risk_aversion)
    short = growth * _NORMAL.cdf(s - z) / risk_aversion - 1.0
    long = 1.0 - growth * _NORMAL.cdf(-z - s) / risk_aversion
    return max(0.0, short), min(max(0.0, long), 1.0)


def exit_price(size: float, book: Sequence[tuple[float, float]]) -> float | None:
    """Return the volume-weighted price of closing `size` against (price, volume), best first; None if too thin."""
    left, paid = size, 0.0
    for price, volume in book:
        taken = min(left, volume)
        paid, left = paid + taken * price, left - taken
        if left <= 0:
            return paid / size
    return None


def maintenance(
    qty: float, mark: float, risk_factor: float, linear_slippage: float, slippage_per_unit: float | None = None
) -> float:
    """Return the maintenance margin of an open position; slippage by the book is capped by the linear one."""
    require(mark > 0, "bad_mark", f"mark {mark} is no price")
    slippage = abs(qty) * mark * linear_slippage
    if slippage_per_unit is not None:
        slippage = min(slippage, max(0.0, abs(qty) * slippage_per_unit))
    return slippage + abs(qty) * mark * risk_factor


def funding_payment(
    s_twap: float,
    f_twap: float | None = None,
    *,
    delta_t: float = 0.0,
    interest: float = 0.0,
    clamp_lower: float = -inf,
    clamp_upper: float = inf,
) -> float:
    """Return a perpetual's funding payment per contract (0053-PERP).

    f_twap - s_twap + min(upper * s_twap, max(lower * s_twap, (1 + delta_t * interest) * s_twap - f_twap)). Without
    a futures TWAP it is taken as the spot TWAP.
    """
    require(s_twap > 0, "bad_mark", f"spot twap {s_twap}")
    require(clamp_lower <= clamp_upper, "bad_parameter", f"clamps {clamp_lower}, {clamp_upper}")
    if f_twap is None:
        f_twap = s_twap
    drift = (1.0 + delta_t * interest) * s_twap - f_twap
    return f_twap - s_twap + min(clamp_upper * s_twap, max(clamp_lower * s_twap, drift))


def levels(maintenance_margin: float, search: float, initial: float, release: float) -> dict[str, float]:
    """Return the four margin levels."""
    require(1 <= search <= initial <= release, "bad_parameter", f"factors {search}, {initial}, {release}")
    return {
        "maintenance": maintenance_margin,
        "search": search * maintenance_margin,
        "initial": initial * maintenance_margin,
        "release": release * maintenance_margin,
    }


def order_margin_isolated(price: float, size: float, factor: float) -> float:
    """Return what a resting order locks in isolated mode."""
    require(price >= 0 and factor >= 0, "bad_input", f"price {price}, factor {factor}")
    return abs(price * size) * factor


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return Vega's margins: the worse of the riskiest long and the riskiest short of each market."""
    p, where = parameters("vega", VegaParameters, portfolio.parameter_set, portfolio.parameters)
    factors = risk_factors(p.risk_aversion, p.tau, p.sigma, p.mu)
    held = {position.instrument: position for position in net(portfolio.positions)}
    for order in portfolio.orders:
        held.setdefault(order.instrument, contract_of(portfolio, order))
    components: dict[str, Component] = {}
    for name, position in sorted(held.items()):
        if position.kind not in ("perpetual", "future") or position.style == "inverse":
            raise MarginError("unsupported", f"{name}: only linear futures have a market here")
        mm = _market(portfolio, position, p, factors)
        components[name] = Component(p.initial * mm, mm)
    if portfolio.orders:
        components["orders at once"] = Component(loss_at_once(portfolio), 0.0)
        # The venue counts slippage and funding once an order is filled; whoever asks before must count them now.
        components["orders filled"] = Component(p.initial * _once_filled(portfolio, p), 0.0)
    total = sum(c.maintenance for c in components.values())
    return MarginResult(
        model="vega",
        currency=portfolio.currency,
        equity=equity(portfolio, counts_options=False),
        initial=sum(c.initial for c in components.values()),
        maintenance=total,
        components=components,
        details={
            "risk_factor_short": factors[0],
            "risk_factor_long": factors[1],
            "levels": levels(total, p.search, p.initial, p.release),
        },
        source=where.source,
        as_of=where.as_of,
    )


def _once_filled(portfolio: Portfolio, p: VegaParameters) -> float:
    """Return the slippage and funding margin that fills of working orders add at most."""
    total = 0.0
    for order in portfolio.orders:
        contract = contract_of(portfolio, order)
        payment = p.payments.get(order.instrument, 0.0)
        per_unit = contract.marked() * p.linear_slippage + p.funding_factor * abs(payment)
        total += order.qty * contract.contract_size * per_unit
    return total


def _market(portfolio: Portfolio, held: Position, p: VegaParameters, factors: tuple[float, float]) -> float:
    """Return the maintenance margin of one market: open volume with slippage, orders without."""
    mark, qty = held.marked(), held.notional_qty
    buys = sum(o.qty for o in portfolio.orders if o.instrument == held.instrument and o.side == "buy")
    sells = sum(o.qty for o in portfolio.orders if o.instrument == held.instrument and o.side == "sell")
    size = held.contract_size
    # Orders that close the open side are not at risk: each side counts what it may be at its riskiest.
    long, short = max(0.0, qty + buys * size), max(0.0, -(qty - sells * size))
    open_long, open_short = min(long, max(0.0, qty)), min(short, max(0.0, -qty))
    sides = (
        maintenance(open_long, mark, factors[1], p.linear_slippage) + (long - open_long) * mark * factors[1],
        maintenance(open_short, mark, factors[0], p.linear_slippage) + (short - open_short) * mark * factors[0],
    )
    payment = p.payments.get(held.instrument, 0.0)
    return max(sides) + p.funding_factor * max(0.0, payment * qty)
