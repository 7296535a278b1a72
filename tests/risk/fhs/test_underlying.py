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


@pytest.mark.parametrize("kind", ["empty between", "zero between", "one is missing", "every hour"])
def test_funding_is_the_last_payment_at_the_pace_of_payments(kind) -> None:
    """However a column says that there was none; a payment that the file lacks does not halve the pace."""
    given = bars()
    hours = np.arange(HOURS)
    every = 1 if kind == "every hour" else 8
    rates = np.random.default_rng(4).normal(1e-4, 5e-5, HOURS)
    pays = hours % every == 0
    funding = np.where(pays, rates, 0.0 if kind == "zero between" else np.nan)
    if kind == "one is missing":
        funding[24 * 10 + 8] = np.nan
    days = days_of(UnderlyingBars("AAA", given, funding_rate=funding), BarRules())
    last = hours[23::24] // every * every
    np.testing.assert_allclose(days.funding_rate[1:], rates[last][1:] * 24 / every, rtol=1e-12)


def test_changes_of_the_last_payment_do_not_follow_each_other_where_payments_do_not() -> None:
    """Of a day's sums they do, with nothing but chance in the payments (Working 1960)."""
    hours = 24 * 2_000
    walk = np.cumsum(np.random.default_rng(7).normal(0, 1e-5, hours // 8))
    funding = np.full(hours, np.nan)
    funding[::8] = walk
    days = days_of(UnderlyingBars("AAA", bars(hours=hours), funding_rate=funding), BarRules())
    change = np.diff(days.funding_rate[1:])
    sums = np.diff(walk.reshape(-1, 3).sum(axis=1))
    assert abs(np.corrcoef(change[1:], change[:-1])[0, 1]) < 0.06
    assert np.corrcoef(sums[1:], sums[:-1])[0, 1] > 0.15


def test_no_payment_and_one_alone_have_no_pace() -> None:
    given = bars()
    one = np.full(HOURS, np.nan)
    one[5] = 1e-4
    for funding in (one, np.full(HOURS, np.nan)):
        days = days_of(UnderlyingBars("AAA", given, funding_rate=funding), BarRules())
        assert np.isnan(days.funding_rate).all()
    nothing = days_of(UnderlyingBars("AAA", given, funding_rate=np.zeros(HOURS)), BarRules())
    assert (nothing.funding_rate[1:] == 0).all()
