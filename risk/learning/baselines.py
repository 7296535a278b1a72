"""The classical forecasts of the variance of the next h bars, each fitted on a past and applied to all rows.

A forecast at row t uses rows up to t, and coefficients of the rows that it was fitted on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from risk.learning.panel import LEAST_VARIANCE, Panel
from risk.volatility.ewma import ewma_filter
from risk.volatility.garch import garch_filter
from risk.volatility.garch_fit import backcast, fit_garch
from risk.volatility.refusals import Floats, Reason, require

# What a forecast says of tails: Student's degrees of freedom, infinite for a normal; NaN: those of its past residuals.
Tail = float
# (panel, horizon in bars, end of the past: rows before it may be learnt from) -> variance of the next h bars [T], tail.
Forecast = Callable[[Panel, int, int], tuple[Floats, Tail]]
OWN_RESIDUALS: Final = float("nan")

DAILY_DECAY: Final = 0.94
# A fit to more returns than this takes longer than it gains.
GARCH_ROWS: Final = 8_000
MIN_ROWS: Final = 200
HAR_FEATURES: Final = ("log variance 1 h", "log variance 1 d", "log variance 7 d", "log variance 30 d")


def ewma(panel: Panel, horizon: int, past: int) -> tuple[Floats, Tail]:
    """Exponential weights of RiskMetrics' daily decay, at the pace of bars."""
    return horizon * ewma_filter(panel.log_return, DAILY_DECAY ** (1.0 / panel.bars_per_day)), float("inf")


def garch(panel: Panel, horizon: int, past: int) -> tuple[Floats, Tail]:
    """GARCH(1,1) with Student-t innovations."""
    return _garch(panel, horizon, past, asymmetric=False)


def gjr(panel: Panel, horizon: int, past: int) -> tuple[Floats, Tail]:
    """GJR-GARCH with Student-t innovations."""
    return _garch(panel, horizon, past, asymmetric=True)


def _garch(panel: Panel, horizon: int, past: int, *, asymmetric: bool) -> tuple[Floats, Tail]:
    """Fitted to bars of the horizon's own size, up to a day: a day's forecast from hours would be 24 steps old."""
    width = min(horizon, panel.bars_per_day)
    steps = horizon / width
    found = np.full(len(panel.log_return), np.nan)
    # Rows of which the bars end with the day's, or every row where bars are steps.
    ends = np.arange(width - 1, len(panel.log_return), width)
    if width > 1:
        require(len(panel.open_time_ns) > 1, Reason.SHORT_HISTORY, "one bar has no length")
        step_ns = int(panel.open_time_ns[1] - panel.open_time_ns[0])
        ends = np.flatnonzero((panel.open_time_ns // step_ns + 1) % width == 0)
        ends = ends[ends >= width - 1]
    r = np.array([panel.log_return[end - width + 1 : end + 1].sum() for end in ends])
    learnt = r[ends < past][-GARCH_ROWS:]
    fit = fit_garch(learnt[np.isfinite(learnt)], asymmetric=asymmetric).parameters
    variance = garch_filter(fit, r, backcast(learnt))
    left = fit.persistence
    ahead = variance * steps
    if steps > 1 and left < 1 - 1e-9:
        # The sum of the forecasts of steps 1 to n: what is above the long run decays by the persistence.
        long_run = fit.unconditional
        ahead = steps * long_run + (variance - long_run) * (1 - left**steps) / (1 - left)
    at = np.searchsorted(ends, np.arange(len(found)), side="right") - 1
    known = at >= 0
    found[known] = ahead[at[known]]
    return found, fit.nu


def har(panel: Panel, horizon: int, past: int) -> tuple[Floats, Tail]:
    """Log HAR: least squares of the log variance ahead on those of the last hour, day, week and month."""
    columns = [panel.names.index(name) for name in HAR_FEATURES]
    design = np.column_stack([np.ones(len(panel.feature)), panel.feature[:, columns]])
    ahead = panel.variance_ahead(horizon)
    target = np.log(np.maximum(ahead, LEAST_VARIANCE * horizon))
    rows = np.flatnonzero(np.isfinite(design).all(axis=1) & np.isfinite(target) & (np.arange(len(target)) < past))
    require(len(rows) >= MIN_ROWS, Reason.SHORT_HISTORY, f"{len(rows)} rows to learn from, {MIN_ROWS} are needed")
    coefficients, *_ = np.linalg.lstsq(design[rows], target[rows], rcond=None)
    forecast = np.exp(design @ coefficients)
    # Of a log forecast the mean is too low; what it was too low by in the past, not by an assumed distribution.
    scale = float(np.mean(ahead[rows] / forecast[rows]))
    return np.asarray(forecast * scale), OWN_RESIDUALS


def implied(panel: Panel, horizon: int, past: int) -> tuple[Floats, Tail]:
    """Implied variance, scaled to what was realised: options carry a premium."""
    quoted = np.exp(2.0 * panel.feature[:, panel.names.index("implied")])
    ahead = panel.variance_ahead(horizon)
    rows = np.isfinite(quoted) & np.isfinite(ahead) & (np.arange(len(ahead)) < past)
    require(int(rows.sum()) >= MIN_ROWS, Reason.NO_QUOTES, f"{int(rows.sum())} bars with a quoted implied volatility")
    return np.asarray(quoted * float(ahead[rows].sum() / quoted[rows].sum())), OWN_RESIDUALS


BASELINES: Final[dict[str, Forecast]] = {
    "EWMA": ewma,
    "GARCH-t": garch,
    "GJR-t": gjr,
    "HAR": har,
    "implied": implied,
}
