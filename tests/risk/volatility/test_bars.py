"""Bars to returns: each rule by a case, online against batch over drawn histories."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.volatility.bars import DAY_NS, HOUR_NS, BarBank, BarRules, Bars, returns_of, spliced
from risk.volatility.realised import DayBank, realised_variance
from risk.volatility.refusals import EstimateError, Reason
from tests.risk.volatility.samples import hours

RULES = BarRules()
NAN = float("nan")
LN2 = float(np.log(2))

CASES = {
    "plain": (hours([1, 2, 4]), [NAN, LN2, LN2], [0, 1, 1]),
    "no bar": (hours([1, 4], every=[0, 2]), [NAN, NAN, 2 * LN2], [0, 0, 2]),
    "no volume": (hours([1, 3, 4], [1, 0, 1]), [NAN, NAN, 2 * LN2], [0, 0, 2]),
    "no number": (hours([1, NAN, 4]), [NAN, NAN, 2 * LN2], [0, 0, 2]),
    "negative": (hours([1, -1, 4]), [NAN, NAN, 2 * LN2], [0, 0, 2]),
    "infinite": (hours([1, float("inf"), 4]), [NAN, NAN, 2 * LN2], [0, 0, 2]),
    "one bar": (hours([5]), [NAN], [0]),
    "long gap": (hours([1, 2, 4], every=[0, 8, 9]), [NAN] * 9 + [LN2], [0] * 9 + [1]),
    "bridged gap": (hours([1, 2], every=[0, 7]), [NAN] * 7 + [LN2], [0] * 7 + [7]),
}


@pytest.mark.parametrize("name", CASES)
def test_rules(name: str) -> None:
    bars, log_return, span = CASES[name]
    returns = returns_of(bars, RULES)
    np.testing.assert_allclose(returns.log_return, log_return, rtol=1e-12)
    assert returns.span.tolist() == span


def test_zero_volume_counts_where_rules_say_so() -> None:
    bars = hours([1, 2, 4], [1, 0, 1])
    returns = returns_of(bars, BarRules(zero_volume_observed=True))
    np.testing.assert_allclose(returns.log_return, [NAN, LN2, LN2])


def test_a_gaps_return_has_one_bars_variance() -> None:
    returns = returns_of(hours([1, 4], every=[0, 4]), RULES)
    assert returns.per_bar[4] == pytest.approx(2 * LN2 / 2)


def test_no_return_between_segments() -> None:
    first, second = hours([100, 101, 102]), hours([205, 207], start=2)
    joined = spliced([first, second])
    returns = returns_of(joined, RULES)
    assert joined.close.tolist() == [100, 101, 205, 207]
    assert np.isnan(returns.log_return[[0, 2]]).all()
    assert returns.log_return[3] == pytest.approx(np.log(207 / 205))


def test_an_empty_history_is_spliced_away() -> None:
    assert spliced([hours([]), hours([1, 2])]).close.tolist() == [1, 2]
    assert len(spliced([hours([])]).close) == 0


REFUSED = {
    Reason.SHORT_HISTORY: lambda: returns_of(hours([]), RULES),
    Reason.UNORDERED: lambda: returns_of(hours([1, 2], every=[1, 1]), RULES),
    Reason.OFF_GRID: lambda: returns_of(Bars(np.array([1]), np.ones(1), np.ones(1)), RULES),
    Reason.TOO_LARGE: lambda: returns_of(hours([1, 2], every=[0, 200_000]), BarRules(step_ns=60_000_000)),
    Reason.UNDECLARED_SPLIT: lambda: returns_of(hours([1000, 1001, 1.002]), RULES),
    Reason.BAD_SHAPE: lambda: Bars(np.array([0]), np.ones(2), np.ones(1)),
    Reason.BAD_PARAMETER: lambda: BarRules(step_ns=7),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals(reason: Reason) -> None:
    with pytest.raises(EstimateError) as refused:
        REFUSED[reason]()
    assert refused.value.reason is reason and refused.value.text


@pytest.mark.parametrize(
    ("reason", "call"),
    [
        (Reason.BAD_PARAMETER, lambda: BarRules(max_gap=-1)),
        (Reason.SHORT_HISTORY, lambda: spliced([])),
        (Reason.UNORDERED, lambda: spliced([hours([1]), hours([1], start=5), hours([1], start=4)])),
        (Reason.OFF_GRID, lambda: BarBank(1, RULES).update(1, np.ones(1), np.ones(1))),
        (Reason.BAD_SHAPE, lambda: BarBank(2, RULES).update(0, np.ones(3), np.ones(2))),
        (Reason.OFF_GRID, lambda: DayBank(1, RULES).update(1, np.ones(1), np.ones(1, np.int64))),
    ],
)
def test_more_refusals(reason: Reason, call: object) -> None:
    with pytest.raises(EstimateError) as refused:
        call()  # type: ignore[operator]
    assert refused.value.reason is reason


def test_time_does_not_go_back() -> None:
    bank, days = BarBank(1, RULES), DayBank(1, RULES)
    bank.update(HOUR_NS, np.ones(1), np.ones(1))
    days.update(HOUR_NS, np.ones(1), np.ones(1, np.int64))
    with pytest.raises(EstimateError, match="unordered"):
        bank.update(HOUR_NS, np.ones(1), np.ones(1))
    with pytest.raises(EstimateError, match="unordered"):
        days.update(0, np.ones(1), np.ones(1, np.int64))


closes = st.one_of(st.floats(50, 99), st.sampled_from([0.0, -1.0, NAN, float("inf")]))
bar = st.tuples(st.integers(1, 12), closes, st.sampled_from([0.0, 1.0, 1.0, 1.0, NAN]), st.booleans())


@given(st.lists(bar, min_size=1, max_size=120), st.integers(0, 23), st.integers(0, 8))
def test_online_equals_batch(drawn: list[tuple[int, float, float, bool]], start: int, max_gap: int) -> None:
    """Returns, then days: the batch, and the banks fed one bar at a time, with and without the bars that are absent."""
    rules = BarRules(max_gap=max_gap)
    at = start + np.cumsum([row[0] for row in drawn])
    segment = np.cumsum([row[3] and row[0] == 3 for row in drawn]).astype(np.int64)
    plain = hours([row[1] for row in drawn], [row[2] for row in drawn], every=at)
    bars = Bars(plain.open_time_ns, plain.close, plain.volume, segment)
    batch = returns_of(bars, rules)
    bank, days = BarBank(1, rules), DayBank(1, rules)
    found, ended = np.full(len(batch.span), np.nan), []
    for time_ns, close, volume, number in zip(bars.open_time_ns, bars.close, bars.volume, segment):
        r, span = bank.update(int(time_ns), close[None], volume[None], np.array([number]))
        place = (int(time_ns) - int(bars.open_time_ns[0])) // HOUR_NS
        found[place] = r[0]
        assert span[0] == batch.span[place]
        ended += days.update(int(time_ns), r, span)
    np.testing.assert_allclose(found, batch.log_return, atol=1e-12)
    whole, slots = DayBank(1, rules), []
    for time_ns, r, span in zip(batch.open_time_ns, batch.log_return, batch.span):
        slots += whole.update(int(time_ns), np.array([r]), np.array([span]))
    if (int(at[-1]) + 1) // 24 == int(at[0]) // 24:
        assert not ended and not slots
        return
    _, variance = realised_variance(batch, rules)
    np.testing.assert_allclose(np.concatenate(slots), variance, rtol=1e-10, atol=1e-20)
    np.testing.assert_allclose(np.concatenate(ended), variance, rtol=1e-10, atol=1e-20)


def test_a_days_variance() -> None:
    """24 returns of 1 %: a sum; with a quarter of the day missing it is scaled up, with more there is none."""
    close = np.exp(0.01 * np.arange(73))
    _, variance = realised_variance(returns_of(hours(close), RULES), RULES)
    np.testing.assert_allclose(variance[1:], 24e-4)
    thin = [hour for hour in range(73) if not 40 <= hour < 52]
    _, variance = realised_variance(returns_of(hours(close[thin], every=thin), RULES), RULES)
    assert np.isnan(variance[1]) and variance[2] == pytest.approx(24e-4, rel=1e-9)


def test_a_gap_over_midnight_counts_for_its_own_day_only() -> None:
    kept = [hour for hour in range(72) if hour not in (46, 47, 48)]
    _, variance = realised_variance(returns_of(hours(np.exp(0.01 * np.array(kept)), every=kept), RULES), RULES)
    assert variance[1] == pytest.approx(24e-4)
    assert variance[2] == pytest.approx((22e-4 + 16e-4 / 4 * 2) * 24 / 24)


def test_no_day_is_over() -> None:
    with pytest.raises(EstimateError, match="no day is over"):
        realised_variance(returns_of(hours([1, 2]), RULES), RULES)


def test_an_absence_is_days_without_a_variance() -> None:
    days = DayBank(1, RULES)
    days.update(0, np.array([0.01]), np.array([1]))
    ended = days.update(5 * DAY_NS, np.array([0.01]), np.array([1]))
    assert len(ended) == 5 and np.isnan(np.concatenate(ended)).all()
    assert len(days.update(5000 * DAY_NS, np.array([0.01]), np.array([1]))) == 61
