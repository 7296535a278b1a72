"""What a fill moves: Instrument.fill_cash, compiled where that was built. MARGINGATE_PURE=1 takes the plain one."""

import os

from risk.instrument import Instrument

__all__ = ["COMPILED", "fill_cash"]

if os.environ.get("MARGINGATE_PURE") == "1":
    fill_cash = Instrument.fill_cash
    COMPILED = False
else:
    try:
        from risk._cash import fill_cash

        COMPILED = True
    except ImportError:
        fill_cash = Instrument.fill_cash
        COMPILED = False
