"""QLIKE, pinball and Diebold-Mariano: by hand, by simulation, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.coverage.losses import diebold_mariano, pinball, qlike
from risk.volatility.refusals import EstimateError


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_qlike_is_zero_where_exact_and_positive_elsewhere(realised, forecast) -> None:
    found = qlike(np.array([realised]), np.array([forecast]))[0]
    assert found >= -1e-12
    assert qlike(np.array([realised]), np.array([realised]))[0] == pytest.approx(0.0)


def test_the_quantile_has_the_least_pinball_loss() -> None:
    draws = np.random.default_rng(1).normal(size=20_000)
    grid = np.linspace(-3, 0, 61)
    losses = [pinball(draws, np.full(len(draws), q), 0.05).mean() for q in grid]
    assert grid[int(np.argmin(losses))] == pytest.approx(-1.645, abs=0.06)
    assert pinball(np.array([1.0, -1.0]), np.zeros(2), 0.1).tolist() == pytest.approx([0.1, 0.9])


def test_equal_forecasts_are_seldom_told_apart_and_better_ones_are() -> None:
    rng = np.random.default_rng(2)
    rejected = sum(
        diebold_mariano(rng.normal(size=300) ** 2, rng.normal(size=300) ** 2).p_value < 0.05 for _ in range(400)
    )
    assert 5 <= rejected <= 45
    noise = rng.normal(size=500)
    better, worse = (0.5 * noise) ** 2, (noise + rng.normal(size=500)) ** 2
    found = diebold_mariano(better, worse)
    assert found.p_value < 0.001 and found.statistic < 0 and found.mean_difference < 0
    assert diebold_mariano(worse, better).statistic == pytest.approx(-found.statistic)


def test_overlapping_horizons_are_less_sure() -> None:
    rng = np.random.default_rng(3)
    difference = np.convolve(rng.normal(0.1, 1, 600), np.ones(10) / 10, "valid")
    zero = np.zeros(len(difference))
    assert abs(diebold_mariano(difference, zero, 10).statistic) < abs(difference.mean()) / (
        difference.std() / np.sqrt(len(difference))
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: qlike(np.array([0.0]), np.array([1.0])),
        lambda: qlike(np.array([1.0]), np.array([1.0, 2.0])),
        lambda: qlike(np.array([np.nan]), np.array([1.0])),
        lambda: pinball(np.ones(3), np.ones(3), 1.0),
        lambda: diebold_mariano(np.ones(10), np.zeros(10)),
        lambda: diebold_mariano(np.ones(50), np.ones(50)),
        lambda: diebold_mariano(np.arange(50.0), np.zeros(50), 0),
    ],
)
def test_what_makes_no_sense_is_refused(call) -> None:
    with pytest.raises(EstimateError):
        call()
