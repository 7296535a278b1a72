"""Dynamic conditional correlation: Q <- (1 - a - b) S + a E[z z'] + b Q, R = Q scaled to a unit diagonal.

z are returns over their own volatility's forecast. a and b maximise the composite likelihood of neighbouring pairs,
whose cost grows with the number of underlyings and not with its cube; of two underlyings it is the likelihood itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize

from risk.correlation.matrices import correlation_of, expected_outer, panel
from risk.volatility.refusals import EstimateError, Floats, Reason, clipped, per_underlying, require

MIN_OBSERVATIONS: Final = 250
MAX_PERSISTENCE: Final = 0.9995
STARTS: Final = ((0.02, 0.95), (0.05, 0.90), (0.01, 0.70))
# |r12| is kept this far from 1, where a pair's density is not a number.
MARGIN: Final = 1e-9


@dataclass(frozen=True, slots=True)
class DccParameters:
    """News `a`, persistence `b`, and the correlations [n, n] that Q returns to."""

    a: float
    b: float
    target: Floats

    def __post_init__(self) -> None:
        good = bool(np.isfinite([self.a, self.b]).all()) and self.a >= 0 and self.b >= 0 and self.a + self.b < 1
        require(good, Reason.BAD_PARAMETER, f"a {self.a} and b {self.b} leave no correlation to return to")
        square = self.target.ndim == 2 and self.target.shape[0] == self.target.shape[1]
        require(square, Reason.BAD_SHAPE, f"a target of shape {self.target.shape}")


@dataclass(frozen=True, slots=True)
class DccFit:
    """A fit and the mean log likelihood of a pair over all bars."""

    parameters: DccParameters
    log_likelihood: float


class DccBank:
    """Q and R of underlyings, updated by one bar's standardised returns at a time."""

    def __init__(self, parameters: DccParameters) -> None:
        self.parameters, self.size = parameters, len(parameters.target)
        self._q = parameters.target.copy()

    def update(self, standardised: Floats) -> None:
        """Takes standardised returns [n] (NaN: none; what is missing is expected by the correlation as it stands)."""
        z = clipped(per_underlying(standardised, self.size, "standardised"))
        p = self.parameters
        expected = self.correlation if np.isnan(z).any() else self._q
        self._q = (1 - p.a - p.b) * p.target + p.a * expected_outer(z, expected) + p.b * self._q

    @property
    def correlation(self) -> Floats:
        """Correlations of the next bar [n, n]."""
        return correlation_of(self._q)


def dcc_filter(parameters: DccParameters, standardised: Floats) -> Floats:
    """Correlations of the bar after a history [T, n], as DccBank says; linear filtering where no return is missing.

    Raises EstimateError: BAD_SHAPE, TOO_LARGE, SHORT_HISTORY.
    """
    z, p = panel(standardised), parameters
    require(z.shape[1] == len(p.target), Reason.BAD_SHAPE, f"{z.shape[1]} columns for {len(p.target)} correlations")
    if np.isnan(z).any():
        bank = DccBank(p)
        for row in z:
            bank.update(row)
        return bank.correlation
    left = p.b ** np.arange(len(z) - 1, -1, -1, dtype=np.float64)
    news = p.a * (z * left[:, None]).T @ z
    return correlation_of(p.b ** len(z) * p.target + (1 - p.a - p.b) * left.sum() * p.target + news)


def fit_dcc(standardised: Floats, min_observations: int = MIN_OBSERVATIONS) -> DccFit:
    """a, b and the target of standardised returns [T, n]; bars of which a return is missing are left out.

    Raises EstimateError: BAD_SHAPE, TOO_LARGE, SHORT_HISTORY (whole bars), CONSTANT, NOT_CONVERGED.
    """
    z = panel(standardised)
    size = z.shape[1]
    require(size >= 2, Reason.BAD_SHAPE, "one underlying has no correlations")
    z = z[np.isfinite(z).all(axis=1)]
    enough = len(z) >= min_observations
    require(enough, Reason.SHORT_HISTORY, f"{len(z)} whole bars, {min_observations} are needed")
    scale = np.sqrt((z * z).mean(axis=0))
    require(bool(np.all(scale > 0)), Reason.CONSTANT, "an underlying does not move")
    z = z / scale
    target = correlation_of(z.T @ z)
    first, second = np.arange(size - 1), np.arange(1, size)
    pairs = np.stack([z[:, first] ** 2, z[:, second] ** 2, z[:, first] * z[:, second]])
    means = np.stack([np.ones(size - 1), np.ones(size - 1), target[first, second]])

    def loss(x: Floats) -> float:
        return -_pair_likelihood(max(float(x[0]), 0.0), max(float(x[1]), 0.0), pairs, means)

    found = [_descend(loss, np.array(start)) for start in STARTS]
    value, a, b = min(found)
    if not np.isfinite(value):
        raise EstimateError(Reason.NOT_CONVERGED, "the likelihood is no number where the search ends")
    return DccFit(DccParameters(a, b, target), -value)


def _descend(loss: object, start: Floats) -> tuple[float, float, float]:
    bound = {"type": "ineq", "fun": lambda x: MAX_PERSISTENCE - x[0] - x[1]}
    result = minimize(
        loss, start, method="SLSQP", bounds=[(0, 1), (0, 1)], constraints=[bound], options={"ftol": 1e-10}
    )
    a, b = max(float(result.x[0]), 0.0), max(float(result.x[1]), 0.0)
    over = max((a + b) / MAX_PERSISTENCE, 1.0)
    return float(result.fun), a / over, b / over


def _pair_likelihood(a: float, b: float, pairs: Floats, means: Floats) -> float:
    """Mean Gaussian log likelihood of pairs, without constants.

    `pairs`: squares and products [3, T, n - 1]; `means`: what they return to [3, n - 1].
    """
    pushed = (1 - a - b) * means[:, None, :] + a * pairs
    from scipy.signal import lfilter  # late: no start of a gateway needs what it loads

    after, _ = lfilter([1.0], [1.0, -b], pushed, axis=1, zi=b * means[:, None, :])
    q = np.concatenate([means[:, None, :], after[:, :-1]], axis=1)
    r = np.clip(q[2] / np.sqrt(q[0] * q[1]), -1 + MARGIN, 1 - MARGIN)
    free = 1 - r * r
    return float(-0.5 * np.mean(np.log(free) + (pairs[0] + pairs[1] - 2 * r * pairs[2]) / free))
