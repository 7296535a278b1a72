"""Histories of our own making: correlated, clustered, heavy-tailed moves from a seed."""

import numpy as np

from risk.fhs.factors import Factor, FactorHistory, FactorKind

SPOT, VOL, CARRY, BASIS = FactorKind.SPOT, FactorKind.VOL, FactorKind.CARRY, FactorKind.BASIS


def history(days: int = 600, underlyings: tuple[str, ...] = ("AAA", "BBB"), seed: int = 7, first: int = 18_000):
    """Every factor of every underlying; spots share a common part, sizes are noisy measures of a day's volatility."""
    rng = np.random.default_rng(seed)
    log_vol = np.zeros(days)
    for at in range(1, days):
        log_vol[at] = 0.95 * log_vol[at - 1] + rng.normal(0, 0.2)
    common = rng.standard_t(5, days)
    factors, moves, sizes = [], [], []
    for name in underlyings:
        for kind, scale in ((SPOT, 0.03), (VOL, 0.05), (CARRY, 0.1), (BASIS, 0.0005)):
            own = rng.standard_t(5, days)
            z = 0.8 * common + 0.6 * own if kind is SPOT else own
            factors.append(Factor(name, kind))
            moves.append(scale * np.exp(log_vol) * z)
            noise = np.exp(rng.normal(0, 0.1, days))
            sizes.append(scale * np.exp(log_vol) * noise if kind is SPOT else np.full(days, np.nan))
    return FactorHistory(tuple(factors), first + np.arange(days), np.column_stack(moves), np.column_stack(sizes))
