"""Automatic deleveraging: who gives up how much of a position that nobody else takes. The ranking is for all to see.

Counterparties are those that hold the other side. First comes who has gained most with most leverage (risk.models.adl),
then by name. Nobody gives up a leg that hedges: at most what brings the net exposure of its underlying towards zero, so
no net exposure is ever raised. What is left over is nobody's to take, and is told.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A holder of one instrument. `lots` are signed; `net_lots` is the net exposure of its account to the underlying,
    hedges included, in lots of this instrument; `gain` is the profit as a part of entry, `leverage` effective.
    """

    account: str
    lots: int
    net_lots: float
    gain: float
    leverage: float

    @property
    def rank(self) -> float:
        """Gain times leverage; a loss is divided by it, so that the safest loser comes last of all."""
        return self.gain * self.leverage if self.gain > 0 else self.gain / self.leverage

    @property
    def available_lots(self) -> int:
        """What may be taken: no more than is held, and no more than is net."""
        sign = 1 if self.lots > 0 else -1
        return max(0, min(abs(self.lots), int(sign * self.net_lots)))


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What one counterparty gives up, unsigned."""

    account: str
    lots: int
    rank: float


def ranking(candidates: Sequence[Candidate], is_long: bool) -> list[Candidate]:
    """Return the holders of one side, first to be deleveraged first."""
    side = [one for one in candidates if one.lots and (one.lots > 0) is is_long]
    return sorted(side, key=lambda one: (-one.rank, one.account))


def deleverage(lots: int, candidates: Sequence[Candidate]) -> tuple[list[Taken], int]:
    """Return who gives up what against a position of signed lots, and how many lots find nobody."""
    left, taken = abs(lots), []
    for one in ranking(candidates, is_long=lots < 0):
        part = min(left, one.available_lots)
        if part:
            taken.append(Taken(one.account, part, one.rank))
            left -= part
    return taken, left
