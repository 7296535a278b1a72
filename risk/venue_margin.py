"""Venues' own margin models on the order path: each instrument's part of a book that a kernel then adds up.

A wallet is one settlement currency at one venue, counted in that currency, as these venues margin it: nothing of
another wallet helps it. Everything is `risk.models` at the marks of a generation, restated by lots:

    tiered              equity and what orders lose at once in one scenario, today; the tiers of each contract at the
                        largest that its working orders may make it. Equal to risk.models.tiered, but for the taker fee
                        of working orders, which is taken off here.
    deribit_standard    the same with Deribit's rates; options by margin of shorts and reservation. The dearest price of
                        a contract's working orders is forgotten only with the last of them: above the model by what a
                        dearer one that has left the book asked for, and by fees.

Portfolio models are in pool_books.py.
What a model does not know (spot, a contract without tiers, margin on entry) is unknown, and refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from risk.book_builder import ELSEWHERE, BookBuilder
from risk.charges import BY_RESERVATION, BY_TIERS, TIER_COLUMNS, no_charges
from risk.instrument import Instrument, Kind
from risk.kernel import MarginKernel
from risk.kernel_checks import Flags, Ints
from risk.limits import RowTerms
from risk.models.deribit_standard import future_rule
from risk.models.option_margin import option_rule, short_margin
from risk.models.result import MarginError
from risk.models.tiered import VenueRule, table, venue_rule
from risk.pricing import Floats, InstrumentMark, settles_in_coin
from risk.venue_book import BookTerms, VenueBook

MODELS: Final = ("tiered", "deribit_standard")


class Part(msgspec.Struct):
    """One instrument's part: the value of one lot in each scenario, in its wallet, and what its size asks for."""

    values: Floats
    kind: int = BY_TIERS
    unit: float = 0.0
    scale: float = 1.0
    fee: float = 0.0
    square: float = 0.0
    short: float = 0.0
    mark: float = 0.0
    closing: float = 0.0
    tiers: Sequence[tuple[float, float, float, float]] = ()


class VenueBookBuilder(BookBuilder["_Model", Part]):
    """Puts the parts of all instruments together; see BookBuilder."""

    def _model_of(self, terms: BookTerms) -> _Model:
        return _MODELS[terms.model](terms.parameter_set)

    def _coin_of(self, instrument: Instrument) -> str:
        return instrument.settlement_currency

    def book(self) -> VenueBook:
        count, size = len(self._instruments), self._model.size
        units = [*dict.fromkeys(i.settlement_currency for i in self._mine), ELSEWHERE]
        wallets = {unit: row for row, unit in enumerate(units)}
        groups = [wallets[i.settlement_currency] if i.venue == self._terms.venue else 0 for i in self._instruments]
        columns = list(dict.fromkeys([*self._currencies, *units[:-1]]))
        settlement = [columns.index(i.settlement_currency) if i.index in self._parts else -1 for i in self._instruments]
        kernel = MarginKernel(self._accounts, len(units), max(1, count), len(columns), size)
        values = np.full((count, size), np.nan)
        known: Flags = np.zeros(count, dtype=np.uint8)
        for index, part in self._parts.items():
            values[index], known[index] = part.values, 1
        kernel.load(
            values,
            np.ones((len(columns), size)),
            _ints(groups),
            _ints([wallets.get(currency, len(units) - 1) for currency in columns]),
            _ints(settlement),
            known,
        )
        self._charge(kernel, count, units)
        for account, leverage in self._terms.leverage.items():
            kernel.set_terms(account, RowTerms(rate=1.0 / leverage))
        return VenueBook(
            model=self._terms.model,
            kernel=kernel,
            base_scenario=self._model.base,
            priced_count=count,
            groups=tuple(groups),
            units=tuple(units),
            currency_index={currency: column for column, currency in enumerate(columns)},
        )

    def _charge(self, kernel: MarginKernel, count: int, units: Sequence[str]) -> None:
        asked = no_charges(count, len(units), self._model.size)
        tiers: list[tuple[float, float, float, float]] = []
        for index, part in self._parts.items():
            asked.kind[index], asked.first[index], asked.count[index] = part.kind, len(tiers), len(part.tiers)
            for name in ("unit", "scale", "fee", "square", "short", "mark", "closing"):
                getattr(asked, name)[index] = getattr(part, name)
            tiers += part.tiers
        for group, unit in enumerate(units):
            spot = self._spots.get(unit)
            if spot is not None:
                asked.group[group], asked.start[group] = self._model.of_wallet(spot)
        kernel.charge(msgspec.structs.replace(asked, tiers=np.array(tiers).reshape(-1, TIER_COLUMNS)))


class _Model:
    """One scenario, today, and nothing by wallet: what tiered and standard margin have in common."""

    size, base = 1, 0

    def __init__(self, parameter_set: str | None) -> None:
        self.parameter_set = parameter_set

    def part(self, instrument: Instrument, mark: InstrumentMark) -> Part:
        """Return an instrument's part, or raise ValueError or MarginError where the model has none."""
        raise NotImplementedError

    def of_wallet(self, spot: float) -> tuple[Floats, Floats]:
        """Return a wallet's row of `Charges.group`, and what its rows begin with."""
        return np.zeros(8), np.zeros(self.size)


def _future_value(instrument: Instrument, price: float) -> float:
    return -instrument.lot_amount / price if instrument.is_inverse else instrument.lot_amount * price


class _Tiered(_Model):
    def __init__(self, parameter_set: str | None) -> None:
        super().__init__(parameter_set)
        self.rule: VenueRule = venue_rule(parameter_set)[0]
        if self.rule.basis != "mark" or self.rule.quantum or self.rule.tier_unit == "ppm":
            raise ValueError(f"tiered {parameter_set}: margin on entry, or in quanta, is not known on the order path")

    def part(self, instrument: Instrument, mark: InstrumentMark) -> Part:
        if instrument.kind not in (Kind.PERPETUAL, Kind.FUTURE):
            raise ValueError(f"{instrument.symbol}: tiers are for futures")
        value = _future_value(instrument, mark.mark_price)
        tiers = [(tier.floor, tier.imr, tier.mmr, tier.deduction) for tier in table(self.rule, instrument.symbol).tiers]
        fee = self.rule.taker_fee if self.rule.counts_closing_fee else 0.0
        return Part(np.array([value]), unit=abs(value), fee=fee, tiers=tiers)


class _Standard(_Model):
    def __init__(self, parameter_set: str | None) -> None:
        """The sets are of coins, and each contract has its coin's; one that is not there is a mistake all the same."""
        super().__init__(parameter_set)
        if parameter_set is not None:
            future_rule(parameter_set)

    def part(self, instrument: Instrument, mark: InstrumentMark) -> Part:
        rule, amount = future_rule(instrument.underlying), instrument.lot_amount
        if instrument.kind is Kind.OPTION:
            price = mark.index_price if settles_in_coin(instrument) else 1.0
            options, worth = option_rule(rule.option_rule)[0], mark.mark_price * price
            strike, is_call = float(instrument.strike or 0), bool(instrument.is_call)
            short, _ = short_margin(options, is_call, mark.index_price, strike, worth)
            # Options are paid for when they are bought: equity counts no marks.
            return Part(
                np.zeros(1), kind=BY_RESERVATION, short=short * amount / price, mark=mark.mark_price * amount
            )  # fmt: skip
        if instrument.kind is Kind.SPOT:
            raise ValueError(f"{instrument.symbol}: no spot in standard margin")
        coins = amount / mark.mark_price if instrument.is_inverse else amount
        return Part(
            np.array([_future_value(instrument, mark.mark_price)]),
            unit=coins,
            scale=1.0 if instrument.is_inverse else mark.mark_price,
            square=rule.per_coin,
            tiers=[(0.0, rule.im_base, rule.mm_base, 0.0)],
        )


_MODELS: Final[dict[str, Callable[[str | None], _Model]]] = {
    "tiered": _Tiered,
    "deribit_standard": _Standard,
}


def refuse_unknown(model: str, parameter_set: str | None) -> None:
    """Raise ValueError unless a model with a parameter set can margin anything here."""
    try:
        _MODELS[model](parameter_set)
    except MarginError as error:
        raise ValueError(str(error)) from error


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int32)
