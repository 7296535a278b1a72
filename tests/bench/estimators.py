"""`python -m tests.bench.estimators`: what one bar costs the estimators of all underlyings. Run by hand.

500 underlyings x 3 models (EWMA, GJR-GARCH, HAR): the budget is 5 ms. Each round feeds two days of hours, so that
HAR's day ends are in; the median and the worst bar are of whole updates of all three banks, one after the other.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Final

import numpy as np

from risk.correlation.ewma import CovarianceBank
from risk.volatility.bars import HOUR_NS, BarBank, BarRules
from risk.volatility.ewma import EwmaBank
from risk.volatility.garch import GarchBank, GarchParameters
from risk.volatility.garch_fit import fit_garch
from risk.volatility.har import HarBank, HarParameters

UNDERLYINGS: Final = 500
BARS: Final = 24 * 60
BUDGET_MS: Final = 5.0


def update_times_ms(underlyings: int = UNDERLYINGS, bars: int = BARS) -> tuple[list[float], list[float]]:
    """Milliseconds of each bar's update: of the three models, and of the returns that are made for them."""
    rng, rules = np.random.default_rng(1), BarRules()
    close = np.exp(np.cumsum(rng.normal(0, 0.01, (bars, underlyings)), axis=0))
    volume = (rng.random((bars, underlyings)) > 0.01).astype(np.float64)
    prices = BarBank(underlyings, rules)
    ewma = EwmaBank(underlyings)
    garch = GarchBank([GarchParameters(1e-6, 0.05, 0.05, 0.9)] * underlyings, np.full(underlyings, 1e-4))
    har = HarBank([HarParameters(-0.4, 0.4, 0.3, 0.25, 0.3)] * underlyings, rules)
    models, returns = [], []
    for bar in range(bars):
        start = perf_counter_ns()
        log_return, span = prices.update(bar * HOUR_NS, close[bar], volume[bar])
        made = perf_counter_ns()
        per_bar = log_return / np.sqrt(np.maximum(span, 1))
        ewma.update(per_bar)
        garch.update(per_bar)
        har.update(bar * HOUR_NS, log_return, span)
        models.append((perf_counter_ns() - made) / 1e6)
        returns.append((made - start) / 1e6)
    return models, returns


def _others() -> None:
    """What has no budget: a fit, and the covariance of many underlyings."""
    r = np.random.default_rng(2).standard_t(5, 2_000) * 0.01
    start = perf_counter_ns()
    fit_garch(r, asymmetric=True)
    print(f"fit of GJR-GARCH-t to 2 000 returns: {(perf_counter_ns() - start) / 1e6:.0f} ms")
    for size in (50, UNDERLYINGS):
        bank, rows, times = CovarianceBank(size), np.random.default_rng(3).normal(0, 0.01, (100, size)), []
        for row in rows:
            start = perf_counter_ns()
            bank.update(row)
            times.append((perf_counter_ns() - start) / 1e6)
        print(f"EWMA covariance of {size} underlyings: {np.median(times):.3f} ms a bar")


def main() -> None:
    """Prints the figures beside the budget."""
    models, returns = update_times_ms()
    held = "held" if np.quantile(models, 0.99) <= BUDGET_MS else "NOT held"
    print(
        f"{UNDERLYINGS} underlyings x 3 models, one bar: median {np.median(models):.3f} ms, "
        f"p99 {np.quantile(models, 0.99):.3f} ms, worst {max(models):.3f} ms; budget {BUDGET_MS:.0f} ms {held}"
    )
    print(f"returns from their bars: median {np.median(returns):.3f} ms")
    _others()


if __name__ == "__main__":
    main()
