"""Defaults of where, and how often, risk arrays are made."""

from decimal import Decimal
from typing import Literal

# A move that the timer does not wait for: 0.1 % of price, 2 % of implied volatility.
DEFAULT_GENERATION_MOVE_FRACTION = Decimal("0.001")
DEFAULT_GENERATION_VOL_MOVE_FRACTION = Decimal("0.02")
# A thousand options in 200 scenarios take 15 ms four times a second: in slices, each order in twenty would wait.
DEFAULT_PRICING: Literal["process"] = "process"
# 100 000 instruments in 300 scenarios.
DEFAULT_PRICING_MEMORY_MIB = 256
# A person sees it so often; 100 000 accounts of twenty positions take a fifth of it.
DEFAULT_REMARGIN_INTERVAL_MS = 1000
