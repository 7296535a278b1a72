"""Who forecasts the volatility that scenarios are scaled to: the filter, or a challenger that has beaten it.

The contest is of what would be used. A challenger's forecast over the filter's is a ratio, within bounds; the filter
times that ratio races the filter, twice: the fast one, which haircuts and collars come from, and the tempered one,
which margin comes from. Both have to be won, out of sample, on days that were over, at a significance that is shared by
all challengers. Where it drifts, has no forecast, or the contest is not won any more, the ratio is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from risk.coverage.losses import diebold_mariano, qlike
from risk.learning.baselines import BASELINES
from risk.learning.boosted import fit_variance
from risk.learning.contest import CHALLENGER, CHAMPION, SIGNIFICANCE, ContestRules, recent, segments
from risk.learning.drift import Drift
from risk.learning.panel import LEAST_VARIANCE, Panel
from risk.learning.regime import RegimeBank, RegimeRules
from risk.volatility.bars import DAY_NS
from risk.volatility.refusals import EstimateError, Floats, Ints, Reason, require

FILTER: Final = "filter"
# The detector sees so many days before it is asked.
REGIME_DAYS: Final = 90
# Of hours: a raise to the cap is over after three days.
REGIME: Final = RegimeRules(release=0.95)
# Of (panel, HAR's forecast, horizon, end of the past, rows): a variance over the horizon [n].
Learn = Callable[[Panel, Floats, int, int, Ints], Floats]


@dataclass(frozen=True, slots=True)
class ChampionRules:
    """Days of results that the contest is of, of a segment, of the past that is learnt from, of the embargo, of results
    that a challenger needs, and that drift is looked for in; how far a ratio may go: down less than up."""

    contest_days: int = 1_095
    segment_days: int = 91
    past_days: int = 1_095
    embargo_days: int = 1
    first_past_days: int = 300
    proof_days: int = 365
    drift_days: int = 91
    least: float = 0.9
    most: float = 1.25

    def __post_init__(self) -> None:
        good = 0 < self.least <= 1 <= self.most and min(self.contest_days, self.segment_days, self.proof_days) >= 1
        require(good, Reason.BAD_PARAMETER, f"no rules of a contest: {self}")


@dataclass(frozen=True)
class Walked:
    """One underlying's evenings: `day` [N], which row each is, what the filters said of a day [N] (variances), what
    each challenger said [N] (NaN: nothing), and what came, over the horizon and per day [N] (NaN: not known)."""

    panel: Panel
    horizon: int
    rules: ChampionRules
    day: Ints
    row: Ints
    fast: Floats
    tempered: Floats
    forecast: dict[str, Floats]
    ahead: Floats


class Rival(msgspec.Struct, frozen=True):
    """One challenger: losses beside the filter's in the race that it did less well in, and that race's p-value."""

    model: str
    rows: int
    loss: float
    base_loss: float
    p_value: float
    has_won: bool
    has_drifted: bool


class Choice(msgspec.Struct, frozen=True):
    """As of an evening: `ratio` on the filter's volatilities, by whose forecast and why; volatilities are of a day.

    `forecast` is the challenger's and `base` the fast filter's; `regime` what the detector said, at least one.
    """

    as_of_day: int
    forecaster: str
    ratio: float
    why: str
    base: float
    forecast: float | None
    regime: float
    rival: Rival | None
    rivals: list[Rival]


def walk(
    panel: Panel, day: Ints, fast: Floats, tempered: Floats, horizon: int, rules: ChampionRules,
    learn: Learn | None = None,
) -> Walked:  # fmt: skip
    """Walk the challengers forward over the last days of a panel, each segment by models of the past before it.

    `day` [D] are the filters' days, `fast` and `tempered` [D] their sigmas of a day as known at its end. Segments begin
    on multiples of their length since the epoch, so that of two evenings the later one has the same models before it.
    Raises EstimateError (SHORT_HISTORY).
    """
    times = panel.open_time_ns
    require(len(times) > 1, Reason.SHORT_HISTORY, f"{panel.underlying}: no bars")
    ends = times + (times[1] - times[0])
    evening = np.flatnonzero(ends % DAY_NS == 0)
    at = np.searchsorted(day, ends[evening] // DAY_NS - 1)
    inside = (at < len(day)) & (day[np.minimum(at, len(day) - 1)] == ends[evening] // DAY_NS - 1)
    evening, at = evening[inside], at[inside]
    require(len(evening) > 0, Reason.SHORT_HISTORY, f"{panel.underlying}: no whole day")
    first = max(int(day[at[-1]]) - rules.contest_days + 1, int(times[0] // DAY_NS) + rules.first_past_days)
    first = -(-first // rules.segment_days) * rules.segment_days
    kept = day[at] >= first
    row, at = evening[kept], at[kept]
    require(len(row) > 0, Reason.SHORT_HISTORY, f"{panel.underlying}: no evening from day {first} on")
    found: dict[str, Floats] = {name: np.full(len(row), np.nan) for name in (*BASELINES, CHALLENGER)}
    days_ahead = horizon / panel.bars_per_day
    given = ContestRules(first, rules.segment_days, rules.past_days, rules.embargo_days)
    for start, end in segments(panel, given):
        here = np.flatnonzero((row >= start) & (row < end))
        if len(here):
            past = start - rules.embargo_days * panel.bars_per_day - horizon
            seen = recent(panel, given, past, end)
            for name, values in _segment(seen, horizon, past, row[here], learn or _learned).items():
                found[name][here] = values / days_ahead
    ahead = np.maximum(panel.variance_ahead(horizon)[row] / days_ahead, LEAST_VARIANCE)
    return Walked(panel, horizon, rules, day[at], row, fast[at] ** 2, tempered[at] ** 2, found, ahead)


def _segment(seen: Panel, horizon: int, past: int, rows: Ints, learn: Learn) -> dict[str, Floats]:
    """Forecasts of those that have one."""
    found: dict[str, Floats] = {}
    for name, model in BASELINES.items():
        try:
            variance, _ = model(seen, horizon, past)
            found[name] = variance[rows]
            if name == CHAMPION:
                found[CHALLENGER] = learn(seen, variance, horizon, past, rows)
        except EstimateError:
            continue  # no forecast: the filter's counts
    return found


def _learned(seen: Panel, har: Floats, horizon: int, past: int, rows: Ints) -> Floats:
    return fit_variance(seen, har, horizon, past).forecast(seen.feature[rows], har[rows])


def choose_each(walked: Walked, days: Sequence[int]) -> list[Choice]:
    """Return what `choose` says of each of many evenings, the detector asked of all at once.

    An evening on which the filter has no volatility is passed over. Raises EstimateError as `choose`.
    """
    at = np.searchsorted(walked.day, np.asarray(days, dtype=np.int64))
    known = [day for day, row in zip(days, at.tolist()) if row < len(walked.day) and np.isfinite(walked.fast[row])]
    regimes = _regimes(walked, np.searchsorted(walked.day, np.asarray(known, dtype=np.int64)))
    return [choose(walked, day, regime) for day, regime in zip(known, regimes.tolist())]


def choose(walked: Walked, as_of_day: int, regime: float | None = None) -> Choice:
    """Return who is believed on an evening, by results that were known on it; `regime` where it is known already.

    Raises EstimateError (MOSTLY_MISSING) if that evening was not walked, or the filter has no volatility on it.
    """
    rules = walked.rules
    at = int(np.searchsorted(walked.day, as_of_day))
    there = at < len(walked.day) and walked.day[at] == as_of_day and np.isfinite(walked.fast[at])
    require(bool(there), Reason.MOSTLY_MISSING, f"{walked.panel.underlying}: evening {as_of_day} has no forecast")
    known = (walked.row + walked.horizon <= walked.row[at]) & (walked.day > as_of_day - rules.contest_days)
    known &= np.isfinite(walked.ahead) & np.isfinite(walked.fast) & np.isfinite(walked.tempered)
    rivals = _rivals(walked, np.flatnonzero(known))
    regime = float(_regimes(walked, np.array([at]))[0]) if regime is None else regime
    base = float(np.sqrt(walked.fast[at]))
    # Those that have won first, then by how much less they lost: the one that people are told of in any case.
    ranked = sorted(rivals, key=lambda one: (not one.has_won, one.loss / one.base_loss, one.model))
    best = ranked[0] if ranked else None

    def says(forecaster: str, ratio: float, why: str, forecast: float | None = None) -> Choice:
        return Choice(as_of_day, forecaster, ratio, why, base, forecast, regime, best, rivals)

    if best is None:
        return says(FILTER, 1.0, "no contest")
    ratio = float(_ratio(walked, best.model)[at])
    forecast = float(np.sqrt(walked.forecast[best.model][at])) if _has(walked, best.model)[at] else None
    if not best.has_won:
        return says(FILTER, 1.0, "no challenger has won", forecast)
    if best.has_drifted:
        return says(FILTER, 1.0, f"{best.model} had won and has drifted", forecast)
    if forecast is None:
        return says(FILTER, 1.0, f"{best.model} had won and has no forecast")
    if regime > 1.0:
        # A market that is not itself: the forecast may ask for more, never for less.
        return says(best.model, min(max(ratio * regime, 1.0), rules.most), "won; the detector tightens", forecast)
    return says(best.model, ratio, "won", forecast)


def _has(walked: Walked, model: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    given = walked.forecast[model]
    return np.isfinite(given) & (np.nan_to_num(given) > 0)


def _ratio(walked: Walked, model: str) -> Floats:
    """What the filter's volatilities would be multiplied by [N]; one where there is no forecast."""
    has = _has(walked, model) & np.isfinite(walked.fast)
    ratio = np.sqrt(np.where(has, walked.forecast[model], 1.0) / np.where(has, walked.fast, 1.0))
    return np.clip(np.where(has, ratio, 1.0), walked.rules.least, walked.rules.most)


def _rivals(walked: Walked, rows: Ints) -> list[Rival]:
    """All challengers on the same days; on a day without its forecast one is the filter."""
    names = [name for name in walked.forecast if _has(walked, name)[rows].any()]
    ahead = walked.ahead[rows]
    found = []
    for name in names:
        squared = _ratio(walked, name)[rows] ** 2
        races, drifted = [], False
        for base in (walked.fast[rows], walked.tempered[rows]):
            mine, theirs = qlike(ahead, base * squared), qlike(ahead, base)
            try:
                p_value = diebold_mariano(mine, theirs, max(1, -(-walked.horizon // walked.panel.bars_per_day))).p_value
            except EstimateError:
                p_value = 1.0  # too few days, or no difference: nothing is proved
            races.append((p_value, float(mine.mean()), float(theirs.mean())))
            drifted |= _has_drifted((mine - theirs)[-walked.rules.drift_days :])
        p_value, loss, base_loss = max(races)
        won = len(rows) >= walked.rules.proof_days and p_value < SIGNIFICANCE / len(names)
        found.append(Rival(name, len(rows), loss, base_loss, p_value, won, drifted))
    return found


def _has_drifted(excess: Floats) -> bool:
    drift = Drift()
    for one in excess:
        drift.update(float(one))
    return drift.has_drifted


def _regimes(walked: Walked, at: Ints) -> Floats:
    """What the detector says on evenings [n], each of its own last days."""
    ends, length = walked.row[at] + 1, REGIME_DAYS * walked.panel.bars_per_day
    bank, factor = RegimeBank(len(at), REGIME), np.ones(len(at))
    for back in range(length, 0, -1):
        rows = ends - back
        factor = bank.update(np.where(rows >= 0, walked.panel.log_return[np.maximum(rows, 0)], np.nan))
    # Left of a raise that is all but over is none.
    return np.where(factor > 1.05, factor, 1.0)
