"""The grid of market moves, each instrument's risk array, and a whole generation of them.

A risk array is the USD value of one long lot in every scenario. An account's equity in scenario s is the sum of
lots * array[s] over instruments plus cash * array[s] over currencies, so a position, a deposit and an order are each
one multiply-add a scenario. Instruments and currencies belong to a risk group, their underlying coin; groups move
independently, each to its own worst scenario: nothing in one is offset by another.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from risk.instrument import Instrument, Kind
from risk.joint import JointScenarios
from risk.periods import Periods, stretched
from risk.pricing import (
    MAX_PRICE,
    MAX_VALUE,
    USD_LIKE,
    Floats,
    InstrumentMark,
    Moves,
    black76_delta,
    lot_values,
    option_lot_values,
    refuse_bad_mark,
    settles_in_coin,
)

__all__ = [
    "MAX_SCENARIOS",
    "USD_GROUP",
    "Generation",
    "GenerationBuilder",
    "Grid",
    "InstrumentMark",
    "build_generation",
    "constant_array",
    "currency_array",
    "currency_group",
    "risk_array",
]

MAX_SCENARIOS: Final = 1024
# A coin at eleven times its price, a volatility at eleven times its level: beyond that a grid is a typing error.
MAX_MOVE: Final = 10.0
USD_GROUP: Final = "USD"
# Between a coin and a venue whose contracts on it are a group of their own.
AT: Final = "@"
# At 200 scenarios their temporaries fit a processor's second cache; more at once is slower.
PRICED_AT_ONCE: Final = 32

Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.uint8]


class Grid:
    """Scenarios: every spot move with every volatility move, spot-major, shape (S,) each.

    Moves are relative: 0.16 is +16 %, of the price or of the implied volatility. Both lists ascend and contain 0, so
    that the base scenario (today) is one of the grid. The arrays are read-only.

    Raises
    ------
    ValueError
        If a move is not finite, not above -1 or above MAX_MOVE, a list does not ascend or lacks 0, or S is too large.
    """

    __slots__ = ("base", "size", "spot", "spot_moves", "vol", "vol_moves")

    def __init__(self, spot_moves: tuple[float, ...], vol_moves: tuple[float, ...]) -> None:
        for name, moves in (("spot_moves", spot_moves), ("vol_moves", vol_moves)):
            if any(not isfinite(move) or not -1 < move <= MAX_MOVE for move in moves):
                raise ValueError(f"{name}: a move must be above -1 and at most {MAX_MOVE}")
            if any(low >= high for low, high in pairwise(moves)):
                raise ValueError(f"{name}: moves must ascend")
            if 0 not in moves:
                raise ValueError(f"{name}: 0 (no move) is missing")
        self.spot_moves = tuple(float(move) for move in spot_moves)
        self.vol_moves = tuple(float(move) for move in vol_moves)
        self.size = len(spot_moves) * len(vol_moves)
        if self.size > MAX_SCENARIOS:
            raise ValueError(f"{self.size} scenarios are more than {MAX_SCENARIOS}")
        self.spot: Floats = np.repeat(np.array(self.spot_moves), len(vol_moves))
        self.vol: Floats = np.tile(np.array(self.vol_moves), len(spot_moves))
        self.spot.setflags(write=False)
        self.vol.setflags(write=False)
        self.base = spot_moves.index(0) * len(vol_moves) + vol_moves.index(0)

    def __repr__(self) -> str:
        """Return the call that makes this grid."""
        return f"Grid({self.spot_moves}, {self.vol_moves})"


def risk_array(
    instrument: Instrument, mark: InstrumentMark, grid: Grid, settlement_usd: Floats | None = None
) -> Floats:
    """Return the USD value of one long lot in each scenario, shape (S,): `pricing.lot_values`, guarded.

    Spot moves shift the price of perpetuals and futures in proportion, so that the basis keeps its ratio. For options
    the base scenario gives the venue's mark. Raises ValueError where there is no value within MAX_VALUE.
    """
    return _guarded(instrument, lot_values(instrument, mark, grid, settlement_usd))


def currency_group(currency: str) -> str:
    """Return the risk group of a currency: the coin itself, or USD for what is taken as a dollar."""
    return USD_GROUP if currency in USD_LIKE else currency


def group_of(instrument: Instrument, apart: Collection[str] = ()) -> str:
    """Return the risk group of an instrument: its underlying, alone with its venue where that is apart."""
    is_apart = instrument.venue in apart
    return f"{instrument.underlying}{AT}{instrument.venue}" if is_apart else instrument.underlying


def underlying_of(group: str) -> str:
    """Return the coin that a group's market is of."""
    return group.partition(AT)[0]


def constant_array(grid: Grid) -> Floats:
    """Return the USD value of one unit of a USD-like currency in each scenario: 1.0."""
    return np.ones(grid.size)


def currency_array(index_price: float, grid: Grid) -> Floats:
    """Return the USD value of one whole coin in each scenario, shape (S,).

    Raises
    ------
    ValueError
        If the index price is no positive, finite number within bounds.
    """
    if not 0 < index_price <= MAX_PRICE:
        raise ValueError(f"index price {index_price} is not a usable price")
    return index_price * (1.0 + grid.spot)


class _Moves(msgspec.Struct, frozen=True, eq=False):
    """Moves of several instruments at once; what pricing.Moves is."""

    spot: Floats
    vol: Floats
    base: int


class Generation(msgspec.Struct, frozen=True, eq=False):
    """All risk arrays of one moment, swapped in at once; a check never sees half of one.

    values (I, S) and currency_values (C, S) are USD; the row of what has no usable mark is NaN, `known` (I,) is 0
    there, and `refusals` says why, by instrument index (`currency_refusals` by currency). Indices into groups and
    currencies are int32; the settlement currency of an instrument that is not known may be -1.
    """

    number: int
    as_of_ns: int
    grid: Grid
    groups: tuple[str, ...]
    currencies: tuple[str, ...]
    values: Floats
    currency_values: Floats
    group_of_instrument: Ints
    group_of_currency: Ints
    currency_of_instrument: Ints
    known: Flags
    refusals: dict[int, str]
    currency_refusals: dict[str, str]
    # (I, J) and (C, J) of the joint scenarios, in the same units; J is 0 where there are none.
    joint_values: Floats
    joint_currency_values: Floats
    # (I,) USD of one lot at its mark, as limits count it, and of what closing one trades; NaN where unknown.
    notionals: Floats
    closings: Floats
    # (I,) of what is apart and settles in the coin: coins that go with one lot from the coin's group into its own, so
    # that it is worth nothing there today and moves as it does. NaN of all else.
    carried: Floats

    def arrays(self) -> tuple[Floats, Floats, Ints, Ints, Ints, Flags, Floats, Floats, Floats]:
        """Return the arguments of MarginKernel.load."""
        return (
            self.values,
            self.currency_values,
            self.group_of_instrument,
            self.group_of_currency,
            self.currency_of_instrument,
            self.known,
            self.joint_values,
            self.joint_currency_values,
            self.carried,
        )

    @property
    def joint(self) -> int:
        """How many joint scenarios there are."""
        return int(self.joint_values.shape[1])


class GenerationBuilder:
    """Prices a generation in slices: call `price_some` until it returns True, then `generation`.

    `instruments` are in the order of their `index`. `marks` is by instrument index, `index_prices` by currency; what
    either lacks, or gives an unusable number for, is unknown in this generation, never zero. Neither mapping is
    copied: give snapshots. With `coins`, contracts on others are unknown: their market is. What is traded at a venue
    that is `apart` offsets nothing elsewhere. The grid's spot moves are of the days that `periods` stand for; what has
    to be held for longer is moved by the root of time.
    """

    def __init__(
        self,
        *,
        number: int,
        as_of_ns: int,
        grid: Grid,
        instruments: Sequence[Instrument],
        marks: Mapping[int, InstrumentMark],
        currencies: Sequence[str],
        index_prices: Mapping[str, float],
        joint: JointScenarios | None = None,
        coins: Collection[str] | None = None,
        least_delta: float = 0.0,
        apart: Collection[str] = (),
        periods: Periods | None = None,
    ) -> None:
        if any(instrument.index != row for row, instrument in enumerate(instruments)):
            raise ValueError("instruments are not in the order of their index")
        if len(set(currencies)) != len(currencies):
            raise ValueError("a currency is listed twice")
        self._number, self._as_of_ns, self._grid, self._joint = number, as_of_ns, grid, joint
        self._periods = None if periods is None or periods.is_plain else periods
        self._stretched: dict[float, Floats] = {}
        columns = 0 if joint is None else joint.size
        self._coins, self._least_delta = coins, least_delta
        self._notionals: Floats = np.full(len(instruments), np.nan)
        self._closings: Floats = np.full(len(instruments), np.nan)
        self._instruments, self._marks = instruments, marks
        self._currencies = {currency: column for column, currency in enumerate(currencies)}
        self._group_names = [group_of(instrument, apart) for instrument in instruments]
        self._apart, self._carried = apart, np.full(len(instruments), np.nan)
        names = [currency_group(c) for c in currencies] + self._group_names
        self._groups = {name: column for column, name in enumerate(dict.fromkeys([USD_GROUP, *names]))}
        self._values: Floats = np.full((len(instruments), grid.size), np.nan)
        self._joint_values: Floats = np.full((len(instruments), columns), np.nan)
        self._known: Flags = np.zeros(len(instruments), dtype=np.uint8)
        self._refusals: dict[int, str] = {}
        self._currency_refusals: dict[str, str] = {}
        self._next = 0
        self._currency_values: Floats = np.full((len(currencies), grid.size), np.nan)
        self._joint_currency_values: Floats = np.full((len(currencies), columns), np.nan)
        for currency, row in self._currencies.items():
            try:
                values = self._currency_row(currency, index_prices)
                if joint is not None:
                    self._joint_currency_values[row] = joint.currency(currency, float(values[grid.base]), instruments)
                self._currency_values[row] = values
            except ValueError as refusal:
                self._currency_refusals[currency] = f"{currency}: {refusal}"

    def price_some(self, count: int) -> bool:
        """Price up to `count` more instruments; return whether all are done."""
        stop = min(self._next + count, len(self._instruments))
        options: list[tuple[Instrument, InstrumentMark, Floats]] = []
        for instrument in self._instruments[self._next : stop]:
            try:
                mark, settlement_usd = self._mark_of(instrument)
                if instrument.kind is Kind.OPTION:
                    settles_in_coin(instrument)
                    refuse_bad_mark(instrument, mark)
                    options.append((instrument, mark, settlement_usd))
                else:
                    self._take(instrument, lot_values(instrument, mark, self._moves([instrument]), settlement_usd))
            except ValueError as refusal:
                self._refusals[instrument.index] = str(refusal)
        if options:
            self._price_options(options)
        self._next = stop
        return stop == len(self._instruments)

    def _price_options(self, options: list[tuple[Instrument, InstrumentMark, Floats]]) -> None:
        """Price options together: one by one, most of the time goes into starting numpy's loops."""
        instruments, marks, settlement_usd = zip(*options, strict=True)
        moves = self._moves(instruments)
        values, refusals = option_lot_values(instruments, marks, moves, np.array(settlement_usd))
        for instrument, row, refusal in zip(instruments, values, refusals, strict=True):
            try:
                if refusal is not None:
                    raise ValueError(refusal)
                self._take(instrument, row)
            except ValueError as error:
                self._refusals[instrument.index] = str(error)

    def _moves(self, instruments: Sequence[Instrument]) -> Moves:
        """Return the grid, and behind it the joint scenarios of each instrument, shape (N, S + J); (S + J,) of one."""
        joint, grid = self._joint, self._grid
        if joint is None and self._periods is None:
            return grid
        none = np.zeros(0)
        moves = [(none, none) if joint is None else joint.moves(instrument) for instrument in instruments]
        spot = np.array([np.concatenate((self._grid_of(one), own)) for one, (own, _) in zip(instruments, moves)])
        vol = np.array([np.concatenate((grid.vol, own)) for _, own in moves])
        return _Moves(spot, vol, grid.base) if len(moves) > 1 else _Moves(spot[0], vol[0], grid.base)

    def _grid_of(self, instrument: Instrument) -> Floats:
        """Return the grid's spot moves over an instrument's margin period."""
        periods = self._periods
        return self._grid.spot if periods is None else self._grid_over(periods.root(periods.of_instrument(instrument)))

    def _grid_over(self, root: float) -> Floats:
        if root not in self._stretched:
            self._stretched[root] = stretched(self._grid.spot, root)
        return self._stretched[root]

    def _take(self, instrument: Instrument, values: Floats) -> None:
        index, size, joint = instrument.index, self._grid.size, self._joint
        _guarded(instrument, values)
        mark = self._marks[index]
        today, notional = float(values[self._grid.base]), instrument.notional(1, mark.mark_price, mark.index_price)
        if joint is not None:
            paid = joint.funding(instrument, notional)
            self._joint_values[index] = joint.with_losses(values[size:], today) - paid
        self._notionals[index] = notional
        self._closings[index] = notional if instrument.kind is not Kind.OPTION else self._closing(instrument, today)
        self._values[index] = values[:size]
        self._known[index] = 1
        if instrument.venue in self._apart and instrument.settlement_currency not in USD_LIKE:
            coin = float(self._currency_values[self._currencies[instrument.settlement_currency], self._grid.base])
            # An option is paid for: what it is worth moves by itself.
            self._carried[index] = 0.0 if instrument.kind is Kind.OPTION else -today / coin

    def _closing(self, instrument: Instrument, value: float) -> float:
        """Return the USD of an option's delta, of at least the least delta, and at least what it is worth."""
        mark = self._marks[instrument.index]
        delta = black76_delta(
            mark.forward_price,
            float(instrument.strike or 0),
            mark.years_to_expiry,
            mark.mark_iv,
            bool(instrument.is_call),
        )
        return max(max(abs(delta), self._least_delta) * instrument.lot_amount * mark.index_price, value)

    def generation(self) -> Generation:
        """Return the generation.

        Raises
        ------
        ValueError
            If instruments are left to price.
        """
        if self._next < len(self._instruments):
            raise ValueError(f"{len(self._instruments) - self._next} instruments are not priced yet")
        instruments, groups, currencies = self._instruments, self._groups, self._currencies
        return Generation(
            number=self._number,
            as_of_ns=self._as_of_ns,
            grid=self._grid,
            groups=tuple(groups),
            currencies=tuple(currencies),
            values=self._values,
            currency_values=self._currency_values,
            group_of_instrument=_indices([groups[name] for name in self._group_names]),
            group_of_currency=_indices([groups[currency_group(c)] for c in currencies]),
            currency_of_instrument=_indices([currencies.get(i.settlement_currency, -1) for i in instruments]),
            known=self._known,
            refusals=self._refusals,
            currency_refusals=self._currency_refusals,
            joint_values=self._joint_values,
            joint_currency_values=self._joint_currency_values,
            notionals=self._notionals,
            closings=self._closings,
            carried=self._carried,
        )

    def _currency_row(self, currency: str, index_prices: Mapping[str, float]) -> Floats:
        if currency in USD_LIKE:
            return constant_array(self._grid)
        if currency not in index_prices:
            raise ValueError("no index price")
        values = currency_array(index_prices[currency], self._grid)
        if self._periods is None:
            return values
        root = self._periods.root(self._periods.cash_days(currency, self._instruments))
        return index_prices[currency] * (1.0 + self._grid_over(root))

    def _mark_of(self, instrument: Instrument) -> tuple[InstrumentMark, Floats]:
        """Return an instrument's mark, and what its settlement currency is worth in each scenario."""
        mark = self._marks.get(instrument.index)
        if mark is None:
            raise ValueError(f"{instrument.symbol}: no mark")
        if self._coins is not None and instrument.underlying not in self._coins:
            raise ValueError(f"{instrument.symbol}: no average daily volume of {instrument.underlying}")
        column = self._currencies.get(instrument.settlement_currency)
        if column is None:
            raise ValueError(f"{instrument.symbol}: settlement currency {instrument.settlement_currency} is not listed")
        settlement_usd = self._currency_values[column]
        if np.isnan(settlement_usd[0]):
            raise ValueError(f"{instrument.symbol}: {self._currency_refusals[instrument.settlement_currency]}")
        today = float(settlement_usd[self._grid.base])
        if self._periods is not None and instrument.settlement_currency == instrument.underlying:
            settlement_usd = today * (1.0 + self._grid_of(instrument))
        if self._joint is not None:
            # Without what is lost with an exchange: that is taken off the contract's own value, once.
            moved = self._joint.settlement_moved(instrument, today)
            settlement_usd = np.concatenate((settlement_usd, moved))
        return mark, settlement_usd


def build_generation(
    *,
    number: int,
    as_of_ns: int,
    grid: Grid,
    instruments: Sequence[Instrument],
    marks: Mapping[int, InstrumentMark],
    currencies: Sequence[str],
    index_prices: Mapping[str, float],
    joint: JointScenarios | None = None,
) -> Generation:
    """Return a generation priced in one go; arguments as for GenerationBuilder."""
    builder = GenerationBuilder(
        number=number,
        as_of_ns=as_of_ns,
        grid=grid,
        instruments=instruments,
        marks=marks,
        currencies=currencies,
        index_prices=index_prices,
        joint=joint,
    )
    while not builder.price_some(PRICED_AT_ONCE):
        pass
    return builder.generation()


def _guarded(instrument: Instrument, values: Floats) -> Floats:
    if not np.all(np.abs(values) <= MAX_VALUE):
        raise ValueError(f"{instrument.symbol}: a lot is worth more than {MAX_VALUE} USD in some scenario")
    return values


def _indices(indices: list[int]) -> Ints:
    return np.array(indices, dtype=np.int32)
