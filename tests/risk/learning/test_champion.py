"""Whose forecast is believed: who has won, on what was known, and until it drifts."""

import dataclasses

import numpy as np
import pytest

from risk.coverage.models import TEMPERED
from risk.fhs.filtered import Filtered, FilterRules
from risk.fhs.underlying import UnderlyingBars, days_of, factor_history
from risk.learning.boosted import fit_variance
from risk.learning.champion import FILTER, ChampionRules, choose, choose_each, walk
from risk.learning.contest import CHALLENGER
from risk.learning.panel import panel
from risk.volatility.refusals import EstimateError
from tests.risk.learning.panels import RULES, underlying

DAYS = 420
SMALL = ChampionRules(segment_days=60, first_past_days=120, proof_days=60, least=0.75, most=2.0)


def filters(given: UnderlyingBars):
    history = factor_history(days_of(given, RULES))
    fast, slow = Filtered(history, FilterRules()), Filtered(history, TEMPERED)
    return history.day, fast.sigma[:, 0], slow.sigma[:, 0]


def walked(given: UnderlyingBars, learn=None, horizon=24, rules=SMALL):
    seen = panel(given, RULES)
    return walk(seen, *filters(given), horizon, rules, learn)


def knowing(given: UnderlyingBars, factor=lambda row: 1.0, horizon=24):
    """A challenger that knows what comes, and says so times a factor."""
    truth = panel(given, RULES).variance_ahead(horizon)

    def learn(seen, har, horizon, past, rows):
        known = np.where(np.isfinite(truth[rows]), truth[rows], har[rows])
        return known * np.array([factor(row // 24) for row in rows.tolist()])

    return learn


MARKET = underlying(DAYS, 3)


def test_a_challenger_that_wins_is_used() -> None:
    found = walked(MARKET, knowing(MARKET))
    choice = choose(found, DAYS - 2)
    assert choice.forecaster == CHALLENGER and choice.rival is not None and choice.rival.has_won
    assert choice.rival.p_value < 0.01 and choice.rival.loss < choice.rival.base_loss and choice.rival.rows >= 60
    assert choice.forecast == pytest.approx(float(np.sqrt(found.forecast[CHALLENGER][-2])))
    expected = np.clip(choice.forecast / choice.base, SMALL.least, SMALL.most)
    assert choice.regime > 1.0 or choice.ratio == pytest.approx(expected)


def test_many_evenings_are_told_what_each_is_told_alone() -> None:
    """The detector is asked of all at once, of evenings with less history than it looks back too."""
    found = walked(MARKET, knowing(MARKET))
    days = [int(found.day[0]), DAYS - 90, DAYS - 3, DAYS - 2]
    assert choose_each(found, days) == [choose(found, day) for day in days]
    assert any(one.regime > 1.0 for one in choose_each(found, found.day.tolist()))


def test_one_that_loses_is_not() -> None:
    choice = choose(walked(MARKET, knowing(MARKET, lambda day: 30.0)), DAYS - 2)
    lost = next(one for one in choice.rivals if one.model == CHALLENGER)
    assert choice.forecaster != CHALLENGER and not lost.has_won and lost.p_value > 0.9 and lost.loss > lost.base_loss


def test_the_learned_one_is_used_where_there_is_something_to_learn() -> None:
    given = underlying(DAYS, 5, signal=True)
    choice = choose(walked(given, lambda *a: fit_variance(*a[:4]).forecast(a[0].feature[a[4]], a[1][a[4]])), DAYS - 1)
    assert any(one.model == CHALLENGER for one in choice.rivals)
    again = choose(walked(given), DAYS - 1)
    assert again == choice  # the same by default, and the same twice


def test_too_few_results_prove_nothing() -> None:
    found = walked(MARKET, knowing(MARKET))
    early = choose(found, int(found.day[0]) + 59)
    assert early.forecaster == FILTER and early.ratio == 1.0 and not any(one.has_won for one in early.rivals)
    nothing = choose(found, int(found.day[0]))
    assert nothing.why == "no contest" and nothing.rival is None and nothing.rivals == []


def test_drift_steps_down_although_the_contest_is_still_won() -> None:
    wild = DAYS - 40
    found = walked(MARKET, knowing(MARKET, lambda day: 1.0 if day < wild else 4.0))
    before, after = choose(found, wild - 1), choose(found, DAYS - 1)
    assert before.forecaster == CHALLENGER and before.ratio != 1.0
    assert after.rival is not None and after.rival.model == CHALLENGER and after.rival.has_won
    assert (after.forecaster, after.ratio) == (FILTER, 1.0) and "drifted" in after.why and after.forecast is not None


def test_a_contest_that_is_not_won_any_more_steps_down() -> None:
    wild = DAYS - 150
    choice = choose(walked(MARKET, knowing(MARKET, lambda day: 1.0 if day < wild else 100.0)), DAYS - 1)
    assert choice.forecaster != CHALLENGER


def test_without_a_forecast_today_the_filter_is_used() -> None:
    found = walked(MARKET, knowing(MARKET))
    found.forecast[CHALLENGER][-1] = np.nan
    choice = choose(found, DAYS - 1)
    assert (choice.forecaster, choice.ratio, choice.forecast) == (FILTER, 1.0, None) and "no forecast" in choice.why


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_a_ratio_stays_within_its_bounds(factor) -> None:
    found = walked(MARKET, knowing(MARKET))
    found.forecast[CHALLENGER][-1] *= factor
    choice = choose(found, DAYS - 1)
    assert SMALL.least <= choice.ratio <= SMALL.most
    if choice.regime == 1.0:
        assert choice.ratio == (SMALL.least if factor < 1 else SMALL.most)


def test_the_detector_tightens_and_never_loosens() -> None:
    close = MARKET.bars.close.copy()
    close[-3:] *= 0.9  # a crash in the last hours
    crashed = dataclasses.replace(MARKET, bars=dataclasses.replace(MARKET.bars, close=close))
    found = walked(crashed, knowing(crashed))
    found.forecast[CHALLENGER][-1] = found.fast[-1] * 0.6
    choice = choose(found, DAYS - 1)
    assert choice.forecaster == CHALLENGER and choice.regime > 1.0 and choice.ratio >= 1.0


def test_an_evening_knows_nothing_of_what_comes() -> None:
    """Bars after an evening change; what is chosen on it does not."""
    close = MARKET.bars.close.copy()
    evening = DAYS - 70
    close[(evening + 1) * 24 :] *= np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.05, 69 * 24)))
    other = dataclasses.replace(MARKET, bars=dataclasses.replace(MARKET.bars, close=close), mark_close=np.zeros(0))
    given = dataclasses.replace(MARKET, mark_close=np.zeros(0))
    one, two = (choose(walked(each), evening) for each in (given, other))
    assert one == two
    assert choose(walked(given), DAYS - 1) != choose(walked(other), DAYS - 1)


def test_two_days_ahead_are_a_contest_of_their_own() -> None:
    choice = choose(walked(MARKET, knowing(MARKET, horizon=48), horizon=48), DAYS - 3)
    assert choice.forecaster == CHALLENGER and choice.rival is not None
    one_day = choose(walked(MARKET, knowing(MARKET)), DAYS - 3)
    assert one_day.rival is not None and choice.rival.rows == one_day.rival.rows - 1


def test_what_can_not_be_held_is_refused() -> None:
    with pytest.raises(EstimateError, match="evening"):
        walked(underlying(100, 1))
    with pytest.raises(EstimateError, match="no forecast"):
        choose(walked(MARKET, knowing(MARKET)), DAYS + 5)
    with pytest.raises(EstimateError, match="contest"):
        ChampionRules(least=1.1)
