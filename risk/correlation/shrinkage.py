"""Ledoit-Wolf shrinkage: d F + (1 - d) S, d chosen from the data to be nearest to the true covariance on average.

F is either the mean variance on the diagonal (2004) or the sample's variances with their mean correlation (2003).
Returns are taken about zero, as everywhere here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from risk.correlation.matrices import correlation_of, panel, semi_definite
from risk.volatility.refusals import Floats, Reason, require

MIN_OBSERVATIONS = 20


class Target(StrEnum):
    """What a covariance is shrunk towards."""

    IDENTITY = "identity"
    CONSTANT_CORRELATION = "constant correlation"


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A covariance per bar [n, n] and the weight of the target in it."""

    covariance: Floats
    intensity: float

    @property
    def correlation(self) -> Floats:
        """Its correlations [n, n]."""
        return correlation_of(self.covariance)


def ledoit_wolf(
    returns: Floats, target: Target = Target.CONSTANT_CORRELATION, min_observations: int = MIN_OBSERVATIONS
) -> Shrunk:
    """Shrunk covariance of a history's returns [T, n]; bars of which a return is missing are left out.

    Where nothing moves, or the sample is its own target, it is the sample covariance with an intensity of 0.
    Raises EstimateError: BAD_SHAPE, TOO_LARGE, SHORT_HISTORY (whole bars).
    """
    r = panel(returns)
    r = r[np.isfinite(r).all(axis=1)]
    enough = len(r) >= max(min_observations, 1)
    require(enough, Reason.SHORT_HISTORY, f"{len(r)} whole bars, {min_observations} are needed")
    sample = r.T @ r / len(r)
    if target is Target.IDENTITY:
        towards = np.eye(len(sample)) * (np.trace(sample) / len(sample))
        shared = 0.0
    else:
        towards, shared = _constant_correlation(r, sample)
    squares = r * r
    spread = squares.T @ squares / len(r) - sample**2
    distance = float(((sample - towards) ** 2).sum())
    negligible = distance <= 1e-20 * float((sample**2).sum())
    intensity = 0.0 if negligible else min(max((float(spread.sum()) - shared) / distance / len(r), 0.0), 1.0)
    return Shrunk(semi_definite(intensity * towards + (1 - intensity) * sample), intensity)


def _constant_correlation(r: Floats, sample: Floats) -> tuple[Floats, float]:
    """The target, and the asymptotic covariance that its entries share with the sample's (rho of the paper)."""
    size, deviation = len(sample), np.sqrt(np.diag(sample))
    moves = deviation > 0
    scale = np.where(moves, deviation, 1.0)
    count = int(moves.sum())
    correlation = sample / scale[:, None] / scale[None, :]
    mean = (float(correlation.sum()) - count) / (count * (count - 1)) if count > 1 else 0.0
    towards = mean * np.outer(deviation, deviation)
    np.fill_diagonal(towards, np.diag(sample))
    # theta[i, j]: asymptotic covariance of s_ii with s_ij; the pair's other half is its transpose.
    theta = (r**3).T @ r / len(r) - np.diag(sample)[:, None] * sample
    ratio = deviation[None, :] / scale[:, None]
    own = float(((r**4).mean(axis=0) - np.diag(sample) ** 2).sum())
    off = (theta * ratio)[~np.eye(size, dtype=np.bool_)]
    return towards, own + mean * float(off.sum())
