"""What the estimators share: semi-definite matrices, and outer products of returns of which some are missing."""

from __future__ import annotations

from typing import Final

import numpy as np

from risk.volatility.refusals import Floats, Reason, clipped, require

MAX_UNDERLYINGS: Final = 2_000


def panel(returns: object, minimum: int = 1) -> Floats:
    """Returns [T, n] as floats, infinities as NaN, within +-MAX_LOG_RETURN.

    Raises EstimateError: BAD_SHAPE, TOO_LARGE, SHORT_HISTORY (less than `minimum` rows).
    """
    array = np.asarray(returns, dtype=np.float64)
    require(array.ndim == 2 and array.shape[1] > 0, Reason.BAD_SHAPE, f"shape {array.shape} is not (bars, underlyings)")
    size = array.shape[1]
    require(size <= MAX_UNDERLYINGS, Reason.TOO_LARGE, f"{size} underlyings, {MAX_UNDERLYINGS} at most")
    require(len(array) >= minimum, Reason.SHORT_HISTORY, f"{len(array)} bars, {minimum} are needed")
    return clipped(array)


def semi_definite(matrix: Floats) -> Floats:
    """The symmetric matrix with negative eigenvalues put to zero; one that has none is only made symmetric."""
    symmetric = (matrix + matrix.T) / 2
    values, vectors = np.linalg.eigh(symmetric)
    if values[0] >= 0:
        return np.asarray(symmetric)
    rebuilt = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return np.asarray((rebuilt + rebuilt.T) / 2)


def correlation_of(covariance: Floats) -> Floats:
    """Correlations of a covariance. What does not move at all is correlated with nothing but itself."""
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    moves = deviation > 0
    scale = np.where(moves, deviation, 1.0)
    correlation = np.where(np.outer(moves, moves), covariance / scale[:, None] / scale[None, :], 0.0)
    np.fill_diagonal(correlation, 1.0)
    projected = semi_definite(correlation)
    diagonal = np.sqrt(np.diag(projected))
    # By one product, not by two divisions: what is symmetric stays so to the last digit.
    unit: Floats = projected / np.outer(diagonal, diagonal)
    np.fill_diagonal(unit, 1.0)
    return np.asarray(np.clip(unit, -1.0, 1.0))


def expected_outer(r: Floats, covariance: Floats) -> Floats:
    """E[r r'] given the returns that are there, for returns of mean zero and a covariance [n, n].

    What is missing (NaN) takes its conditional mean and adds its conditional covariance, so that the result is positive
    semi-definite and an update with it leaves correlations with what is missing where they are expected.
    """
    missing = np.isnan(r)
    if not missing.any():
        return np.outer(r, r)
    if missing.all():
        return covariance.copy()
    there = ~missing
    cross = covariance[np.ix_(missing, there)]
    slopes = cross @ np.linalg.pinv(covariance[np.ix_(there, there)], hermitian=True)
    filled = r.copy()
    filled[missing] = slopes @ r[there]
    outer = np.outer(filled, filled)
    outer[np.ix_(missing, missing)] += semi_definite(covariance[np.ix_(missing, missing)] - slopes @ cross.T)
    return outer
