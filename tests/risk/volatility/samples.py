"""Returns that tests share: drawn by hypothesis, simulated from a seed, and recorded."""

from __future__ import annotations

import csv
import gzip
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from risk.volatility.bars import HOUR_NS, Bars
from risk.volatility.refusals import Floats

ROOT = Path(__file__).resolve().parents[3]
RECORDED = Path(os.environ.get("MARGINGATE_RECORDED", ROOT.parent / "shared" / "data"))
PRICES = RECORDED / "prices"
needs_recorded = pytest.mark.skipif(not PRICES.is_dir(), reason="no recorded prices (MARGINGATE_RECORDED)")

MISSING = float("nan")
ordinary = st.floats(-0.3, 0.3, allow_nan=False)
awkward = st.one_of(
    ordinary, st.just(0.0), st.just(MISSING), st.sampled_from([float("inf"), -float("inf"), 1e300, -1e300, 5.0])
)


def histories(size: int = 120, least: int = 1, values: st.SearchStrategy[float] = awkward) -> st.SearchStrategy[Floats]:
    return st.lists(values, min_size=least, max_size=size).map(np.array)


# Inputs that every estimator has to survive with a value or a refusal by name.
AWKWARD = {
    "one bar": np.array([0.01]),
    "empty": np.array([]),
    "constant": np.full(400, 0.001),
    "zero": np.zeros(400),
    "all missing": np.full(400, np.nan),
    "mostly missing": np.where(np.arange(4000) % 5 == 0, 0.01, np.nan),
    "with missing": np.where(np.arange(400) % 7 == 0, np.nan, np.sin(np.arange(400)) / 50),
    "infinite": np.where(np.arange(400) % 7 == 0, np.inf, np.sin(np.arange(400)) / 50),
    "ten sigma": np.where(np.arange(400) == 200, -0.2, np.sin(np.arange(400)) / 50),
    "beyond floats' squares": np.where(np.arange(400) == 200, -1e200, np.sin(np.arange(400)) / 50),
}


def simulated(seed: int, size: int, alpha: float, gamma: float, beta: float, nu: float) -> Floats:
    """Returns of a GJR-GARCH-t whose long-run volatility is 1 % a bar."""
    noise = np.random.default_rng(seed).standard_t(nu, size) * np.sqrt((nu - 2) / nu)
    variance, returns = 1e-4, []
    for z in noise:
        r = float(np.sqrt(variance) * z)
        returns.append(r)
        pushed = (alpha + gamma * (r < 0)) * r * r
        variance = 1e-4 * (1 - alpha - gamma / 2 - beta) + pushed + beta * variance
    return np.array(returns)


def recorded_hours(name: str) -> Bars:
    return _recorded(PRICES / f"binance_um_{name}_1h_2019_2026_last_mark_funding.csv.gz", "open_time_ms")


def recorded_minutes(name: str) -> Bars:
    return _recorded(PRICES / f"binance_um_{name}_1m_stress_windows.csv.gz", "open_time")


@cache
def _recorded(path: Path, time_column: str) -> Bars:
    with gzip.open(path, "rt") as file:
        rows = [(int(r[time_column]), float(r["close"]), float(r["volume"])) for r in csv.DictReader(file)]
    times, close, volume = zip(*rows)
    return Bars(np.array(times, np.int64) * 1_000_000, np.array(close), np.array(volume))


def hours(close: object, volume: object = 1.0, start: int = 0, every: object = None) -> Bars:
    """Bars of hours from `start`, or at the hours `every`."""
    closes = np.array(close, dtype=np.float64)
    at = np.arange(len(closes)) if every is None else np.asarray(every)
    volumes = np.broadcast_to(np.asarray(volume, dtype=np.float64), closes.shape).copy()
    return Bars((at.astype(np.int64) + start) * HOUR_NS, closes, volumes)
