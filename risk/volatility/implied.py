"""Variance that option marks imply, at constant maturity, and how it is scaled to what is then realised.

Per expiry: twice the integral of out-of-the-money option prices over squared strikes (the variance swap's static
replication, as in Cboe's VIX), with prices from the venue's mark vols, interpolated over log-moneyness and flat
beyond the last strikes. Between expiries: total variance is linear in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from scipy.special import ndtr

from risk.volatility.bars import DAY_NS, HOUR_NS
from risk.volatility.refusals import MIN_VARIANCE, Floats, Reason, per_underlying, require, series

YEAR_NS: Final = 365 * DAY_NS
MATURITY_NS: Final = 30 * DAY_NS
# An expiry nearer than this is priced by its settlement's averaging, not by volatility.
MIN_EXPIRY_NS: Final = 12 * HOUR_NS
# Without an expiry on both sides the nearest stands for the maturity, if it is within this factor of it.
MAX_MATURITY_RATIO: Final = 4.0
MAX_VOL: Final = 10.0
MIN_STRIKES: Final = 3
GRID: Final = np.linspace(-8.0, 8.0, 641)
MIN_PAIRS: Final = 60
MAX_AGE_NS: Final = DAY_NS


@dataclass(frozen=True, slots=True)
class OptionMark:
    """An option as its venue marks it: the forward of its expiry and a vol per year (0.6 is 60 %)."""

    expiry_ns: int
    strike: float
    forward: float
    vol: float

    @property
    def usable(self) -> bool:
        """Whether its numbers are finite and within bounds."""
        finite = bool(np.isfinite([self.strike, self.forward, self.vol]).all())
        return finite and self.strike > 0 and self.forward > 0 and 0 < self.vol <= MAX_VOL


def smile_variance(strike: Floats, vol: Floats, forward: float, years: float) -> float:
    """Variance per year that one expiry's marks imply; strikes ascend.

    With strikes on one side of the forward only, or less than three, it is the squared vol nearest to the forward.
    """
    moneyness = np.log(strike / forward)
    if len(strike) < MIN_STRIKES or moneyness[0] > 0 or moneyness[-1] < 0:
        return float(vol[np.argmin(np.abs(moneyness))] ** 2)
    k = GRID * float(vol.max()) * np.sqrt(years)
    deviation = np.interp(k, moneyness, vol) * np.sqrt(years)
    d2 = -k / deviation - deviation / 2
    call = np.exp(-k) * ndtr(d2 + deviation) - ndtr(d2)
    put = ndtr(-d2) - np.exp(-k) * ndtr(-d2 - deviation)
    return float(2 / years * np.trapezoid(np.where(k > 0, call, put), k))


def implied_variance(marks: Iterable[OptionMark], now_ns: int, maturity_ns: int = MATURITY_NS) -> float:
    """Variance per year at a constant maturity. Marks that are expired, nearly so or no numbers are left out.

    Raises EstimateError: NO_QUOTES, NO_MATURITY, BAD_PARAMETER.
    """
    require(maturity_ns > 0, Reason.BAD_PARAMETER, f"a maturity of {maturity_ns} ns")
    near_ns = now_ns + MIN_EXPIRY_NS
    kept = sorted((m.expiry_ns, m.strike, m.vol, m.forward) for m in marks if m.usable and m.expiry_ns >= near_ns)
    require(bool(kept), Reason.NO_QUOTES, "no mark that is a number and far enough from its expiry")
    left, variances = [], []
    for expiry_ns, group in groupby(kept, key=lambda row: row[0]):
        _, strike, vol, forward = (np.array(column, dtype=np.float64) for column in zip(*group))
        left.append((expiry_ns - now_ns) / YEAR_NS)
        # A call and a put of a strike are marked alike; where not, the strike counts with their mean.
        strikes, place = np.unique(strike, return_inverse=True)
        vols = np.bincount(place, weights=vol) / np.bincount(place)
        variances.append(smile_variance(strikes, vols, float(np.median(forward)), left[-1]))
    return _at_maturity(np.array(left), np.array(variances), maturity_ns / YEAR_NS)


def _at_maturity(years: Floats, variance: Floats, target: float) -> float:
    """Interpolates total variance; beyond the first and last expiry the variance per year stays."""
    nearest = float(years[np.argmin(np.abs(np.log(years / target)))])
    ratio = max(nearest / target, target / nearest)
    bracketed = years[0] <= target <= years[-1]
    text = f"the nearest expiry is {nearest * 365:.1f} days away, the maturity {target * 365:.1f}"
    require(bracketed or ratio <= MAX_MATURITY_RATIO, Reason.NO_MATURITY, text)
    if not bracketed:
        return float(variance[0] if target < years[0] else variance[-1])
    return float(np.interp(target, years, years * variance) / target)


@dataclass(frozen=True, slots=True)
class ImpliedScaling:
    """log realised = intercept + slope log implied, both per year; implied variance holds a premium over realised."""

    intercept: float = 0.0
    slope: float = 1.0
    residual_variance: float = 0.0


def fit_implied(implied: Floats, realised: Floats) -> ImpliedScaling:
    """Least squares over pairs [T] of an implied variance and the one realised after it, both per year; NaN: none.

    Raises EstimateError: SHORT_HISTORY, BAD_SHAPE. Where the implied variance never changes the slope stays 1.
    """
    x, y = series(implied, "implied"), series(realised, "realised")
    require(len(x) == len(y), Reason.BAD_SHAPE, f"{len(x)} implied variances and {len(y)} realised")
    there = np.isfinite(x) & np.isfinite(y) & (x > 0)
    count = int(there.sum())
    require(count >= MIN_PAIRS, Reason.SHORT_HISTORY, f"{count} pairs, {MIN_PAIRS} are needed")
    x, y = np.log(x[there]), np.log(np.maximum(y[there], MIN_VARIANCE))
    spread = float(x.var())
    slope = float(np.mean((x - x.mean()) * (y - y.mean()))) / spread if spread > 1e-12 else 1.0
    intercept = float(y.mean() - slope * x.mean())
    residual = y - intercept - slope * x
    return ImpliedScaling(intercept, slope, float(residual @ residual) / max(count - 2, 1))


class ImpliedBank:
    """The last implied variance of each of `size` underlyings, scaled to realised, until it is too old."""

    def __init__(self, size: int, scaling: ImpliedScaling | None = None, max_age_ns: int = MAX_AGE_NS) -> None:
        self.size, self.max_age_ns = size, max_age_ns
        self.scaling = scaling or ImpliedScaling()
        self._implied, self._seen_ns = np.full(size, np.nan), np.zeros(size, np.int64)
        self._now_ns = -1

    def update(self, now_ns: int, implied: Floats) -> Floats:
        """Takes implied variances per year [size], NaN or not positive where there are none; `variance` then.

        Raises EstimateError (UNORDERED, BAD_SHAPE).
        """
        implied = per_underlying(implied, self.size, "implied")
        require(now_ns >= self._now_ns, Reason.UNORDERED, f"{now_ns} ns is before {self._now_ns} ns")
        self._now_ns = now_ns
        usable = np.isfinite(implied) & (implied > 0)
        self._implied = np.where(usable, implied, self._implied)
        self._seen_ns = np.where(usable, now_ns, self._seen_ns)
        return self.variance

    @property
    def variance(self) -> Floats:
        """Expected realised variance per year [size]; NaN where the implied one is older than `max_age_ns`."""
        fresh = self._now_ns - self._seen_ns <= self.max_age_ns
        return _scaled(np.where(fresh, self._implied, np.nan), self.scaling)

    def variance_of(self, underlying: int) -> float:
        """One underlying's expected realised variance per year.

        Raises EstimateError: NO_QUOTES, STALE.
        """
        require(bool(np.isfinite(self._implied[underlying])), Reason.NO_QUOTES, "no implied variance was seen")
        age_ns = self._now_ns - int(self._seen_ns[underlying])
        require(age_ns <= self.max_age_ns, Reason.STALE, f"the implied variance is {age_ns} ns old")
        return float(self.variance[underlying])


def _scaled(implied: Floats, scaling: ImpliedScaling) -> Floats:
    log_mean = scaling.intercept + scaling.slope * np.log(implied) + scaling.residual_variance / 2
    return np.maximum(np.exp(np.clip(log_mean, -60.0, 60.0)), MIN_VARIANCE)


def implied_filter(
    now_ns: Floats, implied: Floats, scaling: ImpliedScaling | None = None, max_age_ns: int = MAX_AGE_NS
) -> Floats:
    """What ImpliedBank says after each element of a history [T]: times in ns, ascending, and implied variances.

    Raises EstimateError: UNORDERED, BAD_SHAPE.
    """
    times, implied = np.asarray(now_ns, dtype=np.int64), series(implied, "implied")
    require(times.shape == implied.shape, Reason.BAD_SHAPE, "times and implied variances differ in length")
    require(bool(np.all(np.diff(times) >= 0)), Reason.UNORDERED, "times do not ascend")
    usable = np.isfinite(implied) & (implied > 0)
    last = np.maximum.accumulate(np.where(usable, np.arange(len(times)), -1))
    held = np.where(last >= 0, implied[last], np.nan) if len(times) else implied
    fresh = times - times[last] <= max_age_ns if len(times) else usable
    return _scaled(np.where(fresh & (last >= 0), held, np.nan), scaling or ImpliedScaling())
