"""What to do about an account that is short of margin: the ladder, dry or for real.

    1 cancel       working orders that add margin
    2 convert      what is held into what is owed or at risk, with the house, at the index less a fee
    3 collateral   moved to where it is short (whoever moves it says how much there is)
    4 hedge        the delta of options with a listed linear contract
    5 reduce       positions, in steps chosen by margin freed per cost, from the books
    6 hand over    all of it, to the house
    7 deleverage   what the house can not carry (risk.deleverage)

Nothing here decides twice: a plan is made of what the account holds now, and each rung is only used where those before
it do not suffice. An account's measure is what it has beyond what it needs,

    measure = (1 - k) equity + k worst,        k = required ratio times maintenance factor

so with k = 1 it is the kernel's worst equity, and at zero equity covers k times the initial margin. All of it is the
kernel's own what-if, asked of a kernel that holds this account alone. Equity is linear in what is filled and the worst
case concave, so the measure is concave in each step's size: its best size is found by bisection, exactly, and where a
step leaves the measure no worse, no partial fill of it is worse either. Amounts are in USD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from math import inf, isnan
from typing import Final

import msgspec

from risk.account import Account
from risk.cash import fill_cash
from risk.exposure import WorkingOrder
from risk.haircuts import Haircuts
from risk.instrument import UNITS_PER_WHOLE, Instrument, Side
from risk.kernel import MarginKernel
from risk.limits import RowTerms
from risk.pricing import USD_LIKE
from risk.scenarios import Generation

# Steps of one plan: more are for the next round.
MAX_STEPS: Final = 200
NO_TERMS: Final = RowTerms()
# A measure this near to zero is zero: float sums of millions.
NOTHING: Final = 1e-6
# A conversion's size is found to such a part of what is held: less than the unit that it is rounded to in the end.
PARTS: Final = 1 << 20
_BUY, _SELL = Side.BUY, Side.SELL

Level = tuple[int, int]  # ticks, lots; best first


class Rung(IntEnum):
    """The ladder, mildest first."""

    CANCEL = 1
    CONVERT = 2
    COLLATERAL = 3
    HEDGE = 4
    REDUCE = 5
    HAND_OVER = 6
    DELEVERAGE = 7


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Where one instrument can be traded now: levels within its collar, and the largest order that limits allow."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    max_lots: int


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What an adjustment may do. `movable_usd` is what collateral can be brought; `hedges` are instrument indices."""

    required: float
    step_fraction: float = 0.2
    participation: float = 0.25
    convert_fee: float = 0.002
    may_convert: bool = False
    may_hand_over: bool = False
    movable_usd: float = 0.0
    hedges: tuple[int, ...] = ()


class Step(msgspec.Struct, frozen=True, gc=False):
    """One thing to do. `before` and `after` are measures, `cost` what equity it costs; fields that do not apply are
    empty. `ticks` is the limit of an order: the last level that it takes.
    """

    rung: Rung
    before: float
    after: float
    cost: float
    symbol: str = ""
    instrument: int = -1
    side: int = 0
    lots: int = 0
    ticks: int = 0
    order_ids: tuple[str, ...] = ()
    sold: str = ""
    bought: str = ""
    amount: float = 0.0

    @property
    def freed(self) -> float:
        """How much better the measure gets, its cost taken off."""
        return self.after - self.before


class Plan(msgspec.Struct, frozen=True):
    """What would be done, in order. `is_cured`: the measure is at zero or above once all of it is."""

    before: float
    after: float
    cost: float
    equity_before: float
    equity_after: float
    steps: tuple[Step, ...]
    is_cured: bool


class UnknownMarginError(Exception):
    """Something that the account holds has no price: nothing is decided on what nobody knows."""


class TrialKernel:
    """A kernel of one row, loaded with a generation: accounts are tried on it one after the other.

    `prepare` gives it what all accounts are charged beside their risk arrays, and returns the haircuts: those are
    worked out once for each account, and for what is tried go by the amounts moved.
    """

    def __init__(
        self, generation: Generation, prepare: Callable[[MarginKernel], Haircuts | None] = lambda kernel: None
    ) -> None:
        self.generation = generation
        shape = (1, len(generation.groups), max(1, len(generation.values)), len(generation.currencies))
        self.kernel = MarginKernel(*shape, generation.grid.size, generation.joint)
        self.kernel.load(*generation.arrays())
        self.haircuts = prepare(self.kernel)
        self.columns = {name: column for column, name in enumerate(generation.currencies)}


class Trial:
    """One account's book in a kernel beside the market's, to try things on, until the next. Raises UnknownMarginError.

    `terms` are what the account's own row is asked for.
    """

    def __init__(self, loaded: TrialKernel, account: Account, required: float, terms: RowTerms = NO_TERMS) -> None:
        generation, kernel, haircuts = loaded.generation, loaded.kernel, loaded.haircuts
        self.generation, self.required, self.kernel, self._haircuts = generation, required, kernel, haircuts
        self._base, self._currency = generation.grid.base, loaded.columns
        self._account = account.index
        kernel.clear(0)
        kernel.set_terms(0, terms)
        if haircuts is not None:
            kernel.bear(0, haircuts.set_of(account.index))
        self.lots = {index: position.lots for index, position in account.positions.items() if position.lots}
        self.cash = {name: units / UNITS_PER_WHOLE for name, units in account.cash_units.items() if units}
        self.orders = {order_id: order for order_id, order in account.exposure.orders.items() if order.held}
        try:
            for index, lots in self.lots.items():
                kernel.add_position(0, index, lots)
            for name, amount in self.cash.items():
                kernel.add_cash(0, self._currency[name], amount)
            if self._haircuts is not None:
                self._haircuts.apply(kernel, account.index, *account.held_for(self._haircuts), row=0)
            for order in self.orders.values():
                kernel.hold(0, *_held(order))
        except LookupError:
            raise UnknownMarginError(
                f"{account.name}: something is held that was listed after the last risk arrays"
            ) from None
        if isnan(self.measure):
            raise UnknownMarginError(f"{account.name}: something that is held has no price")

    @property
    def equity(self) -> float:
        """Equity without working orders."""
        return self.kernel.equity(0, self._base)

    @property
    def measure(self) -> float:
        """What the account has beyond what it needs."""
        return self._measured(self.equity, self.kernel.worst(0))

    def _measured(self, equity: float, worst: float) -> float:
        return (1.0 - self.required) * equity + self.required * worst

    def if_filled(self, instrument: Instrument, lots: int, cash: float) -> tuple[float, float]:
        """Return (measure, equity) were signed lots filled for a change of settlement cash."""
        index, arrays = instrument.index, self.generation
        worst = self.kernel.if_filled(0, index, lots, cash)
        settled = arrays.currency_values[self._currency[instrument.settlement_currency]][self._base]
        equity = self.equity + lots * float(arrays.values[index][self._base]) + cash * float(settled)
        return self._measured(equity, worst), equity

    def fill(self, instrument: Instrument, lots: int, cash: float) -> None:
        """Have signed lots filled."""
        self.kernel.add_position(0, instrument.index, lots)
        self.kernel.take_off_fill(0, instrument.index, lots, cash)
        self.lots[instrument.index] = self.lots.get(instrument.index, 0) + lots
        self._move(instrument.settlement_currency, cash)

    def pay(self, currency: str, amount: float) -> None:
        """Have cash come in or go out."""
        self._move(currency, amount)
        if self._haircuts is not None:
            self._haircuts.deposited(self.kernel, self._account, currency, amount, row=0)

    def _move(self, currency: str, amount: float) -> None:
        self.kernel.add_cash(0, self._currency[currency], amount)
        self.cash[currency] = self.cash.get(currency, 0.0) + amount

    def if_converted(self, sold: str, bought: str, amount: float, rate: float) -> float:
        """Return the measure were so much of one currency sold for another."""
        self.pay(sold, -amount)
        self.pay(bought, amount * rate)
        measure = self.measure
        self.pay(sold, amount)
        self.pay(bought, -amount * rate)
        return measure

    def release(self, order: WorkingOrder) -> None:
        """Have a working order cancelled."""
        self.kernel.release(0, *_held(order))
        del self.orders[order.order_id]

    def hold(self, order: WorkingOrder) -> None:
        """Have it work again."""
        self.kernel.hold(0, *_held(order))
        self.orders[order.order_id] = order

    def price_of(self, currency: str) -> float:
        """What one of a currency is worth; NaN where nobody knows."""
        column = self._currency.get(currency)
        return float("nan") if column is None else float(self.generation.currency_values[column][self._base])

    def at_worst(self, group: int, scenario: int) -> float:
        """A group's equity in one scenario, working orders at their worst."""
        return float(self.kernel.row(0, group)[scenario])

    def binding(self, group: int) -> int:
        """The scenario that is a group's worst."""
        return self.kernel.binding(0, group)


def _held(order: WorkingOrder) -> tuple[int, float, float, float, float]:
    """The kernel's arguments of a hold, as risk.exposure makes them."""
    assert order.held is not None
    sign = 1 if order.side is _BUY else -1
    lots, ticks = order.held
    cash = fill_cash(order.instrument, order.side, lots, ticks)
    if order.held_alternative is None:
        return order.instrument.index, sign * lots, cash, 0.0, 0.0
    alt_lots, alt_ticks = order.held_alternative
    alt_cash = fill_cash(order.instrument, order.side, alt_lots, alt_ticks)
    return order.instrument.index, sign * lots, cash, sign * alt_lots, alt_cash


# -- rungs -------------------------------------------------------------------------------------------------------------


def cancels(trial: Trial) -> Iterator[Step]:
    """Cancel, one by one, the order that weighs most in a scenario that binds, until none does or it is enough.

    An order that reduces adds nothing where the worst is, and stays.
    """
    while trial.measure < -NOTHING:
        before, heaviest, weight = trial.measure, None, NOTHING
        for order_id in sorted(trial.orders):
            order = trial.orders[order_id]
            if order.is_cancel_pending:
                continue
            group = int(trial.generation.group_of_instrument[order.instrument.index])
            scenario = trial.binding(group)
            with_it = trial.at_worst(group, scenario)
            trial.release(order)
            # Where charges or joint scenarios bind it shows in the measure alone.
            found = max(trial.at_worst(group, scenario) - with_it, trial.measure - before)
            trial.hold(order)
            if found > weight:
                heaviest, weight = order, found
        if heaviest is None:
            return
        trial.release(heaviest)
        symbol, index = heaviest.instrument.symbol, heaviest.instrument.index
        ids = (heaviest.order_id,)
        yield Step(Rung.CANCEL, before, trial.measure, 0.0, symbol, index, heaviest.side, order_ids=ids)


def conversions(trial: Trial, terms: Terms) -> Iterator[Step]:
    """Sell what is held for what is owed, then coins for dollars: as much as cures, or as helps most."""
    for sold in sorted(trial.cash) if terms.may_convert else ():
        owed = sorted(name for name, amount in trial.cash.items() if amount < 0.0 and name != sold)
        dollars = [] if sold in USD_LIKE else ["USD", "USDC", "USDT"]
        for bought in dict.fromkeys([*owed, *dollars]):
            step = _conversion(trial, sold, bought, terms.convert_fee)
            if step is not None:
                yield step


def _conversion(trial: Trial, sold: str, bought: str, fee: float) -> Step | None:
    held, before = trial.cash.get(sold, 0.0), trial.measure
    price, other = trial.price_of(sold), trial.price_of(bought)
    if before >= -NOTHING or held <= 0.0 or not (price > 0.0 and other > 0.0):
        return None
    rate, owed = price / other * (1.0 - fee), -trial.cash.get(bought, 0.0)
    most = min(held, owed / rate) if owed > 0.0 else held

    def after(parts: int) -> float:
        return trial.if_converted(sold, bought, most * parts / PARTS, rate)

    size = _best_size(PARTS, after)
    if not size or after(size) <= before + NOTHING:
        return None
    amount, equity = most * size / PARTS, trial.equity
    trial.pay(sold, -amount)
    trial.pay(bought, amount * rate)
    return Step(Rung.CONVERT, before, trial.measure, equity - trial.equity, sold=sold, bought=bought, amount=amount)


def transfers(trial: Trial, terms: Terms) -> Iterator[Step]:
    """Bring collateral, as far as there is any."""
    before = trial.measure
    amount = min(-before, terms.movable_usd)
    if before < -NOTHING and amount > 0.0 and trial.price_of("USD") == 1.0:
        trial.pay("USD", amount)
        yield Step(Rung.COLLATERAL, before, trial.measure, 0.0, bought="USD", amount=amount)


def hedges(
    trial: Trial, terms: Terms, instruments: Sequence[Instrument], quotes: Mapping[int, Quote]
) -> Iterator[Step]:
    """Trade a linear contract against options of its group, the one that frees most for its cost."""
    groups = {
        instruments[index].underlying for index, lots in trial.lots.items() if lots and instruments[index].is_option
    }
    found = []
    for index in terms.hedges:
        instrument = instruments[index]
        if instrument.underlying not in groups or instrument.is_option:
            continue
        for side in (_BUY, _SELL):
            step = _order_step(Rung.HEDGE, trial, terms, instrument, side, quotes.get(index), 1 << 60)
            if step is not None:
                found.append(step)
    yield from _take_best(trial, instruments, quotes, found)


def reductions(
    trial: Trial, terms: Terms, instruments: Sequence[Instrument], quotes: Mapping[int, Quote]
) -> Iterator[Step]:
    """Reduce the position that frees most margin for its cost; a leg whose hedge would be left alone frees none."""
    found = []
    for index in sorted(trial.lots):
        lots = trial.lots[index]
        if not lots:
            continue
        side, most = (_SELL if lots > 0 else _BUY), max(1, int(abs(lots) * terms.step_fraction))
        step = _order_step(Rung.REDUCE, trial, terms, instruments[index], side, quotes.get(index), most)
        if step is not None:
            found.append(step)
    yield from _take_best(trial, instruments, quotes, found)


def _order_step(
    rung: Rung, trial: Trial, terms: Terms, instrument: Instrument, side: Side, quote: Quote | None, most: int
) -> Step | None:
    """Return the step of the best size in one instrument; None where there is no market, or nothing is freed."""
    if quote is None or trial.measure >= -NOTHING:
        return None
    levels = quote.bids if side is _SELL else quote.asks
    shown = sum(lots for _, lots in levels)
    most = min(most, quote.max_lots, int(shown * terms.participation))
    if most < 1:
        return None
    sign = 1 if side is _BUY else -1

    def after(lots: int) -> float:
        return trial.if_filled(instrument, sign * lots, taken(instrument, side, levels, lots)[1])[0]

    before = trial.measure
    size = _best_size(most, after)
    if not size:
        return None
    ticks, cash = taken(instrument, side, levels, size)
    measure, equity = trial.if_filled(instrument, sign * size, cash)
    worst = trial.kernel.if_filled(0, instrument.index, sign * size, cash)
    if not measure > before + NOTHING or worst < trial.kernel.worst(0) - NOTHING:
        return None
    cost = trial.equity - equity
    return Step(rung, before, measure, cost, instrument.symbol, instrument.index, int(side), size, ticks)


def _take_best(
    trial: Trial, instruments: Sequence[Instrument], quotes: Mapping[int, Quote], found: list[Step]
) -> Iterator[Step]:
    if found:
        best = min(found, key=lambda step: (-_ratio(step), -step.freed, step.symbol, step.side))
        instrument, side = instruments[best.instrument], Side(best.side)
        quote = quotes[best.instrument]
        levels = quote.bids if side is _SELL else quote.asks
        _, cash = taken(instrument, side, levels, best.lots)
        trial.fill(instrument, best.lots if side is _BUY else -best.lots, cash)
        yield best


def _ratio(step: Step) -> float:
    return step.freed / step.cost if step.cost > NOTHING else inf


def taken(instrument: Instrument, side: Side, levels: Iterable[Level], lots: int) -> tuple[int, float]:
    """Return (last price in ticks, settlement cash with fees) of an order that takes so many lots from a book."""
    ticks, cash, left = 0, 0.0, lots
    for price, there in levels:
        part = min(left, there)
        ticks, left = price, left - part
        cash += fill_cash(instrument, side, part, price)
        if not left:
            return ticks, cash
    raise ValueError(f"a book of {lots - left} lots does not fill {lots}")


def _best_size(most: int, measure: Callable[[int], float]) -> int:
    """Return the least size whose measure is zero or more, else the least of the highest; 0 where it never rises.

    `measure` is concave. Its slope at n is measure(n + 1) - measure(n): the peak is where that stops being positive.
    """
    low, high = 0, most  # the peak is in low..high
    while low < high:
        middle = (low + high) // 2
        if measure(middle + 1) > measure(middle):
            low = middle + 1
        else:
            high = middle
    peak = low
    if not peak or measure(peak) < 0.0:
        return peak
    low, high = 0, peak  # measure rises up to the peak: the first that is not below zero
    while high - low > 1:
        middle = (low + high) // 2
        if measure(middle) >= 0.0:
            high = middle
        else:
            low = middle
    return high


# -- the ladder --------------------------------------------------------------------------------------------------------


def plan(
    trial: Trial,
    terms: Terms,
    instruments: Sequence[Instrument],
    quotes: Mapping[int, Quote],
    most_steps: int = MAX_STEPS,
) -> Plan:
    """Go down the ladder until the account is cured, nothing is left, or the plan is long enough; the trial is used up.

    An instrument without a quote (no usable book, or a mark that its guard does not believe) is not traded.
    """
    before, equity = trial.measure, trial.equity
    steps = [*cancels(trial), *conversions(trial, terms), *transfers(trial, terms)]
    for rung in (hedges, reductions):
        while trial.measure < -NOTHING and len(steps) < most_steps:
            found = list(rung(trial, terms, instruments, quotes))
            if not found:
                break
            steps += found
    after = trial.measure
    if after < -NOTHING and terms.may_hand_over and len(steps) < most_steps:
        steps.append(Step(Rung.HAND_OVER, after, 0.0, trial.equity))
        after = 0.0
    is_cured = after >= -NOTHING
    handed = bool(steps) and steps[-1].rung is Rung.HAND_OVER
    left = 0.0 if handed else trial.equity
    return Plan(before, after, sum(step.cost for step in steps), equity, left, tuple(steps), is_cured)
