"""What money costs that is not where it is needed: a share of what each venue's losses exceed what counts there.

With Y what counts at a venue today (cash that lies there, coins bought there, what contracts have gained, each without
its haircut) and B(s) how all of it moves, Y + B(s) is what the venue has in a scenario, and of max(0, -(Y + B(s)))
`rate` is charged (risk/models/house_scenarios.py). In the joint scenarios that is what it is. In the grid each risk
group moves alone and takes its own worst, so Y is divided among them, in proportion to what each may lose there: with
shares w that sum to one, max(0, -(Y + sum of B)) is at most the sum of max(0, -(w Y + B)), whatever moves together, and
equal to it where every group is at its worst. Stress scenarios bear none, as in the model.

Of what lies at a venue its asset's average haircut is taken off, at the highest value of any scenario; the model takes
that of the scenario off. So less counts here, and what is missing is never less than in the model.

A fill that moves what a venue has by d changes what is missing by at most max(0, -d), and what it makes haircuts
elsewhere grow by is in K of risk/haircuts.py; so the kernel counts what orders lose 1 + rate times, and puts 1 + rate
times K aside. The gap: an order at a venue that has enough bears the rate as well, until the next generation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from risk.joint import Flags
from risk.pricing import Floats


class Places:
    """What one account has at each venue, and how that moves; USD."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._room: dict[str, float] = {}
        self._moves: dict[str, dict[int, Floats]] = {}
        self._unpaid: dict[tuple[str, int], float] = {}

    def gain(self, venue: str, group: int, moved: Floats) -> None:
        """Count how contracts of a risk group at a venue move, (S + J,)."""
        self._room.setdefault(venue, 0.0)
        rows = self._moves.setdefault(venue, {})
        rows[group] = rows[group] + moved if group in rows else moved

    def worth(self, venue: str, asset: int, value: float) -> None:
        """Count what a contract is worth today, in an asset that it pays."""
        self._unpaid[venue, asset] = self._unpaid.get((venue, asset), 0.0) + value

    def lay(
        self, asset: int, group: int, at: Mapping[str, float], moved: Floats, today: float,
        haircut: tuple[float, float, float],
    ) -> None:  # fmt: skip
        """Count units of an asset at venues, and what contracts there are worth in it.

        `moved` (S + J,) is how its price moves from `today`; `haircut` the share that does not count, one plus how
        far the price may rise, and how far it may fall: then a loss since the fill loses less, which is a gain.
        """
        lost, rise, fall = haircut
        for venue, units in at.items():
            counted = units * (1.0 - lost) if units > 0 else units
            self._room[venue] = self._room.get(venue, 0.0) + counted * today
            self.gain(venue, group, counted * moved)
        for (venue, paid), value in self._unpaid.items():
            if paid == asset:
                borne = rise * value if value > 0 else -fall * value
                self._room[venue] = self._room.get(venue, 0.0) + value - lost * borne

    def charge(self, off: dict[int, Floats], size: int, is_market: Flags) -> None:
        """Add what is charged to what does not count, by risk group; of the joint scenarios to the first."""
        for venue, room in self._room.items():
            rows = self._moves.get(venue, {})
            losses = {group: max(0.0, -float(row[:size].min())) for group, row in rows.items()}
            whole = sum(losses.values())
            if not whole:
                off[0][:size] += self._rate * max(0.0, -room)
            else:
                for group, row in rows.items():
                    short = np.maximum(0.0, -(room * (losses[group] / whole) + row[:size]))
                    off.setdefault(group, np.zeros(len(row)))[:size] += self._rate * short
            together = room + sum(row[size:] for row in rows.values())
            off[0][size:] += self._rate * np.maximum(0.0, -together) * is_market[size:]
