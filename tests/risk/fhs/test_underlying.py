"""An underlying by the day: closes, segments, funding, what is derived; haircuts and collars."""

import numpy as np
import pytest

from risk.fhs.factors import Factor, FactorKind
from risk.fhs.filtered import Filtered, FilterRules
from risk.fhs.limits import collar, haircut
from risk.fhs.underlying import UnderlyingBars, carry_loading, days_of, factor_history
from risk.volatility.bars import HOUR_NS, BarRules, Bars
from risk.volatility.refusals import EstimateError
from tests.risk.fhs.histories import history

HOURS = 24 * 40


def bars(seed: int = 3, hours: int = HOURS) -> Bars:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.005, hours)))
    return Bars(np.arange(hours, dtype=np.int64) * HOUR_NS, close, np.ones(hours))


def test_a_days_close_is_its_last_observation() -> None:
    given = bars()
    given.volume[24 * 3 - 1] = 0  # the third day's last hour traded nothing
    given.volume[24 * 5 - 8 : 24 * 5] = 0  # the fifth day's last eight neither: no close
    days = days_of(UnderlyingBars("AAA", given), BarRules())
    assert days.close[0] == given.close[23] and days.close[2] == given.close[24 * 3 - 2]
    assert np.isnan(days.close[4]) and np.isfinite(days.close[5])
    found = factor_history(days)
    spot = found.move[:, 0]
    assert np.isnan(spot[[0, 4, 5]]).all()
    assert spot[1] == pytest.approx(np.log(given.close[47] / given.close[23]))


def test_another_segments_close_is_not_compared_with() -> None:
    given = bars()
    segment = np.where(np.arange(HOURS) < 24 * 20, 0, 1)
    split = Bars(given.open_time_ns, given.close * np.where(segment, 1.7, 1.0), given.volume, segment)
    found = factor_history(days_of(UnderlyingBars("AAA", split), BarRules()))
    assert np.isnan(found.move[20, 0]) and np.isfinite(found.move[21, 0])


def test_funding_basis_and_implied_volatility() -> None:
    given = bars()
    funding = np.full(HOURS, np.nan)
    funding[::8] = 0.0001
    mark = given.close * 0.999
    quoted = np.full(HOURS, 0.6)
    days = days_of(UnderlyingBars("AAA", given, mark, funding, quoted), BarRules())
    assert days.implied_is_quoted and (days.implied_vol == 0.6).all()
    np.testing.assert_allclose(days.funding_rate, 0.0003)
    np.testing.assert_allclose(days.basis, np.log(1 / 0.999))
    kinds = [factor.kind for factor in factor_history(days).factors]
    assert kinds == [FactorKind.SPOT, FactorKind.VOL, FactorKind.CARRY, FactorKind.BASIS]
    bare = days_of(UnderlyingBars("AAA", given), BarRules())
    assert not bare.implied_is_quoted and np.isfinite(bare.implied_vol[-1])
    assert [factor.kind for factor in factor_history(bare).factors] == [FactorKind.SPOT, FactorKind.VOL]
    with pytest.raises(EstimateError):
        UnderlyingBars("AAA", given, mark[:5])


def test_carry_is_worth_less_than_its_time() -> None:
    assert 0 < carry_loading(0.25) < 0.25
    assert carry_loading(1e-6) == pytest.approx(1e-6, rel=1e-3)
    assert carry_loading(1.0) == pytest.approx(7 / 365, rel=1e-3)


def test_haircut_and_collar_come_from_the_same_days() -> None:
    found = Filtered(history(400), FilterRules()).scenarios(18_399)
    share = haircut(found, "AAA", 0.99)
    moves = np.expm1(found.of(Factor("AAA", FactorKind.SPOT)))
    assert share == pytest.approx(-np.quantile(moves, 0.01))
    assert haircut(found, "AAA", 0.99, floor=0.9) == 0.9
    below, above = collar(found, "AAA", 0.99, floor=0.001, cap=5.0)
    assert below == pytest.approx(share) and above == pytest.approx(np.quantile(moves, 0.99))
    assert collar(found, "AAA", 0.99, floor=0.001, cap=0.002) == (0.002, 0.002)
    with pytest.raises(EstimateError):
        collar(found, "AAA", 0.99, floor=0.0, cap=1.0)
    with pytest.raises(EstimateError):
        haircut(found, "ZZZ", 0.99)
