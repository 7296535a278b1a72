"""From bars to haircuts, collars, tail points and trees: whatever bars come, a number or a refusal by its name."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np
import pytest

from risk.fhs.factors import Factor, FactorKind
from risk.fhs.filtered import Filtered, FilterRules, ScenarioSet
from risk.fhs.limits import collar, haircut
from risk.fhs.measures import expected_shortfall, value_at_risk
from risk.fhs.points import tail_points
from risk.fhs.underlying import UnderlyingBars, days_of, factor_history
from risk.learning import baselines
from risk.learning.boosted import fit_quantile, fit_variance
from risk.learning.panel import Panel, panel
from risk.learning.regime import RegimeBank, RegimeRules
from risk.volatility.bars import HOUR_NS, BarRules, Bars
from risk.volatility.refusals import EstimateError, Floats, Reason

RULES = BarRules()
DAYS = 300
HOURS = DAYS * 24
SINE = 100 * np.exp(np.cumsum(np.sin(np.arange(HOURS) * 0.7) / 100))
SPOT = [Factor("AAA", FactorKind.SPOT)]

CLOSES: dict[str, Floats] = {
    "one bar": np.array([100.0]),
    "one day": SINE[:24],
    "constant": np.full(HOURS, 100.0),
    "zero": np.zeros(HOURS),
    "all missing": np.full(HOURS, np.nan),
    "NaN-laden": np.where(np.arange(HOURS) % 3 == 0, np.nan, SINE),
    "infinite": np.where(np.arange(HOURS) % 50 == 0, np.inf, SINE),
    "ten sigma": SINE * np.exp(np.where(np.arange(HOURS) >= HOURS - 100, -0.5, 0.0)),
    "ordinary": SINE,
}


def bars_of(close: Floats) -> UnderlyingBars:
    return UnderlyingBars("AAA", Bars(np.arange(len(close), dtype=np.int64) * HOUR_NS, close, np.ones(len(close))))


def scenarios_of(close: Floats) -> ScenarioSet:
    history = factor_history(days_of(bars_of(close), RULES))
    return Filtered(history, FilterRules()).scenarios(int(history.day[-1]), 1.0, SPOT)


def points_of(close: Floats) -> list[float]:
    found = tail_points(scenarios_of(close), 0.975)
    return [move for point in found.points for move in point.moves.values()]


def panel_of(close: Floats) -> Panel:
    return panel(bars_of(close), RULES)


def measured(close: Floats) -> list[float]:
    found = scenarios_of(close)
    profit = np.expm1(found.of(SPOT[0]))
    return [measure(profit, found.weight, 0.99) for measure in (value_at_risk, expected_shortfall)]


def learned(close: Floats) -> list[float]:
    seen = panel_of(close)
    champion, _ = baselines.har(seen, 24, len(seen.log_return))
    trees = fit_variance(seen, champion, 24, len(seen.log_return))
    low = fit_quantile(seen, champion, 24, len(seen.log_return), 0.01)
    assert trees is not None and low is not None
    return [trees.scale]


ENGINES: dict[str, Callable[[Floats], Any]] = {
    "scenarios": lambda close: scenarios_of(close).move.ravel().tolist(),
    "measures": measured,
    "haircut": lambda close: [haircut(scenarios_of(close), "AAA", 0.99, 0.01)],
    "collar": lambda close: collar(scenarios_of(close), "AAA", 0.999, 0.01, 0.25),
    "tail points": points_of,
    "learned": learned,
    **{
        name: lambda close, make=make: [
            float(v) for v in make(panel_of(close), 24, len(close))[0] if not np.isnan(v)
        ]
        for name, make in (("EWMA", baselines.ewma), ("GARCH-t", baselines.garch), ("HAR", baselines.har))
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_number_or_a_refusal_by_its_name(engine: str, name: str) -> None:
    try:
        found = ENGINES[engine](CLOSES[name])
    except EstimateError as error:
        assert error.reason in Reason and name != "ordinary", error
        return
    assert all(isfinite(value) for value in found), (engine, name)


@pytest.mark.parametrize("name", ["one bar", "all missing", "zero"])
def test_nothing_to_learn_from_is_refused_by_all(name: str) -> None:
    for engine in ("scenarios", "haircut", "collar", "tail points", "learned"):
        with pytest.raises(EstimateError):
            ENGINES[engine](CLOSES[name])


@pytest.mark.parametrize("name", CLOSES)
def test_the_regime_never_loosens_whatever_comes(name: str) -> None:
    with np.errstate(all="ignore"):
        returns = np.diff(np.log(CLOSES[name]))
    bank = RegimeBank(1, RegimeRules())
    for value in returns[-500:].tolist():
        factor = bank.update(np.array([value]))
        assert np.isfinite(factor).all() and (factor >= 1).all()
