"""Drift of a forecast in use: whether it has begun to lose more than what it replaced."""

from __future__ import annotations

from typing import Final

# Losses of days differ by little and often by chance: after so many, and so far, it is no chance.
MIN_ROWS: Final = 30
THRESHOLD: Final = 20.0
# What the challenger may lose more on a usual day before it counts at all, in mean absolute differences.
ALLOWED: Final = 0.1
# A single day of a crash must not decide: a difference counts as so many mean absolute differences at the most.
LARGEST: Final = 5.0


class Drift:
    """Page's cumulative sum (1954) of the challenger's loss over the champion's, in units of its usual size."""

    def __init__(self) -> None:
        self._seen, self._size, self._sum = 0, 0.0, 0.0
        self.has_drifted = False

    def update(self, excess_loss: float) -> bool:
        """Takes a day's loss of the challenger less the champion's; whether it has drifted, which it then has for good.

        What is no number counts as the largest excess: a forecast without a loss is no forecast.
        """
        self._seen += 1
        known = excess_loss == excess_loss and abs(excess_loss) != float("inf")
        size = abs(excess_loss) if known else self._size
        self._size += (size - self._size) / self._seen
        scaled = LARGEST if not known else (excess_loss / self._size if self._size > 0 else 0.0)
        self._sum = max(0.0, self._sum + max(-LARGEST, min(LARGEST, scaled)) - ALLOWED)
        self.has_drifted = self.has_drifted or (self._seen >= MIN_ROWS and self._sum > THRESHOLD)
        return self.has_drifted
