"""Maximum likelihood for GARCH(1,1) and GJR-GARCH with standardised Student-t innovations.

The first variance is a backcast, an exponentially weighted mean of the first squares, taken through one step of the
recursion; bounds and constraints (positive variances, persistence <= 1) are those of the `arch` package, so that the
two maximise the same function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from scipy.special import gammaln

from risk.volatility.garch import Coefficients, GarchBank, GarchParameters, recursion
from risk.volatility.refusals import MIN_VARIANCE, EstimateError, Floats, Reason, clipped, require, series

MIN_OBSERVATIONS: Final = 250
TARGETED_OBSERVATIONS: Final = 20
MIN_OBSERVED_SHARE: Final = 0.5
BACKCAST_BARS: Final = 75
BACKCAST_DECAY: Final = 0.94
# A search that stopped for want of precision is believed if another from its end gains less likelihood than this.
AGREEMENT: Final = 1e-3
FOLLOWED: Final = 4
NU_BOUNDS: Final = (2.05, 500.0)
# alpha, gamma, beta, from which a search starts; the best FOLLOWED by likelihood are followed.
STARTS: Final = (
    (0.05, 0.0, 0.90), (0.10, 0.0, 0.85), (0.02, 0.0, 0.97), (0.15, 0.0, 0.60), (0.03, 0.08, 0.90), (0.20, 0.0, 0.79),
    (0.02, 0.0, 0.20), (0.04, -0.03, 0.10), (0.05, -0.04, 0.90),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GarchFit:
    """A fit: its log likelihood over `observations`, and the variance forecast for the bar after the last."""

    parameters: GarchParameters
    log_likelihood: float
    observations: int
    next_variance: float

    def bank(self) -> GarchBank:
        """A bank of this one underlying that goes on where the history ends."""
        return GarchBank([self.parameters], np.array([self.next_variance]))


def backcast(log_return: Floats) -> float:
    """An exponentially weighted mean of the first squares, the earliest weighing most."""
    squares = log_return[np.isfinite(log_return)][:BACKCAST_BARS] ** 2
    weights = BACKCAST_DECAY ** np.arange(len(squares))
    return float(squares @ (weights / weights.sum()))


def log_likelihood(parameters: GarchParameters, log_return: Floats) -> float:
    """Log likelihood of a history's returns [T]; those that are missing (NaN) move the variance only.

    Raises EstimateError (SHORT_HISTORY) without a return.
    """
    r = clipped(series(log_return, "log_return"))
    require(bool(np.isfinite(r).any()), Reason.SHORT_HISTORY, "no return")
    variances, _ = _variances(parameters, r, backcast(r))
    return _student_t(r, variances, parameters.nu)


def _variances(p: Coefficients, r: Floats, start: float) -> tuple[Floats, float]:
    """The variance forecast for each bar [T], and that for the bar after the last."""
    first = p.omega + (p.alpha + p.gamma / 2 + p.beta) * start
    after = recursion(p, r, first)
    return np.concatenate([[first], after[:-1]]), float(after[-1])


def _student_t(r: Floats, variance: Floats, nu: float) -> float:
    """Log density of returns under a Student-t of variance one, scaled; summed over those that are there."""
    there = np.isfinite(r)
    r, variance = r[there], variance[there]
    constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(np.pi * (nu - 2))
    tail = np.log1p(r * r / (variance * (nu - 2)))
    return float(len(r) * constant - 0.5 * np.log(variance).sum() - 0.5 * (nu + 1) * tail.sum())


def fit_garch(log_return: Floats, *, asymmetric: bool = False) -> GarchFit:
    """GARCH(1,1)-t, or GJR-GARCH-t if `asymmetric`, of a history's returns per bar [T] (NaN: none).

    Deterministic. Raises EstimateError: SHORT_HISTORY, MOSTLY_MISSING, CONSTANT, NOT_CONVERGED.
    """
    r = _fittable(log_return)
    scale = float(np.sqrt(np.nanmean(r * r)))
    y = r / scale
    start = backcast(y)
    best = _search(y, start, asymmetric)
    fitted = _parameters(best.x, asymmetric)
    found = GarchParameters(fitted.omega * scale**2, fitted.alpha, fitted.gamma, fitted.beta, fitted.nu)
    _, after = _variances(fitted, y, start)
    observed = int(np.isfinite(r).sum())
    likelihood = -float(best.fun) * len(y) - observed * float(np.log(scale))
    return GarchFit(found, likelihood, observed, after * scale**2)


def targeted(shape: GarchParameters, log_return: Floats, min_observations: int = TARGETED_OBSERVATIONS) -> GarchFit:
    """The fallback for a history too short to fit: another underlying's `shape` around this one's own variance.

    omega follows from the mean square of the returns [T] that there are (NaN: none). Raises EstimateError:
    SHORT_HISTORY, CONSTANT, NOT_STATIONARY (a shape without a long-run variance).
    """
    r = clipped(series(log_return, "log_return"))
    observed = int(np.isfinite(r).sum())
    enough = observed >= max(min_observations, 1)
    require(enough, Reason.SHORT_HISTORY, f"{observed} returns, {min_observations} are needed")
    variance = float(np.nanmean(r * r))
    require(variance > 0, Reason.CONSTANT, "every return is zero")
    omega = variance * shape.omega / shape.unconditional
    parameters = GarchParameters(omega, shape.alpha, shape.gamma, shape.beta, shape.nu)
    _, after = _variances(parameters, r, backcast(r))
    return GarchFit(parameters, log_likelihood(parameters, r), observed, after)


def _fittable(log_return: Floats) -> Floats:
    r = clipped(series(log_return, "log_return"))
    there = np.flatnonzero(np.isfinite(r))
    enough = len(there) >= MIN_OBSERVATIONS
    require(enough, Reason.SHORT_HISTORY, f"{len(there)} returns, {MIN_OBSERVATIONS} are needed")
    r = r[there[0] : there[-1] + 1]
    share = len(there) / len(r)
    text = f"{share:.0%} of the bars have a return, {MIN_OBSERVED_SHARE:.0%} are needed"
    require(share >= MIN_OBSERVED_SHARE, Reason.MOSTLY_MISSING, text)
    moving = int(np.count_nonzero(r[np.isfinite(r)]))
    require(moving >= MIN_OBSERVATIONS // 2, Reason.CONSTANT, f"the price changes in {moving} bars only")
    spread = float(np.nanmax(r) - np.nanmin(r))
    require(spread > 1e-9 * float(np.nanmax(np.abs(r))), Reason.CONSTANT, "every return is the same")
    return r


def _parameters(x: Floats, asymmetric: bool) -> GarchParameters:
    """Parameters from where the search ends, put back inside the constraints that it oversteps in the last digits."""
    omega, alpha, beta, nu = max(float(x[0]), 1e-12), max(float(x[1]), 0.0), max(float(x[2]), 0.0), float(x[3])
    gamma = max(float(x[4]), -alpha) if asymmetric else 0.0
    over = max(alpha + gamma / 2 + beta, 1.0)
    return GarchParameters(omega, alpha / over, gamma / over, beta / over, min(max(nu, NU_BOUNDS[0]), NU_BOUNDS[1]))


class _Trial(NamedTuple):
    """What a search tries: it may leave the constraints by a hair, which keeps the likelihood smooth at them."""

    omega: float
    alpha: float
    beta: float
    nu: float
    gamma: float


def _search(y: Floats, start: float, asymmetric: bool) -> OptimizeResult:
    """The best of the searches from the best starts: of returns without clusters the likelihood has several tops."""

    def loss(x: Floats) -> float:
        trial = _Trial(float(x[0]), float(x[1]), float(x[2]), float(x[3]), float(x[4]) if asymmetric else 0.0)
        variances, _ = _variances(trial, y, start)
        # A step may overstep alpha + gamma >= 0 in the last digits; the likelihood stays a number there.
        return -_student_t(y, np.maximum(variances, MIN_VARIANCE), trial.nu) / len(y)

    starts = [
        np.array([max(1 - a - g / 2 - b, 0.005), a, b, nu, g][: 5 if asymmetric else 4])
        for a, g, b in STARTS
        for nu in (4.0, 10.0)
        if asymmetric or g == 0
    ]
    found = [_descend(loss, x, asymmetric) for x in sorted(starts, key=loss)[:FOLLOWED]]
    best = min(found, key=lambda result: float(result.fun))
    if best.success:
        return best
    again = _descend(loss, best.x, asymmetric)
    gained = (float(best.fun) - float(again.fun)) * len(y)
    if not gained < AGREEMENT:
        raise EstimateError(Reason.NOT_CONVERGED, f"the search goes on without an end: {again.message}")
    return again if gained > 0 else best


def _descend(loss: object, x: Floats, asymmetric: bool) -> OptimizeResult:
    bounds = [(1e-8, 10.0), (0.0, 1.0), (0.0, 1.0), NU_BOUNDS, (-1.0, 2.0)][: len(x)]
    half = np.array([0.0, 1.0, 1.0, 0.0, 0.5][: len(x)])
    constraints = [{"type": "ineq", "fun": lambda v: 1.0 - half @ v}]
    if asymmetric:
        constraints.append({"type": "ineq", "fun": lambda v: v[1] + v[4]})
    options = {"maxiter": 300, "ftol": 1e-12}
    # Central differences: one-sided ones are too coarse for the last digits over years of hours.
    return minimize(loss, x, method="SLSQP", jac="3-point", bounds=bounds, constraints=constraints, options=options)
