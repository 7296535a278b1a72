"""OKX's, Bybit's and Binance's portfolio margin on the order path, in USD over all assets: the pure models by lots.

At rest each is its model exactly. A working order reserves what the model reserves for it, or less: its loss at once
and its loss in a scenario are one amount here, and two there. Assets count at the rates of the parameter set, nothing
where it has none; an asset that is owed counts whole.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from risk.instrument import Instrument, Kind
from risk.models import matrix
from risk.models.binance_portfolio import BinanceParameters
from risk.models.bybit_portfolio import BybitParameters, hedged_days, vega_coins
from risk.models.okx_portfolio import (
    LARGE,
    OkxParameters,
    class_of,
    depeg_charge,
    depeg_rate,
    gross_coins,
    vega_points,
    years_of_value,
)
from risk.models.okx_portfolio import value_in as okx_value_in
from risk.models.parameters import parameters
from risk.models.portfolio import SECONDS_A_DAY, USD_LIKE
from risk.models.tiers import TierTable, rows_of
from risk.models.valuation import Moves, delta_coins
from risk.pool_parts import Held, PoolPart, lot_of, with_today
from risk.pool_terms import Fixed
from risk.pricing import Floats, InstrumentMark

USD: Final = "USD"
# Days that no two expiries are apart: a fill may pair anew all that lies between them, whatever one pair is capped at.
ANY_SPAN: Final = 1e6
NO_SHOCK: Final = (1e18, 0.0, 0.0)


class InUsd:
    """What the three have in common: one pool of all assets, a risk unit an underlying that others do not net."""

    size = 1
    most_days = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    rates: dict[str, float]

    @property
    def base(self) -> int:
        """The scenario in which nothing moves, the last."""
        return self.size - 1

    def pool_of(self, currency: str) -> str:
        """All assets count together."""
        return USD

    def unit_of(self, instrument: Instrument) -> str:
        """An underlying."""
        return instrument.underlying

    def asset(self, currency: str) -> tuple[float, float]:
        """Return the collateral rate of the parameter set; what it does not list counts for nothing."""
        return self.rates.get(currency, 0.0), 0.0

    def of_unit(self, unit: str, pool: str, spot: float) -> tuple[Floats, tuple[float, float, float]]:
        """Nothing to begin with."""
        return np.zeros(self.size), NO_SHOCK

    def of_pool(self, pool: str, spot: float) -> tuple[bool, float, Floats]:
        """Units do not net."""
        return False, 0.0, np.zeros(self.size)

    def fixed(self, unit: str, pool: str, spot: float, held: list[Held]) -> Fixed:
        """Nothing by positions."""
        return 0.0, 0.0, 0.0, 0.0


class Okx(InUsd):
    """OKX: without a parameter set BTC and ETH have their class and all others the strictest."""

    def __init__(self, parameter_set: str | None) -> None:
        self._chosen = parameter_set
        self._classes: dict[str, OkxParameters] = {}
        p = self._of("BTC")
        self.rates = p.rates
        self.size = 3 * len(p.mr1_moves) + 4
        self.steps = tuple((floor, factor * p.imr_factor) for floor, factor in p.mr7_tiers)

    def _of(self, underlying: str) -> OkxParameters:
        """Return an underlying's class; classes must agree in what the account as a whole is asked for."""
        chosen = self._chosen or class_of(underlying)
        if chosen not in self._classes:
            self._classes[chosen] = parameters("okx_portfolio", OkxParameters, chosen)[0]
        first, p = next(iter(self._classes.values())), self._classes[chosen]
        if (p.mr7_tiers, p.imr_factor, p.rates, len(p.mr1_moves)) != (
            first.mr7_tiers, first.imr_factor, first.rates, len(first.mr1_moves)
        ):  # fmt: skip
            raise ValueError(f"okx_portfolio {chosen}: its tiers, factors or rates are not those of the other classes")
        return p

    def asset(self, currency: str) -> tuple[float, float]:
        """Return the collateral rate, and the initial margin of a unit that is borrowed."""
        return self.rates.get(currency, 0.0), self._of("BTC").mr8_imr

    def part(self, instrument: Instrument, mark: InstrumentMark) -> PoolPart:
        """Return scenarios of MR1, MR6 and MR2, and what MR3, MR4, MR5, MR7 and MR9 read."""
        p, lot = self._of(instrument.underlying), lot_of(instrument, mark, USD)
        held, market, spot = lot.position, lot.portfolio, lot.spot
        is_option, is_spot = instrument.is_option, instrument.kind is Kind.SPOT
        near = matrix.pnl(market, held, Moves.grid(p.mr1_moves, ("down", "same", "up")), p.mr1_vol)
        far = matrix.pnl(market, held, Moves.grid((-p.mr6_move, p.mr6_move), ("same",)), p.mr1_vol)
        decay = okx_value_in(market, held, SECONDS_A_DAY) - okx_value_in(market, held, 0.0) if is_option else 0.0
        rows = with_today(np.concatenate([near, far * p.mr6_weight, [decay]])) * p.imr_factor
        delta = 0.0 if is_spot else delta_coins(market, held) * spot
        vega = vega_points(market, held) if is_option else 0.0
        interest = years_of_value(market, held) if is_option else 0.0
        basis = max(p.mr4_least, p.mr4_annual * (0.0 if instrument.expiry_ns is None else mark.years_to_expiry))
        gross = gross_coins(market, held) * spot * p.mr7_rate
        short = held.notional_qty * spot * p.mr7_rate if is_option else gross
        a = abs(delta) * basis + p.mr3_rate * abs(vega) + p.mr5_shift * abs(interest)
        return PoolPart(
            move=rows,
            worth=lot.worth,
            is_paid=is_option or is_spot,
            a=p.imr_factor * a,
            g=gross,
            g_of_sells=short - gross,
            n=p.imr_factor * abs(delta) * depeg_rate(1.0, p.mr9_pegs),
            features=(delta, basis, vega, interest, gross, short),
        )

    def fixed(self, unit: str, pool: str, spot: float, held: list[Held]) -> Fixed:
        """Return MR3 + MR4 + MR5, the raw charge of MR7, and MR9."""
        p = self._of(unit)
        deltas: dict[tuple[int, float], float] = {}
        vegas: dict[int, float] = {}
        legs: dict[str, float] = {}
        interest = gross = 0.0
        for one in held:
            delta, basis, vega, years, long, short = one.features
            deltas[one.expiry_ns, basis] = deltas.get((one.expiry_ns, basis), 0.0) + one.lots * delta
            vegas[one.expiry_ns] = vegas.get(one.expiry_ns, 0.0) + one.lots * vega
            legs[one.leg] = legs.get(one.leg, 0.0) + one.lots * delta
            interest += one.lots * years
            gross += abs(one.lots) * (long if one.lots > 0 else short)
        mr4 = sum(abs(delta) * basis for (_, basis), delta in deltas.items())
        hedged = min(sum(v for v in vegas.values() if v > 0), -sum(v for v in vegas.values() if v < 0))
        mr9, _ = depeg_charge(legs, {}, p.mr9_pegs)
        a = mr4 + p.mr3_rate * hedged + p.mr5_shift * abs(interest)
        return p.imr_factor * a, 0.0, gross, p.imr_factor * mr9


class Bybit(InUsd):
    """Bybit: without a parameter set only BTC and ETH are known."""

    def __init__(self, parameter_set: str | None) -> None:
        self._chosen = parameter_set
        self._p, _ = parameters("bybit_portfolio", BybitParameters, parameter_set)
        self._moves = Moves.grid(self._p.moves, ("down", "same", "up"))
        self.rates, self.most_days = self._p.rates, ANY_SPAN
        self.size = len(self._moves.vol) + 1

    def part(self, instrument: Instrument, mark: InstrumentMark) -> PoolPart:
        """Return the grid, and what the contingencies read."""
        if self._chosen is None and instrument.underlying not in LARGE:
            raise ValueError(f"{instrument.symbol}: no parameters for {instrument.underlying}")
        p, lot = self._p, lot_of(instrument, mark, USD)
        held, market, spot = lot.position, lot.portfolio, lot.spot
        is_option, is_spot = instrument.is_option, instrument.kind is Kind.SPOT
        delta = 0.0 if is_spot else delta_coins(market, held)
        vega = vega_coins(held) if is_option else 0.0
        is_future = not (is_option or is_spot)
        asked = p.im_factor * spot
        return PoolPart(
            move=with_today(matrix.pnl(market, held, self._moves, p.vol_shock)) * p.im_factor,
            worth=lot.worth,
            is_paid=is_option or is_spot,
            expiry_s=-1.0 if is_spot else (held.expiry_s or 0.0),
            a=asked * abs(delta) * (p.stable_spread + (p.futures if is_future else 0.0)),
            a_of_sells=asked * held.notional_qty * p.short_option if is_option else 0.0,
            b=asked * (abs(delta) * p.basis / 365.0 + abs(vega) * p.vega_spread),
            features=(
                delta, vega, abs(delta) if is_future else 0.0,
                held.notional_qty if is_option and held.is_call else 0.0,
                held.notional_qty if is_option and not held.is_call else 0.0,
                -1.0 if is_spot else (held.expiry_s or 0.0),
            ),
        )  # fmt: skip

    def fixed(self, unit: str, pool: str, spot: float, held: list[Held]) -> Fixed:
        """Return the contingencies."""
        p = self._p
        vegas: dict[float, float] = {}
        deltas: dict[float, float] = {}
        legs: dict[str, float] = {}
        sizes = calls = puts = 0.0
        for one in held:
            delta, vega, size, call, put, expiry_s = one.features
            if expiry_s < 0:
                continue
            vegas[expiry_s] = vegas.get(expiry_s, 0.0) + one.lots * vega
            deltas[expiry_s] = deltas.get(expiry_s, 0.0) + one.lots * delta
            legs[one.leg] = legs.get(one.leg, 0.0) + one.lots * delta
            sizes += abs(one.lots) * size
            calls, puts = calls + one.lots * call, puts + one.lots * put
        stable = min(sum(v for v in legs.values() if v > 0), -sum(v for v in legs.values() if v < 0))
        charge = (max(0.0, -calls) + max(0.0, -puts)) * p.short_option + sizes * p.futures + stable * p.stable_spread
        charge += hedged_days(sorted(vegas.items()), p.most_days) * p.vega_spread
        charge += hedged_days(sorted(deltas.items()), p.most_days) / 365.0 * p.basis
        return p.im_factor * spot * charge, 0.0, 0.0, 0.0


class Binance(InUsd):
    """Binance: uniMMR of at least the factor of initial margin, each contract by its tiers at the largest."""

    def __init__(self, parameter_set: str | None) -> None:
        self._p, _ = parameters("binance_portfolio", BinanceParameters, parameter_set)
        self.rates = self._p.rates

    def unit_of(self, instrument: Instrument) -> str:
        """There are no units: assets and tiers are all."""
        return USD

    def part(self, instrument: Instrument, mark: InstrumentMark) -> PoolPart:
        """Return a contract's tiers; only futures have any."""
        if instrument.kind not in (Kind.PERPETUAL, Kind.FUTURE):
            raise ValueError(f"{instrument.symbol}: portfolio margin is for futures")
        lot = lot_of(instrument, mark, USD)
        rows = self._p.tiers.get(instrument.symbol)
        if rows is None and not self._p.default_mmr:
            raise ValueError(f"{instrument.symbol}: no tiers are given")
        table = TierTable.single(self._p.default_mmr) if rows is None else TierTable(rows_of(rows))
        price = 1.0 if instrument.settlement_currency in USD_LIKE else lot.spot
        return PoolPart(
            move=np.zeros(1),
            worth=lot.worth,
            notional=abs(lot.worth),
            scale=price * self._p.imr_factor,
            tiers=tuple((tier.floor, tier.mmr, tier.deduction, 0.0) for tier in table.tiers),
        )
