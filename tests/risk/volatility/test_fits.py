"""Fits: likelihood against arch, parameters found again, refusals; the recorded hours as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.volatility.bars import DAY_NS, MINUTE_NS, BarRules, returns_of
from risk.volatility.ewma import ewma_filter
from risk.volatility.garch import GarchParameters, garch_filter
from risk.volatility.garch_fit import backcast, fit_garch, log_likelihood, targeted
from risk.volatility.har import HarParameters, fit_har, har_filter
from risk.volatility.implied import OptionMark, fit_implied, implied_variance
from risk.volatility.realised import realised_variance
from risk.volatility.refusals import EstimateError, Floats, Reason
from tests.risk.volatility.samples import AWKWARD, needs_recorded, recorded_hours, recorded_minutes, simulated

SERIES = {
    "clustered": (1, 1500, 0.08, 0.0, 0.90, 5),
    "asymmetric": (2, 1500, 0.03, 0.10, 0.88, 6),
    "heavy": (3, 800, 0.20, 0.0, 0.50, 4),
    "independent": (4, 1000, 0.0, 0.0, 0.0, 8),
}


def assert_parity(r: Floats, asymmetric: bool) -> None:
    """Ours at arch's parameters is arch's; ours at our own is arch's at its own: to 1e-4 in the total."""
    arch = pytest.importorskip("arch", reason="arch, the oracle of the fits, is in the dev extra")
    scale = 1 / float(r.std())
    model = arch.arch_model(r * scale, mean="Zero", vol="GARCH", o=int(asymmetric), dist="t", rescale=False)
    theirs = model.fit(disp="off", show_warning=False, options={"ftol": 1e-10, "maxiter": 500})
    expected = theirs.loglikelihood + len(r) * np.log(scale)
    p = theirs.params
    gamma, alpha, beta = float(p.get("gamma[1]", 0.0)), float(p["alpha[1]"]), float(p["beta[1]"])
    over = max(alpha + gamma / 2 + beta, 1.0)  # arch oversteps its constraints in the last digits
    gamma = max(gamma, -alpha) / over
    found = GarchParameters(float(p["omega"]) / scale**2, alpha / over, gamma, beta / over, float(p["nu"]))
    assert log_likelihood(found, r) == pytest.approx(expected, abs=1e-4)
    ours = fit_garch(r, asymmetric=asymmetric)
    assert ours.log_likelihood == pytest.approx(expected, abs=1e-4)
    assert ours.log_likelihood == pytest.approx(log_likelihood(ours.parameters, r), abs=1e-6)
    theirs_next = float(theirs.forecast(horizon=1).variance.iloc[-1, 0]) / scale**2
    assert ours.next_variance == pytest.approx(theirs_next, rel=1e-2)
    assert ours.bank().variance_of(0) == ours.next_variance


@pytest.mark.parametrize("asymmetric", [False, True], ids=["garch", "gjr"])
@pytest.mark.parametrize("name", SERIES)
def test_likelihood_parity_with_arch(name: str, asymmetric: bool) -> None:
    assert_parity(simulated(*SERIES[name]), asymmetric)


@needs_recorded
@pytest.mark.parametrize("asymmetric", [False, True], ids=["garch", "gjr"])
@pytest.mark.parametrize("name", ["BTCUSDT", "ETHUSDT"])
def test_likelihood_parity_on_recorded_days_and_hours(name: str, asymmetric: bool) -> None:
    close = np.log(recorded_hours(name).close)
    assert_parity(np.diff(close[::24]), asymmetric)
    assert_parity(np.diff(close[-5000:]), asymmetric)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_the_truth_is_not_rejected(seed: int) -> None:
    """The likelihood ratio of what is found against what was simulated, within chi2(5)'s 99.9 %."""
    truth = GarchParameters(1e-4 * 0.04, 0.06, 0.08, 0.86, 6)
    r = simulated(seed, 4000, truth.alpha, truth.gamma, truth.beta, truth.nu)
    fit = fit_garch(r, asymmetric=True)
    assert 0 <= 2 * (fit.log_likelihood - log_likelihood(truth, r)) < 20.5
    assert fit.parameters.nu == pytest.approx(6, abs=1.5)
    assert fit.parameters.unconditional == pytest.approx(1e-4, rel=0.4)


def test_a_fit_bridges_missing_bars_and_does_not_depend_on_scale() -> None:
    r = simulated(8, 1500, 0.08, 0.0, 0.88, 5)
    r[::10] = np.nan
    fit, large = fit_garch(r), fit_garch(r * 100)
    assert fit.observations == 1350 and 0.8 < fit.parameters.persistence < 1
    assert large.parameters.alpha == pytest.approx(fit.parameters.alpha, abs=1e-4)
    assert large.next_variance == pytest.approx(fit.next_variance * 1e4, rel=1e-3)
    assert fit == fit_garch(r)


def test_a_short_history_borrows_a_shape() -> None:
    shape = GarchParameters(1e-6, 0.05, 0.02, 0.90, 4.0)
    r = simulated(9, 60, 0.05, 0.0, 0.9, 5)
    r[3] = np.nan
    fit = targeted(shape, r)
    assert fit.parameters.unconditional == pytest.approx(np.nanmean(r * r))
    assert (fit.parameters.alpha, fit.parameters.nu, fit.observations) == (0.05, 4.0, 59)
    assert fit.next_variance == pytest.approx(garch_filter(fit.parameters, r, _first(fit.parameters, r))[-1])
    integrated = GarchParameters(1e-6, 0.1, 0.0, 0.9)
    for reason, given_shape, history in (
        (Reason.SHORT_HISTORY, shape, r[:19]),
        (Reason.CONSTANT, shape, np.zeros(60)),
        (Reason.NOT_STATIONARY, integrated, r),
    ):
        with pytest.raises(EstimateError) as refused:
            targeted(given_shape, history)
        assert refused.value.reason is reason


def _first(p: GarchParameters, r: Floats) -> float:
    return p.omega + p.persistence * backcast(r)


FIT_REFUSED = {
    "one bar": Reason.SHORT_HISTORY,
    "empty": Reason.SHORT_HISTORY,
    "constant": Reason.CONSTANT,
    "zero": Reason.CONSTANT,
    "all missing": Reason.SHORT_HISTORY,
    "mostly missing": Reason.MOSTLY_MISSING,
}


@pytest.mark.parametrize("name", AWKWARD)
def test_fits_survive(name: str) -> None:
    if name in FIT_REFUSED:
        with pytest.raises(EstimateError) as refused:
            fit_garch(AWKWARD[name], asymmetric=True)
        assert refused.value.reason is FIT_REFUSED[name]
        return
    fit = fit_garch(AWKWARD[name], asymmetric=True)
    assert np.isfinite(fit.log_likelihood) and fit.next_variance > 0


@pytest.mark.parametrize("name", AWKWARD)
def test_har_fits_survive(name: str) -> None:
    """Days that are constant or too few are refused; the rest gives forecasts that are numbers."""
    days = np.abs(AWKWARD[name])
    try:
        fit = fit_har(days)
    except EstimateError as refused:
        assert refused.reason in (Reason.SHORT_HISTORY, Reason.CONSTANT)
        return
    told = har_filter(fit.parameters, days)
    assert np.isfinite(told[30:]).all() and (told[30:] > 0).all()


def log_har_days(seed: int, size: int) -> Floats:
    rng, logs = np.random.default_rng(seed), [-7.0] * 30
    for noise in rng.normal(0, 0.4, size):
        week, month = np.log(np.mean(np.exp(logs[-7:]))), np.log(np.mean(np.exp(logs[-30:])))
        logs.append(-0.7 + 0.4 * logs[-1] + 0.3 * week + 0.2 * month + noise)
    return np.exp(np.array(logs))


def test_har_coefficients_are_found_again() -> None:
    fit = fit_har(log_har_days(3, 8000))
    p = fit.parameters
    assert (p.day, p.week, p.month) == pytest.approx((0.4, 0.3, 0.2), abs=0.05)
    assert p.residual_variance == pytest.approx(0.16, rel=0.05) and 0.3 < fit.r_squared < 1
    assert fit_har(log_har_days(3, 2000), horizon_days=5).parameters.horizon_days == 5


def test_log_likelihood_needs_a_return() -> None:
    with pytest.raises(EstimateError, match="no return"):
        log_likelihood(GarchParameters(1e-6, 0.1, 0.0, 0.8), np.full(3, np.nan))
    with pytest.raises(EstimateError, match="horizon"):
        fit_har(np.ones(300), horizon_days=0)
    with pytest.raises(EstimateError, match="coefficients"):
        HarParameters(0.0, 0.0, 0.0, 0.0, -1.0)


def marks(
    vol: float, days: float, strikes: Sequence[float] = (50, 80, 100, 125, 200), skew: float = 0.0
) -> list[OptionMark]:
    return [OptionMark(int(days * DAY_NS), k, 100.0, vol + skew * np.log(k / 100)) for k in strikes]


@given(st.floats(0.05, 3.0), st.floats(1, 300), st.floats(1, 300))
def test_a_flat_surface_implies_its_vol(vol: float, near: float, far: float) -> None:
    target = int(min(max((near + far) / 2, 1), 300) * DAY_NS)
    found = implied_variance(marks(vol, near) + marks(vol, far), 0, target)
    assert found == pytest.approx(vol**2, rel=1e-3)


def test_total_variance_is_linear_between_expiries() -> None:
    surface = marks(0.8, 10) + marks(0.5, 40)
    expected = (10 * 0.64 + (40 * 0.25 - 10 * 0.64) * 20 / 30) / 30
    assert implied_variance(surface, 0, 30 * DAY_NS) == pytest.approx(expected, rel=1e-3)
    assert implied_variance(surface, 0, 5 * DAY_NS) == pytest.approx(0.64, rel=1e-3)
    assert implied_variance(surface, 0, 80 * DAY_NS) == pytest.approx(0.25, rel=1e-3)


def test_wings_add_to_the_vol_at_the_money() -> None:
    strikes = np.exp(np.linspace(-1, 1, 21)) * 100
    smile = [OptionMark(30 * DAY_NS, k, 100.0, 0.6 + 0.3 * np.log(k / 100) ** 2) for k in strikes]
    assert 0.36 < implied_variance(smile, 0) < 0.5
    few, one_sided = marks(0.6, 30, (90, 120), skew=-0.1), marks(0.6, 30, (110, 120, 130))
    assert implied_variance(few, 0) == pytest.approx((0.6 - 0.1 * np.log(0.9)) ** 2)
    assert implied_variance(one_sided, 0) == pytest.approx(0.36)
    assert implied_variance([*marks(0.4, 30, (100,)), *marks(0.8, 30, (100,))], 0) == pytest.approx(0.36)


@pytest.mark.parametrize(
    ("reason", "surface"),
    [
        (Reason.NO_QUOTES, []),
        (Reason.NO_QUOTES, marks(0.5, 0.1)),
        (
            Reason.NO_QUOTES,
            marks(float("nan"), 30) + marks(0.0, 30) + marks(11.0, 30) + [OptionMark(30 * DAY_NS, 0.0, 1.0, 0.5)],
        ),
        (Reason.NO_MATURITY, marks(0.5, 2)),
        (Reason.NO_MATURITY, marks(0.5, 200)),
    ],
)
def test_refused_surfaces(reason: Reason, surface: list[OptionMark]) -> None:
    with pytest.raises(EstimateError) as refused:
        implied_variance(surface, 0)
    assert refused.value.reason is reason


def test_implied_is_scaled_to_realised() -> None:
    implied = np.exp(np.random.default_rng(2).normal(-1, 0.5, 400))
    fit = fit_implied(implied, np.exp(-0.3 + 0.8 * np.log(implied)))
    assert (fit.intercept, fit.slope, fit.residual_variance) == pytest.approx((-0.3, 0.8, 0.0), abs=1e-9)
    assert fit_implied(np.full(60, 0.36), np.full(60, 0.25)).slope == 1.0
    with pytest.raises(EstimateError, match="pairs"):
        fit_implied(implied, np.full(400, np.nan))
    with pytest.raises(EstimateError, match="bad shape"):
        fit_implied(implied, implied[1:])
    with pytest.raises(EstimateError, match="maturity"):
        implied_variance([], 0, 0)


@pytest.mark.parametrize("name", AWKWARD)
def test_implied_fits_survive(name: str) -> None:
    values = AWKWARD[name]
    try:
        fit = fit_implied(values, np.roll(values, 1) if len(values) else values)
    except EstimateError as refused:
        assert refused.reason is Reason.SHORT_HISTORY
        return
    assert np.isfinite([fit.intercept, fit.slope, fit.residual_variance]).all()


@needs_recorded
@pytest.mark.parametrize("name", ["BTCUSDT", "ETHUSDT"])
def test_recorded_hours(name: str) -> None:
    """Six years and a half fit sanely: persistent, heavy tails, 40 to 120 % a year, and a March 2020 that shows."""
    rules = BarRules()
    returns = returns_of(recorded_hours(name), rules)
    days, variance = realised_variance(returns, rules)
    assert np.isfinite(variance[1:]).all() and len(variance) > 2300
    fit = fit_garch(returns.per_bar[-8760:], asymmetric=True)
    assert 0.9 < fit.parameters.persistence <= 1 and 2.5 < fit.parameters.nu < 6
    close = recorded_hours(name).close
    whole = fit_garch(np.diff(np.log(close)))
    assert 0.95 < whole.parameters.persistence <= 1 and whole.observations == len(close) - 1
    har = fit_har(variance)
    assert 0.5 < har.parameters.day + har.parameters.week + har.parameters.month < 1.1 and har.r_squared > 0.35
    told = np.sqrt(har_filter(har.parameters, variance) * 365)
    assert 0.3 < np.nanmedian(told) < 1.2 and np.nanmax(told) < 10
    crash = int(np.searchsorted(days, 18_333))  # 2020-03-12
    assert told[crash] > 3 * told[crash - 10]
    daily = np.sqrt(ewma_filter(returns.per_bar, 0.97) * 8760)
    assert np.nanmax(daily) > 3 and 0.1 < np.nanmedian(daily) < 1.2


@needs_recorded
def test_recorded_minutes() -> None:
    """Windows of minutes, months apart: days within them have the variance of the hours' order, others have none."""
    minutes = recorded_minutes("BTCUSDT")
    returns = returns_of(minutes, BarRules(MINUTE_NS))
    days, variance = realised_variance(returns, BarRules(MINUTE_NS))
    hour_days, hourly = realised_variance(returns_of(recorded_hours("BTCUSDT"), BarRules()), BarRules())
    there = np.isfinite(variance)
    assert there.sum() == len(np.unique(minutes.open_time_ns // DAY_NS)) < len(days)
    ratio = variance[there] / hourly[np.searchsorted(hour_days, days[there])]
    assert 0.5 < np.median(ratio) < 2
