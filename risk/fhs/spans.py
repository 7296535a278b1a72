"""The same evening over several margin periods: what a position held for one, two or more days from it moved by.

An account is given up on one evening, and what it holds is closed from then on, some of it sooner. So a row is an
evening, not a last day: the one-day and the two-day move of a row share their first day, in all coins. Each is measured
by what was forecast on that evening, so that the day they share is the same in both, and rescaled to today's forecast.

A whole period is the sum of its days' log moves, of a part of a day the root of that part. Where a row's later days are
not over, or a day of them is missing, what there is stands for the period by the root of time: no evening is lost, and
the moves over the shortest period are those that a set of one period has. A longer period is widened where its tail
would be below a shorter one's (markets that came back): it never asks for less of a coin held alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from risk.fhs.factors import Factor
from risk.fhs.filtered import MAX_STANDARDISED, Filtered, ScenarioSet
from risk.fhs.measures import expected_shortfall
from risk.volatility.refusals import Floats, Ints, Reason, clipped, require

# A widened tail is there in two or three.
ROUNDS: Final = 20


class Span(msgspec.Struct, frozen=True):
    """How moves over a period compare with a day's: ratios of expected shortfall of long and short, by coin.

    `by_root` is what the root of time says; `widened` by what the days' own were moved out.
    """

    days: float
    by_root: float
    long: dict[str, float]
    short: dict[str, float]
    widened: dict[str, float]


def over_periods(
    filtered: Filtered, as_of_day: int, periods: Sequence[float], factors: Sequence[Factor], confidence: float
) -> tuple[list[ScenarioSet], list[Span]]:
    """Return a scenario set for each period, of the same evenings, and how they compare; periods in any order.

    Raises EstimateError as `Filtered.scenarios` does, and BAD_PARAMETER without a period.
    """
    require(bool(periods), Reason.BAD_PARAMETER, "no margin period")
    base = filtered.scenarios(as_of_day, 1.0, factors)
    columns = [filtered.history.column[factor] for factor in base.factors]
    rows = np.searchsorted(filtered.history.day, base.day)
    known = int(np.searchsorted(filtered.history.day, as_of_day, side="right"))
    sets, spans = {}, {}
    least: tuple[Floats, Floats] | None = None
    for days in sorted(set(periods)):
        require(days > 0, Reason.BAD_PARAMETER, f"a margin period of {days} days")
        moved = _moved(filtered, rows, columns, known, days) * base.sigma
        widened = np.ones(len(columns))
        long, short = least = _at_least(least, moved, widened, base.weight, confidence)
        moved = moved * widened
        sets[days] = ScenarioSet(base.factors, as_of_day, days, base.day, moved, base.weight, base.sigma)
        day = _tails(base.move, base.weight, confidence)
        names = [factor.underlying for factor in base.factors]
        told = (dict(zip(names, ratio.tolist())) for ratio in (_over(long, day[0]), _over(short, day[1]), widened))
        spans[days] = Span(days, float(np.sqrt(days)), *told)
    return [sets[days] for days in periods], [spans[days] for days in sorted(set(periods))]


def _moved(filtered: Filtered, rows: Ints, columns: list[int], known: int, days: float) -> Floats:
    """Moves [N, F] over a period, in sigmas of the evening before each row, which is the first day of its period."""
    first = filtered.standardised[rows][:, columns]
    whole = max(1, int(np.ceil(days)))
    if whole == 1:
        return np.asarray(first * np.sqrt(days))
    sigma = filtered.sigma[rows - 1][:, columns]
    found, elapsed, is_on = first.copy(), np.ones(len(rows)), np.ones(len(rows), dtype=bool)
    day = filtered.history.day
    for ahead in range(1, whole):
        at = np.minimum(rows + ahead, known - 1)
        follows = (rows + ahead < known) & (day[at] == day[rows] + ahead)
        move = clipped(filtered.history.move[at][:, columns])
        is_on &= follows & np.isfinite(move).all(axis=1)
        share = min(1.0, days - ahead)
        found += np.where(is_on[:, None], np.sqrt(share) * move / sigma, 0.0)
        elapsed += np.where(is_on, share, 0.0)
    limit = MAX_STANDARDISED * np.sqrt(days)
    return np.asarray(np.clip(found * np.sqrt(days / elapsed)[:, None], -limit, limit))


def _at_least(
    least: tuple[Floats, Floats] | None, moved: Floats, widened: Floats, weight: Floats, confidence: float
) -> tuple[Floats, Floats]:
    """Return the tails of moves, `widened` [F] in place until they are at least so large.

    In logarithms: a fall that is a tenth more of one is a little less than a tenth more of the price, so in rounds.
    """
    tails = _tails(moved, weight, confidence)
    for _ in range(ROUNDS if least is not None else 0):
        assert least is not None
        more = np.maximum(_over(least[0], tails[0]), _over(least[1], tails[1]))
        if (more <= 1.0).all():
            break
        widened *= np.where(more > 1.0, more * (1.0 + 1e-9), 1.0)
        tails = _tails(moved * widened, weight, confidence)
    return tails


def _tails(moved: Floats, weight: Floats, confidence: float) -> tuple[Floats, Floats]:
    relative = np.expm1(moved)
    sides = [[expected_shortfall(side * relative[:, at], weight, confidence) for at in range(moved.shape[1])]
             for side in (1.0, -1.0)]  # fmt: skip
    return np.array(sides[0]), np.array(sides[1])


def _over(one: Floats, other: Floats) -> Floats:
    return np.asarray(np.divide(one, other, out=np.ones_like(one), where=other > 0))
