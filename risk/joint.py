"""Joint scenarios: days of history as moves of all underlyings at once, and stress; everything moves together in them.

Each is linear in the position, like one more column of the grid that all risk groups share. What is not linear in it,
the loss of what lies at a defaulted exchange, is the lesser of two columns that are: nothing of it is there, since
min(0, -loss * equity) is what a positive equity loses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from math import isfinite
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from risk.instrument import Instrument, Kind
from risk.kernel_checks import MAX_JOINT
from risk.periods import MAX_MOVE, Periods, stretched
from risk.pricing import USD_LIKE, Floats

MAX_DAYS: Final = 4_000

Flags = npt.NDArray[np.bool_]
Days = Mapping[str, Mapping[str, float]]
# By the name of a day, and by days of a margin period: the moves of coins over it.
Longer = Mapping[str, Mapping[float, Mapping[str, float]]]
OF_A_DAY: Final = Periods(1.0)


class Stress(msgspec.Struct, frozen=True, kw_only=True):
    """What happens beside days of history. Moves are relative; what is empty or zero does not happen.

    spike: spot moves, each with volatility moved by `spike_vol`. pegs: moves of a stablecoin against the dollar, prices
    in it staying, and finding their dollar value again. default: an exchange is gone with its contracts, which stay at
    today's mark, while all else moves; of an account's equity the share `at_venue` lies there, and `default_loss` of
    that is lost. funding: a rate that perpetuals pay for `funding_periods`, of one venue and of all, longs or shorts.
    """

    spike_moves: tuple[float, ...] = ()
    spike_vol: float = 0.0
    peg_moves: tuple[float, ...] = ()
    default_moves: tuple[float, ...] = ()
    default_loss: float = 0.0
    at_venue: float = 1.0
    funding_rate: float = 0.0
    funding_periods: float = 3.0


NO_STRESS: Final = Stress()


class Column(msgspec.Struct, frozen=True):
    """One joint scenario: what moves in it, beside a day's moves or one move of all coins."""

    name: str
    day: str = ""
    spot: float = 0.0
    vol: float = 0.0
    defaulted: str = ""
    lost: float = 0.0
    stablecoin: str = ""
    peg: float = 0.0
    is_repriced: bool = False
    funding: float = 0.0
    venue: str = ""  # of the funding; empty: all


class JointScenarios:
    """The columns for a set of venues; the first is today, unmoved.

    Moves are of the days that `periods` stand for. What has to be held for longer is moved by the root of time; on a
    day that `points` names, by that day's own moves over the period that `point_periods` gives it, where it has them.

    Raises
    ------
    ValueError
        If a move is not finite, not above -1 or above MAX_MOVE, or there are too many days or columns.
    """

    def __init__(
        self,
        *,
        days: Days,
        day_vols: tuple[float, ...] = (0.0,),
        stress: Stress = NO_STRESS,
        venues: tuple[str, ...] = (),
        everything: tuple[tuple[float, float], ...] = (),
        periods: Periods = OF_A_DAY,
        points: Longer | None = None,
        point_periods: Periods = OF_A_DAY,
    ) -> None:
        if len(days) > MAX_DAYS:
            raise ValueError(f"{len(days)} days are more than {MAX_DAYS}")
        stated = [move for moves in days.values() for move in moves.values()]
        stated += [*day_vols, *stress.spike_moves, stress.spike_vol, *stress.peg_moves, *stress.default_moves]
        stated += [move for pair in everything for move in pair]
        self._points: Longer = {} if points is None else points
        stated += [move for longer in self._points.values() for moves in longer.values() for move in moves.values()]
        if any(not isfinite(move) or not -1 < move <= MAX_MOVE for move in stated):
            raise ValueError(f"a move must be above -1 and at most {MAX_MOVE}")
        if not (0 <= stress.default_loss <= 1 and 0 <= stress.at_venue <= 1):
            raise ValueError("shares lie in 0..1")
        if not (0 <= stress.funding_rate <= 1 and 0 <= stress.funding_periods <= 1_000):
            raise ValueError("a funding rate lies in 0..1, its periods in 0..1000")
        self.days = {day: dict(moves) for day, moves in sorted(days.items())}
        columns = [Column("today")]
        columns += [Column(f"all {spot:+.6g} vol {vol:+.6g}", spot=spot, vol=vol) for spot, vol in everything]
        columns += [Column(f"{day} vol {vol:+.6g}", day=day, vol=vol) for day in self.days for vol in day_vols]
        columns += [Column(f"spike {move:+.6g}", spot=move, vol=stress.spike_vol) for move in stress.spike_moves]
        for coin in sorted(USD_LIKE - {"USD"}):
            for peg in stress.peg_moves:
                columns.append(Column(f"{coin} {peg:+.6g}", stablecoin=coin, peg=peg))
                columns.append(Column(f"{coin} {peg:+.6g} repriced", stablecoin=coin, peg=peg, is_repriced=True))
        for venue in venues:
            for move in stress.default_moves:
                name, lost = f"default of {venue} {move:+.6g}", stress.default_loss * stress.at_venue
                columns.append(Column(name, spot=move, defaulted=venue))
                if lost:
                    columns.append(Column(f"{name}, collateral lost", spot=move, defaulted=venue, lost=lost))
        if stress.funding_rate:
            paid = stress.funding_rate * stress.funding_periods
            for venue in (*venues, "") if len(venues) > 1 else ("",):
                for sign, who in ((1, "longs"), (-1, "shorts")):
                    columns.append(
                        Column(f"funding of {venue or 'all venues'}, {who}", funding=sign * paid, venue=venue)
                    )
        if len(columns) > MAX_JOINT:
            raise ValueError(f"{len(columns)} joint scenarios are more than {MAX_JOINT}")
        self.columns = tuple(columns)
        self.size = len(columns)
        self._spot: dict[str, Floats] = {}
        self.vol: Floats = np.array([column.vol for column in columns])
        self._lost: Floats = np.array([column.lost for column in columns])
        self._pegs: Floats = np.array([column.peg for column in columns])
        self._funding: Floats = np.array([column.funding for column in columns])
        self._repriced: Flags = np.array([column.is_repriced for column in columns])
        self._everywhere: Flags = np.array([not column.venue for column in columns])
        self._masks: dict[tuple[str, str], Flags] = {}
        self._set_periods(periods, point_periods)

    def _set_periods(self, periods: Periods, point_periods: Periods) -> None:
        self.periods, self.point_periods = periods, point_periods
        self._is_plain = periods.is_plain and (not self._points or point_periods.is_plain)
        self._stretched: dict[tuple[str, float, float], Floats] = {}
        self._floored: dict[float, JointScenarios] = {}

    def at_least(self, days: float) -> JointScenarios:
        """Return the same columns with nothing held for less than so many days; made once."""
        found = self._floored.get(days)
        if found is None:
            found = self._floored[days] = copy(self)
            found._set_periods(self.periods.at_least(days), self.point_periods.at_least(days))
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """What each column is called."""
        return tuple(column.name for column in self.columns)

    @property
    def is_market(self) -> Flags:
        """Which columns are moves of the market, (J,): no exchange, stablecoin or funding is at fault in them."""
        return np.array([not (one.defaulted or one.stablecoin or one.funding) for one in self.columns], dtype=bool)

    def spot(self, coin: str) -> Floats:
        """Return how a coin moves in each column, shape (J,).

        Raises
        ------
        ValueError
            If a day of the history lacks it: without a move it would have no risk on that day.
        """
        if coin not in self._spot:
            lacking = next((day for day, moves in self.days.items() if coin not in moves), None)
            if lacking is not None:
                raise ValueError(f"{coin}: no move on {lacking}")
            moves = [self.days[c.day][coin] if c.day else c.spot for c in self.columns]
            self._spot[coin] = np.array(moves, dtype=np.float64)
        return self._spot[coin]

    def spot_over(self, coin: str, days: float, point_days: float) -> Floats:
        """Return how a coin moves in each column within a margin period, and within one on tail points' days, (J,)."""
        key = coin, days, point_days
        if key not in self._stretched:
            as_stated = self.spot(coin)
            found = np.array(stretched(as_stated, self.periods.root(days)))
            for at, column in enumerate(self.columns):
                if column.day in self._points:
                    own = self._points[column.day].get(point_days)
                    by_root = stretched(as_stated[at : at + 1], self.point_periods.root(point_days))
                    found[at] = by_root[0] if own is None else own[coin]
            self._stretched[key] = found
        return self._stretched[key]

    def _spot_of(self, instrument: Instrument) -> Floats:
        if self._is_plain:
            return self.spot(instrument.underlying)
        days, point_days = self.periods.of_instrument(instrument), self.point_periods.of_instrument(instrument)
        return self.spot_over(instrument.underlying, days, point_days)

    def moves(self, instrument: Instrument) -> tuple[Floats, Floats]:
        """Return how an instrument's price and volatility move in each column, (J,) each.

        What a defaulted exchange had stands still; what a stablecoin quotes rises as the coin falls, where repriced.
        """
        spot, vol = self._spot_of(instrument), self.vol
        stands = self._where("defaulted", instrument.venue)
        if stands.any():
            spot, vol = np.where(stands, 0.0, spot), np.where(stands, 0.0, vol)
        repriced = self._where("stablecoin", instrument.settlement_currency) & self._repriced
        if repriced.any():
            spot = np.where(repriced, 1.0 / (1.0 + self._pegs) - 1.0, spot)
        return spot, vol

    def _where(self, field: str, name: str) -> Flags:
        """Return in which columns a field has this name, which is not empty."""
        found = self._masks.get((field, name))
        if found is None:
            found = np.array([bool(name) and getattr(column, field) == name for column in self.columns])
            self._masks[field, name] = found
        return found

    def currency(self, currency: str, index_price: float, instruments: Sequence[Instrument] = ()) -> Floats:
        """Return the USD that one unit held of a currency is worth in each column, (J,)."""
        return self.with_losses(self.currency_moved(currency, index_price, instruments), index_price)

    def currency_moved(self, currency: str, index_price: float, instruments: Sequence[Instrument] = ()) -> Floats:
        """Return the USD price of one unit of a currency in each column, (J,): of a coin over `Periods.cash_days`."""
        if currency in USD_LIKE:
            moves = np.where(self._where("stablecoin", currency), self._pegs, 0.0)
        elif self._is_plain:
            moves = self.spot(currency)
        else:
            days = self.periods.cash_days(currency, instruments)
            moves = self.spot_over(currency, days, self.point_periods.cash_days(currency, instruments))
        return index_price * (1.0 + moves)

    def settlement_moved(self, instrument: Instrument, index_price: float) -> Floats:
        """Return the USD price of what an instrument settles in, in each column, (J,): a coin as it moves."""
        if self._is_plain or instrument.settlement_currency != instrument.underlying:
            return self.currency_moved(instrument.settlement_currency, index_price)
        return index_price * (1.0 + self._spot_of(instrument))

    def with_losses(self, values: Floats, today: float) -> Floats:
        """Return values with what is lost with a defaulted exchange taken off, in the columns that lose it."""
        return values - self._lost * today

    def funding(self, instrument: Instrument, lot_notional: float) -> Floats:
        """Return what one long lot pays in each column, USD, (J,)."""
        if instrument.kind is not Kind.PERPETUAL:
            return np.zeros(self.size)
        pays = self._everywhere | self._where("venue", instrument.venue)
        return np.where(pays, self._funding, 0.0) * lot_notional
