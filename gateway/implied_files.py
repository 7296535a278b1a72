"""Implied volatility in files of its own, beside price files: a quote a line, put onto an underlying's bars.

Columns `open_time_ms` (or `open_time`), the moment of a quote, and `implied_vol`, one month's, as an annual fraction
(0.6 is 60 %). A file without `close` is one; its underlying is in its name, as BTC in BTCUSDT_implied.csv.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from risk.volatility.bars import DAY_NS
from risk.volatility.refusals import Floats, Ints

# A quote counts until it is a day old, as in the estimators (risk/volatility/implied.py).
STALE_NS: Final = DAY_NS
# 1 000 %: what is above it is in percent.
MOST_VOL: Final = 10.0


class ImpliedSeries(msgspec.Struct, frozen=True):
    """Quotes of one underlying: when (ns), and how much; the file and the hash of its content."""

    path: Path
    underlying: str
    time_ns: Ints
    implied_vol: Floats
    sha256: str

    def on(self, open_time_ns: Ints, step_ns: int) -> Floats:
        """The last quote up to the end of each bar, NaN where there is none or it is stale."""
        ends = open_time_ns + step_ns
        there = np.isfinite(self.implied_vol)
        time, quoted = self.time_ns[there], self.implied_vol[there]
        at = np.searchsorted(time, ends, side="right") - 1
        known = at >= 0
        fresh = known & (ends - time[np.maximum(at, 0)] <= STALE_NS) if len(time) else known
        return np.where(fresh, quoted[np.maximum(at, 0)] if len(time) else np.nan, np.nan)


def why_no_volatility(values: Floats) -> str:
    """Why a column is none of implied volatilities; empty where it is. What is missing or zero is no quote."""
    known = values[np.isfinite(values)]
    if not len(known) or not (known > 0).any():
        return "no quote of an implied volatility"
    if known.min() < 0:
        return f"an implied volatility of {known.min():g}"
    if known.max() > MOST_VOL:
        return f"an implied volatility of {known.max():g}: it is an annual fraction, 0.6 for 60 %"
    return ""
