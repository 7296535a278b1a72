"""Covariances and correlations: positive semi-definite whatever comes in, equal to slow references, worse in stress."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from risk.correlation.dcc import DccBank, DccParameters, dcc_filter, fit_dcc
from risk.correlation.ewma import CovarianceBank, ewma_covariance
from risk.correlation.matrices import correlation_of, expected_outer, semi_definite
from risk.correlation.shrinkage import Target, ledoit_wolf
from risk.correlation.stress import stressed, stressed_ends
from risk.volatility.refusals import EstimateError, Floats, Reason
from tests.risk.volatility.samples import AWKWARD, awkward, needs_recorded, ordinary, recorded_hours

TARGET = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.4], [0.2, 0.4, 1.0]])


@st.composite
def panels(draw: st.DrawFn, values: st.SearchStrategy[float] = awkward, least: int = 1) -> Floats:
    size, bars = draw(st.integers(1, 4)), draw(st.integers(least, 40))
    return np.array(draw(st.lists(values, min_size=size * bars, max_size=size * bars))).reshape(bars, size)


def assert_semi_definite(matrix: Floats) -> None:
    assert np.isfinite(matrix).all() and np.array_equal(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * max(float(np.trace(matrix)), 1e-300)


def assert_correlation(matrix: Floats) -> None:
    assert_semi_definite(matrix)
    assert (np.diag(matrix) == 1).all() and (np.abs(matrix) <= 1).all()


NAN = float("nan")
NEAR_SINGULAR = [
    [1.3e-93, 0.0, 1e300, 0.0],
    [NAN, 0.0, 0.182250878, 0.230429592],
    [NAN, 0.0, NAN, NAN],
    [NAN, 0.0, NAN, 0.0],
]


@example(np.array(NEAR_SINGULAR), 0.5)
@given(panels(), st.floats(0.5, 0.99))
def test_ewma_stays_semi_definite_and_equals_the_batch(r: Floats, decay: float) -> None:
    bank = CovarianceBank(r.shape[1], decay, 1)
    for row in r:
        bank.update(row)
    if not np.isfinite(r).any():
        with pytest.raises(EstimateError, match="short history"):
            _ = bank.covariance
        return
    assert_semi_definite(bank.covariance)
    assert_correlation(bank.correlation)
    np.testing.assert_allclose(ewma_covariance(r, decay, 1), bank.covariance, rtol=1e-10, atol=1e-14)


@given(panels(ordinary, 20), st.floats(0.5, 0.99))
def test_ewma_is_its_definition(r: Floats, decay: float) -> None:
    slow = np.zeros((r.shape[1], r.shape[1]))
    for k, row in enumerate(r, 1):
        gain = max(1 - decay, 1 / k)
        slow = (1 - gain) * slow + gain * np.outer(row, row)
    np.testing.assert_allclose(ewma_covariance(r, decay), slow, rtol=1e-10, atol=1e-14)


def test_what_is_missing_is_expected() -> None:
    outer = expected_outer(np.array([0.5, np.nan, 0.1]), TARGET)
    mean = TARGET[1, [0, 2]] @ np.linalg.inv(TARGET[np.ix_([0, 2], [0, 2])])
    assert outer[1, 0] == pytest.approx(mean @ [0.5, 0.1] * 0.5)
    assert outer[1, 1] == pytest.approx((mean @ [0.5, 0.1]) ** 2 + 1 - mean @ TARGET[1, [0, 2]])
    np.testing.assert_array_equal(expected_outer(np.full(3, np.nan), TARGET), TARGET)


def test_missing_returns_leave_correlation_unbiased() -> None:
    """An underlying that misses every other bar has the correlation of one that misses none, but for noise."""
    r = np.random.default_rng(4).multivariate_normal(np.zeros(3), TARGET, 6000) * 0.01
    thin = r.copy()
    thin[::2, 1] = np.nan
    found = correlation_of(ewma_covariance(thin, 0.999))
    np.testing.assert_allclose(found, TARGET, atol=0.08)


def slow_dcc(p: DccParameters, z: Floats) -> Floats:
    q = p.target
    for row in z:
        q = (1 - p.a - p.b) * p.target + p.a * np.outer(row, row) + p.b * q
    return q / np.sqrt(np.outer(np.diag(q), np.diag(q)))


z_values = st.one_of(st.floats(-10, 10), st.just(float("nan")))


@given(
    st.lists(st.tuples(z_values, z_values, z_values), min_size=1, max_size=40), st.floats(0, 0.3), st.floats(0, 0.69)
)
def test_dcc_online_batch_and_definition(rows: list[tuple[float, float, float]], a: float, b: float) -> None:
    p, z = DccParameters(a, b, TARGET), np.array(rows)
    bank = DccBank(p)
    for row in z:
        bank.update(row)
        assert_correlation(bank.correlation)
    np.testing.assert_allclose(dcc_filter(p, z), bank.correlation, rtol=1e-10, atol=1e-10)
    if np.isfinite(z).all():
        np.testing.assert_allclose(bank.correlation, slow_dcc(p, z), rtol=1e-9, atol=1e-9)


def simulated_dcc(seed: int, bars: int, a: float, b: float) -> Floats:
    rng, q, rows = np.random.default_rng(seed), TARGET, []
    for _ in range(bars):
        root = np.linalg.cholesky(q / np.sqrt(np.outer(np.diag(q), np.diag(q))))
        rows.append(root @ rng.standard_normal(3))
        q = (1 - a - b) * TARGET + a * np.outer(rows[-1], rows[-1]) + b * q
    return np.array(rows)


def test_dcc_parameters_are_found_again() -> None:
    z = simulated_dcc(1, 4000, 0.05, 0.90)
    fit = fit_dcc(z)
    assert (fit.parameters.a, fit.parameters.b) == pytest.approx((0.05, 0.90), abs=0.04)
    np.testing.assert_allclose(fit.parameters.target, TARGET, atol=0.1)
    assert np.isfinite(fit.log_likelihood)


def slow_pair_likelihood(a: float, b: float, z: Floats) -> float:
    target = float(np.mean(z[:, 0] * z[:, 1]))
    q11, q22, q12, total = 1.0, 1.0, target, 0.0
    for x, y in z:
        r = q12 / np.sqrt(q11 * q22)
        total -= 0.5 * (np.log(1 - r * r) + (x * x + y * y - 2 * r * x * y) / (1 - r * r))
        q11, q22 = (1 - a - b) + a * x * x + b * q11, (1 - a - b) + a * y * y + b * q22
        q12 = (1 - a - b) * target + a * x * y + b * q12
    return total / len(z)


def test_dcc_maximises_the_pairs_likelihood() -> None:
    z = simulated_dcc(2, 800, 0.05, 0.85)[:, :2]
    z = z / np.sqrt((z * z).mean(axis=0))
    fit = fit_dcc(z)
    a, b = fit.parameters.a, fit.parameters.b
    assert fit.log_likelihood == pytest.approx(slow_pair_likelihood(a, b, z), abs=1e-9)
    around = [(a * x, b * y) for x in (0.8, 1, 1.2) for y in (0.97, 1, 1.03) if a * x + b * y < 1]
    assert max(slow_pair_likelihood(x, y, z) for x, y in around) <= fit.log_likelihood + 1e-6


def test_dcc_of_what_moves_as_one() -> None:
    z = np.random.default_rng(1).standard_normal(400)
    fit = fit_dcc(np.stack([z, z, -z], axis=1))
    assert_correlation(dcc_filter(fit.parameters, np.stack([z, z, -z], axis=1)))


@pytest.mark.parametrize("name", AWKWARD)
def test_dcc_fits_survive(name: str) -> None:
    """Beside an ordinary underlying: correlations, or a refusal by name."""
    other = AWKWARD[name]
    z = np.stack([np.random.default_rng(1).standard_normal(len(other)), other], axis=1)
    try:
        fit = fit_dcc(z)
    except EstimateError as refused:
        assert refused.reason in (Reason.SHORT_HISTORY, Reason.CONSTANT)
        return
    assert fit.parameters.a + fit.parameters.b < 1
    assert_correlation(dcc_filter(fit.parameters, z))


def slow_shrinkage(r: Floats, target: Target) -> float:
    """The papers' sums, element by element."""
    bars, n = r.shape
    s = r.T @ r / bars
    pi = np.array([[np.mean((r[:, i] * r[:, j] - s[i, j]) ** 2) for j in range(n)] for i in range(n)])
    if target is Target.IDENTITY:
        f, rho = np.eye(n) * np.trace(s) / n, 0.0
    else:
        c = [[s[i, j] / np.sqrt(s[i, i] * s[j, j]) for j in range(n)] for i in range(n)]
        mean = np.mean([c[i][j] for i in range(n) for j in range(n) if i != j])
        f = np.array([[s[i, i] if i == j else mean * np.sqrt(s[i, i] * s[j, j]) for j in range(n)] for i in range(n)])
        rho = float(np.trace(pi))
        for i in range(n):
            for j in range(n):
                if i != j:
                    cross = r[:, i] * r[:, j] - s[i, j]
                    one = np.mean((r[:, i] ** 2 - s[i, i]) * cross) * np.sqrt(s[j, j] / s[i, i])
                    two = np.mean((r[:, j] ** 2 - s[j, j]) * cross) * np.sqrt(s[i, i] / s[j, j])
                    rho += mean / 2 * float(one + two)
    return min(max((float(pi.sum()) - rho) / float(((f - s) ** 2).sum()) / bars, 0.0), 1.0)


@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("seed", range(5))
def test_shrinkage_is_the_papers(target: Target, seed: int) -> None:
    rng = np.random.default_rng(seed)
    r = rng.multivariate_normal(np.zeros(3), TARGET, 40) * [0.01, 0.02, 0.04]
    shrunk = ledoit_wolf(r, target)
    assert shrunk.intensity == pytest.approx(slow_shrinkage(r, target), abs=1e-10) and shrunk.intensity > 0
    assert_correlation(shrunk.correlation)


@given(panels(), st.sampled_from(Target))
def test_shrinkage_is_semi_definite(r: Floats, target: Target) -> None:
    whole = int(np.isfinite(r).all(axis=1).sum())
    if whole < 1:
        with pytest.raises(EstimateError, match="short history"):
            ledoit_wolf(r, target, 1)
        return
    shrunk = ledoit_wolf(r, target, 1)
    assert 0 <= shrunk.intensity <= 1
    assert_semi_definite(shrunk.covariance)
    assert_correlation(shrunk.correlation)


@given(panels(ordinary), st.data(), st.floats(0, 1))
def test_stress_is_worse_and_semi_definite(r: Floats, data: st.DataObject, share: float) -> None:
    correlation = correlation_of(r.T @ r)
    size = len(correlation)
    w = np.array(data.draw(st.lists(st.floats(-5, 5), min_size=size, max_size=size)))
    worse = stressed(correlation, w, share)
    assert_correlation(worse)
    assert w @ worse @ w >= w @ correlation @ w - 1e-9
    np.testing.assert_allclose(worse, stressed(correlation, -w, share))
    if (w != 0).all():
        whole = stressed(correlation, w, 1.0)
        assert np.sqrt(w @ whole @ w) == pytest.approx(np.abs(w).sum(), rel=1e-9)
    low, high = stressed_ends(correlation, share)
    assert_correlation(low)
    assert_correlation(high)
    assert (high >= correlation - 1e-12).all()


def test_semi_definite_mends_what_is_not() -> None:
    bad = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    assert_semi_definite(semi_definite(bad))
    assert_correlation(correlation_of(bad))
    np.testing.assert_array_equal(semi_definite(TARGET), TARGET)


def test_what_does_not_move_correlates_with_nothing() -> None:
    correlation = correlation_of(np.array([[1.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(correlation, np.eye(2))


ONE = np.ones((1, 1))
REFUSED: dict[str, tuple[Reason, Callable[[], object]]] = {
    "decay": (Reason.BAD_PARAMETER, lambda: CovarianceBank(1, 1.0)),
    "decay of a batch": (Reason.BAD_PARAMETER, lambda: ewma_covariance(ONE, 1.0)),
    "one bar": (Reason.SHORT_HISTORY, lambda: ewma_covariance(ONE)),
    "one dimension": (Reason.BAD_SHAPE, lambda: ewma_covariance(np.ones(3))),
    "too many": (Reason.TOO_LARGE, lambda: ledoit_wolf(np.ones((1, 2001)))),
    "explosive": (Reason.BAD_PARAMETER, lambda: DccParameters(0.5, 0.5, TARGET)),
    "target": (Reason.BAD_SHAPE, lambda: DccParameters(0.1, 0.5, TARGET[:2])),
    "columns": (Reason.BAD_SHAPE, lambda: dcc_filter(DccParameters(0.1, 0.5, TARGET), ONE)),
    "fit of one": (Reason.BAD_SHAPE, lambda: fit_dcc(np.ones((300, 1)))),
    "short fit": (Reason.SHORT_HISTORY, lambda: fit_dcc(np.ones((3, 2)))),
    "constant fit": (Reason.CONSTANT, lambda: fit_dcc(np.zeros((300, 2)))),
    "share": (Reason.BAD_PARAMETER, lambda: stressed_ends(TARGET, 1.1)),
    "not square": (Reason.BAD_SHAPE, lambda: stressed(TARGET[:2], np.ones(3), 0.5)),
    "exposure": (Reason.BAD_PARAMETER, lambda: stressed(ONE, np.array([np.nan]), 0.5)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    reason, call = REFUSED[name]
    with pytest.raises(EstimateError) as refused:
        call()
    assert refused.value.reason is reason


@needs_recorded
def test_recorded_correlation() -> None:
    btc, eth = (np.log(recorded_hours(name).close[-8760:]) for name in ("BTCUSDT", "ETHUSDT"))
    r = np.diff(np.stack([btc, eth], axis=1), axis=0)
    for correlation in (correlation_of(ewma_covariance(r)), ledoit_wolf(r).correlation):
        assert 0.6 < correlation[0, 1] < 0.98
    fit = fit_dcc(r / r.std(axis=0))
    assert 0.8 < fit.parameters.a + fit.parameters.b < 1
