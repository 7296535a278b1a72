"""What every margin model answers, and how it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

# Where the model's figures add up only up to rounding.
TOLERANCE: Final = 1e-9


class MarginError(ValueError):
    """A margin that can not be stated: `reason` is a word for machines, `text` names the input and what is wrong."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason, self.text = reason, text


class Component(msgspec.Struct, frozen=True, gc=False):
    """One summand of both requirements; the components of a result sum to its initial and maintenance margin."""

    initial: float
    maintenance: float


class Scenario(msgspec.Struct, frozen=True, gc=False):
    """One rung of the ladder: relative spot move, volatility move in words, profit (loss negative)."""

    name: str
    spot: float
    vol: str
    pnl: float


class Liquidation(msgspec.Struct, frozen=True, gc=False):
    """A price at which equity meets the maintenance margin.

    `gap` is equity - maintenance there. `is_jump` tells that the requirement itself jumps at this price (a tier
    without a deduction), so that no price makes the two equal: then `price` is the last one on the solvent side.
    `bankruptcy` is where equity is zero, None where that was not found.
    """

    underlying: str
    price: float
    gap: float
    notional: float
    bankruptcy: float | None = None
    is_jump: bool = False


class MarginResult(msgspec.Struct, frozen=True, kw_only=True):
    """A model's answer, in `currency`.

    equity is what the venue compares its requirements with (docs/margin.md says what each venue counts in);
    requirements are never negative. `ladder` and `binding` are empty for models without scenarios. `details` holds
    the figures by the venue's own names, `unconfirmed` the parts of the formula that no public source confirms.
    """

    model: str
    currency: str
    equity: float
    initial: float
    maintenance: float
    components: dict[str, Component] = {}
    ladder: tuple[Scenario, ...] = ()
    binding: str = ""
    liquidation: tuple[Liquidation, ...] = ()
    details: dict[str, Any] = {}
    unconfirmed: tuple[str, ...] = ()
    source: str = ""
    as_of: str = ""

    @property
    def available(self) -> float:
        """What is left above the initial margin; negative where it is short."""
        return self.equity - self.initial

    @property
    def initial_is_covered(self) -> bool:
        """True where new risk may be taken."""
        return self.equity >= self.initial

    @property
    def maintenance_is_covered(self) -> bool:
        """True where the venue would not liquidate."""
        return self.equity >= self.maintenance


def total(components: Mapping[str, Component]) -> tuple[float, float]:
    """Return the sums of initial and maintenance margin over components."""
    return sum(c.initial for c in components.values()), sum(c.maintenance for c in components.values())


def require(ok: bool, reason: str, text: str) -> None:
    """Raise MarginError unless `ok`."""
    if not ok:
        raise MarginError(reason, text)
