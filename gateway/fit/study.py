"""What a fit makes of price files: parameters of every estimator, learned models, haircuts, collars, tail points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import msgspec
import numpy as np

from gateway.backtest.study import HORIZON_HOURS, Data, day_of
from gateway.fit.champions import chosen, scaled, with_ratio
from risk.coverage.models import TEMPERED
from risk.fhs.factors import Factor, FactorKind
from risk.fhs.filtered import Filtered, FilterRules
from risk.fhs.limits import collar, haircut
from risk.fhs.points import TailPoints
from risk.fhs.spans import Span, over_periods
from risk.learning.baselines import har as har_forecast
from risk.learning.boosted import PARAMETERS, BoostedVariance, fit_variance
from risk.learning.champion import ChampionRules, Choice
from risk.learning.contest import Contest, ContestRules, run
from risk.learning.panel import Panel, panel
from risk.parameter_set import Floors, UsedForecast
from risk.periods import MAX_LENGTHS, PeriodRow, Periods
from risk.volatility.garch_fit import fit_garch
from risk.volatility.har import fit_har
from risk.volatility.refusals import EstimateError, Reason, require

# Collateral is sold, and a position closed, within so long; tails are asked for at these confidences.
HAIRCUT_DAYS: Final = 2.0
HAIRCUT_CONFIDENCE: Final = 0.99
POINT_CONFIDENCE: Final = 0.975
# A collar covers what a price may do while an order rests: an hour's moves, as a share of a day's.
COLLAR_DAYS: Final = 1 / 24
COLLAR_CONFIDENCE: Final = 0.999
COLLAR_FLOOR: Final = 0.01
COLLAR_CAP: Final = 0.25
CONTEST_FIRST_DAYS: Final = 300
# What a gateway's configuration says where it says nothing else.
NO_FORECAST_BELOW: Final = Floors()
ONE_DAY: Final = Periods(1.0)


class Learned(msgspec.Struct, frozen=True):
    """One learned model: its trees as text, the correction of its mean, what it saw, and whether it may be used."""

    underlying: str
    horizon_hours: float
    trees: str
    scale: float
    rows: int
    importance: dict[str, float]
    may_use: bool
    why: str

    def model(self) -> BoostedVariance:
        """The model, ready to forecast."""
        import lightgbm  # late: who reads parameters only does not need it

        return BoostedVariance(lightgbm.Booster(model_str=self.trees), self.scale)


class Fitted(msgspec.Struct, frozen=True):
    """Everything of one fit. Volatilities are of a day; haircuts and collars are shares of a price."""

    as_of: str
    parameters: dict[str, dict[str, Any]]
    refused: dict[str, str]
    haircuts: dict[str, float]
    collars: dict[str, tuple[float, float]]
    points: TailPoints
    volatilities: dict[str, dict[str, float]]
    horizon_days: float
    learned: list[Learned]
    contests: list[Contest]
    settings: dict[str, Any]
    used: dict[str, UsedForecast] = {}
    choices: dict[str, list[Choice]] = {}
    by_product: tuple[PeriodRow, ...] = ()
    spans: list[Span] = []


def fit(
    data: Data,
    *,
    contests: bool,
    periods: Periods = ONE_DAY,
    also_days: Sequence[float] = (),
    champions: ChampionRules | None = None,
    floors: Floors = NO_FORECAST_BELOW,
    on_done: Callable[[str], None] | None = None,
) -> Fitted:
    """Fit everything on all of the data. Without `contests` no learned model may be used: nothing has proved it.

    Tail points are of moves over each of the `periods`, the default one first, and over `also_days`, which profiles ask
    for. With `champions` forecasts race the filter, and where one has won its figure is used, never below `floors`.
    Raises EstimateError where there is too little history for the filtered days themselves.
    """
    told = on_done or (lambda what: None)
    parameters: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    for days in data.days:
        column = data.history.column[Factor(days.name, FactorKind.SPOT)]
        parameters[days.name] = _parameters(data.history.move[:, column], days.realised_variance, refused, days.name)
        told(f"{days.name}: estimators")
    measured, tempered = Filtered(data.history, FilterRules()), Filtered(data.history, TEMPERED)
    common = min(int(days.day[-1]) for days in data.days)
    horizon_days = periods.days
    lengths = lengths_of(periods, also_days)
    _refuse_stale(data, common, floors.max_age_days)
    choices: dict[str, list[Choice]] = {}
    if champions is not None:
        choices = chosen(data, measured, tempered, common, horizon_days, champions, refused, told)
    spots = [Factor(days.name, FactorKind.SPOT) for days in data.days]
    volatilities = _volatilities(tempered, spots, common)
    scenarios, spans = over_periods(tempered, common, lengths, spots, POINT_CONFIDENCE)
    last_choice = {name: many[-1] for name, many in choices.items()}
    points, used = scaled(scenarios, volatilities, last_choice, POINT_CONFIDENCE, floors)
    told("tail points")
    sold_days = max(HAIRCUT_DAYS, periods.of("spot", ""))
    haircuts, collars = _limits(data, measured, used, floors, sold_days)
    learned, raced = _learned(data, refused, told, contests=contests)
    settings = {
        "haircut": {"days": sold_days, "confidence": HAIRCUT_CONFIDENCE},
        "collar": {"days": COLLAR_DAYS, "confidence": COLLAR_CONFIDENCE, "floor": COLLAR_FLOOR, "cap": COLLAR_CAP},
        "points": {"days": horizon_days, "confidence": POINT_CONFIDENCE, "over": list(lengths)},
        "periods": [str(row) for row in periods.rows],
        "trees": PARAMETERS,
    }
    if champions is not None:
        settings["champions"] = {
            "rules": asdict(champions),
            "floors": [floors.volatility, floors.move, floors.haircut, floors.collar],
        }
    return Fitted(
        str(day_of(common)), parameters, refused, haircuts, collars, points,
        {name: each | {"sigma": used[name].ratio * each["sigma"]} if name in used else each
         for name, each in volatilities.items()},
        horizon_days, learned, raced, settings, used, choices, periods.rows, spans,
    )  # fmt: skip


def _refuse_stale(data: Data, as_of_day: int, max_age_days: int) -> None:
    """Raise EstimateError (STALE) for what has not moved lately: its volatility would be that of another time."""
    history = data.history
    for days in data.days:
        moved = np.isfinite(history.move[:, history.column[Factor(days.name, FactorKind.SPOT)]])
        last = history.day[moved & (history.day <= as_of_day)]
        known = len(last) > 0 and as_of_day - int(last[-1]) <= max_age_days
        when = f"none since {day_of(int(last[-1]))}" if len(last) else "none at all"
        require(known, Reason.STALE, f"{days.name}: {when} of the moves of a day, as of {day_of(as_of_day)}")


def lengths_of(periods: Periods, also_days: Sequence[float]) -> tuple[float, ...]:
    """The default period, then all others, ascending. Raises EstimateError (TOO_LARGE)."""
    others = sorted({*periods.lengths, *(float(f"{days:g}") for days in also_days)} - {periods.days})
    many = f"{1 + len(others)} different margin periods, {MAX_LENGTHS} at most"
    require(len(others) < MAX_LENGTHS, Reason.TOO_LARGE, many)
    return (periods.days, *others)


def _limits(
    data: Data, measured: Filtered, used: dict[str, UsedForecast], floors: Floors, sold_days: float
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Haircuts and collars, by the volatility that is used."""
    haircuts, collars = {}, {}
    last = int(data.history.day[-1])
    for days in data.days:
        name, spot, at = days.name, [Factor(days.name, FactorKind.SPOT)], min(last, int(days.day[-1]))
        ratio = used[name].ratio if name in used else 1.0
        sold, rested = (
            with_ratio(measured.scenarios(at, horizon, spot), {name: ratio}) for horizon in (sold_days, COLLAR_DAYS)
        )
        haircuts[name] = haircut(sold, name, HAIRCUT_CONFIDENCE, floors.haircut if ratio < 1.0 else 0.0)
        floor = max(COLLAR_FLOOR, min(floors.collar, COLLAR_CAP)) if ratio < 1.0 else COLLAR_FLOOR
        collars[name] = collar(rested, name, COLLAR_CONFIDENCE, floor, COLLAR_CAP)
    return haircuts, collars


def _volatilities(filtered: Filtered, spots: list[Factor], as_of_day: int) -> dict[str, dict[str, float]]:
    """Return by underlying what the filter says of a day, what it says of the whole history, and how it says so."""
    at = int(np.searchsorted(filtered.history.day, as_of_day, side="right")) - 1
    found = {}
    for factor, decay, weight in zip(
        spots, filtered.rules.decays(tuple(spots)), filtered.rules.weights(tuple(spots)), strict=True
    ):
        column = filtered.history.column[factor]
        now, scale = float(filtered.sigma[at, column]), float(filtered.scale[at, column])
        decay, weight = float(decay), float(weight)
        long_run = (scale - (1.0 - weight) * now) / weight if weight else now
        found[factor.underlying] = {
            "sigma": now, "long_run": long_run, "long_run_weight": weight, "decay": decay
        }  # fmt: skip
    return found


def _parameters(
    moves: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    variance: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    refused: dict[str, str],
    name: str,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    r = moves[np.isfinite(moves)]
    for what, make in (
        ("garch_t", lambda: fit_garch(r)),
        ("gjr_t", lambda: fit_garch(r, asymmetric=True)),
        ("har_1d", lambda: fit_har(variance)),
    ):
        try:
            found[what] = msgspec.to_builtins(make())
        except EstimateError as error:
            refused[f"{name} {what}"] = str(error)
    return found


def _learned(
    data: Data, refused: dict[str, str], told: Callable[[str], None], *, contests: bool
) -> tuple[list[Learned], list[Contest]]:
    learned: list[Learned] = []
    raced: list[Contest] = []
    for file in data.files:
        name = file.underlying.name
        seen = panel(file.underlying, file.rules, [other.underlying for other in data.files if other is not file])
        for hours in HORIZON_HOURS:
            bars = max(1, round(hours * file.rules.bars_per_day / 24))
            try:
                race = _race(seen, bars) if contests else []
                learned.append(_model(seen, bars, hours, race[0] if race else None))
            except EstimateError as error:
                refused[f"{name} {hours} h"] = str(error)
            else:
                raced += race
            told(f"{name}: {hours} h")
    return learned, raced


def _race(seen: Panel, bars: int) -> list[Contest]:
    first = int(seen.open_time_ns[0] // 86_400_000_000_000) + CONTEST_FIRST_DAYS
    return run(seen, bars, ContestRules(first))


def _model(seen: Panel, bars: int, hours: float, race: Contest | None) -> Learned:
    past = len(seen.log_return)
    champion, _ = har_forecast(seen, bars, past)
    fitted = fit_variance(seen, champion, bars, past)
    gains = fitted.booster.feature_importance("gain").astype(np.float64)
    shares = gains / max(float(gains.sum()), 1e-300)
    ranked = sorted(zip(seen.names, shares.tolist()), key=lambda pair: -pair[1])[:8]
    if race is None:
        may_use, why = False, "no contest was held"
    elif race.challenger_won:
        may_use, why = True, "lost less than the champion, out of sample, at p < .05"
    else:
        may_use, why = False, "did not lose less than the champion at p < .05"
    return Learned(
        seen.underlying, hours, fitted.booster.model_to_string(), fitted.scale, past, dict(ranked), may_use, why
    )
