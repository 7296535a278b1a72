"""Learned forecasts: gradient-boosted trees on the panel's features, of what the champion leaves unexplained.

Variance: the log of realised over HAR's forecast, so that without any signal the forecast is HAR's. Tails: quantiles
of returns in units of HAR's volatility. One thread, set seeds and LightGBM's deterministic mode: same data, same model.
"""

from __future__ import annotations

from typing import Any, Final

import lightgbm
import numpy as np

from risk.learning.baselines import MIN_ROWS
from risk.learning.panel import LEAST_VARIANCE, Panel
from risk.volatility.refusals import Floats, Ints, Reason, require

ROUNDS: Final = 150
MAX_ROWS: Final = 12_000
# A correction of the champion beyond this factor is not believed: it would be an error of the data.
MAX_LOG_CORRECTION: Final = 1.5
PARAMETERS: Final[dict[str, Any]] = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


class BoostedVariance:
    """Trees on the log of what is realised over the champion's forecast."""

    def __init__(self, booster: lightgbm.Booster, scale: float) -> None:
        self.booster, self.scale = booster, scale

    def forecast(self, feature: Floats, champion: Floats) -> Floats:
        """Variance of the next h bars [n] at rows of features [n, K], from the champion's [n]."""
        correction = np.asarray(self.booster.predict(feature), dtype=np.float64)
        return champion * np.exp(np.clip(correction, -MAX_LOG_CORRECTION, MAX_LOG_CORRECTION)) * self.scale


def fit_variance(panel: Panel, champion: Floats, horizon: int, past: int) -> BoostedVariance:
    """Fit on rows before `past`, whose targets are known by then.

    Raises EstimateError: SHORT_HISTORY, CONSTANT.
    """
    ahead = panel.variance_ahead(horizon)
    target = np.log(np.maximum(ahead, LEAST_VARIANCE * horizon) / np.maximum(champion, LEAST_VARIANCE * horizon))
    rows = _rows(np.isfinite(target), horizon, past)
    booster = _train({"objective": "regression"}, panel.feature[rows], target[rows], panel.names)
    plain = BoostedVariance(booster, 1.0).forecast(panel.feature[rows], champion[rows])
    scale = float(np.mean(ahead[rows] / np.maximum(plain, LEAST_VARIANCE * horizon)))
    require(scale > 0, Reason.CONSTANT, "nothing has moved: there is no variance to forecast")
    return BoostedVariance(booster, scale)


class BoostedQuantile:
    """Trees on a quantile of standardised returns."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        self.booster = booster

    def forecast(self, feature: Floats, champion: Floats) -> Floats:
        """The quantile of the return over the next h bars [n]."""
        return np.asarray(self.booster.predict(feature), dtype=np.float64) * np.sqrt(champion)


def fit_quantile(panel: Panel, champion: Floats, horizon: int, past: int, probability: float) -> BoostedQuantile:
    """Fit the p-quantile on rows before `past`. Raises EstimateError (SHORT_HISTORY)."""
    z = panel.return_ahead(horizon) / np.sqrt(np.maximum(champion, LEAST_VARIANCE * horizon))
    rows = _rows(np.isfinite(z), horizon, past)
    # Few tail events: smaller trees, larger leaves, fewer rounds.
    objective = {"objective": "quantile", "alpha": probability, "num_leaves": 4, "min_data_in_leaf": 400}
    return BoostedQuantile(_train(objective, panel.feature[rows], z[rows], panel.names, rounds=60))


def _rows(usable: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], horizon: int, past: int) -> Ints:
    """Rows to learn from: their targets end before `past`; evenly thinned to MAX_ROWS, since neighbours overlap."""
    rows = np.flatnonzero(usable & (np.arange(len(usable)) + horizon < past))
    require(len(rows) >= MIN_ROWS, Reason.SHORT_HISTORY, f"{len(rows)} rows to learn from, {MIN_ROWS} are needed")
    stride = max(1, -(-len(rows) // MAX_ROWS))
    return np.asarray(rows[(len(rows) - 1) % stride :: stride], dtype=np.int64)


def _train(
    objective: dict[str, Any], feature: Floats, target: Floats, names: tuple[str, ...], rounds: int = ROUNDS
) -> lightgbm.Booster:
    # LightGBM's own format takes no spaces or commas in names.
    plain = [name.replace(" ", "_").replace(",", "") for name in names]
    data = lightgbm.Dataset(feature, target, feature_name=plain, free_raw_data=False)
    return lightgbm.train(PARAMETERS | objective, data, num_boost_round=rounds)
