"""Underlyings of our own making, with volatility that clusters and, where asked, a signal that only trees can use."""

import numpy as np

from risk.fhs.underlying import UnderlyingBars
from risk.learning.panel import Panel, panel
from risk.volatility.bars import HOUR_NS, BarRules, Bars

RULES = BarRules()


def underlying(days: int = 300, seed: int = 1, name: str = "AAA", *, signal: bool = False) -> UnderlyingBars:
    """Hours of a market. With `signal`, volatility doubles after a high basis, which HAR does not look at."""
    rng = np.random.default_rng(seed)
    hours = days * 24
    log_vol = np.zeros(hours)
    for at in range(1, hours):
        log_vol[at] = 0.98 * log_vol[at - 1] + rng.normal(0, 0.08)
    basis = np.repeat(rng.choice([0.0, 0.002], -(-hours // 6)), 6)[:hours]
    scale = np.ones(hours)
    if signal:
        scale[1:] = np.where(basis[:-1] > 0.001, 2.0, 0.7)
    r = 0.005 * np.exp(log_vol) * scale * rng.standard_t(6, hours)
    close = 100 * np.exp(np.cumsum(r))
    funding = np.where(np.arange(hours) % 8 == 0, rng.normal(1e-4, 1e-4, hours), np.nan)
    bars = Bars(np.arange(hours, dtype=np.int64) * HOUR_NS, close, np.ones(hours))
    return UnderlyingBars(name, bars, close * np.exp(-basis), funding)


def panel_of(days: int = 300, seed: int = 1, *, signal: bool = False) -> Panel:
    """The panel of a market with one other beside it."""
    return panel(underlying(days, seed, signal=signal), RULES, [underlying(days, seed + 100, "BBB")])


def shifted(given: Panel, bars: int) -> Panel:
    """A panel whose features are of `bars` later than they say: a look into the future, if above zero."""
    feature = np.full_like(given.feature, np.nan)
    feature[: len(feature) - bars] = given.feature[bars:]
    return Panel(given.underlying, given.open_time_ns, given.log_return, feature, given.names, given.bars_per_day)
