"""Which of two forecasts was better: QLIKE of variances, pinball of quantiles, Diebold and Mariano's test of both."""

from __future__ import annotations

from math import sqrt

import msgspec
import numpy as np
from scipy.special import stdtr

from risk.volatility.refusals import Floats, Reason, require


def qlike(realised: Floats, forecast: Floats) -> Floats:
    """realised/forecast - log(realised/forecast) - 1 of variances [T]: zero where exact (Patton 2011).

    Raises EstimateError: BAD_SHAPE, BAD_PARAMETER where one is not positive.
    """
    realised, forecast = _same(realised, forecast)
    good = bool((realised > 0).all() and (forecast > 0).all())
    require(good, Reason.BAD_PARAMETER, "a variance is not positive")
    ratio = realised / forecast
    return np.asarray(ratio - np.log(ratio) - 1.0)


def pinball(realised: Floats, quantile: Floats, probability: float) -> Floats:
    """(p - [y < q]) (y - q): the loss that the p-quantile q of y [T] minimises."""
    realised, quantile = _same(realised, quantile)
    require(0 < probability < 1, Reason.BAD_PARAMETER, f"probability {probability}")
    return np.asarray((probability - (realised < quantile)) * (realised - quantile))


class DieboldMariano(msgspec.Struct, frozen=True):
    """`statistic` below zero: the first forecast lost less. `p_value`: of that, one-sided, under equal accuracy."""

    statistic: float
    p_value: float
    mean_difference: float
    days: int


def diebold_mariano(loss: Floats, other_loss: Floats, horizon: int = 1) -> DieboldMariano:
    """Test whether `loss` [T] is below `other_loss` [T], of forecasts `horizon` steps ahead.

    Variance by Newey and West with horizon - 1 + T^(1/3) lags (overlapping horizons, and losses that cluster);
    Harvey, Leybourne and Newbold's (1997) small-sample factor and Student's t. Raises EstimateError: BAD_SHAPE,
    SHORT_HISTORY (under 30 losses), BAD_PARAMETER, CONSTANT (no difference at all).
    """
    loss, other_loss = _same(loss, other_loss)
    require(horizon >= 1, Reason.BAD_PARAMETER, f"a horizon of {horizon}")
    size = len(loss)
    require(size >= max(30, 2 * horizon), Reason.SHORT_HISTORY, f"{size} losses to compare")
    difference = loss - other_loss
    mean = float(difference.mean())
    centred = difference - mean
    lags = min(horizon - 1 + int(np.ceil(size ** (1 / 3))), size - 1)
    variance = float(centred @ centred) / size
    for lag in range(1, lags + 1):
        covariance = float(centred[lag:] @ centred[:-lag]) / size
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * covariance
    require(variance > 0, Reason.CONSTANT, "the two forecasts never differ")
    small = sqrt(max(size + 1 - 2 * horizon + horizon * (horizon - 1) / size, 1.0) / size)
    statistic = small * mean / sqrt(variance / size)
    return DieboldMariano(statistic, float(stdtr(size - 1, statistic)), mean, size)


def _same(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    require(one.ndim == 1 and one.shape == other.shape, Reason.BAD_SHAPE, f"{one.shape} and {other.shape}")
    require(bool(np.isfinite(one).all() and np.isfinite(other).all()), Reason.MOSTLY_MISSING, "a value is no number")
    return one, other
