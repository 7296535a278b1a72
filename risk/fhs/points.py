"""Tail points: a few joint moves whose worst is the expected shortfall of many days, for the order path.

For a portfolio that is linear in its factors, expected shortfall is the largest loss over averages of tail days; in the
direction w it is that of the average move of the days that are worst for w. One such average a direction leaves a few
columns that a kernel can ask for the worst of, which is coherent, and exact in the directions that were looked at. In
between it asks for less than the days do: of many other directions the one with the largest gap gets a point of its
own, until the gap is small or there are enough. What is left of it is `widened`: all points are moved out by that, so
that no direction looked at is asked for less than its shortfall. Of many coins there are too many directions for
averages; there the added points are of the worst quarter of a tail (of half of it where there are several margin
periods: half the points, at a tenth more of margin in between), which asks for more than the whole of it, and of
portfolios of fifty coins that no probe was like, some are still asked for up to a sixth less than their shortfall.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

import msgspec
import numpy as np

from risk.fhs.factors import FactorKind
from risk.fhs.filtered import ScenarioSet
from risk.volatility.refusals import Floats, Reason, require

# Directions that only serve to find the gap: quasi all of them for two coins, a sample for fifty.
PROBES: Final = 2_000
# Pairs of so many coins at the most are directions of their own; of more only each coin, and all.
PAIRED_COINS: Final = 8
# Points end where no probe is asked for more than this too little, or there are so many: each costs every check.
SMALL_GAP: Final = 0.05
MAX_POINTS: Final = 160
# Of which so many directions, long and short, are looked at first: the rest is for gaps.
MAX_DIRECTIONS: Final = 66
# A move that a price can not make: what is averaged and moved out stays above it.
LEAST_MOVE: Final = -0.99


class TailPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """The average of the days that are worst for one portfolio; relative moves by underlying.

    `over` are the same days' moves over other margin periods, by their days as text.
    """

    name: str
    moves: dict[str, float]
    over: dict[str, dict[str, float]] = {}


class TailPoints(msgspec.Struct, frozen=True):
    """Points at a confidence as of a day; all moved out by `widened`, at least one."""

    as_of_day: int
    confidence: float
    widened: float
    points: list[TailPoint]


def tail_points(scenarios: ScenarioSet, confidence: float, seed: int = 1, *others: ScenarioSet) -> TailPoints:
    """The points of the underlyings' prices in a scenario set, with equal weights of its days.

    `others` are the same days of the same factors over other periods: a coin held for either is a factor of its own.
    Raises EstimateError: BAD_PARAMETER, SHORT_HISTORY (less than one day in the tail).
    """
    require(0 < confidence < 1, Reason.BAD_PARAMETER, f"confidence {confidence} is not within 0 and 1")
    coins = [factor.underlying for factor in scenarios.factors if factor.kind is FactorKind.SPOT]
    require(bool(coins), Reason.SHORT_HISTORY, "no underlying's price is in the set")
    columns = [at for at, factor in enumerate(scenarios.factors) if factor.kind is FactorKind.SPOT]
    same = all(np.array_equal(one.day, scenarios.day) and one.factors == scenarios.factors for one in others)
    require(same, Reason.BAD_SHAPE, "sets of other periods are of other days or factors")
    moves = np.expm1(np.concatenate([one.move[:, columns] for one in (scenarios, *others)], axis=1))
    periods = [f"{one.horizon_days:g}" for one in others]
    names = coins + [f"{coin} {period} d" for period in periods for coin in coins]
    tail = (1.0 - confidence) * len(moves)
    require(tail >= 1.0, Reason.SHORT_HISTORY, f"{len(moves)} days have no tail at {confidence}")
    sigma = np.maximum(moves.std(axis=0), 1e-12)
    said, directions = zip(*_directions(names, len(coins)), strict=True)
    found = [_average(moves, np.array(way) / sigma, tail) for way in directions]
    probes = _probes(len(names), seed) / sigma
    shortfall = _shortfalls(moves, probes, tail)
    named = list(said)
    # Of what share of a tail an added point is: all is exact in its direction, a part asks for more in between.
    part = 1.0 if len(names) <= 3 or not others else 0.5
    part = part if len(coins) <= PAIRED_COINS else 0.25
    while True:
        gap = shortfall / np.maximum((-(np.array(found) @ probes.T)).max(axis=0), 1e-12)
        worst = int(gap.argmax())
        if gap[worst] <= 1.0 + SMALL_GAP or len(found) >= MAX_POINTS:
            break
        found.append(_average(moves, probes[worst], max(1.0, tail * part) if part < 1.0 else tail))
        named.append(f"portfolio {len(found) - len(said)}")
    widened = max(1.0, float(gap[worst]))
    rows = np.maximum(np.array(found) * widened, LEAST_MOVE)
    points = [_point(name, row, coins, periods) for name, row in zip(named, rows)]
    return TailPoints(scenarios.as_of_day, confidence, widened, points)


def _point(name: str, row: Floats, coins: list[str], periods: list[str]) -> TailPoint:
    parts = [dict(zip(coins, part)) for part in row.reshape(-1, len(coins)).tolist()]
    return TailPoint(name, parts[0], dict(zip(periods, parts[1:])))


def _directions(names: list[str], coins: int) -> Iterator[tuple[str, list[float]]]:
    """Portfolios in units of risk: each coin, all of one period, and pairs, long and short.

    Pairs are of coins over one period, and of one coin over two. As many of their shares as leave room for the gaps.
    """
    count = len(names)
    ways: list[tuple[str, list[float]]] = []
    for first in range(0, count, coins):
        period = names[first].removeprefix(names[0])
        if coins > 1:
            ways.append((f"all{period}", [float(first <= at < first + coins) for at in range(count)]))
        if not first or len(ways) + coins <= MAX_DIRECTIONS:
            alone = [(names[at], [float(other == at) for other in range(count)]) for at in range(first, first + coins)]
            ways = ways + alone if first else alone + ways
    pairs = [(a, b) for a, b in combinations(range(count), 2) if a // coins == b // coins and coins <= PAIRED_COINS]
    across = [(a, b) for a, b in combinations(range(count), 2) if a // coins != b // coins and a % coins == b % coins]
    kinds = [(pair, share) for share in (-1.0, 1.0) for pair in pairs] + [(pair, -1.0) for pair in across]
    kinds += [(pair, share) for share in (-2.0, -0.5, 0.5, 2.0) for pair in pairs]
    for (one, other), share in sorted(kinds[: max(0, MAX_DIRECTIONS - len(ways))]):
        way = [0.0] * count
        way[one], way[other] = 1.0, share
        ways.append((f"{names[one]} {share:+g} {names[other]}", way))
    for name, way in ways:
        yield f"long {name}", way
        yield f"short {name}", [-part for part in way]


def _average(moves: Floats, holding: Floats, tail: float) -> Floats:
    """The average move of the worst days of a holding: `tail` of them, the last one in part."""
    order = np.argsort(moves @ holding, kind="stable")
    weight = np.clip(tail - np.arange(int(np.ceil(tail))), 0.0, 1.0)
    average: Floats = weight @ moves[order[: len(weight)]] / tail
    return average


def _probes(width: int, seed: int) -> Floats:
    """Directions of all kinds, in units of risk [PROBES, F]; half of them hold a few coins only, as accounts do."""
    rng = np.random.default_rng(seed)
    probes = rng.normal(size=(PROBES, width))
    few = rng.random((PROBES, width)) < min(1.0, 3.0 / width)
    few[np.arange(PROBES), rng.integers(width, size=PROBES)] = True
    few[::2] = True
    return np.where(few, probes, 0.0)


def _shortfalls(moves: Floats, holdings: Floats, tail: float) -> Floats:
    """Expected shortfall of every holding [P, F], in slices that fit a cache."""
    count = int(np.ceil(tail))
    weight = np.clip(tail - np.arange(count), 0.0, 1.0)
    found = []
    for start in range(0, len(holdings), 200):
        profits = np.partition(moves @ holdings[start : start + 200].T, count - 1, axis=0)[:count]
        found.append(-(weight @ np.sort(profits, axis=0)) / tail)
    return np.concatenate(found)
