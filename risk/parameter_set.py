"""A set of margin parameters that can act: tail points, haircuts, collars and volatilities, as of a day.

What is approved is this set. Between two sets its scenarios follow the volatility of the marks: a linear map of the
moves, a factor a coin, takes the expected shortfall of every portfolio with it (of h under D m it is that of D h under
m), so the points stay what they are, the worst of many days in each direction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import expm1, isfinite, log1p, sqrt
from typing import Final

import msgspec

from risk.fhs.points import LEAST_MOVE, MAX_POINTS, TailPoint
from risk.periods import MAX_LENGTHS, MAX_MOVE, MOST_DAYS, PeriodRow, Periods, why_no_periods

MAX_UNDERLYINGS: Final = 500
NAME_LENGTH: Final = 64
TEXT_LENGTH: Final = 200
# A ratio of volatilities in ten thousandths: records keep whole numbers.
BPS: Final = 10_000


class UsedForecast(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose forecast a coin's `sigma` is by, and why: `ratio` times the filter's own `filter_sigma`.

    `base` is what the fast filter forecast and `forecast` what the challenger did (volatilities of a day); `rival` the
    best challenger, which over `rows` days lost `loss` where the filter lost `base_loss`, with the test's `p_value`.
    `regime` is the detector's factor, at least one.
    """

    forecaster: str
    why: str
    ratio: float
    filter_sigma: float
    base: float
    forecast: float | None
    regime: float
    rival: str = ""
    rows: int = 0
    p_value: float | None = None
    loss: float | None = None
    base_loss: float | None = None


class UnderlyingParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One coin. Volatilities are of a day: `sigma` as used, which the filter goes on from by its `decay`, `long_run` of
    the whole history, mixed by `long_run_weight` into what scenarios are scaled to. `collar` is how far below and above
    the mark, as shares. `used` says whose forecast it is; None where no contest was held: the filter's.
    """

    sigma: float
    long_run: float
    long_run_weight: float
    decay: float
    haircut: float
    collar: tuple[float, float]
    used: UsedForecast | None = None

    def scale_at(self, sigma: float) -> float:
        """What scenarios are scaled to where the filter says `sigma`."""
        return (1.0 - self.long_run_weight) * sigma + self.long_run_weight * self.long_run

    @property
    def scale(self) -> float:
        """What they were scaled to."""
        return self.scale_at(self.sigma)


class ParameterSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Parameters of all underlyings as known at the end of `as_of_day` (days since the epoch).

    Points move over `horizon_days`, and `over` other days, those of `by_product` and venue among them.
    """

    as_of_day: int
    horizon_days: float
    confidence: float
    underlyings: dict[str, UnderlyingParameters]
    points: list[TailPoint]
    by_product: tuple[PeriodRow, ...] = ()

    @property
    def periods(self) -> Periods:
        """How long each product at each venue is held."""
        return Periods(self.horizon_days, self.by_product)

    def longer(self, ratio_bps: Mapping[str, int]) -> dict[str, dict[float, dict[str, float]]]:
        """The points that move over several periods, by name and days: all of its periods, `horizon_days` too."""
        found = {}
        for point in self.points:
            over = {self.horizon_days: point.moves} | {float(days): moves for days, moves in point.over.items()}
            found[point.name] = {days: _all_scaled(moves, ratio_bps) for days, moves in over.items()}
        return found

    def days(self, ratio_bps: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """The points as relative moves by coin, each coin's volatility moved by its ratio; as they were without one.

        In logarithms, as a day's moves are: no ratio takes a price below zero.
        """
        return {point.name: _all_scaled(point.moves, ratio_bps) for point in self.points}


def _all_scaled(moves: Mapping[str, float], ratio_bps: Mapping[str, int]) -> dict[str, float]:
    if all(ratio == BPS for ratio in ratio_bps.values()):
        return dict(moves)
    return {coin: _scaled(move, ratio_bps.get(coin, BPS) / BPS) for coin, move in moves.items()}


def _scaled(move: float, ratio: float) -> float:
    return min(max(expm1(log1p(move) * ratio), LEAST_MOVE), MAX_MOVE)


class Floors(msgspec.Struct, frozen=True, kw_only=True):
    """What no set may be beyond, whoever approves it. Moves, haircuts and collars are shares; `volatility` of a day."""

    volatility: float = 0.005
    move: float = 0.03
    haircut: float = 0.02
    collar: float = 0.005
    widest_collar: float = 0.25
    horizon_days: float = 1.0
    by_product: tuple[PeriodRow, ...] = ()
    # Other periods that points have to be of, without a row that says so: what profiles ask for.
    also_days: tuple[float, ...] = ()
    max_age_days: int = 7

    @property
    def periods(self) -> Periods:
        """The least period of each product at each venue."""
        return Periods(self.horizon_days, self.by_product)


def why_not(
    given: ParameterSet, floors: Floors, today: int, traded: Collection[str], also_known: Collection[str] = ()
) -> str:
    """Why a set may not act; empty where it may. `traded` are coins that have to be in it; `also_known` may be."""
    return (
        _why_not_formed(given)
        or _why_not_whole(given, traded, also_known)
        or _why_not_of_now(given, floors, today)
        or why_below(given, floors)
    )


def _why_not_formed(given: ParameterSet) -> str:
    names = list(given.underlyings)
    if not 1 <= len(names) <= MAX_UNDERLYINGS or any(not 0 < len(name) <= NAME_LENGTH for name in names):
        return f"{len(names)} underlyings, of 1 to {MAX_UNDERLYINGS} with names of 1 to {NAME_LENGTH} characters"
    if not 1 <= len(given.points) <= MAX_POINTS:
        return f"{len(given.points)} tail points, not 1 to {MAX_POINTS}"
    if len({point.name for point in given.points}) != len(given.points):
        return "two tail points have the same name"
    for point in given.points:
        if not 0 < len(point.name) <= NAME_LENGTH or point.moves.keys() != given.underlyings.keys():
            return f"tail point {point.name[:NAME_LENGTH]!r} does not move every underlying, and only those"
        for coin, move in point.moves.items():
            if not LEAST_MOVE <= move <= MAX_MOVE:
                return f"tail point {point.name}: {coin} moves by {move:g}, not {LEAST_MOVE} to {MAX_MOVE}"
    if not (0.5 < given.confidence < 1 and 0 < given.horizon_days <= 365):
        return f"confidence {given.confidence:g} over {given.horizon_days:g} days"
    if reason := _why_no_spans(given):
        return reason
    for name, one in given.underlyings.items():
        numbers = (one.sigma, one.long_run, one.haircut, *one.collar)
        if not all(isfinite(number) and 0 < number < MAX_MOVE for number in numbers):
            return f"{name}: a volatility, haircut or collar is no number above zero"
        if not (0 <= one.decay < 1 and 0 <= one.long_run_weight <= 1 and one.haircut <= 1 and one.collar[0] < 1):
            return f"{name}: a decay, weight, haircut or collar is not within its range"
        if one.used is not None and not _is_formed(one, one.used):
            return f"{name}: what is said of its forecaster is not what its volatility was made of"
    return ""


def _why_no_spans(given: ParameterSet) -> str:
    """Why moves over other periods are none; empty where they are."""
    if reason := why_no_periods(given.by_product):
        return reason
    lengths = {f"{days:g}" for days in given.periods.lengths} - {f"{given.horizon_days:g}"}
    for point in given.points:
        if len(point.over) >= MAX_LENGTHS or point.over.keys() != given.points[0].over.keys():
            return f"tail point {point.name}: moves over {len(point.over)} other periods, or not those of the others"
        if lacking := sorted(lengths - point.over.keys()):
            return f"tail point {point.name}: no moves over {lacking[0]} days"
        for days, moves in point.over.items():
            if not _is_days(days) or moves.keys() != given.underlyings.keys():
                return f"tail point {point.name}: {days[:20]!r} days do not move every underlying, and only those"
            for coin, move in moves.items():
                if not LEAST_MOVE <= move <= MAX_MOVE:
                    return f"tail point {point.name}: {coin} moves by {move:g} in {days} days"
    return ""


def _is_days(text: str) -> bool:
    try:
        return 0 < float(text) <= MOST_DAYS and text == f"{float(text):g}"
    except ValueError:
        return False


def _is_formed(one: UnderlyingParameters, used: UsedForecast) -> bool:
    texts = all(len(text) <= TEXT_LENGTH for text in (used.forecaster, used.why, used.rival))
    above = (used.ratio, used.filter_sigma, used.base, used.regime, 1.0 if used.forecast is None else used.forecast)
    good = all(isfinite(number) and 0 < number < MAX_MOVE for number in above) and used.regime >= 1
    losses = all(number is None or (isfinite(number) and number >= 0) for number in (used.loss, used.base_loss))
    is_probability = used.p_value is None or 0 <= used.p_value <= 1
    is_same = abs(used.ratio * used.filter_sigma - one.sigma) <= 1e-9 * one.sigma
    return texts and good and losses and is_probability and is_same


def _why_not_whole(given: ParameterSet, traded: Collection[str], also_known: Collection[str]) -> str:
    # Without a move a coin would have no margin at all, and its accounts could trade nothing.
    lacking = sorted(set(traded) - given.underlyings.keys())
    if lacking:
        return f"nothing is said of {', '.join(lacking[:5])}, which is traded or held here"
    strange = sorted(given.underlyings.keys() - set(traded) - set(also_known))
    if strange:
        return f"unknown underlying {', '.join(strange[:5])}: it is neither traded nor held here"
    return ""


def _why_not_of_now(given: ParameterSet, floors: Floors, today: int) -> str:
    if given.as_of_day > today:
        return f"as of day {given.as_of_day}, which is after today, {today}"
    if today - given.as_of_day > floors.max_age_days:
        return f"data ends {today - given.as_of_day} days ago, and {floors.max_age_days} is the most"
    return given.periods.shorter_than(floors.periods)


def why_below(given: ParameterSet, floors: Floors) -> str:
    """Why figures of a set are beyond the floors; empty where none is."""
    for name, one in given.underlyings.items():
        if one.scale < floors.volatility:
            return f"{name}: a volatility of {one.scale:.3%} a day is below the floor of {floors.volatility:.3%}"
        moves = [point.moves[name] for point in given.points]
        for side, largest in (("fall", -min(moves)), ("rise", max(moves))):
            if largest < floors.move:
                return f"{name}: the largest {side}, {largest:.3%}, is below the floor of {floors.move:.3%}"
        if one.haircut < floors.haircut:
            return f"{name}: a haircut of {one.haircut:.3%} is below the floor of {floors.haircut:.3%}"
        if min(one.collar) < floors.collar or max(one.collar) > floors.widest_collar:
            low, high = one.collar
            return (
                f"{name}: a collar of -{low:.3%} to +{high:.3%} is not within {floors.collar:.3%} to "
                f"{floors.widest_collar:.3%}"
            )
    return ""


class RescaleRules(msgspec.Struct, frozen=True, kw_only=True):
    """How far the volatility of the marks may move scenarios from what was approved, in ratios of their scale.

    It may fall by `fall_a_day` at most: what was asked for in a storm is not given back in its lull. A change of less
    than `step` is left.
    """

    least: float = 1.0
    most: float = 1.5
    fall_a_day: float = 0.1
    step: float = 0.01

    def __post_init__(self) -> None:
        if not (0 < self.least <= 1 <= self.most <= MAX_MOVE and 0 <= self.fall_a_day <= 1 and 0 <= self.step < 1):
            raise ValueError(f"ratios out of their order: {self}")


def rescaled(
    one: UnderlyingParameters, variance: float, ratio_bps: int, days: float, rules: RescaleRules
) -> tuple[int, bool]:
    """The next ratio of a coin, from its variance of a day by the marks, `days` after it had `ratio_bps`.

    And whether the marks say more than `most`: then new parameters are due, and this does not stand for them. A
    variance that is no number changes nothing.
    """
    if not (isfinite(variance) and variance >= 0):
        return ratio_bps, False
    wanted = one.scale_at(sqrt(variance)) / one.scale
    slowest = ratio_bps / BPS * (1.0 - min(1.0, rules.fall_a_day * max(0.0, days)))
    ratio = min(max(wanted, slowest, rules.least), rules.most)
    found = round(ratio * BPS)
    if abs(found - ratio_bps) < rules.step * BPS and ratio not in (rules.least, rules.most):
        found = ratio_bps
    return found, wanted > rules.most
