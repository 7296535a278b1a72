"""Derive's standard margin: each expiry at the better of the isolated sum and its bounded loss. All in USD.

net margin = cash + perpetual profit + base * factor + sum over expiries max(isolated, max loss) - perp margin
             - (initial only) oracle and depeg penalties
"""

from __future__ import annotations

import msgspec

from risk.models.option_margin import OptionRule, short_margin
from risk.models.parameters import parameters
from risk.models.portfolio import Portfolio, Position, Underlying, net
from risk.models.result import Component, MarginError, MarginResult, require
from risk.models.valuation import option_value


class DeriveStandardParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every number of the model; fractions of one."""

    perp_mm: float
    perp_im: float
    option: OptionRule
    unpaired_im: float
    unpaired_mm: float
    perp_confidence: float
    option_confidence: float
    base_confidence: float
    oracle_factor: float
    depeg_threshold: float
    depeg_factor: float
    base_margin_factor: float
    base_im_scale: float


def evaluate(portfolio: Portfolio) -> MarginResult:
    """Return Derive's standard margin; equity is mark to market plus cash."""
    p, where = parameters("derive_standard", DeriveStandardParameters, portfolio.parameter_set, portfolio.parameters)
    require(portfolio.stable_price > 0, "bad_mark", f"stable price {portfolio.stable_price}")
    totals = {name: Component(0.0, 0.0) for name in ("options", "perpetuals", "base", "oracle", "depeg")}
    mtm = im_net = mm_net = portfolio.cash
    names = {held.underlying for held in portfolio.positions} | {held.asset for held in portfolio.collateral}
    for name in sorted(names):
        market = _Market(portfolio, name, p)
        mtm += market.mtm
        im_net += market.net(is_initial=True)
        mm_net += market.net(is_initial=False)
        for key, part in market.components().items():
            totals[key] = Component(totals[key].initial + part.initial, totals[key].maintenance + part.maintenance)
    return MarginResult(
        model="derive_standard",
        currency="USD",
        equity=mtm,
        initial=sum(c.initial for c in totals.values()),
        maintenance=sum(c.maintenance for c in totals.values()),
        components=totals,
        details={"im_net": im_net, "mm_net": mm_net, "mtm": mtm},
        source=where.source,
        as_of=where.as_of,
    )


class _Market:
    """One underlying's share: signed amounts as the venue adds them up."""

    def __init__(self, portfolio: Portfolio, name: str, p: DeriveStandardParameters) -> None:
        self.p, self.portfolio = p, portfolio
        self.market: Underlying = portfolio.underlying(name)
        held = [h for h in net(portfolio.positions) if h.underlying == name]
        self.perps = [h for h in held if h.kind == "perpetual" and (h.qty or h.accrued)]
        self.options: dict[float, list[Position]] = {}
        for h in held:
            if h.kind == "option" and h.qty:
                self.options.setdefault(h.expiry_s or 0.0, []).append(h)
            elif h.kind not in ("option", "perpetual"):
                raise MarginError("unsupported", f"{h.instrument}: this venue lists no {h.kind}")
        self.base_qty = sum(c.qty for c in portfolio.collateral if c.asset == name)
        self.perp_profit = sum(h.profit(self._perp_price(h)) for h in self.perps)
        self.values = {id(h): option_value(portfolio, h) for options in self.options.values() for h in options}
        self.option_mtm = sum(self.values[id(h)] * h.notional_qty for hs in self.options.values() for h in hs)
        self.base_value = self.base_qty * self.market.spot / portfolio.stable_price
        self.mtm = self.option_mtm + self.perp_profit + self.base_value
        self.depeg = max(0.0, p.depeg_threshold - portfolio.stable_price) * p.depeg_factor

    def net(self, is_initial: bool) -> float:
        """Return the market's net margin as the venue states it."""
        parts = self._option_margin(is_initial) - self._perp_margin(is_initial) + self._base_margin(is_initial)
        penalties = self._oracle() + self._depeg_penalty() if is_initial else 0.0
        return parts - penalties + self.perp_profit

    def components(self) -> dict[str, Component]:
        """Return requirements: what each part takes off the mark to market, at least zero."""
        options = (max(0.0, self.option_mtm - self._option_margin(is_initial)) for is_initial in (True, False))
        base = (max(0.0, self.base_value - self._base_margin(is_initial)) for is_initial in (True, False))
        return {
            "options": Component(*options),
            "perpetuals": Component(self._perp_margin(True), self._perp_margin(False)),
            "base": Component(*base),
            "oracle": Component(self._oracle(), 0.0),
            "depeg": Component(self._depeg_penalty(), 0.0),
        }

    def _perp_price(self, held: Position) -> float:
        return self.market.perp_price if self.market.perp_price is not None else held.marked()

    def _perp_margin(self, is_initial: bool) -> float:
        rate = self.p.perp_im if is_initial else self.p.perp_mm
        return sum(abs(h.notional_qty) * self._perp_price(h) * rate for h in self.perps)

    def _base_margin(self, is_initial: bool) -> float:
        notional = self.base_qty * self.market.spot
        require(notional >= 0, "unsupported", "a base asset can not be owed")
        return notional * self.p.base_margin_factor * (self.p.base_im_scale if is_initial else 1.0)

    def _option_margin(self, is_initial: bool) -> float:
        return sum(self._expiry_margin(options, is_initial) for options in self.options.values())

    def _expiry_margin(self, options: list[Position], is_initial: bool) -> float:
        isolated = sum(self._isolated(held, is_initial) for held in options)
        prices = [0.0, *(held.strike or 0.0 for held in options)]
        # A certain gain (a long box) is no margin: the payoff counts where it is a loss.
        worst = min(0.0, *(sum(held.notional_qty * _payoff(held, price) for held in options) for price in prices))
        net_calls = sum(held.notional_qty for held in options if held.is_call)
        if net_calls < 0:
            forward = self.market.expiry(options[0].expiry_s or 0.0).forward
            worst += (self.p.unpaired_im if is_initial else self.p.unpaired_mm) * forward * net_calls
        return max(isolated, worst)

    def _isolated(self, held: Position, is_initial: bool) -> float:
        if held.qty > 0:
            return 0.0
        margins = short_margin(self.p.option, held.is_call, self.market.spot, held.strike or 0.0, self.values[id(held)])
        return held.notional_qty * margins[0 if is_initial else 1]

    def _shorts(self, options: list[Position]) -> float:
        return -sum(held.notional_qty for held in options if held.qty < 0)

    def _oracle(self) -> float:
        p, market = self.p, self.market
        perp = sum(abs(h.notional_qty) for h in self.perps) * market.spot
        charge = _unsure(min(market.perp_confidence, market.spot_confidence), p.perp_confidence, p) * perp
        for expiry_s, options in self.options.items():
            feeds = market.expiry(expiry_s)
            confidence = min(market.spot_confidence, feeds.forward_confidence, feeds.vol_confidence)
            charge += _unsure(confidence, p.option_confidence, p) * market.spot * self._shorts(options)
        if self._base_margin(True):
            charge += _unsure(market.spot_confidence, p.base_confidence, p) * self.base_qty * market.spot
        return charge

    def _depeg_penalty(self) -> float:
        size = sum(self._shorts(o) for o in self.options.values()) + sum(abs(h.notional_qty) for h in self.perps)
        return size * self.depeg * self.market.spot


def _payoff(held: Position, price: float) -> float:
    strike = held.strike or 0.0
    return max(price - strike, 0.0) if held.is_call else max(strike - price, 0.0)


def _unsure(confidence: float, threshold: float, p: DeriveStandardParameters) -> float:
    return (1.0 - confidence) * p.oracle_factor if confidence < threshold else 0.0
