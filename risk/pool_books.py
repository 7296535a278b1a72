"""Portfolio models of venues on the order path: the parts of each instrument, put together for a pool kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np

from risk.book_builder import ELSEWHERE, BookBuilder
from risk.charges import TIER_COLUMNS
from risk.instrument import Instrument
from risk.models.result import MarginError
from risk.pool import PoolKernel
from risk.pool_deribit import DeribitPortfolio
from risk.pool_models import Binance, Bybit, Okx
from risk.pool_parts import Held, PoolModel, PoolPart, leg_of
from risk.pool_terms import Fixed, PoolTerms, no_terms
from risk.pricing import USD_LIKE
from risk.venue_book import BookTerms, VenueBook

MODELS: Final[dict[str, Callable[[str | None], PoolModel]]] = {
    "deribit_portfolio": DeribitPortfolio,
    "okx_portfolio": Okx,
    "bybit_portfolio": Bybit,
    "binance_portfolio": Binance,
}
# An asset without a price counts for nothing while it is held, and without end while it is owed.
UNPRICED: Final = 1e15


class PoolBookBuilder(BookBuilder[PoolModel, PoolPart]):
    """Puts the parts of all instruments together; see BookBuilder."""

    def _model_of(self, terms: BookTerms) -> PoolModel:
        return MODELS[terms.model](terms.parameter_set)

    def _coin_of(self, instrument: Instrument) -> str:
        return instrument.underlying

    def book(self) -> VenueBook:
        pools = [*dict.fromkeys(self._model.pool_of(i.settlement_currency) for i in self._mine), ELSEWHERE]
        columns = list(dict.fromkeys([*self._currencies, *(i.settlement_currency for i in self._mine)]))
        made = self._assembled(pools, columns)
        number = {pool: row for row, pool in enumerate(pools)}
        return VenueBook(
            model=self._terms.model,
            kernel=PoolKernel(self._accounts, made),
            base_scenario=self._model.base,
            priced_count=len(self._instruments),
            groups=tuple(
                number[self._model.pool_of(i.settlement_currency)] if i.venue == self._terms.venue else 0
                for i in self._instruments
            ),
            units=tuple(pools),
            currency_index={currency: column for column, currency in enumerate(columns)},
        )

    def _assembled(self, pools: list[str], columns: list[str]) -> PoolTerms:
        model = self._model
        units: dict[tuple[str, str], int] = {}
        for index in self._parts:
            instrument = self._instruments[index]
            pool = model.pool_of(instrument.settlement_currency)
            units.setdefault((pool, model.unit_of(instrument)), len(units))
        made = no_terms(
            max(1, len(self._instruments)), len(columns), max(1, len(units)), len(pools), model.size, model.base
        )
        tiers: list[tuple[float, float, float, float]] = []
        for index, part in self._parts.items():
            instrument = self._instruments[index]
            key = model.pool_of(instrument.settlement_currency), model.unit_of(instrument)
            made.unit[index], made.column[index] = units[key], columns.index(instrument.settlement_currency)
            made.known[index], made.paid[index], made.move[index] = 1, part.is_paid, part.move
            made.a_buy[index], made.a_sell[index] = part.a, part.a + part.a_of_sells
            made.g_buy[index], made.g_sell[index] = part.g, part.g + part.g_of_sells
            for name in ("worth", "expiry_s", "b", "d", "n", "notional", "scale"):
                getattr(made, name)[index] = getattr(part, name)
            made.first[index], made.count[index] = len(tiers), len(part.tiers)
            tiers += part.tiers
        for (pool, unit), row in units.items():
            made.pool[row] = pools.index(pool)
            made.start[row], made.shock[row] = model.of_unit(unit, pool, self._spots.get(unit, 1.0))
        for row, pool in enumerate(pools[:-1]):
            made.nets[row], made.offset[row], made.limit[row] = model.of_pool(pool, self._spots.get(pool, 1.0))
        self._count_assets(made, pools, columns)
        return msgspec.structs.replace(
            made,
            tiers=np.array(tiers).reshape(-1, TIER_COLUMNS),
            steps=np.array(model.steps).reshape(-1, 2),
            most_days=model.most_days,
            fixed=self._fixed({row: key for key, row in units.items()}),
        )

    def _count_assets(self, made: PoolTerms, pools: list[str], columns: list[str]) -> None:
        """Say in which pool each asset counts, and for how much."""
        model = self._model
        for column, currency in enumerate(columns):
            pool = model.pool_of(currency)
            if pool not in pools[:-1]:
                continue
            made.column_pool[column] = pools.index(pool)
            made.rate[column], made.borrow[column] = model.asset(currency)
            price = 1.0 if pool == currency or currency in USD_LIKE else self._spots.get(currency)
            made.price[column] = UNPRICED if price is None else price
            if price is None:
                made.rate[column] = 0.0

    def _fixed(self, units: Mapping[int, tuple[str, str]]) -> Callable[[int, Mapping[int, float]], Fixed]:
        model, spots, parts = self._model, self._spots, self._parts
        told = {i: (self._instruments[i].expiry_ns or 0, leg_of(self._instruments[i])) for i in parts}

        def fixed(unit: int, lots: Mapping[int, float]) -> Fixed:
            pool, name = units[unit]
            held = [Held(lots[i], *told[i], parts[i].features) for i in sorted(lots)]
            return model.fixed(name, pool, spots.get(name, 1.0), held)

        return fixed


def refuse_unknown(model: str, parameter_set: str | None) -> None:
    """Raise ValueError unless a model has a parameter set."""
    try:
        MODELS[model](parameter_set)
    except MarginError as error:
        raise ValueError(str(error)) from error
