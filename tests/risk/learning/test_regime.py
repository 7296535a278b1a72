"""The detector tightens and never loosens; it knows a crash from a busy hour, and one underlying from another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.learning.regime import Regime, RegimeBank, RegimeRules, tightened, used_sigma
from risk.volatility.refusals import EstimateError

RETURNS = st.lists(st.one_of(st.floats(-0.5, 0.5), st.just(float("nan")), st.just(float("inf"))), max_size=200)


@given(RETURNS)
def test_a_factor_is_never_below_one_nor_above_its_cap(returns) -> None:
    bank = RegimeBank(1, RegimeRules(warm_up=5))
    for r in returns:
        factor = bank.update(np.array([r]))
        assert 1.0 <= factor[0] <= 3.0


def quiet(bank: RegimeBank, bars: int = 500, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(bars):
        bank.update(rng.normal(0, 0.001, bank.size))


def test_a_crash_raises_at_once_and_releases_slowly() -> None:
    bank = RegimeBank(2, RegimeRules())
    quiet(bank)
    assert bank.factor.tolist() == [1.0, 1.0]
    bank.update(np.array([-0.03, 0.0005]))
    assert bank.factor.tolist() == [3.0, 1.0]
    assert bank.regime_of(0) is Regime.CRASH and bank.regime_of(1) is Regime.CALM
    quiet(bank, 10)
    assert 2.5 < bank.factor[0] < 3.0 and bank.regime_of(0) is Regime.STRESSED
    quiet(bank, 3_000)
    assert bank.factor[0] < 1.05 and bank.regime_of(0) is Regime.CALM


def test_both_directions_mirror() -> None:
    down, up = RegimeBank(1, RegimeRules()), RegimeBank(1, RegimeRules())
    rng = np.random.default_rng(3)
    for r in rng.standard_t(3, 400) * 0.002:
        assert down.update(np.array([r])) == up.update(np.array([-r]))


def test_the_first_bars_are_no_crash() -> None:
    bank = RegimeBank(1, RegimeRules(warm_up=60))
    for r in [0.0] * 10 + [0.05]:
        bank.update(np.array([r]))
    assert bank.factor[0] == 1.0


def test_margin_and_volatility_have_floors() -> None:
    found = tightened(np.array([10.0, 10.0]), np.array([1.0, 2.0]), np.array([12.0, 5.0]))
    assert found.tolist() == [12.0, 20.0]
    for bad in (0.9, float("nan")):
        with pytest.raises(EstimateError):
            tightened(np.array([10.0]), np.array([bad]), np.array([0.0]))
    assert used_sigma(0.5, None, 0.3) == 0.5
    assert used_sigma(0.5, 0.2, 0.3) == 0.3  # the learned one may be lower than the champion, never than the floor
    with pytest.raises(EstimateError):
        used_sigma(float("nan"), None, float("nan"))


@pytest.mark.parametrize("rules", [{"fast_decay": 0.9999}, {"cap": 0.5}, {"stress_ratio": 0.5}, {"release": 1.0}])
def test_impossible_rules_are_refused(rules) -> None:
    with pytest.raises(EstimateError):
        RegimeRules(**rules)
