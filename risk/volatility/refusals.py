"""Why an estimate is not given: a reason that code can tell apart and a text that a person can read."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A log return beyond this (a factor of 7e10 within a bar) counts as this: large, and its square still a number.
MAX_LOG_RETURN: Final = 25.0
# Per bar: a volatility of a hundredth of a basis point. Below it a market is not calm but not trading.
MIN_VARIANCE: Final = 1e-12


class Reason(StrEnum):
    """What is wrong with the data or the parameters."""

    SHORT_HISTORY = "short history"
    CONSTANT = "constant"
    MOSTLY_MISSING = "mostly missing"
    UNORDERED = "unordered"
    OFF_GRID = "off grid"
    TOO_LARGE = "too large"
    UNDECLARED_SPLIT = "undeclared split"
    BAD_PARAMETER = "bad parameter"
    BAD_SHAPE = "bad shape"
    NOT_CONVERGED = "not converged"
    NOT_STATIONARY = "not stationary"
    NO_QUOTES = "no quotes"
    NO_MATURITY = "no maturity"
    STALE = "stale"


class EstimateError(ValueError):
    """An estimate that is refused: `reason` for code, `text` for people."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(f"{reason.value}: {text}")
        self.reason, self.text = reason, text


def require(good: bool, reason: Reason, text: str) -> None:
    """Raises EstimateError unless `good`."""
    if not good:
        raise EstimateError(reason, text)


def series(values: object, name: str) -> Floats:
    """One-dimensional floats of whatever was given.

    Raises EstimateError (BAD_SHAPE) for anything else.
    """
    array = np.asarray(values, dtype=np.float64)
    require(array.ndim == 1, Reason.BAD_SHAPE, f"{name} has {array.ndim} dimensions, not one")
    return array


def per_underlying(values: object, size: int, name: str) -> Floats:
    """Floats, one for each of `size` underlyings; a single number is given to all.

    Raises EstimateError (BAD_SHAPE) for another shape.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0:
        array = np.full(size, array)
    require(array.shape == (size,), Reason.BAD_SHAPE, f"{name} has shape {array.shape}, not ({size},)")
    return array.copy()


def clipped(log_return: Floats) -> Floats:
    """Log returns within +-MAX_LOG_RETURN; infinities are no observations and become NaN."""
    finite = np.where(np.isfinite(log_return), log_return, np.nan)
    return np.clip(finite, -MAX_LOG_RETURN, MAX_LOG_RETURN)
