"""What a fill moves: Instrument.fill_cash, compiled where that was built. MARGINGATE_PURE=1 takes the plain one."""

import os
from collections.abc import Callable

from risk.instrument import Instrument, Side

__all__ = ["COMPILED", "fill_cash"]

FillCash = Callable[[Instrument, Side, int, int], float]

fill_cash: FillCash = Instrument.fill_cash
COMPILED = False
if os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from risk import _cash

        fill_cash = _cash.fill_cash
        COMPILED = True
    except ImportError:
        pass
