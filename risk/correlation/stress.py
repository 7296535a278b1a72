"""Correlations moved to the end that is worse for who holds the positions.

Both ends are correlation matrices themselves, and a mixture of such is one: no projection is needed.
"""

from __future__ import annotations

import numpy as np

from risk.volatility.refusals import Floats, Reason, per_underlying, require


def stressed(correlation: Floats, exposures: Floats, share: float) -> Floats:
    """`share` of the way to where every pair adds: +1 between exposures of one sign, -1 between opposite ones.

    `exposures` [n]: signed, in units of risk (delta x price x volatility); only signs matter, zero moves towards 0.
    The variance of the positions never falls. Raises EstimateError: BAD_PARAMETER, BAD_SHAPE.
    """
    size = _checked(correlation, share)
    exposures = per_underlying(exposures, size, "exposures")
    require(bool(np.isfinite(exposures).all()), Reason.BAD_PARAMETER, "an exposure is no number")
    sign = np.sign(exposures)
    worst = np.outer(sign, sign)
    np.fill_diagonal(worst, 1.0)
    return (1 - share) * correlation + share * worst


def stressed_ends(correlation: Floats, share: float) -> tuple[Floats, Floats]:
    """(low, high) without knowing positions: `share` of the way to what n underlyings can have at the least and most.

    That is -1/(n - 1) between all of them, and +1. Raises EstimateError: BAD_PARAMETER, BAD_SHAPE.
    """
    size = _checked(correlation, share)
    least = np.full((size, size), -1.0 / max(size - 1, 1))
    np.fill_diagonal(least, 1.0)
    return (1 - share) * correlation + share * least, (1 - share) * correlation + share * np.ones((size, size))


def _checked(correlation: Floats, share: float) -> int:
    square = correlation.ndim == 2 and correlation.shape[0] == correlation.shape[1]
    require(square, Reason.BAD_SHAPE, f"correlations of shape {correlation.shape}")
    require(0 <= share <= 1, Reason.BAD_PARAMETER, f"a share of {share} is not within 0 and 1")
    return len(correlation)
