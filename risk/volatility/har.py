"""Heterogeneous autoregression in logs: log RV of the days to come on log RV of the last day, 7 days and 30 days.

Markets here have no weekend, hence 1, 7 and 30 instead of 1, 5 and 22. The forecast is the mean of a lognormal,
exp(x b + residual variance / 2). Where the last day is missing the week's mean stands for it, where most of a week is
missing the month's; with most of the month missing there is no forecast (NaN).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from risk.volatility.bars import BarRules
from risk.volatility.realised import MIN_SHARE, DayBank
from risk.volatility.refusals import MAX_LOG_RETURN, Floats, Ints, Reason, require, series

WEEK: Final = 7
MONTH: Final = 30
MIN_DAYS: Final = 120
# Of the days of a window, how many have to be there.
WINDOW_SHARE: Final = 2 / 3
# Per day: a realised variance of less, a hundredth of a basis point squared, has no log that means anything.
MIN_DAY_VARIANCE: Final = 1e-12
# A day of minutes all of which moved by MAX_LOG_RETURN.
MAX_DAY_VARIANCE: Final = 1440 * MAX_LOG_RETURN**2
MAX_LOG: Final = 60.0


@dataclass(frozen=True, slots=True)
class HarParameters:
    """Coefficients of one, the last day, week and month; variance of the residuals; how many days ahead."""

    intercept: float
    day: float
    week: float
    month: float
    residual_variance: float
    horizon_days: int = 1

    def __post_init__(self) -> None:
        numbers = [self.intercept, self.day, self.week, self.month, self.residual_variance]
        good = bool(np.all(np.isfinite(numbers))) and self.residual_variance >= 0 and self.horizon_days >= 1
        require(good, Reason.BAD_PARAMETER, f"no coefficients: {self}")


@dataclass(frozen=True, slots=True)
class HarFit:
    """A fit over `days` days with the share of the variance of log RV that it explains."""

    parameters: HarParameters
    days: int
    r_squared: float


def window_mean(days: Floats, fallback: Floats) -> Floats:
    """Means over the last axis of what is there; `fallback` where that is less than WINDOW_SHARE of it."""
    there = np.isfinite(days)
    count = there.sum(axis=-1)
    mean = np.where(there, days, 0.0).sum(axis=-1) / np.maximum(count, 1)
    return np.where(count >= WINDOW_SHARE * days.shape[-1], mean, fallback)


def usable_days(day_variance: object) -> Floats:
    """Days as they are used: what is negative or no number is missing, what is above MAX_DAY_VARIANCE is that."""
    days = np.asarray(day_variance, dtype=np.float64)
    usable = np.isfinite(days) & (days >= 0)
    return np.where(usable, np.minimum(days, MAX_DAY_VARIANCE), np.nan)


def har_features(day_variance: Floats) -> Floats:
    """log RV of the last day, week and month [D, 3] as known at the end of each day; NaN before a month is over."""
    days = usable_days(series(day_variance, "day_variance"))
    features = np.full((len(days), 3), np.nan)
    if len(days) < MONTH:
        return features
    windows = np.lib.stride_tricks.sliding_window_view(days, MONTH)
    features[MONTH - 1 :] = _features(windows)
    return features


def _features(windows: Floats) -> Floats:
    """Features [..., 3] of windows of a month [..., 30], latest day last."""
    month = window_mean(windows, np.full(windows.shape[:-1], np.nan))
    week = window_mean(windows[..., -WEEK:], month)
    day = np.where(np.isfinite(windows[..., -1]), windows[..., -1], week)
    features: Floats = np.log(np.maximum(np.stack([day, week, month], axis=-1), MIN_DAY_VARIANCE))
    return features


def fit_har(day_variance: Floats, horizon_days: int = 1, min_days: int = MIN_DAYS) -> HarFit:
    """Least squares of the log of the mean RV of the next `horizon_days` days.

    Raises EstimateError: BAD_PARAMETER, SHORT_HISTORY (days of which features and target are known), CONSTANT.
    """
    require(horizon_days >= 1, Reason.BAD_PARAMETER, f"a horizon of {horizon_days} days")
    days = usable_days(series(day_variance, "day_variance"))
    enough = len(days) >= MONTH + horizon_days
    require(enough, Reason.SHORT_HISTORY, f"{len(days)} days, {min_days} are needed beside a month to start from")
    features = har_features(days)[: len(days) - horizon_days]
    ahead = np.lib.stride_tricks.sliding_window_view(days[1:], horizon_days).mean(axis=1)
    there = np.isfinite(features).all(axis=1) & np.isfinite(ahead)
    enough = int(there.sum()) >= min_days
    require(enough, Reason.SHORT_HISTORY, f"{int(there.sum())} days to learn from, {min_days} are needed")
    target = np.log(np.maximum(ahead[there], MIN_DAY_VARIANCE))
    spread = float(target.var())
    require(spread > 1e-18, Reason.CONSTANT, "the realised variance is the same every day")
    design = np.column_stack([np.ones(len(target)), features[there]])
    coefficients, *_ = np.linalg.lstsq(design, target, rcond=None)
    residual = target - design @ coefficients
    variance = float(residual @ residual) / max(len(target) - 4, 1)
    b = [float(value) for value in coefficients]
    parameters = HarParameters(b[0], b[1], b[2], b[3], variance, horizon_days)
    return HarFit(parameters, len(target), 1.0 - float(residual.var()) / spread)


def har_filter(parameters: HarParameters, day_variance: Floats) -> Floats:
    """Forecast mean daily variance of the days ahead [D], each from days up to its own."""
    p = parameters
    features = har_features(day_variance)
    log_mean = p.intercept + features @ np.array([p.day, p.week, p.month]) + p.residual_variance / 2
    return np.asarray(np.exp(np.clip(log_mean, -MAX_LOG, MAX_LOG)))


class HarBank:
    """Forecasts of underlyings on one clock, each with parameters of its own; bars in, a new forecast as a day ends."""

    def __init__(self, parameters: Sequence[HarParameters], rules: BarRules, min_share: float = MIN_SHARE) -> None:
        self.size, self.parameters = len(parameters), tuple(parameters)
        self._days = DayBank(self.size, rules, min_share)
        self._window = np.full((self.size, MONTH), np.nan)
        self._told = 0
        table = [[p.day, p.week, p.month] for p in parameters]
        self._slopes = np.array(table, dtype=np.float64).reshape(-1, 3)
        self._constant = np.array([p.intercept + p.residual_variance / 2 for p in parameters])
        self._variance = np.full(self.size, np.nan)

    def update(self, open_time_ns: int, log_return: Floats, span: Ints) -> Floats:
        """Takes one bar's returns and spans [n]; mean daily variance of the days ahead [n], NaN if not known.

        Raises EstimateError: UNORDERED, OFF_GRID, BAD_SHAPE.
        """
        for variance in self._days.update(open_time_ns, log_return, span):
            self.update_day(variance)
        return self.variance

    def update_day(self, variance: Floats) -> Floats:
        """Takes a day's realised variances [n] (NaN: none), from whatever source; the forecasts [n]."""
        self._window = np.concatenate([self._window[:, 1:], usable_days(variance)[:, None]], axis=1)
        self._told += 1
        if self._told >= MONTH:
            log_mean = self._constant + (_features(self._window) * self._slopes).sum(axis=-1)
            self._variance = np.exp(np.clip(log_mean, -MAX_LOG, MAX_LOG))
        return self.variance

    @property
    def variance(self) -> Floats:
        """Mean daily variance of the days ahead [n]; NaN if not known."""
        return self._variance.copy()

    def variance_of(self, underlying: int) -> float:
        """One underlying's mean daily variance of the days ahead.

        Raises EstimateError (SHORT_HISTORY).
        """
        value = float(self._variance[underlying])
        there = int(np.isfinite(self._window[underlying]).sum())
        require(np.isfinite(value), Reason.SHORT_HISTORY, f"{there} of the last {MONTH} days have a realised variance")
        return value
