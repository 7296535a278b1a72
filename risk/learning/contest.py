"""The contest: classical and learned forecasts walked forward, and which of them may be used.

Time is cut into segments. Before each one every model is fitted anew on the rows whose targets were known `embargo`
bars before it, and then forecasts the segment. The challenger is in use in a segment only where, over the segments
before it, Diebold and Mariano's test says that it lost less than the champion; where it drifts, the champion is back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from scipy.special import ndtri, stdtrit

from risk.coverage.losses import diebold_mariano, pinball, qlike
from risk.learning.baselines import BASELINES
from risk.learning.boosted import fit_quantile, fit_variance
from risk.learning.drift import Drift
from risk.learning.panel import LEAST_VARIANCE, Panel
from risk.volatility.refusals import Bools, EstimateError, Floats, Ints, Reason, require

CHAMPION: Final = "HAR"
CHALLENGER: Final = "learned"
SIGNIFICANCE: Final = 0.05
PROBABILITIES: Final = (0.01, 0.99)


@dataclass(frozen=True, slots=True)
class ContestRules:
    """Days: `first_day` of the contest (since the epoch), of a segment, of the past that is learnt from, of the embargo
    beside the horizon, and of results that a challenger needs before it may be used."""

    first_day: int
    segment_days: int = 91
    past_days: int = 1_095
    embargo_days: int = 1
    proof_days: int = 365


class Standing(msgspec.Struct, frozen=True):
    """One forecast's mean loss on `rows`, the champion's on the same, and the test of both: below zero it lost less."""

    model: str
    rows: int
    mean_loss: float
    champion_loss: float
    statistic: float | None
    p_value: float | None


class Contest(msgspec.Struct, frozen=True):
    """One underlying, horizon and loss: how all did, how often the challenger was in use, and what use then lost."""

    underlying: str
    horizon_hours: float
    loss: str
    rows: int
    segments: int
    standings: list[Standing]
    in_use_share: float
    used_loss: float
    step_downs: int
    refused: dict[str, str]

    @property
    def challenger_won(self) -> bool:
        """Whether, over all of it, the learned forecast lost less than the champion, and not by chance."""
        mine = next((standing for standing in self.standings if standing.model == CHALLENGER), None)
        return mine is not None and mine.p_value is not None and mine.p_value < SIGNIFICANCE


# Forecasts of a segment [n] by model, and refusals by model; of (panel, horizon, end of the past, rows).
Forecasts = dict[str, Floats]


def run(
    panel: Panel,
    horizon: int,
    rules: ContestRules,
    on_segment: Callable[[], None] | None = None,
    learn: Callable[[Panel, Floats, int, int, Ints], dict[str, Floats]] | None = None,
) -> list[Contest]:
    """The contests of one underlying over a horizon in bars: of variances, and of the tails at PROBABILITIES.

    Raises EstimateError (SHORT_HISTORY) if no segment has a past to learn from.
    """
    learn = learn or _learned
    stride = min(horizon, panel.bars_per_day)
    starts = segments(panel, rules)
    require(bool(starts), Reason.SHORT_HISTORY, f"{panel.underlying}: no bar from day {rules.first_day} on")
    variances: list[Forecasts] = []
    tails: dict[float, list[Forecasts]] = {p: [] for p in PROBABILITIES}
    rows_of: list[Ints] = []
    refused: dict[str, str] = {}
    for start, end in starts:
        if on_segment is not None:
            on_segment()
        past = start - rules.embargo_days * panel.bars_per_day - horizon
        ends = np.arange(len(panel.open_time_ns))
        rows = ends[start:end][(ends[start:end] + 1) % stride == 0] if stride > 1 else ends[start:end]
        try:
            forecast, tail = _segment(recent(panel, rules, past, end), horizon, past, rows, refused, learn)
        except EstimateError as error:
            refused[CHAMPION] = str(error)
            continue
        variances.append(forecast)
        rows_of.append(rows)
        for p in PROBABILITIES:
            tails[p].append(tail[p])
    require(bool(rows_of), Reason.SHORT_HISTORY, f"{panel.underlying}: {refused.get(CHAMPION, 'no segment')}")
    hours = horizon * 24.0 / panel.bars_per_day
    overlap = -(-horizon // stride)
    ahead = np.maximum(panel.variance_ahead(horizon), LEAST_VARIANCE * horizon)
    returns = panel.return_ahead(horizon)
    found = [_judge(panel, hours, "QLIKE", ahead, qlike, variances, rows_of, overlap, rules, refused)]
    for p in PROBABILITIES:

        def loss(realised: Floats, forecast: Floats, p: float = p) -> Floats:
            return pinball(realised, forecast, p)

        found.append(_judge(panel, hours, f"pinball {p:g}", returns, loss, tails[p], rows_of, overlap, rules, refused))
    return found


def segments(panel: Panel, rules: ContestRules) -> list[tuple[int, int]]:
    """First and last-but-one row of each segment."""
    step_ns = int(panel.open_time_ns[1] - panel.open_time_ns[0])
    first = int((rules.first_day * 86_400_000_000_000 - panel.open_time_ns[0]) // step_ns)
    size, width = len(panel.open_time_ns), rules.segment_days * panel.bars_per_day
    first = max(first, 0)
    return [(start, min(start + width, size)) for start in range(first, size, width)]


def recent(panel: Panel, rules: ContestRules, past: int, end: int) -> Panel:
    """A panel without returns older than what is learnt from (rows keep their numbers) and without later ones."""
    log_return, feature = panel.log_return[:end].copy(), panel.feature[:end].copy()
    oldest = max(past - rules.past_days * panel.bars_per_day, 0)
    feature[:oldest] = np.nan
    log_return[:oldest] = np.nan
    return Panel(panel.underlying, panel.open_time_ns[:end], log_return, feature, panel.names, panel.bars_per_day)


def _segment(
    panel: Panel,
    horizon: int,
    past: int,
    rows: Ints,
    refused: dict[str, str],
    learn: Callable[[Panel, Floats, int, int, Ints], dict[str, Floats]],
) -> tuple[Forecasts, dict[float, Forecasts]]:
    """One segment's forecasts of variance, and of each tail. Raises EstimateError where the champion has none."""
    forecast: Forecasts = {}
    tail: dict[float, Forecasts] = {p: {} for p in PROBABILITIES}
    champion: Floats | None = None
    for name, model in BASELINES.items():
        try:
            variance, shape = model(panel, horizon, past)
        except EstimateError as error:
            if name == CHAMPION:
                raise
            refused[name] = str(error)
            continue
        champion = variance if name == CHAMPION else champion
        forecast[name] = variance[rows]
        for p in PROBABILITIES:
            tail[p][name] = _quantile(panel, variance, shape, horizon, past, p) * np.sqrt(variance[rows])
    assert champion is not None, "the champion is one of the baselines"
    for name, values in learn(panel, champion, horizon, past, rows).items():
        if name == "variance":
            forecast[CHALLENGER] = values
        else:
            tail[float(name)][CHALLENGER] = values
    return forecast, tail


def _learned(panel: Panel, champion: Floats, horizon: int, past: int, rows: Ints) -> dict[str, Floats]:
    """The challenger's forecasts of a segment: of the variance, and of each tail by its probability's name."""
    feature, base = panel.feature[rows], champion[rows]
    found = {"variance": fit_variance(panel, champion, horizon, past).forecast(feature, base)}
    for p in PROBABILITIES:
        found[str(p)] = fit_quantile(panel, champion, horizon, past, p).forecast(feature, base)
    return found


def _quantile(panel: Panel, variance: Floats, tail: float, horizon: int, past: int, p: float) -> float:
    """A standardised quantile: a normal's, Student's with unit variance, or that of the model's own past residuals."""
    if np.isinf(tail):
        return float(ndtri(p))
    if np.isfinite(tail):
        return float(stdtrit(tail, p) * np.sqrt((tail - 2.0) / tail))
    z = panel.return_ahead(horizon)[: past - horizon] / np.sqrt(variance[: past - horizon])
    z = z[np.isfinite(z)]
    require(len(z) >= 100, Reason.SHORT_HISTORY, f"{len(z)} residuals, 100 are needed")
    return float(np.quantile(z, p))


def _judge(
    panel: Panel,
    hours: float,
    name: str,
    target: Floats,
    loss: Callable[[Floats, Floats], Floats],
    forecasts: list[Forecasts],
    rows_of: list[Ints],
    overlap: int,
    rules: ContestRules,
    refused: dict[str, str],
) -> Contest:
    """Losses of each model on the rows that it and the champion have forecasts for."""
    models = [model for model in (*BASELINES, CHALLENGER) if any(model in segment for segment in forecasts)]
    losses: dict[str, list[Floats]] = {model: [] for model in models}
    for rows, segment in zip(rows_of, forecasts):
        known = {model: _known(segment.get(model), rows, positive=name == "QLIKE") for model in models}
        counted = np.isfinite(target[rows]) & known[CHAMPION]
        if CHALLENGER in segment:
            counted &= known[CHALLENGER]
        for model in models:
            values = np.full(int(counted.sum()), np.nan)
            there = known[model][counted]
            if model in segment:
                values[there] = loss(target[rows][counted][there], segment[model][counted][there])
            losses[model].append(values)
    joined = {model: np.concatenate(parts) for model, parts in losses.items()}
    per_day = max(1, round(24 / hours)) if hours < 24 else 1
    used, share, downs = _use(losses, overlap, rules.proof_days * per_day, per_day)
    standings = [_standing(model, joined, overlap) for model in models]
    return Contest(
        panel.underlying, hours, name, len(used), len(rows_of), standings, share, float(used.mean()), downs, refused
    )


def _known(forecast: Floats | None, rows: Ints, *, positive: bool) -> Bools:
    if forecast is None:
        return np.zeros(len(rows), np.bool_)
    return np.isfinite(forecast) & ((forecast > 0) if positive else True)


def _standing(model: str, losses: dict[str, Floats], overlap: int) -> Standing:
    there = np.isfinite(losses[model])
    mine, theirs = losses[model][there], losses[CHAMPION][there]
    mean, champion = float(mine.mean()), float(theirs.mean())
    try:
        test = diebold_mariano(mine, theirs, overlap)
    except EstimateError:
        return Standing(model, len(mine), mean, champion, None, None)
    return Standing(model, len(mine), mean, champion, test.statistic, test.p_value)


def _use(losses: dict[str, list[Floats]], overlap: int, proof: int, per_day: int) -> tuple[Floats, float, int]:
    """The losses of what was in use, the share of rows on which that was the challenger, and its step-downs."""
    champion, challenger = losses[CHAMPION], losses.get(CHALLENGER)
    if challenger is None:
        return np.concatenate(champion), 0.0, 0
    used, rows_in_use, downs = [], 0, 0
    for at, (theirs, mine) in enumerate(zip(champion, challenger)):
        if not np.isfinite(mine).all() or not may_use(challenger[:at], champion[:at], overlap, proof):
            used.append(theirs)
            continue
        drift, stop = Drift(), len(mine)
        for end in range(per_day, len(mine) + 1, per_day):
            if drift.update(float((mine - theirs)[end - per_day : end].mean())):
                stop = end
                break
        downs += stop < len(mine)
        rows_in_use += stop
        used.append(np.concatenate([mine[:stop], theirs[stop:]]))
    joined = np.concatenate(used)
    return joined, rows_in_use / max(len(joined), 1), downs


def may_use(challenger: list[Floats], champion: list[Floats], overlap: int, proof: int) -> bool:
    """Whether past results, out of sample and of at least `proof` rows, say that the challenger loses less."""
    if not challenger or sum(len(part) for part in challenger) < proof:
        return False
    mine, theirs = np.concatenate(challenger), np.concatenate(champion)
    there = np.isfinite(mine)
    try:
        return diebold_mariano(mine[there], theirs[there], overlap).p_value < SIGNIFICANCE
    except EstimateError:
        return False
