"""Online banks against slow loops and batch filters; nothing looks ahead; awkward inputs; the forecast's formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.volatility.bars import DAY_NS, HOUR_NS, BarRules
from risk.volatility.ewma import EwmaBank, ewma_filter
from risk.volatility.garch import GarchBank, GarchParameters, garch_filter
from risk.volatility.har import HarBank, HarParameters, har_filter
from risk.volatility.implied import ImpliedBank, ImpliedScaling, implied_filter
from risk.volatility.refusals import MIN_VARIANCE, EstimateError, Floats, Reason
from tests.risk.volatility.samples import AWKWARD, histories

GJR = GarchParameters(2e-6, 0.05, 0.06, 0.90)
HAR = HarParameters(-0.4, 0.4, 0.3, 0.25, 0.3)
decays = st.floats(0.0, 0.999)


@st.composite
def parameters(draw: st.DrawFn) -> GarchParameters:
    """GJR parameters, up to a persistence of 1."""
    alpha, gamma, beta = draw(st.floats(0, 0.5)), draw(st.floats(-0.4, 0.8)), draw(st.floats(0, 1))
    gamma = max(gamma, -alpha)
    over = max(alpha + gamma / 2 + beta, 1.0)
    return GarchParameters(draw(st.floats(1e-9, 1e-3)), alpha / over, gamma / over, beta / over)


def slow_ewma(r: Floats, decay: float) -> list[float]:
    """The definition: after k returns, weights 1/k until 1/(1 - decay), then exponential."""
    told, variance, seen = [], 0.0, 0
    for value in r:
        if np.isfinite(value):
            seen += 1
            square = float(np.clip(value, -25, 25)) ** 2
            gain = max(1 - decay, 1 / seen)
            variance = (1 - gain) * variance + gain * square
        told.append(max(variance, MIN_VARIANCE) if seen >= 20 else float("nan"))
    return told


def slow_garch(p: GarchParameters, r: Floats, variance: float) -> list[float]:
    told = []
    for value in r:
        if np.isfinite(value):
            shock = float(np.clip(value, -25, 25))
            push = p.alpha * shock**2 + (p.gamma * shock**2 if shock < 0 else 0.0)
            variance = p.omega + push + p.beta * variance
        else:
            variance = p.omega + (p.alpha + p.gamma / 2 + p.beta) * variance
        told.append(max(variance, MIN_VARIANCE))
    return told


def same(found: object, expected: object) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-10, atol=1e-18)


@given(histories(), decays)
def test_ewma_online_batch_and_definition(r: Floats, decay: float) -> None:
    bank = EwmaBank(2, np.array([decay, 0.5]))
    online = [bank.update(np.array([value, -value]))[0] for value in r]
    same(online, slow_ewma(r, decay))
    same(online, ewma_filter(r, decay))


@given(histories(), parameters(), st.floats(0, 0.1))
def test_garch_online_batch_and_definition(r: Floats, p: GarchParameters, start: float) -> None:
    bank = GarchBank([p, GJR], np.array([start, 1e-4]))
    online = [bank.update(np.array([value, 0.01]))[0] for value in r]
    same(online, slow_garch(p, r, start))
    same(online, garch_filter(p, r, start))
    finite = np.where(np.isfinite(r), r, 0.0)
    same(slow_garch(p, finite, start), garch_filter(p, finite, start))


def slow_har(p: HarParameters, days: Floats) -> list[float]:
    told = []
    for end in range(1, len(days) + 1):
        if end < 30:
            told.append(float("nan"))
            continue
        means = []
        for width in (30, 7, 1):
            seen = [v for v in days[end - width : end] if np.isfinite(v)]
            enough = 3 * len(seen) >= 2 * width
            means.append(sum(seen) / len(seen) if enough else (means[-1] if means else float("nan")))
        month, week, day = (np.log(max(m, 1e-12)) if np.isfinite(m) else m for m in means)
        told.append(np.exp(p.intercept + p.day * day + p.week * week + p.month * month + p.residual_variance / 2))
    return told


@given(histories(80, values=st.one_of(st.floats(0, 0.2), st.just(float("nan")))))
def test_har_online_batch_and_definition(days: Floats) -> None:
    bank = HarBank([HAR, HAR], BarRules())
    online = [bank.update_day(np.array([value, 0.01]))[0] for value in days]
    same(online, slow_har(HAR, days))
    same(online, har_filter(HAR, days))


def test_har_from_bars() -> None:
    """A constant 1 % an hour: the forecast is that of days of 24e-4, told as the thirtieth day ends."""
    bank = HarBank([HAR], BarRules())
    told = [bank.update(h * HOUR_NS, np.array([0.01]), np.array([1]))[0] for h in range(24 * 30)]
    assert np.isnan(told[:-1]).all()
    same(told[-1], har_filter(HAR, np.full(30, 24e-4))[-1])
    assert bank.variance_of(0) == told[-1] == bank.variance[0]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.one_of(st.floats(0.01, 4), st.sampled_from([np.nan, 0.0, -1.0, np.inf]))))
)
def test_implied_online_batch_and_definition(drawn: list[tuple[int, float]]) -> None:
    scaling = ImpliedScaling(-0.2, 0.9, 0.1)
    times = np.cumsum([step for step, _ in drawn]).astype(np.int64) * HOUR_NS
    implied = np.array([value for _, value in drawn], dtype=np.float64)
    bank = ImpliedBank(1, scaling)
    online, slow, last = [], [], (0, float("nan"))
    for time_ns, value in zip(times, implied):
        online.append(bank.update(int(time_ns), np.array([value]))[0])
        last = (time_ns, value) if np.isfinite(value) and value > 0 else last
        fresh = time_ns - last[0] <= DAY_NS
        slow.append(np.exp(-0.2 + 0.9 * np.log(last[1]) + 0.05) if fresh else float("nan"))
    same(online, slow)
    same(online, implied_filter(times, implied, scaling))


FILTERS: dict[str, Callable[[Floats], Floats]] = {
    "ewma": ewma_filter,
    "garch": lambda r: garch_filter(GJR, r, 1e-4),
    "har": lambda r: har_filter(HAR, np.abs(r)),
    "implied": lambda r: implied_filter(np.arange(len(r)) * HOUR_NS, np.abs(r)),
}


def looks_ahead(feature: Callable[[Floats], Floats], r: Floats, at: int) -> bool:
    """Whether what is told up to `at` changes with what comes after it."""
    other = r.copy()
    other[at + 1 :] = other[at + 1 :][::-1] * 3 + 0.01
    return not np.array_equal(feature(r)[: at + 1], feature(other)[: at + 1], equal_nan=True)


@pytest.mark.parametrize("name", FILTERS)
def test_nothing_looks_ahead_and_a_shift_is_detected(name: str) -> None:
    feature, r = FILTERS[name], np.random.default_rng(5).normal(0, 0.02, 200)
    shifted = lambda values: np.append(feature(values)[1:], 0.0)  # noqa: E731
    for at in (60, 100, 198):
        assert not looks_ahead(feature, r, at)
        assert looks_ahead(shifted, r, at)


@pytest.mark.parametrize("name", AWKWARD)
def test_filters_survive(name: str) -> None:
    """A value is finite and positive; where there is none, it is for a reason that has a name."""
    r = AWKWARD[name]
    for feature in FILTERS.values():
        told = feature(r)
        known = told[~np.isnan(told)]
        assert told.shape == r.shape and (known > 0).all() and np.isfinite(known).all()
    ewma, garch = EwmaBank(1), GarchBank([GJR], np.array([1e-4]))
    for value in r:
        ewma.update(np.array([value]))
        garch.update(np.array([value]))
    assert np.isfinite(garch.variance_of(0)) and np.isfinite(garch.forecast(24)).all()
    if np.isfinite(r).sum() >= 20:
        assert ewma.variance_of(0) > 0
    else:
        with pytest.raises(EstimateError, match="short history"):
            ewma.variance_of(0)


def test_more_volatility_after_larger_moves_and_after_falls() -> None:
    moves = [garch_filter(GJR, np.array([r]), 1e-4)[0] for r in (-0.1, 0.1, -0.01, 0.01, 0.0)]
    assert moves == sorted(moves, reverse=True) and moves[0] > moves[1]


@given(parameters(), st.floats(1e-8, 1e-2), st.integers(1, 60))
def test_forecasts_are_the_recursions_sum(p: GarchParameters, variance: float, bars: int) -> None:
    total, step = 0.0, variance
    for _ in range(bars):
        total, step = total + step, p.omega + p.persistence * step
    found = GarchBank([p], np.array([variance])).forecast(bars)[0]
    assert found == pytest.approx(total, rel=1e-5)


def test_long_run_variance() -> None:
    assert GJR.unconditional == pytest.approx(2e-6 / (1 - 0.98))
    with pytest.raises(EstimateError) as refused:
        _ = GarchParameters(1e-6, 0.1, 0.0, 0.9).unconditional
    assert refused.value.reason is Reason.NOT_STATIONARY


REFUSED: dict[str, tuple[Reason, Callable[[], object]]] = {
    "decay": (Reason.BAD_PARAMETER, lambda: EwmaBank(1, 1.0)),
    "decay of a filter": (Reason.BAD_PARAMETER, lambda: ewma_filter(np.ones(3), -0.1)),
    "decay no number": (Reason.BAD_PARAMETER, lambda: EwmaBank(1, float("nan"))),
    "two dimensions": (Reason.BAD_SHAPE, lambda: ewma_filter(np.ones((3, 2)))),
    "another size": (Reason.BAD_SHAPE, lambda: EwmaBank(2).update(np.ones(3))),
    "omega": (Reason.BAD_PARAMETER, lambda: GarchParameters(0.0, 0.1, 0.0, 0.8)),
    "explosive": (Reason.BAD_PARAMETER, lambda: GarchParameters(1e-6, 0.3, 0.0, 0.8)),
    "no variance": (Reason.BAD_PARAMETER, lambda: GarchParameters(1e-6, 0.1, 0.0, 0.8, 2.0)),
    "no number": (Reason.BAD_PARAMETER, lambda: GarchParameters(float("nan"), 0.1, 0.0, 0.8)),
    "start": (Reason.BAD_PARAMETER, lambda: GarchBank([GJR], np.array([np.nan]))),
    "horizon": (Reason.BAD_PARAMETER, lambda: GarchBank([GJR], np.array([1e-4])).forecast(0)),
    "coefficients": (Reason.BAD_PARAMETER, lambda: HarParameters(float("inf"), 0.0, 0.0, 0.0, 0.0)),
    "month": (Reason.SHORT_HISTORY, lambda: HarBank([HAR], BarRules()).variance_of(0)),
    "no implied": (Reason.NO_QUOTES, lambda: ImpliedBank(1).variance_of(0)),
    "implied back in time": (Reason.UNORDERED, lambda: implied_filter(np.array([2, 1]), np.ones(2))),
    "implied lengths": (Reason.BAD_SHAPE, lambda: implied_filter(np.array([2, 1]), np.ones(3))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    reason, call = REFUSED[name]
    with pytest.raises(EstimateError) as refused:
        call()
    assert refused.value.reason is reason and refused.value.text


def test_an_old_implied_variance_is_refused() -> None:
    bank = ImpliedBank(1)
    assert bank.update(0, np.array([0.36]))[0] == pytest.approx(0.36)
    assert bank.update(DAY_NS, np.array([np.nan]))[0] == pytest.approx(0.36) == bank.variance_of(0)
    assert np.isnan(bank.update(DAY_NS + 1, np.array([np.nan]))[0])
    with pytest.raises(EstimateError, match="stale"):
        bank.variance_of(0)
    with pytest.raises(EstimateError, match="unordered"):
        bank.update(5, np.array([0.36]))
