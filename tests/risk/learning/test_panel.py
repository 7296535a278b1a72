"""Features know the past only, targets the future only; awkward histories give numbers or NaN."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.fhs.underlying import UnderlyingBars
from risk.learning.panel import panel
from risk.volatility.bars import Bars
from risk.volatility.refusals import EstimateError
from tests.risk.learning.panels import RULES, panel_of, underlying


@given(st.integers(24 * 40, 24 * 60 - 2), st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_features_do_not_know_what_comes(cut: int, seed: int) -> None:
    whole, other = underlying(60, seed), underlying(60, seed + 1, "BBB")
    expected = panel(whole, RULES, [other]).feature[: cut + 1]
    changed = Bars(whole.bars.open_time_ns, whole.bars.close.copy(), whole.bars.volume)
    changed.close[cut + 1 :] *= 1.3
    mark = whole.mark_close.copy()
    mark[cut + 1 :] *= 0.5
    funding = whole.funding_rate.copy()
    funding[cut + 1 :] = 9.0
    theirs = Bars(other.bars.open_time_ns, other.bars.close.copy(), other.bars.volume)
    theirs.close[cut + 1 :] *= 2.0
    found = panel(UnderlyingBars("AAA", changed, mark, funding), RULES, [UnderlyingBars("BBB", theirs)])
    np.testing.assert_allclose(found.feature[: cut + 1], expected, rtol=1e-9, atol=1e-12)


def test_targets_are_of_the_bars_after() -> None:
    given = panel_of(40)
    r = given.log_return
    ahead, moved = given.variance_ahead(24), given.return_ahead(24)
    assert ahead[100] == pytest.approx((r[101:125] ** 2).sum())
    assert moved[100] == pytest.approx(r[101:125].sum())
    assert np.isnan(ahead[-24:]).all() and np.isfinite(ahead[-25])
    with pytest.raises(EstimateError):
        given.variance_ahead(0)


def test_features_by_hand() -> None:
    given = panel_of(40)
    column = {name: given.feature[:, at] for at, name in enumerate(given.names)}
    r, at = given.log_return, 500
    assert column["log variance 1 d"][at] == pytest.approx(np.log((r[at - 23 : at + 1] ** 2).mean()))
    falls = np.minimum(r[at - 23 : at + 1], 0)
    assert column["share of falls 1 d"][at] == pytest.approx((falls**2).sum() / (r[at - 23 : at + 1] ** 2).sum())
    assert column["return 7 d"][at] == pytest.approx(r[at - 167 : at + 1].sum())
    assert column["weekday"][at] == ((at + 1) // 24 + 4) % 7
    assert "BBB log variance 1 h" in column and np.isnan(column["implied"]).all()


def test_missing_bars_leave_gaps_and_no_errors() -> None:
    whole = underlying(60)
    keep = np.ones(len(whole.bars.close), np.bool_)
    keep[700:760] = False
    bars = Bars(whole.bars.open_time_ns[keep], whole.bars.close[keep], whole.bars.volume[keep])
    found = panel(UnderlyingBars("AAA", bars), RULES)
    assert len(found.log_return) == len(keep) and np.isnan(found.log_return[701:759]).all()
    assert np.isnan(found.variance_ahead(24)[700]) and np.isfinite(found.variance_ahead(24)[900])
