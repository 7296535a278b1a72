"""The contest: won only with a signal, not by noise, never by a look into the future that nobody notices."""

from itertools import pairwise

import numpy as np
import pytest

from risk.learning.baselines import BASELINES, OWN_RESIDUALS
from risk.learning.boosted import MAX_LOG_CORRECTION, fit_quantile, fit_variance
from risk.learning.contest import CHALLENGER, CHAMPION, ContestRules, may_use, run, segments
from risk.learning.drift import MIN_ROWS, Drift
from risk.volatility.refusals import EstimateError
from tests.risk.learning.panels import panel_of, shifted

RULES = ContestRules(first_day=120, segment_days=60, proof_days=60)


def standing(contest, model):
    return next(found for found in contest.standings if found.model == model)


@pytest.fixture(scope="module")
def contests():
    return run(panel_of(300, signal=True), 1, RULES)


def test_a_signal_that_is_there_is_found(contests) -> None:
    variance = contests[0]
    assert variance.loss == "QLIKE" and variance.challenger_won
    assert standing(variance, CHALLENGER).mean_loss < standing(variance, CHAMPION).mean_loss
    assert 0 < variance.in_use_share < 1  # none in the first segment, without results
    assert variance.used_loss < standing(variance, CHAMPION).mean_loss
    assert [contest.loss for contest in contests] == ["QLIKE", "pinball 0.01", "pinball 0.99"]
    assert variance.refused == {"implied": "no quotes: 0 bars with a quoted implied volatility"}
    assert {found.model for found in variance.standings} == {"EWMA", "GARCH-t", "GJR-t", "HAR", "learned"}


def test_noise_is_not_won_by() -> None:
    assert not run(panel_of(300, seed=9), 24, RULES)[0].challenger_won


def test_a_look_into_the_future_is_detected(contests) -> None:
    """Features of one bar later know the target: what a contest then says no honest one can."""
    honest = contests[0]
    peeking = run(shifted(panel_of(300, signal=True), 1), 1, RULES)[0]
    assert standing(peeking, CHALLENGER).mean_loss < 0.8 * standing(honest, CHALLENGER).mean_loss


def test_the_embargo_keeps_targets_out(monkeypatch) -> None:
    """What is learnt from ends before the segment by the horizon and the embargo."""
    given, asked = panel_of(200), []

    def learn(panel, champion, horizon, past, rows):
        asked.append((past, int(rows[0]), len(panel.log_return), int(rows[-1])))
        return {}

    run(given, 24, ContestRules(first_day=120, segment_days=30, embargo_days=2), learn=learn)
    for past, first, known, last in asked:
        assert past + 24 + 2 * 24 <= first + 1 and known == last + 1


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "implied"])
def test_baselines_know_the_past_only(name) -> None:
    given = panel_of(320)
    for horizon in (1, 24, 48):
        found, tail = BASELINES[name](given, horizon, 24 * 280)
        changed = panel_of(320)
        changed.log_return[24 * 290 :] = 0.5
        changed.feature[24 * 290 :] = 0.0
        other, _ = BASELINES[name](changed, horizon, 24 * 280)
        np.testing.assert_array_equal(found[: 24 * 290], other[: 24 * 290])
        assert np.nanmin(found) > 0 and (tail > 2 or np.isnan(tail))
        ratio = np.nanmean(found) / np.nanmean(given.variance_ahead(horizon))
        assert 0.5 < ratio < 2.0
    assert np.isnan(OWN_RESIDUALS)


def test_same_data_same_model() -> None:
    given = panel_of(200)
    champion, _ = BASELINES[CHAMPION](given, 24, 24 * 180)
    one, other = (fit_variance(given, champion, 24, 24 * 180) for _ in range(2))
    assert one.booster.model_to_string() == other.booster.model_to_string() and one.scale == other.scale
    rows = np.arange(24 * 181, 24 * 199)
    found = one.forecast(given.feature[rows], champion[rows])
    bound = np.exp(MAX_LOG_CORRECTION) * one.scale
    assert (found <= champion[rows] * bound * (1 + 1e-12)).all() and (found > 0).all()
    low = fit_quantile(given, champion, 24, 24 * 180, 0.01).forecast(given.feature[rows], champion[rows])
    assert (low < 0).all()


def test_too_little_to_learn_from_is_refused_by_name() -> None:
    with pytest.raises(EstimateError, match="needed"):
        run(panel_of(40), 24, ContestRules(first_day=35, past_days=3))
    with pytest.raises(EstimateError, match="no bar"):
        run(panel_of(40), 24, ContestRules(first_day=500))


def test_segments_cover_the_contest_once() -> None:
    given = panel_of(100)
    found = segments(given, ContestRules(first_day=30, segment_days=25))
    assert found[0][0] == 30 * 24 and found[-1][1] == len(given.open_time_ns)
    assert all(end == start for (_, end), (start, _) in pairwise(found))


def test_a_challenger_needs_results_and_a_difference() -> None:
    rng = np.random.default_rng(4)
    theirs = [rng.normal(1, 0.1, 100) for _ in range(3)]
    better = [part - 0.1 + rng.normal(0, 0.05, 100) for part in theirs]
    assert may_use(better, theirs, 1, proof=300) and not may_use(better, theirs, 1, proof=301)
    assert not may_use(theirs, better, 1, proof=100) and not may_use(theirs, theirs, 1, proof=100)
    assert not may_use([], [], 1, proof=0)


def test_drift_is_noticed_and_chance_is_not() -> None:
    rng = np.random.default_rng(5)
    calm = [Drift() for _ in range(50)]
    false_alarms = sum(any(drift.update(float(x)) for x in rng.normal(-0.02, 1, 91)) for drift in calm)
    assert false_alarms <= 10
    drift = Drift()
    rows = [drift.update(1.0) for _ in range(60)]
    assert not any(rows[: MIN_ROWS - 1]) and rows[-1]
    crash = Drift()
    assert not any(crash.update(x) for x in [0.1, -0.1] * 20 + [1e9] + [0.1, -0.1] * 20)
    silent = Drift()
    assert any(silent.update(float("nan")) for _ in range(MIN_ROWS + 1))
